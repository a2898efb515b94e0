"""Parquet and Arrow files: cut into row chunks by their row groups or record batches, read only the columns needed.

A chunk's digest covers the stored bytes of those columns (Parquet) or their buffers (Arrow), so a rewritten file
redoes the chunks whose content changed and no others; the footer alone would not show an edit that keeps every size. Who
reads a chunk to its end proves that digest. The native reader runs in a process of its own only (see reader_process).
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
# Errors that say something about this program, and not about the file.
_OWN_ERRORS = (TagcorpusError, TypeError, AttributeError, NameError, AssertionError)


@dataclass(frozen=True)
class Columns:
    """paths    what is read: `text`, `doc.text`, `messages[*].content`
    planned  the top-level columns that a chunk's digest covers
    further  name -> the top-level columns that its digest in `Range.columns` covers"""

    paths: tuple[str, ...]
    planned: tuple[str, ...]
    further: tuple[tuple[str, tuple[str, ...]], ...] = ()

    def tops(self) -> list[str]:
        """Names of the top-level columns that are read or proved, be they there or not: a joined stream may have others than the
        first."""
        further = (n for _, columns in self.further for n in columns)
        return list(dict.fromkeys([*self.planned, *further, *(n for path in self.paths for n in (path, top(path)))]))


def index(file: InputFile, chunk_bytes: int, columns: Sequence[str], max_rows: int | None = None) -> list[Chunk]:
    """Row chunks of about `chunk_bytes` of the given columns. Where the file cannot be read on, the last one is broken
    (and holds no rows when it is the footer that cannot be read)."""
    try:
        return reader_process.call(_index, file, chunk_bytes, columns, max_rows)  # type: ignore[no-any-return]
    except ReaderCrashed as error:
        return [Chunk(0, 0, 0, 0, xxhash.xxh3_128().hexdigest(), broken=str(error))]


def with_further_columns(file: InputFile, chunks: list[Chunk], further: Mapping[str, Sequence[str]]) -> list[Chunk]:
    """The chunks with a digest of each further column: name -> the top-level columns it is read from."""
    for name, columns in further.items():
        try:
            starts, marks = reader_process.call(_marks, file, columns)
        except ReaderCrashed:
            starts, marks = [], []  # who reads the column is told

        def digest(r: Chunk, starts: list[int] = starts, marks: list[bytes] = marks) -> str:
            value = xxhash.xxh3_128()
            first = max(bisect.bisect_right(starts, r.start) - 1, 0)
            for k in range(first, bisect.bisect_left(starts, r.end)):
                value.update(marks[k] + b"%d" % (starts[k] - r.start))
            return value.hexdigest()

        chunks = [replace(r, columns=(*r.columns, (name, digest(r)))) for r in chunks]
    return chunks


def gap(file: InputFile) -> int:
    """Bytes in front of a file's footer that nothing explains; 0 also where the file is damaged."""
    try:
        return int(reader_process.call(_gap, file))
    except (ReaderCrashed, Damaged):
        return 0


def stored_bytes(file: InputFile, columns: Sequence[str], rows: Sequence[tuple[int, int]]) -> int:
    """Bytes, as they are stored, of the columns in the row groups that hold any of these rows [first, end); 0 for a damaged
    file, of which nothing is read."""
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
    """Record batches of at most ROWS_PER_READ rows, before row `stop` where it is given.

    Raises Damaged where the file is, and IncompleteError where its content is not what was planned. A row inside a row
    group or a stream is reached only through those before it, so the file stays open for the next chunk to read on.
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
                # A single group of several chunks' size is cut by rows, so that one big row group keeps all workers
                # busy.
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
    """First row and digest of every group; up to the damage where there is any, which the chunk itself tells."""
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
    with _damage_told(), _opened(file) as table:
        return table.gap()


def _stored_bytes(file: InputFile, columns: Sequence[str], rows: Sequence[tuple[int, int]]) -> int:
    with _damage_told(), _opened(file) as table:
        return sum(
            group.stored_bytes(columns)
            for group in table.groups(columns)
            if any(start < group.first + group.rows and end > group.first for start, end in rows)
        )


def _schema(file: InputFile) -> pa.Schema:
    with _damage_told(), _opened(file) as table:
        return table.schema


def _damage(error: Exception) -> str:
    """What an error says about the file's content; raises the error where it says nothing about that. One with a number
    comes from the operating system or the store, and may not come again."""
    is_of_system = isinstance(error, OSError) and error.errno not in (
        None,
        errno.EINVAL,
    )  # EINVAL: a place before the file
    if isinstance(error, _OWN_ERRORS) or is_of_system:
        raise error
    return str(error)


@contextlib.contextmanager
def _damage_told() -> Iterator[None]:
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
    _thread.cursor = None  # one that fails, or is not read to its end, is not used again
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
    """A place in a table from which reading goes forward."""

    def __init__(self, file: InputFile, columns: Columns, key: Any) -> None:
        self.key = key
        self._file, self._columns = file, columns
        self._stack = contextlib.ExitStack()
        try:
            self._table = self._stack.enter_context(_opened(file))
        except Exception as error:
            _damage(error)
            raise misplanned(file.path) from error  # it could be opened when it was planned
        self._tops = columns.tops()
        self._go_to(0)

    def close(self) -> None:
        self._stack.close()

    def _go_to(self, row: int) -> None:
        self._groups: Iterator[Group] = iter(self._table.groups(self._tops, row))
        self._row = row
        self._group: Group | None = None  # in work, and how far it is read:
        self._batches: Iterator[pa.RecordBatch] | None = None
        self._batch: pa.RecordBatch | None = None
        self._first = 0  # row of that batch

    def _next_group(self) -> Group | None:
        group: Group | None = next(self._groups, None)
        self._group, self._batches, self._batch = group, None, None
        return group

    def take(self, chunk: Chunk, stop: int) -> Iterator[pa.RecordBatch]:
        """The rows of a chunk before `stop`, and then the proof that the whole chunk is what was planned."""
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
                    if stop < chunk.end:  # what was asked for is read, and what follows is damaged
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
        """Whether the file is not what was planned, as far as that can be told of one that cannot be read."""
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

    An empty group at the border of two chunks belongs to either of them: the one that it was planned with is tried.
    """

    def __init__(self, chunk: Chunk, columns: Columns) -> None:
        self._chunk = chunk
        self._columns = columns
        self._digests = [xxhash.xxh3_128()]
        digests = dict(chunk.columns)
        self._further = {name: xxhash.xxh3_128() for name, _ in columns.further if name in digests}

    def add(self, group: Group) -> None:
        start, end = self._chunk.start, self._chunk.end
        piece = self._chunk.piece if group.rows else (0, 1)
        mark = group.mark(self._columns.planned) + b"%d/%d" % piece
        for digest in self._digests:
            digest.update(mark)
        if not group.rows and group.first == start:
            self._digests.append(xxhash.xxh3_128())
        for name, columns in self._columns.further:
            if name in self._further and group.first < end and (group.rows or group.first > start):
                self._further[name].update(group.mark(columns) + b"%d" % (group.first - start))

    @property
    def is_complete(self) -> bool:
        digests = dict(self._chunk.columns)
        planned = self._chunk.digest.partition("-")[0]
        return any(d.hexdigest() == planned for d in self._digests) and all(
            d.hexdigest() == digests[name] for name, d in self._further.items()
        )


@contextlib.contextmanager
def _opened(file: InputFile) -> Iterator[Table]:
    with contextlib.ExitStack() as stack:
        if file.is_local and file.format == "arrow":
            # Not mapped into memory: a file that is cut short meanwhile would end the process.
            os.stat(file.path)  # for an error that has a number
            source: Any = stack.enter_context(pa.OSFile(os.fsencode(file.path)))  # a name need not be UTF-8
        else:
            source = stack.enter_context(file.open())
            if file.format == "parquet" and not file.is_local:
                source = stack.enter_context(contextlib.closing(FetchedFile(source)))
        yield ParquetTable(source) if file.format == "parquet" else ArrowTable(source)
