"""A finding of a check, in a feature table or in a store."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

Severity = Literal["error", "warning", "note"]
SEVERITIES: tuple[Severity, ...] = get_args(Severity)


@dataclass(frozen=True)
class Finding:
    """An error makes a predictor stop or learn something false; a warning needs a person's look; a note is a fact.

    count    number of cells, rows, columns, models or scores
    where    each of them, in the order of the file or the store (comparisons: the largest first)
    effect   the consequence for a predictor; "" without one
    """

    severity: Severity
    check: str
    message: str
    count: int = 1
    where: tuple[str, ...] = ()
    effect: str = ""

    def to_json(self) -> dict[str, Any]:
        return {"found" if name == "message" else name: value for name, value in asdict(self).items()}


def listed(severity: Severity, check: str, message: str, places: Iterable[str], effect: str = "") -> Iterator[Finding]:
    """The finding with these places; none without a place."""
    if where := tuple(places):
        yield Finding(severity, check, message, len(where), where, effect)
