"""Sorts the n-gram entries of flat token ids. Equal entries become one entry and a count. The order is that of the integers.

`buckets.by_token` sorts nearly always. It does not suit long contexts, nor few tokens of a large vocabulary. These entries are
put into buckets (`kernels.buckets`), and each bucket is sorted by 8-bit digits, or by insertion if it is tiny.

`kernels.ngrams` checks that ids are below the vocabulary's size and that offsets are valid. This module does not.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np

from tagcorpus.kernels.arrays import workspace
from tagcorpus.kernels.buckets import I64, U64, Ids, by_token, in_buckets, is_by_token
from tagcorpus.kernels.compiling.cached import njit

_TINY: Final = 24  # entries; up to here insertion beats the 256 counters of every digit
_MANY: Final = 1 << 12


class Sorted(NamedTuple):
    """Distinct entries in ascending order, bucket after bucket; `rest` and `counts` last until the thread sorts again."""

    rest: np.ndarray[Any, Any]
    """uint16, uint32 or uint64 [k], or uint64 [k, 2] (most significant first): the entries without their bucket's bits."""
    counts: np.ndarray[Any, Any]
    """uint32 or uint64 [k]: how often each occurs."""
    starts: I64
    """int64 [n_buckets + 1]: bucket b is rest[starts[b]:starts[b + 1]]."""
    rest_bits: int
    """Width of a rest; an entry is bucket << rest_bits | rest."""
    n_contexts: int
    """Distinct contexts."""


def sort_entries(ids: Ids, offsets: I64, n: int, bits: int) -> Sorted:
    """The distinct entries of all documents, sorted, with their counts.

    ids      uint16 or uint32 [n_tokens], read-only  all documents, concatenated; every id is below 2^bits
    offsets  int64 [n_docs + 1], read-only           document d is ids[offsets[d]:offsets[d + 1]]
    n, bits  context length and bits of an id, (n + 1) * bits <= 128
    Source   counting sort by the leading digit, then LSD radix sort: Knuth, The Art of Computer Programming 3, 5.2.5
    Example  ids [1, 2, 1, 3], n=1, bits=2 -> entries 0110, 0111, 1001 in some split into bucket and rest
    """
    if is_by_token(len(ids), n, bits):
        rest, starts, free = by_token(ids, offsets, n, bits, n)
        counts = workspace(free, rest.shape, np.uint32 if len(rest) < 2**32 else np.uint64)
        return Sorted(rest, counts, starts, n * bits, _distinct(rest, counts, starts, bits))
    rest, starts, rest_bits = in_buckets(ids, offsets, n, bits)
    counts = workspace("counts", rest.shape[:1], np.uint32 if len(rest) < 2**32 else np.uint64)
    kernel = _sort if rest.ndim == 1 else _sort_pairs
    n_contexts = kernel(rest, counts, starts, rest_bits, bits, _spare(rest, starts))
    return Sorted(rest, counts, starts, rest_bits, n_contexts)


def _spare(rest: np.ndarray[Any, Any], starts: I64) -> np.ndarray[Any, Any]:
    """Room for the largest bucket."""
    spare: np.ndarray[Any, Any] = workspace("spare", (int(np.diff(starts).max()), *rest.shape[1:]), rest.dtype)
    return spare


@njit(nogil=True, cache=True)
def _distinct(rest: Any, counts: Any, starts: I64, bits: int) -> int:
    """Moves the distinct rests of sorted buckets up to those before, with their counts; returns the number of contexts."""
    by = np.uint64(bits)
    e: Any = np.uint64(0)
    first: Any
    n_contexts = 0
    for b in range(starts.size - 1):
        start, end = np.uint64(starts[b]), np.uint64(starts[b + 1])
        starts[b] = e
        if start == end:
            continue
        before = np.uint64(rest[start])
        first = start
        n_contexts += 1
        for i in range(start, end):
            value = np.uint64(rest[i])
            is_new = value != before
            n_contexts += int(value >> by != before >> by)
            e += np.uint64(is_new)
            first = i if is_new else first
            rest[e], counts[e] = value, i + np.uint64(1) - first
            before = value
        e += np.uint64(1)
    starts[starts.size - 1] = e
    return n_contexts


@njit(nogil=True, cache=True, inline="always")
def _insert(values: Any, start: int, end: int) -> None:
    """Sorts values[start:end] by insertion."""
    for i in range(start + 1, end):
        value = values[i]
        j = i
        while j > start and values[j - 1] > value:
            values[j] = values[j - 1]
            j -= 1
        values[j] = value


@njit(nogil=True, cache=True)
def _sort(rest: Any, counts: Any, starts: I64, rest_bits: int, bits: int, spare: Any) -> int:
    """Sorts every bucket and, while it is in the cache, moves its distinct rests up to those before; counts contexts."""
    few_heads, many_heads, width = _heads(rest_bits, counts)
    by = np.uint64(bits)
    e = -1
    n_contexts = 0
    for b in range(starts.size - 1):
        start, end = starts[b], starts[b + 1]
        starts[b] = e + 1
        size = end - start
        bucket = rest[start:end]
        if size <= _TINY:
            _insert(bucket, 0, size)
        elif _radix(bucket, 0, 8, few_heads, spare) if size < _MANY else _radix(bucket, 0, width, many_heads, spare):
            bucket = spare[:size]
        before = np.uint64(0)
        first = 0
        for i in range(size):
            value = np.uint64(bucket[i])
            n_contexts += int((value >> by != before >> by) | (i == 0))
            is_new = (value != before) | (i == 0)
            e += int(is_new)
            first = i if is_new else first
            rest[e], counts[e] = value, i + 1 - first
            before = value
    starts[starts.size - 1] = e + 1
    return n_contexts


@njit(nogil=True, cache=True)
def _heads(n_bits: int, like: Any) -> Any:
    """Workspaces of `_radix` for digits of 8 bits, and for wider ones, at most 11 bits, where many share their cost."""
    passes = max(1, (n_bits + 10) // 11)
    width = (n_bits + passes - 1) // passes
    few_heads = np.zeros(((n_bits + 7) // 8, 2, 256), like.dtype)
    return few_heads, np.zeros((passes, 2, 1 << width), like.dtype), width


@njit(nogil=True, cache=True)
def _radix(rest: Any, low: int, width: int, heads: Any, spare: Any) -> bool:
    """Sorts rest by what is above its `low` bits, `width` bits at a time; returns whether spare has the result.

    heads is workspace [passes, 2, 2^width], spare is as large as rest. Every pass runs from both ends at once, filling each digit's room from both
    ends, which keeps it stable. The digits of text repeat so often that a single run would mostly wait for the write head
    it has just moved.
    """
    heads[:] = 0
    size = rest.size
    half = size // 2
    mask, passes = np.uint64((1 << width) - 1), heads.shape[0]
    source, target = rest, spare[:size]
    for i in range(half):
        front, back = np.uint64(source[i]), np.uint64(source[size - 1 - i])
        for p in range(passes):
            heads[p, 0, _digit(front, np.uint64(low + width * p), mask)] += np.uint32(1)
            heads[p, 1, _digit(back, np.uint64(low + width * p), mask)] += np.uint32(1)
    if size & 1:
        for p in range(passes):
            heads[p, 0, _digit(np.uint64(source[half]), np.uint64(low + width * p), mask)] += np.uint32(1)
    is_spare = False
    for p in range(passes):
        shift = np.uint64(low + width * p)
        fronts, backs = heads[p, 0], heads[p, 1]
        only = _digit(np.uint64(source[0]), shift, mask)
        if np.int64(fronts[only]) + np.int64(backs[only]) == size:
            continue  # one digit for all
        at = np.int64(0)
        for digit in range(fronts.size):
            room = np.int64(fronts[digit]) + np.int64(backs[digit])
            fronts[digit] = at
            at += room
            backs[digit] = at
        for i in range(half):
            front, back = source[i], source[size - 1 - i]
            front_digit = _digit(np.uint64(front), shift, mask)
            back_digit = _digit(np.uint64(back), shift, mask)
            first, last = fronts[front_digit], backs[back_digit] - np.uint32(1)
            target[first], target[last] = front, back
            fronts[front_digit], backs[back_digit] = first + np.uint32(1), last
        if size & 1:
            target[fronts[_digit(np.uint64(source[half]), shift, mask)]] = source[half]
        source, target = target, source
        is_spare = not is_spare
    return is_spare


@njit(nogil=True, cache=True, inline="always")
def _digit(value: np.uint64, shift: np.uint64, mask: np.uint64) -> np.int64:
    return np.int64(value >> shift & mask)


@njit(nogil=True, cache=True)
def _sort_pairs(rest: U64, counts: Any, starts: I64, rest_bits: int, bits: int, spare: U64) -> int:
    """As `_sort`, for rests of two words."""
    heads = np.zeros(256, np.int64)
    by = np.uint64(bits)
    e = -1
    n_contexts = 0
    for b in range(starts.size - 1):
        start, end = starts[b], starts[b + 1]
        starts[b] = e + 1
        size = end - start
        bucket = rest[start:end]
        if size <= _TINY:
            for i in range(1, size):
                high, low = bucket[i, 0], bucket[i, 1]
                j = i
                while j > 0 and (bucket[j - 1, 0] > high or (bucket[j - 1, 0] == high and bucket[j - 1, 1] > low)):
                    bucket[j, 0], bucket[j, 1] = bucket[j - 1, 0], bucket[j - 1, 1]
                    j -= 1
                bucket[j, 0], bucket[j, 1] = high, low
        elif _radix_pairs(bucket, spare, (rest_bits + 7) // 8, heads):
            bucket = spare[:size]
        above = below = np.uint64(0)
        first = 0
        for i in range(size):
            high, low = bucket[i, 0], bucket[i, 1]
            n_contexts += int((high != above) | (low >> by != below >> by) | (i == 0))
            is_new = (high != above) | (low != below) | (i == 0)
            e += int(is_new)
            first = i if is_new else first
            rest[e, 0], rest[e, 1], counts[e] = high, low, i + 1 - first
            above, below = high, low
    starts[starts.size - 1] = e + 1
    return n_contexts


@njit(nogil=True, cache=True)
def _radix_pairs(rest: U64, spare: U64, passes: int, heads: I64) -> bool:
    """As `_radix`, for rests of two words."""
    size = rest.shape[0]
    source, target = rest, spare[:size]
    is_spare = False
    for p in range(passes):
        word, shift = (1, np.uint64(8 * p)) if p < 8 else (0, np.uint64(8 * (p - 8)))
        heads[:] = 0
        for i in range(size):
            heads[_digit(source[i, word], shift, np.uint64(255))] += 1
        if heads[_digit(source[0, word], shift, np.uint64(255))] == size:
            continue
        at = 0
        for digit in range(256):
            at, heads[digit] = at + heads[digit], at
        for i in range(size):
            place = _digit(source[i, word], shift, np.uint64(255))
            head = heads[place]
            target[head, 0], target[head, 1] = source[i, 0], source[i, 1]
            heads[place] = head + 1
        source, target = target, source
        is_spare = not is_spare
    return is_spare
