"""Files of every format through a whole run: what is read, what is refused, and in which words."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest
import zstandard
from click.testing import CliRunner, Result

import tagcorpus
from tagcorpus.cli import main
from tagcorpus.pipelines.execution import engine
from tagcorpus.pipelines.inputs.input_files import InputFile
from tagcorpus.pipelines.inputs.records import BadRecord, DocumentFields, parse
from tagcorpus.pipelines.inputs.streams import BLOCK_BYTES, ByteStream, Damaged

CASES = Path(__file__).resolve().parents[2] / "shared/cases/readers"
cases = pytest.mark.skipif(not CASES.exists(), reason="the cases are not here")
TEXTS = ["one", "two, three", 'four "five"']
LINES = b"".join(json.dumps({"id": str(i), "text": t}).encode() + b"\n" for i, t in enumerate(TEXTS))
ARRAY = json.dumps([json.loads(line) for line in LINES.splitlines()], indent=1).encode()
CSV = b'id,text\n0,one\n1,"two, three"\n2,"four ""five"""\n'
TSV = b'id\ttext\n0\tone\n1\ttwo, three\n2\t"four ""five"""\n'
PACK: dict[str, Callable[[bytes], bytes]] = {
    "": bytes,
    ".gz": gzip.compress,
    ".zst": zstandard.compress,
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
}


def invoke(*arguments: object, stdin: bytes | None = None, pipeline: str = "tag") -> Result:
    taggers = ["--taggers", "length"] if pipeline == "tag" else []
    return CliRunner().invoke(main, ["run", pipeline, *taggers, *map(str, arguments)], input=stdin)


def texts(output: Path) -> list[str]:
    found: list[str] = tagcorpus.read(output, ["length"], text=True).to_table().column("text").to_pylist()
    return found


def lengths(output: Path) -> list[int]:
    found: list[int] = tagcorpus.read(output, ["length"]).to_table().column("char_len").to_pylist()
    return found


@pytest.mark.parametrize("suffix", PACK)
@pytest.mark.parametrize(("name", "data"), [("x.jsonl", LINES), ("x.json", ARRAY), ("x.csv", CSV), ("x.tsv", TSV)])
def test_every_text_format_with_every_compression(tmp_path: Path, name: str, data: bytes, suffix: str) -> None:
    (tmp_path / f"{name}{suffix}").write_bytes(PACK[suffix](data))
    result = invoke("-i", tmp_path / f"{name}{suffix}", "-o", tmp_path / "out")
    assert result.exit_code == 0, result.stderr
    assert texts(tmp_path / "out") == TEXTS
    assert "quarantine" not in result.stderr
    again = invoke("-i", tmp_path / f"{name}{suffix}", "-o", tmp_path / "out") if not suffix else result
    assert suffix or "1 of 1 parts are there already" in again.stderr


@pytest.mark.parametrize(
    ("name", "data"), [("x.json", ARRAY), ("x.tsv", TSV), ("x.json.xz", ARRAY), ("x.tsv.bz2", TSV)]
)
def test_run_filter_writes_the_format_that_it_read(tmp_path: Path, name: str, data: bytes) -> None:
    suffix = Path(name).suffix if Path(name).suffix in PACK else ""
    (tmp_path / name).write_bytes(PACK[suffix](data))
    out = tmp_path / "out"
    invoke("-i", tmp_path / name, "-o", out)
    result = invoke("-i", tmp_path / name, "-o", out, "--where", "char_len > 3", pipeline="filter")
    assert result.exit_code == 0, result.stderr
    for word, expected in (("filtered", TEXTS[1:]), ("removed", TEXTS[:1])):
        again = invoke("-i", out / f"filtered/{word}_{name}", "-o", tmp_path / word)
        assert again.exit_code == 0, again.stderr
        assert texts(tmp_path / word) == expected
    if name == "x.json":
        removed = json.loads((out / "filtered/removed_x.json").read_bytes())
        assert removed == [{"id": "0", "text": "one", "filter_reason": removed[0]["filter_reason"]}]
        nothing = invoke("-i", tmp_path / name, "-o", out, "--where", "char_len < 0", pipeline="filter")
        assert nothing.exit_code == 0
        assert json.loads((out / "filtered/filtered_x.json").read_bytes()) == []


@pytest.mark.parametrize(("name", "data", "is_told"), [("x.json", ARRAY, False), ("x.jsonl", LINES, True)])
def test_smaller_ranges_are_no_advice_for_an_array(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, data: bytes, is_told: bool
) -> None:
    monkeypatch.setattr(engine, "WORTH_CUTTING_BYTES", 1)
    (tmp_path / name).write_bytes(data)
    result = invoke("-i", tmp_path / name, "-o", tmp_path / "out", "--workers", 2)
    assert ("with smaller chunks" in result.stderr) == is_told


def test_files_whose_names_do_not_say(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in/part-00000").write_bytes(LINES)
    (tmp_path / "in/part-00001.gz").write_bytes(gzip.compress(LINES, mtime=0))
    (tmp_path / "in/_SUCCESS").touch()
    assert invoke("-i", tmp_path / "in", "-o", tmp_path / "out").exit_code == 2
    for name, argument in (("folder", tmp_path / "in"), ("glob", f"{tmp_path}/in/part-*")):
        result = invoke("-i", argument, "-o", tmp_path / name, "--input-format", "jsonl")
        assert result.exit_code == 0, result.stderr
        assert texts(tmp_path / name) == TEXTS * 2
    csv = invoke("-i", "-", "-o", tmp_path / "csv", "--input-format", "csv", stdin=CSV)
    assert csv.exit_code == 0, csv.stderr
    assert lengths(tmp_path / "csv") == [len(text) for text in TEXTS]


def test_another_format_is_another_plan(tmp_path: Path) -> None:
    (tmp_path / "part-0").write_bytes(b"text,id\na\tb,c\nd,e\n")
    out = tmp_path / "out"
    assert invoke("-i", tmp_path / "part-0", "-o", out, "--input-format", "csv").exit_code == 0
    assert texts(out) == ["a\tb", "d"]
    refused = invoke("-i", tmp_path / "part-0", "-o", out, "--input-format", "tsv")
    assert refused.exit_code == 2
    assert "The header holds ',': is it the delimiter? Say --set 'csv.delimiter=,'" in refused.stderr


def test_a_dialect_is_part_of_the_plan_and_of_the_key(tmp_path: Path) -> None:
    source, out = tmp_path / "x.csv", tmp_path / "out"
    source.write_bytes(b'id,text\n1,"a \\"b\\""\n2,c\n')
    assert invoke("-i", source, "-o", out, "--max-quarantined", "5").exit_code == 0
    assert texts(out) == ["c"]
    escaped = ["-i", source, "-o", out, "--set", "csv.escape=\\"]
    result = invoke(*escaped)
    assert "1 part is of an earlier input or version" in result.stderr
    assert texts(out) == ['a "b"', "c"]
    assert "1 of 1 parts are there already" in invoke(*escaped).stderr


@pytest.mark.parametrize(
    ("name", "data", "sentence"),
    [
        ("a.jsonl", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n", "a Git LFS pointer. Fetch"),
        ("a.jsonl", b"<html>\n<body>502 Bad Gateway</body></html>", "an HTML page. It may be a server's error page"),
        ("a.jsonl", gzip.compress(LINES, mtime=0), "a gzip file. Add .gz to its name"),
        ("a.jsonl.gz", LINES, "JSON, not of a gzip file"),
        ("a.jsonl.gz", gzip.compress(gzip.compress(LINES, mtime=0), mtime=0), "a gzip file. Add .gz to its name"),
        ("a.csv", ARRAY, "a JSON array. Give it a name that ends in .json"),
        ("a.parquet", LINES, "JSON, not of a Parquet file"),
        ("a.arrow", b"PAR1\x15\x04\x15", "a Parquet file, not of an Arrow file. Give it a name that ends in .parquet"),
    ],
)
def test_a_file_that_is_not_what_its_name_says(tmp_path: Path, name: str, data: bytes, sentence: str) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / name).write_bytes(data)
    (tmp_path / "in/b.jsonl").write_bytes(LINES)
    result = invoke("-i", tmp_path / "in", "-o", tmp_path / "out")
    assert result.exit_code == 1
    assert f"its first bytes are those of {sentence}" in broken(tmp_path / "out", name)
    assert texts(tmp_path / "out") == TEXTS


def broken(output: Path, name: str) -> str:
    (entry,) = (output / f"quarantine/{name}/part-00000.jsonl").read_text().splitlines()
    value = json.loads(entry)
    assert value["reason"] == "broken_file"
    return str(value["message"])


def test_two_columns_of_one_name(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b"id,text,text\n1,a,b\n")
    (tmp_path / "b.csv").write_bytes(b"id,id,text\n1,a,b\n")
    for name, column, option in (("a.csv", "text", "--text-column"), ("b.csv", "id", "--id-column")):
        result = invoke("-i", tmp_path / name, "-o", tmp_path / "out")
        assert result.exit_code == 2
        assert f"{name} has 2 columns called '{column}'. Rename one of them" in result.stderr
        assert f"name another column with {option}" in result.stderr
    (tmp_path / "c.csv").write_bytes(b"id,text,x,x\n1,a,b,c\n")  # what is not read may be there twice
    assert invoke("-i", tmp_path / "c.csv", "-o", tmp_path / "out").exit_code == 0


@cases
@pytest.mark.parametrize(
    ("name", "file", "sentence"),
    [
        ("22-folder-one-lfs-pointer", "b.jsonl", "its first bytes are those of a Git LFS pointer"),
        ("25-zero-bytes.jsonl.gz", "25-zero-bytes.jsonl.gz", "it has 0 bytes, and a gzip file has more"),
        ("26-plain-text-named-gz.jsonl.gz", "26-plain-text-named-gz.jsonl.gz", "those of JSON, not of a gzip file"),
        (
            "28-feather-v1.feather",
            "28-feather-v1.feather",
            "those of a Feather V1 file, not of an Arrow file. Convert it",
        ),
    ],
)
def test_cases_of_files_that_are_something_else(tmp_path: Path, name: str, file: str, sentence: str) -> None:
    assert invoke("-i", CASES / name, "-o", tmp_path / "out").exit_code == 1
    assert sentence in broken(tmp_path / "out", file)


@cases
def test_the_case_of_a_semicolon(tmp_path: Path) -> None:
    result = invoke("-i", CASES / "38-csv-semicolon.csv", "-o", tmp_path / "out")
    assert result.exit_code == 2
    assert "The header holds ';': is it the delimiter? Say --set 'csv.delimiter=;'" in result.stderr
    result = invoke("-i", CASES / "38-csv-semicolon.csv", "-o", tmp_path / "out", "--set", "csv.delimiter=;")
    assert result.exit_code == 0
    assert lengths(tmp_path / "out") == [12, 12, 9]


@cases
def test_an_arrow_stream_on_standard_input(tmp_path: Path) -> None:
    data = (CASES / "30-stdin-arrow-stream.bin").read_bytes()
    result = invoke("-i", "-", "-o", tmp_path / "out", stdin=data)
    assert result.exit_code == 0, result.stderr
    expected = pa.ipc.open_stream(data).read_all().column("text").to_pylist()
    assert lengths(tmp_path / "out") == [len(text) for text in expected]


# Records.


@pytest.mark.parametrize(
    ("record", "text"),
    [
        ({"text": None, "content": "b"}, "b"),
        ({"text": "a", "content": "b"}, "a"),
        ({"text": "", "content": "b"}, ""),
        ({"content": None, "raw_content": "c"}, "c"),
    ],
)
def test_a_null_does_not_hide_a_text(record: dict[str, str | None], text: str) -> None:
    assert DocumentFields().documents(record, "id") == [(0, "id", text)]


@pytest.mark.parametrize(
    ("record", "reason"),
    [({"text": None}, "text_not_string"), ({"text": 1, "content": "b"}, "text_not_string"), ({}, "no_text")],
)
def test_what_is_no_text(record: dict[str, object], reason: str) -> None:
    with pytest.raises(BadRecord, match=reason):
        DocumentFields().documents(record, "id")


def test_joined_files_with_byte_order_marks(tmp_path: Path) -> None:
    one = b"\xef\xbb\xbf" + LINES
    (tmp_path / "x.jsonl").write_bytes(one + one + b"\xef\xbb\xbf\n" + one)
    result = invoke("-i", tmp_path / "x.jsonl", "-o", tmp_path / "out")
    assert result.exit_code == 0
    assert texts(tmp_path / "out") == TEXTS * 3
    assert parse(b'\xef\xbb\xbf{"text": "a"}') == {"text": "a"}


# Compressed streams.


def opened(tmp_path: Path, data: bytes, compression: str) -> ByteStream:
    (tmp_path / "x").write_bytes(data)
    return ByteStream(InputFile("x", str(tmp_path / "x"), "jsonl", compression))


@pytest.mark.parametrize(("compression", "pack"), [("bz2", bz2.compress), ("xz", lzma.compress)])
class TestBz2AndXz:
    def test_several_streams_are_one(self, tmp_path: Path, compression: str, pack: Callable[[bytes], bytes]) -> None:
        stream = opened(tmp_path, pack(b"a" * 5000) + pack(b"") + pack(b"b" * 7), compression)
        assert stream.read(10_000) == b"a" * 5000 + b"b" * 7
        stream.seek(4999)
        assert stream.read(2) == b"ab"

    def test_what_breaks_off_is_given_up_to_the_break(
        self, tmp_path: Path, compression: str, pack: Callable[[bytes], bytes]
    ) -> None:
        whole = b"".join(b"%d line %x\n" % (i, i * 7919) for i in range(30_000))
        packed = pack(whole) + pack(whole)
        stream = opened(tmp_path, packed[: len(packed) * 7 // 8], compression)
        blocks = iter(lambda: stream.read(1000), b"")
        found: list[bytes] = []
        with pytest.raises(Damaged, match="ends in the middle of a frame"):
            found.extend(blocks)
        data = b"".join(found)
        assert data == (whole + whole)[: len(data)]
        assert len(data) >= len(whole)

    def test_little_that_holds_much_is_given_in_blocks(
        self, tmp_path: Path, compression: str, pack: Callable[[bytes], bytes]
    ) -> None:
        stream = opened(tmp_path, pack(b"\0" * (16 << 20)), compression)
        sizes = [len(chunk) for chunk in stream._chunks or ()]
        assert sum(sizes) == 16 << 20
        assert max(sizes) <= BLOCK_BYTES
