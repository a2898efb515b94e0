"""N-grams of one document's words: the most frequent ones, and the characters of repeated ones. Words are numbered once.

Numbers are exact: a hash only finds the place in a table, and equality is decided by the characters, or by the pair of numbers.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numba import types

from tagcorpus.kernels.compiling.cached import njit
from tagcorpus.kernels.signals.points import I32, I64, PLACES, POINTS, RESULT, U32, U64

LONGEST: Final = 10
TOPS: Final = (2, 3, 4)
REPEATS: Final = (5, 6, 7, 8, 9, 10)

_GOLD = 0x9E3779B97F4A7C15
_BASE = 0x5851F42D4C957F2D
_IDS = types.Array(types.int32, 1, "C", readonly=True)
_NUMBERS = types.Tuple((types.Array(types.int32, 1, "C"), types.int64))  # type: ignore[no-untyped-call]


@njit(nogil=True, cache=True)
def _table(n: int) -> tuple[I32, np.uint64]:
    """An empty table for n entries, and the shift from a mixed hash to a slot."""
    bits = 3
    while 1 << bits < 2 * n:
        bits += 1
    return np.full(1 << bits, -1, np.int32), np.uint64(64 - bits)


@njit(nogil=True, cache=True)
def _mixed(key: np.uint64) -> np.uint64:
    key ^= key >> np.uint64(32)
    return key * np.uint64(_GOLD)


@njit(nogil=True, cache=True)
def _are_equal(characters: U32, a: int, b: int, length: int) -> bool:
    i = 0
    while i < length and characters[a + i] == characters[b + i]:
        i += 1
    return i == length


@njit(_NUMBERS(POINTS, PLACES), nogil=True, cache=True)
def number_words(characters: U32, starts: I64) -> tuple[I32, int]:
    """Numbers of the words, by first occurrence, and how many distinct ones there are.

    characters, starts  the words, as in words.py
    returns             (ids int32 [n_words], n_distinct)
    Example             the words a b a -> ([0, 1, 0], 2)
    """
    n = starts.size - 1
    ids = np.empty(n, np.int32)
    firsts = np.empty(n, np.int64)
    hashes = np.empty(n, np.uint64)
    table, shift = _table(n)
    mask = table.size - 1
    n_distinct = 0
    for w in range(n):
        start, length = starts[w], starts[w + 1] - starts[w]
        key = np.uint64(length)
        for i in range(start, start + length):
            key = key * np.uint64(_BASE) + np.uint64(characters[i])
        slot = np.int64(_mixed(key) >> shift)
        while True:
            k = table[slot]
            if k < 0:
                table[slot] = n_distinct
                firsts[n_distinct], hashes[n_distinct] = w, key
                ids[w] = n_distinct
                n_distinct += 1
                break
            other = firsts[k]
            if (
                hashes[k] == key
                and starts[other + 1] - starts[other] == length
                and _are_equal(characters, starts[other], start, length)
            ):
                ids[w] = k
                break
            slot = (slot + 1) & mask
    return ids, n_distinct


@njit(types.void(_IDS, PLACES, types.int64, RESULT, RESULT, RESULT), nogil=True, cache=True)
def count_grams(ids: Any, starts: I64, longest: int, tops: I64, times: I64, repeated: I64) -> None:
    """The most frequent n-grams, and the characters in words of any n-gram that occurs twice.

    ids, starts  numbers of the words, and the places of their characters
    longest      n up to which repeats are counted; 4 for none
    tops         int64 [3]  receives the characters of the most frequent 2-, 3- and 4-gram, the first of equals; 0 without any
    times        int64 [3]  receives how often it occurs
    repeated     int64 [6]  receives the characters of the words of repeated 5- to 10-grams, each counted once
    """
    n_words = ids.size
    grams = ids.copy()
    keys = np.empty(n_words, np.uint64)
    counts = np.empty(n_words, np.int32)
    firsts = np.empty(n_words, np.int32)
    table, shift = _table(n_words)
    mask = table.size - 1
    for n in range(2, longest + 1):
        total = n_words - n + 1
        if total <= 0:
            break
        if n > 2:
            table.fill(-1)
        n_distinct = 0
        for i in range(total):
            key = np.uint64(grams[i]) << np.uint64(32) | np.uint64(ids[i + n - 1])
            slot = np.int64(_mixed(key * np.uint64(_BASE)) >> shift)
            while True:
                k = table[slot]
                if k < 0:
                    table[slot] = n_distinct
                    keys[n_distinct], counts[n_distinct], firsts[n_distinct] = key, 1, i
                    grams[i] = n_distinct
                    n_distinct += 1
                    break
                if keys[k] == key:
                    counts[k] += 1
                    grams[i] = k
                    break
                slot = (slot + 1) & mask
        if n <= 4:
            best = 0
            for k in range(n_distinct):
                if counts[k] > counts[best]:
                    best = k
            tops[n - 2] = starts[firsts[best] + n] - starts[firsts[best]]
            times[n - 2] = counts[best]
            continue
        if n_distinct == total:  # no longer n-gram repeats either
            break
        covered = 0
        for i in range(total):
            if counts[grams[i]] > 1:
                covered = max(covered, i)
                repeated[n - 5] += starts[i + n] - starts[covered]
                covered = i + n


@njit(types.void(POINTS, PLACES, RESULT), nogil=True, cache=True)
def count_greedy(characters: U32, starts: I64, repeated: I64) -> None:
    """Characters of repeated 5- to 10-grams by Gopher's walk: a repeat is counted and stepped over as a whole.

    An n-gram is its words written together, so that "ab c" equals "a bc", as in the published code.

    characters, starts  the words, as in words.py
    repeated            int64 [6], receives the characters of repeats
    Source  datatrove 0.10.1, `find_all_duplicate`
    Example fifteen times the word "a" -> 5-grams: the first is new, the next two are repeats: 10
    """
    n_words = starts.size - 1
    if n_words <= 5:
        return
    prefixes = np.empty(n_words + 1, np.uint64)
    prefixes[0] = 0
    widest = 0
    for w in range(n_words):
        key = prefixes[w]
        for i in range(starts[w], starts[w + 1]):
            key = key * np.uint64(_BASE) + np.uint64(characters[i]) + np.uint64(1)
        prefixes[w + 1] = key
        widest = max(widest, starts[w + 1] - starts[max(w + 1 - 10, 0)])
    powers = np.empty(widest + 1, np.uint64)
    powers[0] = 1
    for i in range(widest):
        powers[i + 1] = powers[i] * np.uint64(_BASE)
    hashes: U64 = np.empty(n_words, np.uint64)
    table, shift = _table(n_words)
    mask = table.size - 1
    for n in range(5, 11):
        if n > 5:
            table.fill(-1)
        w = 0
        while w + n <= n_words:
            start, length = starts[w], starts[w + n] - starts[w]
            key = prefixes[w + n] - prefixes[w] * powers[length]
            slot = np.int64(_mixed(key) >> shift)
            step = 1
            while True:
                other = table[slot]
                if other < 0:
                    table[slot] = w
                    hashes[w] = key
                    break
                if (
                    hashes[other] == key
                    and starts[other + n] - starts[other] == length
                    and _are_equal(characters, starts[other], start, length)
                ):
                    repeated[n - 5] += length
                    step = n
                    break
                slot = (slot + 1) & mask
            w += step


@njit(types.float64(_IDS, types.int64), nogil=True, cache=True)
def entropy(ids: Any, n_distinct: int) -> float:
    """Entropy of the words' distribution, in nats; 0.0 for no words."""
    counts = np.zeros(n_distinct, np.int64)
    for k in ids:
        counts[k] += 1
    result = 0.0
    for count in counts:
        share = count / ids.size
        result -= share * np.log(share)
    return result
