"""c log2 c as integers, and the entropy of their sum: equal on every processor and for every order of the terms.

`log2_of` uses only IEEE additions, multiplications and divisions in a fixed order: no math library, whose last bits differ, and no
fused operations. Sums run over integers: c log2 c is rounded once to a multiple of 2^-40, as a function of the count alone. The
rounding moves an entropy by less than 1e-12 bit.
"""

from __future__ import annotations

import functools
from typing import Any, Final, TypeAlias

import numpy as np
from numba import types

from tagcorpus.kernels.arrays import frozen
from tagcorpus.kernels.compiling.cached import njit

I64: TypeAlias = np.ndarray[Any, np.dtype[np.int64]]

UNIT_BITS: Final = 40
"""Sums are in units of 2^-40 bit."""

UNITS_PER_BIT: Final = 1 << UNIT_BITS
TABLE: Final = 4096  # counts below have their terms in a table; a term there is below 2^56 units
_TWO_OVER_LN2: Final = 2.8853900817779268147
_SQRT2: Final = 1.4142135623730951


@njit("float64(int64)", nogil=True, cache=True)
def log2_of(count: int) -> float:
    """Binary logarithm of a positive count, from basic IEEE operations only, so equal on every processor.

    count    int >= 1
    returns  float, within 2 units in the last place; exact for powers of two
    Source   log2 m = 2 / ln 2 * atanh((m - 1) / (m + 1)), m in [sqrt 1/2, sqrt 2]: Abramowitz and Stegun 4.1.27;
             11 terms of the series leave less than 1e-18
    Example  8 -> 3.0
    """
    exponent = 0
    for step in (32, 16, 8, 4, 2, 1):
        if count >> exponent >> step:
            exponent += step
    m = np.float64(count) / np.float64(np.int64(1) << exponent)
    if m > _SQRT2:
        m, exponent = m * 0.5, exponent + 1
    s = (m - 1.0) / (m + 1.0)
    z = s * s
    series = 0.0
    for k in range(23, 1, -2):
        series = (series + 1.0 / k) * z
    return np.float64(exponent) + _TWO_OVER_LN2 * (s + s * series)


@njit("UniTuple(int64, 2)(int64)", nogil=True, cache=True)
def term(count: Any) -> Any:
    """count * log2 count as (whole, units of 2^-40), the latter rounded; count is at least 1."""
    x = np.float64(count) * log2_of(count)
    whole = np.int64(x)
    return whole, np.int64((x - np.float64(whole)) * UNITS_PER_BIT + 0.5)


@njit("int64[::1]()", nogil=True, cache=True)
def _make_table() -> I64:
    table = np.zeros(TABLE, np.int64)
    for count in range(1, TABLE):
        whole, units = term(count)
        table[count] = (whole << UNIT_BITS) + units
    return table


@functools.cache
def terms_table() -> Any:
    """int64 [4096]: c log2 c in units of 2^-40, 0 for c = 0."""
    return frozen(_make_table())


@njit(nogil=True, cache=True, inline="always")
def add_term(whole: Any, units: Any, count: Any, table: I64) -> Any:
    """(whole, units) of a sum, with the term of one more count; table is `terms_table`."""
    if 0 <= count < TABLE:
        units += table[count]
    else:
        more, few = term(count)
        whole += more
        units += few
    return whole + (units >> UNIT_BITS), units & np.int64(UNITS_PER_BIT - 1)


@functools.cache
def logarithms_table() -> Any:
    """float64 [4096]: `log2_of` of every count, 0 for 0."""
    return frozen(np.array([0.0, *(log2_of(count) for count in range(1, TABLE))]))


@njit(nogil=True, cache=True, inline="always")
def entropy_by(log2: Any, total: Any, whole: Any, units: Any) -> Any:
    """`entropy_of`, from the logarithm of the total. Has no branch, so that loops become vector instructions."""
    terms = np.float64(whole) + np.float64(units) / UNITS_PER_BIT
    return max(log2 - terms / np.float64(total), 0.0)


_LOGARITHMS = types.Array(types.float64, 1, "C", readonly=True)


@njit(types.float64(types.int64, types.int64, types.int64, _LOGARITHMS), nogil=True, cache=True)
def entropy_of(total: Any, whole: Any, units: Any, logarithms: Any) -> float:
    """log2 N - (sum c log2 c) / N, from the sum's whole part and units, and `logarithms_table`; never negative."""
    log2 = logarithms[total] if 0 <= total < TABLE else log2_of(total)
    entropy: float = entropy_by(log2, total, whole, units)
    return entropy
