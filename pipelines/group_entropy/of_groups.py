"""The entropy of one group of files of a feature table, counted by one worker in its memory: of its kept documents alone.

Also the source of token ids that leaves out what is not kept, and what becomes of the counts: the figures of `run entropy`,
from the same integers, as the file that a group has (groups.entropy_name).
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import xxhash
from datatrove.pipeline.base import PipelineStep

from tagcorpus.kernels.entropy import conditional_entropy, counts_of_counts, exact_sums
from tagcorpus.kernels.ngrams import count_ngrams
from tagcorpus.kernels.packing import Entropies
from tagcorpus.pipelines.attributes.parts import Instance
from tagcorpus.pipelines.counting.corpus import Corpus, n_positions
from tagcorpus.pipelines.counting.estimators import estimate
from tagcorpus.pipelines.counting.summary import Adds, mean, spectrum
from tagcorpus.pipelines.counting.token_budget import Budget, figures, places, put_together
from tagcorpus.pipelines.group_statistics.groups import Group, entropy_name
from tagcorpus.pipelines.group_statistics.kept import Rows, kept
from tagcorpus.pipelines.group_statistics.medians import median
from tagcorpus.pipelines.inputs.chunks import Counts
from tagcorpus.pipelines.storage.sealed import sealed
from tagcorpus.pipelines.token_ids.cache import TokenSource
from tagcorpus.pipelines.token_ids.parts import TokenBatch


class KeptSource:
    """Token ids of the kept documents. In the shape of a TokenSource."""

    def __init__(self, source: TokenSource, filter_: Instance) -> None:
        self.source, self.filter_ = source, filter_
        decisions = json.dumps(filter_.identity(), sort_keys=True)
        self.fingerprint = f"{source.fingerprint} kept {xxhash.xxh3_64_hexdigest(decisions.encode())}"

    def open(self, rank: int) -> KeptChunk:
        planned, k = self.source.plan.chunks[rank]
        rows = kept(self.source.output, self.filter_, planned, k)
        return KeptChunk(self.source.open(rank), rows)


class KeptChunk(Iterator[TokenBatch]):
    """A chunk's batches without the documents that are not kept; `counts` are those of the whole chunk."""

    def __init__(self, opened: Any, rows: Rows) -> None:
        self._opened, self._rows = opened, rows

    @property
    def counts(self) -> Counts:
        counted: Counts = self._opened.counts
        return counted

    def __next__(self) -> TokenBatch:
        batch: TokenBatch = next(self._opened)
        taken = self._rows.next(batch.row, batch.sub)
        return batch.only(taken)


class Drain(PipelineStep):
    """Reads the ids of a chunk to their end, which puts them into the cache. Yields nothing."""

    type = "drain"
    name = "Drain"

    def __init__(self, source: TokenSource) -> None:
        super().__init__()
        self.source = source

    def run(self, data: Any = None, rank: int = 0, world_size: int = 1) -> Iterator[None]:  # noqa: ARG002
        for _ in self.source.open(rank):
            pass
        yield from ()


class GroupEntropy(PipelineStep):
    """Publishes the entropy of one group a rank, and yields it; None, and nothing done, where it has too many positions."""

    type = "entropy"
    name = "GroupEntropy"

    def __init__(
        self,
        corpora: Sequence[Corpus],
        groups: Sequence[Group],
        keys: Sequence[str],
        most_positions: int,
        budget: Budget | None,
    ) -> None:
        super().__init__()
        self.corpora, self.groups, self.keys = corpora, groups, keys
        self.most_positions, self.budget = most_positions, budget

    def run(self, data: Any = None, rank: int = 0, world_size: int = 1) -> Iterator[dict[str, Any] | None]:  # noqa: ARG002
        corpus, budget = self.corpora[rank], self.budget
        held = _gathered(corpus, self.most_positions, budget)
        if held is None:
            yield None
            return
        tokenizer = corpus.source.source.fingerprint if isinstance(corpus.source, KeptSource) else ""
        adds, middle = _counted(held.ids, held.offsets, corpus)
        sizes = {"num_documents": len(held.offsets) - 1, "num_tokens": len(held.ids)}
        value = value_of(self.keys[rank], tokenizer, sizes, [adds], middle)
        if budget is not None and len(held.ids) >= budget.tokens:
            value["token_budget"] = held.at(budget, corpus)
        publish(corpus, self.groups[rank], value)
        yield value


@dataclasses.dataclass(frozen=True)
class _Held:
    """The kept documents of a group: ids [n_tokens], offsets int64 [n_docs + 1], and with a budget of every replicate the
    documents' places uint64 [n_docs]."""

    ids: npt.NDArray[Any]
    offsets: npt.NDArray[np.int64]
    places: Sequence[npt.NDArray[np.uint64]]

    def at(self, budget: Budget, corpus: Corpus) -> dict[str, Any]:
        """As token_budget.at_budget."""
        sizes = np.diff(self.offsets)
        taken, of_samples = [], []
        for place in self.places:
            order = np.argsort(place, kind="stable")
            n = int(np.searchsorted(np.cumsum(sizes[order]), budget.tokens, side="right"))
            chosen = np.zeros(len(sizes), bool)
            chosen[order[:n]] = True
            ids = self.ids[np.repeat(chosen, sizes)]
            offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(sizes[chosen])])
            taken.append((len(ids), n))
            of_samples.append(figures([_counted(ids, offsets, corpus)[0]]))
        return put_together(budget, len(self.ids), taken, of_samples)


def _gathered(corpus: Corpus, most_positions: int, budget: Budget | None) -> _Held | None:
    held: list[TokenBatch] = []
    drawn: list[list[npt.NDArray[np.uint64]]] = [[] for _ in range(budget.replicates if budget else 0)]
    positions = 0
    for rank, (planned, _) in enumerate(corpus.plan.chunks):
        for batch in corpus.source.open(rank):
            positions += n_positions(np.diff(batch.offsets), corpus.packing.n)
            if positions > most_positions:
                return None
            held.append(batch)
            for r, places_ in enumerate(drawn):
                assert budget is not None
                places_.append(places(planned.file.name, batch.row, batch.sub, budget.seed, r))
    starts = np.cumsum([0, *(len(b.ids) for b in held)])
    offsets = [b.offsets[1:] + s for b, s in zip(held, starts, strict=False)]
    none = np.zeros(0, np.uint64)
    return _Held(
        np.concatenate([b.ids for b in held]) if held else np.zeros(0, np.uint32),
        np.concatenate([np.zeros(1, np.int64), *offsets]),
        [np.concatenate([none, *p]) for p in drawn],
    )


def _counted(ids: npt.NDArray[Any], offsets: npt.NDArray[np.int64], corpus: Corpus) -> tuple[Adds, float | None]:
    """What the documents add to a summary, and the median over contexts."""
    keys, counts = count_ngrams(ids, offsets, corpus.packing)
    entropies = conditional_entropy(keys, counts, corpus.packing)
    adds = adds_of(counts, entropies)
    bits = entropies.entropy_bits
    return adds, median(bits) if len(bits) else None


def adds_of(entry_counts: npt.NDArray[np.int64], entropies: Entropies) -> Adds:
    """What contexts and their entries add to a summary: what the figures of a group need of it."""
    return {
        **exact_sums(entropies)._asdict(),
        "entry_spectrum": [v.tolist() for v in counts_of_counts(entry_counts)],
        "context_spectrum": [v.tolist() for v in counts_of_counts(entropies.counts)],
    }


def value_of(
    key: str, tokenizer: str, sizes: Mapping[str, int], adds: Sequence[Adds], middle: float | None
) -> dict[str, Any]:
    """What is kept of a group: its figures, from what pieces of it add to a summary."""
    return {"key": key, "tokenizer": tokenizer, **sizes, **whole_figures(adds, middle)}


def whole_figures(adds: Sequence[Adds], middle: float | None) -> dict[str, Any]:
    """Of all documents of a group."""
    total = {k: sum(a[k] for a in adds) for k in ("unweighted", "weighted", "n_contexts", "n_positions")}
    return {
        "mean_corpus_entropy": mean(total["unweighted"], total["n_contexts"]),
        "median_corpus_entropy": middle,
        "weighted_mean_entropy": mean(total["weighted"], total["n_positions"]),
        "num_unique_contexts": total["n_contexts"],
        "total_contexts": total["n_positions"],
        "estimates": estimate(spectrum(adds, "entry_spectrum"), spectrum(adds, "context_spectrum")),
    }


def publish(corpus: Corpus, group: Group, value: Mapping[str, Any]) -> None:
    """As the file of the group."""
    corpus.output.publish(entropy_name(group.id), sealed(value))
