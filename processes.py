"""What every Python process of this package begins with: a search path without the current folder, a stderr that cannot fail, and
the fork server that worker processes are copies of."""

from __future__ import annotations

import contextlib
import io
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

LONGEST_TEMPORARY = 70  # bytes


@contextlib.contextmanager
def safe_path() -> Iterator[None]:
    """Python processes that start within the block import nothing from the current folder.

    `python -c`, by which multiprocessing starts its fork server and its resource tracker, puts the current folder first on
    sys.path, and workers get a copy of this process's sys.path. A `queue.py` in a folder of data would be executed. A folder
    that the user chose keeps a place: each one in PYTHONPATH, and, behind all others, the folder of the script that runs.
    """
    path, chosen = list(sys.path), [p for p in os.environ.get("PYTHONPATH", "").split(os.pathsep) if p]
    with _environment({"PYTHONSAFEPATH": "1", "PYTHONPATH": os.pathsep.join(chosen)}):
        sys.path[:] = path_of_workers(path, chosen)
        try:
            yield
        finally:
            sys.path[:] = path


@contextlib.contextmanager
def _environment(changed: Mapping[str, str]) -> Iterator[None]:
    """Within the block, these variables have other values."""
    before = {name: os.environ.get(name) for name in changed}
    os.environ.update(changed)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def path_of_workers(path: Sequence[str], chosen: Sequence[str]) -> list[str]:
    """`path` without the current folder, unless it is one of `chosen`.

    The folder of the script that runs, or of this package, goes to the end, so that its files hide no other module.
    """
    try:
        here = os.path.realpath(os.curdir)
    except FileNotFoundError:  # the folder was removed
        return [p for p in path if p]
    if here in map(os.path.realpath, chosen):
        return list(path)
    script = getattr(sys.modules["__main__"], "__file__", None)
    package = os.path.dirname(__file__)
    roots = [os.path.dirname(p) for p in (script, package) if p]
    left = [p for p in path if os.path.realpath(p) != here]
    return [*left, here] if len(left) < len(path) and here in map(os.path.realpath, roots) else left


def start_fork_server(modules: Sequence[str], environment: Mapping[str, str] | None = None) -> None:
    """Start the fork server, if it is not there, and do not wait for it. Once it has imported `modules`, worker processes are
    copies of it. environment: variables that only the server has.

    SIGINT is blocked for it and all its children, from their first instruction on: Ctrl-C reaches the whole process group, and the
    launcher alone decides what it means.
    """
    import signal

    with safe_path():
        import multiprocessing.forkserver
        import multiprocessing.resource_tracker

        multiprocessing.forkserver.set_forkserver_preload(list(modules))
        # Not below: where this call starts a tracker, it unblocks SIGINT.
        multiprocessing.resource_tracker.ensure_running()
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            with _short_temporary_folder(), _environment(environment or {}):
                multiprocessing.forkserver.ensure_running()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


def is_fork_server_there() -> bool:
    """Whether this process has a fork server, be it of a program that uses this package."""
    module = sys.modules.get("multiprocessing.forkserver")  # whoever started one has imported it
    # The module has no public name for it.
    return module is not None and getattr(module._forkserver, "_forkserver_pid", None) is not None


def end_fork_server() -> None:
    """End the fork server and wait for its end; it has no workers any more. Whoever needs one later starts another.

    The signal, since a server that still imports would keep the standard output open for as long.
    """
    import multiprocessing.forkserver
    import signal

    if is_fork_server_there():
        server = multiprocessing.forkserver._forkserver
        with contextlib.suppress(OSError):
            os.kill(server._forkserver_pid, signal.SIGTERM)  # type: ignore[attr-defined]
        with contextlib.suppress(OSError):
            server._stop()  # type: ignore[attr-defined]


@contextlib.contextmanager
def _short_temporary_folder() -> Iterator[None]:
    """The fork server listens on a socket in a temporary folder, and a socket's path has at most 107 bytes: in a longer
    TMPDIR, as batch systems give to their jobs, it goes to /tmp."""
    import multiprocessing.util
    import tempfile

    before = tempfile.tempdir
    if len(os.fsencode(tempfile.gettempdir())) > LONGEST_TEMPORARY and os.access("/tmp", os.W_OK):
        tempfile.tempdir = "/tmp"
    try:
        multiprocessing.util.get_temp_dir()  # which stays what it is from here on
        yield
    finally:
        tempfile.tempdir = before


def no_semaphores(error: Exception) -> str:
    """One sentence for a system on which processes cannot share a lock."""
    return (
        f"worker processes need semaphores, which cannot be made in /dev/shm ({error}): make it writable (mount -o remount,rw "
        "/dev/shm, or docker run --shm-size 64m), or run with --workers 1"
    )


class _Lossy(io.FileIO):
    """A file that drops text which cannot be written, because the disk is full or the reader is gone."""

    def write(self, data: Any) -> int:
        with contextlib.suppress(OSError):
            super().write(data)
        return memoryview(data).nbytes


def is_running(pid: int) -> bool:
    """Whether there is a process of this number."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # another user's
        return True
    return True


def keep_stderr_writable() -> None:
    """A run goes on where stderr cannot be written: the log file of the run has the text, and the exit code does not change.

    Closed descriptors 0 to 2 are opened on the null device. Otherwise the next opened file gets that number, and text that a
    library prints ends up in a result.
    """
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            os.dup2(os.open(os.devnull, os.O_RDWR), number)
            os.set_inheritable(number, True)
    if sys.stderr is not sys.__stderr__:  # a test or another library has replaced it
        return
    kind = (sys.stderr.encoding, sys.stderr.errors) if sys.stderr is not None else ("utf-8", "backslashreplace")
    raw = io.BufferedWriter(_Lossy(2, "wb", closefd=False))
    sys.stderr = sys.__stderr__ = io.TextIOWrapper(raw, *kind, line_buffering=True)  # type: ignore[misc]
    if isinstance(sys.stdout, io.TextIOWrapper):  # a name that the locale's encoding lacks is escaped, not a traceback
        sys.stdout.reconfigure(errors="backslashreplace")
    elif sys.stdout is None:
        sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115 - for the life of the process
