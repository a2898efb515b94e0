"""Which mixes are held out of a fit, and what a model fitted to the others predicts for them.

Folds are over mixes, so seeds of one mix are never on both sides. Leave-one-source-out is the harder test: a source is held
out by training on mixes that lack the source, and testing on mixes that have it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from tagcorpus.pipelines.mix_models.new_mixes import FOLDS, interval, own_reach, ratios
from tagcorpus.pipelines.mix_models.regressors import OURS, REGRESSORS, Columns, Process

Array = np.ndarray[Any, Any]
# A mix lacks a source below ABSENT, and has the source from PRESENT on. Mixes between the two are on neither side.
ABSENT, PRESENT = 0.001, 0.05
LEAST_TRAINING, LEAST_TESTED = 20, 5


@dataclass(frozen=True)
class Split:
    """Rows to train on, and rows to predict.

    hidden  the source whose traces in the training rows are set to 0
    """

    train: Array
    test: Array
    hidden: int | None = None


@dataclass(frozen=True)
class Predicted:
    """What one model says of the tested rows of a split.

    ends    lower and upper ends of `interval`, by folds among the training rows; for ours only
    errors  those of `ratios`; for ours only
    """

    means: Array
    ends: tuple[Array, Array] | None = None
    errors: Array | None = None


def folds(mixes: int, seed: int, count: int = FOLDS) -> list[Split]:
    """Every mix is tested once. There are fewer folds where there are fewer mixes."""
    count = min(count, mixes)
    place = np.random.default_rng(seed).permutation(mixes) % count
    return [Split(np.flatnonzero(place != k), np.flatnonzero(place == k)) for k in range(count)]


def without_source(shares: Array, source: int) -> Split | None:
    """Mixes that lack the source against mixes that have it; None where either are too few."""
    split = Split(np.flatnonzero(shares[:, source] < ABSENT), np.flatnonzero(shares[:, source] >= PRESENT), source)
    return split if len(split.train) >= LEAST_TRAINING and len(split.test) >= LEAST_TESTED else None


def predict(name: str, columns: Columns, outcome: Array, repeats: Array, split: Split, has_interval: bool) -> Predicted:
    """Fit one model to the training rows, and predict the tested rows."""
    known = columns.at(split.train)
    if split.hidden is not None and known.shares.shape[1]:
        known.shares[:, split.hidden] = 0  # a copy: `at` takes rows by index
        known.shares[:] /= known.shares.sum(axis=1, keepdims=True)
    model = REGRESSORS[name](known, outcome[split.train], repeats[split.train])
    tested = columns.at(split.test)
    means = model.predict(tested)
    if has_interval and name == OURS and isinstance(model, Process):
        distance = own_reach(known, outcome[split.train], repeats[split.train])
        return Predicted(means, interval(model, tested, distance), ratios(model, tested, outcome[split.test]))
    return Predicted(means)
