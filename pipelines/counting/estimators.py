"""Conditional entropy of the next token from how often things were seen, corrected for what was not seen.

The plug-in value of a sample lies below the truth, and the further, the smaller the sample. The estimators here remove
part of that bias, from the frequency spectrum alone: how many distinct contexts, and how many distinct (context, next)
entries, were seen exactly c times. All estimate H(next | context) = H(context, next) - H(context), both sides by the
same method. They assume independent draws; tokens of running text are not, so the corrections are a guide and not a
bound, and a difference of two corrected sides may even leave the possible range (it is not clipped). docs/entropy.md
tells how to choose.

  plug_in         maximum likelihood. C. E. Shannon, A mathematical theory of communication, 1948, section 12
  miller_madow    + (D - 1) / 2N a side. G. A. Miller, Note on the bias of information estimates, 1955
  chao_shen       Horvitz-Thompson sum over coverage-adjusted shares. A. Chao, T.-J. Shen, Environmental and
                  Ecological Statistics 10, 2003, 429-443
  chao_wang_jost  slopes of the accumulation curve, the unseen part by f1 and f2. A. Chao, Y. T. Wang, L. Jost,
                  Methods in Ecology and Evolution 4, 2013, 1091-1100
  coverage_*      share of all occurrences that belongs to things seen. I. J. Good, 1953, as refined by A. Chao,
                  L. Jost, Ecology 93, 2012, 2533-2547

Every sum is exactly rounded (math.fsum), so no order of anything can change a bit. No files, no arrays but the two
columns of a spectrum; one pass of plain Python, about 3 microseconds for each distinct count and side.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

EULER_GAMMA = 0.57721566490153286
_STEPS = 200  # of the continued fraction: leaves less than 1e-20 from _SERIES_BELOW on
_SERIES_BELOW = 1.0


class Spectrum(NamedTuple):
    """How many distinct things were seen exactly c times."""

    values: np.ndarray[Any, np.dtype[np.int64]]
    """int64 [j], ascending: the counts c that occur, all at least 1."""
    multiplicity: np.ndarray[Any, np.dtype[np.int64]]
    """int64 [j]: distinct things with that count, all at least 1."""


def estimate(entries: Spectrum, contexts: Spectrum) -> dict[str, float | None]:
    """H(next | context) by four estimators, and the sample coverage of both sides.

    entries   spectrum of distinct (context, next) pairs
    contexts  spectrum of distinct contexts, over the same N positions
    returns   plug_in, miller_madow, chao_shen, chao_wang_jost in bits; coverage_entries, coverage_contexts as shares
              of 1. All None for N = 0; both coverages None for N = 1, where nothing can be said of it.
    Raises ValueError where the two do not count the same positions or a count is below 1.

    Where every entry was seen once (no repetition at all) the corrected values rest on conventions of their authors
    (f1 = N - 1 for Chao-Shen, f2 = 0 for Chao-Wang-Jost) and say little; coverage_entries near 0 tells.
    Example  positions a->b, a->c, b->a, b->a: entries seen 1, 1, 2 times, contexts 2, 2 times: plug_in 0.5 bits
    """
    sides = [_Side(entries), _Side(contexts)]
    entry, context = sides
    if entry.n != context.n:
        raise ValueError(
            "entries and contexts must be counted over the same positions, got "
            f"{entry.n} positions of entries and {context.n} of contexts"
        )
    n = entry.n
    if n == 0:
        return dict.fromkeys(
            ("plug_in", "miller_madow", "chao_shen", "chao_wang_jost", "coverage_entries", "coverage_contexts")
        )
    # log N and digamma N cancel between the sides, so they are never formed: that saves half the digits at N = 1e12.
    plug_in = (context.sum_of(math.log2) - entry.sum_of(math.log2)) / n
    seen = (context.sum_of(digamma) - entry.sum_of(digamma)) / n
    unseen = entry.unseen_part() - context.unseen_part()
    return {
        "plug_in": plug_in + 0.0,
        "miller_madow": plug_in + (entry.distinct - context.distinct) / (2 * n * math.log(2)),
        "chao_shen": entry.chao_shen() - context.chao_shen(),
        "chao_wang_jost": (seen + unseen) / math.log(2),
        "coverage_entries": entry.coverage(),
        "coverage_contexts": context.coverage(),
    }


class _Side:
    """One spectrum as Python integers, with the sums that the estimators need of it."""

    def __init__(self, spectrum: Spectrum) -> None:
        self.pairs: list[tuple[int, int]] = list(
            zip(spectrum.values.tolist(), spectrum.multiplicity.tolist(), strict=True)
        )
        if any(c < 1 or m < 1 for c, m in self.pairs):
            raise ValueError("a spectrum must hold counts and multiplicities of at least 1 each")
        self.n = sum(c * m for c, m in self.pairs)
        self.distinct = sum(m for _, m in self.pairs)
        self.f1 = sum(m for c, m in self.pairs if c == 1)
        self.f2 = sum(m for c, m in self.pairs if c == 2)

    def sum_of(self, function: Any) -> float:
        """Sum of c * function(c) over all distinct things."""
        return math.fsum(c * m * function(c) for c, m in self.pairs)

    def new_share(self) -> float:
        """A: mean share, in the population, of a thing that was seen once (estimated by f1 and f2)."""
        n, f1, f2 = self.n, self.f1, self.f2
        if f2 > 0:
            return 2 * f2 / ((n - 1) * f1 + 2 * f2)
        return 2 / ((n - 1) * (f1 - 1) + 2) if f1 > 0 else 1.0

    def coverage(self) -> float | None:
        """Estimated share of the population that belongs to things seen."""
        return None if self.n == 1 else 1 - self.f1 / self.n * (1 - self.new_share())

    def unseen_part(self) -> float:
        """What Chao, Wang and Jost add for things not seen, in nats."""
        return self.f1 / self.n * tail(self.n, self.new_share()) if self.f1 else 0.0

    def chao_shen(self) -> float:
        """H of this side alone, in bits. The coverage is Good's 1 - f1 / N, as in the paper; with f1 = N it would be 0
        and N - 1 is taken for f1."""
        n = self.n
        coverage = 1 - min(self.f1, n - 1) / n
        terms = []
        for c, m in self.pairs:
            share = coverage * c / n
            if share < 1:
                terms.append(-m * share * math.log2(share) / -math.expm1(n * math.log1p(-share)))
        return math.fsum(terms)


def digamma(x: int) -> float:
    """Derivative of ln Gamma at an integer x >= 1: the harmonic number H(x - 1) less Euler's constant, to 2e-16.

    Small x by the sum itself, others by the asymptotic series (Abramowitz and Stegun 6.3.18).
    """
    if x < 16:
        return math.fsum([-EULER_GAMMA, *(1 / k for k in range(1, x))])
    y = 1 / (x * x)
    series = y * (1 / 12 - y * (1 / 120 - y * (1 / 252 - y * (1 / 240 - y * (1 / 132 - y * (691 / 32760 - y / 12))))))
    return math.log(x) - 1 / (2 * x) - series


def tail(n: int, a: float) -> float:
    """T = (1 - a)^(1 - n) * (-ln a - sum over r < n of (1 - a)^r / r), for n >= 1 and 0 < a <= 1.

    As written, the power overflows and the bracket cancels. Expanding -ln a shows that
    T = sum over k >= 1 of (1 - a)^k / (n - 1 + k), every term of it positive, and that sum is an integral:
    T = integral over s in 0..1 of (1 - s)^(n - 1) / (d + s), d = a / (1 - a). Where n * a is small the sum hardly
    converges, and the hypergeometric function it is (2F1(1, n; n + 1; 1 - a)) is expanded around a = 0 instead
    (Abramowitz and Stegun 15.3.10); elsewhere the integral has the continued fraction of the Jacobi polynomials with
    weight (1 - s)^(n - 1). With n * a = z held and n growing, T tends to e^z * E1(z).
    """
    if a >= 1:
        return 0.0
    return _tail_near_zero(n, a) if n > 1 and n * a < _SERIES_BELOW else _tail_by_fraction(n, a)


def _tail_near_zero(n: int, a: float) -> float:
    log_a = math.log(a)
    terms = []
    weight = 1.0  # (n)_j / j! * a^j
    psi_j, psi_n = -EULER_GAMMA, digamma(n)
    for j in range(400):
        terms.append(weight * (psi_j - psi_n - log_a))
        psi_j += 1 / (j + 1)
        psi_n += 1 / (n + j)
        weight *= a * ((n + j) / (j + 1))
        if weight < 1e-20:
            break
    return (1 - a) * math.fsum(terms)


def _tail_by_fraction(n: int, a: float) -> float:
    # Both sides scaled by n, so that nothing is small: with n -> infinity this is the well-known fraction of e^z E1(z).
    z = n * (a / (1 - a))
    below = 0.0
    for k in range(_STEPS, -1, -1):
        m = 2 * k + n - 1
        middle = n * (((2 * k * k + 2 * k * n + n - 1) / m) / (m + 2)) if m else 0.5
        last = z + middle - below
        # What stands below the k-th bar, one step further up; k = 0 has nothing above it.
        if k:
            below = (n * k / m) ** 2 * ((k + n - 1) / (m - 1)) * ((k + n - 1) / (m + 1)) / last
    return 1 / last


def interval(values: Sequence[float], level: float = 0.95) -> tuple[float, float | None, float | None]:
    """Mean of independent replicates with Student's t interval: (mean, low, high).

    values  one result per replicate; low and high are None where there is only one
    level   probability that the interval holds the expected value of a replicate, between 0 and 1
    Raises ValueError for no values and a level outside. Holds for replicates that share little: samples that each take
    a large part of one corpus overlap, and the interval is then too narrow for what another corpus would give.
    Source  "Student", The probable error of a mean, Biometrika 6, 1908
    """
    if not values:
        raise ValueError("an interval needs at least one value, got none")
    n = len(values)
    mean = math.fsum(values) / n
    if n == 1:
        return mean, None, None
    variance = math.fsum((v - mean) ** 2 for v in values) / (n - 1)
    half = student_t(n - 1, level) * math.sqrt(variance / n)
    return mean, mean - half, mean + half


@functools.cache
def student_t(freedom: int, level: float) -> float:
    """The t with P(|T| <= t) = level, T with `freedom` >= 1 degrees of freedom; to 1e-12 of its size.

    Bisection on the angle whose tangent is t / sqrt(freedom), in which the probability is a finite sum (Abramowitz and
    Stegun 26.7.3 and 26.7.4). Raises ValueError for a level outside 0..1.
    """
    if not 0 < level < 1:
        raise ValueError(f"level must lie between 0 and 1, got {level}")
    low, high = 0.0, math.pi / 2
    for _ in range(60):
        middle = (low + high) / 2
        if _central(middle, freedom) < level:
            low = middle
        else:
            high = middle
    return math.sqrt(freedom) * math.tan(low)


def _central(angle: float, freedom: int) -> float:
    """P(|T| <= sqrt(freedom) * tan(angle))."""
    sine, cosine = math.sin(angle), math.cos(angle)
    is_odd = freedom % 2
    term = cosine if is_odd else 1.0
    total = 0.0
    for k in range(1 + is_odd, freedom, 2):
        total += term
        term *= cosine * cosine * k / (k + 1)
    return 2 / math.pi * (angle + sine * total) if is_odd else sine * total
