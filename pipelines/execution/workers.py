"""What a step and a worker are, wherever they run, and what a worker does with a rank: fold the pipeline over it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from typing import Any, Protocol

from tagcorpus import errors
from tagcorpus.errors import TagcorpusError
from tagcorpus.pipelines.progress.progress_record import ProgressRecord, progress_writer


class Step(Protocol):
    """One step of a pipeline, which can be pickled. A step of datatrove is one, too."""

    def run(self, data: Any, rank: int, /) -> Iterator[Any]:
        """What this rank yields. data: what the step before yields; None for the first step."""
        ...


class WorkerDied(Exception):
    """The worker ended before its rank did. Raised by the future of `submit`."""


class Worker(Protocol):
    """One worker, wherever it is."""

    def submit(self, rank: int) -> Future[list[Any]]:
        """Start a rank. The future raises what the rank raised, or WorkerDied."""
        ...

    def progress(self) -> ProgressRecord:
        """The newest progress record of this worker."""
        ...

    def is_up(self) -> bool:
        """Whether the worker has started. `restart` takes ranks back from a worker that has not."""
        ...

    def restart(self) -> None:
        """A fresh worker in place of a dead one."""
        ...

    def close(self, kind: object, *_: object) -> None:
        """An ExitStack callback: let go of the worker; kill it when there was an exception."""
        ...


class RankFailure(Exception):
    """A step raised something that was not meant for the user: its type's name, and its text."""


def fold(pipeline: Sequence[Step], rank: int) -> list[Any]:
    """Pipe the data of one rank through all steps; what the last one yields.

    Raises TagcorpusError as the steps raised it, and RankFailure for everything else, a SystemExit too: both can be
    pickled, which third parties' exceptions often cannot.
    """
    progress_writer().start(rank)
    data: Any = None
    try:
        for step in pipeline:
            data = step.run(data, rank)
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
        progress_writer().start(-1)


def is_fault(error: BaseException) -> bool:
    """Whether code that we called failed, as opposed to somebody stopping us: a library that calls sys.exit or a Rust
    panic (which pyo3 puts outside Exception) must not end a run as if it were done."""
    return isinstance(error, (Exception, SystemExit)) or type(error).__name__ == "PanicException"
