"""Scores of one file as they are read: checked and counted, with a note on every value that is left out.

Left out, with a note: values that cannot be scores, missing values. Stored, with a note: unknown metrics, NaN, exact zeros.
Refused: values that are not numbers, and values without an id or a number of shots.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tagcorpus.predictor.records.annotations import refuse
from tagcorpus.predictor.records.harness_results import METRICS as HARNESS_NAMES
from tagcorpus.predictor.records.metrics import METRICS, no_score, standard_error
from tagcorpus.predictor.records.tasks import normalised

Key = tuple[str, ...]
Rows = dict[Key, dict[str, Any]]
SHOWN = 3


@dataclass
class Collected:
    """rows: by table; repeated: rows with other values under a key of `rows`; fills: rows that only fill gaps."""

    path: Path
    shots: int | None = None
    rows: dict[str, Rows] = field(default_factory=dict)
    repeated: dict[str, list[tuple[Key, dict[str, Any]]]] = field(default_factory=dict)
    fills: dict[str, Rows] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    _notes: dict[str, list[str]] = field(default_factory=dict)

    def note(self, remark: str, where: str) -> None:
        self._notes.setdefault(remark, []).append(where)

    def score(
        self,
        model: str,
        benchmark: str,
        shots: int | None,
        metric: str,
        value: Any,
        stderr: Any = None,
        where: str = "",
    ) -> None:
        """One score. shots: None where the file does not say it."""
        place = where or f"{model}, {benchmark}, {metric}"
        shots = self.shots if shots is None else shots
        if not model.strip():
            self.problems.append(f"{place}: must name a model")
        elif value is None or value == "N/A" or (isinstance(value, str) and not value.strip()):
            self.note("scores without a value, left out", place)
        elif isinstance(value, bool) or not isinstance(value, int | float) or math.isinf(value):
            self.problems.append(f"{place}: must be a finite number or NaN, not {str(value)[:40]!r}")
        elif why := no_score(metric, float(value)):
            self.note(f"left out: {why}", place)
        elif shots is None:
            self.problems.append(f"{place}: the number of examples in the prompt is missing: give --shots N")
        else:
            self._add(model, benchmark, shots, metric, float(value), stderr, place)

    def _add(self, model: str, benchmark: str, shots: int, metric: str, value: float, stderr: Any, place: str) -> None:
        self.remark(metric, value, place)
        error, why = standard_error(metric, stderr)
        if why:
            self.note(f"{why}, and is left out", place)
        values = {"metric_value": value, "metric_stderr": error}
        key = (model, normalised(benchmark), f"{shots}-shot", metric)
        first = self.rows.setdefault("evaluation_results", {}).setdefault(key, values)
        if not is_equal(first["metric_value"], value):
            self.note("is there more than once, with different values", " ".join(key))
            self.repeated.setdefault("evaluation_results", []).append((key, values))

    def remark(self, metric: str, value: float, place: str) -> None:
        """The notes on a score that is stored."""
        if metric.partition(",")[0] not in METRICS:
            near = HARNESS_NAMES.get(metric) or next((name for name in METRICS if name == metric.lower()), "")
            hint = f" (is it {near!r}?)" if near else ""
            self.note(f"metric {metric!r} is not known{hint}: its range and direction are not checked", place)
        if math.isnan(value):
            self.note("scores are NaN", place)
        elif value == 0:
            self.note("scores are exactly 0, as failed evaluations are", place)

    def facts(self, table: str, model: str, facts: dict[str, Any]) -> None:
        """Add columns of one model's row in a table. Where facts in one file differ, the second ones are a conflict."""
        given = {k: v for k, v in facts.items() if v is not None}
        if not given:
            return
        first = self.rows.setdefault(table, {}).setdefault((model,), given)
        if first != given:
            self.note("is there more than once, with different facts", model)
            self.repeated.setdefault(table, []).append(((model,), given))

    @property
    def notes(self) -> list[str]:
        return [_line(remark, places) for remark, places in self._notes.items()]

    def finish(self) -> None:
        """Raise InputError with all problems, and where the file has no score."""
        if not self.problems and not self.rows.get("evaluation_results"):
            self.problems.append("has no score" + "".join(f"; {n}" for n in self.notes))
        refuse(self.path, self.problems)


def _line(remark: str, places: list[str]) -> str:
    more = f" and {len(places) - SHOWN:,} more" if len(places) > SHOWN else ""
    return f"{remark}: {'; '.join(places[:SHOWN])}{more}"


def is_equal(a: Any, b: Any) -> bool:
    """The same value, as far as a CSV's digits and the spelling of JSON go."""
    if isinstance(a, float) or isinstance(b, float):
        if a is None or b is None:
            return a is b
        return (math.isnan(a) and math.isnan(b)) or math.isclose(a, b, rel_tol=1e-9, abs_tol=1e-15)
    if isinstance(a, str) and isinstance(b, str) and a[:1] == b[:1] == "{":
        return bool(json.loads(a) == json.loads(b))
    return bool(a == b)
