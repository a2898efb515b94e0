"""Read a feature table (CSV) as it lies there: nothing is repaired, every oddity becomes a finding.

Rows and cells keep their text, so that what is told names what the file says. What the columns should be is not known
here (columns.py), nor what the values mean (check.py). Standard library only.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from tagcorpus.errors import InputError
from tagcorpus.predictor.records.findings import Finding, listed
from tagcorpus.predictor.records.plain_values import LARGEST, NUMBER, number

_MISSING_WORDS = {"nan", "na", "n/a", "#n/a", "<na>", "null", "none", "nil", "missing", "-", "?", "."}
_INFINITE_WORDS = {"inf", "infinity"}
_MAGIC = {
    b"PAR1": "a Parquet file",
    b"\x1f\x8b": "gzip",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"PK\x03\x04": "a zip or xlsx file",
}


@dataclass(frozen=True)
class Row:
    line: int
    cells: list[str]


@dataclass
class FeatureTable:
    """`header` and `rows` are empty where the file is no table at all; `findings` says why."""

    path: str
    header: list[str] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)

    def texts(self, column: str) -> list[str]:
        """The column's cells, one a row; of columns with the same name the first one's."""
        at = self.header.index(column)
        return [row.cells[at] for row in self.rows]


def decimals(texts: Iterable[str]) -> int:
    """Decimals of the most precise number among cells, zeros at the end left out; 0 where there is none."""
    return max((_decimals(v) for text in texts if (v := number(text)) is not None), default=0)


def _decimals(value: float) -> int:
    # By way of repr, for a cell may have an exponent that no integer holds; and repr leaves out zeros at the end.
    mantissa, _, exponent = repr(value).partition("e")
    places = len(mantissa.partition(".")[2].rstrip("0"))
    return max(0, places - int(exponent or 0))


def kind_of(text: str) -> Literal["empty", "number", "missing_as_text", "not_finite", "decimal_comma", "text"]:
    """What a cell holds; `number` is decimal and at most LARGEST, all else `not_finite`, `missing_as_text` a word such as NaN or null."""
    text = text.strip()
    if not text:
        return "empty"
    if NUMBER.fullmatch(text):
        return "number" if abs(float(text)) <= LARGEST else "not_finite"
    if text.lower() in _MISSING_WORDS or text.lower().lstrip("+-") == "nan":
        return "missing_as_text"
    if text.lower().lstrip("+-") in _INFINITE_WORDS:
        return "not_finite"
    return "decimal_comma" if NUMBER.fullmatch(text.replace(",", ".")) else "text"


def read_table(path: str, option: str) -> FeatureTable:
    """The table in a local file. option: what named it, for the error.

    Raises InputError where there is no such file to read; everything wrong inside it is a finding.
    """
    try:
        raw = Path(path).read_bytes()
    except FileNotFoundError:
        raise InputError(f"{option}: there is no file {path!r}; name the CSV with one row a model") from None
    except IsADirectoryError:
        raise InputError(f"{option}: {path!r} is a folder; name the CSV in it") from None
    except OSError as error:
        raise InputError(f"{option}: {path!r} cannot be read: {error.strerror or error}") from None
    table = FeatureTable(path)
    table.findings += _fill(table, raw)
    return table


def _fill(table: FeatureTable, raw: bytes) -> Iterator[Finding]:
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        kind_of_file = next((f": it is {kind}" for magic, kind in _MAGIC.items() if raw.startswith(magic)), "")
        line = raw.count(b"\n", 0, error.start) + 1
        yield Finding(
            "error", "not_utf8", f"not UTF-8 at byte {error.start:,}, line {line:,}{kind_of_file}", effect="no table"
        )
        return
    if text.startswith("\ufeff"):
        text = text[1:]
        effect = "readers that do not expect it see a first column of another name, and no id"
        yield Finding("warning", "byte_order_mark", "the file begins with a byte order mark", effect=effect)
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        yield Finding(
            "error", "nul_bytes", f"a NUL byte on line {line:,}", text.count("\0"), effect="readers stop there"
        )
        return
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    ragged, blank = [], []
    start = 1
    try:
        for cells in reader:
            line, start = start, reader.line_num + 1
            if not cells:
                blank.append(f"line {line:,}")
            elif not table.header:
                table.header = cells
            elif len(cells) != len(table.header):
                ragged.append(f"line {line:,}: {len(cells):,} cells, id {cells[0]!r}")
            else:
                table.rows.append(Row(line, cells))
    except csv.Error as error:
        message = f"no CSV from line {start:,} on: {error} (is a quote not closed, or not doubled?)"
        yield Finding("error", "not_csv", message, effect="readers stop, or swallow rows")
    message = (
        f"rows that have not {len(table.header):,} cells as the header has; they are left out of every other check"
    )
    yield from listed("error", "ragged_rows", message, ragged, "values land in the wrong columns")
    yield from listed("note", "blank_lines", "lines without anything", blank)
    if not table.header:
        yield Finding("error", "no_header", "there is no header, nor anything else", effect="no table")
    elif not table.rows and not ragged:
        yield Finding("error", "no_rows", "there is a header and not one row", effect="nothing to learn from")
