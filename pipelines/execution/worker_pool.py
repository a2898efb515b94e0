"""Worker processes of this machine, kept from one pass of a run to the next."""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from typing import TYPE_CHECKING

from datatrove.pipeline.base import PipelineStep

from tagcorpus.pipelines.execution.workers import Worker
from tagcorpus.pipelines.storage.folder import new_suffix
from tagcorpus.processes import safe_path

if TYPE_CHECKING:
    from tagcorpus.pipelines.execution.worker_processes import ProcessWorker


class WorkerPool:
    """Worker processes of this machine that stay from one pass to the next: what a worker has imported, compiled and
    loaded, it has for the whole run. Leaving the context ends them."""

    def __init__(self) -> None:
        self._idle: list[ProcessWorker] = []
        self.suffix = new_suffix()
        """In the temporary names of these workers."""

    def slot(self, pipeline: Sequence[PipelineStep], world_size: int) -> Worker:
        """A worker for one pass: one that has nothing to do, else a new one."""
        # Only here: multiprocessing and the sockets it imports are for more than one worker.
        with safe_path():
            from tagcorpus.pipelines.execution.worker_processes import ProcessWorker

        slot = self._idle.pop() if self._idle else ProcessWorker(self._idle, self.suffix)
        slot.take(pickle.dumps((list(pipeline), world_size)))
        return slot

    def __enter__(self) -> WorkerPool:
        return self

    def __exit__(self, *_: object) -> None:
        while self._idle:
            self._idle.pop().end()
