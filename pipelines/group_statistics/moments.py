"""Count, sum and sum of squares of float64 values as integers: exact, so that no order and no division into pieces shows.

A float64 is an integer below 2^53 times a power of two. The integers of equal powers are added as floats that stay below
2^53, hence without rounding, and what the powers come to is one Python integer. Means and deviations are then rounded
once, from ratios of integers: nothing cancels, however large the values are beside their spread.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt

# The smallest float64 is 2^-1074, and its mantissa is shifted by up to 52 bits: sums are in units of 2^-1126.
_UNIT = 1126
# So many integers below 2^27 have a sum below 2^53.
_AT_ONCE = 1 << 24
# And so many squares of whole numbers up to this one below 2^63.
_SMALL = 1 << 19
_HALF = 27
_LOW = (1 << _HALF) - 1


@dataclass(frozen=True)
class Moments:
    """`total` in units of 2^-1126, `squares` in units of 2^-2252."""

    n: int = 0
    total: int = 0
    squares: int = 0

    @classmethod
    def of(cls, values: npt.NDArray[Any]) -> Moments:
        """values: numbers of any dtype, all finite as float64."""
        moments = cls()
        values = values.astype(np.float64, copy=False)
        for start in range(0, len(values), _AT_ONCE):
            moments += cls._of(values[start : start + _AT_ONCE])
        return moments

    @classmethod
    def of_each(cls, values: npt.NDArray[Any], sizes: npt.NDArray[np.int64]) -> list[Moments]:
        """Of the first sizes[0] values, of the next sizes[1], and so on: sizes int64 [k], which add up to all values."""
        values = values.astype(np.float64, copy=False)
        ends = np.cumsum(sizes)
        if not 0 < len(values) < _AT_ONCE or (counts := _small_counts(values)) is None:
            return [cls.of(values[end - n : end]) for n, end in zip(sizes, ends, strict=True)]
        moments = [cls()] * len(sizes)
        at = np.flatnonzero(sizes)
        starts = ends[at] - sizes[at]
        totals, squares = np.add.reduceat(counts, starts), np.add.reduceat(counts * counts, starts)
        for i, n, total, square in zip(at, sizes[at].tolist(), totals.tolist(), squares.tolist(), strict=True):
            moments[i] = cls(n, total << _UNIT, square << 2 * _UNIT)
        return moments

    @classmethod
    def _of(cls, values: npt.NDArray[np.float64]) -> Moments:
        if (counts := _small_counts(values)) is not None:
            return cls(len(values), int(counts.sum()) << _UNIT, int((counts * counts).sum()) << 2 * _UNIT)
        fractions, exponents = np.frexp(values)
        mantissas = np.ldexp(fractions, 53).astype(np.int64)
        lowest = int(exponents.min())
        place = exponents - lowest
        high, low = mantissas >> _HALF, mantissas & _LOW
        total = (_added(high, place) << _HALF) + _added(low, place)
        size = np.abs(mantissas)
        high, low = size >> _HALF, size & _LOW
        squares = sum(
            (_added(product >> _HALF, 2 * place) << shift + _HALF) + (_added(product & _LOW, 2 * place) << shift)
            for product, shift in ((high * high, 2 * _HALF), (2 * (high * low), _HALF), (low * low, 0))
        )
        shift = lowest - 53 + _UNIT
        return cls(len(values), total << shift, squares << 2 * shift)

    def __add__(self, other: Moments) -> Moments:
        return Moments(self.n + other.n, self.total + other.total, self.squares + other.squares)

    def mean(self) -> float | None:
        """Correctly rounded; None of nothing."""
        return float(Fraction(self.total, self.n << _UNIT)) if self.n else None

    def deviation(self, ddof: int) -> float | None:
        """Standard deviation, the squares divided by n - ddof; None where that is not above 0."""
        if self.n <= ddof:
            return None
        return root(self.n * self.squares - self.total**2, self.n * (self.n - ddof) << 2 * _UNIT)

    def standard_error(self) -> float | None:
        """Of the mean: the deviation with ddof 1 by the root of n; None below two values."""
        if self.n < 2:
            return None
        return root(self.n * self.squares - self.total**2, self.n**2 * (self.n - 1) << 2 * _UNIT)


def ratio(part: Moments, whole: Moments, scale: int = 1) -> float | None:
    """scale * sum of `part` by sum of `whole`, correctly rounded; None where the latter is 0."""
    return float(Fraction(scale * part.total, whole.total)) if whole.total else None


def ratio_error(part: Moments, whole: Moments, both: Moments, scale: int = 1) -> float | None:
    """Standard error of `ratio`, linearised; None below two rows and where the whole is 0.

    both    moments of the sums part + whole, row by row over the same rows
    Source  the ratio estimator, sqrt(n / (n - 1) * sum (p - r w)^2) / sum w: W. G. Cochran, Sampling Techniques, 1977, eq. 6.13
    """
    n = whole.n
    if n < 2 or not whole.total:
        return None
    r = Fraction(part.total, whole.total)
    products = Fraction(both.squares - part.squares - whole.squares, 2)
    residuals = part.squares - 2 * r * products + r * r * whole.squares
    squared = scale**2 * residuals * n / ((n - 1) * whole.total**2)
    return root(squared.numerator, squared.denominator)


def root(numerator: int, denominator: int) -> float:
    """sqrt(numerator / denominator) of integers, off by less than a unit in the last place."""
    if numerator == 0:
        return 0.0
    # An even shift that leaves the quotient 128 bits, and its root 64.
    shift = 128 - numerator.bit_length() + denominator.bit_length()
    shift += shift & 1
    quotient = (numerator << shift) // denominator if shift >= 0 else numerator // (denominator << -shift)
    return math.ldexp(float(math.isqrt(quotient)), -shift // 2)


def _small_counts(values: npt.NDArray[np.float64]) -> npt.NDArray[np.int64] | None:
    """Whole numbers that are not too large, as most columns' are: of these integers the same comes out ten times as fast."""
    if float(np.abs(values).max()) <= _SMALL and np.array_equal(whole := np.rint(values), values):
        return whole.astype(np.int64)
    return None


def _added(values: npt.NDArray[np.int64], place: npt.NDArray[Any]) -> int:
    """Sum of values * 2^place; each value at most 2^27 in size."""
    sums = np.bincount(place, weights=values.astype(np.float64))
    return sum(int(sums[i]) << int(i) for i in np.flatnonzero(sums))
