"""Intervals for the outcome of a new mix: jackknife+ on the Gaussian process, with errors in units of its own deviation.

For each training mix i, the process without i predicts the new mix, and i's error without itself is added and taken away. The
interval is between two quantiles of these values (Barber, Candes, Ramdas and Tibshirani, Predictive inference with the
jackknife+, 2021). An error counts in units of the deviation that the process expected for it, so that the interval is wide
where mixes are sparse. All closed forms keep the hyperparameters of the whole fit. The guarantee for exchangeable mixes is 80 %
at a level of 90 %, and the usual coverage is near 90 %; `fit` measures the coverage on folds.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tagcorpus.pipelines.mix_models.regressors import Columns, Process

Array = np.ndarray[Any, Any]
LEVEL = 0.9


def interval(process: Process, columns: Columns, level: float = LEVEL) -> tuple[Array, Array]:
    """Lower and upper ends for the outcome of one run of each mix, float64 [mixes] each; infinite for few training mixes.

    The interval is computed on the process's own scale. Its ends are mapped to outcomes, in order.
    """
    surface, x = process.surface, process.inputs(columns)
    residuals, deviations = surface.left_out()
    reach = np.abs(residuals) / deviations * surface.predict(x)[1][:, None]
    means = surface.predict_without_each(x)
    n = len(surface.y)
    k = math.ceil(level * (n + 1))
    if k > n:
        infinite = np.full(len(x), np.inf)
        return (np.zeros(len(x)) if process.is_log else -infinite), infinite
    low = -np.partition(-(means - reach), k - 1, axis=1)[:, k - 1]
    high = np.partition(means + reach, k - 1, axis=1)[:, k - 1]
    return process.outcome(low), process.outcome(high)
