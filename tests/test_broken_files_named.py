"""Files that are broken are named with the exact reason: before the work, in a dry run, and at the end."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import tagcorpus
from tagcorpus.pipelines.inputs.quarantine import damage_in
from tagcorpus.pipelines.inputs.records import REASONS

LINES = b"".join(json.dumps({"text": f"text {i}"}).encode() + b"\n" for i in range(50))
BROKEN = {
    "lfs.jsonl": (
        b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n",
        "Git LFS pointer. Fetch the file",
    ),
    "page.parquet": (b"<!DOCTYPE html><html>404</html>", "an HTML page, not of a Parquet file. It may be"),
    "packed.jsonl": (gzip.compress(LINES), "a gzip file. Add .gz to its name"),
    "cut.jsonl.gz": (gzip.compress(LINES)[:-20], "the gz stream ends in the middle of a frame"),
}


def run(path: Path, output: Path, **options: Any) -> Any:
    return tagcorpus.run("tag", input=path, output=output, taggers="length", workers=1, **options)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "in").mkdir()
    (tmp_path / "in/good.jsonl").write_bytes(LINES)
    for name, (data, _) in BROKEN.items():
        (tmp_path / "in" / name).write_bytes(data)
    return tmp_path / "in"


@pytest.mark.parametrize("is_dry", [True, False])
def test_all_are_named_once_with_their_reason(folder: Path, is_dry: bool) -> None:
    result = run(folder, folder.parent / "out", dry_run=is_dry)
    begin = "4 broken files in the input: " if is_dry else "broken input: "
    (line,) = (m for m in result.messages if any(name in m for name in BROKEN))
    assert line.startswith(begin)
    assert all(f"{name} (" in line and reason in line for name, (_, reason) in BROKEN.items())
    assert "good.jsonl" not in line
    assert REASONS["broken_file"] not in "".join(result.messages), "the exact reasons say it"
    assert result.exit_code == (0 if is_dry else 1)
    if not is_dry:
        assert {f["input"] for f in result.without_documents} == {*BROKEN} - {"cut.jsonl.gz"}


def test_nothing_is_said_of_good_files(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(LINES)
    assert run(tmp_path / "a.jsonl", tmp_path / "out", dry_run=True).messages == []


def test_damage_that_shows_when_it_is_read(tmp_path: Path) -> None:
    table = pa.table({"text": [f"text {i} {i * 7919:x}" for i in range(2000)]})
    pq.write_table(table, tmp_path / "a.parquet", row_group_size=500, use_dictionary=False)
    data = bytearray((tmp_path / "a.parquet").read_bytes())
    page = pq.read_metadata(tmp_path / "a.parquet").row_group(2).column(0).data_page_offset
    data[page : page + 40] = b"\xff" * 40
    (tmp_path / "a.parquet").write_bytes(data)
    result = run(tmp_path / "a.parquet", tmp_path / "out")
    (line,) = (m for m in result.messages if m.startswith("broken input: a.parquet (damaged parquet file: "))
    assert line.endswith("; what came before the break was taken")
    assert (result.exit_code, result.counts.documents) == (1, 1000)


@pytest.mark.parametrize("data", [None, b"", b'{"row": 1, "reason": "not_json", "message": "x"}\n'])
def test_a_quarantine_without_damage(data: bytes | None) -> None:
    assert damage_in(data) == ""
