"""A stderr that is closed, full, or read by nobody ends no run, and changes no exit code."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from profiles import one_by_default

from tagcorpus.pipelines.progress.display import Display

COMMAND = [sys.executable, "-P", "-m", "tagcorpus", "run", "tag", "-i", "a.jsonl", "--taggers", "length", "-o", "out"]
SHELLS = {"closed": '"$@" 2>&-', "full": '"$@" 2>/dev/full', "reader gone": '{ "$@"; echo $? >code; } 2> >(exit)'}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    lines = [json.dumps({"id": str(i), "text": f"text {i} " * 40}) for i in range(40)]
    (tmp_path / "a.jsonl").write_text("\n".join(lines) + "\n")
    return tmp_path


@pytest.mark.parametrize("name", one_by_default(*SHELLS))
def test_a_run_whose_stderr_fails(folder: Path, name: str) -> None:
    if name == "full" and not Path("/dev/full").exists():
        pytest.skip("no /dev/full on this system")
    workers = ["--workers", "2", "--set", "chunk_bytes=4096"] if name == "closed" else ["--workers", "1"]
    command = ["bash", "-c", f"{SHELLS[name]}", "bash", *COMMAND, *workers]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0
    if name == "reader gone":
        assert (folder / "code").read_text() == "0\n"
    assert done.stdout.startswith("40 documents -> ")
    (log,) = folder.glob("out/runs/*/log.txt")
    assert "1 file, 40 rows" in log.read_text()


@pytest.mark.parametrize("name", one_by_default(*SHELLS))
def test_an_error_whose_stderr_fails(folder: Path, name: str) -> None:
    if name == "full" and not Path("/dev/full").exists():
        pytest.skip("no /dev/full on this system")
    command = ["bash", "-c", SHELLS[name], "bash", *COMMAND, "--taggers", "langth"]
    done = subprocess.run(command, cwd=folder, capture_output=True, check=False)
    code = (folder / "code").read_text() if name == "reader gone" else str(done.returncode)
    assert code.strip() == "2"


class Broken:
    encoding = "utf-8"

    def isatty(self) -> bool:
        return False

    def write(self, _: str) -> int:
        raise BrokenPipeError

    def flush(self) -> None:
        raise ValueError("I/O operation on closed file")


def test_what_cannot_be_shown_is_in_the_log(monkeypatch: pytest.MonkeyPatch) -> None:
    for stream in (None, Broken()):
        monkeypatch.setattr(sys, "stderr", stream)
        display = Display()
        display.say("something")
        display.announce("something else")
        assert [line.partition(" ")[2] for line in display.log] == ["something", "something else"]
