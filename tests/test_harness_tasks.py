"""A row of the feature table is of one task, unless more are named; `run tag` pools what it is given."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import tagcorpus
from tagcorpus.cli import main
from tagcorpus.errors import InputError
from tagcorpus.pipelines.progress.display import Display
from tagcorpus.pipelines.runs.result import Result

TIME = "2026-11-28T15-07-54.787788"
PROSE = Path(__file__).resolve().parents[1] / "examples/generations/harbour/prose-1b/samples.jsonl"
TEXTS = [json.loads(line)["text"] for line in PROSE.read_text().splitlines()]


def samples(root: Path, model: str, task: str, texts: Sequence[str] = TEXTS[:2], time: str = TIME) -> Path:
    path = root / model.replace("/", "__") / f"samples_{task}_{time}.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps({"doc_id": i, "resps": [[t]]}) + "\n" for i, t in enumerate(texts)))
    return path


def features(root: Path, output: Path, **options: Any) -> Result:
    result: Result = tagcorpus.run("features", input=root, output=output, taggers="length", workers=1, **options)
    return result


def generations(result: Result) -> dict[str, int]:
    return {row["id"]: row["counts"]["generations"] for row in result.summary["features"]["groups"]}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    path = tmp_path / "out"
    for model in ("toy/a", "toy/b"):
        samples(path, model, "free", TEXTS[:3])
        samples(path, model, "gsm8k")
    return path


def test_several_tasks_of_a_model_are_not_pooled(root: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        features(root, tmp_path / "work")
    told = str(caught.value)
    assert told.startswith("toy/a (and 1 more model) has samples of 2 tasks, free, gsm8k: ")
    assert "task free" in told
    assert not (tmp_path / "work").exists()


def test_a_named_task_is_the_only_one(root: Path, tmp_path: Path) -> None:
    result = features(root, tmp_path / "work", task="gsm8k")
    assert generations(result) == {"toy/a": 2, "toy/b": 2}
    assert any("2 files set aside (not of --task gsm8k): " in m for m in result.messages)
    provenance = json.loads((tmp_path / "work/features.provenance.json").read_text())
    assert provenance["parameters"]["task"] == ["gsm8k"]
    # Another task on the same output: what counted before does not any more.
    assert generations(features(root, tmp_path / "work", task="free")) == {"toy/a": 3, "toy/b": 3}
    assert len(tagcorpus.read(str(tmp_path / "work"), ["length"]).to_table()) == 6


def test_a_file_of_another_task_is_named_once(root: Path, tmp_path: Path) -> None:
    samples(root, "toy/c", "free")
    display = Display(quiet=True)
    result = features(root, tmp_path / "work", task="gsm8k", display=display)
    assert [line for line in display.log if "toy__c" in line or "toy/c/" in line] == [
        line for line in display.log if "3 files set aside (not of --task gsm8k): " in line
    ]
    assert sum("set aside (not of --task gsm8k): " in line for line in display.log) == 1
    assert sum(m.startswith("toy/c: no row, for all of its files are set aside (not of") for m in result.messages) == 1
    assert any("3 files set aside" in note for note in json.loads(Path(result.ledger).read_text())["notes"])


def test_several_named_tasks_are_pooled(root: Path, tmp_path: Path) -> None:
    assert generations(features(root, tmp_path / "work", task=["gsm8k", "free"])) == {"toy/a": 5, "toy/b": 5}


def test_an_unknown_task_is_told_what_there_is(root: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"unknown task 'gsm8' \(task\): did you mean 'gsm8k'\?.*free"):
        features(root, tmp_path / "work", task="gsm8")


def test_a_model_without_the_task_gets_a_note(root: Path, tmp_path: Path) -> None:
    samples(root, "toy/c", "free")
    result = features(root, tmp_path / "work", task="gsm8k")
    assert generations(result) == {"toy/a": 2, "toy/b": 2}
    assert any(m.startswith("toy/c: no row, ") for m in result.messages)


def test_one_task_each_stays_as_it_is(tmp_path: Path) -> None:
    root = tmp_path / "out"
    samples(root, "toy/a", "free")
    samples(root, "toy/a", "free", time="2026-01-01T00-00-00.000000")  # older
    samples(root, "toy/b", "free")
    result = features(root, tmp_path / "work")
    assert (result.exit_code, generations(result)) == (0, {"toy/a": 2, "toy/b": 2})
    assert not [m for m in result.messages if "task" in m]
    samples(root, "toy/c", "gsm8k")
    result = features(root, tmp_path / "work")
    assert len(generations(result)) == 3
    assert any("different tasks, such as free (toy/a), gsm8k (toy/c)" in m for m in result.messages)


def test_shortened_times_and_other_files(tmp_path: Path) -> None:
    """`samples_x_2024.jsonl` is of task x where it holds samples; files of texts are of no task."""
    root = tmp_path / "out"
    for name in ("samples_en.jsonl", "samples_de.jsonl", "samples_part_0001.jsonl"):
        path = root / "toy/a" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"text": f"{TEXTS[0]} {name}"}) + "\n")
    assert generations(features(root, tmp_path / "work")) == {"toy/a": 3}
    other = tmp_path / "other/toy/a"
    other.mkdir(parents=True)
    for name in ("samples_gsm8k_2024.jsonl", "samples_free_2024.jsonl"):
        (other / name).write_text(json.dumps({"doc_id": 0, "resps": [[TEXTS[0]]]}) + "\n")
    with pytest.raises(InputError, match="2 tasks, free, gsm8k"):
        features(tmp_path / "other", tmp_path / "work2")


def test_groups_take_a_task_and_pool_without_one(root: Path, tmp_path: Path) -> None:
    assert generations(features(root, tmp_path / "a", group_by="level:1")) == {"toy__a": 5, "toy__b": 5}
    assert generations(features(root, tmp_path / "b", group_by="level:1", task="free")) == {"toy__a": 3, "toy__b": 3}


def test_run_tag_pools(root: Path, tmp_path: Path) -> None:
    assert (
        tagcorpus.run("tag", input=root, output=tmp_path / "work", taggers="length", workers=1).counts.documents == 10
    )


def test_the_option_on_the_command_line(root: Path, tmp_path: Path) -> None:
    arguments = ["run", "features", "-i", str(root), "-o", str(tmp_path / "w"), "-t", "length", "--workers", "1"]
    done = CliRunner().invoke(main, [*arguments, "--task", "gsm8k", "--task", "free", "--dry-run"])
    assert done.exit_code == 0, done.output
    assert CliRunner().invoke(main, arguments).exit_code == InputError.exit_code
