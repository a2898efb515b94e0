"""`run filter`: every row goes to one of two files, as it was; and what a second, a killed or a changed run does."""

from __future__ import annotations

import csv
import gzip
import io
import json
import os
import signal
import subprocess
import sysconfig
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from plugins import Ended
from slurm_commands import invoke

import tagcorpus
from tagcorpus.errors import ConfigError
from tagcorpus.pipelines.runs.result import Result
from tagcorpus.pipelines.runs.result_text import table

FORMATS = ["jsonl", "jsonl.gz", "jsonl.zst", "csv", "csv.gz", "parquet", "arrow"]
COMMAND = str(Path(sysconfig.get_path("scripts")) / "tagcorpus")

COIN = '''
from dataclasses import dataclass
from typing import ClassVar
import pyarrow as pa
from tagcorpus.taggers._interface.base import Parameters, column

@dataclass(frozen=True)
class Coin(Parameters):
    """Heads when the text begins with k; raises when it begins with x."""
    version: ClassVar[str] = "1"
    columns: ClassVar[pa.Schema] = pa.schema([column("is_heads", pa.bool_(), "begins with k", "flag")])

    def tag(self, batch):
        if any(t.startswith("x") for t in batch.texts):
            raise ValueError("an x")
        return pa.record_batch([pa.array([t.startswith("k") for t in batch.texts], pa.bool_())], schema=self.columns)

TAGGER = Coin
'''


@pytest.fixture(scope="module")
def coin_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that holds an installed third-party tagger, `coin`."""
    folder = tmp_path_factory.mktemp("coin")
    (folder / "filter_test_coin.py").write_text(COIN)
    info = folder / "filter_test_coin-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: filter-test-coin\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[tagcorpus.taggers]\ncoin = filter_test_coin:TAGGER\n")
    return folder


@pytest.fixture
def coin(coin_folder: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.syspath_prepend(str(coin_folder))
    monkeypatch.setenv("PYTHONPATH", str(coin_folder))
    return "coin.is_heads"


def prose(i: int) -> str:
    """A text that the filter keeps."""
    return f"Ordinary sentence number {i} tells of rain over the hills, of bread, and of a slow train going north."


def run(path: Path | list[str], output: Path, **options: Any) -> Result:
    result: Result = tagcorpus.run("filter", input=path, output=output, **{"workers": 1, **options})
    return result


def packed(data: bytes, name: str) -> bytes:
    if name.endswith(".gz"):
        return gzip.compress(data)
    return zstandard.compress(data) if name.endswith(".zst") else data


def unpacked(path: Path) -> bytes:
    data = path.read_bytes()
    if path.suffix == ".gz":
        return gzip.decompress(data)
    return zstandard.ZstdDecompressor().decompressobj().decompress(data) if path.suffix == ".zst" else data


def write(path: Path, rows: list[dict[str, Any]]) -> None:
    """Rows in the format that the name tells."""
    kind = path.name.split(".", 1)[1]
    if kind.startswith("jsonl"):
        path.write_bytes(packed(b"".join(json.dumps(r).encode() + b"\n" for r in rows), kind))
    elif kind.startswith("csv"):
        sink = io.StringIO()
        writer = csv.DictWriter(sink, rows[0].keys(), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        path.write_bytes(packed(sink.getvalue().encode(), kind))
    elif kind == "parquet":
        pq.write_table(pa.Table.from_pylist(rows), path, row_group_size=7)
    else:
        table = pa.Table.from_pylist(rows)
        with pa.ipc.new_file(path, table.schema) as sink:
            sink.write_table(table, max_chunksize=7)


def read(path: Path) -> list[dict[str, Any]]:
    kind = path.name.split(".", 1)[1]
    if kind.startswith("jsonl"):
        return [json.loads(line) for line in unpacked(path).splitlines()]
    if kind.startswith("csv"):
        return list(csv.DictReader(io.StringIO(unpacked(path).decode(), newline="")))
    found: list[dict[str, Any]] = arrow_or_parquet(path).to_pylist()
    return found


def arrow_or_parquet(path: Path) -> pa.Table:
    if path.suffix == ".parquet":
        return pq.ParquetFile(path).read()
    with path.open("rb") as source:
        try:
            return pa.ipc.open_file(source).read_all()
        except pa.ArrowInvalid:
            source.seek(0)
            return pa.ipc.open_stream(source).read_all()


def outputs(output: Path) -> dict[str, bytes]:
    """Every byte below filtered/, by relative path."""
    root = output / "filtered"
    return {str(p.relative_to(root)): p.read_bytes() for p in sorted(root.rglob("*")) if p.is_file()}


def marks(output: Path) -> dict[str, tuple[int, int]]:
    return {
        str(p): (p.stat().st_ino, p.stat().st_mtime_ns)
        for folder in ("filtered", "summary/filtered", "attributes")
        for p in (output / folder).rglob("*")
        if p.is_file()
    }


def check_conservation(result: Result) -> None:
    """Every line is kept, removed, blank, quarantined by the reader, or not in the sample."""
    counts, filtered = result.counts, result.summary["filtered"]
    by_reader = sum(n for reason, n in counts.quarantined.items() if ":" not in reason and reason != "broken_file")
    parted = filtered["kept"] + sum(filtered["removed"].values())
    assert parted == counts.read + counts.filter_duplicates
    assert counts.lines == parted + counts.blank + by_reader + counts.unsampled


# What goes where


@pytest.mark.parametrize("kind", FORMATS)
def test_every_row_goes_to_one_of_two_files(tmp_path: Path, kind: str) -> None:
    texts = [("short", "again " * 60, prose(i), prose(i))[i % 4] for i in range(40)]
    rows: list[dict[str, Any]] = [{"id": f"d{i}", "note": f'{i}, "x"\nä', "text": text} for i, text in enumerate(texts)]
    path = tmp_path / f"a.{kind}"
    write(path, rows)
    result = run(path, tmp_path / "out", chunk_bytes=2048)
    assert result.exit_code == 0
    check_conservation(result)
    assert result.summary["filtered"] == {
        "keep": "repetition.is_kept",
        "kept": 20,
        "removed": {"too_short": 10, "pathological_repetition": 10},
        "written": [f"filtered/filtered_a.{kind}", f"filtered/removed_a.{kind}"],
    }
    kept = read(tmp_path / f"out/filtered/filtered_a.{kind}")
    removed = read(tmp_path / f"out/filtered/removed_a.{kind}")
    assert kept == [r for i, r in enumerate(rows) if i % 4 > 1]
    reasons = ["too_short", "pathological_repetition"]
    assert removed == [{**r, "filter_reason": reasons[i % 4]} for i, r in enumerate(rows) if i % 4 < 2]
    chunks = json.loads((tmp_path / f"out/plan/a.{kind}.json").read_text())["ranges"]
    assert len(chunks) > 1


def test_lines_stay_byte_for_byte(tmp_path: Path) -> None:
    good, bad = json.dumps(prose(1)).encode(), b'"no"'
    kept = [
        b'{"text": ' + good + b"}",
        b'  {"text":' + good + b' , "a" : 1.0e5}\t ',
        b'{"text": ' + good + b"}\r",
        b'{"x": "\\u00e4\xc3\xa4\\ud800", "text": ' + good + b"}",
        b'{"id": 1, "id": 2, "text": ' + good + b"}",
        b'{"id": 123456789012345678901234567890, "n": NaN, "text": ' + good + b"}",
    ]
    removed = [
        b'{"text": ' + bad + b"}\r",
        b'{"text": ' + bad + b', "o": {}}  ',
        b'{"text": "\\udc00", "x": "\\ud83d\\ude00"}',
        b'{"text": ""}',
    ]
    nowhere = [b"", b"   ", b"\r", b"{}", b"not json", b"[1]", b'{"text": 5}', b'{"text": "\xff"}', b'{"text": "a\0"}']
    lines = [line for row in zip(kept, removed + nowhere[:2], nowhere[2:8], strict=True) for line in row]
    lines += nowhere[8:]
    path = tmp_path / "a.jsonl"
    path.write_bytes(b"\xef\xbb\xbf" + b"\n".join([*lines, kept[0]]))
    result = run(path, tmp_path / "out", max_quarantined=100)
    check_conservation(result)
    assert result.counts.quarantined_rows == 6
    assert result.counts.blank == 3
    out = tmp_path / "out/filtered"
    assert (out / "filtered_a.jsonl").read_bytes() == b"".join(line + b"\n" for line in [*kept, kept[0]])
    told = (out / "removed_a.jsonl").read_bytes().split(b"\n")[:-1]
    assert [json.loads(t) for t in told] == [{**json.loads(r), "filter_reason": "too_short"} for r in removed]
    assert all(t.startswith(r.rstrip()[:-1]) for t, r in zip(told, removed, strict=True))


def test_csv_keeps_quotes_newlines_and_blank_lines_apart(tmp_path: Path) -> None:
    good = prose(1)
    rows = [
        ["1", f'"{good}"\nand a line', "a\rb"],
        ["2", "short, with comma", 'q"q'],
        ["3", f"\r\n{good}\r", ""],
        ["4", "", "ä"],
    ]
    sink = io.StringIO()
    csv.writer(sink, quoting=csv.QUOTE_ALL).writerows([["id", "text", "größe"], *rows])
    data = sink.getvalue().encode() + b"\r\n" + b"5,only two\r\n" + b'6,"' + good.encode() + b'",\xff\r\n'
    path = tmp_path / "a.csv"
    path.write_bytes(b"\xef\xbb\xbf" + data)
    result = run(path, tmp_path / "out")
    check_conservation(result)
    assert dict(result.counts.quarantined) == {"bad_csv": 1, "not_utf8": 1}
    assert result.counts.blank == 1

    def parsed(name: str) -> list[list[str]]:
        text = (tmp_path / "out/filtered" / name).read_bytes().decode()
        return list(csv.reader(io.StringIO(text, newline="")))

    assert parsed("filtered_a.csv") == [["id", "text", "größe"], rows[0], rows[2]]
    assert parsed("removed_a.csv") == [
        ["id", "text", "größe", "filter_reason"],
        [*rows[1], "too_short"],
        [*rows[3], "too_short"],
    ]


def rich_table(n: int) -> pa.Table:
    columns = {
        "id": pa.array(range(n), pa.int32()),
        "text": pa.array([prose(i) if i % 3 else None if i % 2 else "short" for i in range(n)], pa.large_string()),
        "list": pa.array([[i, None] for i in range(n)], pa.list_(pa.int16())),
        "struct": pa.array([{"a": i, "b": {"c": str(i)}} if i % 5 else None for i in range(n)]),
        "decimal": pa.array([f"{i}.25" for i in range(n)]).cast(pa.decimal128(12, 2)),
        "time": pa.array([i * 10**9 for i in range(n)], pa.int64()).cast(pa.timestamp("us", "Europe/Berlin")),
        "nothing": pa.nulls(n),
        "bytes": pa.array([b"\xff\0"] * n, pa.binary()),
        "map": pa.array([[("k", i)] for i in range(n)], pa.map_(pa.string(), pa.int64())),
        "word": pa.array([f"w{i // 40}" for i in range(n)]).dictionary_encode(),
    }
    table = pa.table(columns)
    key = pa.field("id", pa.int32(), nullable=False, metadata={"unit": "number"})
    return table.cast(table.schema.set(0, key).with_metadata({"made": "by hand"}))


@pytest.mark.parametrize("kind", ["parquet", "file", "stream"])
def test_tables_keep_their_columns_and_types(tmp_path: Path, kind: str) -> None:
    table = rich_table(100)
    path = tmp_path / ("a.parquet" if kind == "parquet" else "a.arrow")
    if kind == "parquet":
        pq.write_table(table, path, row_group_size=30)
    elif kind == "file":
        with pa.ipc.new_file(path, table.schema) as sink:
            sink.write_table(table, max_chunksize=30)
    else:
        with pa.ipc.new_stream(path, table.schema) as sink:
            for start in range(0, 100, 40):  # each piece with a dictionary of its own
                piece = table.slice(start, 40)
                words = piece["word"].cast(pa.string()).combine_chunks().dictionary_encode()
                sink.write_table(piece.set_column(9, "word", words))
    result = run(path, tmp_path / "out", chunk_bytes=1024, max_quarantined=100)
    check_conservation(result)
    assert dict(result.counts.quarantined) == {"text_not_string": 17}
    whole = arrow_or_parquet(path)
    kept = arrow_or_parquet(tmp_path / f"out/filtered/filtered_{path.name}")
    removed = arrow_or_parquet(tmp_path / f"out/filtered/removed_{path.name}")
    assert kept.schema.equals(whole.schema, check_metadata=True)
    assert removed.schema.equals(whole.schema.append(pa.field("filter_reason", pa.string())), check_metadata=True)
    texts = whole["text"].to_pylist()
    assert kept.to_pylist() == whole.filter(pa.array([len(t or "") > 50 for t in texts])).to_pylist()
    assert (
        removed.drop_columns("filter_reason").to_pylist()
        == whole.filter(pa.array([t == "short" for t in texts])).to_pylist()
    )
    assert set(removed["filter_reason"].to_pylist()) == {"too_short"}


def test_small_ranges_do_not_make_small_row_groups(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    write(path, [{"text": prose(i)} for i in range(60)])
    run(path, tmp_path / "out", chunk_bytes=1024)
    assert pq.ParquetFile(tmp_path / "out/filtered/filtered_a.parquet").num_row_groups == 1
    removed = pq.ParquetFile(tmp_path / "out/filtered/removed_a.parquet")
    assert removed.metadata.num_rows == 0
    assert removed.schema_arrow.names == ["text", "filter_reason"]


def test_harness_lines_with_several_documents(tmp_path: Path) -> None:
    good, long, short = prose(1), "again " * 60, "no"

    def sample(doc_id: int, resps: list[list[str]], filter_: str = "none") -> dict[str, Any]:
        return {"doc_id": doc_id, "resps": resps, "filter": filter_}

    rows = [
        sample(0, [[good, prose(2)], [prose(3)]]),
        sample(1, [[good, short], [good]]),
        sample(2, [[short, long], [short, long]]),
        sample(0, [[good, prose(2)], [prose(3)]], "strict"),
        sample(2, [[short, long], [short, long]], "strict"),
        sample(3, [[good]]),
    ]
    path = tmp_path / "samples_x.jsonl"
    write(path, rows)
    result = run(path, tmp_path / "out")
    check_conservation(result)
    assert result.counts.filter_duplicates == 2
    assert result.counts.documents == 3 + 3 + 4 + 1
    assert read(tmp_path / "out/filtered/filtered_samples_x.jsonl") == [rows[0], rows[5]]
    removed = read(tmp_path / "out/filtered/removed_samples_x.jsonl")
    assert [r["filter_reason"] for r in removed] == [
        "too_short",
        "too_short; pathological_repetition",
        "filter_duplicate",
        "filter_duplicate",
    ]


def test_a_row_the_tagger_fails_on_is_removed(tmp_path: Path, coin: str) -> None:
    path = tmp_path / "a.jsonl"
    write(path, [{"text": t} for t in ["keep 1", "x", "lose", "keep 2"]])
    result = run(path, tmp_path / "out", keep=coin)
    check_conservation(result)
    assert result.summary["filtered"]["removed"] == {"tagger_failed": 1, "not coin.is_heads": 1}
    assert [r["text"] for r in read(tmp_path / "out/filtered/filtered_a.jsonl")] == ["keep 1", "keep 2"]
    assert read(tmp_path / "out/filtered/removed_a.jsonl") == [
        {"text": "x", "filter_reason": "tagger_failed"},
        {"text": "lose", "filter_reason": "not coin.is_heads"},
    ]
    assert dict(result.counts.quarantined) == {"tagger:coin:ValueError": 1}


@pytest.mark.parametrize("preset", ["strict", "lenient"])
def test_reference_verdicts(tmp_path: Path, golden_docs: list[dict[str, Any]], preset: str) -> None:
    path = tmp_path / "docs.jsonl"
    write(path, [{"id": d["id"], "text": d["text"]} for d in golden_docs])
    result = run(path, tmp_path / "out", repetition={"preset": preset})
    check_conservation(result)
    wanted = {d["id"]: d["filter_main" if preset == "strict" else "filter_default"] for d in golden_docs}
    kept = [r["id"] for r in read(tmp_path / "out/filtered/filtered_docs.jsonl")]
    assert kept == [i for i, verdict in wanted.items() if verdict["passed"]]
    assert 0 < len(kept) < len(wanted)
    assert {r["id"]: r["filter_reason"] for r in read(tmp_path / "out/filtered/removed_docs.jsonl")} == {
        i: verdict["reason"] for i, verdict in wanted.items() if not verdict["passed"]
    }


def test_limit_and_sample(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    rows = [{"id": i, "text": prose(i) if i % 2 else "short"} for i in range(200)]
    write(path, rows)
    result = run(path, tmp_path / "limited", limit=51, chunk_bytes=2048)
    check_conservation(result)
    assert [r["id"] for r in read(tmp_path / "limited/filtered/filtered_a.jsonl")] == list(range(1, 51, 2))
    sampled = run(path, tmp_path / "sampled", sample=0.25, seed=3)
    check_conservation(sampled)
    assert sampled.counts.unsampled == 200 - sampled.counts.read > 100
    kept = read(tmp_path / "sampled/filtered/filtered_a.jsonl")
    removed = read(tmp_path / "sampled/filtered/removed_a.jsonl")
    assert len(kept) + len(removed) == sampled.counts.read > 20
    assert all(r["id"] % 2 for r in kept)


def test_relative_paths_are_kept(tmp_path: Path) -> None:
    for name in ("a.jsonl", "deep/er/a.jsonl.gz"):
        path = tmp_path / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        write(path, [{"text": prose(1)}])
    run(tmp_path / "in", tmp_path / "out")
    assert set(outputs(tmp_path / "out")) == {
        "filtered_a.jsonl",
        "removed_a.jsonl",
        "deep/er/filtered_a.jsonl.gz",
        "deep/er/removed_a.jsonl.gz",
    }
    run([f"one={tmp_path}/in/a.jsonl"], tmp_path / "labelled")
    assert "one/filtered_a.jsonl" in outputs(tmp_path / "labelled")


# What is done again, and what is not


def test_workers_make_no_difference(tmp_path: Path, coin: str) -> None:
    for kind in ("jsonl.zst", "csv.gz", "parquet"):
        (tmp_path / "in").mkdir(exist_ok=True)
        write(
            tmp_path / f"in/a.{kind}", [{"id": str(i), "text": ("keep", "lose")[i % 2] + f" {i}"} for i in range(300)]
        )
    run(tmp_path / "in", tmp_path / "one", keep=coin, chunk_bytes=1024)
    run(tmp_path / "in", tmp_path / "two", keep=coin, chunk_bytes=1024, workers=2)
    assert outputs(tmp_path / "one") == outputs(tmp_path / "two")
    assert len(outputs(tmp_path / "one")) == 6


@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
def test_a_second_run_does_nothing_and_a_changed_input_is_filtered_again(tmp_path: Path, coin: str, kind: str) -> None:
    path = tmp_path / f"in/a.{kind}"
    path.parent.mkdir()
    rows = [{"text": ("keep", "lose")[i % 2] + f" {i}", "note": "old"} for i in range(20)]
    write(path, rows)
    write(tmp_path / "in/b.jsonl", rows)
    first = run(path.parent, tmp_path / "out", keep=coin)
    before = marks(tmp_path / "out")
    second = run(path.parent, tmp_path / "out", keep=coin)
    assert marks(tmp_path / "out") == before
    assert second.summary["filtered"] == first.summary["filtered"]
    # The text is as it was: no tag changes, but the rows do.
    rows[3]["note"] = rows[4]["note"] = "new"
    write(path, rows)
    run(path.parent, tmp_path / "out", keep=coin)
    assert [r["note"] for r in read(tmp_path / f"out/filtered/filtered_a.{kind}")][:3] == ["old", "old", "new"]
    assert read(tmp_path / f"out/filtered/removed_a.{kind}")[1]["note"] == "new"
    after = marks(tmp_path / "out")
    untouched = [name for name in before if after[name] == before[name]]
    assert any("filtered_b.jsonl" in name for name in untouched)
    assert not any(f"filtered_a.{kind}" in name for name in untouched)


def test_a_lost_or_cut_file_is_written_again(tmp_path: Path, coin: str) -> None:
    path = tmp_path / "a.jsonl"
    write(path, [{"text": "keep"}, {"text": "lose"}])
    run(path, tmp_path / "out", keep=coin)
    whole = outputs(tmp_path / "out")
    (tmp_path / "out/filtered/filtered_a.jsonl").unlink()
    (tmp_path / "out/filtered/removed_a.jsonl").write_bytes(b"{")
    run(path, tmp_path / "out", keep=coin)
    assert outputs(tmp_path / "out") == whole
    (tmp_path / "out/filtered/filtered_a.jsonl").write_bytes(b"x" * len(whole["filtered_a.jsonl"]))
    run(path, tmp_path / "out", keep=coin, overwrite=True)
    assert outputs(tmp_path / "out") == whole


@pytest.mark.e2e
def test_a_killed_run_leaves_no_half_file(tmp_path: Path, coin: str) -> None:
    path = tmp_path / "a.jsonl.gz"
    write(path, [{"id": i, "text": ("keep", "lose")[i % 2] + f" {i} {prose(i)}"} for i in range(20_000)])
    run(path, tmp_path / "whole", keep=coin, chunk_bytes=100_000)
    whole = outputs(tmp_path / "whole")
    arguments = ["run", "filter", "-i", path, "-o", tmp_path / "out", "--keep", coin, "--set", "chunk_bytes=100000"]
    command = [str(a) for a in [COMMAND, *arguments, "-w", "1"]]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    folder = tmp_path / "out/filtered"
    while process.poll() is None and not (folder.is_dir() and any(n.endswith(".tmp") for n in os.listdir(folder))):
        pass
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert all(
        Path(name).name.startswith(".") or whole[name] == data for name, data in outputs(tmp_path / "out").items()
    )
    assert not (tmp_path / "out/summary/filtered").exists()
    run(path, tmp_path / "out", keep=coin, chunk_bytes=100_000)
    left = {n: data for n, data in outputs(tmp_path / "out").items() if not n.startswith(".")}
    assert left == whole


def test_another_rule_writes_other_files(tmp_path: Path) -> None:
    pytest.importorskip("duckdb")
    path = tmp_path / "a.jsonl"
    write(path, [{"text": prose(i) if i % 3 else "short"} for i in range(30)])
    run(path, tmp_path / "out")
    by_keep = outputs(tmp_path / "out")
    found = run(path, tmp_path / "out", where="repetition.reason = 'too_short'").summary["filtered"]
    assert found["kept"] == 10
    assert read(tmp_path / "out/filtered/filtered_a.jsonl") == [{"text": "short"}] * 10
    same = run(path, tmp_path / "out", where="is_kept").summary["filtered"]
    assert same["removed"] == {"where: is_kept": 10}
    assert outputs(tmp_path / "out")["filtered_a.jsonl"] == by_keep["filtered_a.jsonl"]
    run(path, tmp_path / "out")
    assert outputs(tmp_path / "out") == by_keep


def test_a_broken_input_is_filtered_up_to_the_break(tmp_path: Path, coin: str) -> None:
    (tmp_path / "in").mkdir()
    rows = [{"text": ("keep", "lose")[i % 2] + f" {i} {os.urandom(64).hex()}"} for i in range(4000)]
    path = tmp_path / "in/a.jsonl.zst"
    write(path, rows)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 2 // 3])
    write(tmp_path / "in/b.jsonl", rows[:4])
    result = run(tmp_path / "in", tmp_path / "out", keep=coin)
    assert result.exit_code == 1
    assert any("broken input: a.jsonl.zst" in m for m in result.messages)
    check_conservation(result)
    kept = read(tmp_path / "out/filtered/filtered_a.jsonl.zst")
    removed = read(tmp_path / "out/filtered/removed_a.jsonl.zst")
    n = len(kept) + len(removed)
    assert 0 < n < 4000
    assert kept == rows[:n:2]
    assert [r["text"] for r in removed] == [r["text"] for r in rows[1:n:2]]
    assert len(read(tmp_path / "out/filtered/filtered_b.jsonl")) == 2


def test_damage_outside_the_tagged_columns_is_told(tmp_path: Path, coin: str) -> None:
    path = tmp_path / "a.parquet"
    table = pa.table({"text": ["keep"] * 500, "other": [os.urandom(50) for _ in range(500)]})
    pq.write_table(table, path, compression="zstd", use_dictionary=False)
    column = pq.ParquetFile(path).metadata.row_group(0).column(1)
    data = bytearray(path.read_bytes())
    data[column.data_page_offset : column.data_page_offset + column.total_compressed_size] = bytes(
        column.total_compressed_size
    )
    path.write_bytes(data)
    result = run(path, tmp_path / "out", keep=coin)
    assert result.exit_code == 1
    assert any("a.parquet is damaged among rows 0 to 499, in columns that tagging" in m for m in result.messages)
    assert not outputs(tmp_path / "out")


def test_one_broken_table_leaves_the_other_files_filtered(tmp_path: Path, coin: str) -> None:
    (tmp_path / "in").mkdir()
    table = pa.table({"text": ["keep", "drop"] * 5})
    pq.write_table(table, tmp_path / "in/a.parquet")
    data = (tmp_path / "in/a.parquet").read_bytes()
    (tmp_path / "in/b.parquet").write_bytes(data[:-20])
    (tmp_path / "in/c.parquet").write_bytes(data + data)
    pq.write_table(table, tmp_path / "in/d.parquet")
    with pa.ipc.new_stream(tmp_path / "in/e.arrow", table.schema) as writer:
        writer.write_table(table)
    for workers in (1, 2):
        result = run(tmp_path / "in", tmp_path / f"out{workers}", keep=coin, workers=workers)
        assert result.exit_code == 1
        assert result.summary["filtered"]["kept"] + sum(result.summary["filtered"]["removed"].values()) == 30
        assert any(m.startswith("b.parquet was not filtered: ") for m in result.messages)
        assert any("two Parquet files joined" in f["why"] for f in result.without_documents)
        names = ("a.parquet", "c.parquet", "d.parquet", "e.arrow")
        assert outputs(tmp_path / f"out{workers}").keys() == {
            f"{k}_{n}" for n in names for k in ("filtered", "removed")
        }


# What it says


@pytest.mark.parametrize(
    ("keep", "told"),
    [
        ("x", "keep takes TAGGER.COLUMN, got 'x'"),
        ("repetitoin.is_kept", "unknown tagger 'repetitoin' (keep repetitoin.is_kept): did you mean 'repetition'?"),
        (
            "repetition.is_kpt",
            "unknown boolean column 'is_kpt' (keep repetition.is_kpt): did you mean 'is_kept'? Known: is_kept",
        ),
        (
            "length.char_len",
            "keep takes a column of true and false, and length has none, got 'length.char_len'; try repetition.is_kept",
        ),
    ],
)
def test_what_keep_says(tmp_path: Path, keep: str, told: str) -> None:
    path = tmp_path / "a.jsonl"
    write(path, [{"text": "a"}])
    with pytest.raises(ConfigError) as error:
        run(path, tmp_path / "out", keep=keep)
    assert str(error.value).startswith(told)


def test_where_the_rows_of_many_files_are(tmp_path: Path) -> None:
    paths = [tmp_path / "a.jsonl", tmp_path / "b.jsonl"]
    for path in paths:
        write(path, [{"text": prose(1)}, {"text": "short"}])
    result = run([str(p) for p in paths], tmp_path / "out")
    assert f"  {tmp_path}/out/filtered/ (kept rows: filtered_*, removed rows: removed_*)" in table(result)


def test_rows_and_documents_add_up(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"text": "one"}\n\n{"text": "two"}\n{"text": \n')
    result = tagcorpus.run("tag", input=path, output=tmp_path / "out", taggers="length", workers=1)
    assert table(result).startswith("2 documents (1 blank, 1 in quarantine, of 4 rows) -> ")
    path.write_text('{"text": "one"}\n')
    result = tagcorpus.run("tag", input=path, output=tmp_path / "whole", taggers="length", workers=1)
    assert table(result).startswith("1 document -> ")


def lines_of(done: Ended) -> Iterable[str]:
    return [" ".join(line.split()) for line in done.out.splitlines()]


def test_command_line(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    write(path, [{"text": prose(i) if i % 4 else "short"} for i in range(8)])
    command = ["run", "filter", "--input", str(path), "--output", str(tmp_path / "out")]
    done = invoke(*command)
    assert done.code == 0
    assert "kept 6, removed 2 (by repetition.is_kept)" in lines_of(done)
    assert f"kept rows: {tmp_path}/out/filtered/filtered_a.jsonl" in lines_of(done)
    assert f"removed rows: {tmp_path}/out/filtered/removed_a.jsonl" in lines_of(done)
    assert "2 too_short" in lines_of(done)
    lenient = [*command[:-1], str(tmp_path / "lenient"), "--set", "repetition.preset=lenient", "--json"]
    done = invoke(*lenient)
    assert done.code == 0
    assert done.json()["summary"]["filtered"]["removed"] == {"too_short": 8}
    done = invoke(*lenient[:-4], str(tmp_path / "out"), *lenient[-3:])
    assert done.code == 2
    assert "already holds 'repetition'" in done.err
    assert "Traceback" not in done.err
