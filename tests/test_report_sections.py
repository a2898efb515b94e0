"""Pieces of the report: order of its sections, pictures, percentiles, bars, and commands that a shell takes as they were."""

from __future__ import annotations

import html
import re
import shlex
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tagcorpus.pipelines.progress.amounts import counted
from tagcorpus.pipelines.report import SECTIONS
from tagcorpus.pipelines.report.contents.bars import features_of
from tagcorpus.pipelines.report.contents.contents import Contents
from tagcorpus.pipelines.report.contents.folder import RecordedRun
from tagcorpus.pipelines.report.sections.distributions import distributions_section
from tagcorpus.pipelines.report.sections.html import Bar, Section, bars, in_lines, number, percent, shell
from tagcorpus.pipelines.report.sections.runs import OPEN_RUNS, _runs

ROOT = Path(__file__).resolve().parents[1]
VALUES = np.random.default_rng(3).gamma(2.0, 100.0, 500)


def stripped(markup: str) -> str:
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", markup.replace("<wbr>", ""))).split())


def cells(markup: str) -> list[list[str]]:
    """The rows of the tables in some HTML."""
    rows = re.findall(r"<tr>(.*?)</tr>", markup, re.DOTALL)
    return [[stripped(c) for c in re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row, re.DOTALL)] for row in rows]


def summary_of(values: np.ndarray) -> dict[str, Any]:
    counts, edges = np.histogram(values, 50)
    shares = (1, 5, 25, 50, 75, 95, 99)
    percentiles = dict(zip((f"p{p}" for p in shares), np.percentile(values, shares).tolist(), strict=True))
    return {
        "n": len(values), "missing": 2, "mean": float(values.mean()), "std": float(values.std(ddof=1)),
        "min": float(values.min()), "max": float(values.max()), **percentiles, "unit": "seconds",
        "histogram": {"edges": edges.tolist(), "counts": counts.tolist()},
    }  # fmt: skip


def contents_of(summaries: dict[str, dict[str, Any]], notes: tuple[str, ...] = ()) -> Any:
    features = [
        feature for name, columns in summaries.items() for feature in features_of(columns, dict.fromkeys(columns, "double"), name)
    ]  # fmt: skip
    return SimpleNamespace(features=features, notes=list(notes))


def body(summaries: dict[str, dict[str, Any]], notes: tuple[str, ...] = ()) -> str:
    section = distributions_section(contents_of(summaries, notes))
    assert section is not None
    return section.body


def test_order_of_the_page() -> None:
    names = [make.__name__.removesuffix("_section") for make in SECTIONS]
    assert names == [
        "distributions", "features", "domains", "agreement", "audit", "comparison", "entropy", "models", "prediction",
        "mixes", "losses", "fit", "runs",
    ]  # fmt: skip


def test_percentiles_are_those_of_the_values() -> None:
    header, row = cells(body({"mine": {"a_time": summary_of(VALUES)}}))
    assert header == [
        "Column",
        "min",
        "p1",
        "p5",
        "p25",
        "median",
        "p75",
        "p95",
        "p99",
        "max",
        "mean",
        "std",
        "n",
        "missing",
    ]
    assert row[0] == "a_time mine · seconds"
    expected = [
        VALUES.min(),
        *np.percentile(VALUES, (1, 5, 25, 50, 75, 95, 99)),
        VALUES.max(),
        VALUES.mean(),
        VALUES.std(ddof=1),
    ]
    shown = [float(cell.replace(",", "")) for cell in row[1:12]]
    assert shown == pytest.approx([float(v) for v in expected], rel=6e-4)  # four significant digits
    assert row[12:] == ["500", "2"]


def test_a_picture_has_its_ends() -> None:
    (card,) = re.findall(r"<li>.*?</li>", body({"mine": {"a_time": summary_of(VALUES)}}))
    assert f"min {number(VALUES.min(), 3)}" in card
    assert f"max {number(VALUES.max(), 3)}" in card
    assert 'data-feature="0"' in card
    assert card.count("v-") == np.count_nonzero(np.histogram(VALUES, 50)[0])


def test_text_columns_show_their_commonest_values() -> None:
    languages = {"n": 200, "missing": 0, "distinct": 5, "top": {"en": 150, "<de>": 30, "fr": 10, "es": 6, "it": 4}}
    flag = {"n": 8, "missing": 0, "share_true": 0.25, "true": 2}
    markup = body({"x": {"language": languages, "is_kept": flag}})
    card, of_flag = re.findall(r"<li>.*?</li>", markup)
    assert re.findall(r"<span class=label>(.*?)</span><span>(.*?)</span>", card) == [
        ("en", "75.0 %"), ("&lt;de&gt;", "15.0 %"), ("fr", "5.0 %"),
    ]  # fmt: skip
    assert "and 2 more" in card
    assert "true</span><span>25.0 %" in of_flag
    assert cells(markup)[1:] == [
        ["language x", "en", "75.0 %", "5", "200", "0"],
        ["is_kept x", "false", "75.0 %", "2", "8", "0"],
    ]


def test_others_are_not_the_commonest_value() -> None:
    """21 values of 4 documents each: the bar of all others is the highest, and is not a value."""
    many = {"n": 100, "missing": 0, "distinct": 25, "top": {f"v{i:02}": 4 for i in range(21)}}
    assert cells(body({"x": {"many": many}}))[1][1] == "v00"


def test_one_value_only_has_no_picture() -> None:
    constant = {"n": 9, "missing": 0, "distinct": 1, "top": {"<same>": 9}}
    markup = body({"x": {"a": constant, "b": summary_of(np.zeros(9)), "c": summary_of(VALUES)}})
    assert markup.count("<li>") == 1
    assert "<code>x.a</code> &lt;same&gt;, <code>x.b</code> 0." in markup
    assert [row[0] for row in cells(markup)[1:2]] == ["c x · seconds"]


def test_own_sections_come_last() -> None:
    markup = body(
        {
            "domain": {"p": summary_of(VALUES)},
            "entropy-1gram": {"e": summary_of(VALUES)},
            "tokens": {"t": summary_of(VALUES)},
        }
    )
    assert re.findall(r'data-feature="(\d)"', markup) == ["2", "0", "1"]
    assert [row[0].split()[0] for row in cells(markup)[1:]] == ["t", "p", "e"]


def test_notes_and_nothing() -> None:
    assert body({"x": {"c": summary_of(VALUES)}}, ("part <1> is missing",)).startswith(
        "<p class=note>part &lt;1&gt; is missing.</p>"
    )
    assert (
        body({}, ("no part is whole",)) == "<p class=note>no part is whole.</p>"
    )  # a note is shown without columns, too
    assert distributions_section(contents_of({})) is None


def test_the_section_of_the_docs() -> None:
    """The block of docs/report.md on another section is a section."""
    (block,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs/report.md").read_text(), re.DOTALL)
    names: dict[str, Any] = {"Bar": Bar, "bars": bars, "Section": Section, "Contents": Contents}
    exec(block, names)
    labels = {"labels": {"shares": {"<news>": 0.75, "other": 0.25}}}
    section = names["labels_section"](SimpleNamespace(output=SimpleNamespace(summaries=labels)))
    assert cells(section.body)[1:] == [["<news>", "75.0 %"], ["other", "25.0 %"]]
    assert names["labels_section"](SimpleNamespace(output=SimpleNamespace(summaries={}))) is None


# -- bars --


def test_bars_have_one_scale() -> None:
    rows = [
        Bar("<web>", 40.0, (30.0, 50.0), ["4"]),
        Bar("code", 10.0, (5.0, 20.0), ["1"]),
        Bar("none", None, None, ["0"]),
    ]
    markup = bars("Shares", ("Domain", "Share", "n"), rows)
    assert cells(markup) == [
        ["Domain", "Share", "95 % interval", "n"],
        ["<web>", "40.0 %", "30.0 to 50.0 %", "4"],
        ["code", "10.0 %", "5.0 to 20.0 %", "1"],
        ["none", "–", "–", "0"],
    ]
    assert re.findall(r'rect width="([\d.]+)"', markup) == ["80.00", "20.00", "0.00"]  # of the upper end, 50 %
    assert 'd="M60.00 5H100.00M60.00 2V8M100.00 2V8"' in markup
    plain_bars = bars("Shares", ("Domain", "Share"), [Bar("web", 40.0), Bar("code", 0.0)])
    assert cells(plain_bars) == [["Domain", "Share"], ["web", "40.0 %"], ["code", "0.0 %"]]
    assert re.findall(r'rect width="([\d.]+)"', plain_bars) == ["100.00", "0.00"]


# -- shell lines --

LONG = "tagcorpus run filter --input 'a folder/it'\"'\"'s $HOME.jsonl' --where 'num_tokens > 10 and \"x\" -- y' -o out.tagcorpus --set a=-1 -"


def test_a_shell_reads_the_same_words() -> None:
    script = "printf '%s\\0' " + in_lines(LONG)
    done = subprocess.run(["sh", "-c", script], capture_output=True, check=True, text=True)
    assert done.stdout.split("\0")[:-1] == shlex.split(LONG)


def test_an_option_begins_a_line() -> None:
    assert in_lines("tagcorpus run tag --input a.jsonl") == "tagcorpus run tag --input a.jsonl"
    lines = in_lines("tagcorpus run tag --input a.jsonl b.jsonl --output a-folder-with-a-name -w 2").split("\n")
    assert lines == [
        "tagcorpus run tag \\",
        "  --input a.jsonl b.jsonl \\",
        "  --output a-folder-with-a-name \\",
        "  -w 2",
    ]


@given(st.lists(st.text("a-é '\"\\\n$`*#", max_size=20), min_size=4, max_size=8))
def test_no_word_is_lost(words: list[str]) -> None:
    command = shlex.join(["tagcorpus", "run", *words])
    shown = in_lines(command)
    quoted = [shlex.quote(w) for w in ["tagcorpus", "run", *words]]
    rest = shown
    for word in quoted:  # in their order, with nothing between them but spaces and line ends
        gap, match, rest = rest.partition(word)
        assert match
        assert not gap.replace("\\\n", "").strip(" ")
    assert rest == ""


def test_a_command_that_is_not_one_stays() -> None:
    broken = "tagcorpus run tag --input 'a quote that nobody closed, in a command of some length"
    assert in_lines(broken) == broken
    assert "&lt;b&gt;" in shell("echo <b>")
    assert "\u241b" in shell("echo \x1b[31m")  # what would colour a terminal is visible


def test_many_runs_are_folded() -> None:
    ledger = {"exit_code": 0, "executor": "local", "workers": 1, "seconds": 1.0, "totals": {"documents": 1}}
    runs = [
        RecordedRun(f"2026-{i:02}", {"pipeline": "tag", "command": f"tagcorpus run tag {i}"}, ledger)
        for i in range(OPEN_RUNS + 1)
    ]
    markup = _runs(runs)
    assert markup.index(f"run tag {OPEN_RUNS}<") < markup.index("1 earlier run</summary>") < markup.index("run tag 0<")
    assert "earlier run" not in _runs(runs[:-1])
    assert "1 document<" in markup


def test_counts_and_numbers() -> None:
    assert [counted(n, "row") for n in (0, 1, 2000)] == ["0 rows", "1 row", "2,000 rows"]
    assert [percent(v) for v in (None, 0, 0.0004, 0.0005, 1)] == ["–", "0.0 %", "under 0.1 %", "0.1 %", "100.0 %"]
    assert [number(v, 3) for v in (0.123456, 1234.5, -0.5, 7)] == ["0.123", "1,234", "−0.5", "7"]
