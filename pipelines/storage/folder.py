"""Where bytes go: folders by URL, published whole or not at all.

Local files are written under a temporary name in their own folder, fsynced, renamed, and the folder fsynced. Objects
in a store are built whole in a local temporary folder and written by one put (or, from 100 MiB in S3 and 5 MiB in Google
Cloud Storage, by one upload in pieces), which is atomic there. Temporary names start with a dot and carry the run's
random suffix; a run removes its own, and other runs' when they are older than a day.
"""

from __future__ import annotations

import contextlib
import errno
import glob
import os
import platform
import secrets
import shutil
import stat
import tempfile
import time
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO, cast

from tagcorpus.errors import ConfigError, OutputError
from tagcorpus.pipelines.storage import hub, remote
from tagcorpus.pipelines.storage.local_files import LocalFiles
from tagcorpus.processes import is_running

STALE_SECONDS = 86_400
_SUFFIX = secrets.token_hex(4)


class Folder:
    """A folder on any fsspec filesystem. Paths given to its methods are relative, with forward slashes."""

    def __init__(self, url: str) -> None:
        if hub.is_on_hub(url):
            raise ConfigError(f"{url}: tagcorpus only reads from the Hub. Name a local folder or an object store")
        self.fs: Any
        self.fs, path = remote.filesystem(url) if "://" in url else (LocalFiles(), os.path.abspath(url))
        self.is_local = isinstance(self.fs, LocalFiles)
        if not self.is_local:
            # Only here: datatrove.io imports huggingface_hub, 0.25 CPU seconds that local files need not cost.
            from datatrove.io import get_datafolder

            path = get_datafolder((path, self.fs)).path
        self.root = path.rstrip("/") or "/"

    def __str__(self) -> str:
        return self.root if self.is_local else str(self.fs.unstrip_protocol(self.root))

    def __getstate__(self) -> dict[str, Any]:
        return {"url": str(self), "storage_options": remote.in_use()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        remote.use(state["storage_options"])
        self.__init__(state["url"])  # type: ignore[misc]

    def path(self, name: str) -> str:
        return f"{self.root}/{name}" if name else self.root

    def exists(self, name: str = "") -> bool:
        return bool(self._call(lambda: self.fs.exists(self.path(name)), name, "looked for"))

    def read(self, name: str) -> bytes | None:
        """The file's bytes; None when there is no such file. Raises OutputError, or IncompleteError where a store gave no
        answer."""
        try:
            data: bytes = self._call(lambda: self.fs.cat_file(self.path(name)), name, "read")
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            return None
        except OSError as error:
            raise _explain(error, self.path(name), "read") from error
        return data

    def open(self, name: str) -> BinaryIO:
        """Raises FileNotFoundError; otherwise as `read`."""
        file: BinaryIO = self._call(lambda: self.fs.open(self.path(name), "rb"), name, "read")
        return file if self.is_local else cast(BinaryIO, remote.RemoteFile(file, self._url(name), OutputError))

    def size(self, name: str) -> int:
        return int(self._call(lambda: self.fs.size(self.path(name)), name, "read"))

    def read_chunk(self, name: str, start: int, end: int) -> bytes:
        """Bytes [start, end) of a file, fewer where it ends before. Raises FileNotFoundError; otherwise as `read`."""
        return bytes(self._call(lambda: self.fs.cat_file(self.path(name), start=start, end=end), name, "read"))

    def _url(self, name: str) -> str:
        return self.path(name) if self.is_local else str(self.fs.unstrip_protocol(self.path(name)))

    def _call(self, call: Callable[[], Any], name: str, done: str) -> Any:
        """The call's result. A store's errors become errors for the user, except FileNotFoundError."""
        if self.is_local:
            return call()
        try:
            return remote.call_store(call, self._url(name), done, OutputError)
        except OutputError as error:
            if isinstance(error.__cause__, FileNotFoundError):
                raise error.__cause__ from None
            raise

    def files(self, name: str = "") -> list[str]:
        """Every published file below `name`, relative to this folder, sorted; temporary names are left out."""
        base = self.path(name)
        try:
            if not self.is_local:
                self.fs.invalidate_cache(base)
            paths = self._call(lambda: self.fs.find(base), name, "listed")
        except FileNotFoundError:
            return []
        relative = (f[len(self.root) :].lstrip("/") for f in paths)
        return sorted(f for f in relative if not f.rsplit("/", 1)[-1].startswith("."))

    def entries(self) -> set[str]:
        """Names of the files and folders directly in this folder, by one request; none of a folder that may not be read."""
        try:
            if not self.is_local:
                self.fs.invalidate_cache(self.root)
            paths = self._call(lambda: self.fs.ls(self.root, detail=False), "", "listed")
        except (FileNotFoundError, PermissionError):
            return set()
        return {path.rstrip("/").rpartition("/")[2] for path in paths}

    def publish(self, name: str, data: bytes) -> None:
        """Put the whole file there in one act, replacing what stood there. Raises OutputError."""
        with self.publishing(name) as sink:
            sink.write(data)

    @contextlib.contextmanager
    def publishing(self, name: str) -> Iterator[BinaryIO]:
        """A sink that becomes the file only when the block ends without an exception. Raises OutputError."""
        target = self.path(name)
        try:
            if self.is_local:
                with self._local(target) as sink:
                    yield sink
            else:
                with self._stored(name) as sink:
                    yield sink
        except OSError as error:
            raise _explain(error, target) from error

    @contextlib.contextmanager
    def _local(self, target: str) -> Iterator[BinaryIO]:
        parent = os.path.dirname(target)
        _make_folders(parent)
        # Without the file's own name in it, so that every name the filesystem takes can be published.
        temporary = f"{parent}/.{_SUFFIX}-{secrets.token_hex(3)}.tmp"
        try:
            with open(temporary, "xb") as sink:
                yield sink
                sink.flush()
                os.fsync(sink.fileno())
            os.replace(temporary, target)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
            raise
        _fsync_folder(parent)

    @contextlib.contextmanager
    def _stored(self, name: str) -> Iterator[BinaryIO]:
        folder = temporary_folder()
        try:
            whole = f"{folder}/whole"
            with open(whole, "xb") as sink:
                yield sink
            url = self._url(name)
            remote.call_store(lambda: self.fs.put_file(whole, self.path(name)), url, "written", OutputError)
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def remove(self, name: str) -> None:
        """Remove a file or a whole folder; nothing happens where there is none."""
        path = self.path(name)
        try:
            if self.is_local or self._call(lambda: self.fs.isdir(path), name, "removed"):
                self._call(lambda: self.fs.rm(path, recursive=True), name, "removed")
            else:
                # `rm` of a store takes [ and * for patterns
                self._call(lambda: self.fs.rm_file(path), name, "removed")
        except FileNotFoundError:
            return
        except OSError as error:
            raise _explain(error, path, "removed") from error

    def remove_empty(self, name: str = "") -> None:
        """Remove a folder if nothing is in it. Object stores have no such folders."""
        if self.is_local:
            with contextlib.suppress(OSError):
                os.rmdir(self.path(name))

    def sweep(self, suffixes: set[str]) -> None:
        """Remove temporary files that carry one of the suffixes, and any that are older than a day (local only)."""
        if not self.is_local:
            return
        for folder, _, names in os.walk(self.root):
            for name in names:
                if not (name.startswith(".") and name.endswith(".tmp")):
                    continue
                path = os.path.join(folder, name)
                with contextlib.suppress(OSError):
                    if any(f".{s}-" in name for s in suffixes) or time.time() - os.stat(path).st_mtime > STALE_SECONDS:
                        os.unlink(path)


def _make_folders(path: str) -> None:
    """os.makedirs whose new folders are still there after a power cut."""
    missing = []
    while not os.path.isdir(path):
        missing.append(path)
        path = os.path.dirname(path)
    for folder in reversed(missing):
        try:
            os.mkdir(folder)
        except FileExistsError:  # another process was faster, or it is no folder
            if not os.path.isdir(folder):
                raise NotADirectoryError(errno.ENOTDIR, f"{folder} is not a folder") from None
        _fsync_folder(os.path.dirname(folder))


def _fsync_folder(path: str) -> None:
    """Nothing happens where the system cannot do that, or a folder may be written but not read."""
    try:
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
    except OSError as error:
        if error.errno not in (errno.EACCES, errno.EINVAL, errno.ENOTSUP):
            raise


def temporary_folder() -> str:
    """A new local folder for this process. Its name says whose it is, so that the next run can tell what was left behind
    by one that was killed."""
    return tempfile.mkdtemp(prefix=f"tagcorpus-{platform.node()}-{os.getpid()}-")


def sweep_temporary_folders() -> None:
    """Remove such folders of processes of this host and user that are gone. What cannot be looked at or removed stays."""
    with contextlib.suppress(OSError):  # no temporary folder at all
        own = os.path.join(glob.escape(tempfile.gettempdir()), f"tagcorpus-{glob.escape(platform.node())}-*")
        for path in filter(_is_left_behind, glob.glob(own)):
            shutil.rmtree(path, ignore_errors=True)


def _is_left_behind(path: str) -> bool:
    """Whether a path is a folder (a link to one is not) of this user, named after a process that is gone."""
    pid = path.rsplit("-", 2)[-2]
    try:
        state = os.lstat(path)
        is_own = stat.S_ISDIR(state.st_mode) and state.st_uid == os.getuid()
        return is_own and pid.isascii() and pid.isdigit() and not is_running(int(pid))
    except (OSError, OverflowError):  # gone meanwhile; a number that no process can have
        return False


def new_suffix() -> str:
    """A random part of temporary names, for the workers of one run: runs of one process do not sweep up each other's."""
    return secrets.token_hex(4)


def set_suffix(suffix: str) -> None:
    """Give a worker its run's suffix, so that the launcher can sweep up after a worker that died. What the launcher itself
    writes under a temporary name it removes itself."""
    global _SUFFIX  # noqa: PLW0603 - one suffix per process, set once when a worker starts
    _SUFFIX = suffix


def _explain(error: OSError, target: str, done: str = "written") -> OutputError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return OutputError(
            f"the disk is full: {target} could not be written ({error.strerror}). Everything published so far is whole: "
            "free some space and run the same command again to go on from there"
        )
    return OutputError(f"{target} could not be {done}: {error.strerror or error}")
