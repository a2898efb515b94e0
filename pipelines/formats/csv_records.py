"""CSV records, and chunks of them. Records may span lines, so the parser that reads a file also cuts it.

Parsing is strict: text behind a closing quote is an error. Row 0 is the first record after the header; blank lines before
the header are not rows. Two rules say which lines a bad record costs:

1. A quote that is never closed, or is followed by text, may be stray. It counts as stray if it swallowed at least
   STRAY_LINES lines and each of them is a record by itself. Then it costs only its own line.
2. Otherwise the record costs all the lines that it swallowed. It ends where a lenient parser ends it, which allows text
   after a closing quote and takes a quote after a backslash as text. A quote that is never closed ends with the file.

A record longer than the limit is read on, but not kept, to the line on which its quote closes. If its first line alone is
too long, the record ends with that line. A chunk ends after a stray quote, so that its reader need not know the lines that
follow. A chunk also ends after a record that rule 2 ends before the line that proved it bad.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import xxhash

from tagcorpus.pipelines.formats.csv_lines import CsvLines, TooLong
from tagcorpus.pipelines.formats.csv_quotes import SINGLE_QUOTES, is_single_quoted
from tagcorpus.pipelines.formats.lines import HEAD_BYTES
from tagcorpus.pipelines.inputs.chunks import Chunk, misplanned
from tagcorpus.pipelines.inputs.input_files import DELIMITED, InputFile
from tagcorpus.pipelines.inputs.records import REASONS
from tagcorpus.pipelines.inputs.streams import ByteStream
from tagcorpus.pipelines.options.declaring.dialect import Dialect

# Raised when records or their costs change. Files are then cut anew; only chunks that are `is_new` get other digests.
CSV_VERSION = 2
STRAY_LINES = 10
# Chunks of a file that may end because of quotes.
CUTS_AT_MOST = 500


class CsvRecord(NamedTuple):
    """One record. `fields` is None if there is a `problem`: too_long, unclosed_quote or bad_csv. `raw` has its first bytes,
    and `lines` the number of its lines."""

    row: int
    offset: int
    raw: bytes
    fields: list[str] | None
    problem: str = ""
    lines: int = 1
    ends_chunk: bool = False

    def first_line(self) -> bytes:
        """The record's bytes, where `raw` has them all."""
        return self.raw if self.lines == 1 and self.raw.endswith(b"\n") else b""

    def message(self) -> str:
        """The details that its entry in quarantine has besides the reason."""
        sentences = [f"it takes {self.lines:,} lines of the file"] if self.lines > 1 else []
        if self.problem == "bad_csv" and b'\\"' in self.raw:
            sentences.append("for quotes that a backslash escapes, say --set 'csv.escape=\\'")
        return "; ".join(sentences)


CR_ONLY = "its lines end in a carriage return alone. Convert it: tr '\\r' '\\n' < OLD > NEW"


def header(file: InputFile, max_line_bytes: int, dialect: Dialect = Dialect()) -> tuple[list[str], int]:  # noqa: B008
    """Column names, and the offset of the first byte after the header record."""
    names, end, _ = _header(file, max_line_bytes, dialect.of(file.format))
    return names, end


def _header(file: InputFile, max_line_bytes: int, dialect: Dialect) -> tuple[list[str], int, str]:
    """As `header`, and the problem of a bad header record, which gives no names."""
    stream = ByteStream(file)
    try:
        lines = CsvLines(stream, 0, None, max_line_bytes, dialect)
        first = next((r for r in _Records(lines) if r.fields != []), None)
        problem = first.problem if first and not lines.broken else ""
        fields = (first.fields if first else None) or []
        return [n.encode("latin-1").decode("utf-8", "replace") for n in fields], lines.position, problem
    finally:
        stream.close()


def index(
    file: InputFile,
    chunk_bytes: int,
    max_line_bytes: int,
    max_rows: int | None = None,
    dialect: Dialect = Dialect(),  # noqa: B008
) -> list[Chunk]:
    """Chunks of whole records, about `chunk_bytes` each. A digest covers the column names and the chunk's bytes. A bad
    header gives one broken chunk."""
    names, start, problem = _header(file, max_line_bytes, dialect.of(file.format))
    if problem:
        message = f"the header cannot be read ({problem}: {REASONS[problem]})"
        return [Chunk(0, 0, 0, 0, _digest_of(names, dialect).hexdigest(), broken=message)]
    stream = ByteStream(file)
    try:
        lines = CsvLines(stream, start, None, max_line_bytes, dialect.of(file.format))
        lines.digest = _digest_of(names, dialect)
        records = _Records(lines, len(names), CUTS_AT_MOST)
        chunks: list[Chunk] = []
        begin, first_row, row, end = start, 0, 0, start

        def cut(broken: str = "") -> Chunk:
            return Chunk(begin, end, first_row, row - first_row, records.digest(), broken=broken)

        for record in records:
            if lines.broken:
                break  # the damage cut this record off
            if row == 0 and is_single_quoted(record.first_line() + lines.rest(), len(names), lines.dialect):
                return [Chunk(0, 0, 0, 0, _digest_of(names, dialect).hexdigest(), broken=SINGLE_QUOTES)]
            row, end = record.row + 1, lines.position
            if end >= (begin // chunk_bytes + 1) * chunk_bytes or row == max_rows or record.ends_chunk:
                chunks.append(cut())
                begin, first_row = end, row
                lines.digest, records.is_new = _digest_of(names, dialect), False
            if row == max_rows:
                return chunks
        if lines.broken or row > first_row or not chunks:
            is_one_line = row == 0 and any("\r" in name for name in names)
            chunks.append(cut(lines.broken or (CR_ONLY if is_one_line else "")))
        return chunks
    finally:
        stream.close()


def read(
    stream: ByteStream,
    chunk: Chunk,
    max_line_bytes: int,
    where: str,
    dialect: Dialect = Dialect(),  # noqa: B008
) -> Iterator[CsvRecord]:
    """The records of a chunk. Raises IncompleteError when their bytes are not those that were planned."""
    own = dialect.of(stream.file.format)
    names = header(stream.file, max_line_bytes, dialect)[0]
    lines = CsvLines(stream, chunk.start, chunk.end, max_line_bytes, own)
    lines.digest = _digest_of(names, dialect)
    records = _Records(lines, first_row=chunk.first_row)
    for record in records:
        # The header of a second file, with a byte order mark, that was joined to the first is not a record.
        if lines.has_mark and record.fields == [n.encode().decode("latin-1") for n in names]:
            yield record._replace(fields=[])
        else:
            yield record
    if lines.position != chunk.end or records.digest() != chunk.digest:
        raise misplanned(where)


def delimiter_hint(format_: str, names: Iterable[str], dialect: Dialect) -> str:
    """For a CSV file without a text column: the other delimiter that its header holds, and the setting; else empty."""
    if format_ not in DELIMITED:
        return ""
    if (names := list(names)) and all(len(name) > 1 and name[0] == name[-1] == "'" for name in names):
        return ". The header's names are in single quotes: say --set \"csv.quote='\""
    used, others = dialect.of(format_).delimiter, {";": ";", "\t": "\\t", "|": "|", ",": ","}
    hint = next((name_of for c, name_of in others.items() if c != used and any(c in name for name in names)), "")
    return f". The header holds '{hint}': is it the delimiter? Say --set 'csv.delimiter={hint}'" if hint else ""


def _digest_of(names: list[str], dialect: Dialect) -> Any:
    digest = xxhash.xxh3_128(repr(names).encode("utf-8", "surrogatepass"))
    if options := dialect.fingerprint():
        digest.update(repr(options).encode())
    return digest


class _Records:
    """Records one after another. `is_new`: version 1 read one of them otherwise.

    n_columns   columns of the header; with fewer than 2, no line can be proved to be a record by itself
    n_cuts      records that may end before a line that was already parsed
    """

    def __init__(self, lines: CsvLines, n_columns: int = 0, n_cuts: int = 0, first_row: int = 0) -> None:
        self.lines, self.n_cuts, self.first_row = lines, n_cuts, first_row
        self.is_new = False
        self._strict, self._lenient = _reader(lines, lines.dialect, True), _reader(lines, lines.dialect, False)
        self._is_record = _record_of(n_columns, lines.dialect)

    def digest(self) -> str:
        """The digest of the bytes since the last cut."""
        return str(self.lines.digest.hexdigest()) + ("-strict" if self.is_new else "")

    def __iter__(self) -> Iterator[CsvRecord]:
        lines, row = self.lines, self.first_row - 1
        while True:
            lines.start_record()
            row += 1
            try:
                fields = next(self._strict)
            except StopIteration:
                return
            except (TooLong, csv.Error) as error:
                yield self._after(error, row)
                continue
            self.is_new |= lines.has_mark and lines.record_start > 0
            taken = lines.taken
            head = taken[0][:HEAD_BYTES] if len(taken) == 1 else lines.head()
            lines.settle()
            fields = fields if lines.is_plain else lines.restored(fields)
            yield CsvRecord(row, lines.record_start, head, fields, "", len(taken))

    def _after(self, error: Exception, row: int) -> CsvRecord:
        """The record in which strict parsing stopped."""
        lines, fields, problem = self.lines, None, self._problem(error)
        if problem == "bad_csv" and lines.has_lone_return():
            lines.go_back()
            lines.read_as(lines.dialect.escape, is_careful=True)
            try:
                fields, problem = lines.restored(next(self._strict)), ""
                self.is_new = True
            except (TooLong, csv.Error) as again:
                problem = self._problem(again)
        n_lines, ends_chunk = len(lines.taken) + lines.is_giant, False
        if problem and not lines.broken:
            problem, n_lines, ends_chunk = self._cost(problem, n_lines)
            self.is_new |= problem != "too_long" and lines.has_lone_return()
        head = lines.head()
        if not lines.broken:
            lines.settle()
        return CsvRecord(row, lines.record_start, head, fields, problem, n_lines, ends_chunk)

    def _problem(self, error: Exception) -> str:
        if isinstance(error, TooLong):
            return "too_long"
        return "unclosed_quote" if self.lines.has_ended else "bad_csv"

    def _cost(self, problem: str, n_lines: int) -> tuple[str, int, bool]:
        """The problem, the number of lines that a bad record costs, and whether its chunk must end with it. Reading goes on
        with the line after the record."""
        lines = self.lines
        if lines.is_giant or (n_lines == 1 and problem != "bad_csv"):
            return problem, n_lines, False
        swallowed = lines.taken[1:] if problem == "unclosed_quote" else lines.taken[1:-1]
        if self.n_cuts and self._is_record and len(swallowed) >= STRAY_LINES and all(map(self._is_record, swallowed)):
            self.n_cuts -= 1
            lines.go_back(1)
            return "unclosed_quote", 1, True
        if problem == "bad_csv":
            end = self._lenient_end(n_lines)
            if end < n_lines and self.n_cuts:
                self.n_cuts -= 1
                self.is_new |= end > 1
                return "unclosed_quote", end, True
            if end < n_lines:
                lines.go_back()
                for _ in range(n_lines):
                    next(lines)
            n_lines = max(end, n_lines)
        self.is_new = True
        return self._skip(n_lines) if problem == "too_long" else (problem, n_lines, False)

    def _lenient_end(self, n_lines: int) -> int:
        """Take the lines of a bad record up to the end that lenient parsing finds, and return their number."""
        lines = self.lines
        escapes = [lines.dialect.escape]
        if not lines.dialect.escape and any(b'\\"' in line for line in lines.taken):
            escapes = ["\\", ""]
        for escape in escapes:
            lines.go_back()
            lines.read_as(escape, is_careful=True)
            try:
                next(self._lenient)
            except TooLong:
                if lines.is_giant:
                    return len(lines.taken) + 1
                continue
            if not lines.has_ended:
                return len(lines.taken)
        lines.go_back()
        for _ in range(n_lines):
            next(lines)
        return n_lines

    def _skip(self, n_lines: int) -> tuple[str, int, bool]:
        """Pass over the rest of a record that is too long, up to the line on which its quote closes."""
        lines = self.lines
        lines.read_as(lines.dialect.escape, is_careful=True)
        line = lines.disarmed(lines.taken[-1].decode("latin-1"))
        lines.keep_head()
        while _stays_open(line, lines.dialect):
            lines.settle()
            try:
                line = next(lines)
            except TooLong:
                n_lines += 1
                if lines.is_giant:
                    break
                line = lines.disarmed(lines.taken[-1].decode("latin-1"))
            except StopIteration:
                return "unclosed_quote", n_lines, False
        return "too_long", n_lines, False


def _reader(lines: Iterator[str], dialect: Dialect, is_strict: bool) -> Any:
    return csv.reader(
        lines,
        delimiter=dialect.delimiter,
        quotechar=dialect.quote or None,
        quoting=csv.QUOTE_MINIMAL if dialect.quote else csv.QUOTE_NONE,
        strict=is_strict,
    )


def _stays_open(line: str, dialect: Dialect) -> bool:
    """Whether a record that is inside quotes before this line is still inside quotes after it."""
    needs_more = False

    def given() -> Iterator[str]:
        nonlocal needs_more
        yield dialect.quote + line
        needs_more = True

    next(_reader(given(), dialect, False))
    return needs_more


def _record_of(n_columns: int, dialect: Dialect) -> Any:
    """A function that tests whether a line is a record of `n_columns` fields, with every quote in its place."""
    if n_columns < 2 or not dialect.quote:
        return None
    quote, delimiter, escape = (re.escape(c) for c in (dialect.quote, dialect.delimiter, dialect.escape))
    within = rf"[^{quote}{escape}]|{quote}{quote}" + (rf"|{escape}." if escape else "")
    field = rf"(?:{quote}(?:{within})*+{quote}|[^{quote}{delimiter}\r\n]*+)"
    pattern = re.compile(rf"{field}(?:{delimiter}{field}){{{n_columns - 1}}}\r?\n?".encode(), re.DOTALL)
    return lambda line: pattern.fullmatch(line) or not line.strip()
