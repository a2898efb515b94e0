"""Text in lines of a given width, and the width of a terminal. Words stay whole, so that a path can be copied."""

from __future__ import annotations

import os
import sys
import textwrap
from collections import Counter
from collections.abc import Sequence
from typing import TextIO

NARROWEST = 20


def wrapped(text: str, width: int, first: str = "", rest: str | None = None) -> list[str]:
    """Lines of at most `width` characters; `first` begins the first line, `rest` (default: as many spaces) the others.

    Text that has less than NARROWEST characters beside `rest` is not wrapped.
    """
    rest = " " * len(first) if rest is None else rest
    if width < len(rest) + NARROWEST or not text.strip():
        return [first + text]
    return textwrap.wrap(
        text, width, initial_indent=first, subsequent_indent=rest, break_long_words=False, break_on_hyphens=False
    )


def fitted(text: str, width: int) -> str:
    """The lines of a text, each wrapped with its own margin, and two spaces more from its second line on."""
    lines: list[str] = []
    for line in text.split("\n"):
        margin = line[: len(line) - len(line.lstrip())]
        lines += wrapped(line.lstrip(), width, margin, margin + "  ")
    return "\n".join(lines)


def shortened(names: Sequence[str], width: int) -> list[str]:
    """Names of at most `width` characters, at least 8, that differ where the names do. Long names lose their middle; where that leaves two
    equal names, they end in numbers.

    Example  (["web", "web_and_books_and_code"], 10) -> ["web", "web_an…ode"]
    """
    short = {name: _without_middle(name, width) for name in names}
    taken = Counter(short.values())
    numbers: Counter[str] = Counter()
    for name, cut in short.items():
        if taken[cut] > 1 and name != cut:
            numbers[cut] += 1
            end = f"~{numbers[cut]}"
            while (numbered := _without_middle(name, width - len(end)) + end) in taken:
                numbers[cut] += 1
                end = f"~{numbers[cut]}"
            short[name] = numbered
            taken[numbered] += 1
    return [short[name] for name in names]


def _without_middle(name: str, width: int) -> str:
    if len(name) <= width:
        return name
    end = (width - 1) // 3
    return f"{name[: width - 1 - end]}…{name[len(name) - end :]}"


def width_at_most(natural: int) -> int:
    """Columns of text for standard output: those of the terminal, and `natural` if that is wider or not a terminal."""
    return min(terminal_width(sys.stdout) or natural, natural)


def terminal_width(stream: TextIO | None) -> int | None:
    """The columns of the terminal that the stream is; None if it is no terminal, 0 if the terminal does not say."""
    try:
        if stream is None or not stream.isatty():
            return None
        return os.get_terminal_size(stream.fileno()).columns
    except (OSError, ValueError):
        return 0
