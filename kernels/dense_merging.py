"""Entropies of one token of context straight from sorted runs: one counter per next token takes the place of merging.

A merge of many runs moves every entry once a level, and nobody needs the merged entries in order: entropies are sums of
integers, and of the merged counts only their numbers matter.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any, Final, TypeAlias

import numpy as np
from numba import njit

from tagcorpus.kernels.arrays import check_rows, frozen, shortened
from tagcorpus.kernels.fixed_point import TABLE, UNIT_BITS, UNITS_PER_BIT, entropy_of, term, terms_table
from tagcorpus.kernels.merging import merge_runs
from tagcorpus.kernels.packing import Entropies, Packing
from tagcorpus.kernels.totals import counts_of_counts

U64: TypeAlias = np.ndarray[Any, np.dtype[np.uint64]]
I64: TypeAlias = np.ndarray[Any, np.dtype[np.int64]]
F64: TypeAlias = np.ndarray[Any, np.dtype[np.float64]]

DENSE_BITS: Final = 22
"""A counter for each token of a larger vocabulary would take more memory than the entries."""


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
        m = _dense(frozen(keys), counts, starts, self._packing.bits, terms_table(), contexts, totals, distinct, bits)
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
    contexts: U64,
    totals: I64,
    distinct: I64,
    entropy_bits: F64,
) -> int:
    """Fills the last four arrays, and returns the number of contexts. Context by context: all runs add to the counters of its
    next tokens, and then the first entry of each next token takes the counter; `counts` of the others become 0."""
    by, mask = np.uint64(bits), np.uint64((1 << bits) - 1)
    none = np.uint64(1 << bits)
    unit_mask = np.int64(UNITS_PER_BIT - 1)
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
                if count < TABLE:
                    units += table[count]  # of 0: 0
                else:
                    more, few = term(count)
                    whole += more
                    units += few
                whole += units >> UNIT_BITS
                units &= unit_mask
        contexts[m, 0] = context
        totals[m] = total
        distinct[m] = n_seen
        entropy_bits[m] = entropy_of(total, whole, units) if n_seen > 1 else 0.0
        m += 1
        context = after
    return m
