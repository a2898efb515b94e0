"""`--retry-errors`: label documents again to which an LLM gave no label. The rows of all other documents stay as they are."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator

import numpy as np
import pyarrow as pa

from tagcorpus.pipelines.attributes.batches import ChunkEnd, TaggedBatch
from tagcorpus.pipelines.attributes.parts import KEYS, Instance, part_name, part_of, replaced
from tagcorpus.pipelines.attributes.resuming import ResumeState
from tagcorpus.pipelines.execution.engine import Engine
from tagcorpus.pipelines.execution.some_rows import choose
from tagcorpus.pipelines.execution.workers import Step
from tagcorpus.pipelines.progress.amounts import counted
from tagcorpus.pipelines.readers.plan import Plan
from tagcorpus.pipelines.readers.reader import ReaderOptions
from tagcorpus.pipelines.storage.folder import Folder

ERROR_COLUMN = "error"


def to_retry(
    engine: Engine, plan: Plan, instance: Instance, before: ResumeState, otherwise: Step | None = None
) -> tuple[ResumeState, list[Step]]:
    """The resume state where chunks with unlabelled documents are pending, and the step that passes only these documents on."""
    output = engine.run.output
    counts = with_errors(engine, plan, instance, before)
    n = sum(counts.values())
    engine.run.display.say(f"{counted(n, 'document')} without a label to be asked about again (--retry-errors)")
    step = Unlabelled(output, plan, engine.reader_options, instance, counts, otherwise)
    return without(before, counts), [step]


def with_errors(engine: Engine, plan: Plan, instance: Instance, before: ResumeState) -> dict[int, int]:
    """By rank, how many documents without a label the part of a chunk has; only chunks that have any and are done."""
    counts = {}
    for rank, name in before.done:
        planned, k = plan.chunks[rank]
        if name == instance.name:
            part = part_of(engine.run.output, planned, k, instance, [ERROR_COLUMN], engine.reader_options)
            errors = part[ERROR_COLUMN]
            if n := len(errors) - errors.null_count:
                counts[rank] = n
    return counts


def without(before: ResumeState, ranks: Collection[int]) -> ResumeState:
    """The resume state with these chunks pending."""
    done = {(rank, name): counts for (rank, name), counts in before.done.items() if rank not in ranks}
    return ResumeState(done, before.stale, before.damaged, before.proven)


class Unlabelled:
    """Passes on the unlabelled documents of chunks that have parts. Other chunks pass whole, or through the step `otherwise`."""

    def __init__(
        self,
        output: Folder,
        plan: Plan,
        reader_options: ReaderOptions,
        instance: Instance,
        ranks: Collection[int],
        otherwise: Step | None = None,
    ) -> None:
        self.output, self.chunks, self.reader_options, self.instance = output, plan.chunks, reader_options, instance
        self.ranks, self.otherwise = frozenset(ranks), otherwise

    def run(self, data: Iterable[TaggedBatch | ChunkEnd], rank: int = 0) -> Iterator[TaggedBatch | ChunkEnd]:
        if rank not in self.ranks:
            yield from data if self.otherwise is None else self.otherwise.run(data, rank)
            return
        part, start = self._part(rank), 0
        for item in data:
            if isinstance(item, ChunkEnd):
                yield item
                continue
            n = item.documents.num_rows
            rows, start = part.slice(start, n), start + n
            if not rows.select(["row", "sub"]).equals(item.documents.table.select(["row", "sub"])):
                raise replaced(self.output, self._part_name(rank))
            columns = rows.drop_columns([key.name for key in KEYS]).combine_chunks()
            (kept,) = columns.to_batches() or [pa.RecordBatch.from_pylist([], schema=columns.schema)]
            is_unlabelled = np.asarray(columns[ERROR_COLUMN].is_valid())
            yield choose(item, is_unlabelled, {self.instance.name: kept})

    def _part(self, rank: int) -> pa.Table:
        """The current part. Raises ReplacedError where another run has replaced the part."""
        planned, k = self.chunks[rank]
        return part_of(self.output, planned, k, self.instance, None, self.reader_options)

    def _part_name(self, rank: int) -> str:
        planned, k = self.chunks[rank]
        return part_name(self.instance.name, planned.file.name, k)
