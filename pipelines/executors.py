"""One executor: it folds the pipeline over every rank, in this process, in a pool of worker processes, or in threads.

Published parts are the only completion marker, so a rank may be run any number of times. A worker that dies costs a
retry of the one rank it was on, in a fresh worker; a rank that kills three workers fails the run and is named with
the rows that were in flight. The first failure stops new ranks; those in flight are finished.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import pickle
import signal
import sys
import tempfile
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, ThreadPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from typing import Any

from datatrove.executor.base import DistributedEnvVars, PipelineExecutor
from datatrove.pipeline.base import PipelineStep

from tagcorpus.errors import TagcorpusError
from tagcorpus.pipelines import storage
from tagcorpus.pipelines.progress import Beat, Pulse, pulse, set_pulse

MAX_DEATHS = 3

OnDone = Callable[[int, list[Any]], None]


def fold(pipeline: Sequence[PipelineStep], rank: int, world_size: int) -> list[Any]:
    """Pipe the data of one rank through all steps; what the last one yields."""
    pulse().start(rank)
    data: Any = None
    for step in pipeline:
        data = step(data, rank, world_size)
    results = list(data)
    pulse().start(-1)
    return results


class PlanExecutor(PipelineExecutor):
    """Runs a pipeline over ranks.

    units     runs of ranks that one worker should do in a row (ranges of a compressed file: it reads on)
    workers   how many at once; 1 means in this process
    threads   workers are threads of this process: for pipelines that wait for a server
    describe  names a rank for messages
    """

    def __init__(
        self,
        pipeline: Sequence[PipelineStep],
        units: Sequence[Sequence[int]],
        workers: int,
        *,
        logging_dir: str,
        describe: Callable[[int], str],
        threads: bool = False,
    ) -> None:
        super().__init__(list(pipeline), logging_dir, skip_completed=False)
        self.units = [list(u) for u in units if u]
        self.workers = min(workers, len(self.units)) if not threads else workers
        self.describe = describe
        self.threads = threads
        self.deaths: dict[int, int] = {}
        self._slots: list[_ProcessSlot | _ThreadSlot] = []
        self._inline = Pulse()

    @property
    def world_size(self) -> int:
        return sum(len(u) for u in self.units)

    def get_distributed_env(self, node_rank: int = -1) -> DistributedEnvVars:  # noqa: ARG002
        """One node, nothing distributed: what datatrove's base class wants to know."""
        return DistributedEnvVars(
            datatrove_node_ips="localhost",
            datatrove_cpus_per_task="1",
            datatrove_mem_per_cpu="0",
            datatrove_gpus_on_node="0",
            datatrove_executor="local",
        )

    def beats(self) -> list[Beat]:
        """The state of every worker, for progress and for noticing a stall."""
        return [self._inline.beat, *(slot.beat() for slot in self._slots)]

    def run(self, on_done: OnDone = lambda _rank, _results: None) -> dict[int, list[Any]]:
        """Results by rank. Raises the first failure, after the ranks in flight have ended."""
        results: dict[int, list[Any]] = {}

        def done(rank: int, found: list[Any]) -> None:
            results[rank] = found
            on_done(rank, found)

        if self.workers <= 1 and not self.threads:
            set_pulse(self._inline)
            for rank in (r for unit in self.units for r in unit):
                try:
                    found = fold(self.pipeline, rank, self.world_size)
                except Exception as error:
                    raise self._named(rank, error) from error
                done(rank, found)
            return results
        with contextlib.ExitStack() as stack:
            for _ in range(self.workers):
                slot = self._slot()
                stack.push(slot.close)
                self._slots.append(slot)
            self._dispatch(done)
        self._slots = []
        return results

    def _slot(self) -> _ProcessSlot | _ThreadSlot:
        return (
            _ThreadSlot(self.pipeline, self.world_size)
            if self.threads
            else _ProcessSlot(self.pipeline, self.world_size)
        )

    def _dispatch(self, done: OnDone) -> None:
        waiting = deque(deque(u) for u in self.units)
        unit_of: dict[int, deque[int]] = {}
        flying: dict[Future[list[Any]], tuple[int, int]] = {}
        failure: TagcorpusError | None = None

        def go_on(slot: int) -> None:
            if failure is not None:
                return
            unit = unit_of.get(slot)
            if not unit:
                if not waiting:
                    return
                unit = unit_of[slot] = waiting.popleft()
            rank = unit.popleft()
            flying[self._slots[slot].submit(rank)] = (slot, rank)

        for slot in range(self.workers):
            go_on(slot)
        while flying:
            # A time-out lets a pending Ctrl-C or SIGTERM reach this thread.
            finished, _ = wait(flying, timeout=0.5, return_when=FIRST_COMPLETED)
            for future in finished:
                slot, rank = flying.pop(future)
                try:
                    done(rank, future.result())
                except BrokenProcessPool:
                    beat = self._slots[slot].beat()
                    self.deaths[rank] = self.deaths.get(rank, 0) + 1
                    self._slots[slot].restart()
                    if self.deaths[rank] >= MAX_DEATHS:
                        failure = failure or self._killer(rank, beat)
                    else:
                        unit_of.setdefault(slot, deque()).appendleft(rank)
                except Exception as error:
                    failure = failure or self._named(rank, error)
                go_on(slot)
        if failure is not None:
            raise failure

    def _killer(self, rank: int, beat: Beat) -> TagcorpusError:
        rows = (
            f"rows {beat.first_row} to {beat.last_row} were in flight"
            if beat.first_row >= 0
            else "before its first row"
        )
        return TagcorpusError(
            f"{self.describe(rank)} killed its worker {MAX_DEATHS} times ({rows}): out of memory, or a crash in a native "
            "library. Finished ranges are kept. Try fewer --workers, or look at those rows"
        )

    def _named(self, rank: int, error: Exception) -> TagcorpusError:
        if isinstance(error, TagcorpusError):
            return error
        return TagcorpusError(f"{self.describe(rank)} failed: {type(error).__name__}: {error}")


class _ThreadSlot:
    """A worker that is a thread of this process."""

    def __init__(self, pipeline: Sequence[PipelineStep], world_size: int) -> None:
        self._pipeline, self._world_size = pipeline, world_size
        self._pulse = Pulse()
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="range", initializer=set_pulse, initargs=(self._pulse,))

    def close(self, kind: object, *_: object) -> None:
        self._pool.shutdown(wait=kind is None, cancel_futures=True)

    def submit(self, rank: int) -> Future[list[Any]]:
        return self._pool.submit(fold, self._pipeline, rank, self._world_size)

    def beat(self) -> Beat:
        return self._pulse.beat

    def restart(self) -> None:
        """Threads do not die alone."""


class _ProcessSlot:
    """A worker process of its own: when it dies, exactly one rank is to be done again."""

    def __init__(self, pipeline: Sequence[PipelineStep], world_size: int) -> None:
        self._payload = pickle.dumps((list(pipeline), world_size))
        self._folder = tempfile.mkdtemp(prefix="tagcorpus-")
        self._path = os.path.join(self._folder, "pulse")
        self._pool: ProcessPoolExecutor | None = None
        self.restart()

    def close(self, kind: object, *_: object) -> None:
        if kind is not None:
            with contextlib.suppress(ProcessLookupError, OSError):
                pid = self.beat().pid
                if pid:
                    os.kill(pid, signal.SIGKILL)
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)
        with contextlib.suppress(OSError):
            os.unlink(self._path)
            os.rmdir(self._folder)

    def restart(self) -> None:
        if self._pool is not None:
            self._pool.shutdown(wait=False)
        Pulse.create(self._path)
        # Clean children however many threads this process runs; the fork server has the imports ready.
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(["tagcorpus.pipelines.steps"])
        arguments = (self._payload, self._path, storage.own_suffix())
        self._pool = ProcessPoolExecutor(1, context, initializer=_start_worker, initargs=arguments)

    def submit(self, rank: int) -> Future[list[Any]]:
        assert self._pool is not None
        with _no_main_module():
            return self._pool.submit(_run_rank, rank)

    def beat(self) -> Beat:
        return Pulse.read(self._path)


_worker: dict[str, Any] = {}


def _start_worker(payload: bytes, pulse_path: str, suffix: str) -> None:
    # Ctrl-C reaches the whole process group; the launcher alone decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_die_with, args=(parent,), daemon=True).start()
    set_pulse(Pulse(pulse_path))
    storage.set_suffix(suffix)
    _worker["payload"] = payload


def _die_with(parent: Any) -> None:
    """A launcher that was killed must not leave workers behind that go on publishing."""
    parent.join()
    os._exit(1)


def _run_rank(rank: int) -> list[Any]:
    if "pipeline" not in _worker:  # here, not in the initializer: an exception from here reaches the user
        _worker["pipeline"], _worker["world_size"] = pickle.loads(_worker["payload"])
    return fold(_worker["pipeline"], rank, _worker["world_size"])


@contextlib.contextmanager
def _no_main_module() -> Iterator[None]:
    """Keep a starting worker from importing the user's script again: `tagcorpus.run` must work in one that has no
    `if __name__ == "__main__"` guard."""
    names = vars(sys.modules["__main__"])
    kept: dict[str, Any] = {name: names.pop(name) for name in ("__file__", "__spec__") if name in names}
    names["__spec__"] = None
    try:
        yield
    finally:
        names.pop("__spec__", None)
        names.update(kept)
