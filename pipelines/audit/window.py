"""How much of a document a tagger reads: documents longer than its window are judged in part."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from tagcorpus.pipelines.distributions.attribute_columns import AttributeColumn, Attributes, Rows

# Characters for each token where the output has no token counts: of English text with common tokenizers.
CHARS_PER_TOKEN = 4.0
IS_TRUNCATED = "is_truncated"


@dataclass
class Window:
    """The window of a column's tagger, and counts of the documents that are longer.

    size, unit  what the tagger reads of a document; size 0: the tagger marks the documents itself
    by          the column that says how long documents are, or that marks them
    scale       from the unit of `by` to the window's unit
    """

    size: float
    unit: str
    by: AttributeColumn
    scale: float = 1.0
    is_estimate: bool = False
    documents: int = 0
    longer: int = 0
    length: float = 0.0
    unread: float = 0.0

    def add(self, rows: Rows) -> None:
        lengths = rows.numbers(self.by) * self.scale
        lengths = lengths[np.isfinite(lengths)]
        self.documents += len(lengths)
        self.longer += int((lengths > self.size).sum())
        if self.size:
            self.length += float(lengths.sum())
            self.unread += float(np.maximum(lengths - self.size, 0).sum())

    def to_json(self) -> dict[str, Any]:
        return {
            "window": self.size or None,
            "unit": self.unit,
            "by": self.by.label,
            "is_estimate": self.is_estimate,
            "documents": self.documents,
            "in_part": self.longer,
            "share_in_part": self.longer / self.documents if self.documents else None,
            "share_unread": self.unread / self.length if self.size and self.length else None,
        }


def window_of(attributes: Attributes, column: AttributeColumn) -> tuple[Window | None, str]:
    """The window of the column's tagger, or None and why nothing can be said."""
    marks = [c for c in attributes.columns if c.instance == column.instance and c.name == IS_TRUNCATED]
    if marks and pa.types.is_boolean(marks[0].type):
        return Window(0, "marked by the tagger", marks[0]), ""
    size, unit = _declared(attributes, column)
    if not size:
        return None, f"the tagger of {column.instance} declares no window: it reads whole documents, or does not say"
    length, tokens = attributes.of_tagger("length", "char_len"), attributes.of_tagger("tokens", "num_tokens")
    if unit == "characters" and length is not None:
        return Window(size, unit, length), ""
    if unit == "tokens" and tokens is not None:
        # Counted by another tokenizer than the model's own.
        return Window(size, unit, tokens, is_estimate=True), ""
    if unit == "tokens" and length is not None:
        return Window(size, unit, length, 1 / CHARS_PER_TOKEN, is_estimate=True), ""
    return None, "the output has no lengths: tag with --taggers length to see which documents were judged in part"


def _declared(attributes: Attributes, column: AttributeColumn) -> tuple[float, str]:
    """Size and unit of what is read of a document: from the column's metadata (`window`, such as "4000 characters"), or from
    parameters of the tagger, times the number of `windows`."""
    meaning = attributes.meaning(column)
    declared = re.match(r"(\d+) (tokens|characters)", meaning.get("window", ""))
    if declared:
        return float(declared[1]), declared[2]
    size, unit = _of_parameters(attributes, column)
    return size * (1 + meaning.get("windows", "").count(",")), unit


def _of_parameters(attributes: Attributes, column: AttributeColumn) -> tuple[float, str]:
    """Size and unit of one window."""
    instance = attributes.instances[column.instance]
    parameters = instance.tagger.fingerprint()
    if parameters.get("max_tokens"):
        return float(parameters["max_tokens"]), "tokens"
    if instance.tagger_name == "fasttext" and parameters.get("max_chars"):
        return float(parameters["max_chars"]), "characters"
    if instance.tagger_name == "quality":
        from tagcorpus.taggers.quality import DEFAULT_MAX_TOKENS

        return float(DEFAULT_MAX_TOKENS), "tokens"
    if instance.tagger_name == "domain" and parameters.get("backend") == "fasttext":
        from tagcorpus.taggers._models.embedded_domain import MAX_CHARS

        return float(MAX_CHARS), "characters"
    return 0.0, ""
