"""Pieces: the tokens of one chunk, sorted into segments by group and side, in one working file.

A piece has its segments one after the other, then a footer that says where each of them is, then the length and the digest
of the footer. Each block of a segment has a digest of its own, so that whoever reads a block proves the block.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import xxhash

from tagcorpus.errors import DamagedError, OutputError
from tagcorpus.pipelines.storage.folder import Folder

_END = struct.Struct("<Q16s")
MAGIC = "tagcorpus token piece 1"


class Block(NamedTuple):
    """Bytes [start, end) of a piece, and their digest."""

    start: int
    end: int
    digest: str


@dataclass(frozen=True)
class Segment:
    """The documents of one group and side in a chunk. ids: of all documents, each with its EOS; lengths: int32, of each."""

    group: str
    side: str
    documents: int
    tokens: int
    ids: Block
    lengths: Block


@dataclass(frozen=True)
class Piece:
    """The footer of a piece. sample: sorted uint64 hashes of held-out n-grams; is_all: whether none was left out of it."""

    key: str
    left_out: int
    """Documents of the chunk that are in no segment."""
    segments: tuple[Segment, ...]
    sample: Block
    is_all: bool


class Content(NamedTuple):
    """What a segment is written from."""

    group: str
    side: str
    ids: Sequence[npt.NDArray[Any]]
    lengths: npt.NDArray[np.int32]


def write_piece(
    output: Folder,
    name: str,
    key: str,
    left_out: int,
    contents: Sequence[Content],
    sample: npt.NDArray[np.uint64],
    *,
    is_all: bool,
) -> None:
    """Publish a piece."""
    with output.publishing(name) as sink:
        at = 0

        def block(arrays: Sequence[npt.NDArray[Any]]) -> list[Any]:
            nonlocal at
            start, digest = at, xxhash.xxh3_128()
            for array in arrays:
                data = np.ascontiguousarray(array).view(np.uint8)
                sink.write(data.data)
                digest.update(data.data)
                at += len(data)
            return [start, at, digest.hexdigest()]

        segments = [
            {
                "group": c.group,
                "side": c.side,
                "documents": len(c.lengths),
                "tokens": int(c.lengths.sum(dtype=np.int64)),
                "ids": block(c.ids),
                "lengths": block([c.lengths.astype("<i4")]),
            }
            for c in contents
        ]
        footer = {
            "magic": MAGIC,
            "key": key,
            "left_out": left_out,
            "segments": segments,
            "sample": block([sample.astype("<u8")]),
            "is_all": is_all,
        }
        data = json.dumps(footer).encode()
        sink.write(data)
        sink.write(_END.pack(len(data), xxhash.xxh3_128_digest(data)))


def open_piece(output: Folder, name: str, key: str) -> Piece | None:
    """The piece of this key; None where there is none, or none that is whole as far as its footer says."""
    try:
        size = output.size(name)
        n_bytes, digest = _END.unpack(output.read_chunk(name, size - _END.size, size))
        data = output.read_chunk(name, size - _END.size - n_bytes, size - _END.size)
        if xxhash.xxh3_128_digest(data) != digest:
            return None
        footer = json.loads(data)
        if footer["magic"] != MAGIC or footer["key"] != key:
            return None
        sample = Block(*footer["sample"])
        if sample.end != size - _END.size - n_bytes:
            return None
        segments = tuple(
            Segment(**{**s, "ids": Block(*s["ids"]), "lengths": Block(*s["lengths"])}) for s in footer["segments"]
        )
        return Piece(key, footer["left_out"], segments, sample, footer["is_all"])
    except (OSError, OutputError, struct.error, ValueError, KeyError, TypeError, OverflowError):
        return None


def read_block(output: Folder, name: str, block: Block, dtype: str) -> npt.NDArray[Any]:
    """The numbers of a block. Raises DamagedError, and removes the piece, where they are not as they were written."""
    try:
        data = output.read_chunk(name, block.start, block.end)
    except FileNotFoundError as error:
        raise DamagedError(f"{output}/{name} is gone") from error
    if len(data) != block.end - block.start or xxhash.xxh3_128_hexdigest(data) != block.digest:
        output.remove(name)
        raise DamagedError(f"{output}/{name} is damaged")
    return np.frombuffer(data, dtype)
