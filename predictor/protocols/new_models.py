"""Predicted scores of one model from its annotations, and the fields whose values are outside those of the data set.

The model need not be in the store. Its file is a JSON object: `id`, fields of annotations.json (total_params and
pretraining_summary_total_tokens_billions must be given), and optionally `features`, the columns of a row of the feature
table. The default predictor is `average` (models.py). With features, `generated` gives a second prediction with its own
interval. Intervals are conformal by organisation (conformal.py).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from tagcorpus.errors import InputError, folded, unknown_name
from tagcorpus.predictor.learners import models
from tagcorpus.predictor.learners.conformal import LEVEL, coverage, half_width
from tagcorpus.predictor.learners.data import CATEGORICAL, DATABASE, PARAMS, SCALE, TOKENS, Dataset
from tagcorpus.predictor.learners.design import Matrix, columns_of
from tagcorpus.predictor.learners.evaluation import Evaluation
from tagcorpus.predictor.protocols.tables import aligned
from tagcorpus.predictor.records.annotations import json_of, one_model, text_of
from tagcorpus.predictor.records.makers import BASE, MAKER, NAMESPACE, is_one, maker, organisation
from tagcorpus.predictor.records.plain_values import LARGEST

FEATURES = "features"
CLOSE = 3  # named of the nearest models
_NAMES = {PARAMS: "parameters", TOKENS: "billions of tokens"}


@dataclass(frozen=True)
class NewModel:
    """fields: the given fields of DATABASE; features: column -> number; notes: allowed values to check. maker: see
    makers.py."""

    id: str
    fields: Mapping[str, Any]
    features: Mapping[str, float]
    notes: tuple[str, ...]
    maker: str

    def group(self, column: str) -> str:
        """Its group, where models are grouped by this column."""
        known = {MAKER: self.maker, NAMESPACE: organisation(self.id)}
        return known.get(column) or str(self.fields.get(column, self.id))


@dataclass(frozen=True)
class Outside:
    """A field whose value is outside those of the data set. seen: least and greatest value, or the categories."""

    field: str
    value: float | str
    seen: str


@dataclass(frozen=True)
class Prediction:
    """One task's score by one predictor, as fractions. A model of a new organisation is within low to high with probability
    `level`. held: the share of known models that are within such intervals. members: predictions of the average's members.
    nearest: ids of the models next in scale."""

    task: str
    predictor: str
    score: float
    low: float
    high: float
    level: float
    held: float
    members: Mapping[str, float]
    outside: tuple[Outside, ...]
    missing: tuple[str, ...]
    nearest: tuple[str, ...]
    is_known: bool
    has_siblings: int
    models: int
    organisations: int


def read_new_model(path: str | Path, generated: tuple[str, ...]) -> NewModel:
    """generated: the feature table's columns. Raises InputError naming every field that is wrong."""
    path = Path(path)
    document = json_of(path, text_of(path))
    if not isinstance(document, dict):
        raise InputError(
            f"{str(path)!r}: one model must be an object with `id`, its annotations and, if any, {FEATURES!r}"
        )
    given = document.pop(FEATURES, None) or {}
    annotations, problems = one_model(document)
    problems += _wrong_features(given, generated)
    for name in SCALE:
        if name not in annotations.fields and not any(f"'{name}'" in p for p in problems):
            problems.append(f"field {name!r}: must be given, every prediction needs it")
        elif not annotations.fields.get(name, 1) > 0:
            problems.append(f"field {name!r}: must be above 0, not {annotations.fields[name]!r}")
    if problems:
        raise InputError(f"{str(path)!r}: " + "".join(f"\n  {p}" for p in problems))
    fields = {n: v for n, v in annotations.fields.items() if n in DATABASE}
    features = {k: float(v) for k, v in given.items() if v is not None}
    declared, bases = (
        {annotations.id: str(annotations.fields[name])} if name in annotations.fields else {} for name in (MAKER, BASE)
    )
    own = maker(annotations.id, declared, bases)
    return NewModel(annotations.id, fields, features, annotations.notes, own)


def with_row(new: NewModel, features: Any) -> NewModel:
    """The model with the features of its row in the feature table (a data frame by id), unless its file has features. A note
    says where they come from."""
    if new.features:
        return new
    if new.id not in features.index:
        lacking = (
            f"{FEATURES}: neither the file nor the feature table has any of {new.id}; only its annotations are used"
        )
        return replace(new, notes=(*new.notes, lacking))
    cells = {name: float(features.at[new.id, name]) for name in models.GENERATED if name in features.columns}
    row = {name: cell for name, cell in cells.items() if math.isfinite(cell)}
    return replace(new, features=row, notes=(*new.notes, f"{FEATURES}: those of its row in the feature table"))


def _wrong_features(given: Any, generated: tuple[str, ...]) -> list[str]:
    if not isinstance(given, dict):
        return [f"field {FEATURES!r}: must be an object from columns to numbers, not {type(given).__name__}"]
    problems = []
    for name, value in given.items():
        if name not in generated:
            known = f"{FEATURES}: {unknown_name('column', name, generated, FEATURES)}" if generated else ""
            problems.append(known or f"{FEATURES}: {name!r}: there is no feature table to compare it with (--features)")
        elif value is not None and (
            isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) <= LARGEST
        ):
            problems.append(
                f"{FEATURES}: column {name!r}: must be a number (left out where missing), not {value!r:.40}"
            )
    return problems


def predictors_for(new: NewModel) -> tuple[str, ...]:
    """The models of models.py whose evaluations `predict` needs for this one."""
    return (models.DEFAULT, "generated") if set(models.GENERATED) & set(new.features) else (models.DEFAULT,)


def predict(data: Dataset, new: NewModel, evaluations: list[Evaluation], seed: int) -> list[Prediction]:
    """The default predictor's, and `generated`'s where the new model and the data set have its features.

    evaluations: of the grouped protocol on the same data, whose errors under grouped folds give the intervals.
    """
    return [_predict(data, new, name, evaluations, seed) for name in predictors_for(new)]


def _predict(data: Dataset, new: NewModel, name: str, evaluations: list[Evaluation], seed: int) -> Prediction:
    evaluation = next((e for e in evaluations if e.predictor == name and e.folds == "grouped"), None)
    if evaluation is None:
        raise ValueError(f"no evaluation of {name} under grouped folds")
    # A model already in the data set is predicted from the others.
    rows = np.array([i for i, m in enumerate(data.ids) if folded(m) != folded(new.id)], dtype=np.int64)
    fit = models.fitted(data, name, rows, seed)
    columns = models.model(name).columns
    x = _row(data, new, columns)
    score = float(fit.predict(x)[0])
    members = {}
    if isinstance(fit, models.Average):
        members = {n: float(v[0]) for n, v in fit.parts(x).items()}
    errors = np.abs(evaluation.predicted - data.y).mean(axis=0)
    width = half_width(errors, data.organisations)
    least, most = (0.0, 1.0) if not data.task.is_lower_better else (0.0, math.inf)
    used = dict.fromkeys((*columns, *new.fields, *new.features))
    own = new.group(data.grouped_by)
    return Prediction(
        data.task.name,
        name,
        score,
        max(least, score - width),
        min(most, score + width),
        LEVEL,
        coverage(errors, data.organisations),
        members,
        tuple(o for c in used if (o := _outside(data, new, c)) is not None),
        tuple(c for c in columns if _value(new, c) is None),
        _nearest(data, new),
        folded(new.id) in map(folded, data.ids),
        sum(
            is_one(o, own, data.grouped_by) and folded(m) != folded(new.id)
            for m, o in zip(data.ids, data.organisations, strict=True)
        ),
        len(data.ids),
        data.groups,
    )


def _value(new: NewModel, column: str) -> Any:
    return new.fields.get(column, new.features.get(column))


def _row(data: Dataset, new: NewModel, columns: tuple[str, ...]) -> Matrix:
    """float64 [1, c] as columns_of has it."""
    _, names = columns_of(data, columns)
    cells = []
    for name in names:
        column, _, category = name.partition("=")
        value = _value(new, column)
        if value is None:
            cells.append(math.nan)
        elif category:
            cells.append(float(value == category))
        else:
            cells.append(math.log(value) if column in SCALE else float(value))
    return np.array([cells])


def _outside(data: Dataset, new: NewModel, column: str) -> Outside | None:
    value = _value(new, column)
    if value is None or column not in data.frame.columns:
        return None
    seen = data.frame[column].dropna()
    if column in CATEGORICAL:
        known = sorted(set(seen))
        return None if value in known else Outside(column, str(value), ", ".join(known) or "none")
    if not len(seen):
        return Outside(column, float(value), "no value")
    low, high = float(seen.min()), float(seen.max())
    if column in SCALE:
        low, high = math.exp(low), math.exp(high)
    # Logarithms and back lose a bit or two.
    if low * (1 - 1e-9) <= value <= high * (1 + 1e-9):
        return None
    return Outside(column, float(value), f"{low:,.6g} to {high:,.6g}")


def _nearest(data: Dataset, new: NewModel) -> tuple[str, ...]:
    """The models nearest in ln params and ln tokens, each as a share of its spread."""
    scale = data.frame[list(SCALE)].to_numpy(np.float64)
    own = np.array([math.log(new.fields[c]) for c in SCALE])
    distance = (((scale - own) / scale.std(axis=0)) ** 2).sum(axis=1)
    order = [i for i in np.argsort(distance, kind="stable") if data.ids[i] != new.id]
    return tuple(data.ids[i] for i in order[:CLOSE])


def document(new: NewModel, predictions: list[Prediction]) -> dict[str, Any]:
    """JSON-ready; scores are fractions, rounded to six decimals."""

    def entry(p: Prediction) -> dict[str, Any]:
        return {
            "task": p.task,
            "predictor": p.predictor,
            "score": round(p.score, 6),
            "interval": [round(p.low, 6), round(p.high, 6) if math.isfinite(p.high) else None],
            "level": p.level,
            "level_held_by_known_organisations": round(p.held, 6),
            "members": {k: round(v, 6) for k, v in p.members.items()},
            "outside": [{"field": o.field, "value": o.value, "seen": o.seen} for o in p.outside],
            "missing": list(p.missing),
            "nearest_in_scale": list(p.nearest),
            "is_in_the_store": p.is_known,
            "models_of_its_organisation": p.has_siblings,
            "models": p.models,
            "organisations": p.organisations,
        }

    features = dict(sorted(new.features.items()))
    return {
        "id": new.id,
        "fields": dict(sorted(new.fields.items())),
        "features": features,
        "notes": list(new.notes),
        "predictions": [entry(p) for p in predictions],
    }


def terminal(answer: Mapping[str, Any]) -> str:
    """The document as a person reads it."""
    rows = [("task", "predictor", "score", f"{LEVEL:.0%} interval", "held", "models", "makers")]
    for p in answer["predictions"]:
        low, high = p["interval"]
        upper = "inf" if high is None else f"{100 * high:.1f}"
        held = f"{p['level_held_by_known_organisations']:.0%}"
        cells = (
            f"{100 * p['score']:.1f}",
            f"{100 * low:.1f} to {upper}",
            held,
            str(p["models"]),
            str(p["organisations"]),
        )
        rows.append((p["task"], p["predictor"], *cells))
    lines = [answer["id"], *aligned(rows)]
    lines.append("points; held: share of the models of known makers that such intervals contain")
    tasks = {p["task"] for p in answer["predictions"]}
    outside: dict[str, list[str]] = {}
    for p in answer["predictions"]:
        for o in p["outside"]:
            text = f"{o['field']} = {_short(o['value'])} (known: {o['seen']})"
            outside.setdefault(text, []).append(p["task"])
    if outside:
        places = {
            t: "" if set(where) == tasks else f" [{', '.join(dict.fromkeys(where))}]" for t, where in outside.items()
        }
        lines.append(f"outside the values of the known models: {'; '.join(t + place for t, place in places.items())}")
    if missing := dict.fromkeys(c for p in answer["predictions"] for c in p["missing"]):
        lines.append(f"not given, so each counts as the mean of the models that declare it: {', '.join(missing)}")
    first = answer["predictions"][0]
    lines.append(f"nearest in scale: {', '.join(first['nearest_in_scale'])}")
    if first["is_in_the_store"]:
        lines.append("this id is in the store: it was predicted from the other models")
    if first["models_of_its_organisation"]:
        n = first["models_of_its_organisation"]
        lines.append(f"{n} models of its maker are known; the interval is for a new maker, and so wider than necessary")
    return "\n".join([*lines, *answer["notes"]])


def _short(value: float | str) -> str:
    return value if isinstance(value, str) else f"{value:,.6g}"
