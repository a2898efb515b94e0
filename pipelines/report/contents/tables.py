"""The table of models in the report, or a table of inputs where the folder has no feature table.

A feature table is the CSV of `run features`: a row for each model. Without one, every input is a row, with means and standard
deviations (ddof 1) of its documents' features, and shares of flags and domains in percent.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tagcorpus.pipelines.feature_table.columns import ID, STEMS, extended_columns, numeric_columns
from tagcorpus.pipelines.feature_table.provenance import provenance_name
from tagcorpus.pipelines.labelling.label_counts import DOMAINS, LEFT_OUT
from tagcorpus.pipelines.progress.heartbeat import json_object
from tagcorpus.pipelines.report.contents.bars import Feature
from tagcorpus.pipelines.report.contents.folder import Output
from tagcorpus.pipelines.report.contents.intervals import Interval, of_label, of_moments, of_table
from tagcorpus.pipelines.report.contents.sample import Sample
from tagcorpus.pipelines.storage.folder import Folder
from tagcorpus.predictor.records.plain_values import number

# With more inputs, there is no table of inputs.
MOST_INPUTS = 400
# Length of a header that is read: other tables in the folder can be large.
_HEADER_BYTES = 1 << 16
_GROUPS = {"mean": "Means", "std": "Standard deviations", "ratio": "Ratios"}


@dataclass
class Models:
    """A table of models or of inputs.

    kind         `model` or `input`
    source       the name of the table
    columns      name, group, meaning and unit of each
    rows         id, and a value or None for each column
    reasons      why a cell is empty, by id and column, where the provenance says so
    provenance   (measured with, columns, models)
    intervals    by column, one for each row
    """

    kind: str
    source: str
    columns: list[dict[str, str]]
    rows: list[tuple[str, list[float | None]]]
    reasons: dict[str, dict[str, str]] = field(default_factory=dict)
    provenance: list[tuple[str, str, str]] = field(default_factory=list)
    intervals: dict[str, list[Interval]] = field(default_factory=dict)


def is_feature_table(head: bytes) -> bool:
    """Whether a file that begins with `head` is a feature table: its header has `id` and some of the known columns."""
    header = next(csv.reader(io.StringIO(head.decode("utf-8-sig", "replace"))), [])
    return header[:1] == [ID] and bool(set(header) & set(numeric_columns()))


def feature_table_of(output: Output) -> Models | None:
    """The feature table in the folder or its summary, if there is one."""
    folder = output.folder
    for name in [n for n in (*folder.files("summary"), *_top_level(folder)) if n.endswith(".csv")]:
        if is_feature_table(folder.read_chunk(name, 0, _HEADER_BYTES)):
            return feature_table(name, folder.read(name) or b"", json_object(folder, provenance_name(name)))
    return None


def _top_level(folder: Folder) -> list[str]:
    names = (str(n).rstrip("/").rsplit("/", 1)[-1] for n in folder.fs.ls(folder.root, detail=False))
    return sorted(n for n in names if not n.startswith("."))


def feature_table(name: str, data: bytes, provenance: Mapping[str, Any]) -> Models:
    """A feature table with its provenance (an empty mapping if there is none). Columns without a number are left out, and so
    are rows whose number of fields is not the header's."""
    header, *rows = csv.reader(io.StringIO(data.decode("utf-8-sig", "replace")))
    rows = [r for r in rows if len(r) == len(header)]
    values = {c: [number(r[i]) for r in rows] for i, c in enumerate(header) if i}
    filled = [c for c, column in values.items() if any(v is not None for v in column)]
    columns = [_described(c) for c in filled]
    numbers = [(row[0], [values[c][i] for c in filled]) for i, row in enumerate(rows)]
    models = provenance.get("models", {})
    empty = {m: {c: why for why, cs in models[m].get("empty", {}).items() for c in cs if c in values} for m in models}
    intervals = of_table([r[0] for r in rows], {c: values[c] for c in filled}, models)
    return Models("model", name, columns, numbers, empty, _measured_with(provenance), intervals)


def _described(column: str) -> dict[str, str]:
    known = (numeric_columns() | extended_columns()).get(column)
    if known is None:
        return {"name": column, "group": "Other columns", "meaning": "", "unit": ""}
    meaning = next((stem.meaning for stem in STEMS if stem.name == known.stem), "")
    group = _GROUPS.get(known.statistic, "Other columns")
    return {"name": column, "group": group, "meaning": meaning, "unit": known.unit}


def _measured_with(provenance: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """(measured with, columns, models), a row for each tokenizer, model or program that measured columns."""
    recipes = provenance.get("recipes", [])
    models: dict[int, list[str]] = {}
    for model, entry in provenance.get("models", {}).items():
        models.setdefault(entry.get("recipe", 0), []).append(model)
    columns: dict[tuple[str, str], dict[str, set[int]]] = {}
    for i, recipe in enumerate(recipes):
        for column, entry in recipe.get("columns", {}).items():
            key = (str(entry.get("instrument", "")), str(entry.get("in_place_of", "")))
            columns.setdefault(key, {}).setdefault(column, set()).add(i)
    rows = []
    for (measured_with, instead), by_column in sorted(columns.items()):
        used = set().union(*by_column.values())
        whose = "all" if len(used) == len(recipes) else ", ".join(m for i in sorted(used) for m in models.get(i, ()))
        replaced = f" (in place of {instead})" if instead else ""
        rows.append((f"{measured_with}{replaced}", ", ".join(sorted(by_column)), whose))
    return rows


def by_input(output: Output, features: Sequence[Feature], sample: Sample) -> Models | None:
    """One row per input; None if only some chunks were read, or there are too many inputs."""
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
        described = {"meaning": feature.meaning, "unit": feature.unit}
        moments = [sample.moments.get(n, {}).get(feature.name) for n in names]
        if feature.kind == "flag":
            columns.append({"name": f"{column}_pct", "group": "Shares", "meaning": feature.meaning, "unit": "%"})
            values.append([100 * m.mean if m and m.n else None for m in moments])
            intervals[f"{column}_pct"] = [of_moments(m, True) for m in moments]
        elif feature.kind != "label":
            columns.append({"name": f"{column}_mean", "group": "Means", **described})
            values.append([m.mean if m and m.n else None for m in moments])
            intervals[f"{column}_mean"] = [of_moments(m, False) for m in moments]
            columns.append({"name": f"{column}_std", "group": "Standard deviations", **described})
            values.append([m.std if m else None for m in moments])
        elif feature.column == "prediction" and output.instances[feature.instance]["tagger"] == "domain":
            counts = [sample.labels.get(n, {}).get(feature.name) for n in names]
            _add_domains(columns, values, intervals, feature, counts)
    rows = [(n, [v[i] for v in values]) for i, n in enumerate(names)]
    return Models("input", "the attributes", columns, rows, intervals=intervals)


def _add_domains(
    columns: list[dict[str, str]],
    values: list[list[float | None]],
    intervals: dict[str, list[Interval]],
    feature: Feature,
    counts: Sequence[Any],
) -> None:
    """Add the shares of domains. counts: per input, documents per bar of the feature; None for an input without documents."""
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
