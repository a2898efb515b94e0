"""Which documents of a range count for a feature table: those that the filter keeps, and of these a sample.

A sample is drawn group by group: documents have a place in a random order that the seed decides (`token_budget.places`),
and the first N of a group's kept documents are its sample. So one number a group, the last place that is in, says all.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import xxhash

from tagcorpus.errors import IncompleteError
from tagcorpus.pipelines.model_table.groups import Group, Where
from tagcorpus.pipelines.plan import Plan, PlannedFile
from tagcorpus.pipelines.sidecars import Instance, part_name
from tagcorpus.pipelines.storage import Folder

EVERYONE = (1 << 64) - 1

Bools = npt.NDArray[np.bool_]


class Rows:
    """The rows of a range, of which some are chosen; they are asked for batch by batch, in order.

    row int64 [n], sub int32 [n], chosen bool [n]; `where` names the range in messages.
    """

    def __init__(self, row: npt.NDArray[Any], sub: npt.NDArray[Any], chosen: Bools, where: str) -> None:
        self.row, self.sub, self.chosen, self.where = row, sub, chosen, where
        self._at = 0

    def next(self, row: npt.NDArray[Any], sub: npt.NDArray[Any]) -> Bools:
        """Which of the next documents are chosen. Raises IncompleteError where they are not these documents."""
        part = slice(self._at, self._at + len(row))
        if not (np.array_equal(self.row[part], row) and np.array_equal(self.sub[part], sub)):
            raise IncompleteError(f"{self.where} changed during the run: run the same command again")
        self._at += len(row)
        return self.chosen[part]


def kept(output: Folder, filter_: Instance, planned: PlannedFile, k: int, where: Where | None = None) -> Rows:
    """The rows of a range of which the filter's `is_kept` is true (a row that it failed on is not kept), and which belong to
    a group, where it is not one of whole files."""
    told = f"range {k} of {planned.file.name}"
    table = _read(output, filter_.name, planned, k, ["row", "sub", "is_kept"])
    chosen = np.asarray(pc.fill_null(table["is_kept"], False).combine_chunks().to_numpy(zero_copy_only=False))
    if where is not None:
        values = _read(output, where.instance, planned, k, [where.column])[where.column]
        mask = where.mask(values)
        chosen = chosen & np.asarray(pa.chunked_array(mask).combine_chunks().to_numpy(zero_copy_only=False))
    return Rows(table["row"].to_numpy(), table["sub"].to_numpy(), chosen, told)


def _read(output: Folder, instance: str, planned: PlannedFile, k: int, columns: list[str]) -> pa.Table:
    with output.open(part_name(instance, planned.file.name, k)) as file:
        return pq.read_table(file, columns=columns, use_threads=False)


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
        """The chosen rows of a range."""
        found = kept(self.output, self.filter_, planned, k)
        if not self.last:
            return found
        from tagcorpus.pipelines.counting.token_budget import places

        chosen = np.zeros(len(found.row), bool)
        place = places(planned.file.name, found.row, found.sub, self.seed, 0)
        for group in self._of(planned.file.name):
            own = found if group.where is None else kept(self.output, self.filter_, planned, k, group.where)
            chosen |= own.chosen & (place <= np.uint64(self.last[group.id]))
        return Rows(found.row, found.sub, chosen, found.where)

    def _of(self, file_name: str) -> list[Group]:
        return [g for g in self.groups if file_name in g.files]

    def identities(self, plan: Plan) -> dict[str, Any]:
        """By file, what decides the choice; equal where as many are wanted as there are and where all are."""
        by_filter = {"kept_by": self.filter_.identity()}
        found: dict[str, Any] = {}
        for planned in plan.files:
            last = {g.id: self.last.get(g.id, EVERYONE) for g in self._of(planned.file.name)}
            sampled = {"seed": self.seed, "last": _digest(last)} if set(last.values()) != {EVERYONE} else {}
            found[planned.file.name] = by_filter | sampled
        return found


def _digest(last: Mapping[str, int]) -> str:
    return xxhash.xxh3_64_hexdigest(repr(sorted(last.items())).encode())


def choose(
    output: Folder, plan: Plan, filter_: Instance, groups: Sequence[Group], sample: int | None, seed: int
) -> Choice:
    """All kept documents, or with `sample` so many of each group."""
    if sample is None:
        return Choice(output, filter_, groups)
    last = {g.id: _last(list(_places(output, plan, filter_, g, seed)), sample) for g in groups}
    return Choice(output, filter_, groups, seed, last)


def _places(output: Folder, plan: Plan, filter_: Instance, group: Group, seed: int) -> Iterator[npt.NDArray[np.uint64]]:
    from tagcorpus.pipelines.counting.token_budget import places

    for planned, k in group.ranges(plan):
        found = kept(output, filter_, planned, k, group.where)
        yield places(planned.file.name, found.row, found.sub, seed, 0)[found.chosen]


def _last(found: Sequence[npt.NDArray[np.uint64]], sample: int) -> int:
    every = np.concatenate([np.zeros(0, np.uint64), *found])
    return int(np.partition(every, sample - 1)[sample - 1]) if len(every) > sample else EVERYONE
