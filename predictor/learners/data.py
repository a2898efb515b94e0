"""One task's data set: models, their organisations, scores and features, from a store and a per-model feature table.

    load(con, task, features_csv) -> Dataset

`con` is Store.con, or any DuckDB connection with the three tables. `task` is a Task or its name. `features_csv` is a path,
None, or a table of `read_features`, which is then read once for many tasks. This module imputes and encodes nothing, so
that a protocol can do both inside its training folds: missing is NaN in numeric columns and None in categorical ones.
`codes` gives the two encodings of the published scripts. Rows are sorted by the bytes of the id, so that seeded folds are
the same on every machine. `Dataset.noticed` counts the models that are left out and the values that look wrong.
"""

from __future__ import annotations

import csv
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from tagcorpus.errors import ConfigError, InputError
from tagcorpus.predictor.records.annotations import are_fractions, properties
from tagcorpus.predictor.records.makers import MAKER, groups_of
from tagcorpus.predictor.records.plain_values import LARGEST, number
from tagcorpus.predictor.records.scores import Conflict, Rule, known_ids, models_of, scores_of
from tagcorpus.predictor.records.tasks import Task, task
from tagcorpus.requirements import how_to_install

ID = "id"
PARAMS = "total_params"
TOKENS = "pretraining_summary_total_tokens_billions"
SCALE = (PARAMS, TOKENS)
ARCHITECTURE = ("dimension", "num_heads", "mlp_ratio", "sequence_length")
PERCENTAGES = tuple(
    f"pretraining_summary_percentage_{part}" for part in ("web", "code", "books", "reference", "academic", "english")
)
CATEGORICAL = ("activation", "attention_variant", "biases", "block_type", "layer_norm_type", "positional_embeddings")
DATABASE = (*SCALE, *ARCHITECTURE, *PERCENTAGES, *CATEGORICAL)
MISSING = -1.0  # the published scripts' mark of a missing number or category; some cells of the store have it, too
LEAST_MODELS = 30
LEAST_COPIED = 10
"""Models with a value of a feature, from which its correlation with the score says something."""
COPY_CORRELATION = 0.999
"""A feature that measures something else than the score has less."""


class TaskError(InputError):
    """The task cannot be predicted: too few models, or the same score for all."""


# A category that is missing: `absent` is -1 like a missing number (the published main script), `code` an ordinary
# category named "missing" (the published selection script).
Encoding = Literal["absent", "code"]


@dataclass(frozen=True)
class Noticed:
    """Facts about the data that a reader of the figures should know. Ids are in byte order.

    conflicts     several unequal scores for one model and benchmark
    zeros         "id: benchmark" of scores of exactly 0: perhaps a failed evaluation. They are kept
    not_a_number  "id: benchmark" of scores that are NaN or NULL, left out; the model goes with its other sub-scores
    without_score models with scores that are all NaN, left out
    without_scale models with a score and not instruction-tuned, without parameters or tokens, left out
    sentinels     column -> cells that hold -1 and count as missing
    empty         columns without any value among these models
    constant      columns with one value only, nothing missing
    without_features   models without a row in the feature table
    unused_features    ids of the feature table that are not in this data set
    unknown_features   ids of the feature table that are not in the store
    """

    conflicts: tuple[Conflict, ...]
    zeros: tuple[str, ...]
    not_a_number: tuple[str, ...]
    without_score: tuple[str, ...]
    without_scale: tuple[str, ...]
    sentinels: dict[str, int]
    empty: tuple[str, ...]
    constant: tuple[str, ...]
    without_features: tuple[str, ...]
    unused_features: tuple[str, ...]
    unknown_features: tuple[str, ...]


@dataclass(frozen=True)
class Dataset:
    """One task, n models.

    ids            [n], sorted in byte order, unique
    organisations  [n], the groups that folds must not split: makers, or what `grouped_by` names (makers.py)
    y              float64 [n], the score as a fraction (Brier: as it is)
    frame          pandas DataFrame [n rows], index = ids, columns in published order: SCALE, ARCHITECTURE, PERCENTAGES,
                   CATEGORICAL, then the feature table's in its order. SCALE hold natural logarithms (of parameters, of
                   billions of tokens). Numeric columns are float64 with NaN, categorical ones object: str or None
    generated      the feature table's columns, in its order; () without a table
    """

    task: Task
    ids: tuple[str, ...]
    organisations: tuple[str, ...]
    y: np.ndarray[Any, np.dtype[np.float64]]
    frame: Any
    generated: tuple[str, ...]
    noticed: Noticed
    grouped_by: str = MAKER

    @property
    def numeric(self) -> tuple[str, ...]:
        return tuple(c for c in self.frame.columns if c not in CATEGORICAL)

    @property
    def groups(self) -> int:
        return len(set(self.organisations))


def load(
    con: Any,
    which: Task | str,
    features_csv: Any,
    *,
    conflicts: Rule = "ordered",
    drop_instruction_tuned: bool = True,
    least_models: int = LEAST_MODELS,
    groups: str = MAKER,
) -> Dataset:
    """The data set of one task. groups: `maker`, `organisation`, or an annotation of the store (makers.groups_of).

    Raises TaskError where fewer than `least_models` are left, InputError where no id of the feature table is a model of the
    data set or the table cannot be read, ConfigError for an unknown task or column.
    """
    pandas = pandas_module()
    chosen = task(which) if isinstance(which, str) else which
    of_data = (TOKENS, *PERCENTAGES)
    models = models_of(con, [c for c in DATABASE if c not in of_data], of_data, drop_instruction_tuned)
    scores, seen = scores_of(con, chosen, models, conflicts)
    _check_units({m: models[m] for m in scores})
    whole = {m for m, row in models.items() if all((row[c] or 0) > 0 for c in SCALE)}
    ids = sorted((m for m in scores if m in whole), key=str.encode)
    if len(ids) < least_models:
        label = f"{chosen.name} ({chosen.shots}-shot {chosen.metric})"
        raise TaskError(
            f"{label}: {len(ids)} models have parameters, tokens and a score, at least {least_models} are needed "
            f"(--least-models); `tagcorpus store check` lists the models that lack one"
        )
    frame = pandas.DataFrame({c: [models[m][c] for m in ids] for c in DATABASE}, index=ids)
    for column in DATABASE:
        if column not in CATEGORICAL:
            frame[column] = frame[column].astype("float64")
    frame = frame.astype(dict.fromkeys(CATEGORICAL, object))
    frame[list(CATEGORICAL)] = frame[list(CATEGORICAL)].where(frame[list(CATEGORICAL)].notna(), None)
    rows: tuple[str, ...] = ()
    known = known_ids(con)
    generated: tuple[str, ...] = ()
    if features_csv is not None:
        table = read_features(features_csv) if isinstance(features_csv, (str, Path)) else features_csv
        rows, generated = tuple(table.index), tuple(table.columns)
        if not set(rows) & set(ids):
            raise InputError(
                f"the feature table: none of its {len(rows):,} ids is one of the {len(ids):,} models with a score in "
                f"{chosen.name}. It has {_first(rows)}, the store {_first(ids)}: spell ids org/name in both"
            )
        if twice := sorted(set(generated) & set(DATABASE)):
            raise InputError(
                f"the feature table: column {twice[0]!r} is also a column of the store; leave it out or rename it"
            )
        frame = frame.join(table.reindex(ids))
    numeric = [c for c in frame.columns if c not in CATEGORICAL]
    sentinel = frame[numeric] == MISSING
    frame[numeric] = frame[numeric].mask(sentinel)
    frame[list(SCALE)] = np.log(frame[list(SCALE)])
    with_features = set(rows)
    noticed = Noticed(
        **seen,
        without_scale=tuple(sorted((m for m in scores if m not in whole), key=str.encode)),
        sentinels={c: int(n) for c, n in sentinel.sum().items() if n},
        empty=tuple(c for c in frame.columns if frame[c].isna().all()),
        constant=tuple(c for c in frame.columns if frame[c].notna().all() and frame[c].nunique() == 1),
        without_features=tuple(m for m in ids if rows and m not in with_features),
        unused_features=tuple(m for m in rows if m not in scores or m not in whole),
        unknown_features=tuple(m for m in rows if m not in known),
    )
    y = np.array([scores[m] for m in ids], dtype=np.float64)
    _check_copies(frame, generated, y, chosen.name)
    return Dataset(chosen, tuple(ids), groups_of(con, ids, groups), y, frame, generated, noticed, groups)


def _check_copies(frame: Any, columns: Sequence[str], y: np.ndarray[Any, Any], name: str) -> None:
    """Raise InputError for a feature that is the score itself, under another name, in percent, rounded, or as an error."""
    for column in columns:
        values = frame[column].to_numpy()
        there = np.isfinite(values)
        if there.sum() < LEAST_COPIED or np.ptp(values[there]) == 0 or np.ptp(y[there]) == 0:
            continue
        correlation = abs(float(np.corrcoef(values[there], y[there])[0, 1]))
        if correlation >= COPY_CORRELATION:
            raise InputError(
                f"the feature table: column {column!r} is the score of {name} itself, or a multiple of it (correlation "
                f"{correlation:.4f}), and a score is not a feature; leave the column out"
            )


def _check_units(models: Mapping[str, Mapping[str, Any]]) -> None:
    """Raise InputError for a number of parameters or tokens that no model has, and for fractions in the place of percent."""
    if fractions := next((model for model, row in models.items() if are_fractions(row)), None):
        raise InputError(
            f"the percentages of domains of {fractions} add up to 1: they are fractions, and percent is asked for; `tagcorpus store "
            "check` lists such models"
        )
    for column in SCALE:
        rule = properties()[column]
        low, high = rule.get("minimum", 0), rule["maximum"]
        for model, row in models.items():
            if (value := row[column] or 0) > 0 and not low <= value <= high:
                raise InputError(
                    f"{column} of {model} is {value:g}, not between {low:g} and {high:g}: is it in another unit? "
                    "`tagcorpus store check` lists such values"
                )


def codes(data: Dataset, columns: Sequence[str], encoding: Encoding) -> np.ndarray[Any, np.dtype[np.float32]]:
    """The published encoding: float32 [n, len(columns)], missing -1, categories as their number in alphabetical order over
    all rows of the data set, test models included. (The number says nothing about a score.)

    Raises ConfigError for a column that is not there.
    """
    out = np.empty((len(data.ids), len(columns)), dtype=np.float32)
    for at, column in enumerate(columns):
        if column not in data.frame.columns:
            raise ConfigError(
                f"no feature {column!r} in the data set of {data.task.name}; it has {len(data.frame.columns)}"
            )
        values = data.frame[column]
        if column not in CATEGORICAL:
            out[:, at] = values.fillna(MISSING)
            continue
        texts = ["missing" if v is None and encoding == "code" else v for v in values]
        number: dict[str | None, int] = {t: i for i, t in enumerate(sorted({t for t in texts if t is not None}))}
        out[:, at] = [number.get(t, int(MISSING)) for t in texts]
    return out


def read_features(path: str | Path) -> Any:
    """A per-model feature table: DataFrame, index = ids as in the file, float64 columns, an empty cell is NaN.

    Raises InputError, naming the file and the place, for a file that is missing, for missing or doubled ids or columns, and
    for a cell that is not a finite number.
    """
    pandas = pandas_module()
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            header, *rows = [cells for cells in csv.reader(file, strict=True) if cells] or [[]]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(
            f"{path}: not a feature table: {error}; `tagcorpus check-features` lists everything"
        ) from error
    if ID not in header:
        raise InputError(f"{path}: the column {ID!r} is missing")
    if ragged := next((r for r in rows if len(r) != len(header)), None):
        raise InputError(f"{path}: the row of {ragged[0]!r} has {len(ragged)} cells, the header {len(header)}")
    at = header.index(ID)
    ids = [r[at] for r in rows]
    for kind, names in (("column", header), ("id", ids)):
        if twice := next((n for n, count in Counter(names).items() if count > 1), None):
            raise InputError(f"{path}: the {kind} {twice!r} is there more than once")
    numbers = {
        column: [_number(path, m, column, r[i]) for m, r in zip(ids, rows, strict=True)]
        for i, column in enumerate(header)
        if column != ID
    }
    return pandas.DataFrame(numbers, index=ids, dtype="float64")


def pandas_module() -> Any:
    """pandas, imported where it is first needed. Raises ConfigError where it is not installed."""
    try:
        import pandas
    except ImportError:
        raise ConfigError(f"predictions need pandas: {how_to_install('predict')}") from None
    return pandas


def _number(path: str | Path, model: str, column: str, text: str) -> float:
    text = text.strip()
    if not text:
        return math.nan
    value = number(text)
    if value is None:
        raise InputError(
            f"{path}: {model}, column {column!r}: {text!r} is not a number of at most {LARGEST:g}; leave a missing value empty"
        )
    return value


def _first(ids: Sequence[str]) -> str:
    return ", ".join(ids[:3]) + (", ..." if len(ids) > 3 else "")
