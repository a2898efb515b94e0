"""The main result as one file, where `--output` names one: a table of all documents, or the summary."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

from tagcorpus.pipelines.job import Job
from tagcorpus.pipelines.plan import Plan
from tagcorpus.pipelines.reading import joined
from tagcorpus.pipelines.sidecars import Instance
from tagcorpus.pipelines.storage import Folder


def publish_result(job: Job, plan: Plan, instances: Sequence[Instance], summary: dict[str, Any]) -> None:
    """Publish the file that `--output` named: .json gets the summary, .csv and .parquet the joined columns."""
    if job.result_file is None:
        return
    if job.result_file.lower().endswith(".json"):
        publish_file(job.result_file, [json.dumps(summary, indent=1).encode()])
        return
    folder, name = _split(job.result_file)
    tables = joined(job.output, plan.files, [i.name for i in instances])
    if name.lower().endswith(".csv"):
        tables = map(_without_lists, tables)
    first = next(tables)
    with folder.publishing(name) as sink:
        is_csv = name.lower().endswith(".csv")
        with (
            pacsv.CSVWriter(sink, first.schema)
            if is_csv
            else pq.ParquetWriter(sink, first.schema, compression="zstd") as writer
        ):
            writer.write_table(first)
            for table in tables:
                writer.write_table(table)


def _without_lists(table: pa.Table) -> pa.Table:
    """A CSV field holds no list: lists become JSON text."""
    for i, field in enumerate(table.schema):
        if pa.types.is_list(field.type):
            told = [None if v is None else json.dumps(v, ensure_ascii=False) for v in table[i].to_pylist()]
            table = table.set_column(i, field.name, pa.array(told, pa.string()))
    return table


def publish_file(path: str, blocks: Iterable[bytes]) -> None:
    """Publish these bytes as a file anywhere."""
    folder, name = _split(path)
    with folder.publishing(name) as sink:
        for block in blocks:
            sink.write(block)


def is_there(path: str) -> bool:
    """Whether a file anywhere exists."""
    folder, name = _split(path)
    return folder.exists(name)


def _split(path: str) -> tuple[Folder, str]:
    parent, _, name = path.rpartition("/")
    if "://" not in path:
        parent = os.path.abspath(parent or ".")
    return Folder(parent), name
