"""The report's section on features: a small picture of every distribution, and what the page's script draws a large one from.

The small pictures are SVG made here, so that a page with a hundred features has them at once; the large chart of one
feature, its table and the documents behind its bars are drawn by the script from the data given here.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tagcorpus.pipelines.readers.plan import PlannedFile
from tagcorpus.pipelines.report.sections.bars import Feature
from tagcorpus.pipelines.report.sections.documents import Excerpt
from tagcorpus.pipelines.report.sections.html import Section, chart, number, percent, text
from tagcorpus.pipelines.report.sections.sample import Place, Sample

_WIDTH, _HEIGHT = 150, 34
VALUE_CHARS = 80


def features_section(
    features: Sequence[Feature],
    sample: Sample,
    excerpts: Mapping[Place, Excerpt],
    files: Sequence[PlannedFile],
    notes: Iterable[str],
) -> Section | None:
    if not features:
        return None
    at = {place: i for i, place in enumerate(excerpts)}
    ids = sample.ids()
    data = {
        "features": [_feature(f, sample, at) for f in features],
        "documents": [_document(place, excerpt, ids[place], files) for place, excerpt in excerpts.items()],
    }
    by_instance: dict[str, list[int]] = {}
    for i, feature in enumerate(features):
        by_instance.setdefault(feature.instance, []).append(i)
    cards = "".join(
        f"<h3>{text(instance)}</h3><ul class=cards>{''.join(_card(features[i], i) for i in own)}</ul>"
        for instance, own in by_instance.items()
    )
    options = "".join(
        f'<optgroup label="{text(instance)}">'
        + "".join(f'<option value="{i}">{text(features[i].column)}</option>' for i in own)
        + "</optgroup>"
        for instance, own in by_instance.items()
    )
    told = "".join(f"<p class=note>{text(note)}</p>" for note in notes)
    gone = sorted({e.problem for e in excerpts.values() if e.problem})
    told += "".join(f"<p class=note>Some sampled documents cannot be shown: {text(p)}.</p>" for p in gone[:5])
    return Section("features", "Features", told + _detail(options, sample) + cards, data)


def _detail(options: str, sample: Sample) -> str:
    partly = f" They are of {sample.chunks:,} of {sample.chunks_of:,} chunks." if sample.is_partial else ""
    return (
        "<div class=detail id=feature><div class=controls><label>Feature <select id=feature-choice>"
        f"{options}</select></label>"
        "<label class=check><input type=checkbox id=feature-log> Logarithmic count</label></div>"
        "<p id=feature-meaning></p><div id=feature-stats></div>"
        + chart("feature-chart", "Distribution", "<div id=feature-table></div>")
        + "<div class=bar><label for=feature-bar>Bar</label><input type=range id=feature-bar min=0 value=0>"
        "<output id=feature-bar-told for=feature-bar></output></div>"
        f"<h3 id=documents-title>Documents behind the bar</h3><p class=dim>A seeded sample.{partly} Beginnings only.</p>"
        "<div id=documents aria-live=polite aria-labelledby=documents-title role=region></div></div>"
    )


def _card(feature: Feature, i: int) -> str:
    return (
        f'<li><button type=button data-feature="{i}"><span class=name>{text(feature.column)}</span>'
        f"{_picture(feature.counts)}<span class=dim>{text(_in_short(feature))}</span></button></li>"
    )


def _in_short(feature: Feature) -> str:
    stats = feature.stats
    if feature.kind == "flag":
        return f"{percent(stats['share_true'])} true"
    if feature.kind == "label":
        top = max(range(len(feature.labels)), key=lambda i: feature.counts[i])
        return (
            f"{stats['distinct']:,} different; {feature.labels[top][:24]} {percent(feature.counts[top] / stats['n'])}"
        )
    return f"mean {number(stats['mean'])}, median {number(stats['p50'])}"


def _picture(counts: Sequence[int]) -> str:
    """Bars by the square root of their counts, so that small ones are seen."""
    highest, step = math.sqrt(max(counts)) or 1, _WIDTH / len(counts)
    path = ""
    for i, n in enumerate(counts):
        if n:
            h = max(1.0, _HEIGHT * math.sqrt(n) / highest)
            path += f"M{i * step:.1f} {_HEIGHT}v-{h:.1f}h{step * 0.86:.1f}v{h:.1f}z"
    return (
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" preserveAspectRatio="none" aria-hidden="true"><path d="{path}"/></svg>'
    )


def _feature(feature: Feature, sample: Sample, at: Mapping[Place, int]) -> dict[str, Any]:
    return {
        "instance": feature.instance,
        "column": feature.column,
        "kind": feature.kind,
        "meaning": feature.meaning,
        "unit": feature.unit,
        "stats": feature.stats,
        "edges": feature.edges,
        "labels": feature.labels,
        "counts": feature.counts,
        "documents": [[(at[p.place], _shown(p.value)) for p in bar] for bar in sample.picked[feature.name]],
    }


def _shown(value: Any) -> Any:
    return value[:VALUE_CHARS] if isinstance(value, str) else value


def _document(place: Place, excerpt: Excerpt, id_: str, files: Sequence[PlannedFile]) -> dict[str, Any]:
    found = {"input": files[place.file].file.name, "row": place.row, "sub": place.sub, "id": id_}
    return found | (
        {"text": excerpt.text, "chars": excerpt.n_chars} if excerpt.text is not None else {"problem": excerpt.problem}
    )
