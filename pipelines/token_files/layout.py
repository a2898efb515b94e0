"""The layout: which documents of which pieces go to which file. It depends on the documents' sizes and order alone."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

import numpy as np
import xxhash

from tagcorpus.pipelines.group_statistics.groups import escaped
from tagcorpus.pipelines.token_files.pieces import Piece, Segment, read_block
from tagcorpus.pipelines.token_files.sides import SIDES
from tagcorpus.pipelines.token_files.work import Work

FOLDER = "token_files"
FORMAT = 1


class Slice(NamedTuple):
    """Documents [first, last) of a segment of the piece of a chunk, `tokens` in all."""

    rank: int
    segment: Segment
    first: int
    last: int
    tokens: int


@dataclass
class TokenFile:
    """One pair of .bin and .idx. `prefix` is relative to the output, and what Megatron takes."""

    prefix: str
    group: str
    side: str
    dtype: str
    slices: list[Slice] = field(default_factory=list)

    @property
    def documents(self) -> int:
        return sum(s.last - s.first for s in self.slices)

    @property
    def tokens(self) -> int:
        return sum(s.tokens for s in self.slices)

    @cached_property
    def key(self) -> str:
        """Of everything that decides the bytes of both files."""
        slices = [[s.segment.ids.digest, s.segment.lengths.digest, s.first, s.last] for s in self.slices]
        return xxhash.xxh3_128_hexdigest(json.dumps([FORMAT, self.dtype, slices]).encode())


def prefix_of(group: str, side: str, number: int) -> str:
    return f"{FOLDER}/{escaped(group)}/{side}-{number:05d}"


def layout(work: Work, pieces: Sequence[Piece], file_bytes: int) -> list[TokenFile]:
    """All files, by group (in byte order), side and number. Raises DamagedError where a piece is damaged."""
    files: list[TokenFile] = []
    by_place: dict[tuple[str, str], list[tuple[int, Segment]]] = {}
    for rank, piece in enumerate(pieces):
        for segment in piece.segments:
            by_place.setdefault((segment.group, segment.side), []).append((rank, segment))
    room = max(file_bytes // np.dtype(work.dtype).itemsize, 1)
    for group, side in sorted(by_place, key=lambda place: (place[0].encode(), SIDES.index(place[1]))):
        number, held = -1, 0
        for rank, segment in by_place[group, side]:
            for slice_ in _cut(work, rank, segment, room, held):
                if slice_.first or number < 0 or held + slice_.tokens > room:
                    number, held = number + 1, 0
                    files.append(TokenFile(prefix_of(group, side, number), group, side, work.dtype))
                files[-1].slices.append(slice_)
                held += slice_.tokens
    return files


def _cut(work: Work, rank: int, segment: Segment, room: int, held: int) -> Iterator[Slice]:
    """The segment in slices; each but the first begins a file. Documents go to a file as long as they fit into it."""
    if held + segment.tokens <= room:
        yield Slice(rank, segment, 0, segment.documents, segment.tokens)
        return
    lengths = read_block(work.output, work.piece_name(rank), segment.lengths, "<i4")
    ends = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])
    first = 0
    while first < segment.documents:
        free = room - held
        last = int(np.searchsorted(ends, ends[first] + free, side="right")) - 1
        if last <= first:
            if held and not first:  # nothing fits into the file that is begun
                held = 0
                continue
            last = first + 1
        yield Slice(rank, segment, first, last, int(ends[last] - ends[first]))
        first, held = last, 0
