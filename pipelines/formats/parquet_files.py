"""Parquet files as a sequence of row groups: their digests, their rows, and checks that the footer fits the file.

A joined file (`cat a.parquet b.parquet`) has the footer of its last member, whose offsets count from the wrong place. The
footer alone does not show that, so its offsets are compared with the file.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import IO, Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq
import xxhash

from tagcorpus.pipelines.inputs.values import is_list, top

ROWS_PER_READ = 1024
BYTES_PER_READ = 8 << 20
MAGIC = b"PAR1"
# Bytes fetched from an object store stay in memory up to this size, and are in a temporary file above it.
FETCHED_BYTES = 32 << 20
# Indexes between the last column and the footer are smaller than this. Two joined files meet before them.
INDEX_BYTES = 16 << 20


class FetchedFile:
    """A file of an object store that keeps a copy of the last `fetch`. The columns of a row group are read twice, for their
    rows and for their digest, and cross the network once."""

    closed = False

    def __init__(self, source: BinaryIO) -> None:
        self._source = source
        self._position = 0
        self._places: list[tuple[int, int, int]] = []  # start and end in the file, start in the copy
        self._copy: IO[bytes] = tempfile.SpooledTemporaryFile(FETCHED_BYTES)  # noqa: SIM115

    def fetch(self, places: Sequence[tuple[int, int]]) -> None:
        """Bring the bytes at these places, (start, size) each, and forget the earlier ones."""
        self._copy.seek(0)
        self._copy.truncate()
        self._places = []
        for start, size in places:
            self._places.append((start, start + size, self._copy.tell()))
            self._source.seek(start)
            left = size
            while left > 0 and (block := self._source.read(min(left, BYTES_PER_READ))):
                self._copy.write(block)
                left -= len(block)

    def seek(self, offset: int, whence: int = 0) -> int:
        self._position = (
            offset if whence == 0 else self._source.seek(offset, 2) if whence == 2 else self._position + offset
        )
        return self._position

    def tell(self) -> int:
        return self._position

    def read(self, n: int) -> bytes:
        place = next((p for p in self._places if p[0] <= self._position < p[1]), None)
        if place is None:
            self._source.seek(self._position)
            data = self._source.read(n)
        else:
            start, end, begin = place
            self._copy.seek(begin + self._position - start)
            data = self._copy.read(min(n, end - self._position))
        self._position += len(data)
        return data + self.read(n - len(data)) if data and len(data) < n else data

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def close(self) -> None:
        self._copy.close()


class ParquetTable:
    def __init__(self, source: Any) -> None:
        self.source = source
        # Without pre-buffering, which would hold whole row groups in memory.
        self.file = pq.ParquetFile(source, buffer_size=1 << 20, pre_buffer=False, page_checksum_verification=True)
        self.schema: pa.Schema = self.file.schema_arrow
        self.names: list[str] = self.schema.names
        self._first_rows = [0]
        for g in range(self.file.metadata.num_row_groups):
            self._first_rows.append(self._first_rows[-1] + self.file.metadata.row_group(g).num_rows)

    def groups(self, columns: Sequence[str], start: int = 0) -> Iterator[RowGroup]:
        """Row groups with these top-level columns, from the one with row `start` on, or from an empty one before it."""
        for g, first in enumerate(self._first_rows[:-1]):
            if self._first_rows[g + 1] > start or first == start:
                yield RowGroup(self, g, first, tuple(columns))

    def is_ahead(self, row: int, start: int) -> bool:
        """Whether `start` is at or after `row` in the same row group."""
        return start >= row and not any(row < first <= start for first in self._first_rows)

    def misfit(self) -> tuple[str, bool]:
        """Why the footer does not fit the file (empty if it fits), and whether the whole file is unusable."""
        footer = self._footer()
        if self._bytes(0, 4) != MAGIC:
            return (
                "the file does not begin as a Parquet file does: its beginning is missing, or something is in front of it",
                True,
            )
        problem, end = "", 4
        for column in self._columns():
            # A column without values has a dictionary page at most.
            first = _start(column) or column.dictionary_page_offset or 4
            last = first + column.total_compressed_size
            if first < 4 or last > footer or last < first or (column.dictionary_page_offset or 0) >= footer:
                problem = problem or f"its footer places the column {column.path_in_schema} outside of the file"
            end = max(end, last, (column.bloom_filter_offset or 0) + (column.bloom_filter_length or 0))
        if not problem and end < footer and self._is_joined(footer - end):
            return "it looks like two Parquet files joined: convert each of them by itself", True
        if any(b < a for a, b in zip(self._first_rows, self._first_rows[1:], strict=False)):
            return "its footer counts a negative number of rows", True
        return problem, False

    def gap(self) -> int:
        """Bytes before the footer that belong to nothing."""
        end = 4
        for column in self._columns():
            if column.has_column_index or column.has_offset_index or column.bloom_filter_offset:
                return 0
            first = _start(column) or column.dictionary_page_offset or 4
            end = max(end, first + column.total_compressed_size)
        return max(self._footer() - end, 0)

    def _footer(self) -> int:
        """The offset of the footer."""
        self.source.seek(0, 2)
        size = int(self.source.tell())
        return size - 8 - int.from_bytes(self._bytes(size - 8, 4), "little")

    def _columns(self) -> Iterator[Any]:
        metadata = self.file.metadata
        for g in range(metadata.num_row_groups):
            group = metadata.row_group(g)
            for c in range(group.num_columns):
                yield group.column(c)

    def _is_joined(self, shift: int) -> bool:
        """Whether a Parquet file ends and another begins at most INDEX_BYTES before `shift`."""
        first = max(shift - INDEX_BYTES, 4)
        return MAGIC * 2 in self._bytes(first - 4, shift + 8 - (first - 4))

    def _bytes(self, start: int, size: int) -> bytes:
        self.source.seek(start)
        return bytes(self.source.read(size))


@dataclass(frozen=True)
class RowGroup:
    """A row group. `first` is the number of its first row in the file; `columns` are those that are read or checked."""

    table: ParquetTable
    index: int
    first: int
    columns: tuple[str, ...]

    @property
    def rows(self) -> int:
        return int(self._metadata().num_rows)

    def n_bytes(self, columns: Sequence[str]) -> int:
        """Uncompressed bytes of these top-level columns."""
        return sum(int(c.total_uncompressed_size) for c in self._chunks(columns))

    def stored_bytes(self, columns: Sequence[str]) -> int:
        """Bytes of these top-level columns, as they are stored."""
        return sum(int(c.total_compressed_size) for c in self._chunks(columns))

    def mark(self, columns: Sequence[str]) -> bytes:
        """The digest of the stored bytes of these top-level columns."""
        digest = xxhash.xxh3_128()
        source = self.table.source
        for column in self._chunks(columns):
            shape = (
                column.path_in_schema,
                column.physical_type,
                column.compression,
                column.num_values,
                column.encodings,
            )
            digest.update(repr(shape).encode())
            source.seek(_start(column))
            left = column.total_compressed_size
            while left > 0 and (block := source.read(min(left, 1 << 20))):
                digest.update(block)
                left -= len(block)
        return digest.digest()

    def batches(self, paths: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """The rows, with the values at these paths."""
        names = leaves(self.table.schema, paths)
        if len(names) != self.table.file.metadata.num_columns:
            selected = [n for n in self.table.names if is_top(n, paths)]
        else:
            group = self._metadata()
            selected = [group.column(c).path_in_schema for c, is_read in enumerate(names) if is_read]
        size = self.n_bytes([n for n in self.table.names if is_top(n, paths)])
        if isinstance(self.table.source, FetchedFile):
            self.table.source.fetch([(_start(c), c.total_compressed_size) for c in self._chunks(self.columns)])
        at_once = min(ROWS_PER_READ, max(1, BYTES_PER_READ * self.rows // max(size, 1)))
        yield from self.table.file.iter_batches(at_once, row_groups=[self.index], columns=selected, use_threads=False)

    def _metadata(self) -> Any:
        return self.table.file.metadata.row_group(self.index)

    def _chunks(self, columns: Sequence[str]) -> Iterator[Any]:
        group = self._metadata()
        for c in range(group.num_columns):
            column = group.column(c)
            # Names of top-level columns may hold dots themselves.
            if any(column.path_in_schema == n or column.path_in_schema.startswith(f"{n}.") for n in columns):
                yield column


def leaves(schema: pa.Schema, paths: Sequence[str]) -> list[bool]:
    """For every leaf of the schema, in the order of the file's columns, whether it lies at one of the paths.

    Example  {"a": struct<b, c: list<d>>} and ["a.c[*].d"] -> [False, True]
    """
    return [
        any(_is_below(leaf, path) for path in paths) for field in schema for leaf in leaf_paths(field.name, field.type)
    ]


def leaf_paths(path: str, type_: pa.DataType) -> Iterator[str]:
    """The paths of a column's leaves, in the notation of --text-column."""
    if isinstance(type_, pa.BaseExtensionType):
        yield from leaf_paths(path, type_.storage_type)
    elif pa.types.is_struct(type_):
        for field in type_:
            yield from leaf_paths(f"{path}.{field.name}", field.type)
    elif pa.types.is_map(type_):
        yield from leaf_paths(f"{path}[*].key", type_.key_type)
        yield from leaf_paths(f"{path}[*].value", type_.item_type)
    elif is_list(type_):
        yield from leaf_paths(f"{path}[*]", type_.value_type)
    else:
        yield path


def _is_below(leaf: str, path: str) -> bool:
    return leaf == path or leaf.startswith((f"{path}.", f"{path}["))


def is_top(name: str, paths: Iterable[str]) -> bool:
    """Whether a path leads to or into the top-level column of this name."""
    return any(name in (path, top(path)) for path in paths)


def _start(column: Any) -> int:
    starts = [column.data_page_offset]
    if column.has_dictionary_page and column.dictionary_page_offset:
        starts.append(column.dictionary_page_offset)
    return int(min(starts))
