"""Models of different makers that are perhaps the same: equal parameters, tokens, or scores.

A merge, a tune or a second upload under another name can be in training and in test of folds that split no maker. Rounded
numbers prove nothing, so parameters count only where they are not whole millions, and tokens only with three digits or more.
Two models share scores where they have at least LEAST_SCORES in common and half of these are equal to the last digit. Zeros,
ones and common values do not count.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from tagcorpus.predictor.records.makers import MAKER, groups_of
from tagcorpus.predictor.records.tasks import normalised

LEAST_SCORES = 10
SHARE = 0.5
COMMON = 10  # models with one value of a score; a value of more models is probably that of guessing
_MILLION = 1_000_000
EFFECT = "perhaps has a copy of a test model in the training part; `maker` and `base_model` say what is one maker's"
FOUND = {
    "parameters": "pairs of models of different makers have exactly the same number of parameters",
    "tokens": "numbers of pretraining tokens are declared by different makers",
    "scores": f"pairs of models of different makers share at least half of {LEAST_SCORES} or more scores",
}


def shared(con: Any) -> dict[str, list[str]]:
    """`parameters`, `tokens`, `scores` -> a line for each pair of models or number of tokens. con: of a store."""
    ids = [
        r[0]
        for r in con.execute(
            "SELECT DISTINCT id FROM evaluation_results UNION SELECT id FROM model_annotations ORDER BY 1"
        ).fetchall()
    ]
    of = dict(zip(ids, groups_of(con, ids, MAKER), strict=True))
    return {"parameters": _parameters(con, of), "tokens": _tokens(con, of), "scores": _scores(con, of)}


def _parameters(con: Any, of: dict[str, str]) -> list[str]:
    rows = con.execute(
        f"SELECT total_params, list(id ORDER BY id) FROM model_annotations WHERE total_params % {_MILLION} != 0 "
        "GROUP BY 1 HAVING count(*) > 1 ORDER BY 1"
    ).fetchall()
    return [
        f"{a} and {b}: {count:,}"
        for count, ids in rows
        for i, a in enumerate(ids)
        for b in ids[i + 1 :]
        if of[a] != of[b]
    ]


def _tokens(con: Any, of: dict[str, str]) -> list[str]:
    column = "pretraining_summary_total_tokens_billions"
    rows = con.execute(
        f"SELECT {column}, list(id ORDER BY id) FROM dataset_info WHERE {column} > 0 GROUP BY 1 HAVING count(*) > 1 ORDER BY 1"
    ).fetchall()
    lines = []
    for tokens, ids in rows:
        makers: dict[str, list[str]] = defaultdict(list)
        for model in (i for i in ids if i in of):
            makers[of[model]].append(model)
        if len(makers) > 1 and len(f"{tokens:g}".replace(".", "").strip("0")) >= 3:
            lines.append(f"{tokens:g} billion: " + ", ".join(f"{m} ({len(own)})" for m, own in sorted(makers.items())))
    return lines


def _scores(con: Any, of: dict[str, str]) -> list[str]:
    """Lines in the order of the share, largest first. Both names of a benchmark count as one."""
    scores: dict[str, dict[tuple[str, str, str], float]] = defaultdict(dict)
    holders: dict[tuple[tuple[str, str, str], float], set[str]] = defaultdict(set)
    for model, benchmark, setting, metric, value in con.execute(
        "SELECT id, benchmark, setting, metric, metric_value FROM evaluation_results "
        "WHERE isfinite(metric_value) ORDER BY rowid"
    ).fetchall():
        key = (normalised(benchmark), setting, metric)
        if key not in scores[model]:
            scores[model][key] = value
            if value not in (0, 1):
                holders[key, value].add(model)
    equal: dict[tuple[str, str], int] = defaultdict(int)
    for models in holders.values():
        if len(models) <= COMMON:
            for a in models:
                for b in models:
                    if a < b and of[a] != of[b]:
                        equal[a, b] += 1
    pairs = []
    for (a, b), count in equal.items():
        if count >= SHARE * LEAST_SCORES:
            common = sum(1 for k, v in scores[a].items() if k in scores[b] and not v == scores[b][k] in (0, 1))
            if common >= LEAST_SCORES and count >= SHARE * common:
                pairs.append((-count / common, f"{a} and {b}: {count} of {common}"))
    return [line for _, line in sorted(pairs)]
