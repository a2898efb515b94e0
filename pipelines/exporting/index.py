"""An index of the tags of an output by text or id, for the tagger `joined`. DuckDB sorts it, on disk where memory is short."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import xxhash

from tagcorpus.errors import ConfigError, InputError
from tagcorpus.pipelines.attributes.parts import part_name, stored_part
from tagcorpus.pipelines.attributes.read import instance_folders, recorded
from tagcorpus.pipelines.exporting.documents import TaggedFiles
from tagcorpus.pipelines.readers.plan import PlannedFile
from tagcorpus.pipelines.storage.folder import Folder
from tagcorpus.taggers.joined import CHAR_LEN, KEY, TEXT_DIGEST, key_array

BATCH_ROWS = 1 << 16
MEMORY = "1GB"
FACTS = {TEXT_DIGEST: pa.string(), CHAR_LEN: pa.int64()}
"""Columns that tell texts apart, the surest first."""
DATA, INDEX = ("keys.npy", "values.arrow"), "index.json"


@dataclass(frozen=True)
class Compared:
    """How an index by id tells texts apart.

    fact   the column of FACTS
    known  keys that have a value of it, of `keys` in all
    """

    fact: str
    known: int
    keys: int


def build(tagged: TaggedFiles, folder: Path, by: Literal["text", "id"]) -> Compared | None:
    """Write keys.npy (sorted), values.arrow (a row for each key, in the same order) and index.json into `folder`.

    Rows of one key with the same values become one row. A key with several values is marked as ambiguous. An index by id also has
    a column that tells the texts apart. Returns which, and for how many keys; None for an index by text.
    Raises ConfigError where `by` is "id" and the documents have none, or `folder` has the index of other tags. Raises InputError as
    TaggedFiles does.
    """
    import duckdb

    schema = _value_schema(tagged)
    fact, tagged = _with_fact(tagged) if by == "id" else ("", tagged)
    if fact:
        schema = schema.append(pa.field(fact, FACTS[fact]))
    names = [f"c{i}" for i in range(len(schema))]
    with tempfile.TemporaryDirectory(dir=folder, prefix=".") as scratch:
        connection = duckdb.connect(
            f"{scratch}/index.duckdb", config={"memory_limit": MEMORY, "temp_directory": scratch}
        )
        try:
            empty = pa.table(
                [pa.array([], pa.uint64())] * 2 + [pa.array([], f.type) for f in schema], ["high", "low", *names]
            )
            connection.register("empty", empty)
            connection.execute("CREATE TABLE tags AS SELECT * FROM empty")
            for table in _keyed(tagged, schema, by, fact):
                connection.register("chunk", table.rename_columns(["high", "low", *names]))
                connection.execute("INSERT INTO tags SELECT * FROM chunk")
            keys = _write(connection, schema, names, Path(scratch))
            known = 0
            if fact:
                query = f"SELECT count(DISTINCT (high, low)) FROM tags WHERE {names[-1]} IS NOT NULL"
                [(known,)] = connection.execute(query).fetchall()
        finally:
            connection.close()
        if (earlier := folder / INDEX).exists() and earlier.read_bytes() != Path(scratch, INDEX).read_bytes():
            raise ConfigError(
                f"--output: {folder} is an index of other tags, or of these before they changed: name another folder"
            )
        for name in (*DATA, INDEX):
            Path(scratch, name).replace(folder / name)
    return Compared(fact, known, keys) if fact else None


def _value_schema(tagged: TaggedFiles) -> pa.Schema:
    """`<instance>.<column>` with the metadata of the columns, so that their meaning goes along."""
    instances = tagged.instances(tagged.files[0])
    return pa.schema([f.with_name(f"{i.name}.{f.name}") for i in instances for f in i.tagger.columns])


def _with_fact(tagged: TaggedFiles) -> tuple[str, TaggedFiles]:
    """The column of FACTS that tells these texts apart, and the files with the instance that has it: an instance with parts
    for all chunks. Without such an instance, the texts are read, and have digests."""
    output, files = tagged.output, tagged.files
    for fact in FACTS:
        for name in sorted(instance_folders(output), key=lambda n: n not in tagged.names):
            if fact in recorded(output, name, files[0]).tagger.columns.names and all(
                stored_part(output, part_name(name, f.file.name, k)) is not None
                for f in files
                for k in range(len(f.chunks))
            ):
                return fact, TaggedFiles(output, list(dict.fromkeys([*tagged.names, name])), files)
    return TEXT_DIGEST, tagged


def _keyed(tagged: TaggedFiles, schema: pa.Schema, by: str, fact: str) -> Iterator[pa.Table]:
    for planned in tagged.files:
        for k in range(len(planned.chunks)):
            table = tagged.tags(planned, k)
            if not table.num_rows:
                continue
            keys = key_array(_digests(tagged, planned, k, table, by))
            if fact:
                table = table.append_column(fact, _values_of(fact, tagged, planned, k, table))
            columns = [table[f.name].cast(f.type) for f in schema]
            yield pa.table(
                [pa.array(keys["high"]), pa.array(keys["low"]), *columns], names=["high", "low", *schema.names]
            )


def _digests(tagged: TaggedFiles, planned: PlannedFile, k: int, table: pa.Table, by: str) -> list[str]:
    if by == "id":
        ids = table["id"].to_pylist()
        rows = table["row"].to_pylist()
        if all(id_ == f"{planned.file.name}:{row}" for id_, row in zip(ids, rows, strict=True)):
            raise ConfigError(
                f"the documents of {planned.file.name} have no id of their own: join by text, or tag again with --id-column"
            )
        return [xxhash.xxh3_128_hexdigest(id_.encode()) for id_ in ids]
    stored = next((name for name in table.column_names if name.endswith(f".{TEXT_DIGEST}")), None)
    if stored is not None:
        return [str(digest) for digest in table[stored].to_pylist()]
    try:
        return _read_digests(tagged, planned, k)
    except InputError as error:
        raise InputError(
            f"{error}. A later join by text needs no texts if the tagger `digest` is among the tags"
        ) from error


def _read_digests(tagged: TaggedFiles, planned: PlannedFile, k: int) -> list[str]:
    """Digests of the texts of a chunk, which are read again."""
    return [xxhash.xxh3_128_hexdigest(d.text.encode("utf-8", "surrogatepass")) for d in tagged.documents(planned, k)]


def _values_of(fact: str, tagged: TaggedFiles, planned: PlannedFile, k: int, table: pa.Table) -> pa.Array:
    """The column of FACTS for a chunk; null where neither a tag nor the text is there any more."""
    stored = next((name for name in table.column_names if name.endswith(f".{fact}")), None)
    if stored is not None:
        return table[stored].cast(FACTS[fact])
    try:
        return pa.array(_read_digests(tagged, planned, k), FACTS[fact])
    except InputError:
        return pa.nulls(table.num_rows, FACTS[fact])


def _write(connection: Any, schema: pa.Schema, names: list[str], folder: Path) -> int:
    """The files, from the table `tags`. Returns the number of keys."""
    values = ", ".join(f"any_value({name})" for name in names)
    row = f"hash({', '.join(names)})"
    query = connection.sql(
        f"SELECT high, low, count(DISTINCT {row}) > 1, {values} FROM tags GROUP BY high, low ORDER BY high, low"
    )
    reader = pa.RecordBatchReader.from_stream(query)
    keys = []
    digest = xxhash.xxh3_128()
    with pa.OSFile(str(folder / "values.arrow"), "wb") as sink, pa.ipc.new_file(sink, schema) as writer:
        for table in _rows(reader, BATCH_ROWS):
            part = np.zeros(table.num_rows, KEY)
            for name, column in zip(("high", "low", "is_ambiguous"), table.columns[:3], strict=True):
                part[name] = column.to_numpy()
            keys.append(part)
            columns = [c.cast(f.type).combine_chunks() for c, f in zip(table.columns[3:], schema, strict=True)]
            batch = pa.record_batch(columns, schema=schema)
            writer.write_batch(batch)
            digest.update(part.tobytes())
            digest.update(batch.serialize())
    np.save(folder / "keys.npy", np.concatenate(keys) if keys else np.zeros(0, KEY))
    n_keys = sum(map(len, keys))
    description = {"digest": digest.hexdigest(), "batch_rows": BATCH_ROWS, "keys": n_keys}
    Folder(str(folder)).publish(INDEX, json.dumps(description, indent=1).encode())
    return n_keys


def _rows(reader: Any, n: int) -> Iterator[pa.Table]:
    """The batches of a reader again as tables of exactly n rows, the last one shorter."""
    waiting: list[pa.RecordBatch] = []
    size = 0
    for batch in reader:
        waiting.append(batch)
        size += batch.num_rows
        while size >= n:
            table = pa.Table.from_batches(waiting)
            yield table.slice(0, n)
            rest = table.slice(n).combine_chunks()
            waiting, size = rest.to_batches(), rest.num_rows
    if size:
        yield pa.Table.from_batches(waiting)
