"""What travels between the steps of a pipeline: batches of documents with their attributes, and how a chunk ended."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from tagcorpus.pipelines.inputs.chunks import Counts
from tagcorpus.pipelines.inputs.quarantine import Quarantine
from tagcorpus.pipelines.storage.folder import Folder
from tagcorpus.taggers._interface.batch import DocumentBatch


@dataclass
class TaggedBatch:
    """Documents, and what each instance made of them; `failures` are rows that a tagger raised on."""

    documents: DocumentBatch
    wanted: frozenset[str]
    attributes: dict[str, pa.RecordBatch] = field(default_factory=dict)
    failures: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    counts: Counts = field(default_factory=Counts)
    """The reader's own; until the next batch is asked for, what it has counted up to the end of this one."""
    remarks: dict[str, dict[str, int]] = field(default_factory=dict)
    """By instance, what its tagger counts besides its columns."""


@dataclass(frozen=True)
class ChunkEnd:
    """The reader has come to the end of the chunk; this is what it counted and quarantined.

    columns  those that taggers need besides the text and that some document has
    """

    counts: Counts
    quarantine: Quarantine
    columns: frozenset[str] = frozenset()


@dataclass(frozen=True)
class ChunkReport:
    """What a worker says of a range it has published."""

    rank: int
    counts: dict[str, Counts]
    seconds: float
    digests: dict[str, str] = field(default_factory=dict)
    """By instance, the entry of its part for `outputs.digests`."""
    columns: frozenset[str] = frozenset()
    """As in RangeEnd."""


def publish_quarantine(output: Folder, name: str, entries: Quarantine) -> None:
    """Publish the entries, or see to it that there is no such file."""
    if len(entries):
        with output.publishing(name) as sink:
            entries.copy_to(sink)
    elif output.exists(name):
        output.remove(name)  # left by an earlier content of this range
