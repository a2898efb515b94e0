"""Numbers that are infinite, too large, or in another unit are refused where they are read."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import pytest

from tagcorpus.errors import ConfigError, InputError
from tagcorpus.pipelines.audit.gold import Gold
from tagcorpus.pipelines.feature_table.check import report
from tagcorpus.pipelines.labels.agreement import agreement

EXAMPLES = Path(__file__).resolve().parents[1] / "examples" / "database"


def file(folder: Path, name: str, text: str) -> str:
    (folder / name).write_text(text)
    return str(folder / name)


@pytest.mark.parametrize("value", ["inf", "1e308", "1e309", "-1e31"])
def test_features_that_no_predictor_can_use(tmp_path: Path, value: str) -> None:
    path = file(tmp_path, "features.csv", f"id,x\na/b,1\na/c,{value}\n")
    text, code = report(path, None, as_json=True)
    assert code == 1
    assert {f["check"]: f["where"] for f in json.loads(text)["findings"]}["not_finite"] == [f"a/c: x is {value!r}"]
    pytest.importorskip("pandas")
    from tagcorpus.predictor.learners.data import read_features

    with pytest.raises(InputError, match=rf"a/c, column 'x': '{value}' is not a number of at most 1e\+30"):
        read_features(path)


@pytest.mark.parametrize("value", ["inf", "-inf", "1e999"])
def test_infinite_gold_values_name_row_and_column(tmp_path: Path, value: str) -> None:
    with pytest.raises(InputError, match=r"row 2, column 'gold': -?inf is not a finite number"):
        Gold(file(tmp_path, "gold.csv", f"id,gold\na,1\nb,{value}\nc,2\n"))
    assert Gold(file(tmp_path, "gold.csv", "id,gold\na,1\nb,\nc,2e9\n")).n == 2


@pytest.mark.parametrize("value", ["inf", "1e308", "good"])
def test_labels_without_a_place_on_a_scale(tmp_path: Path, value: str) -> None:
    numbers = file(tmp_path, "numbers.csv", "id,label\na,1\nb,2\nc,3\n")
    other = file(tmp_path, "other.csv", f"id,label\na,1\nb,{value}\nc,3\n")
    for labels, gold, side in ((other, numbers, "given"), (numbers, other, "gold")):
        with pytest.raises(ConfigError, match=f"the {side} label of 'b' is '{value}'"):
            agreement(labels, gold, ordinal=True)
    agreement(other, numbers)  # as names of labels they may be anything
    agreement(file(tmp_path, "empty.csv", "id,label\na,1\nb,\nc,-3.5\n"), numbers, ordinal=True)


@pytest.mark.parametrize(
    ("table", "column", "value", "message"),
    [
        ("evaluation_results", "metric_value", "54.3", r"is 54\.3, not a share between 0 and 1"),
        ("evaluation_results", "metric_value", "-0.2", r"is -0\.2, not a share between 0 and 1"),
        ("evaluation_results", "metric_value", "inf", "is inf, not a share between 0 and 1"),
        ("dataset_info", "pretraining_summary_total_tokens_billions", "inf", "is inf, not between"),
        ("dataset_info", "pretraining_summary_total_tokens_billions", "3e11", "is it in another unit"),
        (
            "model_annotations",
            "total_params",
            "7",
            "total_params of .* is 7, not between 1000 and 1e[+]14: is it in another unit",
        ),
        ("evaluation_results", "metric_value", "1", ""),
        ("evaluation_results", "metric_value", "nan", ""),
        ("dataset_info", "pretraining_summary_total_tokens_billions", "40000", ""),
        ("dataset_info", "pretraining_summary_total_tokens_billions", "0.001", ""),
        ("model_annotations", "total_params", "130000", ""),
        ("model_annotations", "total_params", "-1", ""),
    ],
)
def test_scores_and_scales_of_a_store(tmp_path: Path, table: str, column: str, value: str, message: str) -> None:
    pytest.importorskip("pandas")
    duckdb = pytest.importorskip("duckdb")
    from tagcorpus.predictor.learners.data import load

    folder = tmp_path / "store"
    shutil.copytree(EXAMPLES, folder)
    with open(folder / f"{table}.csv", newline="") as source:
        header, *rows = csv.reader(source)
    row = next(r for r in rows if table != "evaluation_results" or r[1] == "hellaswag")
    row[header.index(column)] = value
    with open(folder / f"{table}.csv", "w", newline="") as sink:
        csv.writer(sink).writerows([header, *rows])
    with duckdb.connect() as connection:
        connection.execute(f"IMPORT DATABASE '{folder}'")
        if message:
            with pytest.raises(InputError, match=message):
                load(connection, "hellaswag", None)
        else:
            assert len(load(connection, "hellaswag", None).ids) >= 40
