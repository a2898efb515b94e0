"""What an entropy run works on and within: the corpus and its identity, the limits that memory sets, the key ranges.

Nothing here changes a result: limits decide into how many pieces the work is cut, never what comes out.
"""

from __future__ import annotations

import functools
import json
import shutil
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Protocol

import numpy as np
import xxhash

from tagcorpus.errors import ConfigError, OutputError
from tagcorpus.kernels.packing import Packing
from tagcorpus.pipelines.attributes.parts import part_key
from tagcorpus.pipelines.counting.spill import SpillFile
from tagcorpus.pipelines.inputs.chunks import Counts
from tagcorpus.pipelines.options.declaring.amounts import amount
from tagcorpus.pipelines.readers.plan import Plan
from tagcorpus.pipelines.readers.reader import ReaderOptions
from tagcorpus.pipelines.storage.folder import Folder
from tagcorpus.pipelines.token_ids.parts import TokenBatch

VERSION = "1"
"""Of every value that an entropy run publishes."""
SPILL_VERSION = 1

LEAST_MEMORY = 400_000_000
"""What a worker needs to get anywhere: the interpreter and its libraries take half of it."""
BASE_BYTES = 300_000_000
"""Resident before the first document: interpreter, Arrow, Numba's code, a tokenizer with its caches."""
BYTES_PER_POSITION = 36
"""Of a chunk while its n-grams are counted, for each word of a key: ids, keys, and what sorting them takes."""
BYTES_PER_ENTRY = 90
"""Of a key range while its runs are merged, for each word of a key: both sides of a merge, and the contexts."""


def memory_bytes(text: str) -> int:
    """`2GB`, `500M`, `1GiB` or a number of bytes. Raises ConfigError for anything else, and for less than a worker needs."""
    n_bytes = amount(text, "bytes", "--memory")
    if n_bytes < LEAST_MEMORY:
        raise ConfigError(
            f"--memory {text}: a worker needs at least {LEAST_MEMORY // 10**6} MB (the default is 1GB), about half of it "
            "for the interpreter, its libraries and the tokenizer"
        )
    return n_bytes


@dataclass(frozen=True)
class Limits:
    """chunk_positions: n-grams counted at a time (a batch of documents is never cut); interval_entries: entries of all
    runs that are merged at a time (a context is never cut)."""

    chunk_positions: int
    interval_entries: int

    @classmethod
    def within(cls, memory: int, words: int) -> Limits:
        """What fits into that many bytes of resident memory a worker."""
        room = memory - BASE_BYTES
        return cls(room // (BYTES_PER_POSITION * words), room // (BYTES_PER_ENTRY * words))


class OpenedTokens(Protocol):
    """Token ids of a chunk: its batches in order, once, and after the last of them what the chunk holds."""

    @property
    def counts(self) -> Counts: ...

    def __iter__(self) -> Iterator[TokenBatch]: ...

    def __next__(self) -> TokenBatch: ...


class Source(Protocol):
    """Where the token ids of the chunks come from."""

    fingerprint: str
    """Equal fingerprints give equal ids."""

    def open(self, rank: int) -> OpenedTokens: ...


@dataclass(frozen=True)
class Corpus:
    """Everything that the passes of one run share; it travels to the workers."""

    output: Folder
    plan: Plan
    reader_options: ReaderOptions
    source: Source
    packing: Packing
    instance: str
    limits: Limits
    with_contexts: bool = False

    @cached_property
    def chunk_keys(self) -> list[str]:
        """Of everything that decides the n-gram counts of a chunk."""
        identity = {"spill": SPILL_VERSION, "tokens": self.source.fingerprint, "n": self.packing.n}
        return [part_key(planned, k, self.reader_options, identity) for planned, k in self.plan.chunks]

    @cached_property
    def key(self) -> str:
        """Of everything that decides the entropy of a context: all chunks together."""
        return xxhash.xxh3_128_hexdigest(json.dumps(self.chunk_keys).encode())

    def spill_name(self, rank: int) -> str:
        planned, k = self.plan.chunks[rank]
        return f"spill/{self.instance}/{planned.file.name}/part-{k:05d}.runs"

    def merged_name(self, key_range: int) -> str:
        return f"spill/{self.instance}.merged/part-{key_range:05d}.values"

    def contexts_name(self, key_range: int) -> str:
        return f"spill/{self.instance}.merged/part-{key_range:05d}.parquet"


@dataclass(frozen=True)
class KeyRange:
    """Entries whose key k has low <= k < high; None: open. Both are the first key of a context."""

    low: int | None
    high: int | None

    def as_keys(self, words: int) -> list[list[int] | None]:
        """Both as the words of a key, the most significant first."""
        return [
            None if k is None else [k >> 64 * w & (1 << 64) - 1 for w in reversed(range(words))]
            for k in (self.low, self.high)
        ]


def key_ranges(files: Iterable[SpillFile], bits: int, entries_at_once: int) -> list[KeyRange]:
    """The key space cut so that about `entries_at_once` entries of all runs lie in each piece, and no context is cut.

    It depends on the runs' contents alone, block by block, and not on the order of the files.
    """
    blocks = [(run.block_keys, run.block_entries) for file in files for run in file.runs]
    if not blocks:
        return [KeyRange(None, None)]
    keys = np.concatenate([k for k, _ in blocks])
    sizes = np.concatenate([n for _, n in blocks])
    order = np.lexsort((sizes, *reversed(keys.T)))
    bounds: list[int] = []
    held = 0
    for i in order:
        if held + sizes[i] > entries_at_once and held:
            start = functools.reduce(lambda high, low: high << 64 | low, keys[i].tolist()) >> bits << bits
            if start > (bounds[-1] if bounds else 0):
                bounds.append(start)
                held = 0
        held += int(sizes[i])
    return [KeyRange(a, b) for a, b in pairwise([None, *bounds, None])]


def check_disk(output: Folder, text_bytes: int, n: int, is_cached: bool) -> int:
    """The bytes that a run will need at its height, an estimate. Raises OutputError where a local disk has not even half.

    Measured on English text: 2.8 bytes of text a token; ids 0.9 bytes a token on disk. Runs and what is written back take 3, 7
    and 11 bytes a token for n = 1, 2, 3: an earlier format's 2, 5 and 8, measured, times what this format takes of it (1.5, 1.4
    and 1.35, measured on another text). Each further n takes a little more.
    """
    tokens = text_bytes / 2.8
    needed = int(tokens * ((0.9 if is_cached else 0) + {1: 3, 2: 7}.get(n, 11 + 3 * (n - 3))))
    if not output.is_local:
        return needed
    folder = output.path("")
    while not output.fs.exists(folder):
        folder = folder.rpartition("/")[0] or "/"
    free = shutil.disk_usage(folder).free
    if free < needed / 2:
        raise OutputError(
            f"{output} needs about {_gigabytes(needed)} while the run lasts, and {_gigabytes(free)} are free: give an "
            f"--output on another disk{', or keep no token ids (--no-token-cache)' if is_cached else ''}, or take a part "
            "of the corpus (--sample FRACTION)"
        )
    return needed


def _gigabytes(n_bytes: int) -> str:
    return f"{n_bytes / 1e9:,.1f} GB"


def n_positions(lengths: Sequence[int] | np.ndarray[tuple[int], np.dtype[np.int64]], n: int) -> int:
    """How many n-grams with a token after them documents of these lengths have."""
    return int(np.maximum(np.asarray(lengths, np.int64) - n, 0).sum())
