"""Intervals for a model of an organisation not seen before, from errors of organisations not seen before.

Split conformal prediction by groups: organisations, not models, are taken for exchangeable, and each counts once however
many models it has (hierarchical conformal prediction, Lee, Barber and Willett 2023). Errors come from grouped folds, so
no model was fitted on its own organisation. The promise is about a new organisation drawn as these were, not about a
particular model.
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
    """The share of errors within half widths that the other organisations' errors give, each organisation weighing the
    same: what the intervals held where it can be looked at."""
    own = np.array(organisations)
    held = []
    for o in sorted(set(organisations)):
        others = own != o
        q = half_width(errors[others], [str(x) for x in own[others]], level)
        held.append(float(np.mean(errors[~others] <= q)))
    return float(np.mean(held))
