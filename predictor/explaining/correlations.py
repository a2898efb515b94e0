"""Rank correlations of features, and of benchmarks, over the models that have both.

No fit can separate the effects of correlated features. Correlated benchmarks are fewer independent tests than their number.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tagcorpus.predictor.learners.data import ARCHITECTURE, PERCENTAGES, SCALE, Dataset
from tagcorpus.predictor.learners.design import Matrix, Vector
from tagcorpus.predictor.learners.models import GENERATED, sign_of

LEAST = 10  # models with both values
MOST = 30  # features


@dataclass(frozen=True)
class Correlations:
    """names [c]; values: float64 [c, c], Spearman's rho, NaN where fewer than LEAST models have both; models: int [c, c]."""

    names: tuple[str, ...]
    values: Matrix
    models: np.ndarray[Any, np.dtype[np.int64]]


def correlations(names: Sequence[str], columns: Matrix) -> Correlations:
    """columns: float64 [n, c], NaN is missing."""
    c = len(names)
    values, models = np.full((c, c), np.nan), np.zeros((c, c), dtype=np.int64)
    for i in range(c):
        for j in range(i + 1):
            both = ~np.isnan(columns[:, i]) & ~np.isnan(columns[:, j])
            models[i, j] = models[j, i] = both.sum()
            if both.sum() >= LEAST:
                values[i, j] = values[j, i] = _spearman(columns[both, i], columns[both, j])
    return Correlations(tuple(names), values, models)


def of_features(data: Dataset) -> Correlations:
    """Scale, architecture, declared shares and features of generations: the eight of `generated`, then the table's others
    in their order, MOST columns at most. Columns with one value only are left out."""
    first = [c for c in GENERATED if c in data.generated]
    order = [*SCALE, *ARCHITECTURE, *PERCENTAGES, *first, *(c for c in data.generated if c not in first)]
    chosen = [c for c in order if data.frame[c].nunique() > 1][:MOST]
    return correlations(chosen, data.frame[chosen].to_numpy(np.float64))


def of_benchmarks(sets: Sequence[Dataset]) -> Correlations:
    """Scores, those where lower is better turned round."""
    ids = sorted({m for data in sets for m in data.ids}, key=str.encode)
    place = {m: i for i, m in enumerate(ids)}
    columns = np.full((len(ids), len(sets)), np.nan)
    for j, data in enumerate(sets):
        columns[[place[m] for m in data.ids], j] = sign_of(data) * data.y
    return correlations([data.task.name for data in sets], columns)


def _spearman(a: Vector, b: Vector) -> float:
    """NaN where one of them does not vary.

    Example  [1, 2, 3], [1, 9, 4] -> 0.5
    """
    ranks = [_ranks(v) for v in (a, b)]
    spreads = [float(r.std()) for r in ranks]
    if not all(spreads):
        return float("nan")
    mean = [r - r.mean() for r in ranks]
    return float((mean[0] * mean[1]).mean() / spreads[0] / spreads[1])


def _ranks(v: Vector) -> Vector:
    """Equal values share their mean rank."""
    _, inverse, counts = np.unique(v, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    ranks: Vector = (ends - (counts - 1) / 2)[inverse]
    return ranks


def document(square: Correlations) -> dict[str, Any]:
    """JSON-ready: names, rows of the matrix, and of how many models; null where there are too few."""
    rows = [[None if np.isnan(v) else round(float(v), 6) + 0.0 for v in row] for row in square.values]
    return {"names": list(square.names), "spearman": rows, "models": square.models.tolist()}
