"""Sorts the n-gram entries of flat token ids: first into buckets by their oldest token, then each bucket by radix.

An entry is n + 1 consecutive token ids of one document, packed into one integer, oldest token most significant. Its
highest bits choose the bucket (a counting sort whose write heads follow the frequency of words, so the busy ones stay
in the cache); only the rest of the entry is stored, in the narrowest type. Buckets mostly fit the cache and are sorted by
a least-significant-digit radix sort of 8-bit digits, by insertion where they are tiny, and where a rest is short (one
token of context) by a counter for each. Equal entries become one and a count before the next bucket's turn. The order is
that of the integers, so nothing about it is left open.

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
_MANY: Final = 1 << 12
_DENSE_BITS: Final = 18  # a counter for every possible rest of so many bits fits the cache
_ENTRIES_PER_BUCKET: Final = 32  # fewer than this on average, and the table of buckets costs more than it saves


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
    rest, starts, rest_bits = _in_buckets(ids, offsets, n, bits)
    counts = workspace("counts", rest.shape[:1], np.uint32 if len(rest) < 2**32 else np.uint64)
    if rest.ndim == 1 and rest_bits <= _DENSE_BITS:
        n_contexts = _tally(rest, counts, starts, np.zeros(1 << rest_bits, counts.dtype), bits)
    else:
        kernel = _sort if rest.ndim == 1 else _sort_pairs
        n_contexts = kernel(rest, counts, starts, rest_bits, bits, _spare(rest, starts))
    return Sorted(rest, counts, starts, rest_bits, n_contexts)


def group_entries(ids: Ids, offsets: I64, n: int, bits: int) -> tuple[np.ndarray[Any, Any], I64, int, int]:
    """All entries of all documents, those of a context side by side and contexts ascending; next tokens in any order.

    Arguments as of `sort_entries`, but (n + 1) * bits less the bits of a bucket must be at most 64 (`fits_a_word`).
    returns  (rest, starts, rest_bits as in `Sorted`, but with equal entries repeated; number of contexts)
    """
    rest, starts, rest_bits = _in_buckets(ids, offsets, n, bits)
    return rest, starts, rest_bits, _group(rest, starts, rest_bits, bits, _spare(rest, starts))


def fits_a_word(n_tokens: int, n: int, bits: int) -> bool:
    """Whether the rests of so many tokens' entries have at most 64 bits."""
    return (n + 1) * bits - _bucket_bits(n_tokens, bits) <= 64


def _bucket_bits(n_tokens: int, bits: int) -> int:
    return max(1, min(bits, (n_tokens // _ENTRIES_PER_BUCKET).bit_length()))


def _in_buckets(ids: Ids, offsets: I64, n: int, bits: int) -> tuple[np.ndarray[Any, Any], I64, int]:
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


def _spare(rest: np.ndarray[Any, Any], starts: I64) -> np.ndarray[Any, Any]:
    """Room for the largest bucket."""
    spare: np.ndarray[Any, Any] = workspace("spare", (int(np.diff(starts).max()), *rest.shape[1:]), rest.dtype)
    return spare


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
def _tally(rest: Any, counts: Any, starts: I64, seen: Any, bits: int) -> int:
    """As `_sort`, by one counter for every possible rest (seen, zeros), so that only distinct rests are put in order."""
    distinct = np.zeros(seen.size + 1, np.int64)
    marks, tops = np.zeros((seen.size >> 5) + 1, np.uint64), np.zeros((seen.size >> 10) + 1, np.uint64)
    places = np.zeros(32, np.int64)
    for bit in range(32):
        places[_place(np.uint64(1) << np.uint64(bit))] = bit
    e = n_contexts = 0
    for b in range(starts.size - 1):
        start, end = starts[b], starts[b + 1]
        starts[b] = e
        n_distinct = 0
        for i in range(start, end):
            value = np.int64(rest[i])
            count = seen[value]
            distinct[n_distinct] = value
            n_distinct += int(count == 0)
            seen[value] = count + np.uint32(1)
        _order(distinct[:n_distinct], marks, tops, places)
        before = np.int64(-1)
        for j in range(n_distinct):
            value = distinct[j]
            rest[e], counts[e] = value, seen[value]
            seen[value] = 0
            n_contexts += int(value >> bits != before)
            before = value >> bits
            e += 1
    starts[starts.size - 1] = e
    return n_contexts


@njit(nogil=True, cache=True)
def _order(values: I64, marks: U64, tops: U64, places: I64) -> None:
    """Sorts distinct values: a few by insertion, more by marking each in a bitmap, 32 bits a word, and its word in another."""
    if values.size <= _TINY:
        _insert(values, 0, values.size)
        return
    one, low = np.uint64(1), np.int64(31)
    for value in values:
        marks[value >> 5] |= one << np.uint64(value & low)
        tops[value >> 10] |= one << np.uint64(value >> 5 & low)
    k = 0
    for t in range(tops.size):
        top, tops[t] = tops[t], 0
        while top:
            word = t * 32 + places[_place(top & ~(top - one))]
            mark, marks[word] = marks[word], 0
            while mark:
                values[k] = word * 32 + places[_place(mark & ~(mark - one))]
                mark &= mark - one
                k += 1
            top &= top - one


@njit(nogil=True, cache=True, inline="always")
def _place(power: np.uint64) -> np.int64:
    """A different number below 32 for every power of two below 2^32: the constant is a de Bruijn sequence."""
    return np.int64(power * np.uint64(0x077CB531) >> np.uint64(27) & np.uint64(31))


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
def _group(rest: Any, starts: I64, rest_bits: int, bits: int, spare: Any) -> int:
    """Sorts every bucket by context, and counts contexts while it is in the cache."""
    few_heads, many_heads, width = _heads(rest_bits - bits, np.zeros(0, np.int64))
    by = np.uint64(bits)
    n_contexts = 0
    for b in range(starts.size - 1):
        bucket = rest[starts[b] : starts[b + 1]]
        size = bucket.size
        if size <= _TINY:
            _insert(bucket, 0, size)
        elif (
            _radix(bucket, bits, 8, few_heads, spare)
            if size < _MANY
            else _radix(bucket, bits, width, many_heads, spare)
        ):
            bucket[:] = spare[:size]
        for i in range(size):
            n_contexts += int((i == 0) | (np.uint64(bucket[i]) >> by != np.uint64(bucket[max(i - 1, 0)]) >> by))
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
