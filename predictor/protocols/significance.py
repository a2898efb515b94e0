"""Tests of whether one predictor is better than another on the same folds, and families of such tests.

- `paired`: the published test, a t-test of the mean errors over seeds. Seeds shuffle the same models, so its p says only
  whether another shuffle would agree, and enough seeds bring it below any level. It is not evidence about models.
- `corrected`: Nadeau and Bengio 2003: differences of single test folds, with their variance raised by n_test / n_train
  for the models that training parts share. It is evidence about other models of the same organisations. Under random folds
  it says nothing about a new organisation: in 11 % of simulated data sets, columns that only identify organisations gain
  significantly (benchmarks/group_intervals.py).
- `over_groups`: a ratio of errors with groups of models as the unit (intervals.py). Under grouped folds it is evidence
  about a new group.

Families of tests (one a task) are judged by Benjamini and Hochberg 1995.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tagcorpus.predictor.learners.evaluation import Evaluation
from tagcorpus.predictor.protocols.intervals import Ratio, ratio

LEVEL = 0.05


@dataclass(frozen=True)
class Test:
    """difference: mean error of the other minus that of this one, points (above 0: this one is better); `low` to `high`:
    its 95 % interval; p: two-sided; degrees: of freedom."""

    difference: float
    low: float
    high: float
    p: float
    degrees: int


@dataclass(frozen=True)
class Comparison:
    """One predictor with another on one task, over the same seeds and folds.

    gain_percent    of the mean error over seeds, by which this one is lower; low and high: the corrected interval's ends
    by_seed_percent the same for each seed alone, least and largest
    """

    predictor: str
    against: str
    folds: str
    seeds: tuple[int, ...]
    gain_percent: float
    gain_low_percent: float
    gain_high_percent: float
    by_seed_percent: tuple[float, float]
    paired: Test | None
    corrected: Test
    over_groups: Ratio | None = None


def compare(
    this: Evaluation,
    other: Evaluation,
    y: np.ndarray[Any, Any],
    seeds: Sequence[int],
    groups: Sequence[str] | None = None,
) -> Comparison:
    """seeds: of both evaluations. groups: of the models, None: no comparison over groups. Raises ValueError where the two were
    not tested on the same folds."""
    mine, its = [e.maes(y)[[e.at(s) for s in seeds]] * 100 for e in (this, other)]
    if any((this.fold[this.at(s)] != other.fold[other.at(s)]).any() for s in seeds):
        raise ValueError(f"{this.predictor} and {other.predictor} were tested on different folds")
    differences = its - mine
    k = differences.shape[1]
    train_rows = np.mean([fit["train_rows"] for s in seeds for fit in this.fits[this.at(s)]])
    corrected = corrected_t(differences.ravel(), len(y) / k / float(train_rows))
    whole = float(its.mean()) or 1.0  # an error of 0 has no share
    of_seed = its.mean(axis=1)
    by_seed = 100 * np.divide(of_seed - mine.mean(axis=1), of_seed, out=np.zeros(len(of_seed)), where=of_seed > 0)
    return Comparison(
        this.predictor,
        other.predictor,
        this.folds,
        tuple(seeds),
        100 * corrected.difference / whole,
        100 * corrected.low / whole,
        100 * corrected.high / whole,
        (float(by_seed.min()), float(by_seed.max())),
        paired_t(differences.mean(axis=1)) if len(seeds) > 1 else None,
        corrected,
        None if groups is None else over_groups(this, other, y, groups),
    )


def over_groups(this: Evaluation, other: Evaluation, y: np.ndarray[Any, Any], groups: Sequence[str]) -> Ratio:
    """One task's ratio of errors, a mean over all seeds of the two, as in grouped_summary."""
    names = {g: i for i, g in enumerate(dict.fromkeys(groups))}
    at = [names[g] for g in groups]
    errors = [np.bincount(at, np.abs(e.predicted - y).mean(axis=0), len(names)) for e in (this, other)]
    mine, its = (e.astype(np.float64)[None] for e in errors)
    return ratio(mine, its, np.bincount(at)[None].astype(np.float64))


def paired_t(differences: np.ndarray[Any, Any]) -> Test:
    """The ordinary t-test of n paired differences, degrees n - 1."""
    return corrected_t(differences, 0.0)


def corrected_t(differences: np.ndarray[Any, Any], test_by_train: float) -> Test:
    """t of the mean with variance s^2 (1/n + n_test / n_train), degrees n - 1; s^2 with ddof 1.

    Example  differences [1, 2, 3], 0.5: mean 2, s^2 1, error sqrt(1/3 + 1/2) = 0.913, t 2.19, p 0.16
    """
    from scipy.special import stdtr, stdtrit

    n = len(differences)
    mean, spread = float(np.mean(differences)), float(np.std(differences, ddof=1))
    error = spread * math.sqrt(1 / n + test_by_train)
    half = float(stdtrit(n - 1, 1 - LEVEL / 2)) * error
    if error == 0:
        return Test(mean, mean, mean, float(mean == 0), n - 1)
    p = 2 * float(stdtr(n - 1, -abs(mean) / error))
    return Test(mean, mean - half, mean + half, p, n - 1)


def benjamini_hochberg(p: Sequence[float]) -> list[float]:
    """Adjusted p of a family, in its order: reject those at or below the level, and that share of them is false at most.

    Example  [0.01, 0.04, 0.03] -> [0.03, 0.04, 0.04]
    """
    order = sorted(range(len(p)), key=lambda i: p[i])
    adjusted = [1.0] * len(p)
    least = 1.0
    for rank in range(len(p), 0, -1):
        at = order[rank - 1]
        least = min(least, p[at] * len(p) / rank)
        adjusted[at] = least
    return adjusted
