"""Numbers and JSON of files that people made, read strictly.

Python's parsers take more: float() reads 1_000, inf and digits of other scripts, and json keeps the last of two values of a key.
"""

from __future__ import annotations

import json
import re
from typing import Any

LARGEST = 1e30
"""Of numbers in a table: predictors square them, and keep some in 32 bits."""
NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
TRUE, FALSE = frozenset(("true", "t", "1", "yes")), frozenset(("false", "f", "0", "no"))
"""Truth values as tables spell them, in lower case."""


def number(text: str) -> float | None:
    """The value of a cell; None if it is empty, or is not a decimal number of at most LARGEST. Spaces around it do not count."""
    text = text.strip()
    if not NUMBER.fullmatch(text):
        return None
    value = float(text)
    return value if abs(value) <= LARGEST else None


def parse_json(text: str) -> Any:
    """The value of a JSON text. Raises ValueError for other text, and for an object that has two values for a key."""
    return json.loads(text, object_pairs_hook=_with_one_value)


def _with_one_value(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        for key, value in pairs:
            if values[key] != value:
                raise ValueError(f"the key {key!r} has two values")
    return values
