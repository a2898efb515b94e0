"""Tests and bootstrap samples of two histograms whose documents come in clusters, from counts by block.

All functions take counts of A and B, [blocks, bins]. `is_paired`: the same blocks hold documents of both, as two groups of one
output do; otherwise the blocks of A and B are independent.

Sources  second-order corrected chi square of clustered counts: Rao and Scott 1984, as F: Thomas and Rao 1987; tail of t: Wallace
1959; tail of F: Paulson 1942; bootstrap of clusters: Davison and Hinkley 1997.
"""

from __future__ import annotations

import math

import numpy as np

from tagcorpus.pipelines.distributions import effects
from tagcorpus.pipelines.distributions.attribute_columns import Floats
from tagcorpus.pipelines.distributions.effects import Counts

# Fewer blocks do not say how much a figure depends on chance: no interval, and p is 1.
LEAST_BLOCKS = 10


def t_p(t: float, df: float) -> float:
    """Two-sided p of Student's t, by Wallace's approximation."""
    return effects.two_sided((8 * df + 1) / (8 * df + 3) * math.sqrt(df * math.log1p(t * t / df)))


def f_p(statistic: float, df: float, df_within: float) -> float:
    """Upper tail of F, by Paulson's cube root approximation."""
    if statistic <= 0:
        return 1.0
    root, a, b = statistic ** (1 / 3), 2 / (9 * df), 2 / (9 * df_within)
    return 0.5 * math.erfc(((1 - b) * root - (1 - a)) / math.sqrt(2 * (a + b * root * root)))


def used(a: Counts, b: Counts, is_paired: bool) -> tuple[Counts, Counts]:
    """The counts without blocks that have no documents."""
    in_a, in_b = a.any(axis=1), b.any(axis=1)
    if is_paired:
        in_a = in_b = in_a | in_b
    return a[in_a], b[in_b]


def redrawn(
    a: Counts, b: Counts, is_paired: bool, replicates: int, random: np.random.Generator
) -> tuple[Counts, Counts]:
    """Counts [replicates, bins] of A and B from blocks that are drawn again; replicates without documents on a side are left out.
    With fewer than LEAST_BLOCKS blocks, there are none."""
    if min(len(a), len(b)) < LEAST_BLOCKS:
        return a[:0], b[:0]
    weights = [random.multinomial(len(x), np.full(len(x), 1 / len(x)), replicates) for x in (a, b)]
    if is_paired:
        weights[1] = weights[0]
    drawn_a, drawn_b = (w @ x for w, x in zip(weights, (a, b), strict=True))
    has_both = drawn_a.any(axis=1) & drawn_b.any(axis=1)
    return drawn_a[has_both], drawn_b[has_both]


def delta_p(a: Counts, b: Counts, is_paired: bool) -> float:
    """p of Cliff's delta, with a standard error from leaving out a block at a time. 1 with fewer than LEAST_BLOCKS blocks."""
    if is_paired:
        value, error, n = effects.jackknife(
            lambda sums: _delta(sums[..., 0, :], sums[..., 1, :]), np.stack([a, b], 1).astype(np.float64)
        )
    else:
        total_a, total_b = a.sum(0).astype(np.float64), b.sum(0).astype(np.float64)
        value, error_a, n_a = effects.jackknife(lambda sums: _delta(sums, total_b), a.astype(np.float64))
        _, error_b, n_b = effects.jackknife(lambda sums: _delta(total_a, sums), b.astype(np.float64))
        error, n = np.hypot(error_a, error_b), min(n_a, n_b)
    if n < LEAST_BLOCKS or not np.isfinite(error) or error == 0:
        return 1.0
    return t_p(float(value / error), n - 1)


def shares_p(a: Counts, b: Counts, is_paired: bool) -> float:
    """p of equal shares of all bins. 1 with fewer than LEAST_BLOCKS blocks, or one bin."""
    total = a.sum(0) + b.sum(0)
    a, b = a[:, total > 0].astype(np.float64), b[:, total > 0].astype(np.float64)
    n_a, n_b, n_bins = a.sum(), b.sum(), a.shape[1]
    n_blocks = len(a) if is_paired else min(len(a), len(b))
    if n_bins < 2 or n_blocks < LEAST_BLOCKS:
        return 1.0
    p_a, p_b = a.sum(0) / n_a, b.sum(0) / n_b
    # What each block adds to the difference of shares, to first order.
    adds_a, adds_b = ((x - p * x.sum(1, keepdims=True)) / n for x, p, n in ((a, p_a, n_a), (b, p_b, n_b)))
    covariance = _covariance(adds_a - adds_b) if is_paired else _covariance(adds_a) + _covariance(adds_b)
    pooled = (a.sum(0) + b.sum(0)) / (n_a + n_b)
    scale = n_a * n_b / (n_a + n_b)
    statistic = scale * float(((p_a - p_b) ** 2 / pooled).sum())
    # The statistic is a weighted sum of squared normals; the weights are the eigenvalues of this matrix.
    weighted = scale * covariance / np.sqrt(np.outer(pooled, pooled))
    first, second = float(np.trace(weighted)), float((weighted**2).sum())
    if first <= 0:
        return 1.0
    df = first**2 / second
    return f_p(statistic / first, df, df * (n_blocks - 1))


def _covariance(adds: Floats) -> Floats:
    n = len(adds)
    return np.asarray(adds.T @ adds * n / (n - 1))


def _delta(a: Floats, b: Floats) -> Floats:
    share_a, share_b = a / a.sum(-1, keepdims=True), b / b.sum(-1, keepdims=True)
    below = np.cumsum(share_b, -1) - share_b
    return np.asarray((share_a * (2 * below + share_b - 1)).sum(-1))
