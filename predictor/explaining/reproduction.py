"""The page docs/paper-reproduction.md: the published protocol's figures on all tasks, and sentences about them.

Every sentence with a number is made from the numbers of the run, so other data give other sentences.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tagcorpus.predictor.protocols.tables import Outcome

SHOWN_ORGANISATIONS = 4

TITLE = "# The published figures, reproduced"


def page(document: Mapping[str, Any], outcomes: Sequence[Outcome], otherwise: Mapping[str, Mapping[str, float]]) -> str:
    """Markdown. document: tables.document of the same outcomes, with the predictors scaling, all and selected; otherwise:
    the seed's figures of tasks where another rule for conflicting scores changes the data, task -> predictor -> MAE."""
    rows = [_row(task) for task in document["tasks"]]
    seeds = f"{document['seeds'][0]}-{document['seeds'][-1]}"
    return "\n".join(
        [
            TITLE,
            "",
            "Written by `tagcorpus predict --reproduce --db DIR --features CSV`; do not edit. The protocol is that of",
            "*Not-Just-Scaling Laws* (arXiv 2503.03862), as its scripts compute it (`--protocol paper`, see",
            "[predict.md](predict.md)). Figures are mean absolute errors in percentage points, means of three test folds.",
            "",
            f"Versions: {', '.join(f'{k} {v}' for k, v in document['versions'].items())}. Inputs, by digest:",
            "",
            *(f"- {kind}: `{name}` {d}" for kind, files in document["inputs"].items() for name, d in files.items()),
            "",
            f"## Seed {document['seed']}",
            "",
            "`median` predicts the median of the training labels, `log-linear` is least squares on the logarithms of",
            "parameters and tokens, the others are boosted trees: `scaling` on those two, `all` on every column, `selected` on",
            "the published selection for the task. Selection saw the test folds, so that column is **leaky**.",
            "",
            *_seed_table(rows),
            "",
            f"## Seeds {seeds}",
            "",
            "Mean +- standard deviation over seeds (ddof 1). The gain is by how much the mean error of `selected` (leaky) is",
            "below that of `scaling`; then the least and the largest gain of a single seed, the 95 % interval of the",
            "corrected test, and its p beside that of the published test.",
            "",
            *_seeds_table(rows),
            "",
            f"{document['tests'][0].upper()}{document['tests'][1:]}.",
            "",
            "## What this shows",
            "",
            *(f"- {line}" for line in _shown(rows, document)),
            "",
            "## What it does not show",
            "",
            *(f"- {line}" for line in _not_shown(outcomes)),
            "",
            "## What was noticed in the data",
            "",
            *(f"- {line}" for line in _noticed(document["tasks"], otherwise, rows)),
            "",
        ]
    )


def _row(task: Mapping[str, Any]) -> dict[str, Any]:
    by_name = {e["predictor"]: e for e in task["evaluations"]}
    compared = {c["predictor"]: c for c in task["comparisons"]}
    return {"name": task["task"], "n": task["models"], "task": task, "by": by_name, "against": compared}


def _label(row: Mapping[str, Any]) -> str:
    task = row["task"]
    shots = "" if row["name"].endswith("-shot") else f" {task['shots']}-shot"
    return f"{row['name']}{shots}{' (Brier)' if task['metric'] == 'brier_score' else ''}"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    cells = [head, ["---"] + ["--:"] * (len(head) - 1), *rows]
    return [f"| {' | '.join(r)} |" for r in cells]


def _seed_table(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    names = ("median", "log-linear", "scaling", "all", "selected")
    body = []
    for r in rows:
        gain = 100 * (1 - r["by"]["selected"]["mae"] / r["by"]["scaling"]["mae"])
        body.append([_label(r), str(r["n"]), *(f"{r['by'][n]['mae']:.2f}" for n in names), f"{gain:+.1f} %"])
    return _table(["task", "models", *names[:-1], "selected (leaky)", "gain of selected over scaling"], body)


def _seeds_table(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    body = []
    for r in rows:
        c = r["against"]["selected"]
        low, high = c["gain_interval_percent"]
        least, largest = c["gain_of_single_seeds_percent"]
        body.append(
            [
                _label(r),
                *(
                    f"{r['by'][n]['mae_mean_over_seeds']:.2f} +- {r['by'][n]['mae_sd_over_seeds']:.2f}"
                    for n in ("scaling", "all", "selected")
                ),
                f"{c['gain_percent']:+.1f} %",
                f"{least:+.0f} to {largest:+.0f}",
                f"{low:+.0f} to {high:+.0f}",
                f"{c['published']['p']:.2g}",
                f"{c['corrected']['p']:.2g}",
                f"{c['corrected']['q']:.2g}",
            ]
        )
    head = ["task", "scaling", "all", "selected (leaky)", "gain", "single seeds, %", "95 % interval, %"]
    return _table([*head, "p published", "p corrected", "q corrected"], body)


def _shown(rows: Sequence[Mapping[str, Any]], document: Mapping[str, Any]) -> list[str]:
    gains = sorted((r["against"]["selected"]["gain_percent"], r["name"]) for r in rows)
    single = sorted((100 * (1 - r["by"]["selected"]["mae"] / r["by"]["scaling"]["mae"]), r["name"]) for r in rows)
    worse = [r["name"] for r in rows if r["against"]["all"]["gain_percent"] < 0]
    n = len(rows)
    published, corrected = (
        sum(r["against"]["selected"][test]["is_significant"] for r in rows) for test in ("published", "corrected")
    )
    last = document["seeds"][-1]
    ratios = [r["by"]["log-linear"]["mae"] / r["by"]["median"]["mae"] for r in rows]
    below = sum(ratio < 1 for ratio in ratios)
    return [
        f"Over seeds 0-{last} the selected features lower the error of scaling by {gains[0][0]:+.1f} % ({gains[0][1]}) to "
        f"{gains[-1][0]:+.1f} % ({gains[-1][1]}): on models from the same organisations, with features that were chosen by "
        f"the same test folds.",
        f"At seed {document['seed']} alone it is {single[0][0]:+.1f} % ({single[0][1]}) to {single[-1][0]:+.1f} % "
        f"({single[-1][1]}): one shuffle of so few models tells little.",
        f"All columns without selection are worse than the two scale features on {len(worse)} of {n} tasks"
        + (f" ({', '.join(worse)})." if worse else "."),
        f"Of {n} gains of the selected features the published test calls {published} significant (q <= 0.05), the corrected "
        f"one {corrected}.",
        f"A median of training labels is a weak baseline, and no scaling law: log-linear has less error on {below} of {n} tasks, "
        f"at seed {document['seed']} {100 * (1 - float(np.mean(ratios))):.0f} % less on average.",
    ]


def _not_shown(outcomes: Sequence[Outcome]) -> list[str]:
    largest = max(outcomes, key=lambda o: len(o.data.ids)).data
    counts = Counter(largest.organisations)
    most = ", ".join(f"{n} of {org}" for org, n in counts.most_common(SHOWN_ORGANISATIONS))
    return [
        "Not that the features help on models that were not used to choose them: they were selected by the error on these "
        "test folds, and the seeds reported are among those selected by.",
        f"Not that a new organisation's model is predicted this well: {len(largest.ids)} models come from {largest.groups} "
        f"organisations ({most}), and random folds put the same series on both sides. `--protocol grouped` asks that.",
        "Not that more seeds make it surer: they shuffle the same models. The published p falls with their number; the "
        "corrected one does not.",
        "Not that a feature causes a score: models that share it share a maker, a year and a recipe, too.",
    ]


def _noticed(
    tasks: Sequence[Mapping[str, Any]], otherwise: Mapping[str, Mapping[str, float]], rows: Sequence[Mapping[str, Any]]
) -> list[str]:
    lines = []
    by_name = {r["name"]: r["by"] for r in rows}
    for task in tasks:
        n = task["noticed"]
        if n["conflicts"]:
            apart = max(max(abs(c["kept"] - v) for v in c["dropped"]) for c in n["conflicts"])
            name = task["task"]
            line = (
                f"{name}: {len(n['conflicts'])} scores are there twice with other values, up to {100 * apart:.1f} points "
                f"apart. Taken is the first in the store's order, which gives the published figures"
            )
            if name in otherwise:
                here, there = by_name[name], otherwise[name]
                line += "; the first by setting text and value instead gives " + ", ".join(
                    f"{p} {there[p]:.2f} (not {here[p]['mae']:.2f})" for p in there
                )
            lines.append(line + ".")
        if n["zeros"]:
            lines.append(
                f"{task['task']}: {len(n['zeros'])} scores are exactly 0, perhaps failed evaluations; they are kept."
            )
        if n["without_score"]:
            lines.append(f"{task['task']}: {len(n['without_score'])} models have NaN for a score and are left out.")
    first = tasks[0]["noticed"]
    sentinels = sum(first["sentinels"].values())
    lines.append(
        f"In {tasks[0]['task']}'s data: {sentinels} cells are -1 and count as missing; {len(first['empty'])} columns have no "
        f"value at all; {len(first['unused_features'])} rows of the feature table are no model of the data set, of which the "
        f"store does not know {', '.join(first['unknown_features']) or 'none'}; "
        f"{len(first['without_features'])} models have no row in it."
    )
    return lines
