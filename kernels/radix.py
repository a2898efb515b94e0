"""Sorts the n-gram entries of flat token ids: first into buckets by their oldest token, then each bucket by radix.

An entry is n + 1 consecutive token ids of one document, packed into one integer, oldest token most significant. Its
highest bits choose the bucket (a counting sort whose write heads follow the frequency of words, so the busy ones stay
in the cache); only the rest of the entry is stored, in the narrowest type. Buckets mostly fit the cache and are sorted by
a least-significant-digit radix sort of 8-bit digits, or by insertion where they are tiny. No comparison depends on
the processor's vector width; the order is that of the integers, so nothing about it is left open.

Ids are assumed to be below the vocabulary's size and offsets to be valid: `kernels.ngrams` checks both.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple, TypeAlias

import numpy as np
from numba import njit

from tagcorpus.kernels.arrays import workspace

Ids: TypeAlias = np.ndarray[Any, np.dtype[np.unsignedinteger[Any]]]
U64: TypeAlias = np.ndarray[Any, np.dtype[np.uint64]]
I64: TypeAlias = np.ndarray[Any, np.dtype[np.int64]]

_TINY: Final = 24  # entries; up to here insertion beats the 256 counters of every digit
_ENTRIES_PER_BUCKET: Final = 32  # fewer than this on average, and the table of buckets costs more than it saves


class Sorted(NamedTuple):
    """Entries in ascending order, bucket after bucket; `rest` lasts until the thread sorts again."""

    rest: np.ndarray[Any, Any]
    """uint16, uint32 or uint64 [k], or uint64 [k, 2] (most significant first): the entries without their bucket's bits."""
    starts: I64
    """int64 [n_buckets + 1]: bucket b is rest[starts[b]:starts[b + 1]]."""
    rest_bits: int
    """Width of a rest; an entry is bucket << rest_bits | rest."""
    n_entries: int
    """Distinct entries."""
    n_contexts: int
    """Distinct contexts."""


def sort_entries(ids: Ids, offsets: I64, n: int, bits: int) -> Sorted:
    """All entries of all documents, sorted.

    ids      uint16 or uint32 [n_tokens], read-only  all documents, concatenated; every id is below 2^bits
    offsets  int64 [n_docs + 1], read-only           document d is ids[offsets[d]:offsets[d + 1]]
    n, bits  context length and bits of an id, (n + 1) * bits <= 128
    Source   counting sort by the leading digit, then LSD radix sort: Knuth, The Art of Computer Programming 3, 5.2.5
    Example  ids [1, 2, 1, 3], n=1, bits=2 -> entries 0110, 0111, 1001 in some split into bucket and rest
    """
    bucket_bits = max(1, min(bits, (len(ids) // _ENTRIES_PER_BUCKET).bit_length()))
    rest_bits = (n + 1) * bits - bucket_bits
    starts = np.zeros((1 << bucket_bits) + 1, np.int64)
    bucket_starts(ids, offsets, n, bits - bucket_bits, starts)
    k, largest = int(starts[-1]), int(np.diff(starts).max())
    heads = write_heads(starts)
    if rest_bits > 64:
        pairs, spare_pairs = workspace("rest", (k, 2), np.uint64), workspace("spare", (largest, 2), np.uint64)
        _scatter_pairs(ids, offsets, n, bits, rest_bits, heads, pairs)
        return Sorted(pairs, starts, rest_bits, *_sort_pairs(pairs, starts, rest_bits, bits, spare_pairs))
    dtype = np.uint16 if rest_bits <= 16 else np.uint32 if rest_bits <= 32 else np.uint64
    rest, spare = workspace("rest", (k,), dtype), workspace("spare", (largest,), dtype)
    if (n + 1) * bits > 64:
        _scatter_wide(ids, offsets, n, bits, rest_bits, heads, rest)
    else:
        _scatter(ids, offsets, n, bits, rest_bits, heads, rest)
    return Sorted(rest, starts, rest_bits, *_sort(rest, starts, rest_bits, bits, spare))


@njit(nogil=True, cache=True)
def bucket_starts(ids: Ids, offsets: I64, n: int, shift: int, starts: I64) -> None:
    """Adds up in starts (zeros, int64 [n_buckets + 1]) where each bucket begins; a token's bucket is token >> shift."""
    for d in range(offsets.size - 1):
        for i in range(offsets[d], offsets[d + 1] - n):
            starts[(np.int64(ids[i]) >> shift) + 1] += 1
    for b in range(starts.size - 1):
        starts[b + 1] += starts[b]


def write_heads(starts: I64) -> np.ndarray[Any, Any]:
    """Where to write first in every bucket, in a type as narrow as may be: these heads should stay in the cache."""
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


@njit(nogil=True, cache=True)
def _sort(rest: Any, starts: I64, rest_bits: int, bits: int, spare: Any) -> tuple[int, int]:
    """Sorts every bucket, and counts distinct entries and contexts while it is in the cache."""
    passes = (rest_bits + 7) // 8
    heads = np.zeros((passes, 2, 256), np.int64)
    by = np.uint64(bits)
    n_entries = n_contexts = 0
    for b in range(starts.size - 1):
        start, end = starts[b], starts[b + 1]
        if start == end:
            continue
        if end - start <= _TINY:
            for i in range(start + 1, end):
                value = rest[i]
                j = i
                while j > start and rest[j - 1] > value:
                    rest[j] = rest[j - 1]
                    j -= 1
                rest[j] = value
        else:
            _radix(rest, start, end, passes, heads, spare)
        before = np.uint64(rest[start])
        n_entries += 1
        n_contexts += 1
        for i in range(start + 1, end):
            value = np.uint64(rest[i])
            n_entries += int(value != before)
            n_contexts += int(value >> by != before >> by)
            before = value
    return n_entries, n_contexts


@njit(nogil=True, cache=True)
def _radix(rest: Any, start: int, end: int, passes: int, heads: I64, spare: Any) -> None:
    """Sorts rest[start:end] with the help of spare[:end - start]; heads is workspace [passes, 2, 256].

    Every pass runs from both ends at once, filling each digit's room from both ends, which keeps it stable. The digits of
    text repeat so often that a single run would mostly wait for the write head it has just moved.
    """
    heads[:] = 0
    size = end - start
    half = size // 2
    source, target = rest[start:end], spare[:size]
    for i in range(half):
        front, back = np.uint64(source[i]), np.uint64(source[size - 1 - i])
        for p in range(passes):
            heads[p, 0, _digit(front, np.uint64(8 * p))] += 1
            heads[p, 1, _digit(back, np.uint64(8 * p))] += 1
    if size & 1:
        for p in range(passes):
            heads[p, 0, _digit(np.uint64(source[half]), np.uint64(8 * p))] += 1
    is_spare = False
    for p in range(passes):
        shift = np.uint64(8 * p)
        fronts, backs = heads[p, 0], heads[p, 1]
        first = _digit(np.uint64(source[0]), shift)
        if fronts[first] + backs[first] == size:
            continue  # one digit for all
        at = 0
        for digit in range(256):
            room = fronts[digit] + backs[digit]
            fronts[digit] = at
            at += room
            backs[digit] = at - 1
        for i in range(half):
            front, back = source[i], source[size - 1 - i]
            front_digit, back_digit = _digit(np.uint64(front), shift), _digit(np.uint64(back), shift)
            low, high = fronts[front_digit], backs[back_digit]
            target[low], target[high] = front, back
            fronts[front_digit], backs[back_digit] = low + 1, high - 1
        if size & 1:
            target[fronts[_digit(np.uint64(source[half]), shift)]] = source[half]
        source, target = target, source
        is_spare = not is_spare
    if is_spare:
        rest[start:end] = source


@njit(nogil=True, cache=True, inline="always")
def _digit(value: np.uint64, shift: np.uint64) -> np.int64:
    return np.int64(value >> shift & np.uint64(255))


@njit(nogil=True, cache=True)
def _sort_pairs(rest: U64, starts: I64, rest_bits: int, bits: int, spare: U64) -> tuple[int, int]:
    """As `_sort`, for rests of two words."""
    counts = np.zeros(256, np.int64)
    n_entries = n_contexts = 0
    by = np.uint64(bits)
    for b in range(starts.size - 1):
        start, end = starts[b], starts[b + 1]
        if start == end:
            continue
        if end - start <= _TINY:
            for i in range(start + 1, end):
                high, low = rest[i, 0], rest[i, 1]
                j = i
                while j > start and (rest[j - 1, 0] > high or (rest[j - 1, 0] == high and rest[j - 1, 1] > low)):
                    rest[j, 0], rest[j, 1] = rest[j - 1, 0], rest[j - 1, 1]
                    j -= 1
                rest[j, 0], rest[j, 1] = high, low
        else:
            _radix_pairs(rest[start:end], spare, (rest_bits + 7) // 8, counts)
        n_entries += 1
        n_contexts += 1
        for i in range(start + 1, end):
            above = rest[i, 0] ^ rest[i - 1, 0]
            below = rest[i, 1] ^ rest[i - 1, 1]
            n_entries += int((above | below) != np.uint64(0))
            n_contexts += int((above | below >> by) != np.uint64(0))
    return n_entries, n_contexts


@njit(nogil=True, cache=True)
def _radix_pairs(rest: U64, spare: U64, passes: int, heads: I64) -> None:
    """As `_radix`, for rests of two words."""
    size = rest.shape[0]
    source, target = rest, spare[:size]
    is_spare = False
    for p in range(passes):
        word, shift = (1, np.uint64(8 * p)) if p < 8 else (0, np.uint64(8 * (p - 8)))
        heads[:] = 0
        for i in range(size):
            heads[_digit(source[i, word], shift)] += 1
        if heads[_digit(source[0, word], shift)] == size:
            continue
        at = 0
        for digit in range(256):
            at, heads[digit] = at + heads[digit], at
        for i in range(size):
            place = _digit(source[i, word], shift)
            head = heads[place]
            target[head, 0], target[head, 1] = source[i, 0], source[i, 1]
            heads[place] = head + 1
        source, target = target, source
        is_spare = not is_spare
    if is_spare:
        rest[:] = source
