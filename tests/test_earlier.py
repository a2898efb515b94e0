"""summary/tag.json after several runs with different taggers: what earlier runs said stays as long as it is true."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import tagcorpus

Summary = dict[str, Any]


@pytest.fixture
def tag(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Summary]:
    """Run `tag` with these taggers; what the run itself says."""
    monkeypatch.chdir(tmp_path)
    write(5)

    def run(*taggers: str, output: str = "out", **options: Any) -> Summary:
        given = {"input": "a.jsonl", "output": output, "workers": 1, "taggers": list(taggers)}
        summary: Summary = tagcorpus.run("tag", **given | options).summary  # type: ignore[call-overload]
        return summary

    return run


def write(n: int) -> None:
    lines = [json.dumps({"text": f"Document number {i}, how long is it?", "lang": "python"}) for i in range(n)]
    Path("a.jsonl").write_text("".join(f"{line}\n" for line in lines))


def published(output: str = "out") -> Summary:
    found: Summary = json.loads(Path(output, "summary/tag.json").read_text())
    assert found.pop("checksum")
    with Path(output, "summary/tag.csv").open(newline="") as file:
        of_csv = [r["instance"] for r in csv.DictReader(file)]
    assert list(dict.fromkeys(of_csv)) == list(found["instances"])
    return found


def test_the_summary_keeps_what_is_still_true(tag: Callable[..., Summary]) -> None:
    first = tag("length", "size=length")
    assert first == published()
    second = tag("language")
    assert list(second["instances"]) == ["language"]
    found = published()
    assert list(found["instances"]) == ["language", "length", "size"]
    assert found["of_earlier_runs"] == ["length", "size"]
    for name in ("length", "size"):
        assert found["instances"][name] == first["instances"][name]
    once = tag("language", "size=length", "length", output="once")
    assert once["instances"] == found["instances"]
    before = Path("out/summary/tag.json").read_bytes()
    tag("language")
    assert Path("out/summary/tag.json").read_bytes() == before


def test_a_run_again_takes_the_place_of_its_own(tag: Callable[..., Summary]) -> None:
    tag("length")
    tag("mild=repetition", mild={"preset": "lenient"})
    made = tag("length") and published()["instances"]["mild"]
    assert list(published()["instances"]) == ["length", "mild"]
    assert published()["of_earlier_runs"] == ["mild"]
    tag("mild=repetition", overwrite=True)
    found = published()
    assert found["instances"]["mild"]["parameters"] != made["parameters"]
    assert found["of_earlier_runs"] == ["length"]


def test_what_is_stale_is_left_out(tag: Callable[..., Summary]) -> None:
    tag("length", "size=length")
    write(6)
    tag("language")
    found = published()
    assert list(found["instances"]) == ["language"]
    assert "of_earlier_runs" not in found
    tag("length")
    assert list(published()["instances"]) == ["length", "language"]
    assert published()["instances"]["length"]["columns"]["char_len"]["n"] == 6


def test_the_same_parts_under_a_summary_of_others(tag: Callable[..., Summary]) -> None:
    """Parts that another pipeline made anew are not those that the entry tells of."""
    tag("repetition")
    write(6)
    tagcorpus.run("filter", input="a.jsonl", output="out", workers=1)
    tag("length")
    assert list(published()["instances"]) == ["length"]


@pytest.mark.parametrize(
    "options", [{"text_column": "lang"}, {"limit": 2, "overwrite": True}, {"sample": 0.5, "overwrite": True}]
)
def test_what_was_read_otherwise_is_left_out(tag: Callable[..., Summary], options: dict[str, Any]) -> None:
    tag("length")
    tag("size=length", **options)
    assert list(published()["instances"]) == ["size"]


def test_parts_that_are_gone_are_left_out(tag: Callable[..., Summary]) -> None:
    tag("length", "size=length")
    Path("out/attributes/length/a.jsonl/part-00000.parquet").unlink()
    tag("language")
    assert list(published()["instances"]) == ["language", "size"]


@pytest.mark.parametrize("damaged", ["", "{", "[]", '{"instances": []}', '{"instances": {"length": {}}}'])
def test_a_damaged_summary_is_made_anew(tag: Callable[..., Summary], damaged: str) -> None:
    tag("length")
    Path("out/summary/tag.json").write_text(damaged)
    tag("size=length")
    assert list(published()["instances"]) == ["size"]


def test_a_tagger_that_reads_further_columns(tag: Callable[..., Summary]) -> None:
    tag("code")
    tag("length")
    assert list(published()["instances"]) == ["length", "code"]
