"""The loops that count next tokens, run as plain Python, whose arrays refuse indexes beyond their ends."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from test_entropy_kernels import assert_same, of

from tagcorpus.kernels import buckets, entropy
from tagcorpus.kernels.packing import packing as packing_of


@pytest.mark.filterwarnings("ignore:overflow encountered:RuntimeWarning")  # compiled code wraps without a word
@pytest.mark.parametrize("n", [1, 2])
@pytest.mark.parametrize("n_vocab", [2, 4])
def test_a_long_run_with_every_token_stays_within_its_arrays(
    n: int, n_vocab: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every id below 2^bits follows a context of zeros, at even and at odd places, long before the run ends."""
    rest = np.tile(np.repeat(np.arange(n_vocab), 2), 1200 // n_vocab)
    ids = np.stack([np.zeros_like(rest)] * n + [rest], 1).ravel().astype(np.uint16)
    offsets = np.arange(0, len(ids) + 1, n + 1)
    packing = packing_of(n, n_vocab)
    expected = of(ids, offsets, packing)
    in_plain_python(monkeypatch)
    assert_same(entropy.entropy_in_memory(ids, offsets, packing), expected)


@pytest.mark.parametrize(("n_vocab", "dtype"), [(1, np.uint16), (4, np.uint32)])
@pytest.mark.parametrize("size", [0, 1, 1023, 1024, 1025])
def test_runs_of_one_token_of_context_stay_within_their_arrays(
    size: int, dtype: Any, n_vocab: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run of the highest id, as long as or one shorter or longer than a run that is counted apart, among empty documents."""
    rest = np.arange(size) % n_vocab
    ids = np.stack([np.full(size, n_vocab - 1), rest], 1).ravel().astype(dtype)
    offsets = np.sort(np.concatenate([np.arange(0, len(ids) + 1, 2), [0, len(ids)]]))
    packing = packing_of(1, n_vocab)
    expected = of(ids, offsets, packing)
    in_plain_python(monkeypatch)
    entropies = entropy.entropy_in_memory(ids, offsets, packing)
    assert_same(entropies, expected)
    assert entropies.counts.tolist() == [size] * min(size, 1)
    assert entropies.distinct.tolist() == [min(size, n_vocab)] * min(size, 1)


def in_plain_python(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(buckets, "prefetch", lambda *_: None)  # an intrinsic has no plain twin
    for module, names in (
        (entropy, ("_of_buckets", "_of_grouped", "_long_run", "_short_runs", "_one_run")),
        (buckets, ("_pairs",)),
    ):
        for name in names:
            kernel: Any = getattr(module, name)
            monkeypatch.setattr(module, name, getattr(kernel, "py_func", kernel))
