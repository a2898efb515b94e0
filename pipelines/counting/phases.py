"""The first two passes over a corpus, and what is done about working files that are damaged or no longer needed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import TypeVar

import numpy as np

from tagcorpus.errors import DamagedError, TagcorpusError
from tagcorpus.pipelines.attributes.batches import ChunkReport
from tagcorpus.pipelines.attributes.parts import each
from tagcorpus.pipelines.counting.corpus import Corpus, key_ranges
from tagcorpus.pipelines.counting.passes import Count, Merge, counted
from tagcorpus.pipelines.counting.spill import BLOCK_ENTRIES, SpillFile
from tagcorpus.pipelines.counting.summary import Adds
from tagcorpus.pipelines.execution.engine import Engine
from tagcorpus.pipelines.progress.display import Watch
from tagcorpus.pipelines.runs.run import Run
from tagcorpus.pipelines.token_ids.cache import TokenSource

T = TypeVar("T")

LEAST_ENTRIES = 1_000_000
"""Of a key range that is cut for another worker. Merging them takes a tenth of a second, and every chunk reads of every key range."""
ROUNDS = 3
"""How often one working file may be damaged before the run gives up."""


def until_sound(run: Run, body: Callable[[], T]) -> T:
    """Working files that turn out to be damaged are removed by whoever finds them; the body makes what is missing."""
    seen: Counter[str] = Counter()
    while True:
        try:
            return body()
        except DamagedError as error:
            seen[str(error)] += 1
            if seen[str(error)] == ROUNDS:
                raise DamagedError(
                    f"{error}, {ROUNDS} times: check the disk, then run the same command again"
                ) from error
            run.display.say(f"{error}; it is made anew")


def count(engine: Engine, corpus: Corpus) -> list[int]:
    """The first pass, where it is missing. How many runs all chunks before each one have."""
    ranks = range(len(corpus.plan.chunks))
    there = each(corpus.output, lambda r: counted(corpus, r) is not None, ranks)
    missing = [r for r in ranks if not there[r]]
    if missing:
        over = engine.over_chunks if isinstance(corpus.source, TokenSource) else engine.over_chunks_here
        over(
            corpus.plan,
            missing,
            [Count(corpus)],
            "counting",
            on_done=lambda watch, _, reports: watch_report(watch, reports[0]),
        )
    return [0, *np.cumsum([len(file.runs) for file in spill_files(corpus)]).tolist()]


def spill_file_of(corpus: Corpus, rank: int) -> SpillFile:
    """What the first pass has made of a chunk. Raises DamagedError."""
    runs = counted(corpus, rank)
    if runs is None:
        raise DamagedError(f"{corpus.output}/{corpus.spill_name(rank)} is damaged or gone")
    return runs


def spill_files(corpus: Corpus) -> list[SpillFile]:
    """What the first pass has made of each chunk, in the order of the plan. Raises DamagedError."""
    return each(corpus.output, lambda rank: spill_file_of(corpus, rank), range(len(corpus.plan.chunks)))


def merge(engine: Engine, corpus: Corpus) -> list[Adds]:
    """The second pass: what each key range adds to the summary."""
    files = spill_files(corpus)
    n_entries = sum(run.n for file in files for run in file.runs)
    at_once = entries_at_once(n_entries, corpus.limits.interval_entries, engine.workers)
    cuts = key_ranges(files, corpus.packing.bits, at_once)
    results = engine.execute(
        [Merge(corpus, cuts)],
        [[i] for i in range(len(cuts))],
        lambda i: f"key range {i} of {len(cuts)}",
        "merging",
        n_entries,
        on_done=lambda watch, _rank, parts: watch.done(parts[0]["n_entries"], 0, 0),
    )
    return [results[i][0] for i in range(len(cuts))]


def entries_at_once(n_entries: int, limit: int, workers: int) -> int:
    """Entries of a key range: as many as the memory of a worker allows, but all workers get key ranges of one size."""
    least = -(-n_entries // limit)
    shared = min(workers, n_entries // LEAST_ENTRIES)
    if shared <= 1:
        return limit
    # `key_ranges` ends a range within one block below the number.
    return min(limit, -(-n_entries // (-(-least // shared) * shared)) + BLOCK_ENTRIES)


def sample_totals(engine: Engine, sample: Corpus) -> list[Adds]:
    """The first two passes over a sample, which need no third."""

    def passes() -> list[Adds]:
        count(engine, sample)
        return merge(engine, sample)

    try:
        return until_sound(engine.run, passes)
    finally:
        tidy(engine.run, sample)


def watch_report(watch: Watch, report: ChunkReport) -> None:
    (counts,) = report.counts.values()
    watch.done(counts.lines + counts.unreadable, counts.text_bytes, counts.quarantined_rows)


def clear(corpus: Corpus) -> None:
    """Remove the working files."""
    for name in ("", ".merged"):
        corpus.output.remove(f"spill/{corpus.instance}{name}")
    if not corpus.output.files("spill"):
        corpus.output.remove("spill")


def tidy(run: Run, corpus: Corpus) -> None:
    """The same where the figures are there already, or another error is on its way: what cannot be removed is only said."""
    try:
        clear(corpus)
    except TagcorpusError as error:
        run.display.say(f"the working files could not be cleaned up: {error}")
