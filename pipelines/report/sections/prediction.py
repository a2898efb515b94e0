"""The report's section on a prediction in the folder (`tagcorpus predict`): errors by task, comparisons, pictures."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tagcorpus.pipelines.progress.heartbeat import json_object
from tagcorpus.pipelines.report.contents.contents import Contents
from tagcorpus.pipelines.report.contents.folder import Output
from tagcorpus.pipelines.report.sections.html import Section, table, text
from tagcorpus.predictor.records.makers import NAMESPACE, group_word

RESULT = "prediction/predict.json"
FIGURES = "prediction/figures"
_KINDS = {"grouped": "no group on both sides", "random": "random"}


def prediction_section(contents: Contents) -> Section | None:
    output = contents.output
    result = json_object(output.folder, RESULT)
    if not result.get("tasks"):
        return None
    introduction = f"<p>{text(_introduction(result))}</p>"
    body = introduction + _over_tasks(result) + _errors(result) + _pictures(output)
    return Section("prediction", "Prediction", body)


def _introduction(result: Mapping[str, Any]) -> str:
    tasks: Sequence[Mapping[str, Any]] = result["tasks"]
    models, organisations = max(t["models"] for t in tasks), max(t["organisations"] for t in tasks)
    groups = group_word(tasks[0].get("grouped_by", NAMESPACE))
    return (
        f"Scores of up to {models} models by {organisations} {groups}, predicted by fits that have not seen them "
        f"({result['protocol']} protocol). Errors are in percentage points, means over test folds."
    )


def _over_tasks(result: Mapping[str, Any]) -> str:
    rows = [
        (
            s["predictor"],
            _KINDS.get(s["folds"], s["folds"]),
            s["against"],
            f"{s['geometric_mean']:.2f}",
            f"{s['low']:.2f} to {s['high']:.2f}" if s["low"] is not None else "–",
            f"{s['better_in']} of {s['of']}",
        )
        for s in result.get("summary_over_tasks", ())
    ]
    if not rows:
        return ""
    header = ("Predictor", "Folds", "Against", "Error, as a ratio", "95 % interval", "Tasks where it is lower")
    title = "Ratio to the error of predictors that know only the size, geometric mean over tasks"
    return f"<h3>Over all tasks</h3><p>{title}.</p>" + table(title, header, rows, range(3, 6))


def _errors(result: Mapping[str, Any]) -> str:
    tasks: Sequence[Mapping[str, Any]] = result["tasks"]
    body = "<h3>By task</h3>"
    for kind in dict.fromkeys(e["folds"] for t in tasks for e in t["evaluations"]):
        maes = [{e["predictor"]: e["mae"] for e in t["evaluations"] if e["folds"] == kind} for t in tasks]
        predictors = list(dict.fromkeys(p for m in maes for p in m))
        title = f"Mean absolute error; folds: {_KINDS.get(kind, kind)}"
        rows = [
            (
                t["task"] if "-shot" in t["task"] else f"{t['task']} {t['shots']}-shot",
                t["models"],
                *(f"{m[p]:.2f}" if p in m else "–" for p in predictors),
            )
            for t, m in zip(tasks, maes, strict=True)
        ]
        body += f"<p>{text(title)}.</p>"
        body += table(title, ("Task", "Models", *predictors), rows, range(1, len(predictors) + 2))
    title = "Every predictor, with its gain over the first"
    header = (
        "Task",
        "Shots",
        "Models",
        "Predictor",
        "Folds",
        "Error",
        "Over seeds",
        "Gain",
        "95 % interval of the gain",
    )
    shown = table(title, header, list(_evaluations(tasks)), (1, 2, 5, 6, 7, 8))
    return body + f"<details><summary>{title}</summary>{shown}</details>"


def _evaluations(tasks: Sequence[Mapping[str, Any]]) -> Iterator[Sequence[object]]:
    for task in tasks:
        gains = {(c["predictor"], c["folds"]): c for c in task["comparisons"]}
        for one in task["evaluations"]:
            gain = gains.get((one["predictor"], one["folds"]), {})
            percent, interval = _gain(gain)
            marks = "".join(f" ({m})" for m in one["marks"])
            yield (
                task["task"],
                task["shots"],
                task["models"],
                one["predictor"] + marks,
                _KINDS.get(one["folds"], one["folds"]),
                f"{one['mae']:.2f}",
                f"{one['mae_mean_over_seeds']:.2f}" if one.get("mae_mean_over_seeds") is not None else "–",
                _percent(percent),
                " to ".join(map(_percent, interval)) if interval else "–",
            )


def _gain(comparison: Mapping[str, Any]) -> tuple[float | None, list[float] | None]:
    """The gain in percent and its interval, over groups if the comparison has them. Few groups have no interval."""
    over_groups = comparison.get("over_groups")
    if over_groups is None or over_groups["ratio"] is None:
        return comparison.get("gain_percent"), comparison.get("gain_interval_percent")
    ratio, low, high = (over_groups[k] for k in ("ratio", "low", "high"))
    return 100 * (1 - ratio), None if low is None else [100 * (1 - high), 100 * (1 - low)]


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{value:+.1f} %".replace("-", "−")


def _pictures(output: Output) -> str:
    """The PNG files of the prediction. An SVG could have scripts, so none is shown."""
    shown = []
    for name in sorted(n for n in output.folder.files(FIGURES) if n.endswith(".png")):
        title = name.removeprefix(f"{FIGURES}/").removesuffix(".png").replace("/", ", ").replace("_", " ")
        data = base64.b64encode(output.folder.read(name) or b"").decode()
        image = f'<img src="data:image/png;base64,{data}" alt="{text(title)}" loading="lazy">'
        shown.append(f'<figure class="picture">{image}<figcaption>{text(title)}</figcaption></figure>')
    return f"<h3>Pictures</h3>{''.join(shown)}" if shown else ""
