"""Models, makers and features that look different to a program, and are one to people."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tagcorpus.errors import InputError
from tagcorpus.predictor.records.makers import in_one_spelling, is_one, maker

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
    from tagcorpus.pipelines.predicting.features import say_alike

    said: list[str] = []
    display: Any = SimpleNamespace(say=said.append)
    say_alike(SimpleNamespace(ids=("acme/a", "Acme/A", "acme/b")), display)  # type: ignore[arg-type]
    assert said == ["models 'acme/a' and 'Acme/A' differ by case or spaces only: is one model here twice?"]
    say_alike(SimpleNamespace(ids=("acme/a", "acme/b")), display)  # type: ignore[arg-type]
    assert len(said) == 1
