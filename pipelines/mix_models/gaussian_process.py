"""Our model of a mix: a Gaussian process on roots of shares, for the logarithm of an outcome.

The mean is a constant, and the kernel is the sum of a linear part, a smooth part (squared exponential, a length scale for each
column) and noise. A root stretches small shares: the first per cent of a source changes its loss most. The
hyperparameters maximise the marginal likelihood times a weak prior, with analytic gradients, so 512 mixes and 17 sources take under a CPU second on one thread.
Formulas: Rasmussen and Williams, Gaussian Processes for Machine Learning, 2.2, 5.4.1 and 5.4.2.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
# Standard deviation of the prior of each log hyperparameter, around its starting value.
PRIOR_WIDTH = 3.0
STEPS = 25
NOISE, SMOOTH, LINEAR = -4.0, 0.0, -1.0
LENGTH = 0.0
LARGEST = 12.0


@dataclass(frozen=True)
class Surface:
    """A fitted process over columns X, for a target that has mean 0 and standard deviation 1.

    x       float64 [mixes, columns]
    y       float64 [mixes]
    theta   float64 [3 + columns]   logarithms: variances of noise, smooth and linear part, then length scales
    repeats float64 [mixes]   runs that y is the mean of: the noise of y is that of one run divided by them
    """

    x: Array
    y: Array
    theta: Array
    repeats: Array

    @cached_property
    def inverse(self) -> Array:
        """The inverse of the kernel matrix, float64 [mixes, mixes]."""
        return _inverse(_kernel(self.theta, self.x, self.x)[0] + np.diag(np.exp(self.theta[0]) / self.repeats))[0]

    @cached_property
    def weights(self) -> Array:
        return self.inverse @ self.y

    def predict(self, x: Array) -> tuple[Array, Array]:
        """Means and standard deviations of a run of mixes X, noise included."""
        cross = _kernel(self.theta, x, self.x)[0]
        own = np.exp(self.theta[1]) + np.exp(self.theta[2]) * (x * x).sum(axis=1)
        variance = own - np.einsum("ij,jk,ik->i", cross, self.inverse, cross, optimize=True) + np.exp(self.theta[0])
        return cross @ self.weights, np.sqrt(np.maximum(variance, np.exp(self.theta[0])))

    def left_out(self) -> tuple[Array, Array]:
        """Residual and standard deviation of each mix, predicted from all others (equation 5.12)."""
        diagonal = np.diag(self.inverse)
        return self.weights / diagonal, np.sqrt(1 / diagonal)

    def predict_without_each(self, x: Array) -> Array:
        """The means at X of the processes that lack one mix each, float64 [rows of x, mixes].

        Without mix i, the weights are alpha - K^-1[:, i] alpha_i / K^-1[i, i].
        """
        cross = _kernel(self.theta, x, self.x)[0]
        ratio = self.weights / np.diag(self.inverse)
        means: Array = (cross @ self.weights)[:, None] - (cross @ self.inverse) * ratio
        return means


def fitted(x: Array, y: Array, repeats: Array | None = None, steps: int = STEPS) -> Surface:
    """The process whose hyperparameters maximise the posterior, by L-BFGS from fixed starting values.

    repeats  runs that each y is the mean of; None: one each
    """
    from scipy.optimize import minimize

    repeats = np.ones(len(y)) if repeats is None else np.asarray(repeats, dtype=np.float64)
    start = np.array([NOISE, SMOOTH, LINEAR, *[LENGTH] * x.shape[1]])
    least = minimize(
        _cost,
        start,
        args=(x, y, repeats, start),
        jac=True,
        method="L-BFGS-B",
        bounds=[(-LARGEST, LARGEST)] * len(start),
        options={"maxiter": steps},
    )
    return Surface(x, y, least.x, repeats)


def _kernel(theta: Array, a: Array, b: Array) -> tuple[Array, Array, Array]:
    """The kernel without noise, and its smooth and linear parts, float64 [rows of a, rows of b]."""
    scaled_a, scaled_b = a / np.exp(theta[3:]), b / np.exp(theta[3:])
    square = (scaled_a**2).sum(axis=1)[:, None] + (scaled_b**2).sum(axis=1) - 2 * scaled_a @ scaled_b.T
    smooth = np.exp(theta[1] - 0.5 * np.maximum(square, 0))
    linear = np.exp(theta[2]) * (a @ b.T)
    return smooth + linear, smooth, linear


def _inverse(matrix: Array) -> tuple[Array, float]:
    """The inverse of a positive definite matrix, and the logarithm of the determinant of the matrix."""
    from scipy.linalg import lapack

    factor, _ = lapack.dpotrf(matrix, lower=1)
    inverse, failed = lapack.dpotri(factor, lower=1)
    if failed:
        raise np.linalg.LinAlgError("kernel matrix is not positive definite")
    lower = np.tril(inverse)
    return lower + np.tril(inverse, -1).T, 2 * float(np.log(np.diag(factor)).sum())


def _cost(theta: Array, x: Array, y: Array, repeats: Array, center: Array) -> tuple[float, Array]:
    """Minus the logarithm of the posterior, and its gradient."""
    kernel, smooth, linear = _kernel(theta, x, x)
    noise = np.exp(theta[0]) / repeats
    try:
        inverse, log_determinant = _inverse(kernel + np.diag(noise))
    except np.linalg.LinAlgError:
        return 1e10, np.zeros_like(theta)
    weights = inverse @ y
    outer = inverse - np.outer(weights, weights)
    by_smooth = outer * smooth
    # Sum over pairs of M_ij (x_i - x_j)^2, by column, without an array of pairs and columns.
    spread = 2 * (by_smooth.sum(axis=1) @ (x * x)) - 2 * (x * (by_smooth @ x)).sum(axis=0)
    gradient = 0.5 * np.array(
        [
            noise @ np.diag(outer),
            by_smooth.sum(),
            (outer * linear).sum(),
            *(spread / np.exp(2 * theta[3:])),
        ]
    )
    away = (theta - center) / PRIOR_WIDTH
    cost = 0.5 * (y @ weights + log_determinant) + 0.5 * float(away @ away)
    return float(cost), gradient + away / PRIOR_WIDTH
