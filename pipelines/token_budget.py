"""Entropy of random samples that come to a given number of tokens: what makes corpora of unequal size comparable.

A sample is of whole documents: in an order that a seed decides and that neither ranges nor workers change, documents
are taken as long as they fit into the budget. Several samples (replicates) say how much chance there is in a figure. They
are drawn from the same corpus: where the budget is a large part of it they overlap, and the interval is too narrow.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import xxhash
from datatrove.pipeline.base import PipelineStep

from tagcorpus.errors import ConfigError, DamagedError
from tagcorpus.kernels.entropy import conditional_entropy, counts_of_counts, exact_sums
from tagcorpus.kernels.ngrams import count_ngrams, merge_runs
from tagcorpus.pipelines.entropy_plan import Corpus
from tagcorpus.pipelines.entropy_summary import mean
from tagcorpus.pipelines.estimators import Spectrum, estimate, interval
from tagcorpus.pipelines.job import Job

SLOTS = 1 << 12
"""Documents are sorted into so many slots of their place in the random order; only one slot has to be looked at closely."""

Places = npt.NDArray[np.uint64]


@dataclass(frozen=True)
class Budget:
    tokens: int
    replicates: int
    seed: int


def at_budget(job: Job, corpus: Corpus, budget: Budget) -> dict[str, Any]:
    """Every figure of every replicate, with mean and 95 % interval. Raises ConfigError where the corpus is smaller."""
    ranks = range(len(corpus.plan.ranges))
    sized = job.over_ranges_here(corpus.plan, ranks, [Size(corpus, budget)], "sizing documents")
    held = np.zeros((budget.replicates, SLOTS), np.int64)
    for found in sized.values():
        held += found[0]
    n_tokens = int(held[0].sum())
    if n_tokens < budget.tokens:
        raise ConfigError(
            f"--token-budget {budget.tokens:,}: the corpus has {n_tokens:,} tokens; corpora compare at a budget that all of "
            "them have"
        )
    cuts = [_cut(row, budget.tokens) for row in held]
    job.over_ranges_here(corpus.plan, ranks, [Select(corpus, budget, [slot for slot, _ in cuts])], "drawing samples")
    step = Replicate(corpus, budget, cuts)
    units = [[r] for r in range(budget.replicates)]
    counted = job.execute([step], units, lambda r: f"sample {r}", "counting samples", 0)
    samples = [counted[r][0] for r in range(budget.replicates)]
    job.output.remove(f"spill/{corpus.instance}.budget")
    figures = [k for k in samples[0] if all(isinstance(s[k], float) for s in samples)]
    intervals = {k: interval([s[k] for s in samples]) for k in figures}
    return {
        "tokens": budget.tokens,
        "replicates": budget.replicates,
        "seed": budget.seed,
        "of_corpus": budget.tokens / n_tokens,
        **{k: {"mean": m, "low": low, "high": high} for k, (m, low, high) in intervals.items()},
        "samples": samples,
    }


def is_budget_met(found: dict[str, Any] | None, budget: Budget) -> bool:
    """Whether an earlier run's figures are those of this budget."""
    return found is not None and all(found[k] == v for k, v in dataclasses.asdict(budget).items())


def _cut(held: npt.NDArray[np.int64], tokens: int) -> tuple[int, int]:
    """The slot in which the budget runs out, and how many tokens are left for it."""
    before = np.cumsum(held)
    slot = int(np.searchsorted(before, tokens, side="right"))
    return slot, tokens - (int(before[slot - 1]) if slot else 0)


def places(file_name: str, row: npt.NDArray[Any], sub: npt.NDArray[Any], seed: int, replicate: int) -> Places:
    """Where each document stands in the random order of a replicate: uint64 [n], a mix of what identifies it."""
    of_file = np.uint64(xxhash.xxh3_64_intdigest(f"{seed}:{replicate}:{file_name}".encode()))
    return _mixed(_mixed(row.astype(np.uint64) ^ of_file) + sub.astype(np.uint64))


def _mixed(x: Places) -> Places:
    """The finaliser of splitmix64 (Steele, Lea and Flood 2014): every bit of the input turns half of the output."""
    x = x + np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def _slots(found: Places) -> npt.NDArray[np.int64]:
    return (found >> np.uint64(64 - SLOTS.bit_length() + 1)).astype(np.int64)


class Size(PipelineStep):
    """Yields the tokens of a range's documents per replicate and slot: int64 [replicates, SLOTS]."""

    type = "size"
    name = "Size"

    def __init__(self, corpus: Corpus, budget: Budget) -> None:
        super().__init__()
        self.corpus, self.budget = corpus, budget

    def run(self, data: Any = None, rank: int = 0, world_size: int = 1) -> Iterator[npt.NDArray[np.int64]]:  # noqa: ARG002
        name = self.corpus.plan.ranges[rank][0].file.name
        held = np.zeros((self.budget.replicates, SLOTS), np.int64)
        for batch in self.corpus.source.open(rank):
            sizes = np.diff(batch.offsets)
            for r in range(self.budget.replicates):
                np.add.at(held[r], _slots(places(name, batch.row, batch.sub, self.budget.seed, r)), sizes)
        yield held


class Select(PipelineStep):
    """Writes the documents of a range whose slot is at most that in which each replicate's budget runs out."""

    type = "select"
    name = "Select"

    def __init__(self, corpus: Corpus, budget: Budget, slots: Sequence[int]) -> None:
        super().__init__()
        self.corpus, self.budget, self.slots = corpus, budget, slots

    def run(self, data: Any = None, rank: int = 0, world_size: int = 1) -> Iterator[int]:  # noqa: ARG002
        name = self.corpus.plan.ranges[rank][0].file.name
        chosen: list[list[pa.Table]] = [[] for _ in self.slots]
        for batch in self.corpus.source.open(rank):
            ids = pa.LargeListArray.from_arrays(pa.array(batch.offsets), pa.array(batch.ids))
            for r, last in enumerate(self.slots):
                place = places(name, batch.row, batch.sub, self.budget.seed, r)
                taken = np.flatnonzero(_slots(place) <= last)
                if len(taken):
                    chosen[r].append(pa.table({"place": place[taken], "ids": ids.take(pa.array(taken))}))
        schema = pa.schema([("place", pa.uint64()), ("ids", pa.large_list(_type_of(self.corpus)))])
        for r, tables in enumerate(chosen):
            with self.corpus.output.publishing(_selected_name(self.corpus, rank, r)) as sink:
                table = pa.concat_tables(tables) if tables else schema.empty_table()
                pq.write_table(table.cast(schema), sink, compression="zstd", compression_level=1, use_dictionary=False)
        yield rank


def _type_of(corpus: Corpus) -> pa.DataType:
    return pa.uint16() if corpus.packing.bits <= 16 else pa.uint32()


def _selected_name(corpus: Corpus, rank: int, replicate: int) -> str:
    planned, k = corpus.plan.ranges[rank]
    return f"spill/{corpus.instance}.budget/{replicate}/{planned.file.name}/part-{k:05d}.parquet"


class Replicate(PipelineStep):
    """Counts one replicate a rank, in memory. Yields its figures."""

    type = "replicate"
    name = "Replicate"

    def __init__(self, corpus: Corpus, budget: Budget, cuts: Sequence[tuple[int, int]]) -> None:
        super().__init__()
        self.corpus, self.budget, self.cuts = corpus, budget, cuts

    def run(self, data: Any = None, rank: int = 0, world_size: int = 1) -> Iterator[dict[str, Any]]:  # noqa: ARG002
        packing = self.corpus.packing
        tokens = documents = 0
        runs = []
        for ids, offsets in self._chunks(rank):
            tokens += len(ids)
            documents += len(offsets) - 1
            runs.append(count_ngrams(ids, offsets, packing))
            if sum(len(counts) for _, counts in runs) > self.corpus.limits.interval_entries:
                runs = [merge_runs(runs, packing)]
                if len(runs[0][1]) > self.corpus.limits.interval_entries:
                    raise ConfigError(
                        f"--token-budget {self.budget.tokens:,}: samples are counted in memory, and this one does not fit; "
                        "raise --memory or lower the budget"
                    )
        keys, counts = merge_runs(runs, packing)
        entropies = conditional_entropy(keys, counts, packing)
        sums = exact_sums(entropies)
        yield {
            "tokens": tokens,
            "documents": documents,
            "num_unique_contexts": sums.n_contexts,
            "total_contexts": sums.n_positions,
            "mean_corpus_entropy": mean(sums.unweighted, sums.n_contexts),
            "weighted_mean_entropy": mean(sums.weighted, sums.n_positions),
            **estimate(Spectrum(*counts_of_counts(counts)), Spectrum(*counts_of_counts(entropies.counts))),
        }

    def _chunks(self, replicate: int) -> Iterator[tuple[npt.NDArray[Any], npt.NDArray[np.int64]]]:
        """Ids and offsets of the replicate's documents; those of the last slot, of which not all fit, come last."""
        slot, left = self.cuts[replicate]
        last: list[tuple[int, int, int, npt.NDArray[Any]]] = []
        for rank in range(len(self.corpus.plan.ranges)):
            table = self._selected(rank, replicate)
            place = table["place"].to_numpy()
            is_last = _slots(place) == slot
            for i in np.flatnonzero(is_last).tolist():
                last.append((int(place[i]), rank, i, table["ids"][i].values.to_numpy()))  # noqa: PERF401
            whole = table["ids"].combine_chunks().filter(pa.array(~is_last))
            yield whole.flatten().to_numpy(), np.concatenate([[0], np.cumsum(whole.value_lengths().to_numpy())])
        taken = []
        for *_, ids in sorted(last, key=lambda one: one[:3]):
            if len(ids) > left:
                break
            left -= len(ids)
            taken.append(ids)
        if taken:
            yield np.concatenate(taken), np.cumsum([0, *map(len, taken)])

    def _selected(self, rank: int, replicate: int) -> pa.Table:
        name = _selected_name(self.corpus, rank, replicate)
        try:
            with self.corpus.output.open(name) as file:
                return pq.read_table(file, use_threads=False)
        except (OSError, pa.ArrowException) as error:
            raise DamagedError(f"{self.corpus.output}/{name} is damaged or gone") from error
