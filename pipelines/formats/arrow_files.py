"""Arrow files and streams as a sequence of record batches: their digests, their rows, and bytes behind their end.

Joined streams are read one after another. Other bytes behind a stream are damage, and so is a footer whose offsets do not
count from the beginning of the file.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import xxhash

from tagcorpus.pipelines.formats.parquet_files import BYTES_PER_READ, INDEX_BYTES, ROWS_PER_READ, is_top

MAGIC = b"ARROW1"
BEHIND = "the file breaks off before its footer"


class ArrowTable:
    def __init__(self, source: Any) -> None:
        self.source = source
        source.seek(0)
        self._is_file = bytes(source.read(8)) == MAGIC + b"\0\0"
        self._size = _size(source)
        self.is_torn = False
        reader = self._first_reader()
        self.schema: pa.Schema = reader.schema
        self.names: list[str] = self.schema.names

    def _first_reader(self) -> Any:
        self.source.seek(0)
        if self._is_file:
            try:
                return pa.ipc.open_file(self.source, options=_options())
            except pa.ArrowInvalid:
                self.is_torn = True
            self.source.seek(8)  # a stream follows the first bytes
        return pa.ipc.open_stream(self.source, options=_options())

    def groups(self, columns: Sequence[str], start: int = 0) -> Iterator[Batch]:
        """Record batches with these top-level columns, from the one with row `start` on, or from an empty one before it."""
        first = 0
        for batch in self._batches(columns):
            if first + batch.num_rows > start or first == start:
                yield Batch(batch, first)
            first += batch.num_rows

    def is_ahead(self, row: int, start: int) -> bool:
        """Whether `start` is at or after `row`: a stream is read from its beginning."""
        return start >= row

    def _batches(self, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        if self._is_file and not self.is_torn:
            options = _options([i for i, n in enumerate(self.names) if n in columns])
            self.source.seek(0)
            reader = pa.ipc.open_file(self.source, options=options)
            for i in range(reader.num_record_batches):
                yield _selected(reader.get_batch(i), columns)
            return
        begin = 8 if self.is_torn else 0
        while True:
            self.source.seek(begin)
            names = self._stream(begin).schema.names
            self.source.seek(begin)
            options = _options([i for i, n in enumerate(names) if n in columns])
            for batch in pa.ipc.open_stream(self.source, options=options):
                yield _selected(batch, columns)
            if self.is_torn:
                raise pa.ArrowInvalid(BEHIND)
            begin = self.source.tell()
            if begin >= self._size:
                return

    def _stream(self, begin: int) -> Any:
        try:
            return pa.ipc.open_stream(self.source, options=_options())
        except (pa.ArrowException, OSError) as error:
            if not begin:
                raise
            self.source.seek(begin)
            rest = bytes(self.source.read(16))
            raise pa.ArrowInvalid(
                f"{self._size - begin:,} bytes follow the end of the stream and are no Arrow stream (they begin with {rest!r})"
            ) from error

    def misfit(self) -> tuple[str, bool]:
        """Why the footer does not fit the file (empty if it fits), and whether the whole file is unusable."""
        if not self._is_file or self.is_torn:
            return "", False
        footer, blocks = self._footer()
        end = 8
        for offset, header, body in blocks:
            if offset < 8 or header < 0 or body < 0 or offset + header + body > footer:
                return "its footer places a record batch outside of the file", True
            end = max(end, offset + header + body)
        shift = footer - end
        first = max(shift - INDEX_BYTES, 0)
        self.source.seek(first)
        if shift > 16 and MAGIC * 2 in bytes(self.source.read(shift + 16 - first)):
            return "it looks like two Arrow files joined: convert each of them by itself", True
        return "", False

    def gap(self) -> int:
        """Bytes before the footer that belong to nothing. The mark that ends the batches has at most 8 bytes, and padding has
        at most 64."""
        if not self._is_file or self.is_torn:
            return 0
        footer, blocks = self._footer()
        gap = footer - max((offset + header + body for offset, header, body in blocks), default=footer)
        return gap if gap > 8 + 64 else 0

    def _footer(self) -> tuple[int, list[tuple[int, int, int]]]:
        """The offset of the footer, and (offset, bytes of metadata, bytes of body) of every message that it lists."""
        self.source.seek(self._size - 10)
        length = int.from_bytes(bytes(self.source.read(4)), "little", signed=True)
        begin = self._size - 10 - length
        self.source.seek(begin)
        data = bytes(self.source.read(length))
        try:
            return begin, [block for field in (2, 3) for block in _blocks(data, field)]
        except struct.error as error:
            raise pa.ArrowInvalid(f"the footer is damaged: {error}") from error


@dataclass(frozen=True)
class Batch:
    """A record batch; `first` is the number of its first row in the file."""

    batch: pa.RecordBatch
    first: int

    @property
    def rows(self) -> int:
        return int(self.batch.num_rows)

    def n_bytes(self, columns: Sequence[str]) -> int:
        """Bytes of these top-level columns."""
        return int(_selected(self.batch, columns).nbytes)

    stored_bytes = n_bytes

    def mark(self, columns: Sequence[str]) -> bytes:
        """The digest of these top-level columns."""
        batch = _selected(self.batch, columns)
        digest = xxhash.xxh3_128(str(batch.schema).encode())
        with pa.ipc.new_stream(pa.PythonFile(_Digesting(digest), "w"), batch.schema) as writer:
            writer.write_batch(batch)
        return digest.digest()

    def batches(self, paths: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """The rows, with the top-level columns of these paths."""
        batch = self.batch.select([i for i, n in enumerate(self.batch.schema.names) if is_top(n, paths)])
        at_once = min(ROWS_PER_READ, max(1, BYTES_PER_READ * batch.num_rows // max(batch.nbytes, 1)))
        for i in range(0, batch.num_rows, at_once):
            yield batch.slice(i, at_once)


def _selected(batch: pa.RecordBatch, columns: Sequence[str]) -> pa.RecordBatch:
    return batch.select([i for i, n in enumerate(batch.schema.names) if n in columns])


def _options(fields: Sequence[int] = ()) -> pa.ipc.IpcReadOptions:
    """fields: numbers of the fields to read; empty for all"""
    return pa.ipc.IpcReadOptions(included_fields=list(fields), use_threads=False)


def _size(source: Any) -> int:
    source.seek(0, 2)
    return int(source.tell())


class _Digesting:
    """A sink that keeps only the digest."""

    closed = False

    def __init__(self, digest: Any) -> None:
        self.write = digest.update

    def flush(self) -> None:
        """Nothing to do: the sink has no buffer."""


def _blocks(footer: bytes, field: int) -> Iterator[tuple[int, int, int]]:
    """The blocks of one field of a footer, which is a FlatBuffers table. Field 2 has the dictionaries, field 3 the record
    batches. A block is an offset (int64), bytes of metadata (int32, padded to 8 bytes) and bytes of body (int64)."""
    (table,) = struct.unpack_from("<I", footer, 0)
    (back,) = struct.unpack_from("<i", footer, table)
    fields = table - back
    (size,) = struct.unpack_from("<H", footer, fields)
    if 4 + 2 * field >= size:
        return
    (place,) = struct.unpack_from("<H", footer, fields + 4 + 2 * field)
    if not place:
        return
    (vector,) = struct.unpack_from("<I", footer, table + place)
    vector += table + place
    (n,) = struct.unpack_from("<I", footer, vector)
    if n > len(footer) // 24:
        raise struct.error(f"{n} blocks")
    for i in range(n):
        yield struct.unpack_from("<qixxxxq", footer, vector + 4 + 24 * i)
