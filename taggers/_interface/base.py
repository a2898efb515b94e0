"""What every tagger shares: field descriptions, and a pickle that carries parameters but never models."""

from __future__ import annotations

import dataclasses
from typing import Any

import pyarrow as pa

PAPER = '"Not-Just-Scaling Laws" (arXiv 2503.03862)'
OURS = "tagcorpus"


LATER = {"parts": "those of earlier versions do not have it, and its values are missing there"}


def column(
    name: str, type_: pa.DataType, meaning: str, unit: str, source: str = "", is_later: bool = False
) -> pa.Field:
    """An output column. Its meaning, its unit and the source of its definition travel with it into every Parquet file.

    is_later  the tagger's version is the same without it: parts that do not have it are not computed again
    """
    told = {"meaning": meaning, "unit": unit}
    return pa.field(name, type_, metadata=told | ({"source": source} if source else {}) | (LATER if is_later else {}))


def columns_from(source: str, *columns: pa.Field) -> pa.Schema:
    """A tagger's columns; where one does not name its own source, `source` is it."""
    told = {b"source": source.encode()}
    return pa.schema([c.with_metadata({**told, **c.metadata}) for c in columns])


class Parameters:
    """Mixin for a frozen dataclass whose fields are a tagger's parameters.

    Models belong into a `functools.cached_property`: they are left out of the pickle and loaded once per worker.
    """

    def __getstate__(self) -> dict[str, Any]:
        return {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}  # type: ignore[arg-type]

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)

    def fingerprint(self) -> dict[str, Any]:
        """What decides the output, as JSON values. Override where a field names a file (its digest decides, not its
        path) or cannot change the output (an engine choice, a time-out)."""
        return self.__getstate__()
