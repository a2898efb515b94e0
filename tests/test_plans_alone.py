"""A folder in which a run left a plan and no result is nobody's: the corrected command goes on there."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

import tagcorpus
from tagcorpus.cli import main
from tagcorpus.errors import InputError
from tagcorpus.pipelines.progress.heartbeat import process


def invoke(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["run", *map(str, arguments)])


def texts(path: Path, n: int = 3, column: str = "text") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps({column: f"text {i} of {path.name}"}) + "\n" for i in range(n)))
    return path


def plans(folder: Path) -> list[str]:
    return sorted(p.name for p in (folder / "plan").rglob("*.json"))


def plan_alone(folder: Path, source: Path) -> None:
    """What a run leaves that is killed after its plan, or was refused by an earlier version: no part, no claim."""
    tagcorpus.run("tag", input=source, output=folder, taggers="length", workers=1)
    for path in sorted(folder.rglob("*"), reverse=True):
        if path.is_file() and "plan" not in path.parts and "runs" not in path.parts:
            path.unlink()


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SLURM_CPUS_PER_TASK", "1")


def test_a_refused_run_leaves_no_plan(tmp_path: Path) -> None:
    source = texts(tmp_path / "a.jsonl", column="body")
    for more in ([], ["--limit", "2"]):
        refused = invoke("tag", "-i", source, "-o", "out", *more, "-t", "length")
        assert (refused.exit_code, plans(tmp_path / "out")) == (InputError.exit_code, [])
    assert invoke("tag", "-i", texts(tmp_path / "b.jsonl"), "-o", "out", "-t", "length").exit_code == 0
    assert plans(tmp_path / "out") == ["b.jsonl.json"]
    assert len(tagcorpus.read("out", ["length"]).to_table()) == 3


def test_a_refused_run_keeps_the_plan_of_results(tmp_path: Path) -> None:
    source = texts(tmp_path / "a.jsonl")
    assert invoke("tag", "-i", source, "-o", "out", "-t", "length").exit_code == 0
    before = (tmp_path / "out/plan/a.jsonl.json").read_bytes()
    assert invoke("tag", "-i", source, "-o", "out", "-t", "length", "--text-column", "body").exit_code == 2
    assert (tmp_path / "out/plan/a.jsonl.json").read_bytes() == before


@pytest.mark.parametrize("output", [[], ["-o", "table.csv"]])
def test_another_input_takes_the_default_folder(tmp_path: Path, output: list[str]) -> None:
    first, second = texts(tmp_path / "one/acme/m/table.jsonl"), texts(tmp_path / "two/acme/m/table.jsonl", 5)
    plan_alone(tmp_path / "table.tagcorpus", first)
    done = invoke("tag", "-i", second, *output, "-t", "length")
    assert done.exit_code == 0, done.output
    assert len(tagcorpus.read("table.tagcorpus", ["length"]).to_table()) == 5


def test_features_with_a_models_file_after_a_refused_run(tmp_path: Path) -> None:
    """As in the issue: two ways to name the same table, and the first was refused."""
    texts(tmp_path / "in/acme/m/a.jsonl", column="body")
    arguments = ["features", "-o", "table.csv", "-t", "length"]
    assert invoke(*arguments, "-i", "in").exit_code == 2
    texts(tmp_path / "gens/a.jsonl")
    (tmp_path / "models.yaml").write_text("acme/m: gens\n")
    done = invoke(*arguments, "--models", "models.yaml", "--dry-run")
    assert done.exit_code == 0, done.output
    done = invoke(*arguments, "--models", "models.yaml")
    assert done.exit_code == 3, done.output  # the texts are too short for the filter


@pytest.mark.parametrize(("output", "option"), [([], "--output"), (["-o", "a.csv"], "--work")])
def test_results_are_not_ours_to_add_to(tmp_path: Path, output: list[str], option: str) -> None:
    assert invoke("tag", "-i", texts(tmp_path / "a.jsonl"), "-t", "length").exit_code == 0
    refused = invoke("tag", "-i", texts(tmp_path / "other/a.jsonl"), *output, "-t", "length")
    assert refused.exit_code == 2
    assert f"holds results of another input ({tmp_path}/a.jsonl); give {option} FOLDER" in refused.output
    assert plans(tmp_path / "a.tagcorpus") == ["a.jsonl.json"]


def test_a_dry_run_removes_nothing(tmp_path: Path) -> None:
    plan_alone(tmp_path / "a.tagcorpus", texts(tmp_path / "a.jsonl"))
    assert invoke("tag", "-i", texts(tmp_path / "other/a.jsonl"), "-t", "length", "--dry-run").exit_code == 0
    assert plans(tmp_path / "a.tagcorpus") == ["a.jsonl.json"]


def test_the_plan_of_a_run_at_work_is_left_alone(tmp_path: Path) -> None:
    plan_alone(tmp_path / "a.tagcorpus", texts(tmp_path / "a.jsonl"))
    (run,) = (tmp_path / "a.tagcorpus/runs").iterdir()
    (run / "ledger.json").unlink()
    alive = {**process(), "time": 4e9}  # of this process, and not long ago
    (run / "progress.json").write_text(json.dumps(alive))
    arguments = ["tag", "-i", texts(tmp_path / "other/a.jsonl"), "-t", "length"]
    refused = invoke(*arguments)
    assert refused.exit_code == 2
    assert "is in use by a run of another input" in refused.output
    (run / "progress.json").write_text(json.dumps(alive | {"pid": dead_pid()}))
    assert invoke(*arguments).exit_code == 0


def dead_pid() -> int:
    process = subprocess.Popen(["true"])
    process.wait()
    return process.pid


def test_a_plan_alone_is_taken_for_a_trial(tmp_path: Path) -> None:
    source = texts(tmp_path / "a.jsonl", 100)
    plan_alone(tmp_path / "out", source)
    assert invoke("tag", "-i", source, "-o", "out", "-t", "length", "--limit", "5").exit_code == 0
    # What holds results is refused as ever.
    assert invoke("tag", "-i", source, "-o", "other", "-t", "length").exit_code == 0
    assert invoke("tag", "-i", source, "-o", "other", "-t", "length", "--limit", "5").exit_code == 2
