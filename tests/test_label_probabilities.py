"""Columns of probabilities: from the log probabilities of an answer's tokens to the value's probability and its margin."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from stub_llm import Call, Reply, StubLLM, failure

import tagcorpus
from tagcorpus.errors import ConfigError
from tagcorpus.taggers._annotation.probabilities import likelihood
from tagcorpus.taggers._annotation.properties import Property

KIND = Property("kind", "enum", choices={"news": "", "code": "", "novel": "", "no": ""})
SCORE = Property("score", "ordinal", least=0, most=10)
SCHEMA = "name: one\nproperties: {kind: {type: enum, choices: [news, code]}, about: {type: text}}\n"


Token = tuple[str, float, dict[str, float]]


def tokens(*given: Token) -> tuple[str, str]:
    """The text and our form of tokens, each with its probability and those of alternatives."""
    form = [[t, math.log(p), [[a, math.log(q)] for a, q in {t: p, **others}.items()]] for t, p, others in given]
    return "".join(t for t, _, _ in given), json.dumps(form)


SURE: Token = ('{"kind": "', 1.0, {})
END: Token = ('"}', 1.0, {})


def test_a_value_of_one_token() -> None:
    text, logprobs = tokens(SURE, ("news", 0.6, {"code": 0.3, "novel": 0.05, "xyz": 0.05}), END)
    of = likelihood(text, logprobs, KIND)
    assert of is not None
    assert of.probability == pytest.approx(0.6 / 0.95)  # xyz begins no value
    assert of.margin == pytest.approx(0.3 / 0.95)


def test_a_value_of_several_tokens_that_begins_as_others_do() -> None:
    text, logprobs = tokens(SURE, ("no", 0.8, {"code": 0.2}), ("vel", 0.7, {'"': 0.3}), ('"}', 1.0, {}))
    of = likelihood(text, logprobs, KIND)
    assert of is not None
    assert of.probability == pytest.approx(0.8 * 0.7)
    assert of.margin == pytest.approx(0.8 * 0.7 - 0.8 * 0.3)  # the second value is no


def test_tokens_that_hold_more_than_the_value() -> None:
    text, logprobs = tokens(('{"kind":', 1.0, {}), (' "news"}', 0.9, {' "code"}': 0.1}))
    of = likelihood(text, logprobs, KIND)
    assert of is not None
    assert of == pytest.approx((0.9, 0.8))


def test_a_number_of_several_digits() -> None:
    text, logprobs = tokens(('{"score": ', 1.0, {}), ("1", 0.9, {"7": 0.1}), ("0", 0.5, {"}": 0.5}), ("}", 1.0, {}))
    of = likelihood(text, logprobs, SCORE)
    assert of is not None
    assert of.probability == pytest.approx(0.45)
    assert of.margin == pytest.approx(0.0)  # 1 is as likely as 10


def test_without_usable_log_probabilities_there_is_no_value() -> None:
    text, logprobs = tokens(SURE, ("news", 1.0, {}), END)
    assert likelihood(text, "", KIND) is None
    assert likelihood(text + " ", logprobs, KIND) is None
    assert likelihood(text, logprobs, Property("other", "boolean")) is None


@given(st.lists(st.floats(0.01, 1), min_size=3, max_size=3))
def test_probabilities_are_shares_of_the_values(weights: list[float]) -> None:
    news, code, novel = (weight / sum(weights) for weight in weights)
    text, logprobs = tokens(SURE, ("news", news, {"code": code, "novel": novel}), END)
    of = likelihood(text, logprobs, KIND)
    assert of is not None
    assert of.probability == pytest.approx(news)
    assert of.margin == pytest.approx(news - max(code, novel))


def reply_to(call: Call) -> Reply:
    content = '{"kind": "news", "about": "x"}'
    choice: dict[str, Any] = {"index": 0, "message": {"role": "assistant", "content": content}, "finish_reason": "stop"}
    if call.body.get("logprobs"):
        assert call.body["top_logprobs"] == 20
        given_tokens = [('{"kind": "', 1.0), ("news", 0.75), ('", "about": "x"}', 1.0)]
        choice["logprobs"] = {
            "content": [
                {
                    "token": t,
                    "logprob": math.log(p),
                    "top_logprobs": [
                        {"token": t, "logprob": math.log(p)},
                        {"token": "code", "logprob": math.log(0.25)},
                    ],
                }
                for t, p in given_tokens
            ]
        }
    return Reply(body=json.dumps({"model": "m", "choices": [choice], "usage": {"prompt_tokens": 9}}).encode())


def annotated(stub: StubLLM, folder: Path, **parameters: Any) -> dict[str, Any]:
    (folder / "one.yaml").write_text(SCHEMA)
    (folder / "a.jsonl").write_text(json.dumps({"text": "a text"}) + "\n")
    own = {"schema": str(folder / "one.yaml"), "base_url": stub.base_url, "llm_cache": str(folder / "c"), **parameters}
    tagcorpus.run(
        "annotate",
        input=folder / "a.jsonl",
        output=folder / "out",
        overwrite=True,
        annotate={**own, "backoff_seconds": 0.001},
    )
    (part,) = (folder / "out" / "attributes").rglob("*.parquet")
    (row,) = pq.read_table(part).to_pylist()
    return dict(row)


def test_columns_come_only_where_they_are_asked_for_and_from_the_cache_too(tmp_path: Path) -> None:
    with StubLLM(reply_to) as stub:
        assert "kind_probability" not in annotated(stub, tmp_path)
        for _ in range(2):
            row = annotated(stub, tmp_path, probabilities=True)
            assert (row["kind_probability"], row["kind_margin"]) == (pytest.approx(0.75), pytest.approx(0.5))
            assert "about_probability" not in row
        assert len(stub.calls) == 2


@pytest.mark.e2e
def test_an_endpoint_without_log_probabilities_gives_labels_all_the_same(tmp_path: Path) -> None:
    def refuse(call: Call) -> Reply:
        if "logprobs" in call.body:
            return failure(400, "Unrecognized request argument supplied: logprobs")
        if "top_logprobs" in call.body:
            return failure(400, "Unsupported parameter: 'top_logprobs' is not supported with this model.")
        return reply_to(call)

    with StubLLM(refuse) as stub:
        row = annotated(stub, tmp_path, probabilities=True)
    assert (row["kind"], row["kind_probability"], row["kind_margin"], row["error"]) == ("news", None, None, None)


def test_a_property_may_not_have_the_name_of_such_a_column(tmp_path: Path) -> None:
    (tmp_path / "s.yaml").write_text("properties: {a: {type: boolean}, a_margin: {type: number}}\n")
    with pytest.raises(ConfigError, match="a_margin"):
        tagcorpus.run("annotate", input=[], annotate={"schema": str(tmp_path / "s.yaml"), "probabilities": True})
