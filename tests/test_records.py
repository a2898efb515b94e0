"""Where a record keeps its text and id, and what is said of one that has none."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import pytest

from tagcorpus.pipelines.inputs.records import REASONS, BadRecord, DocumentFields, exact_id, parse, repair


def read(line: bytes | str, **fields: Any) -> list[tuple[int, str, str]] | str:
    """What the reader makes of one JSON line: its documents, or the reason for quarantine."""
    data = line.encode() if isinstance(line, str) else line
    where = DocumentFields(**fields)
    try:
        return where.documents(exact_id(data, parse(data), where), "file:7")
    except BadRecord as bad:
        return REASONS[bad.reason] and bad.reason


def nested(depth: int, inner: str = "1") -> str:
    return "[" * depth + inner + "]" * depth


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ('{"text": "a"}', [(0, "file:7", "a")]),
        ('{"text": "", "id": 3}', [(0, "3", "")]),
        ('{"content": "c", "raw_content": "r"}', [(0, "file:7", "c")]),
        ('{"raw_content": "r", "content": "c", "text": "t"}', [(0, "file:7", "t")]),
        ('{"text": "a\\u0000b"}', [(0, "file:7", "a\0b")]),
        ('{"text": "a", "score": NaN, "x": [Infinity, -Infinity]}', [(0, "file:7", "a")]),
        ('{"text": "\\ud83d\\ude00"}', [(0, "file:7", "😀")]),
        ('{"text": "\\ud83d!"}', [(0, "file:7", "\ud83d!")]),
        (' \t{"text": "a"}\r', [(0, "file:7", "a")]),
        ('{"text": "a", "text": "b"}', [(0, "file:7", "b")]),
        ('{"text": null, "content": "c"}', [(0, "file:7", "c")]),
        ('{"text": null, "content": null}', "text_not_string"),
        ('{"text": 12}', "text_not_string"),
        ('{"text": ["a"]}', "text_not_string"),
        ('{"other": "a"}', "no_text"),
        ("{}", "no_text"),
        ("[1]", "not_object"),
        ('"text"', "not_object"),
        ("null", "not_object"),
        ('{"text": "a"', "not_json"),
        ('{"text": "a"}}', "not_json"),
        ('{"text": "a\tb"}', "not_json"),
        ("{'text': 'a'}", "not_json"),
        (b'{"text": "\xff"}', "not_utf8"),
        (b'{"text": "\xed\xa0\x80"}', "not_utf8"),
        (b'{"text": "a\0b"}', "nul"),
        (b'{"text": "a"}\0\0', "nul"),
        ('{"text": "a"}'.encode("utf-16"), "not_utf8"),
    ],
)
def test_a_line_becomes_a_document_or_a_reason(line: bytes | str, found: Any) -> None:
    assert read(line) == found


@pytest.mark.parametrize(
    ("value", "id_"),
    [
        ('"0012"', "0012"),
        ('""', ""),
        ("12", "12"),
        ("-1", "-1"),
        ("18446744073709551615", "18446744073709551615"),
        ("18446744073709551616", "18446744073709551616"),
        ("123456789012345678901234567890123456789", "123456789012345678901234567890123456789"),
        ("-9223372036854775809", "-9223372036854775809"),
        ("1.0", "1.0"),
        ("true", "true"),
        ("null", "file:7"),
        ('["a", 123456789012345678901]', '["a", 123456789012345678901]'),
        ('{"b": 1, "a": "é"}', '{"a": "é", "b": 1}'),
    ],
)
@pytest.mark.parametrize("column", ["id", "doc_id", "meta.key", "key"])
def test_ids_of_every_type_are_exact(value: str, id_: str, column: str) -> None:
    if "." in column:
        line, fields = f'{{"text": "t", "meta": {{"key": {value}}}}}', {"id_column": column}
    else:
        line, fields = f'{{"text": "t", "{column}": {value}}}', {} if column != "key" else {"id_column": "key"}
    assert read(line, **fields) == [(0, id_, "t")]


def test_id_comes_before_doc_id_and_a_missing_one_falls_back() -> None:
    assert read('{"text": "t", "doc_id": 1, "id": 2}') == [(0, "2", "t")]
    assert read('{"text": "t", "doc_id": 1, "id": null}') == [(0, "1", "t")]
    assert read('{"text": "t", "doc_id": 1, "id": 2}', id_column="url") == [(0, "file:7", "t")]


@pytest.mark.parametrize(
    ("value", "id_"),
    [
        (date(2020, 1, 2), "2020-01-02"),
        (datetime(2020, 1, 2, 3), "2020-01-02 03:00:00"),
        (Decimal("1.50"), "1.50"),
        (b"\x01\xff", "01ff"),
        ([date(2020, 1, 2)], '["2020-01-02"]'),
    ],
)
def test_ids_that_only_tables_have(value: Any, id_: str) -> None:
    assert DocumentFields().documents({"text": "t", "id": value}, "x") == [(0, id_, "t")]


@pytest.mark.parametrize(
    ("column", "record", "found"),
    [
        ("a.b", {"a": {"b": "x"}}, "x"),
        ("a.b", {"a.b": "y", "a": {"b": "x"}}, "y"),
        ("a.b.c", {"a": {"b": {"c": ""}}}, ""),
        ("a.b", {"a": {}}, "no_text"),
        ("a.b", {"a": "b"}, "no_text"),
        ("a.b", {"a": {"b": 1}}, "text_not_string"),
        ("a.b", {"a": {"b": None}}, "text_not_string"),
        ("messages[*].content", {"messages": [{"content": "x"}, {"role": "y"}, {"content": "z"}]}, "x\nz"),
        ("messages[*].content", {"messages": [{"content": None}, {"content": "z"}]}, "z"),
        ("messages[*].content", {"messages": [{"content": ["x"]}]}, "text_not_string"),
        ("messages[*].content", {"messages": []}, "no_text"),
        ("messages[*].content", {"messages": "x"}, "no_text"),
        ("messages[*].content", {"text": "x"}, "no_text"),
        ("turns[*]", {"turns": ["x", "y"]}, "x\ny"),
        ("a[*].b[*].c", {"a": [{"b": [{"c": "1"}, {"c": "2"}]}, {"b": [{"c": "3"}]}]}, "1\n2\n3"),
    ],
)
def test_paths_to_the_text(column: str, record: dict[str, Any], found: str) -> None:
    got = read(json.dumps(record), text_column=column)
    assert got == (found if found in REASONS else [(0, "file:7", found)])


@pytest.mark.parametrize(
    ("record", "found"),
    [
        ({"doc_id": 17, "resps": [["a"]]}, [(0, "17", "a")]),
        ({"doc_id": 17, "resps": [["a", "b"]]}, [(0, "17:0:0", "a"), (1, "17:0:1", "b")]),
        ({"doc_id": 17, "resps": [["a"], ["b"]]}, [(0, "17:0:0", "a"), (1, "17:1:0", "b")]),
        ({"doc_id": "x", "resps": [["a", ""], ["c"]]}, [(0, "x:0:0", "a"), (1, "x:0:1", ""), (2, "x:1:0", "c")]),
        ({"resps": [["a"]]}, [(0, "file:7", "a")]),
        ({"id": 5, "resps": [["a"]]}, [(0, "5", "a")]),
        ({"id": 5, "doc_id": 6, "resps": [["a"]]}, [(0, "6", "a")]),
        ({"doc_id": 1, "resps": [[["-3.2", "False"]]]}, "text_not_string"),
        ({"doc_id": 1, "resps": [["a"], [["-3.2", "False"]]]}, [(0, "1:0:0", "a")]),
        ({"doc_id": 1, "resps": [["a", None]]}, [(0, "1:0:0", "a")]),
        ({"doc_id": 1, "resps": [[None, "b"]]}, [(1, "1:0:1", "b")]),
        ({"doc_id": 1, "resps": [[None, 3, True]]}, "text_not_string"),
        ({"doc_id": 1, "resps": "a"}, "text_not_string"),
        ({"doc_id": 1, "resps": [[]]}, "no_text"),
        ({"doc_id": 1, "resps": []}, "no_text"),
        ({"doc_id": 1, "resps": None}, "no_text"),
    ],
)
@pytest.mark.parametrize("is_resps", [False, True])
def test_harness_samples(record: dict[str, Any], found: Any, is_resps: bool) -> None:
    assert read(json.dumps(record), is_resps=is_resps) == found


def test_resps_are_taken_only_where_no_text_is_or_when_told() -> None:
    line = '{"text": "t", "doc_id": 1, "resps": [["a"]]}'
    assert read(line) == [(0, "1", "t")]
    assert read(line, is_resps=True) == [(0, "1", "a")]
    assert read('{"resps": [["a"]], "answer": "b"}', text_column="answer") == [(0, "file:7", "b")]
    assert read('{"answer": "b"}', is_resps=True) == "no_text"


def test_lone_surrogates_are_repaired_and_pairs_are_not() -> None:
    assert repair("a\ud800b\udfff") == "a\ufffdb\ufffd"
    assert repair("😀 é") == "😀 é"


@pytest.mark.parametrize("depth", [900, 5_000, 100_000])
@pytest.mark.parametrize("where", ["x", "id", "text", "resps"])
def test_deep_nesting_is_parsed_or_quarantined(depth: int, where: str) -> None:
    line = f'{{"doc_id": 1, "{where}": {nested(depth)}}}'
    assert read(line) in ("no_text", "text_not_string", "too_deep")
    whole = read(f'{{"text": "t", "{"y" if where == "text" else where}": {nested(depth)}}}')
    assert whole == "too_deep" or (isinstance(whole, list) and whole[0][2] == "t")
    if depth == 900 and where == "x":
        assert whole == [(0, "file:7", "t")]


def test_deep_nesting_in_a_thread_neither_crashes_nor_leaves_the_limit_raised() -> None:
    """In a process of its own, since what is to be excluded is a crash."""
    code = (
        "import sys, threading\n"
        "from tagcorpus.pipelines.inputs.records import parse, BadRecord\n"
        "line = b'{\"text\": \"t\", \"x\": ' + b'[' * 5000 + b']' * 5000 + b'}'\n"
        "found = []\n"
        "def work():\n"
        "    for _ in range(20):\n"
        "        try: found.append(parse(line)['text'])\n"
        "        except BadRecord as bad: found.append(bad.reason)\n"
        "limit = sys.getrecursionlimit()\n"
        "threads = [threading.Thread(target=work) for _ in range(4)]\n"
        "[t.start() for t in threads]; [t.join() for t in threads]\n"
        "assert limit == sys.getrecursionlimit()\n"
        "print(len(found), *set(found))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    count, *outcomes = done.stdout.split()
    assert (count, len(outcomes)) == ("80", 1)
    assert outcomes[0] in ("t", "too_deep")


def test_more_digits_than_the_interpreter_converts() -> None:
    assert read('{"text": "t", "score": NaN, "x": ' + "9" * 5000 + "}") == [(0, "file:7", "t")]


def test_columns_that_a_table_reader_needs() -> None:
    assert DocumentFields().top_columns() == ["text", "content", "raw_content", "id", "doc_id", "resps", "filter"]
    assert DocumentFields("a.b", "k").top_columns() == ["a.b", "a", "k"]
    assert DocumentFields("messages[*].content", "m.id").top_columns()[1::2] == ["messages", "m"]
