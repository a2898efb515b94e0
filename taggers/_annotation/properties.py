"""One property of a document: its type, the values that it may have, its column, and its value of several windows."""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

Kind = Literal["enum", "ordinal", "number", "boolean", "text", "enums"]
KINDS: tuple[Kind, ...] = ("enum", "ordinal", "number", "boolean", "text", "enums")
MAX_TEXT_CHARS = 300
"""Characters of a short text, unless the schema says otherwise."""


def _majority(values: Sequence[Any]) -> Any:
    """The commonest value; of several, that of the earliest window."""
    return Counter(values).most_common(1)[0][0]


def _union(values: Sequence[Sequence[str]]) -> list[str]:
    return list(dict.fromkeys(value for each in values for value in each))


RULES: Mapping[str, Callable[[Sequence[Any]], Any]] = {
    "majority": _majority,
    "median": statistics.median_low,
    "mean": lambda values: math.fsum(values) / len(values),
    "min": min,
    "max": max,
    "any": any,
    "all": all,
    "union": _union,
    "first": lambda values: values[0],
}
"""How the values of several windows become one. The median of an even number of values is the lower one in the middle."""
RULES_OF: Mapping[Kind, tuple[str, ...]] = {
    "enum": ("majority", "first"),
    "ordinal": ("median", "mean", "min", "max", "majority", "first"),
    "number": ("mean", "median", "min", "max", "first"),
    "boolean": ("majority", "any", "all", "first"),
    "text": ("first",),
    "enums": ("union", "first"),
}
"""The rules of each type; the first one is the default."""


class Flaw(Exception):
    """An answer misses the schema."""


@dataclass(frozen=True)
class Property:
    """One property.

    choices      of `enum` and `enums`: each with its meaning, which may be empty
    least, most  bounds of `ordinal` and `number`; None without one
    meanings     of `ordinal`: what a value means
    max_chars    of `text`
    max_items    of `enums`; None without a limit
    is_optional  null is an answer
    """

    name: str
    kind: Kind
    description: str = ""
    choices: Mapping[str, str] = field(default_factory=dict)
    least: float | None = None
    most: float | None = None
    meanings: Mapping[int, str] = field(default_factory=dict)
    max_chars: int = MAX_TEXT_CHARS
    max_items: int | None = None
    is_optional: bool = False
    is_integer: bool = False
    rule: str = ""

    def value(self, given: Any) -> Any:
        """The value of an answer. Raises Flaw where the property cannot have it."""
        if given is None:
            if self.is_optional:
                return None
            raise self._flaw(given)
        value = getattr(self, f"_{self.kind}")(given)
        if value is None:
            raise self._flaw(given)
        return value

    def merged(self, values: Sequence[Any]) -> Any:
        """The value of a document from those of its windows; windows without a value do not count."""
        there = [value for value in values if value is not None]
        if not there:
            return None
        return RULES[self.rule or RULES_OF[self.kind][0]](there)

    def described(self) -> str:
        """The property in words, for the prompt."""
        lines = [f"- {self.name}: {' '.join(self.description.split())}".rstrip(" ")]
        if self.kind in ("enum", "enums"):
            many = f", at most {self.max_items}" if self.max_items is not None else ""
            lines[0] += f" ({f'a list of any of these{many}' if self.kind == 'enums' else 'exactly one of these'})"
            lines += [f"    {name}{f': {meaning}' if meaning else ''}" for name, meaning in self.choices.items()]
        elif self.kind in ("ordinal", "number"):
            noun = "a whole number" if self.kind == "ordinal" or self.is_integer else "a number"
            bounds = [
                f"{word} {bound:g}" for word, bound in (("from", self.least), ("to", self.most)) if bound is not None
            ]
            lines[0] += f" ({' '.join([noun, *bounds])})"
            lines += [f"    {value}: {meaning}" for value, meaning in self.meanings.items()]
        else:
            lines[0] += (
                " (true or false)" if self.kind == "boolean" else f" (text, at most {self.max_chars} characters)"
            )
        if self.is_optional:
            lines[0] += " (null where it does not apply)"
        return "\n".join(lines)

    def json_schema(self) -> dict[str, Any]:
        """The property as JSON Schema, with the keywords only that servers of constrained answers know."""
        strings = {"type": "string", "enum": list(self.choices)}
        if self.kind == "enums":
            return self._nullable({"type": "array", "items": strings})
        if self.kind == "enum":
            return {**self._nullable(strings), "enum": [*self.choices, *([None] if self.is_optional else [])]}
        if self.kind == "ordinal":
            values = [*range(int(self.least or 0), int(self.most or 0) + 1), *([None] if self.is_optional else [])]
            return {**self._nullable({"type": "integer"}), "enum": values}
        names = {"boolean": "boolean", "text": "string", "number": "integer" if self.is_integer else "number"}
        return self._nullable({"type": names[self.kind]})

    def _nullable(self, schema: dict[str, Any]) -> dict[str, Any]:
        return {**schema, "type": [schema["type"], "null"]} if self.is_optional else schema

    def _flaw(self, given: Any) -> Flaw:
        return Flaw(f"{self.name} cannot be {given!r:.100}")

    def _enum(self, given: Any) -> str | None:
        if not isinstance(given, str):
            return None
        if given in self.choices:
            return given
        same = [choice for choice in self.choices if choice.casefold() == given.strip().casefold()]
        return same[0] if len(same) == 1 else None

    def _enums(self, given: Any) -> list[str] | None:
        if not isinstance(given, list):
            return None
        values = [self._enum(each) for each in given]
        if None in values or (self.max_items is not None and len(set(values)) > self.max_items):
            return None
        return _union([[value for value in values if value is not None]])

    def _ordinal(self, given: Any) -> int | None:
        number = self._number(given)
        return int(number) if number is not None and number == int(number) else None

    def _number(self, given: Any) -> float | None:
        if isinstance(given, bool) or not isinstance(given, int | float) or not -1e15 < given < 1e15:
            return None
        if (self.least is not None and given < self.least) or (self.most is not None and given > self.most):
            return None
        return None if self.is_integer and given != int(given) else given + 0  # 0, never -0

    def _boolean(self, given: Any) -> bool | None:
        return given if isinstance(given, bool) else None

    def _text(self, given: Any) -> str | None:
        return given if isinstance(given, str) and len(given) <= self.max_chars else None
