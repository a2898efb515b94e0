"""All tasks of a grouped run in one: each predictor's error over that of the scale-only ones, with intervals.

A ratio is mean absolute error over mean absolute error, over models and seeds alike. Its interval draws organisations with
replacement, the same draw for every task, since tasks share their models; the geometric mean over tasks is taken within
a draw. Random folds stand beside grouped ones: where they say something else, siblings did.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tagcorpus.predictor.data import Dataset
from tagcorpus.predictor.design import Matrix, Vector
from tagcorpus.predictor.evaluation import Evaluation

DENOMINATORS = ("scaling", "scaling-published", "log-linear")
DRAWS = 2000
LOW, HIGH = 2.5, 97.5


def summary(found: Sequence[tuple[Dataset, Sequence[Evaluation]]], seed: int) -> list[dict[str, Any]]:
    """One entry for each folds, denominator and predictor that every task has, JSON-ready:

    folds, against, predictor, tasks: {name: {mae, ratio, low, high}} (points; ratios), and of the ratios over tasks
    geometric_mean, low, high, and better_in (tasks with a ratio below 1), of, models, organisations.
    """
    names = sorted({o for data, _ in found for o in data.organisations})
    random = np.random.RandomState(seed)
    weights = random.multinomial(len(names), np.full(len(names), 1 / len(names)), size=DRAWS).astype(np.float64)
    sums = [_by_organisation(data, evaluations, names) for data, evaluations in found]
    common = [k for k in sums[0] if all(k in s for s in sums)]
    told = []
    for folds, predictor in common:
        for against in DENOMINATORS:
            if (folds, against) not in common or predictor == against:
                continue
            pairs = [(s[folds, predictor], s[folds, against]) for s in sums]
            ratios = np.array([mine.sum() / its.sum() for mine, its in pairs])
            drawn = np.array([_ratios(weights, mine, its) for mine, its in pairs])
            low, high = np.nanpercentile(drawn, [LOW, HIGH], axis=1)
            means = np.exp(np.log(drawn).mean(axis=0))
            ends = np.nanpercentile(means, [LOW, HIGH])
            tasks = {
                data.task.name: {
                    "mae": _r(100 * mine.sum() / len(data.ids)),
                    "ratio": _r(r),
                    "low": _r(a),
                    "high": _r(b),
                }
                for (data, _), (mine, _), r, a, b in zip(found, pairs, ratios, low, high, strict=True)
            }
            told.append(
                {
                    "folds": folds,
                    "predictor": predictor,
                    "against": against,
                    "geometric_mean": _r(np.exp(np.log(ratios).mean())),
                    "low": _r(ends[0]),
                    "high": _r(ends[1]),
                    "better_in": int((ratios < 1).sum()),
                    "of": len(ratios),
                    "models": max(len(data.ids) for data, _ in found),
                    "organisations": len(names),
                    "tasks": tasks,
                }
            )
    return told


def _by_organisation(
    data: Dataset, evaluations: Sequence[Evaluation], names: Sequence[str]
) -> dict[tuple[str, str], Vector]:
    """(folds, predictor) -> float64 [organisations]: absolute errors, a mean over seeds, summed over its models."""
    member = np.array([[float(o == name) for o in data.organisations] for name in names])
    return {(e.folds, e.predictor): member @ np.abs(e.predicted - data.y).mean(axis=0) for e in evaluations}


def _ratios(weights: Matrix, mine: Vector, its: Vector) -> Vector:
    below = weights @ its
    found: Vector = np.divide(weights @ mine, below, out=np.full(len(below), np.nan), where=below > 0)
    return found


def terminal(told: Sequence[Mapping[str, Any]]) -> str:
    """The means over tasks as a person reads them; "" where nothing is compared."""
    if not told:
        return ""
    denominator = next(d for d in DENOMINATORS if any(t["against"] == d for t in told))
    by = {(t["predictor"], t["folds"]): t for t in told if t["against"] == denominator}
    rows = [("predictor", "grouped folds", "", "random folds", "")]
    for predictor in dict.fromkeys(p for p, _ in by):
        cells: list[str] = []
        for t in (by.get((predictor, folds)) for folds in ("grouped", "random")):
            told_here = t and (
                f"{t['geometric_mean']:.2f} ({t['low']:.2f} to {t['high']:.2f})",
                f"{t['better_in']}/{t['of']}",
            )
            cells += told_here or ("", "")
        rows.append((predictor, *cells))
    widths = [max(len(r[i]) for r in rows) for i in range(len(rows[0]))]
    lines = ["  ".join(c.ljust(w) for c, w in zip(r, widths, strict=True)).rstrip() for r in rows]
    first = told[0]
    return "\n".join(
        [
            f"error over that of {denominator!r}, geometric mean over {first['of']} task{'s' * (first['of'] != 1)}",
            f"(95 % interval over {first['organisations']} organisations of up to {first['models']} models), and tasks improved:",
            *lines,
        ]
    )


def _r(value: Any) -> float:
    return round(float(value), 6) + 0.0
