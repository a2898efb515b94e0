"""Compare two feature tables: ids, columns, and the values of the ids they share.

Values are compared as written: two cells are equal where one is the other rounded to the decimals that its column has in
the coarser file, or where they differ by no more than a relative 1e-9. Which of the two is right is not decided here.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tagcorpus.errors import spelled_otherwise
from tagcorpus.pipelines.feature_table.columns import ID
from tagcorpus.pipelines.feature_table.table import FeatureTable, decimals
from tagcorpus.predictor.records.findings import Finding, listed
from tagcorpus.predictor.records.plain_values import number

RELATIVE = 1e-9
# A range says nothing unless it rests on a few models.
MODELS_FOR_RANGE = 3


@dataclass(frozen=True)
class _Side:
    ids: dict[str, int]
    columns: list[str]
    at: dict[str, int]
    table: FeatureTable

    def cell(self, model: str, column: str) -> str:
        return self.table.rows[self.ids[model]].cells[self.at[column]].strip()


def _side(table: FeatureTable) -> _Side:
    """Of an id or a column that is there twice, the first one counts."""
    ids: dict[str, int] = {}
    for i, model in enumerate(table.texts(ID)):
        if model.strip():
            ids.setdefault(model, i)
    names = [c for c in dict.fromkeys(table.header) if c != ID]
    return _Side(ids, names, {c: table.header.index(c) for c in names}, table)


def compare(table: FeatureTable, against: FeatureTable) -> Iterator[Finding]:
    """What differs, `here` being `table` and `there` being `against`; both have an id column."""
    here, there = _side(table), _side(against)
    columns = [c for c in here.columns if c in there.columns]
    shared = [m for m in here.ids if m in there.ids]
    yield from _columns(here, there, columns)
    yield from _ids(here, there, shared)
    yield from _values(here, there, shared, columns)
    yield from _new_models(here, there, columns)


def _columns(here: _Side, there: _Side, columns: Sequence[str]) -> Iterator[Finding]:
    for one, other, check, where in (
        (here, there, "columns_only_here", "the other file has not"),
        (there, here, "columns_only_there", "this file has not, and the other has"),
    ):
        only = [c for c in one.columns if c not in other.columns]
        effect = "what is fitted on one file cannot be used on the other"
        yield from listed("warning", check, f"columns that {where}", only, effect)
    if columns != [c for c in there.columns if c in here.columns]:
        effect = "the order decides ties in trees, and everything where columns are taken by position"
        yield Finding("warning", "other_column_order", "the shared columns are in another order", 1, (), effect)


def _ids(here: _Side, there: _Side, shared: Sequence[str]) -> Iterator[Finding]:
    if shared:
        yield Finding("note", "shared_ids", "ids that both files have", len(shared), tuple(shared))
    else:
        yield Finding("warning", "shared_ids", "no id is in both files, so that no value could be compared", 0)
    for one, other, check, where in (
        (here, there, "ids_only_here", "ids that the other file has not"),
        (there, here, "ids_only_there", "ids that this file has not, and the other has"),
    ):
        if only := tuple(m for m in one.ids if m not in other.ids):
            yield Finding("note", check, where, len(only), only)
            if spelling := spelled_otherwise(only, other.ids):
                effect = "one model counts as two, and its values are not compared"
                yield Finding("warning", "ids_spelled_otherwise", f"{where}: {spelling}", effect=effect)


def _values(here: _Side, there: _Side, shared: Sequence[str], columns: Sequence[str]) -> Iterator[Finding]:
    differing: list[tuple[float, str, str, str]] = []
    gone: list[str] = []
    come: list[str] = []
    for column in columns:
        tolerance: float | None = None
        for model in shared:
            mine, other = here.cell(model, column), there.cell(model, column)
            if mine == other:
                continue
            if not mine or not other:
                (come if mine else gone).append(f"{model}: {column}")
                continue
            a, b = number(mine), number(other)
            if a is None or b is None:
                continue  # what is no number is told where the file itself is checked
            if tolerance is None:
                tolerance = _rounding(here.table.texts(column), there.table.texts(column))
            if abs(a - b) <= tolerance or math.isclose(a, b, rel_tol=RELATIVE):
                continue
            share = abs(a - b) / max(abs(a), abs(b))
            differing.append((share, model, column, f"{model}: {column} is {mine} here, {other} there ({share:.2%})"))
    if differing:
        differing.sort(key=lambda d: (-d[0], d[1], d[2]))
        models = len({d[1] for d in differing})
        worst = Counter(d[2] for d in differing).most_common(3)
        message = f"cells of shared ids that differ beyond rounding, of {models:,} models; most in "
        message += ", ".join(f"{column} ({n:,})" for column, n in worst)
        effect = "one id means two things: the files cannot be united"
        yield Finding("error", "values_differ", message, len(differing), tuple(d[3] for d in differing), effect)
    yield from listed("warning", "empty_only_here", "cells of shared ids: empty here, not there", gone)
    yield from listed("warning", "empty_only_there", "cells of shared ids: empty there, not here", come)


def _new_models(here: _Side, there: _Side, columns: Sequence[str]) -> Iterator[Finding]:
    """Rows of ids that only `here` has: the same row under another id, and values far from all the other file has."""
    new = [m for m in here.ids if m not in there.ids]
    rows = {tuple(there.cell(m, c) for c in columns): m for m in there.ids}
    same = []
    for model in new:
        cells = tuple(here.cell(model, c) for c in columns)
        if any(cells) and cells in rows:
            same.append(f"{model} here, {rows[cells]} there")
    effect = "one model counts as two, in training and in test"
    yield from listed("warning", "same_row_other_id", "rows that the other file has under another id", same, effect)
    far = []
    for column in columns:
        known = [v for text in there.table.texts(column) if (v := number(text)) is not None]
        if len(known) < MODELS_FOR_RANGE or min(known) == max(known):
            continue
        low, high = min(known), max(known)
        for model in new:
            value = number(here.cell(model, column))
            if value is not None and not 2 * low - high <= value <= 2 * high - low:
                far.append(f"{model}: {column} is {value:.6g} here; there {low:.6g} to {high:.6g}")
    message = "cells of new ids that lie outside what the other file spans, by more than its width"
    effect = "trees answer with the nearest model they know, linear models extrapolate"
    yield from listed("warning", "far_from_the_other", message, far, effect)


def _rounding(mine: Sequence[str], other: Sequence[str]) -> float:
    """Half a unit of the last decimal of the coarser column; 0 where a column has whole numbers only."""
    places = min(decimals(mine), decimals(other))
    return 0.5 * 10.0**-places * (1 + RELATIVE) if places else 0.0
