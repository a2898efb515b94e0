"""`tagcorpus compare`: the numeric columns that two outputs share, and the shares of their text columns."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from tagcorpus.errors import InputError
from tagcorpus.pipelines.comparing.differences import difference
from tagcorpus.pipelines.distributions import effects
from tagcorpus.pipelines.distributions.attribute_columns import AttributeColumn, Attributes, random_numbers, texts
from tagcorpus.pipelines.distributions.binning import Sample, bins_of
from tagcorpus.pipelines.distributions.text_table import percent, shortened, text_table
from tagcorpus.pipelines.progress.heartbeat import errors_as_damage
from tagcorpus.pipelines.storage import remote

MOST_VALUES = 10_000
DISCOVERY_RATE = 0.05


def compare(a: str, b: str, floor: float = 0.05, as_json: bool = False, storage_options: Sequence[str] = ()) -> str:
    """What the command prints. Raises InputError where an output cannot be used, or the outputs share no column."""
    remote.use_given(storage_options, [a, b])
    with errors_as_damage(a):
        document = compared(Attributes(a), Attributes(b), floor)
    return json.dumps(document, indent=1) if as_json else _as_text(document)


def compared(a: Attributes, b: Attributes, floor: float) -> dict[str, Any]:
    """Every column that both outputs have of the same tagger, version and parameters."""
    others = {c.label: c for c in b.columns}
    columns: dict[str, dict[str, Any]] = {}
    skipped: list[str] = []
    for column in a.columns:
        other = others.get(column.label)
        if other is None:
            continue
        if a.description(column) != b.description(other):
            skipped.append(f"{column.label}: measured with other parameters or another version in each output")
        elif column.is_numeric and other.is_numeric:
            one = _numeric(a, b, column, other)
            columns |= {column.label: one} if one else {}
        elif column.is_text and other.is_text:
            one = _categories(a, b, column, other)
            columns |= {column.label: one} if one else {}
            skipped += [] if one else [f"{column.label}: no values, or more than {MOST_VALUES:,}"]
    if not columns:
        raise InputError(
            f"{a.folder} and {b.folder} share no column that can be compared: tag both with the same taggers"
        )
    for one, q in zip(columns.values(), effects.adjusted([c["p"] for c in columns.values()]), strict=True):
        one["q"] = q
        one["differs"] = q <= DISCOVERY_RATE and one["size"] >= floor
    return {
        "compare": 1,
        "a": str(a.folder),
        "b": str(b.folder),
        "floor": floor,
        "columns": columns,
        "skipped": skipped,
    }


def _numeric(a: Attributes, b: Attributes, column: AttributeColumn, other: AttributeColumn) -> dict[str, Any] | None:
    pooled = Sample(a.plan.rows + b.plan.rows)
    for attributes, one in ((a, column), (b, other)):
        for rows in attributes.stream([one]):
            pooled.add(rows.numbers(one), random_numbers(rows, 0))
    if not pooled.n:
        return None
    bins = bins_of(pooled)
    counts = []
    for attributes, one in ((a, column), (b, other)):
        histogram = np.zeros(len(bins), np.int64)
        for rows in attributes.stream([one]):
            values = rows.numbers(one)
            histogram += np.bincount(bins.of(values[np.isfinite(values)]), minlength=len(bins))
        counts.append(histogram)
    if not (counts[0].sum() and counts[1].sum()):
        return None
    effect = difference(counts[0], counts[1], bins, np.random.default_rng(0))
    size = max(abs(effect["delta"]), effect["wasserstein_by_sd"] or 0.0)
    return {"kind": "numeric", "n": [int(c.sum()) for c in counts], "size": size, **effect}


def _categories(a: Attributes, b: Attributes, column: AttributeColumn, other: AttributeColumn) -> dict[str, Any] | None:
    sides: list[Counter[str]] = []
    for attributes, one in ((a, column), (b, other)):
        side: Counter[str] = Counter()
        for rows in attributes.stream([one]):
            codes, values = texts(rows.values[one.label])
            for value, n in zip(values, np.bincount(codes, minlength=len(values)), strict=True):
                if value is not None:
                    side[value] += int(n)
            if len(side) > MOST_VALUES:
                return None
        sides.append(side)
    if not all(sides):
        return None
    names = sorted(sides[0].keys() | sides[1].keys())
    x, y = (np.array([side[name] for name in names], np.int64) for side in sides)
    p, q = x.astype(np.float64), y.astype(np.float64)
    moved = float(effects.share_moved(p, q))
    order = np.argsort(-np.abs(p / p.sum() - q / q.sum()), kind="stable")
    return {
        "kind": "categories",
        "n": [int(x.sum()), int(y.sum())],
        "size": moved,
        "jensen_shannon": float(effects.jensen_shannon(p, q)),
        "share_moved": moved,
        "shares": [{"name": names[i], "a": p[i] / p.sum(), "b": q[i] / q.sum()} for i in order],
        "p": effects.chi_square_p(*effects.homogeneity(x, y)),
    }


def _as_text(document: dict[str, Any]) -> str:
    rows, shares = [], []
    for name, c in document["columns"].items():
        is_numeric = c["kind"] == "numeric"
        effect = f"{round(c['delta'], 3) + 0.0:+.3f}" if is_numeric else ""
        distance = f"{c['wasserstein_by_sd'] or 0:.3f}" if is_numeric else f"{c['jensen_shannon']:.3f} bit"
        rows.append([shortened(name, 34), effect, distance, f"{c['q']:.2g}", "differs" if c["differs"] else ""])
        if c["differs"] and not is_numeric:
            top = [f"  {shortened(s['name'], 30)}: {percent(s['a'])}, {percent(s['b'])}" for s in c["shares"][:5]]
            shares.append("\n".join([f"{name}: share in A, in B", *top]))
    table = text_table(["column", "delta", "distance", "q", ""], rows)
    notes = f"delta above 0: A is higher. differs: q up to {DISCOVERY_RATE}, and {document['floor']:g} or more"
    return "\n\n".join([table, *shares, "\n".join([notes, *document["skipped"]])])
