"""Chunks of rows, which a plan consists of, and the counts of reading one chunk."""

from __future__ import annotations

import dataclasses
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from tagcorpus.errors import IncompleteError, LostRowsError


@dataclass(frozen=True)
class Chunk:
    """Consecutive rows of one file: the unit of work, of publishing and of resuming.

    start, end  bytes [start, end) of the decompressed stream (line formats), or rows [start, end) (tables)
    first_row   0-based number of its first row in the file
    rows        number of its rows
    digest      xxh3-128 of the bytes or columns that the rows are read from
    skipped     row intervals [a, b) that repeat earlier samples under another `filter`
    broken      why the file breaks off at `end`; empty if it does not
    columns     (name, digest) of further columns of a table; `digest` covers only the columns that every tagger reads
    piece       (k, n): piece k of a table's row group that is cut into n pieces
    """

    start: int
    end: int
    first_row: int
    rows: int
    digest: str
    skipped: tuple[tuple[int, int], ...] = ()
    broken: str = ""
    columns: tuple[tuple[str, str], ...] = ()
    piece: tuple[int, int] = (0, 1)

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Chunk:
        pairs = {name: tuple(tuple(p) for p in value.get(name, ())) for name in ("skipped", "columns")}
        return cls(**{**value, **pairs, "piece": tuple(value.get("piece", (0, 1)))})

    def to_json(self) -> dict[str, Any]:
        value = dataclasses.asdict(self)
        if self.piece == (0, 1):
            del value["piece"]
        return value


def misplanned(path: str) -> IncompleteError:
    """The error of a reader whose bytes are not those of the plan: the file changed, or the plan is wrong."""
    error = IncompleteError(f"{path} changed while it was being read. Run the same command again, which plans it anew")
    error.misplanned = path
    return error


def costs_a_row(reason: str) -> bool:
    """Whether a row that was quarantined for this reason gave no document."""
    return reason not in ("broken_file", "repeat_not_string") and not reason.startswith("tagger:")


@dataclass
class Counts:
    """Counts of the lines of a chunk, by outcome. `check` proves that no line is missing."""

    lines: int = 0
    read: int = 0
    blank: int = 0
    documents: int = 0
    repaired: int = 0
    filter_duplicates: int = 0
    unsampled: int = 0
    unreadable: int = 0
    text_bytes: int = 0
    quarantined: Counter[str] = field(default_factory=Counter)
    remarks: Counter[str] = field(default_factory=Counter)
    """Counts that taggers report besides their columns, by sentence."""

    def add(self, other: Counts) -> None:
        for f in dataclasses.fields(self):
            if f.name in ("quarantined", "remarks"):
                getattr(self, f.name).update(getattr(other, f.name))
            else:
                setattr(self, f.name, getattr(self, f.name) + getattr(other, f.name))

    @property
    def quarantined_rows(self) -> int:
        """Rows in quarantine: unreadable records, damage, and rows on which a tagger failed."""
        return sum(self.quarantined.values())

    @property
    def refused_rows(self) -> int:
        """Rows in quarantine that gave no document."""
        return sum(n for reason, n in self.quarantined.items() if costs_a_row(reason))

    @property
    def is_broken(self) -> bool:
        return self.quarantined["broken_file"] > 0

    def check(self, planned_rows: int, published: int, where: str) -> None:
        """Raise LostRowsError unless every planned row and every document is accounted for."""
        accounted = (
            self.read + self.blank + self.refused_rows + self.filter_duplicates + self.unsampled + self.unreadable
        )
        if not planned_rows == self.lines + self.unreadable == accounted:
            error = LostRowsError(
                f"{where}: {planned_rows} rows are planned, {self.lines} were read and {accounted} are accounted for; "
                "nothing of this chunk was published. Did the file change during the run? Run the same command again"
            )
            error.misplanned = where.partition(" of ")[2]
            raise error
        if published != self.documents:
            raise LostRowsError(f"{where}: {self.documents} documents were read, {published} would have been published")

    def to_json(self) -> dict[str, Any]:
        value = {**dataclasses.asdict(self), "quarantined": dict(sorted(self.quarantined.items()))}
        del value["remarks"]
        # Parts without remarks keep their bytes.
        return value | ({"remarks": dict(sorted(self.remarks.items()))} if self.remarks else {})

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Counts:
        counters = {name: Counter(value.get(name, {})) for name in ("quarantined", "remarks")}
        return cls(**{**value, **counters})
