"""The report's first section: a small picture of every column's distribution, and a table of percentiles.

The pictures are SVG, so that a page with a hundred columns shows them at once, without a script.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from tagcorpus.pipelines.report.contents.bars import Feature
from tagcorpus.pipelines.report.contents.contents import Contents
from tagcorpus.pipelines.report.sections.html import Cell, Section, number, percent, table, text

_WIDTH, _HEIGHT = 150, 34
# Values of a text column that its picture shows.
SHOWN_VALUES = 3
_LEGEND = (
    "Heights grow with the square root of the number of documents, so that rare values are visible. "
    "Select a column to see its documents."
)
# These instances have sections of their own, so their pictures come last.
_LAST = ("domain", "entropy")
_PERCENTILES = {
    "min": "min", "p1": "p1", "p5": "p5", "p25": "p25", "p50": "median", "p75": "p75", "p95": "p95", "p99": "p99", "max": "max",
    "mean": "mean", "std": "std", "n": "n", "missing": "missing",
}  # fmt: skip


def distributions_section(contents: Contents) -> Section | None:
    features = contents.features
    if not features and not contents.notes:
        return None
    notes = "".join(f"<p class=note>{text(note)}.</p>" for note in contents.notes)
    body = notes + _pictures(features) + _percentiles(features) + _values(features)
    return Section("distributions", "Distributions", body)


def _pictures(features: Sequence[Feature]) -> str:
    cards = "".join(_card(f, i) for i, f in _in_order(features) if not _is_constant(f))
    constant = ", ".join(f"<code>{text(f.name)}</code> {text(_only_value(f))}" for f in features if _is_constant(f))
    return (f"<p>{_LEGEND}</p><ul class=cards>{cards}</ul>" if cards else "") + (
        f"<p class=constant>Columns with one value only: {constant}.</p>" if constant else ""
    )


def _in_order(features: Sequence[Feature]) -> list[tuple[int, Feature]]:
    return sorted(enumerate(features), key=lambda pair: pair[1].instance.startswith(_LAST))


def _is_constant(feature: Feature) -> bool:
    if feature.kind in ("number", "whole"):
        return bool(feature.stats["min"] == feature.stats["max"])
    return sum(n > 0 for n in feature.counts) < 2 and not feature.has_rest


def _only_value(feature: Feature) -> str:
    if feature.kind in ("number", "whole"):
        return number(feature.stats["min"])
    return next((label for label, n in zip(feature.labels, feature.counts, strict=True) if n), "")


def _card(feature: Feature, i: int) -> str:
    body = _numbers(feature) if feature.kind in ("number", "whole") else _labels(feature)
    return (
        f'<li><button type=button data-feature="{i}" title="{text(feature.meaning)}">'
        f"<span class=instance>{_wrappable(feature.instance)}</span><span class=name>{_wrappable(feature.column)}</span>{body}</button></li>"
    )


def _numbers(feature: Feature) -> str:
    stats = feature.stats
    return (
        f"{_histogram(feature.counts)}"
        f"<span class=ends><span>min {number(stats['min'], 3)}</span><span>max {number(stats['max'], 3)}</span></span>"
        f"<span class='dim average'><span>median {number(stats['p50'], 3)}</span><span>mean {number(stats['mean'], 3)}</span></span>"
    )


def _labels(feature: Feature) -> str:
    """The commonest values with their shares."""
    n = feature.stats["n"]
    order = sorted(range(len(feature.counts)), key=lambda i: -feature.counts[i])
    rows = "".join(
        f"<span class=value><span class=label>{text(feature.labels[i])}</span><span>{percent(feature.counts[i] / n)}</span></span>"
        f'<svg class=share viewBox="0 0 100 4" preserveAspectRatio="none" aria-hidden="true">'
        f'<path d="M0 0h{100 * feature.counts[i] / n:.1f}v4H0z"/></svg>'
        for i in order[:SHOWN_VALUES]
    )
    others = feature.stats.get("distinct", len(order)) - len(order[:SHOWN_VALUES])
    return rows + (f"<span class=dim>and {others:,} more</span>" if others > 0 else "")


def _histogram(counts: Sequence[int]) -> str:
    highest, step = math.sqrt(max(counts)) or 1, _WIDTH / len(counts)
    path = ""
    for i, n in enumerate(counts):
        if n:
            h = max(1.0, _HEIGHT * math.sqrt(n) / highest)
            path += f"M{i * step:.1f} {_HEIGHT}v-{h:.1f}h{step * 0.86:.1f}v{h:.1f}z"
    return (
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" preserveAspectRatio="none" aria-hidden="true"><path d="{path}"/></svg>'
    )


def _percentiles(features: Sequence[Feature]) -> str:
    numbers = [f for _, f in _in_order(features) if f.kind in ("number", "whole") and not _is_constant(f)]
    rows = [(_name(f), *(number(f.stats.get(key)) for key in _PERCENTILES)) for f in numbers]
    if not rows:
        return ""
    header = ("Column", *_PERCENTILES.values())
    shown = table("Percentiles", header, rows, range(1, len(header)), css="tall frozen")
    return f"<h3 id=percentiles>Percentiles</h3>{shown}"


def _values(features: Sequence[Feature]) -> str:
    rows = list(_value_rows(features))
    if not rows:
        return ""
    header = ("Column", "Commonest value", "Share", "Different values", "n", "Missing")
    shown = table("Text columns and flags", header, rows, (2, 3, 4, 5), css="tall frozen")
    return f"<details><summary>Text columns and flags</summary>{shown}</details>"


def _value_rows(features: Sequence[Feature]) -> Iterator[Sequence[object]]:
    for _, f in _in_order(features):
        if f.kind in ("label", "flag"):
            n = f.stats["n"]
            # The last bar of a column with many values stands for all others.
            top = max(range(len(f.labels) - f.has_rest), key=lambda i: f.counts[i])
            distinct = f.stats.get("distinct", sum(c > 0 for c in f.counts))
            share = percent(f.counts[top] / n)
            yield _name(f), f.labels[top], share, number(distinct), number(n), number(f.stats.get("missing"))


def _wrappable(name: str) -> str:
    """A name that may break after its underscores, so that long names stay whole and differ."""
    return text(name).replace("_", "_<wbr>")


def _name(feature: Feature) -> Cell:
    unit = f" · {feature.unit}" if feature.unit else ""
    return Cell(
        f"<span class=column>{_wrappable(feature.column)}</span><span class=dim>{text(feature.instance + unit)}</span>"
    )
