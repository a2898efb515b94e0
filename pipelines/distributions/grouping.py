"""Groups of documents: by folder or file, by the values of a column, or by powers of two of a length.

A first pass counts the values; the commonest MOST_GROUPS are groups, all others are one group together.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from tagcorpus.errors import ConfigError, valid_text
from tagcorpus.pipelines.distributions.attribute_columns import AttributeColumn, Attributes, Rows, texts

MOST_GROUPS = 500
# A column with more values than this is not a grouping: perhaps an id.
MOST_VALUES = 10_000
WITHOUT_VALUE = "(none)"
OTHERS = "(all others)"

Codes = npt.NDArray[np.int64]


@dataclass
class Grouping:
    """One way to group the documents of an output.

    kind    file, folder (`level` folders deep), column, or octave (powers of two of a column)
    option  where it was asked for, for messages
    """

    name: str
    kind: str
    column: AttributeColumn | None = None
    level: int = 0
    option: str = ""
    counts: Counter[str] = field(default_factory=Counter)
    too_many: bool = False
    _numbers: dict[str, int] = field(default_factory=dict)

    def count(self, rows: Rows) -> None:
        """The first pass. Raises ConfigError for more than MOST_VALUES values of a grouping that was asked for."""
        if self.too_many:
            return
        codes, labels = self.local(rows)
        for label, n in zip(labels, np.bincount(codes, minlength=len(labels)), strict=True):
            self.counts[label] += int(n)
        if len(self.counts) > MOST_VALUES:
            self.too_many = True
            if self.option:
                raise ConfigError(
                    f"{self.option}: more than {MOST_VALUES:,} values; name a column with few values, such as a source"
                )

    def close(self) -> None:
        """After the first pass: the groups are known."""
        names = [name for name, _ in sorted(self.counts.items(), key=lambda item: (-item[1], item[0]))]
        kept = names if len(names) <= MOST_GROUPS else names[: MOST_GROUPS - 1]
        self._numbers = {name: i for i, name in enumerate(kept)}
        if len(kept) < len(names):
            self._numbers[OTHERS] = len(kept)

    @property
    def labels(self) -> list[str]:
        return list(self._numbers)

    def codes(self, rows: Rows) -> Codes:
        """The group of each row."""
        codes, labels = self.local(rows)
        others = self._numbers.get(OTHERS, 0)
        table = np.array([self._numbers.get(label, others) for label in labels], np.int64)
        return table[codes]

    def of_file(self, name: str) -> str | None:
        """The group of all documents of a file; None where each document has its own."""
        if self.kind not in ("file", "folder"):
            return None
        name = valid_text(name)
        return name if self.kind == "file" else "/".join(name.split("/")[:-1][: self.level]) or name

    def local(self, rows: Rows) -> tuple[Codes, list[str]]:
        """For each row, the place of its value in a list of the chunk's values; and the list."""
        label = self.of_file(rows.planned.file.name)
        if label is not None:
            return np.zeros(rows.n, np.int64), [label]
        assert self.column is not None
        if self.kind == "column":
            codes, values = texts(rows.values[self.column.label])
            return codes, [WITHOUT_VALUE if v is None else v for v in values]
        lengths = rows.numbers(self.column)
        with np.errstate(divide="ignore", invalid="ignore"):
            octave = np.floor(np.log2(lengths))
        codes = np.where(lengths >= 1, np.nan_to_num(octave, posinf=62) + 2, 1)
        codes = np.where(np.isnan(lengths), 0, codes).astype(np.int64)
        return codes, [WITHOUT_VALUE, "below 1", *(f"{_short(2**i)} to {_short(2 ** (i + 1))}" for i in range(63))]


def _short(n: int) -> str:
    """Example  2048 -> 2k"""
    for unit in ("", "k", "M", "G", "T", "P"):
        if n < 1024:
            return f"{n}{unit}"
        n //= 1024
    return f"{n}E"


def source_of(attributes: Attributes) -> Grouping:
    """The first folder of each file, or the file where all are in one folder or in none."""
    names = [planned.file.name for planned in attributes.plan.files]
    folders = {name.split("/")[0] if "/" in name else name for name in names}
    if len(folders) > 1 and any("/" in name for name in names):
        return Grouping("source", "folder", level=1)
    return Grouping("source", "file")


def named(attributes: Attributes, name: str, flag: str = "--by") -> Grouping:
    """The grouping of `--by NAME`: `input`, `level:N`, or a column. Raises ConfigError for a name that is none of these."""
    option = f"{flag} {name}"
    if name == "input":
        return Grouping("input", "file", option=option)
    if name.startswith("level:"):
        level = name.removeprefix("level:")
        if not level.isdecimal() or int(level) < 1:
            raise ConfigError(f"{option}: the level counts folders from the input's root and must be at least 1")
        return Grouping(name, "folder", level=int(level), option=option)
    column = attributes.column(name, flag)
    if not (column.is_numeric or column.is_text):
        raise ConfigError(f"{option}: the column must hold text or numbers, it holds {column.type}")
    return Grouping(column.label, "column", column, option=option)
