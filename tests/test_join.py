"""Tags for the same documents in other files."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import tagcorpus
from tagcorpus.errors import ConfigError, InputError
from tagcorpus.pipelines.join import join
from tagcorpus.taggers._interface.batch import DocumentBatch
from tagcorpus.taggers.digest import Digest
from tagcorpus.taggers.joined import key_array


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def corpus(n: int) -> list[dict[str, Any]]:
    return [{"id": f"doc-{i}", "text": f"text number {i} " * (i % 7 + 1)} for i in range(n)]


def tag(folder: Path, taggers: list[str], rows: list[dict[str, Any]], **options: Any) -> Path:
    source = write(folder / "old/a.jsonl", rows)
    tagcorpus.run("tag", input=source, output=folder / "old.out", taggers=taggers, workers=1, **options)
    return folder / "old.out"


@pytest.mark.parametrize("by", ["text", "id"])
def test_tags_follow_documents_into_other_files(tmp_path: Path, by: Any) -> None:
    rows = corpus(200)
    old = tag(tmp_path, ["length", "language", "repetition"], rows)
    kept = [row for i, row in enumerate(rows) if i % 3]
    random.Random(0).shuffle(kept)
    write(tmp_path / "new/x.jsonl", kept[:50])
    write(tmp_path / "new/y.jsonl", [*kept[50:], {"id": "new", "text": "a new document"}])
    text, code = join(str(tmp_path / "new"), str(old), by, str(tmp_path / "out"))
    assert code == 0
    assert f"{len(kept)} of {len(kept) + 1} documents" in text
    expected = {row["id"]: row for row in tagcorpus.read(old).to_table().to_pylist()}
    table = tagcorpus.read(tmp_path / "out").to_table()
    assert [row["id"] for row in table.to_pylist()] == [*(row["id"] for row in kept), "new"]
    for row in table.to_pylist():
        before = expected.get(row["id"], {})
        for column in ("char_len", "language", "language_score", "is_kept", "longest_word_run"):
            assert row[column] == before.get(column), (row["id"], column)
        assert row["join_status"] == ("joined" if before else "missing")


def test_the_same_command_computes_nothing_again(tmp_path: Path) -> None:
    old = tag(tmp_path, ["length"], corpus(5))
    for _ in range(2):
        join(str(tmp_path / "old"), str(old), "text", str(tmp_path / "out"))
    ledgers = sorted((tmp_path / "out/runs").glob("*/ledger.json"))
    assert len(ledgers) == 2
    parts = list((tmp_path / "out/attributes/length").rglob("*.parquet"))
    assert all(p.stat().st_mtime < ledgers[-1].parent.stat().st_mtime for p in parts)


def test_an_output_with_tags_takes_more_by_join(tmp_path: Path) -> None:
    old = tag(tmp_path, ["digest"], corpus(6))
    new = write(tmp_path / "new.jsonl", corpus(6)[::-1])
    tagcorpus.run("tag", input=new, output=tmp_path / "out", taggers=["length"])
    for _ in range(2):
        assert join(str(new), str(old), "text", str(tmp_path / "out"))[1] == 0
    rows = tagcorpus.read(tmp_path / "out").to_table().to_pylist()
    assert {(row["char_len"] is None, row["text_digest"] is None, row["join_status"]) for row in rows} == {
        (False, False, "joined")
    }


def test_several_values_for_one_key_are_not_guessed(tmp_path: Path) -> None:
    rows = [
        {"id": "a", "text": "one"},
        {"id": "a", "text": "three"},
        {"id": "b", "text": "x"},
        {"id": "b", "text": "x"},
    ]
    old = tag(tmp_path, ["length"], rows)
    text, _ = join(str(tmp_path / "old"), str(old), "id", str(tmp_path / "out"))
    assert "ambiguous   2" in text
    table = tagcorpus.read(tmp_path / "out").to_table()
    assert table["join_status"].to_pylist() == ["ambiguous", "ambiguous", "joined", "joined"]
    assert table["char_len"].to_pylist() == [None, None, 1, 1]


def test_a_digest_stands_for_a_text_that_is_gone(tmp_path: Path) -> None:
    rows = corpus(3)
    old = tag(tmp_path, ["length", "digest"], rows)
    (tmp_path / "old/a.jsonl").unlink()
    new = write(tmp_path / "new.jsonl", rows[::-1])
    text, code = join(str(new), str(old), "text", str(tmp_path / "out"), ["length", "digest"])
    assert "3 of 3" in text
    assert code == 0
    without = tag(tmp_path / "w", ["length"], rows)
    (tmp_path / "w/old/a.jsonl").unlink()
    with pytest.raises(InputError, match="the tagger `digest`"):
        join(str(new), str(without), "text", str(tmp_path / "out2"))


def test_nothing_joined_is_exit_3(tmp_path: Path) -> None:
    old = tag(tmp_path, ["length"], corpus(3))
    new = write(tmp_path / "new.jsonl", [{"text": "other"}])
    assert join(str(new), str(old), "text", str(tmp_path / "out"))[1] == 3


def test_ids_that_are_places_are_no_ids(tmp_path: Path) -> None:
    old = tag(tmp_path, ["length"], [{"text": "a"}, {"text": "b"}])
    with pytest.raises(ConfigError, match="have no id of their own: join by text"):
        join(str(tmp_path / "old"), str(old), "id", str(tmp_path / "out"))
    with pytest.raises(ConfigError, match="name another folder"):
        join(str(tmp_path / "old"), str(old), "text", str(old))


@given(st.lists(st.text(), max_size=20))
def test_digest_is_that_of_the_bytes(texts: list[str]) -> None:
    import xxhash

    texts = [t.encode("utf-8", "replace").decode() for t in texts]
    batch = DocumentBatch.from_texts(texts)
    expected = [xxhash.xxh3_128_hexdigest(t.encode()) for t in texts]
    assert Digest().tag(batch).column(0).to_pylist() == expected
    keys = key_array(expected)
    assert [f"{h:016x}{low:016x}" for h, low in zip(keys["high"], keys["low"], strict=True)] == expected
