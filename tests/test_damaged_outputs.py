"""Outputs with JSON files of another shape: whoever looks at them says one sentence, and a run goes on or says one, too."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from tagcorpus.cli import main


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("made")
    (root / "a.jsonl").write_text("".join(json.dumps({"text": f"text number {i}"}) + "\n" for i in range(9)))
    arguments = ["run", "tag", "-i", str(root / "a.jsonl"), "-o", str(root / "out"), "-t", "length", "--workers", "1"]
    assert CliRunner().invoke(main, arguments).exit_code == 0
    return root


@pytest.fixture
def root(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "copy"))


FILES = {
    "command": "runs/*/command.json",
    "ledger": "runs/*/ledger.json",
    "summary": "summary/tag.json",
    "tagger": "attributes/length/tagger.json",
    "plan": "plan/*.json",
    "digests": "digests/length.json",
}
DAMAGE: list[tuple[str, Any]] = [
    ("command", {"options": None}),
    ("command", {"options": "x"}),
    ("ledger", {"totals": "x"}),
    ("ledger", {"totals": None, "seconds": [1]}),
    ("ledger", {"exit_code": {}}),
    ("ledger", {"ranges_done": "x"}),
    ("ledger", {"ranges": 3}),
    ("summary", {"instances": []}),
    ("tagger", {"columns": None}),
    *[(name, text) for name in FILES for text in ("", "[", "[]", "3", "[" * 100_000)],
]


@pytest.mark.parametrize(("name", "damage"), DAMAGE, ids=[f"{n}-{str(d)[:20]}" for n, d in DAMAGE])
def test_one_sentence_or_none(root: Path, name: str, damage: Any) -> None:
    (path,) = (root / "out").glob(FILES[name])
    path.write_text(json.dumps(json.loads(path.read_text()) | damage) if isinstance(damage, dict) else damage)
    run = ["run", "tag", "-i", str(root / "a.jsonl"), "-o", str(root / "out"), "-t", "length", "--workers", "1"]
    for command in (["status", str(root / "out")], run):
        done = CliRunner().invoke(main, command)
        assert isinstance(done.exception, SystemExit | None), done.exception
        assert done.exit_code in (0, 2), done.output
        assert "Traceback" not in done.output
    assert done.exit_code == 0  # the run makes anew what it needs


@pytest.mark.parametrize(("name", "damage"), DAMAGE[:9], ids=[f"{n}-{d}" for n, d in DAMAGE[:9]])
def test_the_report_says_one_sentence(root: Path, name: str, damage: Any) -> None:
    pytest.importorskip("plotly")
    (path,) = (root / "out").glob(FILES[name])
    path.write_text(json.dumps(json.loads(path.read_text()) | damage))
    done = CliRunner().invoke(main, ["report", str(root / "out")])
    assert isinstance(done.exception, SystemExit | None), done.exception
    assert done.exit_code == 0 or "has a damaged JSON file in runs/" in done.output
