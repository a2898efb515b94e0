"""Sidecars joined again: the parts of one range have the same rows in the same order, so joining is laying side by side."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.dataset as pads
import pyarrow.parquet as pq

from tagcorpus.errors import InputError, TaggerError, printable, unknown_name
from tagcorpus.pipelines.outputs.sidecars import KEYS, Instance, part_name, read_part
from tagcorpus.pipelines.sources.documents import RangeReader, Reading
from tagcorpus.pipelines.sources.plan import PlannedFile, load_plan, plan_name
from tagcorpus.pipelines.sources.records import DocumentFields
from tagcorpus.pipelines.storage import Folder
from tagcorpus.taggers._batch import DocumentBatch


def read(
    output: str | os.PathLike[str], instances: Sequence[str] | str | None = None, text: bool = False
) -> pads.Dataset:
    """Every document of an output with the columns of these instances (default: all), as an Arrow dataset.

    Columns: `input`, `row`, `sub`, `id`, then the instances' columns (as `<instance>.<column>` where two instances
    share a name), and with `text` the document itself, read from the input again. Raises InputError when an instance
    is unknown or some ranges are not tagged yet.
    """
    folder = Folder(os.fspath(output))
    if isinstance(instances, str):
        instances = [instances]
    known = instance_folders(folder)
    for name in instances or ():
        if name not in known:
            raise InputError(unknown_name("instance", name, known, f"read({str(output)!r})"))
    chosen = list(instances or known)
    if not chosen:
        raise InputError(f"{output} holds no sidecars yet")
    tables: list[pa.Table] = []
    for planned in load_plan(folder):
        tables += joined(folder, [planned], chosen, _stored_reading(folder, planned) if text else None)
    return pads.dataset(pa.concat_tables(tables))


def instance_folders(folder: Folder) -> list[str]:
    """Names of the instances an output holds."""
    suffix = "/tagger.json"
    return [
        n[len("attributes/") : -len(suffix)]
        for n in folder.files("attributes")
        if n.endswith(suffix) and n.count("/") == 2
    ]


def joined(
    folder: Folder, files: Sequence[PlannedFile], instances: Sequence[str], text_by: Reading | None = None
) -> Iterator[pa.Table]:
    """One table per range, in plan order; with `text_by`, the documents are read again that way."""
    columns = {i: own_columns(folder, i) for i in instances}
    seen = Counter(c for own in columns.values() for c in own)
    for planned in files:
        for k in range(len(planned.ranges)):
            keys, parts = range_parts(folder, planned, k, columns)
            table = keys
            for instance, part in parts.items():
                for field in part.schema:
                    name = field.name if seen[field.name] == 1 else f"{instance}.{field.name}"
                    table = table.append_column(field.with_name(name), part[field.name])
            if text_by is not None:
                table = table.append_column("text", _texts(planned, k, text_by, table))
            yield table.replace_schema_metadata(None)


def range_parts(
    folder: Folder, planned: PlannedFile, k: int, columns: Mapping[str, Sequence[str]]
) -> tuple[pa.Table, dict[str, pa.Table]]:
    """`input`, `row`, `sub`, `id` of one range, and of every instance these columns, row by row beside them.

    Raises InputError where a part is missing or the parts do not have the same rows.
    """
    keys = [f.name for f in KEYS]
    parts = {i: read_part(folder, part_name(i, planned.file.name, k), [*keys, *own]) for i, own in columns.items()}
    first = next(iter(parts.values())).select(keys)
    if any(not p["row"].equals(first["row"]) for p in parts.values()):
        raise InputError(f"range {k} of {planned.file.name} differs between instances {', '.join(columns)}: run again")
    inputs = pa.array([printable(planned.file.name)] * first.num_rows, pa.string())
    return first.add_column(0, "input", inputs), {i: parts[i].select(own) for i, own in columns.items()}


@dataclass(frozen=True)
class Recorded:
    """What an output holds of an instance, in the shape of the tagger that made it. It can be read, not used to tag."""

    version: str
    parameters: dict[str, Any]
    columns: pa.Schema
    needs: tuple[str, ...] = ()

    def fingerprint(self) -> dict[str, Any]:
        return self.parameters

    def tag(self, batch: DocumentBatch) -> pa.RecordBatch:
        raise TaggerError(f"{batch.num_rows} documents were given to the record of a tagger, which cannot tag")


def recorded(folder: Folder, instance: str, planned: PlannedFile) -> Instance:
    """An instance as an output tells of it; column types are those of this file's first part (null where it is missing)."""
    told = _told(folder, instance)
    name = part_name(instance, planned.file.name, 0)
    try:
        with folder.open(name) as file:
            stored = pq.read_schema(file)
            schema = pa.schema([f for f in stored if f.name not in {k.name for k in KEYS}])
    except (OSError, pa.ArrowException):
        schema = pa.schema([(c["name"], pa.null()) for c in told["columns"]])
    return Instance(
        instance, told["tagger"], Recorded(told["version"], told["parameters"], schema, tuple(told.get("needs", ())))
    )


def own_columns(folder: Folder, instance: str) -> list[str]:
    """Names of the columns that an instance adds."""
    return [c["name"] for c in _told(folder, instance).get("columns", [])]


def _told(folder: Folder, instance: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(folder.read(f"attributes/{instance}/tagger.json") or b"{}")
    return found


def _stored_reading(folder: Folder, planned: PlannedFile) -> Reading:
    """How the plan says the file was read."""
    settings = json.loads(folder.read(plan_name(planned.file.name)) or b"{}")["settings"]
    fields = DocumentFields(settings["text_column"], settings["id_column"], settings["is_resps"])
    return Reading(fields, settings["max_line_bytes"])


def _texts(planned: PlannedFile, k: int, reading: Reading, table: pa.Table) -> pa.ChunkedArray:
    """The documents of the table's rows (a sample holds fewer than the range)."""
    reader = RangeReader(planned.file, planned.ranges[k], reading)
    wanted = set(zip(table["row"].to_pylist(), table["sub"].to_pylist(), strict=True))
    found: list[str] = []
    try:
        for batch in reader:
            rows, subs = batch.table["row"].to_pylist(), batch.table["sub"].to_pylist()
            found += [t for r, s, t in zip(rows, subs, batch.texts, strict=True) if (r, s) in wanted]
    except FileNotFoundError as error:
        raise InputError(f"the documents of {planned.file.name} are not at {planned.file.path} any more") from error
    return pa.chunked_array([pa.array(found, pa.large_string())])
