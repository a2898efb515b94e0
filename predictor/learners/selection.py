"""Selection of a predictor's features: forward selection by any error, and stability selection inside a training fold.

`forward` has no folds of its own: its caller decides which rows judge the columns. `inside` judges by rows of one training
fold only, in inner folds that split no organisation. `paper.select` is the published way: the outer test folds judge.
Stability selection: Meinshausen and Buehlmann 2010, on complementary halves as Shah and Samworth 2013 have it.
"""

from __future__ import annotations

import ast
import csv
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from tagcorpus.errors import ConfigError, InputError
from tagcorpus.predictor.learners.boosting import Matrix, Rows, Vector, binned, mean_absolute_error, predict, train
from tagcorpus.predictor.learners.data import SCALE, Dataset, codes
from tagcorpus.predictor.learners.evaluation import candidates
from tagcorpus.predictor.learners.folds import grouped_folds, random_folds
from tagcorpus.predictor.records.plain_values import parse_json
from tagcorpus.predictor.records.tasks import Task

Score = Callable[[Sequence[tuple[str, ...]]], list[float]]
INNER_FOLDS = 3
LEAST_GAIN = 1e-3  # a fraction; below a tenth of a point an inner fold of twenty models sees noise
HALVES = 20
PER_HALF = 6
LEAST_SHARE = 0.6
# One plain setting: the selected features must not depend on a search on the same few rows.
PARAMETERS = {"learning_rate": 0.1, "max_depth": 3, "min_child_weight": 2}
ROUNDS = 60


@dataclass(frozen=True)
class Step:
    """feature: added in this step; before, after: the error (fraction) without and with it."""

    feature: str
    before: float
    after: float


@dataclass(frozen=True)
class Selection:
    """features: in the order selected, the start first."""

    features: tuple[str, ...]
    steps: tuple[Step, ...]


def forward(score: Score, start: Sequence[str], among: Sequence[str], least_gain: float) -> Selection:
    """Add, one at a time, the column that lowers the error most, of equals the first; stop below `least_gain`.

    score: the errors of several sets of columns at once, so that they can be computed side by side.
    """
    chosen = tuple(start)
    (error,) = score([chosen])
    steps: list[Step] = []
    while left := [c for c in among if c not in chosen]:
        errors = score([(*chosen, c) for c in left])
        best = int(np.argmin(errors))
        if error - errors[best] < least_gain:
            break
        steps.append(Step(left[best], error, errors[best]))
        chosen, error = (*chosen, left[best]), errors[best]
    return Selection(chosen, tuple(steps))


def inside(data: Dataset, rows: Rows, method: Literal["forward", "stability"], seed: int) -> Selection:
    """Features selected by `rows` (positions in the data set: one training fold) and nothing else. SCALE is always in.

    forward    by the mean error of inner folds grouped by organisation (random ones where there are too few)
    stability  columns among the PER_HALF of largest gain in at least LEAST_SHARE of HALVES halves, halved by organisation
    """
    names = (*SCALE, *candidates(data))
    x, y = codes(data, names, "absent")[rows], data.y[rows]
    groups = [data.organisations[i] for i in rows]
    at = {name: i for i, name in enumerate(names)}
    if method == "stability":
        kept = _stable(x, y, groups, seed)
        return Selection((*SCALE, *(names[i] for i in kept)), ())
    folds = _inner(groups, seed)

    def scored(sets: Sequence[tuple[str, ...]]) -> list[float]:
        return [float(np.mean([_error(x[:, [at[c] for c in s]], y, *fold) for fold in folds])) for s in sets]

    return forward(scored, SCALE, names[len(SCALE) :], LEAST_GAIN)


def _inner(groups: Sequence[str], seed: int) -> list[tuple[Rows, Rows]]:
    if len(set(groups)) < INNER_FOLDS:
        return random_folds(len(groups), INNER_FOLDS, seed)
    return grouped_folds(groups, INNER_FOLDS, seed)


def _error(x: Matrix, y: Vector, fit: Rows, held_out: Rows) -> float:
    booster = train(binned(x[fit], y[fit]), PARAMETERS, ROUNDS)
    return mean_absolute_error(y[held_out], predict(booster, x[held_out], ROUNDS))


def _stable(x: Matrix, y: Vector, groups: Sequence[str], seed: int) -> list[int]:
    """Columns (positions in x, beyond SCALE) that most halves agree on, the most agreed first."""
    agreed: Counter[int] = Counter()
    for draw in range(HALVES // 2):
        for half, _ in grouped_folds(groups, 2, seed * HALVES + draw):
            booster = train(binned(x[half], y[half]), PARAMETERS, ROUNDS)
            gain = {int(k[1:]): v for k, v in booster.get_score(importance_type="total_gain").items()}
            ranked = sorted((i for i in gain if i >= len(SCALE)), key=lambda i: (-gain[i], i))
            agreed.update(ranked[:PER_HALF])
    kept = [i for i, n in agreed.items() if n >= LEAST_SHARE * HALVES]
    return sorted(kept, key=lambda i: (-agreed[i], i))


def read_selected(path: str | Path) -> dict[str, tuple[str, ...]]:
    """task -> features, from the published table of selections (CSV with `task`, `selected_features`) or a JSON object.

    A key is a task's name. Raises InputError, naming the file, where it is neither.
    """
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"--select: {str(path)!r} cannot be read: {error}; name a file, forward, or stability"
        ) from error
    try:
        if text.lstrip().startswith("{"):
            document = parse_json(text)
        else:
            rows = list(csv.DictReader(text.splitlines()))
            document = {row["task"]: ast.literal_eval(row["selected_features"]) for row in rows}
            if len(document) < len(rows):
                raise ValueError("a task is there more than once")
        if any(isinstance(features, str) for features in document.values()):
            raise ValueError("a task's features are not a list of names")
        lists = {str(name): tuple(features) for name, features in document.items()}
        if not lists or not all(isinstance(f, str) for features in lists.values() for f in features):
            raise ValueError("a task's features are not a list of names")
    except (KeyError, ValueError, SyntaxError, TypeError, AttributeError, RecursionError, MemoryError) as error:
        raise InputError(
            f"--select: {path}: neither a CSV with columns task and selected_features, nor a JSON object from tasks to "
            f"lists of features: {error}"
        ) from error
    return lists


def selected_for(lists: dict[str, tuple[str, ...]], task: Task, path: str | Path) -> tuple[str, ...]:
    """The features of a task, SCALE first. Raises ConfigError where the file has none for it."""
    if task.name not in lists:
        raise ConfigError(f"--select: {path} has no features for {task.name!r}; it has {', '.join(sorted(lists))}")
    return (*SCALE, *(f for f in lists[task.name] if f not in SCALE))
