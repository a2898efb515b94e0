"""Rank correlations of features and benchmarks: against scipy, with missing values, and as a picture."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tagcorpus.predictor.explaining import correlations, figures
from tagcorpus.predictor.learners.data import load
from tagcorpus.predictor.store.store import Store

EXAMPLE = Path(__file__).resolve().parents[1] / "examples" / "database"


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=10, max_size=30))
def test_rho_is_scipys(pairs: list[tuple[int, int]]) -> None:
    from scipy.stats import spearmanr

    x = np.array(pairs, dtype=np.float64)
    found = correlations.correlations(("a", "b"), x).values[0, 1]
    if len(set(x[:, 0])) == 1 or len(set(x[:, 1])) == 1:
        assert np.isnan(found)
    else:
        assert found == pytest.approx(spearmanr(x[:, 0], x[:, 1]).statistic, abs=1e-9)


def test_missing_values_leave_a_pair_out_and_too_few_leave_it_empty() -> None:
    x = np.arange(24.0).reshape(12, 2) ** 2
    x[:2, 0] = np.nan
    found = correlations.correlations(("a", "b"), x)
    assert found.models.tolist() == [[10, 10], [10, 12]]
    np.testing.assert_allclose(found.values, 1)
    x[2, 1] = np.nan
    assert correlations.document(correlations.correlations(("a", "b"), x))["spearman"] == [[1, None], [None, 1]]


def test_of_a_store() -> None:
    pytest.importorskip("matplotlib")
    with Store.from_existing(EXAMPLE) as store:
        hellaswag, logiqa = (load(store.con, t, EXAMPLE / "features.csv") for t in ("hellaswag", "logiqa2"))
    features = correlations.of_features(hellaswag)
    assert features.names[:2] == ("total_params", "pretraining_summary_total_tokens_billions")
    assert "entropy_mean" in features.names
    assert len(features.names) <= correlations.MOST
    benchmarks = correlations.of_benchmarks([hellaswag, logiqa])
    assert benchmarks.values[0, 1] > 0.3  # a lower Brier score is a better one
    figure = figures.correlation(benchmarks, "Benchmarks")
    assert [t.get_text() for t in figure.axes[0].get_yticklabels()] == ["hellaswag", "logiqa2"]
    assert figure.axes[0].get_title(loc="left").startswith("Benchmarks; ")
