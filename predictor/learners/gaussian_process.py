"""Gaussian process regression with five kernel parts; beyond EXACT models an approximation.

    k(u, v) = linear (1 + s.s') + scale exp(-d_p^2 / 2 l_p^2 - d_t^2 / 2 l_t^2)
              + others exp(-d_o^2 / 2 l_o^2) exp(-d_s^2 / 8) + noise

s are the standardised logarithms of parameters and tokens, d_p and d_t distances in each, d_s in both, d_o the root mean
square distance in the other columns and their indicators of missing values: models with similar data and similar scale
inform each other. The seven hyperparameters are the most probable ones under broad log-normal priors (Rasmussen and
Williams 2006, ch. 5), computed with exact gradients. No step is random.

The time of an exact fit grows with the cube of the number of models. Beyond EXACT models the hyperparameters are those of
EXACT models that are far apart, and all models inform predictions through these (subset of regressors, Quinonero-Candela
and Rasmussen 2005). benchmarks/many_models.py measures the distance from the exact fit.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tagcorpus.predictor.learners.design import Matrix, Rows, Standard, Vector

Distances = tuple[Matrix, Matrix, Matrix, Matrix]

N_SCALE = 2
NAMES = ("linear", "scale", "l_params", "l_tokens", "others", "l_others", "noise")
_START = np.log([0.5, 0.5, 1.0, 1.0, 0.2, 1.0, 0.1])
_IS_LENGTH = np.array([0.0, 0.0, 1.0, 1.0, 0.0, 1.0, 0.0])
_SPREAD = np.array([1.0, 1.0, 0.7, 0.7, 1.0, 0.7, 1.0])
# The likelihood has several peaks (one explains each maker's models by their number of tokens alone): three starts.
_STRETCHES = (1.0, 0.5, 2.0)
_JITTER = 1e-6
EXACT = 300  # models
_BOUND = 8.0  # of a hyperparameter's logarithm


@dataclass(frozen=True)
class GaussianProcess:
    """inputs, weights: of the models that predictions go through; an exact fit has all of them. hyperparameters: float64
    [7], of the standardised score, as in NAMES."""

    standard: Standard
    inputs: Matrix
    weights: Vector
    mean: float
    spread: float
    hyperparameters: Vector

    def predict(self, x: Matrix) -> Vector:
        """x: float64 [n, columns], NaN is missing. Returns float64 [n]."""
        parts = _parts(self.hyperparameters, _distances(self.standard.of(x), self.inputs))
        scores: Vector = self.mean + self.spread * (sum(parts) @ self.weights)
        return scores


def fit(
    x: Matrix,
    y: Vector,
    groups: tuple[str, ...],
    sign: int,
    seed: int,
    exact: int = EXACT,
    hyperparameters: Vector | None = None,
) -> GaussianProcess:
    """x: float64 [n, c], ln params and ln tokens first, NaN is missing; y float64 [n]. Groups, sign and seed have no
    part in it. exact: the most models of an exact fit; hyperparameters: as in NAMES, None: the most probable ones."""
    del groups, sign, seed
    standard = Standard.from_rows(x)
    z = standard.of(x)
    mean, spread = float(y.mean()), float(y.std()) or 1.0
    t = (y - mean) / spread
    at = far_apart(z, exact) if len(t) > exact else np.arange(len(t))
    distances = _distances(z[at], z[at])
    values = _hyperparameters(distances, t[at]) if hyperparameters is None else hyperparameters
    inner = np.sum(_parts(values, distances), axis=0)
    noise = values[6] + _JITTER
    if len(at) == len(t):
        return GaussianProcess(standard, z, np.linalg.solve(inner + noise * np.eye(len(t)), t), mean, spread, values)
    across = np.sum(_parts(values, _distances(z[at], z)), axis=0)
    # A larger jitter: rows of models that are far apart can still be nearly dependent.
    normal = across @ across.T + noise * (inner + _JITTER * np.trace(inner) / len(at) * np.eye(len(at)))
    return GaussianProcess(standard, z[at], np.linalg.solve(normal, across @ t), mean, spread, values)


def far_apart(z: Matrix, count: int) -> Rows:
    """`count` rows, each the farthest from those before it, the first the nearest to the mean; ascending."""
    chosen = [int(np.argmin(((z - z.mean(axis=0)) ** 2).sum(axis=1)))]
    nearest = np.full(len(z), np.inf)
    while len(chosen) < count:
        nearest = np.minimum(nearest, ((z - z[chosen[-1]]) ** 2).sum(axis=1))
        chosen.append(int(np.argmax(nearest)))
    return np.unique(chosen)


def _hyperparameters(distances: Distances, t: Vector) -> Vector:
    from scipy.optimize import minimize

    bounds = [(-_BOUND, _BOUND)] * len(_START)
    fits = []
    for stretch in _STRETCHES:
        start = _START + np.log(stretch) * _IS_LENGTH
        options = {"maxiter": 60}
        fits.append(
            minimize(_unlikelihood, start, (distances, t), "L-BFGS-B", jac=True, bounds=bounds, options=options)
        )
    values: Vector = np.exp(min(fits, key=lambda f: float(f.fun)).x)
    return values


def _distances(a: Matrix, b: Matrix) -> Distances:
    """Inner products plus 1, squared distances in params, in tokens, and mean ones in the other columns: [len(a), len(b)] each."""
    s, t = a[:, :N_SCALE], b[:, :N_SCALE]
    others = np.zeros((len(a), len(b)))
    for i in range(N_SCALE, a.shape[1]):
        others += (a[:, None, i] - b[None, :, i]) ** 2 / (a.shape[1] - N_SCALE)
    return 1 + s @ t.T, (s[:, None, 0] - t[None, :, 0]) ** 2, (s[:, None, 1] - t[None, :, 1]) ** 2, others


def _parts(v: Vector, distances: Distances) -> tuple[Matrix, Matrix, Matrix]:
    inner, params, tokens, others = distances
    near = np.exp(-params / (2 * v[2] ** 2) - tokens / (2 * v[3] ** 2))
    similar = np.exp(-others / (2 * v[5] ** 2) - (params + tokens) / 8) if others.any() else np.zeros_like(others)
    return v[0] * inner, v[1] * near, v[4] * similar


def _unlikelihood(logs: Vector, distances: Distances, t: Vector) -> tuple[float, Vector]:
    """Minus the log of likelihood times prior, and its gradient."""
    v = np.exp(logs)
    _, params, tokens, others = distances
    linear, near, similar = _parts(v, distances)
    covariance = linear + near + similar + (v[6] + _JITTER) * np.eye(len(t))
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
        similar,
        similar * others / v[5] ** 2,
        v[6] * np.eye(len(t)),
    )
    gradient = np.array([float((slope * part).sum()) for part in by_log])
    return value, gradient + away / _SPREAD
