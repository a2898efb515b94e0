"""Columns of content: what the sources of a mix are like, weighted by tokens, so that a source without a mix can be priced.

A table has one row for each source, with its id first, and at most MOST columns of numbers are named. The content of a mix is
the mean over its sources, weighted by their shares of tokens.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tagcorpus.errors import ConfigError, InputError, unknown_name
from tagcorpus.predictor.records.annotations import csv_rows, text_of
from tagcorpus.predictor.records.plain_values import LARGEST, number

Array = np.ndarray[Any, Any]
IDS = ("source", "group", "name", "id", "")
MOST = 5


@dataclass(frozen=True)
class Content:
    """Statistics of sources.

    values  float64 [sources, columns]
    """

    sources: tuple[str, ...]
    columns: tuple[str, ...]
    values: Array

    def of_mixes(self, sources: Sequence[str], shares: Array) -> Array:
        """float64 [mixes, columns]. Raises InputError for a source with a share and without statistics."""
        place = {name: i for i, name in enumerate(self.sources)}
        lacking = [s for j, s in enumerate(sources) if s not in place and shares[:, j].any()]
        if lacking:
            raise InputError(
                f"--statistics has no row for the source {lacking[0]!r} ({len(lacking)} such sources); add the rows"
            )
        rows = [place.get(s, 0) for s in sources]
        content: Array = shares @ self.values[rows]
        return content

    def permuted(self, generator: np.random.Generator) -> Content:
        """The same rows under the names of other sources."""
        return Content(self.sources, self.columns, self.values[generator.permutation(len(self.sources))])


def read_content(path: str, chosen: Sequence[str]) -> Content:
    """chosen: the named columns; none: all of the table. Raises ConfigError for more than MOST columns."""
    rows = list(csv_rows(Path(path), text_of(Path(path))))
    if not rows:
        raise InputError(f"--statistics: {path!r} has no rows")
    header = list(rows[0][1])
    key = next((name for name in IDS if name in header), None)
    if key is None:
        raise InputError(f"--statistics: {path!r} has no column source; each row needs the name of its source")
    columns = _chosen([name for name in header if name not in IDS], chosen, len(rows))
    values = np.empty((len(rows), len(columns)))
    for i, (where, row) in enumerate(rows):
        for j, column in enumerate(columns):
            value = number(row[column])
            if value is None:
                raise InputError(
                    f"--statistics: {path!r}: {where}, column {column!r}: {row[column]!r} is not a number between -{LARGEST:g} "
                    f"and {LARGEST:g}"
                )
            values[i, j] = value
    sources = [row[key] for _, row in rows]
    if twice := sorted({s for s in sources if sources.count(s) > 1}):
        raise InputError(f"--statistics: {path!r} has the source {twice[0]!r} more than once")
    return Content(tuple(sources), columns, values)


def content_of(statistics: Mapping[str, Mapping[str, float]], chosen: Sequence[str]) -> Content:
    """Columns of the statistics in manifests of mixes."""
    if not statistics or not any(statistics.values()):
        raise ConfigError("--column: the mixes have no tag statistics; name a table with --statistics CSV")
    columns = _chosen(sorted({c for one in statistics.values() for c in one}), chosen, len(statistics))
    for source, one in statistics.items():
        for column in columns:
            if column not in one:
                raise InputError(f"--column {column}: the source {source!r} has no value")
    values = np.array([[one[c] for c in columns] for one in statistics.values()])
    return Content(tuple(statistics), columns, values)


def _chosen(known: Sequence[str], chosen: Sequence[str], sources: int) -> tuple[str, ...]:
    """The named columns, or all. Raises ConfigError for an unknown one, for more than MOST, and for none."""
    for name in chosen:
        if name not in known:
            raise ConfigError(unknown_name("column", name, known, "--column"))
    columns = tuple(dict.fromkeys(chosen)) or tuple(known)
    if len(columns) > MOST:
        raise ConfigError(
            f"{len(columns)} columns are more than {sources} sources can tell apart; name at most {MOST} with --column, "
            "before you look at the outcomes"
        )
    if not columns:
        raise ConfigError("--statistics: the table has no column beside the names of the sources")
    return columns
