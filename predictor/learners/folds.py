"""Seeded folds: the published random ones, and folds that split no group.

The random ones draw from numpy's RandomState as scikit-learn's KFold(shuffle=True) and train_test_split do, index for
index (a test compares them); that package is not imported, which takes a second. Rows are positions 0 .. n - 1.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

Rows = np.ndarray[Any, np.dtype[np.int64]]


def random_folds(n: int, k: int, seed: int) -> list[tuple[Rows, Rows]]:
    """k pairs (training rows, test rows), both ascending; every row is tested once, fold sizes differ by at most 1."""
    order = np.arange(n)
    np.random.RandomState(seed).shuffle(order)
    sizes = np.full(k, n // k)
    sizes[: n % k] += 1
    pairs = []
    for end, size in zip(np.cumsum(sizes), sizes, strict=True):
        is_test = np.zeros(n, dtype=bool)
        is_test[order[end - size : end]] = True
        pairs.append((np.flatnonzero(~is_test), np.flatnonzero(is_test)))
    return pairs


def without_share(rows: Rows, share: float, seed: int) -> Rows:
    """`rows` in a drawn order without ceil(share * n) of them: the rows that train_test_split keeps for training."""
    n = len(rows)
    left_out = int(np.ceil(share * n))
    order: Rows = np.random.RandomState(seed).permutation(n)
    return rows[order[left_out:]]


def grouped_folds(groups: Sequence[str], k: int, seed: int) -> list[tuple[Rows, Rows]]:
    """k pairs (training rows, test rows), no group in both. Groups go, in a drawn order of equals, the largest first,
    into the fold that has fewest rows so far.

    Raises ValueError where there are fewer than k groups.
    """
    sizes = Counter(groups)
    names = sorted(sizes)
    if len(names) < k:
        raise ValueError(f"{len(names)} groups cannot fill {k} folds")
    random = np.random.RandomState(seed)
    drawn = [names[i] for i in random.permutation(len(names))]
    fold_of: dict[str, int] = {}
    filled = [0] * k
    for group in sorted(drawn, key=lambda g: -sizes[g]):
        least = [f for f in range(k) if filled[f] == min(filled)]
        fold_of[group] = least[random.randint(len(least))]
        filled[fold_of[group]] += sizes[group]
    at = np.array([fold_of[g] for g in groups])
    return [(np.flatnonzero(at != f), np.flatnonzero(at == f)) for f in range(k)]
