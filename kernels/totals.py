"""Totals over contexts: exact sums of entropies, counts of counts, bins, extremes, digits for exact order statistics.

All sums are integers, so that sums over parts of a table add to the sums over the whole, in any order.
"""

from __future__ import annotations

from typing import Any, NamedTuple, TypeAlias

import numpy as np

from tagcorpus.kernels.arrays import frozen
from tagcorpus.kernels.compiling.cached import njit
from tagcorpus.kernels.fixed_point import TABLE, UNIT_BITS, UNITS_PER_BIT
from tagcorpus.kernels.packing import Entropies

U64: TypeAlias = np.ndarray[Any, np.dtype[np.uint64]]
I64: TypeAlias = np.ndarray[Any, np.dtype[np.int64]]
F64: TypeAlias = np.ndarray[Any, np.dtype[np.float64]]


class Sums(NamedTuple):
    """Totals over contexts as integers, so that totals of parts add to those of the whole."""

    unweighted: int
    """Sum of H, in units of 2^-40 bit."""
    weighted: int
    """Sum of count * H, in the same units."""
    n_contexts: int
    n_positions: int
    n_zero: int
    """Contexts whose entropy is 0."""


def exact_sums(entropies: Entropies) -> Sums:
    """Totals over contexts that do not depend on how the contexts are divided into pieces.

    An entropy enters as rint(H * 2^40), for both sums: the mean of any number of contexts is off by at most 2^-41 bit.

    returns  Sums; mean = unweighted / n_contexts / 2^40, weighted mean = weighted / n_positions / 2^40
    Example  counts [2, 1], entropies [1.0, 0.0] -> unweighted 2^40, weighted 2 * 2^40, 2 contexts, 3 positions, 1 zero
    """
    sums = _sums(frozen(entropies.counts), frozen(entropies.entropy_bits))
    plain_whole, plain_units, whole, units, positions, zeros = (int(s) for s in sums)
    return Sums(
        plain_whole * UNITS_PER_BIT + plain_units,
        whole * UNITS_PER_BIT + units,
        len(entropies.counts),
        positions,
        zeros,
    )


@njit(nogil=True, cache=True)
def _sums(counts: I64, entropy_bits: F64) -> Any:
    """(whole, units) of both sums, positions, zeros; a count is below 2^60 and multiplied 20 bits at a time."""
    plain_whole = plain_units = whole = units = positions = np.int64(0)
    zeros = 0
    unit_mask, limb = np.int64(UNITS_PER_BIT - 1), np.int64((1 << 20) - 1)
    for i in range(counts.size):
        count = counts[i]
        scaled = np.int64(np.rint(entropy_bits[i] * UNITS_PER_BIT))
        bits, few = scaled >> UNIT_BITS, scaled & unit_mask
        positions += count
        zeros += int(entropy_bits[i] == 0.0)
        plain_units += few
        plain_whole += bits + (plain_units >> UNIT_BITS)
        plain_units &= unit_mask
        middle = (count >> 20 & limb) * few
        units += ((count & limb) * few & unit_mask) + ((middle & limb) << 20)
        whole += count * bits + ((count & limb) * few >> UNIT_BITS) + (middle >> 20) + (count >> 40) * few
        whole += units >> UNIT_BITS
        units &= unit_mask
    return plain_whole, plain_units, whole, units, positions, zeros


def counts_of_counts(counts: I64) -> tuple[I64, I64]:
    """The number of counts that are 1, 2, 3, ...

    counts   int64 [k], each at least 0
    returns  (values int64 [j] ascending, multiplicity int64 [j] >= 1)
    Example  [1, 1, 7, 1] -> [1, 7], [3, 1]
    """
    small = _small_counts(frozen(counts))
    values = np.flatnonzero(small)
    large, multiplicity = np.unique(counts[counts >= len(small)], return_counts=True)
    return np.concatenate([values, large]), np.concatenate([small[values], multiplicity])


@njit(nogil=True, cache=True)
def _small_counts(counts: I64) -> I64:
    tables = np.zeros((2, TABLE), np.int64)
    for i in range(counts.size):
        if 0 <= counts[i] < TABLE:
            tables[i & 1, counts[i]] += 1
    total: I64 = tables[0] + tables[1]
    return total


def key_histogram(values: F64, shift: int, prefix: int) -> I64:
    """Histogram of one 16-bit digit of the values' order-preserving keys: one pass of four towards any order statistic.

    values   float64 [k], no NaN
    shift    48, 32, 16 or 0: position of the digit in the key
    prefix   only keys with key >> (shift + 16) == prefix count; 0 for shift 48
    returns  int64 [65536]
    Source   IEEE 754: the bits of non-negative numbers, with the sign bit set, order as the numbers do; those of
             negative ones in reverse, so all of them are flipped
    """
    tables = np.zeros((2, 1 << 16), np.int64)
    _key_digits(frozen(values).view(np.uint64), np.uint64(shift), np.uint64(prefix), tables)
    total: I64 = tables.sum(axis=0)
    return total


@njit(nogil=True, cache=True)
def _key_digits(patterns: U64, shift: np.uint64, prefix: np.uint64, tables: I64) -> None:
    """Two tables in turn: equal values often follow each other, and one table would wait for its own last write."""
    sign = np.uint64(1 << 63)
    all_bits = np.uint64(2**64 - 1)
    for i in range(patterns.size):
        pattern = patterns[i]
        key = (pattern ^ (all_bits if pattern & sign else sign)) >> shift
        tables[i & 1, np.int64(key & np.uint64(0xFFFF))] += int(key >> np.uint64(16) == prefix)


def binned(values: F64, weights: I64, width: float, n_bins: int) -> tuple[I64, I64]:
    """The number of values, and the sum of their weights, in each bin of a width. The last bin also has all larger values.

    values   float64 [k], each at least 0
    weights  int64 [k]
    returns  (number int64 [n_bins], sum of weights int64 [n_bins])
    Example  [0.0, 0.3, 9.0] of weights [5, 6, 7], width 0.25, 3 bins -> [1, 1, 1], [5, 6, 7]
    """
    sums = np.zeros((2, n_bins), np.int64)
    _bins(frozen(values), frozen(weights), width, sums)
    return sums[0], sums[1]


@njit(nogil=True, cache=True)
def _bins(values: F64, weights: I64, width: float, sums: I64) -> None:
    last = sums.shape[1] - 1
    for i in range(values.size):
        b = min(np.int64(values[i] / width), last)
        sums[0, b] += 1
        sums[1, b] += weights[i]


def extremes(values: F64, weights: I64, most: int, *, is_largest: bool) -> I64:
    """Places of the smallest or the largest values; of equal ones the heaviest come first, then those with the lowest index.

    values   float64 [k], no NaN
    weights  int64 [k]
    returns  int64 [min(k, most)]
    Example  the 2 largest of [1.0, 3.0, 3.0] with weights [9, 1, 4] -> [2, 1]
    """
    chosen = np.empty(min(most, len(values)), np.int64)
    if len(chosen):
        _extremes(frozen(values), frozen(weights), -1.0 if is_largest else 1.0, chosen)
    return chosen


@njit(nogil=True, cache=True)
def _extremes(values: F64, weights: I64, sign: float, chosen: I64) -> None:
    """Insertion into a short sorted list, which almost no value gets into."""
    n = 0
    for i in range(values.size):
        value, weight = sign * values[i], weights[i]
        if n == chosen.size:
            worst = chosen[n - 1]
            if value > sign * values[worst] or (value == sign * values[worst] and weight <= weights[worst]):
                continue
        else:
            n += 1
        place = n - 1
        while place > 0:
            before = chosen[place - 1]
            if sign * values[before] < value or (sign * values[before] == value and weights[before] >= weight):
                break
            chosen[place] = before
            place -= 1
        chosen[place] = i
