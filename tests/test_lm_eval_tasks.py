"""`tagcorpus tasks`: what it writes, and what it says of outputs without held-out texts; the pages' commands."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest
import yaml
from slurm_commands import invoke

ROOT = Path(__file__).resolve().parents[1]


class Loader(yaml.SafeLoader):
    """Takes `!function` as text."""


Loader.add_constructor("!function", lambda loader, node: loader.construct_scalar(node))


def test_commands_of_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SLURM_CPUS_PER_TASK", "1")
    page = (ROOT / "docs/tokenize.md").read_text()
    for block in re.findall(r"```console\n(.*?)```", page, re.DOTALL):
        done = invoke(*shlex.split(block)[2:])
        assert done.code == 0, done.err
    manifest = json.loads((tmp_path / "tokens/token_files.json").read_text())
    groups = {g for g, sides in manifest["groups"].items() if "held_out" in sides}
    assert groups
    written = {p.name: yaml.load(p.read_text(), Loader) for p in (tmp_path / "tasks").glob("*.yaml")}
    assert set(written) == {"generate_only.yaml", *(f"held_out_{g}.yaml" for g in groups)}
    for group in groups:
        task = written[f"held_out_{group}.yaml"]
        lines = Path(task["dataset_kwargs"]["data_files"]["test"]).read_text().splitlines()
        assert len(lines) == manifest["groups"][group]["held_out"]["documents"]
        assert task["task"] == f"held_out_{group}"
        assert task["output_type"] == "loglikelihood_rolling"
    free = written["generate_only.yaml"]
    settings = {"until": [], "do_sample": True, "temperature": 1.0, "top_k": 0}
    assert settings.items() <= free["generation_kwargs"].items()
    assert free["metric_list"] == []
    assert (tmp_path / "tasks" / f"{free['custom_dataset'].partition('.')[0]}.py").is_file()


def test_without_token_files(tmp_path: Path) -> None:
    assert invoke("tasks", str(tmp_path / "tasks")).code == 0
    assert {p.name for p in (tmp_path / "tasks").iterdir()} == {"generate_only.yaml", "free_text.py"}
    done = invoke("tasks", str(tmp_path / "tasks"), "--token-files", str(tmp_path))
    assert done.code == 2
    assert "has no token_files.json" in done.err
