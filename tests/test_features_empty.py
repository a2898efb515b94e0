"""A model's row without a single value is told with its reason, and is exit 3."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import tagcorpus
from tagcorpus.pipelines.runs.result import Result

PROSE = Path(__file__).resolve().parents[1] / "examples/generations/harbour/prose-1b/samples.jsonl"
GOOD = [json.loads(line)["text"] for line in PROSE.read_text().splitlines()]
LOOP = "the same line again and again\n" * 40


def generations(root: Path, model: str, texts: list[Any]) -> None:
    (root / model).mkdir(parents=True, exist_ok=True)
    (root / model / "gens.jsonl").write_text("".join(json.dumps({"text": t}) + "\n" for t in texts))


def run(root: Path, output: Path, **options: Any) -> Result:
    options = {"taggers": "length,keywords", **options}
    result: Result = tagcorpus.run("features", input=root, output=output, workers=1, **options)
    return result


@pytest.fixture
def root(tmp_path: Path) -> Path:
    generations(tmp_path / "in", "acme/good", GOOD[:4])
    return tmp_path / "in"


def test_a_row_of_which_nothing_is_kept(root: Path, tmp_path: Path) -> None:
    generations(root, "acme/loops", [f"{i} {LOOP}" for i in range(20)])
    result = run(root, tmp_path / "work")
    assert result.exit_code == 3
    (told,) = [m for m in result.messages if m.startswith("acme/loops: no value at all: 0 of 20 kept (removed: 20 ")]
    assert told.count("\n") == 0
    assert "1 row of the table has no value at all" in result.messages
    assert json.loads(Path(result.ledger).read_text())["exit_code"] == 3
    assert (tmp_path / "work/features.csv").is_file()
    assert run(root, tmp_path / "work").exit_code == 3  # also where everything is resumed


def test_a_row_of_which_too_little_is_kept(root: Path, tmp_path: Path) -> None:
    generations(root, "acme/some", [f"{i} {LOOP}" for i in range(6)] + GOOD[:2])
    result = run(root, tmp_path / "work", taggers="length")
    assert result.exit_code == 3
    (told,) = [m for m in result.messages if m.startswith("acme/some: no value at all: 2 of 8 kept")]
    assert "a smaller share than --min-kept-share 0.5" in told
    # With a value that is of the model as a whole, the row is not empty.
    assert run(root, tmp_path / "work", taggers="length,entropy").exit_code == 0


def test_a_row_without_any_generation(root: Path, tmp_path: Path) -> None:
    generations(root, "acme/none", [None, 3])
    result = run(root, tmp_path / "work")
    assert result.exit_code == 3
    assert any(m.startswith("acme/none: not one generation was found") for m in result.messages)


def test_sound_rows_and_runs_of_the_filter_alone(root: Path, tmp_path: Path) -> None:
    assert run(root, tmp_path / "a").exit_code == 0
    result = run(root, tmp_path / "b", taggers="repetition")
    assert (result.exit_code, [m for m in result.messages if "no value" in m]) == (0, [])


def test_some_empty_groups_of_a_corpus_are_told_only(root: Path, tmp_path: Path) -> None:
    generations(root, "globex/loops", [LOOP])
    result = run(root, tmp_path / "work", group_by="level:1")
    assert result.exit_code == 0
    assert any(m.startswith("globex: no value at all: 0 of 1 kept") for m in result.messages)
    only = tmp_path / "only"
    generations(only, "globex/loops", [LOOP])
    assert run(only, tmp_path / "work2", group_by="level:1").exit_code == 3
