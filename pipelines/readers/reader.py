"""Read one chunk of any format as batches of documents. Every row is counted, and bad rows are quarantined."""

from __future__ import annotations

import base64
import contextlib
import itertools
import threading
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import xxhash

from tagcorpus.errors import valid_text
from tagcorpus.pipelines.formats import csv_records, json_arrays, lines, tables
from tagcorpus.pipelines.inputs import values
from tagcorpus.pipelines.inputs.chunks import Chunk, Counts
from tagcorpus.pipelines.inputs.input_files import InputFile
from tagcorpus.pipelines.inputs.quarantine import Quarantine
from tagcorpus.pipelines.inputs.records import (
    BadRecord,
    DocumentFields,
    LostRepeat,
    exact_id,
    further_value,
    parse,
    repair,
)
from tagcorpus.pipelines.inputs.signatures import BOM
from tagcorpus.pipelines.inputs.streams import ByteStream, Damaged
from tagcorpus.pipelines.options.declaring.dialect import Dialect
from tagcorpus.pipelines.progress.progress_record import progress_writer
from tagcorpus.taggers._interface.batch import DocumentBatch, stored_as

BATCH_ROWS = 1024
BATCH_BYTES = 4 << 20  # larger batches leave the processor's caches between two taggers
HEAD_BYTES = 200
READER_VERSION = 2


@dataclass(frozen=True)
class ReaderOptions:
    """The options that decide which documents a chunk of a file gives."""

    fields: DocumentFields = field(default_factory=DocumentFields)
    max_line_bytes: int = 32 << 20
    sample: float = 1.0
    seed: int = 0
    columns: tuple[str, ...] = ()
    """Further document columns, for the taggers that need them. They do not change the documents, so they are not in the
    fingerprint, but in the identity of these taggers."""
    csv: Dialect = field(default_factory=Dialect)
    """Part of the chunk digests of CSV files, so that the parts of other files do not depend on it."""

    def fingerprint(self) -> dict[str, Any]:
        values: dict[str, Any] = {
            "reader": READER_VERSION,
            "text_column": self.fields.text_column,
            "id_column": self.fields.id_column,
            "is_resps": self.fields.is_resps,
            "max_line_bytes": self.max_line_bytes,
        }
        return values | ({"sample": self.sample, "seed": self.seed} if self.sample < 1 else {})


# One record of any format: (row, byte offset or -1, first bytes, record or its problem; None = blank line).
Raw = tuple[int, int, bytes, dict[str, Any] | BadRecord | None]


class ChunkReader:
    """An iterable of the batches of one chunk. After the last batch, `counts` and `quarantine` are complete.

    has_text_column  without it, the texts are in `texts` only, and `table` has no column `text`
    is_look          only the first records will be read
    """

    def __init__(
        self,
        file: InputFile,
        chunk: Chunk,
        reader_options: ReaderOptions,
        *,
        has_text_column: bool = True,
        is_look: bool = False,
    ) -> None:
        self.file, self.range, self.reader_options = file, chunk, reader_options
        self._has_text_column, self._is_look = has_text_column, is_look
        self.counts = Counts()
        self.quarantine = Quarantine()
        self._shown_name = valid_text(file.name)
        self._sampled_below = int(reader_options.sample * 2**64)
        self._skipped = deque(chunk.skipped)

    def __iter__(self) -> Iterator[DocumentBatch]:
        rows: list[int] = []
        subs: list[int] = []
        ids: list[str] = []
        texts: list[str] = []
        utf8: list[str | bytes] = []
        columns: list[tuple[str | None, ...]] = []
        size = behind = 0
        for row, offset, head, value in self.records():
            is_repaired = False
            cells: tuple[str | None, ...] = ()
            if self.reader_options.columns and isinstance(value, dict):
                try:
                    cells = tuple(further_value(value, c) for c in self.reader_options.columns)
                except BadRecord as bad:
                    value = bad  # noqa: PLW2901
            for sub, id_, text in self._documents(row, offset, head, value):
                data: str | bytes
                if text.isascii():
                    data = text
                else:
                    try:
                        data = text.encode()
                    except UnicodeEncodeError:
                        text, is_repaired = repair(text), True  # noqa: PLW2901
                        data = text.encode()
                if not id_.isascii() and (whole := repair(id_)) is not id_:
                    id_, is_repaired = whole, True  # noqa: PLW2901
                n = len(data)
                if cells:
                    n += sum(len(cell) for cell in cells if cell is not None)
                if rows and (len(rows) >= BATCH_ROWS or size + n > BATCH_BYTES):
                    yield self._batch(rows, subs, ids, texts, utf8, columns)
                    progress_writer().done(self.counts.lines - behind, size)
                    behind = self.counts.lines
                    rows, subs, ids, texts, utf8, columns, size = [], [], [], [], [], [], 0
                rows.append(row)
                subs.append(sub)
                ids.append(id_)
                texts.append(text)
                if self._has_text_column:
                    utf8.append(data)
                columns.append(cells)
                size += n
                self.counts.text_bytes += len(data)
            self.counts.repaired += is_repaired
        if rows:
            yield self._batch(rows, subs, ids, texts, utf8, columns)
        progress_writer().done(self.counts.lines - behind, size)
        if self.range.broken:
            self._damage(self.range.broken)

    def _batch(
        self,
        rows: list[int],
        subs: list[int],
        ids: list[str],
        texts: list[str],
        utf8: list[str | bytes],
        columns: list[tuple[str | None, ...]],
    ) -> DocumentBatch:
        progress_writer().batch(rows[0], rows[-1])
        table = {
            "row": pa.array(np.array(rows, np.int64)),
            "sub": pa.array(np.array(subs, np.int32)),
            "id": pa.array(ids, pa.string()),
        }
        if self._has_text_column:
            table["text"] = _text_array(utf8)
        for i, name in enumerate(self.reader_options.columns):
            table[stored_as(name)] = pa.array([cells[i] for cells in columns], pa.large_string())
        return DocumentBatch(pa.table(table), texts)

    def _documents(
        self, row: int, offset: int, head: bytes, value: dict[str, Any] | BadRecord | None
    ) -> list[tuple[int, str, str]]:
        counts = self.counts
        counts.lines += 1
        if value is None:
            counts.blank += 1
            return []
        if self._skipped and self._is_skipped(row):
            counts.filter_duplicates += 1
            return []
        if self.reader_options.sample < 1 and self._is_unsampled(row):
            counts.unsampled += 1
            return []
        try:
            if isinstance(value, BadRecord):
                raise value
            lost: list[LostRepeat] = []
            documents = self.reader_options.fields.documents(value, f"{self._shown_name}:{row}", lost)
        except BadRecord as bad:
            self._refuse(row, offset, head, bad.reason, **({"message": bad.message} if bad.message else {}))
            return []
        for repeat in lost:
            self._refuse(row, offset, head, "repeat_not_string", **repeat._asdict())
        counts.read += 1
        counts.documents += len(documents)
        return documents

    def _refuse(self, row: int, offset: int, head: bytes, reason: str, **more: Any) -> None:
        self.counts.quarantined[reason] += 1
        place = {"offset": offset} if offset >= 0 else {}
        self.quarantine.append({"row": row, **place, "reason": reason, **more, **shown(head)})

    def _is_skipped(self, row: int) -> bool:
        """Called for every row in order; the intervals are in order, too."""
        while self._skipped and self._skipped[0][1] <= row:
            self._skipped.popleft()
        return bool(self._skipped) and self._skipped[0][0] <= row

    def _is_unsampled(self, row: int) -> bool:
        key = f"{self.reader_options.seed}:{self.file.name}:{row}".encode("utf-8", "surrogateescape")
        return xxhash.xxh3_64_intdigest(key) >= self._sampled_below

    def _damage(self, message: str) -> None:
        self.counts.quarantined["broken_file"] += 1
        row = self.range.first_row + self.counts.lines
        self.quarantine.append({"row": row, "reason": "broken_file", "message": message})

    def records(self) -> Iterator[Raw]:
        """Every row of the chunk as it is in the file."""
        if self.range.broken and not self.range.rows:
            return iter(())  # the file may be of another format
        if self.file.is_table:
            return self._table_records()
        return self._csv_records() if self.file.is_delimited else self._json_records()

    def _json_records(self) -> Iterator[Raw]:
        value: dict[str, Any] | BadRecord | None
        read = json_arrays.read if self.file.format == "json" else lines.read
        with _stream(self.file, is_look=self._is_look) as stream:
            for line in read(stream, self.range, self.reader_options.max_line_bytes, self.file.path):
                if line.is_too_long:
                    value = BadRecord("too_long")
                elif not line.data or line.data.isspace():
                    value = None
                else:
                    try:
                        value = exact_id(line.data, parse(line.data), self.reader_options.fields)
                    except BadRecord as bad:
                        value = bad if line.data.removeprefix(BOM).strip() else None
                yield line.row, line.offset, line.data, value

    def _csv_records(self) -> Iterator[Raw]:
        names, _ = csv_records.header(self.file, self.reader_options.max_line_bytes, self.reader_options.csv)
        value: dict[str, Any] | BadRecord | None
        with _stream(self.file, is_look=self._is_look) as stream:
            for record in csv_records.read(
                stream, self.range, self.reader_options.max_line_bytes, self.file.path, self.reader_options.csv
            ):
                if record.fields is None:
                    value = BadRecord(record.problem, record.message())
                elif not record.fields or (len(names) > 1 and len(record.fields) == 1 and not record.fields[0].strip()):
                    value = None
                elif len(record.fields) != len(names):
                    value = BadRecord("bad_csv")
                else:
                    value = _csv_row(names, record.fields)
                yield record.row, record.offset, record.raw, value

    def _table_records(self) -> Iterator[Raw]:
        row = self.range.start
        try:
            if self.range.rows:
                for batch in tables.read(self.file, self.range, table_columns(self.reader_options)):
                    for value in values.rows(batch):
                        yield row, -1, _head_of(value), value
                        row += 1
        except Damaged as error:
            self.counts.unreadable += self.range.end - row
            self._damage(f"damaged {self.file.format} file: {error}")


def _text_array(texts: list[str | bytes]) -> pa.LargeStringArray:
    """Texts, ASCII strings or UTF-8, as one array. Joining neighbours of a kind is faster than Arrow's builder, which grows."""
    offsets = np.zeros(len(texts) + 1, np.int64)
    np.cumsum(np.fromiter(map(len, texts), np.int64, len(texts)), out=offsets[1:])
    pieces = [
        b"".join(same) if kind is bytes else "".join(same).encode()  # type: ignore[arg-type]
        for kind, same in itertools.groupby(texts, type)
    ]
    buffers = [None, pa.py_buffer(offsets), pa.py_buffer(b"".join(pieces))]
    return pa.Array.from_buffers(pa.large_string(), len(texts), buffers)


def table_columns(reader_options: ReaderOptions) -> tables.Columns:
    """The columns of a table that are read, and those that its digests cover."""
    fields = reader_options.fields
    optional = tuple((name, tuple(fields.further_columns([name]))) for name in reader_options.columns)
    return tables.Columns((*fields.paths(), *reader_options.columns), tuple(fields.top_columns()), optional)


def _csv_row(names: list[str], fields: list[str]) -> dict[str, Any] | BadRecord:
    try:
        row = {n: f if f.isascii() else f.encode("latin-1").decode() for n, f in zip(names, fields, strict=True)}
    except UnicodeDecodeError:
        return BadRecord("not_utf8")
    return BadRecord("nul") if any("\0" in f for f in fields) else row


def _head_of(value: dict[str, Any]) -> bytes:
    """The first bytes of a table row for its quarantine line; long texts are cut before they are written."""
    return repr({k: v if not isinstance(v, str) else v[:HEAD_BYTES] for k, v in value.items()})[:HEAD_BYTES].encode(
        "utf-8", "replace"
    )


def shown(head: bytes) -> dict[str, str]:
    """The first bytes of a row for a quarantine line: as text if they are UTF-8, else as base64."""
    head = head[:HEAD_BYTES]
    for cut in range(4):  # a cut may fall inside a character
        try:
            return {"head": head[: len(head) - cut].decode("utf-8")}
        except UnicodeDecodeError:
            if len(head) < HEAD_BYTES:
                break
    return {"head_base64": base64.b64encode(head).decode()}


_thread = threading.local()


@contextlib.contextmanager
def _stream(file: InputFile, *, is_look: bool = False) -> Iterator[ByteStream]:
    """The stream of a file. A compressed one stays open in its thread, so that the next chunk reads on."""
    if not file.compression:
        stream = ByteStream(file, is_look=is_look)
        try:
            yield stream
        finally:
            stream.close()
        return
    kept: ByteStream | None = getattr(_thread, "stream", None)
    # A long-lived process may read the file again after it was written anew.
    if kept is None or kept.file != file or kept.identity != file.identity():
        if kept is not None:
            kept.close()
        kept = ByteStream(file)
    _thread.stream = None  # a reader that fails leaves the stream in an unknown state
    yield kept
    _thread.stream = kept
