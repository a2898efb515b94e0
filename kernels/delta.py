"""Sorted keys with counts as byte planes of their gaps, and back. A general compressor makes the planes small.

Plane b holds byte b (the lowest is byte 0) of every value, one after the other. Gaps between neighbours of a sorted
sequence are small, so high planes are few and nearly all zero. This module neither compresses nor computes a checksum.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numba import types

from tagcorpus.kernels.compiling.cached import njit

U8: TypeAlias = np.ndarray[Any, np.dtype[np.uint8]]
U64: TypeAlias = np.ndarray[Any, np.dtype[np.uint64]]
I64: TypeAlias = np.ndarray[Any, np.dtype[np.int64]]

_KEYS = types.Array(types.uint64, 2, "C", readonly=True)
_BYTES = types.Array(types.uint8, 1, "C", readonly=True)


@njit(types.int64(types.uint64), nogil=True, cache=True, inline="always")
def _n_bytes(value: Any) -> int:
    n = 0
    while value:
        n += 1
        value >>= np.uint64(8)
    return n


@njit(
    types.UniTuple(types.int64, 2)(  # type: ignore[no-untyped-call]
        _KEYS, types.Array(types.int64, 1, "C", readonly=True), types.Array(types.uint8, 1, "C")
    ),
    nogil=True,
    cache=True,
)
def to_planes(keys: U64, counts: I64, planes: U8) -> tuple[int, int]:
    """Byte planes of the gaps between keys, then of the counts.

    keys     uint64 [k, words]  words 1 or 2, the most significant first; strictly increasing, else ValueError
    counts   int64  [k]         0 or more
    planes   uint8  [>= 8 * (words + 1) * k]  written: (n_key_planes + n_count_planes) * k bytes
    returns  (n_key_planes, n_count_planes)
    Example  keys [[5], [6], [300]], counts [1, 1, 2] -> gaps [0, 1, 294] in 2 planes, [0, 1, 38] and [0, 0, 1],
             and one of counts, [1, 1, 2]: (2, 1)
    """
    k, words = keys.shape
    low = words - 1
    gaps = np.zeros(k, np.uint64)
    high_gaps = np.zeros(k if words == 2 else 0, np.uint64)
    any_low = np.uint64(0)
    any_high = np.uint64(0)
    for i in range(1, k):
        gap = keys[i, low] - keys[i - 1, low]
        is_up = keys[i, low] > keys[i - 1, low]
        if words == 2:
            borrow = np.uint64(keys[i, 1] < keys[i - 1, 1])
            is_up = keys[i, 0] > keys[i - 1, 0] or (keys[i, 0] == keys[i - 1, 0] and is_up)
            high_gaps[i] = keys[i, 0] - keys[i - 1, 0] - borrow
            any_high |= high_gaps[i]
        if not is_up:
            raise ValueError("keys are not strictly increasing")
        gaps[i] = gap
        any_low |= gap
    n_key = 8 + _n_bytes(any_high) if any_high else _n_bytes(any_low)
    for b in range(n_key):
        source = gaps if b < 8 else high_gaps
        shift = np.uint64(8 * (b & 7))
        for i in range(k):
            planes[b * k + i] = np.uint8((source[i] >> shift) & np.uint64(255))
    any_count = np.int64(0)
    for i in range(k):
        any_count |= counts[i]
    n_count = _n_bytes(np.uint64(any_count))
    for b in range(n_count):
        for i in range(k):
            planes[(n_key + b) * k + i] = np.uint8((counts[i] >> np.int64(8 * b)) & np.int64(255))
    return n_key, n_count


@njit(
    types.void(
        _BYTES,
        types.int64,
        types.int64,
        types.Array(types.uint64, 1, "C", readonly=True),
        types.Array(types.uint64, 2, "C"),
        types.Array(types.int64, 1, "C"),
    ),
    nogil=True,
    cache=True,
)
def from_planes(planes: U8, n_key_planes: int, n_count_planes: int, first: U64, keys: U64, counts: I64) -> None:
    """Undo `to_planes`.

    planes   uint8  [(n_key_planes + n_count_planes) * k], else ValueError
    first    uint64 [words]     the first key
    keys     uint64 [k, words]  written
    counts   int64  [k]         written
    """
    k, words = keys.shape
    if planes.size != (n_key_planes + n_count_planes) * k or n_key_planes > 8 * words or n_count_planes > 8:
        raise ValueError("planes do not fit the number of keys")
    if k == 0:
        return
    low = words - 1
    gaps = np.zeros(k, np.uint64)
    for b in range(min(n_key_planes, 8)):
        shift = np.uint64(8 * b)
        plane = planes[b * k : (b + 1) * k]
        for i in range(k):
            gaps[i] |= np.uint64(plane[i]) << shift
    key = first[low]
    if words == 1:
        for i in range(k):
            key += gaps[i]
            keys[i, 0] = key
    else:
        for i in range(k):
            keys[i, 0] = 0
        for b in range(8, n_key_planes):
            shift = np.uint64(8 * (b - 8))
            for i in range(k):
                keys[i, 0] |= np.uint64(planes[b * k + i]) << shift
        high = first[0]
        for i in range(k):
            before = key
            key += gaps[i]
            high += keys[i, 0] + np.uint64(key < before)
            keys[i, 0] = high
            keys[i, 1] = key
    for i in range(k):
        counts[i] = 0
    for b in range(n_count_planes):
        plane = planes[(n_key_planes + b) * k : (n_key_planes + b + 1) * k]
        for i in range(k):
            counts[i] |= np.int64(plane[i]) << np.int64(8 * b)
