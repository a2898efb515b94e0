"""Next-token entropy of every n-gram context, the same to the last bit whatever the order, batches or processor.

Every term of an entropy is an integer (`kernels.fixed_point`), so that the order of counting and merging changes nothing.
Totals over contexts are in `kernels.totals`, figures of documents in `kernels.document_entropy`.
"""

from __future__ import annotations

from typing import Any, Final, TypeAlias

import numpy as np
from numba import njit

from tagcorpus.kernels.arrays import check_rows, frozen, shortened, workspace
from tagcorpus.kernels.buckets import Ids, bucket_starts, fits_a_word, write_heads
from tagcorpus.kernels.document_entropy import document_entropies
from tagcorpus.kernels.fixed_point import BLOCK, TABLE, UNIT_BITS, UNITS_PER_BIT, entropy_of, log2_of, term, terms_table
from tagcorpus.kernels.ngrams import fill_keys
from tagcorpus.kernels.packing import Entropies, Packing, checked
from tagcorpus.kernels.prefetch import prefetch
from tagcorpus.kernels.radix import Sorted, group_entries, sort_entries
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
    m = _conditional(frozen(keys), frozen(counts), packing.bits, terms_table(), *arrays)
    contexts, totals, distinct, bits = arrays
    return Entropies(shortened(contexts, m), shortened(totals, m), shortened(distinct, m), shortened(bits, m))


@njit(nogil=True, cache=True)
def _conditional(
    keys: U64, counts: I64, bits: int, table: I64, contexts: U64, totals: I64, distinct: I64, entropy_bits: F64
) -> int:
    """Fills the last four arrays and returns the number of contexts."""
    words = keys.shape[1]
    by, back = np.uint64(bits), np.uint64(64 - bits)
    unit_mask = np.int64(UNITS_PER_BIT - 1)
    i, m = 0, 0
    while i < counts.size:
        above = keys[i, 0] if words == 2 else np.uint64(0)
        below = keys[i, words - 1] >> by
        first = i
        total = whole = units = np.int64(0)
        while i < counts.size and keys[i, words - 1] >> by == below and (words == 1 or keys[i, 0] == above):
            count = np.int64(counts[i])
            total += count
            if 0 <= count < TABLE:
                units += table[count]
            else:
                more, few = term(count)
                whole += more
                units += few
            whole += units >> UNIT_BITS
            units &= unit_mask
            i += 1
        contexts[m, 0] = above >> by
        contexts[m, words - 1] = below | above << back
        totals[m] = total
        distinct[m] = i - first
        entropy_bits[m] = entropy_of(total, whole, units) if i - first > 1 else 0.0
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
    if (1 << bits) > 4 * len(ids) + 64 or not fits_a_word(len(ids), n, bits):
        return _of_sorted(sort_entries(ids, offsets, n, bits), packing)
    if n == 1:
        rest_bits = bits
        starts = np.zeros((1 << bits) + 1, np.int64)
        bucket_starts(ids, offsets, 1, 0, starts)
        rest = workspace("rest", (int(starts[-1]),), ids.dtype)
        _follow(ids, offsets, write_heads(starts), rest)
        m = int(np.count_nonzero(np.diff(starts)))
    else:
        rest, starts, rest_bits, m = group_entries(ids, offsets, n, bits)
    entropies = _empty(m, words)
    zeros = np.zeros(1 << bits, np.uint32 if len(ids) < 2**32 else np.uint64)
    _dense(rest, starts, rest_bits, bits, zeros, terms_table(), *entropies)
    return entropies


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
def _follow(ids: Ids, offsets: I64, heads: Any, followers: Ids) -> None:
    """Writes every token that has one before it to where the head of that one points."""
    for d in range(offsets.size - 1):
        for i in range(np.uint64(offsets[d] + 1), np.uint64(max(offsets[d + 1], offsets[d] + 1))):
            head = heads[ids[i - np.uint64(1)]]
            followers[head] = ids[i]
            heads[ids[i - np.uint64(1)]] = head + np.uint32(1)
            prefetch(followers, head)


@njit(nogil=True, cache=True)
def _dense(
    rest: Any,
    starts: I64,
    rest_bits: int,
    bits: int,
    zeros: Any,
    table: I64,
    contexts: U64,
    totals: I64,
    distinct: I64,
    entropy_bits: F64,
) -> None:
    """Entropy of every context of `group_entries`, by one counter per next token.

    A term grows with every occurrence, so the sum is made while counting; and context m counts from m * TABLE on, so that no
    counter is ever reset. Busier contexts, whose terms are not all in the table, and whole buckets are left to `_busy`.
    """
    steps = table[1:] - table[:-1]
    by, mask = np.uint64(bits), np.uint64((1 << bits) - 1)
    up, words = np.uint64(rest_bits - bits), contexts.shape[1]
    seen = np.zeros(1 << bits, np.int64)
    m = i = 0
    for bucket in range(starts.size - 1):
        stop = starts[bucket + 1]
        while i < stop:
            first, above = i, np.uint64(rest[i]) >> by
            base = m * TABLE
            n_seen = 0
            whole = units = np.int64(0)
            if rest_bits == bits:
                i = stop  # the bucket is the context
            while i < stop and np.uint64(rest[i]) >> by == above:
                token = np.uint64(rest[i]) & mask
                count = min(max(seen[token] - base, 0), TABLE - 2)
                units += steps[count]
                n_seen += int(count == 0)
                seen[token] = base + count + 1
                i += 1
            total = i - first
            if rest_bits == bits:
                n_seen, whole, units = _busy(rest[first:i], None, zeros, table)
            elif total >= TABLE:
                n_seen, whole, units = _busy(rest[first:i], mask, zeros, table)
            if words == 2:
                contexts[m, 0] = np.uint64(bucket) >> np.uint64(64) - up
            contexts[m, words - 1] = np.uint64(bucket) << up | above
            totals[m] = total
            distinct[m] = n_seen
            entropy_bits[m] = (
                entropy_of(total, whole + (units >> UNIT_BITS), units & np.int64(UNITS_PER_BIT - 1))
                if n_seen > 1
                else 0.0
            )
            m += 1


@njit(nogil=True, cache=True)
def _busy(rest: Any, mask: Any, seen: Any, table: I64) -> Any:
    """Distinct next tokens of one context and its terms, whole and units; seen is zeros before and after; no mask, nothing to mask."""
    for value in rest:
        seen[value if mask is None else np.uint64(value) & mask] += np.uint32(1)
    n_seen = 0
    whole = units = np.int64(0)
    for start in range(0, rest.size, BLOCK):
        for i in range(start, min(start + BLOCK, rest.size)):
            # The first of equal next tokens takes the count and leaves 0, whose term is 0, to the others.
            token = rest[i] if mask is None else np.uint64(rest[i]) & mask
            count = np.int64(seen[token])
            seen[token] = 0
            n_seen += int(count != 0)
            if count < TABLE:
                units += table[count]
            else:
                more, few = term(count)
                whole += more
                units += few
        whole += units >> UNIT_BITS
        units &= np.int64(UNITS_PER_BIT - 1)
    return n_seen, whole, units


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
