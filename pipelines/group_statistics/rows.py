"""The attributes of one chunk as columns of numbers, joined by (row, sub): what a feature table's statistics are made of.

Parts of one chunk have the same rows in the same order when the same run made them; nothing here relies on it. Rows that
a part does not have count as not tagged; rows that the filter's part does not have are an error.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from tagcorpus.errors import InputError
from tagcorpus.pipelines.attributes.parts import Instance, part_name, part_of
from tagcorpus.pipelines.feature_table.columns import FILTER, RATIOS
from tagcorpus.pipelines.group_statistics.groups import Group, values_of
from tagcorpus.pipelines.readers.plan import PlannedFile
from tagcorpus.pipelines.storage.folder import Folder

# Why a row without a verdict is not kept: its tagger failed, and the row is in quarantine.
NO_VERDICT = "no_verdict"

# The published spelling of one differs from the tagger's.
KEYWORDS: dict[str, str] = {
    name: name.removesuffix("_ratio").replace("instructions_", "instruction_") for name in RATIOS
}

Floats = npt.NDArray[np.float64]
Rows = npt.NDArray[np.intp]


class ChunkRows:
    """One chunk of a planned file. `instances`: by role, a tagger's name as in SOURCES, `keywords`, `domain` and FILTER."""

    def __init__(self, output: Folder, planned: PlannedFile, k: int, instances: Mapping[str, Instance]) -> None:
        self._output, self._planned, self._k, self._instances = output, planned, k, instances

    @cached_property
    def _base(self) -> tuple[npt.NDArray[np.int64], pa.Table]:
        """Keys of all rows, ascending, and the filter's columns of them."""
        role = FILTER if FILTER in self._instances else next(iter(self._instances))
        return self._part(self._instances[role], ["is_kept"] if role == FILTER else [])

    def fresh(self) -> ChunkRows:
        """The same chunk, with nothing of it in memory."""
        return ChunkRows(self._output, self._planned, self._k, self._instances)

    @property
    def n(self) -> int:
        return len(self._base[0])

    @cached_property
    def kept(self) -> npt.NDArray[np.bool_]:
        """bool [n]: which rows the filter keeps; all where there is none."""
        table = self._base[1]
        if "is_kept" not in table.column_names:
            return np.ones(self.n, bool)
        is_kept: npt.NDArray[np.bool_] = pc.fill_null(table["is_kept"], False).to_numpy()
        return is_kept

    @cached_property
    def reasons(self) -> list[str]:
        """[n]: why a row is not kept, one that is kept included (whose reason means nothing)."""
        if FILTER not in self._instances:
            return [NO_VERDICT] * self.n
        _, table = self._part(self._instances[FILTER], ["reason"])
        return [reason or NO_VERDICT for reason in table["reason"].to_pylist()]

    def rows_of(self, groups: Sequence[Group]) -> list[Rows]:
        """Which rows are each group's, by position here, ascending. Groups of one column take one look at it."""
        rows = [np.arange(self.n) if g.where is None else np.zeros(0, np.intp) for g in groups]
        of_column: dict[tuple[str, str], list[int]] = {}
        for i, group in enumerate(groups):
            if group.where is not None:
                of_column.setdefault((group.where.instance.name, group.where.column), []).append(i)
        for at in of_column.values():
            values = values_of([groups[i] for i in at])
            assert values is not None
            numbers = values.numbers(self._joined(values.instance, [values.column])[0][values.column])
            order = np.argsort(numbers, kind="stable")
            bounds = np.searchsorted(numbers[order], np.arange(len(at) + 1))
            for i, start, end in zip(at, bounds[:-1], bounds[1:], strict=True):
                rows[i] = order[start:end]
        return rows

    def numbers(self, role: str, columns: Sequence[str]) -> dict[str, Floats]:
        """float64 [n] of each column; NaN where there is no finite number."""
        table, _ = self._joined(self._instances[role], columns)
        return {name: _floats(table[name]) for name in columns}

    def texts(self, role: str, columns: Sequence[str]) -> tuple[pa.Table, npt.NDArray[np.bool_]]:
        """The columns as they are, and bool [n]: which rows the part of has at all."""
        return self._joined(self._instances[role], columns)

    def _joined(self, instance: Instance, columns: Sequence[str]) -> tuple[pa.Table, npt.NDArray[np.bool_]]:
        keys = self._base[0]
        own, table = self._part(instance, columns)
        if np.array_equal(own, keys):
            return table, np.ones(len(keys), bool)
        at = np.searchsorted(own, keys)
        is_there = (own[np.minimum(at, len(own) - 1)] == keys) if len(own) else np.zeros(len(keys), bool)
        if int(is_there.sum()) != len(own):
            raise InputError(
                f"chunk {self._k} of {self._planned.file.name}: the part of {instance.name!r} has rows that the others have not; "
                "run the pipeline again, which makes what is out of date anew. If it says so again, a part is damaged: remove "
                f"{self._output}/{part_name(instance.name, self._planned.file.name, self._k)} first"
            )
        return table.take(pa.array(at, mask=~is_there)), is_there

    def _part(self, instance: Instance, columns: Sequence[str]) -> tuple[npt.NDArray[np.int64], pa.Table]:
        """(key of every row, these columns)."""
        table = part_of(self._output, self._planned, self._k, instance, ["row", "sub", *columns])
        row: npt.NDArray[Any] = table["row"].to_numpy() - self._planned.chunks[self._k].first_row
        # A chunk has fewer rows than 2^32, and `sub` fits 31 bits.
        return (row << 31) + table["sub"].to_numpy().astype(np.int64), table.select(columns)


def _floats(column: pa.ChunkedArray) -> Floats:
    values: Floats = np.asarray(pc.fill_null(pc.cast(column, pa.float64()), np.nan), np.float64)
    return np.where(np.isfinite(values), values, np.nan)
