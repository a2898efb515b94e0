"""The held-out documents as JSONL, one file for each group: what `bits_per_byte` is computed on.

The token cache has no texts, so the documents of chunks that have held-out ones are read again. As with tokens, each chunk
gives a piece, whose segments are concatenated.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from tagcorpus.errors import DamagedError, ReplacedError
from tagcorpus.pipelines.execution.engine import Engine
from tagcorpus.pipelines.group_statistics.groups import escaped
from tagcorpus.pipelines.readers.reader import ChunkReader
from tagcorpus.pipelines.token_files.layout import FOLDER
from tagcorpus.pipelines.token_files.pieces import Content, Piece, open_piece, read_block, write_piece
from tagcorpus.pipelines.token_files.sides import HELD_OUT
from tagcorpus.pipelines.token_files.work import Work
from tagcorpus.pipelines.token_files.writing import Digested


def texts_name(group: str) -> str:
    return f"{FOLDER}/{escaped(group)}/{HELD_OUT}.jsonl"


def piece_name(work: Work, rank: int) -> str:
    return work.piece_name(rank).removesuffix(".tokens") + ".texts"


class Texts:
    """Writes the piece with the held-out texts of a chunk. Yields the number of documents."""

    def __init__(self, work: Work) -> None:
        self.work = work

    def run(self, _data: Any = None, rank: int = 0) -> Iterator[int]:
        work = self.work
        documents = work.sorting.of_chunk(rank)
        labels = documents.labels()
        planned, k = work.plan.chunks[rank]
        lines: dict[int, list[bytes]] = {}
        at = 0
        for batch in ChunkReader(planned.file, planned.chunks[k], work.source.reader_options):
            n = batch.num_rows
            if not np.array_equal(documents.row[at : at + n], batch.table["row"].to_numpy()):
                raise ReplacedError(f"{planned.file.path} changed while it was read; run the same command again")
            ids = batch.table["id"].to_pylist()
            for i in np.flatnonzero((labels[at : at + n] >= 0) & documents.is_held_out[at : at + n]).tolist():
                line = json.dumps({"id": ids[i], "text": batch.texts[i]}, ensure_ascii=False).encode() + b"\n"
                lines.setdefault(int(documents.group[at + i]), []).append(line)
            at += n
        contents = [
            Content(
                documents.names[group],
                HELD_OUT,
                [np.frombuffer(b"".join(own), np.uint8)],
                np.array([len(line) for line in own], np.int32),
            )
            for group, own in sorted(lines.items())
        ]
        key = work.chunk_keys[rank]
        write_piece(work.output, piece_name(work, rank), key, 0, contents, np.zeros(0, np.uint64), is_all=True)
        yield sum(map(len, lines.values()))


class JoinTexts:
    """Writes the held-out texts of one group a rank. Yields its entry for the manifest."""

    def __init__(self, work: Work, groups: Sequence[str], ranks: Sequence[int]) -> None:
        self.work, self.groups, self.ranks = work, list(groups), list(ranks)

    def run(self, _data: Any = None, rank: int = 0) -> Iterator[dict[str, Any]]:
        work, group = self.work, self.groups[rank]
        documents = 0
        with work.output.publishing(texts_name(group)) as file:
            sink = Digested(file)
            for chunk in self.ranks:
                name = piece_name(work, chunk)
                piece = open_piece(work.output, name, work.chunk_keys[chunk])
                if piece is None:
                    raise DamagedError(f"{work.output}/{name} is damaged or gone")
                for segment in piece.segments:
                    if segment.group == group:
                        sink.write(read_block(work.output, name, segment.ids, "u1").tobytes())
                        documents += segment.documents
        yield {"name": texts_name(group), "documents": documents, **sink.entry()}


def write_texts(engine: Engine, work: Work, pieces: Sequence[Piece]) -> dict[str, dict[str, Any]]:
    """By group, the entry of its held-out texts."""
    held = [[s.group for s in piece.segments if s.side == HELD_OUT] for piece in pieces]
    ranks = [rank for rank, groups in enumerate(held) if groups]
    missing = [r for r in ranks if open_piece(work.output, piece_name(work, r), work.chunk_keys[r]) is None]
    if missing:
        engine.over_chunks_here(work.plan, missing, [Texts(work)], "reading held-out documents")
    groups = sorted({group for own in held for group in own})
    step = JoinTexts(work, groups, ranks)
    results = engine.execute(
        [step], [[i] for i in range(len(groups))], lambda i: groups[i], "writing held-out texts", 0
    )
    return {group: results[i][0] for i, group in enumerate(groups)}
