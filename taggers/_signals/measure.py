"""The counts of a document: everything that the columns of `signals` are made of."""

from __future__ import annotations

import re
import string
import unicodedata
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import zstandard

from tagcorpus.taggers._signals.tables import tables

Array = np.ndarray[Any, Any]
Counts = dict[str, float]
WordArrays = tuple[Array, Array]
"""Characters uint32 of all words, concatenated, and int64 [n_words + 1] places of their starts."""

ZSTD_LEVEL = 3

URL = re.compile(r"https?://[!$-_a-z]+")
MAIL = re.compile(r"@(?<=[A-Za-z0-9._%+-]@)(?:[A-Za-z0-9-]+\.)+[A-Za-z]{2,}")
_OCTET = "(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"
IP = re.compile(rf"(?<![\w.]){_OCTET}(?:\.{_OCTET}){{3}}(?!\w|\.[0-9])")
PHONE = re.compile(
    r"(?<![\w.+-])(?:\+[0-9]{1,3}[ .-]?)?(?:\([0-9]{2,4}\)[ .-]?|[0-9]{2,4}[ .-])[0-9]{3,4}[ .-][0-9]{3,4}(?![\w-]|\.[0-9])"
)
CITATION = re.compile(r"\[\d*]|\[edit]|\[citation needed]")
_PUNCTUATION = string.punctuation.encode()
_NO_PUNCTUATION = str.maketrans("", "", string.punctuation)


def code_points(text: str) -> Array:
    """uint32 [n]: the text's code points. Lone surrogates cannot occur in repaired text."""
    return np.frombuffer(text.encode("utf-32-le"), np.uint32)


def normalised(text: str) -> str:
    """RedPajama-V2's normal form, apart from whitespace: no ASCII punctuation, lower case, NFD."""
    if text.isascii():
        return text.encode().lower().translate(None, _PUNCTUATION).decode()
    return unicodedata.normalize("NFD", text.translate(_NO_PUNCTUATION).lower())


def word_arrays(words: list[str]) -> WordArrays:
    """A list of words in the form of the kernels."""
    return code_points("".join(words)), np.concatenate([[0], np.cumsum(list(map(len, words)), dtype=np.int64)])


class Measure:
    """Counts of texts. Without a splitter, words and sentences are our own.

    split      words of a text
    sentences  number of sentences of a line
    """

    def __init__(
        self, split: Callable[[str], list[str]] | None = None, sentences: Callable[[str], int] | None = None
    ) -> None:
        from tagcorpus.kernels.signals.sentences import phrase_table

        self.split, self.sentences = split, sentences
        self.flags, self.lower = tables()
        self.phrases = phrase_table()
        self.compressor = zstandard.ZstdCompressor(level=ZSTD_LEVEL)

    def __call__(self, text: str) -> Counts:
        """Every count of one text, by name."""
        from tagcorpus.kernels.signals import lines

        points = code_points(text)
        counts = _named(lines.NAMES, lambda result: lines.count_lines(points, self.flags, result))
        data = text.encode()
        counts["bytes"] = len(data)
        counts["compressed_bytes"] = len(self.compressor.compress(data)) if data else 0
        counts.update(self._words(text, points))
        counts.update(self._normal_words(text))
        counts.update(self._sentences(text, points))
        counts.update(personal(text))
        return counts

    def words(self, text: str) -> WordArrays:
        """The words of Gopher's signals."""
        from tagcorpus.kernels.signals.words import split_words

        return word_arrays(self.split(text)) if self.split else split_words(code_points(text), self.flags)

    def _words(self, text: str, points: Array) -> Counts:
        from tagcorpus.kernels.signals import grams
        from tagcorpus.kernels.signals import words as kernels

        characters, starts = self.words(text)
        counts = _named(kernels.WORD_NAMES, lambda r: kernels.count_words(characters, starts, self.flags, r))
        counts.update(_named(kernels.RAW_NAMES, lambda r: kernels.count_raw_words(points, self.flags, r)))
        ids, _ = grams.number_words(characters, starts)
        counts.update(_gram_counts("", ids, starts, 4))
        repeated = np.zeros(len(grams.REPEATS), np.int64)
        grams.count_greedy(characters, starts, repeated)
        counts.update(zip((f"repeated_{n}" for n in grams.REPEATS), repeated.tolist(), strict=True))
        return counts

    def _normal_words(self, text: str) -> Counts:
        from tagcorpus.kernels.signals import grams
        from tagcorpus.kernels.signals.words import split_at_spaces

        normal = normalised(text)
        characters, starts = split_at_spaces(code_points(normal), self.flags)
        ids, n_distinct = grams.number_words(characters, starts)
        n_ipsum = " ".join(normal.split()).count("lorem ipsum") if "lorem" in normal else 0
        return {
            "normal_words": len(ids),
            "normal_characters": len(characters),
            "normal_length": len(characters) + max(len(ids) - 1, 0),
            "distinct_words": n_distinct,
            "entropy": grams.entropy(ids, n_distinct),
            "lorem_ipsum": n_ipsum,
            **dict(_gram_counts("normal_", ids, starts, grams.LONGEST)),
        }

    def _sentences(self, text: str, points: Array) -> Counts:
        from tagcorpus.kernels.signals import sentences as kernels

        spans = np.zeros(2 * (len(points) + 1), np.int64)
        counts = np.zeros(len(kernels.C4_NAMES), np.int64)
        n_kept = kernels.count_c4(points, self.flags, self.lower, self.phrases, counts, spans)
        result: Counts = dict(zip(kernels.C4_NAMES, counts.tolist(), strict=True))
        if self.sentences:
            kept = (CITATION.sub("", text[a:b]) for a, b in spans[: 2 * n_kept].reshape(-1, 2).tolist())
            result["c4_sentences"] = sum(map(self.sentences, kept))
        result["policy_paragraphs"] = kernels.count_boilerplate(points, self.lower, self.phrases)
        result.update(
            _named(kernels.READABILITY_NAMES, lambda r: kernels.count_readability(points, self.flags, self.lower, r))
        )
        return result


def _named(names: tuple[str, ...], count: Callable[[Array], Any]) -> Counts:
    result = np.zeros(len(names), np.int64)
    count(result)
    return dict(zip(names, result.tolist(), strict=True))


def _gram_counts(prefix: str, ids: Array, starts: Array, longest: int) -> Iterator[tuple[str, int]]:
    from tagcorpus.kernels.signals import grams

    tops, times = np.zeros(len(grams.TOPS), np.int64), np.zeros(len(grams.TOPS), np.int64)
    repeated = np.zeros(len(grams.REPEATS), np.int64)
    grams.count_grams(ids, starts, longest, tops, times, repeated)
    for n, characters, count in zip(grams.TOPS, tops.tolist(), times.tolist(), strict=True):
        yield f"{prefix}top_{n}", characters
        yield f"{prefix}top_{n}_times", count
    if longest > max(grams.TOPS):
        yield from zip((f"{prefix}repeated_{n}" for n in grams.REPEATS), repeated.tolist(), strict=True)


def personal(text: str) -> Counts:
    """Shapes of addresses and numbers, and the characters of URLs."""
    return {
        "url_characters": sum(map(len, URL.findall(text))),
        "mails": len(MAIL.findall(text)),
        "ips": len(IP.findall(text)),
        "phones": len(PHONE.findall(text)),
    }
