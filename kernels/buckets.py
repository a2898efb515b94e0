"""Sorts the n-gram entries of flat token ids, or the first step of sorting: counting sorts.

An entry is n + 1 consecutive token ids of one document, oldest first.

`by_token` sorts by one token of the entry at a time, the last one first. A pass puts entries into one bucket per token id; the
other n tokens of an entry are stored as one integer. So the last pass, by the oldest token, leaves the rests in order.

`in_buckets` is for all other entries. The highest bits of the packed entry choose the bucket, which stores the rest of the entry
in the narrowest type. `kernels.radix` sorts the buckets.

`kernels.ngrams` checks that ids are below the vocabulary's size and that offsets are valid. This module does not.
"""

from __future__ import annotations

from typing import Any, Final, TypeAlias

import numpy as np

from tagcorpus.kernels.arrays import prefetch, workspace
from tagcorpus.kernels.compiling.cached import njit

Ids: TypeAlias = np.ndarray[Any, np.dtype[np.unsignedinteger[Any]]]
U64: TypeAlias = np.ndarray[Any, np.dtype[np.uint64]]
I64: TypeAlias = np.ndarray[Any, np.dtype[np.int64]]

_ENTRIES_PER_BUCKET: Final = 32  # fewer than this on average, and the table of buckets costs more than it saves
_ROWS_AHEAD: Final = np.uint64(8)  # of a bucket; with more of them, two cache lines of every bucket are busy
_ENTRIES_AHEAD: Final = np.uint64(32)  # of a pass; about as many as wait for memory together


def _bucket_bits(n_tokens: int, bits: int) -> int:
    return max(1, min(bits, (n_tokens // _ENTRIES_PER_BUCKET).bit_length()))


def in_buckets(ids: Ids, offsets: I64, n: int, bits: int) -> tuple[np.ndarray[Any, Any], I64, int]:
    """Every entry's rest in its bucket, the buckets' starts, and the width of a rest."""
    bucket_bits = _bucket_bits(len(ids), bits)
    rest_bits = (n + 1) * bits - bucket_bits
    starts = np.zeros((1 << bucket_bits) + 1, np.int64)
    _bucket_starts(ids, offsets, n, bits - bucket_bits, starts)
    shape = (int(starts[-1]), 2) if rest_bits > 64 else (int(starts[-1]),)
    rest = workspace("rest", shape, np.uint16 if rest_bits <= 16 else np.uint32 if rest_bits <= 32 else np.uint64)
    kernel = _scatter_pairs if rest_bits > 64 else _scatter_wide if (n + 1) * bits > 64 else _scatter
    kernel(ids, offsets, n, bits, rest_bits, write_heads(starts), rest)
    return rest, starts, rest_bits


@njit(nogil=True, cache=True)
def _bucket_starts(ids: Ids, offsets: I64, n: int, shift: int, starts: I64) -> None:
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
            prefetch(rest, head + _ROWS_AHEAD)


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
            prefetch(rest, head + _ROWS_AHEAD)


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
                prefetch(rest, head + _ROWS_AHEAD)


def is_by_token(n_tokens: int, n: int, bits: int) -> bool:
    """Whether n tokens fit a word, and a bucket per token id costs little beside so many tokens."""
    return n * bits <= 64 and (1 << bits) <= 4 * n_tokens + 64


def by_token(ids: Ids, offsets: I64, n: int, bits: int, last: int) -> tuple[np.ndarray[Any, Any], I64, str]:
    """The entries of all documents, sorted by their tokens 0 (the oldest) to `last`.

    ids      uint16 or uint32 [n_tokens], read-only  all documents, concatenated; every id is below 2^bits
    offsets  int64 [n_docs + 1], read-only           document d is ids[offsets[d]:offsets[d + 1]]
    n, bits  context length and bits of an id (`is_by_token`)
    last     n: entries ascending; n - 1: contexts ascending, their next tokens in any order
    returns  (rest uint16, uint32 or uint64 [k]: tokens 1 to n of an entry, the next token in the lowest bits;
              starts int64 [2^bits + 1]: entries with the oldest token t are rest[starts[t]:starts[t + 1]];
              the kind of workspace that is free)
    Source   LSD radix sort: Knuth, The Art of Computer Programming 3, 5.2.5
    Example  ids [1, 2, 1, 3], n=1, bits=2, last=1 -> rest [2, 3, 1], starts [0, 0, 2, 3, 3]
    """
    size = np.uint32 if len(ids) < 2**32 else np.uint64
    occurrences = np.zeros((2, 1 << bits), size)
    _occurrences(ids[offsets[0] : offsets[-1]], occurrences)
    tokens = occurrences.sum(0, dtype=np.int64)
    rest_type = np.uint16 if n * bits <= 16 else np.uint32 if n * bits <= 32 else np.uint64
    kinds = ("rest", "spare")
    starts = _starts(ids, offsets, n, last, tokens)
    rest = workspace(kinds[0], (int(starts[-1]),), rest_type)
    if last == 0:
        _pairs(ids, offsets, write_heads(starts), rest)
    else:
        _first_pass(ids, offsets, n, bits, last == n, write_heads(starts), rest)
    for token in range(last - 1, -1, -1):
        kinds = kinds[::-1]
        source, before = rest, starts
        starts = _starts(ids, offsets, n, token, tokens)
        rest = workspace(kinds[0], source.shape, rest_type)
        _next_pass(source, before, n, bits, write_heads(starts), rest)
    return rest, starts, kinds[1]


@njit(nogil=True, cache=True)
def _occurrences(ids: Ids, counts: Any) -> None:
    """Counts the ids of both halves apart (counts, zeros [2, 2^bits]), since equal neighbours wait for each other."""
    half = np.uint64(ids.size // 2)
    for i in range(half):
        counts[0, ids[i]] += np.uint32(1)
        counts[1, ids[half + i]] += np.uint32(1)
    if ids.size & 1:
        counts[0, ids[ids.size - 1]] += np.uint32(1)


@njit(nogil=True, cache=True)
def _starts(ids: Ids, offsets: I64, n: int, place: int, tokens: I64) -> I64:
    """Where the bucket of each token id begins. The first `place` tokens of a document and the last n - place are at this place of no entry."""
    starts = np.zeros(tokens.size + 1, np.int64)
    starts[1:] = tokens
    for d in range(offsets.size - 1):
        start, end = offsets[d], offsets[d + 1]
        first = min(start + place, end)
        for i in range(start, first):
            starts[np.int64(ids[i]) + 1] -= 1
        for i in range(max(first, end - n + place), end):
            starts[np.int64(ids[i]) + 1] -= 1
        if end - start <= n:
            for i in range(first, max(first, end - n + place)):
                starts[np.int64(ids[i]) + 1] -= 1
    for t in range(tokens.size):
        starts[t + 1] += starts[t]
    return starts


@njit(nogil=True, cache=True)
def _pairs(ids: Ids, offsets: I64, heads: Any, rest: Any) -> None:
    """Puts next tokens into buckets by the token before them: `_first_pass` for one token of context, with fewer instructions."""
    for d in range(offsets.size - 1):
        start, end = np.uint64(offsets[d]), np.uint64(offsets[d + 1])
        if start == end:
            continue
        before = ids[start]
        for i in range(start + np.uint64(1), end):
            token = ids[i]
            head = heads[before]
            rest[head] = token
            heads[before] = head + np.uint32(1)
            prefetch(rest, head + _ROWS_AHEAD)
            before = token


@njit(nogil=True, cache=True)
def _first_pass(ids: Ids, offsets: I64, n: int, bits: int, is_by_next: bool, heads: Any, rest: Any) -> None:
    """Puts entries into buckets by their next token, or else by the token before it."""
    by, above = np.uint64(bits), np.uint64((n - 1) * bits)
    mask = np.uint64(2**64 - 1) >> np.uint64(64 - n * bits)
    for d in range(offsets.size - 1):
        start, end = np.uint64(offsets[d]), np.uint64(offsets[d + 1])
        first = min(start + np.uint64(n), end)
        context = np.uint64(0)
        for i in range(start, first):
            context = context << by | np.uint64(ids[i])
        for i in range(first, end):
            token = np.uint64(ids[i])
            bucket = token if is_by_next else np.uint64(ids[i - np.uint64(1)])
            head = heads[bucket]
            rest[head] = context & mask if is_by_next else token << above | (context & mask) >> by
            heads[bucket] = head + np.uint32(1)
            prefetch(rest, head + _ROWS_AHEAD)
            context = context << by | token  # with tokens before it, so that the next turn waits for less


@njit(nogil=True, cache=True)
def _next_pass(source: Any, starts: I64, n: int, bits: int, heads: Any, rest: Any) -> None:
    """Takes the entries from the buckets of one token and puts them into buckets by the token before it."""
    by, above, mask = np.uint64(bits), np.uint64((n - 1) * bits), np.uint64(2**bits - 1)
    final = np.uint64(max(source.size, 1) - 1)
    for t in range(starts.size - 1):
        token = np.uint64(t) << above
        for i in range(np.uint64(starts[t]), np.uint64(starts[t + 1])):
            value = np.uint64(source[i])
            bucket = value & mask
            head = heads[bucket]
            rest[head] = token | value >> by
            heads[bucket] = head + np.uint32(1)
            prefetch(rest, head + _ROWS_AHEAD)
            prefetch(rest, heads[np.uint64(source[min(i + _ENTRIES_AHEAD, final)]) & mask])
