"""Line formats: cut a stream of lines into chunks, and read the lines of one chunk.

Input is bytes split on newlines. A line belongs to the chunk that holds its first byte, so chunks depend on the file
and `chunk_bytes` only. Memory is bounded by a block and `max_line_bytes`, whatever the file.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import xxhash

from tagcorpus.pipelines.inputs.chunks import Chunk, misplanned
from tagcorpus.pipelines.inputs.input_files import InputFile
from tagcorpus.pipelines.inputs.signatures import BOM
from tagcorpus.pipelines.inputs.streams import BLOCK_BYTES, ByteStream, Damaged

NEWLINE = ord("\n")
HEAD_BYTES = 256


class Line(NamedTuple):
    """One line without its newline. `is_too_long`: `data` has only its first bytes."""

    row: int
    offset: int
    data: bytes
    is_too_long: bool = False


def index(
    file: InputFile, chunk_bytes: int, start: int = 0, stop: int | None = None, max_rows: int | None = None
) -> list[Chunk]:
    """Chunks of the lines whose first byte lies in [start, stop). `first_row` counts from the first of these lines; the
    plan shifts it when it joins the segments of a file. `max_rows` ends the last chunk after that many lines."""
    stream = ByteStream(file)
    try:
        stream.seek(max(start - 1, 0))
        return list(_cut(stream, chunk_bytes, start, stop, max_rows))
    finally:
        stream.close()


def _cut(stream: ByteStream, chunk_bytes: int, start: int, stop: int | None, max_rows: int | None) -> Iterator[Chunk]:
    position = stream.position
    # A segment in the middle of a file begins after the end of the line that runs into it.
    is_inside = position == start
    begin, first_row, rows, last_byte = position, 0, 0, NEWLINE
    digest = xxhash.xxh3_128()
    whole, whole_digest = position, digest.copy()  # up to the last newline, where a broken stream is cut
    broken = ""
    while True:
        try:
            block = stream.read(BLOCK_BYTES)
        except Damaged as error:
            broken, block = str(error), b""
        if not block:
            break
        while block:
            if not is_inside:
                cut = block.find(b"\n") + 1
                if cut == 0:
                    position += len(block)
                    break
                position += cut
                block, begin, is_inside = block[cut:], position, True
                if stop is not None and position >= stop:
                    return
                continue
            limit = (begin // chunk_bytes + 1) * chunk_bytes
            if stop is not None:
                limit = min(limit, stop)
            # The chunk ends with the first line that reaches the limit, so look for newlines from limit - 1 on.
            cut = len(block)
            if position + len(block) >= limit:
                newline = block.find(b"\n", max(limit - 1 - position, 0))
                cut = newline + 1 if newline >= 0 else len(block)
            part = block[:cut]
            count = _newlines(part)
            if max_rows is not None and first_row + rows + count >= max_rows:
                part = part[: _nth_newline(part, max_rows - first_row - rows) + 1]
                digest.update(part)
                yield Chunk(begin, position + len(part), first_row, max_rows - first_row, digest.hexdigest())
                return
            rows += count
            last_byte = part[-1]
            tail = part.rfind(b"\n") + 1
            view = memoryview(part)
            if tail:
                digest.update(view[:tail])
                whole, whole_digest = position + tail, digest.copy()
            digest.update(view[tail:])
            position += len(part)
            block = block[cut:]
            if last_byte == NEWLINE and position >= limit:
                yield Chunk(begin, position, first_row, rows, digest.hexdigest())
                begin, first_row, rows, digest = position, first_row + rows, 0, xxhash.xxh3_128()
                whole_digest = digest.copy()
                if stop is not None and position >= stop:
                    return
    if broken:
        yield Chunk(begin, whole, first_row, rows, whole_digest.hexdigest(), broken=broken)
    elif is_inside and (position > begin or begin == 0):
        yield Chunk(begin, position, first_row, rows + (last_byte != NEWLINE), digest.hexdigest())


def read(stream: ByteStream, chunk: Chunk, max_line_bytes: int, where: str) -> Iterator[Line]:
    """The lines of a chunk. Raises IncompleteError when their bytes are not those that were planned."""
    row, offset = chunk.first_row, chunk.start
    carry: list[bytes] = []
    carried = 0
    for block in proven_blocks(stream, chunk, where):
        parts = block.split(b"\n")
        last = parts.pop()
        for part in parts:
            if carried or offset == 0 or len(part) > max_line_bytes:
                yield _line(row, offset, carry, carried, part, max_line_bytes)
                offset += carried
                carry, carried = [], 0
            else:
                yield Line(row, offset, part)
            offset += len(part) + 1
            row += 1
        if last:
            carry.append(last)
            carried += len(last)
            if carried > max_line_bytes:  # only the head of such a line is kept
                carry = [head_of(carry)]
    if carried:
        yield _line(row, offset, carry, carried, b"", max_line_bytes)


def proven_blocks(stream: ByteStream, chunk: Chunk, where: str) -> Iterator[bytes]:
    """The bytes of a chunk. Raises IncompleteError after the last of them if they are not those that were planned."""
    stream.seek(chunk.start)
    stream.read_up_to(chunk.end)
    digest, left = xxhash.xxh3_128(), chunk.end - chunk.start
    while left > 0:
        try:
            block = stream.read(min(BLOCK_BYTES, left))
        except Damaged:
            block = b""
        if not block:
            break
        digest.update(block)
        left -= len(block)
        yield block
    if left or digest.hexdigest() != chunk.digest:
        raise misplanned(where)


def _line(row: int, offset: int, carry: list[bytes], carried: int, part: bytes, max_line_bytes: int) -> Line:
    size = carried + len(part)
    if size > max_line_bytes:
        return Line(row, offset, head_of([*carry, part]), is_too_long=True)
    data = b"".join([*carry, part]) if carry else part
    if offset == 0 and data.startswith(BOM):
        data = data[len(BOM) :]
    return Line(row, offset, data)


def head_of(pieces: list[bytes]) -> bytes:
    """The first HEAD_BYTES of the joined pieces, without joining all of them."""
    return b"".join(piece[:HEAD_BYTES] for piece in pieces)[:HEAD_BYTES]


def _newlines(block: bytes) -> int:
    return int(np.count_nonzero(np.frombuffer(block, np.uint8) == NEWLINE))


def _nth_newline(block: bytes, n: int) -> int:
    return int(np.flatnonzero(np.frombuffer(block, np.uint8) == NEWLINE)[n - 1])
