"""Domains of the documents that count: what `run domain` does, for chosen rows only.

A part has a row for every document all the same. That of one that was not chosen has no prediction, and the stage
`not_selected`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from tagcorpus.pipelines.attributes.batches import ChunkEnd, TaggedBatch
from tagcorpus.pipelines.attributes.parts import Instance
from tagcorpus.pipelines.execution.engine import Engine
from tagcorpus.pipelines.execution.some_rows import choose
from tagcorpus.pipelines.group_statistics.kept import Choice
from tagcorpus.pipelines.labelling.label_counts import NOT_SELECTED, label_counts, oddities
from tagcorpus.pipelines.labelling.label_documents import label_documents
from tagcorpus.pipelines.readers.plan import Plan
from tagcorpus.taggers.domain import Domain


class Choose:
    """Leaves of every batch the chosen documents."""

    def __init__(self, plan: Plan, choice: Choice) -> None:
        self.chunks, self.choice = plan.chunks, choice

    def run(self, data: Iterable[TaggedBatch | ChunkEnd], rank: int = 0) -> Iterator[TaggedBatch | ChunkEnd]:
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
    chosen = replace(instance, chosen=choice.identities(plan), is_whole_enough=not choice.last)
    messages = label_documents(
        engine,
        plan,
        chosen,
        choose=Choose(plan, choice),
        absent_stage=NOT_SELECTED,
        is_later_pass=True,
        label_less=_label_less(tagger, choice),
    )
    if tagger.backend == "openai":
        messages += oddities(run, tagger, label_counts(run, plan, chosen))
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
