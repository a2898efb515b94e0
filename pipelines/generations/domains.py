"""Domains of the documents that count: what `run domain` does, for chosen rows only.

A part has a row for every document all the same. That of one that was not chosen has no prediction, and the stage
`not_selected`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from datatrove.pipeline.base import PipelineStep

from tagcorpus.pipelines import domain
from tagcorpus.pipelines.domain import NOT_SELECTED
from tagcorpus.pipelines.execution.engine import Engine
from tagcorpus.pipelines.generations.kept import Choice
from tagcorpus.pipelines.outputs.batches import RangeEnd, TaggedBatch
from tagcorpus.pipelines.outputs.sidecars import Instance
from tagcorpus.pipelines.sources.plan import Plan
from tagcorpus.taggers._batch import DocumentBatch
from tagcorpus.taggers.domain import Domain


@dataclass
class ChosenBatch(TaggedBatch):
    """A batch without the documents that were not chosen; `whole` has all of them, `chosen` bool [rows of whole] says which."""

    whole: DocumentBatch | None = None
    chosen: npt.NDArray[np.bool_] | None = None


class Choose(PipelineStep):
    """Leaves of every batch the chosen documents."""

    type = "choose"
    name = "Choose"

    def __init__(self, plan: Plan, choice: Choice) -> None:
        super().__init__()
        self.ranges, self.choice = plan.ranges, choice

    def run(
        self,
        data: Iterable[TaggedBatch | RangeEnd],
        rank: int = 0,
        world_size: int = 1,  # noqa: ARG002
    ) -> Iterator[TaggedBatch | RangeEnd]:
        rows = self.choice.rows(*self.ranges[rank])
        for item in data:
            if isinstance(item, RangeEnd):
                yield item
                continue
            table = item.documents.table
            chosen = rows.next(table["row"].to_numpy(), table["sub"].to_numpy())
            some = DocumentBatch(table.filter(pa.array(chosen)))
            yield ChosenBatch(
                some, item.wanted, item.attributes, item.failures, item.counts, item.remarks, item.documents, chosen
            )


class Whole(PipelineStep):
    """Makes of what `Choose` left and taggers added batches of all documents again."""

    type = "whole"
    name = "Whole"

    def run(
        self,
        data: Iterable[TaggedBatch | RangeEnd],
        rank: int = 0,  # noqa: ARG002
        world_size: int = 1,  # noqa: ARG002
    ) -> Iterator[TaggedBatch | RangeEnd]:
        for item in data:
            if isinstance(item, ChosenBatch) and item.whole is not None and item.chosen is not None:
                added = {name: _spread(batch, item.chosen) for name, batch in item.attributes.items()}
                yield TaggedBatch(item.whole, item.wanted, added, item.failures, item.counts, item.remarks)
            else:
                yield item


def _spread(added: pa.RecordBatch, chosen: npt.NDArray[np.bool_]) -> pa.RecordBatch:
    places = pa.array(np.cumsum(chosen) - 1, pa.int64(), mask=~chosen)
    columns = [c.take(places) for c in added.columns]
    stage = added.schema.get_field_index("stage")
    columns[stage] = pc.if_else(pa.array(chosen), columns[stage], NOT_SELECTED)
    return pa.record_batch(columns, schema=added.schema)


def label(engine: Engine, plan: Plan, instance: Instance, choice: Choice) -> tuple[Instance, list[str], dict[str, Any]]:
    """Label what is chosen and not labelled yet. The instance as the parts know it, messages, and what an LLM was used for.

    Raises what `run domain` raises; nothing is asked where it could cost more than max_requests.
    """
    run, tagger = engine.run, instance.tagger
    assert isinstance(tagger, Domain)
    is_asking = tagger.backend == "openai"
    chosen = replace(instance, chosen=choice.identities(plan), is_whole_enough=not choice.last)
    steps = [Choose(plan, choice)]
    messages: list[str] = []
    before = engine.prepare(plan, [chosen], size=f"domains by {tagger.answered_by}")
    pending = before.pending(len(plan.ranges), [chosen])
    workers = domain.workers_asking(run.options, is_asking=is_asking and bool(pending))
    if is_asking and pending:
        messages.append(domain.budget(engine, plan, tagger, pending, steps, _label_less(tagger, choice)))
    with domain.asking(run, tagger):
        engine.compute(plan, [chosen], before, workers=workers, threads=is_asking, around=(steps, [Whole()]))
    if not is_asking:
        return chosen, messages, {}
    told: Mapping[str, Any] = domain.label_counts(run, plan, chosen)
    messages += domain.oddities(run, tagger, told)
    return chosen, messages, tagger.usage()


def _label_less(tagger: Domain, choice: Choice) -> str:
    """How to stay within the budget: by a sample of each group, small enough that all of them have theirs."""
    fits = tagger.max_requests // max(tagger.worst_case_calls * len(choice.groups), 1)
    if not fits:
        return "label a random sample of each model's generations with --set domain.sample=N"
    return (
        f"label a random sample of each model's generations: with --set domain.sample={fits} there are never more calls than "
        "that"
    )
