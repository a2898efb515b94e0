"""Messages for ordinary mistakes: what is wrong, where, and what to do."""

from __future__ import annotations

from pathlib import Path

import pytest
from slurm_commands import invoke

from tagcorpus.pipelines.doctor.installation import Installation
from tagcorpus.pipelines.runs.result_text import _folded


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["run", "tga"], "No such command 'tga'. Did you mean 'tag'?"),
        (["reprot", "x"], "No such command 'reprot'. Did you mean 'report'?"),
        (["filter"], "No such command 'filter'. Did you mean 'run filter'?"),
    ],
)
def test_the_nearest_command_is_named(words: list[str], message: str) -> None:
    done = invoke(*words)
    assert (done.code, message in done.err) == (2, True), done.err


def test_an_alias_is_a_command(tmp_path: Path) -> None:
    assert "No such command" not in invoke("distill", str(tmp_path / "none"), "--output", str(tmp_path / "o")).err


def test_an_input_without_documents_has_no_table(tmp_path: Path) -> None:
    (tmp_path / "empty.jsonl").touch()
    done = invoke("run", "tag", "--input", str(tmp_path / "empty.jsonl"), "--output", str(tmp_path / "o"))
    assert done.code == 3
    assert done.out.splitlines() == [f"0 documents -> {tmp_path / 'o'}"]


def test_an_empty_folder_is_said_to_be_empty(tmp_path: Path) -> None:
    done = invoke("run", "tag", "--input", str(tmp_path), "--output", str(tmp_path / "o"))
    assert done.err == f"tagcorpus: no input file in '{tmp_path}' (--input): the folder is empty\n"


def test_a_table_is_not_a_store(tmp_path: Path) -> None:
    pytest.importorskip("pandas")
    path = tmp_path / "scores.csv"
    path.write_text("id,label\n")
    done = invoke("store", "check", str(path))
    assert (done.code, done.err) == (
        2,
        f"tagcorpus: '{path}' cannot be read as a store: a store is a DuckDB export directory or a .duckdb file\n",
    )


@pytest.mark.parametrize(
    ("width", "pieces"),
    [
        (32, ["signals.gopher_hash_to_word_", "ratio"]),
        (33, ["signals.gopher_hash_to_word_ratio"]),
        (7, ["signals", ".gopher", "_hash_", "to_word", "_ratio"]),
    ],
)
def test_long_names_are_cut_behind_underscores(width: int, pieces: list[str]) -> None:
    assert _folded("signals.gopher_hash_to_word_ratio", width) == pieces


def test_doctor_names_four_packages_of_an_extra() -> None:
    pytest.importorskip("tree_sitter")
    (code,) = (f for f in Installation().optional([]) if f.name == "extra code")
    assert code.state == "ok"
    assert code.message.count(", ") == 3
    assert code.message.endswith(" and 10 more")
