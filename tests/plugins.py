"""Puts the taggers of plugin_taggers.py on the path through entry points, and runs the command line with them."""

from __future__ import annotations

import json
import os
import subprocess
import sysconfig
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from tagcorpus.cli import main

TAGGERS = {"marks": "Marks", "broken": "Broken", "wrong": "Wrong", "waiting": "Waiting", "interrupted": "Interrupted"}
SCRIPT = str(Path(sysconfig.get_path("scripts")) / "tagcorpus")


def install(folder: Path) -> Path:
    """A folder that, once on the path, makes the plug-in taggers known."""
    info = folder / "plugin_taggers-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: plugin-taggers\nVersion: 1.0\n")
    entries = "".join(f"{name} = plugin_taggers:{cls}\n" for name, cls in TAGGERS.items())
    (info / "entry_points.txt").write_text(f"[tagcorpus.taggers]\n{entries}")
    return folder


@pytest.fixture(name="plugins")
def known_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The plug-in taggers are known in this process and in its workers."""
    folder = install(tmp_path / "plugins")
    monkeypatch.syspath_prepend(str(folder))
    return folder


@pytest.fixture(name="corpus")
def empty_corpus(tmp_path: Path, plugins: Path) -> Corpus:  # noqa: ARG001
    return Corpus(tmp_path)


@dataclass
class Ended:
    """A finished command."""

    code: int
    out: str
    err: str

    def json(self) -> Any:
        return json.loads(self.out)


@dataclass
class Corpus:
    """A folder with inputs in `data` and an output `out`, and the console script at work on them."""

    root: Path
    taggers: str = "marks"
    chunk_bytes: int = 2000

    @property
    def out(self) -> Path:
        return self.root / "out"

    def write(self, name: str, rows: Sequence[object]) -> Path:
        """A JSONL file: bytes as they are, strings as documents, everything else as JSON."""
        path = self.root / "data" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(jsonl(rows))
        return path

    def command(self, *options: str, output: Path | None = None, workers: int = 1) -> list[str]:
        return [
            SCRIPT, "run", "tag", "-i", str(self.root / "data"), "-o", str(output or self.out), "--taggers", self.taggers,
            "--workers", str(workers), "--set", f"chunk_bytes={self.chunk_bytes}", *options,
        ]  # fmt: skip

    def environment(self, more: Mapping[str, str] | None = None) -> dict[str, str]:
        folder = self.root / "plugins"
        if not folder.exists():
            install(folder)
        path = os.pathsep.join([str(folder), str(Path(__file__).parent)])
        # A run that is killed leaves its small temporary folders behind: here, where they go with the test.
        temporary_files = self.root / "tmp"
        temporary_files.mkdir(exist_ok=True)
        return {**os.environ, "PYTHONPATH": path, "TMPDIR": str(temporary_files), **(more or {})}

    def start(
        self, *options: str, output: Path | None = None, workers: int = 1, env: Mapping[str, str] | None = None
    ) -> subprocess.Popen[str]:
        """The console script in a process group of its own. Its workers hold its stderr too: reading that to the end
        waits for all of them."""
        return subprocess.Popen(
            self.command(*options, output=output, workers=workers),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=self.root,
            env=self.environment(env),
            start_new_session=True,
        )

    def run(
        self, *options: str, output: Path | None = None, workers: int = 1, env: Mapping[str, str] | None = None
    ) -> Ended:
        return ended(self.start(*options, output=output, workers=workers, env=env))

    def invoke(self, *options: str, output: Path | None = None, workers: int = 1) -> Ended:
        """The same command line in this process (with worker processes, if asked for): needs `plugins`."""
        result = CliRunner().invoke(main, self.command(*options, output=output, workers=workers)[1:])
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        return Ended(result.exit_code, result.stdout, result.stderr)


def ended(process: subprocess.Popen[str]) -> Ended:
    """Waits for a command and all its workers."""
    out, err = process.communicate(timeout=60)
    return Ended(process.returncode, out, err)


def jsonl(rows: Sequence[object]) -> bytes:
    lines = []
    for i, row in enumerate(rows):
        if isinstance(row, bytes):
            lines.append(row)
        else:
            lines.append(json.dumps({"id": f"d{i}", "text": row} if isinstance(row, str) else row).encode())
    return b"".join(line + b"\n" for line in lines)


def tree(output: Path, *rooms: str) -> dict[str, bytes]:
    """Every published file of an output whose bytes are promised, by relative path."""
    chosen = rooms or ("attributes", "quarantine", "summary")
    left = set(temporary(output))
    return {
        str(p.relative_to(output)): p.read_bytes()
        for room in chosen
        for p in (output / room).rglob("*")
        if p.is_file() and p not in left
    }


def temporary(output: Path) -> list[Path]:
    """What runs that were killed left behind."""
    return [p for p in output.rglob(".*.tmp") if p.is_file()]


def quarantined(output: Path) -> list[dict[str, Any]]:
    """All quarantine entries, by file name and in order."""
    files = sorted((output / "quarantine").rglob("part-*.jsonl"))
    return [json.loads(line) for f in files for line in f.read_text().splitlines()]
