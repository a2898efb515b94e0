"""Write a file's rows into two files of the same format, by a verdict per row."""

from __future__ import annotations

import bz2
import contextlib
import csv
import gzip
import io
import json
import lzma
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from types import TracebackType
from typing import Any, BinaryIO, Literal

import pyarrow as pa
import pyarrow.parquet as pq

from tagcorpus.errors import LostRowsError
from tagcorpus.pipelines.formats import csv_records, json_arrays, lines, tables
from tagcorpus.pipelines.inputs.chunks import Chunk
from tagcorpus.pipelines.inputs.input_files import InputFile
from tagcorpus.pipelines.inputs.streams import ByteStream, Damaged
from tagcorpus.pipelines.options.declaring.dialect import Dialect
from tagcorpus.pipelines.progress.progress_record import progress_writer
from tagcorpus.pipelines.readers.plan import PlannedFile
from tagcorpus.pipelines.readers.reader import ReaderOptions, table_columns

REASON = "filter_reason"
ROW_GROUP_ROWS = 65_536
ROW_GROUP_BYTES = 64 << 20

Verdicts = Iterable[dict[int, str]]
"""Per chunk: row -> why it is removed; empty = kept; a row that is not there goes to neither file."""


TableKind = Literal["parquet", "file", "stream"]
Split = tuple[int, Counter[str]]
"""Rows kept, and rows removed by reason."""


def split(
    planned: PlannedFile, reader_options: ReaderOptions, verdicts: Verdicts, kept: BinaryIO, removed: BinaryIO | None
) -> Split:
    """Write every row with a verdict to `kept` or `removed` (None: nowhere), and return the counts.

    Raises LostRowsError where a row with a verdict is not in the file, and Damaged for a table whose footer cannot be read, or
    that is damaged in columns that tagging had no need to read.
    """
    if planned.file.is_table:
        return _split_table(planned, reader_options, verdicts, kept, removed)
    with contextlib.ExitStack() as stack:
        kept_sink = stack.enter_context(_compressed(kept, planned))
        removed_sink = None if removed is None else stack.enter_context(_compressed(removed, planned))
        if planned.file.is_delimited:
            return _split_csv(planned, reader_options, verdicts, kept_sink, removed_sink)
        return _split_lines(planned, reader_options, verdicts, kept_sink, removed_sink)


class _Tally:
    """Counts rows per verdict, and raises where a row with a verdict is missing."""

    def __init__(self, name: str) -> None:
        self.name, self.kept, self.removed = name, 0, Counter[str]()
        self._judged = self._met = 0

    def expect(self, verdict: dict[int, str]) -> None:
        self._judged += len(verdict)

    def add(self, reason: str) -> None:
        self._met += 1
        if reason:
            self.removed[reason] += 1
        else:
            self.kept += 1

    def result(self) -> Split:
        if self._judged != self._met:
            raise LostRowsError(
                f"{self.name}: {self._judged} rows have a verdict, and the file has {self._met} of them. Run again"
            )
        return self.kept, self.removed


def _split_lines(
    planned: PlannedFile, reader_options: ReaderOptions, verdicts: Verdicts, kept: BinaryIO, removed: BinaryIO | None
) -> Split:
    tally = _Tally(planned.file.name)
    is_array = planned.file.format == "json"
    read = json_arrays.read if is_array else lines.read
    kept_lines, removed_lines = _JsonSink(kept, is_array), None if removed is None else _JsonSink(removed, is_array)
    stream = ByteStream(planned.file)
    try:
        for chunk, verdict in zip(planned.chunks, verdicts, strict=True):
            tally.expect(verdict)
            for line in read(stream, chunk, reader_options.max_line_bytes, planned.file.path):
                reason = verdict.get(line.row)
                if reason is None:
                    continue
                tally.add(reason)
                if not reason:
                    kept_lines.write(line.data)
                elif removed_lines is not None:
                    removed_lines.write(with_reason(line.data, reason))
            progress_writer().done(chunk.rows, chunk.end - chunk.start)
        kept_lines.close()
        if removed_lines is not None:
            removed_lines.close()
    finally:
        stream.close()
    return tally.result()


class _JsonSink:
    """Objects one a line, or in an array, as the input is."""

    def __init__(self, sink: BinaryIO, is_array: bool) -> None:
        self._sink = sink
        self._before, self._after, self._end = (b"[\n", b"", b"\n]\n") if is_array else (b"", b"\n", b"")
        self._between = b",\n" if is_array else b""

    def write(self, data: bytes) -> None:
        self._sink.write(self._before + data + self._after)
        self._before = self._between

    def close(self) -> None:
        if self._end:
            self._sink.write(self._end if self._before == self._between else b"[]\n")


def with_reason(line: bytes, reason: str) -> bytes:
    """A JSON object's line with the reason as one more key; every other byte stays."""
    body = line.rstrip()
    inner = body[:-1].rstrip()
    comma = b"" if inner.endswith(b"{") else b", "
    return body[:-1] + comma + f'"{REASON}": {json.dumps(reason)}'.encode() + b"}" + line[len(body) :]


def _split_csv(
    planned: PlannedFile, reader_options: ReaderOptions, verdicts: Verdicts, kept: BinaryIO, removed: BinaryIO | None
) -> Split:
    tally = _Tally(planned.file.name)
    names, _ = csv_records.header(planned.file, reader_options.max_line_bytes, reader_options.csv)
    dialect = reader_options.csv.of(planned.file.format)
    kept_rows, removed_rows = _CsvSink(kept, dialect), None if removed is None else _CsvSink(removed, dialect)
    header = [n.encode().decode("latin-1") for n in names]
    kept_rows.write(header)
    if removed_rows is not None:
        removed_rows.write([*header, REASON])
    stream = ByteStream(planned.file)
    try:
        for chunk, verdict in zip(planned.chunks, verdicts, strict=True):
            tally.expect(verdict)
            for record in csv_records.read(
                stream, chunk, reader_options.max_line_bytes, planned.file.path, reader_options.csv
            ):
                reason = verdict.get(record.row)
                if reason is None or record.fields is None:
                    continue
                tally.add(reason)
                if not reason:
                    kept_rows.write(record.fields)
                elif removed_rows is not None:
                    removed_rows.write([*record.fields, reason])
            progress_writer().done(chunk.rows, chunk.end - chunk.start)
    finally:
        stream.close()
    return tally.result()


class _CsvSink:
    """Fields are Latin-1 stand-ins for bytes, as csv_records.py reads them."""

    def __init__(self, sink: BinaryIO, dialect: Dialect) -> None:
        self._sink, self._dialect = sink, dialect

    def write(self, fields: list[str]) -> None:
        self._sink.write(csv_line(fields, self._dialect).encode("latin-1"))


def csv_line(fields: Sequence[str | None], dialect: Dialect = Dialect(delimiter=",")) -> str:  # noqa: B008
    """One CSV record, ended by a line feed."""
    delimiter, escape, quote = dialect.delimiter, dialect.escape, dialect.quote
    if escape or not quote:
        return delimiter.join(_escaped(field or "", dialect) for field in fields) + "\n"
    line = io.StringIO()
    # The csv module quotes a carriage return within a field only where it also ends the lines: a bare one would be taken
    # for the end of the record.
    csv.writer(line, delimiter=delimiter, quotechar=quote, lineterminator="\r\n").writerow(fields)
    return line.getvalue().removesuffix("\r\n") + "\n"


def _escaped(field: str, dialect: Dialect) -> str:
    """A field as files with an escape character, or without quotes, have it."""
    delimiter, escape, quote = dialect.delimiter, dialect.escape, dialect.quote
    if escape:
        field = field.replace(escape, escape * 2).replace(quote or delimiter, escape + (quote or delimiter))
    needs_quotes = quote and (not field or any(c in field for c in (delimiter, escape, quote, "\r", "\n")))
    return f"{quote}{field}{quote}" if needs_quotes else field


def _split_table(
    planned: PlannedFile, reader_options: ReaderOptions, verdicts: Verdicts, kept: BinaryIO, removed: BinaryIO | None
) -> Split:
    tally = _Tally(planned.file.name)
    schema = tables.schema(planned.file)
    columns = tables.Columns(tuple(schema.names), table_columns(reader_options).planned)
    with_reasons = schema.append(pa.field(REASON, pa.string()))
    kind = _kind_of(planned.file)
    with contextlib.ExitStack() as stack:
        kept_rows = stack.enter_context(TableSink(kept, schema, kind))
        removed_rows = None if removed is None else stack.enter_context(TableSink(removed, with_reasons, kind))
        for chunk, verdict in zip(planned.chunks, verdicts, strict=True):
            tally.expect(verdict)
            row = chunk.start
            # A damaged chunk has verdicts for the rows before the damage only: never read past them.
            last = max(verdict, default=chunk.start - 1) + 1
            for batch in _table_rows(planned.file, chunk, columns, last):
                if planned.file.format == "arrow" and not batch.schema.equals(schema):
                    raise Damaged("it consists of streams with different columns; convert each of them by itself")
                reasons = [verdict.get(row + i) for i in range(batch.num_rows)]
                for reason in reasons:
                    if reason is not None:
                        tally.add(reason)
                kept_rows.write(batch.filter(pa.array([r == "" for r in reasons], pa.bool_())))
                if removed_rows is not None:
                    gone = batch.filter(pa.array([bool(r) for r in reasons], pa.bool_()))
                    reason_column = pa.array([r for r in reasons if r], pa.string())
                    removed_rows.write(pa.record_batch([*gone.columns, reason_column], schema=with_reasons))
                row += batch.num_rows
            progress_writer().done(chunk.rows, 0)
    return tally.result()


def _table_rows(file: InputFile, chunk: Chunk, columns: tables.Columns, stop: int) -> Iterator[pa.RecordBatch]:
    try:
        yield from tables.read(file, chunk, columns, stop=stop)
    except Damaged as error:
        raise Damaged(
            f"{file.path} is damaged among rows {chunk.start} to {stop - 1}, in columns that tagging had no need to read "
            f"({error}): it cannot be filtered as a whole"
        ) from error


class TableSink:
    """Parquet, an Arrow file or an Arrow stream. Row groups of Parquet of ROW_GROUP_ROWS or about ROW_GROUP_BYTES,
    whichever comes first."""

    def __init__(self, sink: BinaryIO, schema: pa.Schema, kind: TableKind) -> None:
        self._schema = schema
        self._is_parquet = kind == "parquet"
        if self._is_parquet:
            self._writer: Any = pq.ParquetWriter(sink, schema, compression="zstd")
        else:
            # Only a stream may bring new dictionaries half-way.
            self._writer = (pa.ipc.new_stream if kind == "stream" else pa.ipc.new_file)(sink, schema)
        self._waiting: list[pa.RecordBatch] = []
        self._rows = self._bytes = 0

    def write(self, batch: pa.RecordBatch) -> None:
        if not batch.num_rows:
            return
        if not self._is_parquet:
            self._writer.write_batch(batch)
            return
        while self._rows + batch.num_rows >= ROW_GROUP_ROWS:
            room = ROW_GROUP_ROWS - self._rows
            self._add(batch.slice(0, room))
            self._flush()
            batch = batch.slice(room)
        self._add(batch)
        if self._bytes >= ROW_GROUP_BYTES:
            self._flush()

    def _add(self, batch: pa.RecordBatch) -> None:
        self._waiting.append(batch)
        self._rows += batch.num_rows
        self._bytes += batch.nbytes

    def _flush(self) -> None:
        if self._rows:
            self._writer.write_table(pa.Table.from_batches(self._waiting, self._schema), ROW_GROUP_ROWS)
        self._waiting, self._rows, self._bytes = [], 0, 0

    def __enter__(self) -> TableSink:
        return self

    def __exit__(self, kind: type[BaseException] | None, _: BaseException | None, __: TracebackType | None) -> None:
        if kind is None:
            self._flush()
        self._writer.close()


def _kind_of(file: InputFile) -> TableKind:
    if file.format == "parquet":
        return "parquet"
    with file.open() as source:
        return "file" if source.read(6) == b"ARROW1" else "stream"


_OPENERS: dict[str, Any] = {"bz2": bz2.BZ2File, "xz": lzma.LZMAFile}


@contextlib.contextmanager
def _compressed(sink: BinaryIO, planned: PlannedFile) -> Iterator[BinaryIO]:
    """The input's compression, without a time or a name in it, so that equal rows give equal bytes."""
    if planned.file.compression == "gz":
        with gzip.GzipFile(filename="", mode="wb", compresslevel=6, fileobj=sink, mtime=0) as packed:
            yield packed  # type: ignore[misc]
    elif planned.file.compression in _OPENERS:
        with _OPENERS[planned.file.compression](sink, "wb") as packed:
            yield packed
    elif planned.file.compression == "zst":
        import zstandard

        with zstandard.ZstdCompressor(level=3).stream_writer(sink, closefd=False) as stream:
            yield stream
    else:
        yield sink
