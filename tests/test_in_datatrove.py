"""TagDocuments in a datatrove pipeline that is not ours: their reader, a filter on our columns, their writer."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from datatrove.data import Document
from datatrove.executor import LocalPipelineExecutor
from datatrove.pipeline.filters import LambdaFilter
from datatrove.pipeline.readers import JsonlReader
from datatrove.pipeline.writers import ParquetWriter

import tagcorpus
from tagcorpus.errors import ConfigError
from tagcorpus.pipelines import TagDocuments

TEXTS = ["How do you bake bread? Take flour and water.", "", "the cat sat on the mat, and the dog sat too", "x" * 40]


def documents() -> list[Document]:
    return [Document(text=t, id=str(i)) for i, t in enumerate(TEXTS * 400)]


def test_values_are_those_of_the_package_and_native() -> None:
    tagged = list(TagDocuments(["length", "tokens", "language"]).run(documents()))
    expected = tagcorpus.tag(TEXTS * 400, ["length", "tokens", "language"])
    for name in ("length.char_len", "tokens.ttr", "language.language"):
        assert [d.metadata[name] for d in tagged] == expected[name].to_pylist()
    assert type(tagged[0].metadata["length.char_len"]) is int


def test_between_their_reader_filter_and_writer(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    lines = [json.dumps({"text": t, "id": f"d{i}"}) for i, t in enumerate(TEXTS) if t]
    (tmp_path / "in/a.jsonl").write_text("\n".join(lines) + "\n")
    pipeline = [
        JsonlReader(str(tmp_path / "in")),
        TagDocuments("length,tokens", {"tokens": {"tokenizer": "gpt2"}}),
        LambdaFilter(lambda d: d.metadata["tokens.ttr"] > 0.5),
        ParquetWriter(str(tmp_path / "out"), output_filename="${rank}.parquet"),
    ]
    LocalPipelineExecutor(pipeline, tasks=1, workers=1, logging_dir=str(tmp_path / "logs")).run()
    table = pq.read_table(tmp_path / "out")
    assert table["id"].to_pylist() == ["d0", "d2"]
    assert [m["length.char_len"] for m in table["metadata"].to_pylist()] == [len(TEXTS[0]), len(TEXTS[2])]


def test_the_step_travels_small() -> None:
    step = TagDocuments(["length", "tokens"])
    list(step.run(documents()[:3]))
    assert len(pickle.dumps(step)) < 10_000


def test_unknown_names_are_named() -> None:
    with pytest.raises(ConfigError, match="did you mean 'length'"):
        TagDocuments(["lenght"])
    with pytest.raises(ConfigError, match="did you mean 'tokenizer'"):
        TagDocuments(["tokens"], {"tokens": {"tokenizr": "x"}})
