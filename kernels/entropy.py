"""Next-token entropy of every n-gram context, the same to the last bit whatever the order, batches or processor.

Every term of an entropy is an integer (`kernels.fixed_point`), so that the order of counting and merging changes nothing.
Totals over contexts are in `kernels.totals`, figures of documents in `kernels.document_entropy`.
"""

from __future__ import annotations

import functools
from typing import Any, Final, TypeAlias

import numpy as np

from tagcorpus.kernels.arrays import check_rows, frozen, shortened, workspace
from tagcorpus.kernels.buckets import Ids, by_token, is_by_token
from tagcorpus.kernels.compiling.cached import njit
from tagcorpus.kernels.document_entropy import document_entropies
from tagcorpus.kernels.fixed_point import (
    UNIT_BITS,
    UNITS_PER_BIT,
    add_term,
    entropy_by,
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
_STEP_BITS: Final = 10
_STEPS: Final = 1 << _STEP_BITS  # entries; a longer run of one context is counted by itself


@functools.cache
def _steps_table() -> Any:
    """uint64 [1024]: what one more occurrence of an entry adds to the sum of its context, by the occurrences before.

    The lowest 10 bits count different entries. The bits above are c log2 c in units of 2^-40, of fewer than 1024 occurrences.
    """
    steps = np.diff(terms_table()[: _STEPS + 1]).astype(np.uint64) << np.uint64(_STEP_BITS)
    steps[0] += np.uint64(1)
    return frozen(steps)


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
    return Entropies(*(shortened(array, m) for array in arrays))


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
    arrays = _empty(min(len(rest), 1 << n * bits), words)
    counters = np.zeros((3, 1 << bits), np.uint32 if len(ids) < 2**32 else np.uint64)
    next_tokens = np.empty((2, (1 << bits) + 1), ids.dtype)
    terms, steps, logarithms = terms_table(), _steps_table(), logarithms_table()
    if n == 1:
        m = _of_buckets(rest, starts, bits, counters, next_tokens, terms, steps, logarithms, *arrays)
    else:
        m = _of_grouped(rest, starts, n, bits, counters, next_tokens, terms, steps, logarithms, *arrays)
    return Entropies(*(shortened(array, m) for array in arrays))


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
def _of_buckets(
    rest: Any,
    starts: I64,
    bits: int,
    counters: Any,
    next_tokens: Ids,
    table: I64,
    steps: U64,
    logarithms: F64,
    contexts: U64,
    totals: I64,
    distinct: I64,
    entropy_bits: F64,
) -> int:
    """As `_of_grouped`, for one token of context: every bucket is the run of one context, so no run has to be looked for."""
    by, one = np.uint64(bits), np.uint64(1)
    seen = counters[2]
    m = np.uint64(0)
    for token in range(starts.size - 1):
        start, end = np.uint64(starts[token]), np.uint64(starts[token + 1])
        if start == end:
            continue
        if end - start < np.uint64(_STEPS):
            packed = np.uint64(0)
            for i in range(start, end):
                count = max(np.uint64(seen[rest[i]]), start)
                seen[rest[i]] = count + one
                packed += steps[count - start]
            n_distinct, whole, units = _unpacked(packed)
        else:
            n_distinct, whole, units = _one_run(rest, start, end, by, counters, next_tokens, table)
        contexts[m, 0], totals[m], distinct[m] = token, end - start, n_distinct
        entropy_bits[m] = entropy_of(totals[m], whole, units, logarithms) if n_distinct > one else 0.0
        m += one
    return int(m)


@njit(nogil=True, cache=True, inline="always")
def _unpacked(packed: Any) -> Any:
    """(different next tokens, whole, units) of a sum of `_steps_table`."""
    units = np.int64(packed >> np.uint64(_STEP_BITS))
    return packed & np.uint64(_STEPS - 1), units >> UNIT_BITS, units & np.int64(UNITS_PER_BIT - 1)


@njit(nogil=True, cache=True)
def _of_grouped(
    rest: Any,
    starts: I64,
    n: int,
    bits: int,
    counters: Any,
    next_tokens: Ids,
    table: I64,
    steps: U64,
    logarithms: F64,
    contexts: U64,
    totals: I64,
    distinct: I64,
    entropy_bits: F64,
) -> int:
    """Fills the last four arrays from entries whose contexts ascend, and returns the number of contexts.

    counters     zeros [3, 2^bits], by next token: two rows for `_one_run`, one for `_short_runs`
    next_tokens  [2, 2^bits + 1]: workspace of `_one_run`, which writes a token behind the different ones whether or not it is new
    """
    by, above, one = np.uint64(bits), np.uint64((n - 1) * bits), np.uint64(1)
    words = contexts.shape[1]
    m: Any = np.uint64(0)
    sums = distinct.view(np.uint64)
    for oldest in range(starts.size - 1):
        i, stop = np.uint64(starts[oldest]), np.uint64(starts[oldest + 1])
        while i < stop:
            start, end = _long_run(rest, i, stop, by)
            first = m
            m += _short_runs(rest, i, start, by, counters[2], steps, totals[m:], sums[m:])
            before, packed = i - one, np.uint64(0)
            for k in range(first, m):
                last, after = np.uint64(totals[k]), sums[k]
                n_distinct, whole, units = _unpacked(after - packed)
                size = last - before
                before, packed = last, after
                contexts[k, 0] = 0
                contexts[k, words - 1] = np.uint64(oldest) << above | np.uint64(rest[last]) >> by
                totals[k] = size
                distinct[k] = n_distinct
                entropy = entropy_by(logarithms[size], size, whole, units)
                entropy_bits[k] = entropy if n_distinct > one else 0.0
            if start < end:
                contexts[m, 0] = 0
                contexts[m, words - 1] = np.uint64(oldest) << above | np.uint64(rest[start]) >> by
                n_distinct, whole, units = _one_run(rest, start, end, by, counters, next_tokens, table)
                totals[m] = end - start
                distinct[m] = n_distinct
                entropy_bits[m] = entropy_of(totals[m], whole, units, logarithms) if n_distinct > one else 0.0
                m += one
            i = end
    return int(m)


@njit(nogil=True, cache=True)
def _long_run(rest: Any, i: Any, stop: Any, by: Any) -> Any:
    """Where the next long run of one context begins and ends, from i on, or (stop, stop).

    Every run of at least _STEPS entries is found, since of the entries i, i + half, i + 2 half and so on it has two neighbours. Some runs
    of half as many entries are found too.
    """
    half, one = np.uint64(_STEPS // 2), np.uint64(1)
    start = i
    while i + half < stop:
        context = np.uint64(rest[i]) >> by
        if np.uint64(rest[i + half]) >> by == context:
            while i > start and np.uint64(rest[i - one]) >> by == context:
                i -= one
            end = i + half
            while end + half < stop and np.uint64(rest[end + half]) >> by == context:
                end += half
            while end < stop and np.uint64(rest[end]) >> by == context:
                end += one
            return i, end
        i += half
    return stop, stop


@njit(nogil=True, cache=True)
def _short_runs(rest: Any, start: Any, end: Any, by: Any, seen: Any, steps: U64, lasts: I64, sums: U64) -> Any:
    """Writes each context's last entry, and the sum of `_steps_table` from `start` to there; returns the number of contexts.

    The processor cannot predict where a context ends, so nothing branches on it: each entry writes to the place of its context.
    A counter (`seen`) is the context's first entry plus the count. Contexts ascend, so the counters of earlier ones mean 0.
    """
    mask, one = (np.uint64(1) << by) - np.uint64(1), np.uint64(1)
    if start == end:
        return np.uint64(0)
    m = packed = np.uint64(0)
    first, context = start, np.uint64(rest[start]) >> by
    for i in range(start, end):
        value = np.uint64(rest[i])
        is_new = value >> by != context
        context = value >> by
        first = i if is_new else first
        m += np.uint64(is_new)
        count = max(np.uint64(seen[value & mask]), first)
        seen[value & mask] = count + one
        packed += steps[count - first]
        lasts[m], sums[m] = i, packed
    return m + one


@njit(nogil=True, cache=True)
def _one_run(rest: Any, start: Any, end: Any, by: Any, counters: Any, next_tokens: Ids, table: I64) -> Any:
    """(different next tokens, whole, units of the sum of terms) of one context; the first two rows of counters are 0 before and after.

    Neighbours use different rows, since equal ones would wait for each other.
    """
    mask, one = (np.uint64(1) << by) - np.uint64(1), np.uint64(1)
    evens, odds = counters[0], counters[1]
    n_even = n_odd = np.uint64(0)
    for j in range((end - start) >> one):
        even, odd = np.uint64(rest[start + j + j]) & mask, np.uint64(rest[start + j + j + one]) & mask
        even_count, odd_count = evens[even], odds[odd]
        next_tokens[0, n_even], next_tokens[1, n_odd] = even, odd
        n_even += np.uint64(even_count == 0)
        n_odd += np.uint64(odd_count == 0)
        evens[even], odds[odd] = even_count + np.uint32(1), odd_count + np.uint32(1)
    if (end - start) & one:
        even = np.uint64(rest[end - one]) & mask
        even_count = evens[even]
        next_tokens[0, n_even] = even
        n_even += np.uint64(even_count == 0)
        evens[even] = even_count + np.uint32(1)
    n_distinct = n_even
    whole = units = np.int64(0)
    for k in range(n_even):
        token = next_tokens[0, k]
        count = np.int64(evens[token]) + np.int64(odds[token])
        evens[token] = odds[token] = 0
        whole, units = add_term(whole, units, count, table)
    for k in range(n_odd):
        token = next_tokens[1, k]
        count = np.int64(odds[token])
        odds[token] = 0
        n_distinct += np.uint64(count > 0)
        whole, units = add_term(whole, units, count, table)
    return n_distinct, whole, units


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
