"""The reader process, which reads tables for a worker. A file that crashes the native reader costs only itself.

Each thread that reads a table forks one reader process and keeps it, which takes a few milliseconds. A reader process gives
one record batch for each request, and ends when its pipe is closed. Its owner reads files of an object store for it (see
lent_files).
"""

from __future__ import annotations

import contextlib
import faulthandler
import functools
import gc
import inspect
import os
import pickle
import signal
import sys
import threading
import warnings
import weakref
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

import pyarrow as pa

from tagcorpus.errors import IncompleteError
from tagcorpus.pipelines.formats.lent_files import Lender, ask_with

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

CAN_FORK = hasattr(os, "fork")
# Signals that a process gets only by its own fault.
_CRASHES = tuple(
    s
    for n in ("SIGSEGV", "SIGABRT", "SIGBUS", "SIGFPE", "SIGILL", "SIGTRAP", "SIGSYS")
    if (s := getattr(signal, n, None))
)
_MORE, _STOP = b"m", b"s"


class ReaderCrashed(Exception):
    """The reader process died while it read a file; the text names the signal."""


def call(function: Callable[..., Any], *arguments: Any) -> Any:
    """Call a function of this package in the reader process. Raises its errors, and ReaderCrashed."""
    if not CAN_FORK:
        return function(*arguments)
    reader = _reader()
    with reader.guarded():
        reader.send(function, arguments)
        return reader.answer()


def stream(function: Callable[..., Iterator[pa.RecordBatch]], *arguments: Any) -> Iterator[pa.RecordBatch]:
    """The record batches of a generator function that runs in the reader process. Raises as `call` does."""
    if not CAN_FORK:
        yield from function(*arguments)
        return
    reader = _reader()
    with reader.guarded():
        reader.send(function, arguments)
        while (batch := reader.answer()) is not None:
            try:
                yield batch
            except GeneratorExit:
                reader.stop()
                raise
            reader.pipe.send_bytes(_MORE)


class _Reader:
    """The reader process, as its parent sees it."""

    def __init__(self) -> None:
        # Imported here, since only runs that read tables need multiprocessing.
        from multiprocessing.connection import Pipe

        self.pipe, other = Pipe()
        with warnings.catch_warnings():
            # The child runs only `_serve` and the table reader, which use none of the parent's threads and locks.
            warnings.simplefilter("ignore", DeprecationWarning)
            self.pid = os.fork()
        if not self.pid:
            _serve(self.pipe, other)
        other.close()
        self.owner = os.getpid()
        self.lender = Lender()
        self.close = weakref.finalize(self, _end, self.pipe, self.pid, self.owner)

    @contextlib.contextmanager
    def guarded(self) -> Iterator[None]:
        """Turn a broken pipe into the error that names the cause, and never use a process in an unknown state again."""
        try:
            yield
        except _Answered as answer:
            raise answer.error from None
        except GeneratorExit:
            raise
        except (EOFError, ConnectionError) as error:
            raise self._death() from error
        except BaseException:
            _forget(self)
            raise

    def send(self, function: Callable[..., Any], arguments: Sequence[Any]) -> None:
        self.pipe.send((function, self.lender.lend(arguments)))

    def stop(self) -> None:
        """End a generator early, and drop its last answer."""
        try:
            self.pipe.send_bytes(_STOP)
            self.answer()
        except (_Answered, EOFError, OSError):
            _forget(self)

    def answer(self) -> Any:
        while (kind := self.pipe.recv_bytes()) == b"q":
            self._lend()
        if kind == b"b":
            return pa.ipc.open_stream(self.pipe.recv_bytes()).read_next_batch()
        data = pickle.loads(self.pipe.recv_bytes())
        if kind == b"e":
            raise _Answered(data)
        return data

    def _lend(self) -> None:
        """Serve a request of the reader process for bytes of a file that only its owner opens."""
        try:
            value = self.lender.answer(*pickle.loads(self.pipe.recv_bytes()))
        except Exception as error:
            _send(self.pipe, b"e", _portable(error))
        else:
            _send(self.pipe, b"v", pickle.dumps(value))

    def _death(self) -> Exception:
        _forget(self)
        self.close.detach()
        self.pipe.close()
        status = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        if -status in _CRASHES:
            return ReaderCrashed(f"the reader crashed ({signal.Signals(-status).name})")
        name = signal.Signals(-status).name if status < 0 else f"exit code {status}"
        return IncompleteError(
            f"the process that read the input was ended ({name}), perhaps for lack of memory. Run the same command again"
        )


class _Answered(Exception):
    """Carries an error that the reader process sent."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error


_thread = threading.local()


def _reader() -> _Reader:
    reader: _Reader | None = getattr(_thread, "reader", None)
    if reader is None or reader.owner != os.getpid() or reader.pipe.closed:
        reader = _thread.reader = _Reader()
    return reader


def _forget(reader: _Reader) -> None:
    if getattr(_thread, "reader", None) is reader:
        _thread.reader = None


def _end(pipe: Connection, pid: int, owner: int) -> None:
    pipe.close()
    if os.getpid() == owner:
        with contextlib.suppress(OSError):
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)


def _serve(parents: Connection, pipe: Connection) -> NoReturn:
    """Answer requests until the parent is gone."""
    # Else the parent's garbage is collected here, and its files close descriptors that this process has opened since.
    gc.freeze()
    try:
        parents.close()
        _be_quiet()
        _close_all_but(pipe.fileno())
        ask_with(functools.partial(_ask, pipe))
        while True:
            function, arguments = pipe.recv()
            try:
                value = function(*arguments)
                if inspect.isgenerator(value):
                    _send_batches(pipe, value)
                    value = None
            except Exception as error:
                _send(pipe, b"e", _portable(error))
            else:
                _send(pipe, b"v", pickle.dumps(value))
    finally:
        os._exit(0)  # without flushing, closing or removing anything of the parent's


def _be_quiet() -> None:
    """Crash without a core file and without messages of native libraries; the parent reports a crash."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.set_wakeup_fd(-1)
    faulthandler.disable()
    with contextlib.suppress(ImportError, ValueError, OSError):
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in (1, 2):
        os.dup2(null, descriptor)
    # The parent's may write to another file, which is about to be closed, and then a warning would fail.
    sys.stdout = sys.stderr = open(2, "w", closefd=False)  # noqa: SIM115 - for as long as the process lives


def _close_all_but(kept: int) -> None:
    """Close the parent's other files, locks and sockets, which this process would keep open."""
    with contextlib.suppress(OSError):  # a system that does not list them
        for name in os.listdir("/dev/fd"):
            if (descriptor := int(name)) > 2 and descriptor != kept:
                with contextlib.suppress(OSError):
                    os.close(descriptor)


def _send_batches(pipe: Connection, batches: Any) -> None:
    for batch in batches:
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, batch.schema) as writer:
            writer.write_batch(batch)
        _send(pipe, b"b", sink.getvalue())
        if pipe.recv_bytes() == _STOP:
            batches.close()
            return


def _ask(pipe: Connection, *request: Any) -> Any:
    """The parent's answer to a request. Raises the parent's error."""
    _send(pipe, b"q", pickle.dumps(request))
    kind, value = pipe.recv_bytes(), pickle.loads(pipe.recv_bytes())
    if kind == b"e":
        raise value
    return value


def _send(pipe: Connection, kind: bytes, data: Any) -> None:
    pipe.send_bytes(kind)
    pipe.send_bytes(data)


def _portable(error: Exception) -> bytes:
    try:
        data = pickle.dumps(error)
        pickle.loads(data)
    except Exception:
        return pickle.dumps(RuntimeError(f"{type(error).__name__}: {error}"))
    return data
