"""Medians of a feature table, exact: of each group's kept documents, a column at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial

import numpy as np

from tagcorpus.pipelines.model_table.groups import Group
from tagcorpus.pipelines.model_table.rows import SOURCES, Floats, RangeRows, Rows
from tagcorpus.pipelines.sidecars import Instance
from tagcorpus.pipelines.summary import percentiles


def medians_of(
    ranges: Sequence[tuple[RangeRows, Sequence[Group]]], instances: Mapping[str, Instance], *, is_held: bool
) -> dict[str, dict[str, float]]:
    """By group and stem, the median of the values that are kept. One column at a time is read; `is_held`: and kept while it
    is looked at, else it is read four times a group."""
    found: dict[str, dict[str, float]] = {}
    kept = [[(group.id, _kept_rows(rows, group)) for group in of] if is_held else [] for rows, of in ranges]
    for stem in (s for s, (role, _) in SOURCES.items() if role in instances):
        read: dict[str, Callable[[], Iterator[Floats]]]
        if is_held:
            held: dict[str, list[Floats]] = {}
            for (rows, _), own in zip(ranges, kept, strict=True):
                values = rows.numbers(SOURCES[stem][0], [SOURCES[stem][1]])[SOURCES[stem][1]]
                for group_id, at in own:
                    held.setdefault(group_id, []).append(values[at][~np.isnan(values[at])])
            read = {group_id: partial(iter, chunks) for group_id, chunks in held.items()}
        else:
            read = {group.id: partial(_values, ranges, group, stem) for _, of in ranges for group in of}
        for group_id, chunks in read.items():
            if n := sum(map(len, chunks())):
                found.setdefault(group_id, {})[stem] = percentiles(chunks, n, [50])[0]
    return found


def _kept_rows(rows: RangeRows, group: Group) -> Rows:
    own = rows.rows_of(group)
    return own[rows.kept[own]]


def _values(ranges: Sequence[tuple[RangeRows, Sequence[Group]]], group: Group, stem: str) -> Iterator[Floats]:
    role, column = SOURCES[stem]
    for rows, of in ranges:
        if any(g.id == group.id for g in of):
            own = rows.fresh()
            values = own.numbers(role, [column])[column][_kept_rows(own, group)]
            yield values[~np.isnan(values)]
