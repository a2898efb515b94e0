"""Numbers that are infinite, too large, or in another unit are refused where they are read."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tagcorpus.errors import ConfigError, InputError
from tagcorpus.pipelines.audit.gold import Gold
from tagcorpus.pipelines.feature_table.check import report
from tagcorpus.pipelines.labels.agreement import agreement
from tagcorpus.predictor.records.annotations import one_model

EXAMPLES = Path(__file__).resolve().parents[1] / "examples" / "database"


def stored(folder: Path, table: str, change: Callable[[list[str], dict[str, int]], None]) -> Path:
    """A copy of the example store with changed rows. change: called with each row, and the places of its columns."""
    shutil.copytree(EXAMPLES, folder)
    with open(folder / f"{table}.csv", newline="") as source:
        header, *rows = csv.reader(source)
    for row in rows:
        change(row, {name: i for i, name in enumerate(header)})
    with open(folder / f"{table}.csv", "w", newline="") as sink:
        csv.writer(sink).writerows([header, *rows])
    return folder


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
        pytest.param(
            "evaluation_results",
            "metric_value",
            "-0.2",
            r"is -0\.2, not a share between 0 and 1",
            marks=pytest.mark.e2e,
        ),
        pytest.param(
            "evaluation_results", "metric_value", "inf", "is inf, not a share between 0 and 1", marks=pytest.mark.e2e
        ),
        pytest.param(
            "dataset_info",
            "pretraining_summary_total_tokens_billions",
            "inf",
            "is inf, not between",
            marks=pytest.mark.e2e,
        ),
        ("dataset_info", "pretraining_summary_total_tokens_billions", "3e11", "is it in another unit"),
        (
            "model_annotations",
            "total_params",
            "7",
            "total_params of .* is 7, not between 1000 and 1e[+]14: is it in another unit",
        ),
        ("evaluation_results", "metric_value", "1", ""),
        pytest.param("evaluation_results", "metric_value", "nan", "", marks=pytest.mark.e2e),
        ("dataset_info", "pretraining_summary_total_tokens_billions", "40000", ""),
        pytest.param("dataset_info", "pretraining_summary_total_tokens_billions", "0.001", "", marks=pytest.mark.e2e),
        ("model_annotations", "total_params", "130000", ""),
        pytest.param("model_annotations", "total_params", "-1", "", marks=pytest.mark.e2e),
    ],
)
def test_scores_and_scales_of_a_store(tmp_path: Path, table: str, column: str, value: str, message: str) -> None:
    pytest.importorskip("pandas")
    duckdb = pytest.importorskip("duckdb")
    from tagcorpus.predictor.learners.data import load

    done: list[str] = []

    def change(row: list[str], at: dict[str, int]) -> None:
        if not done and (table != "evaluation_results" or row[1] == "hellaswag"):
            row[at[column]] = value
            done.append(row[0])

    folder = stored(tmp_path / "store", table, change)
    with duckdb.connect() as connection:
        connection.execute(f"IMPORT DATABASE '{folder}'")
        if message:
            with pytest.raises(InputError, match=message):
                load(connection, "hellaswag", None)
        else:
            assert len(load(connection, "hellaswag", None).ids) >= 40


PARTS = [f"pretraining_summary_percentage_{part}" for part in ("web", "code", "books", "reference", "academic")]


def test_percentages_that_are_fractions(tmp_path: Path) -> None:
    pytest.importorskip("pandas")
    duckdb = pytest.importorskip("duckdb")
    from tagcorpus.predictor.learners.data import load
    from tagcorpus.predictor.store.check import check
    from tagcorpus.predictor.store.store import Store

    def change(row: list[str], at: dict[str, int]) -> None:
        for name in PARTS:
            row[at[name]] = str(float(row[at[name]]) / 100) if row[at[name]] else ""

    folder = stored(tmp_path / "store", "dataset_info", change)
    with Store.from_existing(folder) as store:
        assert "fractions" in {f.check for f in check(store) if f.severity == "error"}
    with duckdb.connect() as connection:
        connection.execute(f"IMPORT DATABASE '{folder}'")
        with pytest.raises(InputError, match="add up to 1: they are fractions"):
            load(connection, "hellaswag", None)
    with Store.from_existing(EXAMPLES) as store:
        assert "fractions" not in {f.check for f in check(store)}


@pytest.mark.parametrize(
    ("percentages", "is_refused"),
    [
        ([0.5, 0.3, 0.2], True),
        ([50, 30, 20], False),
        ([0.5], False),
        ([1], False),
        ([0.2, 0.3], False),
        ([0, 100], False),
    ],
)
def test_annotations_in_fractions_are_refused(percentages: list[float], is_refused: bool) -> None:
    _, problems = one_model({"id": "a/b", **dict(zip(PARTS, percentages, strict=False))})
    assert ("give percent" in " ".join(problems)) == is_refused


def test_small_percentages_without_a_share_of_the_web_are_good() -> None:
    code, academic = {PARTS[1]: 0.4}, {PARTS[4]: 0.6}
    assert one_model({"id": "a/b", **code, **academic})[1] == []
    assert one_model({"id": "a/b", PARTS[0]: 99, **code, **academic})[1] == []
    assert one_model({"id": "a/b", PARTS[0]: 0, **code, **academic})[1] != []


def test_an_import_names_ids_in_another_spelling(tmp_path: Path) -> None:
    pytest.importorskip("duckdb")
    from tagcorpus.predictor.store.load import import_files

    first = file(tmp_path, "first.json", '{"id": "acme/Model-7B", "num_heads": 8}')
    second = file(tmp_path, "second.json", '{"id": "Acme/model-7b", "num_heads": 8}')
    assert import_files(tmp_path / "s.duckdb", [first], create=True)[0].notes == ()
    (done,) = import_files(tmp_path / "s.duckdb", [second])
    assert "1 of them differs by case or spaces only ('Acme/model-7b', there 'acme/Model-7B')" in done.notes[0]
    assert import_files(tmp_path / "s.duckdb", [second])[0].notes == ()
