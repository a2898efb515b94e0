"""The quarantine lines of one chunk: in memory while they are few, else in a temporary file."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterable, Iterator
from typing import IO, Any, BinaryIO

import orjson
import xxhash

from tagcorpus.errors import OutputError

MEMORY_BYTES = 4 << 20


class Quarantine:
    """JSON lines in the order in which they were added."""

    def __init__(self, entries: Iterable[dict[str, Any]] = ()) -> None:
        # Closed when it is collected, since nobody closes the quarantine of a chunk that fails.
        self._file: IO[bytes] = tempfile.SpooledTemporaryFile(MEMORY_BYTES)  # noqa: SIM115
        self._n = 0
        self._digest = xxhash.xxh3_128()
        for entry in entries:
            self.append(entry)

    def append(self, entry: dict[str, Any]) -> None:
        """Raises OutputError where the temporary folder is full."""
        line = orjson.dumps(entry) + b"\n"
        self._digest.update(line)
        self._n += 1
        try:
            self._file.write(line)
        except OSError as error:
            raise OutputError(
                f"quarantined rows could not be kept in {tempfile.gettempdir()} ({error.strerror or error}). Free some space, or "
                "name another folder in TMPDIR"
            ) from error

    @property
    def digest(self) -> str:
        """xxh3-128 of the lines."""
        return str(self._digest.hexdigest())

    def copy_to(self, sink: BinaryIO) -> None:
        self._file.seek(0)
        shutil.copyfileobj(self._file, sink)

    def __len__(self) -> int:
        return self._n

    def __iter__(self) -> Iterator[dict[str, Any]]:
        self._file.seek(0)
        return map(orjson.loads, self._file)


def damage_in(data: bytes | None) -> str:
    """Why a file is broken, from the quarantine lines of a chunk; empty if they do not say."""
    lines = (data or b"").splitlines()
    entry = orjson.loads(lines[-1]) if lines else {}
    return str(entry.get("message", "")) if entry.get("reason") == "broken_file" else ""
