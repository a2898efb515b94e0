"""Merges sorted runs of counted keys; the counts of equal keys add, so the order of merging changes nothing.

Of one token of context, `Runs` makes entropies straight from sorted runs, with one counter per next token in the place of merging:
a merge of many runs moves every entry once a level, and nobody needs the merged entries in order.
"""

from __future__ import annotations

from collections import deque
from itertools import pairwise
from typing import Any, Final, TypeAlias

import numpy as np

from tagcorpus.kernels.arrays import check_rows, frozen, shortened
from tagcorpus.kernels.compiling.cached import njit
from tagcorpus.kernels.fixed_point import (
    add_term,
    entropy_of,
    logarithms_table,
    terms_table,
)
from tagcorpus.kernels.packing import Entropies, Packing
from tagcorpus.kernels.totals import counts_of_counts

U64: TypeAlias = np.ndarray[Any, np.dtype[np.uint64]]
I64: TypeAlias = np.ndarray[Any, np.dtype[np.int64]]
F64: TypeAlias = np.ndarray[Any, np.dtype[np.float64]]

DENSE_BITS: Final = 22
"""A counter for each token of a larger vocabulary would take more memory than the entries."""


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


def is_dense(packing: Packing) -> bool:
    """Whether `Runs` takes entries of this form."""
    return packing.n == 1 and packing.bits <= DENSE_BITS


class Runs:
    """Sorted runs of entries, of which `is_dense`, one after the other in two arrays.

    capacity  entries to begin with; the arrays grow where that is too few
    """

    def __init__(self, packing: Packing, capacity: int) -> None:
        self._packing = packing
        self._keys, self._counts = np.empty(capacity, np.uint64), np.empty(capacity, np.int64)
        self._starts = [0]

    def __len__(self) -> int:
        """Entries of all runs."""
        return self._starts[-1]

    def add(self, keys: U64, counts: I64) -> None:
        """keys uint64 [k, 1] ascending and distinct, counts int64 [k] of at least 1; of all runs together at most 2^50."""
        check_rows(1, keys, counts)
        start, stop = self._starts[-1], self._starts[-1] + len(counts)
        if stop > len(self._keys):
            for array in (self._keys, self._counts):
                array.resize(max(stop, start + start // 2), refcheck=False)
        self._keys[start:stop], self._counts[start:stop] = keys[:, 0], counts
        self._starts.append(stop)

    def merge(self) -> None:
        """Make one run of all."""
        edges = list(pairwise(self._starts))
        runs = [(self._keys[a:b].reshape(-1, 1), self._counts[a:b]) for a, b in edges]
        keys, counts = merge_runs(runs, self._packing)
        self._starts = [0]
        self.add(keys, counts)

    def entropies(self) -> tuple[Entropies, I64, I64]:
        """Of every context, bit for bit as conditional_entropy(*merge_runs(runs, packing), packing), and the number of merged
        entries with each count, as counts_of_counts. The runs are gone after that.

        Example  [[0b0110]], [2] and [[0b0110], [0b0111]], [1, 1] of 2 bits -> context 1: count 4, 2 distinct; [1, 3], [1, 1]
        """
        keys, counts = self._keys[: len(self)], self._counts[: len(self)]
        most = min(len(keys), 1 << self._packing.bits)
        contexts, totals, distinct = np.empty((most, 1), np.uint64), np.empty(most, np.int64), np.empty(most, np.int64)
        bits = np.empty(most, np.float64)
        starts = np.array(self._starts, np.int64)
        m = _dense(
            frozen(keys),
            counts,
            starts,
            self._packing.bits,
            terms_table(),
            logarithms_table(),
            contexts,
            totals,
            distinct,
            bits,
        )
        self._starts = [0]
        values, multiplicity = counts_of_counts(counts)
        taken = values > 0
        every = Entropies(shortened(contexts, m), shortened(totals, m), shortened(distinct, m), shortened(bits, m))
        return every, values[taken], multiplicity[taken]


@njit(nogil=True, cache=True)
def _dense(
    keys: U64,
    counts: I64,
    starts: I64,
    bits: int,
    table: I64,
    logarithms: F64,
    contexts: U64,
    totals: I64,
    distinct: I64,
    entropy_bits: F64,
) -> int:
    """Fills the last four arrays, and returns the number of contexts. Context by context: all runs add to the counters of its
    next tokens, and then the first entry of each next token takes the counter; `counts` of the others become 0."""
    by, mask = np.uint64(bits), np.uint64((1 << bits) - 1)
    none = np.uint64(1 << bits)
    n_runs = starts.size - 1
    seen = np.zeros(1 << bits, np.int64)
    at, begin = starts[:-1].copy(), starts[:-1].copy()
    m = 0
    context = none
    for r in range(n_runs):
        if at[r] < starts[r + 1]:
            context = min(context, keys[at[r]] >> by)
    while context < none:
        after = none
        total = np.int64(0)
        for r in range(n_runs):
            i, stop = at[r], starts[r + 1]
            begin[r] = i
            while i < stop and keys[i] >> by == context:
                seen[keys[i] & mask] += counts[i]
                total += counts[i]
                i += 1
            if i < stop:
                after = min(after, keys[i] >> by)
            at[r] = i
        n_seen = 0
        whole = units = np.int64(0)
        for r in range(n_runs):
            for i in range(begin[r], at[r]):
                token = keys[i] & mask
                count = seen[token]
                seen[token] = 0
                counts[i] = count
                n_seen += int(count != 0)
                whole, units = add_term(whole, units, count, table)
        contexts[m, 0] = context
        totals[m] = total
        distinct[m] = n_seen
        entropy_bits[m] = entropy_of(total, whole, units, logarithms) if n_seen > 1 else 0.0
        m += 1
        context = after
    return m
