"""Medians of a feature table, exact: of each group's kept documents, a column at a time."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import partial

import numpy as np

from tagcorpus.pipelines.attributes.parts import Instance
from tagcorpus.pipelines.attributes.summary import percentiles
from tagcorpus.pipelines.feature_table.columns import SOURCES
from tagcorpus.pipelines.group_statistics.groups import Group
from tagcorpus.pipelines.group_statistics.rows import ChunkRows, Floats, Rows


def medians_of(
    chunks: Sequence[tuple[ChunkRows, Sequence[Group]]], instances: Mapping[str, Instance], *, kept_rows: int
) -> dict[str, dict[str, float]]:
    """By group and stem, the median of the values that are kept.

    One column at a time is read, and held for as many groups as have `kept_rows` rows together: it is read again for the
    next ones. Of a group that has more rows alone it is read four times, and never held.
    """
    medians: dict[str, dict[str, float]] = {}
    batches = list(_batches(_sizes(chunks), kept_rows))
    is_little = len(batches) == 1
    for ids, is_held in batches:
        of_batch = [([g for g in of if g.id in ids], rows) for rows, of in chunks]
        kept = [_kept_rows(rows.fresh(), of) if is_held else [] for of, rows in of_batch]
        for stem in (s for s, (role, _) in SOURCES.items() if role in instances):
            if is_held:
                held: dict[str, list[Floats]] = {}
                for (_, rows), own in zip(of_batch, kept, strict=True):
                    values = _column(rows if is_little else rows.fresh(), stem)
                    for group_id, at in own:
                        if len(there := values[at][~np.isnan(values[at])]):
                            held.setdefault(group_id, []).append(there)
                for group_id, pieces in held.items():
                    medians.setdefault(group_id, {})[stem] = median(np.concatenate(pieces))
                continue
            chunks_of = partial(_values, of_batch, stem)
            if n := sum(map(len, chunks_of())):
                medians.setdefault(next(iter(ids)), {})[stem] = percentiles(chunks_of, n, [50])[0]
    return medians


def median(values: Floats) -> float:
    """Of at least one value, without NaN: what `percentiles` finds, by ordering them."""
    low, high = (len(values) - 1) // 2, len(values) // 2
    a, b = (float(v) for v in np.partition(values, (low, high))[[low, high]])
    between = a if low == high else b - (b - a) * 0.5
    return between if math.isfinite(between) else a * 0.5 + b * 0.5


def _sizes(chunks: Sequence[tuple[ChunkRows, Sequence[Group]]]) -> Counter[str]:
    """How many rows of each group are kept."""
    sizes: Counter[str] = Counter()
    for rows, of in chunks:
        sizes.update({group_id: len(at) for group_id, at in _kept_rows(rows.fresh(), of)})
    return sizes


def _batches(sizes: Mapping[str, int], kept_rows: int) -> Iterator[tuple[set[str], bool]]:
    """Groups that are looked at together, and whether their values are held."""
    ids: set[str] = set()
    held = 0
    for group_id, n in sizes.items():
        if n > kept_rows:
            yield {group_id}, False
            continue
        if held + n > kept_rows:
            yield ids, True
            ids, held = set(), 0
        ids.add(group_id)
        held += n
    if ids:
        yield ids, True


def _kept_rows(rows: ChunkRows, groups: Sequence[Group]) -> list[tuple[str, Rows]]:
    each = zip(groups, rows.rows_of(groups), strict=True)
    return [(group.id, own[rows.kept[own]]) for group, own in each]


def _column(rows: ChunkRows, stem: str) -> Floats:
    role, column = SOURCES[stem]
    return rows.numbers(role, [column])[column]


def _values(chunks: Sequence[tuple[Sequence[Group], ChunkRows]], stem: str) -> Iterator[Floats]:
    """Of the one group that there is, chunk by chunk."""
    for of, rows in chunks:
        if of:
            own = rows.fresh()
            ((_, at),) = _kept_rows(own, of)
            values = _column(own, stem)[at]
            yield values[~np.isnan(values)]
