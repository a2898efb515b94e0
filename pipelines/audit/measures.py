"""From the sums of an audit to its figures: the document that audit/<column>.json holds. Effect sizes, no verdicts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from tagcorpus.pipelines.audit.gold import Gold
from tagcorpus.pipelines.audit.tallies import Tallies, Tally
from tagcorpus.pipelines.distributions import effects

LEVEL = 0.95
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
# Groups with fewer values have figures, but no verdict.
LEAST_ROWS = 30
# A group in fewer blocks has no interval: so few do not say how much its mean depends on chance.
LEAST_BLOCKS = 10
# Groups with fewer documents that have both scores have no agreement of their own.
LEAST_PAIRS = 20
SHOWN_BINS = 40
# Values of a gold table: up to so many cells, its table of counts is exact.
EXACT_CELLS = 4_000_000

Numbers = npt.NDArray[np.int64]


def overall(result: Tallies) -> dict[str, Any]:
    """Moments, quantiles, histogram, and the ends of the scale, of all documents."""
    sums = result.tallies[0].sums.sum(axis=(0, 2))
    n, counts = result.sample.n, result.counts
    variance = max(sums[2] - sums[1] ** 2 / n, 0.0) / max(n - 1, 1)
    low, high = result.sample.low, result.sample.high
    n_low, n_high = int(counts[0]), int(counts[-1])
    return {
        "rows": n + result.sample.missing + result.sample.infinite,
        "n": n,
        "missing": result.sample.missing,
        "infinite": result.sample.infinite,
        "mean": float(result.centre + sums[1] / n),
        "sd": math.sqrt(variance),
        "low": low,
        "high": high,
        "quantiles": _quantiles(result, counts),
        "ends": {
            "low": {"value": low, "n": n_low, "share": n_low / n},
            "high": {"value": high, "n": n_high, "share": n_high / n},
        },
        "bins": {
            "n": len(result.bins),
            "largest_inexact_share": float(np.where(result.bins.is_single, 0, counts).max() / n),
        },
    }


def top_of(result: Tallies, asked_for: float) -> dict[str, Any]:
    n = int(result.counts[result.top_from :].sum())
    return {
        "asked_for": asked_for,
        "share": n / result.sample.n,
        "n": n,
        "from": float(result.bins.edges[result.top_from]),
    }


def grouping_of(tally: Tally, result: Tallies, n_judged: int) -> dict[str, Any]:
    """The figures of one grouping. n_judged: intervals of offsets and lifts hold together for so many groups."""
    tables = [tally.sums[:, :3], tally.sums[:, [0, 3]]]
    (eta, omega), (_, omega_error), blocks = effects.jackknife(effects.variance_shares, tables[0])
    offset, offset_error, _ = effects.jackknife(effects.offsets, tables[0])
    with np.errstate(divide="ignore"):
        offset_error = np.maximum(offset_error, effects.least_offset_error(tally.n.astype(np.float64)))
    lift, lift_error, _ = effects.jackknife(effects.log_lifts, tables[1])
    in_blocks = (tally.sums[:, 0] > 0).sum(axis=0)
    total, sums, n = result.sample.n, tally.sums.sum(0), tally.n
    in_top = sums[3]
    edges = _shown_bins(result)
    histograms = _in_bins(tally.bins, edges)
    groups = []
    for i in np.argsort(-n, kind="stable"):
        if not n[i] and not tally.missing[i]:
            continue
        row: dict[str, Any] = {
            "name": tally.grouping.labels[i],
            "n": int(n[i]),
            "missing": int(tally.missing[i]),
            "share": float(n[i] / total),
            "is_judged": is_judged(tally, int(i)),
        }
        if n[i]:
            alone, together = _factor(1, int(in_blocks[i])), _factor(n_judged, int(in_blocks[i]))
            row |= {
                "mean": float(result.centre + sums[1, i] / n[i]),
                "sd": math.sqrt(max(sums[2, i] - sums[1, i] ** 2 / n[i], 0.0) / max(n[i] - 1, 1)),
                "quantiles": _quantiles(result, tally.bins[i]),
                "share_low": float(tally.bins[i, 0] / n[i]),
                "share_high": float(tally.bins[i, -1] / n[i]),
                "share_of_top": float(in_top[i] / max(in_top.sum(), 1)),
                "offset": _number(offset[i]),
                "offset_interval": _interval(offset[i], offset_error[i], alone),
                "offset_interval_together": _interval(offset[i], offset_error[i], together),
                "lift": math.exp(lift[i]) if np.isfinite(lift[i]) else 0.0,
                "lift_interval": _exp(_interval(lift[i], lift_error[i], alone)),
                "lift_interval_together": _exp(_interval(lift[i], lift_error[i], together)),
                "histogram": histograms[i].tolist(),
            }
        groups.append(row)
    interval = _interval(omega, omega_error, _factor(1, blocks))
    return {
        "name": tally.grouping.name,
        "kind": tally.grouping.kind,
        "column": tally.grouping.column.label if tally.grouping.column else None,
        "n_groups": int((n > 0).sum()),
        "eta_squared": _number(eta),
        "omega_squared": _number(np.clip(omega, 0, 1)),
        "omega_squared_interval": None if interval is None else [float(np.clip(v, 0, 1)) for v in interval],
        "blocks": blocks,
        "histogram_edges": [float(v) for v in (*result.bins.edges[edges], result.sample.high)],
        "groups": groups,
    }


def is_judged(tally: Tally, i: int) -> bool:
    """Whether a group and the rest of the corpus are both large enough for a verdict."""
    n = int(tally.n[i])
    n_blocks = int((tally.sums[:, 0, i] > 0).sum())
    return min(n, int(tally.n.sum()) - n) >= LEAST_ROWS and n_blocks >= LEAST_BLOCKS


def agreement_with_column(result: Tallies) -> dict[str, Any] | None:
    """Rank agreement with the other score: overall, and within the groups of each grouping."""
    if result.axes is None or result.tallies[0].joint is None:
        return None
    first, second = result.axes
    is_exact = (first.is_exact, second.is_exact)
    tables = {t.grouping.name: (t.grouping.labels, t.joint) for t in result.tallies if t.joint is not None}
    whole = result.tallies[0].joint.sum(0)
    return {"with": second.column.label, "kind": "column", **_agreements(whole, tables, is_exact)}


def agreement_with_gold(result: Tallies, gold: Gold) -> dict[str, Any]:
    """The same with a gold table, over the documents that have a gold value."""
    scores, values = gold.pairs
    if not len(scores):
        return {"with": gold.path, "kind": "gold", "rows": gold.n, "overall": {"n": 0}, "within": {}}
    x, y = (np.unique(side, return_inverse=True)[1] for side in (scores, values))
    is_exact = True
    if (x.max() + 1) * (y.max() + 1) > EXACT_CELLS:
        x, y, is_exact = _in_ranks(x), _in_ranks(y), False
    shape = (int(x.max()) + 1, int(y.max()) + 1)
    tables = {}
    for tally in result.tallies:
        codes = np.concatenate(tally.of_gold)
        tables[tally.grouping.name] = (
            tally.grouping.labels,
            [_table(x[codes == i], y[codes == i]) for i in range(len(tally.n))],
        )
    whole = np.bincount(x * shape[1] + y, minlength=shape[0] * shape[1]).reshape(shape)
    return {
        "with": gold.path,
        "kind": "gold",
        "rows": gold.n,
        **_agreements(whole, tables, (is_exact, is_exact)),
    }


def _table(x: Numbers, y: Numbers) -> Numbers:
    """Counts of pairs, without the rows and columns that nobody has."""
    if not len(x):
        return np.zeros((1, 1), np.int64)
    (_, x), (_, y) = np.unique(x, return_inverse=True), np.unique(y, return_inverse=True)
    width = int(y.max()) + 1
    return np.bincount(x * width + y, minlength=(int(x.max()) + 1) * width).reshape(-1, width)


def _in_ranks(codes: Numbers) -> Numbers:
    from tagcorpus.pipelines.distributions.binning import merged

    return merged(np.bincount(codes), 1_000)[codes]


def _agreements(
    whole: Numbers, tables: dict[str, tuple[list[str], Any]], is_exact: tuple[bool, bool]
) -> dict[str, Any]:
    within = {}
    for name, (labels, each) in tables.items():
        groups = []
        for label, table in zip(labels, each, strict=False):
            if table.sum() >= LEAST_PAIRS:
                one = {"name": label, **effects.agreement(table), "error": effects.spearman_error(table, is_exact)}
                groups += [one] if one["spearman"] is not None else []
        n = sum(g["n"] for g in groups)
        within[name] = {
            "n": n,
            "spearman": sum(g["n"] * g["spearman"] for g in groups) / n if n else None,
            "kendall": sum(g["n"] * g["kendall"] for g in groups) / n if n else None,
            "groups": sorted(groups, key=lambda g: -g["n"]),
        }
    return {
        "overall": {**effects.agreement(whole), "error": effects.spearman_error(whole, is_exact)},
        "within": within,
    }


def _factor(n_tests: int, blocks: int) -> float:
    """Standard errors to each side of an interval, where `n_tests` intervals are to hold together; NaN for few blocks."""
    if blocks < LEAST_BLOCKS:
        return math.nan
    return effects.t_quantile(1 - (1 - LEVEL) / 2 / max(n_tests, 1), blocks - 1)


def _interval(value: float, error: float, factor: float) -> list[float] | None:
    if not np.isfinite(value + error + factor):
        return None
    return [float(value - factor * error), float(value + factor * error)]


def _exp(interval: list[float] | None) -> list[float] | None:
    return None if interval is None else [math.exp(min(v, 700.0)) for v in interval]


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _quantiles(result: Tallies, counts: Numbers) -> dict[str, float]:
    return {f"p{round(q * 100)}": effects.quantile(counts, result.bins, q) for q in QUANTILES}


def _shown_bins(result: Tallies) -> Sequence[int]:
    """First bins of at most SHOWN_BINS wide bins of equal width between the 1st and 99th percentile, with one on each side."""
    low, high = (effects.quantile(result.counts, result.bins, q) for q in (0.01, 0.99))
    edges = np.linspace(low, high, SHOWN_BINS - 1)
    first = np.unique(np.append(0, np.searchsorted(result.bins.edges, edges, "left")))
    return [int(i) for i in first[first < len(result.bins)]]


def _in_bins(counts: Numbers, first: Sequence[int]) -> Numbers:
    return np.asarray(np.add.reduceat(counts, first, axis=1))
