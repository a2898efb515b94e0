"""Checks of a file that says how an endpoint is asked, a stage tree or a schema: each error has the place in the file."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Mapping
from typing import Any

from tagcorpus.taggers._llm.request import RESERVED

OWN_HEADERS = (
    "host",
    "content-length",
    "content-type",
    "content-encoding",
    "transfer-encoding",
    "connection",
    "accept-encoding",
)


class Wrong(Exception):
    """Something in the tree: YAML path and what must hold."""

    def __init__(self, path: str, problem: str) -> None:
        super().__init__(f"{path}: {problem}")


def request_fields(given: Any) -> tuple[tuple[str, str], ...]:
    """Fields of the request, each with its value as JSON."""
    if not isinstance(given, dict):
        raise Wrong("request", f"must map fields of the request to values (null leaves a field out), got {given!r}")
    for name, value in given.items():
        if not isinstance(name, str) or not name:
            raise Wrong("request", f"must have names of fields as keys, got {name!r}")
        if name in RESERVED:
            raise Wrong(f"request.{name}", "cannot be set: it decides what is asked, or what a reply looks like")
        try:
            json.dumps(value, allow_nan=False)
        except (TypeError, ValueError):
            raise Wrong(f"request.{name}", f"must be a value that JSON has, got {value!r}") from None
    return tuple((name, json.dumps(value)) for name, value in given.items())


def header_variables(given: Any) -> tuple[tuple[str, str], ...]:
    """By a header's name, the environment variable with its value."""
    if not isinstance(given, dict):
        raise Wrong("headers", f"must map names of headers to names of environment variables, got {given!r}")
    for name, variable in given.items():
        if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+", name):
            raise Wrong("headers", f"must have names of HTTP headers as keys, got {name!r}")
        if name.lower() in OWN_HEADERS:
            raise Wrong(f"headers.{name}", "cannot be set: the client decides it")
        if not isinstance(variable, str) or not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", variable):
            shown = (
                "something else (which is not shown: it may be a secret)"
                if isinstance(variable, str)
                else repr(variable)
            )
            raise Wrong(
                f"headers.{name}", f"must be the name of an environment variable that has the value, got {shown}"
            )
    if len({name.lower() for name in given}) < len(given):
        raise Wrong("headers", "must name each header once; upper and lower case are equal")
    return tuple(given.items())


def mapping_of(value: Any, path: str, keys: tuple[str, ...]) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise Wrong(path, f"must be a mapping with the keys {', '.join(keys)}, got {value!r}")
    for key in value:
        if key not in keys:
            raise Wrong(path, f"unknown key {key!r}{near(str(key), keys)} (known: {', '.join(keys)})")
    return value


def text_of(mapping: Mapping[str, Any], key: str, path: str) -> str:
    value = mapping.get(key)
    if not isinstance(value, str) or not value.strip():
        raise Wrong(f"{path}{key}", f"must be text, got {value!r}")
    return value


def number_of(mapping: Mapping[str, Any], key: str, path: str, least: int, kind: type[int] | type[float]) -> float:
    value = mapping.get(key)
    allowed = (int,) if kind is int else (int, float)
    if isinstance(value, bool) or not isinstance(value, allowed) or not value >= least:
        noun = "a whole number" if kind is int else "a number"
        raise Wrong(f"{path}{key}", f"must be {noun} of at least {least}, got {value!r}")
    return value


def known_name(value: str, known: Any, path: str, kind: str) -> str:
    if value not in known:
        raise Wrong(path, f"no {kind} named {value!r}{near(value, known)} (known: {', '.join(sorted(known))})")
    return value


def near(value: str, known: Any) -> str:
    matches = difflib.get_close_matches(value, list(known), n=1, cutoff=0.5)
    return f"; did you mean {matches[0]!r}?" if matches else ""
