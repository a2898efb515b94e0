"""`audit` and `compare` say which documents they use where a filter has removed some, and refuse numbers without room."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pytest
from slurm_commands import invoke

from tagcorpus.errors import InputError
from tagcorpus.pipelines.distributions.attribute_columns import AttributeColumn, Rows

NOTE = "also the 2 that its filter removed (by length.char_len > 3)"


@pytest.fixture(scope="module")
def outputs(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    folder = tmp_path_factory.mktemp("kept")
    rows = [{"id": str(i), "text": "x" * (i + 2)} for i in range(40)]
    (folder / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    for name in ("filtered", "all"):
        done = invoke("run", "tag", "-i", str(folder / "a.jsonl"), "-o", str(folder / name), "-t", "length")
        assert done.code == 0, done.err
    done = invoke(
        "run", "filter", "-i", str(folder / "a.jsonl"), "-o", str(folder / "filtered"), "--where", "length.char_len > 3"
    )
    assert done.code == 0, done.err
    return str(folder / "filtered"), str(folder / "all")


def test_the_documents_that_a_filter_removed_are_named(outputs: tuple[str, str]) -> None:
    filtered, whole = outputs
    for command in (("audit", filtered, "--column", "length.char_len"), ("compare", filtered, whole)):
        done = invoke(*command)
        assert done.code == 0, done.err
        assert NOTE in " ".join(done.out.split())


def test_an_output_without_a_filter_has_no_note(outputs: tuple[str, str]) -> None:
    for command in (("audit", outputs[1], "--column", "length.char_len"), ("compare", outputs[1], outputs[1])):
        done = invoke(*command)
        assert done.code == 0, done.err
        assert "its filter removed" not in " ".join(done.out.split())


def test_a_number_whose_square_has_no_room_is_named() -> None:
    column = AttributeColumn("own", "score", pa.float64())

    def rows(values: list[float]) -> Rows:
        planned: Any = SimpleNamespace(file=SimpleNamespace(name="a.jsonl"))
        table = pa.table({"row": range(7, 7 + len(values))})
        return Rows(0, planned, 0, table, {column.label: pa.chunked_array([pa.array(values, pa.float64())])})

    with pytest.raises(InputError, match=r"a\.jsonl, row 8, column own\.score: -1e\+308 is not a number between"):
        rows([1.0, -1e308]).numbers(column)
    assert rows([1e100, float("inf"), -1e-308]).numbers(column).tolist() == [1e100, float("inf"), -1e-308]
