"""Physical lines of a CSV file for the csv module, with a way back to the first line of the current record.

Bytes are decoded as Latin-1, which maps every byte to one character and back. So a field with bytes that are not UTF-8 costs
only its own row. Stand-ins beyond Latin-1 replace characters that the csv module must not act upon.
"""

from __future__ import annotations

import csv
import re
import sys
from typing import Any

import xxhash

from tagcorpus.pipelines.formats.lines import head_of
from tagcorpus.pipelines.inputs.signatures import BOM
from tagcorpus.pipelines.inputs.streams import BLOCK_BYTES, ByteStream, Damaged
from tagcorpus.pipelines.options.declaring.dialect import Dialect

# CsvLines keeps the limit, since it sees whole records. The limit of csv counts single fields, and all threads share it.
csv.field_size_limit(min(sys.maxsize, 2**31 - 1))

_RETURN = "\ue000"
_LONE_RETURN = re.compile(r"\r(?!\r*\n|\r*\Z)")
# Added to the code point of an escaped character, to move it beyond Latin-1.
_ESCAPED = 0xE100


class TooLong(Exception):
    """The current record is longer than the limit."""


class CsvLines:
    """An iterator of lines for csv.reader.

    position      end of the last line that was given out
    taken         lines of the current record, as bytes
    escape        a character that makes the quote after it text
    is_careful    whether a carriage return within a line is text
    is_plain      no escape and not careful, so that no stand-ins are needed
    is_giant      the last line alone is longer than the limit; only its head is kept, and there is no way back before it
    """

    def __init__(
        self, stream: ByteStream, start: int, end: int | None, max_record_bytes: int, dialect: Dialect
    ) -> None:
        stream.seek(start)
        self.stream, self.left = stream, None if end is None else end - start
        self.max_record_bytes, self.dialect = max_record_bytes, dialect
        self.position = self.record_start = self.start = start
        self.digest: Any = xxhash.xxh3_128()
        self.taken: list[bytes] = []
        self.limit = start + max_record_bytes
        self.broken = ""
        self.has_ended = False  # the parser asked for a line after the last one
        self.has_mark = False  # the record began with a byte order mark
        self.is_giant = False
        self.escape, self.is_careful = dialect.escape, False
        self.is_plain = not dialect.escape
        self._head = b""
        self._rest: list[bytes] = []  # whole lines of the last block, last one first
        self._tail = b""  # the beginning of the next line, from the last block

    def start_record(self) -> None:
        self.record_start, self.taken, self._head = self.position, [], b""
        self.limit = self.position + self.max_record_bytes
        self.has_mark = self.is_giant = False
        if self.is_careful:
            self.read_as(self.dialect.escape, is_careful=False)

    def read_as(self, escape: str, *, is_careful: bool) -> None:
        self.escape, self.is_careful = escape, is_careful
        self.is_plain = not (escape or is_careful)

    def go_back(self, kept: int = 0) -> None:
        """Give out the record's lines once more, except for the first `kept`."""
        again = self.taken[kept:]
        del self.taken[kept:]
        self._rest += reversed(again)
        self.position -= sum(map(len, again))
        self.has_ended = False

    def settle(self) -> None:
        """Add the record's lines to the digest. Afterwards there is no way back before them."""
        for line in self.taken:
            self.digest.update(line)
        self.taken = []

    def rest(self) -> bytes:
        """What is read of the file behind the current line: whole lines, and the last one where the file ends with it."""
        whole = b"".join(reversed(self._rest))
        has_all = self.position - self.start + len(whole) + len(self._tail) < BLOCK_BYTES
        return whole + self._tail if has_all else whole

    def keep_head(self) -> None:
        self._head = self._head or head_of(self.taken)

    def head(self) -> bytes:
        """The first bytes of the record."""
        return self._head or head_of(self.taken)

    def __iter__(self) -> CsvLines:
        return self

    def __next__(self) -> str:
        line = self._rest.pop() if self._rest else self._read_on()
        self.taken.append(line)
        self.position += len(line)
        if self.position > self.limit:
            raise TooLong
        if line[:3] == BOM and len(self.taken) == 1:
            self.has_mark = True
            line = line[3:]
        return line.decode("latin-1") if self.is_plain else self.disarmed(line.decode("latin-1"))

    def disarmed(self, text: str) -> str:
        """The line with stand-ins for special characters that are text."""
        if self.escape and self.escape in text:
            follow = {self.escape, self.dialect.quote or self.dialect.delimiter}
            pattern = f"{re.escape(self.escape)}([{''.join(map(re.escape, follow))}])"
            text = re.sub(pattern, lambda match: chr(_ESCAPED + ord(match[1])), text)
        return _LONE_RETURN.sub(_RETURN, text) if self.is_careful and "\r" in text else text

    def restored(self, fields: list[str]) -> list[str]:
        """Fields with what the stand-ins are for."""
        return [f if f.isascii() else _ARMED.sub(_original, f) for f in fields]

    def has_lone_return(self) -> bool:
        return any(b"\r" in line and _LONE_RETURN.search(line.decode("latin-1")) for line in self.taken)

    def _read_on(self) -> bytes:
        """The next line, out of the next block."""
        pieces, self._tail = [self._tail], b""
        size = len(pieces[0])
        while True:
            try:
                block = self.stream.read(BLOCK_BYTES if self.left is None else min(BLOCK_BYTES, self.left))
            except Damaged as error:
                self.broken, self.has_ended = str(error), True
                raise StopIteration from None
            if not block and self.is_giant:
                raise TooLong
            if not block:
                if not size:
                    self.has_ended = True
                    raise StopIteration
                return b"".join(pieces)
            if self.left is not None:
                self.left -= len(block)
            cut = block.find(b"\n") + 1
            piece = block[:cut] if cut else block
            pieces.append(piece)
            size += len(piece)
            if size > self.max_record_bytes:
                self._let_go(pieces)
                pieces = []
            if cut:
                *lines, self._tail = block[cut:].split(b"\n")
                self._rest = [part + b"\n" for part in reversed(lines)]
                if self.is_giant:
                    raise TooLong
                return b"".join(pieces)

    def _let_go(self, pieces: list[bytes]) -> None:
        """Count the bytes read of a line that is too long to keep."""
        self.is_giant = True
        self._head = self._head or head_of([*self.taken, *pieces])
        self.settle()
        for piece in pieces:
            self.digest.update(piece)
            self.position += len(piece)


_ARMED = re.compile(f"[{_RETURN}{chr(_ESCAPED)}-{chr(_ESCAPED + 0x7F)}]")


def _original(match: re.Match[str]) -> str:
    return "\r" if match[0] == _RETURN else chr(ord(match[0]) - _ESCAPED)
