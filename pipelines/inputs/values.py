"""From Arrow columns to the Python values of their rows.

Values without a Python type (a date of the year 15659, an unknown time zone, nanoseconds) become text if Arrow can write
them. Any other value that fails becomes a BadValue. It costs its row if a document needs the value.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

# Errors that as_py raises for one value; errors of our own code are of other classes.
_FAILURES = (pa.ArrowException, ValueError, OverflowError, LookupError, OSError, TypeError)


@dataclass(frozen=True)
class BadValue:
    """A placeholder for a value that cannot be read; `reason` is one of records.REASONS."""

    reason: str


def rows(batch: pa.RecordBatch) -> Iterator[dict[str, Any]]:
    """Each row as a mapping of column names to values."""
    if not batch.num_columns:
        return ({} for _ in range(batch.num_rows))
    names = batch.schema.names
    return (dict(zip(names, row, strict=True)) for row in zip(*(values(c) for c in batch.columns), strict=True))


def values(column: pa.Array) -> list[Any]:
    """The values of a column; times are text, since Python has none with nanoseconds."""
    try:
        if pa.types.is_temporal(column.type):
            return list(_written(column).to_pylist())
        if not _has_nanoseconds(column.type):
            return list(column.to_pylist())
    except _FAILURES:
        pass
    return [_value(scalar) for scalar in column]


def _value(scalar: pa.Scalar) -> Any:
    type_ = scalar.type
    if not scalar.is_valid:
        return None
    try:
        if isinstance(type_, pa.BaseExtensionType):
            return scalar.as_py()
        if pa.types.is_struct(type_):
            return {field.name: _value(scalar[i]) for i, field in enumerate(type_)}
        if pa.types.is_map(type_):
            return [(_value(entry["key"]), _value(entry["value"])) for entry in scalar.values]
        if is_list(type_):
            return [_value(item) for item in scalar.values]
        if pa.types.is_dictionary(type_):
            return _value(scalar.value)
        if pa.types.is_temporal(type_):
            return _written(pa.array([scalar], type_))[0].as_py()
        return scalar.as_py()
    except UnicodeDecodeError:
        return BadValue("not_utf8")
    except _FAILURES:
        return BadValue("bad_value")


def _written(column: pa.Array) -> pa.Array:
    """Times as text; a duration as its number."""
    type_ = column.type
    if pa.types.is_duration(type_):
        return column.cast(pa.int64())
    if pa.types.is_interval(type_):
        return pa.array([None if v is None else str(tuple(v)) for v in column.to_pylist()], pa.string())
    try:
        return column.cast(pa.string())
    except pa.ArrowInvalid:
        if not pa.types.is_timestamp(type_) or type_.tz is None:
            raise
        # The stored time of an unknown zone is in UTC.
        return column.cast(pa.timestamp(type_.unit, "UTC")).cast(pa.string())


def _has_nanoseconds(type_: pa.DataType) -> bool:
    """Whether a nested type holds times for which as_py needs pandas."""
    return pa.types.is_nested(type_) and bool(re.search(r"(timestamp|time64|duration)\[ns", str(type_)))


def is_list(type_: pa.DataType) -> bool:
    """Whether values of this type are lists, in any of Arrow's layouts."""
    of = pa.types
    views = (of.is_list_view, of.is_large_list_view)
    return any(is_kind(type_) for is_kind in (of.is_list, of.is_large_list, of.is_fixed_size_list, *views))


def top(path: str) -> str:
    """The top-level column that a path leads into."""
    return re.split(r"[.\[]", path, maxsplit=1)[0]
