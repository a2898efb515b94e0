"""Ridge regression on engineered features: the logarithms of scale, their squares and product, and the other columns.

The log-linear law has no penalty, squares or other columns. Predictions of the ridge are clipped to the scores it was
fitted to, because squares grow without bound beyond them. The penalty is chosen in inner folds that split no group.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tagcorpus.predictor.learners.design import Matrix, Rows, Standard, Vector
from tagcorpus.predictor.learners.folds import grouped_folds

N_SCALE = 2
PENALTIES = (0.1, 1.0, 10.0, 100.0)
_ON_SCALE = 0.1  # the penalty on the two logarithms themselves, as a share of that on the rest


@dataclass(frozen=True)
class LogLinear:
    """weights: constant, ln params, ln tokens."""

    weights: Vector

    def predict(self, x: Matrix) -> Vector:
        scores: Vector = self.weights[0] + x[:, :N_SCALE] @ self.weights[1:]
        return scores


@dataclass(frozen=True)
class Ridge:
    standard: Standard
    engineered: Standard
    constant: float
    weights: Vector
    least: float
    most: float
    penalty: float

    def predict(self, x: Matrix) -> Vector:
        """x: float64 [n, columns], NaN is missing. Returns float64 [n]."""
        z = self.engineered.of(_engineered(self.standard.of(x)))
        return np.clip(self.constant + z @ self.weights, self.least, self.most)


def fit_log_linear(x: Matrix, y: Vector, groups: tuple[str, ...], sign: int, seed: int) -> LogLinear:
    """Ordinary least squares on the first two columns of x."""
    del groups, sign, seed
    a = np.column_stack([np.ones(len(x)), x[:, :N_SCALE]])
    return LogLinear(np.asarray(np.linalg.lstsq(a, y, rcond=None)[0], dtype=np.float64))


def fit(x: Matrix, y: Vector, groups: tuple[str, ...], sign: int, seed: int) -> Ridge:
    """x: float64 [n, c], ln params and ln tokens first, NaN is missing; y float64 [n]. sign has no part in it."""
    del sign
    if len(set(groups)) < 4:
        return _fit(x, y, PENALTIES[2])
    folds = grouped_folds(groups, 4, seed)
    errors = [float(np.mean([_error(x, y, penalty, *f) for f in folds])) for penalty in PENALTIES]
    return _fit(x, y, PENALTIES[int(np.argmin(errors))])


def _error(x: Matrix, y: Vector, penalty: float, rows: Rows, held_out: Rows) -> float:
    return float(np.mean(np.abs(_fit(x[rows], y[rows], penalty).predict(x[held_out]) - y[held_out])))


def _fit(x: Matrix, y: Vector, penalty: float) -> Ridge:
    standard = Standard.from_rows(x)
    products = _engineered(standard.of(x))
    engineered = Standard.from_rows(products)
    z = engineered.of(products)
    strength = np.full(z.shape[1], penalty)
    strength[:N_SCALE] *= _ON_SCALE
    weights = np.linalg.solve(z.T @ z + np.diag(strength), z.T @ (y - y.mean()))
    return Ridge(standard, engineered, float(y.mean()), weights, float(y.min()), float(y.max()), penalty)


def _engineered(z: Matrix) -> Matrix:
    p, t = z[:, :1], z[:, 1:N_SCALE]
    return np.concatenate([p, t, p * p, t * t, p * t, z[:, N_SCALE:]], axis=1)
