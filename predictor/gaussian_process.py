"""Gaussian process regression with five kernel parts, small enough for a hundred models.

    k(u, v) = linear (1 + s.s') + scale exp(-d_p^2 / 2 l_p^2 - d_t^2 / 2 l_t^2)
              + others exp(-d_o^2 / 2 l_o^2) exp(-d_s^2 / 8) + noise

s are the standardised logarithms of parameters and tokens, d_p and d_t distances in each, d_s in both, d_o the root mean
square distance in the other columns and their indicators of missing values: models that are alike in data and near in
scale inform each other. The seven hyperparameters are the most probable ones under broad log-normal priors (Rasmussen and
Williams 2006, ch. 5), found with exact gradients; nothing is drawn at random.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tagcorpus.predictor.design import Matrix, Standard, Vector

N_SCALE = 2
NAMES = ("linear", "scale", "l_params", "l_tokens", "others", "l_others", "noise")
_START = np.log([0.5, 0.5, 1.0, 1.0, 0.2, 1.0, 0.1])
_IS_LENGTH = np.array([0.0, 0.0, 1.0, 1.0, 0.0, 1.0, 0.0])
_SPREAD = np.array([1.0, 1.0, 0.7, 0.7, 1.0, 0.7, 1.0])
# The likelihood has several peaks (one explains each maker's models by their number of tokens alone): three starts.
_STRETCHES = (1.0, 0.5, 2.0)
_JITTER = 1e-6
_BOUND = 8.0  # of a hyperparameter's logarithm


@dataclass(frozen=True)
class GaussianProcess:
    """hyperparameters: float64 [7], of the standardised score, as in NAMES."""

    standard: Standard
    inputs: Matrix
    weights: Vector
    mean: float
    spread: float
    hyperparameters: Vector

    def predict(self, x: Matrix) -> Vector:
        """x: float64 [n, columns], NaN is missing. Returns float64 [n]."""
        parts = _parts(self.hyperparameters, _distances(self.standard.of(x), self.inputs))
        found: Vector = self.mean + self.spread * (sum(parts) @ self.weights)
        return found


def fit(x: Matrix, y: Vector, groups: tuple[str, ...], sign: int, seed: int) -> GaussianProcess:
    """x: float64 [n, c], ln params and ln tokens first, NaN is missing; y float64 [n]. Groups, sign and seed have no
    part in it."""
    del groups, sign, seed
    from scipy.optimize import minimize

    standard = Standard.from_rows(x)
    z = standard.of(x)
    mean, spread = float(y.mean()), float(y.std()) or 1.0
    t = (y - mean) / spread
    distances = _distances(z, z)
    bounds = [(-_BOUND, _BOUND)] * len(_START)
    fits = []
    for stretch in _STRETCHES:
        start = _START + np.log(stretch) * _IS_LENGTH
        options = {"maxiter": 60}
        fits.append(
            minimize(_unlikelihood, start, (distances, t), "L-BFGS-B", jac=True, bounds=bounds, options=options)
        )
    values = np.exp(min(fits, key=lambda f: float(f.fun)).x)
    covariance = sum(_parts(values, distances)) + (values[6] + _JITTER) * np.eye(len(t))
    return GaussianProcess(standard, z, np.linalg.solve(covariance, t), mean, spread, values)


def _distances(a: Matrix, b: Matrix) -> tuple[Matrix, Matrix, Matrix, Matrix]:
    """Inner products plus 1, squared distances in params, in tokens, and mean ones in the other columns: [len(a), len(b)] each."""
    s, t = a[:, :N_SCALE], b[:, :N_SCALE]
    others = np.zeros((len(a), len(b)))
    for i in range(N_SCALE, a.shape[1]):
        others += (a[:, None, i] - b[None, :, i]) ** 2 / (a.shape[1] - N_SCALE)
    return 1 + s @ t.T, (s[:, None, 0] - t[None, :, 0]) ** 2, (s[:, None, 1] - t[None, :, 1]) ** 2, others


def _parts(v: Vector, distances: tuple[Matrix, Matrix, Matrix, Matrix]) -> tuple[Matrix, Matrix, Matrix]:
    inner, params, tokens, others = distances
    near = np.exp(-params / (2 * v[2] ** 2) - tokens / (2 * v[3] ** 2))
    alike = np.exp(-others / (2 * v[5] ** 2) - (params + tokens) / 8) if others.any() else np.zeros_like(others)
    return v[0] * inner, v[1] * near, v[4] * alike


def _unlikelihood(logs: Vector, distances: tuple[Matrix, Matrix, Matrix, Matrix], t: Vector) -> tuple[float, Vector]:
    """Minus the log of likelihood times prior, and its gradient."""
    v = np.exp(logs)
    _, params, tokens, others = distances
    linear, near, alike = _parts(v, distances)
    covariance = linear + near + alike + (v[6] + _JITTER) * np.eye(len(t))
    root = np.linalg.cholesky(covariance)
    inverse = np.linalg.inv(covariance)
    a = inverse @ t
    away = (logs - _START) / _SPREAD
    value = 0.5 * float(t @ a) + float(np.log(np.diag(root)).sum()) + 0.5 * float(away @ away)
    slope = 0.5 * (inverse - np.outer(a, a))
    by_log = (
        linear,
        near,
        near * params / v[2] ** 2,
        near * tokens / v[3] ** 2,
        alike,
        alike * others / v[5] ** 2,
        v[6] * np.eye(len(t)),
    )
    gradient = np.array([float((slope * part).sum()) for part in by_log])
    return value, gradient + away / _SPREAD
