"""Worker processes import nothing from the current folder, which may be a folder of data that somebody else made."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tagcorpus.processes import path_of_workers, safe_path

# What Python itself imports, from sys.path, before it executes anything of a module named by -m.
BEFORE_A_MODULE = {
    "collections", "contextlib", "functools", "importlib", "keyword", "operator", "reprlib", "types", "warnings"
}  # fmt: skip
OTHERS = {
    "yaml",
    "numpy",
    "pyarrow",
    "datatrove",
    "tagcorpus_tagger",
    "sitecustomize",
    "dill",
    "orjson",
    "click",
    "numba",
}


@pytest.fixture
def hostile(tmp_path: Path) -> Path:
    """A folder of data, with a Python file for each module of the standard library and some others; each leaves a mark."""
    folder = tmp_path / "data"
    folder.mkdir()
    lines = [json.dumps({"id": str(i), "text": f"text {i} " * 40}) for i in range(40)]
    (folder / "a.jsonl").write_text("\n".join(lines) + "\n")
    for name in {*sys.stdlib_module_names, *OTHERS} - BEFORE_A_MODULE:
        (folder / f"{name}.py").write_text(f"open({str(tmp_path / 'mark')!r}, 'a').write(__name__ + ' ')\n")
    return folder


def started(folder: Path, *arguments: str) -> str:
    """Runs Python in the folder. Returns what the payloads wrote."""
    environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONSAFEPATH", "PYTHONPATH")}
    command = [sys.executable, *arguments]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    mark = folder.parent / "mark"
    return mark.read_text() if mark.exists() else ""


def test_the_payloads_work(hostile: Path) -> None:
    assert started(hostile, "-c", "import queue, yaml") == "queue yaml "


def test_workers_of_the_command_line(hostile: Path) -> None:
    options = ["-i", "a.jsonl", "-o", "../out", "--taggers", "length", "--workers", "2", "--set", "shard_bytes=4096"]
    assert started(hostile, "-m", "tagcorpus", "run", "tag", *options) == ""
    assert len(list((hostile.parent / "out/attributes/length").rglob("*.parquet"))) == 4


def test_workers_of_a_process_that_has_the_current_folder_on_its_path(hostile: Path) -> None:
    code = (
        "import sys, tagcorpus\n"
        # What this process itself imports from a path of its own is its affair: here it has done so before.
        "tagcorpus.run('tag', input='a.jsonl', output='../before', taggers='length', workers=1)\n"
        "sys.path.insert(0, '')\n"  # as in a notebook
        "tagcorpus.run('tag', input='a.jsonl', output='../out', taggers='length', workers=2, shard_bytes=4096)\n"
        "assert sys.path[0] == ''"
    )
    assert started(hostile, "-P", "-c", code) == ""


def test_workers_of_a_prediction(hostile: Path) -> None:
    code = (
        "import sys, os, tagcorpus.predictor.learners.parallel as parallel, threadpoolctl, scipy.linalg\n"
        "parallel.LOADED = []\n"
        "sys.path.insert(0, '')\n"
        "with parallel.Workers(2) as workers: assert workers.map(abs, [(-1,), (2,)]) == [1, 2]"
    )
    assert started(hostile, "-P", "-c", code) == ""


def test_path_of_workers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    here = str(tmp_path)
    (tmp_path / "link").symlink_to(tmp_path)
    for entry in ("", ".", here, f"{here}/link"):
        assert path_of_workers([entry, "/usr/lib"], []) == ["/usr/lib"]
        assert path_of_workers([entry, "/usr/lib"], ["/other", here]) == [entry, "/usr/lib"]
    assert path_of_workers(["/usr/lib", "/usr/bin"], []) == ["/usr/lib", "/usr/bin"]


def test_the_folder_of_a_script_is_searched_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys.modules["__main__"], "__file__", str(tmp_path / "script.py"), raising=False)
    assert path_of_workers([str(tmp_path), "/usr/lib"], []) == ["/usr/lib", str(tmp_path)]


def test_a_folder_that_was_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    assert path_of_workers(["", "/usr/lib"], []) == ["/usr/lib"]


@pytest.mark.parametrize("given", [None, "", f"{os.pathsep}/chosen{os.pathsep}"])
def test_everything_is_put_back(given: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PYTHONSAFEPATH", raising=False)
    if given is None:
        monkeypatch.delenv("PYTHONPATH", raising=False)
    else:
        monkeypatch.setenv("PYTHONPATH", given)
    monkeypatch.setattr(sys, "path", ["", *sys.path])
    before, environment = list(sys.path), dict(os.environ)
    with safe_path():
        assert "" not in sys.path
        # An empty entry of PYTHONPATH is the current folder.
        assert os.environ["PYTHONPATH"] == (given or "").strip(os.pathsep)
        assert os.environ["PYTHONSAFEPATH"] == "1"
    assert (sys.path, dict(os.environ)) == (before, environment)
