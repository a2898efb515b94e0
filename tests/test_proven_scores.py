"""Standard errors that are in percent, or impossible."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from tagcorpus.predictor.importers.collected import Collected
from tagcorpus.predictor.records.metrics import no_standard_error
from tagcorpus.predictor.store.batch import _score_rows

HEADER = ("id", "benchmark", "setting", "metric", "metric_value", "metric_stderr")


def imported(metric: str, value: str, error: str) -> float | None:
    row = dict(zip(HEADER, ("acme/new", "hellaswag", "10-shot", metric, value, error), strict=True))
    rows = _score_rows(Collected(Path("scores.csv")), [("line 2", row)])["evaluation_results"]
    error_stored: float | None = next(iter(rows.values()))["metric_stderr"]
    return error_stored


@pytest.mark.parametrize(("metric", "error"), [("acc_norm", "1.2"), ("accuracy", "-0.01"), ("bleu_max", "-1")])
def test_an_impossible_standard_error_is_refused(metric: str, error: str) -> None:
    with pytest.raises(
        Exception, match=f"'metric_stderr': is not a standard error of '{metric}': {error} is not from 0"
    ):
        imported(metric, "0.5", error)


@pytest.mark.parametrize(
    ("metric", "value", "error", "stored"),
    [
        ("acc_norm", "0.5", "0.5", 0.5),
        ("accuracy", "1", "0", 0.0),
        ("accuracy", "0.5", "", None),
        ("f1", "45.2", "1.3", 1.3),
        ("bleu_max", "20.3", "0.7", 0.7),
        ("brier_score", "1.1", "0.9", 0.9),
    ],
)
def test_possible_standard_errors_are_kept(metric: str, value: str, error: str, stored: float | None) -> None:
    assert imported(metric, value, error) == stored
    assert no_standard_error(metric, math.nan) == ""
