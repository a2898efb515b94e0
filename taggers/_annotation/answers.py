"""The JSON object in an answer of a model, judged by the properties of a schema."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

from tagcorpus.taggers._annotation.properties import Flaw, Property
from tagcorpus.taggers._llm.reply import spoken

_FENCE = re.compile(r"^```\w*\s*|\s*```$")
MOST_OBJECTS = 50
"""Beginnings of objects that are looked at in one answer."""


def values_in(answer: str, properties: Sequence[Property]) -> dict[str, Any]:
    """The value of each property. Raises Flaw where the answer does not have exactly one object that fits the schema.

    Text around the object is allowed, and so are further keys. A key that appears twice, or two objects with different values, are not.

    Example  'Here you are: {"score": 3}' -> {"score": 3}
    """
    objects = _objects(spoken(answer))
    if not objects:
        raise Flaw("no JSON object")
    fitting: list[dict[str, Any]] = []
    flaw: Flaw | None = None
    for each in objects:
        try:
            values = _values(each, properties)
        except Flaw as error:
            flaw = flaw or error
        else:
            fitting += [values] if values not in fitting else []
    if len(fitting) > 1:
        raise Flaw("several JSON objects with different values")
    if not fitting:
        raise flaw or Flaw("no JSON object")
    return fitting[0]


def is_bare(answer: str) -> bool:
    """Whether the answer is one JSON object and nothing else, fences apart."""
    text = _FENCE.sub("", spoken(answer)).strip()
    try:
        return isinstance(json.loads(text), dict)
    except (ValueError, RecursionError):
        return False


def _values(given: dict[str, Any], properties: Sequence[Property]) -> dict[str, Any]:
    missing = [p.name for p in properties if p.name not in given and not p.is_optional]
    if missing:
        raise Flaw(f"{', '.join(missing)} {'is' if len(missing) == 1 else 'are'} missing")
    return {p.name: p.value(given.get(p.name)) for p in properties}


def _objects(text: str) -> list[dict[str, Any]]:
    """The outermost JSON objects in a text."""
    decoder = json.JSONDecoder(object_pairs_hook=_without_repeats)
    objects, at = [], 0
    for _ in range(MOST_OBJECTS):
        at = text.find("{", at)
        if at < 0:
            break
        try:
            value, at = decoder.raw_decode(text, at)
        except RecursionError:
            break
        except ValueError:
            at += 1
            continue
        objects.append(value)
    return objects


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for key, value in pairs:
        if key in values and values[key] != value:
            raise Flaw(f"{key} has two values")
        values[key] = value
    return values
