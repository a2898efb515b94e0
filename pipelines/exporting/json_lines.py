"""One JSON object a document: the input's own fields, then the tags."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from typing import Any

import orjson

from tagcorpus.pipelines.exporting.documents import Document, TaggedFiles, own_names
from tagcorpus.pipelines.inputs.values import BadValue


def json_lines(tagged: TaggedFiles) -> Iterator[bytes]:
    """A line for each document, in the order of the input."""
    for planned in tagged.files:
        for k in range(len(planned.chunks)):
            for document in tagged.documents(planned, k):
                yield line_of(document)


def line_of(document: Document) -> bytes:
    """The document's line. The bytes of an input line stay as they are, and the tags follow them."""
    added = dict(document.tags)
    if document.has_own_text:
        added |= {"sub": document.sub, "text": document.text}
    body = document.line.strip()
    if body.endswith(b"}") and not any(name in document.record for name in added):
        comma = b", " if document.record else b""
        return body[:-1].rstrip() + comma + dumped(added)[1:] + b"\n"
    return dumped(own_names(document.record, added) | added) + b"\n"


def dumped(value: dict[str, Any]) -> bytes:
    """The object as JSON. Numbers that are not finite are null."""
    try:
        return orjson.dumps(value)
    except TypeError:  # integers beyond 64 bits, bytes, lone surrogates
        return json.dumps(_finite(value), default=_as_text).encode()


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {str(k): _finite(v) for k, v in value.items()}
    return [_finite(v) for v in value] if isinstance(value, list | tuple) else value


def _as_text(value: Any) -> Any:
    if isinstance(value, BadValue):
        return None
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
