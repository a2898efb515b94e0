"""The forecast of a total from a random sample, with the help of sizes that are known for all documents.

The cost of a document is regressed on its sizes in the sample. The line gives the total, and the sample's residuals correct the line's
bias (the generalised regression estimator of survey sampling; Särndal, Swensson and Wretman 1992). The variance has the residuals
divided by 1 - leverage, so that a few long documents do not look certain. Where the sample lacks the longest documents, the variance
grows by the second moment of the line over all documents as a multiple of that over the sample.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
LEAST_WITH_SIZE = 10
"""Documents of a sample that must have any of a size, if the size is to be used."""
MOST_LEVERAGE = 0.9
CONFIDENCE = 0.95


@dataclass(frozen=True)
class Forecast:
    """A total with its interval of 95 %."""

    total: float
    half_width: float

    @property
    def low(self) -> float:
        return max(self.total - self.half_width, 0.0)

    @property
    def high(self) -> float:
        return self.total + self.half_width

    @property
    def share(self) -> float:
        """The half width as a share of the total."""
        return self.half_width / self.total if self.total else 0.0


def moments_of(sizes: Floats) -> Floats:
    """The sums over documents of the products of their sizes, with a size 1 before the others: float64 [1 + sizes, 1 + sizes]. The
    first row has the number of documents and the sums of sizes."""
    matrix = np.column_stack([np.ones(len(sizes)), sizes])
    return matrix.T @ matrix


def forecasts(costs: Floats, sizes: Floats, moments: Floats) -> list[Forecast]:
    """The total of each kind of cost over all documents.

    costs    float64 [n, kinds] of the sampled documents
    sizes    float64 [n, sizes] of the sampled documents
    moments  `moments_of` all documents
    """
    n, population = len(costs), moments[0, 0]
    usable = [0, *(1 + np.flatnonzero((sizes > 0).sum(0) >= LEAST_WITH_SIZE))]
    matrix = np.column_stack([np.ones(n), sizes])[:, usable]
    scale = np.maximum(matrix.max(0), 1.0)
    matrix, moments = matrix / scale, moments[np.ix_(usable, usable)] / np.outer(scale, scale) / population
    means = moments[0] * scale[0]
    inverse = np.linalg.pinv(matrix.T @ matrix)
    weights = matrix @ inverse @ means  # of each sampled document in the mean over all; they sum to 1
    leverage = np.minimum(np.einsum("ij,jk,ik->i", matrix, inverse, matrix), MOST_LEVERAGE)
    lines = inverse @ (matrix.T @ costs)
    residuals = (costs - matrix @ lines) / (1 - leverage)[:, None]
    moment = np.einsum("ik,ij,jk->k", lines, matrix.T @ matrix / n, lines)
    growth = np.einsum("ik,ij,jk->k", lines, moments, lines) / np.where(moment > 0, moment, 1.0)
    degrees = max(n - int(np.linalg.matrix_rank(matrix)), 1)
    quantile = t_quantile(degrees)
    unseen = 1 - n / population
    variances = (weights**2 @ residuals**2) * np.maximum(growth, 1.0) * max(unseen, 0.0)
    half_widths = quantile * np.sqrt(variances) * population
    return [
        Forecast(float(total), float(half))
        for total, half in zip(population * (weights @ costs), half_widths, strict=True)
    ]


def t_quantile(degrees: int) -> float:
    """The two-sided 95 % quantile of Student's t, by Hill's expansion (Abramowitz and Stegun 26.7.5).

    Example  10 -> 2.228
    """
    z = NormalDist().inv_cdf(0.5 + CONFIDENCE / 2)
    if degrees < 3:
        return 12.706 if degrees < 2 else 4.303
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
    )
    return z + math.fsum(term / degrees ** (i + 1) for i, term in enumerate(terms))
