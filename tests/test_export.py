"""Documents and tags in files for other programs."""

from __future__ import annotations

import gzip
import io
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from slurm_commands import invoke

import tagcorpus
from tagcorpus.errors import ConfigError, InputError
from tagcorpus.pipelines.exporting.export import export
from tagcorpus.pipelines.join import join

ROWS: list[dict[str, Any]] = [
    {"id": "a", "text": "one two", "meta": {"k": 1}, "big": 2**70, "length.char_len": "own"},
    {"id": "b", "text": "drei vier fünf", "meta": {"k": "x"}, "note": None},
    {"id": "c", "text": "", "when": "2020-01-01", "note": None},
]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("export")
    lines = [json.dumps(row, ensure_ascii=False) for row in ROWS]
    (folder / "in.jsonl").write_text("\n".join([lines[0], "{broken", "", *lines[1:]]) + "\n")
    tagcorpus.run("tag", input=folder / "in.jsonl", output=folder / "out", taggers=["length", "repetition"])
    return folder


def lines_of(path: Path) -> list[dict[str, Any]]:
    data = path.read_bytes()
    if path.suffix == ".gz":
        data = gzip.decompress(data)
    if path.suffix == ".zst":
        data = zstandard.ZstdDecompressor().stream_reader(io.BytesIO(data)).read()
    return [json.loads(line) for line in data.splitlines()]


@pytest.mark.parametrize("name", ["t.jsonl", "t.jsonl.gz", "t.jsonl.zst"])
def test_json_lines_keep_the_fields_and_add_the_tags(corpus: Path, tmp_path: Path, name: str) -> None:
    assert export(str(corpus / "out"), str(tmp_path / name)).startswith("3 documents -> ")
    rows = lines_of(tmp_path / name)
    assert [r["text"] for r in rows] == [r["text"] for r in ROWS]
    assert [r["length.char_len"] for r in rows] == [7, 14, 0]
    assert rows[0]["input.length.char_len"] == "own"
    assert rows[0]["big"] == 2**70
    assert [r["meta"] for r in rows[:2]] == [{"k": 1}, {"k": "x"}]
    assert rows[1]["repetition.reason"] == "too_short"


def test_bytes_of_a_line_stay(tmp_path: Path) -> None:
    line = b'{"id":  "a", "x": 1.00, "text": "caf\\u00e9"}'
    (tmp_path / "in.jsonl").write_bytes(line + b"\r\n")
    tagcorpus.run("tag", input=tmp_path / "in.jsonl", output=tmp_path / "out", taggers="length")
    export(str(tmp_path / "out"), str(tmp_path / "t.jsonl"))
    assert (tmp_path / "t.jsonl").read_bytes() == line[:-1] + b', "length.char_len":4}\n'


def test_parquet_has_columns_of_common_types(corpus: Path, tmp_path: Path) -> None:
    text = export(str(corpus / "out"), str(tmp_path / "t.parquet"), taggers=["length"])
    assert "as JSON text, since their values have no common type: meta" in text
    table = pq.read_table(tmp_path / "t.parquet")
    assert table["length.char_len"].to_pylist() == [7, 14, 0]
    assert table["meta"].to_pylist() == ['{"k":1}', '{"k":"x"}', None]
    assert table["input.length.char_len"].to_pylist() == ["own", None, None]
    assert "repetition.is_kept" not in table.column_names
    assert table["note"].to_pylist() == [None] * 3


def test_columns_of_tables_keep_their_types(tmp_path: Path) -> None:
    rows = {
        "text": ["a", None, "ccc"],
        "when": pa.array([1, 2, 3], pa.timestamp("ns")),
        "n": pa.array([1, 2, 3], pa.int8()),
    }
    pq.write_table(pa.table(rows), tmp_path / "in.parquet", row_group_size=1)
    tagcorpus.run("tag", input=tmp_path / "in.parquet", output=tmp_path / "out", taggers="length")
    export(str(tmp_path / "out"), str(tmp_path / "t.parquet"))
    table = pq.read_table(tmp_path / "t.parquet")
    assert table.schema.field("when").type == pa.timestamp("ns")
    assert table["n"].to_pylist() == [1, 3]
    assert table["length.char_len"].to_pylist() == [1, 3]


def test_samples_of_a_harness_are_documents(tmp_path: Path) -> None:
    (tmp_path / "s.jsonl").write_text(json.dumps({"doc_id": 7, "resps": [["ab", "c"]]}) + "\n")
    tagcorpus.run("tag", input=tmp_path / "s.jsonl", output=tmp_path / "out", taggers="length")
    export(str(tmp_path / "out"), str(tmp_path / "t.jsonl"))
    rows = lines_of(tmp_path / "t.jsonl")
    assert [(r["doc_id"], r["sub"], r["text"], r["length.char_len"]) for r in rows] == [(7, 0, "ab", 2), (7, 1, "c", 1)]
    with pytest.raises(ConfigError, match=r"^Dolma takes one text a line"):
        export(str(tmp_path / "out"), str(tmp_path / "d"), form="dolma")


def test_spans_of_dolma(corpus: Path, tmp_path: Path) -> None:
    export(str(corpus / "out"), str(tmp_path / "d"), form="dolma")
    rows = lines_of(tmp_path / "d/in.jsonl")
    assert [r["id"] for r in rows] == ["a", "b", "c"]
    assert rows[1]["attributes"]["length__char_len"] == [[0, 14, 14.0]]
    assert rows[1]["attributes"]["repetition__is_kept"] == [[0, 14, 0.0]]
    assert rows[1]["attributes"]["repetition__reason__too_short"] == [[0, 14, 1.0]]


def test_a_data_set_with_a_card(corpus: Path, tmp_path: Path) -> None:
    export(str(corpus / "out"), str(tmp_path / "ds"), form="dataset", taggers=["length"])
    page = (tmp_path / "ds/README.md").read_text()
    assert '"path": "data/*.parquet"' in page
    assert "| `length.char_len` | length of the document | code points |" in page
    assert pq.read_table(tmp_path / "ds/data/train.parquet").num_rows == 3
    datasets = pytest.importorskip("datasets")
    loaded = datasets.load_dataset(str(tmp_path / "ds"), cache_dir=str(tmp_path / "cache"))
    assert loaded["train"]["length.char_len"] == [7, 14, 0]


def test_what_is_there_stays(corpus: Path, tmp_path: Path) -> None:
    (tmp_path / "t.jsonl").write_text("mine")
    with pytest.raises(ConfigError, match="exists already"):
        export(str(corpus / "out"), str(tmp_path / "t.jsonl"))
    assert (tmp_path / "t.jsonl").read_text() == "mine"
    with pytest.raises(ConfigError, match="does not say its form"):
        export(str(corpus / "out"), str(tmp_path / "t.xlsx"))


def test_a_changed_input_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "in.jsonl"
    path.write_text('{"text": "ab"}\n')
    tagcorpus.run("tag", input=path, output=tmp_path / "out", taggers="length")
    path.write_text('{"text": "xy"}\n')
    with pytest.raises((InputError, tagcorpus.TagcorpusError)):
        export(str(tmp_path / "out"), str(tmp_path / "t.jsonl"))
    assert not (tmp_path / "t.jsonl").exists()
    path.unlink()
    with pytest.raises(tagcorpus.TagcorpusError):
        export(str(tmp_path / "out"), str(tmp_path / "t.jsonl"))


def test_text_and_tags_in_the_output_file(corpus: Path, tmp_path: Path) -> None:
    command = ["run", "tag", "-i", str(corpus / "in.jsonl"), "--taggers", "length", "--work", str(tmp_path / "work")]
    done = invoke(*command, "--output", str(tmp_path / "t.jsonl.zst"), "--with-text")
    assert done.code == 0, done.err
    export(str(corpus / "out"), str(tmp_path / "same.jsonl"), taggers=["length"])
    assert lines_of(tmp_path / "t.jsonl.zst") == lines_of(tmp_path / "same.jsonl")
    done = invoke(*command, "--output", str(tmp_path / "tags.jsonl"))
    assert done.code == 0, done.err
    assert lines_of(tmp_path / "tags.jsonl")[0] == {"input": "in.jsonl", "row": 0, "sub": 0, "id": "a", "char_len": 7}
    done = invoke(*command, "--output", str(tmp_path / "t.csv"), "--with-text")
    assert done.code == 2
    assert "--with-text goes with an --output that ends in .jsonl" in done.err


def test_mixed_shards_go_to_dolma_by_the_commands_of_the_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [{"id": str(i), "text": f"text {i}"} for i in range(4)]
    (tmp_path / "in").mkdir()
    (tmp_path / "in/a.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows[:2]))
    pq.write_table(pa.Table.from_pylist(rows[2:]), tmp_path / "in/b.parquet")
    monkeypatch.chdir(tmp_path)
    tagcorpus.run("tag", input="in", output="out", taggers="length", workers=1)
    with pytest.raises(ConfigError, match=r"b\.parquet is not\. Run `tagcorpus export .*out documents\.jsonl\.gz`, "):
        export("out", "d", form="dolma")
    export("out", "documents.jsonl.gz")
    join("documents.jsonl.gz", "out", "text", output="joined.tagcorpus", workers=1)
    export("joined.tagcorpus", "d", form="dolma")
    with gzip.open("d/documents.jsonl.gz") as file:
        spans = [json.loads(line)["attributes"]["length__char_len"] for line in file]
    assert spans == [[[0, 6, 6.0]]] * 4
