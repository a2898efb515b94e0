"""Writing rows by verdict: every byte that is not the reason stays, and what is written can be read again."""

from __future__ import annotations

import csv
import io
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from profiles import more

from tagcorpus.pipelines.filtering.rewrite import REASON, csv_line, with_reason

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
OBJECTS = st.dictionaries(st.text(), VALUES, max_size=4)
JSON_SPACE = st.text(" \t\r", max_size=3)
REASONS = st.text(min_size=1)


@more(2)
@given(OBJECTS, REASONS, st.booleans(), st.sampled_from([None, (",", ":"), (" , ", " : ")]), JSON_SPACE, JSON_SPACE)
def test_a_reason_is_one_more_key(
    record: dict[str, Any], reason: str, is_ascii: bool, separators: Any, before: str, after: str
) -> None:
    text = json.dumps(record, ensure_ascii=is_ascii, separators=separators)
    inside = text[1:-1]
    line = f"{before}{{{after}{inside}{before}}}{after}".encode("utf-8", "surrogatepass")
    told = with_reason(line, reason)
    assert json.loads(told) == {**record, REASON: reason}
    body = line.rstrip()
    assert told.startswith(body[:-1])
    assert told.endswith(b"}" + line[len(body) :])


@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        (b"{}", b'{"filter_reason": "r"}'),
        (b"{ }  ", b'{ "filter_reason": "r"}  '),
        (b'{"a": "{"}', b'{"a": "{", "filter_reason": "r"}'),
        (b'{"a": {}}\r', b'{"a": {}, "filter_reason": "r"}\r'),
        (b'{"a": 1, "a": 2}', b'{"a": 1, "a": 2, "filter_reason": "r"}'),
        (b'{"a": "\\ud800\\u00e4"} \t', b'{"a": "\\ud800\\u00e4", "filter_reason": "r"} \t'),
        (b'{"a": "x\\\\"}', b'{"a": "x\\\\", "filter_reason": "r"}'),
    ],
)
def test_nasty_lines(line: bytes, wanted: bytes) -> None:
    assert with_reason(line, "r") == wanted


def test_a_reason_of_an_earlier_filter_gives_way() -> None:
    twice = with_reason(with_reason(b'{"a": 1}', "first"), "second")
    assert json.loads(twice) == {"a": 1, REASON: "second"}


@more(2)
@given(st.lists(st.lists(st.text('ab,";\r\n \0\xe4'), min_size=2, max_size=3), max_size=4))
def test_csv_lines_are_read_back(rows: list[list[str]]) -> None:
    text = "".join(map(csv_line, rows))
    assert list(csv.reader(io.StringIO(text, newline=""))) == rows


def test_csv_lines_end_with_a_line_feed() -> None:
    assert csv_line(["a", None, 'b"c']) == 'a,,"b""c"\n'
    assert csv_line([""]) == '""\n'
    assert csv_line(["a\rb", "c"]) == '"a\rb",c\n'
