"""A report over an output of a stranger: the paths in its plan lead to no content that was not tagged, and to no network."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

import tagcorpus
from tagcorpus.pipelines.readers.excerpts import Place, excerpts
from tagcorpus.pipelines.readers.plan import load_plan
from tagcorpus.pipelines.storage.folder import Folder
from tagcorpus.pipelines.storage.sealed import opened, sealed

SECRET = "a word of another file"
PLACES = [Place(0, 0, row, 0) for row in range(3)]


@pytest.fixture
def output(tmp_path: Path) -> Path:
    (tmp_path / "a.jsonl").write_text("".join(json.dumps({"text": f"text {i}"}) + "\n" for i in range(3)))
    tagcorpus.run("tag", input=tmp_path / "a.jsonl", output=tmp_path / "out", taggers="length", workers=1)
    return tmp_path / "out"


def pointed_at(output: Path, path: str, **more: Any) -> Folder:
    """The plan with another path in it, sealed as if it were ours."""
    plan = output / "plan/a.jsonl.json"
    value = opened(plan.read_bytes())
    assert value is not None
    plan.write_bytes(sealed(value | {"path": path} | more))
    return Folder(str(output))


def test_the_own_input_is_shown(output: Path, tmp_path: Path) -> None:
    shown = excerpts(load_plan(Folder(str(output))), PLACES, may_fetch=False)
    assert [shown[place].text for place in PLACES] == ["text 0", "text 1", "text 2"]
    # Also from where it was moved to, if the plan says so.
    os.rename(tmp_path / "a.jsonl", tmp_path / "b.jsonl")
    shown = excerpts(load_plan(pointed_at(output, str(tmp_path / "b.jsonl"))), PLACES)
    assert shown[PLACES[0]].text == "text 0"


@pytest.mark.parametrize("format_", ["jsonl", "csv", "json"])
def test_no_content_of_another_file_is_shown(output: Path, tmp_path: Path, format_: str) -> None:
    secret = tmp_path / f"secret.{format_}"
    rows = [{"text": SECRET}] * 9
    texts = {"jsonl": "\n".join(map(json.dumps, rows)), "csv": f"text\n{SECRET}\n{SECRET}\n", "json": json.dumps(rows)}
    secret.write_text(texts[format_])
    shown = excerpts(load_plan(pointed_at(output, str(secret), format=format_)), PLACES)
    assert all(excerpt.text is None and SECRET not in excerpt.problem for excerpt in shown.values())


def test_a_pipe_is_not_waited_for(output: Path, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    shown = excerpts(load_plan(pointed_at(output, str(tmp_path / "pipe"))), PLACES)
    assert {e.problem for e in shown.values()} == {f"{tmp_path / 'pipe'} is not a regular file"}


def test_a_url_is_not_fetched_unless_the_user_names_its_store(output: Path) -> None:
    shown = excerpts(load_plan(pointed_at(output, "s3://somebody/a.jsonl")), PLACES, may_fetch=False)
    assert {e.problem for e in shown.values()} == {
        "the input is at s3://somebody/a.jsonl, which is not fetched without --storage-options"
    }
