"""The gain from added columns: the same learner with and without them, on models of groups that no fit has seen.

The learner is the mean of the saturating law and of trees that are monotone in scale (models.py). Without added columns it
is the mean of `law-scale` and `trees-scale`. Each column is added alone, and all of them together. The ratio is the error
with the columns over the error without, so below 1 they help. Holm's method adjusts p for the number of these tests. The
smallest gain that the data could have shown is computed at the strictest of Holm's levels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tagcorpus.errors import ConfigError, unknown_name
from tagcorpus.predictor.learners import models, sigmoid_law
from tagcorpus.predictor.learners.data import PERCENTAGES, SCALE, Dataset
from tagcorpus.predictor.learners.design import Matrix, Rows, Vector, columns_of
from tagcorpus.predictor.learners.evaluation import candidates
from tagcorpus.predictor.learners.folds import grouped_folds
from tagcorpus.predictor.learners.parallel import Workers
from tagcorpus.predictor.protocols.grouped import FOLDS
from tagcorpus.predictor.protocols.grouped_summary import interval, membership
from tagcorpus.predictor.protocols.intervals import LEAST_GROUPS, LEVEL, POWER, holm, ratio
from tagcorpus.predictor.protocols.tables import aligned, of_ratio
from tagcorpus.predictor.records.makers import group_word

DECLARED, GENERATED = "all-declared", "all-generated"
TOGETHER = "all together"
LEARNERS: tuple[models.Fit, ...] = (sigmoid_law.fit, models.fit_trees)

Columns = tuple[str, ...]


@dataclass(frozen=True)
class Errors:
    """One task's absolute errors, float64 [n], a mean over seeds, of models of groups not seen; by columns added, () none."""

    data: Dataset
    by_columns: Mapping[Columns, Vector]


def columns_named(data: Dataset, named: Sequence[str]) -> Columns:
    """The columns that `named` means in this data set: names, `all-declared` (the six shares of pretraining data),
    `all-generated` (the feature table). An `all-` leaves out its columns with one value only.

    Raises ConfigError for a column that is missing, has one value only, or is one of scale.
    """
    usable = candidates(data)
    chosen: dict[str, None] = {}
    for name in named:
        if name in (DECLARED, GENERATED):
            of_all = PERCENTAGES if name == DECLARED else data.generated
            if not set(of_all) & set(usable):
                lack = "no feature table" if name == GENERATED and not data.generated else "no column that varies"
                raise ConfigError(f"--adds {name}: {data.task.name} has {lack}")
            chosen |= dict.fromkeys(c for c in of_all if c in usable)
        elif name in usable:
            chosen[name] = None
        elif name in data.frame.columns:
            reason = "is in every fit" if name in SCALE else "has one value only among these models"
            raise ConfigError(f"--adds {name}: the column {reason} ({data.task.name})")
        else:
            raise ConfigError(unknown_name("column", name, [DECLARED, GENERATED, *usable], "--adds"))
    return tuple(chosen)


def errors(data: Dataset, columns: Columns, seeds: Sequence[int], workers: Workers) -> Errors:
    """Without any column, with each of them, and with all. Raises ConfigError where there are fewer groups than folds."""
    if data.groups < FOLDS:
        word = group_word(data.grouped_by)
        raise ConfigError(f"--adds: {data.task.name} has {data.groups} {word}, grouped folds need at least {FOLDS}")
    sets = list(dict.fromkeys([(), *((c,) for c in columns), columns]))
    jobs = [(data, added, seed) for added in sets for seed in seeds]
    by_set = np.array(workers.map(_one_seed, jobs)).reshape(len(sets), len(seeds), -1)
    return Errors(data, dict(zip(sets, by_set.mean(axis=1), strict=True)))


def _one_seed(data: Dataset, added: Columns, seed: int) -> Vector:
    """float64 [n]: absolute errors of all models, each held out with its group."""
    absolute = np.empty(len(data.ids))
    for train, test in grouped_folds(data.organisations, FOLDS, seed):
        absolute[test] = np.abs(_predicted(data, added, train, test, seed) - data.y[test])
    return absolute


def _predicted(data: Dataset, added: Columns, train: Rows, test: Rows, seed: int) -> Vector:
    x: Matrix = columns_of(data, (*SCALE, *added), train)[0]
    groups, sign = tuple(data.organisations[i] for i in train), models.sign_of(data)
    fits = [fit(x[train], data.y[train], groups, sign, seed) for fit in LEARNERS]
    return np.asarray(np.mean([f.predict(x[test]) for f in fits], axis=0), dtype=np.float64)


def document(of_tasks: Sequence[Errors], seeds: Sequence[int]) -> dict[str, Any]:
    """JSON-ready. columns: those that every task has; of each the ratio over tasks and of every task (see tables.of_ratio),
    and p_holm."""
    names = sorted({o for e in of_tasks for o in e.data.organisations})
    member = [membership(e.data, names) for e in of_tasks]
    sizes = np.array([m.sum(axis=1) for m in member])
    common = [c for c in of_tasks[0].by_columns if all(c in e.by_columns for e in of_tasks)]
    # Together are those of each task: the same ones, unless a column has one value only in some task.
    every = [max(e.by_columns, key=len) for e in of_tasks]
    sets: list[list[Columns]] = [[c] * len(of_tasks) for c in common if len(c) == 1]
    if any(len(c) > 1 for c in every):
        sets.append(every)
    its = np.array([m @ e.by_columns[()] for m, e in zip(member, of_tasks, strict=True)])
    rows = []
    for chosen in sets:
        mine = np.array([m @ e.by_columns[c] for m, e, c in zip(member, of_tasks, chosen, strict=True)])
        tasks = {
            e.data.task.name: of_ratio(ratio(mine[i : i + 1], its[i : i + 1], sizes[i : i + 1]))
            for i, e in enumerate(of_tasks)
        }
        name = chosen[0][0] if chosen is not every else TOGETHER
        rows.append(
            {"columns": list(chosen[0]), "name": name, **of_ratio(ratio(mine, its, sizes, len(sets))), "tasks": tasks}
        )
    adjusted = holm([t["p"] for t in rows]) if all(t["p"] is not None for t in rows) else [None] * len(rows)
    for one, p in zip(rows, adjusted, strict=True):
        one["p_holm"] = None if p is None else float(f"{p:.6g}")
    return {
        "learner": "mean of law and trees",
        "seeds": list(seeds),
        "level": LEVEL,
        "power": POWER,
        "models": max(len(e.data.ids) for e in of_tasks),
        "organisations": len(names),
        "grouped_by": of_tasks[0].data.grouped_by,
        "left_out": sorted(
            {c for e in of_tasks for (c, *_) in (k for k in e.by_columns if len(k) == 1)} - {c[0] for c in common if c}
        ),
        "columns": rows,
    }


def terminal(answer: Mapping[str, Any]) -> str:
    """The document as a person reads it."""
    groups = group_word(answer["grouped_by"])
    tasks = list(answer["columns"][0]["tasks"]) if answer["columns"] else []
    over = tasks[0] if len(tasks) == 1 else f"geometric mean over {len(tasks)} tasks"
    head = [f"what columns add: error with them over error without, {over}, {answer['organisations']} {groups}"]
    if answer["organisations"] < LEAST_GROUPS:
        head.append(f"no intervals: {answer['organisations']} {groups}, {LEAST_GROUPS} are needed")
    rows = [("column", "error", "95 % interval", "p", "p (Holm)", "could have shown")]
    for c in answer["columns"]:
        has_interval = c["low"] is not None
        rows.append(
            (
                c["name"],
                "" if c["ratio"] is None else f"{c['ratio']:.3f}",
                interval(c).strip(" ()") if has_interval else "",
                f"{c['p']:.2g}" if has_interval else "",
                f"{c['p_holm']:.2g}" if c["p_holm"] is not None else "",
                f"{c['smallest_gain_percent']:.0f} %" if has_interval else "",
            )
        )
    lines = [f"  {line}" for line in aligned(rows)]
    notes = ["below 1: the column helps; p (Holm): adjusted for the number of rows"]
    notes.append(
        f"could have shown: the smallest true gain found with probability {100 * answer['power']:.0f} % at the adjusted level"
    )
    if answer["left_out"]:
        notes.append(f"left out, with one value only in some task: {', '.join(answer['left_out'])}")
    return "\n".join([*head, *lines, *notes])
