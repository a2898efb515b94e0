"""A summary over all tasks of a grouped run: each predictor's error over that of the scale-only ones, with intervals.

A ratio is mean absolute error over mean absolute error, each over all models and seeds. Tasks are summarised by the
geometric mean of their ratios. Intervals are over groups (intervals.py): a group is left out of every task at once, because
tasks share their models. Random folds are shown beside grouped ones. The two differ because random folds have models of the
same group in the training part.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tagcorpus.predictor.learners.data import Dataset
from tagcorpus.predictor.learners.design import Matrix, Vector
from tagcorpus.predictor.learners.evaluation import Evaluation
from tagcorpus.predictor.learners.models import SCALE_ONLY
from tagcorpus.predictor.protocols.intervals import LEAST_GROUPS, Ratio, ratio
from tagcorpus.predictor.protocols.tables import aligned, of_ratio, rounded

DENOMINATORS = (SCALE_ONLY, "scaling", "scaling-published", "log-linear")
WORST = 10  # models listed

Runs = Sequence[tuple[Dataset, Sequence[Evaluation]]]


def summary(runs: Runs) -> list[dict[str, Any]]:
    """One entry for each folds, denominator and predictor that every task has, JSON-ready:

    folds, against, predictor, tasks: {name: {mae, ratio, low, high}} (points; ratios), and of the ratios over tasks
    geometric_mean, low, high, p, smallest_gain_percent (see intervals.py), better_in (tasks with a ratio below 1), of,
    models, organisations. low, high, p and smallest_gain_percent are null where there are too few groups for them.
    """
    names = sorted({o for data, _ in runs for o in data.organisations})
    member = [membership(data, names) for data, _ in runs]
    sizes = np.array([m.sum(axis=1) for m in member])
    sums = [
        {(e.folds, e.predictor): m @ np.abs(e.predicted - data.y).mean(axis=0) for e in evaluations}
        for (data, evaluations), m in zip(runs, member, strict=True)
    ]
    common = [k for k in sums[0] if all(k in s for s in sums)]
    entries = []
    for against in DENOMINATORS:
        for folds, predictor in common:
            if (folds, against) not in common or predictor == against:
                continue
            mine, its = (np.array([s[folds, name] for s in sums]) for name in (predictor, against))
            whole = ratio(mine, its, sizes)
            if not np.isfinite(whole.of):  # no share of no error
                continue
            by_task = [ratio(mine[i : i + 1], its[i : i + 1], sizes[i : i + 1]) for i in range(len(runs))]
            entries.append(
                {
                    "folds": folds,
                    "predictor": predictor,
                    "against": against,
                    **_over_tasks(whole),
                    "better_in": sum(r.of < 1 for r in by_task),
                    "of": len(by_task),
                    "models": max(len(data.ids) for data, _ in runs),
                    "organisations": len(names),
                    "tasks": {
                        data.task.name: {"mae": rounded(100 * m.sum() / len(data.ids)), **of_ratio(r)}
                        for (data, _), m, r in zip(runs, mine, by_task, strict=True)
                    },
                }
            )
    return entries


def membership(data: Dataset, names: Sequence[str]) -> Matrix:
    """float64 [groups of `names`, models]: 1 where a model is of a group."""
    place = {name: i for i, name in enumerate(names)}
    member = np.zeros((len(names), len(data.ids)))
    member[[place[o] for o in data.organisations], np.arange(len(data.ids))] = 1
    return member


def _over_tasks(r: Ratio) -> dict[str, Any]:
    named = of_ratio(r)
    return {"geometric_mean": named.pop("ratio"), **named}


def worst(runs: Runs, predictor: str) -> list[dict[str, Any]]:
    """The models with the largest error under grouped folds, as a mean over tasks of a model's error over the task's mean
    error: id, organisation, times (that mean), tasks: {name: error in points, above 0 where too much was predicted}."""
    errors: dict[str, dict[str, tuple[float, float]]] = {}
    group: dict[str, str] = {}
    for data, evaluations in runs:
        e = next(e for e in evaluations if (e.predictor, e.folds) == (predictor, "grouped"))
        mistakes: Vector = (e.predicted - data.y).mean(axis=0)
        mean = float(np.abs(mistakes).mean()) or 1.0
        for model, organisation, mistake in zip(data.ids, data.organisations, mistakes, strict=True):
            group[model] = organisation
            errors.setdefault(model, {})[data.task.name] = (float(mistake), abs(float(mistake)) / mean)
    times = {m: float(np.mean([share for _, share in by.values()])) for m, by in errors.items()}
    return [
        {
            "id": m,
            "organisation": group[m],
            "times": rounded(times[m]),
            "tasks": {task: rounded(100 * mistake) for task, (mistake, _) in errors[m].items()},
        }
        for m in sorted(times, key=lambda m: (-times[m], m.encode()))[:WORST]
    ]


def terminal(entries: Sequence[Mapping[str, Any]], groups: str) -> str:
    """The means over tasks as a table for a terminal; "" where nothing is compared. groups: the word for the groups."""
    if not entries:
        return ""
    denominator = entries[0]["against"]
    by = {(t["predictor"], t["folds"]): t for t in entries if t["against"] == denominator}
    rows = [("predictor", "grouped folds", "", "random folds", "")]
    for predictor in dict.fromkeys(p for p, _ in by):
        cells: list[str] = []
        for t in (by.get((predictor, folds)) for folds in ("grouped", "random")):
            cells += (f"{t['geometric_mean']:.2f}{interval(t)}", f"{t['better_in']}/{t['of']}") if t else ("", "")
        rows.append((predictor, *cells))
    lines = aligned(rows)
    first = entries[0]
    over = f"95 % interval over {first['organisations']} {groups}"
    if first["low"] is None:
        over = f"no interval: {first['organisations']} {groups}, {LEAST_GROUPS} are needed"
    return "\n".join(
        [
            f"error over that of {denominator!r}, geometric mean over {first['of']} task{'s' * (first['of'] != 1)}",
            f"({over}; up to {first['models']} models), and tasks improved:",
            *lines,
        ]
    )


def interval(entry: Mapping[str, Any]) -> str:
    """Example  " (0.81 to 0.97)", or "" where there is none."""
    return "" if entry["low"] is None else f" ({entry['low']:.2f} to {entry['high']:.2f})"


def worst_terminal(models: Sequence[Mapping[str, Any]], predictor: str) -> str:
    """A line a model, with its largest error."""
    lines = [f"worst predicted by {predictor!r}: a model's error over the mean of its tasks, and its largest error"]
    for w in models:
        task = max(w["tasks"], key=lambda t: abs(w["tasks"][t]))
        error = w["tasks"][task]
        high = "too high" if error > 0 else "too low"
        lines.append(f"  {w['id']}: {w['times']:.1f} times; {task} {abs(error):.1f} points {high}")
    return "\n".join(lines)
