"""Sorted keys with counts as bytes, and back: each gap between neighbours, and each count, in as few bytes as it needs.

Gaps between neighbours of a sorted sequence are small and most counts are 1. The lengths come first, one byte an entry, so that a
reader knows where a value ends before it has the value. Nothing here compresses in any other way, or computes a checksum.
"""

from __future__ import annotations

from typing import Any, Final, TypeAlias

import numpy as np

from tagcorpus.kernels.arrays import check_rows, frozen, put_word, word_at
from tagcorpus.kernels.compiling.cached import njit

U8: TypeAlias = np.ndarray[Any, np.dtype[np.uint8]]
U64: TypeAlias = np.ndarray[Any, np.dtype[np.uint64]]
I64: TypeAlias = np.ndarray[Any, np.dtype[np.int64]]

SLACK: Final = 8
"""Bytes behind the last one that are read, or overwritten, with it: values are moved as whole words."""
_GAP_BITS: Final = 5  # of a length byte: a gap has 0 to 16 bytes
_MASKS: Final = frozen(np.array([(1 << 8 * n) - 1 for n in range(9)], np.uint64))
# A count less 1 has 0 to 6 bytes or 8, in the three highest bits.
_LENGTHS: Final = frozen(np.array([(c & 31) + (c >> _GAP_BITS) + (c >> _GAP_BITS == 7) for c in range(256)], np.int64))


def room_for(k: int, words: int) -> int:
    """Bytes that `to_bytes` may need for k entries."""
    return (9 + 8 * words) * k + 2 * SLACK


def to_bytes(keys: U64, counts: I64, packed: U8) -> int:
    """Lengths, then the gap between each key and the one before with the count less 1.

    keys     uint64 [k, words]  words 1 or 2, the most significant first; strictly increasing, else ValueError
    counts   int64  [k]         0 or more
    packed   uint8  [>= room_for(k, words)]  written
    returns  how many bytes were written
    Example  keys [[5], [6], [300]], counts [1, 1, 2] -> gaps 0, 1, 294 and counts less 1 of 0, 0, 1:
             lengths 0, 1, 2 + 32; then 1; 38, 1, 1
    """
    words = keys.shape[-1]
    check_rows(words, keys, counts)
    if packed.dtype != np.uint8 or len(packed) < room_for(len(keys), words):
        raise ValueError(f"{len(packed)} bytes are too few for {len(keys)} entries")
    size: int = _to_bytes(frozen(keys), frozen(counts), packed)
    if size < 0:
        raise ValueError("keys are not strictly increasing")
    return size


def from_bytes(packed: U8, size: int, first: U64, keys: U64, counts: I64) -> None:
    """Undo `to_bytes`.

    packed   uint8  [>= size + SLACK]
    size     what `to_bytes` returned, else ValueError
    first    uint64 [words]     the first key
    keys     uint64 [k, words]  written
    counts   int64  [k]         written
    """
    check_rows(len(first), keys, counts)
    if (
        len(packed) < size + SLACK
        or size < len(keys)
        or not _from_bytes(frozen(packed), size, frozen(first), keys, counts)
    ):
        raise ValueError("the bytes do not fit the number of keys")


@njit(nogil=True, cache=True, inline="always")
def _n_bytes(value: Any) -> Any:
    n = np.uint64(0)
    for b in range(8):
        n += np.uint64(value > _MASKS[b])
    return n


@njit(nogil=True, cache=True)
def _to_bytes(keys: U64, counts: I64, packed: U8) -> int:
    k, words = keys.shape
    at = np.uint64(k)
    is_up = True
    for i in range(k):
        j = max(i - 1, 0)
        key, before = keys[i, words - 1], keys[j, words - 1]
        gap, high_gap = key - before, np.uint64(0)
        if words == 2:
            high_gap = keys[i, 0] - keys[j, 0] - np.uint64(key < before)
            is_up &= (i == 0) | (keys[i, 0] > keys[j, 0]) | ((keys[i, 0] == keys[j, 0]) & (key > before))
        else:
            is_up &= (i == 0) | (key > before)
        n_gap = _n_bytes(gap)
        put_word(packed, at, gap)
        if high_gap:
            n_gap = np.uint64(8) + _n_bytes(high_gap)
            put_word(packed, at + np.uint64(8), high_gap)
        at += n_gap
        count = np.uint64(counts[i]) - np.uint64(1)
        n_count = min(_n_bytes(count), np.uint64(7))
        put_word(packed, at, count)
        length = n_gap | n_count << np.uint64(_GAP_BITS)
        packed[i] = length
        at += n_count + np.uint64(n_count == np.uint64(7))
    return int(np.int64(at)) if is_up else -1  # int of uint64 stays unsigned, and with -1 becomes a float


@njit(nogil=True, cache=True)
def _from_bytes(packed: U8, size: int, first: U64, keys: U64, counts: I64) -> bool:
    """Whether the lengths add up to `size`; without that nothing is written."""
    k, words = keys.shape
    total = k
    for i in range(k):
        total += _LENGTHS[packed[i]]
    if total != size:
        return False
    at = np.uint64(k)
    high, low = first[0], first[words - 1]
    eight = np.uint64(8)
    for i in range(k):
        length = np.uint64(packed[i])
        n_gap, n_count = length & np.uint64(31), length >> np.uint64(_GAP_BITS)
        before = low
        low += word_at(packed, at) & _MASKS[min(n_gap, eight)]
        if words == 2:
            high += np.uint64(low < before)
            if n_gap > eight:
                high += word_at(packed, at + eight) & _MASKS[min(n_gap - eight, eight)]
            keys[i, 0] = high
        keys[i, words - 1] = low
        at += n_gap
        n_count += np.uint64(n_count == np.uint64(7))
        counts[i] = np.int64((word_at(packed, at) & _MASKS[n_count]) + np.uint64(1))
        at += n_count
    return True
