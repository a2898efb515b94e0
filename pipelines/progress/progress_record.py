"""A worker's progress record: its rows in flight and its finished rows. The launcher can read it even after a kill -9.

The record is a few integers in a small memory-mapped file, or in plain memory if the launcher itself does the work. So it
needs no queue, no lock and no live worker.
"""

from __future__ import annotations

import mmap
import os
import struct
import threading
from dataclasses import astuple, dataclass

_LAYOUT = struct.Struct("<7q")


class Stopped(BaseException):
    """Raised in a thread whose run has ended, when it next writes its progress."""


@dataclass
class ProgressRecord:
    """rank                 the chunk in work; -1 for none
    rows, n_bytes        finished rows of this chunk, and bytes of their text
    first_row, last_row  rows in flight
    pid                  the worker
    count                number of writes so far"""

    rank: int = -1
    rows: int = 0
    n_bytes: int = 0
    first_row: int = -1
    last_row: int = -1
    pid: int = 0
    count: int = 0


class ProgressWriter:
    """Written by one worker, read by the launcher."""

    def __init__(self, path: str | None = None) -> None:
        self.record = ProgressRecord(pid=os.getpid())
        self._map: mmap.mmap | None = None
        self._is_stopped = False
        if path is not None:
            with open(path, "r+b") as file:
                self._map = mmap.mmap(file.fileno(), _LAYOUT.size)
        self._write()

    @staticmethod
    def create(path: str) -> None:
        with open(path, "wb") as file:
            file.write(_LAYOUT.pack(*astuple(ProgressRecord())))

    @staticmethod
    def read(path: str) -> ProgressRecord:
        """The last record; an empty one if the worker is gone or has not started."""
        try:
            with open(path, "rb") as file:
                return ProgressRecord(*_LAYOUT.unpack(file.read(_LAYOUT.size)))
        except (FileNotFoundError, struct.error):
            return ProgressRecord()

    def stop(self) -> None:
        """Make the next `batch` or `done` raise Stopped. The launcher calls this."""
        self._is_stopped = True

    def start(self, rank: int) -> None:
        """Work on chunk `rank` begins (-1: none)."""
        count, pid = self.record.count, self.record.pid
        self.record = ProgressRecord(rank=rank, pid=pid, count=count)
        self._write()

    def batch(self, first_row: int, last_row: int) -> None:
        """Rows first_row..last_row are now in flight."""
        self._check()
        self.record.first_row, self.record.last_row = first_row, last_row
        self._write()

    def done(self, rows: int, n_bytes: int) -> None:
        """So many more rows and bytes of text are finished."""
        self._check()
        self.record.rows += rows
        self.record.n_bytes += n_bytes
        self._write()

    def _check(self) -> None:
        if self._is_stopped:
            raise Stopped

    def _write(self) -> None:
        self.record.count += 1
        if self._map is not None:
            _LAYOUT.pack_into(self._map, 0, *astuple(self.record))


_thread = threading.local()


def progress_writer() -> ProgressWriter:
    """The progress writer of this worker (one worker is one thread)."""
    writer: ProgressWriter | None = getattr(_thread, "writer", None)
    if writer is None:
        writer = _thread.writer = ProgressWriter()
    return writer


def set_progress_writer(writer: ProgressWriter) -> None:
    _thread.writer = writer
