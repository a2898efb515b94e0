"""One input file: its name, its path or URL, its format and compression, and how it is opened and identified."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import Any, BinaryIO, cast

from tagcorpus.errors import InputError
from tagcorpus.pipelines.storage import hub, remote

FORMATS = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "jsonl",
    ".csv": "csv",
    ".tsv": "tsv",
    ".parquet": "parquet",
    ".arrow": "arrow",
}
FORMATS |= {".feather": "arrow", ".ipc": "arrow"}
COMPRESSIONS = {".gz": "gz", ".zst": "zst", ".bz2": "bz2", ".xz": "xz"}
# Formats whose bytes are read in order, so that they may be compressed; .json files that hold an array are "json".
DELIMITED = ("csv", "tsv")
TEXT_FORMATS = ("jsonl", "json", *DELIMITED)
# Formats of rows with typed columns.
TABLES = ("parquet", "arrow")
# Bytes that are read ahead in a file of an object store that is read from front to back.
AHEAD_BYTES = 4 << 20
LOOK_BYTES = 1 << 12
"""The same for a look at the first bytes or records. With 0, a file over HTTP could not be read twice."""


@dataclass(frozen=True)
class InputFile:
    """One input file. Outputs are named after `name`; `path` is a local path or a URL. `revision`: the branch or tag that the commit in
    a path on the Hub was pinned from."""

    name: str
    path: str
    format: str
    compression: str
    revision: str = field(default="", compare=False)

    @property
    def is_local(self) -> bool:
        return "://" not in self.path

    @property
    def is_table(self) -> bool:
        return self.format in TABLES

    @property
    def is_delimited(self) -> bool:
        return self.format in DELIMITED

    def __getstate__(self) -> dict[str, Any]:
        # Another process needs the options of the object store to open the file.
        return {**self.__dict__, "storage_options": remote.in_use()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        remote.use(state.pop("storage_options"))
        self.__dict__.update(state)

    def look(self) -> BinaryIO:
        """`open` for a look at the first bytes."""
        return self.open() if self.is_local else self._in_store(LOOK_BYTES)

    def open(self) -> BinaryIO:
        """Opening and reading a file of an object store raise InputError and IncompleteError."""
        if self.is_local:
            return open(self.path, "rb")
        return self._in_store(AHEAD_BYTES)

    def _in_store(self, ahead_bytes: int) -> BinaryIO:
        fs, path = remote.filesystem(self.path)
        # Only some columns of a Parquet file are read, so nothing is read ahead.
        ahead: dict[str, Any] = {"block_size": ahead_bytes, "cache_type": "readahead"}
        caching = {"cache_type": "none"} if self.format == "parquet" else ahead
        if hub.is_on_hub(self.path):
            file = remote.call_store(lambda: hub.opened(fs, path, **caching), self.path, "read", InputError)
        else:
            file = remote.call_store(lambda: fs.open(path, "rb", **caching), self.path, "read", InputError)
        return cast(BinaryIO, remote.RemoteFile(file, self.path, InputError))

    def size(self) -> int:
        """Bytes as stored (compressed)."""
        return os.stat(self.path).st_size if self.is_local else int(self._info()["size"] or 0)

    def _info(self, *, is_fresh: bool = False) -> Any:
        fs, path = remote.filesystem(self.path)
        # A commit never changes, and a listing of its folder is one request per 1,000 files.
        if is_fresh and not hub.is_pinned(self.path):
            fs.invalidate_cache()
        return remote.call_store(lambda: fs.info(path), self.path, "read", InputError)

    def identity(self) -> dict[str, Any] | None:
        """Values that are equal as long as the file is unchanged; None if an object store has nothing better than a size.
        The inode change time of a local file cannot be set back, so an edit is never overlooked."""
        if self.is_local:
            stat = os.stat(self.path)
            return {
                "size": stat.st_size,
                "mtime_ns": stat.st_mtime_ns,
                "ctime_ns": stat.st_ctime_ns,
                "inode": stat.st_ino,
            }
        info = self._info(is_fresh=True)
        marks = {
            k: str(info[k])
            for k in ("ETag", "etag", "LastModified", "mtime", "updated", "generation", "blob_id")
            if info.get(k)
        }
        return {"size": info["size"], **marks} if marks else None
