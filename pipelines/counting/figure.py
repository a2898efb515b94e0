"""The picture of an entropy run: two histograms of context entropy, and the contexts at both ends by name.

Left every distinct context counts once, right as often as it stands in the corpus: rare contexts, most of them followed
by one token only, fill the left one, and the right one says how predictable running text is. Both come from the summary
alone. Equal summaries give equal bytes with one version of matplotlib: nothing of the user's matplotlib settings, the
time or the system's fonts gets in, which is also why text outside the bundled font is shown as escapes.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import io
import itertools
import sys
import unicodedata
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Literal

from tagcorpus.errors import ConfigError
from tagcorpus.pipelines.execution import late_pandas
from tagcorpus.requirements import how_to_install

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LISTED = 12
"""Contexts shown in each table."""
ROW_CHARS = 48
"""Characters that a context and its count have room for together."""
DWARFED = 10.0
"""A bar this many times as high as the next one makes the axis logarithmic."""

_WIDTH = 12.0  # inches
_ROW = 0.205
_LEFT, _RIGHT, _SPAN = 0.067, 0.567, 0.415  # shares of the width: where the two halves start, how wide they are
_BLUE, _GREY, _RED, _GREEN = "#3b75af", "#9aa5b1", "#b5402f", "#2f7d4f"
_SPACE = "\u2423"
_NAMED = {"\n": "\\n", "\t": "\\t", "\r": "\\r", "\\": "\\\\"}


FORMS: tuple[Literal["png", "svg"], ...] = ("png", "svg")


class EarlyFigure:
    """Draws in a thread of this process while workers compute. matplotlib is imported at once, if it is installed.

    is_early  False: the figure is drawn when its files are needed
    """

    def __init__(self, *, is_early: bool) -> None:
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="figure")
        self._is_early = is_early and importlib.util.find_spec("matplotlib") is not None
        self._drawn: Future[dict[str, bytes]] | None = None
        if self._is_early:
            self._pool.submit(import_figure)

    def begin(self, summary: Mapping[str, Any]) -> None:
        """The summary's figures are known; `files` needs the same ones."""
        if self._is_early and summary["num_unique_contexts"]:
            self._drawn = self._pool.submit(drawn, summary)

    def files(self, summary: Mapping[str, Any]) -> dict[str, bytes]:
        """The bytes of the file of each format."""
        return drawn(summary) if self._drawn is None else self._drawn.result()

    def close(self) -> None:
        """Draw nothing more."""
        self._pool.shutdown(wait=False, cancel_futures=True)


def drawn(summary: Mapping[str, Any]) -> dict[str, bytes]:
    """The bytes of the file of each format."""
    sinks = {form: io.BytesIO() for form in FORMS}
    draw(summary, sinks)
    return {form: sink.getvalue() for form, sink in sinks.items()}


def draw(summary: Mapping[str, Any], sinks: Mapping[Literal["png", "svg"], str | Path | IO[bytes]]) -> None:
    """Draw an entropy summary once, into a file of each format.

    summary  n, tokenizer, mean_corpus_entropy, median_corpus_entropy, weighted_mean_entropy (bits),
             num_unique_contexts, total_contexts, num_tokens; histogram: edges [b + 1] in bits, contexts [b] and
             positions [b], and if given contexts_at_zero and positions_at_zero, which get a bar of their own;
             top_contexts and bottom_contexts: ids, text, count, distinct_next, entropy_bits each
    sinks    by format, a path, or a file open for binary writing
    Raises ConfigError without matplotlib, ValueError for a summary without contexts.
    """
    try:
        import matplotlib
    except ImportError as error:
        raise ConfigError(f"the entropy figure needs matplotlib: {how_to_install('report', 'matplotlib')}") from error
    if not summary["num_unique_contexts"]:
        raise ValueError("the entropy figure needs at least one context, got none")
    with matplotlib.rc_context():
        matplotlib.rcdefaults()  # back to the user's settings when the block is left
        matplotlib.rcParams.update({"svg.hashsalt": "tagcorpus", "svg.fonttype": "path", "font.size": 9})
        figure = _figure(summary)
        for form, sink in sinks.items():
            metadata = {"Software": None} if form == "png" else {"Date": None, "Creator": None}
            figure.savefig(sink, format=form, dpi=150, metadata=metadata)


def visible(text: str) -> str:
    """A context as it can be read: spaces as an open box, controls, combining marks and whatever the font lacks as
    escapes (and so a backslash as two)."""
    return "".join(map(_visible_character, text))


def _visible_character(character: str) -> str:
    if character == " ":
        return _SPACE
    if character in _NAMED:
        return _NAMED[character]
    # Separators, controls, marks without their letter, and letters that would turn the line around.
    is_plain = unicodedata.category(character)[0] not in "CMZ" and unicodedata.bidirectional(character) not in (
        "R",
        "AL",
    )
    if is_plain and character != _SPACE and ord(character) in _glyphs():
        return character
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


@functools.cache
def _glyphs() -> frozenset[int]:
    """Code points of DejaVu Sans Mono as matplotlib brings it."""
    from matplotlib.ft2font import FT2Font

    return frozenset(FT2Font(str(_font_file())).get_charmap())


def _font_file() -> Path:
    import matplotlib

    return Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSansMono.ttf"


def title(n: int) -> str:
    """What n means, in words."""
    name = {1: "Bigram", 2: "Trigram"}.get(n, f"{n + 1}-gram")
    return f"{name} entropy: next token given {n} token{'s' * (n != 1)}"


def import_figure() -> None:
    """Import what the figure is drawn with. matplotlib's import spends a third of its time on docstrings (0.14 CPU seconds): a process
    of this project's own does without them."""
    if "matplotlib.figure" in sys.modules or not late_pandas.is_own_process():
        return
    from matplotlib import artist

    names = ("_update_set_signature_and_docstring", "kwdoc")
    before = artist.Artist.__dict__.get(names[0]), getattr(artist, names[1], None)
    if None in before:  # another release
        return
    setattr(artist.Artist, names[0], classmethod(_without_docstring))
    setattr(artist, names[1], lambda _: "")
    try:
        importlib.import_module("matplotlib.figure")
    finally:
        setattr(artist.Artist, names[0], before[0])
        setattr(artist, names[1], before[1])


def _without_docstring(artist: Any) -> None:
    artist.set._autogenerated_signature = True


def _figure(summary: Mapping[str, Any]) -> Figure:
    import_figure()
    from matplotlib.figure import Figure

    rows = max(1, *(min(LISTED, len(summary[name])) for name in ("top_contexts", "bottom_contexts")))
    table = (rows + 2.6) * _ROW
    height = 5.0 + table
    figure = Figure((_WIDTH, height), facecolor="white")
    figure.text(_LEFT, 1 - 0.38 / height, title(summary["n"]), fontsize=15, weight="bold")
    caption = (
        f"tokenizer {'/'.join(Path(summary['tokenizer']).parts[-2:])}    {summary['num_tokens']:,} tokens    "
        f"{summary['total_contexts']:,} positions    distinct contexts: {summary['num_unique_contexts']:,}"
    )
    figure.text(_LEFT, 1 - 0.66 / height, caption, fontsize=10, color="#444444", parse_math=False)
    low, high = (table + 0.62) / height, 1 - 1.2 / height
    left = figure.add_axes((_LEFT, low, _SPAN, high - low))
    right = figure.add_axes((_RIGHT, low, _SPAN, high - low))
    _histogram(left, summary["histogram"], "contexts", "each distinct context once")
    _mark(left, [("mean", summary["mean_corpus_entropy"], _RED), ("median", summary["median_corpus_entropy"], _GREEN)])
    _histogram(right, summary["histogram"], "positions", "each context as often as it occurs")
    _mark(right, [("weighted mean", summary["weighted_mean_entropy"], _RED)])
    for x, name, caption in (
        (_LEFT, "top_contexts", "Highest entropy"),
        (_RIGHT, "bottom_contexts", "Lowest entropy (most frequent first)"),
    ):
        axes = figure.add_axes((x, 0.0, _SPAN, table / height))
        _table(axes, summary[name][:LISTED], caption, rows)
    return figure


def _histogram(axes: Axes, histogram: Mapping[str, Any], kind: str, weighting: str) -> None:
    edges: Sequence[float] = histogram["edges"]
    counts = list(histogram[kind])
    total = sum(counts)
    zero = histogram.get(f"{kind}_at_zero", 0)
    counts[0] -= zero
    shares = [count / total for count in counts]
    used = max(i for i, count in enumerate(histogram["contexts"]) if count) + 1
    axes.bar(edges[:used], shares[:used], _widths(edges)[:used], align="edge", color=_BLUE, edgecolor="white", lw=0.4)
    width = max(edges[1] - edges[0], edges[used] / 40)
    drawn = shares[:used]
    if zero:
        share = zero / total
        drawn = [share, *drawn]
        name = f"exactly 0: {_percent(share, None)}"
        axes.bar([-1.3 * width], [share], width, align="edge", color=_GREY, edgecolor="white", lw=0.4, label=name)
    high = max(edges[used], 1.0) * 1.02  # a scale of at least one bit
    axes.set_xlim(-2 * width if zero else -0.01 * high, high)
    axes.set_xticks([tick for tick in axes.get_xticks() if 0 <= tick <= high])
    heights = sorted((s for s in drawn if s > 0), reverse=True)
    is_log = len(heights) > 1 and heights[0] > DWARFED * heights[1]
    if is_log:
        axes.set_yscale("log")
        axes.set_ylim(max(heights[-1] / 2, 1e-7), heights[0] * 3)
    else:
        axes.set_ylim(0, heights[0] * 1.1)
    axes.yaxis.set_major_formatter(_percent)
    axes.set_xlabel("entropy of the next token, bits")
    axes.set_title(f"Share of {kind}, {weighting}{' (log scale)' * is_log}", fontsize=10.5, loc="left")
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="#e3e3e3", lw=0.6)
    axes.set_axisbelow(True)


def _widths(edges: Sequence[float]) -> list[float]:
    return [b - a for a, b in itertools.pairwise(edges)]


def _percent(value: float, _: Any) -> str:
    return f"{100 * value:.4g}%"


def _mark(axes: Axes, marks: Sequence[tuple[str, float, str]]) -> None:
    for name, value, colour in marks:
        axes.axvline(value, color=colour, lw=1.6, ls="--" if name == "median" else "-", label=f"{name} {value:.3f}")
    axes.legend(loc="upper right", frameon=True, framealpha=1, edgecolor="none")


def _table(axes: Axes, contexts: Sequence[Mapping[str, Any]], heading_text: str, rows: int) -> None:
    from matplotlib.font_manager import FontProperties

    axes.set_axis_off()
    axes.set_xlim(0, 1)
    axes.set_ylim(rows + 1.1, -1.5)
    mono = FontProperties(fname=str(_font_file()), size=8.5)
    axes.text(0, -0.9, heading_text, fontsize=10.5)
    columns = (
        (0, "context", "left"),
        (0.71, "count", "right"),
        (0.885, "distinct next", "right"),
        (1, "bits", "right"),
    )
    for x, heading, side in columns:
        axes.text(x, 0, heading, ha=side, fontsize=8.5, color="#555555")
    axes.plot([0, 1], [0.3, 0.3], color="#999999", lw=0.7)
    room = ROW_CHARS - 2 - max((len(f"{context['count']:,}") for context in contexts), default=0)
    for row, context in enumerate(contexts, 1):
        cells = (
            named(context, room),
            f"{context['count']:,}",
            f"{context['distinct_next']:,}",
            f"{context['entropy_bits']:.3f}",
        )
        for (x, _, side), cell in zip(columns, cells, strict=True):
            # A context may hold dollar signs: no mathematics.
            axes.text(x, row, cell, ha=side, fontproperties=mono, parse_math=False)


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
