"""One file for the store: what kind it is, and its rows, checked. Nothing is written here (store_import).

The kind is told from what is in the file: JSON with `results` is a results file, other JSON annotations; a CSV is a table
of scores, of annotations or of features by its header.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from tagcorpus.errors import InputError
from tagcorpus.predictor.annotations import csv_rows, field_name, json_of, properties, read_annotations, refuse, text_of
from tagcorpus.predictor.harness_results import is_results, no_score, read_results
from tagcorpus.predictor.makers import TABLE as MAKERS
from tagcorpus.predictor.tasks import normalised

Kind = Literal["results", "annotations", "scores", "features"]
Key = tuple[str, ...]
# What Python's float() also takes (1_000, inf, digits of other scripts) is a mistake in a table of scores.
_SCORE = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?|[nN][aA][nN]")
ANNOTATION_TABLES = ("model_annotations", "dataset_info", MAKERS)
SCORE_FIELDS = ("id", "benchmark", "setting", "metric", "metric_value")


@dataclass
class Batch:
    """What one file holds. `rows`: by table and key, the values of the other columns."""

    file: str
    digest: str
    kind: Kind
    rows: dict[str, dict[Key, dict[str, Any]]]
    columns: list[str] = field(default_factory=list)  # of a feature table, in its order
    notes: list[str] = field(default_factory=list)


def read_batch(path: str | Path, model_id: str | None = None) -> Batch:
    """One file, read and checked; its kind is told from what is in it. Raises InputError."""
    path = Path(path)
    text = text_of(path)
    kind = kind_of(path, text)
    digest = "sha256:" + hashlib.sha256(path.read_bytes()).hexdigest()
    batch = Batch(str(path), digest, kind, {})
    if kind == "results":
        scores, batch.notes = read_results(path, model_id)
        batch.rows["evaluation_results"] = {
            (s.id, s.benchmark, s.setting, s.metric): {"metric_value": s.value, "metric_stderr": s.stderr}
            for s in scores
        }
        if undefined := [s for s in scores if math.isnan(s.value)]:
            batch.notes.append(f"{len(undefined)} scores are NaN: {undefined[0].benchmark} {undefined[0].metric}, ...")
        if zero := [s.benchmark for s in scores if s.value == 0]:
            batch.notes.append(f"{len(zero)} scores are exactly 0, as failed evaluations are: {', '.join(zero[:5])}")
    elif kind == "annotations":
        for a in read_annotations(path):
            for table in ANNOTATION_TABLES:
                if fields := a.of(table):
                    batch.rows.setdefault(table, {})[(a.id,)] = fields
            batch.notes += a.notes
    elif kind == "scores":
        batch.rows["evaluation_results"] = _score_rows(path, text)
    else:
        batch.rows["features"], batch.columns = _feature_rows(path, text)
    return batch


def kind_of(path: Path, text: str) -> Kind:
    """What a file is, told from its contents. Raises InputError where it is nothing that a store takes."""
    if path.suffix.lower() != ".csv":
        return "results" if is_results(json_of(path, text)) else "annotations"
    header = next(iter(csv_rows(path, text)), ("", {}))[1]
    names = {field_name(h) for h in header}
    if "id" not in names:
        raise InputError(
            f"{str(path)!r}: the header must have a column 'id' and a row must follow; it has: {', '.join(header) or 'nothing'}"
        )
    if set(SCORE_FIELDS) <= names:
        return "scores"
    return "annotations" if names & (set(properties()) - {"id", "metadata"}) else "features"


def _score_rows(path: Path, text: str) -> dict[Key, dict[str, Any]]:
    rows: dict[Key, dict[str, Any]] = {}
    problems = []
    for where, row in csv_rows(path, text):
        values: dict[str, Any] = {}
        problems += [f"{where}: field {n!r}: must not be empty" for n in SCORE_FIELDS[:4] if not row[n].strip()]
        if not re.fullmatch(r"\d+-shot", row["setting"]):
            problems.append(f"{where}: field 'setting': must be like 5-shot, not {row['setting']!r}")
        for name in ("metric_value", "metric_stderr"):
            cell = row.get(name, "").strip()
            if (cell and not _SCORE.fullmatch(cell)) or math.isinf(float(cell or 0)):
                problems.append(f"{where}: field {name!r}: must be a finite number or nan, not {cell!r}")
            else:
                values[name] = float(cell) if cell else None
        if values.get("metric_value", 0) is None:
            problems.append(
                f"{where}: field 'metric_value': must not be empty (nan is a score that could not be computed)"
            )
        if why := no_score(row["metric"], values.get("metric_value") or 0):
            problems.append(f"{where}: field 'metric_value': is not a score of {row['metric']!r}: {why}")
        key = (row["id"], normalised(row["benchmark"]), row["setting"], row["metric"])
        if not is_equal(rows.setdefault(key, values).get("metric_value"), values.get("metric_value")):
            problems.append(f"{where}: {' '.join(key)} is there more than once, with different values")
    refuse(path, problems)
    return rows


def _feature_rows(path: Path, text: str) -> tuple[dict[Key, dict[str, Any]], list[str]]:
    rows: dict[Key, dict[str, Any]] = {}
    ids: set[str] = set()
    problems, names = [], []
    for where, row in csv_rows(path, text):
        names = [n for n in row if n != "id"]
        model = row["id"]
        if model in ids or not model.strip():
            problems.append(f"{where}: field 'id': {model!r} must be there once, and not be empty")
        ids.add(model)
        for name in names:
            cell = row[name].strip()
            try:
                value = float(cell) if cell else math.nan
            except ValueError:
                problems.append(f"{where}: id {model!r}, field {name!r}: must be a number, not {cell!r}")
                continue
            if not math.isnan(value):
                rows[(model, name)] = {"value": value}
    refuse(path, problems)
    return rows, names


def is_equal(a: Any, b: Any) -> bool:
    """The same value, as far as a CSV's digits and the spelling of JSON go."""
    if isinstance(a, float) or isinstance(b, float):
        if a is None or b is None:
            return a is b
        return (math.isnan(a) and math.isnan(b)) or math.isclose(a, b, rel_tol=1e-9, abs_tol=1e-15)
    if isinstance(a, str) and isinstance(b, str) and a[:1] == b[:1] == "{":
        return bool(json.loads(a) == json.loads(b))
    return bool(a == b)
