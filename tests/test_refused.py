"""A run that is refused (exit 2) leaves nothing in its output; what was there stays."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from slurm_commands import invoke

from tagcorpus.pipelines.attributes.bill import FILE as BILL
from tagcorpus.pipelines.options.commands.tag import TagOptions
from tagcorpus.pipelines.progress.display import Display
from tagcorpus.pipelines.runs.place import Place
from tagcorpus.pipelines.runs.run import Run
from tagcorpus.pipelines.storage.folder import Folder


def documents(folder: Path) -> str:
    path = folder / "in.jsonl"
    path.write_text(json.dumps({"text": "How do I make bread?"}) + "\n")
    return str(path)


REFUSED = [
    ("tag", "--text-column", "body"),
    ("filter", "--where", "source = 'web'"),
    ("filter", "--top", "10%", "--by", "length.char_len"),
    ("tokenize", "--where", "source = 'web'"),
]


@pytest.mark.parametrize("words", REFUSED)
def test_a_new_folder_is_gone(tmp_path: Path, words: tuple[str, ...]) -> None:
    pytest.importorskip("duckdb")
    pipeline, *options = words
    done = invoke("run", pipeline, "-i", documents(tmp_path), "-o", str(tmp_path / "out"), "--workers", "1", *options)
    assert done.code == 2
    assert "no attributes" not in done.err or "--by: no attributes" in done.err
    assert [p.name for p in tmp_path.iterdir()] == ["in.jsonl"]


@pytest.mark.parametrize("is_mine", [False, True])
def test_a_folder_that_was_there_stays(tmp_path: Path, is_mine: bool) -> None:
    (tmp_path / "out").mkdir()
    if is_mine:
        (tmp_path / "out/mine.txt").write_text("mine")
    words = ("-i", documents(tmp_path), "-o", str(tmp_path / "out"), "--workers", "1", "--text-column", "body")
    assert invoke("run", "tag", *words).code == 2
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["mine.txt"] * is_mine


def test_earlier_runs_stay(tmp_path: Path) -> None:
    pytest.importorskip("duckdb")
    words = ("-i", documents(tmp_path), "-o", str(tmp_path / "out"), "--workers", "1")
    assert invoke("run", "tag", *words, "--taggers", "length").code == 0
    before = sorted(p for p in (tmp_path / "out").rglob("*"))
    assert invoke("run", "filter", *words, "--where", "source = 'web'").code == 2
    assert sorted(p for p in (tmp_path / "out").rglob("*")) == before


def begun(folder: Path, **more: Any) -> Run:
    run = Run("tag", TagOptions(), Display(quiet=True), Place(None, Folder(str(folder))), summary_name="tag", **more)
    run.write_command([])
    return run


def test_a_run_with_a_bill_or_of_another_process_stays(tmp_path: Path) -> None:
    with_bill, of_another = begun(tmp_path / "a"), begun(tmp_path / "b", name="x")
    with_bill.output.publish(f"runs/{with_bill.name}/{BILL}", b"{}")
    for run in (with_bill, of_another):
        assert not run.withdraw()
        assert run.output.read(f"runs/{run.name}/command.json")
        run.heartbeat.stop()
    assert begun(tmp_path / "c").withdraw()
    assert not (tmp_path / "c").exists()


def test_outputs_among_inputs_are_announced_once(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    words = ("run", "tag", "-i", documents(tmp_path / "in"), "--taggers", "length", "--workers", "1", "-o")
    first, again, elsewhere = (invoke(*words, str(tmp_path / name)) for name in ("in", "in", "out"))
    assert (first.code, again.code, elsewhere.code) == (0, 0, 0)
    assert (
        f"{tmp_path / 'in'} has input files in it, and the folders attributes, plan, runs and summary go" in first.err
    )
    assert "has input files in it" not in again.err + elsewhere.err
