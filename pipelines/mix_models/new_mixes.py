"""Intervals for the outcome of a new mix: cross-conformal, with errors in units of the process's own deviation.

Every training mix is predicted by a fit without its fold, and its error is divided by the deviation that this fit expected. The
interval of a new mix is the prediction of the whole fit, plus and minus the conformal quantile of these ratios times the deviation
expected there. So an interval is wide where mixes are sparse. Source: Vovk, Cross-conformal predictors, 2015; ratios as in Lei
et al., Distribution-free predictive inference for regression, 2018, 5.2.

Refits matter: closed forms of leave-one-out keep the hyperparameters of the whole fit, so their errors are too small and their
intervals too narrow. Cross-conformal intervals have no exact guarantee, so `mix fit` measures the coverage.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tagcorpus.pipelines.mix_models.regressors import Columns, Process, fit_process

Array = np.ndarray[Any, Any]
LEVEL = 0.9
FOLDS = 5


def ratios(process: Process, columns: Columns, outcome: Array) -> Array:
    """Absolute errors of mixes that the process has not seen, in units of its deviation."""
    means, deviations = process.surface.predict(process.inputs(columns))
    errors: Array = np.abs(process.standard(outcome) - means) / deviations
    return errors


def reach(errors: Array, level: float = LEVEL) -> float:
    """The conformal quantile of ratios: the k-th smallest, k = ceil(level (n + 1)); infinite where k is above n.

    Example  1 to 9, level 0.9 -> 9;  1 to 8, level 0.9 -> infinite
    """
    k = math.ceil(level * (len(errors) + 1) - 1e-9)
    return float(np.sort(errors)[k - 1]) if k <= len(errors) else math.inf


def own_reach(columns: Columns, outcome: Array, repeats: Array) -> float:
    """The reach of training mixes, by folds among them."""
    place = np.random.default_rng(0).permutation(len(outcome)) % FOLDS
    errors = []
    for k in range(FOLDS):
        known, held = np.flatnonzero(place != k), np.flatnonzero(place == k)
        if len(known) and len(held):
            process = fit_process(columns.at(known), outcome[known], repeats[known])
            errors.append(ratios(process, columns.at(held), outcome[held]))
    return reach(np.concatenate(errors))


def interval(process: Process, columns: Columns, distance: float) -> tuple[Array, Array]:
    """Lower and upper ends for one run of each mix, float64 [mixes] each. distance: of `reach`."""
    means, deviations = process.surface.predict(process.inputs(columns))
    with np.errstate(over="ignore"):
        return process.outcome(means - distance * deviations), process.outcome(means + distance * deviations)
