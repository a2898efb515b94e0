"""One task's scores from a store, and its facts of models: the queries behind a data set, and the rule for conflicts."""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from tagcorpus.errors import InputError
from tagcorpus.predictor.records.metrics import SHARES
from tagcorpus.predictor.records.tasks import PUBLISHED, Task, normalised, shots_of

_WIDE = re.compile(r".+_[0-9]+-shot_[a-z0-9_]+")

# The score that counts among several for one (model, benchmark, shots). `ordered`: the first by setting text, then value, so
# that the order of rows does not matter. `stored`: the first row in the store, as in the published figures.
Rule = Literal["ordered", "stored"]
Facts = dict[str, dict[str, Any]]


@dataclass(frozen=True)
class Conflict:
    """Unequal scores for one model, benchmark (normalised), shots and metric; fractions, `dropped` ascending."""

    id: str
    benchmark: str
    kept: float
    dropped: tuple[float, ...]


def models_of(con: Any, of_model: Sequence[str], of_data: Sequence[str], drop_instruction_tuned: bool) -> Facts:
    """id -> column -> value or None, of every model that is in both tables. of_model, of_data: columns of each table."""
    columns = ", ".join([*(f'm."{c}"' for c in of_model), *(f'd."{c}"' for c in of_data)])
    where = "WHERE m.is_instruction_tuned IS NOT TRUE" if drop_instruction_tuned else ""
    rows = con.execute(
        f"SELECT m.id, {columns} FROM model_annotations m JOIN dataset_info d ON d.id = m.id {where}"
    ).fetchall()
    return {row[0]: dict(zip((*of_model, *of_data), row[1:], strict=True)) for row in rows}


def known_ids(con: Any) -> set[str]:
    return {row[0] for row in con.execute("SELECT id FROM model_annotations").fetchall()}


def score_columns(con: Any, columns: Sequence[str]) -> list[str]:
    """The columns of a table that are named like scores: a benchmark, a task, or `<benchmark>_<shots>-shot_<metric>` as in
    Store.wide. A predictor must not have them as features."""
    rows = con.execute("SELECT DISTINCT benchmark, setting, metric FROM evaluation_results").fetchall()
    names = {normalised(b).lower() for b, _, _ in rows} | {f"{b}_{s}_{m}".lower() for b, s, m in rows} | set(PUBLISHED)
    return [c for c in columns if c.lower() in names or _WIDE.fullmatch(c)]


def scores_of(con: Any, chosen: Task, models: dict[str, Any], rule: Rule) -> tuple[dict[str, float], dict[str, Any]]:
    """Each model's mean of its present sub-scores, and the fields of `Noticed` (data.py) about scores. A model without any
    sub-score is left out."""
    stored = con.execute(
        "SELECT id, benchmark, setting, metric_value FROM evaluation_results WHERE metric = ? ORDER BY rowid",
        [chosen.metric],
    ).fetchall()
    values: dict[tuple[str, str], list[tuple[str, float]]] = defaultdict(list)
    not_a_number = []
    for model, raw, setting, value in stored:
        benchmark = normalised(raw)
        if model not in models or not chosen.has(benchmark) or shots_of(setting) != chosen.shots:
            continue
        if value is None or math.isnan(value):
            not_a_number.append((model, benchmark))
        elif not math.isfinite(value) or (chosen.metric in SHARES and not 0 <= value <= 1):
            bounds = "a share between 0 and 1" if chosen.metric in SHARES else "a finite number"
            raise InputError(
                f"the score of {model} in {raw} ({setting} {chosen.metric}) is {value:g}, not {bounds}; `tagcorpus store check` "
                "lists such scores"
            )
        else:
            values[model, benchmark].append((setting, float(value)))
    kept: dict[str, list[float]] = defaultdict(list)
    conflicts = []
    for model, benchmark in sorted(values, key=lambda k: (k[0].encode(), k[1])):
        rows = values[model, benchmark]
        first = rows[0] if rule == "stored" else min(rows)
        kept[model].append(first[1])
        if dropped := sorted(v for _, v in rows if v != first[1]):
            conflicts.append(Conflict(model, benchmark, first[1], tuple(dropped)))
    scores = {m: math.fsum(v) / len(v) for m, v in kept.items()}
    seen = {
        "conflicts": tuple(conflicts),
        "zeros": tuple(f"{m}: {b}" for m, b in sorted(values) if any(v == 0 for _, v in values[m, b])),
        "not_a_number": tuple(f"{m}: {b}" for m, b in sorted(set(not_a_number))),
        "without_score": tuple(sorted({m for m, _ in not_a_number} - set(scores), key=str.encode)),
    }
    return scores, seen
