"""Reading a chunk without the Arrow column of texts: the same documents, batches and counts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tagcorpus.pipelines.formats import lines
from tagcorpus.pipelines.inputs.input_files import InputFile
from tagcorpus.pipelines.readers import reader
from tagcorpus.pipelines.readers.reader import ChunkReader, ReaderOptions


@pytest.mark.parametrize("columns", [(), ("source",)])
def test_batches_without_the_text_column_are_the_same(
    columns: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reader, "BATCH_BYTES", 64)
    texts = ["a tale", "naïve 日本語", "\ud800 x", "", "x" * 70, *[f"line {i}" for i in range(20)]]
    rows = [json.dumps({"id": f"d{i}", "text": text, "source": "web" * i}) for i, text in enumerate(texts)]
    (tmp_path / "a.jsonl").write_text("\n".join([*rows, "bad"]))
    file = InputFile("a.jsonl", str(tmp_path / "a.jsonl"), "jsonl", "")
    (chunk,) = lines.index(file, 1 << 20)

    def read(*, has_text_column: bool) -> ChunkReader:
        return ChunkReader(file, chunk, ReaderOptions(columns=columns), has_text_column=has_text_column)

    whole, bare = read(has_text_column=True), read(has_text_column=False)
    batches, without = list(whole), list(bare)
    assert len(batches) > 2
    assert [b.texts for b in without] == [b.texts for b in batches] == [b.table["text"].to_pylist() for b in batches]
    assert [t for b in without for t in b.texts] == [text.replace("\ud800", "\ufffd") for text in texts]
    assert [b.table for b in without] == [b.table.drop_columns(["text"]) for b in batches]
    assert bare.counts == whole.counts
    assert (bare.counts.repaired, bare.counts.quarantined) == (1, {"not_json": 1})
    assert bare.quarantine.digest == whole.quarantine.digest
