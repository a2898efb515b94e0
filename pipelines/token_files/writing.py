"""Writing a token file: the `.bin` by concatenation of its slices, Megatron's `.idx` beside it, and a receipt of both.

A receipt has the key of everything that decided the two files, with their sizes and digests. A file is done when it is as
its receipt says, to the last byte.

Format of the .idx, all numbers little-endian: 9 bytes MMIDIDX and two zeros; u64 version 1; u8 type of the ids (8 = uint16,
4 = int32); u64 number of sequences; u64 number of documents + 1; int32 length of each sequence; int64 byte offset of each;
int64 number of the first sequence of each document, and the number of all. Here, a document is one sequence.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
import xxhash

from tagcorpus.errors import ReplacedError
from tagcorpus.pipelines.attributes.results import file_digest
from tagcorpus.pipelines.progress.progress_record import progress_writer
from tagcorpus.pipelines.storage.folder import Folder
from tagcorpus.pipelines.storage.sealed import opened, sealed
from tagcorpus.pipelines.token_files.layout import Slice, TokenFile
from tagcorpus.pipelines.token_files.pieces import read_block
from tagcorpus.pipelines.token_files.work import Work

TYPES = {"<u2": 8, "<i4": 4}
SUFFIXES = (".bin", ".idx")
_AT_ONCE = 1 << 17


def write_index(sink: BinaryIO, lengths: npt.NDArray[np.int32], dtype: str) -> None:
    """The .idx of documents with so many tokens each."""
    n = len(lengths)
    sink.write(b"MMIDIDX\0\0" + struct.pack("<QBQQ", 1, TYPES[dtype], n, n + 1))
    sink.write(lengths.astype("<i4").tobytes())
    at = 0
    for i in range(0, n, _AT_ONCE):
        sizes = lengths[i : i + _AT_ONCE].astype(np.int64) * np.dtype(dtype).itemsize
        ends = at + np.cumsum(sizes)
        sink.write((ends - sizes).astype("<i8").tobytes())
        at = int(ends[-1])
    for i in range(0, n + 1, _AT_ONCE):
        sink.write(np.arange(i, min(i + _AT_ONCE, n + 1), dtype="<i8").tobytes())


class Digested:
    """A sink that keeps count and digest of what goes through it."""

    def __init__(self, sink: BinaryIO) -> None:
        self._sink, self._digest, self.n_bytes = sink, xxhash.xxh3_128(), 0

    def write(self, data: Any) -> int:
        self._sink.write(data)
        self._digest.update(data)
        self.n_bytes += len(data)
        return len(data)

    def entry(self) -> dict[str, Any]:
        return {"bytes": self.n_bytes, "digest": self._digest.hexdigest()}


def receipt_name(prefix: str) -> str:
    return f"summary/{prefix}.json"


def is_whole(output: Folder, files: Iterable[tuple[str, dict[str, Any]]]) -> bool:
    """Whether these files (name, and its size and digest) are there, to the last byte."""
    for name, entry in files:
        if not output.exists(name) or output.size(name) != entry["bytes"]:
            return False
        with output.open(name) as file:
            if file_digest(file) != entry["digest"]:
                return False
    return True


class Concatenate:
    """Writes one pair of .bin and .idx a rank, where it is not there. Yields its entry for the manifest."""

    def __init__(self, work: Work, files: Sequence[TokenFile], is_afresh: bool) -> None:
        self.work, self.files, self.is_afresh = work, list(files), is_afresh

    def run(self, _data: Any = None, rank: int = 0) -> Iterator[dict[str, Any]]:
        file, output = self.files[rank], self.work.output
        stored = None if self.is_afresh else opened(output.read(receipt_name(file.prefix)))
        if stored is not None and stored.get("key") == file.key:
            entry: dict[str, Any] = stored["entry"]
            if is_whole(output, [(file.prefix + s, entry[s[1:]]) for s in SUFFIXES]):
                yield entry
                return
        with (
            output.publishing(f"{file.prefix}.idx") as index_sink,
            output.publishing(f"{file.prefix}.bin") as ids_sink,
        ):
            ids, index = Digested(ids_sink), Digested(index_sink)
            lengths = [self._copy(slice_, ids) for slice_ in file.slices]
            write_index(index, np.concatenate(lengths), file.dtype)  # type: ignore[arg-type]
            entry = {
                "prefix": file.prefix,
                "documents": file.documents,
                "tokens": file.tokens,
                "bin": ids.entry(),
                "idx": index.entry(),
            }
            # The receipt goes first: from now on it fits no earlier files, and these once they are there.
            receipt = sealed({"key": file.key, "entry": entry})
            output.publish(receipt_name(file.prefix), receipt)
        if output.read(receipt_name(file.prefix)) != receipt:
            raise ReplacedError(
                f"{output}/{receipt_name(file.prefix)} is of another run, which writes other token files to this output. Let "
                "that run end, then run the same command again"
            )
        yield entry

    def _copy(self, slice_: Slice, sink: Digested) -> npt.NDArray[np.int32]:
        work, segment = self.work, slice_.segment
        name = work.piece_name(slice_.rank)
        lengths = read_block(work.output, name, segment.lengths, "<i4")
        ids = read_block(work.output, name, segment.ids, work.dtype)
        start = int(lengths[: slice_.first].sum(dtype=np.int64))
        sink.write(ids[start : start + slice_.tokens].tobytes())
        progress_writer().done(slice_.last - slice_.first, slice_.tokens * ids.itemsize)
        return lengths[slice_.first : slice_.last]
