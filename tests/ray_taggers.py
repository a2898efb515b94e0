"""Taggers for the tests on a Ray cluster. This file must not import pytest: the nodes' worker processes import it."""

from __future__ import annotations

import importlib.util
import os
import signal
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import pyarrow as pa

from tagcorpus.taggers._interface.base import Parameters, column
from tagcorpus.taggers._interface.batch import DocumentBatch


@dataclass(frozen=True)
class Held(Parameters):
    """The length of a text. On a text with `!hold!` it tells its process id through the FIFO `told` in `folder` and waits
    for its end, on `!kill!` it ends at once: as often as there are files in the folders `hold` and `kill` there."""

    folder: str = ""

    version: ClassVar[str] = "1"
    columns: ClassVar[pa.Schema] = pa.schema([column("n_chars", pa.int64(), "length", "characters")])

    def tag(self, batch: DocumentBatch) -> pa.RecordBatch:
        for text in batch.texts:
            if "!hold!" in text and self._take("hold"):
                Path(self.folder, "told").write_text(str(os.getpid()))
                threading.Event().wait()
            if "!kill!" in text and self._take("kill"):
                os.kill(os.getpid(), signal.SIGKILL)
        return pa.record_batch([pa.array([len(t) for t in batch.texts], pa.int64())], schema=self.columns)

    def _take(self, what: str) -> bool:
        for token in Path(self.folder, what).iterdir():
            token.unlink()
            return True
        return False


@dataclass(frozen=True)
class Surroundings(Parameters):
    """Where a worker's code lies."""

    version: ClassVar[str] = "1"
    columns: ClassVar[pa.Schema] = pa.schema(
        [
            column("package", pa.string(), "folder of tagcorpus", "path"),
            column("cwd", pa.string(), "files in the working directory", "names"),
            column("has_kernels", pa.bool_(), "kernels is a top-level module", "flag"),
            column("nodes_pid", pa.int64(), "parent process", "id"),
        ]
    )

    def tag(self, batch: DocumentBatch) -> pa.RecordBatch:
        import tagcorpus

        row = {
            "package": str(Path(tagcorpus.__file__).parent),
            "cwd": " ".join(sorted(os.listdir())),
            "has_kernels": importlib.util.find_spec("kernels") is not None,
            "nodes_pid": os.getppid(),
        }
        return pa.RecordBatch.from_pylist([row] * batch.num_rows, schema=self.columns)
