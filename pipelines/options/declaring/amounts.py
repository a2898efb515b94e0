"""Amounts as people write them: 300000, 20M, 1.5B, 1e6 of tokens or documents; 800MB, 2GiB of memory or files."""

from __future__ import annotations

import re
from collections.abc import Mapping
from fractions import Fraction
from typing import Literal

from tagcorpus.errors import ConfigError

Unit = Literal["count", "bytes"]
_POWERS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}
UNITS: Mapping[Unit, Mapping[str, int]] = {
    "count": {"": 1, "k": 10**3, "m": 10**6, "b": 10**9, "g": 10**9, "t": 10**12},
    "bytes": {
        **_POWERS,
        **{f"{name}b": n for name, n in _POWERS.items()},
        **{f"{name}i{b}": 1024**i for i, name in enumerate("kmgt", 1) for b in ("", "b")},
    },
}
EXAMPLES: Mapping[Unit, str] = {
    "count": "a whole number such as 300000, 20M, 1.5B or 1e6",
    "bytes": "a size such as 800MB, 1GB or 2GiB",
}
SHOWN_CHARACTERS = 50
_PERCENTAGE = re.compile(r"([0-9]+(?:\.[0-9]+)?|\.[0-9]+)\s*%")
_FRACTION = re.compile(r"0?\.[0-9]+")
_AMOUNT = re.compile(r"([+-]?)((?:[0-9][0-9_]*(?:,[0-9]{3})*(?:\.[0-9]+)?|\.[0-9]+)(?:e\+?[0-9]{1,2})?)\s*([a-z]*)")


def amount(text: str, unit: Unit, where: str) -> int:
    """The number that a text means. K, M, B (or G) and T are powers of ten; so are kB, MB, GB and TB, and KiB to TiB are powers of
    1,024. Raises ConfigError for other texts, and for a count that is not whole.

    Example  "1.5M" -> 1_500_000
    """
    match = _AMOUNT.fullmatch(text.strip().lower())
    factor = UNITS[unit].get(match[3]) if match else None
    number = Fraction(match[2].replace("_", "").replace(",", "")) * factor if match and factor else None
    if number is None or (unit == "count" and number.denominator != 1):
        shown = repr(text) if len(text) <= SHOWN_CHARACTERS else f"{text[:SHOWN_CHARACTERS]!r}..."
        raise ConfigError(f"{where} takes {EXAMPLES[unit]}, got {shown}")
    return -int(number) if match and match[1] == "-" else int(number)


def share(text: str) -> float | None:
    """The share that a text means, above 0 and at most 1: a percentage, or a decimal fraction below 1. None for other texts:
    1 and 1.0 may be one document, or all.

    Example  "10%", "0.1", ".1" -> 0.1
    """
    text = text.strip()
    percentage = _PERCENTAGE.fullmatch(text)
    value = float(percentage[1]) / 100 if percentage else float(text) if _FRACTION.fullmatch(text) else 0.0
    return value if 0 < value <= 1 else None
