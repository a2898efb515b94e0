"""Estimators of the conditional entropy: against the printed formulas, and on sources whose entropy is known."""

from __future__ import annotations

import itertools
import math
import operator
from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from profiles import more

from naive import conditional_estimates
from tagcorpus.pipelines.counting.estimators import Spectrum, digamma, estimate, interval, student_t, tail

Array = np.ndarray[Any, Any]
CORRECTED = ("miller_madow", "chao_shen", "chao_wang_jost")


def spectrum(counts: Any) -> Spectrum:
    """Of the counts of every distinct thing; zeros are things not seen."""
    values, multiplicity = np.unique(np.asarray(counts, np.int64), return_counts=True)
    is_seen = values > 0
    return Spectrum(values[is_seen], multiplicity[is_seen])


def of_pairs(context: Array, following: Array) -> dict[str, float]:
    pairs, contexts = Counter(zip(context.tolist(), following.tolist(), strict=True)), Counter(context.tolist())
    return numbers(estimate(spectrum(list(pairs.values())), spectrum(list(contexts.values()))))


def numbers(found: dict[str, float | None]) -> dict[str, float]:
    values = {name: value for name, value in found.items() if value is not None}
    assert len(values) == len(found) == 6
    return values


# Against the formulas as printed


@more(2)
@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 9)), min_size=2, max_size=60))
def test_equals_the_printed_formulas(pairs: list[tuple[int, int]]) -> None:
    entries, contexts = list(Counter(pairs).values()), list(Counter(a for a, _ in pairs).values())
    wanted = conditional_estimates(entries, contexts)
    found = numbers(estimate(spectrum(entries), spectrum(contexts)))
    assert list(found) == ["plug_in", *CORRECTED, "coverage_entries", "coverage_contexts"]
    for name, value in wanted.items():
        assert found[name] == pytest.approx(value, rel=1e-13, abs=1e-13), name


def test_worked_by_hand() -> None:
    """a->b, a->c, b->a twice: half the positions have a fair choice of two."""
    found = numbers(estimate(spectrum([1, 1, 2]), spectrum([2, 2])))
    assert found["plug_in"] == 0.5
    assert found["miller_madow"] == pytest.approx(0.5 + 1 / (8 * math.log(2)))
    # A = 2 / (3 * 2 + 2) = 1/4, so that the entries' coverage is 1 - 2/4 * 3/4.
    assert found["coverage_entries"] == pytest.approx(1 - 3 / 8)
    assert found["coverage_contexts"] == 1.0


def test_nothing_seen_is_missing() -> None:
    assert set(estimate(spectrum([]), spectrum([])).values()) == {None}


def test_one_position_has_no_coverage() -> None:
    found = estimate(spectrum([1]), spectrum([1]))
    assert found.pop("coverage_entries") is None
    assert found.pop("coverage_contexts") is None
    assert set(found.values()) == {0.0}


def test_all_singletons_stay_finite() -> None:
    """Every entry once, out of one context: the plug-in value is log2 N, the corrected ones lie above it."""
    for n in (2, 3, 100, 10**6, 10**12):
        one, all_ = (Spectrum(np.array([c]), np.array([m])) for c, m in ((n, 1), (1, n)))
        found = numbers(estimate(all_, one))
        assert found["plug_in"] == pytest.approx(math.log2(n))
        assert found["coverage_entries"] == pytest.approx(0, abs=2 / n)
        assert all(math.isfinite(found[name]) and found[name] > found["plug_in"] for name in CORRECTED)


def test_a_deterministic_source_has_exactly_none() -> None:
    counts = spectrum([1, 1, 1, 2, 5, 70])
    found = numbers(estimate(counts, counts))
    assert [found[name] for name in ("plug_in", *CORRECTED)] == [0.0] * 4


def test_the_order_of_a_spectrum_changes_no_bit() -> None:
    rng = np.random.default_rng(0)
    values = np.sort(rng.choice(10**7, 300, replace=False)) + 1
    entries = Spectrum(values, rng.integers(1, 10**5, 300))
    n = int((entries.values * entries.multiplicity).sum())
    turned = Spectrum(entries.values[::-1], entries.multiplicity[::-1])
    one = Spectrum(np.array([n]), np.array([1]))
    assert estimate(entries, one) == estimate(turned, one)


@pytest.mark.parametrize(
    ("entries", "contexts", "told"),
    [([1, 1], [3], "2 positions of entries and 3 of contexts"), ([2], [1, 1, 1], "same positions")],
)
def test_unequal_totals_are_refused(entries: list[int], contexts: list[int], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        estimate(spectrum(entries), spectrum(contexts))


@pytest.mark.parametrize(("values", "multiplicity"), [([0, 2], [1, 1]), ([1, 2], [0, 1])])
def test_counts_below_one_are_refused(values: list[int], multiplicity: list[int]) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        estimate(Spectrum(np.array(values), np.array(multiplicity)), spectrum([2]))


# Sources of known entropy


def zipf(k: int, power: float = 1.0) -> Array:
    weights: Array = 1 / np.arange(1, k + 1) ** power
    return np.asarray(weights / weights.sum())


def geometric(k: int, ratio: float) -> Array:
    weights: Array = ratio ** np.arange(k)
    return np.asarray(weights / weights.sum())


def entropy_bits(p: Array) -> float:
    return float(-(p * np.log2(p)).sum())


SOURCES = {
    "uniform": np.full(1000, 1 / 1000),
    "geometric": geometric(400, 0.98),
    "zipf": zipf(3000),
    "steep": zipf(5000, 1.3),
}


@pytest.mark.parametrize("n", [300, 1000, 3000])
@pytest.mark.parametrize("source", SOURCES)
def test_one_context_of_known_entropy(source: str, n: int) -> None:
    """A single context makes the conditional entropy that of the next tokens alone. All corrections lie nearer to the
    truth than the plug-in value on average, and Chao, Wang and Jost's nearer than Miller-Madow's."""
    p = SOURCES[source]
    rng = np.random.default_rng(n)
    found = [numbers(estimate(spectrum(rng.multinomial(n, p)), spectrum([n]))) for _ in range(12)]
    error = {name: abs(np.mean([f[name] for f in found]) - entropy_bits(p)) for name in found[0]}
    assert all(error[name] < 0.9 * error["plug_in"] for name in CORRECTED), error
    assert error["chao_wang_jost"] < min(error["miller_madow"], 0.45 * error["plug_in"]), error


def chain(k: int, seed: int) -> tuple[Array, float]:
    """Transition matrix of a Markov chain over k tokens (Zipf-like rows, each in its own order) and its exact
    conditional entropy: that of the rows, weighted by the stationary distribution."""
    rng = np.random.default_rng(seed)
    matrix = np.array([rng.permutation(zipf(k, 1.2)) for _ in range(k)])
    stationary = np.full(k, 1 / k)
    for _ in range(200):
        stationary = stationary @ matrix
    return matrix, float(sum(s * entropy_bits(row) for s, row in zip(stationary, matrix, strict=True)))


def walk(matrix: Array, n: int, rng: np.random.Generator) -> Array:
    steps, cumulative = rng.random(n), matrix.cumsum(axis=1)
    states = np.zeros(n + 1, np.int64)
    for i, u in enumerate(steps):
        states[i + 1] = min(np.searchsorted(cumulative[states[i]], u), len(matrix) - 1)
    return states


@pytest.mark.parametrize("n", [1000, 4000, 16000])
def test_markov_chain(n: int) -> None:
    """Tokens that depend on one another, as in a text: the corrections still help, and all vanish with n."""
    matrix, truth = chain(60, seed=1)
    rng = np.random.default_rng(n)
    walks = [walk(matrix, n, rng) for _ in range(4)]
    found = [of_pairs(states[:-1], states[1:]) for states in walks]
    error = {name: abs(np.mean([f[name] for f in found]) - truth) for name in found[0]}
    assert error["plug_in"] > 0.02
    assert all(error[name] < 0.8 * error["plug_in"] for name in CORRECTED), error
    assert error["chao_wang_jost"] < 0.3 * error["plug_in"], error


@pytest.mark.parametrize("n", [50, 500, 5000])
def test_coverage_is_the_share_of_what_was_seen(n: int) -> None:
    p = zipf(2000)
    rng = np.random.default_rng(n)
    told, true = [], []
    for _ in range(20):
        counts = rng.multinomial(n, p)
        told.append(numbers(estimate(spectrum(counts), spectrum([n])))["coverage_entries"])
        true.append(p[counts > 0].sum())
    assert np.mean(told) == pytest.approx(np.mean(true), abs=0.03)


def test_more_than_a_trillion_positions() -> None:
    """A spectrum like a large corpus': finite, in order, and the corrections as small as they must be."""
    values = np.array([1, 2, 3, 10, 10**3, 10**6, 10**9])
    entries = Spectrum(values, np.array([4 * 10**10, 10**10, 5 * 10**9, 10**9, 10**8, 10**5, 700]))
    n = int((entries.values * entries.multiplicity).sum())
    assert n > 10**12 - 10**11
    contexts = Spectrum(np.array([1, n - 1]), np.array([1, 1]))
    found = numbers(estimate(entries, contexts))
    assert found["plug_in"] < found["miller_madow"] < found["chao_wang_jost"] < found["plug_in"] + 0.2
    assert found["plug_in"] < found["chao_shen"] < found["plug_in"] + 1
    assert found["coverage_entries"] == pytest.approx(1 - 4 * 10**10 / n, abs=1e-9)


# The functions underneath


def test_digamma_is_the_harmonic_sum() -> None:
    for x in (1, 2, 15, 16, 17, 100, 4000):
        assert digamma(x) == pytest.approx(math.fsum(1 / k for k in range(1, x)) - 0.5772156649015329, rel=1e-15)


@pytest.mark.parametrize(
    ("n", "z"),
    [(n, z) for n in (2, 3, 20, 1000) for z in (0.1, 0.5, 0.999, 1.0, 1.001, 3.0, 40.0) if z < n],
)
def test_tail_is_its_sum(n: int, z: float) -> None:
    """On both sides of n * a = 1, where the way of computing it changes."""
    a = z / n
    powers = itertools.accumulate(itertools.repeat(1 - a, int(45 / a)), operator.mul)
    wanted = math.fsum(power / (n - 1 + k) for k, power in enumerate(powers, 1))
    assert tail(n, a) == pytest.approx(wanted, rel=1e-11)


@pytest.mark.parametrize(
    ("z", "exponential"), [(0.1, 1.8229239584193906), (1.0, 0.21938393439552029), (5.0, 0.001148295591275326)]
)
def test_tail_of_a_trillion_is_the_exponential_integral(z: float, exponential: float) -> None:
    """e^z E1(z), E1 from Abramowitz and Stegun's table 5.1."""
    assert tail(10**12, z / 10**12) == pytest.approx(math.exp(z) * exponential, rel=1e-10)


# Replicates


@pytest.mark.parametrize(
    ("freedom", "level", "wanted"),
    [
        (1, 0.95, 12.7062),
        (2, 0.95, 4.3027),
        (3, 0.9, 2.3534),
        (4, 0.95, 2.7764),
        (4, 0.99, 4.6041),
        (9, 0.95, 2.2622),
        (10, 0.99, 3.1693),
        (29, 0.95, 2.0452),
        (120, 0.95, 1.9799),
        (1000, 0.95, 1.9623),
    ],
)
def test_student_t_is_the_printed_table(freedom: int, level: float, wanted: float) -> None:
    assert student_t(freedom, level) == pytest.approx(wanted, abs=6e-5)


def test_interval_of_replicates() -> None:
    half = 3.182446 * math.sqrt(5 / 3 / 4)
    assert interval([1.0, 2.0, 3.0, 4.0]) == pytest.approx((2.5, 2.5 - half, 2.5 + half), rel=1e-6)
    assert interval([2.0, 2.0, 2.0]) == (2.0, 2.0, 2.0)
    assert interval([7.0]) == (7.0, None, None)


def test_interval_holds_the_mean_as_often_as_it_says() -> None:
    rng = np.random.default_rng(3)
    held = 0
    for _ in range(2000):
        _, low, high = interval(rng.normal(5, 2, 4).tolist(), 0.8)
        assert low is not None
        assert high is not None
        held += low <= 5 <= high
    assert held / 2000 == pytest.approx(0.8, abs=0.03)


def test_interval_refuses_what_it_cannot_do() -> None:
    with pytest.raises(ValueError, match="at least one value"):
        interval([])
    with pytest.raises(ValueError, match=r"between 0 and 1, got 95"):
        interval([1.0, 2.0], 95)
