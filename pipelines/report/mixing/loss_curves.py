"""A picture of curves that needs no script: lines over steps in SVG, with their names and ends as text around them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tagcorpus.pipelines.report.sections.html import number, text

# Points of a curve; more steps are means over spans of equal length.
POINTS = 60
# Curves that can be told apart.
MOST = 6
WIDTH, HEIGHT = 600, 200
Curve = Sequence[tuple[float, float]]
"""(step, value), by step."""


def thinned(curve: Curve, points: int = POINTS) -> list[tuple[float, float]]:
    """At most so many points: means over consecutive spans of the curve."""
    n = min(points, len(curve))
    spans = [curve[len(curve) * i // n : len(curve) * (i + 1) // n] for i in range(n)]
    return [(sum(x for x, _ in s) / len(s), sum(y for _, y in s) / len(s)) for s in spans]


def picture(caption: str, curves: Mapping[str, Curve]) -> str:
    """The first MOST curves as lines on one scale. Empty for no points."""
    shown = {name: thinned(curve) for name, curve in list(curves.items())[:MOST] if curve}
    points = [point for curve in shown.values() for point in curve]
    if len(points) < 2:
        return ""
    steps = [curves[name][i][0] for name in shown for i in (0, -1)]
    left, right = min(steps), max(steps)
    low, high = min(y for _, y in points), max(y for _, y in points)

    def at(x: float, y: float) -> str:
        across, down = (x - left) / ((right - left) or 1), (high - y) / ((high - low) or 1)
        return f"{WIDTH * across:.1f} {4 + (HEIGHT - 8) * down:.1f}"

    lines = "".join(
        f'<path class="c{i}" d="M{"L".join(at(x, y) for x, y in curve)}"/>' for i, curve in enumerate(shown.values())
    )
    keys = "".join(f'<li class="c{i}">{text(name)}</li>' for i, name in enumerate(shown))
    more = f" The first {MOST} of {len(curves)} curves are drawn." if len(curves) > MOST else ""
    return (
        f'<figure class="curves"><ul>{keys}</ul><div class="ends"><span>{number(high)}</span></div>'
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" preserveAspectRatio="none" role="img" aria-label="{text(caption)}">{lines}</svg>'
        f'<div class="ends"><span>{number(low)}</span></div>'
        f'<div class="ends"><span>step {left:,.0f}</span><span>step {right:,.0f}</span></div>'
        f"<figcaption>{text(caption)}.{more}</figcaption></figure>"
    )
