"""Entropy figures of every document: its positions' contexts looked up in a table of context entropies.

With one token of context the table is indexed by the token. With more, there is a hash table whose slots hold the
contexts themselves, so a comparison detects every collision.
"""

from __future__ import annotations

from typing import Any, Final, TypeAlias

import numpy as np

from tagcorpus.kernels.arrays import check_rows, frozen, workspace
from tagcorpus.kernels.buckets import Ids
from tagcorpus.kernels.compiling.cached import njit
from tagcorpus.kernels.packing import Packing, checked

U64: TypeAlias = np.ndarray[Any, np.dtype[np.uint64]]
I64: TypeAlias = np.ndarray[Any, np.dtype[np.int64]]
F64: TypeAlias = np.ndarray[Any, np.dtype[np.float64]]

_BLOCK: Final = 64  # positions looked up together, so that the processor waits for many cache misses at once
_DENSE_BITS: Final = 22  # a table of all tokens of a larger vocabulary would cost more than hashing
# Odd 32-bit constants (from the golden ratio and its square); products of 32-bit halves never overflow 64 bits.
_MIX: Final = (0x9E3779B1, 0x61C88647, 0x85EBCA6B, 0xC2B2AE35)


def document_entropies(
    ids: Ids, offsets: I64, packing: Packing, contexts: U64, entropy_bits: F64
) -> tuple[F64, F64, F64, F64, I64]:
    """Mean, standard deviation, minimum and maximum of the context entropies over every document's positions.

    ids           uint16 or uint32 [n_tokens]    all documents, concatenated
    offsets       int64 [n_docs + 1]             document d is ids[offsets[d]:offsets[d + 1]]; offsets[0] need not be 0
    contexts      uint64 [m, words]              ascending and distinct; every context of these documents is among them
    entropy_bits  float64 [m]                    their entropies, bits, no NaN
    returns       (mean, std, min, max float64 [n_docs], bits; NaN for a document of n tokens or fewer
                   positions int64 [n_docs]: max(0, tokens - n))
    Raises ValueError for a context that is not in the table, and as `count_ngrams` does.
    Source   REFERENCE; std has ddof 0; sums run from the first position to the last
    Example  ids [1, 2, 1, 3], n=1, entropies of contexts 1 and 2: 1.0, 0.0 -> mean 2/3, std 0.4714, 0.0, 1.0, 3
    """
    ids, offsets = checked(ids, offsets, packing)
    check_rows(packing.words, contexts, entropy_bits)
    n_docs = len(offsets) - 1
    figures = np.full((4, n_docs), np.nan)
    positions = np.maximum(np.diff(offsets) - packing.n, 0)
    at = -1
    if packing.n == 1 and packing.bits <= _DENSE_BITS:
        dense = np.full(1 << packing.bits, np.nan)
        dense[contexts[:, 0]] = entropy_bits
        _by_token(ids, offsets, dense, np.argsort(positions, kind="stable"), figures)
        if (unknown := np.isnan(figures[0]) & (positions > 0)).any():
            start = int(offsets[np.argmax(unknown)])
            at = start + int(np.argmax(np.isnan(dense[ids[start:]])))
    else:
        n_slots = 1 << max(6, (len(contexts) * 4 // 3).bit_length())
        slots = workspace("slots", (n_slots, packing.words + 1), np.uint64)
        slots[:] = 0
        _fill(frozen(contexts), frozen(entropy_bits), slots, slots.view(np.float64))
        looked_up = np.empty(int(positions.max(initial=0)), np.float64)
        at = _by_context(
            ids, offsets, packing.n, packing.bits, frozen(slots), frozen(slots.view(np.float64)), looked_up, figures
        )
    if at >= 0:
        raise ValueError(
            f"the {packing.n} token(s) {ids[at : at + packing.n].tolist()} at {at} are not among the {len(contexts)} "
            "contexts of the table: was it computed from the same ids?"
        )
    mean, std, low, high = figures
    return mean, std, low, high, positions


@njit(nogil=True, cache=True)
def _figures(values: F64, d: int, figures: F64) -> None:
    """Writes mean, std, min and max of at least one value into column d."""
    total, low, high = 0.0, values[0], values[0]
    for value in values:
        total += value
        low, high = min(low, value), max(high, value)
    # Rounding may take a mean of equal values past them.
    mean = min(max(total / values.size, low), high)
    squares = 0.0
    for value in values:
        squares += (value - mean) * (value - mean)
    figures[0, d], figures[1, d], figures[2, d], figures[3, d] = mean, np.sqrt(squares / values.size), low, high


@njit(nogil=True, cache=True)
def _by_token(ids: Ids, offsets: I64, dense: F64, order: I64, figures: F64) -> None:
    """Fills figures; a mean is NaN where a token has no entropy. order: the documents, the shortest first.

    A sum waits for its last addition, so four documents of about one length are summed side by side.
    """
    for first in range(0, order.size, 4):
        last = min(first + 4, order.size) - 1
        d0, d1, d2, d3 = order[first], order[min(first + 1, last)], order[min(first + 2, last)], order[last]
        a0, a1, a2, a3 = offsets[d0], offsets[d1], offsets[d2], offsets[d3]
        common = max(offsets[d0 + 1] - a0 - 1, 0)
        t0 = t1 = t2 = t3 = 0.0
        l0 = l1 = l2 = l3 = np.inf
        h0 = h1 = h2 = h3 = -np.inf
        for i in range(common):
            v0, v1, v2, v3 = dense[ids[a0 + i]], dense[ids[a1 + i]], dense[ids[a2 + i]], dense[ids[a3 + i]]
            t0, t1, t2, t3 = t0 + v0, t1 + v1, t2 + v2, t3 + v3
            l0, l1, l2, l3 = min(l0, v0), min(l1, v1), min(l2, v2), min(l3, v3)
            h0, h1, h2, h3 = max(h0, v0), max(h1, v1), max(h2, v2), max(h3, v3)
        _rest_of_mean(ids, offsets, dense, common, d0, t0, l0, h0, figures)
        _rest_of_mean(ids, offsets, dense, common, d1, t1, l1, h1, figures)
        _rest_of_mean(ids, offsets, dense, common, d2, t2, l2, h2, figures)
        _rest_of_mean(ids, offsets, dense, common, d3, t3, l3, h3, figures)
        m0, m1, m2, m3 = figures[0, d0], figures[0, d1], figures[0, d2], figures[0, d3]
        t0 = t1 = t2 = t3 = 0.0
        for i in range(common):
            v0, v1, v2, v3 = dense[ids[a0 + i]], dense[ids[a1 + i]], dense[ids[a2 + i]], dense[ids[a3 + i]]
            t0, t1 = t0 + (v0 - m0) * (v0 - m0), t1 + (v1 - m1) * (v1 - m1)
            t2, t3 = t2 + (v2 - m2) * (v2 - m2), t3 + (v3 - m3) * (v3 - m3)
        _rest_of_std(ids, offsets, dense, common, d0, t0, figures)
        _rest_of_std(ids, offsets, dense, common, d1, t1, figures)
        _rest_of_std(ids, offsets, dense, common, d2, t2, figures)
        _rest_of_std(ids, offsets, dense, common, d3, t3, figures)


@njit(nogil=True, cache=True)
def _rest_of_mean(
    ids: Ids, offsets: I64, dense: F64, done: int, d: int, total: float, low: float, high: float, figures: F64
) -> None:
    """Writes mean, min and max of document d, of which `done` positions are in `total`, `low` and `high`."""
    size = offsets[d + 1] - offsets[d] - 1
    if size < 1:
        return
    for i in range(offsets[d] + done, offsets[d] + size):
        value = dense[ids[i]]
        total += value
        low, high = min(low, value), max(high, value)
    mean = total / size
    if not np.isnan(mean):
        # Rounding may take a mean of equal values past them.
        mean = min(max(mean, low), high)
    figures[0, d], figures[2, d], figures[3, d] = mean, low, high


@njit(nogil=True, cache=True)
def _rest_of_std(ids: Ids, offsets: I64, dense: F64, done: int, d: int, squares: float, figures: F64) -> None:
    """Writes the standard deviation of document d, of which `done` positions are in `squares`."""
    size = offsets[d + 1] - offsets[d] - 1
    if size < 1:
        return
    for i in range(offsets[d] + done, offsets[d] + size):
        deviation = dense[ids[i]] - figures[0, d]
        squares += deviation * deviation
    figures[1, d] = np.sqrt(squares / size)


@njit(nogil=True, cache=True, inline="always")
def _slot(high: np.uint64, low: np.uint64, size: int) -> np.int64:
    half, down = np.uint64(0xFFFFFFFF), np.uint64(32)
    mixed = (low & half) * np.uint64(_MIX[0]) ^ (low >> down) * np.uint64(_MIX[1])
    mixed ^= (high & half) * np.uint64(_MIX[2]) ^ (high >> down) * np.uint64(_MIX[3])
    # The best bits of a product are its upper ones; fold them onto those that the table keeps.
    return np.int64((mixed ^ mixed >> down ^ mixed >> np.uint64(15)) & np.uint64(size - 1))


@njit(nogil=True, cache=True)
def _fill(contexts: U64, entropy_bits: F64, slots: U64, values: F64) -> None:
    """Puts every context and its negated entropy into the first free slot from its own on; values is slots as float64.

    Context and entropy lie together, so that a look-up misses the cache once. A negated entropy, -0.0 among them, has its sign
    bit set, so its word is never 0, which means free.
    """
    words = contexts.shape[1]
    last = slots.shape[0] - 1
    places, taken = np.zeros(_BLOCK, np.int64), np.zeros(_BLOCK, np.uint64)
    for done in range(0, contexts.shape[0], _BLOCK):
        here = min(_BLOCK, contexts.shape[0] - done)
        for j in range(here):
            high = contexts[done + j, 0] if words == 2 else np.uint64(0)
            places[j] = _slot(high, contexts[done + j, words - 1], slots.shape[0])
        for j in range(here):
            taken[j] = slots[places[j], words]  # only to have it in the cache: the block itself may fill it
        for j in range(here):
            place = places[j]
            while taken[j] | slots[place, words]:
                place = (place + 1) & last
                taken[j] = slots[place, words]
            slots[place, 0] = contexts[done + j, 0]
            slots[place, words - 1] = contexts[done + j, words - 1]
            values[place, words] = -(entropy_bits[done + j] + 0.0)


@njit(nogil=True, cache=True)
def _by_context(
    ids: Ids, offsets: I64, n: int, bits: int, slots: U64, values: F64, looked_up: F64, figures: F64
) -> int:
    """Fills figures; returns the first position whose context is not there, or -1."""
    words = slots.shape[1] - 1
    last = slots.shape[0] - 1
    by, back = np.uint64(bits), np.uint64(64 - bits)
    width = n * bits
    low_mask = np.uint64(2**64 - 1) >> np.uint64(max(64 - width, 0))
    high_mask = np.uint64(2**64 - 1) >> np.uint64(128 - width) if width > 64 else np.uint64(0)
    highs, lows, nearby = np.zeros(_BLOCK, np.uint64), np.zeros(_BLOCK, np.uint64), np.zeros(_BLOCK, np.uint64)
    places = np.zeros(_BLOCK, np.int64)
    for d in range(offsets.size - 1):
        start, size = offsets[d], offsets[d + 1] - offsets[d] - n
        if size < 1:
            continue
        high = low = np.uint64(0)
        for i in range(start, start + n - 1):
            high = high << by | low >> back
            low = low << by | np.uint64(ids[i])
        for done in range(0, size, _BLOCK):
            here = min(_BLOCK, size - done)
            for j in range(here):
                high = (high << by | low >> back) & high_mask
                low = (low << by | np.uint64(ids[start + n - 1 + done + j])) & low_mask
                highs[j], lows[j] = high, low
                places[j] = _slot(high, low, slots.shape[0])
            for j in range(here):
                nearby[j] = slots[places[j], words - 1]
            for j in range(here):
                place, key = places[j], nearby[j]
                while key != lows[j] or (words == 2 and slots[place, 0] != highs[j]) or not slots[place, words]:
                    if not slots[place, words]:
                        return int(start + done + j)
                    place = (place + 1) & last
                    key = slots[place, words - 1]
                looked_up[done + j] = -values[place, words]
        _figures(looked_up[:size], d, figures)
    return -1
