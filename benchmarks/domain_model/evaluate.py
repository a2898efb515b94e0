"""Agreement of the embedded domain classifier with the reference's LLM labels, on documents it has never seen.

    python evaluate.py --labelled CSV [--output DIR]

Prints a table and, with --output, writes domain-model.json and domain-model.md. Exits with 1 when the figures differ
from those that the package states (`FIGURES`).

Three views, since the reference itself says `unknown` of every tenth document and we abstain below a threshold:

labelled   (the main one) held-out documents that the reference gave a label; our `unknown` counts as a category of its
           own, so an abstention is a disagreement
all        every held-out document; `unknown` is a label like the others on both sides
answered   labelled documents on which we gave a label; read it with the coverage
"""

from __future__ import annotations

import argparse
import csv
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xxhash

UNKNOWN = "unknown"
RESAMPLES = 4000
SEED = 11


def is_held_out(text: str) -> bool:
    """Four in ten documents, by the hash of the text alone: no file order and no random state can move one."""
    return xxhash.xxh3_64_intdigest(text.encode()) % 10 >= 6


def reference_label(raw: str) -> str:
    return "reference" if raw == "media" else raw


def rows(labelled: Path) -> list[tuple[str, str, bool]]:
    """(text, label, is_held_out) of every document of the CSV `text,language,prediction`."""
    csv.field_size_limit(1 << 30)
    with labelled.open(encoding="utf-8", newline="") as file:
        return [(r["text"], reference_label(r["prediction"]), is_held_out(r["text"])) for r in csv.DictReader(file)]


def kappa(truth: Sequence[str], ours: Sequence[str]) -> float:
    """Cohen's kappa, (p_o - p_e) / (1 - p_e) over the union of both sides' labels; 0 where chance agrees always."""
    names = sorted({*truth, *ours})
    place = {name: i for i, name in enumerate(names)}
    return float(_kappas(_table([place[t] for t in truth], [place[o] for o in ours], len(names))[None])[0])


def _table(truth: Any, ours: Any, size: int) -> np.ndarray[Any, Any]:
    return np.bincount(np.asarray(truth) * size + np.asarray(ours), minlength=size * size).reshape(size, size)


def _kappas(tables: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    n = tables.sum((1, 2))
    agreed = np.trace(tables, axis1=1, axis2=2) / n
    chance = (tables.sum(1) * tables.sum(2)).sum(1) / n**2
    return np.where(chance < 1, (agreed - chance) / np.where(chance < 1, 1 - chance, 1), 0.0)


def agreement(truth: Sequence[str], ours: Sequence[str], labels: Sequence[str]) -> dict[str, float]:
    """Accuracy, macro-F1 over `labels` that occur, kappa with its 95 % percentile bootstrap interval over documents."""
    names = [*labels, UNKNOWN]
    a = np.array([names.index(t) for t in truth])
    b = np.array([names.index(o) for o in ours])
    draw = np.random.default_rng(SEED)
    picks = draw.integers(0, len(a), (RESAMPLES, len(a)))
    tables = np.stack([_table(a[p], b[p], len(names)) for p in picks])
    low, high = np.percentile(_kappas(tables), [2.5, 97.5])
    table = _table(a, b, len(names))
    hits, support = np.diag(table), table.sum(1)
    present = support > 0
    f1 = 2 * hits / np.maximum(1, support + table.sum(0))
    return {
        "n": len(a),
        "accuracy": float(hits.sum() / len(a)),
        "macro_f1": float(f1[present].mean()),
        "kappa": kappa(truth, ours),
        "kappa_low": float(low),
        "kappa_high": float(high),
        "coverage": float(np.mean(b != len(names) - 1)),
        "majority_accuracy": float(support.max() / len(a)),
    }
