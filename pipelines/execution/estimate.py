"""What a run will cost, for `--dry-run`: bytes to read, objects and bytes to write, hours of CPU.

Nothing is asked of an LLM and nothing is written to the output. The first, the middle and the last pending chunk are
begun: up to 2 MB of each one's documents, or a second and a half a tagger, are tagged, and the parts that come of it are
built in a temporary folder. What that took is scaled to all pending chunks by their bytes (of a table, whose chunks are
rows, by the bytes of text that a row has on average). So it is an estimate: a corpus that is not alike throughout can be
off by much, waiting for a store is no CPU time, and the same machine under other load takes another time.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from tagcorpus.pipelines.attributes.batches import TaggedBatch
from tagcorpus.pipelines.attributes.parts import Instance, write_part
from tagcorpus.pipelines.execution.steps import Tag
from tagcorpus.pipelines.formats import tables
from tagcorpus.pipelines.inputs.chunks import Counts
from tagcorpus.pipelines.readers.plan import Plan, plan_name
from tagcorpus.pipelines.readers.reader import ChunkReader, ReaderOptions
from tagcorpus.pipelines.storage.folder import Folder, temporary_folder
from tagcorpus.taggers._interface.batch import DocumentBatch

PROBE_BYTES = 2_000_000
PROBE_SECONDS = 1.5
FIRST_ROWS = 16
# Of every run: command.json, ledger.json and log.txt, and the summary as .json and .csv.
OF_A_RUN = 5
# What a document has on average where no probe says it.
BYTES_PER_ROW = 2_000


@dataclass
class Probe:
    """What was measured. `share_bytes` are the input's bytes that the probed rows stand for."""

    chunks: int = 0
    rows: int = 0
    text_bytes: int = 0
    share_bytes: float = 0.0
    seconds: float = 0.0
    part_bytes: float = 0.0
    row_bytes: float = BYTES_PER_ROW
    empty_parts: dict[str, int] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        return {
            "chunks": self.chunks,
            "rows": self.rows,
            "text_bytes": self.text_bytes,
            "cpu_seconds": round(self.seconds, 3),
            "part_bytes": round(self.part_bytes),
        }


def estimate(
    output: Folder,
    plan: Plan,
    reader_options: ReaderOptions,
    instances: Sequence[Instance],
    todo: Sequence[frozenset[str]],
    *,
    is_probed: bool,
) -> dict[str, Any]:
    """bytes_to_read, objects_to_write, bytes_to_write, cpu_hours, and the probe behind them.

    todo       per chunk of the plan, the names of the instances still to compute
    is_probed  without it (an LLM would be asked), bytes_to_write, cpu_hours and probe are None
    Bytes to read count the planning of files that are not planned yet, of Parquet only the columns that are needed, and
    of a compressed file all up to the last pending chunk. Raises what reading and tagging raise.
    """
    pending = [rank for rank, names in enumerate(todo) if names]
    unplanned = {f.file.name for f in plan.files if not output.exists(plan_name(f.file.name))}
    claims_and_digests = 2 * len(set().union(*todo))
    value: dict[str, Any] = {
        "bytes_to_read": _bytes_to_read(plan, reader_options, pending, unplanned),
        "objects_to_write": sum(map(len, todo)) + len(unplanned) + OF_A_RUN + claims_and_digests,
        "bytes_to_write": None,
        "cpu_hours": None,
        "probe": None,
    }
    if not is_probed:
        return value
    probe = _probe(plan, reader_options, instances, todo, pending)
    total = sum(_size(plan, rank, probe.row_bytes) for rank in pending)
    factor = total / probe.share_bytes if probe.share_bytes else 0.0
    empty = sum(probe.empty_parts.get(name, 0) for names in todo for name in names)
    value["bytes_to_write"] = round(probe.part_bytes * factor) + empty
    value["cpu_hours"] = probe.seconds * factor / 3600
    value["probe"] = probe.to_json()
    return value


def _probe(
    plan: Plan,
    reader_options: ReaderOptions,
    instances: Sequence[Instance],
    todo: Sequence[frozenset[str]],
    pending: Sequence[int],
) -> Probe:
    probe = Probe()
    folder = temporary_folder()
    try:
        scratch = Folder(folder)
        for rank in sorted({pending[i * (len(pending) - 1) // 2] for i in range(3)} if pending else ()):
            _probe_chunk(probe, scratch, plan, reader_options, [i for i in instances if i.name in todo[rank]], rank)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return probe


def _probe_chunk(
    probe: Probe, scratch: Folder, plan: Plan, reader_options: ReaderOptions, instances: Sequence[Instance], rank: int
) -> None:
    planned, k = plan.chunks[rank]
    reader = ChunkReader(planned.file, planned.chunks[k], reader_options)
    started = time.process_time()
    batch = next(iter(reader), None)
    seconds = time.process_time() - started
    if batch is None or not reader.counts.lines:
        return
    probe.chunks += 1
    rows = _rows_of(batch, PROBE_BYTES)
    text_bytes = sum(len(text.encode()) for text in batch.texts[:rows])
    # Rows read so far of all rows in the chunk: what the whole chunk would be, of which these rows are a part.
    lines = reader.counts.lines * rows / batch.num_rows
    if planned.file.is_table:
        probe.row_bytes = max(1.0, text_bytes / lines)
        share = lines * probe.row_bytes
    else:
        share = _size(plan, rank, probe.row_bytes) * min(1.0, lines / planned.chunks[k].rows)
    seconds *= rows / batch.num_rows
    for instance in instances:
        if instance.name not in probe.empty_parts:
            probe.empty_parts[instance.name] = _part_bytes(scratch, instance, [])
        took, tagged, batches = _tagged(instance, batch.slice(0, rows))
        seconds += took * rows / tagged
        probe.part_bytes += (_part_bytes(scratch, instance, batches) - probe.empty_parts[instance.name]) * rows / tagged
    probe.rows += rows
    probe.text_bytes += text_bytes
    probe.share_bytes += share
    probe.seconds += seconds


def _tagged(instance: Instance, batch: DocumentBatch) -> tuple[float, int, list[pa.RecordBatch]]:
    """CPU seconds, rows tagged, and their columns. Each slice has twice the rows of the one before, for PROBE_SECONDS in all."""
    step, names = Tag(instance), frozenset({instance.name})
    list(step.run([TaggedBatch(batch.slice(0, 1), names)]))  # loads models and compiled code, which every run does
    seconds, at, rows = 0.0, 0, FIRST_ROWS
    began = time.perf_counter()
    batches: list[pa.RecordBatch] = []
    while at < batch.num_rows and (at == 0 or time.perf_counter() - began < PROBE_SECONDS):
        some = batch.slice(at, min(rows, batch.num_rows - at))
        started = time.process_time()
        (item,) = step.run([TaggedBatch(some, names)])
        seconds += time.process_time() - started
        assert isinstance(item, TaggedBatch)
        added = item.attributes[instance.name]
        keys = item.documents.table.select(["row", "sub", "id"]).to_batches()[0]
        schema = pa.schema([*keys.schema, *added.schema])
        batches.append(pa.record_batch([*keys.columns, *added.columns], schema=schema))
        at += some.num_rows
        rows *= 2
    return seconds, at, batches


def _part_bytes(scratch: Folder, instance: Instance, batches: list[pa.RecordBatch]) -> int:
    write_part(scratch, "part.parquet", instance.tagger.columns, batches, "0" * 32, Counts())
    return scratch.size("part.parquet")


def _rows_of(batch: DocumentBatch, n_bytes: int) -> int:
    """So many rows from the front have about that many bytes; at least one."""
    size = 0
    for row, text in enumerate(batch.texts):
        size += len(text)
        if size >= n_bytes:
            return row + 1
    return int(batch.num_rows)


def _size(plan: Plan, rank: int, row_bytes: float) -> float:
    """Bytes of a chunk, as it is read; of a table, about those of its text."""
    planned, k = plan.chunks[rank]
    chunk = planned.chunks[k]
    return chunk.rows * row_bytes if planned.file.is_table else chunk.end - chunk.start


def _bytes_to_read(plan: Plan, reader_options: ReaderOptions, pending: Sequence[int], unplanned: set[str]) -> int:
    pending_chunks: dict[str, list[int]] = {}
    for rank in pending:
        planned, k = plan.chunks[rank]
        pending_chunks.setdefault(planned.file.name, []).append(k)
    columns = reader_options.fields.top_columns()
    total = 0
    for planned in plan.files:
        file, ks = planned.file, pending_chunks.get(planned.file.name, [])
        rows = [(planned.chunks[k].start, planned.chunks[k].end) for k in ks]
        if file.format == "parquet":
            total += tables.stored_bytes(file, columns, rows)
            total += tables.stored_bytes(file, columns, [(0, planned.rows)]) if file.name in unplanned else 0
            continue
        whole, planned_units = file.size(), max((r.end for r in planned.chunks), default=0)
        total += whole if file.name in unplanned else 0
        if file.compression or file.format == "arrow":
            last = max((end for _, end in rows), default=0)
            total += round(whole * last / planned_units) if planned_units else 0
        else:
            total += sum(end - start for start, end in rows)
    return total
