"""`tagcorpus agreement`: how far labels agree with gold labels, over all documents and within groups of them."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np

from tagcorpus.errors import ConfigError, InputError, spelled_otherwise, unknown_name
from tagcorpus.pipelines.labels import matrix as mx
from tagcorpus.pipelines.labels.label_table import (
    NO_LABELS,
    UNKNOWN,
    By,
    Labelled,
    LabelTable,
    has_other_text,
    length,
    read_labels,
)
from tagcorpus.pipelines.labels.page import FILES, as_text, write_files
from tagcorpus.pipelines.progress.display import Display
from tagcorpus.pipelines.runs.made_from import made_from
from tagcorpus.pipelines.storage.outputs import check_folder
from tagcorpus.predictor.records.plain_values import number

LENGTH = "length"
LENGTH_GROUPS = 4
SHOWN_DIFFERENCES = 20
REPEAT_DRAWS = 500


@dataclass(frozen=True)
class Pair:
    """One document with both labels."""

    gold: Labelled
    given: Labelled

    @property
    def labels(self) -> tuple[str, str]:
        return self.gold.label, self.given.label


def agreement(
    labels: str,
    gold: str,
    by: By = "id",
    column: str = "",
    gold_column: str = "",
    within: Sequence[str] = (),
    ordinal: bool = False,
    repeats: Sequence[str] = (),
    output: str | None = None,
    seed: int = 0,
    as_json: bool = False,
) -> str:
    """Compare the labels of two tables or output folders, and return the text to print.

    within   columns of either table: the figures also within each of their values; "length" = quarters by length of the text
    ordinal  labels are numbers, and a far miss counts more (squared weights)
    repeats  further labellings by the same labeller: how consistent it is with itself
    output   folder for agreement.json, matrix.csv, differences.csv and matrix.png
    Raises ConfigError for a column that is not there, InputError for tables that cannot be read or share no document.
    """
    folder = None if output is None else check_folder("agreement", output, FILES, inputs=[labels, gold, *repeats])
    options = {
        "--by": by,
        "--column": column,
        "--gold-column": gold_column,
        "--within": within,
        "--ordinal": ordinal,
        "--repeats": repeats,
        "--seed": seed,
    }
    inputs = {"LABELS": [labels], "GOLD": [gold]}
    origin = None if folder is None else made_from(folder, FILES[0], inputs, options)
    given_table = read_labels(labels, by, column)
    gold_table = read_labels(gold, by, gold_column)
    pairs, counts = _joined(given_table, gold_table)
    if ordinal:
        _check_numbers(pairs)
    document = {
        "labels": labels,
        "gold": gold,
        "columns": [given_table.column, gold_table.column],
        "documents": counts,
        "spelled_otherwise": _spelling(given_table, gold_table) if by == "id" else "",
        **_figures([p.labels for p in pairs], ordinal, seed),
        "without_unknown": _without_unknown(pairs, seed),
        "within": {name: _within(pairs, name, ordinal, seed) for name in within},
        "repeats": _repeats(given_table, repeats, by, column, seed) if repeats else None,
        "differences": _differences(pairs, ordinal),
    }
    if folder is not None and origin is not None:
        if origin.note:
            Display().say(origin.note)
        origin.publish()
        write_files(folder, document)
    return json.dumps(document, indent=1, ensure_ascii=False) if as_json else as_text(document, output)


def _joined(given: LabelTable, gold: LabelTable) -> tuple[list[Pair], dict[str, int]]:
    """The documents that both have, in the order of the gold table; and what became of all others."""
    doubled = given.doubled.keys() | gold.doubled.keys()
    pairs = [
        Pair(own, given.labels[key]) for key, own in gold.labels.items() if key in given.labels and key not in doubled
    ]
    usable = [p for p in pairs if p.gold.label not in NO_LABELS]
    counts = {
        "joined": len(usable),
        "only_in_labels": sum(key not in gold.labels and key not in doubled for key in given.labels),
        "only_in_gold": sum(key not in given.labels and key not in doubled for key in gold.labels),
        "several_times": len(doubled),
        "without_gold_label": len(pairs) - len(usable),
        "without_key": given.without_key + gold.without_key,
        "other_text": sum(has_other_text(p.gold, p.given) for p in usable),
    }
    if not usable:
        spelling = _spelling(given, gold)
        raise InputError(
            f"{given.path} and {gold.path} share no document: {counts['only_in_labels']:,} are only in the first, "
            f"{counts['only_in_gold']:,} only in the second. {spelling or 'Join by the other of --by id and --by text?'}"
        )
    return usable, counts


def _spelling(given: LabelTable, gold: LabelTable) -> str:
    """The clause about ids of the labels that the gold table spells otherwise; "" where there are none."""
    clause = spelled_otherwise((key for key in given.labels if key not in gold.labels), gold.labels)
    return f"Of the ids only in LABELS, {clause}" if clause else ""


def _check_numbers(pairs: Sequence[Pair]) -> None:
    """Raise ConfigError for a label that has no place on a scale."""
    for pair in pairs:
        for side, label in zip(("gold", "given"), pair.labels, strict=True):
            if label not in NO_LABELS and number(label) is None:
                name = pair.gold.id or pair.given.id
                raise ConfigError(
                    f"--ordinal takes labels that are numbers, and the {side} label of {name!r} is {label!r}"
                )


def _statistics(matrix: mx.Matrix, ordinal: bool) -> dict[str, mx.Statistic]:
    statistics: dict[str, mx.Statistic] = {"kappa": mx.kappa, "macro_f1": mx.macro_f1}
    if ordinal:
        n = len(matrix.gold)
        weights = mx.squared_weights(matrix.gold)
        # An error has no place on the scale, so only documents with two numbers count.
        statistics["weighted_kappa"] = lambda counts: mx.kappa(counts[..., :n], weights)
    return statistics


def _figures(pairs: Sequence[tuple[str, str]], ordinal: bool, seed: int) -> dict[str, Any]:
    matrix = mx.matrix_of(pairs, NO_LABELS)
    figures = mx.with_intervals(matrix, _statistics(matrix, ordinal), seed)
    shares = mx.proportions(matrix)
    per_label = {**shares, **mx.with_intervals(matrix, {"f1": mx.f1}, seed)}
    gold_totals, given_totals = matrix.counts.sum(axis=1), matrix.counts.sum(axis=0)
    return {
        "n": matrix.n,
        "matrix": {"gold": matrix.gold, "given": matrix.given, "counts": matrix.counts.tolist()},
        "commonest": {"label": matrix.gold[int(gold_totals.argmax())], "accuracy": float(gold_totals.max() / matrix.n)},
        "accuracy": per_label.pop("accuracy"),
        **figures,
        "labels_of": {
            label: {
                "gold": int(gold_totals[i]),
                "given": int(given_totals[i]),
                **{name: values[i] for name, values in per_label.items()},
            }
            for i, label in enumerate(matrix.gold)
        },
    }


def _without_unknown(pairs: Sequence[Pair], seed: int) -> dict[str, Any] | None:
    """The published way: documents that either side calls unknown, and those without a label, are left out. That raises the
    figures, since a labeller that does not know is then never wrong."""
    kept = [p.labels for p in pairs if UNKNOWN not in p.labels and p.given.label not in NO_LABELS]
    if len(kept) == len(pairs) or not kept:
        return None
    matrix = mx.matrix_of(kept, ())
    return _summary(matrix, False, seed)


def _summary(matrix: mx.Matrix, ordinal: bool, seed: int) -> dict[str, Any]:
    accuracy = mx.proportions(matrix)["accuracy"]
    return {"n": matrix.n, "accuracy": accuracy, **mx.with_intervals(matrix, _statistics(matrix, ordinal), seed)}


def _within(pairs: Sequence[Pair], name: str, ordinal: bool, seed: int) -> dict[str, Any]:
    """The figures within each group: the largest first, or the shortest texts first."""
    names, is_ordered = groups_of(pairs, name)
    groups: dict[str, list[tuple[str, str]]] = {group: [] for group in sorted(set(names))}
    for group, pair in zip(names, pairs, strict=True):
        groups[group].append(pair.labels)
    figures = {}
    by_size = sorted(groups.items(), key=lambda item: (-len(item[1]), item[0]))
    by_length = (
        sorted(groups.items(), key=lambda item: float(item[0].split()[0].replace(",", ""))) if is_ordered else []
    )
    for group, labels in by_length or by_size:
        matrix = mx.matrix_of(labels, NO_LABELS)
        figures[group] = _summary(matrix, ordinal, seed)
    return figures


def groups_of(pairs: Sequence[Pair], name: str) -> tuple[list[str], bool]:
    """The group of each document, and whether groups have an order of their own."""
    columns = set().union(*(p.gold.columns.keys() | p.given.columns.keys() for p in pairs))
    lengths = [_length(p) for p in pairs]
    if name == LENGTH and name not in columns and None not in lengths:
        numbers = np.array(lengths, float)
        edges = np.quantile(numbers, np.linspace(0, 1, LENGTH_GROUPS + 1))
        places = np.clip(np.searchsorted(edges, numbers, side="right") - 1, 0, LENGTH_GROUPS - 1)
        return [f"{edges[i]:,.0f} to {edges[i + 1]:,.0f} characters" for i in places], True
    if name not in columns:
        raise ConfigError(unknown_name("column", name, sorted(columns), f"--within {name}"))
    return [str(p.gold.columns.get(name, p.given.columns.get(name))) for p in pairs], False


def _length(pair: Pair) -> int | None:
    own = length(pair.gold.columns)
    return length(pair.given.columns) if own is None else own


def _repeats(first: LabelTable, paths: Sequence[str], by: By, column: str, seed: int) -> dict[str, Any]:
    """Agreement of the labeller with itself: pairs of labellings, and Fleiss' kappa over all of them."""
    tables = [first, *(read_labels(path, by, column) for path in paths)]
    keys = [key for key in first.labels if all(key in t.labels for t in tables)]
    if not keys:
        raise InputError(f"{first.path} and {', '.join(paths)} share no document")
    labels = sorted({t.labels[key].label for t in tables for key in keys})
    counts = np.zeros((len(keys), len(labels)))
    for table in tables:
        for i, key in enumerate(keys):
            counts[i, labels.index(table.labels[key].label)] += 1
    same = [
        float(np.mean([a.labels[key].label == b.labels[key].label for key in keys])) for a, b in combinations(tables, 2)
    ]
    generator = np.random.default_rng(seed)
    drawn = [mx.fleiss_kappa(counts[generator.integers(0, len(keys), len(keys))]) for _ in range(REPEAT_DRAWS)]
    low, high = np.nanquantile(drawn, [0.025, 0.975]) if len(keys) >= mx.FEWEST else (None, None)
    return {
        "labellings": len(tables),
        "documents": len(keys),
        "all_equal": float(np.mean(counts.max(axis=1) == len(tables))),
        "pairs_equal": float(np.mean(same)),
        "fleiss_kappa": {
            "value": mx.fleiss_kappa(counts),
            "low": None if low is None else float(low),
            "high": None if high is None else float(high),
        },
    }


def _differences(pairs: Sequence[Pair], ordinal: bool) -> list[dict[str, Any]]:
    """Documents with two labels, to read: the farthest apart first where labels are numbers, else those of the commonest
    confusions."""
    differing = [p for p in pairs if p.gold.label != p.given.label]
    common = Counter(p.labels for p in differing)

    def order(pair: Pair) -> tuple[float, float, str]:
        if ordinal and pair.given.label not in NO_LABELS:
            return -abs(float(pair.gold.label) - float(pair.given.label)), 0.0, pair.gold.key
        return 0.0, -common[pair.labels], pair.gold.key

    return [
        {"id": p.gold.id or p.given.id, "gold": p.gold.label, "given": p.given.label, "text": _beginning(p)}
        for p in sorted(differing, key=order)
    ]


def _beginning(pair: Pair) -> str:
    text = next(
        (own["text"] for own in (pair.gold.columns, pair.given.columns) if isinstance(own.get("text"), str)), ""
    )
    return " ".join(text[:400].split())[:200]
