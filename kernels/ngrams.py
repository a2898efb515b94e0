"""Counts n-grams exactly: entries (n tokens of context and the next one) packed into one or two 64-bit words.

An entry is one integer of (n + 1) * bits bits, oldest token most significant, next token in the lowest `bits`; as keys,
uint64 [k, words] with the most significant word first. Nothing is hashed, so no two entries ever share a key. Keys are
ascending and distinct wherever a function takes or returns them, counts are int64. `kernels.radix` does the sorting and
`kernels.merging` the merging, here are runs, contexts and looking up; entropies are in `kernels.entropy`.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np

from tagcorpus.kernels.arrays import check_rows, frozen, shortened
from tagcorpus.kernels.buckets import Ids
from tagcorpus.kernels.compiling.cached import njit
from tagcorpus.kernels.merging import merge, merge_runs
from tagcorpus.kernels.packing import Packing, checked
from tagcorpus.kernels.radix import Sorted, sort_entries

U32: TypeAlias = np.ndarray[Any, np.dtype[np.uint32]]
U64: TypeAlias = np.ndarray[Any, np.dtype[np.uint64]]
I64: TypeAlias = np.ndarray[Any, np.dtype[np.int64]]
F64: TypeAlias = np.ndarray[Any, np.dtype[np.float64]]


def count_ngrams(ids: Ids, offsets: I64, packing: Packing) -> tuple[U64, I64]:
    """Distinct entries of all documents and how often each occurs; no entry crosses from one document to the next.

    ids      uint16 or uint32 [n_tokens]   all documents, concatenated
    offsets  int64 [n_docs + 1]            document d is ids[offsets[d]:offsets[d + 1]]; offsets[0] need not be 0
    returns  (keys uint64 [k, words] ascending, counts int64 [k] >= 1)
    Raises ValueError for an id of more than `bits` bits and for offsets that are no partition of ids.
    Source   definition; run lengths of the sorted entries
    Example  ids [1, 2, 1, 2, 1], n=1, n_vocab=4 (2 bits) -> keys [[0b0110], [0b1001]], counts [2, 2]
    """
    ids, offsets = checked(ids, offsets, packing)
    entries = sort_entries(ids, offsets, packing.n, packing.bits)
    keys = np.empty((entries.starts[-1], packing.words), np.uint64)
    fill_keys(entries, 0, len(entries.starts) - 1, keys)
    return keys, entries.counts[: len(keys)].astype(np.int64)


def fill_keys(entries: Sorted, first: int, end: int, keys: U64) -> None:
    """Writes the distinct entries of buckets first to end - 1."""
    kernel = _pair_keys if entries.rest.ndim == 2 else _keys
    kernel(entries.rest, entries.starts, first, end, entries.rest_bits, keys)


def contexts_of(keys: U64, packing: Packing) -> tuple[U64, I64]:
    """The distinct contexts of sorted entries, and where the entries of each begin.

    keys     uint64 [k, words], ascending
    returns  (contexts uint64 [m, words] ascending, starts int64 [m + 1]: keys[starts[c]:starts[c + 1]] have context c)
    Example  keys [[0b0110], [0b0111], [0b1001]] of n=1, 2 bits -> [[0b01], [0b10]], [0, 2, 3]
    """
    contexts = np.empty_like(keys)
    starts = np.empty(len(keys) + 1, np.int64)
    m = _contexts(frozen(keys), packing.bits, contexts, starts)
    return shortened(contexts, m), shortened(starts, m + 1)


def unpack(contexts: U64, n: int, bits: int) -> U32:
    """Token ids of packed contexts.

    contexts  uint64 [m, words]
    returns   uint32 [m, n], oldest token first
    Example   [[0b0110]], n=2, bits=2 -> [[1, 2]]
    """
    ids = np.empty((len(contexts), n), np.uint32)
    by, mask = np.uint64(bits), np.uint64((1 << bits) - 1)
    low = contexts[:, -1].copy()
    high = contexts[:, 0].copy() if contexts.shape[1] == 2 else np.zeros_like(low)
    for place in range(n - 1, -1, -1):
        ids[:, place] = low & mask
        low = low >> by | high << np.uint64(64 - bits)
        high >>= by
    return ids


def lookup(sorted_contexts: U64, values: F64, queries: U64) -> F64:
    """The values of some contexts.

    sorted_contexts  uint64 [m, words], ascending and distinct
    values           float64 [m]
    queries          uint64 [j, words], ascending, all among sorted_contexts
    returns          float64 [j]
    Raises ValueError if one is not there, or queries are not ascending.
    Source   exponential search from the place of the last match: Bentley and Yao, 1976
    """
    result = np.empty(len(queries), np.float64)
    check_rows(sorted_contexts.shape[-1], sorted_contexts, values)
    check_rows(sorted_contexts.shape[-1], queries, result)
    missing = _lookup(frozen(sorted_contexts), frozen(values), frozen(queries), result)
    if missing >= 0:
        raise ValueError(
            f"context {queries[missing].tolist()} (number {missing} of those looked up) is not in the table, or not in "
            "ascending order: were both computed from the same ids?"
        )
    return result


@njit(nogil=True, cache=True)
def _keys(rest: Any, starts: I64, start: int, stop: int, rest_bits: int, keys: U64) -> None:
    """Puts buckets and rests of at most 64 bits together."""
    words = keys.shape[1]
    by, above = np.uint64(rest_bits), np.uint64(64 - rest_bits)
    begin = starts[start]
    for b in range(start, stop):
        # Where the rest fills its word alone, nothing is left of the bucket in it (a shift by 64 is undefined).
        prefix = np.uint64(b) << by if rest_bits < 64 else np.uint64(0)
        high = np.uint64(b) >> above if rest_bits < 64 else np.uint64(b)
        for i in range(starts[b], starts[b + 1]):
            keys[i - begin, 0] = high
            keys[i - begin, words - 1] = prefix | np.uint64(rest[i])


@njit(nogil=True, cache=True)
def _pair_keys(rest: U64, starts: I64, start: int, stop: int, rest_bits: int, keys: U64) -> None:
    """As `_keys`, for rests of two words."""
    begin = starts[start]
    for b in range(start, stop):
        prefix = np.uint64(b) << np.uint64(rest_bits - 64)
        for i in range(starts[b], starts[b + 1]):
            keys[i - begin, 0], keys[i - begin, 1] = prefix | rest[i, 0], rest[i, 1]


@njit(nogil=True, cache=True)
def _contexts(keys: U64, bits: int, contexts: U64, starts: I64) -> int:
    """Fills contexts and starts, and returns the number of contexts."""
    words = keys.shape[1]
    by, back = np.uint64(bits), np.uint64(64 - bits)
    high = low = np.uint64(0)
    m = -1
    for i in range(keys.shape[0]):
        above = keys[i, 0] if words == 2 else np.uint64(0)
        new_high, new_low = above >> by, keys[i, words - 1] >> by | above << back
        if i == 0 or new_low != low or new_high != high:
            m += 1
            starts[m] = i
            contexts[m, 0] = new_high
            contexts[m, words - 1] = new_low
            high, low = new_high, new_low
    starts[m + 1] = keys.shape[0]
    return m + 1


@njit(nogil=True, cache=True)
def _lookup(contexts: U64, values: F64, queries: U64, result: F64) -> int:
    """Fills result; returns the number of the first context that is not there, or -1."""
    size, words = contexts.shape
    low = 0
    for w in range(queries.shape[0]):
        high, last = queries[w, 0], queries[w, words - 1]
        step = 1
        above = low
        while above < size and (
            contexts[above, 0] < high or (contexts[above, 0] == high and contexts[above, words - 1] < last)
        ):
            low = above + 1
            above += step
            step *= 2
        above = min(above, size)
        while low < above:
            middle = (low + above) // 2
            if contexts[middle, 0] < high or (contexts[middle, 0] == high and contexts[middle, words - 1] < last):
                low = middle + 1
            else:
                above = middle
        if low == size or contexts[low, 0] != high or contexts[low, words - 1] != last:
            return w
        result[w] = values[low]
    return -1


__all__ = [
    "checked",
    "contexts_of",
    "count_ngrams",
    "lookup",
    "merge",
    "merge_runs",
    "unpack",
]
