"""All ways to decide between corpora on one task, compared with the scores at the target size, as a JSON-ready document."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from tagcorpus.errors import InputError
from tagcorpus.predictor.protocols import decisions
from tagcorpus.predictor.protocols.decision_runs import Runs, nearest_size
from tagcorpus.predictor.records.metrics import METRICS
from tagcorpus.predictor.records.tasks import Task

LEAST_CORPORA = 3
CLEAR = 2.0  # standard errors between two target scores
Pair = tuple[int, int]


@dataclass
class Way:
    """One way to decide. gaps: pair -> predicted score of the first corpus less that of the second, in any unit.
    probability: pair -> of the first being better; only where the way has one."""

    name: str
    metric: str
    sizes: tuple[int, ...]
    gaps: dict[Pair, float]
    probability: dict[Pair, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Decided:
    document: dict[str, Any]
    rows: list[tuple[Any, ...]]


ROW_COLUMNS = (
    "task",
    "way",
    "metric",
    "sizes",
    "first",
    "second",
    "better",
    "probability_first",
    "target_better",
    "is_right",
)


def metric_of(by_metric: Mapping[str, Runs], task: Task, is_named: bool) -> str:
    """The metric of the target: the task's, or the primary one where the task's is not there and none was named."""
    if task.metric in by_metric:
        return task.metric
    for other in ("primary_score", "acc_per_char", "acc_raw") if not is_named else ():
        if other in by_metric:
            return other
    others = f"by {task.metric!r}; it has: {', '.join(by_metric)}" if by_metric else "by any metric"
    raise InputError(f"{task.name}, {task.shots}-shot: no run with a corpus has a score {others}")


def decide(
    task: Task, by_metric: Mapping[str, Runs], metric: str, target_size: int, tags: Mapping[str, Sequence[float]]
) -> Decided:
    """tags: corpus -> features, of one length; {} without.

    Raises InputError for fewer than LEAST_CORPORA corpora, and where no size is smaller than the target.
    """
    runs = by_metric[metric]
    at = nearest_size(runs.sizes, target_size)
    corpora = runs.corpora
    if len(corpora) < LEAST_CORPORA:
        raise InputError(
            f"{task.name}: {len(corpora)} corpora have runs by {metric!r}, at least {LEAST_CORPORA} are needed"
        )
    whole = decisions.effects(runs, corpora)
    place = None if at is None else runs.sizes.index(at)
    truth = np.full(len(corpora), np.nan) if place is None else whole.mean[place]
    true_gaps = decisions.gaps_of(truth)
    clear = None if place is None else _clear(whole, place, true_gaps)
    ways = _ways(by_metric, metric, at or target_size, corpora, tags, truth)
    if not ways:
        raise InputError(f"{task.name}: no runs at a size below {target_size:,}, and no tags of corpora (--features)")
    baseline = _baseline(ways, metric)
    judged = [_judged(w, true_gaps, clear, baseline) for w in ways]
    document = {
        "task": task.name,
        "shots": task.shots,
        "metric": metric,
        "is_lower_better": METRICS[metric].is_lower_better,
        "target_size": at or target_size,
        "is_target_measured": bool(true_gaps),
        "corpora": len(corpora),
        "corpora_at_target": int(np.isfinite(truth).sum()),
        "sizes": [{"size": s, "step": runs.steps[s], "seeds": runs.seeds(s)} for s in runs.sizes],
        "baseline": None
        if baseline is None
        else {"way": baseline.name, "metric": baseline.metric, "sizes": list(baseline.sizes)},
        "ways": judged,
        "floor": _floor(runs, whole, place, at, corpora),
        "ranking": _ranking(ways, corpora, truth, metric),
        "notes": [f"{m}: {n}" for m, r in by_metric.items() for n in r.notes],
    }
    return Decided(document, [row for w in ways for row in _rows(task, w, corpora, true_gaps)])


def _ways(
    by_metric: Mapping[str, Runs],
    metric: str,
    target: int,
    corpora: Sequence[str],
    tags: Mapping[str, Sequence[float]],
    truth: decisions.Vector,
) -> list[Way]:
    ways = []
    for name, runs in by_metric.items():
        if name != metric and not METRICS[name].is_continuous:
            continue
        small = _below(runs, target)
        measured = decisions.effects(small, corpora)
        single = [Way("one size", name, (s,), decisions.gaps_of(measured.mean[i])) for i, s in enumerate(small.sizes)]
        ways += [w for w in single if w.gaps]
        if len(small.sizes) >= 2:
            ways.append(Way("line", name, small.sizes, decisions.gaps_of(decisions.line(measured, target))))
            expected, variance = decisions.all_sizes(measured, target)
            gaps = decisions.gaps_of(expected)
            probability = {
                (a, b): _normal(g / math.sqrt(max(variance[a] + variance[b], 1e-12))) for (a, b), g in gaps.items()
            }
            ways.append(Way("all sizes", name, small.sizes, gaps, probability))
    if tags:
        width = len(next(iter(tags.values())))
        table = np.array([tags.get(c, [math.nan] * width) for c in corpora], dtype=np.float64)
        known = np.where(np.isfinite(table).any(axis=1), truth, np.nan)
        ways.append(Way("tags", metric, (), decisions.tags(table, known)))
    return [w for w in ways if w.gaps]


def _below(runs: Runs, target: int) -> Runs:
    sizes = tuple(s for s in runs.sizes if s < target / 1.1)
    values = {k: v for k, v in runs.values.items() if k[0] in sizes}
    return Runs(runs.metric, runs.corpora, sizes, values, runs.steps)


def _baseline(ways: Sequence[Way], metric: str) -> Way | None:
    """The largest small size, by the target's metric."""
    single = [w for w in ways if w.name == "one size" and w.metric == metric]
    return max(single, key=lambda w: w.sizes) if single else None


def _clear(whole: decisions.Effects, at: int, gaps: Mapping[Pair, float]) -> set[Pair] | None:
    if math.isnan(whole.noise[at]):
        return None
    errors = whole.noise[at] / np.maximum(whole.runs[at], 1)
    return {(a, b) for (a, b), gap in gaps.items() if abs(gap) > CLEAR * math.sqrt(errors[a] + errors[b])}


def _judged(way: Way, truth: Mapping[Pair, float], clear: set[Pair] | None, baseline: Way | None) -> dict[str, Any]:
    right = decisions.rights(way.gaps, truth)
    share = decisions.share(right, clear)
    judged: dict[str, Any] = {
        "way": way.name,
        "metric": way.metric,
        "sizes": list(way.sizes),
        "right": None,
        "difference": None,
    }
    if share is not None:
        judged["right"] = {k: _r(v) for k, v in asdict(share).items()}
    if share is not None and baseline is not None and way is not baseline:
        difference = decisions.difference(right, decisions.rights(baseline.gaps, truth))
        if difference is not None:
            judged["difference"] = dict(zip(("value", "low", "high"), map(_r, difference), strict=True))
    return judged


def _floor(
    runs: Runs, whole: decisions.Effects, place: int | None, at: int | None, corpora: Sequence[str]
) -> dict[str, Any] | None:
    """What the noise between seeds lets anybody reach at the target."""
    if place is None or at is None:
        return None
    there = [c for c in corpora if (at, c) in runs.values]
    again = decisions.repeated(runs, at, there)
    share = decisions.share(again) if again is not None else None
    return {
        "seeds": runs.seeds(at),
        "noise_sd": _r(math.sqrt(whole.noise[place])) if math.isfinite(whole.noise[place]) else None,
        "repeated": None if share is None else {k: _r(v) for k, v in asdict(share).items()},
        "ceiling": _r(decisions.ceiling(whole, place)),
    }


def _ranking(ways: Sequence[Way], corpora: Sequence[str], truth: decisions.Vector, metric: str) -> list[dict[str, Any]]:
    """Corpora, the best first: by all sizes, else by the baseline, else by tags."""
    of_metric = [w for w in ways if w.metric == metric]
    way = (
        next((w for w in of_metric if w.name == "all sizes"), None)
        or _baseline(ways, metric)
        or (of_metric or ways)[-1]
    )
    wins = dict.fromkeys(range(len(corpora)), 0.0)
    for (a, b), gap in way.gaps.items():
        wins[a] += 0.5 * (1 + np.sign(gap))
        wins[b] += 0.5 * (1 - np.sign(gap))
    ranked = {c for pair in way.gaps for c in pair}
    order = sorted(ranked, key=lambda c: (-wins[c], corpora[c]))
    sign = -1 if METRICS[metric].is_lower_better else 1
    return [{"corpus": corpora[c], "way": way.name, "target_score": _r(sign * truth[c])} for c in order]


def _rows(task: Task, way: Way, corpora: Sequence[str], truth: Mapping[Pair, float]) -> list[tuple[Any, ...]]:
    def better(gap: float | None, a: int, b: int) -> str:
        return "" if gap is None else corpora[a] if gap > 0 else corpora[b] if gap < 0 else "tie"

    rows: list[tuple[Any, ...]] = []
    for (a, b), gap in sorted(way.gaps.items()):
        right = decisions.rights({(a, b): gap}, truth).get((a, b), "")
        probability = f"{way.probability[a, b]:.6g}" if (a, b) in way.probability else ""
        sizes = " ".join(map(str, way.sizes))
        names = (corpora[a], corpora[b], better(gap, a, b), probability, better(truth.get((a, b)), a, b))
        rows.append((task.name, way.name, way.metric, sizes, *names, right))
    return rows


def _normal(z: float) -> float:
    return 0.5 * math.erfc(-z / math.sqrt(2))


def _r(value: Any) -> Any:
    if value is None or isinstance(value, int):
        return value
    return round(float(value), 6) + 0.0 if math.isfinite(value) else None
