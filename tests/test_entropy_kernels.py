"""Entropy kernels against slow twins, exact references and the published values."""

from __future__ import annotations

import json
import math
from decimal import Decimal, localcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_ngrams import corpora, flat, integers, random_corpus

import naive
from tagcorpus.kernels import arrays, entropy, ngrams
from tagcorpus.kernels.packing import Entropies, Packing
from tagcorpus.kernels.packing import packing as packing_of
from tagcorpus.pipelines.attributes.summary import ordered_keys
from tagcorpus.taggers._tokenizers.loading import load


def assert_same(a: Entropies, b: Entropies) -> None:
    for x, y in zip(a, b, strict=True):
        assert x.dtype == y.dtype
        assert x.shape == y.shape
        assert x.tobytes() == y.tobytes()


def of(ids: Any, offsets: Any, packing: Packing) -> Entropies:
    return entropy.conditional_entropy(*ngrams.count_ngrams(ids, offsets, packing), packing)


def entropies_of(counts: list[int]) -> tuple[int, int, float]:
    """Count, distinct next tokens and entropy of a single context with these counts."""
    packing = packing_of(1, 2**20)
    found = entropy.conditional_entropy(
        np.arange(len(counts), dtype=np.uint64)[:, None], np.array(counts, np.int64), packing
    )
    assert len(found.counts) == 1
    return int(found.counts[0]), int(found.distinct[0]), float(found.entropy_bits[0])


@given(corpora())
def test_entropies_are_those_of_the_twin(corpus: tuple[Any, Any, Packing]) -> None:
    found = of(*corpus)
    twin = naive.context_entropies(*corpus[:2], corpus[2].n)
    assert integers(found.contexts) == [naive.packed(context, corpus[2].bits) for context in sorted(twin)]
    assert list(zip(found.counts.tolist(), found.distinct.tolist(), strict=True)) == [twin[c][:2] for c in sorted(twin)]
    assert found.entropy_bits.tolist() == pytest.approx([twin[c][2] for c in sorted(twin)], abs=1e-11)
    assert not np.signbit(found.entropy_bits).any()
    assert ((found.entropy_bits == 0) == (found.distinct == 1)).all()


@pytest.mark.e2e
@given(corpora())
def test_in_memory_is_the_same_to_the_last_bit(corpus: tuple[Any, Any, Packing]) -> None:
    assert_same(entropy.entropy_in_memory(*corpus), of(*corpus))


@pytest.mark.parametrize(
    ("n", "n_vocab", "dtype"),
    [(1, 900, np.uint16), (1, 900, np.uint32), (2, 900, np.uint16), (3, 900, np.uint16), (5, 2**18, np.uint32)],
)
def test_in_memory_of_busy_contexts_is_the_same_to_the_last_bit(n: int, n_vocab: int, dtype: Any) -> None:
    ids, offsets = random_corpus(0, 6000, 900, dtype)
    packing = packing_of(n, n_vocab)
    found = entropy.entropy_in_memory(ids, offsets, packing)
    assert_same(found, of(ids, offsets, packing))
    twin = naive.context_entropies(ids, offsets, n)
    assert found.entropy_bits.tolist() == pytest.approx([twin[c][2] for c in sorted(twin)], abs=1e-11)


@pytest.mark.parametrize(
    ("n", "counts", "distinct"), [(1, [9001, 4500, 4499], [3, 1, 1]), (2, [4500, 4499, 4500, 4499], [1, 1, 1, 1])]
)
def test_counts_beyond_the_table_are_counted_in_memory(n: int, counts: list[int], distinct: list[int]) -> None:
    ids, offsets = flat([[1, 2, 1, 3] * 4500, [1, 1]], np.uint16)
    packing = packing_of(n, 4)
    found = entropy.entropy_in_memory(ids, offsets, packing)
    assert_same(found, of(ids, offsets, packing))
    assert found.counts.tolist() == counts
    assert found.distinct.tolist() == distinct


@pytest.mark.parametrize("length", [511, 512, 513, 1022, 1023, 1024, 1025, 1537])
@pytest.mark.parametrize("before", [0, 1, 300, 511])
def test_runs_of_one_context_at_the_length_that_is_counted_apart(length: int, before: int) -> None:
    """Contexts (7, 10), (7, 11), (7, 12) and (8, 11), the second with `length` entries."""
    documents = [[7, 10, 20 + i % 3] for i in range(before)] + [[7, 11, 20 + i % 2] for i in range(length)]
    documents += [[7, 12, 21], [7, 12, 22], [8, 11, 23]]
    ids, offsets = flat(documents, np.uint16)
    entropies = entropy.entropy_in_memory(ids, offsets, packing_of(2, 64))
    assert entropies.counts.tolist() == [c for c in (before, length, 2, 1) if c]
    assert entropies.distinct.tolist() == [d for d in (min(before, 3), 2, 2, 1) if d]
    assert_same(entropies, of(ids, offsets, packing_of(2, 64)))


@pytest.mark.parametrize("n", [2, 3])
def test_large_buckets_have_the_entries_and_bits_of_the_twin(n: int) -> None:
    ids, offsets = random_corpus(3, 9000, 50281, np.uint16)
    ids[:4600] = np.tile([1, 2], 2300)  # a context whose next tokens are more than the table of terms has counts
    packing = packing_of(n, 1 << 15)
    ids &= (1 << 15) - 1
    keys, counts = ngrams.count_ngrams(ids, offsets, packing)
    assert list(zip(integers(keys), counts.tolist(), strict=True)) == sorted(
        (naive.packed(entry, packing.bits), count) for entry, count in naive.ngram_counts(ids, offsets, n).items()
    )
    assert_same(entropy.entropy_in_memory(ids, offsets, packing), of(ids, offsets, packing))


def test_keys_and_values_of_different_lengths_are_told() -> None:
    keys, packing = np.arange(3, dtype=np.uint64)[:, None], packing_of(1, 4)
    two, pairs = np.ones(2, np.int64), np.zeros((3, 2), np.uint64)
    with pytest.raises(ValueError, match=r"one value each, got uint64 \[3, 1\] and values \[2\]"):
        entropy.conditional_entropy(keys, two, packing)
    with pytest.raises(ValueError, match="one value each"):
        ngrams.lookup(keys, np.ones(2), keys)
    with pytest.raises(ValueError, match="one value each"):
        ngrams.merge(keys, np.ones(3, np.int64), pairs, np.ones(3, np.int64))
    with pytest.raises(ValueError, match="one value each"):
        entropy.document_entropies(*flat([[1, 2]]), packing, keys, np.ones(2))


def test_a_thread_keeps_its_buffers_until_they_are_dropped() -> None:
    arrays.workspace("kept", (1000,), np.uint8)[:] = 7
    assert np.shares_memory(*(arrays.workspace("kept", (1000,), np.uint8) for _ in range(2)))
    before = arrays.workspace("kept", (1000,), np.uint8)
    arrays.drop_workspaces()
    assert not np.shares_memory(before, arrays.workspace("kept", (1000,), np.uint8))


@pytest.mark.parametrize("n", [1, 2, 5])
def test_pieces_in_any_order_give_the_same_bits(n: int) -> None:
    ids, offsets = random_corpus(1, 2000, 30)
    packing = packing_of(n, 2**18)
    runs = [ngrams.count_ngrams(ids, offsets[d : d + 2], packing) for d in range(len(offsets) - 1)]
    merged = ngrams.merge_runs(runs[::-1], packing)
    assert_same(entropy.conditional_entropy(*merged, packing), of(ids, offsets, packing))


def test_the_order_of_next_tokens_does_not_matter() -> None:
    counts = [1, 7, 4095, 4096, 2**33, 3, 999_983, 5, 5]
    assert len({entropies_of(counts[i:] + counts[:i]) for i in range(len(counts))}) == 1


@pytest.mark.parametrize("count", [1, 2, 3, 4095, 4096, 2**40 + 1])
def test_equal_counts_have_the_logarithm_of_their_number(count: int) -> None:
    for distinct in (2, 3, 64, 1000):
        assert entropies_of([count] * distinct)[2] == pytest.approx(math.log2(distinct), abs=1e-11)


def test_a_rare_token_among_2_to_the_50() -> None:
    # p = 2^-50: H is about 50 p + p / ln 2, too small to be seen; it must not come out negative.
    total, distinct, bits = entropies_of([2**50, 1])
    assert (total, distinct) == (2**50 + 1, 2)
    assert 0 <= bits < 1e-12


def test_sums_of_very_many_large_terms_do_not_overflow() -> None:
    counts = [2**34 - 1] * 2**14
    assert entropies_of(counts)[2] == pytest.approx(14, abs=1e-11)
    # Terms of the table, 2^20 times: a plain int64 sum of units would overflow after 200.
    assert entropies_of([4095] * 2**10 + [4095 * 2**10])[2] == pytest.approx(6, abs=1e-11)


@pytest.mark.parametrize("exponent", range(63))
def test_logarithms_of_powers_of_two_are_exact(exponent: int) -> None:
    assert entropy.log2_of(2**exponent) == exponent


def test_logarithms_are_within_two_units_in_the_last_place() -> None:
    rng = np.random.default_rng(0)
    counts = {*range(1, 300), *(2**k + d for k in range(2, 53) for d in (-1, 1)), *rng.integers(1, 2**53, 300).tolist()}
    with localcontext(prec=40):
        ln2 = Decimal(2).ln()
        for count in counts:
            value, exact = entropy.log2_of(count), Decimal(count).ln() / ln2
            assert abs(Decimal(value) - exact) <= 2 * Decimal(math.ulp(value)), count


def test_compiled_logarithms_have_the_bits_of_plain_python() -> None:
    plain = getattr(entropy.log2_of, "py_func", entropy.log2_of)
    rng = np.random.default_rng(1)
    for count in [*range(1, 2000), *rng.integers(2000, 2**62, 2000).tolist()]:
        assert entropy.log2_of(count) == plain(count), count


@given(corpora(), st.integers(0, 6))
def test_sums_of_pieces_add_up(corpus: tuple[Any, Any, Packing], cut: int) -> None:
    found = of(*corpus)
    scaled = [round(h * 2**40) for h in found.entropy_bits.tolist()]
    whole = entropy.exact_sums(found)
    assert whole == (
        sum(scaled),
        sum(h * c for h, c in zip(scaled, found.counts.tolist(), strict=True)),
        len(scaled),
        sum(found.counts.tolist()),
        found.distinct.tolist().count(1),
    )
    pieces = []
    for part in (slice(cut), slice(cut, None)):
        contexts, counts, distinct, bits = found
        pieces.append(entropy.exact_sums(Entropies(contexts[part], counts[part], distinct[part], bits[part])))
    assert tuple(a + b for a, b in zip(*pieces, strict=True)) == whole


def test_sums_go_beyond_64_bits() -> None:
    counts, bits = [2**50, 2**50 - 1, 12345, 2**41 + 2**21 + 3], [49.999, 1 / 3, 17.25, 0.1]
    found = Entropies(np.zeros((4, 1), np.uint64), np.array(counts), np.ones(4, np.int64), np.array(bits))
    sums = entropy.exact_sums(found)
    assert sums.weighted == sum(c * round(h * 2**40) for c, h in zip(counts, bits, strict=True))
    assert all(type(s) is int for s in sums)


few_weighted = st.lists(st.tuples(st.sampled_from([0.0, 0.25, 0.3, 1.0, 7.75, 8.0]), st.integers(1, 4)), max_size=40)


@given(few_weighted, st.integers(1, 9), st.booleans())
def test_extremes(pairs: list[tuple[float, int]], wanted: int, is_largest: bool) -> None:
    values, weights = np.array([v for v, _ in pairs], float), np.array([w for _, w in pairs], np.int64)
    order = sorted(range(len(pairs)), key=lambda i: (-values[i] if is_largest else values[i], -weights[i], i))
    assert entropy.extremes(values, weights, wanted, is_largest=is_largest).tolist() == order[:wanted]


@given(few_weighted, st.integers(1, 40))
def test_binned(pairs: list[tuple[float, int]], n_bins: int) -> None:
    values, weights = np.array([v for v, _ in pairs], float), np.array([w for _, w in pairs], np.int64)
    number, sums = entropy.binned(values, weights, 0.25, n_bins)
    places = [min(int(v // 0.25), n_bins - 1) for v in values]
    assert number.tolist() == [places.count(b) for b in range(n_bins)]
    assert sums.tolist() == [sum(w for p, w in zip(places, weights, strict=True) if p == b) for b in range(n_bins)]


@given(st.lists(st.one_of(st.integers(0, 5), st.integers(4000, 5000), st.integers(0, 2**50))))
def test_counts_of_counts(counts: list[int]) -> None:
    values, multiplicity = entropy.counts_of_counts(np.array(counts, np.int64))
    assert list(zip(values.tolist(), multiplicity.tolist(), strict=True)) == [
        (value, counts.count(value)) for value in sorted(set(counts))
    ]
    assert values.dtype == multiplicity.dtype == np.int64


@given(
    st.lists(
        st.one_of(st.sampled_from([0.0, -0.0, 1.0, -1.5, math.inf, -math.inf]), st.floats(allow_nan=False)), max_size=20
    ),
    st.sampled_from([48, 32, 16, 0]),
)
def test_digits_of_ordered_keys(numbers: list[float], shift: int) -> None:
    values = np.array(numbers, np.float64)
    keys = ordered_keys(values).tolist()
    for prefix in {0, *(key >> shift >> 16 for key in keys)}:
        digits = [key >> shift & 0xFFFF for key in keys if key >> shift >> 16 == prefix]
        expected = np.bincount(np.array(digits, np.int64), minlength=1 << 16)
        found = entropy.key_histogram(values, shift, prefix)
        assert found.dtype == np.int64
        assert (found == expected).all()


@given(corpora())
def test_document_figures_are_those_of_the_twin(corpus: tuple[Any, Any, Packing]) -> None:
    ids, offsets, packing = corpus
    found = of(*corpus)
    table = {tuple(c): h for c, h in zip(unpacked(found, packing), found.entropy_bits.tolist(), strict=True)}
    figures = entropy.document_entropies(*corpus, found.contexts, found.entropy_bits)
    twin = naive.document_entropies(ids, offsets, packing.n, table)
    assert figures[4].dtype == np.int64
    assert figures[4].tolist() == [row[4] for row in twin]
    for column in range(4):
        expected = [row[column] for row in twin]
        assert figures[column].tolist() == pytest.approx(expected, abs=1e-11, nan_ok=True)


@pytest.mark.parametrize(("n", "n_vocab"), [(1, 900), (1, 2**23), (2, 900), (4, 2**18)])
def test_document_figures_of_long_documents(n: int, n_vocab: int) -> None:
    ids, offsets = random_corpus(2, 3000, 900)
    packing = packing_of(n, n_vocab)
    found = entropy.entropy_in_memory(ids, offsets, packing)
    table = {tuple(c): h for c, h in zip(unpacked(found, packing), found.entropy_bits.tolist(), strict=True)}
    figures = entropy.document_entropies(ids, offsets, packing, found.contexts, found.entropy_bits)
    twin = naive.document_entropies(ids, offsets, n, table)
    for column in range(5):
        assert figures[column].tolist() == pytest.approx([row[column] for row in twin], abs=1e-11, nan_ok=True)


def test_a_documents_mean_lies_between_its_extremes() -> None:
    ids, offsets = flat([[1] * 50 + [2]])
    contexts = np.array([[1], [2]], np.uint64)
    mean, std, low, high, _ = entropy.document_entropies(ids, offsets, packing_of(1, 4), contexts, np.array([0.1, 9]))
    assert (mean[0], std[0], low[0], high[0]) == (0.1, 0, 0.1, 0.1)


@pytest.mark.parametrize(("n", "given", "missing"), [(1, [[1]], r"\[2\] at 1"), (2, [[0b0110]], r"\[2, 1\] at 1")])
def test_a_context_that_is_not_in_the_table(n: int, given: list[list[int]], missing: str) -> None:
    ids, offsets = flat([[1, 2, 1, 2]])
    with pytest.raises(ValueError, match=missing):
        entropy.document_entropies(ids, offsets, packing_of(n, 4), np.array(given, np.uint64), np.zeros(1))


def unpacked(found: Entropies, packing: Packing) -> list[list[int]]:
    tokens: list[list[int]] = ngrams.unpack(found.contexts, packing.n, packing.bits).tolist()
    return tokens


CORPORA = ("all", "real_only", "edge_only", "fineweb", "tiny")


@pytest.fixture(scope="module")
def published(golden: Path) -> dict[str, Any]:
    """golden/entropy.json, and the ids of every golden document, whose lone surrogates are U+FFFD as a reader leaves them."""
    tokenizer = load("p50k_base", engine="tiktoken")
    docs = [json.loads(line) for line in (golden / "docs.jsonl").read_text().splitlines()]
    texts = [doc["text"].encode("utf-16", "surrogatepass").decode("utf-16", "replace") for doc in docs]
    ids, offsets = tokenizer.encode_batch(texts)
    found = {doc["id"]: ids[a:b] for doc, a, b in zip(docs, offsets[:-1], offsets[1:], strict=True)}
    return {"ids": found, "n_vocab": tokenizer.n_vocab, **json.loads((golden / "entropy.json").read_text())}


@pytest.mark.parametrize("n", [1, 2, 3])
@pytest.mark.parametrize("corpus", CORPORA)
def test_published_values(published: dict[str, Any], corpus: str, n: int) -> None:
    given = published["corpora"][corpus]
    expected = given["by_n"][str(n)]["token_ids"]
    ids, offsets = flat([published["ids"][d].tolist() for d in given["doc_ids"]], np.uint16)
    assert len(ids) == given["num_tokens"]
    packing = packing_of(n, published["n_vocab"])
    found = entropy.entropy_in_memory(ids, offsets, packing)
    assert_same(found, of(ids, offsets, packing))
    sums, bits = entropy.exact_sums(found), found.entropy_bits
    assert sums.n_contexts == expected["num_unique_contexts"]
    assert sums.n_positions == int(found.counts.sum()) == expected["total_contexts"]
    if not sums.n_contexts:
        assert (corpus, "mean_corpus_entropy" in expected) == ("tiny", False)
        return
    assert sums.n_zero == expected["num_zero_entropy_contexts"]
    values = {
        "mean_corpus_entropy": sums.unweighted / 2**40 / sums.n_contexts,
        "weighted_mean_entropy": sums.weighted / 2**40 / sums.n_positions,
        "median_corpus_entropy": float(np.median(bits)),
        "max_entropy": float(bits.max()),
    }
    assert values == pytest.approx({name: expected[name] for name in values}, abs=1e-9)
    assert float(bits.mean()) == pytest.approx(expected["mean_corpus_entropy"], abs=1e-9)
    percentiles = {f"p{p}": float(np.percentile(bits, p)) for p in (10, 25, 75, 90)}
    assert percentiles == pytest.approx(expected["distribution_percentiles"], abs=1e-9)


@pytest.mark.parametrize("n", [1, 2, 3])
@pytest.mark.parametrize("corpus", CORPORA)
def test_published_contexts(published: dict[str, Any], corpus: str, n: int) -> None:
    given = published["corpora"][corpus]
    ids, offsets = flat([published["ids"][d].tolist() for d in given["doc_ids"]])
    packing = packing_of(n, published["n_vocab"])
    found = entropy.entropy_in_memory(ids, offsets, packing)
    rows = zip(unpacked(found, packing), found.counts, found.distinct, found.entropy_bits, strict=True)
    table = {tuple(context): (int(count), int(distinct), float(h)) for context, count, distinct, h in rows}
    for sample in given["by_n"][str(n)]["sample_contexts"]:
        count, distinct, h = table[tuple(sample["ids"])]
        assert (count, distinct) == (sample["count"], sample["distinct_next"])
        assert h == pytest.approx(sample["entropy"], abs=1e-9)
    for top in given["by_n"][str(n)]["top5_contexts"]:
        count, _, h = table[tuple(top["ids"])]
        assert count == top["count"]
        assert h == pytest.approx(top["entropy"], abs=1e-9)
