"""Tables and wrapped lines for a terminal of WIDTH columns."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

WIDTH = 80


def text_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns two spaces apart: the first one to the left, the others to the right."""
    every = [head, *rows]
    widths = [max(len(row[i]) for row in every) for i in range(len(head))]
    lines = []
    for row in every:
        cells = [row[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(row[1:], widths[1:], strict=True))]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def wrapped(line: str, indent: str = "  ") -> str:
    return textwrap.fill(line, WIDTH, initial_indent=indent, subsequent_indent=indent + "  ", break_on_hyphens=False)


def shortened(name: str, width: int) -> str:
    """A name in quotes where it is blank, and its end alone where it is longer than the width."""
    if not name.strip():
        return repr(name)
    return name if len(name) <= width else "..." + name[3 - width :]


def percent(share: float) -> str:
    """Example  0.0934 -> 9.34 %, 0.934 -> 93.4 %"""
    return f"{100 * share:.3g} %" if share < 0.1 else f"{100 * share:.1f} %"
