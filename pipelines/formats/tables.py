"""Parquet and Arrow files: cut into chunks of rows by their row groups or record batches; only needed columns are read.

A chunk's digest covers the stored bytes of these columns (Parquet) or their buffers (Arrow). So only the chunks whose content
changed are computed again; the footer alone would not show an edit that keeps every size. Reading a chunk to its end checks
the digest. The native reader runs only in a process of its own (see reader_process).
"""

from __future__ import annotations

import bisect
import contextlib
import errno
import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa
import xxhash

from tagcorpus.errors import TagcorpusError
from tagcorpus.pipelines.formats import reader_process
from tagcorpus.pipelines.formats.array_check import check
from tagcorpus.pipelines.formats.arrow_files import ArrowTable, Batch
from tagcorpus.pipelines.formats.parquet_files import FetchedFile, ParquetTable, RowGroup, leaf_paths
from tagcorpus.pipelines.formats.reader_process import ReaderCrashed
from tagcorpus.pipelines.inputs.chunks import Chunk, misplanned
from tagcorpus.pipelines.inputs.input_files import InputFile
from tagcorpus.pipelines.inputs.streams import Damaged
from tagcorpus.pipelines.inputs.values import top

Table = ParquetTable | ArrowTable
Group = RowGroup | Batch
# Errors of this program, not of the file.
_OWN_ERRORS = (TagcorpusError, TypeError, AttributeError, NameError, AssertionError)


@dataclass(frozen=True)
class Columns:
    """paths     paths that are read: `text`, `doc.text`, `messages[*].content`
    planned   the top-level columns that a chunk's digest covers
    optional  name -> the top-level columns that its digest in `Chunk.columns` covers"""

    paths: tuple[str, ...]
    planned: tuple[str, ...]
    optional: tuple[tuple[str, tuple[str, ...]], ...] = ()

    def tops(self) -> list[str]:
        """Top-level columns that are read or checked. The file may lack some: joined streams may have different columns."""
        optional = (n for _, columns in self.optional for n in columns)
        return list(dict.fromkeys([*self.planned, *optional, *(n for path in self.paths for n in (path, top(path)))]))


def index(file: InputFile, chunk_bytes: int, columns: Sequence[str], max_rows: int | None = None) -> list[Chunk]:
    """Chunks of rows with about `chunk_bytes` in the given columns. The last chunk of a damaged file is broken; a damaged
    footer leaves one broken chunk without rows."""
    try:
        return reader_process.call(_index, file, chunk_bytes, columns, max_rows)  # type: ignore[no-any-return]
    except ReaderCrashed as error:
        return [Chunk(0, 0, 0, 0, xxhash.xxh3_128().hexdigest(), broken=str(error))]


def with_further_columns(file: InputFile, chunks: list[Chunk], optional: Mapping[str, Sequence[str]]) -> list[Chunk]:
    """The chunks with a digest of each further column: name -> the top-level columns it is read from."""
    for name, columns in optional.items():
        try:
            starts, marks = reader_process.call(_marks, file, columns)
        except ReaderCrashed:
            starts, marks = [], []  # the reader of the column reports the crash

        def digest(r: Chunk, starts: list[int] = starts, marks: list[bytes] = marks) -> str:
            value = xxhash.xxh3_128()
            first = max(bisect.bisect_right(starts, r.start) - 1, 0)
            for k in range(first, bisect.bisect_left(starts, r.end)):
                value.update(marks[k] + b"%d" % (starts[k] - r.start))
            return value.hexdigest()

        chunks = [replace(r, columns=(*r.columns, (name, digest(r)))) for r in chunks]
    return chunks


def gap(file: InputFile) -> int:
    """Bytes before a file's footer that belong to nothing; 0 for a damaged file."""
    try:
        return int(reader_process.call(_gap, file))
    except (ReaderCrashed, Damaged):
        return 0


def stored_bytes(file: InputFile, columns: Sequence[str], rows: Sequence[tuple[int, int]]) -> int:
    """Stored bytes of the columns in the row groups that hold any of these rows [first, end); 0 for a damaged file."""
    try:
        return int(reader_process.call(_stored_bytes, file, columns, rows))
    except (ReaderCrashed, Damaged):
        return 0


def column_names(file: InputFile, *, is_deep: bool = False) -> list[str]:
    """Names of the top-level columns; with `is_deep`, also the paths into them. Raises Damaged."""
    paths = [path for f in schema(file) for path in leaf_paths(f.name, f.type)] if is_deep else []
    return list(dict.fromkeys([*schema(file).names, *paths]))


def schema(file: InputFile) -> pa.Schema:
    """The whole schema of the file. Raises Damaged."""
    try:
        return reader_process.call(_schema, file)
    except ReaderCrashed as error:
        raise Damaged(str(error)) from None


def read(file: InputFile, chunk: Chunk, columns: Columns, stop: int | None = None) -> Iterator[pa.RecordBatch]:
    """Record batches of at most ROWS_PER_READ rows, before row `stop` if it is given.

    Raises Damaged for a damaged file, and IncompleteError if the content is not that of the plan. Rows inside a row group
    or a stream are reached only through the rows before them, so the file stays open for the next chunk.
    """
    try:
        yield from reader_process.stream(_read, file, chunk, columns, stop)
    except ReaderCrashed as error:
        raise Damaged(str(error)) from None


def _index(file: InputFile, chunk_bytes: int, columns: Sequence[str], max_rows: int | None) -> list[Chunk]:
    chunks: list[Chunk] = []
    row, begin, size = 0, 0, 0
    digest = xxhash.xxh3_128()
    broken = ""
    try:
        with _opened(file) as table:
            problem, is_useless = table.misfit()
            if is_useless:
                raise Damaged(problem)
            for group in table.groups(columns):
                rows, n_bytes, mark = group.rows, group.n_bytes(columns), group.mark(columns)
                # A group larger than a chunk is cut by rows, so that one big row group keeps all workers busy.
                pieces = min(max(1, n_bytes // chunk_bytes), max(rows, 1))
                if pieces > 1 and row > begin:
                    chunks.append(Chunk(begin, row, begin, row - begin, digest.hexdigest()))
                    begin, size, digest = row, 0, xxhash.xxh3_128()
                for piece in range(pieces):
                    digest.update(mark + b"%d/%d" % (piece, pieces))
                    row += rows * (piece + 1) // pieces - rows * piece // pieces
                    size += n_bytes // pieces
                    place = (piece, pieces)
                    if max_rows is not None and row >= max_rows:
                        taken = max_rows - begin
                        mixed = f"{digest.hexdigest()}-{taken}"
                        return [*chunks, Chunk(begin, max_rows, begin, taken, mixed, piece=place)]
                    if size >= chunk_bytes or pieces > 1:
                        chunks.append(Chunk(begin, row, begin, row - begin, digest.hexdigest(), piece=place))
                        begin, size, digest = row, 0, xxhash.xxh3_128()
            if problem:
                raise Damaged(problem)
    except Exception as error:
        broken = f"not a readable {file.format} file: {_damage(error)}"
    if broken or row > begin or not chunks:
        chunks.append(Chunk(begin, row, begin, row - begin, digest.hexdigest(), broken=broken))
    return chunks


def _marks(file: InputFile, columns: Sequence[str]) -> tuple[list[int], list[bytes]]:
    """First row and digest of every group, up to the damage if there is any; the chunk itself records the damage."""
    starts: list[int] = []
    marks: list[bytes] = []
    try:
        with _opened(file) as table:
            for group in table.groups(columns):
                mark = group.mark(columns)
                starts.append(group.first)
                marks.append(mark)
    except Exception as error:
        _damage(error)
    return starts, marks


def _gap(file: InputFile) -> int:
    with _errors_as_damage(), _opened(file) as table:
        return table.gap()


def _stored_bytes(file: InputFile, columns: Sequence[str], rows: Sequence[tuple[int, int]]) -> int:
    with _errors_as_damage(), _opened(file) as table:
        return sum(
            group.stored_bytes(columns)
            for group in table.groups(columns)
            if any(start < group.first + group.rows and end > group.first for start, end in rows)
        )


def _schema(file: InputFile) -> pa.Schema:
    with _errors_as_damage(), _opened(file) as table:
        return table.schema


def _damage(error: Exception) -> str:
    """The message of an error about the file's content. Other errors are raised: errors of this program, and errors with a
    number, which come from the operating system or the object store and may not come again."""
    is_of_system = isinstance(error, OSError) and error.errno not in (
        None,
        errno.EINVAL,
    )  # EINVAL: an offset before the file
    if isinstance(error, _OWN_ERRORS) or is_of_system:
        raise error
    return str(error)


@contextlib.contextmanager
def _errors_as_damage() -> Iterator[None]:
    try:
        yield
    except Damaged:
        raise
    except Exception as error:
        raise Damaged(_damage(error)) from error


_thread = threading.local()


def _read(file: InputFile, chunk: Chunk, columns: Columns, stop: int | None) -> Iterator[pa.RecordBatch]:
    key = (file, columns, file.identity())
    cursor: _Cursor | None = getattr(_thread, "cursor", None)
    _thread.cursor = None  # a cursor that fails, or is not read to its end, is not used again
    if cursor is None or cursor.key != key:
        if cursor is not None:
            cursor.close()
        cursor = _Cursor(file, columns, key)
    try:
        yield from cursor.take(chunk, chunk.end if stop is None else stop)
    except BaseException as error:
        with contextlib.closing(cursor):
            if not isinstance(error, Exception):
                raise
            message = _damage(error)
            if cursor.is_changed(chunk):
                raise misplanned(file.path) from error
        raise Damaged(message) from error
    _thread.cursor = cursor


class _Cursor:
    """A position in a table from which reading goes forward."""

    def __init__(self, file: InputFile, columns: Columns, key: Any) -> None:
        self.key = key
        self._file, self._columns = file, columns
        self._stack = contextlib.ExitStack()
        try:
            self._table = self._stack.enter_context(_opened(file))
        except Exception as error:
            _damage(error)
            raise misplanned(file.path) from error  # the file could be opened when it was planned
        self._tops = columns.tops()
        self._go_to(0)

    def close(self) -> None:
        self._stack.close()

    def _go_to(self, row: int) -> None:
        self._groups: Iterator[Group] = iter(self._table.groups(self._tops, row))
        self._row = row
        self._group: Group | None = None  # the current group, and its batches that are not yet read
        self._batches: Iterator[pa.RecordBatch] | None = None
        self._batch: pa.RecordBatch | None = None
        self._first = 0  # first row of the current batch

    def _next_group(self) -> Group | None:
        group: Group | None = next(self._groups, None)
        self._group, self._batches, self._batch = group, None, None
        return group

    def take(self, chunk: Chunk, stop: int) -> Iterator[pa.RecordBatch]:
        """The rows of a chunk before `stop`; then checks that the whole chunk is that of the plan."""
        if self._row != chunk.start and not (self._group and self._table.is_ahead(self._row, chunk.start)):
            self._go_to(chunk.start)
        proof = _Proof(chunk, self._columns)
        self._row = chunk.start
        group = self._group or self._next_group()
        while group is not None and (group.first < chunk.end or not (group.rows or proof.is_complete)):
            if group.first + group.rows > chunk.start or group.first == chunk.start:
                if self._row < stop:
                    yield from self._rows_of(group, min(group.first + group.rows, stop))
                proof.add(group)
            if group.first + group.rows > chunk.end:
                break
            is_last = group.first + group.rows == chunk.end
            self._group = group = None
            if not (is_last and proof.is_complete):
                try:
                    group = self._next_group()
                except Exception as error:
                    _damage(error)
                    if self._row < stop:
                        raise
                    if stop < chunk.end:  # all rows before `stop` are read, and the damage is behind them
                        self._row = -1
                        return
        if not proof.is_complete:
            raise misplanned(self._file.path)
        self._row = chunk.end

    def _rows_of(self, group: Group, stop: int) -> Iterator[pa.RecordBatch]:
        if self._batches is None:
            self._batches, self._first = group.batches(self._columns.paths), group.first
        while self._row < stop:
            if self._batch is None or self._first + self._batch.num_rows <= self._row:
                self._first += self._batch.num_rows if self._batch is not None else 0
                self._batch = next(self._batches, None)
                if self._batch is None:
                    raise Damaged(f"{stop - self._row} rows are missing")
                for column in self._batch.columns:
                    check(column)
                continue
            low = self._row - self._first
            high = min(stop - self._first, self._batch.num_rows)
            self._row = self._first + high
            yield self._batch.slice(low, high - low)

    def is_changed(self, chunk: Chunk) -> bool:
        """Whether the file is not that of the plan, as far as a damaged file can show it."""
        if self._file.identity() != self.key[2]:
            return True
        proof = _Proof(chunk, self._columns)
        try:
            for group in self._table.groups(self._tops, chunk.start):
                if group.first >= chunk.end and (group.rows or proof.is_complete):
                    break
                proof.add(group)
        except Exception as error:
            _damage(error)
            return False
        return not proof.is_complete


class _Proof:
    """Compares the groups of a chunk with its digests.

    An empty group at the border of two chunks belongs to one of them; both possibilities are tried.
    """

    def __init__(self, chunk: Chunk, columns: Columns) -> None:
        self._chunk = chunk
        self._columns = columns
        self._digests = [xxhash.xxh3_128()]
        digests = dict(chunk.columns)
        self._optional = {name: xxhash.xxh3_128() for name, _ in columns.optional if name in digests}

    def add(self, group: Group) -> None:
        start, end = self._chunk.start, self._chunk.end
        piece = self._chunk.piece if group.rows else (0, 1)
        mark = group.mark(self._columns.planned) + b"%d/%d" % piece
        for digest in self._digests:
            digest.update(mark)
        if not group.rows and group.first == start:
            self._digests.append(xxhash.xxh3_128())
        for name, columns in self._columns.optional:
            if name in self._optional and group.first < end and (group.rows or group.first > start):
                self._optional[name].update(group.mark(columns) + b"%d" % (group.first - start))

    @property
    def is_complete(self) -> bool:
        digests = dict(self._chunk.columns)
        planned = self._chunk.digest.partition("-")[0]
        return any(d.hexdigest() == planned for d in self._digests) and all(
            d.hexdigest() == digests[name] for name, d in self._optional.items()
        )


@contextlib.contextmanager
def _opened(file: InputFile) -> Iterator[Table]:
    with contextlib.ExitStack() as stack:
        if file.is_local and file.format == "arrow":
            # Not mapped into memory, since a file that is cut short meanwhile would then end the process.
            os.stat(file.path)  # raises an error with a number
            source: Any = stack.enter_context(pa.OSFile(os.fsencode(file.path)))  # file names need not be UTF-8
        else:
            source = stack.enter_context(file.open())
            if file.format == "parquet" and not file.is_local:
                source = stack.enter_context(contextlib.closing(FetchedFile(source)))
        yield ParquetTable(source) if file.format == "parquet" else ArrowTable(source)
