"""The base of every tagger: field descriptions, and a pickle that carries parameters but never models."""

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

    is_later  parts without the column stay current: the tagger's version did not change with it
    """
    metadata = {"meaning": meaning, "unit": unit}
    if source:
        metadata["source"] = source
    return pa.field(name, type_, metadata=metadata | (LATER if is_later else {}))


def columns_from(source: str, *columns: pa.Field) -> pa.Schema:
    """A tagger's columns. `source` is the source of each column that does not name its own."""
    shared = {b"source": source.encode()}
    return pa.schema([c.with_metadata({**shared, **c.metadata}) for c in columns])


class Parameters:
    """Mixin for a frozen dataclass whose fields are a tagger's parameters.

    Keep models in a `functools.cached_property`: the pickle leaves them out, and each worker loads them once.
    """

    def __getstate__(self) -> dict[str, Any]:
        return {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}  # type: ignore[arg-type]

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)

    def fingerprint(self) -> dict[str, Any]:
        """The JSON values that decide the output. Override where a field names a file, whose digest decides and not its path, or
        cannot change the output (an engine choice, a time-out)."""
        return self.__getstate__()
