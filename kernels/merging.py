"""Merges sorted runs of counted keys; the counts of equal keys add, so the order of merging changes nothing."""

from __future__ import annotations

from collections import deque
from typing import Any, TypeAlias

import numpy as np
from numba import njit

from tagcorpus.kernels.arrays import check_rows, frozen, shortened
from tagcorpus.kernels.packing import Packing

U64: TypeAlias = np.ndarray[Any, np.dtype[np.uint64]]
I64: TypeAlias = np.ndarray[Any, np.dtype[np.int64]]


def merge(a_keys: U64, a_counts: I64, b_keys: U64, b_counts: I64) -> tuple[U64, I64]:
    """Two sorted runs as one; counts of equal keys add.

    a_keys, b_keys      uint64 [k, words], ascending and distinct
    a_counts, b_counts  int64 [k]
    returns             (keys uint64 [j, words], counts int64 [j])
    Example             [[1], [4]] with [2, 3], and [[4], [5]] with [1, 1] -> [[1], [4], [5]] with [2, 4, 1]
    """
    words = a_keys.shape[-1]
    check_rows(words, a_keys, a_counts)
    check_rows(words, b_keys, b_counts)
    keys = np.empty((len(a_keys) + len(b_keys), words), np.uint64)
    counts = np.empty(len(keys), np.int64)
    kernel = _merge if words == 1 else _merge_pairs
    k = kernel(frozen(a_keys), frozen(a_counts), frozen(b_keys), frozen(b_counts), keys, counts)
    return shortened(keys, k), shortened(counts, k)


def merge_runs(runs: list[tuple[U64, I64]], packing: Packing) -> tuple[U64, I64]:
    """Any number of sorted runs as one, by a balanced tree of merges. Empties the list, so that merged runs are freed.

    runs     (keys uint64 [k, words], counts int64 [k]) each
    returns  (keys uint64 [j, words], counts int64 [j]); empty arrays for no run
    Source   merge sort by a queue of runs: Knuth, The Art of Computer Programming 3, 5.2.4
    """
    queue = deque(runs)
    runs.clear()
    while len(queue) > 1:
        queue.append(merge(*queue.popleft(), *queue.popleft()))
    return queue[0] if queue else (np.empty((0, packing.words), np.uint64), np.empty(0, np.int64))


@njit(nogil=True, cache=True)
def _merge(a_keys: U64, a_counts: I64, b_keys: U64, b_counts: I64, keys: U64, counts: I64) -> int:
    """Fills keys and counts of one word, and returns their number.

    The next run cannot be predicted, so nothing branches on it: the later of both keys goes to the next place, where it is
    overwritten. A shift by 63 bits takes the count of a out of the sum where the keys differ.
    """
    i = j = k = np.uint64(0)
    one, all_bits = np.uint64(1), np.uint64(63)
    while i < np.uint64(a_counts.size) and j < np.uint64(b_counts.size):
        a, b, count = a_keys[i, 0], b_keys[j, 0], np.uint64(a_counts[i])
        is_a_later, is_b_later = np.uint64(b < a), np.uint64(a < b)
        keys[k + is_a_later, 0] = a
        keys[k + is_b_later, 0] = b
        counts[k + is_a_later] = count
        counts[k + is_b_later] = np.uint64(b_counts[j]) + (count >> (is_a_later | is_b_later) * all_bits)
        i, j, k = i + one - is_a_later, j + one - is_b_later, k + one
    return _rest_of(a_keys, a_counts, int(i), b_keys, b_counts, int(j), keys, counts, int(k))


@njit(nogil=True, cache=True)
def _merge_pairs(a_keys: U64, a_counts: I64, b_keys: U64, b_counts: I64, keys: U64, counts: I64) -> int:
    """As `_merge`, for keys of two words."""
    i = j = k = np.uint64(0)
    one, all_bits = np.uint64(1), np.uint64(63)
    while i < np.uint64(a_counts.size) and j < np.uint64(b_counts.size):
        a, b, c, d = a_keys[i, 0], a_keys[i, 1], b_keys[j, 0], b_keys[j, 1]
        count = np.uint64(a_counts[i])
        is_a_later = np.uint64((c < a) | ((a == c) & (d < b)))
        is_b_later = np.uint64((a < c) | ((a == c) & (b < d)))
        keys[k + is_a_later, 0], keys[k + is_a_later, 1] = a, b
        keys[k + is_b_later, 0], keys[k + is_b_later, 1] = c, d
        counts[k + is_a_later] = count
        counts[k + is_b_later] = np.uint64(b_counts[j]) + (count >> (is_a_later | is_b_later) * all_bits)
        i, j, k = i + one - is_a_later, j + one - is_b_later, k + one
    return _rest_of(a_keys, a_counts, int(i), b_keys, b_counts, int(j), keys, counts, int(k))


@njit(nogil=True, cache=True)
def _rest_of(
    a_keys: U64, a_counts: I64, i: int, b_keys: U64, b_counts: I64, j: int, keys: U64, counts: I64, k: int
) -> int:
    """Appends the rest of one run when the other has ended."""
    left = a_counts.size - i + b_counts.size - j
    if i < a_counts.size:
        keys[k : k + left], counts[k : k + left] = a_keys[i:], a_counts[i:]
    else:
        keys[k : k + left], counts[k : k + left] = b_keys[j:], b_counts[j:]
    return k + left
