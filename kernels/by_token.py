"""Puts the n-gram entries of flat token ids in order: a counting sort by one token of the entry at a time, the last one first.

An entry is n + 1 consecutive token ids of one document. A pass puts entries into one bucket per token id; the other n tokens of
an entry are stored as one integer. So the last pass, by the oldest token, leaves the rests of the entries in order.

`kernels.ngrams` checks that ids are below the vocabulary's size and that offsets are valid. This module does not.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from tagcorpus.kernels.arrays import workspace
from tagcorpus.kernels.buckets import I64, Ids, write_heads
from tagcorpus.kernels.prefetch import prefetch


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
def _first_pass(ids: Ids, offsets: I64, n: int, bits: int, is_by_next: bool, heads: Any, rest: Any) -> None:
    """Puts entries into buckets by their next token, or else by the token before it."""
    by, above = np.uint64(bits), np.uint64((n - 1) * bits)
    mask, context_mask = np.uint64(2**bits - 1), np.uint64(2**64 - 1) >> np.uint64(64 - n * bits)
    for d in range(offsets.size - 1):
        start, end = np.uint64(offsets[d]), np.uint64(offsets[d + 1])
        first = min(start + np.uint64(n), end)
        context = np.uint64(0)
        for i in range(start, first):
            context = context << by | np.uint64(ids[i])
        for i in range(first, end):
            token = np.uint64(ids[i])
            bucket = token if is_by_next else context & mask
            head = heads[bucket]
            rest[head] = context if is_by_next else token << above | context >> by
            heads[bucket] = head + np.uint32(1)
            prefetch(rest, head)
            context = (context << by | token) & context_mask


@njit(nogil=True, cache=True)
def _next_pass(source: Any, starts: I64, n: int, bits: int, heads: Any, rest: Any) -> None:
    """Takes the entries from the buckets of one token and puts them into buckets by the token before it."""
    by, above, mask = np.uint64(bits), np.uint64((n - 1) * bits), np.uint64(2**bits - 1)
    for t in range(starts.size - 1):
        token = np.uint64(t) << above
        for i in range(np.uint64(starts[t]), np.uint64(starts[t + 1])):
            value = np.uint64(source[i])
            bucket = value & mask
            head = heads[bucket]
            rest[head] = token | value >> by
            heads[bucket] = head + np.uint32(1)
            prefetch(rest, head)
