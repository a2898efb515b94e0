"""Prediction intervals for a model of a new organisation.

Split conformal prediction by groups (hierarchical conformal prediction, Lee, Barber and Willett 2023): organisations are
assumed exchangeable, models are not, and each organisation counts once however many models it has. Errors come from
grouped folds, so no model was predicted by a fit to its own organisation. The probability is for a new organisation drawn
like these. It is not for one particular model.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

import numpy as np

from tagcorpus.predictor.learners.design import Vector

LEVEL = 0.9


def half_width(errors: Vector, organisations: Sequence[str], level: float = LEVEL) -> float:
    """The least q such that absolute errors within q, each organisation weighing 1 / (organisations + 1) shared among its
    models, weigh at least `level`; infinite where there are too few organisations for that level.

    Example  errors 1, 2, 3, 4 of four organisations, level 0.6 -> 3: three fifths of the weight
    """
    counts = Counter(organisations)
    weights = np.array([1 / counts[o] / (len(counts) + 1) for o in organisations])
    order = np.argsort(errors, kind="stable")
    enough = np.flatnonzero(np.cumsum(weights[order]) >= level - 1e-12)
    return float(errors[order[enough[0]]]) if len(enough) else math.inf


def coverage(errors: Vector, organisations: Sequence[str], level: float = LEVEL) -> float:
    """The share of known models whose error is within the interval computed from the other organisations. Each
    organisation weighs the same."""
    own = np.array(organisations)
    held = []
    for o in sorted(set(organisations)):
        others = own != o
        q = half_width(errors[others], [str(x) for x in own[others]], level)
        held.append(float(np.mean(errors[~others] <= q)))
    return float(np.mean(held))
