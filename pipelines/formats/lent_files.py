"""Files of an object store for the reader process. Their owner opens and reads them; the reader process asks for bytes.

Clients of object stores have threads and connections, which a forked process must not use. So the network stays in the
owner's process, and only the native reader, which may crash, is in the other.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO, cast

from tagcorpus.pipelines.inputs.input_files import InputFile

Ask = Callable[..., Any]
"""Sends a request to the owner and returns the answer, or raises the owner's error."""


class Lender:
    """The owner's side: `answer` serves the requests of the reader process."""

    def __init__(self) -> None:
        self._files: dict[str, InputFile] = {}
        self._open: dict[int, BinaryIO] = {}
        self._next = 0

    def lend(self, arguments: Sequence[Any]) -> list[Any]:
        """The arguments, with stand-ins for files of an object store."""
        return [self._lent(a) if isinstance(a, InputFile) and not a.is_local else a for a in arguments]

    def _lent(self, file: InputFile) -> LentFile:
        self._files[file.path] = file
        return LentFile(file.name, file.path, file.format, file.compression)

    def answer(self, action: str, *arguments: Any) -> Any:
        if action == "identity":
            return self._files[arguments[0]].identity()
        if action == "open":
            self._next += 1
            self._open[self._next] = file = self._files[arguments[0]].open()
            return self._next, file.seek(0, 2)
        number, *rest = arguments
        if action == "close":
            return self._open.pop(number).close()
        offset, n = rest
        self._open[number].seek(offset)
        return self._open[number].read(n)


@dataclass(frozen=True)
class LentFile(InputFile):
    """An input file as the reader process sees it."""

    def open(self) -> BinaryIO:
        return cast(BinaryIO, LentStream(*_ask("open", self.path)))

    def identity(self) -> dict[str, Any] | None:
        return cast("dict[str, Any] | None", _ask("identity", self.path))


class LentStream(io.BufferedIOBase):
    """The owner's open file number `number`, of `size` bytes."""

    def __init__(self, number: int, size: int) -> None:
        self._number, self._size, self._position = number, size, 0

    def read(self, size: int | None = -1, /) -> bytes:
        n = self._size - self._position if size is None or size < 0 else size
        data: bytes = _ask("read", self._number, self._position, n) if n > 0 else b""
        self._position += len(data)
        return data

    def seek(self, offset: int, whence: int = 0, /) -> int:
        self._position = offset + (0, self._position, self._size)[whence]
        return self._position

    def tell(self) -> int:
        return self._position

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def close(self) -> None:
        if not self.closed:
            _ask("close", self._number)
        super().close()


_ask: Ask


def ask_with(ask: Ask) -> None:
    """Set the function that asks this process's owner for bytes of lent files."""
    global _ask  # noqa: PLW0603 - a process has one owner
    _ask = ask
