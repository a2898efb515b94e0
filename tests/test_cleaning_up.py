"""Cleaning up never decides how a run ends: what cannot be removed stays, and the exit code is the ledger's."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner

from tagcorpus.cli import main
from tagcorpus.errors import OutputError
from tagcorpus.pipelines.counting import phases
from tagcorpus.pipelines.progress.display import Display
from tagcorpus.pipelines.storage import folder as storage


@pytest.fixture(scope="module")
def dead_pid() -> int:
    process = subprocess.Popen([sys.executable, "-S", "-c", ""])
    process.wait()
    return process.pid


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    return folder


def name(pid: object) -> str:
    return f"tagcorpus-{platform.node()}-{pid}-x"


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    path = tmp_path / "a.jsonl"
    path.write_text("".join(json.dumps({"text": f"document number {i}"}) + "\n" for i in range(3)))
    return path


def tag(corpus: Path, *more: str) -> Any:
    out = str(corpus.parent / "out")
    arguments = ["run", "tag", "--input", str(corpus), "--output", out, "--taggers", "length", "--workers", "1"]
    return CliRunner().invoke(main, [*arguments, *more])


def exit_code_of_the_ledger(corpus: Path) -> int:
    (ledger,) = (corpus.parent / "out/runs").glob("*/ledger.json")
    code: int = json.loads(ledger.read_text())["exit_code"]
    return code


def test_a_dangling_link_named_like_a_folder_of_ours(temporary: Path, dead_pid: int, corpus: Path) -> None:
    link = temporary / name(dead_pid)
    link.symlink_to(temporary / "nowhere")
    result = tag(corpus)
    assert (result.exit_code, result.exception) == (0, None)
    assert exit_code_of_the_ledger(corpus) == 0
    assert link.is_symlink()


def test_a_link_is_not_followed(temporary: Path, dead_pid: int, tmp_path: Path) -> None:
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious/file").write_text("kept")
    (temporary / name(dead_pid)).symlink_to(tmp_path / "precious")
    storage.sweep_temporary_folders()
    assert (tmp_path / "precious/file").read_text() == "kept"


@pytest.mark.parametrize("pid", ["9" * 30, "²", "0", "-1", "", "abc"])
def test_names_without_a_process(temporary: Path, pid: str) -> None:
    (temporary / name(pid)).mkdir()
    storage.sweep_temporary_folders()
    assert (temporary / name(pid)).is_dir()


def test_only_dead_folders_of_this_user_go(temporary: Path, dead_pid: int, monkeypatch: pytest.MonkeyPatch) -> None:
    for pid in (dead_pid, os.getpid()):
        (temporary / name(pid)).mkdir()
    (temporary / f"{name(dead_pid)}y").write_text("a file is no folder of ours")
    owner = os.getuid()
    monkeypatch.setattr("os.getuid", lambda: owner + 1)
    storage.sweep_temporary_folders()
    assert len(list(temporary.iterdir())) == 3
    monkeypatch.setattr("os.getuid", lambda: owner)
    storage.sweep_temporary_folders()
    assert sorted(p.name for p in temporary.iterdir()) == sorted([name(os.getpid()), f"{name(dead_pid)}y"])


def test_no_temporary_folder_at_all(temporary: Path) -> None:
    temporary.rmdir()
    storage.sweep_temporary_folders()


def test_what_fails_while_closing_is_said_and_changes_nothing(corpus: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise PermissionError("the folder is somebody else's")

    monkeypatch.setattr("tagcorpus.pipelines.dispatch.conduct.sweep_temporary_folders", fail)
    monkeypatch.setattr(storage.Folder, "sweep", lambda *_: fail())
    result = tag(corpus)
    assert (result.exit_code, result.exception) == (0, None)
    assert result.stderr.count("could not be cleaned up: PermissionError: the folder is somebody else's") == 2


def test_an_error_of_the_run_is_not_hidden_by_cleaning_up(corpus: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: object) -> None:
        raise OSError("busy")

    monkeypatch.setattr("tagcorpus.pipelines.dispatch.conduct.sweep_temporary_folders", fail)
    result = tag(corpus, "--text-column", "absent")
    assert result.exit_code == 2
    assert "no text found" in result.stderr


def test_working_files_that_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    """The figures are published by then, or another error is on its way."""

    def fail(*_: object) -> None:
        raise OutputError("spill could not be removed: Permission denied")

    monkeypatch.setattr(phases, "clear", fail)
    display = Display(quiet=True)
    run: Any = SimpleNamespace(display=display)
    phases.tidy(run, SimpleNamespace())  # type: ignore[arg-type]
    assert "the working files could not be cleaned up: spill could not be removed" in display.log[-1]
