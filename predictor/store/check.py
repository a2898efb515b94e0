"""Checks of a store: orphans, two values for one score, NaN, exact zeros, -1, missing annotations.

An error makes a predictor stop or learn something false. A warning needs a person's look. A note is a fact. The checks
change nothing. They count and name zeros, but cannot say whether a zero is a failed evaluation.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from tagcorpus.predictor.records import metrics, siblings
from tagcorpus.predictor.records.annotations import DOMAINS, are_fractions, properties
from tagcorpus.predictor.records.checkpoints import TABLE
from tagcorpus.predictor.records.findings import SEVERITIES, Finding, listed
from tagcorpus.predictor.records.harness_results import is_id
from tagcorpus.predictor.store.store import NORMALISED_SQL, Store

# Metrics whose worst score is 0 and whose best is 1.
SHARES = (*metrics.SHARES, "em", "f1")
# Arithmetic and formal proofs really have zeros; every other benchmark's zeros are listed model by model.
ZEROS_EXPECTED = ("arithmetic%", "fld%", "truthfulqa_gen")


def check(store: Store) -> list[Finding]:
    """All findings, the most severe first. A sound store has none."""
    records = _records(store)
    findings = [
        *_conflicts(store),
        *_not_scores(store),
        *_zeros(store),
        *_orphans(store),
        *_odd_ids(store),
        *_straddling(store),
        *_annotations(records),
        *_missing(store, records),
    ]
    return sorted(findings, key=lambda f: SEVERITIES.index(f.severity))


def _rows(store: Store, query: str) -> list[tuple[Any, ...]]:
    rows: list[tuple[Any, ...]] = store.con.execute(query).fetchall()
    return rows


def conflicts(store: Store) -> list[tuple[str, str, str, str, float, float]]:
    """(id, benchmark, setting, metric, lowest, highest value) of every score that is stored under both names of its
    benchmark, equal values included; the largest difference first."""
    name = NORMALISED_SQL.format("benchmark")
    return [
        (i, b, s, m, low, high)
        for i, b, s, m, low, high in _rows(
            store,
            f"SELECT id, {name} AS name, setting, metric, min(metric_value), max(metric_value) FROM evaluation_results "
            "GROUP BY ALL HAVING count(*) > 1 ORDER BY max(metric_value) - min(metric_value) DESC, id, name, metric",
        )
    ]


def _conflicts(store: Store) -> Iterator[Finding]:
    pairs = conflicts(store)
    for metric in sorted({p[3] for p in pairs}):
        of = [p for p in pairs if p[3] == metric]
        differ = [p for p in of if p[4] != p[5]]
        message = f"scores ({metric}) are there under both names of their benchmark, with"
        apart = max((high - low for *_, low, high in differ), default=0.0)
        points = f"{100 * apart:.1f} points" if metric in SHARES else f"{apart:g}"
        yield from listed(
            "error",
            "two_values",
            f"{message} different values, up to {points} apart ({len(of):,} pairs in all)",
            [f"{i}, {b} {s}: {low:.4f} and {high:.4f}" for i, b, s, _, low, high in differ],
            "may take either of the two, depending on the order of the rows",
        )
        same = [f"{i}, {b} {s}" for i, b, s, _, low, high in of if low == high]
        yield from listed("note", "twice", f"{message} the same value", same)


def _not_scores(store: Store) -> Iterator[Finding]:
    for metric, n, where in _rows(
        store,
        "SELECT metric, count(*), list(id || ', ' || benchmark || ' ' || setting ORDER BY id, benchmark, setting) "
        "FROM evaluation_results WHERE metric_value IS NULL OR NOT isfinite(metric_value) GROUP BY metric ORDER BY metric",
    ):
        effect = "cannot be learnt; one that does not leave it out stops"
        yield Finding("error", "no_number", f"scores ({metric}) are NaN, infinite or missing", n, tuple(where), effect)
    shares = ", ".join(f"'{m}'" for m in SHARES)
    outside = _rows(
        store,
        "SELECT id || ', ' || benchmark || ' ' || setting || ' ' || metric || ': ' || metric_value FROM evaluation_results "
        f"WHERE metric IN ({shares}) AND isfinite(metric_value) AND (metric_value < 0 OR metric_value > 1) ORDER BY 1",
    )
    places = [r[0] for r in outside]
    yield from listed(
        "error", "no_share", "scores that are shares are outside 0 to 1", places, "takes percent for shares"
    )


def _zeros(store: Store) -> Iterator[Finding]:
    """Exact zeros by benchmark, the most first. Benchmarks where zeros are common share one note."""
    name = NORMALISED_SQL.format("benchmark")
    shares = ", ".join(f"'{m}'" for m in SHARES)
    usable = (
        "id IN (SELECT id FROM model_annotations JOIN dataset_info USING (id) WHERE is_instruction_tuned IS NOT TRUE "
        "AND total_params IS NOT NULL AND pretraining_summary_total_tokens_billions IS NOT NULL)"
    )
    expected = " OR ".join(f"benchmark LIKE '{pattern}'" for pattern in ZEROS_EXPECTED)
    total, where = 0, []
    for benchmark, setting, metric, is_expected, n, of, n_used, of_used, ids in _rows(
        store,
        f"SELECT {name} AS name, setting, metric, {expected}, count_if(metric_value = 0), count(*), "
        f"count_if(metric_value = 0 AND {usable}), count_if({usable}), list(id ORDER BY id) FILTER (metric_value = 0) "
        f"FROM evaluation_results WHERE metric IN ({shares}) GROUP BY ALL HAVING count_if(metric_value = 0) > 0 "
        "ORDER BY 5 DESC, 1, 2, 3",
    ):
        if is_expected:
            total += n
            where.append(f"{benchmark} {setting} ({metric}): {n:,} of {of:,} models")
            continue
        yield Finding(
            "warning",
            "exact_zeros",
            f"of {of:,} models have exactly 0 in {benchmark} {setting} ({metric}); "
            f"of the base models with both scales {n_used:,} of {of_used:,}",
            n,
            tuple(ids),
            "learns zeros of failed evaluations as scores",
        )
    if total:
        yield Finding("note", "zeros", "scores are exactly 0 where that is common", total, tuple(where))


def _orphans(store: Store) -> Iterator[Finding]:
    for left, right, finding in (
        ("evaluation_results", "model_annotations", "models have scores, but no annotations"),
        ("evaluation_results", "dataset_info", "models have scores, but nothing on their pretraining data"),
        ("dataset_info", "model_annotations", "models have pretraining data, but no annotations"),
        ("model_annotations", "dataset_info", "models have annotations, but nothing on their pretraining data"),
        ("model_annotations", "evaluation_results", "models have annotations, but no scores"),
        ("features", "model_annotations", "models have features, but no annotations"),
    ):
        if left in store.tables:
            is_checkpoint = f" AND id NOT IN (SELECT id FROM {TABLE})" if TABLE in store.tables else ""
            query = (
                f"SELECT DISTINCT id FROM {left} WHERE id NOT IN (SELECT id FROM {right}){is_checkpoint} ORDER BY id"
            )
            ids = [i[0] for i in _rows(store, query)]
            yield from listed("warning", "orphans", finding, ids, "does not see them")
    if TABLE in store.tables:
        alone = f"SELECT id FROM {TABLE} WHERE id NOT IN (SELECT id FROM model_annotations) ORDER BY id"
        finding = "checkpoints have no annotations; only predict --decide reads them"
        yield from listed("note", "checkpoints", finding, [i[0] for i in _rows(store, alone)])


def _odd_ids(store: Store) -> Iterator[Finding]:
    models = store.models()
    spellings: dict[str, list[str]] = {}
    for model in models:
        spellings.setdefault(model.strip().lower().replace("__", "/"), []).append(model)
    near = [" and ".join(group) for group in spellings.values() if len(group) > 1]
    effect = "perhaps one model, whose scores and annotations do not meet"
    yield from listed("warning", "ids_alike", "ids differ only in case, spaces, or __ for /", near, effect)
    deep = [m for m in models if m.count("/") > 1 and is_id(m)]
    effect = "grouped by organisation, which is the first part"
    yield from listed("note", "id_is_a_path", "ids are a longer path", deep, effect)
    odd = [m for m in models if m not in deep and (m.count("/") != 1 or not all(m.split("/")))]
    effect = "grouped by organisation, each bare name is a group of its own"
    yield from listed("warning", "id_not_org_name", "ids are not organisation/name", odd, effect)


def _straddling(store: Store) -> Iterator[Finding]:
    """Models of different makers that are perhaps copies (siblings.py)."""
    for kind, pairs in siblings.shared(store.con).items():
        effect = siblings.EFFECT if kind != "tokens" else "perhaps sees one corpus under two makers"
        yield from listed("warning", f"shared_{kind}", siblings.FOUND[kind], pairs, effect)


def _records(store: Store) -> list[dict[str, Any]]:
    """Both annotation tables joined, a dict a model, sorted by id; None is missing."""
    cursor = store.con.execute("SELECT * FROM model_annotations FULL JOIN dataset_info USING (id) ORDER BY id")
    names = [d[0] for d in cursor.description]
    return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


def _annotations(records: list[dict[str, Any]]) -> Iterator[Finding]:
    """-1 for unknown, values out of range, shares that add up to more than all."""
    for name, rule in properties().items():
        if rule["type"] not in ("integer", "number"):
            continue
        given = [(r["id"], r[name]) for r in records if r.get(name) is not None]
        sentinel = [i for i, value in given if value == -1]
        finding = f"models have -1 for {name}, which is not a value"
        effect = "takes it for a number, unless it treats -1 as missing"
        yield from listed("warning", "sentinel", finding, sentinel, effect)
        low, above = rule.get("minimum", -math.inf), rule.get("exclusiveMinimum", -math.inf)
        high = rule.get("maximum", math.inf)
        wrong = [f"{i}: {v:g}" for i, v in given if v != -1 and not (low <= v <= high and v > above)]
        yield from listed("error", "out_of_range", f"models have an impossible {name}", wrong)
    fractions = [r["id"] for r in records if are_fractions(r)]
    finding = "models have percentages of domains that add up to 1: they are fractions"
    effect = "takes a hundredth of each percentage for the percentage"
    yield from listed("error", "fractions", finding, fractions, effect)
    totals = [(r["id"], sum(max(r.get(p) or 0, 0) for p in DOMAINS)) for r in records]
    over = [f"{i}: {total:g}" for i, total in totals if total > 101]
    finding = "models whose shares of pretraining data add up to over 101 %"
    yield from listed("warning", "shares_over_100", finding, over)


def _missing(store: Store, records: list[dict[str, Any]]) -> Iterator[Finding]:
    """Missing annotations, model by model. No predictor uses a model without parameters or tokens."""
    scales = ("total_params", "pretraining_summary_total_tokens_billions")
    tables = ("model_annotations", "dataset_info")
    read = [n for n, rule in properties().items() if rule["table"] in tables and rule["type"] != "object"]
    empty = tuple(n for n in read if all(r.get(n) is None for r in records))
    scored = {i for (i,) in _rows(store, "SELECT DISTINCT id FROM evaluation_results")}
    missing = {r["id"]: [n for n in read if r.get(n) is None] for r in records}
    without = {i: [n for n in scales if n in m] for i, m in missing.items() if i in scored}
    where = [f"{i}: {', '.join(names)}" for i, names in without.items() if names]
    finding = "models with scores and annotations have no parameter count or no number of pretraining tokens"
    yield from listed("warning", "no_scale", finding, where, "does not see them")
    some = {i: [n for n in m if n not in empty] for i, m in missing.items()}
    where = [f"{i}: {', '.join(names)}" for i, names in some.items() if names]
    yield from listed("note", "missing_annotations", "models lack annotations", where)
    if records:
        yield from listed("note", "empty_columns", "columns are empty", empty)
