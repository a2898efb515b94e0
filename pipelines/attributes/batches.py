"""What travels between the steps of a pipeline: batches of documents with their attributes, and how a chunk ended."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from tagcorpus.pipelines.attributes.unread import Unread
from tagcorpus.pipelines.inputs.chunks import Counts
from tagcorpus.pipelines.inputs.quarantine import Quarantine
from tagcorpus.pipelines.storage.folder import Folder
from tagcorpus.taggers._interface.batch import DocumentBatch


@dataclass
class TaggedBatch:
    """Documents with the columns of each instance. `failures` are the rows on which a tagger raised."""

    documents: DocumentBatch
    instances: frozenset[str]
    """Those that are still to compute for this chunk."""
    attributes: dict[str, pa.RecordBatch] = field(default_factory=dict)
    failures: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    counts: Counts = field(default_factory=Counts)
    """The reader's counts up to the end of this batch. They change when the next batch is read."""
    remarks: dict[str, dict[str, int]] = field(default_factory=dict)
    """By instance: counts that its tagger keeps besides its columns."""
    unread: dict[str, Unread] = field(default_factory=dict)
    """By instance: what its tagger did not read of these documents."""


@dataclass(frozen=True)
class ChunkEnd:
    """The end of a chunk, with the reader's counts and quarantine.

    columns  columns besides the text that taggers need and at least one document has
    """

    counts: Counts
    quarantine: Quarantine
    columns: frozenset[str] = frozenset()


@dataclass(frozen=True)
class ChunkReport:
    """A worker's report of a chunk that it has published."""

    rank: int
    counts: dict[str, Counts]
    seconds: float
    digests: dict[str, str] = field(default_factory=dict)
    """By instance, the entry of its part for `outputs.digests`."""
    columns: frozenset[str] = frozenset()
    """As in ChunkEnd."""


def publish_quarantine(output: Folder, name: str, entries: Quarantine) -> None:
    """Publish the entries; without entries, remove the file of an earlier run."""
    if len(entries):
        with output.publishing(name) as sink:
            entries.copy_to(sink)
    elif output.exists(name):
        output.remove(name)  # from earlier content of this chunk
