"""Next-token entropy of every n-gram context, the same to the last bit whatever the order, batches or processor.

Every term of an entropy is an integer (`kernels.fixed_point`), so that the order of counting and merging changes nothing.
Totals over contexts are in `kernels.totals`, figures of documents in `kernels.document_entropy`.
"""

from __future__ import annotations

from typing import Any, Final, TypeAlias

import numpy as np

from tagcorpus.kernels.arrays import check_rows, frozen, shortened, workspace
from tagcorpus.kernels.buckets import Ids, by_token, is_by_token
from tagcorpus.kernels.compiling.cached import njit
from tagcorpus.kernels.document_entropy import document_entropies
from tagcorpus.kernels.fixed_point import (
    UNIT_BITS,
    add_term,
    entropy_of,
    log2_of,
    logarithms_table,
    terms_table,
)
from tagcorpus.kernels.ngrams import fill_keys
from tagcorpus.kernels.packing import Entropies, Packing, checked
from tagcorpus.kernels.radix import Sorted, sort_entries
from tagcorpus.kernels.totals import Sums, binned, counts_of_counts, exact_sums, extremes, key_histogram

U64: TypeAlias = np.ndarray[Any, np.dtype[np.uint64]]
I64: TypeAlias = np.ndarray[Any, np.dtype[np.int64]]
F64: TypeAlias = np.ndarray[Any, np.dtype[np.float64]]


_ENTRIES_AT_ONCE: Final = 1 << 15  # two words each, 512 KiB


def conditional_entropy(keys: U64, counts: I64, packing: Packing) -> Entropies:
    """Next-token entropy of every context of counted entries.

    keys     uint64 [k, words], ascending and distinct (`count_ngrams`, `merge`)
    counts   int64 [k], each at least 1, altogether at most 2^50
    returns  Entropies of m contexts; entropy_bits in bits
    Source   H = -sum p log2 p = log2 N - (sum c log2 c) / N with p = c / N: Shannon 1948, section 6
    Example  ids [1, 2, 1, 3], n=1 -> context 1: count 2, 2 distinct, 1.0 bit; context 2: count 1, 1 distinct, 0.0 bit
    """
    check_rows(packing.words, keys, counts)
    arrays = _empty(len(keys), packing.words)
    m = _conditional(frozen(keys), frozen(counts), packing.bits, terms_table(), logarithms_table(), *arrays)
    contexts, totals, distinct, bits = arrays
    return Entropies(shortened(contexts, m), shortened(totals, m), shortened(distinct, m), shortened(bits, m))


@njit(nogil=True, cache=True)
def _conditional(
    keys: U64,
    counts: I64,
    bits: int,
    table: I64,
    logarithms: F64,
    contexts: U64,
    totals: I64,
    distinct: I64,
    entropy_bits: F64,
) -> int:
    """Fills the last four arrays and returns the number of contexts."""
    words = keys.shape[1]
    by, back = np.uint64(bits), np.uint64(64 - bits)
    i, m = 0, 0
    while i < counts.size:
        above = keys[i, 0] if words == 2 else np.uint64(0)
        below = keys[i, words - 1] >> by
        first = i
        total = whole = units = np.int64(0)
        while i < counts.size and keys[i, words - 1] >> by == below and (words == 1 or keys[i, 0] == above):
            count = np.int64(counts[i])
            total += count
            whole, units = add_term(whole, units, count, table)
            i += 1
        contexts[m, 0] = above >> by
        contexts[m, words - 1] = below | above << back
        totals[m] = total
        distinct[m] = i - first
        entropy_bits[m] = entropy_of(total, whole, units, logarithms) if i - first > 1 else 0.0
        m += 1
    return m


def entropy_in_memory(ids: Ids, offsets: I64, packing: Packing) -> Entropies:
    """As conditional_entropy(*count_ngrams(ids, offsets, packing), packing), bit for bit, without the entries' keys ever in memory together.

    ids      uint16 or uint32 [n_tokens]   all documents, concatenated
    offsets  int64 [n_docs + 1]            document d is ids[offsets[d]:offsets[d + 1]]; offsets[0] need not be 0
    Raises ValueError as `count_ngrams` does.
    """
    ids, offsets = checked(ids, offsets, packing)
    n, bits, words = packing
    if not is_by_token(len(ids), n, bits):
        return _of_sorted(sort_entries(ids, offsets, n, bits), packing)
    rest, starts, _ = by_token(ids, offsets, n, bits, n - 1)
    arrays = _empty(len(rest), words)
    next_tokens = np.empty(1 << bits, ids.dtype)
    counter = np.zeros(1 << bits, np.uint32 if len(ids) < 2**32 else np.uint64)
    m = _of_grouped(rest, starts, n, bits, counter, next_tokens, terms_table(), logarithms_table(), *arrays)
    contexts, totals, distinct, entropy_bits = arrays
    return Entropies(shortened(contexts, m), shortened(totals, m), shortened(distinct, m), shortened(entropy_bits, m))


def _of_sorted(entries: Sorted, packing: Packing) -> Entropies:
    """Entropies from sorted entries, some buckets at a time, whose keys and counts thus stay in the cache."""
    entropies = _empty(entries.n_contexts, packing.words)
    m = first = 0
    starts = entries.starts
    while first < len(starts) - 1:
        end = max(first + 1, int(np.searchsorted(starts, starts[first] + _ENTRIES_AT_ONCE, "right")) - 1)
        keys = workspace("keys", (int(starts[end] - starts[first]), packing.words), np.uint64)
        fill_keys(entries, first, end, keys)
        contexts, totals, distinct, bits = entropies
        m += _conditional(
            frozen(keys),
            frozen(entries.counts[starts[first] : starts[end]]),
            packing.bits,
            terms_table(),
            logarithms_table(),
            contexts[m:],
            totals[m:],
            distinct[m:],
            bits[m:],
        )
        first = end
    return entropies


def _empty(m: int, words: int) -> Entropies:
    return Entropies(
        np.empty((m, words), np.uint64), np.empty(m, np.int64), np.empty(m, np.int64), np.empty(m, np.float64)
    )


@njit(nogil=True, cache=True)
def _of_grouped(
    rest: Any,
    starts: I64,
    n: int,
    bits: int,
    counter: Any,
    next_tokens: Ids,
    table: I64,
    logarithms: F64,
    contexts: U64,
    totals: I64,
    distinct: I64,
    entropy_bits: F64,
) -> int:
    """Fills the last four arrays from entries whose contexts ascend, and returns the number of contexts.

    counter      zeros [2^bits] before and after: how often a token has followed the context
    next_tokens  [2^bits]: the different ones
    """
    by, above, mask = np.uint64(bits), np.uint64((n - 1) * bits), np.uint64(2**bits - 1)
    words = contexts.shape[1]
    m: Any = np.uint64(0)
    for oldest in range(starts.size - 1):
        i, stop = np.uint64(starts[oldest]), np.uint64(starts[oldest + 1])
        while i < stop:
            first, context = i, np.uint64(rest[i]) >> by
            n_distinct = np.uint64(0)
            while i < stop and np.uint64(rest[i]) >> by == context:
                token = np.uint64(rest[i]) & mask
                count = counter[token]
                next_tokens[n_distinct] = token
                n_distinct += np.uint64(count == 0)
                counter[token] = count + np.uint32(1)
                i += np.uint64(1)
            whole = units = np.int64(0)
            for k in range(n_distinct):
                count = np.int64(counter[next_tokens[k]])
                counter[next_tokens[k]] = 0
                whole, units = add_term(whole, units, count, table)
            total = np.int64(i - first)
            contexts[m, 0] = 0
            contexts[m, words - 1] = np.uint64(oldest) << above | context
            totals[m] = total
            distinct[m] = n_distinct
            entropy_bits[m] = entropy_of(total, whole, units, logarithms) if n_distinct > 1 else 0.0
            m += np.uint64(1)
    return int(m)


__all__ = [
    "UNIT_BITS",
    "Entropies",
    "Sums",
    "binned",
    "conditional_entropy",
    "counts_of_counts",
    "document_entropies",
    "entropy_in_memory",
    "exact_sums",
    "extremes",
    "key_histogram",
    "log2_of",
]
