"""The report's table of models (or, where no feature table lies in the folder, of inputs) and the scatter of any two columns.

A feature table is the per-model CSV that `run features` publishes. Without one, every input is a row: means and standard
deviations (ddof 1) of its documents' features, shares of flags and domains in percent.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tagcorpus.pipelines.feature_table.columns import ID, STEMS, extended_columns, numeric_columns
from tagcorpus.pipelines.feature_table.table import number
from tagcorpus.pipelines.labelling.label_counts import DOMAINS, LEFT_OUT
from tagcorpus.pipelines.report.sections.bars import Feature
from tagcorpus.pipelines.report.sections.folder import Output
from tagcorpus.pipelines.report.sections.html import Section, chart, table, text
from tagcorpus.pipelines.report.sections.intervals import Interval, of_label, of_moments, of_table
from tagcorpus.pipelines.report.sections.sample import Sample

# With more inputs than this a row is a folder: the first part of the inputs' names.
MOST_INPUTS = 400
# Columns that are shown first, where they are there.
FIRST = (
    "documents", "num_tokens_mean", "char_len_mean", "ttr_mean", "entropy_mean", "entropy_mean_mean", "edu_classifier_mean",
    "is_kept_pct", "pct_english_mean", "domain_web_pct_mean", "domain_code_pct_mean", "domain_web_pct", "domain_code_pct",
)  # fmt: skip
FIRST_COLUMNS = 8
_GROUPS = {"mean": "Means", "std": "Standard deviations", "ratio": "Ratios"}


@dataclass
class Models:
    """what: `model` or `input`. columns: name, group, meaning, unit. rows: id and a value (or None) per column.
    reasons: why a cell is empty, by id and column, where that is known. instruments: (what measured, columns, models). intervals: by column, one per
    row."""

    what: str
    source: str
    columns: list[dict[str, str]]
    rows: list[tuple[str, list[float | None]]]
    reasons: dict[str, dict[str, str]] = field(default_factory=dict)
    instruments: list[tuple[str, str, str]] = field(default_factory=list)
    intervals: dict[str, list[Interval]] = field(default_factory=dict)


def models_section(models: Models | None) -> Section | None:
    if models is None or not models.rows or not models.columns:
        return None
    return Section("models", f"{models.what.capitalize()}s", _body(models), _data(models))


def is_feature_table(head: bytes) -> bool:
    """Whether a file that begins so is a per-model table: its header has `id` and some of the known columns."""
    header = next(csv.reader(io.StringIO(head.decode("utf-8-sig", "replace"))), [])
    return header[:1] == [ID] and bool(set(header) & set(numeric_columns()))


def feature_table(name: str, data: bytes, provenance: Mapping[str, Any]) -> Models:
    """A per-model CSV, with what its provenance (an empty mapping where there is none) says of it. Columns without any
    number are left out, and rows that have not the header's number of fields."""
    header, *rows = csv.reader(io.StringIO(data.decode("utf-8-sig", "replace")))
    rows = [r for r in rows if len(r) == len(header)]
    values = {c: [number(r[i]) for r in rows] for i, c in enumerate(header) if i}
    filled = [c for c, column in values.items() if any(v is not None for v in column)]
    columns = [_described(c) for c in filled]
    found = [(row[0], [values[c][i] for c in filled]) for i, row in enumerate(rows)]
    told = provenance.get("models", {})
    empty = {m: {c: why for why, cs in told[m].get("empty", {}).items() for c in cs if c in values} for m in told}
    intervals = of_table([r[0] for r in rows], {c: values[c] for c in filled}, told)
    return Models("model", name, columns, found, empty, _instruments(provenance), intervals)


def _described(column: str) -> dict[str, str]:
    known = (numeric_columns() | extended_columns()).get(column)
    if known is None:
        return {"name": column, "group": "Further columns", "meaning": "", "unit": ""}
    meaning = next((stem.meaning for stem in STEMS if stem.name == known.stem), "")
    return {
        "name": column,
        "group": _GROUPS.get(known.statistic, "Further columns"),
        "meaning": meaning,
        "unit": known.unit,
    }


def _instruments(provenance: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """What measured (and what it stands in for), which columns, which models: of each instrument one."""
    recipes = provenance.get("recipes", [])
    models: dict[int, list[str]] = {}
    for model, told in provenance.get("models", {}).items():
        models.setdefault(told.get("recipe", 0), []).append(model)
    columns: dict[tuple[str, str], dict[str, set[int]]] = {}
    for i, recipe in enumerate(recipes):
        for column, told in recipe.get("columns", {}).items():
            key = (str(told.get("instrument", "")), str(told.get("in_place_of", "")))
            columns.setdefault(key, {}).setdefault(column, set()).add(i)
    found = []
    for (instrument, instead), by_column in sorted(columns.items()):
        used = set().union(*by_column.values())
        whose = "all" if len(used) == len(recipes) else ", ".join(m for i in sorted(used) for m in models.get(i, ()))
        found.append(
            (f"{instrument}{f' (in place of {instead})' if instead else ''}", ", ".join(sorted(by_column)), whose)
        )
    return found


def by_input(output: Output, features: Sequence[Feature], sample: Sample) -> Models | None:
    """One row per input; None where only some chunks were looked at, or there are too many inputs without folders."""
    names = sorted(sample.documents)
    if sample.is_partial or not names or len(names) > MOST_INPUTS:
        return None
    used: dict[str, int] = {}
    for feature in features:
        used[feature.column] = used.get(feature.column, 0) + 1
    columns = [{"name": "documents", "group": "Documents", "meaning": "documents of the input", "unit": "documents"}]
    values: list[list[float | None]] = [[float(sample.documents[n]) for n in names]]
    intervals: dict[str, list[Interval]] = {}
    for feature in features:
        column = feature.column if used[feature.column] == 1 else feature.name
        told = {"meaning": feature.meaning, "unit": feature.unit}
        moments = [sample.moments.get(n, {}).get(feature.name) for n in names]
        if feature.kind == "flag":
            columns.append({"name": f"{column}_pct", "group": "Shares", "meaning": feature.meaning, "unit": "%"})
            values.append([100 * m.mean if m and m.n else None for m in moments])
            intervals[f"{column}_pct"] = [of_moments(m, True) for m in moments]
        elif feature.kind != "label":
            columns.append({"name": f"{column}_mean", "group": "Means", **told})
            values.append([m.mean if m and m.n else None for m in moments])
            intervals[f"{column}_mean"] = [of_moments(m, False) for m in moments]
            columns.append({"name": f"{column}_std", "group": "Standard deviations", **told})
            values.append([m.std if m else None for m in moments])
        elif feature.column == "prediction" and output.instances[feature.instance]["tagger"] == "domain":
            _add_domains(
                columns, values, intervals, feature, [sample.labels.get(n, {}).get(feature.name) for n in names]
            )
    return Models(
        "input",
        "the attributes",
        columns,
        [(n, [v[i] for v in values]) for i, n in enumerate(names)],
        intervals=intervals,
    )


def _add_domains(
    columns: list[dict[str, str]],
    values: list[list[float | None]],
    intervals: dict[str, list[Interval]],
    feature: Feature,
    counts: Sequence[Any],
) -> None:
    """counts: per input, documents per bar of the feature (None where it has no document)."""
    prefix = "" if feature.instance == "domain" else f"{feature.instance}."
    labels = [dict(zip(feature.labels, map(int, c), strict=True)) if c is not None else {} for c in counts]
    totals = [sum(n for label, n in own.items() if label not in LEFT_OUT) for own in labels]
    for domain in DOMAINS:
        name = f"{prefix}domain_{domain}_pct"
        columns.append(
            {"name": name, "group": "Domains", "meaning": f"documents whose domain is {domain}", "unit": "%"}
        )
        values.append([100 * own.get(domain, 0) / n if n else None for own, n in zip(labels, totals, strict=True)])
        intervals[name] = [of_label(domain, own) for own in labels]


def _data(models: Models) -> dict[str, Any]:
    names = [c["name"] for c in models.columns]
    known = [names.index(n) for n in FIRST if n in names]
    # Deviations say little without their means.
    others = [i for i, c in enumerate(models.columns) if i not in known and c["group"] != "Standard deviations"]
    first = [*known, *others][:FIRST_COLUMNS]
    varying = [i for i in (*known, *range(len(names))) if len({v[i] for _, v in models.rows} - {None}) > 1]
    return {
        "what": models.what,
        "columns": models.columns,
        "ids": [id_ for id_, _ in models.rows],
        "rows": [values for _, values in models.rows],
        "reasons": models.reasons,
        "intervals": {names.index(column): own for column, own in models.intervals.items()},
        "first": sorted(first),
        "scatter": ([*dict.fromkeys(varying), 0, 0])[:2],
    }


def _body(models: Models) -> str:
    many = f"{models.what}s"
    told = (
        f"Values of {text(models.source)}."
        if models.what == "model"
        else "Every input is a row here, because the folder holds no per-model table (run features makes one)."
    )
    several = (
        f"<h3>One column across {many}</h3><div class=controls><label>Column <select id=ranking-column></select></label></div>"
        + chart("ranking-chart", f"Each {models.what}'s value, sorted", "<div id=ranking-table></div>")
        + "<h3>Two columns against each other</h3><div class=controls>"
        "<label>Across <select id=scatter-x></select></label><label>Up <select id=scatter-y></select></label>"
        "<label class=check><input type=checkbox id=scatter-logx> Logarithmic across</label>"
        "<label class=check><input type=checkbox id=scatter-logy> Logarithmic up</label></div>"
        "<p id=scatter-told aria-live=polite></p>"
        + chart("scatter-chart", f"One point for each {models.what}", "<div id=scatter-table></div>")
        if len(models.rows) > 1
        else ""
    )
    filters = (
        '<div class=controls><label>Filter by name <input type=search id=models-filter placeholder="part of a name" autocomplete=off></label>'
        '<label>Only where <select id=models-where><option value="">(any column)</option></select></label>'
        "<label class=short><span class=unseen>Comparison</span><select id=models-is><option value=ge>at least</option><option value=le>at most</option></select></label>"
        "<label class=short><span class=unseen>Value to compare with</span><input type=number step=any id=models-value placeholder=value></label></div>"
    )
    header = ("Instrument", "Columns", "Models")
    instruments = (
        f"<details><summary>What measured each column</summary>{table('Instruments', header, models.instruments)}</details>"
        if models.instruments
        else ""
    )
    return (
        f"<p>{told} An empty cell is a missing value.</p>{filters}"
        "<details id=models-columns><summary>Columns</summary><div id=models-choice></div></details>"
        f'<p id=models-told role=status></p><div class="scroll tall" tabindex=0 role=region aria-label="Table of {many}">'
        f"<table id=models-table><caption class=unseen>{many.capitalize()}, sortable by every column</caption><thead></thead><tbody></tbody></table></div>{instruments}"
        + several
    )
