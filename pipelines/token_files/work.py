"""The work of one run, and its first step after tokenising: each chunk's tokens sorted into a piece."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tagcorpus.errors import ReplacedError
from tagcorpus.pipelines.attributes.batches import ChunkReport
from tagcorpus.pipelines.attributes.parts import KEYS, Instance, part_key, part_name, write_part
from tagcorpus.pipelines.attributes.read import Recorded
from tagcorpus.pipelines.readers.plan import Plan
from tagcorpus.pipelines.storage.folder import Folder
from tagcorpus.pipelines.token_files import overlap
from tagcorpus.pipelines.token_files.pieces import Content, Piece, open_piece, write_piece
from tagcorpus.pipelines.token_files.sides import HELD_OUT, SIDES, Sorting
from tagcorpus.pipelines.token_ids.cache import TokenSource
from tagcorpus.pipelines.token_ids.parts import TokenBatch
from tagcorpus.taggers._interface.base import OURS, column, columns_from

INSTANCE = "token_files"
VERSION = "1"
COLUMNS = columns_from(
    OURS,
    column("group", pa.string(), "group of the token files that have the document; none: no file has it", "name"),
    column("side", pa.string(), "train or held_out", "name"),
    column("num_tokens", pa.int64(), "tokens of the document in the file, with its EOS", "tokens"),
)


@dataclass(frozen=True)
class Work:
    """Everything that the steps of a run share; it travels to the workers."""

    output: Folder
    plan: Plan
    source: TokenSource
    sorting: Sorting
    eos: int
    dtype: str
    """`<u2` or `<i4`, as numpy writes it."""

    @cached_property
    def instance(self) -> Instance:
        """Whose parts say where each document is."""
        parameters = {"tokenizer": self.source.fingerprint, "eos": self.eos, "sorting": self.sorting.identity()}
        parameters = json.loads(json.dumps(parameters))
        return Instance(INSTANCE, "token files", Recorded(VERSION, parameters, COLUMNS))

    @cached_property
    def chunk_keys(self) -> list[str]:
        """Of everything that decides a piece."""
        identity = self.instance.identity()
        options = self.source.reader_options
        return [part_key(planned, k, options, identity) for planned, k in self.plan.chunks]

    def piece_name(self, rank: int) -> str:
        planned, k = self.plan.chunks[rank]
        return f"spill/{INSTANCE}/{planned.file.name}/part-{k:05d}.tokens"

    def piece(self, rank: int) -> Piece | None:
        """The piece of a chunk; None where it is missing, damaged or of other options."""
        return open_piece(self.output, self.piece_name(rank), self.chunk_keys[rank])


class Sort:
    """Sorts the tokens of a chunk into its piece, and publishes the part that says where each document is. Yields a
    ChunkReport."""

    def __init__(self, work: Work) -> None:
        self.work = work

    def run(self, _data: Any = None, rank: int = 0) -> Iterator[ChunkReport]:
        started = time.perf_counter()
        work = self.work
        documents = work.sorting.of_chunk(rank)
        labels = documents.labels()
        n_labels = 2 * len(documents.names)
        ids: list[list[npt.NDArray[Any]]] = [[] for _ in range(n_labels)]
        lengths: list[list[npt.NDArray[np.int32]]] = [[] for _ in range(n_labels)]
        id_columns: list[pa.Array] = []
        sizes: list[npt.NDArray[np.int64]] = []
        smallest = overlap.Smallest(overlap.SAMPLE)
        opened = work.source.open(rank)
        at = 0
        for batch in opened:
            n = len(batch.row)
            own = slice(at, at + n)
            if not (np.array_equal(documents.row[own], batch.row) and np.array_equal(documents.sub[own], batch.sub)):
                raise ReplacedError(
                    f"{work.output}: documents of {work.piece_name(rank)} differ between token ids and attributes. Let the "
                    "other run end, then run the same command again"
                )
            for label in np.unique(labels[own]).tolist():
                if label < 0:
                    continue
                chosen = batch.only(labels[own] == label)
                more, of_each = with_eos(chosen, work.eos, work.dtype)
                ids[label].append(more)
                lengths[label].append(of_each)
                if SIDES[label % 2] == HELD_OUT:
                    for hashes in overlap.in_blocks(more, of_each):
                        smallest.add(hashes)
            id_columns.append(batch.id)
            sizes.append(np.diff(batch.offsets) + 1)
            at += n
        contents = [
            Content(documents.names[label // 2], SIDES[label % 2], ids[label], np.concatenate(lengths[label]))
            for label in range(n_labels)
            if lengths[label]
        ]
        planned, k = work.plan.chunks[rank]
        counts, key = opened.counts, work.chunk_keys[rank]
        is_in = labels >= 0
        columns = [
            pa.array(documents.row),
            pa.array(documents.sub),
            pa.chunked_array(id_columns, pa.string()).combine_chunks() if id_columns else pa.array([], pa.string()),
            pa.array(np.array([*documents.names, None], object)[documents.group], pa.string()),
            pa.array(np.array(SIDES, object)[documents.is_held_out.astype(int)], pa.string(), mask=~is_in),
            pa.array(np.concatenate([np.zeros(0, np.int64), *sizes]), mask=~is_in),
        ]
        batches = [pa.record_batch(columns, schema=pa.schema([*KEYS, *COLUMNS]))]
        counts.check(planned.chunks[k].rows, at, f"chunk {k} of {planned.file.name}")
        digest = write_part(work.output, part_name(INSTANCE, planned.file.name, k), COLUMNS, batches, key, counts)
        left_out = int((~is_in).sum())
        write_piece(work.output, work.piece_name(rank), key, left_out, contents, smallest.kept, is_all=smallest.is_all)
        yield ChunkReport(rank, {INSTANCE: counts}, time.perf_counter() - started, {INSTANCE: digest})


def with_eos(batch: TokenBatch, eos: int, dtype: str) -> tuple[npt.NDArray[Any], npt.NDArray[np.int32]]:
    """Ids of all documents with the EOS after each, and the tokens of each with its EOS."""
    lengths = np.diff(batch.offsets) + 1
    ends = np.cumsum(lengths) - 1
    ids = np.empty(int(lengths.sum()), dtype)
    is_text = np.ones(len(ids), bool)
    is_text[ends] = False
    ids[is_text] = batch.ids
    ids[ends] = eos
    return ids, lengths.astype(np.int32)
