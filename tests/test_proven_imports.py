"""Files for the store, for predictions and for fits of mixes: values that a lenient parser would take, and parts of a benchmark."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tagcorpus.errors import ConfigError, InputError
from tagcorpus.pipelines.labelling.prices import parsed
from tagcorpus.pipelines.mix_models.swarm import read_mixes, read_swarm
from tagcorpus.predictor.learners.selection import read_selected
from tagcorpus.predictor.protocols.new_models import read_new_model
from tagcorpus.predictor.records.annotations import read_annotations
from tagcorpus.predictor.records.metrics import standard_error
from tagcorpus.predictor.records.plain_values import number, parse_json
from tagcorpus.predictor.store.batch import Batch, read_batch

SCORES = "id,benchmark,setting,metric,metric_value\n"


def batch(folder: Path, name: str, text: str) -> Batch:
    (folder / name).write_text(text)
    return read_batch(folder / name)


def results(folder: Path, metrics: Any, **more: Any) -> Batch:
    document = {"model_name": "acme/m", "results": {"hellaswag": metrics}, "n-shot": {"hellaswag": 10}, **more}
    return batch(folder, "results.json", json.dumps(document))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1.5", 1.5),
        (" -2e3 ", -2000),
        ("1_000", None),
        ("٣", None),
        ("inf", None),
        ("1e308", None),
        ("50%", None),
        ("", None),
    ],
)
def test_numbers(text: str, value: float | None) -> None:
    assert number(text) == value


def test_a_key_has_one_value() -> None:
    assert parse_json('{"a": [1, 1], "a": [1, 1]}') == {"a": [1, 1]}
    with pytest.raises(ValueError, match="the key 'a' has two values"):
        parse_json('[{"x": {"a": 1, "a": 2}}]')


@pytest.mark.parametrize("cell", ["inf", "1e400", "1_000", "٣", "1e308", "50%"])
def test_features_are_plain_numbers(tmp_path: Path, cell: str) -> None:
    with pytest.raises(InputError, match="id 'a/b', field 'x': must be a number, not"):
        batch(tmp_path, "features.csv", f"id,x\na/b,{cell}\n")


def test_features_that_are_read(tmp_path: Path) -> None:
    rows = batch(tmp_path, "features.csv", "id,x\na/b,-1.5e3\na/c,nan\na/d,\n").rows["features"]
    assert rows == {("a/b", "x"): {"value": -1500}}


def test_ids_have_no_spaces_around_them(tmp_path: Path) -> None:
    for name, text in (("a.csv", "id,x\n a/b,1\n"), ("b.csv", f"{SCORES}a/b ,hellaswag,10-shot,accuracy,0.5\n")):
        with pytest.raises(InputError, match="spaces around it"):
            batch(tmp_path, name, text)


def test_two_columns_of_one_name_in_parquet_are_refused(tmp_path: Path) -> None:
    pq.write_table(pa.table([["a/b"], [1.0], [2.0]], names=["id", "x", "x"]), tmp_path / "x.parquet")
    with pytest.raises(InputError, match="the header has 'x' more than once"):
        read_batch(tmp_path / "x.parquet")


@pytest.mark.parametrize("setting", ["010-shot", "٣-shot"])
def test_settings_have_one_spelling(tmp_path: Path, setting: str) -> None:
    with pytest.raises(InputError, match="field 'setting': must be like 5-shot"):
        batch(tmp_path, "s.csv", f"{SCORES}a/b,hellaswag,{setting},accuracy,0.5\n")


def test_notes_of_a_table_of_scores_are_those_of_other_files(tmp_path: Path) -> None:
    rows = "".join(f"a/b,{name},5-shot,{metric},{value}\n" for name, metric, value in (("x", "acc", 54), ("y", "accuracy", 0), ("z", "mc2", "nan")))  # fmt: skip
    notes = batch(tmp_path, "s.csv", SCORES + rows).notes
    assert [note.partition(":")[0] for note in notes] == [
        "metric 'acc' is not known (is it 'accuracy'?)",
        "scores are exactly 0, as failed evaluations are",
        "scores are NaN",
    ]


@pytest.mark.parametrize(
    ("given", "stored", "why"),
    [
        (0.01, 0.01, ""),
        (None, None, ""),
        ("N/A", None, ""),
        (math.nan, None, ""),
        (1.2, None, "the standard error 1.2 is not from 0 to 0.5"),
        (-0.1, None, "the standard error -0.1 is not from 0 to 0.5"),
        ("abc", None, "the standard error 'abc' is not a number"),
        (10**400, None, f"the standard error '1{'0' * 39}' is not a number"),
    ],
)
def test_standard_errors(given: Any, stored: float | None, why: str) -> None:
    assert standard_error("accuracy", given) == (stored, why)


def test_impossible_standard_errors_are_left_out_of_every_kind_of_file(tmp_path: Path) -> None:
    wide = "id,hellaswag_10-shot_accuracy,hellaswag_10-shot_accuracy_stderr\na/b,0.5,1.2\n"
    for one in (results(tmp_path, {"acc,none": 0.5, "acc_stderr,none": 1.2}), batch(tmp_path, "w.csv", wide)):
        (score,) = one.rows["evaluation_results"].values()
        assert score == {"metric_value": 0.5, "metric_stderr": None}
        assert "the standard error 1.2 is not from 0 to 0.5, and is left out" in " ".join(one.notes)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"n-samples": {"hellaswag": {"original": 10042, "effective": 100}}}, "100 of 10,042 samples"),
        ({"config": {"samples": {"hellaswag": [1, 2]}}}, "'config.samples': must be null"),
    ],
)
def test_scores_of_a_part_of_a_benchmark_are_refused(tmp_path: Path, more: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        results(tmp_path, {"acc,none": 0.5}, **more)


def test_ordinary_results_have_no_note(tmp_path: Path) -> None:
    more = {
        "n-samples": {"hellaswag": {"original": 10042, "effective": 10042}},
        "configs": {"hellaswag": {"num_fewshot": 10}},
    }
    arguments = {"config": {"model_args": "pretrained=acme/m,dtype=float32", "samples": None}}
    assert results(tmp_path, {"acc,none": 0.5, "acc_stderr,none": 0.01}, **more, **arguments).notes == []


def test_contradictions_of_a_results_file_are_named(tmp_path: Path) -> None:
    more = {"configs": {"hellaswag": {"num_fewshot": 5}}, "config": {"model_args": "pretrained=other/model"}}
    assert results(tmp_path, {"acc,none": 0.5}, **more).notes == [
        "model_name is 'acme/m', and config.model_args has pretrained=other/model: the scores are stored for 'acme/m'",
        "hellaswag: n-shot is 10, and num_fewshot in configs is 5: stored as 10-shot",
    ]


@pytest.mark.parametrize("step", ["final", 1000.5, -1])
def test_a_step_is_a_whole_number(tmp_path: Path, step: Any) -> None:
    row = {"params": "150M", "data": "C4", "task": "arc_easy", "step": step, "seed": "0", "metrics": '{"acc_raw": 0.5}'}
    pq.write_table(pa.Table.from_pylist([row]), tmp_path / "d.parquet")
    with pytest.raises(InputError, match="row 0: cannot be read: step"):
        read_batch(tmp_path / "d.parquet")


@pytest.mark.parametrize("word", ["True", "1", "yes"])
def test_flagged_models_and_sizes_in_another_unit_are_left_out(tmp_path: Path, word: str) -> None:
    text = f"fullname,IFEval Raw,#Params (B),Flagged\na/b,0.5,7,{word}\na/c,0.5,7000000000,False\n"
    one = batch(tmp_path, "l.csv", text)
    assert [key[0] for key in one.rows["evaluation_results"]] == ["a/c"]
    assert one.fills["model_annotations"] == {("a/c",): {}}
    assert "left out: #Params (B) above 100,000 billion: a/c: 7e+09" in one.notes


@pytest.mark.parametrize("size", ["7_000_000_000", "٧٠٠٠٠٠٠", "1" + "0" * 400])
def test_a_number_of_parameters_is_a_plain_number(tmp_path: Path, size: str) -> None:
    (tmp_path / "a.csv").write_text(f"id,total_params\na/b,{size}\n")
    with pytest.raises(InputError, match="must be a whole number"):
        read_annotations(tmp_path / "a.csv")


def test_documents_with_two_values_for_a_key_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "m.json"
    path.write_text('{"id": "a/b", "total_params": 7000000000, "total_params": 13000000000}')
    with pytest.raises(InputError, match="the key 'total_params' has two values"):
        read_annotations(path)
    with pytest.raises(InputError, match="the key 'total_params' has two values"):
        read_new_model(path, ())


@pytest.mark.parametrize(
    "text",
    [
        '{"hellaswag": ["a"], "hellaswag": ["b"]}',
        '{"hellaswag": "total_params"}',
        "task,selected_features\nhellaswag,\"['a']\"\nhellaswag,\"['b']\"\n",
    ],
)
def test_a_task_has_one_list_of_features(tmp_path: Path, text: str) -> None:
    (tmp_path / "s").write_text(text)
    with pytest.raises(InputError, match="neither a CSV"):
        read_selected(tmp_path / "s")


@pytest.mark.parametrize("price", ["1_0,2", "0.15;0.6", "1,,2", "nan,1", "٣,1"])
def test_prices_are_plain_numbers(price: str) -> None:
    with pytest.raises(ConfigError, match="is not a price"):
        parsed(price)


@pytest.mark.parametrize(
    ("outcome", "values", "caution"),
    [
        (
            "loss",
            [2.1, 2.2, 0, 2.4],
            "caution: loss is 0 in line 4 (1 such values), and no loss is: did these runs fail?",
        ),
        ("acc", [0.51, 52, 0.53, 54], "caution: acc has 2 values up to 0.53 and 2 from 52: shares beside percentages?"),
        ("acc", [0.9, 1.4, 2.3, 4.0], ""),
        ("gain", [0, -1, 2, 50], ""),
    ],
)
def test_outcomes_that_are_none_by_their_name(tmp_path: Path, outcome: str, values: list[float], caution: str) -> None:
    (tmp_path / "s.csv").write_text("run,web,code\n" + "".join(f"r{i},{i / 4},{1 - i / 4}\n" for i in range(4)))
    (tmp_path / "o.csv").write_text(f"run,{outcome}\n" + "".join(f"r{i},{v}\n" for i, v in enumerate(values)))
    said: list[str] = []
    read_swarm(read_mixes(str(tmp_path / "s.csv")), str(tmp_path / "o.csv"), [], said.append)
    assert said == [caution] * bool(caution)
