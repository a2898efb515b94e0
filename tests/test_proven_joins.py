"""Joins by id: an id with another text gets no tags, and an id in another spelling is not passed over in silence."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import tagcorpus
from tagcorpus.errors import InputError, spelled_otherwise
from tagcorpus.pipelines.feature_table.check import report
from tagcorpus.pipelines.join import join
from tagcorpus.pipelines.labels.agreement import agreement
from tagcorpus.pipelines.labels.shares import shares


def write(path: Path, texts: dict[str, str]) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_text("".join(json.dumps({"id": i, "text": t}) + "\n" for i, t in texts.items()))
    return path


def joined(tmp_path: Path, stored: list[str], new: dict[str, str], **options: Any) -> tuple[str, int, dict[str, Any]]:
    old = write(tmp_path / "old.jsonl", {"a": "apple", "b": "berry", "c": "cherries"})
    tagcorpus.run("tag", input=old, output=tmp_path / "tags", taggers=stored)
    if options.pop("old_is_gone", False):
        old.unlink()
    text, code = join(
        str(write(tmp_path / "new.jsonl", new)), str(tmp_path / "tags"), "id", str(tmp_path / "out"), **options
    )
    table = tagcorpus.read(tmp_path / "out").to_table().to_pylist()
    return text, code, {row["id"]: row for row in table}


SWAPPED = {"a": "apple", "b": "other", "c": "cherry"}


@pytest.mark.parametrize(
    "taggers",
    [["length", "digest"], *(pytest.param(t, marks=pytest.mark.e2e) for t in (["language", "digest"], ["language"]))],
)
def test_an_id_with_another_text_gets_no_tags(tmp_path: Path, taggers: list[str]) -> None:
    text, code, rows = joined(tmp_path, taggers, SWAPPED, taggers=[taggers[0]])
    assert code == 0
    assert "joined      1 of 3 documents" in text
    assert "other text  2: the id is there, with another text; compared by digest" in text
    assert {i: row["join_status"] for i, row in rows.items()} == {"a": "joined", "b": "other_text", "c": "other_text"}
    column = "char_len" if taggers[0] == "length" else "language_score"
    assert rows["a"][column] is not None
    assert rows["b"][column] is rows["c"][column] is None


def test_texts_that_lost_their_line_ends_are_told_what_to_do(tmp_path: Path) -> None:
    advice = (
        "a space or a line end more is another text: join the texts as they were tagged, or tag these documents again"
    )
    text, code, _ = joined(tmp_path, ["length"], {"a": "apple\n", "b": "berry"})
    assert code == 0
    assert advice in text
    equal, _, _ = joined(tmp_path / "equal", ["length"], {"a": "apple", "b": "berry"})
    assert advice not in equal


def test_lengths_tell_texts_apart_where_that_is_all(tmp_path: Path) -> None:
    text, _, rows = joined(tmp_path, ["length"], SWAPPED)
    assert "other text  1: the id is there, with another text; compared by length" in text
    assert rows["b"]["join_status"] == "joined"  # as long as before: the printed line says what was compared
    assert rows["c"]["join_status"] == "other_text"


@pytest.mark.e2e
def test_texts_that_nobody_knows_are_not_said_to_be_equal(tmp_path: Path) -> None:
    text, code, rows = joined(tmp_path, ["language"], SWAPPED, old_is_gone=True)
    assert code == 0
    assert "texts were not compared, since the other output has neither `digest` nor `length`" in text
    assert rows["b"]["join_status"] == "joined"


@pytest.mark.e2e
def test_nothing_but_other_texts_is_exit_3(tmp_path: Path) -> None:
    assert joined(tmp_path, ["length", "digest"], {"a": "x", "b": "y"})[1] == 3


@pytest.mark.e2e
def test_equal_texts_join_without_a_warning(tmp_path: Path) -> None:
    text, code, _ = joined(tmp_path, ["length", "digest"], {"c": "cherries", "a": "apple", "new": "n"})
    assert code == 0
    assert "joined      2 of 3 documents" in text
    assert "missing     1: not in the other output\n" in text
    assert "other text  0" in text


def test_one_id_with_two_texts_of_equal_tags_is_ambiguous(tmp_path: Path) -> None:
    old = tmp_path / "old.jsonl"
    old.write_text('{"id": "a", "text": "one"}\n{"id": "a", "text": "two"}\n')
    tagcorpus.run("tag", input=old, output=tmp_path / "tags", taggers=["length", "digest"])
    text, code = join(str(old), str(tmp_path / "tags"), "id", str(tmp_path / "out"), ["length"])
    assert "ambiguous   2" in text
    assert code == 3


def test_missing_ids_in_another_spelling_are_named(tmp_path: Path) -> None:
    text, _, rows = joined(tmp_path, ["length"], {"A": "apple", " b": "berry", "c": "cherries", "d": "date"})
    assert "missing     3: not in the other output; 2 of them differ by case or spaces only ('A', there 'a')" in text
    assert rows["A"]["char_len"] is None


@pytest.mark.parametrize(
    ("names", "known", "clause"),
    [
        (["A"], ["a", "b"], "1 of them differs by case or spaces only ('A', there 'a')"),
        (["a  b "], ["A b"], "1 of them differs by case or spaces only ('a  b ', there 'A b')"),
        (["a"], ["b"], ""),
        ([], ["a"], ""),
        (["a-b"], ["a_b"], ""),
    ],
)
def test_spelled_otherwise(names: list[str], known: list[str], clause: str) -> None:
    assert spelled_otherwise(names, known) == clause


def csv_file(path: Path, *rows: str) -> str:
    path.write_text("\n".join(rows) + "\n")
    return str(path)


def test_labels_name_ids_in_another_spelling(tmp_path: Path) -> None:
    labels = csv_file(tmp_path / "labels.csv", "id,label", "a,x", "b,y", "C ,x")
    gold = csv_file(tmp_path / "gold.csv", "id,label", "a,x", "B,y", "c,x")
    assert "2 of them differ by case or spaces only ('b', there 'B')" in agreement(labels, gold)
    other = csv_file(tmp_path / "other.csv", "id,label", "A,x")
    with pytest.raises(InputError, match="differs by case or spaces only"):
        agreement(labels, other)
    with pytest.raises(InputError, match="differ by case or spaces only"):
        shares(labels, gold)
    assert "case or spaces" not in agreement(labels, labels)


def test_feature_tables_name_ids_in_another_spelling(tmp_path: Path) -> None:
    here = csv_file(tmp_path / "here.csv", "id,web", "org/model,1", "org/b,2")
    there = csv_file(tmp_path / "there.csv", "id,web", "Org/Model,1", "org/b,2")
    text, _ = report(here, there, as_json=False)
    assert "ids_spelled_otherwise" in text
    text, _ = report(here, here, as_json=False)
    assert "ids_spelled_otherwise" not in text
