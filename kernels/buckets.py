"""Puts the n-gram entries of flat token ids into buckets by their oldest token: the first step of `kernels.radix`.

An entry is n + 1 consecutive token ids of one document, packed into one integer, oldest token most significant. Its highest bits
choose the bucket. A bucket stores only the rest of the entry, in the narrowest type. The write heads of the counting sort follow
the frequency of words, so the busy ones stay in the cache.

`kernels.ngrams` checks that ids are below the vocabulary's size and that offsets are valid. This module does not.
"""

from __future__ import annotations

from typing import Any, Final, TypeAlias

import numpy as np
from numba import njit

from tagcorpus.kernels.arrays import workspace
from tagcorpus.kernels.prefetch import prefetch

Ids: TypeAlias = np.ndarray[Any, np.dtype[np.unsignedinteger[Any]]]
U64: TypeAlias = np.ndarray[Any, np.dtype[np.uint64]]
I64: TypeAlias = np.ndarray[Any, np.dtype[np.int64]]

_ENTRIES_PER_BUCKET: Final = 32  # fewer than this on average, and the table of buckets costs more than it saves


def fits_a_word(n_tokens: int, n: int, bits: int) -> bool:
    """Whether the rests of so many tokens' entries have at most 64 bits."""
    return (n + 1) * bits - _bucket_bits(n_tokens, bits) <= 64


def _bucket_bits(n_tokens: int, bits: int) -> int:
    return max(1, min(bits, (n_tokens // _ENTRIES_PER_BUCKET).bit_length()))


def in_buckets(ids: Ids, offsets: I64, n: int, bits: int) -> tuple[np.ndarray[Any, Any], I64, int]:
    """Every entry's rest in its bucket, the buckets' starts, and the width of a rest."""
    bucket_bits = _bucket_bits(len(ids), bits)
    rest_bits = (n + 1) * bits - bucket_bits
    starts = np.zeros((1 << bucket_bits) + 1, np.int64)
    bucket_starts(ids, offsets, n, bits - bucket_bits, starts)
    shape = (int(starts[-1]), 2) if rest_bits > 64 else (int(starts[-1]),)
    rest = workspace("rest", shape, np.uint16 if rest_bits <= 16 else np.uint32 if rest_bits <= 32 else np.uint64)
    kernel = _scatter_pairs if rest_bits > 64 else _scatter_wide if (n + 1) * bits > 64 else _scatter
    kernel(ids, offsets, n, bits, rest_bits, write_heads(starts), rest)
    return rest, starts, rest_bits


@njit(nogil=True, cache=True)
def bucket_starts(ids: Ids, offsets: I64, n: int, shift: int, starts: I64) -> None:
    """Adds up in starts (zeros, int64 [n_buckets + 1]) where each bucket begins; a token's bucket is token >> shift."""
    for d in range(offsets.size - 1):
        for i in range(offsets[d], offsets[d + 1] - n):
            starts[(np.int64(ids[i]) >> shift) + 1] += 1
    for b in range(starts.size - 1):
        starts[b + 1] += starts[b]


def write_heads(starts: I64) -> np.ndarray[Any, Any]:
    """The first write position of every bucket, in the narrowest type, so that the heads stay in the cache."""
    return starts[:-1].astype(np.uint32 if starts[-1] < 2**32 else np.uint64)


@njit(nogil=True, cache=True)
def _scatter(ids: Ids, offsets: I64, n: int, bits: int, rest_bits: int, heads: Any, rest: Any) -> None:
    """Writes every entry's rest to where its bucket's head points; an entry has at most 64 bits, rest_bits < 64."""
    by, low = np.uint64(bits), np.uint64(rest_bits)
    mask = np.uint64(2**64 - 1) >> np.uint64(64 - (n + 1) * bits)
    rest_mask = (np.uint64(1) << low) - np.uint64(1)
    for d in range(offsets.size - 1):
        start, end = offsets[d], offsets[d + 1]
        key = np.uint64(0)
        for i in range(start, min(start + n, end)):
            key = key << by | np.uint64(ids[i])
        for i in range(start + n, end):
            key = (key << by | np.uint64(ids[i])) & mask
            bucket = np.int64(key >> low)
            head = heads[bucket]
            rest[head] = key & rest_mask
            heads[bucket] = head + np.uint32(1)
            prefetch(rest, head)


@njit(nogil=True, cache=True)
def _scatter_wide(ids: Ids, offsets: I64, n: int, bits: int, rest_bits: int, heads: Any, rest: Any) -> None:
    """As `_scatter`, for entries of more than 64 bits whose rest has at most 64."""
    by = np.uint64(bits)
    shift = np.int64(bits - ((n + 1) * bits - rest_bits))
    rest_mask = np.uint64(2**64 - 1) >> np.uint64(64 - rest_bits)
    for d in range(offsets.size - 1):
        start, end = offsets[d], offsets[d + 1]
        key = np.uint64(0)
        for i in range(start, min(start + n, end)):
            key = key << by | np.uint64(ids[i])
        for i in range(start + n, end):
            key = key << by | np.uint64(ids[i])
            bucket = np.int64(ids[i - n]) >> shift
            head = heads[bucket]
            rest[head] = key & rest_mask
            heads[bucket] = head + np.uint32(1)
            prefetch(rest, head)


@njit(nogil=True, cache=True)
def _scatter_pairs(ids: Ids, offsets: I64, n: int, bits: int, rest_bits: int, heads: Any, rest: U64) -> None:
    """As `_scatter`, for a rest of more than 64 bits."""
    by, back = np.uint64(bits), np.uint64(64 - bits)
    shift = np.int64(bits - ((n + 1) * bits - rest_bits))
    high_mask = np.uint64(2**64 - 1) >> np.uint64(128 - rest_bits)
    for d in range(offsets.size - 1):
        start, end = offsets[d], offsets[d + 1]
        high = low = np.uint64(0)
        for i in range(start, end):
            high = high << by | low >> back
            low = low << by | np.uint64(ids[i])
            if i - start >= n:
                bucket = np.int64(ids[i - n]) >> shift
                head = heads[bucket]
                rest[head, 0], rest[head, 1] = high & high_mask, low
                heads[bucket] = head + np.uint32(1)
                prefetch(rest, head)
