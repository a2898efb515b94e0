"""The printed result of a run: tables that fit the terminal, whole numbers, bars, and paths from the current folder."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any

import pytest

from tagcorpus.pipelines.doctor import tagger_pages
from tagcorpus.pipelines.doctor.doctor import as_text
from tagcorpus.pipelines.doctor.installation import Finding
from tagcorpus.pipelines.inputs.chunks import Counts
from tagcorpus.pipelines.progress import wrapping
from tagcorpus.pipelines.progress.amounts import duration, size
from tagcorpus.pipelines.progress.wrapping import wrapped
from tagcorpus.pipelines.runs.result import Result
from tagcorpus.pipelines.runs.result_text import _number, shown_path, table

LONG = "a_tagger_with_a_name.of_a_column_that_is_longer_than_any_terminal_is_wide_in_this_world"


def result(summary: dict[str, Any], output: str = "out") -> Result:
    return Result("tag", output, 0, Counts(lines=5, read=5, documents=5), summary, "")


def statistics(**values: float) -> dict[str, Any]:
    return {"n": 5, "missing": 0, "mean": 862.566, "p50": 0.5, "min": 0.0, "max": 25207.8, **values}


def summary(**columns: Any) -> dict[str, Any]:
    return {"instances": {"length": {"columns": columns}}}


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (-3.0, "-3"),
        (511, "511"),
        (123456789.0, "123,456,789"),
        (25207.8, "25,208"),
        (862.566, "862.6"),
        (0.37, "0.3700"),
        (0.0153302, "0.01533"),
        (1.5e-7, "1.500e-07"),
        (2.5e12, "2.500e+12"),
    ],
)
def test_four_digits(value: float, text: str) -> None:
    assert _number(value) == text


def test_numbers_are_a_table_with_labelled_columns() -> None:
    lines = table(result(summary(char_len=statistics(), ttr=statistics(mean=0.25, max=1.0)))).splitlines()
    assert lines == [
        "5 documents -> out",
        "",
        "  column             mean  median  min     max",
        "  length.char_len   862.6  0.5000    0  25,208",
        "  length.ttr       0.2500  0.5000    0       1",
    ]


def test_missing_values_have_a_column_where_there_are_any() -> None:
    lines = table(result(summary(a=statistics(missing=3), b=statistics()))).splitlines()
    assert [line.split()[-1] for line in lines[2:]] == ["missing", "3", "0"]


@pytest.mark.parametrize("width", [60, 80, 120])
def test_nothing_is_wider_than_the_terminal_and_numbers_stay_whole(width: int) -> None:
    columns = {LONG: statistics(), "reason": {"n": 9, "top": {f"reason_{i}": 9 - i for i in range(9)}, "distinct": 12}}
    text = table(result(summary(**columns)), width=width)
    assert max(map(len, text.splitlines())) <= width
    assert "862.6  0.5000    0  25,208" in text
    assert "".join(line[2 : width - 35].strip() for line in text.splitlines()[3:7]).startswith("length.a_tagger")
    assert "and 6 more" in " ".join(text.split())


def test_other_columns_have_a_line_each() -> None:
    columns = {
        "is_kept": {"n": 53, "true": 47, "share_true": 47 / 53},
        "words": {"n": 2, "list_values": 1200},
        "language": {"n": 3, "missing": 2, "top": {"en": 2, "de": 1}, "distinct": 2},
        "empty": {"n": 0, "missing": 4},
    }
    assert table(result(summary(**columns))).splitlines()[2:] == [
        "  length.is_kept   true for 47 of 53 (88.7 %)",
        "  length.words     1,200 values in 2 lists",
        "  length.language  en 2, de 1, 2 missing",
        "  length.empty     no values, 4 missing",
    ]


def test_domains_are_bars_of_their_shares() -> None:
    domain = {
        "backend": "b",
        "labels": {"web": 6, "code": 3, "unknown": 1},
        "percentages": {"domain_web_pct": 66.67, "domain_code_pct": 33.33, "pct_english": 50.0},
    }
    lines = table(result({"domain": domain}), width=80).splitlines()
    bars = {line.split()[0]: line.count("█") for line in lines if "█" in line}
    assert bars == {"web": 35, "code": 18, "unknown": 6}
    assert "  web              6  60.0 %    66.7 %  " + 35 * "█" in lines
    assert max(map(len, lines)) <= 80
    assert lines[-1] == "  out/predicted_domains.csv"


def test_paths_are_relative_to_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    assert shown_path(str(tmp_path / "here/out/x.csv")) == os.path.join("out", "x.csv")
    assert shown_path(str(tmp_path / "..there")) == str(tmp_path / "..there")
    assert shown_path(str(tmp_path / "here/..out")) == "..out"
    assert shown_path("s3://bucket/out") == "s3://bucket/out"
    assert table(result({}, str(tmp_path / "here/o")), str(tmp_path / "x.csv")).splitlines() == [
        "5 documents -> o",
        f"  {tmp_path / 'x.csv'}",
    ]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.04, "0.0 s"),
        (0.4, "0.4 s"),
        (9.96, "10 s"),
        (59.6, "60 s"),
        (119, "119 s"),
        (120, "2 min"),
        (8100, "2 h 15 min"),
        (200_000, "2 days 7 h"),
    ],
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(("n", "text"), [(999, "999 bytes"), (1000, "1.0 kB"), (2.5e9, "2.5 GB"), (3e15, "3,000.0 TB")])
def test_sizes(n: float, text: str) -> None:
    assert size(n) == text


def test_wrapping_keeps_words_whole() -> None:
    path = "a/path-with-hyphens/" + "x" * 40
    assert wrapped(f"see {path} for more", 30, "* ") == ["* see", f"  {path}", "  for more"]
    assert wrapped("some words", 10, "* ") == ["* some words"]  # no room
    assert wrapped("", 80, "* ") == ["* "]


@pytest.mark.parametrize("width", [60, 80, 120])
@pytest.mark.parametrize("name", [None, "domain", "keywords"])
def test_taggers_fit_the_terminal(name: str | None, width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    natural = tagger_pages.taggers(name)
    monkeypatch.setattr(tagger_pages, "terminal_width", lambda _: width)
    text = tagger_pages.taggers(name)
    widest = max(len(line) for line in text.splitlines() if len(line.split()) > 1)
    assert widest <= width < max(map(len, natural.splitlines()))
    assert sorted(text.split()) == sorted(natural.split())


def test_an_extra_that_is_not_installed_is_a_state_of_its_own() -> None:
    absent = Finding("extra parse", "not installed", "optional, not installed: spacy", "pip install spacy")
    text = as_text([Finding("python", "ok", "3.12"), absent])
    assert text.splitlines() == [
        "ok             python       3.12",
        "not installed  extra parse  spacy",
        f"{'':<28}-> pip install spacy",
        "",
        "all is well; 1 optional extra not installed",
    ]
    assert absent.as_json()["state"] == "ok"
    warned = as_text([Finding("module fasttext", "warning", "twice"), absent, absent])
    assert warned.endswith("0 broken, 1 warning; 2 optional extras not installed")


def test_a_stream_that_is_no_terminal_has_no_width() -> None:
    assert wrapping.terminal_width(io.StringIO()) is None
    assert wrapping.terminal_width(None) is None


def test_a_model_that_is_no_better_than_the_commonest_label_is_said_to_be() -> None:
    figures = {"n": 1200, "accuracy": 0.61, "macro_f1": 0.2, "kappa": 0.05, "kappa_low": None, "kappa_high": None}
    figures |= {"coverage": 1.0, "majority_accuracy": 0.6}
    domain = {"backend": "fasttext:distilled-1", "labels": {"web": 3}, "percentages": {"pct_english": None}}
    result = Result(
        "domain", "out", 0, Counts(documents=3), {"domain": {**domain, "agreement_with_reference": figures}}, "", [], []
    )
    assert "Warning" not in table(result)
    assert "on 1,200 held-out documents" in table(result)
    figures["majority_accuracy"] = 0.61
    assert "Warning: the most frequent label alone agrees with the LLM at least as often." in " ".join(
        table(result, width=80).split()
    )
    assert max(map(len, table(result, width=80).splitlines())) <= 80
