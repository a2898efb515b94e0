"""The same list of results from one process or several: independent jobs, results in the order of the jobs."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import forkserver
from types import TracebackType
from typing import Any, TypeVar

from tagcorpus.errors import ConfigError, OutputError
from tagcorpus.processes import no_semaphores, safe_path
from tagcorpus.requirements import how_to_install

Answer = TypeVar("Answer")
# Modules that jobs need. The server loads them once, so that no worker has to. None of them starts a thread on import.
LOADED = [
    "tagcorpus.predictor.protocols.paper",
    "tagcorpus.predictor.protocols.grouped",
    "xgboost",
    "pandas",
    "scipy.linalg",
    "threadpoolctl",
]


class Workers:
    """A worker pool of `count` processes, started at the first use and kept until the `with` block ends. With a count of 1
    the jobs run in this process.

    Processes come from a fork server, because forking a process that has threads can hang. The server loads its libraries
    while this process reads its data.
    """

    def __init__(self, count: int = 1, step: Callable[[int, int], None] | None = None) -> None:
        """step: called in this process with (done, of) after each job of a list."""
        self.count, self._step = count, step
        self._pool: ProcessPoolExecutor | None = None
        if count > 1:
            self._context = multiprocessing.get_context("forkserver")
            self._context.set_forkserver_preload(LOADED)
            with safe_path():
                forkserver.ensure_running()

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._pool is not None:
            self._pool.shutdown(wait=kind is None, cancel_futures=True)

    def map(self, function: Callable[..., Answer], jobs: Sequence[tuple[Any, ...]]) -> list[Answer]:
        """`function(*job)` of every job, in order. function: of a module, so that workers find it."""
        if self.count == 1 or len(jobs) < 2:
            with _one_thread():
                return self._listed((function(*job) for job in jobs), len(jobs))
        if self._pool is None:
            try:
                self._pool = ProcessPoolExecutor(self.count, mp_context=self._context, initializer=_one_thread)
            except (OSError, NotImplementedError) as error:
                raise OutputError(no_semaphores(error)) from error
        size = max(1, min(16, len(jobs) // (4 * self.count)))
        with safe_path():  # this call starts all processes
            answers = self._pool.map(function, *zip(*jobs, strict=True), chunksize=size)
        return self._listed(answers, len(jobs))

    def _listed(self, answers: Iterable[Answer], of: int) -> list[Answer]:
        listed = []
        for answer in answers:
            listed.append(answer)
            if self._step is not None:
                self._step(len(listed), of)
        return listed


def _one_thread() -> Any:
    """Limit linear algebra to one thread, for good or for a `with` block. More threads add sums in another order, and two
    processes of two threads each wait for one another."""
    try:
        import scipy.linalg  # noqa: F401  its library is limited only if it is loaded already
        from threadpoolctl import threadpool_limits
    except ImportError:
        raise ConfigError(f"predictions need scipy and threadpoolctl: {how_to_install('predict')}") from None
    return threadpool_limits(1)
