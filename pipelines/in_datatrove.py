"""Our taggers inside a datatrove pipeline of the user's own: `TagDocuments` stands between a reader and a writer."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

from datatrove.data import Document
from datatrove.pipeline.base import PipelineStep

from tagcorpus.pipelines.attributes.batches import TaggedBatch
from tagcorpus.pipelines.attributes.parts import Instance, needed
from tagcorpus.pipelines.execution.steps import Tag
from tagcorpus.pipelines.inputs.records import further_value, repair
from tagcorpus.pipelines.options.tagger_names import instance_names
from tagcorpus.pipelines.readers.reader import BATCH_ROWS
from tagcorpus.pipelines.runs.instances import load_free
from tagcorpus.taggers._interface.batch import DocumentBatch


class TagDocuments(PipelineStep):
    """Writes `<instance>.<column>` into every document's metadata, as native Python values; missing values are None.

    taggers     names, or `instance=tagger`
    parameters  of each instance, by its name
    A document that a tagger raises on passes on with None for its columns and the error in `<instance>.error`; it is
    counted in the step's statistics as `<instance>_failed`. Raises ConfigError for unknown names and parameters, and for
    `domain` with an LLM (use `tagcorpus.run`).
    """

    type = "tag"
    name = "tagcorpus"

    def __init__(self, taggers: Sequence[str] | str, parameters: Mapping[str, Mapping[str, Any]] | None = None) -> None:
        super().__init__()
        given = parameters or {}
        names = instance_names([taggers] if isinstance(taggers, str) else list(taggers))
        self.steps = [
            Tag(Instance(name, tagger, load_free(tagger, given.get(name, {}), name))) for name, tagger in names.items()
        ]

    def run(
        self,
        data: Iterable[Document],
        rank: int = 0,  # noqa: ARG002
        world_size: int = 1,  # noqa: ARG002
    ) -> Iterator[Document]:
        documents = iter(data)
        while batch := list(islice(documents, BATCH_ROWS)):
            with self.track_time("batch"):
                self._tag(batch)
            yield from batch

    def _tag(self, documents: Sequence[Document]) -> None:
        columns = {c: [further_value(d.metadata, c) for d in documents] for c in needed(s.instance for s in self.steps)}
        batch = DocumentBatch.from_texts([repair(d.text) for d in documents], columns=columns)
        item = TaggedBatch(batch, frozenset(s.instance.name for s in self.steps))
        for step in self.steps:
            list(step.run([item]))
            name = step.instance.name
            columns = {f"{name}.{c}": v for c, v in item.attributes[name].to_pydict().items()}
            for i, document in enumerate(documents):
                document.metadata.update({c: values[i] for c, values in columns.items()})
            for failure in item.failures.get(name, ()):
                documents[failure["row"]].metadata[f"{name}.error"] = failure["message"]
                self.stat_update(f"{name}_failed")
