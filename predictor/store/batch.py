"""One file for the store: its kind, and its checked rows. load.py writes them.

The file's contents decide its kind, never its name alone. `UNDERSTOOD` lists the kinds.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from tagcorpus.errors import InputError
from tagcorpus.predictor.importers import datadecide, eval_ever, leaderboard, olmes, wide_scores
from tagcorpus.predictor.importers.collected import Collected, Key, Rows, is_equal
from tagcorpus.predictor.records.annotations import (
    csv_rows,
    field_name,
    json_of,
    properties,
    read_annotations,
    refuse,
    text_of,
)
from tagcorpus.predictor.records.checkpoints import TABLE
from tagcorpus.predictor.records.harness_results import facts_of, is_results, read_results
from tagcorpus.predictor.records.makers import TABLE as MAKERS
from tagcorpus.predictor.records.metrics import METRICS, no_score, no_standard_error
from tagcorpus.predictor.records.plain_values import number
from tagcorpus.predictor.records.tasks import normalised

Kind = Literal[
    "results",
    "every-eval-ever",
    "olmes",
    "datadecide",
    "leaderboard",
    "scores",
    "wide scores",
    "annotations",
    "features",
]
UNDERSTOOD = """
  results          JSON of lm-evaluation-harness: an object with 'results'
  every-eval-ever  JSON of Every Eval Ever: an object with 'model_info' and 'evaluation_results'
  olmes            JSON or JSON lines of OLMES: objects with 'task_config' and 'metrics', or one with 'tasks'
  datadecide       Parquet of DataDecide: columns params, data, task, step, seed, metrics
  leaderboard      Parquet or CSV of the Open LLM Leaderboard's contents: columns fullname, 'IFEval Raw', ...
  scores           table with the columns id, benchmark, setting, metric, metric_value
  wide scores      table with id and columns such as arc_challenge_25-shot_accuracy
  annotations      JSON, or CSV with id and fields of annotations.json
  features         table with id and columns of numbers
Tables are CSV or Parquet."""
SHOWN_ROWS, SHOWN_NAMES = 3, 8
SUFFIXES = (".json", ".jsonl", ".csv", ".parquet")
SCORE_FIELDS = ("id", "benchmark", "setting", "metric", "metric_value")
NAMED_COLUMNS = (*SCORE_FIELDS, "metric_stderr", *wide_scores.FACTS)
ANNOTATION_TABLES = ("model_annotations", "dataset_info", TABLE, MAKERS)


@dataclass
class Batch:
    """The contents of one file. `rows`: by table and key, the values of the other columns.

    repeated   rows whose key is in `rows` with other values, in the file's order: the store's rule for conflicts decides
    fills      rows that only fill gaps: rounded sizes and the like
    """

    file: str
    digest: str
    kind: Kind
    rows: dict[str, Rows]
    columns: list[str] = field(default_factory=list)  # of a feature table, in its order
    notes: list[str] = field(default_factory=list)
    repeated: dict[str, list[tuple[Key, dict[str, Any]]]] = field(default_factory=dict)
    fills: dict[str, Rows] = field(default_factory=dict)

    def preview(self) -> list[str]:
        """Counts, names, and the first rows."""
        lines = []
        for table, rows in self.rows.items():
            models = {key[0] for key in rows}
            lines.append(f"{table}: {len(rows):,} rows of {len(models):,} ids")
            if table == "evaluation_results":
                for name, at in (("benchmarks", 1), ("settings", 2), ("metrics", 3)):
                    lines.append(f"  {name}: {_listed(sorted({key[at] for key in rows}))}")
            for key, values in list(rows.items())[:SHOWN_ROWS]:
                lines.append(f"  {' '.join(key)}: " + ", ".join(f"{k} {v}" for k, v in values.items() if v is not None))
        return lines


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:SHOWN_NAMES]) + (
        f" and {len(names) - SHOWN_NAMES:,} more" if len(names) > SHOWN_NAMES else ""
    )


def read_batch(path: str | Path, model_id: str | None = None, shots: int | None = None) -> Batch:
    """One file, read and checked. Raises InputError.

    model_id, shots   used where the file does not say it
    """
    path = Path(path)
    kind = kind_of(path)
    if kind is None:
        raise InputError(f"{str(path)!r} is not a file that a store takes. It takes:{UNDERSTOOD}")
    digest = "sha256:" + hashlib.sha256(path.read_bytes()).hexdigest()
    batch = Batch(str(path), digest, kind, {})
    if kind == "results":
        _harness(batch, path, model_id, shots)
    elif kind == "annotations":
        for a in read_annotations(path):
            for table in ANNOTATION_TABLES:
                if fields := a.of(table):
                    batch.rows.setdefault(table, {})[(a.id,)] = fields
            batch.notes += a.notes
    elif kind == "features":
        batch.rows["features"], batch.columns = _feature_rows(path, table_rows(path))
    elif kind == "scores":
        into = Collected(path)
        batch.rows, batch.notes = _score_rows(into, table_rows(path)), into.notes
    else:
        into = Collected(path, shots)
        if kind == "every-eval-ever":
            eval_ever.collect(into, _document(path), model_id)
        elif kind == "olmes":
            olmes.collect(into, _document(path), model_id)
        elif kind == "datadecide":
            datadecide.collect(into, _parquet_rows(path))
        elif kind == "leaderboard":
            leaderboard.collect(into, _parquet_rows(path) if is_parquet(path) else (r for _, r in table_rows(path)))
        else:
            wide_scores.collect(into, table_rows(path))
        into.finish()
        batch.rows, batch.repeated, batch.fills, batch.notes = into.rows, into.repeated, into.fills, into.notes
    return batch


def kind_of(path: Path) -> Kind | None:
    """The kind of a file by its contents; None for a file that a store does not take.

    Raises InputError for a file that cannot be read, and for a table of scores whose columns do not say shots and metric.
    """
    if is_parquet(path):
        return _kind_of_table(path, _columns(path))
    if path.suffix.lower() == ".csv":
        where = next(iter(csv_rows(path, text_of(path))), None)
        return _kind_of_table(path, list(where[1]) if where else [])
    document = _document(path)
    if is_results(document):
        return "results"
    if eval_ever.is_one(document):
        return "every-eval-ever"
    if olmes.is_one(document):
        return "olmes"
    models = document if isinstance(document, list) else [document]
    names = {field_name(k) for m in models if isinstance(m, dict) for k in m}
    return "annotations" if names & {*properties(), "pretraining_summary"} else None


def _kind_of_table(path: Path, header: list[str]) -> Kind:
    names = {field_name(h) for h in header}
    if datadecide.is_one(header):
        return "datadecide"
    if leaderboard.is_one(header):
        return "leaderboard"
    if "id" not in names:
        raise InputError(
            f"{str(path)!r}: the header must have a column 'id' and a row must follow; it has: "
            f"{', '.join(header[:20]) or 'nothing'}. A store takes:{UNDERSTOOD}"
        )
    if set(SCORE_FIELDS) <= names:
        return "scores"
    if wide_scores.is_one(header):
        return "wide scores"
    of_models = {name for name, rule in properties().items() if rule["table"] != TABLE} - {"id", "metadata"}
    if names & of_models or (names <= set(properties()) and len(names) > 1):
        return "annotations"
    if disguised := wide_scores.scores_in_disguise(header):
        raise InputError(
            f"{str(path)!r}: column {disguised[0]!r} has the name of a benchmark. Call it {disguised[0]}_N-shot_METRIC if it "
            "has scores; rename it if it is a feature"
        )
    return "features"


def _harness(batch: Batch, path: Path, model_id: str | None, shots: int | None) -> None:
    scores, batch.notes = read_results(path, model_id, shots)
    batch.rows["evaluation_results"] = {
        (s.id, s.benchmark, s.setting, s.metric): {"metric_value": s.value, "metric_stderr": s.stderr} for s in scores
    }
    facts = {} if model_id else facts_of(json_of(path, text_of(path)))
    if facts:
        batch.rows[TABLE] = {(scores[0].id,): facts}
    if undefined := [s for s in scores if math.isnan(s.value)]:
        batch.notes.append(f"{len(undefined)} scores are NaN: {undefined[0].benchmark} {undefined[0].metric}, ...")
    if zero := [s.benchmark for s in scores if s.value == 0]:
        batch.notes.append(f"{len(zero)} scores are exactly 0, as failed evaluations are: {', '.join(zero[:5])}")
    if unknown := sorted({s.metric for s in scores if s.metric.partition(",")[0] not in METRICS}):
        batch.notes.append(
            f"metrics that are not known, so that their range and direction are not checked: {', '.join(unknown[:5])}"
        )


def _document(path: Path) -> Any:
    """The JSON document, or a list of them for a file with one a line."""
    text = text_of(path)
    lines = [line for line in text.split("\n") if line.strip()]
    if path.suffix.lower() == ".jsonl" or (len(lines) > 1 and lines[0].rstrip().endswith("}")):
        return [json_of(path, line) for line in lines]
    return json_of(path, text)


def is_parquet(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(4) == b"PAR1"
    except OSError as error:
        raise InputError(f"{str(path)!r} cannot be read: {error.strerror or error}") from None


def _parquet(path: Path) -> Any:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(path)
    except (pa.ArrowInvalid, OSError) as error:
        raise InputError(f"{str(path)!r} is not readable Parquet: {str(error).splitlines()[0]}") from None
    names = file.schema_arrow.names
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise InputError(f"{str(path)!r}: the header has {twice[0]!r} more than once")
    return file


def _columns(path: Path) -> list[str]:
    with _parquet(path) as file:
        return list(file.schema_arrow.names)


def _parquet_rows(path: Path) -> Iterator[dict[str, Any]]:
    with _parquet(path) as file:
        for records in file.iter_batches():
            yield from records.to_pylist()


def table_rows(path: Path) -> Iterable[tuple[str, dict[str, str]]]:
    """(where, {column: text}) of every row of a CSV or Parquet table; `model_id` is the column `id`."""
    rows: Iterable[tuple[str, dict[str, str]]]
    if is_parquet(path):
        rows = ((f"row {i:,}", {k: _text(v) for k, v in row.items()}) for i, row in enumerate(_parquet_rows(path)))
    else:
        rows = csv_rows(path, text_of(path))
    return ((where, {_column(k): v for k, v in row.items()}) for where, row in rows)


def _column(name: str) -> str:
    plain = field_name(name)
    return plain if plain in NAMED_COLUMNS else name


def _text(value: Any) -> str:
    return "" if value is None else repr(value) if isinstance(value, float) else str(value)


def _score_rows(into: Collected, table: Iterable[tuple[str, Mapping[str, str]]]) -> dict[str, Rows]:
    rows: Rows = {}
    problems = into.problems
    for where, row in table:
        values: dict[str, Any] = {}
        problems += [f"{where}: field {n!r}: must not be empty" for n in SCORE_FIELDS[:4] if not row[n].strip()]
        if not re.fullmatch(r"(?:0|[1-9][0-9]*)-shot", row["setting"]):
            problems.append(f"{where}: field 'setting': must be like 5-shot, not {row['setting']!r}")
        for name in ("metric_value", "metric_stderr"):
            cell = row.get(name, "").strip()
            if (cell and not wide_scores.NUMBER.fullmatch(cell)) or math.isinf(float(cell or 0)):
                problems.append(f"{where}: field {name!r}: must be a finite number or nan, not {cell!r}")
            else:
                values[name] = float(cell) if cell else None
        if values.get("metric_value", 0) is None:
            problems.append(
                f"{where}: field 'metric_value': must not be empty (nan is a score that could not be computed)"
            )
        if why := no_score(row["metric"], values.get("metric_value") or 0):
            problems.append(f"{where}: field 'metric_value': is not a score of {row['metric']!r}: {why}")
        if why := no_standard_error(row["metric"], values.get("metric_stderr") or 0):
            problems.append(f"{where}: field 'metric_stderr': is not a standard error of {row['metric']!r}: {why}")
        if (value := values.get("metric_value")) is not None:
            into.remark(row["metric"], value, where)
        model, facts = wide_scores.identity(into, where, row)
        into.facts(TABLE, model, facts)
        key = (model, normalised(row["benchmark"]), row["setting"], row["metric"])
        if not is_equal(rows.setdefault(key, values).get("metric_value"), values.get("metric_value")):
            problems.append(f"{where}: {' '.join(key)} is there more than once, with different values")
    if TABLE in into.repeated:
        problems.append(f"id {into.repeated[TABLE][0][0][0]!r}: has two rows with different checkpoints")
    refuse(into.path, problems)
    return {"evaluation_results": rows, **into.rows}


def _feature_rows(path: Path, table: Iterable[tuple[str, Mapping[str, str]]]) -> tuple[Rows, list[str]]:
    rows: Rows = {}
    ids: set[str] = set()
    problems, names = [], []
    for where, row in table:
        names = [n for n in row if n != "id"]
        model = row["id"]
        if model in ids or not model.strip() or model != model.strip():
            problems.append(
                f"{where}: field 'id': {model!r} must be there once, without spaces around it, and not be empty"
            )
        ids.add(model)
        for name in names:
            cell = row[name].strip()
            value = number(cell)
            if value is not None:
                rows[(model, name)] = {"value": value}
            elif cell and cell.lower() != "nan":  # pandas writes it for a missing value
                problems.append(f"{where}: id {model!r}, field {name!r}: must be a number, not {cell!r}")
    refuse(path, problems)
    return rows, names
