"""Columns of an output, read part by part: the one place where `audit` and `compare` read attributes.

A part is as large as its chunk, so memory does not grow with the corpus. Every part that is read is proven by `Kinds`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from copy import copy
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import xxhash

from tagcorpus.errors import ConfigError, InputError, unknown_name
from tagcorpus.pipelines.attributes.parts import Instance
from tagcorpus.pipelines.attributes.read import Kinds, instance_folders, recorded, without_attributes
from tagcorpus.pipelines.readers.plan import Plan, PlannedFile, load_plan
from tagcorpus.pipelines.storage.folder import Folder

LARGEST = 1e100
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class AttributeColumn:
    """One column of an instance."""

    instance: str
    name: str
    type: pa.DataType

    @property
    def label(self) -> str:
        return f"{self.instance}.{self.name}"

    @property
    def is_numeric(self) -> bool:
        kinds = (pa.types.is_integer, pa.types.is_floating, pa.types.is_boolean, pa.types.is_decimal)
        return any(is_kind(self.type) for is_kind in kinds)

    @property
    def is_text(self) -> bool:
        kinds = (pa.types.is_string, pa.types.is_large_string, pa.types.is_dictionary)
        return any(is_kind(self.type) for is_kind in kinds)


@dataclass(frozen=True)
class Rows:
    """The rows of one chunk. rank: its place in the plan; keys: `row`, `sub`, and `id` where it was asked for."""

    rank: int
    planned: PlannedFile
    k: int
    keys: pa.Table
    values: dict[str, pa.ChunkedArray]

    @property
    def n(self) -> int:
        return int(self.keys.num_rows)

    def numbers(self, column: AttributeColumn) -> Floats:
        """float64 [rows]; NaN where there is no value. Raises InputError for a finite number whose square has no room."""
        array = pc.cast(self.values[column.label], pa.float64())
        numbers = np.asarray(array.to_numpy(), np.float64)
        too_large = np.flatnonzero(np.isfinite(numbers) & (np.abs(numbers) > LARGEST))
        if len(too_large):
            i = int(too_large[0])
            raise InputError(
                f"{self.planned.file.name}, row {self.keys['row'][i].as_py():,}, column {column.label}: {numbers[i]:g} is not a number "
                f"between -{LARGEST:g} and {LARGEST:g}; figures of such numbers have no room in a float"
            )
        return numbers


class Attributes:
    """The plan of an output, and the columns that its instances have. Raises InputError where there are none."""

    def __init__(self, output: str) -> None:
        self.folder = Folder(output)
        self.plan = Plan(tuple(load_plan(self.folder)))
        self._keep: Callable[[PlannedFile, int], npt.NDArray[np.bool_]] | None = None
        names = instance_folders(self.folder)
        if not names:
            raise without_attributes(output)
        self.instances: dict[str, Instance] = {n: recorded(self.folder, n, self.plan.files[0]) for n in names}

    @property
    def columns(self) -> list[AttributeColumn]:
        """All columns, by instance and then in the order of the tagger."""
        return [AttributeColumn(i, f.name, f.type) for i, one in self.instances.items() for f in one.tagger.columns]

    @property
    def named(self) -> str:
        """The documents that count, for messages."""
        return f"{self.folder}{'' if self._keep is None else ' for which --where holds'}"

    def of_rows(self, keep: Callable[[PlannedFile, int], npt.NDArray[np.bool_]]) -> Attributes:
        """The same output with the rows of each chunk (file, number) that `keep` marks."""
        other = copy(self)
        other._keep = keep
        return other

    @property
    def order(self) -> list[int]:
        """The chunks in an order by chance, which is the same in every run."""
        return sorted(range(len(self.plan.chunks)), key=lambda rank: xxhash.xxh3_64_intdigest(b"%d" % rank))

    def column(self, name: str, option: str) -> AttributeColumn:
        """The column `instance.column`, or the only one that is called so. `option`: where the name was given.

        Raises ConfigError for a name that no column has, or several.
        """
        columns = {c.label: c for c in self.columns}
        matches = [c for c in columns.values() if name in (c.label, c.name)]
        if len(matches) == 1:
            return matches[0]
        if matches:
            raise ConfigError(f"{option} {name}: this could be {' or '.join(c.label for c in matches)}; say which")
        raise ConfigError(unknown_name("column", name, columns, f"{option}, in {self.folder}"))

    def numeric(self, name: str, option: str) -> AttributeColumn:
        """As `column`; raises ConfigError for a column without numbers."""
        column = self.column(name, option)
        if not column.is_numeric:
            raise ConfigError(f"{option} {column.label}: the column must have numbers, but its type is {column.type}")
        return column

    def of_tagger(self, tagger: str, name: str) -> AttributeColumn | None:
        """The column of the first instance of this tagger, where there is one."""
        for column in self.columns:
            if self.instances[column.instance].tagger_name == tagger and column.name == name:
                return column
        return None

    def description(self, column: AttributeColumn) -> dict[str, Any]:
        """What decides the values of a column: tagger, version and parameters."""
        return self.instances[column.instance].identity()

    def meaning(self, column: AttributeColumn) -> dict[str, str]:
        """`meaning`, `unit` and whatever else the tagger says of a column."""
        field = self.instances[column.instance].tagger.columns.field(column.name)
        return {k.decode(): v.decode() for k, v in (field.metadata or {}).items()}

    def stream(
        self, columns: Sequence[AttributeColumn], *, ids: bool = False, ranks: Iterable[int] | None = None
    ) -> Iterator[Rows]:
        """The rows of every chunk that has any, in plan order; with `ids`, their ids too. `ranks`: these chunks, in this order.

        Raises InputError where a part is missing or damaged, or the parts of a chunk do not have the same rows.
        """
        by_instance: dict[str, list[str]] = {}
        for column in columns:
            names = by_instance.setdefault(column.instance, [])
            if column.name not in names:
                names.append(column.name)
        kinds = Kinds()
        for rank in range(len(self.plan.chunks)) if ranks is None else ranks:
            planned, k = self.plan.chunks[rank]
            values: dict[str, pa.ChunkedArray] = {}
            first: pa.Table | None = None
            for i, names in by_instance.items():
                keys = ["row", "sub", "id"] if ids and first is None else ["row", "sub"]
                part = kinds.part(self.folder, planned, k, self.instances[i], [*keys, *names])
                first = part.select(keys) if first is None else first
                if not (part["row"].equals(first["row"]) and part["sub"].equals(first["sub"])):
                    together = ", ".join(by_instance)
                    raise InputError(
                        f"chunk {k} of {planned.file.name} differs between {together}: run the pipeline again"
                    )
                values |= {f"{i}.{name}": part[name] for name in names}
            if first is not None and first.num_rows and self._keep is not None:
                is_kept = pa.array(self._keep(planned, k))
                first = first.filter(is_kept)
                values = {label: column.filter(is_kept) for label, column in values.items()}
            if first is not None and first.num_rows:
                yield Rows(rank, planned, k, first, values)


def texts(array: pa.ChunkedArray) -> tuple[npt.NDArray[np.int64], list[str | None]]:
    """Numbers of the rows' values, and the values as text; a missing value is None."""
    encoded = pc.dictionary_encode(pc.cast(array, pa.string()).combine_chunks(), null_encoding="encode")
    if isinstance(encoded, pa.ChunkedArray):
        encoded = encoded.combine_chunks()
    return encoded.indices.to_numpy(zero_copy_only=False).astype(np.int64), encoded.dictionary.to_pylist()


def random_numbers(rows: Rows, purpose: int) -> np.random.Generator:
    """A generator that the place of the chunk decides, so that every run gives the same numbers."""
    return np.random.default_rng((purpose, rows.rank))
