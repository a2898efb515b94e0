"""Explanations of predictions: contributions of columns (SHAP) and partial dependence, with confidence intervals.

- `contributions`: exact Shapley values of the trees (TreeSHAP, Lundberg et al. 2020, as XGBoost computes it) on all columns of
  the data set. A model's values come from fits that have not seen its organisation, averaged over several draws of folds.
- `partial_dependence` (Friedman 2001): the mean prediction over the models with one column set to each value in turn, and
  the same after refitting to organisations drawn with replacement. The spread of these curves is the band.

Neither shows a cause: models of one maker share all of their columns.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tagcorpus.predictor.learners import boosting, models
from tagcorpus.predictor.learners.data import CATEGORICAL, PERCENTAGES, SCALE, Dataset
from tagcorpus.predictor.learners.design import Matrix, Rows, Vector, columns_of
from tagcorpus.predictor.learners.evaluation import candidates
from tagcorpus.predictor.learners.folds import grouped_folds

LOW, HIGH = 2.5, 97.5  # percentiles of a band
REPEATS = 3
DRAWS = 40
GRID = 13
WIDEST = 60.0
RESAMPLED = 1000


@dataclass(frozen=True)
class Contributions:
    """names: c columns, the most important first. x: float64 [n, c], as they are, NaN is missing. values: float64 [n, c], points
    of the score. importance: float64 [c, 3], mean absolute value with its 95 % interval over organisations."""

    names: tuple[str, ...]
    x: Matrix
    values: Matrix
    importance: Matrix


@dataclass(frozen=True)
class Band:
    """at: float64 [g], values of the column; curve, low, high: float64 [g], points above the value at at[0]. draws: number
    of refits behind low and high."""

    column: str
    at: Vector
    curve: Vector
    low: Vector
    high: Vector
    draws: int


def contributions(data: Dataset, seed: int, folds: int = 5) -> Contributions:
    """Raises ValueError where there are fewer organisations than folds."""
    columns = (*SCALE, *candidates(data))
    x, names = columns_of(data, columns)
    values = np.zeros(x.shape)
    for repeat in range(REPEATS):
        for train, test in grouped_folds(data.organisations, folds, seed + repeat):
            values[test] += _shapley(data, x, train, test, seed + repeat) / REPEATS
    values *= 100
    by_organisation, weights = _organisations(data, seed, RESAMPLED)
    sums = by_organisation @ np.abs(values)
    drawn = (weights @ sums) / (weights @ by_organisation.sum(axis=1))[:, None]
    importance = np.column_stack([np.abs(values).mean(axis=0), *np.percentile(drawn, [LOW, HIGH], axis=0)])
    order = np.argsort(-importance[:, 0], kind="stable")
    return Contributions(tuple(names[i] for i in order), x[:, order], values[:, order], importance[order])


def partial_dependence(
    data: Dataset, name: str, grids: Mapping[str, Vector], seed: int, draws: int = DRAWS
) -> list[Band]:
    """Bands of the model `name` (models.py) for numeric columns of its own, all from the same refits. grids: column ->
    values, ascending."""
    columns = models.model(name).columns

    def curves(rows: Rows, draw: int) -> list[Vector]:
        x = columns_of(data, columns, rows)[0]
        fit = models.fitted(data, name, rows, draw)
        return [mean_curve(fit, x, {columns.index(c): at}) for c, at in grids.items()]

    means = curves(np.arange(len(data.ids), dtype=np.int64), seed)
    drawn = [curves(rows, draw) for draw, rows in draws_of(data, seed, draws)]
    return [band(c, at, means[i], [d[i] for d in drawn]) for i, (c, at) in enumerate(grids.items())]


def grids_of(data: Dataset, name: str) -> dict[str, Vector]:
    """GRID values for each numeric column of a model, from its least to its greatest value. Shares stop at WIDEST %, since
    larger ones are rare."""
    grids = {}
    for column in models.model(name).columns:
        seen = data.frame[column].dropna()
        if column in CATEGORICAL or seen.nunique() < 2:
            continue
        high = min(float(seen.max()), WIDEST) if column in PERCENTAGES else float(seen.max())
        if high > seen.min():
            grids[column] = np.linspace(float(seen.min()), high, GRID)
    return grids


def band(column: str, at: Vector, curve: Vector, drawn: Sequence[Vector]) -> Band:
    """Curves (fractions) as points above their own first value."""
    curves = np.array([100 * (c - c[0]) for c in drawn])
    low, high = np.percentile(curves, [LOW, HIGH], axis=0)
    return Band(column, at, 100 * (curve - curve[0]), low, high, len(curves))


def mean_curve(fit: models.Fitted, x: Matrix, settings: Mapping[int, Vector]) -> Vector:
    """float64 [g]: the mean prediction over the rows of x, with the columns of settings set to their i-th values."""
    g = len(next(iter(settings.values())))
    repeated = np.tile(x, (g, 1))
    for place, values in settings.items():
        repeated[:, place] = np.repeat(values, len(x))
    means: Vector = fit.predict(repeated).reshape(g, len(x)).mean(axis=1)
    return means


def draws_of(data: Dataset, seed: int, draws: int) -> list[tuple[int, Rows]]:
    """(draw, rows): the models of organisations drawn with replacement, as many draws as there are organisations."""
    names = sorted(set(data.organisations))
    members = {n: [i for i, o in enumerate(data.organisations) if o == n] for n in names}
    random = np.random.RandomState(seed)
    samples = []
    for draw in range(draws):
        chosen = random.randint(len(names), size=len(names))
        samples.append((draw, np.array(sorted(i for c in chosen for i in members[names[c]]), dtype=np.int64)))
    return samples


def _organisations(data: Dataset, seed: int, draws: int) -> tuple[Matrix, Matrix]:
    """(float64 [o, n]: 1 where the model is of the organisation; float64 [draws, o]: how often each is drawn)."""
    names = sorted(set(data.organisations))
    member = np.array([[float(o == name) for o in data.organisations] for name in names])
    random = np.random.RandomState(seed)
    weights = random.multinomial(len(names), np.full(len(names), 1 / len(names)), size=draws).astype(np.float64)
    return member, weights


def _shapley(data: Dataset, x: Matrix, train: Rows, test: Rows, seed: int) -> Matrix:
    """float64 [len(test), c], fractions."""
    xgboost: Any = boosting.xgboost_module()
    narrow = x.astype(np.float32)
    sign = models.sign_of(data)
    constraints = "(" + ",".join([str(sign)] * len(SCALE) + ["0"] * (x.shape[1] - len(SCALE))) + ")"
    settings = {**models.TREES, "monotone_constraints": constraints, "seed": seed}
    booster = boosting.train(boosting.binned(narrow[train], data.y[train], missing=np.nan), settings, models.ROUNDS)
    # The last column is the mean of the training part.
    values = booster.predict(xgboost.DMatrix(narrow[test], missing=np.nan, nthread=1), pred_contribs=True)
    return np.asarray(values[:, :-1], dtype=np.float64)
