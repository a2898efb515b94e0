"""95 % confidence intervals: of means by Student's t, of shares by Wilson's score."""

from __future__ import annotations

import math
from functools import cache
from statistics import NormalDist

from tagcorpus.pipelines.counting.estimators import student_t

LEVEL = 0.95
Z = NormalDist().inv_cdf((1 + LEVEL) / 2)
# From so many degrees of freedom on the series below is exact to 1e-10, and the sum behind `student_t` long.
_MANY = 200


def around(mean: float | None, error: float | None, n: int) -> tuple[float | None, float | None]:
    """mean -+ t * error with n - 1 degrees of freedom; None, None where there is no error (n below 2)."""
    if mean is None or error is None:
        return None, None
    half = t_quantile(n - 1) * error
    return mean - half, mean + half


@cache
def t_quantile(freedom: int) -> float:
    """The t with P(|T| <= t) = 0.95. Large `freedom`: M. Abramowitz, I. Stegun, Handbook, 1964, eq. 26.7.5."""
    if freedom < _MANY:
        return student_t(freedom, LEVEL)
    terms = (
        (Z**3 + Z) / 4,
        (5 * Z**5 + 16 * Z**3 + 3 * Z) / 96,
        (3 * Z**7 + 19 * Z**5 + 17 * Z**3 - 15 * Z) / 384,
        (79 * Z**9 + 776 * Z**7 + 1482 * Z**5 - 1920 * Z**3 - 945 * Z) / 92160,
    )
    return Z + math.fsum(term / float(freedom) ** (i + 1) for i, term in enumerate(terms))


def wilson(count: int, n: int) -> tuple[float | None, float | None]:
    """Interval of a share of `count` in n, in percent; None, None for n = 0.

    Source  E. B. Wilson, Journal of the American Statistical Association 22, 1927, 209-212
    Example 5 of 10 -> 23.66 to 76.34
    """
    if not n:
        return None, None
    p, z = count / n, Z * Z / n
    middle, half = p + z / 2, Z * math.sqrt(p * (1 - p) / n + z / (4 * n))
    # At the ends, 0 and 1 are exact where rounding would miss them.
    low = 0.0 if count == 0 else 100 * (middle - half) / (1 + z)
    high = 100.0 if count == n else 100 * (middle + half) / (1 + z)
    return low, high
