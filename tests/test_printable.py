"""Text of others on its way to a terminal or a log: no escape sequence, no mark that turns the direction of writing."""

from __future__ import annotations

import io
import json
import unicodedata
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from tagcorpus.cli import main
from tagcorpus.errors import ConfigError
from tagcorpus.pipelines.progress.display import Display
from tagcorpus.pipelines.progress.printable import printable
from tagcorpus.pipelines.slurm import tasks

EVIL = "a\x1b[2J\x1b]0;owned\x07\x9b31m\u202egnp"
SAFE = r"a\u001b[2J\u001b]0;owned\u0007\u009b31m\u202egnp"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (EVIL, SAFE),
        ("two\nlines\tof ours", "two\nlines\tof ours"),
        ("over\rwritten", r"over\rwritten"),
        (
            "naïve café, 日本語, 👩\u200d💻, no\u00a0break, e\u0301",
            "naïve café, 日本語, 👩\u200d💻, no\u00a0break, e\u0301",
        ),
        ("bytes \udcff", r"bytes \xff"),
        (ConfigError("an error\x1b"), r"an error\u001b"),
        ("", ""),
    ],
)
def test_printable(text: object, shown: str) -> None:
    assert printable(text) == shown


def test_a_name_stays_on_its_line() -> None:
    assert printable("all good\ntagcorpus: 0 errors\t!", is_line=True) == r"all good\ntagcorpus: 0 errors\t!"


@given(st.text())
def test_nothing_of_these_categories_is_left_and_json_stays_itself(text: str) -> None:
    shown = printable(text)
    assert not [c for c in shown if unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp") and c not in "\n\t"]
    assert shown.isprintable() or not text.isprintable()
    document = json.dumps({"name": text}, ensure_ascii=False)
    assert json.loads(printable(document)) == {"name": text}


def test_messages_and_log() -> None:
    stream = io.StringIO()
    display = Display(stream)
    display.say(f"skipped {EVIL}")
    display.announce(f"noted {EVIL}")
    assert [line.partition(" ")[2] for line in stream.getvalue().splitlines()] == [f"skipped {SAFE}", f"noted {SAFE}"]
    assert [line.partition(" ")[2] for line in display.log] == [f"skipped {SAFE}", f"noted {SAFE}"]


def no_escapes(result: Any) -> str:
    output: str = result.stdout + result.stderr
    assert "\x1b" not in output
    assert "\x9b" not in output
    assert "\u202e" not in output
    return output


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An input whose name and column are hostile, and an output of that name."""
    path = tmp_path / f"{EVIL}.jsonl"
    lines = [json.dumps({"text": "a document"}), "not JSON", json.dumps({f"x{EVIL}": 1})]
    path.write_text("".join(f"{line}\n" for line in lines))
    return tmp_path


def test_a_file_name_in_a_run_and_in_status(folder: Path) -> None:
    out = str(folder / EVIL)
    arguments = ["--input", str(folder), "--output", out, "--taggers", "length", "--workers", "1"]
    tagged = CliRunner().invoke(main, ["run", "tag", *arguments])
    assert tagged.exit_code == 0
    assert SAFE in no_escapes(tagged)
    (log,) = Path(out, "runs").glob("*/log.txt")
    assert "\x1b" not in log.read_text()
    assert SAFE in no_escapes(CliRunner().invoke(main, ["status", out]))
    assert SAFE in no_escapes(CliRunner().invoke(main, ["report", out]))
    found = json.loads(CliRunner().invoke(main, ["status", out, "--json"]).stdout)
    assert found["output"] == out  # as JSON, the value is the name itself


def test_a_column_name_in_an_error(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(json.dumps({f"x{EVIL}": "a document"}) + "\n")
    arguments = ["run", "tag", "--input", str(path), "--output", str(tmp_path / "out"), "--workers", "1"]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 2
    assert f"the columns there are x{SAFE}" in no_escapes(result)


@pytest.mark.parametrize(
    "arguments",
    [[EVIL], ["run", EVIL], ["status", f"--{EVIL}"], ["status", EVIL], ["status", "a", EVIL], ["run", "tag", EVIL]],
)
def test_arguments_that_a_shell_made_of_file_names(arguments: list[str]) -> None:
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 2
    assert "1b[2J" in no_escapes(result)


def test_a_slurm_task(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert tasks.main("finish", str(tmp_path / EVIL)) == 2
    assert SAFE in capsys.readouterr().err
