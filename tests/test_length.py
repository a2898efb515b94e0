from __future__ import annotations

from typing import Any

import pytest

from tagcorpus.errors import ConfigError
from tagcorpus.taggers import load
from tagcorpus.taggers._interface.batch import DocumentBatch


def test_counts_code_points_neither_bytes_nor_graphemes() -> None:
    texts = ["", "abc", "é", "e\u0301", "日本", "👩\u200d👧", "\x00", "a\r\n"]
    assert tagged(texts) == [0, 3, 1, 2, 2, 3, 1, 3]


def test_golden(golden_docs: list[dict[str, Any]]) -> None:
    docs = [doc for doc in golden_docs if is_valid(doc["text"])]
    assert len(docs) > 190
    assert tagged([doc["text"] for doc in docs]) == [doc["char_len"] for doc in docs]


def is_valid(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def tagged(texts: list[str]) -> list[int]:
    lengths: list[int] = load("length").tag(DocumentBatch.from_texts(texts))["char_len"].to_pylist()
    return lengths


@pytest.mark.parametrize("parameter", ["tokenizer", "engine"])
def test_has_no_parameters(parameter: str) -> None:
    with pytest.raises(ConfigError, match=rf"length has no parameters \(--set length\.{parameter}\)"):
        load("length", {parameter: "x"})
