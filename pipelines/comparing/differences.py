"""One column of two sets of documents: effect sizes, 95 % bootstrap intervals, and a test.

Documents are drawn again as a multinomial sample of bins; with clusters, blocks of clusters are drawn again.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tagcorpus.pipelines.comparing.counts import Numbers
from tagcorpus.pipelines.distributions import clustered, effects
from tagcorpus.pipelines.distributions.attribute_columns import Floats
from tagcorpus.pipelines.distributions.binning import Bins
from tagcorpus.pipelines.distributions.effects import Counts

REPLICATES = 200
TESTED_BINS = 32
# With many categories, replicates are drawn a few at a time.
_CELLS = 1 << 22


def of_numbers(numbers: Numbers, is_paired: bool, random: np.random.Generator) -> dict[str, Any]:
    """Cliff's delta and Wasserstein distance of a numeric column, with intervals, and p.

    p  twice the smaller p of a test of delta and a test of the shares in TESTED_BINS bins of equal share
    """
    bins, (a, b) = numbers.bins, numbers.counts
    middles = (bins.edges + bins.upper) / 2
    spread = math.sqrt(max(_variance(a, middles) + _variance(b, middles), 0.0) / 2)
    if numbers.blocks is None:
        drawn_bins, base = bins, (a, b)
        drawn = _redrawn(a, b, REPLICATES, random)
        p_delta = effects.two_sided(effects.delta_z(a, b))
        both = effects.coarse(np.stack([a, b]), TESTED_BINS)
        p_shares = effects.chi_square_p(*effects.homogeneity(both[0], both[1]))
    else:
        in_a, in_b = clustered.used(numbers.blocks[0], numbers.blocks[1], is_paired)
        drawn_bins, base = Bins(bins.edges[numbers.first]), (in_a.sum(0), in_b.sum(0))
        drawn = clustered.redrawn(in_a, in_b, is_paired, REPLICATES, random)
        p_delta = clustered.delta_p(in_a, in_b, is_paired)
        coarser = effects.coarse(np.concatenate([in_a, in_b]), TESTED_BINS)
        p_shares = clustered.shares_p(coarser[: len(in_a)], coarser[len(in_a) :], is_paired)
    delta, distance = effects.cliffs_delta(a, b), float(effects.wasserstein(*_floats(a, b), bins))
    deltas = np.array([effects.cliffs_delta(x, y) for x, y in zip(*drawn, strict=True)])
    distances = effects.wasserstein(*_floats(*drawn), drawn_bins)
    return {
        "delta": delta,
        "delta_interval": _quantiles(deltas - effects.cliffs_delta(*base) + delta, -1.0, 1.0),
        "delta_error": effects.delta_error(a, b, bins),
        "wasserstein": distance,
        "wasserstein_interval": _centred(distances, distance),
        "wasserstein_error": effects.wasserstein_error(a, b, bins),
        "wasserstein_by_sd": distance / spread if spread else None,
        "p": min(1.0, 2 * min(p_delta, p_shares)),
    }


def of_categories(
    names: list[str], counts: Counts, has_clusters: bool, is_paired: bool, random: np.random.Generator
) -> dict[str, Any]:
    """Jensen-Shannon divergence, share of documents that would need another category, with intervals; shares, and p.

    counts  int64 [2, blocks or 1, categories]
    """
    a, b = counts.sum(axis=1)
    if has_clusters:
        in_a, in_b = clustered.used(counts[0], counts[1], is_paired)
        commonest = np.argsort(-(a + b), kind="stable")
        kept, rest = commonest[: TESTED_BINS - 1], commonest[TESTED_BINS - 1 :]
        tested = [np.column_stack([x[:, kept], x[:, rest].sum(1)]) for x in (in_a, in_b)]
        p = clustered.shares_p(tested[0], tested[1], is_paired)
    else:
        p = effects.chi_square_p(*effects.homogeneity(a, b))
    divergences, moves = [], []
    size = max(1, min(REPLICATES, _CELLS // len(names)))
    for first in range(0, REPLICATES, size):
        n = min(size, REPLICATES - first)
        drawn = clustered.redrawn(in_a, in_b, is_paired, n, random) if has_clusters else _redrawn(a, b, n, random)
        divergences.append(effects.jensen_shannon(*_floats(*drawn)))
        moves.append(effects.share_moved(*_floats(*drawn)))
    floats = _floats(a, b)
    divergence, moved = float(effects.jensen_shannon(*floats)), float(effects.share_moved(*floats))
    shares = [x / x.sum() for x in floats]
    order = np.argsort(-np.abs(shares[0] - shares[1]), kind="stable")
    return {
        "jensen_shannon": divergence,
        "jensen_shannon_interval": _centred(np.concatenate(divergences), divergence),
        "share_moved": moved,
        "share_moved_interval": _centred(np.concatenate(moves), moved),
        "shares": [{"name": names[i], "a": float(shares[0][i]), "b": float(shares[1][i])} for i in order],
        "p": p,
    }


def _redrawn(a: Counts, b: Counts, n: int, random: np.random.Generator) -> tuple[Counts, Counts]:
    """Counts [n, bins] of documents that are drawn again."""
    drawn_a, drawn_b = (random.multinomial(int(x.sum()), x / x.sum(), n) for x in (a, b))
    return drawn_a, drawn_b


def _floats(a: Counts, b: Counts) -> tuple[Floats, Floats]:
    return a.astype(np.float64), b.astype(np.float64)


def _centred(drawn: Floats, value: float) -> list[float] | None:
    """The interval of a distance. Chance adds to a distance, and drawing again adds once more, so that mean is moved back."""
    return _quantiles(drawn - (float(drawn.mean()) - value), 0.0, math.inf) if len(drawn) else None


def _quantiles(drawn: Floats, low: float, high: float) -> list[float] | None:
    if not len(drawn):
        return None
    return [float(v) for v in np.clip(np.quantile(drawn, (0.025, 0.975)), low, high)]


def _variance(counts: Counts, values: Floats) -> float:
    share = counts / counts.sum()
    return float(share @ values**2 - (share @ values) ** 2)
