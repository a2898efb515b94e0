"""Documents read again from the input files, by their places. Text is cut to an excerpt; nothing is escaped here.

Of a JSON Lines chunk, only the lines of sampled documents are parsed. The chunk's bytes are compared with the plan's digest, so
that no document of a changed file is shown.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import pyarrow as pa

from tagcorpus.errors import IncompleteError, TagcorpusError
from tagcorpus.pipelines.formats import lines
from tagcorpus.pipelines.inputs.input_files import InputFile
from tagcorpus.pipelines.inputs.records import BadRecord, exact_id, parse, repair
from tagcorpus.pipelines.readers.plan import PlannedFile
from tagcorpus.pipelines.readers.reader import ChunkReader, ReaderOptions, _stream

EXCERPT_CHARS = 600


class Place(NamedTuple):
    """A document's place: file and chunk by their positions in the plan, then row and sub."""

    file: int
    range: int
    row: int
    sub: int


@dataclass(frozen=True)
class Excerpt:
    """The beginning of a document and its whole length in characters; without text, `problem` says why there is none."""

    text: str | None
    n_chars: int = 0
    problem: str = ""


def excerpts(files: Sequence[PlannedFile], places: Iterable[Place], *, may_fetch: bool = True) -> dict[Place, Excerpt]:
    """The excerpt of each place. A plan may come from a stranger, and so may its paths. Therefore a chunk must have the planned
    digest, only regular files are opened, and URLs are fetched only with `may_fetch`."""
    by_chunk: dict[tuple[int, int], list[Place]] = {}
    for place in sorted(places):
        by_chunk.setdefault((place.file, place.range), []).append(place)
    by_place: dict[Place, Excerpt] = {}
    for (f, k), in_chunk in by_chunk.items():
        texts: dict[tuple[int, int], str] = {}
        problem = "its row is not in the input any more"
        if refusal := _refusal(files[f].file, may_fetch=may_fetch):
            by_place |= {place: Excerpt(None, 0, refusal) for place in in_chunk}
            continue
        try:
            reader_options = replace(files[f].reader_options, sample=1.0)
            keys = {(p.row, p.sub) for p in in_chunk}
            documents = _documents(files[f], k, reader_options, {p.row for p in in_chunk})
            texts = {key: text for key, text in documents if key in keys}
        except FileNotFoundError:
            problem = f"the input is not at {files[f].file.path} any more"
        except IncompleteError:
            texts, problem = {}, f"the input at {files[f].file.path} has changed since it was tagged"
        except (TagcorpusError, OSError, pa.ArrowException, ValueError, KeyError) as error:
            texts, problem = {}, f"the input at {files[f].file.path} cannot be read: {error}"
        for place in in_chunk:
            text = texts.get((place.row, place.sub))
            by_place[place] = Excerpt(None, 0, problem) if text is None else Excerpt(text[:EXCERPT_CHARS], len(text))
    return by_place


def _refusal(file: InputFile, *, may_fetch: bool) -> str:
    """The reason not to open a file; empty for a file that may be opened."""
    if not file.is_local:
        return "" if may_fetch else f"the input is at {file.path}, which is not fetched without --storage-options"
    try:
        is_regular = stat.S_ISREG(os.stat(file.path).st_mode)
    except (OSError, ValueError):
        return ""  # the error of reading has the reason
    return "" if is_regular else f"{file.path} is not a regular file"


def _documents(
    planned: PlannedFile, k: int, reader_options: ReaderOptions, rows: set[int]
) -> Iterator[tuple[tuple[int, int], str]]:
    """(row, sub) and text of the documents in these rows of a chunk. Formats other than JSON Lines give all rows."""
    chunk = planned.chunks[k]
    if planned.file.format != "jsonl":
        for batch in ChunkReader(planned.file, chunk, reader_options):
            pairs = zip(batch.table["row"].to_pylist(), batch.table["sub"].to_pylist(), strict=True)
            yield from zip(pairs, batch.texts, strict=True)
        return
    with _stream(planned.file) as stream:
        for line in lines.read(stream, chunk, reader_options.max_line_bytes, planned.file.path):
            if line.row not in rows or line.is_too_long:
                continue
            try:
                record = exact_id(line.data, parse(line.data), reader_options.fields)
                documents = reader_options.fields.documents(record, "")
            except BadRecord:
                continue
            for sub, _, text in documents:
                yield (line.row, sub), repair(text)
