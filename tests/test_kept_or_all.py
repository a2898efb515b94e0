"""`audit` and `compare` say which documents they use where a filter has removed some."""

from __future__ import annotations

import json

import pytest
from slurm_commands import invoke

NOTE = "also the 2 that its filter removed (by length.char_len > 3)"


@pytest.fixture(scope="module")
def outputs(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    folder = tmp_path_factory.mktemp("kept")
    rows = [{"id": str(i), "text": "x" * (i + 2)} for i in range(40)]
    (folder / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    for name in ("filtered", "all"):
        done = invoke("run", "tag", "-i", str(folder / "a.jsonl"), "-o", str(folder / name), "-t", "length")
        assert done.code == 0, done.err
    done = invoke(
        "run", "filter", "-i", str(folder / "a.jsonl"), "-o", str(folder / "filtered"), "--where", "length.char_len > 3"
    )
    assert done.code == 0, done.err
    return str(folder / "filtered"), str(folder / "all")


def test_the_documents_that_a_filter_removed_are_named(outputs: tuple[str, str]) -> None:
    filtered, whole = outputs
    for command in (("audit", filtered, "--column", "length.char_len"), ("compare", filtered, whole)):
        done = invoke(*command)
        assert done.code == 0, done.err
        assert NOTE in " ".join(done.out.split())


def test_an_output_without_a_filter_has_no_note(outputs: tuple[str, str]) -> None:
    for command in (("audit", outputs[1], "--column", "length.char_len"), ("compare", outputs[1], outputs[1])):
        done = invoke(*command)
        assert done.code == 0, done.err
        assert "its filter removed" not in " ".join(done.out.split())
