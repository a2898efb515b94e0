"""Training runs of several corpora at several sizes, from a store: the scores from which decisions between corpora are made.

A run is a row of `checkpoints` with a corpus and a size (of its own, or of its annotations). Sizes that differ by less than
SAME_SIZE are one size. Of each size the last step counts that every corpus has a run of, and of each run the mean of those
sub-scores that all runs of the metric have.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tagcorpus.errors import InputError
from tagcorpus.predictor.records.checkpoints import TABLE
from tagcorpus.predictor.records.metrics import METRICS
from tagcorpus.predictor.records.tasks import Task, normalised, shots_of

SAME_SIZE = 1.06  # ratio; DataDecide's 14M and 16M are two sizes
FINAL = math.inf  # the step of a run that names none


@dataclass(frozen=True)
class Runs:
    """values: (size, corpus) -> the score of each seed, higher is better (scores of which lower is better have their sign
    changed). steps: size -> step, None for the final one. notes: what is left out."""

    metric: str
    corpora: tuple[str, ...]
    sizes: tuple[int, ...]
    values: dict[tuple[int, str], tuple[float, ...]]
    steps: dict[int, int | None]
    notes: tuple[str, ...] = ()

    def seeds(self, size: int) -> int:
        """Runs of the corpus that has fewest."""
        return min((len(v) for (s, _), v in self.values.items() if s == size), default=0)


@dataclass(frozen=True)
class _Run:
    corpus: str
    size: int
    seed: str
    step: float


def runs_of(con: Any, task: Task) -> dict[str, Runs]:
    """By metric, those known. con: of a store with checkpoints. Raises InputError for two values of one score."""
    scores = _rows(con, task)
    sizes = _merged({run.size for run, _, _, _ in scores})
    of_metric: dict[str, dict[_Run, dict[str, float]]] = defaultdict(lambda: defaultdict(dict))
    for run, metric, benchmark, value in scores:
        one = _Run(run.corpus, sizes[run.size], run.seed, run.step)
        first = of_metric[metric][one].setdefault(benchmark, value)
        if first != value:
            raise InputError(
                f"{one.corpus!r}, size {one.size:,}, seed {one.seed!r}: {benchmark} {metric} is there twice, {first:g} and "
                f"{value:g}: is a seed or step missing in the table {TABLE!r}?"
            )
    return {metric: _runs(metric, runs) for metric, runs in sorted(of_metric.items())}


def _rows(con: Any, task: Task) -> list[tuple[_Run, str, str, float]]:
    every = con.execute("SELECT DISTINCT benchmark, setting, metric FROM evaluation_results").fetchall()
    kept = [(b, s, m) for b, s, m in every if m in METRICS and task.has(normalised(b)) and shots_of(s) == task.shots]
    names = [sorted(set(column)) for column in zip(*kept, strict=True)] or [[], [], []]
    rows = con.execute(
        f"""SELECT c.corpus, coalesce(c.total_params, m.total_params), coalesce(c.seed, c.id), c.step, e.metric, e.benchmark,
            e.metric_value
        FROM {TABLE} c JOIN evaluation_results e USING (id) LEFT JOIN model_annotations m USING (id)
        WHERE c.corpus IS NOT NULL AND coalesce(c.total_params, m.total_params) > 0 AND isfinite(e.metric_value)
            AND list_contains(?, e.benchmark) AND list_contains(?, e.setting) AND list_contains(?, e.metric) ORDER BY ALL""",
        names,
    ).fetchall()
    return [
        (_Run(corpus, size, seed, FINAL if step is None else float(step)), metric, normalised(benchmark), value)
        for corpus, size, seed, step, metric, benchmark, value in rows
    ]


def _merged(sizes: set[int]) -> dict[int, int]:
    """Each size, and the smallest of those that are the same."""
    merged: dict[int, int] = {}
    first = 0
    for size in sorted(sizes):
        first = first if first and size / first < SAME_SIZE else size
        merged[size] = first
    return merged


def _runs(metric: str, runs: dict[_Run, dict[str, float]]) -> Runs:
    common = set.intersection(*(set(scores) for scores in runs.values()))
    every = set.union(*(set(scores) for scores in runs.values()))
    notes = [f"{len(every - common)} sub-scores that some run lacks are left out"] if every - common and common else []
    notes += ["no sub-score is there for every run"] * (not common)
    sign = -1.0 if METRICS[metric].is_lower_better else 1.0
    values: dict[tuple[int, str], tuple[float, ...]] = {}
    steps: dict[int, int | None] = {}
    for size in sorted({run.size for run in runs}):
        here = [run for run in runs if run.size == size]
        corpora = {run.corpus for run in here}
        shared = [step for step in {run.step for run in here} if {r.corpus for r in here if r.step == step} == corpora]
        if not shared:
            notes.append(f"size {size:,} is left out: no step has a run of each of its corpora")
        if not shared or not common:
            continue
        last = max(shared)
        steps[size] = None if last == FINAL else int(last)
        for corpus in sorted(corpora):
            seeds = sorted((r for r in here if (r.corpus, r.step) == (corpus, last)), key=lambda r: r.seed)
            values[size, corpus] = tuple(sign * math.fsum(runs[r][b] for b in common) / len(common) for r in seeds)
    names = sorted({corpus for _, corpus in values})
    return Runs(metric, tuple(names), tuple(sorted(steps)), values, steps, tuple(notes))


def nearest_size(sizes: Sequence[int], target: int) -> int | None:
    """The size that the target is, up to a tenth."""
    near = [s for s in sizes if max(s / target, target / s) < 1.1]
    return min(near, key=lambda s: abs(math.log(s / target))) if near else None
