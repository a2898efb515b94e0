"""Counts the distinct token ids of every document, in one pass over the ids and without a set."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numba import types

from tagcorpus.kernels.compiling.cached import njit

U32: TypeAlias = np.ndarray[Any, np.dtype[np.uint32]]
I64: TypeAlias = np.ndarray[Any, np.dtype[np.int64]]


def _frozen(dtype: Any) -> Any:
    # A signature for read-only memory takes writable arrays too, so one compilation serves both.
    return types.Array(dtype, 1, "C", readonly=True)


@njit(
    types.Array(types.int64, 1, "C")(_frozen(types.uint32), _frozen(types.int64), types.int64), nogil=True, cache=True
)
def count_distinct(ids: U32, offsets: I64, n_vocab: int) -> I64:
    """The number of distinct ids in every document.

    ids      uint32 [n_tokens]    all documents, concatenated
    offsets  int64  [n_docs + 1]  document d is ids[offsets[d]:offsets[d + 1]]
    n_vocab  int                  every id is below it; ValueError otherwise (a smaller one would write past the table)
    returns  int64  [n_docs]
    Source   |set(ids)|, with the set replaced by the last document that each id was seen in
    Example  ids [7, 2, 7, 2, 2], offsets [0, 3, 3, 5] -> [2, 0, 1]
    """
    last_seen_in = np.full(n_vocab, -1, np.int32)  # half the bytes of int64 miss the caches less often
    counts = np.zeros(offsets.size - 1, np.int64)
    for d in range(offsets.size - 1):
        distinct = 0
        for i in range(offsets[d], offsets[d + 1]):
            token = np.int64(ids[i])
            if token >= n_vocab:
                raise ValueError("a token id is not below n_vocab")
            distinct += int(last_seen_in[token] != d)
            last_seen_in[token] = np.int32(d)
        counts[d] = distinct
    return counts
