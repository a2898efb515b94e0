"""Thresholds: the key in each group from which on documents are kept, exact and in bounded memory.

A document's key is a pair of uint64: its value, and a lot that breaks ties. Larger keys come first. The threshold of a group is
the key of the last document that is kept. Each pass over the documents narrows the interval of every group's threshold by a sample
of the keys in it, and a sample that has all keys of the interval gives the threshold. Nothing depends on the sample but the number
of passes: usually two.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

SAMPLED_KEYS = 1 << 20
"""Keys in memory, of all groups together; with many groups, at least LEAST_SAMPLED of each."""
LEAST_SAMPLED = 256

Keys = npt.NDArray[np.uint64]
Ints = npt.NDArray[np.int64]
Key = tuple[int, int]


@dataclass(frozen=True)
class Block:
    """Documents that can be kept. groups: number of each one's group; sizes: what counts towards the goal, 1 or tokens."""

    groups: Ints
    values: Keys
    lots: Keys
    sizes: Ints


class Collision(Exception):
    """Two documents have the same value and the same lot, and the threshold is between them."""


def mixed(numbers: Keys) -> Keys:
    """A bijection of uint64 whose results look random (the finaliser of SplitMix64)."""
    x = numbers + np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed_numbers: Keys = x ^ (x >> np.uint64(31))
    return mixed_numbers


def reaches(values: Keys, lots: Keys, key_values: Any, key_lots: Any) -> npt.NDArray[np.bool_]:
    """Whether the keys are at least these keys."""
    is_reached: npt.NDArray[np.bool_] = (values > key_values) | ((values == key_values) & (lots >= key_lots))
    return is_reached


@dataclass
class _Group:
    """The threshold is in [low, high), and documents from `high` on have the size `above`, less than the goal."""

    low: Key = (0, 0)
    high: Key | None = None
    above: int = 0
    goal: int | None = None
    threshold: Key | None = None
    is_done: bool = False
    # The part of the interval that the next pass samples; documents from `high` on and below `low` are only counted.
    bracket: tuple[Key, Key | None] = field(default=((0, 0), None))


def thresholds(
    blocks: Callable[[], Iterable[Block]], goal: Callable[[int, int], int], sampled_keys: int = SAMPLED_KEYS
) -> dict[int, Key | None]:
    """The threshold of every group; None: no document is kept.

    blocks  gives all documents, anew at each call
    goal    from number and size of a group's documents to the size that is kept: documents are kept, the largest key first,
            until they have that size
    Raises Collision.
    """
    groups: list[_Group] = []
    while not groups or not all(g.is_done for g in groups):
        totals, sample = _one_pass(blocks(), groups, sampled_keys)
        if not groups:
            groups = [_Group() for _ in range(totals.n_groups)]
            if not groups:
                return {}
        for number, (group, keys) in enumerate(zip(groups, sample.of_groups(len(groups)), strict=True)):
            if not group.is_done:
                _narrow(group, totals.of(number), keys, goal)
    return {number: group.threshold for number, group in enumerate(groups)}


def _narrow(
    group: _Group, totals: tuple[int, int, int], keys: tuple[Keys, Keys, Ints], goal: Callable[[int, int], int]
) -> None:
    """Make the interval smaller by what a pass has seen of it: size from the bracket on, size and number in the bracket."""
    size_above, size_within, n_within = totals
    if group.goal is None:
        group.goal = goal(n_within, size_within)
        if group.goal <= 0:
            group.is_done = True
            return
        if group.goal > size_within:  # too few: all of them
            group.threshold, group.is_done = (0, 0), True
            return
    low, high = group.bracket
    if group.above + size_above >= group.goal:
        group.low = high or (0, 0)
    elif group.above + size_above + size_within < group.goal:
        group.above, group.high = group.above + size_above + size_within, low
    else:
        group.above, group.low, group.high = group.above + size_above, low, high
        _use_sample(group, keys, n_within)
        return
    group.bracket = (group.low, group.high)


def _use_sample(group: _Group, keys: tuple[Keys, Keys, Ints], n_within: int) -> None:
    values, lots, sizes = keys
    order = np.lexsort((lots, values))[::-1]
    cumulated = np.cumsum(sizes[order], dtype=np.int64)
    assert group.goal is not None
    needed = group.goal - group.above

    def key_at(i: int) -> Key:
        return int(values[order[i]]), int(lots[order[i]])

    if len(values) == n_within:
        i = int(np.searchsorted(cumulated, needed))
        if i + 1 < n_within and key_at(i + 1) == key_at(i):
            raise Collision
        group.threshold, group.is_done = key_at(i), True
        return
    n = len(values)
    i = min(int(np.searchsorted(cumulated, needed * (n / n_within))), n - 1)
    margin = min(int(4 * np.sqrt(max(i, 1) * (n - i) / n)) + 4, n // 4)
    low = group.low if i + margin >= n - 1 else key_at(i + margin)
    high = group.high if i - margin <= 0 else key_at(i - margin)
    group.bracket = (low, high)


@dataclass
class _Totals:
    """By group: size of the documents from the bracket on, size and number of those in it."""

    above: Ints
    within: Ints
    count: Ints

    @property
    def n_groups(self) -> int:
        return len(self.count)

    def of(self, number: int) -> tuple[int, int, int]:
        return int(self.above[number]), int(self.within[number]), int(self.count[number])


def _one_pass(blocks: Iterable[Block], groups: list[_Group], sampled_keys: int) -> tuple[_Totals, _Sample]:
    totals = _Totals(*(np.zeros(len(groups), np.int64) for _ in range(3)))
    bounds = _Bounds(groups)
    sample = _Sample(sampled_keys)
    for block in blocks:
        n_groups = max(totals.n_groups, int(block.groups.max(initial=-1)) + 1)
        is_above, is_within = bounds.sections(block)
        added = (
            _sums(block.groups[is_above], block.sizes[is_above], n_groups),
            _sums(block.groups[is_within], block.sizes[is_within], n_groups),
            np.bincount(block.groups[is_within], minlength=n_groups),
        )
        old = (totals.above, totals.within, totals.count)
        totals = _Totals(*(a + np.pad(o, (0, n_groups - len(o))) for a, o in zip(added, old, strict=True)))
        sample.add(block, is_within, n_groups)
    return totals, sample


def _sums(groups: Ints, sizes: Ints, n_groups: int) -> Ints:
    """Exact sums, as `np.bincount` with weights, which adds floats, does not give."""
    sums = np.zeros(n_groups, np.int64)
    np.add.at(sums, groups, sizes)
    return sums


class _Bounds:
    """The groups' brackets as arrays. Documents above `high` of the interval were counted before; a group that is done has none."""

    def __init__(self, groups: list[_Group]) -> None:
        self._is_first = not groups
        self._is_done = np.array([g.is_done for g in groups], bool)
        self._low = _arrays([g.bracket[0] for g in groups])
        self._high, self._has_high = (
            _arrays([g.bracket[1] or (0, 0) for g in groups]),
            _there(g.bracket[1] for g in groups),
        )
        self._end, self._has_end = _arrays([g.high or (0, 0) for g in groups]), _there(g.high for g in groups)

    def sections(self, block: Block) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
        """Which documents are above the bracket but in the interval, and which in the bracket."""
        n = len(block.groups)
        if self._is_first:
            return np.zeros(n, bool), np.ones(n, bool)
        g = block.groups

        def is_from(key: tuple[Keys, Keys]) -> npt.NDArray[np.bool_]:
            return reaches(block.values, block.lots, key[0][g], key[1][g])

        is_open = ~(is_from(self._end) & self._has_end[g]) & ~self._is_done[g]
        is_high = is_from(self._high) & self._has_high[g]
        return is_open & is_high, is_open & ~is_high & is_from(self._low)


def _arrays(keys: list[Key]) -> tuple[Keys, Keys]:
    return np.array([v for v, _ in keys], np.uint64), np.array([lot for _, lot in keys], np.uint64)


def _there(keys: Iterable[Key | None]) -> npt.NDArray[np.bool_]:
    return np.array([key is not None for key in keys], bool)


class _Sample:
    """Of every group, the keys with the smallest random numbers: all, or as many as there is room for."""

    def __init__(self, most: int) -> None:
        self._most, self._n = most, 0
        self._waiting: list[tuple[Ints, Keys, Keys, Ints, Keys]] = []
        self._limits = np.zeros(0, np.uint64)
        """By group, random numbers from here on are dropped."""

    def add(self, block: Block, is_chosen: npt.NDArray[np.bool_], n_groups: int) -> None:
        grown = n_groups - len(self._limits)
        self._limits = np.concatenate([self._limits, np.full(grown, np.iinfo(np.uint64).max, np.uint64)])
        numbers = mixed(block.lots ^ np.uint64(0x5851F42D4C957F2D))
        kept = np.flatnonzero(is_chosen & (numbers <= self._limits[block.groups]))
        arrays = (block.groups, block.values, block.lots, block.sizes, numbers)
        self._waiting.append(tuple(a[kept] for a in arrays))  # type: ignore[arg-type]
        self._n += len(kept)
        if self._n > 2 * max(self._most, LEAST_SAMPLED * n_groups):
            self._shrink()

    def _shrink(self) -> None:
        groups, values, lots, sizes, numbers = self._joined()
        room = max(self._most // len(self._limits), LEAST_SAMPLED)
        order = np.lexsort((numbers, groups))
        starts = np.searchsorted(groups[order], np.arange(len(self._limits) + 1))
        place = np.arange(len(order)) - starts[groups[order]]
        full = np.flatnonzero(np.diff(starts) > room)
        self._limits[full] = numbers[order[starts[full] + room - 1]]
        kept = order[place < room]
        self._waiting = [(groups[kept], values[kept], lots[kept], sizes[kept], numbers[kept])]
        self._n = len(kept)

    def _joined(self) -> tuple[Ints, Keys, Keys, Ints, Keys]:
        if not self._waiting:
            none = np.zeros(0, np.uint64)
            return none.astype(np.int64), none, none, none.astype(np.int64), none
        joined: Any = tuple(np.concatenate(column) for column in zip(*self._waiting, strict=True))
        return joined  # type: ignore[no-any-return]

    def of_groups(self, n_groups: int) -> Iterator[tuple[Keys, Keys, Ints]]:
        """Values, lots and sizes of each group's sample."""
        groups, values, lots, sizes, _ = self._joined()
        order = np.argsort(groups, kind="stable")
        starts = np.searchsorted(groups[order], np.arange(n_groups + 1))
        for a, b in itertools.pairwise(starts):
            yield values[order[a:b]], lots[order[a:b]], sizes[order[a:b]]
