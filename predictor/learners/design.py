"""Columns of a data set as numbers for a fit. Only the given rows decide about means, spreads and categories.

`columns_of` keeps numeric columns as they are. A categorical column becomes a column of 0 and 1 for each category that the
given rows have, NaN where missing. `Standard` standardises columns for smooth models by the means and spreads of its rows.
It replaces missing values by means and adds an indicator for each pattern of missing values.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tagcorpus.errors import ConfigError
from tagcorpus.predictor.learners.data import CATEGORICAL, Dataset

Matrix = np.ndarray[Any, np.dtype[np.float64]]
Vector = np.ndarray[Any, np.dtype[np.float64]]
Rows = np.ndarray[Any, np.dtype[np.int64]]


def columns_of(data: Dataset, columns: Sequence[str], known_by: Rows | None = None) -> tuple[Matrix, tuple[str, ...]]:
    """float64 [all rows of data, c] and its c names; a category is named `column=category`.

    known_by: the rows whose categories get a column (a training fold); None: all. A model of another category has 0 in
    all of its columns. Raises ConfigError for a column that is not there.
    """
    parts: list[Vector] = []
    names: list[str] = []
    for column in columns:
        if column not in data.frame.columns:
            raise ConfigError(f"no feature {column!r} in the data set of {data.task.name}")
        values = data.frame[column]
        if column not in CATEGORICAL:
            parts.append(values.to_numpy(np.float64))
            names.append(column)
            continue
        cells = list(values)
        seen = cells if known_by is None else [cells[i] for i in known_by]
        for category in sorted({c for c in seen if c is not None}):
            parts.append(np.array([np.nan if c is None else float(c == category) for c in cells]))
            names.append(f"{column}={category}")
    return np.column_stack(parts), tuple(names)


@dataclass(frozen=True)
class Standard:
    """means, spreads: float64 [c], of the values present; spread 1 where they do not vary. missing: the columns whose
    missingness differs among the rows, one for each pattern."""

    means: Vector
    spreads: Vector
    missing: tuple[int, ...]
    shares: Vector
    share_spreads: Vector

    @classmethod
    def from_rows(cls, x: Matrix) -> Standard:
        """x: float64 [n, c], NaN is missing."""
        absent = np.isnan(x)
        there = np.maximum((~absent).sum(axis=0), 1)
        means = np.where(absent, 0.0, x).sum(axis=0) / there
        spreads = np.where(absent, means, x).std(axis=0)
        patterns: dict[bytes, int] = {}
        for i in range(x.shape[1]):
            if 0 < absent[:, i].sum() < len(x):
                patterns.setdefault(absent[:, i].tobytes(), i)
        at = tuple(patterns.values())
        indicators = absent[:, list(at)].astype(np.float64)
        own = indicators.std(axis=0)
        return cls(means, np.where(spreads > 0, spreads, 1.0), at, indicators.mean(axis=0), own)

    def of(self, x: Matrix) -> Matrix:
        """float64 [n, c + indicators], standardised."""
        absent = np.isnan(x)
        values = (np.where(absent, self.means, x) - self.means) / self.spreads
        indicators = (absent[:, list(self.missing)] - self.shares) / self.share_spreads
        return np.concatenate([values, indicators], axis=1)
