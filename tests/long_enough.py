"""A filter of datatrove's kind, for the tagger datatrove_filter: its version does not change with datatrove's."""

from __future__ import annotations

from datatrove.data import Document
from datatrove.pipeline.filters.base_filter import BaseFilter


class LongEnough(BaseFilter):
    """Keeps documents of at least 60 characters."""

    name = "LongEnough"

    def filter(self, doc: Document) -> bool | tuple[bool, str]:
        return len(doc.text) >= 60 or (False, "too_short")
