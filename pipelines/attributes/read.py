"""Attributes joined again: the parts of one chunk have the same rows in the same order, so joining is laying side by side."""

from __future__ import annotations

import os
import shlex
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from tagcorpus.errors import InputError, TaggerError, unknown_name, valid_text
from tagcorpus.pipelines.attributes.digests import Digests
from tagcorpus.pipelines.attributes.parts import (
    KEYS,
    Instance,
    key_in,
    keys_of,
    part_name,
    part_of,
    read_part,
    stored_part,
)
from tagcorpus.pipelines.readers.plan import PlannedFile, load_plan
from tagcorpus.pipelines.readers.reader import ChunkReader, ReaderOptions
from tagcorpus.pipelines.storage.folder import Folder
from tagcorpus.pipelines.storage.sealed import opened
from tagcorpus.taggers._interface.base import LATER
from tagcorpus.taggers._interface.batch import DocumentBatch

if TYPE_CHECKING:
    import pyarrow.dataset as pads


def read(
    output: str | os.PathLike[str], instances: Sequence[str] | str | None = None, text: bool = False
) -> pads.Dataset:
    """Every document of an output with the columns of these instances (default: all), as an Arrow dataset.

    Columns: `input`, `row`, `sub`, `id`, then the instances' columns (as `<instance>.<column>` where two instances
    share a name), and with `text` the document itself, read from the input again. Raises InputError when an instance
    is unknown or some chunks are not tagged yet.
    """
    import pyarrow.dataset as pads  # imports pandas, where that is installed

    folder = Folder(os.fspath(output))
    if isinstance(instances, str):
        instances = [instances]
    known = instance_folders(folder)
    for name in instances or ():
        if name not in known:
            raise InputError(unknown_name("instance", name, known, f"read({str(output)!r})"))
    chosen = list(instances or known)
    if not chosen:
        raise without_attributes(output)
    tables: list[pa.Table] = []
    kinds = Kinds()
    for planned in load_plan(folder):
        reader_options = replace(planned.reader_options, sample=1.0) if text else None
        tables += joined(folder, [planned], [recorded(folder, i, planned) for i in chosen], reader_options, kinds)
    return pads.dataset(pa.concat_tables(tables))


class Kinds:
    """Checks parts that are read without a run: all parts of an instance fit the plan, or all are older.

    A run that replaces parts and is interrupted leaves a mix of both, and so do two runs at once.
    """

    def __init__(self) -> None:
        self._is_current: dict[str, bool] = {}
        self._digests: dict[str, Digests] = {}

    def part(
        self, folder: Folder, planned: PlannedFile, k: int, instance: Instance, columns: Sequence[str]
    ) -> pa.Table:
        """As `part_of`; raises InputError for a part of the other kind than those before it, and for one whose footer is not
        as it was written."""
        name = part_name(instance.name, planned.file.name, k)
        table = read_part(folder, name, columns, instance.later_columns)
        stored = stored_part(folder, name)
        if instance.name not in self._digests:
            self._digests[instance.name] = Digests(folder, instance.name)
        digest = self._digests[instance.name].of(planned.file.name, k, key_in(table))
        if stored is None or digest not in ("", stored.digest):
            raise InputError(f"{folder}/{name} is damaged: run the pipeline again, which makes the part again")
        is_current = key_in(table) in keys_of(planned, k, instance)
        if self._is_current.setdefault(instance.name, is_current) != is_current:
            raise InputError(
                f"parts of {instance.name!r} in {folder} are of several runs, {name} among them: run the pipeline again, "
                "which makes those that are out of date anew"
            )
        return table


def without_attributes(output: object) -> InputError:
    """The error for an output folder that no tagger has written to."""
    folder = PurePath(str(output))
    if folder.name == "filtered":
        parent = shlex.quote(str(folder.parent))
        return InputError(
            f"{output} has rows and no attributes: `tagcorpus join {shlex.quote(str(folder))} {parent} --output KEPT` gives the kept rows "
            "their tags, in the output folder KEPT"
        )
    return InputError(f"{output} has no attributes: run `tagcorpus run tag` first, or name another output folder")


def instance_folders(folder: Folder) -> list[str]:
    """Names of the instances in an output."""
    suffix = "/tagger.json"
    return [
        n[len("attributes/") : -len(suffix)]
        for n in folder.files("attributes")
        if n.endswith(suffix) and n.count("/") == 2
    ]


def joined(
    folder: Folder,
    files: Sequence[PlannedFile],
    instances: Sequence[Instance],
    text_by: ReaderOptions | None = None,
    kinds: Kinds | None = None,
) -> Iterator[pa.Table]:
    """One table per chunk, in plan order; with `text_by`, the documents are read again that way.

    Raises as `chunk_parts`.
    """
    columns = {i.name: i.tagger.columns.names for i in instances}
    seen = Counter(c for own in columns.values() for c in own)
    for planned in files:
        for k in range(len(planned.chunks)):
            keys, parts = chunk_parts(folder, planned, k, instances, columns, kinds)
            table = keys
            for instance, part in parts.items():
                for field in part.schema:
                    name = field.name if seen[field.name] == 1 else f"{instance}.{field.name}"
                    table = table.append_column(field.with_name(name), part[field.name])
            if text_by is not None:
                table = table.append_column("text", _texts(planned, k, text_by, table))
            yield table.replace_schema_metadata(None)


def chunk_parts(
    folder: Folder,
    planned: PlannedFile,
    k: int,
    instances: Sequence[Instance],
    columns: Mapping[str, Sequence[str]],
    kinds: Kinds | None = None,
) -> tuple[pa.Table, dict[str, pa.Table]]:
    """`input`, `row`, `sub`, `id` of one chunk, and of every instance these columns (by its name), row by row beside them.

    Raises InputError where a part is missing or the parts do not have the same rows; ReplacedError, or what `kinds` raises,
    for a part that does not fit the plan.
    """
    keys = [f.name for f in KEYS]
    read = kinds.part if kinds is not None else part_of
    parts = {i.name: read(folder, planned, k, i, [*keys, *columns[i.name]]) for i in instances}
    first = next(iter(parts.values())).select(keys)
    if any(not p["row"].equals(first["row"]) for p in parts.values()):
        raise InputError(f"chunk {k} of {planned.file.name} differs between instances {', '.join(parts)}: run again")
    inputs = pa.array([valid_text(planned.file.name)] * first.num_rows, pa.string())
    return first.add_column(0, "input", inputs), {name: part.select(columns[name]) for name, part in parts.items()}


@dataclass(frozen=True)
class Recorded:
    """The recorded description of an instance, in the shape of the tagger that made it. It cannot tag."""

    version: str
    parameters: dict[str, Any]
    columns: pa.Schema
    needs: tuple[str, ...] = ()

    def fingerprint(self) -> dict[str, Any]:
        return self.parameters

    def tag(self, batch: DocumentBatch) -> pa.RecordBatch:
        raise TaggerError(f"{batch.num_rows} documents were given to the record of a tagger, which cannot tag")


def recorded(folder: Folder, instance: str, planned: PlannedFile) -> Instance:
    """An instance as recorded in an output; column types are those of this file's first part (null where it is missing).
    Columns that are newer than the first part are there, too."""
    description = _description_of(folder, instance)
    name = part_name(instance, planned.file.name, 0)
    try:
        with folder.open(name) as file:
            stored = pq.read_schema(file)
            schema = pa.schema([f for f in stored if f.name not in {k.name for k in KEYS}])
            for c in description["columns"]:
                if c["name"] not in schema.names and LATER.keys() <= c.keys():
                    schema = schema.append(pa.field(c["name"], pa.type_for_alias(c["type"]), metadata=LATER))
    except (OSError, pa.ArrowException):
        schema = pa.schema([(c["name"], pa.null()) for c in description["columns"]])
    tagger = Recorded(description["version"], description["parameters"], schema, tuple(description.get("needs", ())))
    return Instance(instance, description["tagger"], tagger, description.get("chosen", {}), is_whole_enough=True)


def own_columns(folder: Folder, instance: str) -> list[str]:
    """Names of the columns that an instance adds."""
    return [c["name"] for c in _description_of(folder, instance).get("columns", [])]


def _description_of(folder: Folder, instance: str) -> dict[str, Any]:
    name = f"attributes/{instance}/tagger.json"
    description = opened(folder.read(name))
    if description is None:
        raise InputError(f"{folder}/{name} is damaged: run the pipeline again, which writes the file again")
    return description


def _texts(planned: PlannedFile, k: int, reader_options: ReaderOptions, table: pa.Table) -> pa.ChunkedArray:
    """The documents of the table's rows (a sample holds fewer than the chunk)."""
    reader = ChunkReader(planned.file, planned.chunks[k], reader_options)
    places = set(zip(table["row"].to_pylist(), table["sub"].to_pylist(), strict=True))
    texts: list[str] = []
    try:
        for batch in reader:
            rows, subs = batch.table["row"].to_pylist(), batch.table["sub"].to_pylist()
            texts += [t for r, s, t in zip(rows, subs, batch.texts, strict=True) if (r, s) in places]
    except FileNotFoundError as error:
        raise InputError(f"the documents of {planned.file.name} are not at {planned.file.path} any more") from error
    return pa.chunked_array([pa.array(texts, pa.large_string())])
