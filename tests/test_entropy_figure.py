"""The entropy figure: bytes that depend on the summary alone, and text that can always be read."""

from __future__ import annotations

import io
import sys
from types import SimpleNamespace
from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st
from profiles import more

from tagcorpus.pipelines import entropy
from tagcorpus.pipelines.counting import figure, picture
from tagcorpus.pipelines.counting.figure import drawn, is_plain, named, title, visible
from tagcorpus.pipelines.counting.picture import Box, Text, has_glyph

pytest.importorskip("matplotlib", reason="needs the extra [report]")
Image = pytest.importorskip("PIL.Image", reason="needs the extra [report]")


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


def written(of: dict[str, Any]) -> list[str]:
    return [mark.text for mark in figure.picture_of(of).marks if isinstance(mark, Text)]


def pixels(of: dict[str, Any]) -> Any:
    with Image.open(io.BytesIO(drawn(of)["png"])) as image:
        return image.convert("RGB")


def test_equal_summaries_give_equal_bytes() -> None:
    first = drawn(summary())
    assert first["png"].startswith(b"\x89PNG")
    assert first["svg"].startswith(b"<?xml")
    assert drawn(summary()) == first
    other = drawn(summary(mean_corpus_entropy=1.3))
    assert all(other[form] != first[form] for form in first)


def test_both_formats_have_every_mark() -> None:
    picture = figure.picture_of(summary())
    root = ElementTree.fromstring(drawn(summary())["svg"])
    assert [element.text for element in root.iter("{http://www.w3.org/2000/svg}text")] == written(summary())
    boxes = [mark for mark in picture.marks if isinstance(mark, Box)]
    elements = list(root.iter("{http://www.w3.org/2000/svg}rect"))[1:]  # the first is the ground
    assert [(e.get("x"), e.get("y"), e.get("fill")) for e in elements] == [
        (str(box.left), str(box.top), box.colour) for box in boxes
    ]
    image = pixels(summary())
    assert image.size == (picture.width, picture.height)
    for i, box in enumerate(picture.marks):
        if isinstance(box, Box):
            later = [other for other in picture.marks[i + 1 :] if isinstance(other, Box) and _touch(box, other)]
            if not later:
                colour = tuple(bytes.fromhex(box.colour[1:]))
                corners = {image.getpixel(at) for at in ((box.left, box.top), (box.right - 1, box.bottom - 1))}
                assert corners == {colour}, box


def _touch(one: Box, other: Box) -> bool:
    return one.left < other.right and other.left < one.right and one.top < other.bottom and other.top < one.bottom


def test_no_mark_leaves_the_picture() -> None:
    """Not even text: the outermost pixels are white."""
    image = pixels(summary(top_contexts=[context("W" * 99, 12.345, 10**12)] * 20))
    width, height = image.size
    edges = ((0, 0, width, 1), (0, height - 1, width, height), (0, 0, 1, height), (width - 1, 0, width, height))
    assert all({colour for _, colour in image.crop(edge).getcolors()} == {(255, 255, 255)} for edge in edges)


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
    shown = figure.bars_of(summary()["histogram"], "contexts")
    heights = {round(left, 2): round(share, 3) for left, _, share, _ in shown.bars}
    assert heights == {-1.3: 0.5, 0.0: 0.1, 1.0: 0.3, 2.0: 0.1}  # the empty last bin is left out
    assert shown.left < -1.3
    assert shown.right > 3


@pytest.mark.parametrize(("at_zero", "is_log"), [(50, False), (9000, True)])
def test_a_bar_that_dwarfs_the_others_makes_the_axis_logarithmic(at_zero: int, is_log: bool) -> None:
    histogram = {**summary()["histogram"], "contexts": [at_zero + 10, 30, 10, 0], "contexts_at_zero": at_zero}
    assert figure.bars_of(histogram, "contexts").is_log == is_log
    assert not figure.bars_of(histogram, "positions").is_log
    logarithmic = [text for text in written(summary(histogram=histogram)) if "(log scale)" in text]
    assert len(logarithmic) == is_log
    assert ("0.1%" in written(summary(histogram=histogram))) == is_log


@more(2)
@given(st.lists(st.integers(0, 10**12), min_size=1, max_size=40).filter(any), st.integers(0, 10**13))
def test_no_bar_is_behind_the_legend(counts: list[int], at_zero: int) -> None:
    counts[0] += at_zero
    edges = [0.25 * i for i in range(len(counts) + 1)]
    histogram = {"edges": edges, "contexts": counts, "positions": counts}
    histogram |= {"contexts_at_zero": at_zero, "positions_at_zero": at_zero}
    marks = [m for m in figure.picture_of(summary(histogram=histogram)).marks if isinstance(m, Box)]
    legends = [m for m in marks if m.colour == "#ffffff"]
    assert len(legends) == 2
    bars = [m for m in marks if m.bottom == legends[0].top - 8 + 477]
    assert bars
    assert not [bar for bar in bars for legend in legends if bar.right - bar.left > 3 and _touch(bar, legend)]


def test_the_name_of_a_tokenizer_leaves_room_for_the_figures() -> None:
    caption = written(summary(tokenizer="x" * 200 + ".json", num_tokens=10**12))[1]
    assert "x…    1,000,000,000,000 tokens" in caption
    assert picture.widest([caption], 10) < 1800 - 120


def test_a_figure_that_cannot_be_drawn_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """The result is published by then. Pillow may be absent, or built without FreeType; a system may keep the fonts elsewhere."""
    run = SimpleNamespace(summary_name="entropy-1gram")
    picture._font.cache_clear()
    with monkeypatch.context() as patch:
        patch.setattr(picture, "_FILES", dict.fromkeys(picture._FILES, "no-system-has-this.ttf"))
        (message,) = entropy._oddities(run, summary(num_documents=3))  # type: ignore[arg-type]
        assert message == (
            "no figure: the fonts of matplotlib cannot be read (cannot open resource): install matplotlib again"
        )
    monkeypatch.setitem(sys.modules, "PIL", None)
    (message,) = entropy._oddities(run, summary(num_documents=3))  # type: ignore[arg-type]
    assert message.startswith("no figure: import of PIL")
    assert "(pip install " in message


@pytest.mark.parametrize(
    ("low", "high", "is_log", "values"),
    [
        (0, 9.82, False, [0, 2, 4, 6, 8]),
        (0, 0.2463, False, [0, 0.05, 0.1, 0.15, 0.2]),
        (0, 1.02, False, [0, 0.25, 0.5, 0.75, 1]),
        (0, 5, False, [0, 1, 2, 3, 4, 5]),
        (0.0004, 2.9, True, [0.001, 0.01, 0.1, 1]),
        (0.04, 0.9, True, [0.05, 0.1, 0.2, 0.5]),
    ],
)
def test_ticks(low: float, high: float, is_log: bool, values: list[float]) -> None:
    assert figure.ticks(low, high, is_log=is_log) == pytest.approx(values)


@more(2)
@given(st.floats(1e-7, 1), st.floats(6.1, 1e7), st.booleans())
def test_every_axis_has_ticks_within_its_ends(low: float, ratio: float, is_log: bool) -> None:
    """The ends of a logarithmic axis are at least a factor of 6 apart."""
    values = figure.ticks(low if is_log else 0.0, low * ratio, is_log=is_log)
    assert 2 <= len(values) <= (9 if is_log else 6)
    assert values == sorted(values)
    assert values[0] >= (low if is_log else 0)
    assert values[-1] <= low * ratio * (1 + 1e-9)


def test_one_context_of_no_entropy_will_do() -> None:
    histogram = {"edges": [0.0, 0.25], "contexts": [1], "positions": [5], "contexts_at_zero": 1, "positions_at_zero": 5}
    assert drawn(summary(histogram=histogram, num_unique_contexts=1, top_contexts=[], bottom_contexts=[]))["png"]


def test_svg_holds_any_context_and_any_tokenizer() -> None:
    texts = ("--> --", "<b>&amp;", "\x00\x1b", "]]>", "\ud800", "\ufffe", "\u202e")
    nasty = [context(text, 1.0) for text in texts]
    for text in texts:
        ElementTree.fromstring(figure.picture_of(summary(top_contexts=nasty, tokenizer=f"{text}.json")).svg())


def test_no_contexts_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one context"):
        drawn(summary(num_unique_contexts=0))


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


def test_glyphs_are_those_of_the_font() -> None:
    """As FreeType lists them, for the blocks that the font has in part, and for planes that it lacks."""
    from matplotlib.ft2font import FT2Font

    listed = set(FT2Font(str(picture._fonts_folder() / "DejaVuSansMono.ttf")).get_charmap())
    for code in (*range(0x20, 0x7F), *range(0xA1, 0x600), *range(0x2000, 0x2C00, 3), 0x65E5, 0xFFFD, 0x1D670, 0x1F600):
        if is_plain(chr(code)):
            assert has_glyph(chr(code)) == (code in listed), hex(code)


@more(2)
@given(st.text(max_size=12), st.text(max_size=12))
def test_no_boxes_and_no_two_contexts_alike(one: str, other: str) -> None:
    """Every character shown is in the font and takes one place, and what is shown tells the text."""
    assert all(has_glyph(c) and c.isprintable() for c in visible(one))
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
