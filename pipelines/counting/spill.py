"""Files for what does not fit into memory: sorted runs of keys with counts, and arrays of numbers that go with them.

A file is a magic number, frames (each with its checksum, xxh3 of 64 bits), a footer frame that says where they are, and a
trailer of fixed size with the footer's size. A run is cut into blocks of BLOCK_ENTRIES, one frame each,
whose first keys are in the footer: reading a key range reads its blocks and no others. Whatever is truncated or
altered raises DamagedSpillFile, before it can give a wrong number. So does a file of an earlier format, whose magic number
differs. How a run is made or merged is not decided here.

No general compressor. Measured with three tokens of context, zstd at level 1 took a quarter less space than numbers of as few
bytes as they need (`kernels.delta`) and zeros of one bit, and over three times the CPU time.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterable, Sequence
from typing import Any, BinaryIO, NamedTuple, TypeAlias

import numpy as np
import xxhash

from tagcorpus.errors import DamagedError
from tagcorpus.pipelines.storage.folder import Folder

U64: TypeAlias = np.ndarray[Any, np.dtype[np.uint64]]
U8: TypeAlias = np.ndarray[Any, np.dtype[np.uint8]]
I64: TypeAlias = np.ndarray[Any, np.dtype[np.int64]]
F64: TypeAlias = np.ndarray[Any, np.dtype[np.float64]]
Key: TypeAlias = "int | np.integer[Any] | Sequence[int] | U64"

BLOCK_ENTRIES = 16_384
"""Measured: smaller blocks are slower to write, larger ones leave the processor's cache."""
BLOCK_VALUES = 65_536

_RUNS, _VALUES = b"TCruns02", b"TCvals02"
# Bytes of the footer frame; the magic number again.
_TRAILER = struct.Struct("<Q8s")
_CHECKSUM_SIZE = 8
_HEAD_SIZE = struct.Struct("<Q")


class DamagedSpillFile(DamagedError):
    """A spilled file is gone, cut short or altered; `name` says which. What it was made from makes it anew."""

    def __init__(self, message: str, name: str = "") -> None:
        super().__init__(message)
        self.name = name


class SortedCounts(NamedTuple):
    """Sorted distinct keys and their counts."""

    keys: U64
    """uint64 [k, words], words 1 or 2, the most significant first; strictly increasing."""
    counts: I64
    """int64 [k], 0 or more."""
    extra: dict[str, Any] = {}  # noqa: RUF012 - never altered
    """JSON values to keep with the run."""


class StoredCounts(NamedTuple):
    """What a file's footer says of a run."""

    n: int
    extra: dict[str, Any]
    block_keys: U64
    """uint64 [n_blocks, words], the first key of every block."""
    block_entries: I64
    """int64 [n_blocks]."""


def write_spill_file(sink: BinaryIO, runs: Iterable[SortedCounts], meta: dict[str, Any]) -> None:
    """Write runs one after the other, and `meta` (JSON values) as it is once the last run has come.

    Raises ValueError for keys that are not strictly increasing, negative counts, and runs of unequal words.
    """
    from tagcorpus.kernels.delta import room_for, to_bytes

    frames = _FrameWriter(sink, _RUNS)
    heads: list[dict[str, Any]] = []
    firsts: list[U64] = []
    words = 0
    packed = np.empty(0, np.uint8)
    for run in runs:
        words = words or run.keys.shape[1]
        if run.keys.shape != (len(run.counts), words) or words not in (1, 2):
            raise ValueError(f"keys must be [{len(run.counts)}, {words or '1 or 2'}], they are {list(run.keys.shape)}")
        packed = packed if packed.size else np.empty(room_for(BLOCK_ENTRIES, words), np.uint8)
        before: U64 | None = None
        for start in range(0, len(run.keys), BLOCK_ENTRIES):
            keys = np.ascontiguousarray(run.keys[start : start + BLOCK_ENTRIES], np.uint64)
            counts = np.ascontiguousarray(run.counts[start : start + BLOCK_ENTRIES], np.int64)
            if counts.min() < 0 or (before is not None and before.tolist() >= keys[0].tolist()):
                raise ValueError("counts must not be negative, nor keys of a run out of order")
            frames.add(packed[: to_bytes(keys, counts, packed)])
            firsts.append(keys[0].copy())
            before = keys[-1]
        heads.append({"n": len(run.keys), "extra": run.extra})
    first_keys = np.array(firsts, np.uint64).tobytes()
    frames.finish({"words": words or 1, "block_entries": BLOCK_ENTRIES, "runs": heads, "meta": meta}, first_keys)


def open_spill_file(folder: Folder, name: str) -> SpillFile:
    """Read the footer of a file of runs. Raises DamagedSpillFile where it is gone, cut short or altered."""
    return SpillFile(_Frames(folder, name, _RUNS))


class SpillFile:
    """A file of runs. It keeps nothing open between reads."""

    def __init__(self, frames: _Frames) -> None:
        self._frames = frames
        head = frames.head
        self.words: int = head["words"]
        self.meta: dict[str, Any] = head["meta"]
        self.runs: list[StoredCounts] = []
        sizes = [_cut(run["n"], head["block_entries"]) for run in head["runs"]]
        n_blocks = sum(map(len, sizes))
        if len(frames.table) != 8 * n_blocks * self.words or frames.n != n_blocks:
            raise frames.damage("its footer does not add up")
        firsts = np.frombuffer(frames.table, np.uint64).reshape(n_blocks, self.words)
        self._first_block = [0]
        for run, entries in zip(head["runs"], sizes, strict=True):
            first = self._first_block[-1]
            self._first_block.append(first + len(entries))
            self.runs.append(StoredCounts(run["n"], run["extra"], firsts[first : first + len(entries)], entries))

    def read(self, run_index: int, low_key: Key | None = None, high_key: Key | None = None) -> tuple[U64, I64]:
        """Entries of a run with low_key <= key < high_key; None is no bound. A key is `words` numbers, or one number
        where words is 1.

        returns  (keys uint64 [k, words], counts int64 [k])
        Raises DamagedSpillFile.
        """
        from tagcorpus.kernels.delta import from_bytes

        run = self.runs[run_index]
        low, high = self._key(low_key), self._key(high_key)
        start = 0 if low is None else max(_lower_bound(run.block_keys, low) - 1, 0)
        stop = len(run.block_keys) if high is None else _lower_bound(run.block_keys, high)
        if stop <= start or (low is not None and high is not None and low.tolist() >= high.tolist()):
            return np.empty((0, self.words), np.uint64), np.empty(0, np.int64)
        edges = np.concatenate([[0], np.cumsum(run.block_entries[start:stop])])
        keys, counts = np.empty((edges[-1], self.words), np.uint64), np.empty(edges[-1], np.int64)
        first = self._first_block[run_index] + start
        for i, frame in enumerate(self._frames.read(first, stop - start)):
            part = slice(edges[i], edges[i + 1])
            # The checksum behind the entries is the slack that the kernel needs.
            from_bytes(frame, len(frame) - _CHECKSUM_SIZE, run.block_keys[start + i], keys[part], counts[part])
        begin = 0 if low is None else _lower_bound(keys[: edges[1]], low)
        end = edges[-1] if high is None else edges[-2] + _lower_bound(keys[edges[-2] :], high)
        return keys[begin:end], counts[begin:end]

    def _key(self, key: Key | None) -> U64 | None:
        if key is None:
            return None
        words = np.atleast_1d(np.asarray(key, np.uint64))
        if words.shape != (self.words,):
            raise ValueError(f"a key of this file is {self.words} numbers, got {key!r}")
        return words


def write_values(sink: BinaryIO, segments: Iterable[F64], meta: dict[str, Any]) -> None:
    """Write float64 arrays one after the other, and `meta` (JSON values) as it is once the last one has come."""
    frames = _FrameWriter(sink, _VALUES)
    sizes: list[int] = []
    for segment in segments:
        for start in range(0, len(segment), BLOCK_VALUES):
            words = np.ascontiguousarray(segment[start : start + BLOCK_VALUES], np.float64).view(np.uint64)
            # Most contexts have one next token and no entropy: zeros take a bit each.
            is_set = words != 0
            frames.add(np.concatenate([words[is_set].view(np.uint8), np.packbits(is_set)]))
        sizes.append(len(segment))
    frames.finish({"block_values": BLOCK_VALUES, "sizes": sizes, "meta": meta}, b"")


def read_values(folder: Folder, name: str) -> ValueFile:
    """Read the footer of a file of values. Raises DamagedSpillFile where it is gone, cut short or altered."""
    return ValueFile(_Frames(folder, name, _VALUES))


class ValueFile:
    """A file of float64 arrays. It keeps nothing open between reads."""

    def __init__(self, frames: _Frames) -> None:
        self._frames = frames
        self.meta: dict[str, Any] = frames.head["meta"]
        self.sizes: list[int] = frames.head["sizes"]
        self._block_values: int = frames.head["block_values"]
        # A corpus of 1 TB has 15,000 arrays in each file, and each chunk opens every file.
        n_blocks = -(-np.array(self.sizes, np.int64) // self._block_values)
        self._first_block = np.concatenate([[0], np.cumsum(n_blocks)])
        if self._first_block[-1] != frames.n:
            raise frames.damage("its footer does not add up")

    def read_segment(self, i: int) -> F64:
        """The i-th array, float64 [sizes[i]], to the last bit as it was written. Raises DamagedSpillFile."""
        blocks = _cut(self.sizes[i], self._block_values)
        values, at = np.zeros(self.sizes[i], np.float64), 0
        for size, frame in zip(blocks.tolist(), self._frames.read(int(self._first_block[i]), len(blocks)), strict=True):
            n_bits = -(-size // 8)
            is_set = np.unpackbits(frame[-_CHECKSUM_SIZE - n_bits : -_CHECKSUM_SIZE], count=size).view(np.bool_)
            values[at : at + size][is_set] = frame[: -_CHECKSUM_SIZE - n_bits].view(np.float64)
            at += size
        return values


class _FrameWriter:
    """Frames one after the other, then the footer."""

    def __init__(self, sink: BinaryIO, magic: bytes) -> None:
        self._sink, self._magic = sink, magic
        self._offsets = [sink.write(magic)]

    def add(self, data: np.ndarray[Any, Any]) -> None:
        self._write(data.data)
        self._offsets.append(self._offsets[-1] + data.nbytes + _CHECKSUM_SIZE)

    def finish(self, head: dict[str, Any], table: bytes) -> None:
        text = json.dumps(head, sort_keys=True).encode()
        offsets = np.array(self._offsets, np.int64)
        raw = b"".join([_HEAD_SIZE.pack(len(text)), text, _HEAD_SIZE.pack(len(offsets)), offsets.tobytes(), table])
        self._write(raw)
        self._sink.write(_TRAILER.pack(len(raw) + _CHECKSUM_SIZE, self._magic))

    def _write(self, data: bytes | memoryview) -> None:
        self._sink.write(data)
        self._sink.write(xxhash.xxh3_64_digest(data))


class _Frames:
    """The footer of a file, verified, and its frames on demand.

    head    the JSON values of the footer; table: its other bytes; n: number of frames
    """

    def __init__(self, folder: Folder, name: str, magic: bytes) -> None:
        self._folder, self._name = folder, name
        try:
            size = folder.size(name)
        except OSError as error:
            raise self.damage(error.strerror or str(error) or "it is not there") from error
        if size < len(magic) + _TRAILER.size:
            raise self.damage(f"it has {size} bytes only")
        footer_size, end_magic = _TRAILER.unpack(self._bytes(size - _TRAILER.size, size))
        start = size - _TRAILER.size - footer_size
        if end_magic != magic or start < len(magic):
            raise self.damage("it does not end as it should")
        raw = self._checked(self._bytes(start, start + footer_size))[:-_CHECKSUM_SIZE].tobytes()
        at = _HEAD_SIZE.size
        text = raw[at : at + _HEAD_SIZE.unpack_from(raw)[0]]
        at += len(text)
        n_offsets = _HEAD_SIZE.unpack_from(raw, at)[0]
        at += _HEAD_SIZE.size
        self._offsets: list[int] = np.frombuffer(raw, np.int64, n_offsets, at).tolist()
        self.table = raw[at + 8 * n_offsets :]
        self.head: dict[str, Any] = json.loads(text)
        self.n = n_offsets - 1
        if self._offsets[0] != len(magic) or self._offsets[-1] != start:
            raise self.damage("it is not as long as its footer says")

    def read(self, first: int, n_frames: int) -> Iterable[U8]:
        """Frames from `first` on, verified, each with its checksum at the end; read in one go."""
        if not n_frames:
            return
        begin, end = self._offsets[first], self._offsets[first + n_frames]
        data = memoryview(self._bytes(begin, end))
        for i in range(first, first + n_frames):
            yield self._checked(data[self._offsets[i] - begin : self._offsets[i + 1] - begin])

    def damage(self, reason: str) -> DamagedSpillFile:
        path = self._folder.path(self._name)
        return DamagedSpillFile(
            f"{path} is damaged ({reason}): run the same command again, which makes it anew", self._name
        )

    def _bytes(self, start: int, end: int) -> bytes:
        try:
            data = self._folder.read_chunk(self._name, start, end)
        except OSError as error:
            raise self.damage(error.strerror or str(error) or "it cannot be read") from error
        if len(data) != end - start:
            raise self.damage("it is cut short")
        return data

    def _checked(self, frame: bytes | memoryview) -> U8:
        if len(frame) < _CHECKSUM_SIZE or xxhash.xxh3_64_digest(frame[:-_CHECKSUM_SIZE]) != frame[-_CHECKSUM_SIZE:]:
            raise self.damage("a frame differs from its checksum")
        return np.frombuffer(frame, np.uint8)


def _cut(n: int, step: int) -> I64:
    """Sizes of the blocks that n entries make."""
    sizes = np.full(-(-n // step), step, np.int64)
    if n % step:
        sizes[-1] = n % step
    return sizes


def _lower_bound(keys: U64, key: U64) -> int:
    """How many of the sorted keys [k, words] lie below `key` [words]."""
    below, upto = 0, len(keys)
    for column, value in zip(keys.T, key, strict=True):
        within = column[below:upto]
        below, upto = (
            below + int(np.searchsorted(within, value, "left")),
            below + int(np.searchsorted(within, value, "right")),
        )
    return below
