"""Numeric columns of two sets of documents in the same bins: effect sizes, bootstrap intervals, and a test for each column."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tagcorpus.pipelines.distributions import effects
from tagcorpus.pipelines.distributions.attribute_columns import Floats
from tagcorpus.pipelines.distributions.binning import Bins

REPLICATES = 200
TESTED_BINS = 32


def difference(a: effects.Counts, b: effects.Counts, bins: Bins, random: np.random.Generator) -> dict[str, Any]:
    """Cliff's delta and Wasserstein distance of two histograms, with 95 % multinomial bootstrap intervals, and p.

    p  twice the smaller p of a rank test and of a chi square test in TESTED_BINS bins of equal share
    """
    middles = (bins.edges + bins.upper) / 2
    spread = math.sqrt(max(_variance(a, middles) + _variance(b, middles), 0.0) / 2)
    drawn = [random.multinomial(int(x.sum()), x / x.sum(), REPLICATES) for x in (a, b)]
    deltas = [effects.cliffs_delta(x, y) for x, y in zip(*drawn, strict=True)]
    floats = [x.astype(np.float64) for x in (a, b, *drawn)]
    distance = float(effects.wasserstein(floats[0], floats[1], bins))
    distances = effects.wasserstein(floats[2], floats[3], bins)
    # Chance adds to a distance, and drawing again adds once more.
    distances = np.maximum(distances - (float(distances.mean()) - distance), 0)
    both = effects.coarse(np.stack([a, b]), TESTED_BINS)
    p = min(effects.two_sided(effects.delta_z(a, b)), effects.chi_square_p(*effects.homogeneity(both[0], both[1])))
    return {
        "delta": effects.cliffs_delta(a, b),
        "delta_interval": [float(v) for v in np.quantile(deltas, (0.025, 0.975))],
        "delta_error": effects.delta_error(a, b, bins),
        "wasserstein": distance,
        "wasserstein_interval": [float(v) for v in np.quantile(distances, (0.025, 0.975))],
        "wasserstein_error": effects.wasserstein_error(a, b, bins),
        "wasserstein_by_sd": distance / spread if spread else None,
        "p": min(1.0, 2 * p),
    }


def _variance(counts: effects.Counts, values: Floats) -> float:
    share = counts / counts.sum()
    return float(share @ values**2 - (share @ values) ** 2)
