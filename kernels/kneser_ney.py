"""Interpolated Kneser-Ney: how likely a next token is, by counts of its context and of all shorter ones.

    p_n(w | c) = max(count(c w) - D, 0) / count(c) + D * followers(c) / count(c) * p_(n-1)(w | c without its oldest token)

For the longest context, count(c w) is the number of occurrences. For shorter ones, it is the number of different tokens before
them. Below the context of no token is the uniform distribution. A context that was not seen gives all its probability to the next
shorter one. The probabilities of all next tokens add up to 1, so the mean of -log2 p is at least the entropy of the source.

Source: R. Kneser, H. Ney, Improved backing-off for m-gram language modeling, ICASSP 1995; interpolated, with one discount an
order, as in S. F. Chen, J. Goodman, Computer Speech and Language 13, 1999. Keys are those of kernels.ngrams. No files.
"""

from __future__ import annotations

from typing import Any, NamedTuple, TypeAlias

import numpy as np

from tagcorpus.kernels.arrays import frozen
from tagcorpus.kernels.compiling.cached import njit
from tagcorpus.kernels.ngrams import contexts_of, unpack
from tagcorpus.kernels.packing import Packing

U64: TypeAlias = np.ndarray[Any, np.dtype[np.uint64]]
I64: TypeAlias = np.ndarray[Any, np.dtype[np.int64]]
F64: TypeAlias = np.ndarray[Any, np.dtype[np.float64]]


class Figures(NamedTuple):
    """Counts of the queried entries, float64 [j] each; 0 where the entry or its context was not seen."""

    own: F64
    total: F64
    """Sum of the counts of all entries with the same context."""
    followers: F64
    """Number of distinct next tokens of the context."""


def rotated(keys: U64, n_tokens: int, bits: int) -> U64:
    """The same tokens with the oldest one last, sorted, so that entries with the same end are neighbours.

    keys     uint64 [k, words], each n_tokens ids of `bits` bits, oldest most significant
    returns  uint64 [k, words], ascending; distinct where keys are
    Example  [[0b011011]], n_tokens=3, bits=2 (1, 2, 3) -> [[0b101101]] (2, 3, 1)
    """
    ids = unpack(keys, n_tokens, bits)
    return ascending(pack(np.roll(ids, -1, axis=1), bits, keys.shape[1]))


def pack(ids: np.ndarray[Any, Any], bits: int, words: int) -> U64:
    """Keys of token ids [k, t], oldest first: uint64 [k, words]. The opposite of ngrams.unpack."""
    low, high = np.zeros(len(ids), np.uint64), np.zeros(len(ids), np.uint64)
    by = np.uint64(bits)
    for place in range(ids.shape[1]):
        high = high << by | low >> np.uint64(64 - bits)
        low = low << by | ids[:, place].astype(np.uint64)
    return np.stack([high, low], axis=1) if words == 2 else low[:, None]


def ascending(keys: U64) -> U64:
    """uint64 [k, words], sorted."""
    order = np.lexsort(keys.T[::-1]) if keys.shape[1] == 2 else np.argsort(keys[:, 0], kind="stable")
    return np.ascontiguousarray(keys[order])


def continuations(keys: U64, packing: Packing) -> tuple[U64, I64]:
    """The number of different tokens before each entry.

    keys     uint64 [k, words], of `rotated`: an entry and, last, the token before it; ascending and distinct
    returns  (entries uint64 [m, words] ascending, counts int64 [m])
    """
    entries, starts = contexts_of(keys, packing)
    return entries, np.diff(starts)


def figures(keys: U64, counts: I64, queries: U64, bits: int) -> Figures:
    """Counts of entries that are looked up among others of the same packing.

    keys     uint64 [k, words] ascending and distinct: every seen entry of every context of the queries
    counts   int64 [k]
    queries  uint64 [j, words], in any order
    """
    packing = Packing(1, bits, keys.shape[1])
    contexts, starts = contexts_of(keys, packing)
    total = np.add.reduceat(counts, starts[:-1]) if len(contexts) else np.empty(0, np.int64)
    entry = places(keys, queries)
    context = places(contexts, _without_last(queries, bits))
    return Figures(_taken(counts, entry), _taken(total, context), _taken(np.diff(starts), context))


def places(sorted_keys: U64, queries: U64) -> I64:
    """The index of each query among sorted keys, int64 [j]; -1 where it is missing."""
    result = np.empty(len(queries), np.int64)
    _places(frozen(sorted_keys), frozen(queries), result)
    return result


def discount(n_once: int, n_twice: int) -> float:
    """n1 / (n1 + 2 n2), of the numbers of entries with a count of 1 and of 2; one half where no entry has a count of 1."""
    return n_once / (n_once + 2 * n_twice) if n_once else 0.5


def interpolated(seen: Figures, discount: float, shorter: F64) -> F64:
    """p of an order from p of the next shorter one, both float64 [j]."""
    total = np.where(seen.total > 0, seen.total, 1.0)
    own = np.maximum(seen.own - discount, 0.0) / total
    return np.where(seen.total > 0, own + discount * seen.followers / total * shorter, shorter)


def unigrams(before: I64, n_vocab: int) -> F64:
    """p of every token without context, float64 [n_vocab].

    before   int64 [n_vocab]: number of different tokens before each
    """
    own = Figures(*(np.broadcast_to(np.float64(v), n_vocab) for v in (0, before.sum(), np.count_nonzero(before))))
    d = discount(int((before == 1).sum()), int((before == 2).sum()))
    return interpolated(own._replace(own=before.astype(np.float64)), d, np.full(n_vocab, 1 / n_vocab))


def _without_last(keys: U64, bits: int) -> U64:
    low = keys[:, -1] >> np.uint64(bits)
    if keys.shape[1] == 1:
        return low[:, None]
    return np.stack([keys[:, 0] >> np.uint64(bits), low | keys[:, 0] << np.uint64(64 - bits)], axis=1)


def _taken(values: I64, at: I64) -> F64:
    """The values at some places, 0 where the place is -1."""
    if not len(values):
        return np.zeros(len(at))
    return np.where(at >= 0, values[at], 0).astype(np.float64)


@njit(nogil=True, cache=True)
def _places(keys: U64, queries: U64, result: I64) -> None:
    """Binary search for each."""
    words = keys.shape[1]
    for i in range(queries.shape[0]):
        high, last = queries[i, 0], queries[i, words - 1]
        low, above = 0, keys.shape[0]
        while low < above:
            middle = (low + above) // 2
            if keys[middle, 0] < high or (keys[middle, 0] == high and keys[middle, words - 1] < last):
                low = middle + 1
            else:
                above = middle
        is_there = low < keys.shape[0] and keys[low, 0] == high and keys[low, words - 1] == last
        result[i] = low if is_there else -1
