"""The results of a prediction: one JSON document, and a CSV of every model's predictions.

Errors are in percentage points (fractions times 100), rounded to six decimals, so that the same figures give the same
bytes. The document has no path, time or host, except those that the caller puts into `origin`.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from tagcorpus.predictor.learners.data import Dataset
from tagcorpus.predictor.learners.evaluation import Evaluation, Settings
from tagcorpus.predictor.protocols.intervals import Ratio
from tagcorpus.predictor.protocols.significance import LEVEL, Comparison, benjamini_hochberg, compare

PREDICTION_COLUMNS = (
    "task", "folds", "predictor", "seed", "fold", "id", "organisation", "score", "predicted", "error_points",
)  # fmt: skip
WHICH_IS_WHICH = (
    "p published: t-test over seeds, which shuffle the same models: small with seeds enough, no evidence about models; "
    "p corrected: Nadeau-Bengio over test folds: of these two the one to believe, but about other models of the same "
    "organisations only: under random folds, in 11 % of simulated data sets, columns that only tell organisations apart gain "
    "significantly; q: p adjusted over tasks (Benjamini-Hochberg)"
)


@dataclass(frozen=True)
class Outcome:
    """One task: its data, the protocol's evaluations, and each predictor against the first one under its kind of folds."""

    data: Dataset
    evaluations: tuple[Evaluation, ...]
    comparisons: tuple[Comparison, ...]


def outcome(data: Dataset, evaluations: Sequence[Evaluation], settings: Settings, has_groups: bool = False) -> Outcome:
    """The comparisons over `settings.seeds`, or over the one seed where there are no others. has_groups: also with groups
    of models as the unit (`Comparison.over_groups`)."""
    first: dict[str, Evaluation] = {}
    compared = []
    for e in evaluations:
        other = first.setdefault(e.folds, e)
        if e is not other:
            seeds = settings.seeds or (settings.seed,)
            groups = data.organisations if has_groups else None
            compared.append(compare(e, other, data.y, seeds, groups))
    return Outcome(data, tuple(evaluations), tuple(compared))


def document(
    protocol: str, settings: Settings, outcomes: Sequence[Outcome], origin: Mapping[str, Any]
) -> dict[str, Any]:
    """Everything, JSON-ready; adjusted p over the tasks of one pair of predictors. origin: inputs, versions."""
    adjusted = _adjusted(outcomes)
    return {
        "protocol": protocol,
        **origin,
        "seed": settings.seed,
        "seeds": list(settings.seeds),
        "unit": "percentage points of mean absolute error",
        "tests": WHICH_IS_WHICH,
        "tasks": [_of_task(o, settings, adjusted) for o in outcomes],
    }


def _adjusted(outcomes: Sequence[Outcome]) -> dict[tuple[str, str, str, str], float]:
    """(task, predictor, folds, test) -> adjusted p."""
    families: dict[tuple[str, str, str], list[tuple[str, float]]] = {}
    for o in outcomes:
        for c in o.comparisons:
            for name, test in (("published", c.paired), ("corrected", c.corrected), ("over_groups", c.over_groups)):
                if test is not None and test.p is not None:
                    families.setdefault((c.predictor, c.folds, name), []).append((o.data.task.name, test.p))
    return {
        (task, *family): q
        for family, tests in families.items()
        for (task, _), q in zip(tests, benjamini_hochberg([p for _, p in tests]), strict=True)
    }


def _of_task(o: Outcome, settings: Settings, adjusted: Mapping[tuple[str, str, str, str], float]) -> dict[str, Any]:
    data = o.data
    return {
        "task": data.task.name,
        "shots": data.task.shots,
        "metric": data.task.metric,
        "models": len(data.ids),
        "organisations": data.groups,
        "grouped_by": data.grouped_by,
        "columns": len(data.frame.columns),
        "noticed": asdict(data.noticed),
        "evaluations": [_of_evaluation(e, data, settings) for e in o.evaluations],
        "comparisons": [_of_comparison(c, data.task.name, adjusted) for c in o.comparisons],
    }


def _of_evaluation(e: Evaluation, data: Dataset, settings: Settings) -> dict[str, Any]:
    folds = e.maes(data.y) * 100
    by_seed = folds.mean(axis=1)
    entry: dict[str, Any] = {
        "predictor": e.predictor,
        "folds": e.folds,
        "features": list(e.features),
        "marks": list(e.marks),
        "mae": rounded(by_seed[e.at(settings.seed)]),
        "mae_sd_over_folds": rounded(np.std(folds[e.at(settings.seed)])),
        "mae_of_folds": [rounded(v) for v in folds[e.at(settings.seed)]],
        "mae_by_seed": {str(s): rounded(v) for s, v in zip(e.seeds, by_seed, strict=True)},
    }
    if settings.seeds:
        means = by_seed[[e.at(s) for s in settings.seeds]]
        entry["mae_mean_over_seeds"] = rounded(means.mean())
        entry["mae_sd_over_seeds"] = rounded(np.std(means, ddof=1)) if len(means) > 1 else None
    entry["fits"] = {str(s): [dict(f) for f in fits] for s, fits in zip(e.seeds, e.fits, strict=True)}
    return entry


def _of_comparison(c: Comparison, task: str, adjusted: Mapping[tuple[str, str, str, str], float]) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "predictor": c.predictor,
        "against": c.against,
        "folds": c.folds,
        "seeds": list(c.seeds),
        "gain_percent": rounded(c.gain_percent),
        "gain_interval_percent": [rounded(c.gain_low_percent), rounded(c.gain_high_percent)],
        "gain_of_single_seeds_percent": [rounded(v) for v in c.by_seed_percent],
    }
    for name, test in (("published", c.paired), ("corrected", c.corrected)):
        if test is not None:
            q = adjusted[task, c.predictor, c.folds, name]
            entry[name] = {k: v if isinstance(v, int) else rounded(v) for k, v in asdict(test).items()}
            entry[name] |= {"p": float(f"{test.p:.6g}"), "q": float(f"{q:.6g}"), "is_significant": q <= LEVEL}
    if c.over_groups is not None:
        entry["over_groups"] = of_ratio(c.over_groups)
        if c.over_groups.p is not None:
            q = adjusted[task, c.predictor, c.folds, "over_groups"]
            entry["over_groups"] |= {"q": float(f"{q:.6g}"), "is_significant": q <= LEVEL}
    return entry


def of_ratio(r: Ratio) -> dict[str, Any]:
    """ratio, low, high, p, smallest_gain_percent, degrees; null where there is none (intervals.py)."""
    return {
        "ratio": _or_null(r.of),
        "low": _or_null(r.low),
        "high": _or_null(r.high),
        "p": None if r.p is None else float(f"{r.p:.6g}"),
        "smallest_gain_percent": None if r.smallest_gain is None else rounded(100 * r.smallest_gain),
        "degrees": rounded(r.degrees),
    }


def _or_null(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else rounded(value)


def predictions_csv(outcomes: Sequence[Outcome]) -> str:
    """One row a task, predictor, seed and model: its test fold, its score and the predicted score (fractions)."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(PREDICTION_COLUMNS)
    for o in outcomes:
        data = o.data
        for e in o.evaluations:
            for s, seed in enumerate(e.seeds):
                for i, model in enumerate(data.ids):
                    y, predicted = float(data.y[i]), float(e.predicted[s, i])
                    row = (data.task.name, e.folds, e.predictor, seed, int(e.fold[s, i]), model, data.organisations[i])
                    writer.writerow([*row, f"{y:.8g}", f"{predicted:.8g}", f"{100 * (predicted - y):.6f}"])
    return out.getvalue()


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """The rows of a table as lines of text, cells padded to the width of their column."""
    widths = [max(len(r[i]) for r in rows) for i in range(len(rows[0]))]
    return ["  ".join(c.ljust(w) for c, w in zip(r, widths, strict=True)).rstrip() for r in rows]


def rounded(value: Any) -> float:
    """To six decimals; -0 is 0."""
    return round(float(value), 6) + 0.0
