"""Which documents of a chunk count for a feature table: those that the filter keeps, and of these a sample.

A sample is drawn group by group: documents have a place in a random order that the seed decides (`token_budget.places`),
and the first N of a group's kept documents are its sample. So one number a group, the last place that is in, says all.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow.compute as pc
import xxhash

from tagcorpus.errors import IncompleteError
from tagcorpus.pipelines.attributes.parts import Instance, part_of
from tagcorpus.pipelines.group_statistics.groups import Group, Values, values_of
from tagcorpus.pipelines.readers.plan import Plan, PlannedFile
from tagcorpus.pipelines.storage.folder import Folder

EVERYONE = (1 << 64) - 1


class Rows:
    """The rows of a chunk, of which some are chosen; they are asked for batch by batch, in order.

    row int64 [n], sub int32 [n], chosen bool [n], or what else is to be known of each row; `where` names the chunk in
    messages.
    """

    def __init__(self, row: npt.NDArray[Any], sub: npt.NDArray[Any], chosen: npt.NDArray[Any], where: str) -> None:
        self.row, self.sub, self.chosen, self.where = row, sub, chosen, where
        self._at = 0

    def next(self, row: npt.NDArray[Any], sub: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Which of the next documents are chosen. Raises IncompleteError where they are not these documents."""
        part = slice(self._at, self._at + len(row))
        if not (np.array_equal(self.row[part], row) and np.array_equal(self.sub[part], sub)):
            raise IncompleteError(f"{self.where} changed during the run: run the same command again")
        self._at += len(row)
        return self.chosen[part]


def kept(output: Folder, filter_: Instance, planned: PlannedFile, k: int) -> Rows:
    """The rows of a chunk of which the filter's `is_kept` is true (a row that it failed on is not kept)."""
    table = part_of(output, planned, k, filter_, ["row", "sub", "is_kept"])
    chosen = np.asarray(pc.fill_null(table["is_kept"], False).combine_chunks().to_numpy(zero_copy_only=False))
    return Rows(table["row"].to_numpy(), table["sub"].to_numpy(), chosen, f"chunk {k} of {planned.file.name}")


def numbered(output: Folder, filter_: Instance, values: Values, planned: PlannedFile, k: int) -> Rows:
    """The same; `chosen` is int32 [n]: the number of each row's group among these, -1 where it is in none or not kept."""
    rows = kept(output, filter_, planned, k)
    numbers = values.numbers(part_of(output, planned, k, values.instance, [values.column])[values.column])
    return Rows(rows.row, rows.sub, np.where(rows.chosen, numbers, np.int32(-1)), rows.where)


@dataclass(frozen=True)
class Choice:
    """What is to be labelled: of the kept documents of each group those up to `last` in the random order.

    last  place by group; empty: all of the kept documents
    """

    output: Folder
    filter_: Instance
    groups: Sequence[Group]
    seed: int = 0
    last: Mapping[str, int] = field(default_factory=dict)

    def rows(self, planned: PlannedFile, k: int) -> Rows:
        """The chosen rows of a chunk."""
        all_rows = kept(self.output, self.filter_, planned, k)
        if not self.last:
            return all_rows
        from tagcorpus.pipelines.counting.token_budget import places

        place = places(planned.file.name, all_rows.row, all_rows.sub, self.seed, 0)
        if (values := values_of(self.groups)) is not None:
            own = numbered(self.output, self.filter_, values, planned, k)
            last = np.array([self.last[g.id] for g in self.groups], np.uint64)
            chosen = (own.chosen >= 0) & (place <= last[own.chosen])
        else:
            bounds = [np.uint64(self.last[g.id]) for g in self._of(planned.file.name)]
            chosen = all_rows.chosen & (place <= max(bounds)) if bounds else np.zeros(len(all_rows.row), bool)
        return Rows(all_rows.row, all_rows.sub, chosen, all_rows.where)

    def _of(self, file_name: str) -> list[Group]:
        return [g for g in self.groups if file_name in g.files]

    def identities(self, plan: Plan) -> dict[str, Any]:
        """By file, what decides the choice; equal where as many are wanted as there are and where all are."""
        by_filter = {"kept_by": self.filter_.identity()}
        by_file: dict[str, Any] = {}
        for planned in plan.files:
            last = {g.id: self.last.get(g.id, EVERYONE) for g in self._of(planned.file.name)}
            sampled = {"seed": self.seed, "last": _digest(last)} if set(last.values()) != {EVERYONE} else {}
            by_file[planned.file.name] = by_filter | sampled
        return by_file


def _digest(last: Mapping[str, int]) -> str:
    return xxhash.xxh3_64_hexdigest(repr(sorted(last.items())).encode())


def choose(
    output: Folder, plan: Plan, filter_: Instance, groups: Sequence[Group], sample: int | None, seed: int
) -> Choice:
    """All kept documents, or with `sample` so many of each group."""
    if sample is None:
        return Choice(output, filter_, groups)
    values = values_of(groups)
    if values is None:
        places_of = {g.id: list(_places(output, plan, filter_, g, seed)) for g in groups}
        last = {id_: _last(places, sample) for id_, places in places_of.items()}
    else:
        bounds = _last_of_each(output, plan, filter_, values, sample, seed)
        last = {g.id: int(bound) for g, bound in zip(groups, bounds, strict=True)}
    return Choice(output, filter_, groups, seed, last)


def _places(output: Folder, plan: Plan, filter_: Instance, group: Group, seed: int) -> Iterator[npt.NDArray[np.uint64]]:
    from tagcorpus.pipelines.counting.token_budget import places

    for planned, k in group.chunks(plan):
        rows = kept(output, filter_, planned, k)
        yield places(planned.file.name, rows.row, rows.sub, seed, 0)[rows.chosen]


def _last(places: Sequence[npt.NDArray[np.uint64]], sample: int) -> int:
    every = np.concatenate([np.zeros(0, np.uint64), *places])
    return int(np.partition(every, sample - 1)[sample - 1]) if len(every) > sample else EVERYONE


def _last_of_each(
    output: Folder, plan: Plan, filter_: Instance, values: Values, sample: int, seed: int
) -> npt.NDArray[np.uint64]:
    """uint64 [groups]: as `_last`, of the groups of a column. The first `sample` places of each group are held, and each
    chunk is read once."""
    from tagcorpus.pipelines.counting.token_budget import places

    held = (np.zeros(0, np.int32), np.zeros(0, np.uint64))
    sizes = np.zeros(len(values.values), np.int64)
    for planned, k in plan.chunks:
        rows = numbered(output, filter_, values, planned, k)
        is_in = rows.chosen >= 0
        number = np.concatenate([held[0], rows.chosen[is_in]])
        place = np.concatenate([held[1], places(planned.file.name, rows.row, rows.sub, seed, 0)[is_in]])
        sizes += np.bincount(rows.chosen[is_in], minlength=len(sizes))
        order = np.lexsort((place, number))
        number, place = number[order], place[order]
        starts = np.searchsorted(number, number, side="left")
        is_first = np.arange(len(number)) - starts < sample
        held = (number[is_first], place[is_first])
    bounds = np.full(len(sizes), EVERYONE, np.uint64)
    ends = np.cumsum(np.minimum(sizes, sample)) - 1
    is_cut = sizes > sample
    bounds[is_cut] = held[1][ends[is_cut]]
    return bounds
