"""The published protocol of *Not-Just-Scaling Laws* (arXiv 2503.03862), exactly as its scripts compute it.

The scripts draw three random folds. They split 20 % off each training part and never use it. On the rest, three inner
folds choose from a grid of 18 settings, ties to the first, and one fit with that setting predicts the test fold. The
reported figure is the mean of the three folds' mean absolute errors. Models of one organisation are in training and in test.
So the figures measure interpolation among known series of models. grouped.py measures predictions of a new maker's models.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tagcorpus.errors import ConfigError
from tagcorpus.predictor.learners.boosting import Grid, Matrix, Point, Rows, Vector, binned, predict, search, train
from tagcorpus.predictor.learners.data import SCALE, Dataset, Encoding, codes
from tagcorpus.predictor.learners.evaluation import LEAKY, PREDICTORS, Evaluation, Settings, candidates, features_of
from tagcorpus.predictor.learners.folds import random_folds, without_share
from tagcorpus.predictor.learners.parallel import Workers
from tagcorpus.predictor.learners.selection import Selection, forward

__all__ = ["PREDICTORS", "baseline", "evaluate", "run", "select"]

FOLDS = 3
UNUSED_SHARE = 0.2
SELECTION_SEEDS = tuple(range(10))
LEAST_GAIN = 1e-4  # a fraction: 0.01 points
STRADDLING = "random folds: models of one organisation are in training and in test"


def run(data: Dataset, settings: Settings, workers: Workers) -> list[Evaluation]:
    """Scaling first, then the baselines, then the named predictors, `selected` last; see evaluation.py.

    Forward selection is the published one, by the error on the outer test folds, and its evaluation is marked as leaky.
    Raises ConfigError for an unknown predictor or feature.
    """
    seeds, grid = settings.all_seeds, Grid() if settings.has_search else None
    evaluations = [evaluate(data, "scaling", SCALE, "absent", seeds, grid, workers)]
    evaluations += [baseline(data, name, seeds) for name in ("median", "log-linear")]
    is_selected = settings.selected is not None or settings.select is not None
    for name in settings.predictors or (() if is_selected else ("all",)):
        if name != "scaling":
            evaluations.append(evaluate(data, name, features_of(data, name), "absent", seeds, grid, workers))
    selected, is_leaky = settings.selected, settings.is_leaky
    if settings.select == "stability":
        raise ConfigError(
            "--select stability is not part of the published protocol; take --protocol grouped, or --select forward"
        )
    if settings.select is not None:
        selected, is_leaky = select(data, workers, has_search=settings.has_search).features, True
    if selected is not None:
        marks = (LEAKY,) if is_leaky else ()
        evaluations.append(evaluate(data, "selected", selected, "code", seeds, grid, workers, marks))
    return evaluations


def select(
    data: Dataset,
    workers: Workers,
    seeds: Sequence[int] = SELECTION_SEEDS,
    has_search: bool = True,
    among: Sequence[str] | None = None,
) -> Selection:
    """The published forward selection: columns are judged by the error on the outer test folds, so the error of what it
    selects is not an estimate of anything on those folds. among: candidates, all usable columns by default."""
    grid = Grid() if has_search else None

    def scored(sets: Sequence[tuple[str, ...]]) -> list[float]:
        jobs = [
            (codes(data, columns, "code"), data.y, seed, fold, grid)
            for columns in sets
            for seed in seeds
            for fold in range(FOLDS)
        ]
        error = np.array([np.average(np.abs(p - data.y[rows])) for rows, p, _, _ in workers.map(_fold, jobs)])
        return [float(e) for e in error.reshape(len(sets), -1).mean(axis=1)]

    return forward(scored, SCALE, candidates(data) if among is None else among, LEAST_GAIN)


def baseline(data: Dataset, name: str, seeds: Sequence[int]) -> Evaluation:
    """`median` of the training labels, or `log-linear`: least squares on the two logarithms. The same 80 % as the trees."""
    x = data.frame[list(SCALE)].to_numpy(dtype=np.float64)
    design = np.column_stack([np.ones(len(x)), x])
    fold, predicted = _empty(data, seeds)
    fits: list[tuple[dict[str, Any], ...]] = []
    for s, seed in enumerate(seeds):
        of_folds = []
        for f, (part, test) in enumerate(random_folds(len(x), FOLDS, seed)):
            rows = without_share(part, UNUSED_SHARE, seed)
            fold[s, test] = f
            if name == "median":
                predicted[s, test] = np.median(data.y[rows])
            else:
                predicted[s, test] = design[test] @ np.linalg.lstsq(design[rows], data.y[rows], rcond=None)[0]
            of_folds.append({"train_rows": len(rows)})
        fits.append(tuple(of_folds))
    features = () if name == "median" else SCALE
    return Evaluation(name, "random", features, tuple(seeds), fold, predicted, tuple(fits), (STRADDLING,))


def evaluate(
    data: Dataset,
    name: str,
    features: tuple[str, ...],
    encoding: Encoding,
    seeds: Sequence[int],
    grid: Grid | None,
    workers: Workers,
    marks: tuple[str, ...] = (),
) -> Evaluation:
    x = codes(data, features, encoding)
    jobs = [(x, data.y, seed, f, grid) for seed in seeds for f in range(FOLDS)]
    fold, predicted = _empty(data, seeds)
    fits: list[list[dict[str, Any]]] = [[] for _ in seeds]
    for at, (test, values, point, n) in enumerate(workers.map(_fold, jobs)):
        s, f = divmod(at, FOLDS)
        fold[s, test], predicted[s, test] = f, values
        fits[s].append({**point.parameters, "rounds": point.rounds, "train_rows": n})
    of_seeds = tuple(tuple(f) for f in fits)
    return Evaluation(name, "random", features, tuple(seeds), fold, predicted, of_seeds, (STRADDLING, *marks))


def _fold(x: Matrix, y: Vector, seed: int, fold: int, grid: Grid | None) -> tuple[Rows, Matrix, Point, int]:
    """One outer fold: its test rows, their predictions, the setting, and the number of rows it was fitted on."""
    part, test = random_folds(len(y), FOLDS, seed)[fold]
    rows = without_share(part, UNUSED_SHARE, seed)
    inner = random_folds(len(rows), FOLDS, seed)
    point = Point() if grid is None else search(x[rows], y[rows], inner, grid)
    booster = train(binned(x[rows], y[rows]), point.parameters, point.rounds)
    return test, predict(booster, x[test], point.rounds), point, len(rows)


def _empty(data: Dataset, seeds: Sequence[int]) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    shape = (len(seeds), len(data.ids))
    return np.full(shape, -1, dtype=np.int64), np.full(shape, np.nan)
