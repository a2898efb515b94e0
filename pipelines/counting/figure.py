"""The picture of an entropy run: two histograms of context entropy, and the contexts at both ends by name.

Left every distinct context counts once, right as often as it stands in the corpus: rare contexts, most of them followed
by one token only, fill the left one, and the right one says how predictable running text is. Both come from the summary
alone. Equal summaries give equal bytes with one version of Pillow and of matplotlib's fonts: nothing of the user's settings, the
time or the system's fonts gets in, which is also why text outside the font of the tables is shown as escapes.
"""

from __future__ import annotations

import itertools
import math
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from tagcorpus.pipelines.counting.picture import Anchor, Box, Picture, Text, has_glyph, widest

LISTED = 12
"""Contexts shown in each table."""
ROW_CHARS = 48
"""Characters that a context and its count have room for together."""
_NAME_CHARS = 50
DWARFED = 10.0
"""A bar this many times as high as the next one makes the axis logarithmic."""

_WIDTH, _ABOVE, _ROW = 1800, 750, 31  # pixels; of the histograms with title and caption, and of a row of a table
_LEFTS, _SPAN = (120, 1020), 747  # pixels: where the two halves start, how wide they are
_TOP, _BELOW = 180, 93  # pixels above the histograms, and below them
_BLUE, _GREY, _RED, _GREEN = "#3b75af", "#9aa5b1", "#b5402f", "#2f7d4f"
_DASH, _GAP = 13, 6  # pixels
_LEGEND_FROM, _LEGEND_FLOOR = 0.55, 0.76  # shares of a histogram's width and height: its corner, which no bar reaches
_SPACE = "\u2423"
_NAMED = {"\n": "\\n", "\t": "\\t", "\r": "\\r", "\\": "\\\\"}


def drawn(summary: Mapping[str, Any]) -> dict[str, bytes]:
    """The bytes of the file of each format.

    summary  n, tokenizer, mean_corpus_entropy, median_corpus_entropy, weighted_mean_entropy (bits),
             num_unique_contexts, total_contexts, num_tokens; histogram: edges [b + 1] in bits, contexts [b] and
             positions [b], and if given contexts_at_zero and positions_at_zero, which get a bar of their own;
             top_contexts and bottom_contexts: ids, text, count, distinct_next, entropy_bits each
    Needs Pillow and matplotlib's fonts. Raises ValueError for a summary without contexts.
    """
    if not summary["num_unique_contexts"]:
        raise ValueError("the entropy figure needs at least one context, got none")
    picture = picture_of(summary)
    return {"png": picture.png(), "svg": picture.svg()}


def visible(text: str) -> str:
    """A context as it can be read: spaces as an open box, controls, combining marks and whatever the font lacks as
    escapes (and so a backslash as two)."""
    return "".join(map(_visible_character, text))


def _visible_character(character: str) -> str:
    if character == " ":
        return _SPACE
    if character in _NAMED:
        return _NAMED[character]
    if is_plain(character) and character != _SPACE and has_glyph(character):
        return character
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def is_plain(character: str) -> bool:
    """False for separators, controls, marks without their letter, and letters that would turn the line around."""
    return unicodedata.category(character)[0] not in "CMZ" and unicodedata.bidirectional(character) not in ("R", "AL")


def title(n: int) -> str:
    """What n means, in words."""
    name = {1: "Bigram", 2: "Trigram"}.get(n, f"{n + 1}-gram")
    return f"{name} entropy: next token given {n} token{'s' * (n != 1)}"


def picture_of(summary: Mapping[str, Any]) -> Picture:
    """All marks of the figure, in the order in which they are drawn."""
    rows = max(1, *(min(LISTED, len(summary[name])) for name in ("top_contexts", "bottom_contexts")))
    height = _ABOVE + round((rows + 2.6) * _ROW)
    name = "".join(c if c.isprintable() else "\ufffd" for c in "/".join(Path(summary["tokenizer"]).parts[-2:]))
    caption = (
        f"tokenizer {_cut(name, _NAME_CHARS)}    {summary['num_tokens']:,} tokens    "
        f"{summary['total_contexts']:,} positions    distinct contexts: {summary['num_unique_contexts']:,}"
    )
    means = [
        ("mean", summary["mean_corpus_entropy"], _RED, False),
        ("median", summary["median_corpus_entropy"], _GREEN, True),
    ]
    weighted = [("weighted mean", summary["weighted_mean_entropy"], _RED, False)]
    left, right = _LEFTS
    return Picture(
        _WIDTH,
        height,
        [
            Text(left, 57, title(summary["n"]), 15, face="bold"),
            Text(left, 99, caption, 10, "#444444"),
            *_histogram(left, summary["histogram"], "contexts", "each distinct context once", means),
            *_histogram(right, summary["histogram"], "positions", "each context as often as it occurs", weighted),
            *_table(left, summary["top_contexts"][:LISTED], "Highest entropy"),
            *_table(right, summary["bottom_contexts"][:LISTED], "Lowest entropy (most frequent first)"),
        ],
    )


class Bars(NamedTuple):
    """What a histogram shows, in bits and shares."""

    bars: list[tuple[float, float, float, str]]
    """Left edge, right edge, share and colour."""
    zero: float | None
    """The share of an entropy of exactly 0, which has a bar of its own."""
    left: float
    right: float
    is_log: bool
    low: float
    high: float


def bars_of(histogram: Mapping[str, Any], kind: str) -> Bars:
    """kind  contexts or positions"""
    edges: Sequence[float] = histogram["edges"]
    counts = list(histogram[kind])
    total = sum(counts)
    at_zero = histogram.get(f"{kind}_at_zero", 0)
    counts[0] -= at_zero
    used = max(i for i, count in enumerate(histogram["contexts"]) if count) + 1
    pairs = list(itertools.pairwise(edges))[:used]
    bars = [(a, b, count / total, _BLUE) for (a, b), count in zip(pairs, counts, strict=False)]
    width = max(edges[1] - edges[0], edges[used] / 40)
    zero = at_zero / total if at_zero else None
    if zero is not None:
        bars.insert(0, (-1.3 * width, -0.3 * width, zero, _GREY))
    right = max(edges[used], 1.0) * 1.02  # a scale of at least one bit
    heights = sorted((share for _, _, share, _ in bars if share > 0), reverse=True)
    is_log = len(heights) > 1 and heights[0] > DWARFED * heights[1]
    low, high = (max(heights[-1] / 2, 1e-7), heights[0] * 3) if is_log else (0.0, heights[0] * 1.1)
    left = -0.01 * right if zero is None else -2 * width
    below_legend = [share for _, end, share, _ in bars if end > left + _LEGEND_FROM * (right - left) and share > low]
    if below_legend:
        tall = max(below_legend)
        high = max(high, low * (tall / low) ** (1 / _LEGEND_FLOOR) if is_log else tall / _LEGEND_FLOOR)
    return Bars(bars, zero, left, right, is_log, low, high)


def _histogram(
    start: int, histogram: Mapping[str, Any], kind: str, weighting: str, means: Sequence[tuple[str, float, str, bool]]
) -> Iterator[Box | Text]:
    """means  name, bits, colour, and whether the line is dashed"""
    shown = bars_of(histogram, kind)
    end, floor = start + _SPAN, _ABOVE - _BELOW
    x = _scale(shown.left, shown.right, start, end, is_log=False)
    y = _scale(shown.low, shown.high, floor, _TOP, is_log=shown.is_log)
    yield Text(start, _TOP - 13, f"Share of {kind}, {weighting}{' (log scale)' * shown.is_log}", 10.5)
    for share in ticks(shown.low, min(shown.high, 1.0), is_log=shown.is_log):
        yield Box(start, y(share), end, y(share) + 1, "#e3e3e3")
        yield Box(start - 7, y(share), start, y(share) + 2, "#000000")
        yield Text(start - 15, y(share) + 8, _percent(share), anchor="end")
    for left, right, share, colour in shown.bars:
        if share > 0:
            yield Box(x(left), y(share), max(x(left) + 1, x(right) - 1), floor, colour)
    for _, bits, colour, is_dashed in means:
        for top in range(_TOP, floor, _DASH + _GAP) if is_dashed else (_TOP,):
            yield Box(x(bits) - 1, top, x(bits) + 2, min(floor, top + _DASH) if is_dashed else floor, colour)
    yield Box(start, floor, end, floor + 2, "#000000")
    yield Box(start, _TOP, start + 2, floor + 2, "#000000")
    for bits in ticks(0.0, shown.right, is_log=False):
        yield Box(x(bits), floor, x(bits) + 2, floor + 9, "#000000")
        yield Text(x(bits), floor + 29, f"{bits:.4g}", anchor="middle")
    yield Text((start + end) // 2, floor + 56, "entropy of the next token, bits", anchor="middle")
    yield from _legend(end, means, shown.zero)


def _scale(low: float, high: float, first: int, last: int, *, is_log: bool) -> Callable[[float], int]:
    """From values of `low` to `high` to pixels of `first` to `last`."""
    along: Callable[[float], float] = math.log if is_log else float
    start, span = along(low), along(high) - along(low)
    return lambda value: round(first + (along(value) - start) / span * (last - first))


def ticks(low: float, high: float, *, is_log: bool) -> list[float]:
    """Round values from `low` to `high`: at most six in equal steps from 0, or the powers of ten. Between powers of ten that leave less
    than two, also twice and five times as much."""
    if is_log:
        powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
        for factors in ((1,), (1, 2, 5)):
            values = [factor * 10.0**power for power in powers for factor in factors]
            inside = [value for value in values if low <= value <= high]
            if len(inside) > 1:
                break
        return inside
    power = 10.0 ** math.floor(math.log10(high / 5))
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= high / 5 * (1 - 1e-9))
    return [i * step for i in range(int(high / step * (1 + 1e-9)) + 1)]


def _percent(share: float) -> str:
    return f"{100 * share:.4g}%"


def _legend(end: int, means: Sequence[tuple[str, float, str, bool]], zero: float | None) -> Iterator[Box | Text]:
    names = [f"{name} {bits:.3f}" for name, bits, _, _ in means]
    if zero is not None:
        names.append(f"exactly 0: {_percent(zero)}")
    start = end - 17 - widest(names, 9)
    yield Box(start - 62, _TOP + 8, end, _TOP + 20 + 28 * len(names), "#ffffff")
    for i, name in enumerate(names):
        middle = _TOP + 25 + 28 * i
        yield Text(start, middle + 6, name)
        if i == len(means):
            yield Box(start - 53, middle - 6, start - 16, middle + 6, _GREY)
            continue
        _, _, colour, is_dashed = means[i]
        for left in range(start - 53, start - 16, _DASH + _GAP) if is_dashed else (start - 53,):
            yield Box(left, middle - 1, min(start - 15, left + _DASH) if is_dashed else start - 15, middle + 2, colour)


def _table(start: int, contexts: Sequence[Mapping[str, Any]], heading: str) -> Iterator[Box | Text]:
    def y(row: float) -> int:
        return _ABOVE + round((row + 1.5) * _ROW)

    yield Text(start, y(-0.9), heading, 10.5)
    columns: tuple[tuple[int, str, Anchor], ...] = (
        (start, "context", "start"),
        (start + round(0.71 * _SPAN), "count", "end"),
        (start + round(0.885 * _SPAN), "distinct next", "end"),
        (start + _SPAN, "bits", "end"),
    )
    for x, name, anchor in columns:
        yield Text(x, y(0), name, 8.5, "#555555", anchor)
    yield Box(start, y(0.3), start + _SPAN, y(0.3) + 1, "#999999")
    room = ROW_CHARS - 2 - max((len(f"{context['count']:,}") for context in contexts), default=0)
    for row, context in enumerate(contexts, 1):
        cells = (
            named(context, room),
            f"{context['count']:,}",
            f"{context['distinct_next']:,}",
            f"{context['entropy_bits']:.3f}",
        )
        for (x, _, anchor), cell in zip(columns, cells, strict=True):
            yield Text(x, y(row), cell, 8.5, "#000000", anchor, "mono")


def named(context: Mapping[str, Any], room: int) -> str:
    """The context's text in at most `room` characters; with its ids where the text does not tell them (parts of
    characters, as far as there is room)."""
    shown = visible(context["text"])
    ids = str(list(context["ids"])).replace(" ", "") if not shown or "\ufffd" in shown else ""
    ids = _cut(ids, max(room // 2, room - len(shown) - 1))
    left = room - len(ids) - bool(ids)
    return f"{_cut(shown, left)} {ids}".strip()


def _cut(text: str, room: int) -> str:
    return text if len(text) <= room else text[: room - 1] + "…"
