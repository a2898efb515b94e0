"""`audit` and `compare` say which documents they use where a filter has removed some, and refuse numbers without room."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
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


def test_where_counts_the_kept_documents_alone(outputs: tuple[str, str], tmp_path: Path) -> None:
    """As tagging the filtered files into another output does. The figures of all documents stay where they are."""
    filtered, whole = outputs
    done = invoke("audit", filtered, "--column", "length.char_len", "--json")
    note = next(n for n in json.loads(done.out)["notes"] if "its filter removed" in n)
    option = shlex.split(note.partition("give ")[2])
    assert option == ["--where", "length.char_len > 3"]
    kept = json.loads(invoke("audit", filtered, "--column", "length.char_len", "--json", *option).out)
    again = str(tmp_path / "again")
    invoke("run", "tag", "-i", f"{filtered}/filtered/filtered_a.jsonl", "-o", again, "-t", "length")
    alone = json.loads(invoke("audit", again, "--column", "length.char_len", "--json").out)
    assert (kept["rows"], kept["n"], kept["mean"], kept["sd"]) == (
        38,
        38,
        pytest.approx(alone["mean"]),
        pytest.approx(alone["sd"]),
    )
    assert any("for which --where holds: length.char_len > 3" in n for n in kept["notes"])
    assert len(list(Path(filtered, "audit").glob("length.char_len*.json"))) == 2
    both = json.loads(invoke("compare", filtered, whole, "--json", *option).out)
    assert (both["documents"], both["columns"]["length.char_len"]["delta"]) == ([38, 38], pytest.approx(0))


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ("char_len >", "it ends too early"),
        ("char_len", "it must be true or false"),
        ("ttr > 0.1", "First tagcorpus run tag --input INPUT"),
        ("char_len < 0", "has no value in any document of"),
    ],
)
def test_a_condition_that_does_not_fit_is_refused(outputs: tuple[str, str], where: str, message: str) -> None:
    done = invoke("audit", outputs[1], "--column", "length.char_len", "--where", where)
    assert (done.code, message in " ".join(done.err.split())) == (2, True), done.err


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
