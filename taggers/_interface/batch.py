"""DocumentBatch: an Arrow table of documents with memoised views, so that nothing is computed twice in a pass.

A batch knows nothing of files. Its columns are `row` int64, `sub` int32, `id` string and `text` large_string. The document columns
that a tagger names in `needs` are there, too, as large_string.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa

from tagcorpus.taggers._interface.arrow import call

V = TypeVar("V")


class DocumentBatch:
    """Documents of one batch. `table` has one chunk per column; `num_rows` documents."""

    def __init__(self, table: pa.Table, texts: list[str] | None = None) -> None:
        self.table = table.combine_chunks()
        self.num_rows: int = table.num_rows
        self._views: dict[Hashable, Any] = {}
        if texts is not None:
            self._views["texts"] = texts

    @classmethod
    def from_texts(
        cls,
        texts: Sequence[str],
        ids: Sequence[str] | None = None,
        columns: Mapping[str, Sequence[str | None]] | None = None,
    ) -> DocumentBatch:
        """A batch of bare texts; row numbers count from 0, ids default to the row number. `columns` are other document
        columns, by name."""
        n = len(texts)
        return cls(
            pa.table(
                {
                    "row": pa.array(range(n), pa.int64()),
                    "sub": pa.array(np.zeros(n, np.int32)),
                    "id": pa.array(ids if ids is not None else [str(i) for i in range(n)], pa.string()),
                    "text": pa.array(texts, pa.large_string()),
                    **{stored_as(name): pa.array(v, pa.large_string()) for name, v in (columns or {}).items()},
                }
            ),
            list(texts),
        )

    def view(self, key: Hashable, compute: Callable[[DocumentBatch], V]) -> V:
        """The value of `compute(self)`, computed once per batch and `key`. Treat the result as read-only."""
        if key not in self._views:
            self._views[key] = compute(self)
        value: V = self._views[key]
        return value

    @property
    def has_texts(self) -> bool:
        """Whether the documents exist as Python strings, so that `texts` costs nothing."""
        return "texts" in self._views

    @property
    def texts(self) -> list[str]:
        """The documents as Python strings (Unicode code points, no lone surrogates)."""
        return self.view("texts", lambda b: b.table["text"].to_pylist())

    @property
    def utf8(self) -> tuple[np.ndarray[Any, np.dtype[np.uint8]], np.ndarray[Any, np.dtype[np.int64]]]:
        """UTF-8 of all documents, concatenated: (bytes uint8 [n_bytes], offsets int64 [n + 1]); document d is
        bytes[offsets[d]:offsets[d + 1]]. offsets[0] need not be 0. Not a copy."""
        return self.view("utf8", _utf8)

    @property
    def char_lengths(self) -> np.ndarray[Any, np.dtype[np.int64]]:
        """int64 [n]: Unicode code points of each document, 0 where the text is missing."""
        return self.view("char_lengths", _char_lengths)

    def column(self, name: str) -> list[str | None]:
        """Another document column, one value a document: text, other values as JSON, None where a document has none.
        Only the columns in a tagger's `needs` are read. Any other has only None."""

        def compute(batch: DocumentBatch) -> list[str | None]:
            stored = stored_as(name)
            if stored not in batch.table.column_names:
                return [None] * batch.num_rows
            values: list[str | None] = batch.table[stored].to_pylist()
            return values

        return self.view(("column", name), compute)

    def slice(self, offset: int, length: int) -> DocumentBatch:
        """Documents [offset, offset + length) as a batch of its own, without this batch's views."""
        return DocumentBatch(self.table.slice(offset, length))


def stored_as(name: str) -> str:
    """The table's name for another document column, since the column itself may have the name `id` or `text`."""
    return f"@{name}"


def _char_lengths(batch: DocumentBatch) -> np.ndarray[Any, np.dtype[np.int64]]:
    text = batch.table["text"]
    if batch.has_texts and not text.null_count:
        return np.fromiter(map(len, batch.texts), np.int64, batch.num_rows)  # a str knows its length
    return np.asarray(call("coalesce", call("utf8_length", text), 0), np.int64)


def _utf8(batch: DocumentBatch) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    column = batch.table["text"]
    if batch.num_rows == 0:
        return np.zeros(0, np.uint8), np.zeros(1, np.int64)
    array = column.chunk(0)
    _, offsets, data = array.buffers()
    starts = np.frombuffer(offsets, np.int64, array.offset + len(array) + 1)[array.offset :]
    flat = np.frombuffer(data, np.uint8) if data is not None and data.size else np.zeros(0, np.uint8)
    return flat, starts
