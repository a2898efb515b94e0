"""Confusion matrices, and figures of them with intervals.

A document is one draw from the cells of its matrix, so a bootstrap over documents is a multinomial draw of the cells. That gives the
same intervals as drawing the documents one by one, and does not depend on their number.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tagcorpus.pipelines.counting.intervals import wilson

F64 = npt.NDArray[np.float64]
DRAWS = 2000
LEVEL = 0.95
FEWEST = 30
"""Documents below which no interval is given."""


@dataclass(frozen=True)
class Matrix:
    """counts  int64 [gold labels, given labels]; the first of both are the same labels, in the same order, and given labels that
    no document may have in truth (errors, off the menu) are last."""

    gold: tuple[str, ...]
    given: tuple[str, ...]
    counts: npt.NDArray[np.int64]

    @property
    def n(self) -> int:
        return int(self.counts.sum())


def matrix_of(pairs: Iterable[tuple[str, str]], no_labels: Sequence[str]) -> Matrix:
    """The matrix of (gold, given) labels. no_labels: given values that are not labels."""
    cells = Counter(pairs)
    labels = sorted({g for g, _ in cells} | {p for _, p in cells if p not in no_labels}, key=_order)
    given = (*labels, *(p for p in no_labels if any(c[1] == p for c in cells)))
    counts = np.zeros((len(labels), len(given)), np.int64)
    for (gold, label), n in cells.items():
        counts[labels.index(gold), given.index(label)] = n
    return Matrix(tuple(labels), given, counts)


def _order(label: str) -> tuple[int, float, str]:
    """Numbers by value, before words."""
    try:
        return 0, float(label), label
    except ValueError:
        return 1, 0.0, label


def kappa(counts: F64, weights: F64 | None = None) -> F64:
    """Cohen's kappa of counts [..., gold, given]; weights [gold, given] of disagreement (default: 1 where labels differ).

    Cohen 1960, 1968. NaN where one label is all there is.
    """
    rows, columns = counts.shape[-2:]
    size = max(rows, columns)
    if weights is None:
        weights = 1.0 - np.eye(size)[:rows, :columns]
    total = counts.sum(axis=(-2, -1))
    expected = counts.sum(axis=-1)[..., :, None] * counts.sum(axis=-2)[..., None, :]
    seen = (weights * counts).sum(axis=(-2, -1)) * total
    return 1.0 - _ratio(seen, (weights * expected).sum(axis=(-2, -1)))


def squared_weights(labels: Sequence[str]) -> F64:
    """Weights of disagreement of ordinal labels: the square of their distance. Raises ValueError for labels that are not numbers."""
    values = np.array([float(label) for label in labels])
    return np.asarray((values[:, None] - values[None, :]) ** 2)


def f1(counts: F64) -> F64:
    """counts [..., gold, given] -> [..., gold]; NaN where nobody has or gave the label."""
    rows = counts.shape[-2]
    both = counts.sum(axis=-1) + counts.sum(axis=-2)[..., :rows]
    return _ratio(2 * np.diagonal(counts, axis1=-2, axis2=-1), both)


def macro_f1(counts: F64) -> F64:
    """Mean F1 over the labels that some document has in truth or was given."""
    scores = f1(counts)
    n = np.sum(~np.isnan(scores), axis=-1)
    return _ratio(np.nansum(scores, axis=-1), n)


def _ratio(a: npt.NDArray[Any], b: npt.NDArray[Any]) -> F64:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.where(b == 0, np.nan, np.asarray(a, float) / b))


Statistic = Callable[[F64], F64]


def with_intervals(matrix: Matrix, statistics: dict[str, Statistic], seed: int, draws: int = DRAWS) -> dict[str, Any]:
    """Each statistic with its 95 % bootstrap interval over documents: {"value", "low", "high"}, or lists of these for statistics
    of every label. No interval for fewer than FEWEST documents."""
    counts = matrix.counts.astype(np.float64)
    figures = {name: statistic(counts) for name, statistic in statistics.items()}
    drawn: dict[str, F64] = {}
    if matrix.n >= FEWEST:
        generator = np.random.default_rng(seed)
        cells = generator.multinomial(matrix.n, counts.ravel() / matrix.n, size=draws).astype(np.float64)
        samples = cells.reshape(draws, *counts.shape)
        drawn = {name: statistic(samples) for name, statistic in statistics.items()}
    return {name: _with_interval(value, drawn.get(name)) for name, value in figures.items()}


def _with_interval(value: F64, drawn: F64 | None) -> Any:
    if np.ndim(value):
        return [_with_interval(v, None if drawn is None else drawn[:, i]) for i, v in enumerate(value)]
    low = high = None
    if drawn is not None and np.isfinite(drawn).mean() > LEVEL:
        low, high = (float(q) for q in np.nanquantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2]))
    return {"value": None if np.isnan(value) else float(value), "low": low, "high": high}


def proportions(matrix: Matrix) -> dict[str, Any]:
    """Accuracy of the matrix, and precision and recall of every label, with Wilson's intervals: they hold for few documents and
    for shares near 0 and 1, too."""
    right = np.diagonal(matrix.counts)
    given = matrix.counts.sum(axis=0)[: len(matrix.gold)]
    gold = matrix.counts.sum(axis=1)
    return {
        "accuracy": _proportion(int(right.sum()), matrix.n),
        "precision": [_proportion(int(r), int(n)) for r, n in zip(right, given, strict=True)],
        "recall": [_proportion(int(r), int(n)) for r, n in zip(right, gold, strict=True)],
    }


def _proportion(count: int, n: int) -> dict[str, float | None]:
    low, high = (None if bound is None else bound / 100 for bound in wilson(count, n))  # wilson gives percent
    return {"value": count / n if n else None, "low": low, "high": high}


def fleiss_kappa(counts: F64) -> float:
    """Agreement of several raters beyond chance (Fleiss 1971). counts [documents, labels]: raters that gave each label; every
    document has the same number of raters, at least 2. NaN where one label is all there is."""
    raters = counts[0].sum()
    agreed = ((counts**2).sum(axis=1) - raters) / (raters * (raters - 1))
    chance = ((counts.mean(axis=0) / raters) ** 2).sum()
    return float(_ratio(np.asarray(agreed.mean() - chance), np.asarray(1 - chance)))
