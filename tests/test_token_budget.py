"""Intervals at a token budget hold what another corpus of the same kind would give, also where samples overlap."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tagcorpus.pipelines.counting.token_budget import Budget, overlap_factor, put_together, renewed


def found(values: list[float], of_corpus: float) -> dict[str, Any]:
    budget = Budget(int(1000 * of_corpus), len(values), 0)
    return put_together(budget, 1000, [(1, 1)] * len(values), [{"h": v, "n": 3} for v in values])


def test_the_factor_is_that_of_overlapping_samples() -> None:
    assert overlap_factor(5, 0.5) == pytest.approx(6**0.5)
    assert overlap_factor(1, 0.0) == 1.0
    assert overlap_factor(5, 1.0) is None


@pytest.mark.parametrize("share", [0.1, 0.5, 0.8])
def test_intervals_cover_what_they_say(share: float) -> None:
    """Corpora of 400 numbers, samples of a share of them: the interval of their mean holds the mean of all corpora."""
    random = np.random.default_rng(1)
    covered, narrow = [], []
    for _ in range(600):
        corpus = random.exponential(size=400)
        values = [float(np.mean(random.choice(corpus, int(400 * share), replace=False))) for _ in range(5)]
        told = found(values, share)["h"]
        covered.append(told["low"] <= 1 <= told["high"])
        factor = overlap_factor(5, share)
        assert factor is not None
        narrow.append(abs(told["mean"] - 1) <= (told["high"] - told["mean"]) / factor)
    assert 0.92 < np.mean(covered) < 0.99
    assert np.mean(narrow) < np.mean(covered)
    if share >= 0.5:
        assert np.mean(narrow) < 0.8  # what the samples' own spread alone would cover


def test_samples_that_are_the_whole_corpus_have_no_interval() -> None:
    assert found([2.0, 2.0, 2.0], 1.0)["h"] == {"mean": 2.0, "low": None, "high": None}


@given(st.lists(st.floats(0, 20), min_size=1, max_size=6), st.floats(0.01, 1.0))
def test_stored_figures_of_an_earlier_version_get_todays_intervals(values: list[float], share: float) -> None:
    today = found(values, share)
    old = {k: v for k, v in today.items() if k != "widened_by"} | {"h": {"mean": 0.0, "low": -1.0, "high": 1.0}}
    assert renewed(old) == today
    assert renewed(today) is today
    assert renewed(None) is None
