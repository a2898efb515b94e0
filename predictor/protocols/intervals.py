"""Intervals and tests of a ratio of two predictors' errors, with groups of models as the unit of sampling.

The ratio is a geometric mean over tasks of summed absolute errors. Its logarithm has a jackknife variance: each group is
left out of the sums in turn. Two corrections follow, because intervals of the jackknife and of a bootstrap over groups
cover less than their level (benchmarks/group_intervals.py has the figures):

- The jackknife takes predictions as they are, but all groups share most of their training rows. No unbiased estimate of
  that part exists for cross-validation (Bengio and Grandvalet 2004). The variance is therefore multiplied by SHARED_FITS,
  which was calibrated in simulated worlds. Where fits hardly matter, the interval is wider than necessary.
- Groups are unequal. The t distribution has as many degrees of freedom as the effective number of groups, less one: the
  inverse sum of squared shares (Carter, Schnepel and Steigerwald 2017).

Fewer than LEAST_GROUPS groups give no interval and no p.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

LEVEL = 0.95
POWER = 0.8
LEAST_GROUPS = 10
SHARED_FITS = 1.5

Array = np.ndarray[Any, np.dtype[np.float64]]


@dataclass(frozen=True)
class Ratio:
    """One predictor's error over another's.

    of             the ratio; NaN where the other makes no error
    low, high      its interval; None without one
    p              two-sided, of a ratio of 1; None without an interval
    smallest_gain  share of the error: a true gain of this size is found (p below 0.05, adjusted for the number of tests) with
                   probability POWER; None without an interval
    groups         their number
    degrees        of freedom of t
    """

    of: float
    low: float | None
    high: float | None
    p: float | None
    smallest_gain: float | None
    groups: int
    degrees: float


def ratio(mine: Array, its: Array, sizes: Array, tests: int = 1) -> Ratio:
    """mine, its: float64 [tasks, groups], absolute errors summed over the models of a group, 0 where it has none;
    sizes: float64 [tasks, groups], its models; tests: how many p are adjusted together, which raises the smallest gain."""
    from scipy.special import stdtr, stdtrit

    there = sizes.sum(axis=0) > 0
    mine, its, sizes = mine[:, there], its[:, there], sizes[:, there]
    groups, degrees = int(there.sum()), degrees_of(sizes)
    if not (its.sum(axis=1) > 0).all():
        return Ratio(float("nan"), None, None, None, None, groups, degrees)
    if not (mine.sum(axis=1) > 0).all():
        return Ratio(0.0, None, None, None, None, groups, degrees)
    log, variance = (float(v) for v in log_ratio(mine, its))
    if groups < LEAST_GROUPS or not np.isfinite(variance):
        return Ratio(float(np.exp(log)), None, None, None, None, groups, degrees)
    error = float(np.sqrt(variance))
    quantile = float(stdtrit(degrees, (1 + LEVEL) / 2))
    p = 2 * float(stdtr(degrees, -abs(log) / error)) if error else float(log == 0)
    low, high = np.exp([log - quantile * error, log + quantile * error])
    strict = float(stdtrit(degrees, 1 - (1 - LEVEL) / 2 / tests))
    smallest = 1 - np.exp(-(strict + float(stdtrit(degrees, POWER))) * error)
    return Ratio(float(np.exp(log)), float(low), float(high), p, float(smallest), groups, degrees)


def log_ratio(mine: Array, its: Array) -> tuple[Array, Array]:
    """Estimate and variance of the logarithm, both [...], of errors [..., tasks, groups].

    Example  mine [[1, 1]], its [[2, 1]]: log(2/3); without a group log(1), log(1/2), so 1.5 * 1/2 * 2 * (log(2)/2)^2
    """
    sums = [e.sum(axis=-1, keepdims=True) for e in (mine, its)]
    log = np.log(sums[0] / sums[1]).mean(axis=-2)[..., 0]
    with np.errstate(divide="ignore", invalid="ignore"):
        without = np.log((sums[0] - mine) / (sums[1] - its)).mean(axis=-2)
    groups = mine.shape[-1]
    away = without - without.mean(axis=-1, keepdims=True)
    return log, SHARED_FITS * (groups - 1) / groups * (away**2).sum(axis=-1)


def degrees_of(sizes: Array) -> float:
    """sizes: [tasks, groups]. At least 1.

    Example  four groups of the same size: 3;  sizes [6, 1, 1]: 64 / 38 - 1 = 0.68, so 1
    """
    shares = (sizes / sizes.sum(axis=1, keepdims=True)).mean(axis=0)
    return max(1.0, 1 / float((shares**2).sum()) - 1)


def holm(p: Sequence[float]) -> list[float]:
    """Adjusted p of a family, in its order: reject those at or below the level, and the chance of any false rejection is
    at most the level (Holm 1979).

    Example  [0.01, 0.04, 0.03] -> [0.03, 0.06, 0.06]
    """
    adjusted = [1.0] * len(p)
    most = 0.0
    for rank, i in enumerate(sorted(range(len(p)), key=lambda i: p[i])):
        most = max(most, min(1.0, (len(p) - rank) * p[i]))
        adjusted[i] = most
    return adjusted
