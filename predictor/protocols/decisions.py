"""Ways to decide which of two corpora makes the better model at a target size, and the share of pairs they get right.

    one size     order of the corpora by their mean over seeds at one small size (the baseline of DataDecide, arXiv 2504.11393)
    line         each corpus's straight line through its small sizes, over ln size, at the target
    all sizes    the corpora's standardised effects as a Gaussian process over ln size, with the noise that seeds show: the
                 expected effect at the target. Correlation by maximum likelihood of the small sizes; no score of the target is read
    tags         ridge on features of the corpora, fitted to the target scores of all corpora but the two that are compared

The share of pairs is a mean over pairs that share corpora. Its interval is a jackknife over corpora, with t of k - 1 degrees;
where every pair is right, the lower end is that of k independent decisions. No interval is given for fewer than LEAST corpora.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np

from tagcorpus.predictor.protocols.decision_runs import Runs

LEVEL = 0.95
LEAST = 10
CORRELATIONS = (
    0.2,
    0.4,
    0.6,
    0.7,
    0.8,
    0.85,
    0.9,
    0.94,
    0.97,
    0.985,
    0.995,
)  # of effects at sizes that differ by a factor e
NOISES = (0.02, 0.1, 0.25, 0.5)  # share of the variance between corpora, tried where there is one seed only
PENALTIES = (0.1, 1.0, 10.0, 100.0)
Vector = np.ndarray[Any, np.dtype[np.float64]]


@dataclass(frozen=True)
class Share:
    """low and high are None for fewer than LEAST corpora. clear: the share among pairs whose target scores differ by more
    than two standard errors of seeds; None without seeds, and without such a pair."""

    value: float
    low: float | None
    high: float | None
    pairs: int
    corpora: int
    clear: float | None = None
    clear_pairs: int = 0


@dataclass(frozen=True)
class Effects:
    """Means over seeds, NaN where there is no run, and the variance of one run about its mean; higher is better.

    mean, runs   float64 [sizes, corpora]
    noise        float64 [sizes], pooled over corpora; NaN where no corpus has two seeds
    """

    sizes: tuple[int, ...]
    corpora: tuple[str, ...]
    mean: Vector
    runs: Vector
    noise: Vector


def effects(runs: Runs, corpora: Sequence[str]) -> Effects:
    shape = (len(runs.sizes), len(corpora))
    mean, count = np.full(shape, np.nan), np.zeros(shape)
    noise = np.full(shape[0], np.nan)
    for i, size in enumerate(runs.sizes):
        squares, degrees = 0.0, 0
        for j, corpus in enumerate(corpora):
            values = runs.values.get((size, corpus), ())
            if values:
                mean[i, j], count[i, j] = np.mean(values), len(values)
                squares += float(np.sum((np.array(values) - mean[i, j]) ** 2))
                degrees += len(values) - 1
        if degrees:
            noise[i] = squares / degrees
    return Effects(runs.sizes, tuple(corpora), mean, count, noise)


def line(small: Effects, target: int) -> Vector:
    """Float64 [corpora]; NaN where a corpus has fewer than two sizes."""
    x = np.log(np.array(small.sizes, dtype=np.float64))
    out = np.full(len(small.corpora), np.nan)
    for j, y in enumerate(small.mean.T):
        there = np.isfinite(y)
        if there.sum() >= 2:
            slope, level = np.polyfit(x[there], y[there], 1)
            out[j] = level + slope * math.log(target)
    return out


def all_sizes(small: Effects, target: int) -> tuple[Vector, Vector]:
    """Expected standardised effect at the target and its variance, float64 [corpora] each; NaN without any run."""
    with np.errstate(invalid="ignore"):
        centre = np.nanmean(small.mean, axis=1, keepdims=True)
        spread = np.nanstd(small.mean, axis=1, keepdims=True, ddof=1)
    usable = np.isfinite(spread[:, 0]) & (spread[:, 0] > 0)
    sizes = np.log(np.array(small.sizes, dtype=np.float64))[usable]
    z = ((small.mean - centre) / np.where(spread > 0, spread, 1))[usable]
    runs = small.runs[usable]
    known = (small.noise[usable] / spread[usable, 0] ** 2)[:, None] / np.maximum(runs, 1)
    distance = np.abs(sizes[:, None] - sizes[None, :])
    best: tuple[float, float, Vector] | None = None
    for guess in NOISES if np.isnan(known).any() else (0.0,):
        noise = np.clip(np.where(np.isnan(known), guess, known), 1e-3, 0.95)
        for correlation in CORRELATIONS:
            fit = _likelihood(z, correlation**distance, noise)
            if best is None or fit > best[0]:
                best = (fit, correlation, noise)
    assert best is not None
    _, correlation, noise = best
    out, variance = np.full(z.shape[1], np.nan), np.full(z.shape[1], np.nan)
    for j in range(z.shape[1]):
        there = np.isfinite(z[:, j])
        if not there.any():
            continue
        covariance, signal = _covariance(correlation**distance, noise[:, j], there)
        to_target = signal * correlation ** np.abs(sizes[there] - math.log(target))
        weights = np.linalg.solve(covariance, to_target)
        out[j], variance[j] = weights @ z[there, j], max(0.0, 1 - weights @ to_target)
    return out, variance


def _covariance(correlations: Vector, noise: Vector, there: Any) -> tuple[Vector, Vector]:
    """Of one corpus's standardised means, and the square roots of their shares of signal."""
    signal = np.sqrt(1 - noise[there])
    return correlations[np.ix_(there, there)] * np.outer(signal, signal) + np.diag(noise[there]), signal


def _likelihood(z: Vector, correlations: Vector, noise: Vector) -> float:
    total = 0.0
    for j in range(z.shape[1]):
        there = np.isfinite(z[:, j])
        if there.any():
            covariance, _ = _covariance(correlations, noise[:, j], there)
            _, logarithm = np.linalg.slogdet(covariance)
            total -= 0.5 * (logarithm + z[there, j] @ np.linalg.solve(covariance, z[there, j]))
    return total


def tags(features: Vector, truth: Vector) -> dict[tuple[int, int], float]:
    """(a, b) -> predicted score of a minus that of b, by a ridge that has seen neither. features: float64 [corpora, tags].

    The penalty is the one with the least error of leaving one out among the other corpora. A tag that is missing has its mean.
    """
    gaps = {}
    for a, b in combinations(range(len(truth)), 2):
        rows = np.array([i for i in range(len(truth)) if i not in (a, b) and np.isfinite(truth[i])])
        if not (np.isfinite(truth[a]) and np.isfinite(truth[b])) or len(rows) < 3:
            continue
        with np.errstate(invalid="ignore"):
            centre = np.nanmean(features[rows], axis=0)
            spread = np.nanstd(features[rows], axis=0)
        x = np.nan_to_num((features - centre) / np.where(spread > 0, spread, 1))
        inner, y = x[rows], truth[rows] - truth[rows].mean()
        gram = inner @ inner.T
        best = (math.inf, PENALTIES[-1])
        for penalty in PENALTIES:
            smoother = gram @ np.linalg.inv(gram + penalty * np.eye(len(rows))) + 1 / len(rows)
            error = float(np.mean(((y - smoother @ y) / np.maximum(1 - np.diag(smoother), 1e-6)) ** 2))
            best = min(best, (error, penalty))
        weights = inner.T @ np.linalg.solve(gram + best[1] * np.eye(len(rows)), y)
        gaps[a, b] = float((x[a] - x[b]) @ weights)
    return gaps


def gaps_of(values: Vector) -> dict[tuple[int, int], float]:
    """(a, b) -> a less b, for all pairs of corpora with a value."""
    there = np.flatnonzero(np.isfinite(values))
    return {(int(a), int(b)): float(values[a] - values[b]) for a, b in combinations(there, 2)}


def rights(
    gaps: Mapping[tuple[int, int], float], truth: Mapping[tuple[int, int], float]
) -> dict[tuple[int, int], float]:
    """1 where both have the same sign, 0 where not, one half for a tie in either."""
    return {pair: 0.5 * (1 + np.sign(gap) * np.sign(truth[pair])) for pair, gap in gaps.items() if pair in truth}


def share(right: Mapping[tuple[int, int], float], clear: set[tuple[int, int]] | None = None) -> Share | None:
    """The mean over pairs with its interval; None without a pair."""
    if not right:
        return None
    names = sorted({c for pair in right for c in pair})
    value, low, high = _interval(right, names)
    if low is not None and high is not None:
        low = _all_right(len(names)) if value == 1 else max(0.0, low)
        high = 1 - _all_right(len(names)) if value == 0 else min(1.0, high)
    values_of_clear = [right[p] for p in sorted(clear & set(right))] if clear is not None else []
    return Share(
        value,
        low,
        high,
        len(right),
        len(names),
        float(np.mean(values_of_clear)) if values_of_clear else None,
        len(values_of_clear),
    )


def difference(
    right: Mapping[tuple[int, int], float], baseline: Mapping[tuple[int, int], float]
) -> tuple[float, float | None, float | None] | None:
    """Share less the baseline's, on the pairs of both, with its interval; None without a common pair."""
    both = {p: right[p] - baseline[p] for p in right if p in baseline}
    return _interval(both, sorted({c for pair in both for c in pair})) if both else None


def _interval(
    values: Mapping[tuple[int, int], float], corpora: Sequence[int]
) -> tuple[float, float | None, float | None]:
    from scipy.special import stdtrit

    total, pairs = math.fsum(values.values()), len(values)
    k = len(corpora)
    if k < LEAST:
        return total / pairs, None, None
    without = []
    for corpus in corpora:
        gone = [v for pair, v in values.items() if corpus in pair]
        if len(gone) == pairs:  # a star of pairs: nothing is left to compare with
            return total / pairs, None, None
        without.append((total - math.fsum(gone)) / (pairs - len(gone)))
    error = math.sqrt((k - 1) / k * float(np.sum((np.array(without) - np.mean(without)) ** 2)))
    half = float(stdtrit(k - 1, 0.5 + LEVEL / 2)) * error
    return total / pairs, total / pairs - half, total / pairs + half


def _all_right(k: int) -> float:
    return float(((1 - LEVEL) / 2) ** (1 / k))


def repeated(runs: Runs, size: int, corpora: Sequence[str]) -> dict[tuple[int, int], float] | None:
    """How often one more run of the target size itself orders a pair as the other seeds do; None where a corpus has one run."""
    values = [runs.values.get((size, c), ()) for c in corpora]
    seeds = min((len(v) for v in values), default=0)
    if seeds < 2:
        return None
    several = np.array([v[:seeds] for v in values])
    out: dict[tuple[int, int], float] = {}
    for one in range(seeds):
        others = np.delete(several, one, axis=1).mean(axis=1)
        for pair, value in rights(gaps_of(several[:, one]), gaps_of(others)).items():
            out[pair] = out.get(pair, 0.0) + value / seeds
    return out


def ceiling(target: Effects, at: int) -> float | None:
    """The share of pairs that the true means would get right, judged by means with noise between seeds: one half plus
    arctan(signal / noise) / pi, for normal effects. None without seeds."""
    mean, noise = target.mean[at], target.noise[at] / np.maximum(target.runs[at], 1)
    there = np.isfinite(mean)
    if there.sum() < 3 or not np.isfinite(noise[there]).all():
        return None
    blur = float(noise[there].mean())
    signal = float(np.var(mean[there], ddof=1)) - blur
    if blur == 0:
        return 1.0
    return 0.5 + math.atan(math.sqrt(max(signal, 0.0) / blur)) / math.pi
