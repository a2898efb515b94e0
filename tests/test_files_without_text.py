"""Files without text or without any document: what is refused, what is named, and with which exit code."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tagcorpus.errors import InputError
from tagcorpus.pipelines.dispatch.conduct import as_json
from tagcorpus.pipelines.run import run

Rows = list[dict[str, Any]]
Tag = Callable[..., Any]


@pytest.fixture
def tag(tmp_path: Path) -> Tag:
    """Tags the files of tmp_path/in, which are given as name=rows or name=bytes."""
    (tmp_path / "in").mkdir()

    def tagged(files: dict[str, Rows | bytes], **options: Any) -> Any:
        for name, content in files.items():
            path = tmp_path / "in" / name
            if isinstance(content, bytes):
                path.write_bytes(content)
            elif name.endswith("parquet"):
                pq.write_table(pa.Table.from_pylist(content), path)
            else:
                path.write_text("".join(json.dumps(row) + "\n" for row in content))
        return run("tag", input=str(tmp_path / "in"), output=str(tmp_path / "out"), taggers=["length"], **options)

    return tagged


GOOD: Rows = [{"id": str(i), "text": f"text {i}"} for i in range(5)]
NULLS: Rows = [{"id": str(i), "text": None} for i in range(100)]


@pytest.mark.parametrize("name", ["x.jsonl", "x.parquet"])
def test_what_stands_first_refuses_nothing(tag: Tag, name: str) -> None:
    result = tag({name: [*NULLS, *GOOD * 180]})
    assert result.exit_code == 3
    assert (result.counts.documents, dict(result.counts.quarantined)) == (900, {"text_not_string": 100})
    assert result.without_documents == []


def test_text_far_down_in_the_first_chunk_counts(tag: Tag) -> None:
    result = tag({"x.jsonl": [*NULLS * 150, *GOOD]})
    assert result.counts.documents == 5


def test_a_file_without_text_is_named_before_and_after(tag: Tag) -> None:
    result = tag({"a_info.jsonl": [{"name": "corpus", "version": 1}], "b.jsonl": GOOD})
    assert result.exit_code == 0
    assert result.counts.documents == 5
    assert result.messages[0].startswith("no text found in 1 of 2 files: a_info.jsonl (in ")
    assert "the columns there are name, version" in result.messages[0]
    assert result.without_documents == [{"input": "a_info.jsonl", "why": "1 no_text (the text column is absent)"}]
    assert any("1 file gave no document: a_info.jsonl" in m for m in result.messages)
    assert json.loads(Path(result.ledger).read_text())["without_documents"] == result.without_documents
    assert json.loads(as_json(result))["without_documents"] == result.without_documents


def test_a_dry_run_names_the_file_too(tag: Tag) -> None:
    result = tag({"a.jsonl": [{"a": 1}], "b.jsonl": GOOD}, dry_run=True)
    assert "no text found in 1 of 2 files: a.jsonl" in result.messages[0]


def test_strict_text_refuses_before_the_work(tag: Tag, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no text found in 1 of 2 files: a\.jsonl .*strict_text=True"):
        tag({"a.jsonl": [{"a": 1}], "b.jsonl": GOOD}, strict_text=True)
    assert not (tmp_path / "out" / "attributes").exists()


@pytest.mark.parametrize("name", ["x.jsonl", "x.parquet"])
@pytest.mark.parametrize(
    ("value", "kind"),
    [(["a"], "lists"), ({"a": 1}, "objects"), (1, "numbers"), (True, "booleans"), (None, "nulls")],
)
def test_the_message_says_what_is_there(tag: Tag, name: str, value: Any, kind: str) -> None:
    with pytest.raises(
        InputError, match=rf"'text' is there and holds {kind} only, not text; the columns there are id, text"
    ):
        tag({name: [{"id": "1", "text": value}] * 3})


def test_a_path_that_is_not_there_shows_those_that_are(tag: Tag) -> None:
    with pytest.raises(InputError, match=r"looked for doc\.body; the columns there are doc, doc\.text, doc\.when"):
        tag({"x.parquet": [{"doc": {"text": "a", "when": 1}}]}, text_column="doc.body")


def test_no_file_with_text_is_refused(tag: Tag) -> None:
    with pytest.raises(InputError, match=r"no text found in .*a\.jsonl.*Name the right one with text_column"):
        tag({"a.jsonl": [{"a": 1}], "b.jsonl": [{"b": 1}]})


def test_two_columns_of_one_name_are_refused(tag: Tag, tmp_path: Path) -> None:
    pq.write_table(pa.table([["1"], ["a"], ["b"]], ["id", "text", "text"]), tmp_path / "in" / "x.parquet")
    with pytest.raises(InputError, match="has 2 columns called 'text'"):
        tag({})


def test_an_empty_file_among_good_ones_is_named(tag: Tag) -> None:
    result = tag({"a.jsonl": GOOD, "b.jsonl": b"", "c.jsonl": b"\n\n", "d.parquet": pq_bytes(0)})
    assert result.exit_code == 0
    assert result.without_documents == [
        {"input": "b.jsonl", "why": "0 bytes"},
        {"input": "c.jsonl", "why": "blank lines only"},
        {"input": "d.parquet", "why": "no rows"},
    ]


def pq_bytes(n: int) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table({"text": pa.array(["a"] * n, pa.string())}), sink)
    return bytes(sink.getvalue())


@pytest.mark.parametrize("content", [b"", b"\n\n"])
def test_no_document_in_all_of_the_input_is_exit_3_unless_it_may_be(tag: Tag, content: bytes) -> None:
    result = tag({"x.jsonl": content})
    assert result.exit_code == 3
    assert result.messages[-1] == "no documents in the input: it is empty. Give --allow-empty if that is intended"
    assert tag({"x.jsonl": content}, allow_empty=True).exit_code == 0


def test_an_empty_sample_is_no_empty_input(tag: Tag) -> None:
    assert tag({"x.jsonl": GOOD}, sample=1e-9).exit_code == 0


def test_a_broken_file_is_named_with_what_is_wrong(tag: Tag) -> None:
    result = tag({"a.jsonl": GOOD, "b.parquet": b"PAR1 not a table"})
    assert result.exit_code == 1
    assert [f["input"] for f in result.without_documents] == ["b.parquet"]
    assert "its first bytes are those of plain text, not of a Parquet file" in result.without_documents[0]["why"]


def test_a_gap_that_nothing_explains_is_a_note(tag: Tag) -> None:
    data = pq_bytes(5)
    footer = len(data) - 8 - int.from_bytes(data[-8:-4], "little")
    result = tag({"x.parquet": data[:footer] + b"x" * 100 + data[footer:], "y.parquet": data})
    assert (result.exit_code, result.counts.documents) == (0, 10)
    assert result.messages == ["x.parquet has 100 bytes in front of its footer that belong to nothing; it is read"] + [
        m for m in result.messages if "repeat an earlier id" in m
    ]
