"""An upper bound of entropy: cross-entropy of held-out documents under Kneser-Ney counts of all others.

Plug-in and Chao-Wang-Jost are mostly below the entropy of the source. The cross-entropy of any model on documents that it
has not seen is above it in expectation. Both together are a bracket.

A seed and the identity of each document decide which documents are held out. Each order k of the model (contexts of 0 to n
tokens) takes two passes: one counts the training documents into sorted spill files, one merges these by key range and looks
up the entries of the held-out documents. A last pass combines the orders at every position. Limits of the run bound a
worker's memory, as in passes.py.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from datatrove.pipeline.base import PipelineStep

from tagcorpus.kernels import kneser_ney
from tagcorpus.kernels.ngrams import count_ngrams
from tagcorpus.kernels.packing import Packing, packing
from tagcorpus.pipelines.counting.corpus import Corpus, KeyRange, Limits, key_ranges
from tagcorpus.pipelines.counting.passes import (
    Count,
    Counted,
    Merge,
    counted,
    joined,
    read_run,
    redo,
    values_of_key_range,
)
from tagcorpus.pipelines.counting.phases import tidy, until_sound
from tagcorpus.pipelines.counting.spill import DamagedSpillFile, write_values
from tagcorpus.pipelines.counting.token_budget import SampledSource
from tagcorpus.pipelines.execution.engine import Engine
from tagcorpus.pipelines.token_ids.parts import TokenBatch

HELD_OUT = 1 << 32
"""Number of the random order that decides which documents are held out. A token budget's replicates have numbers from 0."""
ROOM = 3
"""Bytes of an entry here over its bytes in counting and merging: it is unpacked, rotated, sorted and looked up."""
SEGMENTS = len(kneser_ney.Figures._fields)
Z = 1.959963984540054


class CountBefore(Count):
    """Counts the tokens before each entry: n-grams with their oldest token last."""

    def entries(self, ids: npt.NDArray[Any], offsets: npt.NDArray[np.int64]) -> Counted:
        keys, _ = count_ngrams(ids, offsets, self.corpus.packing)
        before = kneser_ney.rotated(keys, self.corpus.packing.n + 1, self.corpus.packing.bits)
        return before, np.ones(len(before), np.int64)


class CountHeldOut(Count):
    """Counts the held-out documents. Spill files end at the same documents for every order.

    order  tokens of the longest context: at scoring, a position needs memory for each order
    """

    def __init__(self, corpus: Corpus, order: int) -> None:
        super().__init__(corpus)
        self.order = order

    def size(self, batch: TokenBatch) -> int:
        return len(batch.ids) * (self.order + 2)


@dataclasses.dataclass(frozen=True)
class Level:
    """One order of the model, with k tokens of context. seen: the training documents' counts; held: the held-out
    documents' entries, None for k = 0."""

    k: int
    is_longest: bool
    seen: Corpus
    held: Corpus | None

    @property
    def uncut(self) -> int:
        """Bits at the end of a key where key ranges must not cut: the next token, and the token before the entry. (Without
        context all entries have the same context, so a key range may begin at any next token.)"""
        return self.seen.packing.bits * (1 if self.is_longest or self.k == 0 else 2)

    def entries(self, key_range: KeyRange) -> Counted:
        """Ascending entries of k + 1 tokens and their counts, of the training documents."""
        keys, counts = Merge(self.seen, []).merged(key_range, is_kept=False)[0]
        if self.is_longest:
            return keys, counts
        return kneser_ney.continuations(keys, self.seen.packing)

    def held_key_range(self, key_range: KeyRange) -> KeyRange:
        """The same key range among keys of k + 1 tokens."""
        by = 0 if self.is_longest else self.seen.packing.bits
        return KeyRange(*(None if v is None else v >> by for v in (key_range.low, key_range.high)))


class LookUp(PipelineStep):
    """Looks up the held-out entries of one key range a rank. Yields the number of seen entries and of those with a count of 1
    and of 2; without context, also the tokens and their counts."""

    type = "merge"
    name = "LookUp"

    def __init__(self, level: Level, cuts: Sequence[KeyRange]) -> None:
        super().__init__()
        self.level, self.cuts = level, cuts

    def run(self, data: Any = None, rank: int = 0, world_size: int = 1) -> Iterator[dict[str, Any]]:  # noqa: ARG002
        level, key_range = self.level, self.cuts[rank]
        keys, counts = level.entries(key_range)
        adds: dict[str, Any] = {
            "n_entries": len(counts),
            "n_once": int((counts == 1).sum()),
            "n_twice": int((counts == 2).sum()),
        }
        if level.held is None:
            yield {**adds, "tokens": keys[:, -1].astype(np.int64), "before": counts}
            return
        held = level.held
        keys = keys if held.packing.words == keys.shape[1] else np.ascontiguousarray(keys[:, -held.packing.words :])
        with held.output.publishing(held.merged_name(rank)) as sink:
            write_values(
                sink,
                self._segments(keys, counts, held, level.held_key_range(key_range)),
                {"key": [held.key, level.seen.key]},
            )
        yield adds

    def _segments(
        self, keys: npt.NDArray[np.uint64], counts: npt.NDArray[np.int64], held: Corpus, key_range: KeyRange
    ) -> Iterator[npt.NDArray[np.float64]]:
        """The figures of every spill file's entries, in their order."""
        for rank in range(len(held.plan.chunks)):
            file = counted(held, rank)
            if file is None:
                raise redo(held, held.spill_name(rank))
            for i in range(len(file.runs)):
                entries, _ = read_run(held, file, i, key_range)
                yield from kneser_ney.figures(keys, counts, entries, held.packing.bits)


class Price(PipelineStep):
    """Yields (bits, positions) of every held-out document of a chunk that has a position."""

    type = "score"
    name = "Price"

    def __init__(
        self,
        levels: Sequence[Level],
        n_key_ranges: Sequence[int],
        runs_before: Sequence[int],
        discounts: Sequence[float],
        unigrams: npt.NDArray[np.float64],
    ) -> None:
        super().__init__()
        self.levels, self.n_key_ranges, self.runs_before = levels, n_key_ranges, runs_before
        self.discounts, self.unigrams = discounts, unigrams

    def run(self, data: Any = None, rank: int = 0, world_size: int = 1) -> Iterator[list[tuple[float, int]]]:  # noqa: ARG002
        held = [level.held for level in self.levels if level.held is not None]
        files = [counted(corpus, rank) for corpus in held]
        batches = iter(held[-1].source.open(rank))
        documents: list[tuple[float, int]] = []
        for corpus, file in zip(held, files, strict=True):
            if file is None:
                raise redo(corpus, corpus.spill_name(rank))
        for i, run in enumerate(files[-1].runs if files[-1] is not None else []):
            ids, offsets = joined([next(batches) for _ in range(run.extra["batches"])])
            documents += self._priced(ids, offsets, rank, i)
        for _ in batches:  # a reader publishes the token cache at its end
            pass
        yield documents

    def _priced(
        self, ids: npt.NDArray[Any], offsets: npt.NDArray[np.int64], rank: int, i: int
    ) -> list[tuple[float, int]]:
        n = self.levels[-1].k
        sizes = np.diff(offsets)
        starts = np.repeat(offsets[:-1], sizes)
        at = np.arange(offsets[0], offsets[-1])
        at = at[at - starts >= n]
        p = self.unigrams[ids[at]]
        for level, cuts, discount in zip(self.levels[1:], self.n_key_ranges[1:], self.discounts[1:], strict=True):
            p = kneser_ney.interpolated(self._figures(level, cuts, ids, at, rank, i), discount, p)
        bits = -np.log2(p)
        positions = np.maximum(sizes - n, 0)
        ends = np.cumsum(positions)
        return [(math.fsum(bits[end - m : end]), int(m)) for end, m in zip(ends, positions, strict=True) if m]

    def _figures(
        self, level: Level, cuts: int, ids: npt.NDArray[Any], at: npt.NDArray[np.int64], rank: int, i: int
    ) -> kneser_ney.Figures:
        held = level.held
        assert held is not None
        file = counted(held, rank)
        if file is None:
            raise redo(held, held.spill_name(rank))
        keys, _ = read_run(held, file, i, KeyRange(None, None))
        segment = SEGMENTS * (self.runs_before[rank] + i)
        segments: list[list[npt.NDArray[np.float64]]] = []
        for key_range in range(cuts):
            values = values_of_key_range(held, key_range)
            try:
                if values is None or values.meta["key"] != [held.key, level.seen.key]:
                    raise DamagedSpillFile("it is missing, or of another corpus")
                segments.append([values.read_segment(segment + s) for s in range(SEGMENTS)])
            except DamagedSpillFile as error:
                raise redo(held, held.merged_name(key_range)) from error
        windows = np.stack([ids[at - j] for j in range(level.k, -1, -1)], axis=1)
        place = kneser_ney.places(keys, kneser_ney.pack(windows, held.packing.bits, held.packing.words))
        return kneser_ney.Figures(*(np.concatenate(f)[place] for f in zip(*segments, strict=True)))


def bracket(
    engine: Engine,
    corpus: Corpus,
    share: float,
    seed: int,
    n_vocab: int,
) -> dict[str, Any]:
    """The upper side: cross-entropy in bits, its standard error over documents, and its numbers of documents and positions.

    share   of the documents to hold out
    """
    levels = _levels(corpus, share, seed, n_vocab)
    working = [c for level in levels for c in (level.seen, level.held) if c is not None]
    try:
        return {"held_out": share, "seed": seed, **until_sound(engine.run, lambda: _passes(engine, levels, n_vocab))}
    finally:
        for one in working:
            tidy(engine.run, one)


def with_lower(upper: dict[str, Any], plug_in: float | None, positions: int) -> dict[str, Any]:
    """The bracket: the upper side, the plug-in value of the whole corpus, and an approximate standard error of that value.

    The bits of a document vary about as much under either model. So the standard error of the plug-in value is that of the
    upper side, divided by the root of the ratio of positions. It matters where hardly any bias is left.
    """
    error, held = upper["standard_error"], upper["positions"]
    lower = None if error is None or not positions else error * math.sqrt(held / positions)
    return {**upper, "plug_in": plug_in, "plug_in_standard_error": lower}


def is_met(stored: dict[str, Any] | None, share: float, seed: int) -> bool:
    """Whether an earlier run's figures have the same held-out documents."""
    return stored is not None and (stored["held_out"], stored["seed"]) == (share, seed)


def _levels(corpus: Corpus, share: float, seed: int, n_vocab: int) -> list[Level]:
    """From the shortest context to the longest."""
    below = int(share * (1 << 64))
    held, rest = (SampledSource(corpus, seed, HELD_OUT, below, 0, 0, is_rest) for is_rest in (False, True))

    limits = Limits(corpus.limits.chunk_positions // ROOM or 1, corpus.limits.interval_entries // ROOM or 1)

    def part(source: SampledSource, packed: Packing, name: str) -> Corpus:
        instance = f"{corpus.instance}.{name}"
        return dataclasses.replace(
            corpus, source=source, packing=packed, instance=instance, limits=limits, with_contexts=False
        )

    n = corpus.packing.n
    levels = []
    for k in range(n + 1):
        seen = part(rest, packing(min(k + 1, n), n_vocab), f"seen{k}")
        own = part(held, packing(k, n_vocab), f"held{k}") if k else None
        levels.append(Level(k, k == n, seen, own))
    return levels


def _passes(engine: Engine, levels: Sequence[Level], n_vocab: int) -> dict[str, Any]:
    plan = levels[0].seen.plan
    ranks = range(len(plan.chunks))
    n_key_ranges, discounts = [], []
    before = np.zeros(n_vocab, np.int64)
    runs_before: list[int] = []
    for level in levels:
        step = Count(level.seen) if level.is_longest else CountBefore(level.seen)
        _count(engine, level.seen, step, f"counting contexts of {level.k}")
        if level.held is not None:
            _count(engine, level.held, CountHeldOut(level.held, levels[-1].k), "counting held-out documents")
            runs_before = [0, *np.cumsum([len(f.runs) for f in _files(level.held)]).tolist()]
        files = _files(level.seen)
        cuts = key_ranges(files, level.uncut, level.seen.limits.interval_entries)
        adds = engine.execute(
            [LookUp(level, cuts)],
            [[i] for i in range(len(cuts))],
            lambda i, cuts=cuts: f"key range {i} of {len(cuts)}",  # type: ignore[misc]
            "looking up held-out documents",
            sum(run.n for file in files for run in file.runs),
            on_done=lambda watch, _rank, reports: watch.done(reports[0]["n_entries"], 0, 0),
        )
        totals = [adds[i][0] for i in range(len(cuts))]
        n_key_ranges.append(len(cuts))
        discounts.append(kneser_ney.discount(sum(a["n_once"] for a in totals), sum(a["n_twice"] for a in totals)))
        for add in totals if level.k == 0 else ():
            before[add["tokens"]] += add["before"]
        tidy(engine.run, level.seen)  # the largest files; later passes read only the looked-up figures
    price = Price(levels, n_key_ranges, runs_before, discounts, kneser_ney.unigrams(before, n_vocab))
    priced = engine.over_chunks_here(plan, ranks, [price], "pricing held-out documents")
    return {**mean_over_documents([d for r in ranks for d in priced[r][0]]), "discounts": discounts}


def _count(engine: Engine, corpus: Corpus, step: Count, title: str) -> None:
    missing = [r for r in range(len(corpus.plan.chunks)) if counted(corpus, r) is None]
    if missing:
        engine.over_chunks_here(corpus.plan, missing, [step], title)


def _files(corpus: Corpus) -> list[Any]:
    files = [counted(corpus, r) for r in range(len(corpus.plan.chunks))]
    for r, file in enumerate(files):
        if file is None:
            raise redo(corpus, corpus.spill_name(r))
    return files


def mean_over_documents(documents: Sequence[tuple[float, int]]) -> dict[str, Any]:
    """Bits a position over all documents, with the standard error of a ratio of sums over documents.

    documents  (bits, positions), positions at least 1
    returns    cross_entropy None without documents; standard_error, low and high (95 %) None with fewer than two
    """
    d, m = len(documents), sum(positions for _, positions in documents)
    none: dict[str, Any] = {
        "documents": d,
        "positions": m,
        "cross_entropy": None,
        "standard_error": None,
        "low": None,
        "high": None,
    }
    if not d:
        return none
    mean = math.fsum(bits for bits, _ in documents) / m
    if d == 1:
        return {**none, "cross_entropy": mean}
    squares = math.fsum((bits - mean * positions) ** 2 for bits, positions in documents)
    error = math.sqrt(squares * d / (d - 1)) / m
    return {**none, "cross_entropy": mean, "standard_error": error, "low": mean - Z * error, "high": mean + Z * error}
