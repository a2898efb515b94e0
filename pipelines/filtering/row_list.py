"""The list of an input's rows with the verdict on each, in the place of copies."""

from __future__ import annotations

import json
from collections import Counter
from typing import BinaryIO, Literal

import pyarrow as pa

from tagcorpus.errors import valid_text
from tagcorpus.pipelines.attributes.parts import KEYS, Instance, part_of
from tagcorpus.pipelines.filtering.rewrite import Split, TableSink, Verdicts
from tagcorpus.pipelines.progress.progress_record import progress_writer
from tagcorpus.pipelines.readers.plan import PlannedFile
from tagcorpus.pipelines.storage.folder import Folder

SCHEMA = pa.schema(
    [pa.field("input", pa.string()), *KEYS, pa.field("is_kept", pa.bool_()), pa.field("reason", pa.string())]
)
"""`input` and `row` are the place, and `sub` the number of the document in its row. A row without a document has no `id`."""


def write_list(
    output: Folder,
    planned: PlannedFile,
    instance: Instance,
    verdicts: Verdicts,
    sink: BinaryIO,
    form: Literal["jsonl", "parquet"],
    only_kept: bool,
) -> Split:
    """Write an entry for each document, and for each row with a verdict that has none; return how many rows are kept, and removed.

    instance  whose parts have the documents' ids
    """
    kept, removed = 0, Counter[str]()
    name = valid_text(planned.file.name)
    rows = TableSink(sink, SCHEMA, "parquet") if form == "parquet" else _Lines(sink)
    with rows:
        for k, verdict in enumerate(verdicts):
            removed.update(reason for reason in verdict.values() if reason)
            kept += sum(not reason for reason in verdict.values())
            keys = part_of(output, planned, k, instance, [f.name for f in KEYS]).to_pylist()
            documents = [(key["row"], key["sub"], key["id"]) for key in keys]
            with_documents = {row for row, _, _ in documents}
            documents += [(row, 0, None) for row in verdict if row not in with_documents]
            documents.sort(key=lambda d: d[:2])
            entries = [
                (name, *d, not verdict[d[0]], verdict[d[0]] or None)
                for d in documents
                if not (only_kept and verdict[d[0]])
            ]
            columns = list(zip(*entries, strict=True)) or [()] * len(SCHEMA)
            arrays = [pa.array(c, f.type) for c, f in zip(columns, SCHEMA, strict=True)]
            rows.write(pa.record_batch(arrays, schema=SCHEMA))
            progress_writer().done(planned.chunks[k].rows, 0)
    return kept, removed


class _Lines:
    """One JSON object a line."""

    def __init__(self, sink: BinaryIO) -> None:
        self._sink = sink

    def write(self, batch: pa.RecordBatch) -> None:
        for entry in batch.to_pylist():
            self._sink.write(json.dumps(entry, ensure_ascii=False).encode() + b"\n")

    def __enter__(self) -> _Lines:
        return self

    def __exit__(self, *_: object) -> None:
        pass
