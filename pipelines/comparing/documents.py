"""The documents that show a difference: on each side, some with the values that are most in excess there.

Of a numeric column, these are the values of the bin with the largest excess share, of RANGES bins of about equal share; of a text
column, the category with the largest excess share. Only some chunks are read, in an order by chance that is the same in every run.
"""

from __future__ import annotations

import heapq
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow.compute as pc

from tagcorpus.pipelines.comparing.counts import Counted
from tagcorpus.pipelines.comparing.sides import Sides
from tagcorpus.pipelines.distributions import effects
from tagcorpus.pipelines.distributions.attribute_columns import AttributeColumn, Attributes, Rows, random_numbers
from tagcorpus.pipelines.distributions.binning import merged
from tagcorpus.pipelines.readers.excerpts import Place, excerpts

RANGES = 8
# Chunks are read until each side has so many rows, or so many chunks with rows.
MOST_ROWS, MOST_CHUNKS = 200_000, 64
Picked = tuple[float, Place, str | None, Any]


@dataclass
class Excess:
    """Values of which a side has more than the other: a category, or low up to and with high.

    picked  the documents with the smallest random numbers: number, place, id, value
    """

    column: AttributeColumn
    side: int
    shares: tuple[float, float]
    category: str | None = None
    low: float = 0.0
    high: float = 0.0
    picked: list[Picked] = field(default_factory=list)

    def places(self, rows: Rows, taken: npt.NDArray[np.bool_] | None) -> npt.NDArray[np.int64]:
        """The rows that have such a value and are of the side."""
        if self.category is not None:
            is_value = pc.equal(pc.cast(rows.values[self.column.label], "string"), self.category)
            matches = pc.fill_null(is_value, False).to_numpy().astype(bool)
        else:
            numbers = rows.numbers(self.column)
            matches = (numbers >= self.low) & (numbers <= self.high)
        return np.flatnonzero(matches if taken is None else matches & taken)

    def to_json(self, shown: Mapping[Place, Any]) -> dict[str, Any]:
        values = {"value": self.category} if self.category is not None else {"low": self.low, "high": self.high}
        documents = []
        for _, place, id_, value in sorted(self.picked, key=lambda p: p[:2]):
            excerpt = shown[place]
            documents.append(
                {
                    "id": id_,
                    "row": place.row,
                    "value": value,
                    "text": excerpt.text,
                    **({"problem": excerpt.problem} if excerpt.problem else {}),
                }
            )
        return {"more_in": "ab"[self.side], "a": self.shares[0], "b": self.shares[1], **values, "documents": documents}


def documents_of(
    sides: Sides, tables: Counted, columns: Mapping[str, AttributeColumn], n: int, *, may_fetch: bool
) -> dict[str, list[dict[str, Any]]]:
    """For each of these columns, what each side has more of, with up to n documents of it. may_fetch: read inputs at URLs."""
    excesses = {label: _excesses(tables, column) for label, column in columns.items()}
    every = [excess for both in excesses.values() for excess in both]
    shown: list[dict[Place, Any]] = []
    for i, output in enumerate(sides.outputs):
        own = [e for e in every if sides.are_of_one_output or e.side == i]
        _pick(sides, i, output, own, n)
        places = {p[1] for e in own for p in e.picked}
        shown.append(dict(excerpts(output.plan.files, places, may_fetch=may_fetch)))
    return {label: [e.to_json(shown[-1 if e.side else 0]) for e in both] for label, both in excesses.items()}


def _excesses(tables: Counted, column: AttributeColumn) -> list[Excess]:
    """What A has more of, and what B has more of."""
    if column.label in tables.numbers:
        numbers = tables.numbers[column.label]
        counts = effects.coarse(numbers.counts, RANGES)
        ranges = merged(numbers.counts.sum(axis=0), RANGES)
        first = np.searchsorted(ranges, np.arange(len(counts[0])))
        last = np.append(first[1:], len(ranges)) - 1
        low, high = numbers.bins.edges[first], numbers.bins.upper[last]
    else:
        names, by_block = tables.categories[column.label].sorted
        counts = by_block.sum(axis=1)
    a, b = (x / x.sum() for x in counts)
    excesses = []
    for side, place in enumerate((int(np.argmax(a - b)), int(np.argmax(b - a)))):
        shares = (float(a[place]), float(b[place]))
        if column.label in tables.numbers:
            excesses.append(Excess(column, side, shares, None, float(low[place]), float(high[place])))
        else:
            excesses.append(Excess(column, side, shares, names[place]))
    return excesses


def _pick(sides: Sides, i: int, output: Attributes, excesses: list[Excess], n: int) -> None:
    """Add documents of one output to its excesses."""
    file_numbers = {planned.file.name: f for f, planned in enumerate(output.plan.files)}
    columns = {e.column.label: e.column for e in excesses}
    own = [c for c in output.columns if c.label in columns]
    seen_rows, seen_chunks = [0, 0], [0, 0]

    def is_full(side: int) -> bool:
        return seen_rows[side] >= MOST_ROWS or seen_chunks[side] >= MOST_CHUNKS

    for rows, of_sides in sides.by_chance(i, own, is_full, ids=True) if own else ():
        random = random_numbers(rows, 5).random(rows.n)
        for side, taken in of_sides:
            seen_rows[side] += rows.n if taken is None else int(taken.sum())
            seen_chunks[side] += 1
            for excess in (e for e in excesses if e.side == side):
                places = excess.places(rows, taken)
                for at in places[np.argsort(random[places], kind="stable")][:n]:
                    row, sub, id_ = (rows.keys[k][at].as_py() for k in ("row", "sub", "id"))
                    place = Place(file_numbers[rows.planned.file.name], rows.k, int(row), int(sub))
                    value = _plain(rows.values[excess.column.label][at].as_py())
                    excess.picked.append((float(random[at]), place, id_, value))
                excess.picked = heapq.nsmallest(n, excess.picked, key=lambda p: p[:2])


def _plain(value: Any) -> Any:
    """The value as JSON has it: a decimal is a number."""
    return value if isinstance(value, str | int | float) else float(value)
