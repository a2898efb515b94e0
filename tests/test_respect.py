"""What a run must not do to things that are there already: inputs, earlier results, other people's folders."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

import tagcorpus
from tagcorpus.cli import main
from tagcorpus.pipelines.storage import folder


def invoke(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["run", "tag", "--taggers", "length", *map(str, arguments)])


def write(path: Path, n: int = 60, word: str = "text") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps({"id": i, "text": f"{word} {i}"}) + "\n" for i in range(n)))
    return path


def parts(output: Path) -> dict[str, bytes]:
    return {str(p.relative_to(output)): p.read_bytes() for p in sorted(output.glob("attributes/**/*.parquet"))}


@pytest.mark.parametrize("spelling", ["{0}", "{1}/./in.csv", "link.csv"])
def test_the_result_never_replaces_an_input(tmp_path: Path, spelling: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    source = tmp_path / "in.csv"
    source.write_text("id,text\n1,one\n2,two\n")
    (tmp_path / "link.csv").symlink_to(source)
    before = source.read_bytes()
    result = invoke("-i", source, "-o", spelling.format(source, tmp_path))
    assert result.exit_code == 2
    assert "is an input file" in result.stderr
    assert source.read_bytes() == before


@pytest.mark.parametrize("trial", [["--limit", "5"], ["--sample", "0.5"]])
def test_a_trial_does_not_take_the_place_of_the_whole(tmp_path: Path, trial: list[str]) -> None:
    source, out = write(tmp_path / "a.jsonl"), tmp_path / "out"
    command = ["-i", source, "-o", out, "--set", "chunk_bytes=1024"]
    assert invoke(*command).exit_code == 0
    before = parts(out)
    assert len(before) > 1
    result = invoke(*command, *trial)
    assert result.exit_code == 2
    assert "a trial" in result.stderr
    assert parts(out) == before


def test_the_whole_may_follow_a_trial(tmp_path: Path) -> None:
    source, out = write(tmp_path / "a.jsonl"), tmp_path / "out"
    assert invoke("-i", source, "-o", out, "--limit", "5").exit_code == 0
    assert invoke("-i", source, "-o", out, "--limit", "7").exit_code == 0
    assert invoke("-i", source, "-o", out).exit_code == 0
    assert tagcorpus.read(out).count_rows() == 60


def test_overwrite_replaces_part_by_part_and_removes_nothing_first(tmp_path: Path) -> None:
    source, out = write(tmp_path / "a.jsonl"), tmp_path / "out"
    command = ["-i", source, "-o", out, "--set", "chunk_bytes=1024"]
    assert invoke(*command).exit_code == 0
    before = parts(out)
    times = {p: p.stat().st_mtime_ns for p in out.glob("attributes/**/*.parquet")}
    source.rename(tmp_path / "gone.jsonl")
    assert invoke(*command, "--overwrite").exit_code == 2
    assert parts(out) == before
    (tmp_path / "gone.jsonl").rename(source)
    assert invoke(*command, "--overwrite").exit_code == 0
    assert parts(out) == before
    assert all(p.stat().st_mtime_ns > t for p, t in times.items())


def test_overwrite_takes_over_a_name_with_other_parameters(tmp_path: Path) -> None:
    source, out = write(tmp_path / "a.jsonl"), tmp_path / "out"
    command = ["-i", source, "-o", out, "--taggers", "tokens"]
    assert invoke(*command).exit_code == 0
    assert invoke(*command, "--set", "tokens.tokenizer=gpt2").exit_code == 2
    assert invoke(*command, "--set", "tokens.tokenizer=gpt2", "--overwrite").exit_code == 0
    assert invoke(*command, "--set", "tokens.tokenizer=gpt2").exit_code == 0


def test_default_folder_is_for_one_input(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert invoke("-i", write(tmp_path / "a.jsonl")).exit_code == 0
    (tmp_path / "a.csv").write_text("text\none\n")
    result = invoke("-i", "a.csv")
    assert result.exit_code == 2
    assert "holds results of another input" in result.stderr


def test_default_folder_of_a_name_with_brackets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert invoke("-i", write(tmp_path / "a[1].jsonl")).exit_code == 0
    assert (tmp_path / "a[1].tagcorpus").is_dir()


def test_an_input_that_is_gone_no_longer_counts(tmp_path: Path) -> None:
    write(tmp_path / "in/a.jsonl", 10)
    write(tmp_path / "in/b.jsonl", 20)
    out = tmp_path / "out"
    assert invoke("-i", tmp_path / "in", "-o", out).exit_code == 0
    (tmp_path / "in/b.jsonl").rename(tmp_path / "b.jsonl")
    result = invoke("-i", tmp_path / "in", "-o", out)
    assert "b.jsonl of an earlier run is gone" in result.stderr
    assert tagcorpus.read(out).count_rows() == 10
    (tmp_path / "b.jsonl").rename(tmp_path / "in/b.jsonl")
    result = invoke("-i", tmp_path / "in", "-o", out)
    assert "2 of 2 parts are there already" in result.stderr
    assert tagcorpus.read(out).count_rows() == 30


@pytest.mark.parametrize("content", [b"no json\nat all\n", b'["in an array"]\n'])
def test_no_document_at_all_is_never_a_success(tmp_path: Path, content: bytes) -> None:
    source = tmp_path / "a.jsonl"
    source.write_bytes(content)
    result = invoke("-i", source, "-o", tmp_path / "out")
    assert result.exit_code == 3
    assert "no documents in the input" in result.stderr


def test_workers_see_the_environment_of_now(tmp_path: Path) -> None:
    write(tmp_path / "in/a.jsonl", 200)
    code = """
import os, tagcorpus
from tagcorpus.pipelines.execution.executor import PlanExecutor
from datatrove.pipeline.base import PipelineStep
import environment_step
for value in ("first", "second"):
    os.environ["SET_LATE"] = value
    ran = PlanExecutor([environment_step.Look()], [[0], [1]], 2, describe=str).run()
    assert ran == {0: [value], 1: [value]}, ran
"""
    (tmp_path / "environment_step.py").write_text(
        "import os\nfrom datatrove.pipeline.base import PipelineStep\n"
        "class Look(PipelineStep):\n    type = name = 'look'\n"
        "    def run(self, data=None, rank=0, world_size=1):\n        yield os.environ.get('SET_LATE')\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_folders_of_dead_processes_are_swept_and_of_living_ones_are_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    own = Path(folder.temporary_folder())
    left = own.with_name(own.name.replace(f"-{os.getpid()}-", f"-{dead.pid}-"))
    left.mkdir()
    folder.sweep_temporary_folders()
    assert own.is_dir()
    assert not left.exists()
