"""Tests and bootstrap of clustered counts: tails against scipy, blocks of single documents, and null splits of clusters."""

from __future__ import annotations

import numpy as np
import pytest

from tagcorpus.pipelines.distributions import clustered, effects


def counts(values: np.ndarray, blocks: np.ndarray, n_blocks: int, n_bins: int) -> np.ndarray:
    return np.bincount(blocks * n_bins + values, minlength=n_blocks * n_bins).reshape(n_blocks, n_bins)


@pytest.mark.parametrize(
    ("statistic", "df", "df_within"), [(2.0, 5, 100), (1.0, 31, 2000), (4.0, 3, 60), (0.7, 10, 300)]
)
def test_tail_of_f(statistic: float, df: float, df_within: float) -> None:
    stats = pytest.importorskip("scipy.stats")
    assert clustered.f_p(statistic, df, df_within) == pytest.approx(stats.f.sf(statistic, df, df_within), abs=0.003)


@pytest.mark.parametrize(("t", "df"), [(1.0, 10), (-2.5, 19), (4.0, 255)])
def test_tail_of_t(t: float, df: float) -> None:
    stats = pytest.importorskip("scipy.stats")
    assert clustered.t_p(t, df) == pytest.approx(2 * stats.t.sf(abs(t), df), rel=0.02)


def test_independent_documents_have_the_usual_p() -> None:
    random = np.random.default_rng(1)
    a, b = random.integers(0, 6, 4_000), np.minimum(random.integers(0, 6, 4_000) + (random.random(4_000) < 0.04), 5)
    x, y = (counts(v, random.integers(0, 256, len(v)), 256, 6) for v in (a, b))
    total = x.sum(0), y.sum(0)
    usual = effects.chi_square_p(*effects.homogeneity(*total))
    assert np.log(clustered.shares_p(x, y, False)) == pytest.approx(np.log(usual), rel=0.25)
    rank = effects.two_sided(effects.delta_z(*total))
    assert np.log(clustered.delta_p(x, y, False)) == pytest.approx(np.log(rank), rel=0.25)


@pytest.mark.parametrize("is_paired", [False, True])
def test_null_splits_of_clusters(is_paired: bool) -> None:
    """100 splits in which the documents of a cluster are alike: about 5 have p below 0.05; without clusters, most have."""
    random = np.random.default_rng(2)
    clusters = np.repeat(np.arange(120), 10)
    low = {"delta": 0, "shares": 0, "usual": 0}
    for _ in range(100):
        values = np.clip(random.normal(4, 2, 120)[clusters] + random.normal(0, 0.5, len(clusters)), 0, 7).astype(
            np.int64
        )
        is_a = random.random(len(clusters)) < 0.5 if is_paired else (random.random(120) < 0.5)[clusters]
        x, y = (counts(values[side], clusters[side], 120, 8) for side in (is_a, ~is_a))
        x, y = clustered.used(x, y, is_paired)
        low["delta"] += clustered.delta_p(x, y, is_paired) < 0.05
        low["shares"] += clustered.shares_p(x, y, is_paired) < 0.05
        low["usual"] += effects.chi_square_p(*effects.homogeneity(x.sum(0), y.sum(0))) < 0.05
    assert max(low["delta"], low["shares"]) <= 12
    assert low["usual"] > 60 or is_paired


def test_redrawn_blocks_are_paired() -> None:
    x = np.eye(20, dtype=np.int64)
    a, b = clustered.redrawn(x, 2 * x, True, 50, np.random.default_rng(3))
    assert (2 * a == b).all()
    assert (a.sum(1) == 20).all()
    few, _ = clustered.redrawn(x[:5], x[:5], True, 50, np.random.default_rng(3))
    assert len(few) == 0
    assert (clustered.delta_p(x[:5], x[:5], True), clustered.shares_p(x[:5], x[:5], True)) == (1.0, 1.0)
