"""How well predictions order mixes: rank correlation and pair decisions, with bootstrap intervals over mixes.

All draws are made at once: a draw is a vector of weights, how often each mix was drawn. Two predictors get the same draws,
so the interval of their difference is a paired one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
DRAWS = 1000
LEVEL = 0.95


@dataclass(frozen=True)
class Figure:
    """An estimate and its interval."""

    value: float
    low: float
    high: float

    def to_json(self) -> list[float]:
        return [round(v, 6) + 0.0 for v in (self.value, self.low, self.high)]


def draws(mixes: int, seed: int, count: int = DRAWS) -> Array:
    """How often each mix is drawn, float64 [1 + count, mixes]. The first row is the sample itself: every mix once."""
    generator = np.random.default_rng(seed)
    counts = generator.multinomial(mixes, np.full(mixes, 1 / mixes), size=count)
    return np.vstack([np.ones(mixes), counts]).astype(np.float64)


def rank_correlation(predicted: Array, outcome: Array, weights: Array) -> Array:
    """Spearman's correlation under each row of weights, float64 [rows]; 0 where one side has one value only.

    Example  predicted [1, 2, 3], outcome [1, 3, 2], weights [[1, 1, 1]] -> [0.5]
    """
    a, b = _ranks(predicted, weights), _ranks(outcome, weights)
    total = weights.sum(axis=1, keepdims=True)
    a -= (weights * a).sum(axis=1, keepdims=True) / total
    b -= (weights * b).sum(axis=1, keepdims=True) / total
    both = (weights * a * b).sum(axis=1)
    scale = np.sqrt((weights * a * a).sum(axis=1) * (weights * b * b).sum(axis=1))
    correlations: Array = np.divide(both, scale, out=np.zeros_like(both), where=scale > 1e-9)
    return correlations


def _ranks(values: Array, weights: Array) -> Array:
    """Average ranks of a sample that has mix i weights[:, i] times, float64 [rows, mixes]."""
    distinct, place = np.unique(values, return_inverse=True)
    order = np.argsort(place, kind="stable")
    starts = np.searchsorted(place[order], np.arange(len(distinct)))
    of_value = np.add.reduceat(weights[:, order], starts, axis=1)
    ranks: Array = (np.cumsum(of_value, axis=1) - of_value / 2)[:, place]
    return ranks


def decided_pairs(predicted: Array, outcome: Array, weights: Array) -> Array:
    """The share of pairs of mixes that the prediction orders as the outcome does, under each row of weights, float64 [rows].

    Pairs with equal outcomes do not count; equal predictions decide half a pair.
    Example  predicted [1, 2, 3], outcome [1, 3, 2], weights [[1, 1, 1]] -> [2/3]
    """
    order = np.sign(outcome[:, None] - outcome)
    right = np.where(order != 0, (np.sign(predicted[:, None] - predicted) * order + 1) / 2, 0.0)
    decided = ((weights @ right) * weights).sum(axis=1)
    pairs = ((weights @ (order != 0).astype(np.float64)) * weights).sum(axis=1)
    shares: Array = np.divide(decided, pairs, out=np.full_like(decided, 0.5), where=pairs > 0)
    return shares


def figure(values: Array) -> Figure:
    """The first value, with the interval of the others.

    values  float64 [1 + draws], as the functions above give them, or a difference or a mean of such
    """
    tail = (1 - LEVEL) / 2
    low, high = np.quantile(values[1:], [tail, 1 - tail])
    return Figure(float(values[0]), float(low), float(high))
