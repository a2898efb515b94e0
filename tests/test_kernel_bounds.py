"""The loops that count next tokens, run as plain Python, whose arrays refuse indexes beyond their ends."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from test_entropy_kernels import assert_same, of

from tagcorpus.kernels import entropy
from tagcorpus.kernels.packing import packing as packing_of


@pytest.mark.filterwarnings("ignore:overflow encountered:RuntimeWarning")  # compiled code wraps without a word
@pytest.mark.parametrize("n_vocab", [2, 4])
def test_a_long_run_with_every_token_stays_within_its_arrays(n_vocab: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every id below 2^bits follows the context 0, at even and at odd places, long before the run ends."""
    rest = np.tile(np.repeat(np.arange(n_vocab), 2), 1200 // n_vocab)
    ids = np.stack([np.zeros_like(rest), rest], 1).ravel().astype(np.uint16)
    offsets = np.arange(0, len(ids) + 1, 2)
    expected = of(ids, offsets, packing_of(1, n_vocab))
    for name in ("_of_grouped", "_long_run", "_short_runs", "_one_run"):
        kernel: Any = getattr(entropy, name)
        monkeypatch.setattr(entropy, name, kernel.py_func)
    assert_same(entropy.entropy_in_memory(ids, offsets, packing_of(1, n_vocab)), expected)
