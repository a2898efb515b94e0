"""The output of `tagcorpus predict`: an answer of three lines; with --verbose the table of predictors, their names, and notes.

All text is made from the document (predictor/protocols/tables.py). predict.json has more, such as the published test over
seeds. No line is wider than WIDTH columns, unless a single word is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tagcorpus.pipelines.progress import wrapping
from tagcorpus.predictor.learners.evaluation import LEAKY
from tagcorpus.predictor.learners.models import DEFAULT, SCALE_ONLY
from tagcorpus.predictor.protocols.intervals import LEAST_GROUPS
from tagcorpus.predictor.records.makers import group_word

WIDTH = 100
# In the order of the table's rows; the models themselves are described in predictor/learners/models.py.
LEGEND = {
    SCALE_ONLY: "the best on parameters and tokens alone: the mean of law-scale and trees-scale, or one of log-linear, "
    "law-scale, trees-scale where inner folds of the training models say that it is clearly better",
    "scaling": "XGBoost on parameters and tokens, searched",
    "scaling-published": "the same by four fifths of the training part",
    "median": "of the training scores",
    "all": "XGBoost on every column, searched",
    "no-scale": "XGBoost on all columns but size, searched",
    "log-linear": "a line in ln parameters and ln tokens",
    "law-scale": "a sigmoid curve in parameters and tokens",
    "law": "a sigmoid curve in these and the share of code in pretraining",
    "trees-scale": "trees that never fall with parameters or tokens",
    "trees": "such trees with the share of code",
    "declared": "such trees with six declared shares of pretraining data",
    "gaussian-process": "on size and code",
    "linear": "ridge on size and code, with squares",
    "average": "mean of law-scale, law, trees-scale, trees, declared, gaussian-process",
    "generated": "trees on size, code and features of the models' generations",
    "selected": "XGBoost on selected columns",
}
KINDS = {
    "conflicts": "unequal scores for one model and benchmark (one of them kept)",
    "zeros": "scores of exactly 0, perhaps failed evaluations (kept)",
    "without_score": "models whose scores are all NaN (left out)",
    "without_scale": "models without parameters or tokens (left out)",
    "without_features": "models that the feature table has no row for (their features are missing)",
}


def wrapped(text: str) -> str:
    """The text with lines wider than WIDTH, or than the terminal, broken between words; continued lines are indented by four
    spaces."""
    width = wrapping.width_at_most(WIDTH)
    return "\n".join(
        line if len(line) <= width else "\n".join(wrapping.wrapped(line, width, "", "    "))
        for line in text.split("\n")
    )


def brief(document: Mapping[str, Any], answers: Sequence[str] = (), first: str = "") -> str:
    """The answer in three lines. first: a text above it; answers: texts below it, of options that ask for more."""
    leaky = dict.fromkeys(e["predictor"] for t in document["tasks"] for e in t["evaluations"] if LEAKY in e["marks"])
    lines = [
        *_short_answer(document),
        "Add --verbose for the table of predictors, the meaning of their names, and notes.",
        *(f"{', '.join(map(repr, leaky))}: {LEAKY}" for _ in [0] if leaky),
    ]
    return wrapped("\n\n".join(text for text in (first, "\n".join(lines), *answers) if text))


def _short_answer(document: Mapping[str, Any]) -> list[str]:
    """Two lines: the error of the best known predictor, and how it compares with size alone."""
    tasks = document["tasks"]
    summary = _compared_summary(document)
    if summary is not None:
        groups = _groups(document)
        errors = {task: one["mae"] for task, one in summary["tasks"].items()}
        ratio = summary["geometric_mean"]
        line = f"This is {ratio:.2f} times the error of {SCALE_ONLY!r}" if ratio else f"{SCALE_ONLY!r} has no error"
        if summary["low"] is None:
            line += f" ({summary['organisations']} {groups}: too few for an interval)"
        else:
            line += f" (95 % {summary['low']:.2f} to {summary['high']:.2f})"
        if len(errors) > 1:
            line += f", lower in {summary['better_in']} of {summary['of']} tasks"
        return [_errors(summary["predictor"], errors, f"models of unseen {groups}"), f"{line}."]
    compared = {t["task"]: t["comparisons"][-1] for t in tasks if t["comparisons"]}
    last = next(iter(compared.values()), None) or tasks[0]["evaluations"][0]
    errors = {}
    for t in tasks:
        for e in t["evaluations"]:
            if (e["predictor"], e["folds"]) == (last["predictor"], last["folds"]):
                errors[t["task"]] = e["mae_mean_over_seeds"] if document["seeds"] else e["mae"]
    lines = [_errors(last["predictor"], errors, f"left-out models, {last['folds']} folds")]
    if len(compared) == 1:
        return [*lines, *(_gain(t) for t in tasks if t["comparisons"])]
    if compared:
        gains = {task: c["gain_percent"] for task, c in compared.items()}
        low, high = min(gains, key=gains.__getitem__), max(gains, key=gains.__getitem__)
        lines.append(
            f"It gains on {last['against']!r} in {sum(g > 0 for g in gains.values())} of {len(gains)} tasks: "
            f"{gains[low]:+.1f} % ({low}) to {gains[high]:+.1f} % ({high})."
        )
    return lines


def _errors(predictor: str, errors: Mapping[str, float], models: str) -> str:
    """Example  "hellaswag: 'average' is off by 2.50 points on models of unseen makers."."""
    if len(errors) == 1:
        ((task, error),) = errors.items()
        return f"{task}: {predictor!r} is off by {error:.2f} points on {models}."
    low, high = min(errors, key=errors.__getitem__), max(errors, key=errors.__getitem__)
    return f"{predictor!r} is off by {errors[low]:.2f} ({low}) to {errors[high]:.2f} points ({high}) on {models}."


def terminal(document: Mapping[str, Any], below: Sequence[str] = (), first: str = "") -> str:
    """The document as text; first: a text above it, below: texts below the table."""
    marks = list(dict.fromkeys(m for t in document["tasks"] for e in t["evaluations"] for m in e["marks"]))
    parts = [first, _answer(document), _table(document, marks), _notes(document, marks), *below]
    return wrapped("\n\n".join(p for p in parts if p))


def _answer(document: Mapping[str, Any]) -> str:
    """A line a task; "" where nothing is compared."""
    if document["protocol"] != "grouped":
        return "\n".join(_gain(t) for t in document["tasks"] if t["comparisons"])
    s = _compared_summary(document)
    if s is None:
        return ""
    groups = _groups(document)
    lines = [f"points of error on models of unseen {groups}, mean over seeds: {s['predictor']} against {SCALE_ONLY}"]
    width = max(len(t) for t in (*s["tasks"], "all"))
    for task, one in s["tasks"].items():
        errors = f"{one['mae']:.2f} against {one['mae'] / one['ratio']:.2f}" if one["ratio"] else f"{one['mae']:.2f}"
        lines.append(f"{task:<{width}}  {errors}: {_times(one['ratio'], one['low'], one['high'])}")
    if len(s["tasks"]) > 1:
        mean = _times(s["geometric_mean"], s["low"], s["high"])
        lines.append(f"{'all':<{width}}  lower in {s['better_in']} of {s['of']} tasks: {mean}")
    if s["low"] is None:
        lines.append(f"no intervals: {s['organisations']} {groups}, {LEAST_GROUPS} are needed")
    return "\n".join(lines)


def _compared_summary(document: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The summary over tasks of `average`, or else of the last predictor, against `scale-only`; None without one."""
    if document["protocol"] != "grouped":
        return None
    summaries = {
        s["predictor"]: s
        for s in document["summary_over_tasks"]
        if s["folds"] == "grouped" and s["against"] == SCALE_ONLY and s["predictor"] != SCALE_ONLY
    }
    return summaries.get(DEFAULT) or next(reversed(summaries.values()), None)


def _groups(document: Mapping[str, Any]) -> str:
    return group_word(document["tasks"][0]["grouped_by"])


def _times(ratio: float | None, low: float | None, high: float | None) -> str:
    """Example  "0.97 times (95 % 0.93 to 1.01)"."""
    if ratio is None:
        return "no ratio"
    return f"{ratio:.2f} times" + (f" (95 % {low:.2f} to {high:.2f})" if low is not None else "")


def _gain(task: Mapping[str, Any]) -> str:
    """The gain of the last predictor, which is the one that the user named."""
    c = task["comparisons"][-1]
    low, high = c["gain_interval_percent"]
    marks = next(
        e["marks"] for e in task["evaluations"] if (e["predictor"], e["folds"]) == (c["predictor"], c["folds"])
    )
    leaky = " (leaky)" if LEAKY in marks else ""
    return (
        f"{task['task']}: {c['predictor']!r}{leaky} gains {c['gain_percent']:+.1f} % on {c['against']!r} "
        f"(95 % {low:+.1f} to {high:+.1f}), {c['folds']} folds"
    )


def _table(document: Mapping[str, Any], marks: Sequence[str]) -> str:
    """Rows below a line for each task and kind of folds, which keeps the table narrow."""
    seeds = document["seeds"]
    head = ["  predictor", f"MAE seed {document['seed']}"]
    if seeds:
        head += [f"seeds {seeds[0]}-{seeds[-1]}" if len(seeds) > 1 else f"seed {seeds[0]}"]
    if any(task["comparisons"] for task in document["tasks"]):
        # Of one task there is nothing to adjust for.
        head += ["gain", "95 % interval", "p"] + ["q"] * (len(document["tasks"]) > 1)
    rows: list[list[str] | str] = []
    for task in document["tasks"]:
        compared = {(c["predictor"], c["folds"]): c for c in task["comparisons"]}
        for folds in dict.fromkeys(e["folds"] for e in task["evaluations"]):
            rows.append(
                f"{task['task']}, {folds} folds: {task['models']} models, {task['organisations']} {_groups(document)}"
            )
            for e in (e for e in task["evaluations"] if e["folds"] == folds):
                signs = "".join(f" [{marks.index(m) + 1}]" for m in e["marks"])
                cells = [f"  {e['predictor']}{signs}", f"{e['mae']:.2f} +- {e['mae_sd_over_folds']:.2f}"]
                if seeds:
                    spread = e["mae_sd_over_seeds"]
                    cells.append(
                        f"{e['mae_mean_over_seeds']:.2f}" + (f" +- {spread:.2f}" if spread is not None else "")
                    )
                cells += _compared(compared.get((e["predictor"], folds)))
                rows.append(cells[: len(head)])
    listed = [head, *(r for r in rows if not isinstance(r, str))]
    widths = [max(len(r[i]) for r in listed) for i in range(len(head))]

    def line(cells: Sequence[str]) -> str:
        return "  ".join(c.ljust(w) for c, w in zip(cells, widths, strict=True)).rstrip()

    rule = "  ".join("-" * w for w in widths)
    return "\n".join([line(head), rule, *(r if isinstance(r, str) else line(r) for r in rows)])


def _compared(c: Mapping[str, Any] | None) -> list[str]:
    """Gain, interval, p, q: over groups where the protocol has them, else of the corrected test."""
    if c is None:
        return [""] * 4
    over_groups = c.get("over_groups")
    if over_groups is None:
        low, high = c["gain_interval_percent"]
        test = c["corrected"]
        return [f"{c['gain_percent']:+.1f} %", f"{low:+.1f} to {high:+.1f}", f"{test['p']:.2g}", f"{test['q']:.2g}"]
    if over_groups["ratio"] is None:
        return [""] * 4
    gain = f"{100 * (1 - over_groups['ratio']):+.1f} %"
    if over_groups["low"] is None:
        return [gain, "", "", ""]
    low, high = 100 * (1 - over_groups["high"]), 100 * (1 - over_groups["low"])
    return [gain, f"{low:+.1f} to {high:+.1f}", f"{over_groups['p']:.2g}", f"{over_groups['q']:.2g}"]


def _notes(document: Mapping[str, Any], marks: Sequence[str]) -> str:
    names = dict.fromkeys(e["predictor"] for t in document["tasks"] for e in t["evaluations"])
    lines = ["MAE in percentage points, +- over folds; gain: lower mean error than the first of the same folds"]
    if any(t["comparisons"] for t in document["tasks"]):
        of_tasks = "; q: p adjusted over tasks (Benjamini-Hochberg)" if len(document["tasks"]) > 1 else ""
        if document["protocol"] == "grouped":
            lines.append(f"interval and p: over {_groups(document)}{of_tasks}; other tests are in predict.json")
        else:
            lines.append(
                f"p: of the Nadeau-Bengio test over test folds{of_tasks}; the published test is in predict.json"
            )
            lines.append(
                "random folds say nothing about a new organisation: in 11 % of simulated data sets, columns that only tell "
                "organisations apart gain significantly by this p"
            )
    lines.append("predictors: " + "; ".join(f"{n} = {LEGEND[n]}" for n in names if n in LEGEND))
    lines += [f"[{i}] {mark}" for i, mark in enumerate(marks, 1)]
    for kind, words in KINDS.items():
        counts = [f"{t['task']} {len(t['noticed'][kind])}" for t in document["tasks"] if t["noticed"][kind]]
        lines += [f"{words}: {', '.join(counts)}"] if counts else []
    return "\n".join(lines)
