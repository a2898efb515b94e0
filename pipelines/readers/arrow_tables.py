"""Documents in memory: the arguments of `tagcorpus.tag` as rows with an id and a text.

A table is an object that exports Arrow, or a mapping of columns. Its text and id are looked for as in files. A sequence of
strings is a sequence of texts. Everything else is refused: the items of a generator, a set or a single string are often not
documents.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import pyarrow as pa

from tagcorpus.errors import ConfigError, InputError, InputTypeError, unknown_name
from tagcorpus.pipelines.inputs.records import (
    _ABSENT,
    DEFAULT_TEXT_COLUMNS,
    ID_COLUMNS,
    _follow,
    further_value,
    repair,
)
from tagcorpus.pipelines.inputs.values import rows as rows_of
from tagcorpus.pipelines.inputs.values import top

TAKEN = "tag takes a table with a column of texts, a mapping of columns, or a sequence of texts"
# What to pass instead of objects that people often try, by the name of their type or of one of its base classes.
INSTEAD = {
    "str": "for one text, pass [text]; for a file, use tagcorpus.run('tag', input=PATH)",
    "bytes": "decode it, and pass [text]",
    "bytearray": "decode it, and pass [text]",
    "memoryview": "decode it, and pass [text]",
    "PurePath": "for a file, use tagcorpus.run('tag', input=PATH)",
    "IOBase": "for a file, use tagcorpus.run('tag', input=PATH)",
    "generator": "pass list(...) of it",
    "set": "pass a list, which has an order",
    "frozenset": "pass a list, which has an order",
    "LazyFrame": "pass the result of its collect()",
    "IterableDataset": "pass a Dataset, or tag in its map(..., batched=True)",
    "Dataset": "pass the result of its to_table()",
    "Scanner": "pass the result of its to_table()",
    "DataFrame": "pass pyarrow.Table.from_pandas(...) of it",
    "Series": "pass its to_list()",
}


class ArrowStream(Protocol):
    """A table or column of pandas, polars, DuckDB, pyarrow and others."""

    def __arrow_c_stream__(self, requested_schema: Any = None) -> Any: ...


class ArrowArray(Protocol):
    """An Arrow array or record batch of any library."""

    def __arrow_c_array__(self, requested_schema: Any = None) -> Any: ...


Texts = Sequence[str | None] | ArrowStream | ArrowArray | Mapping[str, Any] | np.ndarray[Any, Any]


@dataclass(frozen=True)
class Documents:
    """Rows in order, each with an id, and a text or None. `table` is the table that they came in, if any."""

    texts: list[str | None]
    ids: list[str]
    table: pa.Table | None = None
    is_id_column_kept: bool = True
    """False if `ids` has the same values as the table's column `id`."""

    def others(self) -> Iterator[tuple[pa.Field, pa.ChunkedArray]]:
        """The table's columns, without one that is equal to `ids`."""
        if self.table is None:
            return
        for field, column in zip(self.table.schema, self.table.columns, strict=True):
            if self.is_id_column_kept or field.name != "id":
                yield field, column

    def values_of(self, column: str) -> list[str | None]:
        """A document column besides the text (`a.b` too); None in all rows if the column is missing."""
        records = _records(self.table, [column]) if self.table is not None else None
        return [further_value(r, column) for r in records] if records is not None else [None] * len(self.texts)


def documents(given: Any, text_column: str = "", id_column: str = "") -> Documents:
    """Raises InputTypeError (a TypeError) unless `given` is a table or texts, and ConfigError for a missing column."""
    table = _table(given)
    if table is not None:
        return _of_table(table, _named(given), text_column, id_column)
    if text_column or id_column:
        option = "text_column" if text_column else "id_column"
        raise ConfigError(f"{option} goes with a table or a mapping of columns, got {_named(given)}")
    texts = _sequence(given)
    return Documents(texts, [str(i) for i in range(len(texts))])


def _table(given: Any) -> pa.Table | None:
    """`given` as an Arrow table; None if it is not a table."""
    if isinstance(given, Mapping):
        return _of_columns(given, _named(given))
    arrow = _arrow(given)
    if isinstance(arrow, pa.Table):
        return arrow
    if arrow is None or not pa.types.is_struct(arrow.type):
        return None
    chunks = arrow.chunks if isinstance(arrow, pa.ChunkedArray) else [arrow]
    schema = pa.schema(list(arrow.type))
    return pa.Table.from_batches([pa.record_batch(c.flatten(), schema=schema) for c in chunks], schema)


def _arrow(given: Any) -> pa.Table | pa.Array | pa.ChunkedArray | None:
    """An object that exports Arrow, as an object of pyarrow; None for others, and for pandas columns that Arrow cannot hold."""
    if isinstance(given, pa.Table | pa.Array | pa.ChunkedArray):
        return given
    if isinstance(given, pa.RecordBatch):
        return pa.Table.from_batches([given])
    try:
        if isinstance(given, pa.RecordBatchReader):
            return given.read_all()
        if hasattr(given, "__arrow_c_stream__"):
            return pa.chunked_array(given)
        if hasattr(given, "__arrow_c_array__") or hasattr(given, "__arrow_array__"):
            return pa.array(given)
        if _is_of(given, "datasets", "Dataset"):
            return given.with_format("arrow")[:]
        if _is_of(given, "pandas", "Series") or _is_of(given, "pandas", "Index"):
            return pa.array(given, from_pandas=True)
    except (pa.ArrowException, ValueError, TypeError) as error:  # an error of encoding is a ValueError
        if _is_of(given, "pandas", "DataFrame"):  # column by column, so that the error names the column
            names = [str(name) for name in given.columns]
            columns = [_column(n, given.iloc[:, i], _named(given)) for i, n in enumerate(names)]
            return pa.table(columns, names=names)  # two columns may have one name
        if _is_of(given, "pandas", "Series") or _is_of(given, "pandas", "Index"):
            return None
        raise InputError(f"{_named(given)} could not be read: {error}") from error
    return None


def _is_of(given: Any, package: str, name: str) -> bool:
    """Whether `given` is an instance of this class of a package that may be missing."""
    return any(c.__name__ == name and c.__module__.partition(".")[0] == package for c in type(given).__mro__)


def _named(given: Any) -> str:
    kind = type(given)
    package = kind.__module__.partition(".")[0]
    name = kind.__name__ if package in ("builtins", "__main__") else f"{package.lstrip('_')}.{kind.__name__}"
    return f"{'an' if name[0] in 'aeiou' else 'a'} {name}"


# Sequences


def _sequence(given: Any) -> list[str | None]:
    """The texts of an Arrow, pandas or numpy column, or of a sequence of str and None."""
    arrow = _arrow(given)
    if arrow is not None:
        return _texts_of(arrow, _named(given))
    is_column = (isinstance(given, np.ndarray) and given.ndim == 1) or _is_of(given, "pandas", "Series")
    if not is_column and (
        not isinstance(given, Sequence) or isinstance(given, str | bytes | bytearray | memoryview | os.PathLike)
    ):
        raise InputTypeError(f"{TAKEN}; it got {_named(given)}{_instead(given)}")
    values = given.tolist() if is_column else given
    return [_text(value, row, is_column) for row, value in enumerate(values)]


def _text(value: Any, row: int, is_column: bool) -> str | None:
    if isinstance(value, str):
        return repair(value)
    # Missing values of pandas; numpy has its columns of objects, too.
    if value is None or (is_column and (type(value).__name__ == "NAType" or _is_nan(value))):
        return None
    remedy = ""
    if isinstance(value, Mapping):
        remedy = ": pass a mapping of columns, such as {'text': [...]}, or pyarrow.Table.from_pylist(...)"
    elif isinstance(value, bytes):
        remedy = ": decode it"
    elif _is_nan(value):
        remedy = " (nan): pass None for a missing text"
    raise InputTypeError(f"{TAKEN}; row {row} is not a string or None but {_named(value)}{remedy}")


def _is_nan(value: Any) -> bool:
    return isinstance(value, float) and math.isnan(value)


def _instead(given: Any) -> str:
    kinds = (c.__name__.lstrip("_") for c in type(given).__mro__)
    remedy = next((INSTEAD[k] for k in kinds if k in INSTEAD), "")
    if not remedy and isinstance(given, Iterable):
        remedy = "pass list(...) of it, if it gives texts"
    return f": {remedy}" if remedy else ""


# Tables


def _of_columns(columns: Mapping[Any, Any], kind: str) -> pa.Table:
    """A table of a mapping from names to columns of one length."""
    arrays: dict[str, Any] = {}
    for name, values in columns.items():
        if not isinstance(name, str):
            raise InputTypeError(f"{TAKEN}; the names of columns must be strings, {kind} has {name!r}")
        arrays[name] = _column(name, values, kind)
        first = next(iter(arrays))
        if len(arrays[name]) != len(arrays[first]):
            raise InputError(f"column {name!r} has {len(arrays[name])} values, column {first!r} {len(arrays[first])}")
    return pa.table(arrays)


def _column(name: str, values: Any, kind: str) -> pa.Array | pa.ChunkedArray:
    is_plain = isinstance(values, Sequence | np.ndarray) and not isinstance(values, str | bytes | bytearray)
    arrow = None if is_plain else _arrow(values)
    if isinstance(arrow, pa.Table):
        remedy = f": pass one of its tables, such as [{name!r}]"
        raise InputTypeError(f"{TAKEN}; it got {kind} whose {name!r} is {_named(values)}{remedy}")
    if arrow is not None:
        return arrow
    if not is_plain and not _is_of(values, "pandas", "Series"):
        raise InputTypeError(f"{TAKEN}; it got {kind} whose {name!r} is {_named(values)} and not a column")
    # nan is a missing text in a column of objects, and a number in a column of numbers.
    is_of_objects = str(getattr(values, "dtype", "")) == "object"
    listed = values.tolist() if hasattr(values, "tolist") else list(values)
    try:
        return pa.array(listed, from_pandas=is_of_objects)
    except UnicodeEncodeError:
        return pa.array([repair(v) if isinstance(v, str) else v for v in listed], from_pandas=is_of_objects)
    except (pa.ArrowException, ValueError, TypeError, OverflowError) as error:
        raise InputTypeError(
            f"column {name!r} of {kind} is not of one type: {error}. Leave it out or repair it"
        ) from error


def _of_table(table: pa.Table, kind: str, text_column: str, id_column: str) -> Documents:
    texts = _named_texts(table, kind, text_column) if text_column else _default_texts(table, kind)
    if id_column and not _has(table, id_column):
        raise ConfigError(unknown_name("column", id_column, table.column_names, "id_column"))
    names = [id_column] if id_column else [c for c in ID_COLUMNS if c in table.column_names]
    ids = [
        next((v for c in names if (v := further_value(record, c)) is not None), str(row))
        for row, record in enumerate(_records(table, names))
    ]
    is_the_same = names[:1] == ["id"] and _is_text(_only(table, "id", kind).type)
    return Documents(texts, ids, table, not is_the_same)


def _has(table: pa.Table, column: str) -> bool:
    return column in table.column_names or top(column) in table.column_names


def _records(table: pa.Table, columns: Sequence[str]) -> list[dict[str, Any]]:
    """The rows, with only the top-level columns that these columns (`a.b` too) need."""
    names = {n for c in columns for n in (c, top(c))}
    some = {n: table.column(i) for i, n in enumerate(table.column_names) if n in names}
    if not some:
        return [{}] * table.num_rows
    return [row for batch in pa.table(some).to_batches() for row in rows_of(batch)]


def _default_texts(table: pa.Table, kind: str) -> list[str | None]:
    """Texts of the first of DEFAULT_TEXT_COLUMNS; for nulls, those of the next."""
    names = [c for c in DEFAULT_TEXT_COLUMNS if c in table.column_names]
    if not names:
        raise ConfigError(
            f"no column {', '.join(DEFAULT_TEXT_COLUMNS[:-1])} or {DEFAULT_TEXT_COLUMNS[-1]} in {kind}, which has "
            f"{_listed(table.column_names)}. Name the column of the texts with text_column=..."
        )
    columns = [_texts_of(_only(table, c, kind), f"column {c!r}") for c in names[:1]]
    for name in names[1:]:
        if any(text is None for text in columns[-1]) and _is_text(table.schema.field(name).type):
            columns.append(_texts_of(_only(table, name, kind), f"column {name!r}"))
    return [next((t for t in row if t is not None), None) for row in zip(*columns, strict=True)]


def _named_texts(table: pa.Table, kind: str, name: str) -> list[str | None]:
    if name in table.column_names:
        return _texts_of(_only(table, name, kind), f"column {name!r}")
    if not _has(table, name):
        raise ConfigError(unknown_name("column", name, table.column_names, "text_column"))
    texts: list[str | None] = []
    for row, record in enumerate(_records(table, [name])):
        value = _follow(record, name)
        if value is not None and value is not _ABSENT and not isinstance(value, str):
            raise InputTypeError(f"{name!r} holds no text in row {row} but {_named(value)}")
        texts.append(value if isinstance(value, str) else None)
    return texts


def _only(table: pa.Table, name: str, kind: str) -> pa.ChunkedArray:
    if table.column_names.count(name) > 1:
        raise ConfigError(f"{kind} has {table.column_names.count(name)} columns called {name!r}. Rename or drop one")
    return table[name]


def _listed(names: Sequence[str], most: int = 20) -> str:
    """Names of columns for a message."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return (", ".join(names[:most]) or "no columns") + more


def _is_text(kind: pa.DataType) -> bool:
    """Whether a column of this type has text, bytes that may be UTF-8, or only nulls."""
    if isinstance(kind, pa.BaseExtensionType):
        return _is_text(kind.storage_type)
    if pa.types.is_dictionary(kind):
        return _is_text(kind.value_type)
    tests = (
        "is_string",
        "is_large_string",
        "is_string_view",
        "is_binary",
        "is_large_binary",
        "is_binary_view",
        "is_null",
    )
    return any(getattr(pa.types, test)(kind) for test in tests)


def _texts_of(column: pa.Array | pa.ChunkedArray, where: str) -> list[str | None]:
    """The texts of an Arrow column. Raises InputTypeError for another type, InputError for bytes that are not UTF-8."""
    if column.null_count == len(column):  # of any type, since pandas makes numbers of a column of missing texts
        return [None] * len(column)
    if not _is_text(column.type):
        raise InputTypeError(
            f"{where} holds {column.type}, not text. Cast it, or name another column with text_column=..."
        )
    chunks = column.chunks if isinstance(column, pa.ChunkedArray) else [column]
    data = pa.chunked_array([_bytes(c) for c in chunks], pa.large_binary())
    try:
        texts: list[str | None] = data.cast(pa.large_string()).to_pylist()
    except pa.ArrowInvalid:
        for row, value in enumerate(data.to_pylist()):
            try:
                (value or b"").decode()
            except UnicodeDecodeError as error:
                raise InputError(f"{where} is not UTF-8 in row {row}: {error}") from None
        raise
    return texts


def _bytes(column: pa.Array) -> pa.Array:
    """The UTF-8 bytes of an Arrow column of texts, without extension types and dictionaries."""
    if isinstance(column, pa.ExtensionArray):
        return _bytes(column.storage)
    if isinstance(column, pa.DictionaryArray):
        return _bytes(column.dictionary).take(column.indices)
    return column.cast(pa.large_binary())
