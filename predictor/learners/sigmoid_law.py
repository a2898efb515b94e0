"""A scaling law that saturates at both ends: floor + span * sigmoid(a + b ln params + c ln tokens + w . others).

Benchmarks stay at chance until a model is large enough and level off near their best, which a straight line in the
logarithms misses; a sigmoid of one linear index is the usual remedy (sigmoidal scaling laws, e.g. Ruan et al. 2024,
"Observational Scaling Laws"). b and c are positive by construction, so that the law is monotone in scale. Other columns
(declared shares) move the index, under a penalty. The loss is pseudo-Huber, which is near absolute error, because
predictors are judged by absolute error. Only the given rows are read. Missing values take their mean and an indicator.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from tagcorpus.predictor.learners.design import Matrix, Rows, Standard, Vector
from tagcorpus.predictor.learners.folds import grouped_folds

N_SCALE = 2
WIDTH = 0.05  # of the loss, in standard deviations of the score: beyond it errors count by their size, not its square
PENALTIES = (0.5, 2.0, 8.0)
STARTS = (0.0, -1.5)
_STEEPEST = 20.0
_BOUND = 30.0  # of the index: beyond it the sigmoid is flat in float64


@dataclass(frozen=True)
class SigmoidLaw:
    """weights: floor, ceiling, a, ln b, ln c, then w of the other standardised columns and indicators."""

    standard: Standard
    weights: Vector
    sign: int
    penalty: float

    def predict(self, x: Matrix) -> Vector:
        """x: float64 [n, columns], NaN is missing. Returns float64 [n]."""
        return self.sign * _law(self.weights, self.standard.of(x))[0]


def fit(x: Matrix, y: Vector, groups: tuple[str, ...], sign: int, seed: int) -> SigmoidLaw:
    """The penalty is chosen in inner folds of these rows that split no group. Scale alone has no penalty to choose.

    x     float64 [n, c], ln params and ln tokens first, NaN is missing; y float64 [n]
    sign  1 where higher scores are better, else -1
    """
    if x.shape[1] == N_SCALE or len(set(groups)) < 4:
        return _fit(x, y, sign, PENALTIES[1])
    folds = grouped_folds(groups, 4, seed)
    errors = [float(np.mean([_error(x, y, sign, penalty, *f) for f in folds])) for penalty in PENALTIES]
    return _fit(x, y, sign, PENALTIES[int(np.argmin(errors))])


def _error(x: Matrix, y: Vector, sign: int, penalty: float, rows: Rows, held_out: Rows) -> float:
    return float(np.mean(np.abs(_fit(x[rows], y[rows], sign, penalty).predict(x[held_out]) - y[held_out])))


def _fit(x: Matrix, y: Vector, sign: int, penalty: float) -> SigmoidLaw:
    from scipy.optimize import minimize

    standard = Standard.from_rows(x)
    z = standard.of(x)
    scores = sign * y
    worst, best = float(scores.min()), float(scores.max())
    fits = []
    for bias in STARTS:
        start = np.concatenate([[worst, best, bias], np.zeros(z.shape[1])])
        arguments = (z, scores, worst, best, float(scores.std()) or 1.0, penalty)
        fits.append(minimize(_loss, start, args=arguments, jac=True, method="L-BFGS-B", options={"maxiter": 300}))
    chosen = min(fits, key=lambda f: float(f.fun))
    return SigmoidLaw(standard, chosen.x, sign, penalty)


def _law(weights: Vector, z: Matrix) -> tuple[Vector, Vector]:
    """(scores with higher better, sigmoid of the index)."""
    slopes = np.concatenate([_steepness(weights), weights[3 + N_SCALE :]])
    s = 1 / (1 + np.exp(-np.clip(weights[2] + z @ slopes, -_BOUND, _BOUND)))
    return weights[0] + (weights[1] - weights[0]) * s, s


def _steepness(weights: Vector) -> Vector:
    """b and c, within bounds: a line search can try any logarithm."""
    return np.exp(np.clip(weights[3 : 3 + N_SCALE], -_STEEPEST, _STEEPEST))


def _loss(
    w: Vector, z: Matrix, y: Vector, worst: float, best: float, spread: float, penalty: float
) -> tuple[float, Vector]:
    """Loss and gradient: pseudo-Huber of the errors, a ridge penalty on w, and weak priors that hold floor and ceiling
    near the worst and best score seen (a tenth and three tenths of their distance) and the slopes near 1."""
    span = (best - worst) or 1.0
    scores, s = _law(w, z)
    r = (scores - y) / spread / WIDTH
    root = np.sqrt(1 + r * r)
    by_score = r / root / spread
    by_index = by_score * (w[1] - w[0]) * s * (1 - s)
    by_slope = z.T @ by_index
    slopes, rest = w[3 : 3 + N_SCALE], w[3 + N_SCALE :]
    floor, ceiling = (w[0] - worst) / (0.1 * span), (w[1] - best) / (0.3 * span)
    loss = WIDTH * float((root - 1).sum()) + penalty / 2 * float(rest @ rest)
    loss += 0.25 * (float(slopes @ slopes) + floor * floor + ceiling * ceiling)
    gradient: list[Any] = [
        [(by_score * (1 - s)).sum() + 0.5 * floor / (0.1 * span)],
        [(by_score * s).sum() + 0.5 * ceiling / (0.3 * span)],
        [by_index.sum()],
        by_slope[:N_SCALE] * _steepness(w) + 0.5 * slopes,
        by_slope[N_SCALE:] + penalty * rest,
    ]
    return loss, np.concatenate(gradient)
