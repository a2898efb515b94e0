"""Counting n-grams against slow twins: every context length, vocabularies from 1 to 2^32, one and two words."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import naive
from tagcorpus.kernels import ngrams
from tagcorpus.kernels.packing import Packing
from tagcorpus.kernels.packing import packing as packing_of

VOCABULARIES = (1, 2, 3, 300, 50281, 2**18, 2**22)


@st.composite
def corpora(draw: st.DrawFn) -> tuple[Any, Any, Packing]:
    """ids and offsets of a few documents, and a packing that holds them."""
    n = draw(st.integers(1, 5))
    n_vocab = draw(st.sampled_from([v for v in VOCABULARIES if (n + 1) * (v - 1).bit_length() <= 128]))
    # Few different ids, so that contexts repeat, and the largest one, so that every bit is used.
    alphabet = [n_vocab - 1, *draw(st.lists(st.integers(0, n_vocab - 1), min_size=1, max_size=3))]
    documents = draw(st.lists(st.lists(st.sampled_from(alphabet), max_size=12), max_size=6))
    dtypes = [np.uint32] if n_vocab > 2**16 else [np.uint16, np.uint32]
    return *flat(documents, draw(st.sampled_from(dtypes)), draw(st.integers(0, 2))), packing_of(n, n_vocab)


def flat(documents: list[list[int]], dtype: Any = np.uint32, before: int = 0) -> tuple[Any, Any]:
    """Read-only ids and offsets; `before` ids precede the first document."""
    ids = np.array([0] * before + [i for document in documents for i in document], dtype)
    offsets = before + np.cumsum([0, *map(len, documents)], dtype=np.int64)
    ids.flags.writeable = offsets.flags.writeable = False
    return ids, offsets


def integers(keys: Any) -> list[int]:
    """Keys as Python integers."""
    return [int.from_bytes(b"".join(int(word).to_bytes(8, "big") for word in key), "big") for key in keys]


def rows(keys: Any, counts: Any) -> list[tuple[int, int]]:
    return list(zip(integers(keys), counts.tolist(), strict=True))


def expected(ids: Any, offsets: Any, packing: Packing) -> list[tuple[int, int]]:
    counts = naive.ngram_counts(ids, offsets, packing.n)
    return sorted((naive.packed(entry, packing.bits), count) for entry, count in counts.items())


def random_corpus(seed: int, n_tokens: int, n_vocab: int, dtype: Any = np.uint32) -> tuple[Any, Any]:
    """Skewed ids, with the largest among them, in documents of 0 to 200 tokens."""
    rng = np.random.default_rng(seed)
    ids = np.minimum(rng.zipf(1.3, n_tokens) - 1, n_vocab - 1).astype(dtype)
    offsets = np.unique(np.concatenate([[0, n_tokens], rng.integers(0, n_tokens, n_tokens // 100)]))
    return ids, np.repeat(offsets, rng.integers(1, 3, len(offsets))).astype(np.int64)


@given(corpora())
def test_counts_are_those_of_the_twin(corpus: tuple[Any, Any, Packing]) -> None:
    keys, counts = ngrams.count_ngrams(*corpus)
    assert keys.dtype == np.uint64
    assert counts.dtype == np.int64
    assert keys.shape == (len(counts), corpus[2].words)
    assert rows(keys, counts) == expected(*corpus)


@pytest.mark.parametrize(
    ("n", "n_vocab", "dtype"),
    [
        (1, 5, np.uint16),
        (1, 50281, np.uint16),
        (2, 50281, np.uint16),
        (2, 2**18, np.uint32),
        (3, 50281, np.uint32),
        (3, 2**18, np.uint32),
        (4, 50281, np.uint16),
        (4, 2**18, np.uint32),
        (5, 2**18, np.uint32),
        (5, 7, np.uint16),
    ],
)
def test_counts_of_more_than_tiny_buckets(n: int, n_vocab: int, dtype: Any) -> None:
    ids, offsets = random_corpus(n, 3000, n_vocab, dtype)
    packing = packing_of(n, n_vocab)
    assert rows(*ngrams.count_ngrams(ids, offsets, packing)) == expected(ids, offsets, packing)


@given(corpora(), st.integers(1, 5))
def test_runs_of_pieces_merge_to_the_run_of_the_whole(corpus: tuple[Any, Any, Packing], n_pieces: int) -> None:
    ids, offsets, packing = corpus
    bounds = [len(offsets) - 1] * n_pieces
    bounds = [0, *(bound * (p + 1) // n_pieces for p, bound in enumerate(bounds))]
    runs = [ngrams.count_ngrams(ids, offsets[a : b + 1], packing) for a, b in itertools.pairwise(bounds)]
    keys, counts = ngrams.merge_runs(runs, packing)
    assert runs == []
    assert rows(keys, counts) == expected(ids, offsets, packing)


@pytest.mark.parametrize("words", [1, 2])
def test_merge_adds_counts_of_equal_keys(words: int) -> None:
    def run(*pairs: tuple[int, int]) -> tuple[Any, Any]:
        keys = np.zeros((len(pairs), words), np.uint64)
        keys[:, 0] = [key for key, _ in pairs]
        return keys, np.array([count for _, count in pairs], np.int64)

    keys, counts = ngrams.merge(*run((1, 2), (4, 2**50)), *run((4, 1), (5, 1), (2**63, 9)))
    assert keys[:, 0].tolist() == [1, 4, 5, 2**63]
    assert counts.tolist() == [2, 2**50 + 1, 1, 9]
    for empty_first in (True, False):
        pair = [run(), run((7, 3))] if empty_first else [run((7, 3)), run()]
        keys, counts = ngrams.merge(*pair[0], *pair[1])
        assert (keys[:, 0].tolist(), counts.tolist()) == ([7], [3])


def test_no_run_merges_to_no_key() -> None:
    keys, counts = ngrams.merge_runs([], packing_of(5, 2**18))
    assert (keys.shape, counts.shape) == ((0, 2), (0,))


@given(corpora())
def test_contexts_unpack_to_tokens_and_are_found_again(corpus: tuple[Any, Any, Packing]) -> None:
    packing = corpus[2]
    keys, counts = ngrams.count_ngrams(*corpus)
    contexts, starts = ngrams.contexts_of(keys, packing)
    twin = naive.context_entropies(*corpus[:2], packing.n)
    assert [tuple(c) for c in ngrams.unpack(contexts, packing.n, packing.bits).tolist()] == sorted(twin)
    assert starts[-1] == len(keys)
    assert [int(counts[a:b].sum()) for a, b in itertools.pairwise(starts.tolist())] == [
        twin[context][0] for context in sorted(twin)
    ]
    values = np.arange(len(contexts), dtype=np.float64)
    assert ngrams.lookup(contexts, values, contexts[1::2]).tolist() == values[1::2].tolist()


def test_lookup_of_far_places_and_of_repeated_ones() -> None:
    contexts = np.arange(0, 3000, 3, dtype=np.uint64)[:, None]
    wanted = np.array([[0], [0], [3], [1500], [1503], [2997]], np.uint64)
    assert ngrams.lookup(contexts, np.arange(1000.0), wanted).tolist() == [0, 0, 1, 500, 501, 999]


@pytest.mark.parametrize("wanted", [[1], [3000], [6, 3]])
def test_lookup_of_what_is_not_there(wanted: list[int]) -> None:
    contexts = np.arange(0, 3000, 3, dtype=np.uint64)[:, None]
    with pytest.raises(ValueError, match="not in the table"):
        ngrams.lookup(contexts, np.zeros(1000), np.array(wanted, np.uint64)[:, None])


def test_packings() -> None:
    assert packing_of(1, 50281) == (1, 16, 1)
    assert packing_of(3, 50281) == (3, 16, 1)
    assert packing_of(4, 50281) == (4, 16, 2)
    assert packing_of(5, 2**18) == (5, 18, 2)
    assert packing_of(1, 1) == (1, 1, 1)
    assert packing_of(3, 2**32) == (3, 32, 2)


@pytest.mark.parametrize(
    ("n", "n_vocab", "why"),
    [
        (0, 10, "at least 1 token, got 0"),
        (1, 0, "n_vocab must be"),
        (1, 2**32 + 1, "n_vocab must be"),
        (7, 2**18, "need 144 bits; an entry has at most 128: n can be at most 6"),
    ],
)
def test_packings_that_cannot_be(n: int, n_vocab: int, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        packing_of(n, n_vocab)


@pytest.mark.parametrize(
    ("ids", "offsets", "why"),
    [
        (np.array([1, 300], np.uint16), [0, 2], "token id 300 does not fit into 8 bits"),
        (np.array([1, 2], np.int64), [0, 2], "must be uint16 or uint32"),
        (np.array([1, 2], np.uint16), [0, 3], "at most 2"),
        (np.array([1, 2], np.uint16), [-1, 2], "ascend"),
        (np.array([1, 2], np.uint16), [0, 2, 1], "ascend"),
        (np.array([1, 2], np.uint16), [], "n_docs"),
    ],
)
def test_ids_and_offsets_that_cannot_be(ids: Any, offsets: list[int], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        ngrams.count_ngrams(ids, np.array(offsets, np.int64), packing_of(1, 256))


def test_an_id_outside_the_documents_does_not_matter() -> None:
    ids = np.array([999, 1, 2, 999], np.uint16)
    keys, counts = ngrams.count_ngrams(ids, np.array([1, 3]), packing_of(1, 4))
    assert rows(keys, counts) == [(0b0110, 1)]
