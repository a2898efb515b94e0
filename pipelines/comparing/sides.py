"""The two sides of a comparison: two outputs, or two groups of one output."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tagcorpus.errors import ConfigError
from tagcorpus.pipelines.distributions.attribute_columns import AttributeColumn, Attributes, Rows
from tagcorpus.pipelines.distributions.grouping import Grouping, named

OPTION = "--group"
# Chunks that are read for documents and token ids.
MOST_CHUNKS = 256
Taken = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Group:
    """The documents of one value of a grouping."""

    grouping: Grouping
    value: str

    @property
    def name(self) -> str:
        return f"{self.grouping.name}={self.value}"

    def has(self, rows: Rows) -> Taken:
        """Which rows are in the group."""
        codes, labels = self.grouping.local(rows)
        return np.array([label == self.value for label in labels], bool)[codes]


class Sides:
    """A and B. One output with one group: B is all other documents of the output.

    Raises ConfigError for groups that do not fit the outputs.
    """

    def __init__(self, outputs: Sequence[Attributes], groups: Sequence[str] = ()) -> None:
        self.outputs = tuple(outputs)
        if len(self.outputs) == 2 and groups:
            raise ConfigError(f"{OPTION} {groups[0]}: groups are of one output; name one output, or leave {OPTION} out")
        if len(self.outputs) == 1 and len(groups) not in (1, 2):
            raise ConfigError(
                f"compare needs two outputs, or one output and one or two groups: {OPTION} COLUMN=VALUE; got {len(groups)} groups"
            )
        self.groups = tuple(_group(self.outputs[0], text) for text in groups)
        if len(self.groups) == 2 and self.groups[0].name == self.groups[1].name:
            raise ConfigError(f"{OPTION} {groups[1]}: both groups are the same")

    @property
    def are_of_one_output(self) -> bool:
        return len(self.outputs) == 1

    @property
    def names(self) -> tuple[str, str]:
        """What each side is called."""
        if self.are_of_one_output:
            first = self.groups[0].name
            return first, self.groups[1].name if len(self.groups) == 2 else f"all but {first}"
        a, b = (str(one.folder) for one in self.outputs)
        return a, b

    @property
    def rows(self) -> int:
        """Rows of the plans, at least as many as there are documents."""
        return sum(one.plan.rows for one in self.outputs)

    def of(self, side: int) -> Attributes:
        """The output that has the documents of a side."""
        return self.outputs[-1 if side else 0]

    def shared_columns(self) -> tuple[list[AttributeColumn], list[str]]:
        """The columns that both sides have of the same tagger, version and parameters; and a line for each that differs.

        The columns that make the groups are not compared.
        """
        a, b = self.of(0), self.of(1)
        others = {c.label: c for c in b.columns}
        of_groups = {g.grouping.column for g in self.groups}
        columns, skipped = [], []
        for column in a.columns:
            other = others.get(column.label)
            if other is None or column in of_groups:
                continue
            if a.description(column) != b.description(other):
                skipped.append(f"{column.label}: measured with other parameters or another version in each output")
            elif (column.is_numeric and other.is_numeric) or (column.is_text and other.is_text):
                columns.append(column)
        return columns, skipped

    def stream(
        self, columns: Sequence[AttributeColumn], more: Sequence[AttributeColumn] = ()
    ) -> Iterator[tuple[int, Rows, Taken | None]]:
        """Rows of every chunk by side: side, rows, and which of them belong to the side (None: all).

        columns, more  as `shared_columns` gives them; a column in both is read once
        """
        labels = {c.label for c in (*columns, *more)}
        for i, output in enumerate(self.outputs):
            own = [c for c in output.columns if c.label in labels] or output.columns[:1]
            for rows in output.stream([*own, *self.by]):
                for side, taken in self.taken(i, rows):
                    yield side, rows, taken

    def taken(self, output: int, rows: Rows) -> Iterator[tuple[int, Taken | None]]:
        """Each side that has documents among the rows of an output, and which."""
        if not self.are_of_one_output:
            yield output, None
            return
        masks = [group.has(rows) for group in self.groups]
        if len(masks) == 1:
            masks.append(~masks[0])
        for side, taken in enumerate(masks):
            if taken.any():
                yield side, taken

    def by_chance(
        self, i: int, columns: Sequence[AttributeColumn], is_full: Callable[[int], bool], *, ids: bool = False
    ) -> Iterator[tuple[Rows, list[tuple[int, Taken | None]]]]:
        """Rows of an output with the sides that have documents among them, from at most MOST_CHUNKS chunks in an order by chance.

        is_full  whether a side needs no more documents; a chunk that can have only documents of such sides is not read
        """

        def ranks() -> Iterator[int]:
            n = 0
            for rank in self.outputs[i].order:
                if n < MOST_CHUNKS and not all(is_full(side) for side in self._possible(i, rank)):
                    n += 1
                    yield rank

        for rows in self.outputs[i].stream([*columns, *self.by], ids=ids, ranks=ranks()):
            yield rows, list(self.taken(i, rows))

    def _possible(self, output: int, rank: int) -> list[int]:
        """The sides that can have documents in a chunk."""
        if not self.are_of_one_output:
            return [output]
        name = self.outputs[0].plan.chunks[rank][0].file.name
        labels = [group.grouping.of_file(name) for group in self.groups]
        is_in = [None if label is None else label == g.value for label, g in zip(labels, self.groups, strict=True)]
        if len(is_in) == 1:
            is_in.append(None if is_in[0] is None else not is_in[0])
        return [side for side, one in enumerate(is_in) if one is not False]

    @property
    def by(self) -> list[AttributeColumn]:
        """The columns that make the groups."""
        return [g.grouping.column for g in self.groups if g.grouping.column is not None]


def _group(attributes: Attributes, text: str) -> Group:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise ConfigError(f"{OPTION} {text}: write COLUMN=VALUE, such as language.language=en")
    return Group(named(attributes, name, OPTION), value)
