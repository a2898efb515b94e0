"""File names are bytes: those that are not UTF-8, and those that an ASCII locale cannot decode, are told as text everywhere."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from profiles import one_by_default

import tagcorpus
from tagcorpus.errors import valid_text, valid_values

NAMES = (b"a\xff.jsonl", "ä.jsonl".encode())
SHOWN = ["a\\xff.jsonl", "ä.jsonl"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "in").mkdir()
    for name in NAMES:
        try:
            with open(os.fsencode(tmp_path / "in") + b"/" + name, "w") as file:
                file.write(json.dumps({"text": "How do I make bread, and how long does it take?"}) + "\n")
        except OSError:
            pytest.skip("this file system takes UTF-8 names only")
    return tmp_path


@settings(deadline=None)
@given(st.binary(min_size=1, max_size=12))
def test_any_name_is_text(name: bytes) -> None:
    text = valid_text(name.decode("utf-8", "surrogateescape"))
    assert text.encode().decode() == text
    assert valid_text(text) == text
    assert text == valid_text(name.decode("ascii", "surrogateescape")), "whatever the locale"
    try:
        assert text == name.decode()
    except UnicodeDecodeError:
        assert "\\x" in text


@given(st.text())
def test_text_stays_as_it_is(text: str) -> None:
    assert valid_text(text) == text
    assert valid_values({"a": [text, 1, None]}) == {"a": [text, 1, None]}


def test_a_surrogate_that_stands_for_no_byte() -> None:
    assert valid_text("ä\ud800") == "ä\\ud800"


def test_one_function_for_all_outputs(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    options: dict[str, Any] = {"input": "in", "work": "work", "workers": 1}
    result = tagcorpus.run("tag", output="r.csv", taggers="length", sample=0.9999, seed=1, **options)
    with open("r.csv", newline="", encoding="utf-8") as lines:
        rows = list(csv.DictReader(lines))
    assert sorted(row["input"] for row in rows) == SHOWN
    assert sorted(row["id"] for row in rows) == [f"{name}:0" for name in SHOWN]
    for name in ("ledger.json", "command.json", "log.txt"):
        text = (Path(result.ledger).parent / name).read_text(encoding="utf-8")
        assert "\\udc" not in text, name
    assert tagcorpus.read("work", text=True).to_table()["input"].to_pylist() == [r["input"] for r in rows]
    result = tagcorpus.run("domain", output="domain", domain={"backend": "fasttext"}, input="in", workers=1)
    assert "a\\xff.jsonl:0" in Path("domain/predicted_domains.csv").read_text(encoding="utf-8")


@pytest.mark.e2e
@pytest.mark.parametrize(
    "locale", one_by_default({"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}, {"LC_ALL": "C.UTF-8"})
)
def test_commands_in_any_locale(folder: Path, locale: dict[str, str]) -> None:
    pytest.importorskip("plotly")
    environment = {**os.environ, **locale}
    for command in ("run tag -i in --taggers length -o out --workers 1", "status out", "report out"):
        started = [sys.executable, "-P", "-m", "tagcorpus", *command.split()]
        done = subprocess.run(started, cwd=folder, env=environment, capture_output=True, check=False)
        assert done.returncode == 0, done.stderr.decode()
        assert b"Traceback" not in done.stderr
    found = tagcorpus.run("tag", input=str(folder / "in"), output=str(folder / "out"), taggers="length", workers=1)
    assert "2 of 2 parts are there already" in (Path(found.ledger).parent / "log.txt").read_text()
    assert sorted(tagcorpus.read(str(folder / "out")).to_table()["id"].to_pylist()) == [f"{name}:0" for name in SHOWN]
