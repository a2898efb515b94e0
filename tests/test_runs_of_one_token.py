"""Entropies of one token of context straight from runs: to the last bit those of merged entries."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tagcorpus.kernels.entropy import conditional_entropy, counts_of_counts
from tagcorpus.kernels.merging import Runs, is_dense, merge_runs
from tagcorpus.kernels.packing import Packing, packing

BITS = 3
# A run as {entry: count}; counts on both sides of the table of terms.
RUN = st.dictionaries(st.integers(0, (1 << 2 * BITS) - 1), st.sampled_from([1, 2, 7, 4095, 4096, 10**9]), max_size=20)


def arrays(run: dict[int, int]) -> tuple[np.ndarray, np.ndarray]:
    keys = sorted(run)
    return np.array(keys, np.uint64).reshape(-1, 1), np.array([run[k] for k in keys], np.int64)


def runs_of(runs: list[dict[int, int]], form: Packing, capacity: int, merged_at: int = -1) -> Runs:
    dense = Runs(form, capacity)
    for i, run in enumerate(runs):
        if i == merged_at:
            dense.merge()
        dense.add(*arrays(run))
    return dense


@given(st.lists(RUN, max_size=6), st.integers(0, 40), st.integers(-1, 5))
def test_equals_a_merge(runs: list[dict[int, int]], capacity: int, merged_at: int) -> None:
    form = packing(1, 1 << BITS)
    entropies, values, multiplicity = runs_of(runs, form, capacity, merged_at).entropies()
    keys, counts = merge_runs([arrays(run) for run in runs], form)
    for actual, expected in zip(entropies, conditional_entropy(keys, counts, form), strict=True):
        assert actual.tobytes() == expected.tobytes()
        assert (actual.dtype, actual.shape) == (expected.dtype, expected.shape)
    assert [values.tolist(), multiplicity.tolist()] == [v.tolist() for v in counts_of_counts(counts)]


def test_of_known_counts() -> None:
    runs = runs_of([{0b0110: 2}, {0b0110: 1, 0b0111: 1}, {0b1100: 5}], packing(1, 4), 0)
    entropies, values, multiplicity = runs.entropies()
    assert entropies.contexts.tolist() == [[1], [3]]
    assert entropies.counts.tolist() == [4, 5]
    assert entropies.distinct.tolist() == [2, 1]
    assert entropies.entropy_bits == pytest.approx([0.8112781244591328, 0.0], abs=1e-12)
    assert [values.tolist(), multiplicity.tolist()] == [[1, 3, 5], [1, 1, 1]]


def test_is_for_one_token_of_a_usual_vocabulary() -> None:
    assert is_dense(packing(1, 1 << 22))
    assert not is_dense(packing(1, (1 << 22) + 1))
    assert not is_dense(packing(2, 50_000))
    with pytest.raises(ValueError, match="keys must be"):
        Runs(packing(1, 4), 1).add(np.zeros((2, 1), np.uint64), np.zeros(1, np.int64))
