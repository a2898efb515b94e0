"""The predictor's pictures as PNG and SVG, with equal bytes for equal numbers.

`drawn(make)` returns the bytes of both files of a matplotlib figure that a function of this module makes. The bytes do not
depend on the user's matplotlib settings, the time or the system's fonts. Points are percentage points. Where lower scores
are better the axis says so. Missing values are not drawn, and the title or label gives their number.
"""

from __future__ import annotations

import io
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tagcorpus.errors import ConfigError
from tagcorpus.predictor.explaining.correlations import Correlations
from tagcorpus.predictor.explaining.explain import Band, Contributions
from tagcorpus.predictor.explaining.findings import BALANCE, CodeShare, Positions
from tagcorpus.predictor.learners.data import PARAMS, TOKENS, Dataset
from tagcorpus.predictor.learners.evaluation import Evaluation
from tagcorpus.predictor.records.makers import group_word
from tagcorpus.requirements import how_to_install

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BLUE, RED, GREEN, GREY, ORANGE = "#2b6cb0", "#b5402f", "#2f7d4f", "#9aa5b1", "#c77d0a"
SHOWN = 12  # columns of a beeswarm
PANELS = 4  # of a dependence picture
WIDE = 40  # of a column's largest value over its least: beyond it the axis is logarithmic


def drawn(make: Callable[..., Figure], *arguments: Any) -> dict[str, bytes]:
    """{"png": ..., "svg": ...}. Raises ConfigError without matplotlib."""
    try:
        import matplotlib
    except ImportError:
        raise ConfigError(f"the pictures need matplotlib: {how_to_install('report', 'matplotlib')}") from None
    files = {}
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update({"font.size": 9, "axes.titlesize": 10, "axes.labelsize": 9})
        matplotlib.rcParams.update({"svg.hashsalt": "tagcorpus", "svg.fonttype": "path"})
        figure = make(*arguments)
        for form, metadata in (("png", {"Software": None}), ("svg", {"Date": None, "Creator": None})):
            sink = io.BytesIO()
            figure.savefig(sink, format=form, dpi=160, metadata=metadata, facecolor="white")
            files[form] = sink.getvalue()
    return files


def short(name: str) -> str:
    """A column's name for an axis."""
    text = name.removesuffix("_mean").replace("pretraining_summary_percentage_", "declared % ")
    text = {PARAMS: "parameters", TOKENS: "pretraining tokens"}.get(name, text)
    for old, new in (
        ("const_parse_", ""),
        ("dep_parse_", ""),
        ("domain_", "generated % "),
        ("positional_embeddings=", "positions = "),
    ):
        text = text.replace(old, new)
    return text.replace("_pct", "").replace("_std", " (sd)").replace("_", " ").replace("=", " = ").replace("  ", " ")


def ratios(summaries: Sequence[Mapping[str, Any]], predictor: str, against: str) -> Figure:
    """A task a row: the predictor's error over that of `against`, grouped and random folds. summaries: of grouped_summary."""
    from matplotlib.figure import Figure

    by = {t["folds"]: t for t in summaries if t["predictor"] == predictor and t["against"] == against}
    tasks = sorted(by["grouped"]["tasks"], key=lambda t: by["grouped"]["tasks"][t]["ratio"])
    figure = Figure((6.4, 1.3 + 0.3 * (len(tasks) + 2)), layout="constrained")
    axes = figure.add_subplot()
    rows = [*tasks, "geometric mean"] if len(tasks) > 1 else tasks  # the mean of one is that one
    places = {t: i + (0.6 if t == "geometric mean" else 0) for i, t in enumerate(rows)}
    for folds, colour, shift, mark in (("grouped", BLUE, -0.14, "o"), ("random", GREY, 0.14, "s")):
        summary = by[folds]
        values = {**summary["tasks"], "geometric mean": {**summary, "ratio": summary["geometric_mean"]}}
        for i, t in enumerate(rows):
            v = values[t]
            weight = 2.4 if t == "geometric mean" else 1.4
            if v["low"] is not None:
                ends = [v["low"], v["high"]]
                axes.plot(ends, [places[t] + shift] * 2, color=colour, lw=weight, solid_capstyle="round")
            label = f"{folds} folds" if i == 0 else None
            axes.plot(v["ratio"], places[t] + shift, mark, color=colour, ms=5.5 if weight > 2 else 4.5, label=label)
    axes.axvline(1, color="#444444", lw=0.9)
    if len(tasks) > 1:
        axes.axhline(len(tasks) - 0.2, color="#dddddd", lw=0.8)
    axes.set_yticks([places[t] for t in rows], rows)
    axes.set_ylim(max(places.values()) + 0.6, -0.6)
    axes.set_xlabel(f"error of {predictor!r} / error of {against!r} (below 1: better)")
    first = by["grouped"]
    bars = "no interval: too few" if first["low"] is None else "bars: 95 % over groups"
    axes.set_title(f"{first['models']} models of {first['organisations']} groups; {bars}", loc="left")
    axes.legend(loc="lower right", frameon=True, framealpha=1, edgecolor="none")
    _plain(axes, "x")
    return figure


def scatter(evaluated: Sequence[tuple[Dataset, Evaluation]]) -> Figure:
    """A task a panel: predicted score against true score. No fit has seen a model of the predicted organisation."""
    from matplotlib.figure import Figure

    columns = min(4, len(evaluated))
    rows = math.ceil(len(evaluated) / columns)
    is_narrow = columns < 3  # so that the legend has two lines
    figure = Figure((max(2.45 * columns, 4.2), 2.6 * rows + (1.2 if is_narrow else 0.3)), layout="constrained")
    for i, (data, e) in enumerate(evaluated):
        axes = figure.add_subplot(rows, columns, i + 1)
        y, predicted = 100 * data.y, 100 * e.predicted.mean(axis=0)
        largest = _largest(data)
        for organisation, colour in (*zip(largest, (BLUE, RED, GREEN), strict=False), (None, GREY)):
            own = np.array([o == organisation if organisation else o not in largest for o in data.organisations])
            label = (organisation or "others") if i == 0 else None
            axes.plot(y[own], predicted[own], "o", color=colour, ms=3.2, alpha=0.8, mew=0, label=label)
        low, high = float(min(y.min(), predicted.min())), float(max(y.max(), predicted.max()))
        pad = 0.04 * (high - low)
        axes.plot([low, high], [low, high], color="#444444", lw=0.8)
        axes.set_xlim(low - pad, high + pad)
        axes.set_ylim(low - pad, high + pad)
        better = ", lower is better" if data.task.is_lower_better else ""
        mae = float(np.abs(e.predicted - data.y).mean() * 100)
        axes.set_title(f"{data.task.name}{better}\nMAE {mae:.1f}, {len(data.ids)} models", fontsize=8.5, loc="left")
        _plain(axes, "both")
    figure.supxlabel("scored, points", fontsize=9)
    figure.supylabel(f"predicted by {evaluated[0][1].predictor!r}, group held out", fontsize=9)
    figure.legend(loc="outside upper right", ncols=2 if is_narrow else 4, frameon=False, fontsize=8.5)
    return figure


def _largest(data: Dataset) -> list[str]:
    """The three groups of most models."""
    counts = Counter(data.organisations)
    return sorted(counts, key=lambda o: (-counts[o], o))[:3]


def beeswarm(data: Dataset, contributions: Contributions) -> Figure:
    """The most important columns, a dot a model that has a value, by its contribution and coloured by the value's rank;
    right, how important a column is with its interval over organisations."""
    from matplotlib.colors import LinearSegmentedColormap
    from matplotlib.figure import Figure

    n = min(SHOWN, len(contributions.names))
    figure = Figure((9.2, 1.4 + 0.36 * n), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True, width_ratios=(2.6, 1))
    colours = LinearSegmentedColormap.from_list("ranks", [BLUE, "#c9c3d0", RED])
    for row in range(n):
        there = ~np.isnan(contributions.x[:, row])
        values, x = contributions.values[there, row], contributions.x[there, row]
        ranks = np.searchsorted(np.unique(x), x) / max(1, len(np.unique(x)) - 1)
        spots = left.scatter(
            values, row + _swarm(values), c=ranks, cmap=colours, vmin=0, vmax=1, s=11, lw=0, rasterized=False
        )
        mean, low, high = contributions.importance[row]
        right.barh(row, mean, color="#d5dbe3", height=0.62)
        right.plot([low, high], [row, row], color="#444444", lw=1.2)
    labels = []
    for i in range(n):
        missing = int(np.isnan(contributions.x[:, i]).sum())
        labels.append(short(contributions.names[i]) + (f"  ({missing} missing)" if missing else ""))
    left.set_yticks(range(n), labels)
    left.set_ylim(n - 0.4, -0.6)
    left.axvline(0, color="#888888", lw=0.8)
    lower = " (lower is better)" if data.task.is_lower_better else ""
    left.set_xlabel(f"contribution to the prediction{lower}, points")
    right.set_xlabel("mean |contribution| (95 %)")
    left.set_title(
        f"{data.task.name}: {len(data.ids)} models of {data.groups} {group_word(data.grouped_by)}, each held out",
        loc="left",
    )
    bar = figure.colorbar(spots, ax=right, ticks=[0, 1], aspect=26, pad=0.03)
    bar.ax.set_yticklabels(["low", "high"])
    bar.set_label("value of the column (rank)", labelpad=-10)
    bar.outline.set_visible(False)
    for axes in (left, right):
        _plain(axes, "x")
    return figure


def _swarm(values: np.ndarray[Any, Any]) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Vertical places that keep dots of nearly equal value apart: in bins, from the middle outwards."""
    out = np.zeros(len(values))
    if not len(values) or np.ptp(values) == 0:
        return out
    bins = np.floor((values - values.min()) / (np.ptp(values) / 60)).astype(int)
    for b in np.unique(bins):
        at = np.flatnonzero(bins == b)
        place = (np.arange(len(at)) + 1) // 2 * np.where(np.arange(len(at)) % 2, 1, -1)
        out[at] = place * min(0.075, 0.36 / max(1, len(at) / 2))
    return out


def dependence(data: Dataset, contributions: Contributions) -> Figure:
    """The most important numeric columns, value against contribution; models without a value are left out and counted."""
    from matplotlib.figure import Figure

    numeric = [i for i, name in enumerate(contributions.names) if "=" not in name][:PANELS]
    figure = Figure((2.6 * len(numeric), 2.9), layout="constrained")
    largest = _largest(data)
    for place, i in enumerate(numeric):
        axes = figure.add_subplot(1, len(numeric), place + 1)
        name = contributions.names[i]
        is_scale = name in (PARAMS, TOKENS)
        x = np.exp(contributions.x[:, i]) if is_scale else contributions.x[:, i]
        if name == TOKENS:
            x = x * 1e9
        there = ~np.isnan(x)
        for organisation, colour in (*zip(largest, (BLUE, RED, GREEN), strict=False), (None, GREY)):
            own = there & np.array(
                [o == organisation if organisation else o not in largest for o in data.organisations]
            )
            label = (organisation or "others") if place == 0 else None
            axes.plot(x[own], contributions.values[own, i], "o", color=colour, ms=3.6, alpha=0.85, mew=0, label=label)
        if is_scale or (there.any() and np.nanmin(x) > 0 and np.nanmax(x) > WIDE * np.nanmin(x)):
            axes.set_xscale("log")
        axes.axhline(0, color="#888888", lw=0.8)
        missing = int((~there).sum())
        axes.set_title(
            short(name) + (f"\n{missing} without a value, not drawn" if missing else "\n"), fontsize=8.5, loc="left"
        )
        _plain(axes, "both")
    figure.supylabel("contribution, points" + (" (lower is better)" if data.task.is_lower_better else ""), fontsize=9)
    figure.suptitle(
        f"{data.task.name}: {len(data.ids)} models, {data.groups} {group_word(data.grouped_by)}",
        x=0.01,
        ha="left",
        fontsize=10,
    )
    figure.legend(loc="outside upper right", ncols=4, frameon=False, fontsize=8.5)
    return figure


def partial(data: Dataset, predictor: str, bands: Sequence[Band]) -> Figure:
    """A column a panel: mean prediction above its left end, with the band of organisations drawn anew, and where models are."""
    from matplotlib.figure import Figure

    across = min(4, len(bands))
    down = math.ceil(len(bands) / across)
    figure = Figure((2.7 * across + 0.3, 2.5 * down + 0.4), layout="constrained")
    shared: Axes | None = None
    for place, b in enumerate(bands):
        axes = figure.add_subplot(down, across, place + 1, sharey=shared)
        shared = shared or axes
        is_scale = b.column in (PARAMS, TOKENS)
        unit = 1e9 if b.column == TOKENS else 1.0
        x = np.exp(b.at) * unit if is_scale else b.at
        axes.fill_between(x, b.low, b.high, color=BLUE, alpha=0.18, lw=0)
        axes.plot(x, b.curve, color=BLUE, lw=1.8)
        seen = data.frame[b.column].dropna().to_numpy(np.float64)
        seen = np.exp(seen) * unit if is_scale else seen
        axes.plot(
            seen, np.full(len(seen), 0.02), "|", color="#555555", ms=7, mew=0.6, transform=axes.get_xaxis_transform()
        )
        if is_scale:
            axes.set_xscale("log")
        margin = 0.03 * (b.at[-1] - b.at[0])
        ends = np.array([b.at[0] - margin, b.at[-1] + margin])
        axes.set_xlim(*(np.exp(ends) * unit if is_scale else ends))
        axes.axhline(0, color="#888888", lw=0.8)
        axes.set_xlabel(short(b.column))
        axes.tick_params(labelleft=place % across == 0)
        _plain(axes, "both")
    figure.supylabel(
        "points above the left end" + (" (lower is better)" if data.task.is_lower_better else ""), fontsize=9
    )
    title = f"{data.task.name}: partial dependence of {predictor!r}; bands: 95 % of {bands[0].draws} draws of {data.groups} {group_word(data.grouped_by)}"
    figure.suptitle(title, x=0.01, ha="left", fontsize=9.5)
    return figure


def code_share(
    groups: Mapping[str, Band],
    tasks: Sequence[CodeShare],
    declared: Mapping[float, tuple[int, int]],
    seen: tuple[int, int],
) -> Figure:
    """Left the paper's trade-off, language against code tasks, with bands; below it how many models declare which share;
    right every task alone. declared: share -> (models, organisations), seen: the same within the balance."""
    from matplotlib.figure import Figure

    figure = Figure((9.6, 4.6), layout="constrained")
    grid = figure.add_gridspec(2, 2, width_ratios=(1.25, 1), height_ratios=(4.2, 1))
    axes, below, right = figure.add_subplot(grid[0, 0]), figure.add_subplot(grid[1, 0]), figure.add_subplot(grid[:, 1])
    for (name, b), colour in zip(groups.items(), (BLUE, ORANGE), strict=False):
        axes.fill_between(b.at, b.low, b.high, color=colour, alpha=0.17, lw=0)
        axes.plot(b.at, b.curve, color=colour, lw=2, label=name)
    first = next(iter(groups.values()))
    for a in (axes, below):
        a.axvspan(*BALANCE, color="#e9e4c8", alpha=0.55, lw=0)
        a.set_xlim(first.at[0] - 1.5, first.at[-1] + 1.5)
    axes.axhline(0, color="#888888", lw=0.8)
    axes.set_ylabel("points above no code (up is better)")
    axes.set_title(
        f"Share of code in pretraining; bands: 95 % of {first.draws} draws of groups", loc="left", fontsize=9.5
    )
    axes.legend(loc="upper left", frameon=False)
    axes.tick_params(labelbottom=False)
    shares = [s for s in declared if s <= first.at[-1]]
    below.bar(shares, [declared[s][0] for s in shares], width=0.9, color=GREY)
    below.set_ylabel("models")
    beyond = sum(n for s, (n, _) in declared.items() if s > first.at[-1])
    below.set_xlabel("declared share of code, %" + (f"  ({beyond} models beyond the axis)" if beyond else ""))
    note = f"{BALANCE[0]:.0f} to {BALANCE[1]:.0f} %: {seen[0]} models of {seen[1]} groups"
    below.text(0.99, 0.93, note, transform=below.transAxes, ha="right", va="top", fontsize=8.5)
    at = int(np.argmin(np.abs(first.at - sum(BALANCE) / 2)))
    for row, t in enumerate(tasks):
        right.plot([t.band.low[at], t.band.high[at]], [row, row], color=BLUE, lw=1.5)
        right.plot(t.band.curve[at], row, "o", color=BLUE, ms=4.5)
    right.axvline(0, color="#888888", lw=0.8)
    right.set_yticks(range(len(tasks)), [t.task for t in tasks])
    right.set_ylim(len(tasks) - 0.4, -0.6)
    right.set_xlabel(f"{first.at[at]:.0f} % code above no code, points (up is better)")
    right.set_title("Every task alone", loc="left", fontsize=9.5)
    _plain(axes, "y")
    _plain(below, "y")
    _plain(right, "x")
    return figure


def positions(differences: Sequence[Positions]) -> Figure:
    """A task a row: points by which rotary positions score above learned ones."""
    from matplotlib.figure import Figure

    rows = sorted(differences, key=lambda p: -p.difference)
    figure = Figure((6.8, 1.7 + 0.28 * len(rows)), layout="constrained")
    axes = figure.add_subplot()
    for i, p in enumerate(rows):
        axes.plot([p.low, p.high], [i, i], color=GREEN, lw=1.6, solid_capstyle="round")
        axes.plot(p.difference, i, "o", color=GREEN, ms=5)
    axes.axvline(0, color="#444444", lw=0.9)
    axes.set_yticks(range(len(rows)), [p.task for p in rows])
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set_xlabel("rotary above learned positions at the same scale and share of code, points (up is better)")
    p = rows[0]
    makers = f"{p.learned[1]} group" + ("s" if p.learned[1] != 1 else "")
    title = (
        f"rotary: {p.rotary[0]} models of {p.rotary[1]} groups; learned: {p.learned[0]} models of {makers}\n"
        f"bars: 95 % of the {p.draws} of {p.drawn} draws of groups that have both"
    )
    axes.set_title(title, loc="left", fontsize=9)
    _plain(axes, "x")
    return figure


def correlation(correlations: Correlations, title: str) -> Figure:
    """A square a pair, its colour and number the rank correlation; empty where too few models have both."""
    from matplotlib.figure import Figure

    n = len(correlations.names)
    side = 2.6 + 0.36 * n
    figure = Figure((side + 0.6, side), layout="constrained")
    axes = figure.add_subplot()
    image = axes.imshow(correlations.values, cmap="RdBu", vmin=-1, vmax=1)
    labels = [short(name) for name in correlations.names]
    axes.set_xticks(range(n), labels, rotation=90)
    axes.set_yticks(range(n), labels)
    for i in range(n):
        for j in range(n):
            value = float(correlations.values[i, j])
            if i != j and math.isfinite(value):
                colour = "white" if abs(value) > 0.6 else "#333333"
                axes.text(j, i, f"{100 * value:.0f}", ha="center", va="center", fontsize=6, color=colour)
    counts = correlations.models[~np.eye(n, dtype=bool)]
    models = f"{counts.min()} to {counts.max()} models a pair" if len(counts) else "one column"
    axes.set_title(f"{title}; {models}", loc="left")
    figure.colorbar(image, ax=axes, shrink=0.6).set_label("Spearman's rho (numbers: times 100)")
    return figure


def _plain(axes: Axes, grid: str) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis=grid, color="#e8e8e8", lw=0.6)  # type: ignore[arg-type]
    axes.set_axisbelow(True)
