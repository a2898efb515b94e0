"""Sidecars as `run features` finds them, written from plain rows: through the real keys, and nothing else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from tagcorpus.pipelines.attributes.claims import claim
from tagcorpus.pipelines.attributes.parts import KEYS, Instance, part_key, part_name, write_part
from tagcorpus.pipelines.inputs.chunks import Chunk, Counts
from tagcorpus.pipelines.inputs.input_files import InputFile
from tagcorpus.pipelines.inputs.records import DocumentFields
from tagcorpus.pipelines.readers.plan import Plan, PlannedFile
from tagcorpus.pipelines.readers.reader import ReaderOptions
from tagcorpus.pipelines.storage.folder import Folder
from tagcorpus.taggers import load

READING = ReaderOptions(DocumentFields("", "", False), 1 << 20)
ROLES = ("repetition", "length", "tokens", "keywords", "syntax", "quality", "domain")
PARAMETERS: dict[str, dict[str, Any]] = {"syntax": {"backend": "parsed"}, "tokens": {"tokenizer": "p50k_base"}}

# row -> column -> value; a row that is not there has no sidecar row.
Rows = Mapping[int, Mapping[str, Any]]


def instances(*roles: str) -> dict[str, Instance]:
    return {role: Instance(role, role, load(role, PARAMETERS.get(role))) for role in roles}


def plan_of(sizes: Mapping[str, Sequence[int]]) -> Plan:
    """A plan of files (name -> rows of each range) that lie nowhere."""
    files = []
    for name, rows in sizes.items():
        chunks = [Chunk(0, 1, sum(rows[:k]), n, f"{name} {k} {n}") for k, n in enumerate(rows)]
        files.append(
            PlannedFile(InputFile(name, f"/nowhere/{name}", "jsonl", ""), tuple(chunks), reader_options=READING)
        )
    return Plan(tuple(files))


def write_sidecars(
    output: Folder,
    plan: Plan,
    using: Mapping[str, Instance],
    rows: Mapping[str, Mapping[str, Rows]],
    reader_options: ReaderOptions = READING,
) -> None:
    """rows: file -> role -> its rows, numbered through the file."""
    claim(output, using.values())
    for planned, k in plan.chunks:
        r = planned.chunks[k]
        for role, instance in using.items():
            found = rows[planned.file.name].get(role, {})
            numbers = [n for n in sorted(found) if r.first_row <= n < r.first_row + r.rows]
            schema = pa.schema([*KEYS, *instance.tagger.columns])
            cells = [{**dict.fromkeys(schema.names), "row": n, "sub": 0, "id": str(n), **found[n]} for n in numbers]
            batch = pa.RecordBatch.from_pylist(cells, schema=schema)
            key = part_key(planned, k, reader_options, instance.identity())
            counts = Counts(lines=r.rows, read=r.rows, documents=len(numbers))
            write_part(
                output, part_name(instance.name, planned.file.name, k), instance.tagger.columns, [batch], key, counts
            )
