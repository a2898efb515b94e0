"""Sorting n-gram entries by one token after the other, against plain Python."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_ngrams import flat

from tagcorpus.kernels.arrays import prefetch
from tagcorpus.kernels.buckets import by_token, is_by_token
from tagcorpus.kernels.packing import Packing, packing
from tagcorpus.kernels.radix import sort_entries


@st.composite
def documents(draw: st.DrawFn) -> tuple[list[list[int]], Packing]:
    """Documents, shorter and longer than an entry, whose ids need all bits."""
    n = draw(st.integers(1, 3))
    tokens = st.sampled_from([0, 1, 2, 50280])
    return draw(st.lists(st.lists(tokens, max_size=9), max_size=8)), packing(n, 50281)


def entries_of(given_documents: list[list[int]], n: int) -> list[tuple[int, ...]]:
    return [tuple(d[i : i + n + 1]) for d in given_documents for i in range(len(d) - n)]


def unpacked(rest: Any, starts: Any, n: int, bits: int) -> list[tuple[int, ...]]:
    """Entries as tuples, in the order of the buckets."""
    oldest = np.repeat(np.arange(len(starts) - 1), np.diff(starts)).tolist()
    return [
        (first, *(value >> bits * (n - 1 - k) & (1 << bits) - 1 for k in range(n)))
        for first, value in zip(oldest, rest.tolist(), strict=True)
    ]


@given(documents(), st.integers(0, 2))
def test_entries_ascend_and_none_is_lost(corpus: tuple[list[list[int]], Packing], before: int) -> None:
    given_documents, (n, bits, _) = corpus
    ids, offsets = flat(given_documents, np.uint16, before)
    rest, starts, _ = by_token(ids, offsets, n, bits, n)
    assert unpacked(rest, starts, n, bits) == sorted(entries_of(given_documents, n))


@given(documents())
def test_contexts_ascend_whatever_follows_them(corpus: tuple[list[list[int]], Packing]) -> None:
    given_documents, (n, bits, _) = corpus
    rest, starts, _ = by_token(*flat(given_documents, np.uint16), n, bits, n - 1)
    entries = unpacked(rest, starts, n, bits)
    assert sorted(entries) == sorted(entries_of(given_documents, n))
    assert [e[:-1] for e in entries] == sorted(e[:-1] for e in entries)


def test_equal_entries_become_one_with_its_count() -> None:
    ids, offsets = flat([[1, 2, 1, 2, 1, 3]], np.uint16)
    entries = sort_entries(ids, offsets, 1, 2)
    assert entries.starts.tolist() == [0, 0, 2, 3, 3]
    assert entries.rest[:3].tolist() == [2, 3, 1]
    assert entries.counts[:3].tolist() == [2, 1, 2]
    assert entries.n_contexts == 2


@pytest.mark.parametrize(
    ("n_tokens", "n", "bits", "suits"),
    [(20_000, 4, 16, True), (20_000, 5, 16, False), (10_000, 1, 16, False), (10**6, 3, 22, False), (0, 1, 6, True)],
)
def test_long_contexts_and_few_tokens_of_large_vocabularies_are_sorted_otherwise(
    n_tokens: int, n: int, bits: int, suits: bool
) -> None:
    assert is_by_token(n_tokens, n, bits) is suits


def test_a_hint_beyond_the_end_changes_nothing() -> None:
    from numba import njit

    array = np.arange(6, dtype=np.uint64).reshape(3, 2)
    njit(lambda a: prefetch(a, np.uint64(2**40)))(array)
    assert array.tolist() == [[0, 1], [2, 3], [4, 5]]
