"""The grouped protocol: every group of models is predicted by fits that have seen none of its models.

A group is a maker (makers.py) unless `--groups` names another column. Every seed draws five folds that split no group, and
five random folds. The difference shows how much a random fold gains from models of the same group in its training part.
Fits use the whole training fold. Search, selection, imputation and the categories of models.py come from its rows alone.
(`all`, `no-scale` and `selected` number categories in alphabetical order over all models.)

All others are compared with `scale-only`, the best predictor from parameters and tokens. `scaling` is the published search
on the two, and `scaling-published` the same on four fifths of the training part, as published. `extrapolate` predicts the
largest models from the smaller ones instead.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tagcorpus.errors import ConfigError
from tagcorpus.predictor.learners import models
from tagcorpus.predictor.learners.data import PARAMS, SCALE, TOKENS, Dataset
from tagcorpus.predictor.learners.design import Rows, Vector
from tagcorpus.predictor.learners.evaluation import LEAKY, Evaluation, Folds, Settings, check_predictors, features_of
from tagcorpus.predictor.learners.folds import grouped_folds, random_folds, without_share
from tagcorpus.predictor.learners.parallel import Workers
from tagcorpus.predictor.learners.selection import inside
from tagcorpus.predictor.protocols.paper import UNUSED_SHARE
from tagcorpus.predictor.records.makers import group_word

FOLDS = 5
KINDS: tuple[Folds, ...] = ("grouped", "random")
PUBLISHED = "scaling-published"
SEARCHED = ("scaling", PUBLISHED, "all", "no-scale")
PREDICTORS = (*SEARCHED, *models.MODELS)
LEAST_TRAINED = 20  # models; fewer fit no curve


def run(data: Dataset, settings: Settings, workers: Workers) -> list[Evaluation]:
    """`scale-only` and the named predictors, under grouped folds, then under random ones. Without names: the published
    search, and every model whose columns the data set has.

    Raises ConfigError for an unknown predictor, and where there are fewer groups than folds.
    """
    if data.groups < FOLDS:
        raise ConfigError(
            f"{data.task.name}: {data.groups} {group_word(data.grouped_by)}, but grouped folds need at least {FOLDS}; "
            "take --protocol paper"
        )
    default = ("scaling", PUBLISHED, *models.names_for(data))
    names = list(dict.fromkeys([models.SCALE_ONLY, *(settings.predictors or default)]))
    check_predictors(names, PREDICTORS)
    if settings.selected is not None or settings.select is not None:
        names.append("selected")
    jobs = [(data, settings, tuple(names), kind, seed) for kind in KINDS for seed in settings.all_seeds]
    results = workers.map(_one_seed, jobs)
    n = len(settings.all_seeds)
    by_kind = {kind: results[at * n : (at + 1) * n] for at, kind in enumerate(KINDS)}
    return [
        Evaluation(
            name,
            kind,
            seeds[0].features[name],
            settings.all_seeds,
            np.array([s.fold for s in seeds]),
            np.array([s.predicted[name] for s in seeds]),
            tuple(tuple(s.fits[name]) for s in seeds),
            (LEAKY,) if name == "selected" and settings.is_leaky else (),
        )
        for kind, seeds in by_kind.items()
        for name in names
    ]


@dataclass(frozen=True)
class _OneSeed:
    """fold: int64 [n]; by predictor: predicted float64 [n], the choices in each fold, the first fold's columns."""

    fold: Rows
    predicted: dict[str, Vector]
    fits: dict[str, list[dict[str, Any]]]
    features: dict[str, tuple[str, ...]]


def folds_of(data: Dataset, kind: Folds, seed: int) -> list[tuple[Rows, Rows]]:
    if kind == "grouped":
        return grouped_folds(data.organisations, FOLDS, seed)
    return random_folds(len(data.ids), FOLDS, seed)


def _one_seed(data: Dataset, settings: Settings, names: tuple[str, ...], kind: Folds, seed: int) -> _OneSeed:
    n = len(data.ids)
    result = _OneSeed(np.empty(n, dtype=np.int64), {m: np.empty(n) for m in names}, {m: [] for m in names}, {})
    for k, (train, test) in enumerate(folds_of(data, kind, seed)):
        result.fold[test] = k
        for name, (predicted, chosen, columns) in _one_fold(data, settings, names, train, test, seed).items():
            result.predicted[name][test] = predicted
            result.fits[name].append(chosen)
            result.features.setdefault(name, columns)
    return result


_Fitted = tuple[Vector, dict[str, Any], tuple[str, ...]]


def _one_fold(
    data: Dataset, settings: Settings, names: Sequence[str], train: Rows, test: Rows, seed: int
) -> dict[str, _Fitted]:
    """Predictor -> (scores of the test rows, the fit's choices, its columns)."""
    fits: dict[str, _Fitted] = {}
    for name in names:
        # The members of `average` come before it in models.MODELS, so they are mostly fitted already.
        if name == models.DEFAULT and set(models.MEMBERS) <= set(fits):
            members = [fits[m] for m in models.MEMBERS]
            chosen = {k: v for _, c, _ in members for k, v in c.items()}
            fits[name] = np.mean([p for p, _, _ in members], axis=0), chosen, models.model(name).columns
        elif name in SEARCHED or name == "selected":
            fits[name] = _searched(data, settings, name, train, test, seed)
        else:
            fits[name] = (*models.predicted(data, name, train, test, seed), models.model(name).columns)
    return fits


def _searched(data: Dataset, settings: Settings, name: str, train: Rows, test: Rows, seed: int) -> _Fitted:
    chosen: dict[str, Any] = {}
    columns: tuple[str, ...] = SCALE
    if name == PUBLISHED:
        train = np.sort(without_share(train, UNUSED_SHARE, seed))
    elif name != "selected":
        columns = features_of(data, name)
    elif settings.select is None:
        columns = settings.selected or ()
    else:
        columns = inside(data, train, settings.select, seed).features
        chosen = {"features": list(columns)}
    predicted, searched = models.searched(data, columns, train, test, seed, settings.has_search)
    return predicted, {**searched, **chosen}, columns


@dataclass(frozen=True)
class Extrapolation:
    """test: positions of the predicted models in the data set, the largest last; predicted: predictor -> float64 [k]."""

    test: Rows
    train_rows: int
    predicted: dict[str, Vector]

    def maes(self, y: Vector) -> dict[str, float]:
        """Mean absolute errors, fractions."""
        return {name: float(np.mean(np.abs(p - y[self.test]))) for name, p in self.predicted.items()}


def extrapolate(data: Dataset, k: int, seed: int, predictors: Sequence[str] = ()) -> Extrapolation:
    """The k models of most parameters (of equals: most tokens, then by id), predicted by fits to all smaller ones.

    Smaller models of the same organisations are in the training part: the test is of a larger size, not of a new maker.
    Raises ConfigError where fewer than LEAST_TRAINED models would be left to fit.
    """
    n = len(data.ids)
    if n <= LEAST_TRAINED:
        raise ConfigError(
            f"--extrapolate: {data.task.name} has {n} models, and a fit to the smaller ones needs {LEAST_TRAINED}"
        )
    if not 1 <= k <= n - LEAST_TRAINED:
        raise ConfigError(
            f"--extrapolate must be 1 to {n - LEAST_TRAINED} for {data.task.name} ({n} models, {LEAST_TRAINED} to fit), not {k}"
        )
    # Stable: rows are in the order of ids.
    order = np.lexsort((data.frame[TOKENS].to_numpy(), data.frame[PARAMS].to_numpy()))
    train, test = np.sort(order[: n - k]), order[n - k :]
    names = list(dict.fromkeys([models.SCALE_ONLY, *(predictors or ("scaling", *models.names_for(data)))]))
    fits = _one_fold(data, Settings(), names, train, test, seed)
    return Extrapolation(test, len(train), {name: predicted for name, (predicted, _, _) in fits.items()})
