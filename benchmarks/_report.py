"""The table, in plain text and Markdown, and the picture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

Result = dict[str, Any]


def _cells(r: Result) -> list[str]:
    goal = "" if r["goal"] is None else f"{'<=' if r['goal_is'] == 'at most' else '>='} {r['goal']:g}"
    spread = " to ".join(f"{v:.3g}" for v in r["range"])
    load = " to ".join(f"{v:.1f}" for v in r.get("load", []))
    verdict = {None: "", True: "yes", False: "no"}[r["reached"]]
    return [r["row"], r["what"], f"{r['ratio']:.3g}", spread, goal, verdict, str(r["rounds"]), load]


HEAD = ["row", "what", "median", "rounds' range", "goal", "reached", "rounds", "load"]


def table(results: list[Result]) -> str:
    rows = [HEAD, *map(_cells, results)]
    widths = [max(len(row[k]) for row in rows) for k in range(len(HEAD))]
    return "\n".join("  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip() for row in rows)


def markdown(results: list[Result], about: dict[str, Any]) -> str:
    lines = [f"- {key}: {value}" for key, value in about.items()]
    rows = [HEAD, ["---"] * len(HEAD), *map(_cells, results)]
    return "\n".join([*lines, "", *("| " + " | ".join(row) + " |" for row in rows)]) + "\n"


def picture(results: list[Result], path: Path) -> bool:
    """Bars of what was reached as a share of its goal (1 = the goal, longer is better). False without matplotlib."""
    try:
        import matplotlib as mpl
    except ImportError:
        return False
    mpl.use("Agg")
    from matplotlib import pyplot as plt

    rows = [r for r in results if r["goal"] is not None and r["rounds"]]
    if not rows:
        return False
    share = [(r["goal"] / r["ratio"] if r["goal_is"] == "at most" else r["ratio"] / r["goal"]) for r in rows]
    figure, axes = plt.subplots(figsize=(10, 0.34 * len(rows) + 1.2))
    colours = ["#4477aa" if r["reached"] else "#cc6677" for r in rows]
    names = [f"{r['row']}. {r['what']}" for r in rows]
    bars = axes.barh(range(len(rows)), share, color=colours)
    axes.bar_label(bars, [f" {r['ratio']:.3g} (goal {_cells(r)[4]})" for r in rows], fontsize=7)
    axes.set_yticks(range(len(rows)), names, fontsize=7)
    axes.invert_yaxis()
    axes.axvline(1, color="black", linewidth=1)
    axes.set_xscale("log")
    axes.margins(x=0.25)
    axes.set_xlabel("share of the goal (log scale): right of the line is better than asked")
    figure.tight_layout()
    figure.savefig(path, dpi=130)
    plt.close(figure)
    return True
