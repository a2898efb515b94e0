"""CSV: records may span lines, so a file is cut by walking it once with the parser that will read it.

Bytes are parsed as Latin-1, which maps every byte to one character and back, so that a field with bytes that are not
UTF-8 costs its own row only. Row 0 is the first record after the header.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass

import xxhash

from tagcorpus.errors import InputError
from tagcorpus.pipelines.inputs import InputFile
from tagcorpus.pipelines.lines import BOM
from tagcorpus.pipelines.ranges import Range
from tagcorpus.pipelines.streams import BLOCK_BYTES, ByteStream, Damaged


@dataclass(frozen=True)
class CsvRecord:
    """`fields` None: the record is longer than the limit. `raw` are its bytes, cut at 256."""

    row: int
    offset: int
    raw: bytes
    fields: list[str] | None


class _Lines:
    """Physical lines as Latin-1, with what the record in progress has consumed."""

    def __init__(self, stream: ByteStream, start: int, end: int | None) -> None:
        stream.seek(start)
        self.stream, self.left = stream, None if end is None else end - start
        self.position = start
        self.digest = xxhash.xxh3_128()
        self.head = b""
        self._rest: list[bytes] = []
        self._carry = b""
        self.broken = ""

    def __iter__(self) -> Iterator[str]:
        while (line := self._next()) is not None:
            self.position += len(line)
            self.digest.update(line)
            if len(self.head) < 256:
                self.head += line[:256]
            yield line.decode("latin-1")

    def _next(self) -> bytes | None:
        while not self._rest:
            try:
                block = self.stream.read(BLOCK_BYTES if self.left is None else min(BLOCK_BYTES, self.left))
            except Damaged as error:
                self.broken = str(error)
                return None
            if self.left is not None:
                self.left -= len(block)
            if not block:
                last, self._carry = self._carry, b""
                return last or None
            parts = (self._carry + block).split(b"\n")
            self._carry = parts.pop()
            self._rest = [p + b"\n" for p in reversed(parts)]
        return self._rest.pop()


def header(file: InputFile, max_line_bytes: int) -> tuple[list[str], int]:
    """Column names, and the offset of the first byte after the header record."""
    stream = ByteStream(file)
    try:
        lines = _Lines(stream, 0, None)
        csv.field_size_limit(max_line_bytes)
        names = next(csv.reader(iter(lines)), [])
        plain = [n.encode("latin-1") for n in names]
        if plain and plain[0].startswith(BOM):
            plain[0] = plain[0][len(BOM) :].strip(b'"')
        return [n.decode("utf-8", "replace") for n in plain], lines.position
    finally:
        stream.close()


def index(file: InputFile, shard_bytes: int, max_line_bytes: int, max_rows: int | None = None) -> list[Range]:
    """Ranges of whole records, about `shard_bytes` each."""
    _, start = header(file, max_line_bytes)
    stream = ByteStream(file)
    try:
        lines = _Lines(stream, start, None)
        ranges: list[Range] = []
        begin, first_row, row = start, 0, 0
        end, digest = start, lines.digest.copy()
        for record in _records(lines, max_line_bytes):
            if lines.broken:
                break
            row = record.row + 1
            end, digest = lines.position, lines.digest.copy()
            if end >= (begin // shard_bytes + 1) * shard_bytes or row == max_rows:
                ranges.append(Range(begin, end, first_row, row - first_row, digest.hexdigest()))
                begin, first_row, lines.digest = end, row, xxhash.xxh3_128()
                digest = lines.digest.copy()
            if row == max_rows:
                return ranges
        if lines.broken or row > first_row or not ranges:
            ranges.append(Range(begin, end, first_row, row - first_row, digest.hexdigest(), broken=lines.broken))
        return ranges
    finally:
        stream.close()


def read(stream: ByteStream, range_: Range, max_line_bytes: int, where: str) -> Iterator[CsvRecord]:
    """The records of a range. Raises InputError when their bytes are not those that were planned."""
    lines = _Lines(stream, range_.start, range_.end)
    for record in _records(lines, max_line_bytes):
        yield CsvRecord(range_.first_row + record.row, record.offset, record.raw, record.fields)
    if lines.position != range_.end or lines.digest.hexdigest() != range_.digest:
        raise InputError(f"{where} changed while it was being read; run the same command again to plan it anew")


def _records(lines: _Lines, max_line_bytes: int) -> Iterator[CsvRecord]:
    csv.field_size_limit(max_line_bytes)
    reader = csv.reader(iter(lines))
    row, offset = 0, lines.position
    while True:
        lines.head = b""
        try:
            fields = next(reader)
        except StopIteration:
            return
        except csv.Error:
            yield CsvRecord(row, offset, lines.head[:256], None)
        else:
            yield CsvRecord(row, offset, lines.head[:256], fields)
        row, offset = row + 1, lines.position
