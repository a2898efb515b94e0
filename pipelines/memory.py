"""`tagcorpus.tag`: taggers on texts that are in memory already, without files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from tagcorpus.errors import ConfigError, InputError, unknown_name
from tagcorpus.pipelines.instances import load_free
from tagcorpus.pipelines.options.tagger_names import instance_names
from tagcorpus.pipelines.sources.documents import BATCH_ROWS
from tagcorpus.pipelines.sources.records import DEFAULT_TEXT_COLUMNS, further_value, repair
from tagcorpus.taggers._batch import DocumentBatch


def tag(
    texts: Sequence[str] | pa.Table | pa.RecordBatch,
    taggers: Sequence[str] | str = ("length", "tokens", "keywords", "language", "repetition"),
    parameters: Mapping[str, Mapping[str, Any]] | None = None,
) -> pa.Table:
    """Tags of texts, or of a table with a text column: one row each, in order.

    taggers     names, or `instance=tagger`
    parameters  by instance name
    returns     columns of all instances, `<instance>.<column>`; a table's other columns come first
    Raises InputError where a text is missing, ConfigError for unknown names and parameters,
    and for `domain` with an LLM (use `run`).
    """
    table, documents = _documents(texts)
    names = instance_names([taggers] if isinstance(taggers, str) else list(taggers))
    for section in sorted(set(parameters or {}) - set(names)):
        raise ConfigError(unknown_name("instance", section, names, "parameters"))
    taggers_of = {n: load_free(t, dict((parameters or {}).get(n, {})), n) for n, t in names.items()}
    further = {c: _further(texts, c) for t in taggers_of.values() for c in getattr(t, "needs", ())}
    batches = [
        DocumentBatch.from_texts(
            documents[i : i + BATCH_ROWS], columns={c: v[i : i + BATCH_ROWS] for c, v in further.items()}
        )
        for i in range(0, len(documents), BATCH_ROWS)
    ]
    for name, tagger in taggers_of.items():
        tagged = pa.Table.from_batches([tagger.tag(b) for b in batches], tagger.columns)
        for field in tagger.columns:
            table = table.append_column(field.with_name(f"{name}.{field.name}"), tagged[field.name])
    return table


def _further(texts: Sequence[str] | pa.Table | pa.RecordBatch, column: str) -> list[str | None]:
    """What a table has in a column that a tagger needs besides the text."""
    if not isinstance(texts, pa.Table | pa.RecordBatch):
        return [None] * len(texts)
    wanted = {column, column.partition(".")[0]}
    some = texts.select([c for c in texts.schema.names if c in wanted])
    return [further_value(row, column) for row in some.to_pylist()] if some.num_columns else [None] * texts.num_rows


def _documents(texts: Sequence[str] | pa.Table | pa.RecordBatch) -> tuple[pa.Table, list[str]]:
    if isinstance(texts, pa.RecordBatch):
        texts = pa.Table.from_batches([texts])
    if isinstance(texts, pa.Table):
        column = next((c for c in DEFAULT_TEXT_COLUMNS if c in texts.column_names), None)
        if column is None:
            raise InputError(
                f"the table has no column text, content or raw_content, only {', '.join(texts.column_names)}"
            )
        found, table = texts[column].to_pylist(), texts
    elif isinstance(texts, str | bytes):
        raise InputError("tag takes a list of texts, got a single one; put it in a list")
    else:
        found = list(texts)
        table = pa.table({"row": pa.array(range(len(found)), pa.int64())})
    for row, text in enumerate(found):
        if not isinstance(text, str):
            raise InputError(f"row {row} is not a string but {type(text).__name__}")
    return table, [repair(t) for t in found]
