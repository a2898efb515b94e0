"""Documents and tags as Parquet, and as a folder that Hugging Face datasets reads."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tagcorpus.pipelines.exporting.documents import Document, TaggedFiles, own_names
from tagcorpus.pipelines.exporting.json_lines import dumped
from tagcorpus.pipelines.formats import tables
from tagcorpus.pipelines.readers.plan import PlannedFile
from tagcorpus.pipelines.storage.sealed import opened

ROWS_AT_ONCE = 4096
_FAILURES = (pa.ArrowException, TypeError, OverflowError, ValueError)


def write_parquet(tagged: TaggedFiles, sink: BinaryIO) -> list[str]:
    """Write a row for each document: the input's own fields, then the tags. Columns of tables keep their types.

    Other inputs take two passes: the first learns the types of the fields. A field whose values have no common type becomes JSON
    text; the names of such fields are returned.
    """
    if all(_is_table(planned) for planned in tagged.files):
        _write_tables(tagged, sink)
        return []
    tags = tagged.schema()
    types, as_json = _own_types(tagged)
    schema = pa.schema([*(pa.field(name, kind) for name, kind in types.items()), *tags])
    with pq.ParquetWriter(sink, schema, compression="zstd") as writer:
        for documents in _batches(tagged):
            rows = [_own(document) for document in documents]
            own = [_column([row.get(name) for row in rows], kind, name in as_json) for name, kind in types.items()]
            given = [pa.array([d.tags[f.name] for d in documents], f.type) for f in tags]
            writer.write_table(pa.table([*own, *given], schema=schema))
    return sorted(as_json)


def _is_table(planned: PlannedFile) -> bool:
    """Whether each row is one document, and its columns have types."""
    file = planned.file
    return file.is_table and not planned.reader_options.fields.is_harness(dict.fromkeys(tables.schema(file).names))


def _write_tables(tagged: TaggedFiles, sink: BinaryIO) -> None:
    tags = tagged.schema()
    own = pa.unify_schemas(
        [tables.schema(p.file).remove_metadata() for p in tagged.files], promote_options="permissive"
    )
    names = own_names(dict.fromkeys(own.names), dict.fromkeys(tags.names))
    schema = pa.schema([*(field.with_name(name) for field, name in zip(own, names, strict=True)), *tags])
    with pq.ParquetWriter(sink, schema, compression="zstd") as writer:
        for planned in tagged.files:
            for k in range(len(planned.chunks)):
                given = tagged.tags(planned, k)
                rows = given["row"].to_numpy()
                row = planned.chunks[k].start
                for batch in tagged.rows(planned, k):
                    begin, end = np.searchsorted(rows, [row, row + batch.num_rows])
                    taken = pa.Table.from_batches([batch.take(pa.array(rows[begin:end] - row))])
                    filled = [taken[f.name] if f.name in taken.column_names else pa.nulls(end - begin) for f in own]
                    part = given.slice(begin, end - begin).select(tags.names)
                    columns = [*filled, *part.columns]
                    writer.write_table(pa.table(columns, names=schema.names).cast(schema))
                    row += batch.num_rows


def _batches(tagged: TaggedFiles) -> Iterator[tuple[Document, ...]]:
    for planned in tagged.files:
        for k in range(len(planned.chunks)):
            yield from _batched(tagged.documents(planned, k))


def _batched(documents: Iterator[Document]) -> Iterator[tuple[Document, ...]]:
    while batch := tuple(itertools.islice(documents, ROWS_AT_ONCE)):
        yield batch


def _own(document: Document) -> dict[str, Any]:
    added = document.tags | ({"sub": document.sub, "text": document.text} if document.has_own_text else {})
    own = own_names(document.record, added)
    return own | ({"sub": document.sub, "text": document.text} if document.has_own_text else {})


def _own_types(tagged: TaggedFiles) -> tuple[dict[str, pa.DataType], set[str]]:
    """The type of each field of the input, in the order in which the fields first appear; and those that become JSON text."""
    types: dict[str, pa.DataType] = {}
    as_json: set[str] = set()
    for documents in _batches(tagged):
        rows = [_own(document) for document in documents]
        for name in dict.fromkeys(name for row in rows for name in row):
            if name in as_json:
                continue
            try:
                kind = pa.array([row.get(name) for row in rows]).type
                pair = [pa.schema([(name, kind)]), pa.schema([(name, types.get(name, pa.null()))])]
                types[name] = pa.unify_schemas(pair, promote_options="permissive").field(name).type
            except _FAILURES:
                as_json.add(name)
                types[name] = pa.string()
    # Parquet has no column of nothing and no struct without fields.
    for name, kind in types.items():
        if _is_empty_struct(kind):
            as_json.add(name)
        if pa.types.is_null(kind) or _is_empty_struct(kind):
            types[name] = pa.string()
    return types, as_json


def _is_empty_struct(kind: pa.DataType) -> bool:
    if pa.types.is_struct(kind):
        return kind.num_fields == 0 or any(_is_empty_struct(field.type) for field in kind)
    return _is_empty_struct(kind.value_type) if pa.types.is_list(kind) else False


def _column(values: list[Any], kind: pa.DataType, is_json: bool) -> pa.Array:
    if is_json:
        return pa.array([None if v is None else dumped({"": v})[4:-1].decode() for v in values], pa.string())
    return pa.array(values, kind)


def card(tagged: TaggedFiles, name: str) -> str:
    """README.md of a folder of Parquet files, with the meaning of each tag, in the form that Hugging Face reads."""
    head = {"configs": [{"config_name": "default", "data_files": [{"split": "train", "path": "data/*.parquet"}]}]}
    rows = []
    for instance in tagged.names:
        columns = (opened(tagged.output.read(f"attributes/{instance}/tagger.json")) or {}).get("columns", [])
        rows += [
            (f"{instance}.{c['name']}", c.get("meaning", ""), c.get("unit", ""), c.get("source", "")) for c in columns
        ]
    lines = ["| column | meaning | unit | source |", "|---|---|---|---|"]
    lines += [f"| `{column}` | " + " | ".join(_cell(c) for c in cells) + " |" for column, *cells in rows]
    inputs = "\n".join(f"- `{planned.file.name}`" for planned in tagged.files[:20])
    more = f"\n- and {len(tagged.files) - 20:,} more" if len(tagged.files) > 20 else ""
    return (
        f"---\n{json.dumps(head, indent=1)}\n---\n\n# {name}\n\nSay here what these documents are, where they come from, and under "
        f"which licence.\n\nInput files:\n\n{inputs}{more}\n\nThe columns below were added by tagcorpus. All other columns are the "
        "input's own.\n\n" + "\n".join(lines) + "\n"
    )


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
