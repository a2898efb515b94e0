"""Repeated samples of the evaluation harness, which writes every sample once per filter.

Lines of one file with the same document id and the same `resps` under different filters have the same generations. All but
the first count as duplicates. Lines under one filter, and lines without a document id, are not compared.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

import xxhash

from tagcorpus.pipelines.inputs.chunks import Chunk
from tagcorpus.pipelines.inputs.input_files import InputFile
from tagcorpus.pipelines.inputs.records import DocumentFields, sample_id
from tagcorpus.pipelines.readers.reader import ChunkReader, ReaderOptions


def has_filters(file: InputFile, chunks: Iterable[Chunk], reader_options: ReaderOptions) -> bool:
    """Whether the file's first readable record is a sample that names its filter."""
    first = next((record for _, record in _records(file, chunks, reader_options, is_look=True)), {})
    return reader_options.fields.is_harness(first) and "filter" in first


def duplicates(file: InputFile, chunks: Iterable[Chunk], reader_options: ReaderOptions) -> list[tuple[int, int]]:
    """Row intervals [a, b) of samples that repeat an earlier one of the file under another filter.

    Needs memory for 16 bytes and a filter's name per distinct sample.
    """
    filter_of: dict[int, str] = {}
    intervals: list[tuple[int, int]] = []
    for row, record in _records(file, chunks, reader_options):
        mark = _mark(record, reader_options.fields)
        if mark is None:
            continue
        name = str(record["filter"])
        if filter_of.setdefault(mark, name) != name:
            if intervals and intervals[-1][1] == row:
                intervals[-1] = (intervals[-1][0], row + 1)
            else:
                intervals.append((row, row + 1))
    return intervals


def _mark(record: dict[str, Any], fields: DocumentFields) -> int | None:
    id_ = sample_id(record, fields.id_column)
    if id_ is None or "filter" not in record or not fields.is_harness(record):
        return None
    try:
        key = json.dumps([id_, record.get("resps")], sort_keys=True, default=str)
    except RecursionError:  # nested too deeply to be a sample
        return None
    return xxhash.xxh3_128_intdigest(key.encode())


def _records(
    file: InputFile, chunks: Iterable[Chunk], reader_options: ReaderOptions, *, is_look: bool = False
) -> Iterator[tuple[int, dict[str, Any]]]:
    for chunk in chunks:
        for row, _, _, value in ChunkReader(file, chunk, reader_options, is_look=is_look).records():
            if isinstance(value, dict):
                yield row, value
