"""The passes after tokenising: sort chunks to pieces, look up held-out n-grams, concatenate pieces to files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from tagcorpus.errors import ConfigError, DamagedError
from tagcorpus.pipelines.attributes.batches import ChunkReport
from tagcorpus.pipelines.attributes.digests import recording
from tagcorpus.pipelines.execution.engine import Engine
from tagcorpus.pipelines.group_statistics.groups import MOST_GROUPS
from tagcorpus.pipelines.progress.display import Watch
from tagcorpus.pipelines.progress.progress_record import progress_writer
from tagcorpus.pipelines.token_files import manifest as manifests
from tagcorpus.pipelines.token_files import overlap
from tagcorpus.pipelines.token_files.layout import TokenFile, layout
from tagcorpus.pipelines.token_files.pieces import Piece, read_block
from tagcorpus.pipelines.token_files.sides import TRAIN
from tagcorpus.pipelines.token_files.texts import write_texts
from tagcorpus.pipelines.token_files.work import INSTANCE, Sort, Work
from tagcorpus.pipelines.token_files.writing import Concatenate


def write(
    engine: Engine, work: Work, settings: dict[str, Any], key: str, *, is_afresh: bool, with_texts: bool
) -> dict[str, Any]:
    """All passes; the manifest, which is published. Raises DamagedError where a piece turns out to be damaged."""
    pieces = sort(engine, work)
    files = layout(work, pieces, settings["file_bytes"])
    _check(work, pieces, files, settings)
    figures = overlap_of(engine, work, pieces) if work.sorting.share else None
    manifests.make_room(work.output, settings, files)
    entries = concatenate(engine, work, files, is_afresh=is_afresh)
    texts = write_texts(engine, work, pieces) if with_texts else {}
    value = manifests.manifest_of(work, settings, key, pieces, files, entries, figures, texts)
    manifests.publish(work.output, value)
    return value


def sort(engine: Engine, work: Work) -> list[Piece]:
    """The pieces of all chunks; those that are missing are made."""
    ranks = range(len(work.plan.chunks))
    missing = [r for r in ranks if work.piece(r) is None]
    todo = [frozenset([INSTANCE]) if r in set(missing) else frozenset[str]() for r in ranks]

    def on_done(watch: Watch, rank: int, reports: list[Any]) -> None:
        report: ChunkReport = reports[0]
        entries.update({(rank, name): entry for name, entry in report.digests.items()})
        counts = report.counts[INSTANCE]
        watch.done(counts.lines + counts.unreadable, counts.text_bytes, counts.quarantined_rows)

    if missing:
        with recording(work.output, work.plan, todo) as entries:
            engine.over_chunks_here(work.plan, missing, [Sort(work)], "sorting documents", on_done=on_done)
    return [_piece(work, rank) for rank in ranks]


def _piece(work: Work, rank: int) -> Piece:
    piece = work.piece(rank)
    if piece is None:
        raise DamagedError(f"{work.output}/{work.piece_name(rank)} is damaged or gone")
    return piece


def _check(work: Work, pieces: Sequence[Piece], files: Sequence[TokenFile], settings: dict[str, Any]) -> None:
    """Raise ConfigError where there is nothing to write, or too much."""
    groups = {file.group for file in files}
    if len(groups) > MOST_GROUPS:
        raise ConfigError(
            f"--group-by {settings['group_by']}: {len(groups):,} values, and each would have files of its own; name a column "
            f"with {MOST_GROUPS:,} values at most"
        )
    left_out = sum(piece.left_out for piece in pieces)
    if left_out and not files:
        raise ConfigError(
            f"--where {work.sorting.condition.sql if work.sorting.condition else ''!r}: it is true for none of {left_out:,} "
            "documents, so that no token file would have any"
        )


class Seen:
    """Looks up hashes of held-out n-grams in the training documents of a chunk. Yields which of them it saw, as bits."""

    def __init__(self, work: Work, hashes: overlap.Hashes) -> None:
        self.work, self.hashes = work, hashes

    def run(self, _data: Any = None, rank: int = 0) -> Iterator[npt.NDArray[np.uint8]]:
        work, name = self.work, self.work.piece_name(rank)
        look_up = overlap.LookUp(self.hashes)
        for segment in _piece(work, rank).segments:
            if segment.side == TRAIN:
                ids = read_block(work.output, name, segment.ids, work.dtype)
                lengths = read_block(work.output, name, segment.lengths, "<i4")
                for hashes in overlap.in_blocks(ids, lengths):
                    look_up.add(hashes)
                progress_writer().done(segment.documents, segment.tokens * ids.itemsize)
        yield np.packbits(look_up.seen)


def overlap_of(engine: Engine, work: Work, pieces: Sequence[Piece]) -> dict[str, Any]:
    """The share of held-out n-grams that the training documents have, too."""
    smallest = overlap.Smallest(overlap.SAMPLE)
    for rank, piece in enumerate(pieces):
        hashes = read_block(work.output, work.piece_name(rank), piece.sample, "<u8")
        smallest.add(hashes, is_all=piece.is_all)
    seen = np.zeros(len(smallest.kept), bool)

    def add(_watch: Watch, _rank: int, results: list[Any]) -> None:
        np.logical_or(seen, np.unpackbits(results.pop(), count=len(seen)).astype(bool), out=seen)

    if len(seen):
        step = Seen(work, smallest.kept)
        engine.over_chunks_here(work.plan, range(len(pieces)), [step], "looking up held-out n-grams", on_done=add)
    return overlap.report(smallest, int(seen.sum()))


def concatenate(engine: Engine, work: Work, files: Sequence[TokenFile], *, is_afresh: bool) -> list[dict[str, Any]]:
    """Write every file that is not there. The entries of all for the manifest, in order."""
    results = engine.execute(
        [Concatenate(work, files, is_afresh)],
        [[i] for i in range(len(files))],
        lambda i: files[i].prefix,
        "writing token files",
        sum(file.documents for file in files),
        on_done=lambda watch, _rank, entries: watch.done(entries[0]["documents"], entries[0]["bin"]["bytes"], 0),
    )
    return [results[i][0] for i in range(len(files))]
