"""One executor: it folds the pipeline over every rank, in this process, in a pool of worker processes, or in threads.

Published parts are the only completion marker, so a rank may be run any number of times. A worker that dies costs a
retry of the one rank it was on, in a fresh worker; a rank that kills three workers fails the run and is named with
the rows that were in flight. A failure stops new ranks; those in flight are finished. Only a rank that says the same
command may finish it later (IncompleteError) lets others go on, up to three such in a row.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import multiprocessing.forkserver
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
from typing import Any, Protocol

from datatrove.executor.base import DistributedEnvVars, PipelineExecutor
from datatrove.pipeline.base import PipelineStep

from tagcorpus import errors
from tagcorpus.errors import IncompleteError, OutputError, TagcorpusError
from tagcorpus.pipelines import storage
from tagcorpus.pipelines.progress import Beat, Pulse, pulse, set_pulse

MAX_DEATHS = 3
MAX_INCOMPLETE = 3
# Of several failures of one run, the one that comes first here is the run's.
PRECEDENCE = (1, 2, 5, 4)

OnDone = Callable[[int, list[Any]], None]


class WorkerDied(Exception):
    """The worker is gone, and with it the rank it was on; raised by a slot's future."""


class Slot(Protocol):
    """One worker, wherever it is."""

    def submit(self, rank: int) -> Future[list[Any]]:
        """Start a rank. The future raises what the rank raised, or WorkerDied."""
        ...

    def beat(self) -> Beat:
        """How far it is."""
        ...

    def is_up(self) -> bool:
        """Whether the worker has started; what was submitted to one that has not may be taken back by `restart`."""
        ...

    def restart(self) -> None:
        """A fresh worker in place of a dead one."""
        ...

    def close(self, kind: object, *_: object) -> None:
        """An ExitStack callback: let go of the worker; kill it when there was an exception."""
        ...


class RankFailure(Exception):
    """A step raised something that was not meant for the user: its type's name, and its text."""


def fold(pipeline: Sequence[PipelineStep], rank: int, world_size: int) -> list[Any]:
    """Pipe the data of one rank through all steps; what the last one yields.

    Raises TagcorpusError as the steps raised it, and RankFailure for everything else, a SystemExit too: both can be
    pickled, which third parties' exceptions often cannot.
    """
    pulse().start(rank)
    data: Any = None
    try:
        for step in pipeline:
            data = step(data, rank, world_size)
        return list(data)
    except TagcorpusError as error:
        own = next(c for c in type(error).__mro__ if c.__module__ == errors.__name__)
        if type(error) is own:
            raise
        raise own(str(error)) from error
    except BaseException as error:
        if not is_fault(error):
            raise
        raise RankFailure(type(error).__name__, str(error)) from error
    finally:
        pulse().start(-1)


def is_fault(error: BaseException) -> bool:
    """Whether code that we called failed, as opposed to somebody stopping us: a library that calls sys.exit or a Rust
    panic (which pyo3 puts outside Exception) must not end a run as if it were done."""
    return isinstance(error, (Exception, SystemExit)) or type(error).__name__ == "PanicException"


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


class PlanExecutor(PipelineExecutor):
    """Runs a pipeline over ranks.

    units     runs of ranks that one worker should do in a row (ranges of a compressed file: it reads on)
    workers   how many at once; 1 means in this process
    threads   workers are threads of this process: for pipelines that wait for a server
    slot      makes a worker somewhere else, from pipeline and number of ranks; None: processes of this machine
    crew      those processes, where they are to stay for the next pass; None: they end with this one
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
        slot: Callable[[Sequence[PipelineStep], int], Slot] | None = None,
        crew: Crew | None = None,
    ) -> None:
        super().__init__(list(pipeline), logging_dir, skip_completed=False)
        self.units = [list(u) for u in units if u]
        self.workers = min(workers, len(self.units)) if not threads else workers
        self.describe = describe
        self.deaths: dict[int, int] = {}
        self._make_slot = slot or (_ThreadSlot if threads else None)
        self._crew = crew
        self._is_inline = self.workers <= 1 and not threads and slot is None
        self._slots: list[Slot] = []
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
        """Results by rank. Raises the failure that takes precedence, after the ranks in flight have ended."""
        results: dict[int, list[Any]] = {}
        failures = _Failures()

        def done(rank: int, found: list[Any]) -> None:
            results[rank] = found
            failures.success()
            on_done(rank, found)

        if self._is_inline:
            self._inline = Pulse()
            set_pulse(self._inline)
            for rank in (r for unit in self.units for r in unit):
                try:
                    found = fold(self.pipeline, rank, self.world_size)
                except (TagcorpusError, RankFailure) as error:
                    failures.add(self._named(rank, error))
                    if failures.is_final:
                        break
                else:
                    done(rank, found)
        else:
            with contextlib.ExitStack() as stack:
                make_slot = self._make_slot or (self._crew or stack.enter_context(Crew())).slot
                for _ in range(self.workers):
                    slot = make_slot(self.pipeline, self.world_size)
                    stack.push(slot.close)
                    self._slots.append(slot)
                self._dispatch(done, failures)
            self._slots = []
        if failures.worst is not None:
            raise failures.worst
        return results

    def _dispatch(self, done: OnDone, failures: _Failures) -> None:
        waiting = deque(deque(u) for u in self.units)
        unit_of: dict[int, deque[int]] = {}
        flying: dict[Future[list[Any]], tuple[int, int]] = {}
        idle: set[int] = set()

        def stranded() -> deque[int]:
            """The ranks of a worker for which there is no place: its node is gone, or the cluster is full."""
            for future, (slot, rank) in flying.items():
                if not self._slots[slot].is_up():
                    del flying[future]
                    self._slots[slot].restart()
                    idle.add(slot)
                    return deque([rank, *unit_of.pop(slot, ())])
            return deque()

        def go_on(slot: int) -> None:
            if failures.is_final:
                return
            unit = unit_of.get(slot)
            if not unit:
                unit = unit_of[slot] = waiting.popleft() if waiting else stranded()
            if not unit:
                idle.add(slot)
                return
            idle.discard(slot)
            rank = unit.popleft()
            flying[self._slots[slot].submit(rank)] = (slot, rank)

        for slot in range(self.workers):
            go_on(slot)
        while flying:
            # A time-out lets a pending Ctrl-C or SIGTERM reach this thread.
            finished, _ = wait(flying, timeout=0.5, return_when=FIRST_COMPLETED)
            if failures.is_final:  # what no worker has begun is not waited for
                for future in [f for f, (slot, _) in flying.items() if not self._slots[slot].is_up()]:
                    del flying[future]
            for slot in [s for s in idle if self._slots[s].is_up()]:
                go_on(slot)
            for future in finished:
                if future not in flying:  # taken back a moment ago
                    continue
                slot, rank = flying.pop(future)
                try:
                    found = future.result()
                except (BrokenProcessPool, WorkerDied):
                    beat = self._slots[slot].beat()
                    self.deaths[rank] = self.deaths.get(rank, 0) + 1
                    self._slots[slot].restart()
                    if self.deaths[rank] >= MAX_DEATHS:
                        failures.add(self._killer(rank, beat))
                    else:
                        unit_of.setdefault(slot, deque()).appendleft(rank)
                except Exception as error:
                    failures.add(self._named(rank, error))
                else:
                    done(rank, found)
                go_on(slot)

    def _killer(self, rank: int, beat: Beat) -> TagcorpusError:
        rows = (
            f"rows {beat.first_row} to {beat.last_row} were in flight"
            if beat.rank == rank and beat.first_row >= 0
            else "before it said on which rows"
        )
        return TagcorpusError(
            f"{self.describe(rank)} killed its worker {MAX_DEATHS} times ({rows}): out of memory, or a crash in a native "
            "library. Finished ranges are kept. Try fewer --workers, or look at those rows"
        )

    def _named(self, rank: int, error: Exception) -> TagcorpusError:
        if isinstance(error, TagcorpusError):
            return error
        kind, text = error.args if isinstance(error, RankFailure) else (type(error).__name__, error)
        return TagcorpusError(f"{self.describe(rank)} failed: {kind}: {text}")


class _ThreadSlot:
    """A worker that is a thread of this process."""

    def __init__(self, pipeline: Sequence[PipelineStep], world_size: int) -> None:
        self._pipeline, self._world_size = pipeline, world_size
        self._pulse = Pulse()
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="range", initializer=set_pulse, initargs=(self._pulse,))

    def close(self, kind: object, *_: object) -> None:
        if kind is not None:
            self._pulse.stop()
        self._pool.shutdown(wait=kind is None, cancel_futures=True)

    def submit(self, rank: int) -> Future[list[Any]]:
        return self._pool.submit(fold, self._pipeline, rank, self._world_size)

    def beat(self) -> Beat:
        return self._pulse.beat

    def is_up(self) -> bool:
        return True

    def restart(self) -> None:
        """Threads do not die alone."""


class Crew:
    """Worker processes of this machine that stay from one pass to the next: what a worker has imported, compiled and
    loaded, it has for the whole run. Leaving the context ends them."""

    def __init__(self) -> None:
        self._idle: list[_ProcessSlot] = []

    def slot(self, pipeline: Sequence[PipelineStep], world_size: int) -> Slot:
        """A worker for one pass: one that has nothing to do, else a new one."""
        found = self._idle.pop() if self._idle else _ProcessSlot(self._idle)
        found.take(pickle.dumps((list(pipeline), world_size)))
        return found

    def __enter__(self) -> Crew:
        return self

    def __exit__(self, *_: object) -> None:
        while self._idle:
            self._idle.pop().end()


class _ProcessSlot:
    """A worker process of its own: when it dies, exactly one rank is to be done again."""

    def __init__(self, idle: list[_ProcessSlot]) -> None:
        self._idle = idle
        self._payload = b""
        self._is_payload_known = False
        self._pool: ProcessPoolExecutor | None = None
        try:
            self._folder = storage.temporary_folder()
            self._path = os.path.join(self._folder, "pulse")
            self.restart()
        except OSError as error:
            raise OutputError(f"no temporary file could be made in {tempfile.gettempdir()}: {error}") from error

    def take(self, payload: bytes) -> None:
        """The next pass."""
        self._payload, self._is_payload_known = payload, False

    def close(self, kind: object, *_: object) -> None:
        if kind is None:
            self._idle.append(self)
            return
        if self._pool is not None:
            for process in list((self._pool._processes or {}).values()):
                process.kill()
        self.end()

    def end(self) -> None:
        """Let the process go, and remove its file."""
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
        _start_fork_server()
        arguments = (self._path, storage.own_suffix(), dict(os.environ))
        self._pool = ProcessPoolExecutor(1, context, initializer=_start_worker, initargs=arguments)
        self._is_payload_known = False

    def submit(self, rank: int) -> Future[list[Any]]:
        with _no_main_module():
            try:
                return self._submit(rank)
            except BrokenProcessPool:  # the worker died while it had nothing to do
                self.restart()
                return self._submit(rank)

    def _submit(self, rank: int) -> Future[list[Any]]:
        assert self._pool is not None
        future = self._pool.submit(_run_rank, rank, None if self._is_payload_known else self._payload)
        self._is_payload_known = True
        return future

    def beat(self) -> Beat:
        return Pulse.read(self._path)

    def is_up(self) -> bool:
        return True


_worker: dict[str, Any] = {}


def _start_fork_server() -> None:
    """Start it, if it is not there, with SIGINT blocked for it and all its children, from their first instruction on:
    Ctrl-C reaches the whole process group, and the launcher alone decides what it means."""
    # The kernels only where this run uses them: they bring Numba.
    wanted: list[str] = [
        m for m in ("tagcorpus.pipelines.steps", "tagcorpus.pipelines.counting.passes") if m in sys.modules
    ]
    multiprocessing.forkserver.set_forkserver_preload(wanted)
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        multiprocessing.forkserver.ensure_running()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _start_worker(pulse_path: str, suffix: str, environment: dict[str, str]) -> None:
    # The fork server was started once and keeps the environment of that moment; credentials set since then count too.
    os.environ.clear()
    os.environ.update(environment)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_die_with, args=(parent,), daemon=True).start()
    set_pulse(Pulse(pulse_path))
    storage.set_suffix(suffix)


def _die_with(parent: Any) -> None:
    """A launcher that was killed must not leave workers behind that go on publishing."""
    parent.join()
    os._exit(1)


def _run_rank(rank: int, payload: bytes | None) -> list[Any]:
    """payload: the pipeline, with the first rank of a pass only."""
    if payload is not None:
        _worker.clear()
        _worker["payload"] = payload
    if "pipeline" not in _worker:  # not as it comes in: an exception from here reaches the user
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
