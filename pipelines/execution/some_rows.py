"""Steps around a tagger that is to see only some documents of a chunk, while the part has a row for every one of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from tagcorpus.pipelines.attributes.batches import ChunkEnd, TaggedBatch
from tagcorpus.taggers._interface.batch import DocumentBatch


@dataclass
class ChosenBatch(TaggedBatch):
    """A batch without the documents that were not chosen; `whole` has all of them, `chosen` bool [rows of whole] says which.
    `before`, by instance: the columns of all rows as they were, where the rows not chosen keep them."""

    whole: DocumentBatch | None = None
    chosen: npt.NDArray[np.bool_] | None = None
    before: Mapping[str, pa.RecordBatch] = field(default_factory=dict)


def choose(
    item: TaggedBatch, chosen: npt.NDArray[np.bool_], before: Mapping[str, pa.RecordBatch] | None = None
) -> ChosenBatch:
    """The batch with the chosen documents only."""
    some = DocumentBatch(item.documents.table.filter(pa.array(chosen)))
    fields = vars(item) | {"documents": some}
    return ChosenBatch(**fields, whole=item.documents, chosen=chosen, before=before or {})


class Whole:
    """Makes of what `choose` left and taggers added batches of all documents again. A row that was not chosen keeps the columns
    that it had before; without any it has no values, and `absent_stage` as its stage."""

    def __init__(self, absent_stage: str = "") -> None:
        self.absent_stage = absent_stage

    def run(self, data: Iterable[TaggedBatch | ChunkEnd], _rank: int = 0) -> Iterator[TaggedBatch | ChunkEnd]:
        for item in data:
            if isinstance(item, ChosenBatch) and item.whole is not None and item.chosen is not None:
                added = {
                    name: self._spread(batch, item.chosen, item.before.get(name))
                    for name, batch in item.attributes.items()
                }
                yield TaggedBatch(
                    item.whole, item.instances, added, item.failures, item.counts, item.remarks, item.unread
                )
            else:
                yield item

    def _spread(
        self, added: pa.RecordBatch, chosen: npt.NDArray[np.bool_], before: pa.RecordBatch | None
    ) -> pa.RecordBatch:
        places = pa.array(np.cumsum(chosen) - 1, pa.int64(), mask=~chosen)
        columns = [c.take(places) for c in added.columns]
        if before is not None:
            rows = pa.array(chosen)
            columns = [pc.if_else(rows, new, old) for new, old in zip(columns, before.columns, strict=True)]
        else:
            stage = added.schema.get_field_index("stage")
            columns[stage] = pc.if_else(pa.array(chosen), columns[stage], self.absent_stage)
        return pa.record_batch(columns, schema=added.schema)
