"""CSV: records may span lines, so a file is cut by walking it once with the parser that will read it.

Bytes are parsed as Latin-1, which maps every byte to one character and back, so that a field with bytes that are not
UTF-8 costs its own row only. Row 0 is the first record after the header; blank lines before the header are no rows.
A record longer than the limit (a quote that is never closed swallows what follows) ends with the physical line on
which it passes the limit, and is not kept in memory.
"""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import xxhash

from tagcorpus.errors import InputError
from tagcorpus.pipelines.inputs import InputFile
from tagcorpus.pipelines.lines import BOM, HEAD_BYTES
from tagcorpus.pipelines.ranges import Range
from tagcorpus.pipelines.streams import BLOCK_BYTES, ByteStream, Damaged

# The limit is kept by _Lines, which sees whole records; csv's own counts single fields and is shared by all threads.
csv.field_size_limit(min(sys.maxsize, 2**31 - 1))


@dataclass(frozen=True)
class CsvRecord:
    """One record. `fields` is None where there is a `problem`: too_long or bad_csv. `raw`: its first bytes."""

    row: int
    offset: int
    raw: bytes
    fields: list[str] | None
    problem: str = ""


class _TooLong(Exception):
    """The record in progress has passed the limit."""


class _Lines:
    """Physical lines as Latin-1, with what the record in progress has consumed."""

    def __init__(self, stream: ByteStream, start: int, end: int | None, max_record_bytes: int) -> None:
        stream.seek(start)
        self.stream, self.left = stream, None if end is None else end - start
        self.position = self.record_start = start
        self.max_record_bytes = max_record_bytes
        self.digest = xxhash.xxh3_128()
        self.head = b""
        self.broken = ""
        self._rest: list[bytes] = []  # whole lines not given out yet, last first
        self._carry: list[bytes] = []  # the beginning of the line after them
        self._carried = 0

    def start_record(self) -> None:
        self.head, self.record_start = b"", self.position

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        line, size = self._next()
        is_first = self.position == 0
        self.position += size
        if len(self.head) < HEAD_BYTES:
            self.head += line[:HEAD_BYTES]
        if self.position - self.record_start > self.max_record_bytes:
            raise _TooLong
        return (line.removeprefix(BOM) if is_first else line).decode("latin-1")

    def _next(self) -> tuple[bytes, int]:
        """The next line and its size; of a line that is too long only the head is kept."""
        while not self._rest:
            try:
                block = self.stream.read(BLOCK_BYTES if self.left is None else min(BLOCK_BYTES, self.left))
            except Damaged as error:
                self.broken = str(error)
                raise StopIteration from None
            if not block:
                if not self._carried:
                    raise StopIteration
                last, size = b"".join(self._carry), self._carried
                self._carry, self._carried = [], 0
                return last, size
            self.digest.update(block)
            if self.left is not None:
                self.left -= len(block)
            first, newline, _ = block.partition(b"\n")
            self._carry.append(first + newline)
            self._carried += len(first + newline)
            if self._carried > self.max_record_bytes:
                self._carry = [b"".join(self._carry)[:HEAD_BYTES]]
            if newline:
                line, size = b"".join(self._carry), self._carried
                *lines, tail = block[len(first) + 1 :].split(b"\n")
                self._rest = [part + b"\n" for part in reversed(lines)]
                self._carry, self._carried = ([tail] if tail else []), len(tail)
                return line, size
        line = self._rest.pop()
        return line, len(line)


def header(file: InputFile, max_line_bytes: int) -> tuple[list[str], int]:
    """Column names, and the offset of the first byte after the header record."""
    stream = ByteStream(file)
    try:
        lines = _Lines(stream, 0, None, max_line_bytes)
        names = next((r.fields for r in _records(lines) if r.fields != []), None) or []
        return [n.encode("latin-1").decode("utf-8", "replace") for n in names], lines.position
    finally:
        stream.close()


def index(file: InputFile, shard_bytes: int, max_line_bytes: int, max_rows: int | None = None) -> list[Range]:
    """Ranges of whole records, about `shard_bytes` each. A digest covers the column names and the range's bytes."""
    names, start = header(file, max_line_bytes)
    cuts: list[tuple[int, int, int]] = []  # begin, end, first_row
    broken = ""
    stream = ByteStream(file)
    try:
        lines = _Lines(stream, start, None, max_line_bytes)
        begin, first_row, row, end = start, 0, 0, start
        for record in _records(lines):
            if lines.broken:
                break  # the parser gives out what it has of the record that the damage cut off
            row, end = record.row + 1, lines.position
            if end >= (begin // shard_bytes + 1) * shard_bytes or row == max_rows:
                cuts.append((begin, end, first_row))
                begin, first_row = end, row
            if row == max_rows:
                break
        broken = lines.broken
        if broken or row > first_row or not cuts:
            cuts.append((begin, end, first_row))
    finally:
        stream.close()
    rows = [first for _, _, first in cuts[1:]] + [row]
    digests = _digests(file, names, cuts)
    return [
        Range(begin, end, first, rows[i] - first, digests[i], broken=broken if i == len(cuts) - 1 else "")
        for i, (begin, end, first) in enumerate(cuts)
    ]
