"""Files that runs and exports wrote into an input folder are not input of later runs of the same output."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from slurm_commands import invoke


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "data").mkdir()
    for name in "ab":
        (tmp_path / f"data/{name}.jsonl").write_text(json.dumps({"text": name}) + "\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path / "data"


def planned(output: Path) -> set[str]:
    return {p.name.removesuffix(".json") for p in (output / "plan").iterdir()}


def tagged(*arguments: str) -> str:
    done = invoke("run", "tag", "--workers", "1", *arguments)
    assert done.code == 0, done.err
    return done.err


@pytest.mark.parametrize("output", ["data", "data.tagcorpus"])
def test_an_export_is_no_input(folder: Path, output: str) -> None:
    given = ["--input", "data", *(["--output", "data"] if output == "data" else [])]
    tagged(*given, "-t", "length")
    for name in ("out.parquet", "out.jsonl"):
        done = invoke("export", output, f"data/{name}")
        assert (done.code, "is in a folder of input files" in done.out) == (0, True), done.err
    assert "written by tagcorpus" in tagged(*given, "-t", "length,digest")
    assert planned(folder.parent / output) == {"a.jsonl", "b.jsonl"}
    (folder / "out.jsonl").write_text('{"text": "edited, and of the user"}\n')
    tagged(*given, "-t", "length")
    assert planned(folder.parent / output) == {"a.jsonl", "b.jsonl", "out.jsonl"}
    tagged("--input", "data", "--output", "other", "-t", "length")
    more = set() if output == "data" else {"out.parquet"}
    assert planned(folder.parent / "other") == {"a.jsonl", "b.jsonl", "out.jsonl"} | more
    tagged("--input", "data/out.parquet", "--output", "named", "-t", "length")
    assert planned(folder.parent / "named") == {"out.parquet"}


def test_the_file_of_a_run_is_no_input_of_the_next(folder: Path) -> None:
    tagged("--input", "data", "--output", "data/tags.csv", "-t", "length")
    tagged("--input", "data", "-t", "digest")
    assert planned(folder.parent / "data.tagcorpus") == {"a.jsonl", "b.jsonl"}


def test_an_export_beside_an_input_file_is_not_named(folder: Path) -> None:
    tagged("--input", str(folder / "a.jsonl"), "-t", "length")
    assert "folder of input files" not in invoke("export", "a.tagcorpus", "data/out.jsonl").out
