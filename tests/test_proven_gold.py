"""Gold labels of other documents, or of ids that several documents have, in an audit."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from slurm_commands import invoke


@pytest.fixture(scope="module")
def output(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two files of 40 documents. The first ten of each have the same ids."""
    folder = tmp_path_factory.mktemp("gold")
    (folder / "docs").mkdir()
    for name in "ab":
        rows = [{"id": f"d{i}" if i < 10 else f"{name}{i}", "text": "x" * (i + 1)} for i in range(40)]
        (folder / "docs" / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    done = invoke("run", "tag", "--input", str(folder / "docs"), "--output", str(folder / "out"), "--taggers", "length")
    assert done.code == 0, done.err
    return folder


def audited(output: Path, ids: list[str]) -> tuple[int, str]:
    gold = output / "gold.csv"
    gold.write_text("id,gold\n" + "".join(f"{name},{i}\n" for i, name in enumerate(ids)))
    done = invoke("audit", str(output / "out"), "--column", "length.char_len", "--gold", str(gold))
    return done.code, " ".join((done.out + done.err).split())


def test_gold_labels_of_no_document_are_refused(output: Path) -> None:
    code, text = audited(output, [f"x{i}" for i in range(40)])
    assert (code, "no document of" in text) == (2, True), text


def test_ids_of_several_documents_are_counted(output: Path) -> None:
    code, text = audited(output, [f"d{i}" for i in range(10)] + [f"a{i}" for i in range(10, 40)])
    assert (code, "10 ids are those of several documents" in text) == (0, True), text
    code, text = audited(output, [f"a{i}" for i in range(10, 40)] + ["not there"])
    assert (code, "those of several documents" in text) == (0, False), text
