"""The tagger `signals` against its naive twin, datatrove's filters, and the definitions of its sources."""

from __future__ import annotations

import dataclasses
import itertools
import random
import re
import sys
from importlib.metadata import PackageNotFoundError
from typing import Any

import numpy as np
import pytest
import signals_twin
from hypothesis import example, given
from hypothesis import strategies as st
from profiles import tries
from signals_cases import BREAKS, FRAGMENTS, SPACES, conditions, published, random_document, verdicts_of

from tagcorpus import taggers
from tagcorpus.errors import ConfigError
from tagcorpus.taggers import DocumentBatch
from tagcorpus.taggers._signals import measure
from tagcorpus.taggers._signals.columns import SIGNALS
from tagcorpus.taggers._signals.tables import tables
from tagcorpus.taggers.signals import Signals
from tagcorpus.testing import check_tagger

SIGNAL_TAGGER = Signals()
DOCUMENTS = st.lists(st.sampled_from([*FRAGMENTS, *SPACES, *BREAKS]), max_size=60).map("".join)


def columns_of(*texts: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = SIGNAL_TAGGER.tag(DocumentBatch.from_texts(texts)).to_pylist()
    return rows


def words_of(text: str) -> list[str]:
    characters, starts = SIGNAL_TAGGER._measure.words(text)
    joined = characters.astype("<u4").tobytes().decode("utf-32-le")
    return [joined[a:b] for a, b in itertools.pairwise(starts)]


def check(text: str) -> None:
    (row,) = columns_of(text)
    for name, value in signals_twin.signals(text).items():
        assert row[name] == (value if value is None else pytest.approx(value, rel=1e-12, abs=1e-12)), (name, text)


@given(DOCUMENTS)
@example("")
@example("\n\n")
@example("\u2260 \u037e a\u0301 \u00e1 \uac00")
@example("the cat sat on the mat " * 12)
@example("ab c d e f g a bc d e f g " * 4)
def test_every_column_equals_the_twin(text: str) -> None:
    check(text)


@given(st.text(max_size=80))
def test_any_text_equals_the_twin(text: str) -> None:
    check(text)


def test_random_documents_equal_the_twin() -> None:
    generator = random.Random(3)
    for _ in range(tries(100)):
        check(random_document(generator))


def test_the_twin_has_every_column() -> None:
    assert {*signals_twin.signals("a"), "phone_numbers"} == {s.name for s in SIGNALS}


@given(st.lists(st.sampled_from([*"ab", "aa", "ba"]), max_size=120))
def test_grams_of_few_words_equal_the_twin(words: list[str]) -> None:
    check(" ".join(words))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("It's 3.5 km, e.g. 1,000--or 'so'...", "It 's 3.5 km , e.g. 1,000 -- or ' so ' ..."),
        ("U.S.A. end.Next x.y (a/b) c=d", "U.S.A. end . Next x.y ( a / b ) c = d"),
        ("don’t #tag [x] well-known -1 5% $5", "don ’t # tag [ x ] well - known -1 5% $ 5"),
        ("<https://a.b/c=d>, me@a.org", "< https://a.b/c=d > , me@a.org"),
        (". .. ! a. A. AB. 2-3 a-2", ". .. ! a . A. AB . 2 - 3 a-2"),
    ],
)
def test_own_words(text: str, words: str) -> None:
    assert words_of(text) == words.split()


@given(st.text(alphabet="aB1+.-,'’:/=…!$ _é", max_size=20))
def test_own_words_equal_the_twin(text: str) -> None:
    assert words_of(text) == signals_twin.own_words(text)


def own_tokenizer() -> Any:
    """Our words and sentences as a word tokenizer that datatrove's filters accept as their language."""
    from datatrove.utils.word_tokenizers import WordTokenizer

    class Own(WordTokenizer):
        def word_tokenize(self, text: str) -> list[str]:
            return words_of(text)

        def sent_tokenize(self, text: str) -> list[str]:
            return [text]

        def span_tokenize(self, text: str) -> list[tuple[int, int]]:
            return [(i, i + 1) for i in range(max(signals_twin.sentences(text), 1))]

    return Own()


def test_verdicts_equal_those_of_datatrove_over_our_words() -> None:
    generator = random.Random(5)
    texts = [random_document(generator) for _ in range(tries(1500))]
    ours, theirs = verdicts_of(SIGNAL_TAGGER, texts), published(texts, language=own_tokenizer())
    for name in conditions():
        differing = [t for t, a, b in zip(texts, ours[name], theirs[name], strict=True) if b is not None and a != b]
        assert not differing, (name, differing[0])
        assert {True, False} <= set(theirs[name])


@pytest.mark.e2e
def test_datatroves_words_give_the_columns_of_the_twin() -> None:
    pytest.importorskip("spacy")
    generator = random.Random(6)
    texts = [random_document(generator) for _ in range(10)]
    rows = Signals("datatrove").tag(DocumentBatch.from_texts(texts)).to_pylist()
    from datatrove.utils.text import split_into_words

    for text, row in zip(texts, rows, strict=True):
        expected = signals_twin.gopher(text, split_into_words(text))
        assert {name: row[name] for name in expected} == pytest.approx(expected)


@pytest.mark.e2e
def test_verdicts_equal_those_of_datatrove_over_its_own_words() -> None:
    pytest.importorskip("spacy")
    generator = random.Random(7)
    texts = [random_document(generator) for _ in range(tries(1500))]
    ours, theirs = verdicts_of(Signals("datatrove"), texts), published(texts)
    for name in conditions():
        differing = [t for t, a, b in zip(texts, ours[name], theirs[name], strict=True) if b is not None and a != b]
        assert not differing, (name, differing[0])


def test_thresholds_are_met_exactly() -> None:
    words = ["the", "be", "to", "of", "and", "that", "have", "with", "morning", "river"]
    at_least = [" ".join(random.Random(n).choices(words, k=n)) for n in (49, 50, 51)]
    hashes = [f"{' '.join(random.Random(9).choices(words, k=90))}{' #' * n}" for n in (9, 10, 11)]
    lines = [
        "".join(f"line number {chr(97 + i)} of the whole text\n" for i in range(7)) + "x\n" * n for n in (1, 3, 4, 5)
    ]
    texts = [*at_least, *hashes, *lines]
    assert verdicts_of(SIGNAL_TAGGER, texts) == published(texts, language=own_tokenizer())


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a mail to me@example.org, or x.y@a-b.co.uk; not @home, not a@b", {"mail_addresses": 2}),
        ("10.0.0.1 and 255.255.255.255, not 256.1.1.1, 1.2.3.4.5 or 1.2.3", {"ip_addresses": 2}),
        ("555-123-4567, (030) 1234 5678, +1 202 555 0143; not 2024-01-02, 3.14 or 10.0.0.1", {"phone_numbers": 3}),
        ("https://a.b/c?d=e xx", {"url_char_share": 17 / 20}),
        ("éa", {"num_bytes": 3, "bytes_per_char": 1.5, "num_chars": 2}),
        ("lorem ipsum. Lorem, ipsum", {"rps_doc_lorem_ipsum": 2 / 23, "c4_lorem_ipsum_lines": 0}),
        ("Our terms of use\n\nmore\n\n\nthe Privacy Policy", {"boilerplate_paragraph_share": 2 / 3}),
    ],
)
def test_definitions_by_example(text: str, expected: dict[str, float]) -> None:
    (row,) = columns_of(text)
    assert {name: row[name] for name in expected} == pytest.approx(expected)


@pytest.mark.parametrize(
    ("word", "n"),
    [("cat", 1), ("table", 2), ("make", 1), ("the", 1), ("readability", 5), ("queue", 1), ("rhythm", 1), ("b", 1)],
)
def test_syllables(word: str, n: int) -> None:
    # One word, one sentence: 0.39 + 11.8 n - 15.59.
    assert columns_of(word + ".")[0]["flesch_kincaid_grade"] == pytest.approx(0.39 + 11.8 * n - 15.59)


def test_readability_of_a_known_text() -> None:
    # 13 words, 2 sentences, 15 syllables ("over", "lazy"), 52 letters, no complex word.
    (row,) = columns_of("The quick brown fox jumps over the lazy dog. It was not that fast.")
    assert row["gunning_fog"] == pytest.approx(0.4 * 7)
    assert row["flesch_reading_ease"] == pytest.approx(206.835 - 1.015 * 7 - 84.6 * 16 / 14)


def test_readability_is_missing_without_words() -> None:
    assert [row["gunning_fog"] for row in columns_of("", "...", "a")] == [None, None, pytest.approx(0.4)]


def test_keeps_its_promises() -> None:
    check_tagger(SIGNAL_TAGGER)


def test_rows_do_not_depend_on_the_batch() -> None:
    texts = ["a b c\n", "", "é é é. " * 30, "x" * 3000]
    assert columns_of(*texts) == [columns_of(text)[0] for text in texts]


def test_tables_are_those_of_python() -> None:
    from tagcorpus.kernels.signals import points

    flags, lower = tables()
    for point in [*range(0x3000), *random.Random(1).sample(range(0x3000, sys.maxunicode), 500)]:
        c = chr(point)
        assert bool(flags[point] & points.SPACE) == c.isspace()
        assert bool(flags[point] & points.ALPHA) == c.isalpha()
        assert bool(flags[point] & points.BREAK) == (len(f"a{c}b".splitlines()) == 2)
        assert bool(flags[point] & points.WORD) == (re.match(r"\w", c) is not None)
        assert bool(flags[point] & points.UPPER) == c.isupper()
        assert chr(lower[point]) == (c.lower() if len(c.lower()) == 1 else c)


def test_word_numbers_survive_equal_hashes() -> None:
    # The hash multiplies modulo 2**64: long runs of one character and its neighbours come close to one another.
    from tagcorpus.kernels.signals.grams import number_words

    words = ["a" * n for n in range(1, 200)] * 2
    ids, n_distinct = number_words(*measure.word_arrays(words))
    assert n_distinct == 199
    assert np.array_equal(ids, [*range(199), *range(199)])


def test_parameters() -> None:
    assert taggers.load("signals").fingerprint()["words"] == "own"
    with pytest.raises(ConfigError, match="'own' or 'datatrove'"):
        taggers.load("signals", {"words": "nltk"})
    with pytest.raises(dataclasses.FrozenInstanceError):
        SIGNAL_TAGGER.words = "datatrove"  # type: ignore[misc]


def test_without_spacy_the_message_has_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> str:
        raise PackageNotFoundError(name)

    monkeypatch.setattr("tagcorpus.taggers.signals.version", missing)
    with pytest.raises(ConfigError, match=r"words=datatrove needs spaCy, which is not installed: pip install"):
        Signals("datatrove")


def test_every_column_has_a_definition_and_a_source() -> None:
    names = [signal.name for signal in SIGNALS]
    assert len(names) == len(set(names)) == len(Signals.columns)
    for field in Signals.columns:
        assert {b"meaning", b"unit", b"source"} <= set(field.metadata), field.name
