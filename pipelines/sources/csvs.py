"""CSV: records may span lines, so a file is cut by walking it once with the parser that will read it.

Bytes are parsed as Latin-1, which maps every byte to one character and back, so that a field with bytes that are not
UTF-8 costs its own row only. Row 0 is the first record after the header; blank lines before the header are no rows.

A quote that is never closed would swallow what follows. So a record of several lines that passes the limit, or is still
inside quotes when the file ends, is taken back: its first physical line is one bad record and ends its range, and
reading goes on with the line after it. Whoever reads the range needs to know nothing of it, for a record that is inside
quotes where its range ends is such a one. Lines are read again AGAIN_AT_MOST times only; then the record ends with the
physical line on which it passes the limit (as one does whose first line alone is too long), or with the file.
"""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import xxhash

from tagcorpus.pipelines.sources.inputs import InputFile
from tagcorpus.pipelines.sources.lines import BOM, HEAD_BYTES, head_of
from tagcorpus.pipelines.sources.ranges import Range, misplanned
from tagcorpus.pipelines.sources.records import REASONS
from tagcorpus.pipelines.sources.streams import BLOCK_BYTES, ByteStream, Damaged

# How often one stretch of a file is read again, so that no file takes more than this many times as long as others.
AGAIN_AT_MOST = 16

# The limit is kept by _Lines, which sees whole records; csv's own counts single fields and is shared by all threads.
csv.field_size_limit(min(sys.maxsize, 2**31 - 1))


@dataclass(frozen=True)
class CsvRecord:
    """One record. `fields` is None where there is a `problem`: too_long, unclosed_quote or bad_csv. `raw`: its first
    bytes."""

    row: int
    offset: int
    raw: bytes
    fields: list[str] | None
    problem: str = ""


class _TooLong(Exception):
    """The record in progress has passed the limit."""


class _Lines:
    """Physical lines as Latin-1. `position` and `digest` are as of the end of the last line given out.

    Where `can_go_back`, the lines after a record's first (up to the limit) are kept until the next record starts.
    """

    def __init__(self, stream: ByteStream, start: int, end: int | None, max_record_bytes: int) -> None:
        stream.seek(start)
        self.stream, self.left = stream, None if end is None else end - start
        self.position = self.record_start = start
        self.max_record_bytes = max_record_bytes
        self.digest = xxhash.xxh3_128()
        self.head = b""
        self.broken = ""
        self.has_ended = False  # a line was wanted, and there was none
        self.can_go_back = False
        self.n_lines = 0  # begun, of the record in progress
        self._first: tuple[int, Any] = start, self.digest  # position and digest after the first of them
        self._after: list[bytes] = []  # the lines after it
        self._rest: list[bytes] = []  # whole lines of the last block, last one first
        self._tail = b""  # what the last block holds of the line after them

    def start_record(self) -> None:
        self.head, self.record_start = b"", self.position
        self.n_lines, self._after = 0, []

    def go_back(self) -> None:
        """Give out the lines after the record's first once more."""
        self.position, self.digest = self._first
        self._rest += reversed(self._after)
        self._after, self.has_ended = [], False

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        is_first = self.position == 0
        is_kept = self.can_go_back and self.n_lines > 0
        if is_kept and self.n_lines == 1:
            self._first = self.position, self.digest.copy()
        self.n_lines += 1
        try:
            line = self._next(is_kept)
        except StopIteration:
            self.has_ended = True
            raise
        if is_kept:
            self._after.append(line)
        if len(self.head) < HEAD_BYTES:
            self.head = (self.head + line)[:HEAD_BYTES]
        if self.position - self.record_start > self.max_record_bytes:
            raise _TooLong
        return (line.removeprefix(BOM) if is_first else line).decode("latin-1")

    def _next(self, is_kept: bool) -> bytes:
        """The next line; only the head of one that is too long. A line to be kept is not read to its end once it is
        too long, but put back."""
        if self._rest:
            line = self._rest.pop()
            self._take(line)
            return line
        line, self._tail = self._tail, b""
        size = len(line)
        pieces = [line]
        self._take(line)
        while True:
            try:
                block = self.stream.read(BLOCK_BYTES if self.left is None else min(BLOCK_BYTES, self.left))
            except Damaged as error:
                self.broken = str(error)
                raise StopIteration from None
            if not block:
                if not size:
                    raise StopIteration
                return b"".join(pieces)
            if self.left is not None:
                self.left -= len(block)
            cut = block.find(b"\n") + 1
            piece = block[:cut] if cut else block
            pieces.append(piece)
            size += len(piece)
            self._take(piece)
            if size > self.max_record_bytes:
                if is_kept and not cut:
                    self._tail = b"".join(pieces)
                    raise _TooLong
                pieces = pieces if is_kept else [head_of(pieces)]
            if cut:
                *lines, self._tail = block[cut:].split(b"\n")
                self._rest = [part + b"\n" for part in reversed(lines)]
                return b"".join(pieces)

    def _take(self, piece: bytes) -> None:
        self.position += len(piece)
        self.digest.update(piece)


def header(file: InputFile, max_line_bytes: int) -> tuple[list[str], int]:
    """Column names, and the offset of the first byte after the header record."""
    names, end, _ = _header(file, max_line_bytes)
    return names, end


def _header(file: InputFile, max_line_bytes: int) -> tuple[list[str], int, str]:
    """Also what is wrong with the header record; there are no names then."""
    stream = ByteStream(file)
    try:
        lines = _Lines(stream, 0, None, max_line_bytes)
        first = next((r for r in _records(lines) if r.fields != []), None)
        problem = first.problem if first and not lines.broken else ""
        fields = (first.fields if first else None) or []
        return [n.encode("latin-1").decode("utf-8", "replace") for n in fields], lines.position, problem
    finally:
        stream.close()


def index(file: InputFile, shard_bytes: int, max_line_bytes: int, max_rows: int | None = None) -> list[Range]:
    """Ranges of whole records, about `shard_bytes` each. A digest covers the column names and the range's bytes. Without
    a header that can be read there is one broken range."""
    names, start, problem = _header(file, max_line_bytes)
    if problem:
        told = f"the header cannot be read ({problem}: {REASONS[problem]})"
        return [Range(0, 0, 0, 0, _digest_of(names).hexdigest(), broken=told)]
    stream = ByteStream(file)
    try:
        lines = _Lines(stream, start, None, max_line_bytes)
        lines.digest = _digest_of(names)
        ranges: list[Range] = []
        begin, first_row, row = start, 0, 0
        end, digest = start, lines.digest.copy()
        for record in _records(lines, AGAIN_AT_MOST):
            if lines.broken:
                break  # the parser gives out what it has of the record that the damage cut off
            row = record.row + 1
            end, digest = lines.position, lines.digest.copy()
            is_full = end >= (begin // shard_bytes + 1) * shard_bytes or row == max_rows
            if is_full or record.problem == "unclosed_quote":
                ranges.append(Range(begin, end, first_row, row - first_row, digest.hexdigest()))
                begin, first_row, lines.digest = end, row, _digest_of(names)
                digest = lines.digest.copy()
            if row == max_rows:
                return ranges
        if lines.broken or row > first_row or not ranges:
            ranges.append(Range(begin, end, first_row, row - first_row, digest.hexdigest(), broken=lines.broken))
        return ranges
    finally:
        stream.close()


def read(stream: ByteStream, range_: Range, max_line_bytes: int, where: str) -> Iterator[CsvRecord]:
    """The records of a range. Raises IncompleteError when their bytes are not those that were planned."""
    lines = _Lines(stream, range_.start, range_.end, max_line_bytes)
    lines.digest = _digest_of(header(stream.file, max_line_bytes)[0])
    for record in _records(lines):
        yield CsvRecord(range_.first_row + record.row, record.offset, record.raw, record.fields, record.problem)
    if lines.position != range_.end or lines.digest.hexdigest() != range_.digest:
        raise misplanned(where)


def _digest_of(names: list[str]) -> Any:
    return xxhash.xxh3_128(repr(names).encode("utf-8", "surrogatepass"))


def _records(lines: _Lines, again: int = 0) -> Iterator[CsvRecord]:
    """Records one after another. `again`: how often lines that a record swallowed are read once more."""
    reader = csv.reader(lines)
    row = 0
    seen, left = 0, again  # how far lines were read, and how often those before it may still be read again
    while True:
        lines.start_record()
        if lines.position >= seen:
            left = again
        lines.can_go_back = left > 0
        fields, problem = None, ""
        try:
            fields = next(reader)
        except StopIteration:
            return
        except _TooLong:
            problem = "too_long"
        except csv.Error:
            problem = "bad_csv"
        if lines.has_ended and not lines.broken:
            fields, problem = None, "unclosed_quote"
        if problem in ("too_long", "unclosed_quote") and lines.can_go_back and lines.n_lines > 1:
            seen, left = max(seen, lines.position), left - 1
            lines.go_back()
            reader, problem = csv.reader(lines), "unclosed_quote"
        yield CsvRecord(row, lines.record_start, lines.head, fields, problem)
        row += 1
