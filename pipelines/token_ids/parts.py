"""Parts of the token cache: the ids of one chunk under one tokenizer, `tokens/<tokenizer>/<input>/part-00000.arrow`.

An Arrow IPC file (zstd), one record batch per batch of documents (where a batch ends is decided by the chunk alone, so
batch i of a part is batch i of the reader) with `row`, `sub`, `id` and `ids`, then an empty one that carries what the chunk
counted. The key of everything that decides the content is in the schema, a checksum of the values with every batch: Arrow
notices files that are no longer Arrow, the checksums whatever else was altered.
"""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import tempfile
from collections.abc import Iterator
from typing import Any, BinaryIO, NamedTuple, TypeAlias

import numpy as np
import pyarrow as pa
import xxhash

from tagcorpus.errors import OutputError
from tagcorpus.pipelines.attributes.parts import KEYS, part_key
from tagcorpus.pipelines.inputs.chunks import Counts
from tagcorpus.pipelines.readers.plan import PlannedFile
from tagcorpus.pipelines.readers.reader import ReaderOptions
from tagcorpus.pipelines.storage.folder import Folder

CACHE_VERSION = 1
SPOOL_BYTES = 32 << 20
"""Compressed bytes of a part that are kept in memory; beyond that they go to a local temporary file."""

Ids: TypeAlias = "np.ndarray[Any, np.dtype[np.uint16 | np.uint32]]"
# Rows and bytes of text that are done with a batch: what a ProgressWriter is told.
Behind: TypeAlias = tuple[int, int]
# What reading an Arrow file that is not as it was written may raise.
_DAMAGE = (OSError, pa.ArrowException, MemoryError, ValueError, KeyError, TypeError, OverflowError)


class TokenBatch(NamedTuple):
    """Token ids of the documents of one batch, read-only; those of document d are ids[offsets[d]:offsets[d + 1]]."""

    row: np.ndarray[Any, np.dtype[np.int64]]
    sub: np.ndarray[Any, np.dtype[np.int32]]
    id: pa.Array
    ids: Ids
    """uint16 [n_tokens] where the vocabulary fits, else uint32."""
    offsets: np.ndarray[Any, np.dtype[np.int64]]
    """int64 [n_docs + 1], starting at 0."""

    def only(self, taken: np.ndarray[Any, np.dtype[np.bool_]]) -> TokenBatch:
        """The documents for which `taken`, bool [n_docs], is true."""
        sizes = np.diff(self.offsets)
        return TokenBatch(
            self.row[taken],
            self.sub[taken],
            self.id.filter(pa.array(taken)),
            self.ids[np.repeat(taken, sizes)],
            np.concatenate([[0], np.cumsum(sizes[taken])]),
        )


def token_part_name(tokenizer: str, file_name: str, k: int) -> str:
    """By fingerprint of the tokenizer."""
    return f"{tokens_folder(tokenizer)}/{file_name}/part-{k:05d}.arrow"


def tokens_folder(tokenizer: str) -> str:
    """Relative to an output, by fingerprint."""
    # Two fingerprints may share a folder: what a part belongs to is said by its key.
    return "tokens/" + re.sub(r"[^A-Za-z0-9_.-]", "-", tokenizer)


def token_part_key(planned: PlannedFile, k: int, reader_options: ReaderOptions, tokenizer: str) -> str:
    return part_key(planned, k, reader_options, {"tokens": tokenizer, "version": CACHE_VERSION})


class PartWriter:
    """A part in the making, in memory or in a nameless local file."""

    def __init__(self, key: str, dtype: np.dtype[Any]) -> None:
        self._n, self._behind = 0, (0, 0)
        self._schema = _schema(pa.from_numpy_dtype(dtype)).with_metadata({"tagcorpus.key": key})
        self._file = tempfile.SpooledTemporaryFile(SPOOL_BYTES, prefix="tagcorpus-")  # noqa: SIM115 - see close
        options = pa.ipc.IpcWriteOptions(compression=pa.Codec("zstd", 1), use_threads=False)
        self._arrow = pa.ipc.new_file(self._file, self._schema, options=options)

    def add(self, tokens: TokenBatch, counts: Counts) -> None:
        """`counts`: the reader's, now that it has given out this batch."""
        lists = pa.LargeListArray.from_arrays(pa.array(tokens.offsets), pa.array(tokens.ids))
        columns = [pa.array(tokens.row), pa.array(tokens.sub), tokens.id, lists]
        behind = (counts.lines, counts.text_bytes)
        behind_text = f"{behind[0] - self._behind[0]} {behind[1] - self._behind[1]}"
        self._write(columns, {"behind": behind_text, "checksum": _checksum(tokens, self._n, behind_text)})
        self._behind = behind
        self._n += 1

    def end(self, counts: Counts, quarantine: str) -> None:
        """quarantine: the digest of the lines that the reader put there"""
        entries = {"counts": json.dumps(counts.to_json(), sort_keys=True), "quarantine": quarantine}
        columns = [pa.array([], f.type) for f in self._schema]
        self._write(columns, {**entries, "checksum": digest(json.dumps([self._n, entries]).encode())}, is_last=True)

    def _write(self, columns: list[pa.Array], metadata: dict[str, str], *, is_last: bool = False) -> None:
        batch = pa.record_batch(columns, schema=self._schema)
        try:
            self._arrow.write_batch(batch, custom_metadata={f"tagcorpus.{k}": v for k, v in metadata.items()})
            if is_last:
                self._arrow.close()
        except OSError as error:
            raise OutputError(
                f"token ids could not be kept in {tempfile.gettempdir()} ({error.strerror or error}): free some space, "
                "name another folder in TMPDIR, or do without the token cache (--no-token-cache)"
            ) from error

    def publish(self, output: Folder, name: str) -> None:
        self._file.seek(0)
        with output.publishing(name) as sink:
            shutil.copyfileobj(self._file, sink, 1 << 20)

    def close(self) -> None:
        self._file.close()


class StoredTokens:
    """A part that is whole as far as its end says. Iterate over it for the batches, until they end or one is damaged."""

    def __init__(self, file: BinaryIO, key: str) -> None:
        """Raises one of _DAMAGE for what is no part with that key."""
        self._file = file
        options = pa.ipc.IpcReadOptions(use_threads=False)
        self._arrow = pa.ipc.open_file(file, options=options)
        schema = self._arrow.schema
        if not any(schema.equals(_schema(t)) for t in (pa.uint16(), pa.uint32())):
            raise ValueError("other columns")
        self._n = self._arrow.num_record_batches - 1
        entries = _entries(self._arrow.get_batch_with_custom_metadata(self._n).custom_metadata)
        checksum = entries.pop("checksum")
        if (
            schema.metadata[b"tagcorpus.key"].decode() != key
            or digest(json.dumps([self._n, entries]).encode()) != checksum
        ):
            raise ValueError("another key")
        self.counts = Counts.from_json(json.loads(entries["counts"]))
        self.quarantine = entries["quarantine"]
        self.is_read = False

    def __iter__(self) -> Iterator[tuple[TokenBatch, Behind]]:
        for i in range(self._n):
            try:
                batch = self._batch(i)
            except _DAMAGE:
                return
            yield batch
        self.is_read = True

    def _batch(self, i: int) -> tuple[TokenBatch, Behind]:
        stored = self._arrow.get_batch_with_custom_metadata(i)
        entries = _entries(stored.custom_metadata)
        batch = stored.batch
        batch.validate(full=True)  # nothing below reads outside a buffer
        row, sub, id_, lists = batch.columns
        if not batch.num_rows or id_.null_count or lists.null_count or any(c.offset for c in batch.columns):
            raise ValueError("not as it was written")
        # Raises for nulls, which are none of ours either.
        row, sub, ids, offsets = (c.to_numpy(zero_copy_only=True) for c in (row, sub, lists.values, lists.offsets))
        tokens = TokenBatch(row, sub, id_, ids, offsets)
        if offsets[0] != 0 or offsets[-1] != len(ids) or _checksum(tokens, i, entries["behind"]) != entries["checksum"]:
            raise ValueError("not as it was written")
        rows, n_bytes = map(int, entries["behind"].split())
        return tokens, (rows, n_bytes)

    def close(self) -> None:
        self._file.close()


def open_part(
    output: Folder, planned: PlannedFile, k: int, reader_options: ReaderOptions, tokenizer: str
) -> StoredTokens | None:
    """The part of a chunk; None where there is none of this content."""
    with contextlib.ExitStack() as stack:
        try:
            file = stack.enter_context(output.open(token_part_name(tokenizer, planned.file.name, k)))
            part = StoredTokens(file, token_part_key(planned, k, reader_options, tokenizer))
        except _DAMAGE:
            return None
        stack.pop_all()
        return part


def _schema(type_: pa.DataType) -> pa.Schema:
    return pa.schema([*KEYS, pa.field("ids", pa.large_list(type_))])


def _entries(metadata: pa.KeyValueMetadata | None) -> dict[str, str]:
    return {k.decode().removeprefix("tagcorpus."): v.decode() for k, v in (metadata or {}).items()}


def _checksum(tokens: TokenBatch, i: int, behind: str) -> str:
    """Of everything in batch i, and of its being batch i."""
    state = xxhash.xxh3_64(behind.encode(), seed=i)
    for array in (tokens.row, tokens.sub, tokens.offsets, tokens.ids):
        state.update(np.ascontiguousarray(array).data)
    state.update(json.dumps(tokens.id.to_pylist()).encode())
    return str(state.hexdigest())


def digest(data: bytes) -> str:
    return str(xxhash.xxh3_128_hexdigest(data))
