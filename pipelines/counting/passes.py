"""The three passes of an entropy run, as steps that every executor folds.

Count   chunk -> its distinct (context, next) entries with counts, sorted, in one or more runs on disk
Merge   key range of the key space -> entropy of every context in it, and for each run the entropies of its own contexts
Score   chunk -> mean, std, min and max of the entropies at each document's positions, as a part

Each looks first whether its result exists already, whole and of this corpus. A run or a merged file that turns out
to be damaged is removed, so that the same command, or the run itself, makes it anew.

Kernels are imported where they are called, in the workers: the process that makes the steps starts without Numba.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
from datatrove.pipeline.base import PipelineStep

from tagcorpus.errors import DamagedError, IncompleteError
from tagcorpus.kernels.packing import Entropies
from tagcorpus.pipelines.attributes.batches import ChunkReport
from tagcorpus.pipelines.attributes.parts import Instance, each, part_key, part_name, write_part
from tagcorpus.pipelines.counting.corpus import Corpus, KeyRange, n_positions
from tagcorpus.pipelines.counting.spill import (
    DamagedSpillFile,
    SortedCounts,
    SpillFile,
    ValueFile,
    open_spill_file,
    read_values,
    write_spill_file,
    write_values,
)
from tagcorpus.pipelines.progress.progress_record import progress_writer
from tagcorpus.pipelines.storage.remote import ahead
from tagcorpus.pipelines.token_ids.cache import TokenBatch

if TYPE_CHECKING:
    from tagcorpus.kernels.merging import Runs

LISTED = 20
"""Contexts of the highest and of the lowest entropy that are kept by name."""
BIN_BITS = 0.25
"""Width of a bin of the histogram."""
RESERVED_ENTRIES = 1 << 24
"""16 bytes each, of address space only until they are written."""

Counted = tuple[npt.NDArray[np.uint64], npt.NDArray[np.int64]]
Table = tuple[npt.NDArray[np.uint64], npt.NDArray[np.float64]]
"""Contexts, ascending, and their entropies."""


class Count(PipelineStep):
    """Counts the n-grams of a chunk. Yields a ChunkReport."""

    type = "count"
    name = "Count"

    def __init__(self, corpus: Corpus) -> None:
        super().__init__()
        self.corpus = corpus

    def run(self, data: Any = None, rank: int = 0, world_size: int = 1) -> Iterator[ChunkReport]:  # noqa: ARG002
        started = time.perf_counter()
        opened = self.corpus.source.open(rank)
        meta: dict[str, Any] = {"key": self.corpus.chunk_keys[rank], "tokens": 0, "documents": 0}
        with self.corpus.output.publishing(self.corpus.spill_name(rank)) as sink:
            write_spill_file(sink, self._runs(opened, meta), meta)
        yield ChunkReport(rank, {self.corpus.instance: opened.counts}, time.perf_counter() - started)

    def _runs(self, batches: Iterator[TokenBatch], meta: dict[str, Any]) -> Iterator[SortedCounts]:
        """A run for as many batches as `chunk_positions` allows; at least one."""
        held: list[TokenBatch] = []
        positions = 0
        for batch in batches:
            more = self.size(batch)
            if held and positions + more > self.corpus.limits.chunk_positions:
                yield self._run(held, positions)
                held, positions = [], 0
            held.append(batch)
            positions += more
            meta["tokens"] += len(batch.ids)
            meta["documents"] += len(batch.row)
        if held:
            yield self._run(held, positions)

    def size(self, batch: TokenBatch) -> int:
        """What a batch takes of `chunk_positions`."""
        return n_positions(np.diff(batch.offsets), self.corpus.packing.n)

    def _run(self, batches: list[TokenBatch], positions: int) -> SortedCounts:
        n_batches = len(batches)
        keys, counts = self.entries(*joined(batches))
        return SortedCounts(keys, counts, {"batches": n_batches, "positions": positions})

    def entries(self, ids: npt.NDArray[Any], offsets: npt.NDArray[np.int64]) -> Counted:
        from tagcorpus.kernels.ngrams import count_ngrams

        return count_ngrams(ids, offsets, self.corpus.packing)


def counted(corpus: Corpus, rank: int) -> SpillFile | None:
    """The runs of a chunk; None where they are missing, damaged, or of another input."""
    try:
        file = open_spill_file(corpus.output, corpus.spill_name(rank))
    except DamagedSpillFile:
        return None
    return file if file.meta.get("key") == corpus.chunk_keys[rank] else None


class Merge(PipelineStep):
    """Merges the runs of all chunks over one key range a rank. Yields what the key range adds to the summary."""

    type = "merge"
    name = "Merge"

    def __init__(self, corpus: Corpus, key_ranges: Sequence[KeyRange]) -> None:
        super().__init__()
        self.corpus, self.key_ranges = corpus, key_ranges

    def run(self, data: Any = None, rank: int = 0, world_size: int = 1) -> Iterator[dict[str, Any]]:  # noqa: ARG002
        from tagcorpus.kernels.arrays import drop_workspaces
        from tagcorpus.kernels.entropy import conditional_entropy, counts_of_counts
        from tagcorpus.kernels.merging import is_dense

        corpus, key_range = self.corpus, self.key_ranges[rank]
        name = corpus.merged_name(rank)
        key = [corpus.key, str(key_range.low), str(key_range.high), corpus.with_contexts]
        if is_dense(corpus.packing):
            key.append("contexts")  # in the place of the runs' own entropies
        stored = values_of_key_range(corpus, rank)
        if stored is not None and stored.meta["key"] == key:
            yield stored.meta["adds"]
            return
        drop_workspaces()  # what counting took, where it was in this process
        if is_dense(corpus.packing):
            entropies, *spectrum = self._runs_of(key_range).entropies()
            segments = iter([entropies.entropy_bits, entropies.contexts[:, 0].view(np.float64)])
        else:
            (keys, counts), own = self.merged(key_range)
            entropies = conditional_entropy(keys, counts, corpus.packing)
            del keys
            spectrum = list(counts_of_counts(counts))
            segments = self._segments(entropies, own, key_range)
        adds = _adds(spectrum, entropies, corpus)
        if corpus.with_contexts:
            self._write_contexts(rank, entropies)
        with corpus.output.publishing(name) as sink:
            write_values(sink, segments, {"key": key, "adds": adds})
        yield adds

    def merged(
        self, key_range: KeyRange, *, is_kept: bool = True
    ) -> tuple[Counted, list[npt.NDArray[np.uint64] | None]]:
        """All entries of the key range, and the contexts of every run (None for those that were too many to keep, and
        without `is_kept` for all)."""
        from tagcorpus.kernels.ngrams import contexts_of, merge_runs

        merged: list[Counted] = []
        own: list[npt.NDArray[np.uint64] | None] = []
        held = 0
        for keys, counts in self._all_runs(key_range):
            progress_writer().done(len(counts), keys.nbytes)
            own.append(contexts_of(keys, self.corpus.packing)[0] if is_kept else None)
            if held + len(counts) > self.corpus.limits.interval_entries and merged:
                # More than fits at once: from here on only what it comes to is kept, and contexts are read again.
                merged = [merge_runs(merged, self.corpus.packing)]
                held, is_kept = len(merged[0][1]), False
                own = [None] * len(own)
            merged.append((keys, counts))
            held += len(counts)
        return merge_runs(merged, self.corpus.packing), own

    def _runs_of(self, key_range: KeyRange) -> Runs:
        """All entries of a key range, of contexts of one token."""
        from tagcorpus.kernels.merging import Runs

        most = self.corpus.limits.interval_entries
        runs = Runs(self.corpus.packing, min(most, RESERVED_ENTRIES))
        for keys, counts in self._all_runs(key_range):
            progress_writer().done(len(counts), keys.nbytes)
            if len(runs) + len(counts) > most:
                runs.merge()
            runs.add(keys, counts)
        return runs

    def _all_runs(self, key_range: KeyRange) -> Iterator[Counted]:
        """The entries of each run, in the order of the plan."""

        def read(run: tuple[SpillFile, int]) -> Counted:
            return read_run(self.corpus, *run, key_range)

        def opened(rank: int) -> SpillFile:
            file = counted(self.corpus, rank)
            if file is None:
                raise redo(self.corpus, self.corpus.spill_name(rank))
            return file

        is_local = self.corpus.output.is_local
        files = ahead(opened, range(len(self.corpus.plan.chunks)), is_local=is_local)
        return ahead(read, ((file, i) for file in files for i in range(len(file.runs))), is_local=is_local)

    def _segments(
        self, entropies: Entropies, own: Sequence[npt.NDArray[np.uint64] | None], key_range: KeyRange
    ) -> Iterator[npt.NDArray[np.float64]]:
        """The entropies of all contexts; then those of each run's own, in its own order."""
        from tagcorpus.kernels.ngrams import contexts_of, lookup

        yield entropies.entropy_bits
        again = self._all_runs(key_range) if None in (c is None and c for c in own) else None
        for contexts in own:
            if again is not None:
                keys, _ = next(again)
                contexts = contexts_of(keys, self.corpus.packing)[0]  # noqa: PLW2901
            assert contexts is not None
            progress_writer().done(0, contexts.nbytes)
            yield lookup(entropies.contexts, entropies.entropy_bits, contexts)

    def _write_contexts(self, rank: int, entropies: Entropies) -> None:
        from tagcorpus.kernels.ngrams import unpack

        ids = unpack(entropies.contexts, self.corpus.packing.n, self.corpus.packing.bits)
        table = pa.table(
            {
                "ids": pa.FixedSizeListArray.from_arrays(pa.array(ids.ravel()), self.corpus.packing.n),
                "count": entropies.counts,
                "distinct_next": entropies.distinct,
                "entropy_bits": entropies.entropy_bits,
            }
        )
        with self.corpus.output.publishing(self.corpus.contexts_name(rank)) as sink:
            pq.write_table(table, sink, compression="zstd")


class Score(PipelineStep):
    """Publishes the entropy part of a chunk. Yields a ChunkReport."""

    type = "score"
    name = "Score"

    def __init__(self, corpus: Corpus, instance: Instance, n_key_ranges: int, runs_before: Sequence[int]) -> None:
        super().__init__()
        self.corpus, self.instance, self.identity = corpus, instance, instance.identity()
        self.n_key_ranges, self.runs_before = n_key_ranges, runs_before

    def run(self, data: Any = None, rank: int = 0, world_size: int = 1) -> Iterator[ChunkReport]:  # noqa: ARG002
        from tagcorpus.kernels.merging import is_dense

        started = time.perf_counter()
        corpus = self.corpus
        planned, k = corpus.plan.chunks[rank]
        opened = corpus.source.open(rank)
        file = counted(corpus, rank)
        if file is None:
            raise redo(corpus, corpus.spill_name(rank))
        batches = iter(opened)
        columns: list[pa.RecordBatch] = []
        for i, run in enumerate(file.runs):
            held = [next(batches) for _ in range(run.extra["batches"])]
            table = self._whole_table if is_dense(corpus.packing) else self._table(rank, file, i)
            columns += self._scored(held, *table)
        for _ in batches:  # the reader counts, and the cache is published, when it has come to its end
            raise IncompleteError(
                f"chunk {k} of {planned.file.name} changed during the run: run the same command again"
            )
        published = sum(b.num_rows for b in columns)
        opened.counts.check(planned.chunks[k].rows, published, f"chunk {k} of {planned.file.name}")
        key = part_key(planned, k, corpus.reader_options, self.identity)
        name = part_name(self.instance.name, planned.file.name, k)
        entry = write_part(corpus.output, name, self.instance.tagger.columns, columns, key, opened.counts)
        counts, seconds = {self.instance.name: opened.counts}, time.perf_counter() - started
        yield ChunkReport(rank, counts, seconds, {self.instance.name: entry})

    @cached_property
    def _whole_table(self) -> Table:
        """All contexts of the corpus, of one token each, and their entropies; read once by a process."""
        contexts, entropy_bits = (
            np.concatenate([self._segment(k, i) for k in range(self.n_key_ranges)]) for i in (1, 0)
        )
        return contexts.view(np.uint64).reshape(-1, 1), entropy_bits

    def _table(self, rank: int, file: SpillFile, i: int) -> Table:
        """The run's contexts, and their entropies over the whole corpus."""
        from tagcorpus.kernels.ngrams import contexts_of

        keys, _ = read_run(self.corpus, file, i, KeyRange(None, None))
        segments = each(
            self.corpus.output, lambda k: self._segment(k, 1 + self.runs_before[rank] + i), range(self.n_key_ranges)
        )
        return contexts_of(keys, self.corpus.packing)[0], np.concatenate(segments)

    def _segment(self, key_range: int, i: int) -> npt.NDArray[np.float64]:
        values = values_of_key_range(self.corpus, key_range)
        try:
            if values is None:
                raise DamagedSpillFile("it is missing")
            return values.read_segment(i)
        except DamagedSpillFile as error:
            raise redo(self.corpus, self.corpus.merged_name(key_range)) from error

    def _scored(
        self, batches: list[TokenBatch], contexts: npt.NDArray[np.uint64], entropy_bits: npt.NDArray[np.float64]
    ) -> Iterator[pa.RecordBatch]:
        from tagcorpus.kernels.entropy import document_entropies

        mean, std, low, high, positions = document_entropies(
            *joined(batches), self.corpus.packing, contexts, entropy_bits
        )
        has_none = positions == 0
        values = [pa.array(v, mask=has_none) for v in (mean, std, low, high)]
        arrays = [
            pa.array(np.concatenate([b.row for b in batches])),
            pa.array(np.concatenate([b.sub for b in batches])),
            pa.concat_arrays([b.id for b in batches]),
            *values,
            pa.array(positions),
        ]
        own = [pa.field(name, array.type) for name, array in zip(("row", "sub", "id"), arrays, strict=False)]
        # `RecordBatch.cast` would import pyarrow.compute, for 0.05 CPU seconds in every process.
        yield pa.RecordBatch.from_arrays(arrays, schema=pa.schema([*own, *self.instance.tagger.columns]))


def joined(batches: list[TokenBatch]) -> tuple[npt.NDArray[Any], npt.NDArray[np.int64]]:
    """Ids and offsets of several batches as of one."""
    if len(batches) == 1:
        return batches[0].ids, batches[0].offsets
    starts = np.cumsum([0, *(len(b.ids) for b in batches)])
    offsets = [b.offsets[1:] + s for b, s in zip(batches, starts, strict=False)]
    return np.concatenate([b.ids for b in batches]), np.concatenate([np.zeros(1, np.int64), *offsets])


def read_run(corpus: Corpus, file: SpillFile, i: int, key_range: KeyRange) -> Counted:
    try:
        return file.read(i, *key_range.as_keys(corpus.packing.words))
    except DamagedSpillFile as error:
        raise redo(corpus, error.name) from error


def values_of_key_range(corpus: Corpus, key_range: int) -> ValueFile | None:
    try:
        return read_values(corpus.output, corpus.merged_name(key_range))
    except DamagedSpillFile:
        return None


def redo(corpus: Corpus, name: str) -> DamagedError:
    """Remove what is damaged, so that it is made anew."""
    corpus.output.remove(name)
    return DamagedError(f"{corpus.output}/{name} is damaged or gone")


def _adds(entry_spectrum: Sequence[npt.NDArray[np.int64]], entropies: Entropies, corpus: Corpus) -> dict[str, Any]:
    """What a key range adds to the summary, as JSON: integers that add up whatever the key ranges, and short lists.

    entry_spectrum  counts of entries, and the number of entries with each
    """
    from tagcorpus.kernels.entropy import binned, counts_of_counts, exact_sums, extremes

    sums = exact_sums(entropies)
    bits = entropies.entropy_bits
    n_bins = int(np.ceil(corpus.packing.bits / BIN_BITS)) + 1
    contexts, positions = binned(bits, entropies.counts, BIN_BITS, n_bins)
    return {
        **sums._asdict(),
        "n_entries": int(entry_spectrum[1].sum()),
        "n_zero_positions": int(entropies.counts[bits == 0].sum()),
        "histogram_contexts": contexts.tolist(),
        "histogram_positions": positions.tolist(),
        "entry_spectrum": [v.tolist() for v in entry_spectrum],
        "context_spectrum": [v.tolist() for v in counts_of_counts(entropies.counts)],
        "top": _listed(entropies, extremes(bits, entropies.counts, LISTED, is_largest=True), corpus),
        "bottom": _listed(entropies, extremes(bits, entropies.counts, LISTED, is_largest=False), corpus),
    }


def _listed(entropies: Entropies, chosen: npt.NDArray[np.int64], corpus: Corpus) -> list[dict[str, Any]]:
    from tagcorpus.kernels.ngrams import unpack

    ids = unpack(entropies.contexts[chosen], corpus.packing.n, corpus.packing.bits)
    return [
        {
            "ids": ids[j].tolist(),
            "count": int(entropies.counts[c]),
            "distinct_next": int(entropies.distinct[c]),
            "entropy_bits": float(entropies.entropy_bits[c]),
        }
        for j, c in enumerate(chosen)
    ]
