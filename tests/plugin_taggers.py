"""Taggers that misbehave on request, registered as third parties' are: through entry points (see plugins.py).

Texts say what is to go wrong (`!raise!`, `!die!`, ...). This file must not import pytest: worker processes import it.

Where PLUGIN_EVENTS is set, every file operation below PLUGIN_ROOT and every batch is an event that is written to that
file (only those on paths with PLUGIN_ONLY in them, if that is set), and event number PLUGIN_KILL_AT kills, with signal
9, what PLUGIN_KILL says: `group`, `launcher`, or `self`, whichever process it is in. So a run can be killed between any two things that it does to the disk,
at a place that a seed decides. PLUGIN_ONLY may be several such parts of paths, with | between them: each has a count and a
file of its own, PLUGIN_EVENTS with -1, -2, ... for all but the first.
"""

from __future__ import annotations

import fcntl
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa
from datatrove.pipeline.base import PipelineStep

from tagcorpus.errors import BudgetError, ConfigError, LLMError, TaggerError
from tagcorpus.pipelines.progress.progress_record import progress_writer
from tagcorpus.taggers._interface.base import Parameters, column
from tagcorpus.taggers._interface.batch import DocumentBatch

FILE_EVENTS = ("open", "os.rename", "os.remove", "os.mkdir")


def _watch_events() -> None:
    events, parts = os.environ["PLUGIN_EVENTS"], os.environ.get("PLUGIN_ONLY", "").split("|")
    watching = [_watch(only, events, f"{events}-{i}" if i else events) for i, only in enumerate(parts)]
    Marks.on_batch = staticmethod(lambda: [happened("batch", "/batch") for happened in watching])


def _watch(only: str, events: str, file: str) -> Callable[[str, str], None]:
    """events: what the files begin with. Returns what takes down an event, by name and path below PLUGIN_ROOT."""
    root = os.environ["PLUGIN_ROOT"]
    kill_at = int(os.environ.get("PLUGIN_KILL_AT", "0"))
    launcher = int(os.environ.setdefault("PLUGIN_LAUNCHER", str(os.getpid())))

    def event(name: str, arguments: tuple[Any, ...]) -> None:
        if name not in FILE_EVENTS or not isinstance(arguments[0], str) or not arguments[0].startswith(root):
            return
        path = arguments[1] if name == "os.rename" else arguments[0]
        if not path.startswith((f"{root}/plugins", events)):
            happened(name, path[len(root) :])

    def happened(name: str, path: str) -> None:
        if only not in path:
            return
        log = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        # Two processes that write at once would both read the size after the second, and no one would be the first.
        fcntl.flock(log, fcntl.LOCK_EX)
        # Records of one size, so that the size of the file is the number of events so far, in all processes.
        os.write(log, f"{name} {path}".encode()[:99].ljust(99) + b"\n")
        n_events = os.fstat(log).st_size // 100
        os.close(log)
        if n_events == kill_at:
            if os.environ["PLUGIN_KILL"] == "group":
                os.killpg(0, signal.SIGKILL)
            os.kill(os.getpid() if os.environ["PLUGIN_KILL"] == "self" else launcher, signal.SIGKILL)

    sys.addaudithook(event)
    return happened


@dataclass(frozen=True)
class Marks(Parameters):
    """How many bytes a text has, unless the text says what else to do."""

    suffix: str = ""

    version: ClassVar[str] = "1"
    columns: ClassVar[pa.Schema] = pa.schema(
        [column("n_bytes", pa.int64(), "length", "bytes"), column("mark", pa.string(), "first character", "text")]
    )
    on_batch: ClassVar[Any] = staticmethod(lambda: None)

    def tag(self, batch: DocumentBatch) -> pa.RecordBatch:
        self.on_batch()
        for text in batch.texts:
            if "!" in text:
                _obey(text)
        sizes = [len(t.encode()) for t in batch.texts]
        return pa.record_batch([pa.array(sizes), [t[:1] + self.suffix for t in batch.texts]], schema=self.columns)


def _obey(text: str) -> None:
    if "!raise!" in text:
        raise ValueError(f"cannot take {object()} \udc80")
    if "!exit!" in text:
        sys.exit(0)
    if "!llm!" in text:
        raise LLMError("the endpoint kept failing")
    if "!budget!" in text:
        raise BudgetError("the budget is spent")
    if "!tagger!" in text:
        raise Own("my model is gone", 7)
    if "!die!" in text and _deaths() > 0:
        os.kill(os.getpid(), signal.SIGKILL)
    if "!wait!" in text and (told := os.environ.get("PLUGIN_WAITING")):
        fd = os.open(told, os.O_WRONLY)  # a FIFO: the test reads it
        os.write(fd, b"%d\n" % os.getpid())
        os.close(fd)
        threading.Event().wait()


class Own(TaggerError):
    """An error that a plain unpickling cannot build again."""

    def __init__(self, message: str, number: int) -> None:
        super().__init__(f"{message} ({number})")


def _deaths() -> int:
    """Takes one from the number in the file PLUGIN_DEATHS; what was there before."""
    path = Path(os.environ["PLUGIN_DEATHS"])
    left = int(path.read_text())
    path.write_text(str(left - 1))
    return left


@dataclass(frozen=True)
class Broken(Parameters):
    """Its model cannot be loaded."""

    version: ClassVar[str] = "1"
    columns: ClassVar[pa.Schema] = Marks.columns

    def tag(self, batch: DocumentBatch) -> pa.RecordBatch:  # noqa: ARG002
        raise OSError("model.bin is not there")


@dataclass(frozen=True)
class Interrupted(Parameters):
    """Ctrl-C comes while it is being made."""

    version: ClassVar[str] = "1"
    columns: ClassVar[pa.Schema] = Marks.columns

    def __post_init__(self) -> None:
        raise KeyboardInterrupt


@dataclass(frozen=True)
class Wrong(Parameters):
    """Returns what no tagger may return."""

    how: str = "rows"

    version: ClassVar[str] = "1"
    columns: ClassVar[pa.Schema] = pa.schema([column("n", pa.int64(), "one", "count")])

    def tag(self, batch: DocumentBatch) -> pa.RecordBatch | None:
        if self.how == "nothing":
            return None
        if self.how == "schema":
            return pa.record_batch([pa.array([1.0] * batch.num_rows)], ["n"])
        return pa.record_batch([pa.array([1] * (batch.num_rows - 1), pa.int64())], schema=self.columns)


@dataclass(frozen=True)
class Waiting(Parameters):
    """Has four batches in flight, and finishes each one's last row only when a later batch has begun."""

    version: ClassVar[str] = "1"
    columns: ClassVar[pa.Schema] = pa.schema([column("n_chars", pa.int64(), "length", "characters")])
    concurrent_batches: ClassVar[int] = 4
    begun: ClassVar[list[int]] = []
    most_at_once: ClassVar[list[int]] = [0]

    def tag(self, batch: DocumentBatch) -> pa.RecordBatch:
        for text in batch.texts:
            if "!" in text:
                _obey(text)
        self.begun.append(batch.num_rows)
        self.most_at_once[0] = max(self.most_at_once[0], len(self.begun))
        _Turns.give_way()
        self.begun.pop()
        return pa.record_batch([pa.array([len(t) for t in batch.texts], pa.int64())], schema=self.columns)


class _Turns:
    """Pairs up threads: each waits for one other to come, or for a tenth of a second."""

    barrier = threading.Barrier(2)

    @classmethod
    def give_way(cls) -> None:
        try:
            cls.barrier.wait(0.1)
        except threading.BrokenBarrierError:
            cls.barrier.reset()


class PanicException(BaseException):
    """What a Rust library raises where it panics."""


class Act(PipelineStep):
    """A pipeline of one step: what happens is said per rank; a rank that nothing is said of yields ten times itself."""

    type = "test"
    name = "Act"

    def __init__(self, actions: dict[int, str]) -> None:
        super().__init__()
        self.actions = actions

    def run(self, data: Any = None, rank: int = 0, world_size: int = 1) -> Iterator[int]:  # noqa: ARG002
        progress_writer().batch(rank * 100, rank * 100 + 9)
        action = self.actions.get(rank, "")
        if action == "panic":
            raise PanicException("index out of bounds")
        if action == "config":
            raise ConfigError("cannot be so")
        if action == "forever":
            while True:
                progress_writer().done(1, 1)
        if action.startswith("!die!"):
            os.environ["PLUGIN_DEATHS"] = action.removeprefix("!die!")
            action = "!die!"
        _obey(action)
        yield os.getpid() if action == "pid" else rank * 10


if "PLUGIN_EVENTS" in os.environ:
    _watch_events()
