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


def views(truth: Sequence[str], ours: Sequence[str], labels: Sequence[str]) -> dict[str, dict[str, float]]:
    """The three views of the module docstring, each as `agreement` gives it."""
    pairs = list(zip(truth, ours, strict=True))
    chosen = {
        "labelled": [p for p in pairs if p[0] != UNKNOWN],
        "all": pairs,
        "answered": [p for p in pairs if UNKNOWN not in p],
    }
    found = {name: agreement([t for t, _ in part], [o for _, o in part], labels) for name, part in chosen.items()}
    found["answered"]["coverage"] = found["labelled"]["coverage"]
    return found


def held_out_views(labelled: Path) -> tuple[dict[str, dict[str, float]], list[str], list[str]]:
    """(views, reference labels, our labels) of the held-out documents, by the shipped model and threshold."""
    from tagcorpus.taggers._models.embedded_domain import LABELS, THRESHOLD, classify

    chosen = [(text, label) for text, label, held_out in rows(labelled) if held_out]
    answers = classify([text for text, _ in chosen])
    ours = [label if probability >= THRESHOLD else UNKNOWN for label, probability in answers]
    truth = [label for _, label in chosen]
    return views(truth, ours, LABELS), truth, ours


def rounded(figures: dict[str, float]) -> dict[str, float]:
    """Three decimals; `n` stays a whole number."""
    return {name: value if name == "n" else round(value, 3) for name, value in figures.items()}


def markdown(
    found: dict[str, dict[str, float]], truth: Sequence[str], ours: Sequence[str], labels: Sequence[str]
) -> str:
    names = [*labels, UNKNOWN]
    columns = list(found["labelled"])
    lines = ["| view | " + " | ".join(columns) + " |", "|---" * (len(columns) + 1) + "|"]
    for view, figures in found.items():
        lines.append(f"| {view} | " + " | ".join(str(v) for v in rounded(figures).values()) + " |")
    lines += ["", "| reference \\ ours | " + " | ".join(names) + " |", "|---" * (len(names) + 1) + "|"]
    for name in names:
        row = [sum(t == name and o == other for t, o in zip(truth, ours, strict=True)) for other in names]
        lines.append(f"| **{name}** | " + " | ".join(map(str, row)) + " |")
    return "\n".join(lines) + "\n"


def main() -> int:
    from tagcorpus.taggers._models.embedded_domain import FIGURES, LABELS, NAME, digest

    parser = argparse.ArgumentParser(description="Agreement of the embedded domain classifier on held-out documents.")
    parser.add_argument("--labelled", type=Path, required=True, help="CSV text,language,prediction of the reference")
    parser.add_argument("--output", type=Path, help="folder for domain-model.json and domain-model.md")
    options = parser.parse_args()
    found, truth, ours = held_out_views(options.labelled)
    table = markdown(found, truth, ours, LABELS)
    print(f"{NAME}, model {digest()}\n\n{table}")
    if options.output:
        options.output.mkdir(parents=True, exist_ok=True)
        (options.output / "domain-model.md").write_text(table, encoding="utf-8")
        data: dict[str, Any] = {"name": NAME, "digest": digest(), "views": {k: rounded(v) for k, v in found.items()}}
        (options.output / "domain-model.json").write_text(json.dumps(data, indent=2) + "\n", encoding="utf-8")
    if rounded(found["labelled"]) != FIGURES:
        print(f"measured {rounded(found['labelled'])}\nstated   {FIGURES}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
