"""Sidecars joined again: the parts of one range have the same rows in the same order, so joining is laying side by side."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterator, Sequence

import pyarrow as pa
import pyarrow.dataset as pads
import pyarrow.parquet as pq

from tagcorpus.errors import InputError, unknown_name
from tagcorpus.pipelines.documents import RangeReader, Reading
from tagcorpus.pipelines.plan import PlannedFile, load_plan, plan_name
from tagcorpus.pipelines.records import DocumentFields
from tagcorpus.pipelines.sidecars import part_name
from tagcorpus.pipelines.storage import Folder


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
    columns = [_own_columns(folder, i) for i in instances]
    seen = Counter(c for own in columns for c in own)
    names = [[c if seen[c] == 1 else f"{i}.{c}" for c in own] for i, own in zip(instances, columns, strict=True)]
    for planned in files:
        for k in range(len(planned.ranges)):
            parts = [_part(folder, i, planned, k) for i in instances]
            if len({p.num_rows for p in parts}) > 1 or any(not p["row"].equals(parts[0]["row"]) for p in parts[1:]):
                raise InputError(
                    f"range {k} of {planned.file.name} differs between instances {', '.join(instances)}: run again"
                )
            table = parts[0].select(["row", "sub", "id"])
            table = table.add_column(0, "input", pa.array([planned.file.name] * table.num_rows, pa.string()))
            for part, own, shown in zip(parts, columns, names, strict=True):
                for column, name in zip(own, shown, strict=True):
                    table = table.append_column(part.schema.field(column).with_name(name), part[column])
            if text_by is not None:
                table = table.append_column("text", _texts(planned, k, text_by, table))
            yield table.replace_schema_metadata(None)


def _own_columns(folder: Folder, instance: str) -> list[str]:
    told = json.loads(folder.read(f"attributes/{instance}/tagger.json") or b"{}")
    return [c["name"] for c in told.get("columns", [])]


def _part(folder: Folder, instance: str, planned: PlannedFile, k: int) -> pa.Table:
    try:
        with folder.open(part_name(instance, planned.file.name, k)) as file:
            return pq.read_table(file, use_threads=False)
    except FileNotFoundError as error:
        raise InputError(
            f"range {k} of {planned.file.name} has no {instance!r} part in {folder}: the run is incomplete, run it again"
        ) from error


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
