"""Every command of docs/generations.md runs, one after the other in one folder, and gives what the page says."""

from __future__ import annotations

import csv
import re
import shlex
from pathlib import Path

import pytest
import yaml
from slurm_commands import invoke

from tagcorpus.pipelines.generation_files.models import find
from tagcorpus.pipelines.options.models_file import read_models

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "docs/generations.md").read_text(encoding="utf-8")
CONSOLE = [
    line[2:] for block in re.findall(r"```console\n(.*?)```", PAGE, re.DOTALL) for line in block.splitlines() if line
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = tmp_path_factory.mktemp("generations")
    (found / "examples").symlink_to(ROOT / "examples")
    return found


def test_commands_in_their_order(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    monkeypatch.setenv("SLURM_CPUS_PER_TASK", "1")  # all in this process: there is little to do
    told = []
    for command in CONSOLE:
        done = invoke(*shlex.split(command)[1:])
        assert done.code == 0, f"{command}: {done.err}"
        told.append(done.out)
    (shown,) = re.findall(r"```\n(36 documents.*?)```", PAGE, re.DOTALL)
    first = [line.rstrip() for line in shown.splitlines()]
    assert [line.strip() for line in told[0].splitlines()[1:5]] == [line.strip() for line in first[1:]]
    assert first[0].split("-> ")[1] in told[0].splitlines()[0]
    for name in (
        "all_models.csv",
        "all_models.provenance.json",
        "all_models.parquet",
        "all_models.tagcorpus/plan/models.yaml",
    ):
        assert name.rpartition("/")[2] in PAGE
        assert (folder / name).is_file()
    with (folder / "by_org.csv").open(newline="") as lines:
        assert [row["id"] for row in csv.DictReader(lines)] == ["harbour", "mill"]


def test_models_file_of_the_page(folder: Path) -> None:
    (block,) = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    path = folder / "models.yaml"
    path.write_text(block)
    found = find(read_models(str(path)))
    assert {m: [Path(f.path).name for f in files] for m, files in found.files.items()} == {
        model: ["samples.jsonl"] for model in yaml.safe_load(block)
    }
