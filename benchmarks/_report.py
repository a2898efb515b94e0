"""The table of suite.py at 80 columns, the same in Markdown, and a picture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

Result = dict[str, Any]
HEAD = ("seconds of A / seconds of B", "per MB", "whole command", "results")


def ratio(values: list[float] | None) -> str:
    """Median, with the smallest and the largest round."""
    if not values:
        return ""
    return "{} ({} to {})".format(*(f"{v:.0f}" if v >= 10 else f"{v:.{1 if v < 0.1 else 2}g}" for v in values))


def agreement(difference: float | None) -> str:
    """Whether both sides computed the same total."""
    if difference is None:
        return ""
    return "equal" if difference < 1e-6 else f"{100 * difference:.1g} %"


def _cells(r: Result) -> tuple[str, ...]:
    return r["programs"], ratio(r["per_mb"]), ratio(r["whole"]), agreement(r["difference"])


def table(results: list[Result]) -> str:
    lines = [f"{HEAD[0]:<31}{HEAD[1]:<21}{HEAD[2]:<21}{HEAD[3]}"]
    title = ""
    for r in results:
        if r["row"] != title:
            title = r["row"]
            lines.append(f"{title} ({r['megabytes']} MB)")
        name, per_mb, whole, same = _cells(r)
        lines.append(f"  {name:<29}{per_mb:<21}{whole:<21}{same}".rstrip())
    return "\n".join(lines)


def markdown(results: list[Result], about: dict[str, str]) -> str:
    rows = [("work", *HEAD), ("---",) * 5, *((r["row"], *_cells(r)) for r in results)]
    conditions = [f"- {name}: {value}" for name, value in about.items()]
    return "\n".join([*conditions, "", *("| " + " | ".join(row) + " |" for row in rows)]) + "\n"


def picture(results: list[Result], path: Path) -> bool:
    """Bars of the ratios on a logarithmic scale, with the range of the rounds. False without matplotlib."""
    try:
        import matplotlib as mpl
    except ImportError:
        return False
    mpl.use("Agg")
    from matplotlib import pyplot as plt

    shown = [(r, r["per_mb"] or r["whole"]) for r in results if r["per_mb"] or r["whole"]]
    figure, axes = plt.subplots(figsize=(9, 0.36 * len(shown) + 1.4))
    for place, (_, (middle, low, high)) in enumerate(shown):
        axes.barh(place, middle - 1, left=1, color="#4477aa" if middle >= 1 else "#cc6677")
        axes.plot([low, high], [place, place], color="black", linewidth=1)
        axes.annotate(
            f"{middle:.2g}", (max(high, 1), place), (4, 0), textcoords="offset points", va="center", fontsize=8
        )
    axes.set_yticks(range(len(shown)), [f"{r['row']}: {r['programs']}" for r, _ in shown], fontsize=8)
    axes.invert_yaxis()
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter("{x:g}")
    axes.axvline(1, color="black", linewidth=0.8)
    axes.margins(x=0.12)
    axes.set_xlabel(
        "seconds of the other program, divided by those of tagcorpus\n(per MB; start-up and ready ids: whole)"
    )
    figure.tight_layout()
    figure.savefig(path, dpi=130)
    plt.close(figure)
    return True
