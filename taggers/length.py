"""length: how many Unicode code points a document has. No normalisation, no grapheme clusters, no bytes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pyarrow as pa

from tagcorpus.taggers._interface.base import PAPER, Parameters, column, columns_from
from tagcorpus.taggers._interface.batch import DocumentBatch


@dataclass(frozen=True)
class Length(Parameters):
    """Length in Unicode code points."""

    version: ClassVar[str] = "1"
    columns: ClassVar[pa.Schema] = columns_from(
        PAPER, column("char_len", pa.int64(), "length of the document", "code points")
    )

    def tag(self, batch: DocumentBatch) -> pa.RecordBatch:
        text = batch.table["text"]
        is_missing = np.asarray(text.is_null()) if text.null_count else None
        char_len = pa.array(batch.char_lengths, mask=is_missing)
        return pa.record_batch([char_len], schema=self.columns)


TAGGER = Length
