"""Attributes in Dolma's format: one JSON object a document with spans, in files named like the documents' files.

A span is [start, end, number] in characters of the text. Every tag describes the whole document, so that each attribute has one
span from 0 to the length of the text. Rules where Dolma's format has no place for a value:

  null, NaN, infinity  the attribute has no span
  boolean              1.0 or 0.0
  text                 an attribute `<instance>__<column>__<value>` with the number 1.0
  list                 left out, and the run says so
"""

from __future__ import annotations

import math
import shlex
from collections.abc import Iterator
from typing import Any

from tagcorpus.errors import ConfigError
from tagcorpus.pipelines.exporting.documents import Document, TaggedFiles
from tagcorpus.pipelines.exporting.json_lines import dumped
from tagcorpus.pipelines.readers.plan import PlannedFile


def check(tagged: TaggedFiles) -> None:
    """Raise ConfigError for an input that Dolma does not read: it takes JSON lines with one document a line."""
    others = [planned.file for planned in tagged.files if planned.file.format != "jsonl"]
    if others:
        output = shlex.quote(str(tagged.output))
        more = f" and {len(others) - 1:,} more files are" if len(others) > 1 else " is"
        raise ConfigError(
            f"Dolma reads JSON lines, and {others[0].path}{more} not. Run `tagcorpus export {output} documents.jsonl.gz`, "
            f"`tagcorpus join documents.jsonl.gz {output} --output joined.tagcorpus`, and export joined.tagcorpus in place of {output}; "
            "no tag is computed again"
        )


def attributes(tagged: TaggedFiles, planned: PlannedFile) -> Iterator[bytes]:
    """A line for each document of one file, in its order."""
    for k in range(len(planned.chunks)):
        for document in tagged.documents(planned, k):
            if document.has_own_text:
                raise ConfigError(
                    f"Dolma takes one text a line, and {planned.file.path} has samples of an evaluation harness: export to .jsonl "
                    "first"
                )
            spans = {name: _span(value, len(document.text)) for name, value in _numbers(document)}
            yield dumped({"id": document.id, "attributes": spans}) + b"\n"


def list_columns(tagged: TaggedFiles) -> list[str]:
    """The tags that the format has no place for."""
    from pyarrow import types

    return [f.name for f in tagged.schema() if types.is_nested(f.type)]


def _numbers(document: Document) -> Iterator[tuple[str, Any]]:
    for tag, value in document.tags.items():
        name = tag.replace(".", "__", 1)
        if isinstance(value, list | dict):
            continue
        if isinstance(value, str):
            yield f"{name}__{value}", 1.0
        else:
            yield name, value


def _span(value: Any, length: int) -> list[list[float]]:
    if value is None or not math.isfinite(value):
        return []
    return [[0, length, float(value)]]
