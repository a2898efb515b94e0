"""The overlap of both sides: how many of the held-out 13-grams occur in the training documents, too.

The n-grams are of token ids within one document, without its EOS, and are compared by 64-bit hashes. Of the distinct
held-out hashes, the SAMPLE smallest are looked up: all of them where there are not more, so that the share is exact, else a
uniform sample, whose standard error is reported. Memory depends on SAMPLE and the size of a chunk, not on the corpus.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from tagcorpus.pipelines.counting.token_budget import mixed

N = 13
SAMPLE = 1 << 20
"""Hashes that are looked up at most, 8 MB of them."""
_LOW = np.uint64((1 << 22) - 1)
_WINDOWS = 1 << 21
"""Tokens that are hashed at a time; their hashes take 17 MB."""

Hashes = npt.NDArray[np.uint64]


def hashes_of(ids: npt.NDArray[Any], lengths: npt.NDArray[np.int32]) -> Hashes:
    """Hashes of all 13-grams, in order, of documents that end with an EOS. Equal n-grams have equal hashes."""
    if len(ids) < N:
        return np.zeros(0, np.uint64)
    one = mixed(ids.astype(np.uint64))
    two = mixed(one[:-1] * np.uint64(3) + one[1:])
    four = mixed(two[:-2] * np.uint64(3) + two[2:])
    eight = mixed(four[:-4] * np.uint64(3) + four[4:])
    last = len(ids) - N + 1
    hashes = mixed(eight[:last] * np.uint64(9) + four[8 : 8 + last] * np.uint64(3) + one[12 : 12 + last])
    ends = np.cumsum(lengths, dtype=np.int64) - 1  # of each document, where its EOS is
    is_within = np.arange(last) + N <= np.repeat(ends, lengths)[:last]
    return hashes[is_within]


def in_blocks(ids: npt.NDArray[Any], lengths: npt.NDArray[np.int32]) -> Iterable[Hashes]:
    """`hashes_of` for some documents at a time."""
    ends = np.cumsum(lengths, dtype=np.int64)
    first = 0
    while first < len(lengths):
        start = int(ends[first - 1]) if first else 0
        stop = max(int(np.searchsorted(ends, start + _WINDOWS, side="right")), first + 1)
        yield hashes_of(ids[start : int(ends[stop - 1])], lengths[first:stop])
        first = stop


class Smallest:
    """The smallest distinct hashes of all that are added. `is_all`: whether none was left out."""

    def __init__(self, most: int) -> None:
        self.kept: Hashes = np.zeros(0, np.uint64)
        self.is_all = True
        self._most = most

    def add(self, hashes: Hashes, *, is_all: bool = True) -> None:
        """is_all: False where larger ones than these were left out before."""
        if not self.is_all and len(self.kept):
            hashes = hashes[hashes <= self.kept[-1]]
        kept = np.union1d(self.kept, hashes)
        self.is_all &= is_all and len(kept) <= self._most
        self.kept = kept[: self._most]


class LookUp:
    """Looks up which hashes occur among others."""

    def __init__(self, hashes: Hashes) -> None:
        """hashes: ascending, each once."""
        self._hashes = hashes
        self._may_be = np.zeros(int(_LOW) + 1, bool)
        self._may_be[hashes & _LOW] = True
        self.seen = np.zeros(len(hashes), bool)

    def add(self, hashes: Hashes) -> None:
        """See these, in any order."""
        if not len(self._hashes):
            return
        likely = hashes[self._may_be[hashes & _LOW]]
        at = np.searchsorted(self._hashes, likely)
        at[at == len(self._hashes)] = 0
        self.seen[at[self._hashes[at] == likely]] = True


def report(smallest: Smallest, seen: int) -> dict[str, Any]:
    """The figures for the manifest. seen: how many of the kept hashes the training documents have."""
    n = len(smallest.kept)
    share = seen / n if n else None
    distinct = n if smallest.is_all else round((n - 1) / (int(smallest.kept[-1]) / 2**64))
    error = 0.0 if smallest.is_all or share is None else math.sqrt(share * (1 - share) / n)
    return {
        "ngram": N,
        "held_out_distinct": distinct,
        "looked_up": n,
        "seen_in_train": seen,
        "share": share,
        "standard_error": error,
        "is_exact": smallest.is_all,
    }
