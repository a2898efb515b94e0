"""Parquet and Arrow files: cut into row ranges by their row groups or record batches, read only the columns needed.

A range's digest covers the stored bytes of those columns (Parquet) or their buffers (Arrow), so a rewritten file
redoes the ranges whose content changed and no others; the footer alone would not show an edit that keeps every size.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import xxhash

from tagcorpus.pipelines.inputs import InputFile
from tagcorpus.pipelines.ranges import Range

ROWS_PER_READ = 1024
UNREADABLE = (pa.ArrowException, OSError)


def index(file: InputFile, shard_bytes: int, columns: Sequence[str], max_rows: int | None = None) -> list[Range]:
    """Row ranges of about `shard_bytes` of the given columns. A file whose footer cannot be read is one broken range."""
    try:
        with _opened(file) as table:
            chunks = list(table.chunks(columns))
    except UNREADABLE as error:
        return [Range(0, 0, 0, 0, "", broken=f"not a readable {file.format} file: {error}")]
    ranges: list[Range] = []
    row, begin, size = 0, 0, 0
    digest = xxhash.xxh3_128()
    for rows, n_bytes, mark in chunks:
        # A single chunk of several ranges' size is cut by rows, so that one big row group keeps all workers busy.
        pieces = min(max(1, n_bytes // shard_bytes), max(rows, 1))
        if pieces > 1 and row > begin:
            ranges.append(Range(begin, row, begin, row - begin, digest.hexdigest()))
            begin, size, digest = row, 0, xxhash.xxh3_128()
        for piece in range(pieces):
            digest.update(mark + b"%d/%d" % (piece, pieces))
            row += rows * (piece + 1) // pieces - rows * piece // pieces
            size += n_bytes // pieces
            if max_rows is not None and row >= max_rows:
                taken = max_rows - begin
                return [*ranges, Range(begin, max_rows, begin, taken, f"{digest.hexdigest()}-{taken}")]
            if size >= shard_bytes or pieces > 1:
                ranges.append(Range(begin, row, begin, row - begin, digest.hexdigest()))
                begin, size, digest = row, 0, xxhash.xxh3_128()
    if row > begin or not ranges:
        ranges.append(Range(begin, row, begin, row - begin, digest.hexdigest()))
    return ranges


def column_names(file: InputFile) -> list[str]:
    """Names of the top-level columns."""
    with _opened(file) as table:
        return list(table.names)


def schema(file: InputFile) -> pa.Schema:
    """The whole schema of the file."""
    with _opened(file) as table:
        return table.schema


def read(file: InputFile, range_: Range, columns: Sequence[str], stop: int | None = None) -> Iterator[pa.RecordBatch]:
    """Record batches of at most ROWS_PER_READ rows, before row `stop` where it is given. Raises one of UNREADABLE where
    the file is damaged."""
    with _opened(file) as table:
        yield from table.rows(range_.start, range_.end if stop is None else stop, columns)


class _Parquet:
    def __init__(self, source: Any) -> None:
        self.source = source
        self.file = pq.ParquetFile(source, buffer_size=1 << 20)
        self.schema: pa.Schema = self.file.schema_arrow
        self.names = self.schema.names

    def chunks(self, columns: Sequence[str]) -> Iterator[tuple[int, int, bytes]]:
        metadata = self.file.metadata
        for g in range(metadata.num_row_groups):
            group = metadata.row_group(g)
            digest, size = xxhash.xxh3_128(), 0
            for c in range(group.num_columns):
                column = group.column(c)
                if column.path_in_schema.split(".")[0] not in columns:
                    continue
                size += column.total_uncompressed_size
                shape = (
                    column.path_in_schema,
                    column.physical_type,
                    column.compression,
                    column.num_values,
                    column.encodings,
                )
                digest.update(repr(shape).encode())
                self._hash(digest, _chunk_start(column), column.total_compressed_size)
            yield group.num_rows, size, digest.digest()

    def _hash(self, digest: Any, start: int, size: int) -> None:
        self.source.seek(start)
        while size > 0 and (block := self.source.read(min(size, 1 << 20))):
            digest.update(block)
            size -= len(block)

    def rows(self, start: int, end: int, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        first = 0
        names = [n for n in self.names if n in columns]
        for g in range(self.file.metadata.num_row_groups):
            rows = self.file.metadata.row_group(g).num_rows
            if first + rows > start and first < end:
                batches = self.file.iter_batches(ROWS_PER_READ, row_groups=[g], columns=names, use_threads=False)
                yield from _within(batches, first, start, end)
            first += rows


class _Arrow:
    def __init__(self, source: Any) -> None:
        try:
            self.reader: Any = pa.ipc.open_file(source)
        except pa.ArrowInvalid:
            source.seek(0)
            self.reader = pa.ipc.open_stream(source)
        self.schema: pa.Schema = self.reader.schema
        self.names = self.schema.names

    def _batches(self) -> Iterator[pa.RecordBatch]:
        if isinstance(self.reader, pa.RecordBatchFileReader):
            for i in range(self.reader.num_record_batches):
                yield self.reader.get_batch(i)
        else:
            yield from self.reader

    def chunks(self, columns: Sequence[str]) -> Iterator[tuple[int, int, bytes]]:
        for batch in self._batches():
            wanted = batch.select([n for n in batch.schema.names if n in columns])
            digest = xxhash.xxh3_128(str(wanted.schema).encode())
            sink = pa.BufferOutputStream()
            with pa.ipc.new_stream(sink, wanted.schema) as writer:
                writer.write_batch(wanted)
            digest.update(sink.getvalue())
            yield batch.num_rows, wanted.nbytes, digest.digest()

    def rows(self, start: int, end: int, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        first = 0
        for batch in self._batches():
            if first >= end:
                return
            if first + batch.num_rows > start:
                wanted = batch.select([n for n in batch.schema.names if n in columns])
                slices = (wanted.slice(i, ROWS_PER_READ) for i in range(0, batch.num_rows, ROWS_PER_READ))
                yield from _within(slices, first, start, end)
            first += batch.num_rows


def _within(batches: Iterator[pa.RecordBatch], first: int, start: int, end: int) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        low, high = max(start - first, 0), min(end - first, batch.num_rows)
        if low < high:
            yield batch.slice(low, high - low)
        first += batch.num_rows
        if first >= end:
            return


def _chunk_start(column: Any) -> int:
    starts = [column.data_page_offset]
    if column.has_dictionary_page and column.dictionary_page_offset:
        starts.append(column.dictionary_page_offset)
    return int(min(starts))


@contextlib.contextmanager
def _opened(file: InputFile) -> Iterator[_Parquet | _Arrow]:
    with contextlib.ExitStack() as stack:
        if file.is_local and file.format == "arrow":
            source: Any = stack.enter_context(pa.memory_map(file.path))
        else:
            source = stack.enter_context(file.open())
        yield _Parquet(source) if file.format == "parquet" else _Arrow(source)
