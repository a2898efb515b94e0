"""The entropy of every group of a column at once: one count of all kept documents, with the group as one more token of the context.

A position (context, next) of a document in group g is counted as the trigram (g, context, next), so the passes of `run
entropy` (counting/passes.py) count all groups together, in their bounded memory and however many groups there are. The
contexts of one group then lie side by side, and what they come to are the same integers as if the group were counted alone.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import xxhash
from datatrove.pipeline.base import PipelineStep

from tagcorpus.kernels.arrays import drop_workspaces
from tagcorpus.kernels.entropy import conditional_entropy
from tagcorpus.kernels.ngrams import unpack
from tagcorpus.kernels.packing import Entropies
from tagcorpus.pipelines.attributes.parts import Instance
from tagcorpus.pipelines.attributes.summary import percentiles
from tagcorpus.pipelines.counting import phases
from tagcorpus.pipelines.counting.corpus import Corpus, KeyRange, key_ranges
from tagcorpus.pipelines.counting.passes import Merge
from tagcorpus.pipelines.counting.spill import read_values, write_values
from tagcorpus.pipelines.counting.summary import Adds
from tagcorpus.pipelines.counting.token_budget import figures
from tagcorpus.pipelines.execution.engine import Engine
from tagcorpus.pipelines.group_entropy.of_groups import adds_of, whole_figures
from tagcorpus.pipelines.group_statistics.groups import Values
from tagcorpus.pipelines.group_statistics.kept import Rows, numbered
from tagcorpus.pipelines.group_statistics.medians import median
from tagcorpus.pipelines.inputs.chunks import Counts
from tagcorpus.pipelines.token_ids.cache import TokenSource
from tagcorpus.pipelines.token_ids.parts import TokenBatch

N = 2
"""Tokens of context: the group, and the one token."""

Numbers = npt.NDArray[np.int32]


class NumberedSource:
    """Token ids of the kept documents that are in a group, with the numbers of their groups."""

    def __init__(self, source: TokenSource, filter_: Instance, values: Values) -> None:
        self.source, self.filter_, self.values = source, filter_, values
        decisions = json.dumps([filter_.identity(), values.instance.name, values.column, values.values], sort_keys=True)
        self.fingerprint = f"{source.fingerprint} numbered {xxhash.xxh3_64_hexdigest(decisions.encode())}"

    @property
    def n(self) -> int:
        """How many groups there are."""
        return len(self.values.values)

    def open(self, rank: int) -> NumberedChunk:
        planned, k = self.source.plan.chunks[rank]
        rows = numbered(self.source.output, self.filter_, self.values, planned, k)
        return NumberedChunk(self.source.open(rank), rows, planned.file.name)


class NumberedChunk(Iterator[tuple[TokenBatch, Numbers]]):
    """A chunk's batches without the documents that do not count, and int32 [n_docs]: the group of each."""

    def __init__(self, opened: Any, rows: Rows, file_name: str) -> None:
        self._opened, self._rows, self.file_name = opened, rows, file_name

    @property
    def counts(self) -> Counts:
        counted: Counts = self._opened.counts
        return counted

    def __next__(self) -> tuple[TokenBatch, Numbers]:
        batch: TokenBatch = next(self._opened)
        numbers = self._rows.next(batch.row, batch.sub)
        return batch.only(numbers >= 0), numbers[numbers >= 0]


class Choosing(Protocol):
    """Which documents are counted, and as what."""

    n: int
    """Numbers are below this."""

    @property
    def fingerprint(self) -> str: ...

    def chosen(self, batch: TokenBatch, numbers: Numbers, file_name: str) -> Iterator[tuple[TokenBatch, Numbers]]:
        """Some of the documents of a batch, once for each time that they count, with the numbers they count for."""
        ...


class Everything:
    """Every document, for its group."""

    fingerprint = ""

    def __init__(self, n: int) -> None:
        self.n = n

    def chosen(
        self,
        batch: TokenBatch,
        numbers: Numbers,
        file_name: str,  # noqa: ARG002
    ) -> Iterator[tuple[TokenBatch, Numbers]]:
        yield batch, numbers


class PairSource:
    """Every position of the chosen documents as a document of three ids: number, token, next token. In the shape of a
    TokenSource, whose `row`, `sub` and `id` are those of the documents that the positions are in."""

    def __init__(self, documents: NumberedSource, choosing: Choosing, dtype: npt.DTypeLike) -> None:
        self.documents, self.choosing, self.dtype = documents, choosing, np.dtype(dtype)
        self.fingerprint = f"{documents.fingerprint} {choosing.fingerprint}"

    def open(self, rank: int) -> PairChunk:
        return PairChunk(self, self.documents.open(rank))


class PairChunk(Iterator[TokenBatch]):
    def __init__(self, source: PairSource, opened: NumberedChunk) -> None:
        self._source, self._opened = source, opened
        self._waiting: Iterator[tuple[TokenBatch, Numbers]] = iter(())

    @property
    def counts(self) -> Counts:
        return self._opened.counts

    def __next__(self) -> TokenBatch:
        while (chosen := next(self._waiting, None)) is None:
            self._waiting = self._source.choosing.chosen(*next(self._opened), self._opened.file_name)
        return _pairs(*chosen, self._source.dtype)


def _pairs(batch: TokenBatch, numbers: Numbers, dtype: np.dtype[Any]) -> TokenBatch:
    sizes = np.diff(batch.offsets)
    is_followed = np.ones(len(batch.ids), bool)
    is_followed[batch.offsets[1:][sizes > 0] - 1] = False
    at = np.flatnonzero(is_followed)
    ids = np.empty((len(at), N + 1), dtype)
    ids[:, 0], ids[:, 1], ids[:, 2] = np.repeat(numbers, sizes)[at], batch.ids[at], batch.ids[at + 1]
    offsets = np.arange(0, ids.size + 1, N + 1, dtype=np.int64)
    return TokenBatch(batch.row, batch.sub, batch.id, ids.ravel(), offsets)


class Sizes(PipelineStep):
    """Yields what a chunk's documents come to: int64 [2, groups], documents and tokens."""

    type = "size"
    name = "Sizes"

    def __init__(self, documents: NumberedSource) -> None:
        super().__init__()
        self.documents = documents

    def run(self, data: Any = None, rank: int = 0, world_size: int = 1) -> Iterator[npt.NDArray[np.int64]]:  # noqa: ARG002
        sized = np.zeros((2, self.documents.n), np.int64)
        for batch, numbers in self.documents.open(rank):
            np.add.at(sized[0], numbers, 1)
            np.add.at(sized[1], numbers, np.diff(batch.offsets))
        yield sized


def sizes(engine: Engine, documents: NumberedSource) -> npt.NDArray[np.int64]:
    """int64 [2, groups]: documents and tokens of each group."""
    total = np.zeros((2, documents.n), np.int64)

    def add(_watch: object, _rank: int, sized: list[Any]) -> None:
        np.add(total, sized.pop(), out=total)  # what is added need not be kept

    plan = documents.source.plan
    engine.over_chunks_here(plan, range(len(plan.chunks)), [Sizes(documents)], "sizing documents", on_done=add)
    return total


# What a key range says of a number: the figures, where it has all of its contexts; else what it adds to them, and which
# segment of the key range's file holds the entropies.
Piece = tuple[int, dict[str, Any] | None, Adds | None, int]


class MergeNumbers(PipelineStep):
    """Merges the runs of all chunks over one key range a rank. Yields a Piece for each number that has contexts there."""

    type = "merge"
    name = "MergeNumbers"

    def __init__(self, corpus: Corpus, cuts: Sequence[KeyRange], is_sample: bool) -> None:
        super().__init__()
        self.corpus, self.cuts, self.is_sample = corpus, cuts, is_sample

    def run(self, data: Any = None, rank: int = 0, world_size: int = 1) -> Iterator[Piece]:  # noqa: ARG002
        corpus, cut = self.corpus, self.cuts[rank]
        drop_workspaces()  # what counting took, where it was in this process
        (keys, counts), _ = Merge(corpus, self.cuts).merged(cut, is_kept=False)
        every = conditional_entropy(keys, counts, corpus.packing)
        del keys
        entries = np.concatenate([[0], np.cumsum(every.distinct)])
        numbers = unpack(every.contexts, N, corpus.packing.bits)[:, 0]
        bounds = [0, *(np.flatnonzero(np.diff(numbers)) + 1).tolist(), len(numbers)]
        segments: list[npt.NDArray[np.float64]] = []
        for start, end in pairwise(bounds if len(numbers) else [0]):
            number = int(numbers[start])
            part = slice(start, end)
            own = Entropies(every.contexts[part], every.counts[part], every.distinct[part], every.entropy_bits[part])
            adds = adds_of(counts[entries[start] : entries[end]], own)
            if self._is_whole(number, cut):
                yield number, figures_of([adds], median(own.entropy_bits), self.is_sample), None, -1
            else:
                yield number, None, adds, len(segments)
                segments.append(own.entropy_bits)
        if segments:
            with corpus.output.publishing(corpus.merged_name(rank)) as sink:
                write_values(sink, segments, {})

    def _is_whole(self, number: int, cut: KeyRange) -> bool:
        shift = N * self.corpus.packing.bits
        return (cut.low is None or cut.low <= number << shift) and (cut.high is None or number + 1 << shift <= cut.high)


def figures_of(adds: Sequence[Adds], middle: float | None, is_sample: bool) -> dict[str, Any]:
    return figures(adds) if is_sample else whole_figures(adds, middle)


def entropies(engine: Engine, corpus: Corpus, is_sample: bool) -> list[dict[str, Any]]:
    """The figures of every number, of a corpus whose source is a PairSource."""
    source = corpus.source
    assert isinstance(source, PairSource)

    def passes() -> list[dict[str, Any]]:
        phases.count(engine, corpus)
        files = [phases.spill_file_of(corpus, r) for r in range(len(corpus.plan.chunks))]
        cuts = key_ranges(files, corpus.packing.bits, corpus.limits.interval_entries)
        n_entries = sum(run.n for file in files for run in file.runs)
        results = engine.execute(
            [MergeNumbers(corpus, cuts, is_sample)],
            [[i] for i in range(len(cuts))],
            lambda i: f"key range {i} of {len(cuts)}",
            "merging",
            n_entries,
            on_done=lambda watch, _i, _merged: watch.done(n_entries // len(cuts), 0, 0),
        )
        return _put_together(corpus, results, source.choosing.n, is_sample)

    try:
        return phases.until_sound(engine.run, passes)
    finally:
        phases.tidy(engine.run, corpus)


def _put_together(corpus: Corpus, results: dict[int, list[Piece]], n: int, is_sample: bool) -> list[dict[str, Any]]:
    none: Adds = {**dict.fromkeys(("unweighted", "weighted", "n_contexts", "n_positions"), 0), "entry_spectrum": ([], []), "context_spectrum": ([], [])}  # fmt: skip
    nothing = figures_of([none], None, is_sample)
    of_numbers = [nothing] * n
    parts: dict[int, list[tuple[int, Adds, int]]] = {}
    for key_range in sorted(results):
        for number, whole, adds, segment in results[key_range]:
            if whole is not None:
                of_numbers[number] = whole
            else:
                assert adds is not None
                parts.setdefault(number, []).append((key_range, adds, segment))
    for number, pieces in parts.items():
        adds_of_all = [adds for _, adds, _ in pieces]

        def values(pieces: list[tuple[int, Adds, int]] = pieces) -> Iterator[npt.NDArray[np.float64]]:
            for key_range, _, segment in pieces:
                yield read_values(corpus.output, corpus.merged_name(key_range)).read_segment(segment)

        n_contexts = sum(adds["n_contexts"] for adds in adds_of_all)
        middle = None if is_sample else percentiles(values, n_contexts, (50,))[0]
        of_numbers[number] = figures_of(adds_of_all, middle, is_sample)
    return of_numbers
