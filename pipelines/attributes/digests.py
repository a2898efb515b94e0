"""`digests/<instance>.json`: the key of every part, and a digest of its footer, by which a flipped bit there is noticed.
Quarantine that belongs to a part has a digest, too: of a tagger's failures beside that of the part, of the reader's lines in
`digests/(reader).json`.

A part's footer says which rows and columns it has, what its chunk counted, and its key; its pages have checksums of their
own. Digests lie beside the parts and not in them, so that a part's bytes depend on its content alone. An entry says
something of a part with the same key only, and it is removed before such a part is made again. So a run may be killed at
any moment: what has no entry (a part of an earlier version, too) is proven by one full read, and gets one.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import BinaryIO

import xxhash

from tagcorpus.errors import TagcorpusError
from tagcorpus.pipelines.attributes.results import file_digest
from tagcorpus.pipelines.readers.plan import Plan
from tagcorpus.pipelines.storage.folder import Folder
from tagcorpus.pipelines.storage.sealed import proven, sealed

READER = "(reader)"
"""Stands for the reader in the place of an instance: the parts of several instances share its quarantine."""
TAIL_BYTES = 1 << 16
_MAGIC = b"PAR1"

Entries = dict[tuple[int, str], str]
"""The `entry` of each part, by rank and instance."""


class Digests:
    """The recorded digests of an instance's parts; empty where the file is damaged or missing."""

    def __init__(self, output: Folder, instance: str) -> None:
        self._output, self._name = output, f"digests/{instance}.json"
        value = proven(output.read(self._name)) or {}
        self._parts: dict[str, list[str]] = value.get("parts", {})

    def of(self, file_name: str, k: int, key: str) -> str:
        """Digest of the part with this key; empty where none is known."""
        return self._of(file_name, k, key)[0]

    def of_failures(self, file_name: str, k: int, key: str) -> str:
        """Digest of the rows on which the tagger of this part failed."""
        return self._of(file_name, k, key)[1]

    def _of(self, file_name: str, k: int, key: str) -> tuple[str, str]:
        entries = self._parts.get(file_name, [])
        stored, *both = entries[k].split(" ") if k < len(entries) else ("",)
        part, failures, *_ = (*both, "", "") if stored == key else ("", "")
        return part, failures

    def put(self, changes: Mapping[tuple[str, int], str]) -> None:
        """Publish with these entries, by file and number of the part; an empty one is none. Without a change, nothing is
        written."""
        has_changed = False
        for (file_name, k), entry in changes.items():
            entries = self._parts.get(file_name, [])
            if (entries[k] if k < len(entries) else "") != entry:
                has_changed = True
                entries = self._parts.setdefault(file_name, [])
                entries += [""] * (k + 1 - len(entries))
                entries[k] = entry
        if has_changed:
            self._output.publish(self._name, sealed({"parts": self._parts}))


def entry(key: str, footer: bytes, failures: str = "") -> str:
    """`failures`: digest of the rows that the tagger failed on, where there are any."""
    return f"{key} {digest_of(footer)} {failures}".rstrip()


def digest_of_file(output: Folder, name: str) -> str:
    """xxh3-128 of a file of any size."""
    with output.open(name) as file:
        return file_digest(file)


def digest_of(footer: bytes) -> str:
    return str(xxhash.xxh3_64_hexdigest(footer))


def footer_of(tail: bytes) -> bytes:
    """The footer at the end of a part's bytes, with its length and the mark behind it. ValueError where there is none, or
    where it begins before these bytes."""
    size = int.from_bytes(tail[-8:-4], "little") + 8
    if tail[-4:] != _MAGIC or size > len(tail):
        raise ValueError("no footer")
    return tail[-size:]


def read_footer(file: BinaryIO) -> bytes:
    """The footer of an open part. Raises ValueError where there is none."""
    n_bytes = file.seek(0, 2)
    file.seek(max(n_bytes - TAIL_BYTES, 0))
    tail = file.read()
    size = int.from_bytes(tail[-8:-4], "little") + 8
    if len(tail) < size <= n_bytes:
        file.seek(n_bytes - size)
        tail = file.read()
    return footer_of(tail)


def put(output: Folder, plan: Plan, entries: Entries) -> None:
    """Publish these entries, and keep all others."""
    chunks = plan.chunks
    by_instance: dict[str, dict[tuple[str, int], str]] = {}
    for (rank, instance), one in entries.items():
        planned, k = chunks[rank]
        by_instance.setdefault(instance, {})[planned.file.name, k] = one
    for instance, changes in by_instance.items():
        Digests(output, instance).put(changes)


@contextlib.contextmanager
def recording(output: Folder, plan: Plan, todo: Sequence[frozenset[str]]) -> Iterator[Entries]:
    """While the block makes the parts of `todo` (by rank, the instances), no entry speaks of them; those that it enters are
    published at its end, however it ends."""
    empty = {(rank, name): "" for rank, names in enumerate(todo) if names for name in (*names, READER)}
    put(output, plan, empty)
    entries: Entries = {}
    try:
        yield entries
    finally:
        # Without an entry, the next run proves the part by reading it. A full disk must not hide an earlier error.
        with contextlib.suppress(TagcorpusError):
            put(output, plan, entries)
