"""Parquet and Arrow files: cut into row ranges by their row groups or record batches, read only the columns needed.

A range's digest covers the stored bytes of those columns (Parquet) or their buffers (Arrow), so a rewritten file
redoes the ranges whose content changed and no others; the footer alone would not show an edit that keeps every size.
"""

from __future__ import annotations

import bisect
import contextlib
import itertools
import threading
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import xxhash

from tagcorpus.pipelines.sources.inputs import InputFile
from tagcorpus.pipelines.sources.ranges import Range

ROWS_PER_READ = 1024
BYTES_PER_READ = 8 << 20
UNREADABLE = (pa.ArrowException, OSError, ValueError, OverflowError)
"""What reading a damaged file raises; see is_damage."""


def index(file: InputFile, shard_bytes: int, columns: Sequence[str], max_rows: int | None = None) -> list[Range]:
    """Row ranges of about `shard_bytes` of the given columns. Where the file cannot be read on, the last one is broken
    (and holds no rows when it is the footer that cannot be read)."""
    ranges: list[Range] = []
    row, begin, size = 0, 0, 0
    digest = xxhash.xxh3_128()
    broken = ""
    try:
        with _opened(file) as table:
            for rows, n_bytes, mark in table.chunks(columns):
                # A single chunk of several ranges' size is cut by rows, so that one big row group keeps all workers
                # busy.
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
    except UNREADABLE as error:
        if not is_damage(error):
            raise
        broken = f"not a readable {file.format} file: {error}"
    if broken or row > begin or not ranges:
        ranges.append(Range(begin, row, begin, row - begin, digest.hexdigest(), broken=broken))
    return ranges


def with_further_columns(file: InputFile, ranges: list[Range], further: Mapping[str, Sequence[str]]) -> list[Range]:
    """The ranges with a digest of each further column: name -> the top-level columns it is read from."""
    for name, columns in further.items():
        starts: list[int] = []
        marks: list[bytes] = []
        row = 0
        try:
            with _opened(file) as table:
                for rows, _, mark in table.chunks(columns):
                    starts.append(row)
                    marks.append(mark)
                    row += rows
        except UNREADABLE as error:
            if not is_damage(error):
                raise  # what is damaged, the range itself says

        def digest(r: Range, starts: list[int] = starts, marks: list[bytes] = marks) -> str:
            found = xxhash.xxh3_128()
            first = max(bisect.bisect_right(starts, r.start) - 1, 0)
            for k in range(first, bisect.bisect_left(starts, r.end)):
                found.update(marks[k] + b"%d" % (starts[k] - r.start))
            return found.hexdigest()

        ranges = [replace(r, columns=(*r.columns, (name, digest(r)))) for r in ranges]
    return ranges


def is_damage(error: BaseException) -> bool:
    """Whether an error of UNREADABLE says something about the file's content. One with a number comes from the
    operating system or the store, and may not come again."""
    return not isinstance(error, OSError) or error.errno is None


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
    the file is damaged.

    A row inside a row group or a stream is reached only through those before it, so the file stays open in its thread
    for the next range to read on.
    """
    end = range_.end if stop is None else stop
    key = (file, tuple(columns), file.identity())
    kept: _Cursor | None = getattr(_thread, "cursor", None)
    _thread.cursor = None  # one that fails, or is not read to its end, is not used again
    if kept is None or not kept.goes_on(key, range_.start):
        if kept is not None:
            kept.close()
        kept = _Cursor(key, file, columns, range_.start)
    try:
        yield from kept.take(range_.start, end)
    except BaseException:
        kept.close()
        raise
    _thread.cursor = kept


_thread = threading.local()


class _Cursor:
    """A place in a table from which reading goes forward only."""

    def __init__(self, key: Any, file: InputFile, columns: Sequence[str], start: int) -> None:
        self.key = key
        self._stack = contextlib.ExitStack()
        self._table = self._stack.enter_context(_opened(file))
        self._pieces = self._table.pieces(start, columns)
        self._batch: pa.RecordBatch | None = None  # what is read already
        self._first = 0  # and the number of its first row

    def close(self) -> None:
        self._pieces.close()
        self._stack.close()

    def goes_on(self, key: Any, start: int) -> bool:
        """Whether reading on from here is the way to row `start`, rather than starting again."""
        return key == self.key and self._batch is not None and self._table.is_ahead(self._first, start)

    def take(self, start: int, end: int) -> Iterator[pa.RecordBatch]:
        while start < end:
            if self._batch is None or self._first + self._batch.num_rows <= start:
                found = next(self._pieces, None)
                if found is None:
                    return
                self._first, self._batch = found
                continue
            low = start - self._first
            high = min(end - self._first, self._batch.num_rows)
            yield self._batch.slice(low, high - low)
            start = self._first + high


class _Parquet:
    def __init__(self, source: Any) -> None:
        self.source = source
        # Not pre-buffered: that would hold whole row groups in memory.
        self.file = pq.ParquetFile(source, buffer_size=1 << 20, pre_buffer=False, page_checksum_verification=True)
        self.schema: pa.Schema = self.file.schema_arrow
        self.names = self.schema.names

    def chunks(self, columns: Sequence[str]) -> Iterator[tuple[int, int, bytes]]:
        metadata = self.file.metadata
        for g in range(metadata.num_row_groups):
            group = metadata.row_group(g)
            digest, size = xxhash.xxh3_128(), 0
            for c in range(group.num_columns):
                column = group.column(c)
                if not _is_of(column.path_in_schema, columns):
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

    def pieces(self, start: int, columns: Sequence[str]) -> Generator[tuple[int, pa.RecordBatch], None, None]:
        """(first row, rows) one after another, from the row group on that holds row `start`."""
        names = [n for n in self.names if n in columns]
        for g, row in enumerate(self._starts()):
            group = self.file.metadata.row_group(g)
            if row + group.num_rows > start:
                at_once, first = _rows_per_read(group, columns), row
                for batch in self.file.iter_batches(at_once, row_groups=[g], columns=names, use_threads=False):
                    yield first, batch
                    first += batch.num_rows

    def _starts(self) -> list[int]:
        """First row of every row group."""
        metadata = self.file.metadata
        rows = [metadata.row_group(g).num_rows for g in range(metadata.num_row_groups)]
        return list(itertools.accumulate(rows[:-1], initial=0)) if rows else []

    def is_ahead(self, row: int, start: int) -> bool:
        """Whether `start` is at or after `row` in the same row group."""
        starts = self._starts()
        return start >= row and bisect.bisect(starts, row) == bisect.bisect(starts, start)


class _Arrow:
    def __init__(self, source: Any) -> None:
        self.source = source
        self.reader, self.is_torn = _ipc(source, [])
        self.schema: pa.Schema = self.reader.schema
        self.names = self.schema.names

    def _batches(self, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        wanted = [n for n in self.names if n in columns]
        self.source.seek(0)
        reader, _ = _ipc(self.source, [i for i, n in enumerate(self.names) if n in columns])
        if isinstance(reader, pa.RecordBatchFileReader):
            found = (reader.get_batch(i) for i in range(reader.num_record_batches))
        else:
            found = iter(reader)
        for batch in found:
            yield batch.select(wanted)
        if self.is_torn:
            raise pa.ArrowInvalid("the file breaks off before its footer")

    def chunks(self, columns: Sequence[str]) -> Iterator[tuple[int, int, bytes]]:
        for batch in self._batches(columns):
            digest = xxhash.xxh3_128(str(batch.schema).encode())
            with pa.ipc.new_stream(pa.PythonFile(_Digesting(digest), "w"), batch.schema) as writer:
                writer.write_batch(batch)
            yield batch.num_rows, batch.nbytes, digest.digest()

    def pieces(self, start: int, columns: Sequence[str]) -> Generator[tuple[int, pa.RecordBatch], None, None]:
        """(first row, rows) one after another, from the record batch on that holds row `start`."""
        first = 0
        for batch in self._batches(columns):
            if first + batch.num_rows > start:
                at_once = min(ROWS_PER_READ, max(1, BYTES_PER_READ * batch.num_rows // max(batch.nbytes, 1)))
                for i in range(0, batch.num_rows, at_once):
                    yield first + i, _checked(batch.slice(i, at_once))
            first += batch.num_rows

    def is_ahead(self, row: int, start: int) -> bool:
        """Whether `start` is at or after `row`: a stream is read from its beginning."""
        return start >= row


def _ipc(source: Any, fields: list[int]) -> tuple[Any, bool]:
    """A reader of these columns (empty: all), and whether it reads a file that lacks its footer."""
    options = pa.ipc.IpcReadOptions(included_fields=fields, use_threads=False)
    try:
        return pa.ipc.open_file(source, options=options), False
    except pa.ArrowInvalid:
        source.seek(0)
        is_torn = source.read(8) == b"ARROW1\0\0"  # what follows is a stream
        if not is_torn:
            source.seek(0)
        return pa.ipc.open_stream(source, options=options), is_torn


def _checked(batch: pa.RecordBatch) -> pa.RecordBatch:
    """The batch, when its offsets lie inside its buffers. Text that is not UTF-8 is its row's matter, not the file's."""
    for column in batch.columns:
        try:
            column.validate(full=True)
        except pa.ArrowInvalid as error:
            if "UTF8" not in str(error):
                raise
    return batch


class _Digesting:
    """A sink that keeps nothing but the digest."""

    closed = False

    def __init__(self, digest: Any) -> None:
        self.write = digest.update

    def flush(self) -> None:
        """Nothing is held back."""


def _is_of(path: str, columns: Sequence[str]) -> bool:
    """Whether a leaf's path belongs to one of these top-level columns (whose names may hold dots themselves)."""
    return any(path == name or path.startswith(f"{name}.") for name in columns)


def _rows_per_read(group: Any, columns: Sequence[str]) -> int:
    """As many rows as have about BYTES_PER_READ on average: a batch of long documents must not fill the memory."""
    leaves = [group.column(c) for c in range(group.num_columns)]
    size = sum(int(c.total_uncompressed_size) for c in leaves if _is_of(c.path_in_schema, columns))
    rows = BYTES_PER_READ * int(group.num_rows) // max(size, 1)
    return min(ROWS_PER_READ, max(1, rows))


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
