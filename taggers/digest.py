"""digest: a fingerprint of the text, by which tags follow a document into other files (`tagcorpus join`)."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import ClassVar

import pyarrow as pa
import xxhash

from tagcorpus.taggers._interface.base import OURS, Parameters, column, columns_from
from tagcorpus.taggers._interface.batch import DocumentBatch


@dataclass(frozen=True)
class Digest(Parameters):
    """Digest of the text. Equal texts have equal digests."""

    version: ClassVar[str] = "1"
    columns: ClassVar[pa.Schema] = columns_from(
        OURS, column("text_digest", pa.string(), "xxh3-128 of the text's UTF-8 bytes", "hexadecimal")
    )

    def tag(self, batch: DocumentBatch) -> pa.RecordBatch:
        return pa.record_batch([pa.array(digests_of(batch), pa.string())], schema=self.columns)


def digests_of(batch: DocumentBatch) -> list[str]:
    """The digest of each text."""
    data, offsets = batch.utf8
    return [xxhash.xxh3_128_hexdigest(data[a:b].data) for a, b in itertools.pairwise(offsets)]


TAGGER = Digest
