"""Models, makers and features that look different to a program, and are one to people."""

from __future__ import annotations

from fractions import Fraction
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tagcorpus.errors import ConfigError, InputError
from tagcorpus.pipelines.mixes.make import _odd_sum
from tagcorpus.predictor.records.makers import in_one_spelling, is_one, maker
from tagcorpus.taggers.fasttext import FastText, self_test

NOISE = np.random.default_rng(2).normal(size=40)


def test_makers_in_two_spellings_are_one_group() -> None:
    groups = ["Acme AI", "acme-ai", "Acme AI", "apex"]
    assert in_one_spelling(groups, are_makers=True) == ("Acme AI", "Acme AI", "Acme AI", "apex")
    assert in_one_spelling(["b", "A", "a"], are_makers=True) == ("b", "A", "A")
    assert in_one_spelling(["1.5", "15", "GeLU", "gelu"], are_makers=False) == ("1.5", "15", "GeLU", "GeLU")
    assert (is_one("meta", "Meta", "maker"), is_one("1.5", "15", "mlp_ratio")) == (True, False)


def test_a_maker_is_known_in_any_case() -> None:
    assert maker("EleutherAI/pythia-70m") == maker("eleutherai/Pythia-70M") == "EleutherAI"
    assert maker("me/tune", bases={"me/tune": "qwen/qwen2-72b"}) == maker("Qwen/Qwen2-72B")


@pytest.mark.parametrize(
    ("of_score", "is_copy"),
    [
        (lambda y: y, True),
        (lambda y: 100 * y, True),
        (lambda y: 1 - y, True),
        (lambda y: np.round(y, 3), True),
        (lambda y: y + 0.02 * NOISE, False),
        (lambda y: np.where(np.arange(len(y)) < 9, y, np.nan), False),
        (lambda y: np.ones(len(y)), False),
    ],
)
def test_a_feature_is_not_the_score_itself(of_score: Any, is_copy: bool) -> None:
    pandas = pytest.importorskip("pandas")
    from tagcorpus.predictor.learners.data import _check_copies

    chance = np.random.default_rng(1)
    y = chance.uniform(0.2, 0.8, 40)
    frame = pandas.DataFrame({"x": of_score(y)})
    if is_copy:
        with pytest.raises(InputError, match="column 'x' is the score of hellaswag itself"):
            _check_copies(frame, ["x"], y, "hellaswag")
    else:
        _check_copies(frame, ["x"], y, "hellaswag")


def test_models_that_differ_by_case_are_named() -> None:
    from tagcorpus.pipelines.predicting.features import say_similar_ids

    said: list[str] = []
    display: Any = SimpleNamespace(say=said.append)
    say_similar_ids(SimpleNamespace(ids=("acme/a", "Acme/A", "acme/b")), display)  # type: ignore[arg-type]
    assert said == ["models 'acme/a' and 'Acme/A' differ by case or spaces only: is one model here twice?"]
    say_similar_ids(SimpleNamespace(ids=("acme/a", "acme/b")), display)  # type: ignore[arg-type]
    assert len(said) == 1


@pytest.mark.parametrize(
    ("prefix", "label", "is_refused"),
    [
        ("__label__", "__label__en", False),
        ("__label__", "__lbl__en", True),
        ("__lbl__", "__label__en", True),
        ("__lbl__", "__lbl__en", False),
        ("", "__lbl__en", False),
        ("__label__", "en", False),
        ("__label__", "__init__", False),
    ],
)
def test_a_prefix_is_that_of_the_labels(prefix: str, label: str, is_refused: bool) -> None:
    tagger = FastText(model="m.bin", prefix=prefix)
    if is_refused:
        with pytest.raises(ConfigError, match=r"the labels of 'm\.bin' begin otherwise.*say --set fasttext\.prefix=__"):
            tagger._check_prefix(lambda texts, k, threshold: [([label], [1.0])] * len(texts))  # noqa: ARG005
    else:
        tagger._check_prefix(lambda texts, k, threshold: [([label], [1.0])] * len(texts))  # noqa: ARG005


def test_a_model_that_gives_no_numbers_is_refused() -> None:
    def predict(*_: Any, **__: Any) -> Any:
        raise RuntimeError("Encountered NaN.")

    model = SimpleNamespace(f=SimpleNamespace(getArgs=lambda: SimpleNamespace(wordNgrams=1)), predict=predict)
    with pytest.raises(ConfigError, match="gives probabilities that are not numbers"):
        self_test(model)


def test_weights_that_look_like_shares_add_up_to_1() -> None:
    assert _odd_sum({"a": Fraction("0.9"), "b": Fraction("0.6")}) == [
        "weights add up to 1.5, not to 1, and are taken in proportion"
    ]
    for good in ({"a": "0.333", "b": "0.333", "c": "0.333"}, {"a": "3", "b": "0.5"}, {"a": "0.2"}):
        assert _odd_sum({name: Fraction(weight) for name, weight in good.items()}) == []


def test_stored_features_are_checked_as_a_file_is() -> None:
    pandas = pytest.importorskip("pandas")
    duckdb = pytest.importorskip("duckdb")
    from tagcorpus.pipelines.predicting.features import features_of

    with duckdb.connect() as con:
        con.execute("CREATE TABLE evaluation_results (benchmark VARCHAR, setting VARCHAR, metric VARCHAR)")
        said: list[str] = []
        display: Any = SimpleNamespace(say=said.append)

        def read(values: list[float], column: str = "x") -> Any:
            frame = pandas.DataFrame({"id": ["a/b", "a/c", "a/d"], column: values})
            return features_of(None, SimpleNamespace(features=lambda: frame, path="db", con=con), display)  # type: ignore[arg-type]

        table, findings = read([1.0, 2.5, 3.0])
        assert (list(table.index), findings, said) == (["a/b", "a/c", "a/d"], findings, [])
        with pytest.raises(InputError, match=r"the feature table of 'db': not_finite: .*a/c: x is 'inf'"):
            read([1.0, float("inf"), 2.0])
        read([40.0, 50.0, 60.0], "ttr_mean")
        assert any("values that cannot be" in line for line in said)
