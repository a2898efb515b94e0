"""Worker processes of this machine, kept from one pass of a run to the next."""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from tagcorpus.pipelines.execution.workers import Step, Worker
from tagcorpus.pipelines.storage.folder import new_suffix
from tagcorpus.processes import safe_path

if TYPE_CHECKING:
    from tagcorpus.pipelines.execution.worker_processes import ProcessWorker


class WorkerPool:
    """Worker processes of this machine that stay from one pass to the next, with all that they have imported, compiled and
    loaded. Leaving the context ends them."""

    def __init__(self) -> None:
        self._idle: list[ProcessWorker] = []
        self.suffix = new_suffix()
        """In the temporary names of these workers."""

    def worker(self, pipeline: Sequence[Step]) -> Worker:
        """An idle worker, or a new one, for one pass."""
        # Imported late: only runs with several workers need multiprocessing and its sockets.
        with safe_path():
            from tagcorpus.pipelines.execution.worker_processes import ProcessWorker

        worker = self._idle.pop() if self._idle else ProcessWorker(self._idle, self.suffix)
        worker.take(pickle.dumps(list(pipeline)))
        return worker

    def __enter__(self) -> WorkerPool:
        return self

    def __exit__(self, *_: object) -> None:
        if self._idle:
            with ThreadPoolExecutor(len(self._idle), thread_name_prefix="end") as threads:
                list(threads.map(lambda worker: worker.end(), self._idle))
        self._idle.clear()
