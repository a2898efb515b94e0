"""JSON Schema as a schema of ours. What it says beyond types, choices and bounds is refused, and not ignored."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tagcorpus.taggers._asking.file_checks import Wrong, mapping_of

_TOP = ("$schema", "$id", "title", "description", "type", "properties", "required", "additionalProperties")
_OF_ANY = ("type", "title", "description", "enum", "const", "default")
_OF_TYPE = {
    "string": ("maxLength", "minLength"),
    "integer": ("minimum", "maximum"),
    "number": ("minimum", "maximum"),
    "boolean": (),
    "array": ("items", "uniqueItems", "maxItems"),
}
MOST_ORDINAL_VALUES = 21
"""An integer between bounds that are closer than this is ordinal."""


def is_json_schema(data: Any) -> bool:
    return isinstance(data, dict) and (data.get("type") == "object" or "$schema" in data)


def translated(data: Mapping[str, Any]) -> dict[str, Any]:
    """The same schema in our form. Raises Wrong where ours has no such thing."""
    mapping_of(data, "(top level)", _TOP)
    given = data.get("properties")
    if not isinstance(given, dict):
        raise Wrong("properties", f"must map names to JSON Schemas, got {given!r}")
    required = data.get("required", [])
    properties = {name: _property(name, value, name in required) for name, value in given.items()}
    names = {"name": "_".join(str(data["title"]).lower().split())} if data.get("title") else {}
    instructions = {"instructions": data["description"]} if data.get("description") else {}
    return {**names, **instructions, "properties": properties}


def _property(name: Any, given: Any, is_required: bool) -> dict[str, Any]:
    path = f"properties.{name}"
    if not isinstance(given, dict):
        raise Wrong(path, f"must be a JSON Schema, got {given!r}")
    types = given.get("type", "string" if "enum" in given else None)
    types = types if isinstance(types, list) else [types]
    plain = [t for t in types if t != "null"]
    if len(plain) != 1 or plain[0] not in _OF_TYPE:
        raise Wrong(
            f"{path}.type", f"must be one of {', '.join(_OF_TYPE)}, perhaps with null, got {given.get('type')!r}"
        )
    (kind,) = plain
    mapping_of(given, path, (*_OF_ANY, *_OF_TYPE[kind]))
    value: dict[str, Any] = {"description": given.get("description") or given.get("title") or ""}
    if not is_required or "null" in types:
        value["optional"] = True
    choices = [c for c in given.get("enum", []) if c is not None]
    least, most = given.get("minimum"), given.get("maximum")
    if kind == "string":
        if choices:
            return {**value, "type": "enum", "choices": choices}
        return {**value, "type": "text", **({"max_chars": given["maxLength"]} if "maxLength" in given else {})}
    if kind == "boolean":
        return {**value, "type": "boolean"}
    if kind == "array":
        items = given.get("items")
        if not isinstance(items, dict) or not isinstance(items.get("enum"), list):
            raise Wrong(f"{path}.items", f"must be strings with an enum of choices, got {items!r}")
        limit = {"max_items": given["maxItems"]} if "maxItems" in given else {}
        return {**value, "type": "enums", "choices": items["enum"], **limit}
    if choices:
        if not all(isinstance(c, int) for c in choices) or sorted(choices) != [*range(min(choices), max(choices) + 1)]:
            raise Wrong(f"{path}.enum", f"must be whole numbers without a gap, or texts, got {choices!r}")
        least, most = min(choices), max(choices)
    for key, bound in (("minimum", least), ("maximum", most)):
        if bound is not None and (isinstance(bound, bool) or not isinstance(bound, int | float)):
            raise Wrong(f"{path}.{key}", f"must be a number, got {bound!r}")
    bounds: dict[str, Any] = {key: bound for key, bound in (("least", least), ("most", most)) if bound is not None}
    if kind == "integer" and len(bounds) == 2 and bounds["most"] - bounds["least"] < MOST_ORDINAL_VALUES:
        return {**value, "type": "ordinal", **bounds}
    return {**value, "type": "number", **bounds, **({"integer": True} if kind == "integer" else {})}
