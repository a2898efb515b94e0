"""The model that really answered: a column, told where there are several, and missing in parts of earlier versions."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from stub_llm import NEGATIVE, Call, Reply, StubLLM, answer

import tagcorpus
from tagcorpus.taggers._llm.caller import close_all
from tagcorpus.taggers._stage_tree.read import packaged_tree
from tagcorpus.taggers.domain import Domain

MODELS = ("small-2026-01-01", "small-2026-02-02")


@pytest.fixture(autouse=True)
def _closed() -> Iterator[None]:
    yield
    close_all()


def reply(call: Call) -> Reply:
    """Documents with an odd number are answered by the second model, from the stage `web` on."""
    model = MODELS[int(call.text[-1]) % 2 if call.stage not in ("incoherent", "code") else 0]
    whole = answer(NEGATIVE[call.stage])
    return Reply(body=whole.body.replace(b"stub-1", model.encode()))


def run(stub: StubLLM, folder: Path) -> tagcorpus.pipelines.runs.run.Result:
    source = folder / "corpus.jsonl"
    texts = [f"A document that is long enough to be asked about, number {i}" for i in range(8)]
    source.write_text("".join(json.dumps({"text": text, "meta": "m" * 600}) + "\n" for text in ["short", *texts]))
    domain = {"backend": "openai", "base_url": stub.base_url, "llm_cache": str(folder / "c")}
    return tagcorpus.run("domain", input=[str(source)], output=str(folder / "out"), chunk_bytes=1024, domain=domain)


def test_a_walk_knows_who_answered() -> None:
    walk = (
        packaged_tree()
        .start("x" * 60)
        .answered("not_incoherent", "a")
        .answered("not_code", "b")
        .answered("not_web", "a")
    )
    assert walk.answered_by == "a, b"
    assert packaged_tree().start("x" * 60).answered("not_incoherent").answered_by == ""


def test_only_an_endpoint_has_the_column() -> None:
    assert "answered_by" not in Domain().columns.names
    assert Domain(backend="openai", base_url="http://localhost:1/v1").columns.names[-1] == "answered_by"


@pytest.mark.e2e
def test_two_models_in_one_output_are_told_and_old_parts_stay(tmp_path: Path) -> None:
    with StubLLM(reply) as stub:
        result = run(stub, tmp_path)
        told = [m for m in result.messages if "more than one model answered" in m]
        assert told == [
            "more than one model answered (column answered_by): 'small-2026-01-01' (8 documents), 'small-2026-02-02' (4 documents)"
        ]
        by_row = tagcorpus.read(tmp_path / "out").to_table()["answered_by"].to_pylist()
        assert by_row == [None, *[MODELS[0], ", ".join(MODELS)] * 4]
        summary = json.loads((tmp_path / "out" / "summary" / "domain.json").read_text())
        assert summary["domain"]["answered_by"] == {MODELS[0]: 8, MODELS[1]: 4}

        # As an earlier version left them: some parts without the column.
        parts = sorted((tmp_path / "out" / "attributes" / "domain").rglob("*.parquet"))
        assert len(parts) > 2
        for part in (parts[0], parts[2]):
            table = pq.read_table(part)
            pq.write_table(table.drop_columns(["answered_by"]), part)
        shutil.rmtree(tmp_path / "out" / "digests")
        n_old = sum(pq.read_metadata(part).num_rows for part in (parts[0], parts[2]))
        before = {part: part.stat().st_mtime_ns for part in parts}
        stub.calls.clear()
        result = run(stub, tmp_path)
        assert result.exit_code == 0
        assert stub.calls == []
        assert {part: part.stat().st_mtime_ns for part in parts} == before
        mixed = tagcorpus.read(tmp_path / "out").to_table()["answered_by"].to_pylist()
        assert [a for a in mixed if a] == [a for i, a in enumerate(by_row) if a and mixed[i]]
        assert mixed.count(None) in (n_old, n_old + 1)
