"""The order of a mix: sample i -> (group, epoch, window), a function of the groups' sizes, the weights and the seed alone.

kernels/mixes/blending.py decides the group. The window comes from a permutation of the group's windows, another one for each epoch:
a Feistel network with keys of xxh3, whose results beyond the last window are permuted again (cycle walking). Memory does not
depend on the number of windows, and stays small with the number of samples: BLOCK samples at a time are computed, and the
counts before each block are kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import xxhash

from tagcorpus.pipelines.counting.token_budget import mixed

BLOCK = 1 << 14
ROUNDS = 6

I64 = npt.NDArray[np.int64]


class Samples(NamedTuple):
    """Consecutive samples. groups: int32, an index; epochs, windows: int64."""

    groups: npt.NDArray[np.int32]
    epochs: I64
    windows: I64


class Order:
    """names: of the groups, by which their windows are permuted; windows: of each group; weights: integers that sum to TOTAL."""

    def __init__(
        self, names: Sequence[str], windows: Sequence[int], weights: Sequence[int], n_samples: int, seed: int
    ) -> None:
        self.names, self.windows, self.n_samples, self.seed = list(names), list(windows), n_samples, seed
        self._weights = np.array(weights, np.int64)
        self._counts: list[I64] = [np.zeros(len(names), np.int64)]
        """Samples of each group before each block."""
        self._latest: tuple[int, Samples] | None = None

    def __len__(self) -> int:
        return self.n_samples

    def sample(self, i: int) -> tuple[int, int, int]:
        """Group, epoch and window of sample i."""
        block = self.block(i // BLOCK)
        at = i % BLOCK
        return int(block.groups[at]), int(block.epochs[at]), int(block.windows[at])

    def block(self, number: int) -> Samples:
        """Samples [number * BLOCK, (number + 1) * BLOCK), as far as there are any. The latest block is kept."""
        if self._latest is None or self._latest[0] != number:
            for earlier in range(len(self._counts) - 1, number):
                self._blend(earlier)
            self._latest = number, self._samples(*self._blend(number))
        return self._latest[1]

    def counts(self) -> list[int]:
        """Samples of each group in the whole mix."""
        last = -(-self.n_samples // BLOCK)
        for number in range(len(self._counts) - 1, last):
            self._blend(number)
        return [int(n) for n in self._counts[last]]

    def _blend(self, number: int) -> tuple[npt.NDArray[np.int32], I64]:
        """Groups of a block's samples, and their numbers within the group."""
        from tagcorpus.kernels.mixes.blending import blend  # imports Numba

        start = number * BLOCK
        n = min(BLOCK, self.n_samples - start)
        groups, numbers = np.empty(n, np.int32), np.empty(n, np.int64)
        counts = self._counts[number].copy()
        blend(self._weights, counts, start, groups, numbers)
        if len(self._counts) == number + 1:
            self._counts.append(counts)
        return groups, numbers

    def _samples(self, groups: npt.NDArray[np.int32], numbers: I64) -> Samples:
        sizes = np.array(self.windows, np.int64)[groups]
        epochs, places = numbers // sizes, numbers % sizes
        windows = np.empty(len(groups), np.int64)
        for g in np.unique(groups).tolist():
            for epoch in np.unique(epochs[groups == g]).tolist():
                own = (groups == g) & (epochs == epoch)
                windows[own] = permuted(places[own], self.windows[g], f"{self.seed} {epoch} {self.names[g]}")
        return Samples(groups, epochs, windows)


def permuted(places: I64, n: int, key: str) -> I64:
    """Where a permutation of range(n) puts these places. The key decides the permutation."""
    half = np.uint64(max(((n - 1).bit_length() + 1) // 2, 1))
    mask = (np.uint64(1) << half) - np.uint64(1)
    keys = [np.uint64(xxhash.xxh3_64_intdigest(f"{r} {key}".encode())) for r in range(ROUNDS)]
    x = places.astype(np.uint64)
    outside = np.ones(len(x), bool)
    while outside.any():
        left, right = x[outside] >> half, x[outside] & mask
        for k in keys:
            left, right = right, left ^ (mixed(right ^ k) & mask)
        x[outside] = (left << half) | right
        outside = x >= np.uint64(n)
    return x.astype(np.int64)
