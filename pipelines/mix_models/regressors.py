"""What predicts an outcome of a mix: our Gaussian process, and the baselines that others use.

mean        the mean of the training mixes
linear      least squares on shares (and columns of content)
log-linear  c + exp(weights @ shares), Huber loss: the law of data mixing that olmix fits by default
lightgbm    gradient-boosted trees with RegMix's settings
gp          the process of gaussian_process.py, for the logarithm of the outcome where all outcomes are above 0
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from tagcorpus.errors import ConfigError
from tagcorpus.pipelines.mix_models import gaussian_process
from tagcorpus.requirements import how_to_install

Array = np.ndarray[Any, Any]
# olmix's Huber loss is quadratic up to this error, in units of the outcome.
HUBER = 0.02
FLOORS = (0.0, 0.3, 0.6, 0.9)
ROUNDS, RATE, TREES_SEED = 1000, 0.01, 42
# The exponent of a share in the process: chosen on folds of RegMix's 512 mixes of 1M (docs/mix-models.md).
EXPONENT = 1 / 3


@dataclass(frozen=True)
class Columns:
    """What is known of each mix before its training.

    shares   float64 [mixes, sources]
    content  float64 [mixes, columns], token-weighted means of tags; no columns where there are none
    """

    shares: Array
    content: Array

    def at(self, rows: Array) -> Columns:
        return Columns(self.shares[rows], self.content[rows])

    @property
    def together(self) -> Array:
        return np.hstack([self.shares, self.content])


class Fitted(Protocol):
    def predict(self, columns: Columns) -> Array:
        """The expected outcome of each mix, float64 [mixes]."""


@dataclass(frozen=True)
class Mean:
    value: float

    def predict(self, columns: Columns) -> Array:
        return np.full(len(columns.shares), self.value)


@dataclass(frozen=True)
class Linear:
    constant: float
    weights: Array

    def predict(self, columns: Columns) -> Array:
        values: Array = self.constant + columns.together @ self.weights
        return values


@dataclass(frozen=True)
class LogLinear:
    floor: float
    exponent: Linear

    def predict(self, columns: Columns) -> Array:
        values: Array = self.floor + np.exp(np.minimum(self.exponent.predict(columns), 700))
        return values


@dataclass(frozen=True)
class Trees:
    booster: Any

    def predict(self, columns: Columns) -> Array:
        return np.asarray(self.booster.predict(columns.together, num_threads=1))


@dataclass(frozen=True)
class Process:
    """The Gaussian process between outcomes and the columns it reads.

    center, scale  of each column of content
    middle, width  mean and standard deviation of the outcome, or of its logarithm
    """

    surface: gaussian_process.Surface
    center: Array
    scale: Array
    middle: float
    width: float
    is_log: bool

    def inputs(self, columns: Columns) -> Array:
        return np.hstack([columns.shares**EXPONENT, (columns.content - self.center) / self.scale])

    def outcome(self, standard: Array) -> Array:
        """Standardised values as outcomes."""
        values: Array = self.middle + self.width * standard
        return np.exp(values) if self.is_log else values

    def standard(self, outcome: Array) -> Array:
        values: Array = ((np.log(outcome) if self.is_log else outcome) - self.middle) / self.width
        return values

    def predict(self, columns: Columns) -> Array:
        return self.outcome(self.surface.predict(self.inputs(columns))[0])


def fit_mean(columns: Columns, outcome: Array, repeats: Array) -> Mean:
    del columns
    return Mean(float(np.average(outcome, weights=repeats)))


def fit_linear(columns: Columns, outcome: Array, repeats: Array) -> Linear:
    """Weighted least squares; of the equal solutions (shares add up to 1) the shortest."""
    root = np.sqrt(repeats)
    middle = columns.together.mean(axis=0)
    x = columns.together - middle
    constant = float(np.average(outcome, weights=repeats))
    weights = np.linalg.lstsq(x * root[:, None], (outcome - constant) * root, rcond=None)[0]
    return Linear(constant - float(middle @ weights), weights)


def fit_log_linear(columns: Columns, outcome: Array, repeats: Array) -> LogLinear:
    """The least Huber loss of several starts: for each floor, a linear fit to the logarithm of what is above the floor."""
    from scipy.optimize import least_squares

    sources = columns.shares.shape[1]
    is_known = columns.together.std(axis=0) > 0  # nothing is learnt of a source that no mix has
    x = columns.together[:, is_known]
    least, root = float(outcome.min()), np.sqrt(repeats)
    spread = float(outcome.max()) - least
    lowest = 0.0 if least > 0 else -np.inf
    fits = []
    for fraction in FLOORS:
        floor = fraction * least if least > 0 else least - (1.01 - fraction) * spread
        start = fit_linear(Columns(x, x[:, :0]), np.log(np.maximum(outcome - floor, 1e-9)), repeats)

        def misses(theta: Array) -> Array:
            raised = np.exp(np.minimum(theta[1] + x @ theta[2:], 50))
            return np.asarray((theta[0] + raised - outcome) * root)

        def slopes(theta: Array) -> Array:
            raised = np.exp(np.minimum(theta[1] + x @ theta[2:], 50)) * root
            return np.column_stack([root, raised, raised[:, None] * x])

        fits.append(
            least_squares(
                misses,
                np.array([floor, start.constant, *start.weights]),
                jac=slopes,
                loss="huber",
                f_scale=HUBER,
                bounds=([lowest, *[-np.inf] * (1 + x.shape[1])], np.inf),
                max_nfev=100,
            )
        )
    best = min(fits, key=lambda f: float(f.cost)).x
    weights = np.zeros(len(is_known))
    weights[is_known] = best[2:]
    # Shares add up to 1, so a constant can move from all weights to the exponent. A source that no mix held counts as the
    # middle one.
    own = weights[:sources][is_known[:sources]]
    level = float(np.median(own)) if len(own) else 0.0
    weights[:sources] = np.where(is_known[:sources], weights[:sources] - level, 0.0)
    return LogLinear(float(best[0]), Linear(float(best[1]) + level, weights))


def fit_lightgbm(columns: Columns, outcome: Array, repeats: Array) -> Trees:
    try:
        import lightgbm
    except ImportError:
        raise ConfigError(f"the baseline lightgbm needs LightGBM: {how_to_install('mix')}") from None
    settings = {
        "objective": "regression",
        "learning_rate": RATE,
        "seed": TREES_SEED,
        "num_threads": 1,
        "deterministic": True,
        "force_row_wise": True,
        "verbosity": -1,
    }
    data = lightgbm.Dataset(columns.together, outcome, weight=repeats)
    return Trees(lightgbm.train(settings, data, num_boost_round=ROUNDS))


def fit_process(columns: Columns, outcome: Array, repeats: Array) -> Process:
    is_log = bool((outcome > 0).all())
    values = np.log(outcome) if is_log else outcome
    middle, width = float(np.average(values, weights=repeats)), float(values.std()) or 1.0
    center, scale = columns.content.mean(axis=0), columns.content.std(axis=0)
    blank = Process(
        gaussian_process.Surface(np.empty((0, 0)), np.empty(0), np.empty(0), np.empty(0)),
        center,
        np.where(scale > 0, scale, 1.0),
        middle,
        width,
        is_log,
    )
    surface = gaussian_process.fitted(blank.inputs(columns), (values - middle) / width, repeats)
    return Process(surface, blank.center, blank.scale, middle, width, is_log)


OURS = "gp"
REGRESSORS: dict[str, Callable[[Columns, Array, Array], Fitted]] = {
    OURS: fit_process,
    "lightgbm": fit_lightgbm,
    "log-linear": fit_log_linear,
    "linear": fit_linear,
    "mean": fit_mean,
}
