"""Domains of the documents that count: what `run domain` does, for chosen rows only.

A part has a row for every document all the same. That of one that was not chosen has no prediction, and the stage
`not_selected`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from datatrove.pipeline.base import PipelineStep

from tagcorpus.pipelines.attributes.batches import ChunkEnd, TaggedBatch
from tagcorpus.pipelines.attributes.parts import Instance
from tagcorpus.pipelines.execution.engine import Engine
from tagcorpus.pipelines.execution.some_rows import Whole, choose
from tagcorpus.pipelines.group_statistics.kept import Choice
from tagcorpus.pipelines.labelling.backend import workers_asking
from tagcorpus.pipelines.labelling.budget import asking, budget
from tagcorpus.pipelines.labelling.label_counts import NOT_SELECTED, label_counts, oddities
from tagcorpus.pipelines.labelling.unlabelled import to_retry
from tagcorpus.pipelines.options.of_pipelines import FeaturesOptions
from tagcorpus.pipelines.readers.plan import Plan
from tagcorpus.taggers.domain import Domain


class Choose(PipelineStep):
    """Leaves of every batch the chosen documents."""

    type = "choose"
    name = "Choose"

    def __init__(self, plan: Plan, choice: Choice) -> None:
        super().__init__()
        self.chunks, self.choice = plan.chunks, choice

    def run(
        self,
        data: Iterable[TaggedBatch | ChunkEnd],
        rank: int = 0,
        world_size: int = 1,  # noqa: ARG002
    ) -> Iterator[TaggedBatch | ChunkEnd]:
        rows = self.choice.rows(*self.chunks[rank])
        for item in data:
            if isinstance(item, ChunkEnd):
                yield item
                continue
            table = item.documents.table
            chosen = rows.next(table["row"].to_numpy(), table["sub"].to_numpy())
            yield choose(item, chosen)


def label(engine: Engine, plan: Plan, instance: Instance, choice: Choice) -> tuple[Instance, list[str]]:
    """Label what is chosen and not labelled yet. The instance as the parts know it, and messages.

    Raises what `run domain` raises; nothing is asked where it could cost more than max_requests.
    """
    run, tagger = engine.run, instance.tagger
    assert isinstance(tagger, Domain)
    is_asking = tagger.backend == "openai"
    chosen = replace(instance, chosen=choice.identities(plan), is_whole_enough=not choice.last)
    steps: list[PipelineStep] = [Choose(plan, choice)]
    messages: list[str] = []
    before = engine.prepare(plan, [chosen], size=f"domains by {tagger.answered_by}")
    assert isinstance(run.options, FeaturesOptions)
    if run.options.retry_errors:
        before, steps = to_retry(engine, plan, chosen, before, steps[0])
    pending = before.pending(len(plan.chunks), [chosen])
    allowance = None
    if is_asking and pending:
        allowance = budget(engine, plan, tagger, pending, steps, _label_less(tagger, choice))
        messages.append(allowance.message)
    workers = workers_asking(run.options, is_asking=allowance is not None)
    with asking(run, tagger, allowance):
        around = (steps, [Whole(NOT_SELECTED)])
        engine.compute(plan, [chosen], before, workers=workers, threads=is_asking, around=around)
    if not is_asking:
        return chosen, messages
    told: Mapping[str, Any] = label_counts(run, plan, chosen)
    messages += oddities(run, tagger, told)
    return chosen, messages


def _label_less(tagger: Domain, choice: Choice) -> str:
    """How to stay within the budget: by a sample of each group, small enough that all of them have theirs."""
    fits = tagger.max_requests // max(tagger.worst_case_calls * len(choice.groups), 1)
    if not fits:
        return "label a random sample of each model's generations with --set domain.sample=N"
    return (
        f"label a random sample of each model's generations: with --set domain.sample={fits} there are never more calls than "
        "that"
    )
