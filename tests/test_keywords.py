"""The keyword scanner finds exactly what `re` finds; the naive twin is `re` itself."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from profiles import chosen_by_default, tries

from naive import KEYWORD_PATTERNS, keyword_counts
from tagcorpus.kernels.documents.keywords import COLON, DIGIT, OTHER, count_keywords, key_of, key_table
from tagcorpus.taggers._interface.batch import DocumentBatch
from tagcorpus.taggers.keywords import TAGGER, tables

NAMES = list(KEYWORD_PATTERNS)
IS_INTERPRETED = not hasattr(count_keywords, "signatures")  # NUMBA_DISABLE_JIT
TABLES = tables()
KEYWORDS = TAGGER()
WORDS = sorted({w for pattern in KEYWORD_PATTERNS.values() for w in re.findall("[A-Za-z]{2,}", pattern)} | {"Q", "A"})
ALIKE = {"s": "sSſ", "k": "kK\u212a", "i": "iIİı"}
# Neighbours that decide whether a keyword ends: marks, joiners, digits and letters of other scripts, lookalikes.
GLUE = [
    *"_-'’.,:;!?%/\\\"()[]{}<>|@#&*+=~^`$ \t\n\r\v\f\0\x1c\x1f\x7f\x85\xa0\xad·ªº²½µß",
    "\u0301",
    "\u0345",
    "\u20dd",
]
GLUE += [
    "\u200b",
    "\u200c",
    "\u200d",
    "\u2028",
    "\u2060",
    "\ufeff",
    "\ufffd",
    "\ufffe",
    "\ud7ff",
    "\ue000",
    "\U0010ffff",
]
GLUE += [
    *"0123456789٣४๙Ⅷ①²𝟘𝟡０９〇一",
    "ſ",
    "İ",
    "ı",
    "\u212a",
    "K",
    "é",
    "ñ",
    "ё",
    "Я",
    "א",
    "ش",
    "अ",
    "ा",
    "中",
    "文",
    "の",
]
GLUE += [
    "：",
    "﹕",
    "։",
    "。",
    "…",
    "🙂",
    "👩\u200d💻",
    "🇩🇪",
    "1\ufe0f\u20e3",
    "𝐖𝐡𝐨",
    "Ａ",
    "ａ",
    "Ｑ:",
    "ﬁ",
    "ﬆ",
    "ŉ",
    "ẛ",
    "ͅ",
]
GLUE += ["𐊗", "𐑀", "𞤢", "\U000e0041", "\u1e9e", "\u03c2", "\u0399", "\u1fbe", "\u00c5", "\u212b", "\u2126", "\u0300"]


def scan(texts: Sequence[str]) -> list[list[int]]:
    counts: list[list[int]] = count_keywords(*DocumentBatch.from_texts(texts).utf8, *TABLES).tolist()
    return counts


def twin(texts: Sequence[str]) -> list[list[int]]:
    return [list(keyword_counts(text).values()) for text in texts]


def assert_equal(texts: Sequence[str]) -> None:
    wrong = [(t, new, old) for t, new, old in zip(texts, scan(texts), twin(texts), strict=True) if new != old]
    assert not wrong, f"{len(wrong)} of {len(texts)} differ (text, scanner, re): {wrong[:3]!a}"


def nasty(choose: random.Random) -> str:
    """A string of keywords and near-misses, cased at random, some letters replaced by ones `re` takes as equal."""
    parts = []
    for _ in range(choose.randrange(1, 12)):
        kind = choose.random()
        if kind < 0.45:
            word = "".join(choose.choice(ALIKE.get(c, c + c.upper())) for c in choose.choice(WORDS).lower())
            if choose.random() < 0.15:
                cut = choose.randrange(len(word))
                word = word[:cut] + choose.choice(["", word[cut] * 2, choose.choice(GLUE)]) + word[cut + 1 :]
            parts.append(word)
        elif kind < 0.55:
            parts.append(
                "".join(choose.choices("0123456789٣४𝟘.%,e", k=choose.choice([1, 2, 3, 5, 11, 12, 13, 14, 30])))
            )
        elif kind < 0.95:
            parts.append(choose.choice(GLUE))
        else:
            point = choose.choice([choose.randrange(0x250), choose.randrange(0x3000), choose.randrange(0x110000)])
            parts.append(chr(point) if not 0xD800 <= point < 0xE000 else ":")
        if choose.random() < 0.4:
            parts.append(choose.choice([" ", " ", ":", ":", ":", ": ", "\n", ".", "%", "_"]))
    return "".join(parts)


compiled = pytest.mark.skipif(IS_INTERPRETED, reason="too long for an interpreted kernel")


@compiled
def test_fuzzed_strings() -> None:
    choose = random.Random(20250303)
    texts = [nasty(choose) for _ in range(tries(50_000))]
    found = np.array(twin(texts))
    # The fuzz is worth its name only if every pattern often matches and often does not.
    assert ((found > 0).mean(axis=0) > 0.05).all()
    assert ((found > 0).mean(axis=0) < 0.95).all()
    assert_equal(texts)


@pytest.mark.e2e
@compiled
def test_every_character_beside_a_keyword_a_number_and_a_colon() -> None:
    points = [*range(0xD800), *range(0xE000, 0x20000), *range(0xE0000, 0xE0200), 0x10FFFE, 0x10FFFF]
    assert_equal([f"so{c} {c}Do:{c}a{c}: {c}1 2{c}{c}" for c in map(chr, points)])


# By default the letters that other code points are equated with, one that has none, and the classes.
@pytest.mark.parametrize(
    "letter", chosen_by_default([*"abcdefghijklmnopqrstuvwxyz:", r"\w", r"\d"], (*"aiks:", r"\w", r"\d"))
)
def test_the_table_is_what_re_says_of_every_code_point(letter: str) -> None:
    every = "".join(map(chr, range(0x110000)))
    expected = [match.start() for match in re.finditer(letter, every, re.IGNORECASE)]
    codes = {":": [COLON], r"\w": [*range(1, 27), OTHER, DIGIT], r"\d": [DIGIT]}.get(letter, [ord(letter[-1]) - 96])
    assert np.flatnonzero(np.isin(TABLES.codes, codes)).tolist() == expected


@given(st.lists(st.lists(st.sampled_from([*WORDS, *GLUE]) | st.characters(codec="utf-8"), max_size=12).map("".join)))
def test_kernel_equals_twin(texts: list[str]) -> None:
    assert_equal(texts)


@pytest.mark.parametrize(
    ("text", "counts"),
    [
        ("", [0, 0, 0, 0, 0]),
        ("So, 3.14 data: what", [1, 0, 1, 1, 2]),
        ("50% 50%a 50a 50_ _50 5,0 1e5 ٣٤ ²", [0, 0, 0, 0, 5]),
        ("ALTHOUGH therefore\u0301 thereforeé and_or and-or", [0, 0, 4, 0, 0]),
        ("ta\u212ae ma\u212aE u\u017fe w\u0130ch WH\u0130CH wh\u0131ch fi\u0131nd", [2, 3, 0, 0, 0]),
        ("Question:Answer:q:Q :A：u\u017fer: xxxxxxxxxxxxxinstruction: nstruction: a::", [0, 0, 0, 6, 0]),
        ("What's who'd go2 2go", [2, 0, 0, 0, 0]),
    ],
)
def test_known_counts(text: str, counts: list[int]) -> None:
    assert scan([text]) == [counts] == twin([text])


@pytest.mark.parametrize("length", [11, 12, 13, 14, 24, 25, 40])
def test_runs_longer_than_a_key(length: int) -> None:
    digits = "1" * length
    letters = [f"{c}{digits}" for c in "abcdefghijklmnopqrstuvwxyzé"]
    texts = [
        digits,
        "٣" * length,
        "1٣" * length,
        f"{digits}.{digits}",
        *letters,
        " ".join([digits, "5", *letters, digits]),
    ]
    assert_equal(
        [*texts, "x" * length + "because", digits + "what", "and" * length, "a" * length + ":", digits + "user:"]
    )


@pytest.mark.parametrize("pad", [" ", "é", ". ", "中", "🙂"])
def test_words_across_the_blocks_of_a_long_document(pad: str) -> None:
    texts = []
    for lead in range(0, 12, 2 if IS_INTERPRETED else 1):
        filler = (pad * 3000).encode()[: 2048 - lead].decode(errors="ignore")
        texts += [
            f"{filler}{' ' if pad == 'é' else ''}{word}"
            for word in ("because", "however so", "12345678901234", "User:")
        ]
    assert_equal([*texts, "1 " * 3000, " 1" * 3000])


@compiled
def test_words_across_passes_over_ascii_and_other_text() -> None:
    """Long documents, in which stretches of ASCII of every length around the least one and other text follow one another."""
    choose = random.Random(64)
    fillers = ("so a: 1 _x", "what's because", "user:", "12345678901234", "x" * 30, " " * 40)
    texts = []
    for _ in range(tries(60)):
        pieces = []
        for _ in range(60):
            stretch = "".join(choose.choices([*fillers, *WORDS, " ", ":", "9"], k=choose.randrange(1, 16)))
            pieces += [nasty(choose), stretch[: choose.randrange(24, 100)], choose.choice(GLUE)]
        texts.append("".join(pieces))
    assert max(map(len, texts)) > 2048
    assert_equal(texts)


def test_documents_neither_touch_nor_need_to_start_at_zero() -> None:
    batch = DocumentBatch.from_texts(["wh", "at", "", "1", "2", "a", ":", "é", "so", "Q:"])
    whole = KEYWORDS.tag(batch)
    assert whole.column("numbers").to_pylist() == [0, 0, 0, 1, 1, 0, 0, 0, 0, 0]
    assert whole.column("instruction_words").to_pylist() == [0] * 9 + [1]
    for start in range(batch.num_rows):
        assert KEYWORDS.tag(batch.slice(start, 4)).equals(whole.slice(start, 4))


@pytest.mark.parametrize("texts", [[], ["", ""]])
def test_nothing_to_read(texts: list[str]) -> None:
    found = KEYWORDS.tag(DocumentBatch.from_texts(texts))
    assert found.schema.equals(TAGGER.columns, check_metadata=True)
    assert found.num_rows == len(texts)
    assert found.to_pylist() == [dict.fromkeys(TAGGER.columns.names, 0)] * len(texts)


def test_ratios_are_per_hundred_thousand_characters_not_bytes() -> None:
    found = KEYWORDS.tag(DocumentBatch.from_texts(["中文 and 1 2"])).to_pylist()[0]
    assert (found["conjunctions"], found["conjunctions_ratio"]) == (1, 100_000 / 10)
    assert (found["numbers"], found["numbers_ratio"]) == (2, 200_000 / 10)
    assert TAGGER.columns.names == [*NAMES, *(f"{name}_ratio" for name in NAMES)]
    assert TAGGER.columns.types == [pa.int64()] * 5 + [pa.float64()] * 5


def test_golden_counts_and_ratios(golden_docs: list[dict[str, Any]]) -> None:
    repaired = [re.sub("[\ud800-\udfff]", "\ufffd", doc["text"]) for doc in golden_docs]
    survives = [
        keyword_counts(doc["text"]) == keyword_counts(text) for doc, text in zip(golden_docs, repaired, strict=True)
    ]
    assert sum(survives) >= len(golden_docs) - 2
    found = KEYWORDS.tag(DocumentBatch.from_texts(repaired)).to_pylist()
    expected = [{**doc["keyword_counts"], **doc["keyword_ratios"]} for doc in golden_docs]
    for doc, new, old, same in zip(golden_docs, found, expected, survives, strict=True):
        assert not same or new == old, doc["id"]


def test_golden_corpus_totals(golden: Path, golden_docs: list[dict[str, Any]]) -> None:
    texts = [re.sub("[\ud800-\udfff]", "\ufffd", doc["text"]) for doc in golden_docs]
    corpus = json.loads((golden / "keyword_corpus.json").read_text())["all"]
    totals = dict(zip(NAMES, np.sum(scan(texts), axis=0).tolist(), strict=True))
    assert totals == {k: v["count"] for k, v in corpus["variants"]["doc_tagger(calc_feature_utils)"].items()}


def test_two_keys_in_one_slot_are_refused() -> None:
    with pytest.raises(ValueError, match="keys 524 and 1 share a slot of 523"):
        key_table([[1], [524]])


def test_a_keyword_that_its_key_cannot_tell_from_longer_runs_is_refused() -> None:
    assert key_of([1, 2]) == 1 << 5 | 2
    with pytest.raises(ValueError, match="fewer than 12 characters, got 12"):
        key_of([16] * 12)
