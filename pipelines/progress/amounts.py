"""Counts, sizes and durations in words, for messages."""

from __future__ import annotations


def counted(n: int, noun: str) -> str:
    """Example  2_000, "row" -> "2,000 rows" """
    return f"{n:,} {noun}{'s' * (n != 1)}"


def size(n_bytes: float) -> str:
    """Bytes in the unit that leaves one to three digits before the point."""
    for unit, value in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if n_bytes >= value:
            return f"{n_bytes / value:,.1f} {unit}"
    return f"{n_bytes:,.0f} bytes"


def times(number: float) -> str:
    """How often, with two decimals, or two digits where that would be 0.0.

    Example  1.5 -> "1.50";  0.00123 -> "0.0012"
    """
    return f"{number:.2f}" if number >= 0.095 or number == 0 else f"{number:.2g}"


def duration(seconds: float) -> str:
    """Seconds below two minutes, with a decimal below ten; else minutes, hours and minutes, or days and hours.

    Example  8_100 -> "2 h 15 min"
    """
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    if seconds < 119.5:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours < 48 else f"{hours // 24} days {hours % 24} h"
