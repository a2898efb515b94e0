"""Effect sizes and tests from histograms and sums. All functions are pure, and work on the last axis of their arrays.

Sources  eta and omega squared: Olejnik and Algina 2003; Cliff's delta: Cliff 1993; tie-corrected variance of the rank sum: Lehmann
1975; jackknife over groups of observations: Shao and Tu 1995; false discovery rate: Benjamini and Hochberg 1995; standard error of
Spearman's rho: Bonett and Wright 2000, of Kendall's tau: Fieller, Hartley and Pearson 1957.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from statistics import NormalDist
from typing import Any

import numpy as np
import numpy.typing as npt

from tagcorpus.pipelines.distributions.attribute_columns import Floats
from tagcorpus.pipelines.distributions.binning import Bins, merged

Counts = npt.NDArray[np.int64]


def t_quantile(probability: float, df: int) -> float:
    """Quantile of Student's t by its expansion around the normal one; within 1 % from 10 degrees of freedom on."""
    z = NormalDist().inv_cdf(probability)
    first, second = (z**3 + z) / 4, (5 * z**5 + 16 * z**3 + 3 * z) / 96
    third = (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384
    return z + first / df + second / df**2 + third / df**3


def two_sided(z: float) -> float:
    """p of a standard normal statistic."""
    return math.erfc(abs(z) / math.sqrt(2))


def chi_square_p(statistic: float, df: int) -> float:
    """Upper tail of chi square, by the cube root approximation of Wilson and Hilferty."""
    if df < 1 or statistic <= 0:
        return 1.0
    z = ((statistic / df) ** (1 / 3) - (1 - 2 / (9 * df))) / math.sqrt(2 / (9 * df))
    return 0.5 * math.erfc(z / math.sqrt(2))


def adjusted(p_values: Sequence[float]) -> list[float]:
    """Benjamini-Hochberg: the smallest false discovery rate at which each test is a discovery.

    Example  [0.01, 0.04, 0.03] -> [0.03, 0.04, 0.04]
    """
    order = np.argsort(p_values, kind="stable")[::-1]
    q, n = np.empty(len(p_values)), len(p_values)
    smallest = 1.0
    for i, position in enumerate(order):
        smallest = min(smallest, p_values[position] * n / (n - i))
        q[position] = smallest
    return [float(v) for v in q]


def jackknife(statistic: Callable[[Floats], Floats], sums: Floats) -> tuple[Floats, Floats, int]:
    """Value, standard error and number of blocks of a statistic of summed blocks.

    sums       [blocks, ...]: what each block adds; blocks without anything are left out
    statistic  of sums [..., ...] without the first axis, on a stack of such sums
    """
    is_used = sums.reshape(len(sums), -1).any(axis=1)
    used, total = sums[is_used], sums.sum(axis=0)
    n = len(used)
    with np.errstate(divide="ignore", invalid="ignore"):
        value = statistic(total[None])[0]
        if n < 2:
            return value, np.full_like(value, np.nan), n
        without = statistic(total[None] - used)
        # Without a block that held all of a group, there is no value: the removal says nothing.
        is_value = np.isfinite(without)
        mean = np.where(is_value, without, 0).sum(axis=0) / np.maximum(is_value.sum(axis=0), 1)
        spread = (np.where(is_value, without - mean, 0) ** 2).sum(axis=0)
    return value, np.sqrt((n - 1) / n * spread), n


def variance_shares(sums: Floats) -> Floats:
    """[..., 2]: eta squared and omega squared of sums [..., 3, groups]: n, sum and sum of squares of each group."""
    n, s1, s2 = sums[..., 0, :], sums[..., 1, :], sums[..., 2, :]
    total = n.sum(-1)
    groups = (n > 0).sum(-1)
    between = np.where(n > 0, s1**2 / np.maximum(n, 1), 0).sum(-1) - s1.sum(-1) ** 2 / total
    whole = s2.sum(-1) - s1.sum(-1) ** 2 / total
    within = (whole - between) / np.maximum(total - groups, 1)
    return np.stack([between / whole, (between - (groups - 1) * within) / (whole + within)], -1)


def offsets(sums: Floats) -> Floats:
    """[..., groups]: mean of each group minus that of all others, in standard deviations within groups; sums as above."""
    n, s1, s2 = sums[..., 0, :], sums[..., 1, :], sums[..., 2, :]
    total = n.sum(-1, keepdims=True)
    groups = (n > 0).sum(-1, keepdims=True)
    means = s1 / n
    rest = (s1.sum(-1, keepdims=True) - s1) / (total - n)
    within = (s2 - np.where(n > 0, s1**2 / np.maximum(n, 1), 0)).sum(-1, keepdims=True) / np.maximum(total - groups, 1)
    return np.asarray((means - rest) / np.sqrt(within))


def least_offset_error(n: Floats) -> Floats:
    """Standard error of `offsets` of groups with n documents, if all groups had one variance.

    With skewed values, the groups whose mean is low by chance have a variance that is low by chance; errors from their own
    variance alone would then take too many of them for different.
    """
    return np.asarray(np.sqrt(1 / n + 1 / (n.sum(-1, keepdims=True) - n)))


def log_lifts(sums: Floats) -> Floats:
    """[..., groups]: ln of a group's share of the top by its share of all; sums [..., 2, groups]: n, and n in the top."""
    n, top = sums[..., 0, :], sums[..., 1, :]
    return np.asarray(np.log(top / top.sum(-1, keepdims=True)) - np.log(n / n.sum(-1, keepdims=True)))


def cliffs_delta(a: Counts, b: Counts) -> float:
    """P(A > B) - P(A < B) of two histograms in the same bins; values that share a bin count as equal.

    Example  [0, 1] and [1, 0] -> 1.0
    """
    share_a, share_b = a / a.sum(), b / b.sum()
    below = np.cumsum(share_b) - share_b
    return float((share_a * (below - (1 - below - share_b))).sum())


def delta_error(a: Counts, b: Counts, bins: Bins) -> float:
    """What the true delta can differ at most: the share of pairs that share a bin of several values."""
    return float((a / a.sum() * (b / b.sum()))[~bins.is_single].sum())


def delta_z(a: Counts, b: Counts) -> float:
    """Delta by its standard deviation if both samples were of one distribution, ties considered."""
    n_a, n_b, pooled = float(a.sum()), float(b.sum()), (a + b).astype(np.float64)
    n = n_a + n_b
    ties = float((pooled**3 - pooled).sum()) / max(n**3 - n, 1.0)
    variance = (n + 1) / (3 * n_a * n_b) * (1 - ties)
    return cliffs_delta(a, b) / math.sqrt(variance) if variance > 0 else 0.0


def wasserstein(a: Floats, b: Floats, bins: Bins) -> Floats:
    """Wasserstein-1 distance of histograms [..., bins]; values are spread evenly over their bin."""
    after = np.cumsum(a / a.sum(-1, keepdims=True) - b / b.sum(-1, keepdims=True), axis=-1)[..., :-1]
    before = np.concatenate([np.zeros_like(after[..., :1]), after[..., :-1]], -1)
    gaps = np.diff(bins.edges)
    # The difference of the distribution functions runs straight from edge to edge; where it changes its sign, in two pieces.
    crosses, size = before * after < 0, np.abs(before) + np.abs(after)
    mean = np.where(crosses, (before**2 + after**2) / np.where(size > 0, 2 * size, 1), size / 2)
    return np.asarray((mean * gaps).sum(-1))


def wasserstein_error(a: Counts, b: Counts, bins: Bins) -> float:
    """What the true distance can differ at most: the width of each bin of several values by its shares."""
    width = np.where(bins.is_single, 0.0, bins.upper - bins.edges)
    return float((width * (a / a.sum() + b / b.sum())).sum())


def jensen_shannon(a: Floats, b: Floats) -> Floats:
    """Jensen-Shannon divergence of counts [..., categories], in bits: 0 for equal shares, 1 where nothing is shared."""
    p, q = a / a.sum(-1, keepdims=True), b / b.sum(-1, keepdims=True)
    middle = (p + q) / 2

    def half(x: Floats) -> Floats:
        safe = np.where(x > 0, x, 1) / np.where(x > 0, middle, 1)
        return np.asarray((np.where(x > 0, x, 0) * np.log2(safe)).sum(-1) / 2)

    return half(p) + half(q)


def share_moved(a: Floats, b: Floats) -> Floats:
    """Share of documents that would need another category for equal shares: half the sum of differences."""
    return np.asarray(np.abs(a / a.sum(-1, keepdims=True) - b / b.sum(-1, keepdims=True)).sum(-1) / 2)


def homogeneity(a: Counts, b: Counts) -> tuple[float, int]:
    """Chi square of two histograms and its degrees of freedom; bins with fewer than 5 expected values are put together."""
    pooled = a + b
    smaller = min(a.sum(), b.sum()) / max(pooled.sum(), 1)
    is_rare = pooled * smaller < 5
    table = np.stack([np.append(x[~is_rare], x[is_rare].sum()) for x in (a, b)]).astype(np.float64)
    table = table[:, table.sum(0) > 0]
    expected = table.sum(1, keepdims=True) * table.sum(0) / table.sum()
    return float(((table - expected) ** 2 / expected).sum()), table.shape[1] - 1


def agreement(table: Counts) -> dict[str, Any]:
    """Spearman's rho and Kendall's tau-b of a table of counts, with 95 % intervals; None where one side has one value.

    Values of one row or column count as equal.
    """
    n = int(table.sum())
    rows, columns = table.sum(1), table.sum(0)
    empty: dict[str, Any] = {
        "n": n,
        "spearman": None,
        "kendall": None,
        "spearman_interval": None,
        "kendall_interval": None,
    }
    if n < 4 or (rows > 0).sum() < 2 or (columns > 0).sum() < 2:
        return empty
    x, y = (np.cumsum(m) - m / 2 - n / 2 for m in (rows, columns))
    counts = table.astype(np.float64)
    rho = float(x @ counts @ y / math.sqrt((rows * x**2).sum() * (columns * y**2).sum()))
    after = counts[::-1, ::-1].cumsum(0).cumsum(1)[::-1, ::-1]
    right_below = np.pad(after, ((0, 1), (0, 1)))[1:, 1:]
    left = counts[::-1].cumsum(0)[::-1].cumsum(1)
    left_below = np.pad(left, ((0, 1), (1, 0)))[1:, :-1]
    agreeing = float((counts * (right_below - left_below)).sum())
    pairs = [float(n * (n - 1) / 2 - (m * (m - 1) / 2).sum()) for m in (rows.astype(float), columns.astype(float))]
    tau = agreeing / math.sqrt(pairs[0] * pairs[1])
    return {
        **empty,
        "spearman": rho,
        "kendall": tau,
        "spearman_interval": _fisher(rho, math.sqrt((1 + rho**2 / 2) / (n - 3))),
        "kendall_interval": _fisher(tau, math.sqrt(0.437 / max(n - 4, 1))),
    }


def _fisher(value: float, error: float) -> list[float]:
    z = math.atanh(max(min(value, 1 - 1e-12), -1 + 1e-12))
    return [math.tanh(z - 1.96 * error), math.tanh(z + 1.96 * error)]


def spearman_error(table: Counts, is_exact: tuple[bool, bool]) -> float:
    """What rho can differ at most because values share a row or a column: the spread of ranks within them."""
    n = float(table.sum())
    if not n:
        return 0.0
    errors = []
    for counts, exact in zip((table.sum(1), table.sum(0)), is_exact, strict=True):
        lost = 0.0 if exact else float(((counts / n) ** 3).sum())
        errors.append(math.sqrt(lost))
    return min(sum(errors), 2.0)


def coarse(counts: Counts, n_bins: int) -> Counts:
    """Counts [..., bins] in at most `n_bins` coarser bins of about equal share of all."""
    groups = merged(counts.reshape(-1, counts.shape[-1]).sum(0), n_bins)
    order = np.argsort(groups, kind="stable")
    first = np.searchsorted(groups[order], np.arange(groups.max() + 1))
    return np.asarray(np.add.reduceat(counts[..., order], first, axis=-1))


def quantile(counts: Counts, bins: Bins, share: float) -> float:
    """A quantile of a histogram; within its bin, values are spread evenly."""
    n = counts.sum()
    rank = share * n
    i = int(np.searchsorted(np.cumsum(counts), rank, "left"))
    i = min(i, len(counts) - 1)
    before = counts[:i].sum()
    part = (rank - before) / counts[i] if counts[i] else 0.0
    return float(bins.edges[i] + (bins.upper[i] - bins.edges[i]) * min(max(part, 0.0), 1.0))
