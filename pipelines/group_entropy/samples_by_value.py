"""Random samples of every group of a column that come to a given number of tokens: the documents that counting/token_budget.py
would take of each group, found for all groups and replicates together.

A cell is one replicate of one group. Where its budget runs out in the random order of places is found by looking at ever
narrower parts of the order, in each of which documents are only counted, until few enough are left to be held.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import xxhash
from datatrove.pipeline.base import PipelineStep

from tagcorpus.pipelines.counting.token_budget import Budget, places
from tagcorpus.pipelines.execution.engine import Engine
from tagcorpus.pipelines.group_entropy.by_value import NumberedSource, Numbers
from tagcorpus.pipelines.token_ids.parts import TokenBatch

HELD_DOCUMENTS = 2_000_000
"""So many documents, with their places, are held at once (some 30 bytes each)."""
COUNTED_SLOTS = 1 << 21
"""Into so many parts altogether the cells' parts of the order are divided at a time (some 16 bytes each, in every worker)."""

U64 = npt.NDArray[np.uint64]
I64 = npt.NDArray[np.int64]


class Samples:
    """Every document, once for each replicate of its group that it is in: a Choosing. Cells are numbered replicate *
    groups + group.

    sampled    bool [groups]: groups that are sampled
    below      uint64 [replicates, groups]: places below this are in
    is_all     bool [replicates, groups]: all are in
    tokens     int64 [replicates, groups], and `documents`: what the samples come to
    """

    def __init__(self, budget: Budget, sampled: npt.NDArray[np.bool_]) -> None:
        self.budget, self.sampled = budget, sampled
        self.groups = len(sampled)
        self.n = budget.replicates * self.groups
        shape = (budget.replicates, self.groups)
        self.below = np.zeros(shape, np.uint64)
        self.is_all = np.zeros(shape, bool)
        self.tokens, self.documents = np.zeros(shape, np.int64), np.zeros(shape, np.int64)

    @property
    def fingerprint(self) -> str:
        decisions = b"".join(a.tobytes() for a in (self.sampled, self.below, self.is_all))
        return f"samples {self.budget} {xxhash.xxh3_128_hexdigest(decisions)}"

    def chosen(self, batch: TokenBatch, numbers: Numbers, file_name: str) -> Iterator[tuple[TokenBatch, Numbers]]:
        for r in range(self.budget.replicates):
            place = places(file_name, batch.row, batch.sub, self.budget.seed, r)
            taken = self.sampled[numbers] & (self.is_all[r, numbers] | (place < self.below[r, numbers]))
            yield batch.only(taken), numbers[taken] + np.int32(r * self.groups)


class _Search:
    """Where the order is still to be looked at, by cell.

    low     uint64 [cells]: the first place of that part
    width   bits of its length: 2^width places
    tokens  int64 [cells]: of the documents before it, and `documents`: their number
    left    bool [cells]: cells whose budget runs out in there
    """

    def __init__(self, samples: Samples) -> None:
        self.budget, self.groups = samples.budget, samples.groups
        self.low = np.zeros(samples.n, np.uint64)
        self.width = 64
        self.tokens, self.documents = np.zeros(samples.n, np.int64), np.zeros(samples.n, np.int64)
        self.left = np.tile(samples.sampled, samples.budget.replicates)

    def inside(self, batch: TokenBatch, numbers: Numbers, file_name: str) -> Iterator[tuple[I64, U64, I64]]:
        """(cell, place, tokens) of the documents in there, for each replicate."""
        sizes = np.diff(batch.offsets)
        for r in range(self.budget.replicates):
            cell = numbers.astype(np.int64) + r * self.groups
            place = places(file_name, batch.row, batch.sub, self.budget.seed, r)
            above = place - self.low[cell]
            is_in = self.left[cell] & (place >= self.low[cell])
            if self.width < 64:
                is_in &= above < np.uint64(1 << self.width)
            yield cell[is_in], place[is_in], sizes[is_in]


class Divide(PipelineStep):
    """Counts a chunk's documents in each of 2^bits equal parts of what is still to be looked at. Yields, of the parts
    where there are some, int64 [3, k]: cell * 2^bits + part, documents, tokens."""

    type = "size"
    name = "Divide"

    def __init__(self, documents: NumberedSource, search: _Search, bits: int) -> None:
        super().__init__()
        self.documents, self.search, self.bits = documents, search, bits

    def run(self, data: Any = None, rank: int = 0, world_size: int = 1) -> Iterator[I64]:  # noqa: ARG002
        search, shift = self.search, np.uint64(self.search.width - self.bits)
        held = np.zeros((2, len(search.low) << self.bits), np.int64)
        opened = self.documents.open(rank)
        for batch, numbers in opened:
            for cell, place, sizes in search.inside(batch, numbers, opened.file_name):
                part = (cell << self.bits) + ((place - search.low[cell]) >> shift).astype(np.int64)
                np.add.at(held[0], part, 1)
                np.add.at(held[1], part, sizes)
        there = np.flatnonzero(held[0])
        yield np.stack([there, *held[:, there]])


class Collect(PipelineStep):
    """Yields a chunk's documents that are still to be looked at: cell int64 [k], place uint64 [k], tokens int64 [k]."""

    type = "edge"
    name = "Collect"

    def __init__(self, documents: NumberedSource, search: _Search) -> None:
        super().__init__()
        self.documents, self.search = documents, search

    def run(self, data: Any = None, rank: int = 0, world_size: int = 1) -> Iterator[tuple[I64, U64, I64]]:  # noqa: ARG002
        opened = self.documents.open(rank)
        for batch, numbers in opened:
            yield from self.search.inside(batch, numbers, opened.file_name)


def draw(
    engine: Engine, documents: NumberedSource, sizes: I64, budget: Budget, *, held_documents: int = HELD_DOCUMENTS
) -> Samples:
    """The samples of all groups that have as many tokens as the budget.

    sizes  int64 [2, groups]: documents and tokens of each group
    """
    samples = Samples(budget, sizes[1] >= budget.tokens)
    search = _Search(samples)
    # A group of exactly so many tokens is its own sample.
    is_all = np.tile(samples.sampled & (sizes[1] == budget.tokens), budget.replicates)
    search.left &= ~is_all
    _enter(samples, is_all, *(np.tile(s, budget.replicates) for s in sizes))
    samples.is_all |= is_all.reshape(samples.is_all.shape)
    ahead = int(np.tile(sizes[0], budget.replicates)[search.left].sum())
    while ahead > held_documents and search.width > 0:
        ahead = _narrow(engine, documents, search)
    _settle(engine, documents, search, samples)
    return samples


def _enter(samples: Samples, cells: npt.NDArray[np.bool_], documents: I64, tokens: I64) -> None:
    samples.documents.ravel()[cells] = documents[cells]
    samples.tokens.ravel()[cells] = tokens[cells]


def _narrow(engine: Engine, documents: NumberedSource, search: _Search) -> int:
    """Look closer, once through all documents. How many are still ahead."""
    n = len(search.low)
    bits = min(max(1, (COUNTED_SLOTS // n).bit_length() - 1), 16, search.width)
    held = np.zeros((2, n << bits), np.int64)

    def add(_watch: object, _rank: int, divided: list[Any]) -> None:
        at, *more = divided.pop()
        held[:, at] += more

    plan = documents.source.plan
    step = Divide(documents, search, bits)
    engine.over_chunks_here(plan, range(len(plan.chunks)), [step], "drawing samples", on_done=add)
    by_cell = held.reshape(2, n, 1 << bits)
    tokens = search.tokens[:, None] + np.cumsum(by_cell[1], axis=1)
    part = (tokens <= search.budget.tokens).sum(axis=1)  # the first in which there are too many
    cells = np.flatnonzero(search.left)
    part = part[cells]
    search.width -= bits
    search.low[cells] += part.astype(np.uint64) << np.uint64(search.width)
    own = by_cell[:, cells]
    before = np.concatenate([np.zeros((2, len(cells), 1), np.int64), np.cumsum(own, axis=2)], axis=2)
    at = np.arange(len(cells))
    search.documents[cells] += before[0, at, part]
    search.tokens[cells] += before[1, at, part]
    return int(own[0, at, part].sum())


def _settle(engine: Engine, documents: NumberedSource, search: _Search, samples: Samples) -> None:
    """Look at every document that is left: the first that does not fit is where a sample ends."""
    plan = documents.source.plan
    ranks = range(len(plan.chunks)) if search.left.any() else ()
    collected = engine.over_chunks_here(plan, ranks, [Collect(documents, search)], "drawing samples") if ranks else {}
    none = (np.zeros(0, np.int64), np.zeros(0, np.uint64), np.zeros(0, np.int64))
    pieces = [none, *(piece for pieces in collected.values() for piece in pieces)]
    cell, place, size = (np.concatenate(column) for column in zip(*pieces, strict=True))
    order = np.lexsort((place, cell))
    cell, place, size = cell[order], place[order], size[order]
    first = np.searchsorted(cell, cell, side="left")
    through = np.cumsum(size)
    tokens = through - (through - size)[first] + search.tokens[cell]
    is_over = tokens > search.budget.tokens
    cells, at = np.unique(cell[is_over], return_index=True)
    at = np.flatnonzero(is_over)[at]
    samples.below.ravel()[cells] = place[at]
    samples.tokens.ravel()[cells] = tokens[at] - size[at]
    samples.documents.ravel()[cells] = search.documents[cells] + at - first[at]
