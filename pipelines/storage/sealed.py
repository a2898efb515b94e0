"""JSON files that later runs rely on, with a checksum of their text as the last entry.

A file that was altered or cut short is then as good as none, even where what is left of it is still JSON. Files of versions
before the checksum have none: whoever reads one checks what it can of the content.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

import xxhash

CHECKSUM = "checksum"
_END = re.compile(rb',\n "checksum": "([0-9a-f]{32})"\n\}\n?\Z')


def sealed(value: Mapping[str, Any], *, allow_nan: bool = True, ensure_ascii: bool = True) -> bytes:
    """The object (with at least one entry) as JSON text that ends with its checksum."""
    text = json.dumps(value, indent=1, allow_nan=allow_nan, ensure_ascii=ensure_ascii)
    body = text[: -len("\n}")].encode()
    return body + b',\n "%s": "%s"\n}' % (CHECKSUM.encode(), xxhash.xxh3_128_hexdigest(body).encode())


def opened(data: bytes | None) -> dict[str, Any] | None:
    """The object of a file, without its checksum; None where there is none, or none that is whole."""
    try:
        value = json.loads(data or b"null")
    except (ValueError, RecursionError):
        return None
    if not isinstance(value, dict) or (CHECKSUM in value and not is_sealed(data)):
        return None
    value.pop(CHECKSUM, None)
    return value


def proven(data: bytes | None) -> dict[str, Any] | None:
    """The object of a file whose checksum proves it, without the checksum; None for any other file."""
    return opened(data) if is_sealed(data) else None


def is_sealed(data: bytes | None) -> bool:
    """Whether a file is proven by its checksum to be what was written."""
    end = _END.search(data or b"", max(len(data or b"") - 64, 0))
    return end is not None and xxhash.xxh3_128_hexdigest((data or b"")[: end.start()]).encode() == end[1]
