"""Scores from the results files of lm-evaluation-harness, in the store's terms.

It reads present files (`"acc,none"`, `n-shot`), files from before 0.4 (`"acc"`, `config.num_fewshot`), and files with the
number of shots in the task's name (`harness|arc:challenge|25`) or between task and metrics (`{"5-shot": {...}}`).

    setting    `<n>-shot`, n from the task's name, `n-shot`, `configs.<task>.num_fewshot` or `config.num_fewshot`
    metric     acc -> accuracy; exact_match with the filter none or strict-match -> accuracy; pass@1 -> accuracy;
               others keep their name; with another filter than none: `exact_match,flexible-extract`
    left out   groups of tasks (a predictor takes the mean of the tasks itself), values that are not numbers, and values
               that are not scores: of the metric `bypass`, and shares outside 0 to 1, such as the -1 of a failed evaluation

A score belongs to the model and revision that the file names (`model_of`, checkpoints.py). Where the file names a local path
or an adapter, the caller must give the model's id.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tagcorpus.errors import ConfigError
from tagcorpus.predictor.records.annotations import json_of, refuse, text_of
from tagcorpus.predictor.records.checkpoints import another_model, checkpoint_of
from tagcorpus.predictor.records.metrics import UNJUDGED, no_score, standard_error
from tagcorpus.predictor.records.tasks import normalised

METRICS = {"acc": "accuracy", "pass@1": "accuracy"}
# Filters under which a metric is the task's main one. The published scores of gsm8k are under `strict-match`.
MAIN_FILTERS = {"exact_match": ("none", "strict-match"), "pass@1": ("none", "create_test")}
NOT_METRICS = {"alias", "sample_len", "sample_count", "timestamp", "samples", "name"}
_ID = re.compile(r"(?!\.)[\w.:@+-]+(?:/[\w.:@+-]+)*")
_LEADERBOARD = re.compile(r"[^|]+\|(?P<task>[^|]+)\|(?P<shots>[0-9]+)")
NO_ID = (
    "an id is NAME, ORG/NAME or a longer relative path, of letters, digits and _-.:@+, and not a path of one machine"
)
_ANOTHER_MODEL = ("peft", "delta", "subfolder", "gguf_file", "revision")


@dataclass(frozen=True)
class Score:
    """One row of evaluation_results. `value` is NaN where the file says so; `stderr` is None where the file has none."""

    id: str
    benchmark: str
    setting: str
    metric: str
    value: float
    stderr: float | None


def is_id(name: str) -> bool:
    """Whether a name can be the id of a model, here and in a feature table: NAME, ORG/NAME, or a longer relative path such as
    `models/toy/mix-a`. A path of one machine (`/home/x`, `tmp/x`, `../x`, `~/x`) is not an id."""
    parts = name.split("/")
    is_elsewhere = parts[0] == "tmp" or any(part in (".", "..") for part in parts)
    return _ID.fullmatch(name) is not None and not is_elsewhere


def is_results(document: Any) -> bool:
    """Whether this JSON document looks like a results file."""
    return isinstance(document, dict) and isinstance(document.get("results"), dict)


def read_results(
    path: str | Path, model_id: str | None = None, fewshot: int | None = None
) -> tuple[list[Score], list[str]]:
    """The scores of a results file, and notes on the values left out. fewshot: examples in the prompt where the file does not
    say. Raises InputError naming task and field where the model, a number of shots or a score is missing or wrong.
    """
    path = Path(path)
    if model_id and not is_id(model_id):
        raise ConfigError(f"--model-id {model_id}: {NO_ID}")
    document = json_of(path, text_of(path))
    problems: list[str] = []
    notes: list[str] = []
    if not is_results(document):
        problems.append("field 'results': must be an object of tasks")
        refuse(path, problems)
    model, problem = (model_id, "") if model_id else evaluated(path, document)
    if problem:
        problems.append(f"{problem}: say which with --model-id")
    scores: list[Score] = []
    results = document["results"]
    if set(results) == {"harness"}:
        results = results["harness"]
    groups = _groups(document)
    limit = section(document, "config").get("limit")
    if limit is not None:
        problems.append(f"field 'config.limit': must be null, for {limit} is a part of the benchmark only")
    if section(document, "config").get("samples") is not None:
        problems.append("field 'config.samples': must be null, for chosen samples are a part of the benchmark only")
    notes += _contradictions(document, bool(model_id))
    for task, values in results.items():
        if why := _part(document, task):
            problems.append(why)
            continue
        if task in groups:
            notes.append(f"{task}: left out, a group of other tasks")
            continue
        if not isinstance(values, dict):
            problems.append(f"task {task!r}: must be an object of metrics, not {values!r}")
            continue
        nested = {k: v for k, v in values.items() if re.fullmatch(r"[0-9]+-shot", k) and isinstance(v, dict)}
        named = _LEADERBOARD.fullmatch(task)
        name = normalised(named["task"] if named else task)
        if nested:
            parts = list(nested.items())
        elif named:
            parts = [(f"{named['shots']}-shot", values)]
        else:
            shots = _shots(document, task)
            shots = fewshot if shots is None else shots
            if shots is None:
                problems.append(
                    f"task {task!r}, field 'n-shot': must say the number of examples in the prompt (or give --shots N)"
                )
                continue
            parts = [(f"{shots}-shot", values)]
        for setting, metrics in parts:
            for metric, value, stderr in _metrics(task, metrics, problems, notes):
                scores.append(Score(model, name, setting, metric, value, stderr))
    if not scores and not problems:
        problems.append(
            f"field 'results': has no score{': ' * bool(notes)}{'; '.join(notes)}. Leave out files of tasks that only generate"
        )
    seen: dict[tuple[str, str, str], float] = {}
    problems += [
        f"{s.benchmark} {s.setting}, {s.metric}: is there more than once, with different values"
        for s in scores
        if repr(seen.setdefault((s.benchmark, s.setting, s.metric), s.value)) != repr(s.value)
    ]
    refuse(path, problems)
    return scores, notes


def _metrics(
    task: str, values: Mapping[str, Any], problems: list[str], notes: list[str]
) -> Iterator[tuple[str, float, float | None]]:
    for key, value in values.items():
        metric, _, kept = key.partition(",")
        is_error = metric.endswith("_stderr") or key.endswith("_stderr") or metric == "stderr"
        if metric in NOT_METRICS or is_error or key.strip() != key or isinstance(value, dict):
            continue
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            if value != "N/A" and value is not None:
                problems.append(f"task {task!r}, field {key!r}: must be a number, not {value!r}")
            elif metric != UNJUDGED:
                notes.append(f"{task} {key}: left out, the file has no value")
            continue
        if abs(value) > sys.float_info.max:  # also integers that no float64 holds
            problems.append(f"task {task!r}, field {key!r}: must be a finite number or NaN, not {str(value)[:40]}")
            continue
        name = stored_metric(metric, kept or "none")
        if why := no_score(name, value):
            notes.append(f"{task} {key}: left out, {why}")
            continue
        error, why = standard_error(name, values.get(f"{metric}_stderr{',' + kept if kept else ''}"))
        if why:
            notes.append(f"{task} {key}: {why}, and is left out")
        yield name, float(value), error


def stored_metric(metric: str, kept: str) -> str:
    """The store's name of a metric under the filter `kept`; `none` means no filter."""
    if kept in MAIN_FILTERS.get(metric, ("none",)):
        return "accuracy" if metric == "exact_match" else METRICS.get(metric, metric)
    return f"{metric},{kept}"


def _shots(document: Mapping[str, Any], task: str) -> int | None:
    for value in (
        section(document, "n-shot").get(task),
        section(section(document, "configs"), task).get("num_fewshot"),
        section(document, "config").get("num_fewshot"),
    ):
        if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
            return value
    return None


def _part(document: Mapping[str, Any], task: str) -> str:
    """Why the scores of a task are of a part of its samples; empty where they are of all."""
    counts = section(section(document, "n-samples"), task)
    whole, used = counts.get("original"), counts.get("effective")
    if not isinstance(whole, int) or not isinstance(used, int) or used >= whole:
        return ""
    return f"task {task!r}, field 'n-samples': {used:,} of {whole:,} samples are a part of the benchmark only"


def samples_of(document: Mapping[str, Any]) -> dict[str, int]:
    """The number of samples that each task was evaluated on, where the file says it."""
    counts = {
        task: section(section(document, "n-samples"), task).get("effective") for task in section(document, "n-samples")
    }
    return {task: n for task, n in counts.items() if isinstance(n, int)}


def _contradictions(document: Mapping[str, Any], is_named: bool) -> Iterator[str]:
    """Facts that the file has twice, with different values. is_named: the caller says the model."""
    name, given = document.get("model_name"), _arguments(document).get("pretrained")
    if not is_named and name and isinstance(given, str) and is_id(given) and given != name:
        yield f"model_name is {name!r}, and config.model_args has pretrained={given}: the scores are stored for {name!r}"
    for task, shots in section(document, "n-shot").items():
        other = section(section(document, "configs"), task).get("num_fewshot")
        if isinstance(other, int) and isinstance(shots, int) and other != shots:
            yield f"{task}: n-shot is {shots}, and num_fewshot in configs is {other}: stored as {shots}-shot"


def _groups(document: Mapping[str, Any]) -> set[str]:
    """Groups: tasks whose score is computed from those of other tasks. Only groups count the samples of each metric;
    files with shots in the names of tasks have a mean called `all`."""
    counted = {t for t, values in section(document, "results").items() if "sample_count" in (values or ())}
    subtasks = section(document, "group_subtasks").items()
    means = {"all"} if any(map(_LEADERBOARD.fullmatch, section(document, "results"))) else set()
    return counted | means | {g for g, tasks in subtasks if tasks} | set(section(document, "groups"))


def section(document: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """An object of the file; empty where it has none, or something else in its place."""
    value = document.get(name)
    return value if isinstance(value, dict) else {}


def evaluated(path: Path, document: Mapping[str, Any]) -> tuple[str, str]:
    """The id of the evaluated model, revision included, and the reason why the file does not give one; empty where it does."""
    name, problem = model_of(document)
    revision = revision_of(document)
    if problem.startswith("field 'config.model_args': revision="):
        problem = "" if is_id(name) else _no_name(name)
    return checkpoint_of(name, revision)[0], problem or another_model(path, name, revision)


def revision_of(document: Mapping[str, Any]) -> str | None:
    """The `revision=` among the model's arguments; None without one."""
    given = _arguments(document).get("revision")
    return None if given is None else str(given)


def facts_of(document: Mapping[str, Any]) -> dict[str, Any]:
    """The row in `checkpoints` of the model that a results file names; {} where it has no seed and no revision."""
    return checkpoint_of(model_of(document)[0], revision_of(document))[1]


def _arguments(document: Mapping[str, Any]) -> Mapping[str, Any]:
    config = section(document, "config")
    arguments = config.get("model_args")
    if isinstance(arguments, str):
        return dict(a.split("=", 1) for a in arguments.split(",") if "=" in a)
    return section(config, "model_args")


def model_of(document: Mapping[str, Any]) -> tuple[str, str]:
    """The model that a results file names, and the reason why that name is not an id; empty where it is one."""
    given = _arguments(document)
    general = section(document, "config_general")
    name = document.get("model_name") or given.get("pretrained") or general.get("model_name") or ""
    other = [k for k in _ANOTHER_MODEL if given.get(k) and (k, given[k]) != ("revision", "main")]
    if other:
        return str(name), f"field 'config.model_args': {other[0]}={given[other[0]]} is another model than {name!r}"
    if not isinstance(name, str) or not is_id(name):
        return str(name), _no_name(name)
    return name, ""


def _no_name(name: Any) -> str:
    return f"field 'model_name': must be organisation/name or another relative path, not {name!r}"
