"""The report's section on documents: a large chart of one column, and documents behind its bars.

The page's script draws the chart, its table and the documents from the data of this section.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tagcorpus.pipelines.readers.excerpts import Excerpt, Place
from tagcorpus.pipelines.readers.plan import PlannedFile
from tagcorpus.pipelines.report.contents.bars import Feature
from tagcorpus.pipelines.report.contents.contents import Contents
from tagcorpus.pipelines.report.contents.sample import Sample
from tagcorpus.pipelines.report.sections.html import Section, chart, text

VALUE_CHARS = 80
SHOWN_PROBLEMS = 5


def features_section(contents: Contents) -> Section | None:
    features, sample, excerpts = contents.features, contents.sample, contents.excerpts
    if not features:
        return None
    at = {place: i for i, place in enumerate(excerpts)}
    ids = sample.ids()
    data = {
        "features": [_feature(f, sample, at) for f in features],
        "documents": [_document(place, e, ids[place], contents.output.files) for place, e in excerpts.items()],
    }
    by_instance: dict[str, list[int]] = {}
    for i, feature in enumerate(features):
        by_instance.setdefault(feature.instance, []).append(i)
    options = "".join(
        f'<optgroup label="{text(instance)}">'
        + "".join(f'<option value="{i}">{text(features[i].column)}</option>' for i in own)
        + "</optgroup>"
        for instance, own in by_instance.items()
    )
    problems = sorted({e.problem for e in excerpts.values() if e.problem})[:SHOWN_PROBLEMS]
    notes = "".join(f"<p class=note>Some sampled documents cannot be shown: {text(p)}.</p>" for p in problems)
    return Section("features", "Documents", notes + _detail(options, sample), data)


def _detail(options: str, sample: Sample) -> str:
    partly = f" It is from {sample.chunks:,} of {sample.chunks_of:,} chunks." if sample.is_partial else ""
    return (
        "<div class=detail id=feature><div class=controls><label>Column <select id=feature-choice>"
        f"{options}</select></label>"
        "<label class=check><input type=checkbox id=feature-log> Logarithmic count</label></div>"
        "<p id=feature-meaning></p><div id=feature-stats></div>"
        + chart("feature-chart", "Distribution", "<div id=feature-table></div>")
        + "<div class=bar><label for=feature-bar>Bar</label><input type=range id=feature-bar min=0 value=0>"
        "<output id=feature-bar-label for=feature-bar></output></div>"
        f"<h3 id=documents-title>Documents behind the bar</h3><p class=dim>A seeded sample.{partly} The page has the beginning of each document.</p>"
        "<div id=documents aria-live=polite aria-labelledby=documents-title role=region></div></div>"
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
        "documents": [[(at[p.place], _cut(p.value)) for p in bar] for bar in sample.picked[feature.name]],
    }


def _cut(value: Any) -> Any:
    return value[:VALUE_CHARS] if isinstance(value, str) else value


def _document(place: Place, excerpt: Excerpt, id_: str, files: Sequence[PlannedFile]) -> dict[str, Any]:
    document = {"input": files[place.file].file.name, "row": place.row, "sub": place.sub, "id": id_}
    if excerpt.text is None:
        return document | {"problem": excerpt.problem}
    return document | {"text": excerpt.text, "chars": excerpt.n_chars}
