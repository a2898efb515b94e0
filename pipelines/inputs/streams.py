"""Decompressed bytes of a file from any offset on. Damage is raised where it begins.

Offsets of compressed files count in the decompressed stream. Going back starts the stream again; going forward decompresses
and discards. A stream stays open between neighbouring chunks, so that reading on costs nothing.
"""

from __future__ import annotations

import bz2
import functools
import lzma
import zlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, BinaryIO

from tagcorpus.pipelines.inputs import signatures
from tagcorpus.pipelines.inputs.input_files import InputFile
from tagcorpus.pipelines.storage.remote import RemoteFile

BLOCK_BYTES = 1 << 20
# Compressed bytes that a decoder takes at once. All that one feed decompresses to is in memory at once: a kilobyte of well
# compressed zstd is 32 MiB of text. Feeds of a kilobyte cost a tenth more time than feeds of 32 KiB.
FEED_BYTES = 1 << 10


class Damaged(Exception):
    """The file breaks off or is corrupt from here on."""


class ByteStream:
    """Sequential reading with forward seeks. `read(n)` gives n bytes, fewer only at the end."""

    def __init__(self, file: InputFile, *, is_look: bool = False) -> None:
        self.file, self._is_look = file, is_look
        self._open()

    def _open(self) -> None:
        self.identity = self.file.identity() if self.file.compression else None
        self._raw = self.file.look() if self._is_look else self.file.open()
        self.position = 0
        self._rest = memoryview(b"")
        self._chunks = _inflate(self._raw, self.file.compression) if self.file.compression else None

    def close(self) -> None:
        self._raw.close()

    def read_up_to(self, end: int) -> None:
        """Nothing behind `end` will be read: an object store need not send it."""
        if isinstance(self._raw, RemoteFile) and self._chunks is None:
            self._raw.read_up_to(end)

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
        """Raises Damaged if the stream breaks before the first of these bytes."""
        if self._chunks is None:
            data = self._raw.read(n)
            self.position += len(data)
            return data
        parts: list[bytes] = []
        left = n
        while left > 0:
            if not self._rest:
                try:
                    self._rest = memoryview(next(self._chunks, b""))
                except Damaged as error:
                    if not parts:
                        raise
                    self._chunks = _raising(error)  # the next read raises
                    break
                if not self._rest:
                    break
            part = bytes(self._rest[:left])
            self._rest = self._rest[len(part) :]
            parts.append(part)
            left -= len(part)
        data = b"".join(parts)
        self.position += len(data)
        return data


def _raising(error: Damaged) -> Iterator[bytes]:
    raise error
    yield b""  # type: ignore[unreachable]  # makes this a generator


def _inflate(raw: BinaryIO, compression: str) -> Iterator[bytes]:
    make = _DECODERS[compression]
    decoder: Any = None
    read = begin = 0  # compressed bytes taken so far, and the start of the current frame
    while block := raw.read(BLOCK_BYTES):
        for i in range(0, len(block), FEED_BYTES):
            feed = block[i : i + FEED_BYTES]
            read += len(feed)
            while feed:
                if decoder is None:
                    # Archivers pad gzip members and xz streams with zeros.
                    feed = feed.lstrip(b"\0") if compression in ("gz", "xz") else feed
                    if not feed:
                        break
                    decoder, begin = make(), read - len(feed)
                try:
                    yield from _decompressed(decoder, feed)
                except Exception as error:
                    yield from _rescued(raw, make(), begin, read - len(feed), feed)
                    raise Damaged(f"damaged {compression} stream: {error}") from error
                feed = b""
                if decoder.eof:
                    # Several members or frames in one file follow each other.
                    feed, decoder = decoder.unused_data, None
    if decoder is not None:
        raise Damaged(f"the {compression} stream ends in the middle of a frame")


def _decompressed(decoder: Any, feed: bytes) -> Iterator[bytes]:
    """The bytes that a feed decompresses to. Those of bz2 and xz come in blocks, since a kilobyte may hold a gigabyte."""
    if not isinstance(decoder, _BOUNDED):
        if out := decoder.decompress(feed):
            yield out
        return
    while True:
        if out := decoder.decompress(feed, BLOCK_BYTES):
            yield out
        if decoder.eof or decoder.needs_input:
            return
        feed = b""


def _rescued(raw: BinaryIO, decoder: Any, begin: int, bad: int, feed: bytes) -> Iterator[bytes]:
    """The decompressed bytes before the damage in the feed at offset `bad`. A decoder that fails gives nothing, so the
    frame is decoded again, and its last feed byte by byte."""
    raw.seek(begin)
    while begin < bad:
        n = min(FEED_BYTES, bad - begin)
        for _ in _decompressed(decoder, raw.read(n)):
            pass
        begin += n
    for i in range(len(feed)):
        try:
            yield from _decompressed(decoder, feed[i : i + 1])
        except Exception:
            return


def recognised(file: InputFile) -> tuple[InputFile, str]:
    """The file with the format that its first bytes prove (a JSON array in a file of JSON), and the reason why it cannot be
    read as its name says; empty if it can."""
    with file.look() as raw:
        head = raw.read(signatures.HEAD_BYTES)
    problem = signatures.mismatch(head, file.format, file.compression)
    if file.compression and not problem:
        stream = ByteStream(file, is_look=True)
        try:
            head = stream.read(signatures.HEAD_BYTES)
        except Damaged:
            head = b""  # the reader reports the damage
        finally:
            stream.close()
        problem = signatures.mismatch(head, file.format)
    is_array = file.format == "jsonl" and not problem and signatures.begins_array(head)
    return (replace(file, format="json") if is_array else file), problem


def _zstd_decoder() -> Any:
    import zstandard

    return zstandard.ZstdDecompressor(max_window_size=1 << 31).decompressobj()


_DECODERS: dict[str, Callable[[], Any]] = {
    "gz": functools.partial(zlib.decompressobj, wbits=31),
    "zst": _zstd_decoder,
    "bz2": bz2.BZ2Decompressor,
    "xz": lzma.LZMADecompressor,
}
_BOUNDED = (bz2.BZ2Decompressor, lzma.LZMADecompressor)
