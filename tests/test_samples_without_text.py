"""Samples of the evaluation harness without any generation: the message says what `resps` holds instead."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tagcorpus.errors import InputError
from tagcorpus.pipelines.run import run

HELLO = [["A model wrote this."]]


def samples(path: Path, *resps: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps({"doc_id": i, "doc": {}, "resps": r}) + "\n" for i, r in enumerate(resps)))
    return path


@pytest.mark.parametrize(
    ("resps", "holds"),
    [
        ([[[None]], [[None, None]]], "nulls only, not text"),
        ([None], "nulls only, not text"),
        ([[], [[]]], "empty lists only, not text"),
        ([[[None]], [[{"a": 1}]]], "nulls and objects, not text"),
    ],
)
@pytest.mark.parametrize("pipeline", ["tag", "features"])
def test_the_message_says_what_resps_holds(tmp_path: Path, pipeline: Any, resps: list[Any], holds: str) -> None:
    samples(tmp_path / "in/acme__alpha/samples_gen_2026-01-01T00-00-00.jsonl", *resps)
    with pytest.raises(InputError) as caught:
        run(pipeline, input=tmp_path / "in", output=tmp_path / "out", taggers="length")
    message = str(caught.value)
    assert f"looked for resps; 'resps' is there and holds {holds}" in message
    assert "Generate the samples again" in message
    assert caught.value.exit_code == 2


def test_one_model_of_two_is_named(tmp_path: Path) -> None:
    samples(tmp_path / "in/acme__alpha/samples_gen_2026-01-01T00-00-00.jsonl", *[HELLO] * 3)
    samples(tmp_path / "in/acme__beta/samples_gen_2026-01-01T00-00-00.jsonl", [[None]])
    result = run("tag", input=tmp_path / "in", output=tmp_path / "out", taggers="length")
    assert result.exit_code == 0
    assert "'resps' is there and holds nulls only" in result.messages[0]


def test_a_few_nulls_among_texts_are_not_worth_a_word(tmp_path: Path) -> None:
    path = samples(tmp_path / "samples_gen_2026-01-01T00-00-00.jsonl", [[None]], *[HELLO] * 3)
    result = run("tag", input=path, output=tmp_path / "out", taggers="length")
    assert not any("no text found" in m for m in result.messages)
