"""One executor: it folds the pipeline over every rank, in this process, in a pool of worker processes, or in threads.

Published parts are the only completion marker, so a rank may be run any number of times. A worker that dies costs a
retry of the one rank it was on, in a fresh worker; a rank that kills three workers fails the run and is named with
the rows that were in flight. A failure stops new ranks; those in flight are finished. Only a rank that says the same
command may finish it later (IncompleteError) lets others go on, up to three such in a row.
"""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Future, ThreadPoolExecutor, wait
from typing import Any

from tagcorpus.errors import IncompleteError, TagcorpusError
from tagcorpus.pipelines.execution.worker_pool import WorkerPool
from tagcorpus.pipelines.execution.workers import RankFailure, Step, Worker, WorkerDied, fold
from tagcorpus.pipelines.progress.progress_record import ProgressRecord, ProgressWriter, set_progress_writer

MAX_DEATHS = 3
MAX_INCOMPLETE = 3
# Of several failures of one run, the one that comes first here is the run's.
PRECEDENCE = (1, 2, 5, 4)

OnDone = Callable[[int, list[Any]], None]


class _Failures:
    """What went wrong so far, and whether ranks that have not begun are still worth beginning."""

    def __init__(self) -> None:
        self.worst: TagcorpusError | None = None
        self._incomplete_in_a_row = 0

    def success(self) -> None:
        self._incomplete_in_a_row = 0

    def add(self, error: TagcorpusError) -> None:
        if self.worst is None or _precedence(error) < _precedence(self.worst):
            self.worst = error
        if isinstance(error, IncompleteError):
            self._incomplete_in_a_row += 1

    @property
    def is_final(self) -> bool:
        if self.worst is None:
            return False
        return not isinstance(self.worst, IncompleteError) or self._incomplete_in_a_row >= MAX_INCOMPLETE


def _precedence(error: TagcorpusError) -> int:
    return PRECEDENCE.index(error.exit_code) if error.exit_code in PRECEDENCE else 0


class PlanExecutor:
    """Runs the steps of a pipeline over ranks.

    Not derived from datatrove's PipelineExecutor: that class logs, keeps statistics and marks what is completed in ways that
    are not used here, and its module imports huggingface_hub, 0.25 CPU seconds of every start.

    units        sequences of ranks that one worker should do in a row (the chunks of a compressed file)
    workers      number of workers; 1 means this process
    threads      workers are threads of this process: for pipelines that wait for a server
    make_worker  makes a worker from a pipeline; None: workers are processes of this machine
    pool         keeps the worker processes for the next pass; None: they end with this pass
    describe     names a rank for messages
    """

    def __init__(
        self,
        pipeline: Sequence[Step],
        units: Sequence[Sequence[int]],
        workers: int,
        *,
        describe: Callable[[int], str],
        threads: bool = False,
        make_worker: Callable[[Sequence[Step]], Worker] | None = None,
        pool: WorkerPool | None = None,
    ) -> None:
        self.pipeline = list(pipeline)
        self.units = [list(u) for u in units if u]
        self.workers = min(workers, len(self.units)) if not threads else workers
        self.describe = describe
        self.deaths: dict[int, int] = {}
        self._make_worker = make_worker or (_ThreadWorker if threads else None)
        self._pool = pool
        self._is_inline = self.workers <= 1 and not threads and make_worker is None
        self._running: list[Worker] = []
        self._inline = ProgressWriter()

    def progress(self) -> list[ProgressRecord]:
        """The progress record of every worker."""
        return [self._inline.record, *(worker.progress() for worker in self._running)]

    def run(self, on_done: OnDone = lambda _rank, _results: None) -> dict[int, list[Any]]:
        """Results by rank. Raises the failure that takes precedence, after the ranks in flight have ended."""
        results: dict[int, list[Any]] = {}
        failures = _Failures()

        def done(rank: int, results_of_rank: list[Any]) -> None:
            results[rank] = results_of_rank
            failures.success()
            on_done(rank, results_of_rank)

        if self._is_inline:
            self._inline = ProgressWriter()
            set_progress_writer(self._inline)
            for rank in (r for unit in self.units for r in unit):
                try:
                    results_of_rank = fold(self.pipeline, rank)
                except (TagcorpusError, RankFailure) as error:
                    failures.add(self._named(rank, error))
                    if failures.is_final:
                        break
                else:
                    done(rank, results_of_rank)
        else:
            with contextlib.ExitStack() as stack:
                make_worker = self._make_worker or (self._pool or stack.enter_context(WorkerPool())).worker
                for _ in range(self.workers):
                    worker = make_worker(self.pipeline)
                    stack.push(worker.close)
                    self._running.append(worker)
                self._dispatch(done, failures)
            self._running = []
        if failures.worst is not None:
            raise failures.worst
        return results

    def _dispatch(self, done: OnDone, failures: _Failures) -> None:
        waiting = deque(deque(u) for u in self.units)
        unit_of: dict[Worker, deque[int]] = {}
        flying: dict[Future[list[Any]], tuple[Worker, int]] = {}
        idle: set[Worker] = set()

        def stranded() -> deque[int]:
            """The ranks of a worker for which there is no place: its node is gone, or the cluster is full."""
            for future, (worker, rank) in flying.items():
                if not worker.is_up():
                    del flying[future]
                    worker.restart()
                    idle.add(worker)
                    return deque([rank, *unit_of.pop(worker, ())])
            return deque()

        def go_on(worker: Worker) -> None:
            if failures.is_final:
                return
            unit = unit_of.get(worker)
            if not unit:
                unit = unit_of[worker] = waiting.popleft() if waiting else stranded()
            if not unit:
                idle.add(worker)
                return
            idle.discard(worker)
            rank = unit.popleft()
            flying[worker.submit(rank)] = (worker, rank)

        for worker in self._running:
            go_on(worker)
        while flying:
            # A time-out lets a pending Ctrl-C or SIGTERM reach this thread.
            finished, _ = wait(flying, timeout=0.5, return_when=FIRST_COMPLETED)
            if failures.is_final:  # the run does not wait for ranks that no worker has begun
                for future in [f for f, (worker, _) in flying.items() if not worker.is_up()]:
                    del flying[future]
            for worker in [w for w in self._running if w in idle and w.is_up()]:
                go_on(worker)
            for future in finished:
                if future not in flying:  # taken back a moment ago
                    continue
                worker, rank = flying.pop(future)
                try:
                    results_of_rank = future.result()
                except (BrokenExecutor, WorkerDied):
                    record = worker.progress()
                    self.deaths[rank] = self.deaths.get(rank, 0) + 1
                    worker.restart()
                    if self.deaths[rank] >= MAX_DEATHS:
                        failures.add(self._killer(rank, record))
                    else:
                        unit_of.setdefault(worker, deque()).appendleft(rank)
                except Exception as error:
                    failures.add(self._named(rank, error))
                else:
                    done(rank, results_of_rank)
                go_on(worker)

    def _killer(self, rank: int, record: ProgressRecord) -> TagcorpusError:
        rows = (
            f"rows {record.first_row} to {record.last_row} were in flight"
            if record.rank == rank and record.first_row >= 0
            else "before it said on which rows"
        )
        return TagcorpusError(
            f"{self.describe(rank)} killed its worker {MAX_DEATHS} times ({rows}): out of memory, or a crash in a native "
            "library. Finished chunks are kept. Try fewer --workers, or look at those rows"
        )

    def _named(self, rank: int, error: Exception) -> TagcorpusError:
        if isinstance(error, TagcorpusError):
            return error
        kind, text = error.args if isinstance(error, RankFailure) else (type(error).__name__, error)
        return TagcorpusError(f"{self.describe(rank)} failed: {kind}: {text}")


class _ThreadWorker:
    """A worker that is a thread of this process."""

    def __init__(self, pipeline: Sequence[Step]) -> None:
        self._pipeline = pipeline
        self._progress = ProgressWriter()
        self._pool = ThreadPoolExecutor(
            1, thread_name_prefix="chunk", initializer=set_progress_writer, initargs=(self._progress,)
        )

    def close(self, kind: object, *_: object) -> None:
        if kind is not None:
            self._progress.stop()
        self._pool.shutdown(wait=kind is None, cancel_futures=True)

    def submit(self, rank: int) -> Future[list[Any]]:
        return self._pool.submit(fold, self._pipeline, rank)

    def progress(self) -> ProgressRecord:
        return self._progress.record

    def is_up(self) -> bool:
        return True

    def restart(self) -> None:
        """Threads do not die alone."""
