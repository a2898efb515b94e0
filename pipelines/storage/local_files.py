"""Files of this machine behind the few calls that `Folder` and the search for input make of a filesystem.

fsspec has such a class, too. Importing fsspec costs 0.09 CPU seconds, which is half of importing pyarrow, and a run on local
files needs nothing else of it; patterns are fsspec's all the same, so that `**` and `[` mean one thing everywhere.
"""

from __future__ import annotations

import os
import shutil
from typing import Any, BinaryIO, cast

PROTOCOLS = ("file", "local")


class LocalFiles:
    """The local filesystem. Paths are absolute, with forward slashes."""

    def exists(self, path: str) -> bool:
        return os.path.exists(path)

    def isdir(self, path: str) -> bool:
        return os.path.isdir(path)

    def open(self, path: str, mode: str = "rb") -> BinaryIO:
        return cast(BinaryIO, open(path, mode))

    def size(self, path: str) -> int:
        return os.stat(path).st_size

    def cat_file(self, path: str, start: int = 0, end: int | None = None) -> bytes:
        """Bytes [start, end) of a file, fewer where the file ends before."""
        with open(path, "rb") as file:
            file.seek(start)
            return file.read() if end is None else file.read(end - start)

    def ls(self, path: str, *, detail: bool = False) -> list[str]:  # noqa: ARG002 - as a store's filesystem is called
        return [f"{path.rstrip('/')}/{name}" for name in os.listdir(path)]

    def find(self, path: str) -> list[str]:
        """Every file below a folder, sorted; a link to a folder counts as a file. A folder that cannot be read is left out."""
        files: list[str] = []
        waiting = [path.rstrip("/")]
        while waiting:
            folder = waiting.pop()
            try:
                with os.scandir(folder or "/") as entries:
                    for entry in entries:
                        place = waiting if entry.is_dir(follow_symlinks=False) else files
                        place.append(f"{folder}/{entry.name}")
            except OSError:
                continue
        if not files and os.path.isfile(path):
            return [path]
        return sorted(files)

    def glob(self, pattern: str, *, detail: bool = False) -> Any:
        from fsspec.implementations.local import LocalFileSystem

        return LocalFileSystem().glob(pattern, detail=detail)

    def rm(self, path: str, *, recursive: bool = False) -> None:
        if recursive and os.path.isdir(path) and not os.path.islink(path):
            shutil.rmtree(path)
        else:
            os.remove(path)


def local_path(url: str) -> str:
    """The absolute path of a path or of a file:// URL."""
    protocol, separator, path = url.partition("://")
    return os.path.abspath(path if separator and protocol in PROTOCOLS else url)
