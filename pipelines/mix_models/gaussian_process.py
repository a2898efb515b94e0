"""Our model of a mix: a Gaussian process on roots of shares, for the logarithm of an outcome.

The mean is a constant, and the kernel is the sum of a linear part, a smooth part (Matern 5/2, a length scale for each column) and
noise. A root stretches small shares: the first per cent of a source changes its loss most. The hyperparameters maximise the
marginal likelihood times a weak prior, with analytic gradients. 512 mixes of 17 sources take about a CPU second on one thread.
The kernel, the prior's width and the steps were chosen on folds of RegMix's 512 mixes of 1M parameters.
Formulas: Rasmussen and Williams, Gaussian Processes for Machine Learning, 2.2, 4.2.1, 5.4.1 and 5.4.2.
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

    def slope(self, x: Array) -> Array:
        """The gradient of the mean at one mix x, float64 [columns]."""
        slope = _kernel(self.theta, x[None, :], self.x)[3][0] * self.weights
        smooth = (slope @ self.x - slope.sum() * x) / np.exp(2 * self.theta[3:])
        gradient: Array = smooth + np.exp(self.theta[2]) * (self.weights @ self.x)
        return gradient

    def difference(self, x: Array, other: Array) -> tuple[float, float]:
        """Mean and standard deviation of the difference between two mixes, x less other, without noise."""
        both = np.stack([x, other])
        cross = _kernel(self.theta, both, self.x)[0]
        covariance = _kernel(self.theta, both, both)[0] - cross @ self.inverse @ cross.T
        means = cross @ self.weights
        variance = covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1]
        return float(means[0] - means[1]), float(np.sqrt(max(variance, 0.0)))


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


def _kernel(theta: Array, a: Array, b: Array) -> tuple[Array, Array, Array, Array]:
    """The kernel without noise, its smooth and linear parts, and the smooth part's slope, float64 [rows of a, rows of b].

    slope  minus twice the derivative by the squared distance in length scales
    """
    scaled_a, scaled_b = a / np.exp(theta[3:]), b / np.exp(theta[3:])
    square = (scaled_a**2).sum(axis=1)[:, None] + (scaled_b**2).sum(axis=1) - 2 * scaled_a @ scaled_b.T
    r = np.sqrt(5 * np.maximum(square, 0))
    decay = np.exp(theta[1] - r)
    smooth = decay * (1 + r + r * r / 3)
    linear = np.exp(theta[2]) * (a @ b.T)
    return smooth + linear, smooth, linear, 5 / 3 * decay * (1 + r)


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
    kernel, smooth, linear, slope = _kernel(theta, x, x)
    noise = np.exp(theta[0]) / repeats
    try:
        inverse, log_determinant = _inverse(kernel + np.diag(noise))
    except np.linalg.LinAlgError:
        return 1e10, np.zeros_like(theta)
    weights = inverse @ y
    outer = inverse - np.outer(weights, weights)
    by_slope = outer * slope
    # Sum over pairs of M_ij (x_i - x_j)^2, by column, without an array of pairs and columns.
    spread = 2 * (by_slope.sum(axis=1) @ (x * x)) - 2 * (x * (by_slope @ x)).sum(axis=0)
    gradient = 0.5 * np.array(
        [
            noise @ np.diag(outer),
            (outer * smooth).sum(),
            (outer * linear).sum(),
            *(spread / np.exp(2 * theta[3:])),
        ]
    )
    away = (theta - center) / PRIOR_WIDTH
    cost = 0.5 * (y @ weights + log_determinant) + 0.5 * float(away @ away)
    return float(cost), gradient + away / PRIOR_WIDTH
