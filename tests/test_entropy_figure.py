"""The entropy figure: bytes that depend on the summary alone, and text that can always be read."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any, Literal
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st
from profiles import more

from tagcorpus.pipelines.counting import figure
from tagcorpus.pipelines.counting.figure import draw, named, title, visible

pytest.importorskip("matplotlib", reason="needs the extra [report]")


def context(text: str, bits: float, count: int = 1200) -> dict[str, Any]:
    return {"ids": [257, 3], "text": text, "count": count, "distinct_next": 7, "entropy_bits": bits}


def summary(**changed: Any) -> dict[str, Any]:
    return {
        "n": 1,
        "tokenizer": "p50k_base",
        "mean_corpus_entropy": 0.8,
        "median_corpus_entropy": 0.0,
        "weighted_mean_entropy": 2.5,
        "num_unique_contexts": 100,
        "total_contexts": 1000,
        "num_tokens": 1100,
        "histogram": {
            "edges": [0.0, 1.0, 2.0, 3.0, 4.0],
            "contexts": [60, 30, 10, 0],
            "positions": [400, 350, 250, 0],
            "contexts_at_zero": 50,
            "positions_at_zero": 100,
        },
        "top_contexts": [context(" the", 2.9), context("$x^2$ \\frac{", 2.8)],
        "bottom_contexts": [context("日本\n", 0.0)],
        **changed,
    }


def drawn(of: dict[str, Any], kind: Literal["png", "svg"]) -> bytes:
    sink = io.BytesIO()
    draw(of, {kind: sink})
    return sink.getvalue()


def written(of: dict[str, Any]) -> list[str]:
    """All words of the figure, before they become curves."""
    from matplotlib.text import Text

    every: list[Any] = figure._figure(of).findobj(Text)
    return [text.get_text() for text in every]


@pytest.mark.parametrize(("kind", "start"), [("png", b"\x89PNG"), ("svg", b"<?xml")])
def test_equal_summaries_give_equal_bytes(kind: Literal["png", "svg"], start: bytes, tmp_path: Path) -> None:
    """Also into a path, and whatever the user set in matplotlib; that setting is there afterwards."""
    import matplotlib

    first = drawn(summary(), kind)
    with matplotlib.rc_context({"font.size": 20, "svg.hashsalt": "mine", "axes.facecolor": "red"}):
        draw(summary(), {kind: tmp_path / "out"})
        assert matplotlib.rcParams["font.size"] == 20
        assert matplotlib.rcParams["axes.facecolor"] == "red"
    assert first.startswith(start)
    assert (tmp_path / "out").read_bytes() == first
    assert drawn(summary(mean_corpus_entropy=1.3), kind) != first


@pytest.mark.parametrize(
    ("n", "told"),
    [
        (1, "Bigram entropy: next token given 1 token"),
        (2, "Trigram entropy: next token given 2 tokens"),
        (4, "5-gram entropy: next token given 4 tokens"),
    ],
)
def test_title_says_what_n_means(n: int, told: str) -> None:
    assert title(n) == told
    assert told in written(summary(n=n))


def test_figures_and_contexts_are_told() -> None:
    words = written(summary())
    for word in (
        "mean 0.800",
        "median 0.000",
        "weighted mean 2.500",
        "exactly 0: 50%",
        "exactly 0: 10%",
        "1,200",
        "2.900",
    ):
        assert word in words, word
    assert "\u2423the" in words
    assert "\\u65e5\\u672c\\n" in words
    assert any("1,100 tokens" in word and "p50k_base" in word for word in words)


def test_the_zero_bar_stands_apart() -> None:
    axes: Any = figure._figure(summary()).axes[0]
    heights = {round(bar.get_x(), 2): round(bar.get_height(), 3) for bar in axes.patches}
    assert heights == {-1.3: 0.5, 0.0: 0.1, 1.0: 0.3, 2.0: 0.1}  # the empty last bin is left out
    assert min(axes.get_xticks()) >= 0


@pytest.mark.parametrize(("at_zero", "scale"), [(50, "linear"), (9000, "log")])
def test_a_bar_that_dwarfs_the_others_makes_the_axis_logarithmic(at_zero: int, scale: str) -> None:
    histogram = {**summary()["histogram"], "contexts": [at_zero + 10, 30, 10, 0], "contexts_at_zero": at_zero}
    axes = figure._figure(summary(histogram=histogram)).axes
    assert (axes[0].get_yscale(), axes[1].get_yscale()) == (scale, "linear")
    assert ("(log scale)" in axes[0].get_title(loc="left")) == (scale == "log")


def test_one_context_of_no_entropy_will_do() -> None:
    histogram = {"edges": [0.0, 0.25], "contexts": [1], "positions": [5], "contexts_at_zero": 1, "positions_at_zero": 5}
    assert drawn(summary(histogram=histogram, num_unique_contexts=1, top_contexts=[], bottom_contexts=[]), "png")


def test_svg_holds_any_context() -> None:
    nasty = [context(text, 1.0) for text in ("--> --", "<b>&amp;", "\x00\x1b", "]]>", "\ud800", "\ufffe", "\u202e")]
    ElementTree.fromstring(drawn(summary(top_contexts=nasty), "svg"))


def test_both_formats_of_one_figure_have_the_bytes_of_figures_of_their_own() -> None:
    sinks: dict[Literal["png", "svg"], io.BytesIO] = {"png": io.BytesIO(), "svg": io.BytesIO()}
    draw(summary(), sinks)
    assert sinks["png"].getvalue() == drawn(summary(), "png")
    assert sinks["svg"].getvalue() == drawn(summary(), "svg")


def test_no_contexts_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one context"):
        draw(summary(num_unique_contexts=0), {"png": io.BytesIO()})


# Text that can be read


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (" the", "\u2423the"),
        ("a\n\t\r\\n", "a\\n\\t\\r\\\\n"),
        ("\x00\x1b\x7f\xa0\xad", "\\x00\\x1b\\x7f\\xa0\\xad"),
        ("日é", "\\u65e5é"),
        ("e\u0301", "e\\u0301"),
        ("א\u202eб", "\\u05d0\\u202eб"),
        ("\U0001f600", "\\U0001f600"),
        ("$<&_^", "$<&_^"),
        ("\u2423", "\\u2423"),
    ],
)
def test_visible(text: str, shown: str) -> None:
    assert visible(text) == shown


@more(2)
@given(st.text(max_size=12), st.text(max_size=12))
def test_no_boxes_and_no_two_contexts_alike(one: str, other: str) -> None:
    """Every character shown is in the font and takes one place, and what is shown tells the text."""
    assert all(ord(c) in figure._glyphs() and c.isprintable() for c in visible(one))
    assert (visible(one) == visible(other)) == (one == other)


@more(2)
@given(st.text(" a�日", max_size=40), st.lists(st.integers(0, 99999), min_size=1, max_size=5), st.integers(8, 50))
def test_a_name_fits_its_column(text: str, ids: list[int], room: int) -> None:
    found = named({"text": text, "ids": ids}, room)
    assert 0 < len(found) <= room


def test_parts_of_characters_are_told_by_their_ids() -> None:
    assert named({"text": "�", "ids": [34932, 5]}, 40) == "� [34932,5]"
    assert named({"text": "", "ids": [50256]}, 40) == "[50256]"
    assert named({"text": "plain", "ids": [1]}, 40) == "plain"
    assert named({"text": "much too long", "ids": [1]}, 8) == "much\u2423to…"
