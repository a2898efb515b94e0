"""Every block of docs/reading.md runs, and gives what tagcorpus.read gives."""

from __future__ import annotations

import contextlib
import json
import re
import shlex
from pathlib import Path
from typing import Any

import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from slurm_commands import invoke

import tagcorpus

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "docs/reading.md").read_text(encoding="utf-8")
CONSOLE = [
    line[2:] for block in re.findall(r"```console\n(.*?)```", PAGE, re.DOTALL) for line in block.splitlines() if line
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the page's first command has run."""
    folder = tmp_path_factory.mktemp("reading")
    (folder / "examples").symlink_to(ROOT / "examples")
    run(CONSOLE[0], folder)
    return folder


def run(command: str, folder: Path) -> str:
    program, *arguments = shlex.split(command)
    assert program == "tagcorpus"
    with contextlib.chdir(folder):
        done = invoke(*arguments)
    assert done.code == 0, done.err
    return done.out


def block(mark: str) -> str:
    """The one python block with this mark in it."""
    (found,) = (b for b in re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL) if mark in b)
    return str(found)


def values(mark: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The names that a block leaves behind, run in the folder; skips where a package of it is missing."""
    code = block(mark)
    for package in re.findall(r"^(?:import|from) (\w+)", code, re.MULTILINE):
        pytest.importorskip(package)
    monkeypatch.chdir(folder)
    found: dict[str, Any] = {}
    exec(code, found)
    return found


def english(folder: Path) -> list[tuple[str, int, int, float]]:
    table = tagcorpus.read(folder / "gens.tagcorpus", ["tokens", "language"]).to_table(
        columns=["input", "row", "sub", "ttr"], filter=pc.field("language") == "en"
    )
    assert 0 < table.num_rows < 53
    return [tuple(r.values()) for r in table.to_pylist()]


def test_tagcorpus_read(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = values("import pyarrow.compute", folder, monkeypatch)["english"]
    assert [tuple(r.values()) for r in table.drop_columns("text").to_pylist()] == english(folder)
    assert table["text"].null_count == 0


def test_duckdb_over_parts(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert sorted(values("split_part", folder, monkeypatch)["english"]) == english(folder)


def test_duckdb_over_read(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = values("FROM documents", folder, monkeypatch)["longest"]
    lines = (ROOT / "examples/gens.jsonl").read_text(encoding="utf-8", errors="replace").splitlines()
    texts = {d["id"]: d["text"] for d in map(parsed, lines) if isinstance(d.get("text"), str)}
    assert len(found) == 3
    assert all(text == texts[name] for name, text in found)


def parsed(line: str) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(line)
    except ValueError:
        return {}
    return found


def test_polars(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    frame = values("import polars", folder, monkeypatch)["english"].sort("part", "row", "sub")
    found = [(part.rpartition("/")[0], *rest) for part, *rest in frame.select("part", "row", "sub", "ttr").rows()]
    assert found == english(folder)


def test_pandas(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    frame = values("import pandas", folder, monkeypatch)["frame"]
    whole = tagcorpus.read(folder / "gens.tagcorpus", ["tokens", "language"], text=True).to_table()
    for column in ("row", "sub", "id", "ttr", "language", "text"):
        assert frame[column].tolist() == whole[column].to_pylist()


def test_datatrove_pipeline(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "documents").mkdir()
    documents = [{"id": "a", "text": "one two three four"}, {"id": "b", "text": "no " * 50}]
    (folder / "documents/a.jsonl").write_text("".join(json.dumps(d) + "\n" for d in documents))
    values("TagDocuments", folder, monkeypatch)
    table = pq.read_table(folder / "tagged")
    assert table["id"].to_pylist() == ["a"]
    assert set(table["metadata"][0].as_py()) >= {"gpt2.ttr", "language.language"}
