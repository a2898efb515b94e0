"""JSON arrays of objects: the elements of an array, or of several one after another, as rows, in bounded memory.

Brackets show where elements end, so an element that is not JSON costs only its own row. A file is one chunk, since elements
can be told apart only from the beginning of the array. A file that breaks off within an element has a broken chunk.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import xxhash

from tagcorpus.pipelines.formats.lines import Line, head_of, proven_blocks
from tagcorpus.pipelines.inputs.chunks import Chunk
from tagcorpus.pipelines.inputs.input_files import InputFile
from tagcorpus.pipelines.inputs.streams import BLOCK_BYTES, ByteStream, Damaged

# Files with a byte order mark may have been joined.
_BLANK = re.compile(rb"[\s\xef\xbb\xbf]*+")
_TO_MARK = re.compile(rb'[^,"\[\]{}]*+')
# Passes over whole strings, so that a flat object takes one step.
_TO_BRACKET = re.compile(rb'(?:[^"\[\]{}]++|"[^"\\]*+(?:\\.[^"\\]*+)*+")*+', re.DOTALL)
_IN_STRING = re.compile(rb'[^"\\]*+(?:\\.[^"\\]*+)*+', re.DOTALL)


def index(file: InputFile, max_rows: int | None = None) -> list[Chunk] | None:
    """The chunk of all elements, or of the first `max_rows`. None if the array is one line and an object is on a later
    line: then the file is JSON lines."""
    stream = ByteStream(file)
    scanner, digest = _Scanner(0), xxhash.xxh3_128()
    position = rows = whole = 0
    whole_digest = digest.copy()  # as of the last whole element
    newline, broken = -1, ""
    try:
        while not scanner.has_more_than_arrays:
            try:
                block = stream.read(BLOCK_BYTES)
            except Damaged as error:
                broken = str(error)
                break
            if not block:
                break
            if newline < 0 and (at := block.find(b"\n")) >= 0:
                newline = position + at
            cut = 0
            for cut, _ in scanner.feed(block):
                rows += 1
                if rows == max_rows:
                    digest.update(block[:cut])
                    return [Chunk(0, position + cut, 0, rows, digest.hexdigest())]
            if cut:
                digest.update(block[:cut])
                whole, whole_digest = position + cut, digest.copy()
            digest.update(block[cut:])
            position += len(block)
    finally:
        stream.close()
    if scanner.has_more_than_arrays:
        if scanner.first_end <= newline < scanner.more and scanner.is_more_an_object:
            return None
        broken = "something else than another array is behind the end of the array"
    elif not broken and scanner.depth:
        broken = f"the array is not closed: it breaks off in or behind element {rows:,}"
    if broken:
        return [Chunk(0, whole, 0, rows, whole_digest.hexdigest(), broken=broken)]
    return [Chunk(0, position, 0, rows, digest.hexdigest())]


def read(stream: ByteStream, chunk: Chunk, max_line_bytes: int, where: str) -> Iterator[Line]:
    """The elements of a chunk. Raises IncompleteError when their bytes are not those that were planned."""
    scanner = _Scanner(max_line_bytes)
    for block in proven_blocks(stream, chunk, where):
        for _, element in scanner.feed(block):
            yield element


class _Scanner:
    """Takes a file block by block, and gives each element with the position after it in the block.

    depth                 0: outside of an array; 1: between its elements; above: within brackets of an element
    first_end             offset of the first array's closing bracket
    has_more_than_arrays  something that is not an array follows, at the offset `more`; no more elements are given
    """

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self.depth, self.first_end, self.has_more_than_arrays = 0, -1, False
        self.more, self.is_more_an_object = -1, False
        self._row = self._offset = 0  # row of the next element; offset of the block
        self._is_in_string = self._is_escaped = self._has_elements = False
        self._pieces: list[bytes] = []  # bytes of the current element; only the head of a long one
        self._size = self._start = 0  # size of the current element so far, and its offset
        self._is_blank = True

    def feed(self, block: bytes) -> Iterator[tuple[int, Line]]:
        position, begin, n = int(self._is_escaped), 0, len(block)
        self._is_escaped = False
        while position < n:
            if self._is_in_string:
                position = _IN_STRING.match(block, position).end()  # type: ignore[union-attr]
                if position < n:
                    self._is_in_string = block[position] != 0x22
                    self._is_escaped = self._is_in_string  # a backslash ends the block
                    position += 1
                continue
            if self.depth == 0:
                position = _BLANK.match(block, position).end()  # type: ignore[union-attr]
                if position < n:
                    if block[position] != 0x5B:
                        self.has_more_than_arrays, self.more = True, self._offset + position
                        self.is_more_an_object = block[position] == 0x7B
                        break
                    position += 1
                    begin, self._start = position, self._offset + position
                    self.depth, self._has_elements = 1, False
                continue
            step = _TO_MARK if self.depth == 1 else _TO_BRACKET
            position = step.match(block, position).end()  # type: ignore[union-attr]
            if position == n:
                break
            mark = block[position]
            position += 1
            if mark == 0x22:
                self._is_in_string = True
            elif mark in b"[{":
                self.depth += 1
            elif self.depth > 1:
                self.depth -= mark != 0x2C
            else:  # a comma, or the array's end
                self._add(block[begin : position - 1])
                is_end = mark != 0x2C
                if not is_end or self._has_elements or not self._is_blank:
                    self._has_elements = True
                    yield position, self._element()
                begin = position
                self._pieces, self._size, self._is_blank, self._start = [], 0, True, self._offset + position
                if is_end:
                    self.depth = 0
                    self.first_end = self.first_end if self.first_end >= 0 else self._offset + position - 1
        if self.depth:
            self._add(block[begin:])
        self._offset += n

    def _add(self, piece: bytes) -> None:
        self._size += len(piece)
        self._is_blank = self._is_blank and not piece.strip()
        self._pieces.append(piece)
        if self._size > self.max_bytes:  # only the head is kept
            self._pieces = [head_of(self._pieces)]

    def _element(self) -> Line:
        data = b"".join(self._pieces)
        offset = self._start + len(data) - len(data.lstrip())
        self._row += 1
        return Line(self._row - 1, offset, data.strip(), self._size > self.max_bytes)
