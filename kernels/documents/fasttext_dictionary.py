"""The dictionary of a supervised fastText model: words and hashed n-grams, and their rows in the input matrix.

The definitions are those of fastText 0.9 (arXiv 1607.01759): the hash is FNV-1a over signed bytes.
"""

from __future__ import annotations

from typing import Any, Final, TypeAlias

import numpy as np
from numba import types as numba_types

from tagcorpus.kernels.compiling.cached import njit
from tagcorpus.kernels.documents.vectors import eight_bytes

U8: TypeAlias = np.ndarray[Any, np.dtype[np.uint8]]
I32: TypeAlias = np.ndarray[Any, np.dtype[np.int32]]
I64: TypeAlias = np.ndarray[Any, np.dtype[np.int64]]
F32: TypeAlias = np.ndarray[Any, np.dtype[np.float32]]

types: Any = numba_types

PADDING: Final = 8
"""Bytes behind the texts that may be read, whatever they are."""
FNV_START, _FNV_PRIME = np.uint32(2166136261), np.uint32(16777619)

# A file's arrays may begin at any byte.
U8S = types.Array(types.uint8, 1, "C", readonly=True, aligned=False)
I32S = types.Array(types.int32, 1, "C", readonly=True, aligned=False)
I64S = types.Array(types.int64, 1, "C", readonly=True, aligned=False)
F32S = types.Array(types.float32, 1, "C", readonly=True, aligned=False)
F32_ROWS = types.Array(types.float32, 2, "C", readonly=True, aligned=False)


@njit([types.Tuple((types.int64[::1], types.int64[::1], types.uint8[::1], types.int64))(U8S, types.int64, types.int64)], nogil=True, cache=True)  # fmt: skip
def entries(data: U8, at: int, n: int) -> tuple[I64, I64, U8, int]:
    """The dictionary: of each entry its first byte (position int64 [n]), its bytes without the zero at their end (int64 [n]) and its
    kind (uint8 [n]); and the position behind the dictionary, beyond the data where they end first."""
    starts, lengths, kinds = np.zeros(n, np.int64), np.zeros(n, np.int64), np.zeros(n, np.uint8)
    for i in range(n):
        end = at
        while end < len(data) and data[end] != 0:
            end += 1
        if end + 10 > len(data):
            return starts, lengths, kinds, len(data) + 1
        starts[i], lengths[i], kinds[i] = at, end - at, data[end + 9]
        at = end + 10
    return starts, lengths, kinds, at


@njit(nogil=True, cache=True)
def hashed(value: np.uint32, byte: Any) -> np.uint32:
    """FNV-1a of one more byte."""
    return np.uint32((value ^ np.uint32(np.int32(np.int8(byte)))) * _FNV_PRIME)


@njit([types.int64[::1](U8S, I64S, I64S)], nogil=True, cache=True)
def word_table(data: U8, starts: I64, lengths: I64) -> I64:
    """Open hash table (a power of two) of the entries by their bytes: hash, 31 bits of it, above the entry's number; -1 where free."""
    size = 16
    while size < 2 * len(starts):
        size *= 2
    table = np.full(size, np.int64(-1))
    for i in range(len(starts)):
        value = FNV_START
        for at in range(starts[i], starts[i] + lengths[i]):
            value = hashed(value, data[at])
        key = np.int64(value)
        slot = key & (size - 1)
        while table[slot] >= 0:
            slot = (slot + 1) & (size - 1)
        table[slot] = (key & 0x7FFFFFFF) << 32 | i
    return table


@njit([types.int64[::1](I32S, I32S)], nogil=True, cache=True)
def pruned_table(buckets: I32, rows: I32) -> I64:
    """Open hash table (a power of two) of the buckets that pruning left: the bucket above its row; -1 where free."""
    size = 16
    while size < 2 * len(buckets):
        size *= 2
    table = np.full(size, np.int64(-1))
    for i in range(len(buckets)):
        slot = np.int64(buckets[i]) & (size - 1)
        while table[slot] >= 0 and table[slot] >> 32 != buckets[i]:
            slot = (slot + 1) & (size - 1)
        table[slot] = np.int64(buckets[i]) << 32 | np.int64(rows[i])
    return table


@njit(nogil=True, cache=True)
def is_equal(a: U8, start: int, b: U8, at: int, length: int) -> bool:
    """Whether both have the same bytes. PADDING bytes are readable behind both."""
    while length >= 8:
        if eight_bytes(a, start) != eight_bytes(b, at):
            return False
        start += 8
        at += 8
        length -= 8
    return length == 0 or (eight_bytes(a, start) ^ eight_bytes(b, at)) << np.uint64(64 - 8 * length) == 0


@njit(nogil=True, cache=True)
def entry_of(data: U8, starts: I64, table: I64, text: U8, start: int, end: int, value: np.uint32) -> Any:
    """The number of the entry with these bytes, -1 if none has them. Behind the bytes of an entry is a zero, which no word has."""
    mask = len(table) - 1
    slot = np.int64(value) & mask
    known = np.int64(value) & 0x7FFFFFFF
    while True:
        entry = table[slot]
        if entry < 0:
            return -1
        if entry >> 32 == known:
            entry &= 0xFFFFFFFF
            at = starts[entry]
            if is_equal(data, at, text, start, end - start) and data[at + end - start] == 0:
                return entry
        slot = (slot + 1) & mask


@njit(nogil=True, cache=True)
def hashed_row(bucket: Any, n_words: int, is_pruned: bool, pruned: I64) -> Any:
    """The row of a hashed n-gram, -1 where pruning left none."""
    if not is_pruned:
        return n_words + bucket
    mask = len(pruned) - 1
    slot = bucket & mask
    while pruned[slot] >= 0:
        if pruned[slot] >> 32 == bucket:
            return n_words + (pruned[slot] & 0xFFFFFFFF)
        slot = (slot + 1) & mask
    return -1
