"""The models that the grouped protocol compares, each fitted to the training rows it is given and to nothing else.

    name              columns            model
    scale-only        the two of scale   the best of log-linear, law-scale, trees-scale and the mean of the last two, chosen by
                                         inner folds of the training rows; every other model is compared with it
    scaling           the two of scale   XGBoost searched as the published scripts do (grid, random inner folds)
    scaling-published the two of scale   the same on the four fifths of the training part that those scripts use
    log-linear        the two of scale   least squares
    law-scale         the two of scale   sigmoid_law
    law               scale, code        sigmoid_law
    trees-scale       the two of scale   XGBoost, monotone in scale, also given the sum of the two logarithms (compute)
    trees             scale, code        the same
    declared          scale, six shares  the same
    gaussian-process  scale, code        gaussian_process
    linear            scale, code        ridge with squares and product
    average           scale, six shares  mean of law-scale, law, trees-scale, trees, declared, gaussian-process: the default
    generated         scale, code, eight features of generations   trees; only where the feature table has some

`scale` is ln params and ln tokens, `code` the declared share of code in pretraining. Any other list of columns goes to the
published search as `scaling` does (`searched`). The settings of the trees are fixed; penalties are chosen in inner folds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from tagcorpus.errors import ConfigError, unknown_name
from tagcorpus.predictor.learners import boosting, gaussian_process, linear, sigmoid_law
from tagcorpus.predictor.learners.data import PERCENTAGES, SCALE, Dataset, codes
from tagcorpus.predictor.learners.design import Matrix, Rows, Vector, columns_of
from tagcorpus.predictor.learners.folds import grouped_folds, random_folds

CODE = "pretraining_summary_percentage_code"
GENERATED = (
    "entropy_mean",
    "ttr_mean",
    "domain_code_pct_mean",
    "domain_web_pct_mean",
    "domain_reference_pct_mean",
    "edu_classifier_mean",
    "question_words_ratio",
    "pct_english_mean",
)
DEFAULT = "average"
SCALE_ONLY = "scale-only"
CLEARLY = 0.95  # of the mean's inner error: below it another candidate is taken
SCALE_FOLDS = 5
MEMBERS = ("law-scale", "law", "trees-scale", "trees", "declared", "gaussian-process")
INNER_FOLDS = 3
BAGS = 3
ROUNDS = 120
TREES = {
    "learning_rate": 0.06,
    "max_depth": 3,
    "min_child_weight": 2,
    "subsample": 0.8,
    "colsample_bynode": 0.7,
}


class Fitted(Protocol):
    def predict(self, x: Matrix) -> Vector:
        """x: float64 [n, columns as fitted], NaN is missing. Returns the score of each row, a fraction."""


# (x, y, groups, sign, seed): sign is 1 where higher scores are better, else -1.
Fit = Callable[[Matrix, Vector, tuple[str, ...], int, int], Fitted]


@dataclass(frozen=True)
class Trees:
    """boosters: of `fit_trees`; their mean is the prediction."""

    boosters: tuple[Any, ...]

    def predict(self, x: Matrix) -> Vector:
        columns = with_compute(x)
        predictions = [boosting.predict(b, columns, ROUNDS, missing=np.nan).astype(np.float64) for b in self.boosters]
        return np.asarray(np.mean(predictions, axis=0), dtype=np.float64)


@dataclass(frozen=True)
class ScaleOnly:
    """name: of the candidate that was taken; fits: it, or the two whose mean it is."""

    name: str
    fits: tuple[Fitted, ...]

    def predict(self, x: Matrix) -> Vector:
        return np.asarray(np.mean([f.predict(x) for f in self.fits], axis=0), dtype=np.float64)


@dataclass(frozen=True)
class Average:
    """members: of MEMBERS, in their order; each gets its own columns of those of `average`."""

    members: tuple[Fitted, ...]

    def predict(self, x: Matrix) -> Vector:
        return np.asarray(np.mean(list(self.parts(x).values()), axis=0), dtype=np.float64)

    def parts(self, x: Matrix) -> dict[str, Vector]:
        return {n: m.predict(x[:, _places(n)]) for n, m in zip(MEMBERS, self.members, strict=True)}


def with_compute(x: Matrix) -> boosting.Matrix:
    """float32 [n, c + 1]: the columns and, last, the sum of the first two, which is ln compute but for a constant."""
    return np.column_stack([x, x[:, 0] + x[:, 1]]).astype(np.float32)


def fit_trees(x: Matrix, y: Vector, groups: tuple[str, ...], sign: int, seed: int, bags: int = BAGS) -> Trees:
    """Never falls in params or tokens (with sign -1: never rises). Squared error: XGBoost's absolute error sets its leaves
    anew after growing them, and so breaks the constraint (seen: 0.6 points)."""
    del groups
    columns = with_compute(x)
    constraints = [sign, sign, *[0] * (x.shape[1] - len(SCALE)), sign]
    matrix = boosting.binned(columns, y, missing=np.nan)
    settings = {**TREES, "monotone_constraints": "(" + ",".join(map(str, constraints)) + ")"}
    return Trees(tuple(boosting.train(matrix, {**settings, "seed": 100 * seed + b}, ROUNDS) for b in range(bags)))


def fit_scale_only(x: Matrix, y: Vector, groups: tuple[str, ...], sign: int, seed: int) -> ScaleOnly:
    """The mean of law and trees, or a candidate that is clearly better in inner folds that split no group. Rows of a test
    fold have no part in the choice. The mean is the default since choosing among near equals costs more than it gains."""
    names = _chosen_of_scale(x, y, groups, sign, seed)
    return ScaleOnly(" + ".join(names), tuple(MODELS[n].fit(x, y, groups, sign, seed) for n in names))


def _chosen_of_scale(x: Matrix, y: Vector, groups: tuple[str, ...], sign: int, seed: int) -> tuple[str, ...]:
    mean = ("law-scale", "trees-scale")
    if len(set(groups)) < SCALE_FOLDS:
        return mean
    errors = dict.fromkeys([mean, ("log-linear",), ("law-scale",), ("trees-scale",)], 0.0)
    for rows, held_out in grouped_folds(groups, SCALE_FOLDS, seed):
        own = tuple(groups[i] for i in rows)
        single = {
            n: MODELS[n].fit(x[rows], y[rows], own, sign, seed).predict(x[held_out])
            for n in ("log-linear", "law-scale", "trees-scale")
        }
        for names in errors:
            predicted = np.mean([single[n] for n in names], axis=0)
            errors[names] += float(np.abs(predicted - y[held_out]).sum())
    best = min(errors, key=lambda names: errors[names])
    return best if errors[best] < CLEARLY * errors[mean] else mean


def fit_average(x: Matrix, y: Vector, groups: tuple[str, ...], sign: int, seed: int) -> Average:
    """Plain means: twenty makers are too few to learn weights from."""
    return Average(tuple(MODELS[name].fit(x[:, _places(name)], y, groups, sign, seed) for name in MEMBERS))


def _places(member: str) -> list[int]:
    return [MODELS[DEFAULT].columns.index(c) for c in MODELS[member].columns]


@dataclass(frozen=True)
class Model:
    columns: tuple[str, ...]
    fit: Fit


_WITH_CODE = (*SCALE, CODE)
MODELS: dict[str, Model] = {
    SCALE_ONLY: Model(SCALE, fit_scale_only),
    "log-linear": Model(SCALE, linear.fit_log_linear),
    "law-scale": Model(SCALE, sigmoid_law.fit),
    "law": Model(_WITH_CODE, sigmoid_law.fit),
    "trees-scale": Model(SCALE, fit_trees),
    "trees": Model(_WITH_CODE, fit_trees),
    "declared": Model((*SCALE, *PERCENTAGES), fit_trees),
    "gaussian-process": Model(_WITH_CODE, gaussian_process.fit),
    "linear": Model(_WITH_CODE, linear.fit),
    "average": Model((*SCALE, *PERCENTAGES), fit_average),
    "generated": Model((*_WITH_CODE, *GENERATED), fit_trees),
}


def names_for(data: Dataset) -> tuple[str, ...]:
    """The models that this data set has columns for."""
    return tuple(n for n, m in MODELS.items() if set(m.columns) <= set(data.frame.columns))


def model(name: str) -> Model:
    """Raises ConfigError for an unknown name."""
    if name not in MODELS:
        raise ConfigError(unknown_name("predictor", name, ["scaling", *MODELS], "--predictor"))
    return MODELS[name]


def sign_of(data: Dataset) -> int:
    return -1 if data.task.is_lower_better else 1


def fitted(data: Dataset, name: str, rows: Rows, seed: int) -> Fitted:
    """The model of this name on these rows."""
    chosen = model(name)
    x = columns_of(data, chosen.columns, rows)[0]
    return chosen.fit(x[rows], data.y[rows], tuple(data.organisations[i] for i in rows), sign_of(data), seed)


def predicted(data: Dataset, name: str, rows: Rows, test: Rows, seed: int) -> tuple[Vector, dict[str, Any]]:
    """Scores of the test rows by a fit to `rows`, float64 [len(test)], and the fit's own choices."""
    x = columns_of(data, model(name).columns, rows)[0]
    fit = fitted(data, name, rows, seed)
    return fit.predict(x[test]), {"train_rows": len(rows), **_chosen(fit)}


def searched(
    data: Dataset, columns: Sequence[str], rows: Rows, test: Rows, seed: int, has_search: bool
) -> tuple[Vector, dict[str, Any]]:
    """The same by the published search of XGBoost (grid, random inner folds), but with all of `rows`."""
    x = codes(data, columns, "absent")
    point = boosting.Point()
    if has_search:
        inner = random_folds(len(rows), INNER_FOLDS, seed)
        point = boosting.search(x[rows], data.y[rows], inner, boosting.Grid())
    booster = boosting.train(boosting.binned(x[rows], data.y[rows]), point.parameters, point.rounds)
    scores = boosting.predict(booster, x[test], point.rounds).astype(np.float64)
    return scores, {"train_rows": len(rows), **point.parameters, "rounds": point.rounds}


def _chosen(fit: Fitted) -> dict[str, Any]:
    if isinstance(fit, Average):
        return {k: v for m in fit.members for k, v in _chosen(m).items()}
    if isinstance(fit, ScaleOnly):
        return {"chosen": fit.name}
    if isinstance(fit, (sigmoid_law.SigmoidLaw, linear.Ridge)):
        return {"penalty": fit.penalty}
    if isinstance(fit, gaussian_process.GaussianProcess):
        return {n: float(f"{v:.4g}") for n, v in zip(gaussian_process.NAMES, fit.hyperparameters, strict=True)}
    return {}
