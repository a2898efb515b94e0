"""Checks of the names given to `tagcorpus predict`: tasks, metrics, selected features. A message gives the nearest known name.

These checks read only the names of scores. predictor/learners/data.py checks whether a task has enough models.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from typing import Any

from tagcorpus.errors import ConfigError, unknown_name
from tagcorpus.predictor.learners.data import Dataset
from tagcorpus.predictor.records.tasks import ARITHMETIC, PUBLISHED, Task, normalised, shots_of

NAMED = 40  # of a list in a message


def check_tasks(con: Any, chosen: Sequence[Task]) -> None:
    """con: of a store. Raises ConfigError for a task without any score in it, by its benchmark, shots or metric."""
    rows = con.execute("SELECT DISTINCT benchmark, setting, metric FROM evaluation_results").fetchall()
    there = {(normalised(b), s, m) for b, setting, m in rows if (s := shots_of(setting)) is not None}
    for task in chosen:
        of_benchmark = {(s, m) for b, s, m in there if task.has(b)}
        metrics = {m for s, m in of_benchmark if s == task.shots}
        if task.metric in metrics:
            continue
        if metrics:
            message = unknown_name("metric", task.metric, metrics, "--metric")
            raise ConfigError(f"{task.name}, {task.shots}-shot: {message}")
        if of_benchmark:
            shots = ", ".join(f"{s}-shot" for s in sorted({s for s, _ in of_benchmark}))
            raise ConfigError(f"--task {task.name}: the store has no {task.shots}-shot scores of it; it has {shots}")
        raise ConfigError(unknown_task(task.name, there))


def unknown_task(name: str, there: Iterable[tuple[str, int, str]]) -> str:
    """The message. there: (benchmark, shots, metric) of the store. Benchmarks of a known task are listed by the task's name."""
    known = (*PUBLISHED.values(), ARITHMETIC)
    names: dict[str, None] = {}
    for benchmark, shots, metric in sorted(there):
        of_task = [t.name for t in known if (t.shots, t.metric) == (shots, metric) and t.has(benchmark)]
        names.setdefault(of_task[0] if of_task else f"{benchmark}:{shots}")
    if not names:
        return "--task: the store has no scores at all; add them with `tagcorpus store import`"
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    hint = f": did you mean {near[0]!r}?" if near else "."
    more = f", ... ({len(names)})" if len(names) > NAMED else ""
    return f"--task: the store has no scores of {name!r}{hint} It has {', '.join(list(names)[:NAMED])}{more}"


def check_selected(data: Dataset, selected: Sequence[str] | None) -> None:
    """Raise ConfigError for a feature that the data set does not have, naming the nearest."""
    columns = list(data.frame.columns)
    for name in selected or ():
        if name in columns:
            continue
        near = difflib.get_close_matches(name, columns, n=3, cutoff=0.5)
        hint = f": did you mean {' or '.join(map(repr, near))}?" if near else "."
        table = (
            f"{len(data.generated)} of the feature table"
            if data.generated
            else "none of a feature table (--features CSV)"
        )
        raise ConfigError(
            f"no feature {name!r} in the data set of {data.task.name} (--sel-features, --select){hint} "
            f"It has {len(columns) - len(data.generated)} columns of the store and {table}"
        )
