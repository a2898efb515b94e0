"""What a results file holds beside scores: nothing of it becomes one, and what is left out is named."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tagcorpus.errors import InputError
from tagcorpus.predictor.records.harness_results import Score, model_of, read_results
from tagcorpus.predictor.records.metrics import no_score
from tagcorpus.predictor.store.batch import read_batch

# As lm_eval 0.4.13 writes it for a group of two tasks, a task of three filters and a task that is not judged.
HONEST: dict[str, Any] = {
    "results": {
        "toy_group": {"name": "toy_group", "alias": "toy_group", "sample_len": 12, "acc,none": 0.25, "acc_stderr,none": 0.1, "sample_count": {"acc,none": 12}},
        "toy_mc": {"name": "toy_mc", "alias": " - toy_mc", "sample_len": 6, "acc,none": 0.5, "acc_stderr,none": 0.21, "acc_norm,none": 0.25, "acc_norm_stderr,none": "N/A"},
        "toy_ll": {"name": "toy_ll", "alias": " - toy_ll", "sample_len": 6, "perplexity,none": 1.5, "perplexity_stderr,none": 0.14},
        "toy_free": {"name": "toy_free", "alias": "toy_free", "sample_len": 6, "bypass,none": 999, "bypass_stderr,none": "N/A"},
        "squad": {"alias": "squad", "f1,none": 45.25, "em,none": 30.5},
    },
    "n-shot": {"toy_group": 0, "toy_mc": 0, "toy_ll": 0, "toy_free": 0, "squad": 1},
    "configs": {},
    "config": {"model": "hf", "model_args": {"pretrained": "a/b"}, "limit": None},
    "model_name": "a/b",
    "model_name_sanitized": "a__b",
}  # fmt: skip


def put(folder: Path, value: Any) -> Path:
    path = folder / "results_x.json"
    path.write_text(json.dumps(value))
    return path


def test_an_honest_file(tmp_path: Path) -> None:
    scores, notes = read_results(put(tmp_path, HONEST))
    assert scores == [
        Score("a/b", "toy_mc", "0-shot", "accuracy", 0.5, 0.21),
        Score("a/b", "toy_mc", "0-shot", "acc_norm", 0.25, None),
        Score("a/b", "toy_ll", "0-shot", "perplexity", 1.5, 0.14),
        Score("a/b", "squad", "1-shot", "f1", 45.25, None),  # in percent, as this task has it
        Score("a/b", "squad", "1-shot", "em", 30.5, None),
    ]
    assert notes == [
        "toy_group: left out, a group of other tasks",
        "toy_free bypass,none: left out, the metric 'bypass' judges nothing",
    ]


@pytest.mark.parametrize(
    ("metrics", "kept", "note"),
    [
        ({"bypass,none": 999}, [], "t bypass,none: left out, the metric 'bypass' judges nothing"),
        ({"bypass": 0.5}, [], "t bypass: left out"),
        ({"bypass,strict-match": 999.0}, [], "t bypass,strict-match: left out"),
        ({"acc,none": -1}, [], "t acc,none: left out, -1 is below 0"),
        ({"exact_match,strict-match": -1.0}, [], "-1 is below 0"),
        ({"acc,none": 43.5}, [], "43.5 is not a share from 0 to 1"),
        ({"perplexity,none": -1}, [], "-1 is below 0"),
        ({"acc,none": None}, [], "t acc,none: left out, the file has no value"),
        ({"acc,none": "N/A"}, [], "t acc,none: left out, the file has no value"),
        ({"acc,none_stderr": 0.1}, [], None),
        ({"stderr,none": 0.1}, [], None),
        ({"acc_stderr,none": 0.1, "alias": "t", "name": "t", "sample_len": 3}, [], None),
        ({"mcc,none": -1.0}, [("mcc", -1.0)], None),  # from -1 to 1
        ({"acc,none": 1}, [("accuracy", 1.0)], None),
        ({"acc,none": 0}, [("accuracy", 0.0)], None),
        ({"brier_score,none": 1.5}, [("brier_score", 1.5)], None),
    ],
)
def test_what_is_not_a_score(tmp_path: Path, metrics: Any, kept: list[tuple[str, float]], note: str | None) -> None:
    results = {"t": metrics, "sound": {"acc,none": 0.5}}
    document = {"model_name": "a/b", "results": results, "n-shot": {"t": 5, "sound": 5}}
    scores, notes = read_results(put(tmp_path, document))
    assert [(s.metric, s.value) for s in scores if s.benchmark == "t"] == kept
    assert len(notes) == (note is not None)
    assert note is None or note in notes[0]


def test_a_group_is_known_by_its_count_of_samples(tmp_path: Path) -> None:
    """Where a file says neither `groups` nor `group_subtasks`."""
    group = {"acc,none": 0.4, "sample_count": {"acc,none": 12}}
    document = {"model_name": "a/b", "results": {"g": group, "t": {"acc,none": 0.5}}, "n-shot": {"g": 0, "t": 0}}
    scores, notes = read_results(put(tmp_path, document))
    assert [s.benchmark for s in scores] == ["t"]
    assert notes == ["g: left out, a group of other tasks"]


def test_a_file_without_any_score_says_why(tmp_path: Path) -> None:
    document = {"model_name": "a/b", "results": {"t": {"bypass,none": 999}}, "n-shot": {"t": 0}}
    with pytest.raises(InputError, match=r"has no score: t bypass,none: left out, the metric 'bypass' judges nothing"):
        read_results(put(tmp_path, document))


@pytest.mark.parametrize(
    ("metric", "value", "told"),
    [("bypass", "999", "judges nothing"), ("accuracy", "-1", "-1 is below 0"), ("acc_norm", "51", "not a share")],
)
def test_tables_of_scores_are_held_to_the_same(tmp_path: Path, metric: str, value: str, told: str) -> None:
    path = tmp_path / "scores.csv"
    path.write_text(f"id,benchmark,setting,metric,metric_value\na/b,t,5-shot,{metric},{value}\n")
    with pytest.raises(InputError, match=told):
        read_batch(path)


@given(st.floats(0, 1), st.sampled_from(["accuracy", "acc_norm", "mc1", "f1", "em", "perplexity", "mcc", "rouge1_max"]))
def test_shares_are_scores_of_everything(value: float, metric: str) -> None:
    assert no_score(metric, value) == ""
    assert no_score(metric, math.nan) == ""  # that a score could not be computed is told, and kept


@pytest.mark.parametrize(
    ("document", "name", "problem"),
    [
        ({"model_name": "a/b"}, "a/b", ""),
        ({"model_name": "gpt2"}, "gpt2", ""),
        ({"config": {"model_args": "pretrained=a/b,dtype=float16"}}, "a/b", ""),
        ({"config": {"model_args": {"pretrained": "a/b", "revision": "main"}}}, "a/b", ""),
        ({"model_name": "models/toy/mix-a"}, "models/toy/mix-a", ""),
        ({"model_name": "llama3:8b"}, "llama3:8b", ""),
        ({"model_name": "tmp/toy/mix-a"}, "tmp/toy/mix-a", "must be organisation/name"),
        ({"model_name": "models/../mix-a"}, "models/../mix-a", "must be organisation/name"),
        ({"model_name": "models\\mix-a"}, "models\\mix-a", "must be organisation/name"),
        ({"model_name": "/tmp/toy/mix-a"}, "/tmp/toy/mix-a", "must be organisation/name"),
        ({"model_name": "./toy"}, "./toy", "must be organisation/name"),
        ({"model_name": "a/b", "config": {"model_args": {"peft": "c/d"}}}, "a/b", "peft=c/d is another model"),
        ({}, "", "must be organisation/name"),
    ],
)
def test_the_model_of_a_file(document: dict[str, Any], name: str, problem: str) -> None:
    assert model_of(document)[0] == name
    assert (problem in model_of(document)[1]) if problem else model_of(document)[1] == ""
