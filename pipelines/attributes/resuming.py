"""What is done in an output, and what is still to compute: every published part against what the plan requires.

A part of another version counts if its key is current and its bytes are proven, by a digest or by reading it to its end. A part that
an earlier version read wrongly is computed again. Parts themselves are in parts.py.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tagcorpus.errors import OutputError, TagcorpusError
from tagcorpus.pipelines.attributes import digests
from tagcorpus.pipelines.attributes.parts import (
    KEYS,
    ROW_GROUP_ROWS,
    Instance,
    StoredPart,
    each,
    keys_of,
    part_name,
    quarantine_name,
    reader_key,
    stored_parts,
)
from tagcorpus.pipelines.generation_files import harness
from tagcorpus.pipelines.inputs.chunks import Chunk, Counts
from tagcorpus.pipelines.inputs.streams import Damaged
from tagcorpus.pipelines.readers.plan import Plan, PlannedFile
from tagcorpus.pipelines.readers.reader import ChunkReader, ReaderOptions
from tagcorpus.pipelines.storage.folder import Folder

DAMAGED = "damaged"


@dataclass(frozen=True)
class ResumeState:
    """Where an output stands: what is `done` per (rank, instance), and how many parts are `stale` or damaged. `proven`: how
    many of those done had no digest, and were read whole. `reasons`: why parts are stale that have the current key."""

    done: dict[tuple[int, str], Counts]
    stale: int
    damaged: int = 0
    proven: int = 0
    reasons: tuple[str, ...] = ()

    def todo(self, n_ranks: int, instances: Iterable[Instance]) -> list[frozenset[str]]:
        """Names of the instances still to compute, per rank."""
        names = [i.name for i in instances]
        return [frozenset(n for n in names if (rank, n) not in self.done) for rank in range(n_ranks)]

    def pending(self, n_ranks: int, instances: Iterable[Instance]) -> list[int]:
        """Ranks with anything left to compute."""
        return [rank for rank, names in enumerate(self.todo(n_ranks, instances)) if names]


def resume_state(
    output: Folder,
    plan: Plan,
    reader_options: ReaderOptions,
    instances: Iterable[Instance],
    *,
    is_onlooker: bool = False,
) -> ResumeState:
    """Compare every published part of these instances with what the plan asks for.

    A part counts as done with a current key, counts that add up, its quarantine beside it, and the digest that is written
    down of it; without one it is read whole, and the digest is written down. An onlooker writes nothing, and takes parts
    without a digest for whole.
    """
    chunks = plan.chunks
    published = {i.name: set(output.files(f"attributes/{i.name}")) for i in instances}
    expected: list[tuple[int, Instance, str]] = []
    for instance in instances:
        for rank, (planned, k) in enumerate(chunks):
            name = part_name(instance.name, planned.file.name, k)
            if name in published[instance.name]:
                expected.append((rank, instance, name))
    quarantined = set(output.files("quarantine")) if expected else set()
    known = {i.name: digests.Digests(output, i.name) for i in instances if published[i.name]}
    lacks_repeats = functools.cache(lambda rank, counted: _lacks_repeats(*chunks[rank], reader_options, counted))
    current: list[tuple[int, Instance, str, StoredPart]] = []
    for (rank, instance, name), stored in zip(expected, stored_parts(output, [n for _, _, n in expected]), strict=True):
        planned, k = chunks[rank]
        if stored is None or stored.key not in keys_of(planned, k, instance, reader_options):
            continue
        if not _needed(planned, k, instance, stored.counts) <= quarantined:
            continue
        if stored.counts.quarantined["text_not_string"] and lacks_repeats(rank, stored.counts.documents):
            continue
        if _is_misread(output, planned, k, stored.counts):
            continue
        current.append((rank, instance, name, stored))
    done: dict[tuple[int, str], Counts] = {}
    entries: digests.Entries = {}
    unproven: list[tuple[int, Instance, str, StoredPart]] = []
    failed = {} if is_onlooker else _quarantine_digests(output, chunks, current)
    by_reader = digests.Digests(output, digests.READER) if failed else None
    for rank, instance, name, stored in current:
        planned, k = chunks[rank]
        digest = known[instance.name].of(planned.file.name, k, stored.key)
        failures = known[instance.name].of_failures(planned.file.name, k, stored.key)
        now = failed.get(quarantine_name(planned.file.name, k, instance.name), "")
        if failures and now and failures != now:
            continue
        if digest and now and not failures:
            entries[rank, instance.name] = f"{stored.key} {digest} {now}"
        if by_reader is not None and (lines := failed.get(quarantine_name(planned.file.name, k))):
            key = reader_key(planned, k, reader_options)
            if by_reader.of(planned.file.name, k, key) not in ("", lines):
                continue
            entries[rank, digests.READER] = f"{key} {lines}"
        if stored.accounts_for(planned.chunks[k].rows) and digest in ("", stored.digest):
            if digest or is_onlooker:
                done[rank, instance.name] = stored.counts
            else:
                unproven.append((rank, instance, name, stored))

    def why_not_kept(part: tuple[int, Instance, str, StoredPart]) -> str | None:
        rank, instance, name, stored = part
        planned, k = chunks[rank]
        return _why_not_kept(output, name, stored, planned.chunks[k], instance)

    n_proven = 0
    outdated: list[str] = []
    for (rank, instance, _, stored), reason in zip(unproven, each(output, why_not_kept, unproven), strict=True):
        if reason is None:
            done[rank, instance.name] = stored.counts
            n_proven += 1
            now = failed.get(quarantine_name(*_place(chunks[rank]), instance.name), "")
            entries[rank, instance.name] = f"{stored.key} {stored.digest} {now}".rstrip()
        elif reason != DAMAGED:
            outdated.append(f"{instance.name}: {reason}")
    with contextlib.suppress(OutputError):  # an output that cannot be written may be read all the same
        digests.put(output, plan, entries)
    stale = len(expected) - len(current) + len(outdated)
    damaged = len(expected) - len(done) - stale
    return ResumeState(done, stale, damaged, n_proven, tuple(dict.fromkeys(outdated)))


def _place(chunk: tuple[PlannedFile, int]) -> tuple[str, int]:
    return chunk[0].file.name, chunk[1]


def _quarantine_digests(
    output: Folder, chunks: Sequence[tuple[PlannedFile, int]], parts: Sequence[tuple[int, Instance, str, StoredPart]]
) -> dict[str, str]:
    """By name, digests of the quarantine files that belong to these parts."""
    names: set[str] = set()
    for rank, instance, _, stored in parts:
        names |= _needed(*chunks[rank], instance, stored.counts)
    ordered = sorted(names)
    return dict(zip(ordered, each(output, lambda name: digests.digest_of_file(output, name), ordered), strict=True))


def _lacks_repeats(planned: PlannedFile, k: int, reader_options: ReaderOptions, documents: int) -> bool:
    """Whether samples of the chunk have repeats that are read today, and were lost with a null beside them until 0.1.0.

    Only a file of samples is read for that. Where the file cannot be read the part counts as it is.
    """
    try:
        if not harness.is_of_samples(planned.file, reader_options):
            return False
        reader = ChunkReader(planned.file, planned.chunks[k], replace(reader_options, columns=()))
        return sum(batch.num_rows for batch in reader) > documents
    except (OSError, TagcorpusError, Damaged):
        return False


def _is_misread(output: Folder, planned: PlannedFile, k: int, counts: Counts) -> bool:
    """Whether a part of a table is cut short or empty because of values that an earlier reader could not take: bytes in the
    place of text, or one value that it took for damage. Its quarantine shows that."""
    is_cut = counts.unreadable > 0 and not planned.chunks[k].broken
    is_refused = not counts.documents and counts.quarantined["text_not_string"] > 0
    if not planned.file.is_table or not (is_cut or is_refused):
        return False
    entries = (output.read(quarantine_name(planned.file.name, k)) or b"").splitlines()
    if is_cut and entries:
        return b'"message":"damaged ' + planned.file.format.encode() + b" data: " in entries[-1]
    return bool(entries) and (b": b'" in entries[0] or b': b\\"' in entries[0])


def _needed(planned: PlannedFile, k: int, instance: Instance, counts: Counts) -> set[str]:
    """Quarantine files that must lie beside a part with these counts."""
    reasons = counts.quarantined
    by_tagger = any(r.startswith("tagger:") for r in reasons)
    by_reader = any(not r.startswith("tagger:") for r in reasons)
    reader = {quarantine_name(planned.file.name, k)} if by_reader else set()
    return reader | ({quarantine_name(planned.file.name, k, instance.name)} if by_tagger else set())


def _why_not_kept(output: Folder, name: str, stored: StoredPart, chunk: Chunk, instance: Instance) -> str | None:
    """Why a part of an earlier version is computed again: DAMAGED where it cannot be read to its end, or does not hold what its
    footer says (the columns, and so many rows of its chunk in order), else what its tagger says of it. None: it is kept."""
    own = instance.tagger.columns.names
    outdated: Callable[[pa.RecordBatch], str] = getattr(instance.tagger, "outdated", lambda _batch: "")
    earlier = [name for name in own if name not in instance.later_columns.names]
    n_rows, last, reason = 0, chunk.first_row, ""
    try:
        with output.open(name) as file:
            part = pq.ParquetFile(file, page_checksum_verification=True)
            names = part.schema_arrow.names
            if names[: len(KEYS)] != [f.name for f in KEYS] or (own and names[len(KEYS) :] not in (own, earlier)):
                return DAMAGED
            for batch in part.iter_batches(ROW_GROUP_ROWS, use_threads=False):
                rows = np.concatenate([[last], batch["row"].to_numpy(zero_copy_only=False)])
                if (np.diff(rows) < 0).any() or rows[-1] >= chunk.first_row + chunk.rows:
                    return DAMAGED
                n_rows, last = n_rows + batch.num_rows, rows[-1]
                reason = reason or outdated(batch)
    except (OSError, pa.ArrowException, KeyError, ValueError, TypeError):
        return DAMAGED
    return (reason or None) if n_rows == stored.rows else DAMAGED


def remove_leftovers(output: Folder, plan: Plan, instances: Iterable[Instance]) -> None:
    """Remove parts, receipts of what was not read, and quarantine files of planned inputs beyond their last chunk, as left by a
    file that shrank."""
    rooms = ["quarantine", *(f"{room}/{i.name}" for room in ("attributes", "unread") for i in instances)]
    folders = [(f"{room}/{planned.file.name}", planned) for planned in plan.files for room in rooms]
    for (folder, planned), names in zip(folders, each(output, lambda f: output.files(f[0]), folders), strict=True):
        planned_parts = {f"part-{k:05d}" for k in range(len(planned.chunks))}
        for name in names:
            leaf = name.rsplit("/", 1)[-1]
            if name == f"{folder}/{leaf}" and leaf.startswith("part-") and leaf.split(".")[0] not in planned_parts:
                output.remove(name)
