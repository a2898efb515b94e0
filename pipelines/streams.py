"""Decompressed bytes of a file from any offset on. Damage is reported where it is met, never swallowed.

Offsets of .gz and .zst files count in the decompressed stream: going back means starting again, going forward means
decompressing and discarding. A stream stays open between neighbouring ranges, so reading on costs nothing.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO

from tagcorpus.pipelines.inputs import InputFile

BLOCK_BYTES = 1 << 20
# Small, because everything that one feed decompresses to stands in memory at once, and because what a damaged feed
# would have given is lost: the same feeds in index and reading make both see the same break.
FEED_BYTES = 1 << 15


class Damaged(Exception):
    """The compressed stream breaks off or is corrupt from here on."""


class ByteStream:
    """Sequential reading with forward seeks. `read(n)` gives n bytes, fewer only at the end."""

    def __init__(self, file: InputFile) -> None:
        self.file = file
        self._open()

    def _open(self) -> None:
        self._raw = self.file.open()
        self.position = 0
        self._rest = memoryview(b"")
        self._chunks = _inflate(self._raw, self.file.compression) if self.file.compression else None

    def close(self) -> None:
        self._raw.close()

    def seek(self, offset: int) -> None:
        if self._chunks is None:
            self._raw.seek(offset)
            self.position = offset
            return
        if offset < self.position:
            self.close()
            self._open()
        while self.position < offset:
            if not self.read(min(BLOCK_BYTES, offset - self.position)):
                break

    def read(self, n: int) -> bytes:
        """Raises Damaged when the stream breaks before a single byte could be given."""
        if self._chunks is None:
            data = self._raw.read(n)
            self.position += len(data)
            return data
        parts: list[bytes] = []
        wanted = n
        while wanted > 0:
            if not self._rest:
                try:
                    self._rest = memoryview(next(self._chunks, b""))
                except Damaged as error:
                    if not parts:
                        raise
                    self._chunks = _raising(error)  # first what came before the break, then the break
                    break
                if not self._rest:
                    break
            part = bytes(self._rest[:wanted])
            self._rest = self._rest[len(part) :]
            parts.append(part)
            wanted -= len(part)
        data = b"".join(parts)
        self.position += len(data)
        return data


def _raising(error: Damaged) -> Iterator[bytes]:
    raise error
    yield b""  # type: ignore[unreachable]  # makes this a generator


def _inflate(raw: BinaryIO, compression: str) -> Iterator[bytes]:
    make = _gzip_decoder if compression == "gz" else _zstd_decoder
    decoder: Any = None
    while chunk := raw.read(FEED_BYTES):
        while chunk:
            if decoder is None:
                chunk = chunk.lstrip(b"\0") if compression == "gz" else chunk
                if not chunk:
                    break
                decoder = make()
            try:
                out = decoder.decompress(chunk)
            except Exception as error:
                raise Damaged(f"damaged {compression} stream: {error}") from error
            if out:
                yield out
            chunk = b""
            if decoder.eof:
                # Several members or frames in one file follow each other.
                chunk, decoder = decoder.unused_data, None
    if decoder is not None:
        raise Damaged(f"the {compression} stream ends in the middle of a frame")


_gzip_decoder: Callable[[], Any] = lambda: zlib.decompressobj(wbits=31)  # noqa: E731


def _zstd_decoder() -> Any:
    import zstandard

    return zstandard.ZstdDecompressor(max_window_size=1 << 31).decompressobj()
