"""From one record to its documents, with their texts and ids, or to the reason why the record is bad.

Records are plain (a text column, also `a.b` and `messages[*].content`) or samples of the evaluation harness (texts are
`resps[request][repeat]`). A record without a document raises BadRecord with one of REASONS.
"""

from __future__ import annotations

import json
import re
import sys
import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import orjson

from tagcorpus.pipelines.inputs.values import BadValue, top

DEFAULT_TEXT_COLUMNS = ("text", "content", "raw_content")
ID_COLUMNS = ("id", "doc_id")
REASONS = {
    "not_utf8": "bytes that are not UTF-8",
    "not_json": "not JSON",
    "nul": "a raw NUL byte",
    "too_deep": "JSON nested too deeply",
    "not_object": "JSON, but not an object",
    "no_text": "the text column is absent",
    "text_not_string": "the text is not a string",
    "repeat_not_string": "one repeat of a sample is not a string; its other repeats are read",
    "bad_value": "a text or an id in a table that cannot be read",
    "too_long": "a line longer than max_line_bytes",
    "unclosed_quote": "a CSV record whose quote is never closed; the lines that it swallowed are part of it",
    "bad_csv": "a CSV record with text behind a closing quote (csv.escape?), or not with the header's number of fields",
    "broken_file": "the file breaks off or is damaged here; what follows is unreadable",
}
_SURROGATE = re.compile("[\ud800-\udfff]")
_DEEP = 10_000


class BadRecord(Exception):
    """A record that goes to quarantine. `reason` is one of REASONS; `message` adds details of this record."""

    def __init__(self, reason: str, message: str = "") -> None:
        super().__init__(reason)
        self.reason, self.message = reason, message


class LostRepeat(NamedTuple):
    """A repeat of a sample that is not a text: its `sub`, and its place, such as `resps[0][1]`."""

    sub: int
    place: str


@dataclass(frozen=True)
class DocumentFields:
    """Columns of the text and the id of a record. Without `text_column`, the first of DEFAULT_TEXT_COLUMNS in the record."""

    text_column: str = ""
    id_column: str = ""
    is_resps: bool = False

    def text_columns(self) -> list[str]:
        """Columns that may hold the text, first choice first."""
        return [self.text_column] if self.text_column else [*DEFAULT_TEXT_COLUMNS]

    def paths(self) -> list[str]:
        """Columns of a table, and paths into columns, that documents may come from."""
        ids = [self.id_column] if self.id_column else [*ID_COLUMNS]
        resps = ["resps", "doc_id", "filter"] if self.is_resps or not self.text_column else []
        return list(dict.fromkeys([*self.text_columns(), *ids, *resps]))

    def top_columns(self) -> list[str]:
        """Top-level columns that documents may come from; the digest of a table's rows covers them."""
        # The name of a column may be `a.b`.
        return list(dict.fromkeys(name for path in self.paths() for name in (path, top(path))))

    def further_columns(self, names: Iterable[str]) -> list[str]:
        """The top-level columns that a columnar reader must read for these document columns."""
        return list(dict.fromkeys(name for c in names for name in (c, top(c))))

    def doubled(self, names: Sequence[str]) -> str:
        """The name of the text or id column if several columns have that name; else empty."""
        choices = (
            [self.text_column] if self.text_column else [*DEFAULT_TEXT_COLUMNS],
            [self.id_column] if self.id_column else [*ID_COLUMNS],
        )
        for columns in choices:
            first = next((name for c in columns for name in (c, top(c)) if name in names), "")
            if names.count(first) > 1:
                return first
        return ""

    def documents(
        self, record: dict[str, Any], fallback_id: str, lost: list[LostRepeat] | None = None
    ) -> list[tuple[int, str, str]]:
        """(sub, id, text) of every document in the record; repeats of a sample that are not texts are added to `lost`.
        Raises BadRecord where there is no document."""
        if not self.text_column and not self.is_resps:
            text = record.get("text")
            if isinstance(text, str):  # the commonest case
                return [(0, self._id(record, fallback_id), text)]
        if self.is_harness(record):
            return _samples(record, self.id_column, fallback_id, lost)
        if self.text_column:
            text = record[self.text_column] if self.text_column in record else _follow(record, self.text_column)
        else:
            present = [record[c] for c in DEFAULT_TEXT_COLUMNS if c in record]
            # A null does not hide the text in another of these columns.
            text = next((value for value in present if value is not None), None if present else _ABSENT)
        if text is _ABSENT:
            raise BadRecord("no_text")
        return [(0, self._id(record, fallback_id), text if isinstance(text, str) else _as_text(text))]

    def is_harness(self, record: dict[str, Any]) -> bool:
        """Whether the text is in `resps`: by option, or because the record has `resps` and no text column."""
        if self.is_resps or self.text_column:
            return self.is_resps
        return "resps" in record and not any(c in record for c in DEFAULT_TEXT_COLUMNS)

    def _id(self, record: dict[str, Any], fallback: str) -> str:
        if not self.id_column and isinstance(own := record.get("id"), str):
            return own
        for name in (self.id_column,) if self.id_column else ID_COLUMNS:
            value = record[name] if name in record else _follow(record, name)
            if value is not _ABSENT and value is not None:
                return _as_id(value)
        return fallback


def parse(line: bytes) -> dict[str, Any]:
    """The JSON object of one line. Lines that the fast parser refuses go to the standard library's parser, which takes lone
    surrogates, NaN and deep nesting. Raises BadRecord."""
    try:
        record = orjson.loads(line)
    except orjson.JSONDecodeError:
        record = _parse_slowly(line)
    if not isinstance(record, dict):
        raise BadRecord("not_object")
    return record


def exact_id(line: bytes, record: dict[str, Any], fields: DocumentFields) -> dict[str, Any]:
    """The record with an exact id. The fast parser makes floats of integers beyond 64 bits, so such a record is parsed
    again."""
    if not fields.id_column and isinstance(record.get("id"), (str, int)):
        return record
    for name in (fields.id_column,) if fields.id_column else ID_COLUMNS:
        value = record[name] if name in record else _follow(record, name) if "." in name else None
        if isinstance(value, (float, list, dict)):
            return _parse_slowly(line)  # type: ignore[no-any-return]
    return record


def repair(text: str) -> str:
    """The text with lone surrogates turned into U+FFFD."""
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        return _SURROGATE.sub("\ufffd", text)
    return text


def _parse_slowly(line: bytes) -> Any:
    try:
        text = line.decode("utf-8")
    except UnicodeDecodeError:
        raise BadRecord("not_utf8") from None
    if "\0" in text:
        raise BadRecord("nul")
    text = text.removeprefix("\ufeff")  # files with a byte order mark may have been joined
    try:
        try:
            return json.loads(text, parse_int=_integer)
        except RecursionError:
            return _parse_deep(text)
    except RecursionError:
        raise BadRecord("too_deep") from None
    except ValueError:
        raise BadRecord("not_json") from None


_raising_the_limit = threading.Lock()


def _parse_deep(text: str) -> Any:
    """Parse with a higher recursion limit. The limit is that of the interpreter, so one thread at a time changes it.
    Python 3.12 and later do not apply it to this parser, whose depth is fixed there."""
    with _raising_the_limit:
        limit = sys.getrecursionlimit()
        try:
            sys.setrecursionlimit(max(limit, _DEEP))
            return json.loads(text, parse_int=_integer)
        finally:
            sys.setrecursionlimit(limit)


def _integer(digits: str) -> int | float:
    try:
        return int(digits)
    except ValueError:  # more digits than the interpreter converts
        return float(digits)


class _Absent:
    """Tells a missing column from a column that holds null."""


_ABSENT = _Absent()


def _follow(value: Any, path: str) -> Any:
    """The value at `a.b`, or the strings at `messages[*].content` joined by newlines, without nulls."""
    matches = list(_walk(value, path.replace("[*]", ".*").split(".")))
    if "[*]" not in path:
        return matches[0] if matches else _ABSENT
    strings = [match for match in matches if match is not None]
    if not strings:
        return _ABSENT
    try:
        return "\n".join(s if isinstance(s, str) else _as_text(s) for s in strings)
    except BadRecord as bad:
        return BadValue(bad.reason)


_ENTRY = {"key": 0, "value": 1}


def _walk(value: Any, steps: list[str]) -> Iterator[Any]:
    if not steps:
        yield value
    elif steps[0] == "*":
        for item in value if isinstance(value, list) else ():
            yield from _walk(item, steps[1:])
    elif isinstance(value, dict) and steps[0] in value:
        yield from _walk(value[steps[0]], steps[1:])
    elif isinstance(value, tuple) and steps[0] in _ENTRY:  # of a map in a table
        yield from _walk(value[_ENTRY[steps[0]]], steps[1:])


def sample_id(record: dict[str, Any], id_column: str) -> Any:
    """The id of the document of an evaluation-harness sample; None if there is none."""
    return record.get(id_column) if id_column else record.get("doc_id", record.get("id"))


def further_value(record: dict[str, Any], column: str) -> str | None:
    """The value of a further column (`a.b` too): text as it is, other values as JSON, None if the column is missing.
    Raises BadRecord for a value that cannot be read."""
    value = record[column] if column in record else _follow(record, column)
    if value is None or value is _ABSENT:
        return None
    if isinstance(value, BadValue):
        raise BadRecord(value.reason)
    try:
        return repair(_as_id(value))
    except BadRecord:  # nested too deeply to be written
        return None


def _samples(
    record: dict[str, Any], id_column: str, fallback: str, lost: list[LostRepeat] | None
) -> list[tuple[int, str, str]]:
    requests = record.get("resps")
    if requests is None:
        raise BadRecord("no_text")
    if not isinstance(requests, list):
        raise BadRecord("text_not_string")
    leaves: list[tuple[int, int, Any]] = []
    for i, request in enumerate(requests):
        repeats = request if isinstance(request, list) else [request]
        leaves += [(i, j, leaf) for j, leaf in enumerate(repeats)]
    if not leaves:
        raise BadRecord("no_text")
    texts: list[tuple[int, int, int, str]] = []
    bad: list[LostRepeat] = []
    for sub, (i, j, leaf) in enumerate(leaves):
        try:
            texts.append((sub, i, j, leaf if isinstance(leaf, str) else _as_text(leaf)))
        except BadRecord:
            if len(leaves) == 1:
                raise
            bad.append(LostRepeat(sub, f"resps[{i}][{j}]" if isinstance(requests[i], list) else f"resps[{i}]"))
    if not texts:
        raise BadRecord("text_not_string")
    if lost is not None:
        lost += bad
    value = sample_id(record, id_column)
    base = fallback if value is None else _as_id(value)
    if len(leaves) == 1:
        return [(0, base, texts[0][3])]
    return [(sub, f"{base}:{i}:{j}", text) for sub, i, j, text in texts]


def _as_text(value: Any) -> str:
    """Bytes as text. Raises BadRecord for bytes that are not UTF-8 and for all other values."""
    if isinstance(value, BadValue):
        raise BadRecord(value.reason)
    if not isinstance(value, bytes):
        raise BadRecord("text_not_string")
    try:
        return value.decode()
    except UnicodeDecodeError:
        raise BadRecord("not_utf8") from None


def _as_id(value: Any) -> str:
    """Strings as they are (`0012` stays); numbers, lists and objects as JSON; other values of tables (dates, decimals,
    UUIDs, bytes) by `str` or in hexadecimal. Raises BadRecord for deep nesting."""
    if isinstance(value, str):
        return value
    if type(value) is int:  # the most frequent, and ten times faster than json
        return str(value)
    if isinstance(value, BadValue):
        raise BadRecord(value.reason)
    if not isinstance(value, (bool, int, float, list, dict)):
        return _written(value)
    try:
        return json.dumps(value, ensure_ascii=False, sort_keys=True, default=_written)
    except RecursionError:
        raise BadRecord("too_deep") from None


def _written(value: Any) -> str:
    if isinstance(value, BadValue):
        raise BadRecord(value.reason)
    return value.hex() if isinstance(value, bytes) else str(value)


def leaves(value: Any) -> Iterator[Any]:
    """The values in nested lists, in order."""
    waiting = [value]
    while waiting:
        last = waiting.pop()
        if isinstance(last, list):
            waiting += reversed(last)
        else:
            yield last
