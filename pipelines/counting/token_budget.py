"""Entropy of random samples that come to a given number of tokens: what makes corpora of unequal size comparable.

A sample is of whole documents: in an order that a seed decides and that neither chunks nor workers change, documents
are taken as long as they fit into the budget. Several samples (replicates) say how much chance there is in a figure. They
are drawn from the same corpus: where the budget is a large part of it they overlap and differ too little. Their interval is
therefore widened (`widened_by`), to be one for another corpus of the same kind.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import xxhash
from datatrove.pipeline.base import PipelineStep

from tagcorpus.errors import ConfigError
from tagcorpus.pipelines.counting.corpus import Corpus
from tagcorpus.pipelines.counting.estimators import estimate, interval
from tagcorpus.pipelines.counting.summary import Adds, mean, spectrum
from tagcorpus.pipelines.execution.engine import Engine
from tagcorpus.pipelines.inputs.chunks import Counts
from tagcorpus.pipelines.token_ids.parts import TokenBatch

SLOTS = 1 << 12
"""Documents are sorted into so many slots of their place in the random order; only one slot has to be looked at closely."""

Places = npt.NDArray[np.uint64]


@dataclass(frozen=True)
class Budget:
    tokens: int
    replicates: int
    seed: int


def at_budget(
    engine: Engine, corpus: Corpus, budget: Budget, totals: Callable[[Engine, Corpus], list[Adds]]
) -> dict[str, Any]:
    """Every figure of every replicate, with mean and 95 % interval. Raises ConfigError where the corpus is smaller.

    totals  counts a corpus, and says what each piece of it adds to a summary
    """
    n_tokens, samples = _samples(engine, corpus, budget)
    sizes = [(s.source.n_tokens, s.source.n_documents) for s in samples if isinstance(s.source, SampledSource)]
    return put_together(budget, n_tokens, sizes, [figures(totals(engine, sample)) for sample in samples])


def put_together(
    budget: Budget, n_tokens: int, sizes: Sequence[tuple[int, int]], figures: Sequence[dict[str, Any]]
) -> dict[str, Any]:
    """n_tokens: of the whole; sizes and found: tokens, documents and figures of every replicate."""
    samples = [
        {"tokens": tokens, "documents": documents, **f} for (tokens, documents), f in zip(sizes, figures, strict=True)
    ]
    of_corpus = budget.tokens / n_tokens
    return {**dataclasses.asdict(budget), "of_corpus": of_corpus, **_intervals(samples, of_corpus), "samples": samples}


def renewed(stored: dict[str, Any] | None) -> dict[str, Any] | None:
    """Stored figures with the intervals of this version, which are made of the stored samples."""
    if stored is None or "widened_by" in stored:
        return stored
    samples = stored["samples"]
    kept = {k: stored[k] for k in ("tokens", "replicates", "seed", "of_corpus")}
    return {**kept, **_intervals(samples, stored["of_corpus"]), "samples": samples}


def _intervals(samples: Sequence[dict[str, Any]], of_corpus: float) -> dict[str, Any]:
    """Of every figure that all samples have. Samples that are the whole corpus say nothing of another: no interval."""
    widened = overlap_factor(len(samples), of_corpus)
    figures: dict[str, Any] = {"widened_by": widened}
    for k in samples[0]:
        if all(isinstance(s[k], float) for s in samples):
            middle, low, high = interval([s[k] for s in samples])
            if widened is None:
                low = high = None
            elif low is not None and high is not None:
                low, high = middle + widened * (low - middle), middle + widened * (high - middle)
            figures[k] = {"mean": middle, "low": low, "high": high}
    return figures


def overlap_factor(replicates: int, of_corpus: float) -> float | None:
    """sqrt(1 + R f / (1 - f)): by how much the interval of R samples is wider that each take a share f of one corpus.

    With v the variance of a figure among samples of unlike corpora: drawn from one corpus, the mean of R samples varies by
    v (1 - f) / R, which is what their spread shows; from corpus to corpus by v (1 - f) / R + v f. None where f is 1.
    """
    return math.sqrt(1 + replicates * of_corpus / (1 - of_corpus)) if of_corpus < 1 else None


def figures(adds: Sequence[Adds]) -> dict[str, Any]:
    """Of a sample, from what each piece of it adds to a summary."""
    total = {k: sum(a[k] for a in adds) for k in ("unweighted", "weighted", "n_contexts", "n_positions")}
    return {
        "num_unique_contexts": total["n_contexts"],
        "total_contexts": total["n_positions"],
        "mean_corpus_entropy": mean(total["unweighted"], total["n_contexts"]),
        "weighted_mean_entropy": mean(total["weighted"], total["n_positions"]),
        **estimate(spectrum(adds, "entry_spectrum"), spectrum(adds, "context_spectrum")),
    }


def _samples(engine: Engine, corpus: Corpus, budget: Budget) -> tuple[int, list[Corpus]]:
    """The tokens of the corpus, and the replicates as corpora of their own."""
    ranks = range(len(corpus.plan.chunks))
    sized = engine.over_chunks_here(corpus.plan, ranks, [Size(corpus, budget)], "sizing documents")
    held = sum((counted[0] for counted in sized.values()), np.zeros((budget.replicates, SLOTS, 2), np.int64))
    n_tokens = int(held[0, :, 0].sum())
    if n_tokens < budget.tokens:
        raise ConfigError(
            f"--token-budget {budget.tokens:,}: the corpus has only {n_tokens:,} tokens. Give a budget that all corpora of the "
            "comparison have"
        )
    before = np.cumsum(held, axis=1)
    slots = [int(np.searchsorted(b[:, 0], budget.tokens, side="right")) for b in before]
    near = engine.over_chunks_here(corpus.plan, ranks, [Edge(corpus, budget, slots)], "drawing samples")
    samples = []
    for r, slot in enumerate(slots):
        tokens, documents = (int(v) for v in before[r, slot - 1]) if slot else (0, 0)
        below = 1 << 64
        for place, size in sorted(pair for counted in near.values() for pair in counted[0][r]):
            if tokens + size > budget.tokens:
                below = place
                break
            tokens, documents = tokens + size, documents + 1
        source = SampledSource(corpus, budget.seed, r, below, tokens, documents)
        name = f"{corpus.instance}.sample{r}"
        samples.append(dataclasses.replace(corpus, source=source, instance=name, with_contexts=False))
    return n_tokens, samples


def is_budget_met(stored: dict[str, Any] | None, budget: Budget) -> bool:
    """Whether an earlier run's figures are those of this budget."""
    return stored is not None and all(stored[k] == v for k, v in dataclasses.asdict(budget).items())


def places(file_name: str, row: npt.NDArray[Any], sub: npt.NDArray[Any], seed: int, replicate: int) -> Places:
    """Where each document stands in the random order of a replicate: uint64 [n], a mix of what identifies it."""
    of_file = np.uint64(xxhash.xxh3_64_intdigest(f"{seed}:{replicate}:{file_name}".encode()))
    return mixed(mixed(row.astype(np.uint64) ^ of_file) + sub.astype(np.uint64))


def mixed(x: Places) -> Places:
    """The finaliser of splitmix64 (Steele, Lea and Flood 2014): every bit of the input turns half of the output."""
    x = x + np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def _slots(drawn: Places) -> npt.NDArray[np.int64]:
    return (drawn >> np.uint64(64 - SLOTS.bit_length() + 1)).astype(np.int64)


class Size(PipelineStep):
    """Yields what a chunk's documents come to, per replicate and slot: int64 [replicates, SLOTS, 2], tokens and documents."""

    type = "size"
    name = "Size"

    def __init__(self, corpus: Corpus, budget: Budget) -> None:
        super().__init__()
        self.corpus, self.budget = corpus, budget

    def run(self, data: Any = None, rank: int = 0, world_size: int = 1) -> Iterator[npt.NDArray[np.int64]]:  # noqa: ARG002
        name = self.corpus.plan.chunks[rank][0].file.name
        held = np.zeros((self.budget.replicates, SLOTS, 2), np.int64)
        for batch in self.corpus.source.open(rank):
            sizes = np.stack([np.diff(batch.offsets), np.ones(len(batch.row), np.int64)], axis=1)
            for r in range(self.budget.replicates):
                np.add.at(held[r], _slots(places(name, batch.row, batch.sub, self.budget.seed, r)), sizes)
        yield held


class Edge(PipelineStep):
    """Yields per replicate (place, tokens) of a chunk's documents in the slot in which the budget runs out."""

    type = "edge"
    name = "Edge"

    def __init__(self, corpus: Corpus, budget: Budget, slots: Sequence[int]) -> None:
        super().__init__()
        self.corpus, self.budget, self.slots = corpus, budget, slots

    def run(
        self,
        data: Any = None,  # noqa: ARG002
        rank: int = 0,
        world_size: int = 1,  # noqa: ARG002
    ) -> Iterator[list[list[tuple[int, int]]]]:
        name = self.corpus.plan.chunks[rank][0].file.name
        edges: list[list[tuple[int, int]]] = [[] for _ in self.slots]
        for batch in self.corpus.source.open(rank):
            sizes = np.diff(batch.offsets)
            for r, slot in enumerate(self.slots):
                place = places(name, batch.row, batch.sub, self.budget.seed, r)
                there = _slots(place) == slot
                edges[r] += zip(place[there].tolist(), sizes[there].tolist(), strict=True)
        yield edges


class SampledSource:
    """Token ids of a replicate: of a corpus' documents those whose place is below a bound. In the shape of a TokenSource.

    is_rest  instead the documents whose place is not
    """

    def __init__(
        self,
        corpus: Corpus,
        seed: int,
        replicate: int,
        below: int,
        n_tokens: int,
        n_documents: int,
        is_rest: bool = False,
    ) -> None:
        self.source, self.chunks = corpus.source, corpus.plan.chunks
        self.seed, self.replicate, self.below, self.is_rest = seed, replicate, below, is_rest
        self.n_tokens, self.n_documents = n_tokens, n_documents
        self.fingerprint = f"{corpus.source.fingerprint} {'rest' if is_rest else 'sample'} {seed} {replicate} {below}"

    def open(self, rank: int) -> SampledChunk:
        return SampledChunk(self, rank)


class SampledChunk(Iterator[TokenBatch]):
    """A chunk's batches without the documents that are not in the sample; `counts` are those of the whole chunk."""

    def __init__(self, sampled: SampledSource, rank: int) -> None:
        self._sampled, self._name = sampled, sampled.chunks[rank][0].file.name
        self._opened = sampled.source.open(rank)

    @property
    def counts(self) -> Counts:
        return self._opened.counts

    def __next__(self) -> TokenBatch:
        batch, of = next(self._opened), self._sampled
        place = places(self._name, batch.row, batch.sub, of.seed, of.replicate)
        taken = place < np.uint64(of.below) if of.below < 1 << 64 else np.ones(len(place), bool)
        return batch.only(~taken if of.is_rest else taken)
