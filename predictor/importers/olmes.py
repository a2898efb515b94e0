"""OLMES: metrics of one task in an object (`task-000-...-metrics.json`, a line of `metrics-all.jsonl`), or of all tasks in
one (`metrics.json`, under `tasks`).

    model      model_config.model, its revision beside it
    benchmark  task_config.task_core, else the task's name up to the first `:`; `:mc` stays, because it is another task
    shots      task_config.num_shots
    metric     under its name, bits_per_byte_corr as bits_per_byte; `primary_score` is the accuracy that the task is judged by
Left out, with a note: counts, indices, and probabilities without the question.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from tagcorpus.predictor.importers.collected import Collected
from tagcorpus.predictor.records.checkpoints import TABLE, checkpoint_of

RENAMED = {"bits_per_byte_corr": "bits_per_byte", "primary_metric": "primary_score"}
# Numbers about answers or prompts, which do not measure a model.
_NO_METRIC = re.compile(
    r"predicted_index_.*|correct_choice|no_answer|total_prob.*|uncond_.*|num_.*|.*_(?:count|stderr)|extra_.*"
)


def is_one(document: Any) -> bool:
    if isinstance(document, list):
        return bool(document) and all(is_one(d) for d in document)
    if not isinstance(document, dict):
        return False
    tasks = document.get("tasks")
    is_whole = isinstance(tasks, list) and bool(tasks) and all(isinstance(t, dict) and "metrics" in t for t in tasks)
    return is_whole or (isinstance(document.get("metrics"), dict) and "task_config" in document)


def collect(into: Collected, document: Any, model_id: str | None) -> None:
    for of_task, config in _tasks(document):
        task = of_task.get("task_config") if isinstance(of_task.get("task_config"), dict) else {}
        assert isinstance(task, dict)
        name = str(of_task.get("task_name") or of_task.get("alias") or task.get("task_name") or "")
        where = f"task {name!r}"
        if task.get("limit") is not None:
            into.problems.append(f"{where}: limit is {task['limit']}, a part of the benchmark only")
            continue
        model = model_id or str(config.get("model") or "")
        revision = config.get("revision")
        identity, facts = checkpoint_of(model, None if revision is None else str(revision))
        if model.startswith((".", "/", "~")):
            into.problems.append(f"{where}: {model!r} is a path: say which model it is with --model-id")
            continue
        into.facts(TABLE, identity, facts)
        shots = task.get("num_shots")
        if not isinstance(shots, int) or isinstance(shots, bool):
            of_name = re.search(r":([0-9]+)shot", name)
            shots = int(of_name[1]) if of_name else None
        collect_metrics(into, identity, _benchmark(name, task), shots, of_task["metrics"])


def collect_metrics(into: Collected, model: str, benchmark: str, shots: int | None, metrics: Mapping[str, Any]) -> None:
    """metrics: name -> value, as OLMES and DataDecide have them."""
    for given, value in metrics.items():
        metric = RENAMED.get(given, given)
        if _NO_METRIC.fullmatch(given):
            into.note(f"left out: {given} is not a score", f"{model}, {benchmark}")
        elif not isinstance(value, dict):  # sub-scores by group
            into.score(model, benchmark, shots, metric, value, metrics.get(f"{given}_stderr"))


def _tasks(document: Any) -> Iterator[tuple[Mapping[str, Any], Mapping[str, Any]]]:
    """Each task, with the configuration of its model."""
    for one in document if isinstance(document, list) else [document]:
        shared = one.get("model_config") or {}
        for task in one["tasks"] if isinstance(one.get("tasks"), list) else [one]:
            yield task, task.get("model_config") or shared


def _benchmark(name: str, task: Mapping[str, Any]) -> str:
    core = str(task.get("task_core") or name.partition(":")[0])
    return f"{core}:mc" if ":mc" in name else core
