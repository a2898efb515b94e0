"""Texts of a batch as one array of UTF-8, their lengths in characters, and distinct tokens without Numba."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from naive import distinct_per_document
from tagcorpus.pipelines.readers.reader import _text_array
from tagcorpus.taggers import load
from tagcorpus.taggers._interface.batch import DocumentBatch
from tagcorpus.taggers.tokens import distinct_one_by_one

texts_of_all_kinds = st.lists(
    st.text(st.characters(codec="utf-8"), max_size=8) | st.sampled_from(["", "a b", "é", "👩"])
)


@given(texts_of_all_kinds)
def test_text_array_is_that_of_arrow(texts: list[str]) -> None:
    array = _text_array([text if text.isascii() else text.encode() for text in texts])
    array.validate(full=True)
    assert array.equals(pa.array(texts, pa.large_string()))
    flat, offsets = DocumentBatch(pa.table({"text": array})).utf8
    assert [bytes(flat[a:b]).decode() for a, b in pairwise(offsets)] == texts


@given(texts_of_all_kinds, st.integers(0, 3))
def test_lengths_of_strings_are_those_of_their_bytes(texts: list[str], start: int) -> None:
    batch = DocumentBatch.from_texts(texts)
    bare = DocumentBatch(batch.table)
    assert batch.has_texts
    assert not bare.has_texts
    assert batch.char_lengths.tolist() == bare.char_lengths.tolist() == [len(text) for text in texts]
    assert batch.slice(start, 2).char_lengths.tolist() == [len(text) for text in texts[start : start + 2]]


def test_length_of_a_missing_text_is_missing() -> None:
    table = pa.table({"text": pa.array(["ab", None, "é"], pa.large_string())})
    for batch in (DocumentBatch(table), DocumentBatch(table, table["text"].to_pylist())):
        assert batch.char_lengths.tolist() == [2, 0, 1]
        assert load("length").tag(batch)["char_len"].to_pylist() == [2, None, 1]


@pytest.mark.parametrize("parts", [[], [[]], [[], [3], [], [3, 3, 0, 2, 3], [5, 4, 5]]])
def test_distinct_tokens_one_document_at_a_time(parts: list[list[int]]) -> None:
    ids = np.array([i for part in parts for i in part], np.uint32)
    offsets = np.cumsum([0, *map(len, parts)], dtype=np.int64)
    assert distinct_one_by_one(ids, offsets).tolist() == distinct_per_document(ids, offsets)
