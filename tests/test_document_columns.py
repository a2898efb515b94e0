"""Document columns that a tagger needs besides the text: they reach it, and a change of them alone redoes its parts alone."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datatrove.data import Document

import tagcorpus
from tagcorpus.pipelines.in_datatrove import TagDocuments
from tagcorpus.pipelines.progress.display import Display
from tagcorpus.pipelines.storage.folder import Folder
from tagcorpus.taggers import DocumentBatch

TEXTS = ["x = 1\n", "x = 2\n", "x = 3\n"]


def languages(output: Path) -> list[str]:
    found: list[str] = tagcorpus.read(output, ["code"]).to_table()["code_language"].to_pylist()
    return found


def run(source: Path, output: Path, **more: Any) -> Any:
    return tagcorpus.run("tag", input=str(source), output=str(output), taggers=["length", "code"], workers=1, **more)


def parts(output: Path) -> dict[str, int]:
    return {
        n: (output / n).stat().st_mtime_ns for n in Folder(str(output)).files("attributes") if n.endswith(".parquet")
    }


def test_jsonl(tmp_path: Path) -> None:
    source = tmp_path / "in.jsonl"
    records = [{"text": "x = 1", "lang": "ruby"}, {"text": "x", "lang": None}, {"text": "x", "lang": ["a", 1]}]
    records += [{"text": "x", "lang": "a\udc80b"}, {"resps": [["x", "y"]], "text": "z", "lang": 7}, {"text": "q"}]
    source.write_text("".join(json.dumps(r) + "\n" for r in records))
    run(source, tmp_path / "out")
    assert languages(tmp_path / "out") == ["ruby", "unknown", '["a", 1]', "a\ufffdb", "7", "unknown"]


def test_a_column_in_depth_and_one_for_several_documents(tmp_path: Path) -> None:
    source = tmp_path / "in.jsonl"
    record = {"doc_id": 3, "resps": [["x = 1\n", "x\n"]], "meta": {"file": {"name": "a/b.rb"}}}
    source.write_text(json.dumps(record) + "\n" + json.dumps({**record, "meta": 3}) + "\n")
    run(source, tmp_path / "out", code={"column": "meta.file.name"})
    assert languages(tmp_path / "out") == ["ruby", "ruby", "unknown", "unknown"]


def test_csv(tmp_path: Path) -> None:
    source = tmp_path / "in.csv"
    source.write_text("text,lang\nx = 1,kt\nx,\n")
    run(source, tmp_path / "out")
    assert languages(tmp_path / "out") == ["kotlin", "unknown"]


@pytest.mark.parametrize("format_", ["parquet", "arrow"])
def test_a_changed_column_of_a_table_redoes_what_needs_it(tmp_path: Path, format_: str) -> None:
    source = tmp_path / f"in.{format_}"
    output = tmp_path / "out"

    def write(lang: list[str | None] | None) -> None:
        table = pa.table({"text": TEXTS, "other": [1, 2, 3]})
        if lang is not None:
            table = table.append_column("lang", pa.array(lang, pa.string()))
        if format_ == "parquet":
            pq.write_table(table, source)
        else:
            with pa.ipc.new_file(source, table.schema) as writer:
                writer.write_table(table)

    write(None)
    tagcorpus.run("tag", input=str(source), output=str(output), taggers=["length"])
    first = parts(output)
    run(source, output)
    assert languages(output) == ["unknown"] * 3
    before = parts(output)
    assert {n: before[n] for n in first} == first, "that one tagger needs a column redoes no other"
    changes: list[list[str | None]] = [["py", "rb", "js"], ["py", "rb", None]]
    for lang in changes:
        write(lang)
        run(source, output)
        after = parts(output)
        assert [n.split("/")[1] for n in after if after[n] != before[n]] == ["code"]
        before = after
    assert languages(output) == ["python", "ruby", "unknown"]
    tagcorpus.run("tag", input=str(source), output=str(output), taggers=["length"])
    run(source, output)
    assert parts(output) == before, "nothing is left to do"
    assert tagcorpus.run("filter", input=str(source), output=str(output), where="code_language = 'ruby'").exit_code == 0


def test_tables_in_memory() -> None:
    table = pa.table({"text": TEXTS, "lang": ["rb", None, "c"], "m": [{"l": "go"}] * 3})
    assert tagcorpus.tag(table, ["code"])["code.code_language"].to_pylist() == ["ruby", "unknown", "c"]
    found = tagcorpus.tag(table, ["code"], {"code": {"column": "m.l"}})
    assert found["code.code_language"].to_pylist() == ["go"] * 3
    assert tagcorpus.tag(TEXTS, ["code"])["code.code_language"].to_pylist() == ["unknown"] * 3


def test_a_column_that_no_document_has_is_told(tmp_path: Path) -> None:
    source = tmp_path / "in.jsonl"
    source.write_text("".join(json.dumps({"text": "x", "kind": k}) + "\n" for k in (None, "rb")))
    message = "no document has a value in the column 'knid', which code.column names"
    for options, messages in (({"code": {"column": "knid"}}, [message]), ({"code": {"column": "kind"}}, []), ({}, [])):
        display = Display(quiet=True)
        result = run(source, tmp_path / options.get("code", {}).get("column", "none"), display=display, **options)
        assert [line.partition(" ")[2] for line in display.log if "no document" in line] == messages
        assert json.loads(Path(result.ledger).read_text())["notes"] == messages
    table = {"text": ["x", "y"], "kind": [None, "rb"]}
    with pytest.warns(UserWarning, match=message):
        tagcorpus.tag(table, "code", {"code": {"column": "knid"}})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tagcorpus.tag(table, "code", {"code": {"column": "kind"}})
        tagcorpus.tag(table, "code")


def test_metadata_of_datatrove() -> None:
    documents = [Document("x = 1\n", "1", metadata={"lang": "rb"}), Document("x = 1\n", "2")]
    found = [d.metadata["code.code_language"] for d in TagDocuments("code").run(iter(documents))]
    assert found == ["ruby", "unknown"]


def test_a_batch_knows_what_it_was_given() -> None:
    batch = DocumentBatch.from_texts(["a", "b"], columns={"text": ["1", None]})
    assert (batch.column("text"), batch.texts, batch.column("other")) == (["1", None], ["a", "b"], [None, None])
    assert batch.slice(1, 1).column("text") == [None]
