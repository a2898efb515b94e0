"""Shapes of tables that are rare and sound: joined streams of other schemas, maps, tables of 0 bytes."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import tagcorpus


def stream(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue())


def documents(path: Path, **options: Any) -> dict[str, list[Any]]:
    output = path.parent / f"{path.stem}.tagcorpus"
    result = tagcorpus.run("tag", input=path, output=output, taggers="length", workers=1, **options)
    assert (result.exit_code, result.messages) == (0, [])
    table: dict[str, list[Any]] = tagcorpus.read(output, ["length"], text=True).to_table().to_pydict()
    return table


OTHERS: dict[str, Callable[[], pa.Table]] = {
    "one more column": lambda: pa.table({"id": ["7"], "text": pa.array(["b"], pa.large_string())}),
    "other order": lambda: pa.table({"text": ["b"], "n": [1], "id": ["7"]}),
    "dictionary": lambda: pa.table({"text": pa.array(["b"]).dictionary_encode(), "id": ["7"]}),
}


@pytest.mark.parametrize("other", OTHERS.values(), ids=OTHERS.keys())
def test_joined_streams_may_have_other_columns(tmp_path: Path, other: Callable[[], pa.Table]) -> None:
    first = pa.table({"text": ["a"]})
    (tmp_path / "a.arrow").write_bytes(stream(first) + stream(other()))
    assert {k: documents(tmp_path / "a.arrow")[k] for k in ("id", "text")} == {
        "id": ["a.arrow:0", "7"],
        "text": ["a", "b"],
    }
    (tmp_path / "b.arrow").write_bytes(stream(other()) + stream(first))
    assert documents(tmp_path / "b.arrow")["text"] == ["b", "a"]


@pytest.mark.parametrize("suffix", ["parquet", "arrow"])
@pytest.mark.parametrize(("path", "texts"), [("m[*].value", ["v\nw", "x"]), ("m[*].key", ["k\nl", "k"])])
def test_text_in_maps(tmp_path: Path, suffix: str, path: str, texts: list[str]) -> None:
    entries = [[("k", "v"), ("l", "w")], [("k", "x")]]
    table = pa.table({"m": pa.array(entries, pa.map_(pa.string(), pa.string()))})
    if suffix == "parquet":
        pq.write_table(table, tmp_path / "a.parquet")
    else:
        (tmp_path / "a.arrow").write_bytes(stream(table))
    assert documents(tmp_path / f"a.{suffix}", text_column=path)["text"] == texts


@pytest.mark.parametrize(("name", "kind"), [("a.parquet", "a Parquet file"), ("a.arrow", "an Arrow file")])
def test_a_table_of_no_bytes(tmp_path: Path, name: str, kind: str) -> None:
    (tmp_path / name).write_bytes(b"")
    result = tagcorpus.run("tag", input=tmp_path / name, output=tmp_path / "out", taggers="length", workers=1)
    assert result.exit_code == 1
    assert any(f"{name} (it has 0 bytes, and {kind} has more. Download the file again)" in m for m in result.messages)


@pytest.mark.parametrize("suffix", ["parquet", "arrow"])
def test_a_name_that_is_not_utf8(tmp_path: Path, suffix: str) -> None:
    table = pa.table({"text": ["a"]})
    pq.write_table(table, tmp_path / "x.parquet")
    (tmp_path / "x.arrow").write_bytes(stream(table))
    path = (tmp_path / f"x.{suffix}").rename(os.fsdecode(os.fsencode(tmp_path) + b"/\xfe." + suffix.encode()))
    result = tagcorpus.run("tag", input=path, output=tmp_path / "out", taggers="length", workers=1)
    assert (result.exit_code, result.counts.documents) == (0, 1)
