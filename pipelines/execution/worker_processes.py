"""Worker processes of this machine, one rank at a time each. A `WorkerPool` keeps them from one pass of a run to the next."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import pickle
import signal
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from types import FrameType
from typing import Any

from tagcorpus.errors import OutputError
from tagcorpus.pipelines.execution import late_pandas
from tagcorpus.pipelines.execution.workers import fold
from tagcorpus.pipelines.progress.progress_record import ProgressRecord, ProgressWriter, set_progress_writer
from tagcorpus.pipelines.storage import folder
from tagcorpus.processes import keep_stderr_writable, no_semaphores, safe_path, start_fork_server

COUNTING = (
    "tagcorpus.pipelines.counting.passes",
    *(f"tagcorpus.kernels.{m}" for m in ("delta", "entropy", "merging", "ngrams")),
)
"""The passes of `run entropy`, and the kernels that they call."""


class ProcessWorker:
    """A worker process of its own: when it dies, exactly one rank is to be done again."""

    def __init__(self, idle: list[ProcessWorker], suffix: str) -> None:
        self._idle, self._suffix = idle, suffix
        self._payload = b""
        self._is_payload_known = False
        self._pool: ProcessPoolExecutor | None = None
        try:
            self._folder = folder.temporary_folder()
            self._path = os.path.join(self._folder, "progress")
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
        ProgressWriter.create(self._path)
        # Clean children however many threads this process runs; the fork server has the imports ready.
        context = multiprocessing.get_context("forkserver")
        _start_fork_server()
        arguments = (self._path, self._suffix, dict(os.environ))
        try:
            self._pool = ProcessPoolExecutor(1, context, initializer=_start_worker, initargs=arguments)
        except (OSError, NotImplementedError) as error:
            raise OutputError(no_semaphores(error)) from error
        self._is_payload_known = False

    def submit(self, rank: int) -> Future[list[Any]]:
        # A process that is interrupted into being is known to nobody, and reads what its launcher has removed.
        with _put_off_signals(), safe_path(), _no_main_module():
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

    def progress(self) -> ProgressRecord:
        return ProgressWriter.read(self._path)

    def is_up(self) -> bool:
        return True


_worker: dict[str, Any] = {}


def _start_fork_server() -> None:
    """Start it, if it is not there."""
    steps = [m for m in ("tagcorpus.pipelines.execution.steps",) if m in sys.modules]
    # The kernels only where this run uses them: they bring Numba.
    start_fork_server([__name__, *steps, *(COUNTING if COUNTING[0] in sys.modules else ())])


def _start_worker(progress_path: str, suffix: str, environment: dict[str, str]) -> None:
    # The fork server was started once and keeps the environment of that moment; credentials set since then count too.
    os.environ.clear()
    os.environ.update(environment)
    keep_stderr_writable()
    os.environ["PYTHONSAFEPATH"] = "1"  # for what a tagger starts in turn
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_die_with, args=(parent,), daemon=True).start()
    late_pandas.postpone()
    set_progress_writer(ProgressWriter(progress_path))
    folder.set_suffix(suffix)


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
        _worker["pipeline"] = pickle.loads(_worker["payload"])
    return fold(_worker["pipeline"], rank)


@contextlib.contextmanager
def _put_off_signals() -> Iterator[None]:
    """What Ctrl-C and SIGTERM do is done at the end of the block; a second signal does not wait for it."""
    if threading.current_thread() is not threading.main_thread():  # no other thread is interrupted by them
        yield
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    came: list[Callable[[], object]] = []

    def put_off(number: int, frame: FrameType | None) -> None:
        handler = before[signal.Signals(number)]
        assert callable(handler)
        came.append(lambda: handler(number, frame))
        if len(came) > 1:
            came.pop()()

    replaced = [number for number, handler in before.items() if callable(handler)]
    try:
        for number in replaced:
            signal.signal(number, put_off)
        yield
    finally:
        for number in replaced:
            signal.signal(number, before[number])
        if came:
            came.pop()()


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
