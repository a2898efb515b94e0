"""keywords: how often a document asks, commands, joins clauses, marks a turn of dialogue, or gives a number.

The counts are those of `re.findall` with IGNORECASE for five patterns. `re` itself counts in a small file, a kernel in a larger one.
The kernel's tables come from the running Python's `re`, asked once for every code point: whether it is a word character, a digit or
a letter in another case. So both agree whatever the version of Unicode. No stemming, no other languages.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any, ClassVar, NamedTuple

import numpy as np
import pyarrow as pa

from tagcorpus.errors import TaggerError
from tagcorpus.taggers._interface.base import PAPER, Parameters, column, columns_from
from tagcorpus.taggers._interface.batch import DocumentBatch
from tagcorpus.taggers._interface.late_kernels import is_kernel_due

# Columns 0 to 2 of the kernel: each word stands for \b(word)\b.
WORDS = {
    "question_words": "How What Why When Where Who Which Whose",
    "imperative_verbs": (
        "Do Make Consider Take Use Ensure Check Build Apply Run Create Find Go Try Turn Start Stop Put Keep Leave Get Move"
    ),
    "conjunctions": "and but or so because although however therefore yet",
}
# Column 3: each stem stands for stem + ":", with anything before it.
STEMS = "Question Answer Instruction User Assistant Q A"

MEANINGS = {
    "question_words": "question words (how, what, why, when, where, who, which, whose)",
    "imperative_verbs": "words that often open an instruction (do, make, consider, ...)",
    "conjunctions": "conjunctions (and, but, or, so, because, although, however, therefore, yet)",
    "instruction_words": "markers of a dialogue turn (Question:, Answer:, Instruction:, User:, Assistant:, Q:, A:)",
    "numbers": "runs of digits of any script that stand alone as a word (3.14 is two)",
}
SEARCHED_PER_SECOND = 3.5e6  # characters, by all five patterns of `re` together
LETTERS = "abcdefghijklmnopqrstuvwxyz"


class Tables(NamedTuple):
    """Arguments of the kernel after data and offsets, as in `count_keywords`."""

    codes: np.ndarray[Any, np.dtype[np.uint8]]
    slots: np.ndarray[Any, np.dtype[np.uint64]]
    shifts: np.ndarray[Any, np.dtype[np.uint8]]
    stems: np.ndarray[Any, np.dtype[np.uint64]]


def code_points() -> np.ndarray[Any, np.dtype[np.uint8]]:
    """uint8 [0x110000]: the kernel's code of every code point, as the running `re` sees it under IGNORECASE.

    Raises TaggerError where `re` breaks an assumption of the kernel: digits and letters are word characters, the colon is not, and
    no character equals two letters.
    """
    from tagcorpus.kernels.documents.keywords import COLON, DIGIT, OTHER

    every = np.arange(0x110000, dtype="<u4").tobytes().decode("utf-32-le", "surrogatepass")
    codes = np.zeros(len(every), np.uint8)
    for pattern, code in ((r"\w+", OTHER), (r"\d+", DIGIT)):
        for match in re.finditer(pattern, every):
            if code == DIGIT and not codes[match.start() : match.end()].all():
                raise TaggerError(
                    f"keywords: a digit in {match.group()!a} is not a word character for this Python's re"
                )
            codes[match.start() : match.end()] = code
    for character in re.findall("[a-z:]", every, re.IGNORECASE):
        equal = [letter for letter in LETTERS + ":" if re.fullmatch(letter, character, re.IGNORECASE)]
        is_word = codes[ord(character)] == OTHER
        if len(equal) != 1 or is_word == (equal == [":"]):
            raise TaggerError(f"keywords: this Python's re takes {character!a} for {equal}, which the scanner cannot")
        codes[ord(character)] = COLON if equal == [":"] else LETTERS.index(equal[0]) + 1
    return codes


@cache
def tables() -> Tables:
    """The five patterns in the kernel's form."""
    from tagcorpus.kernels.documents.keywords import DIGIT, KEY_LENGTH, key_of, key_table

    def key(word: str) -> int:
        return key_of([LETTERS.index(letter) + 1 for letter in word.lower()])

    groups = [[key(word) for word in words.split()] for words in WORDS.values()]
    numbers = [key_of([DIGIT] * length) for length in range(1, KEY_LENGTH)]
    stems = [(key(stem), 2 ** (5 * len(stem)) - 1) for stem in STEMS.split()]
    return Tables(code_points(), *key_table([*groups, [], numbers]), np.array(stems, np.uint64))


@dataclass(frozen=True)
class Keywords(Parameters):
    """Counts of five kinds of keywords, and the same per 100,000 characters."""

    version: ClassVar[str] = "1"
    columns: ClassVar[pa.Schema] = columns_from(
        PAPER,
        *(column(name, pa.int64(), meaning, "matches") for name, meaning in MEANINGS.items()),
        *(
            column(f"{name}_ratio", pa.float64(), meaning, "matches per 100,000 characters")
            for name, meaning in MEANINGS.items()
        ),
    )

    @cached_property
    def _tables(self) -> Tables:
        return tables()

    def warm_up(self) -> None:
        """Load the kernel and its tables before any text has come."""
        import tagcorpus.kernels.documents.keywords  # noqa: F401

        self.tag(DocumentBatch.from_texts(["Some words."]))

    def tag(self, batch: DocumentBatch) -> pa.RecordBatch:
        characters = batch.char_lengths
        counts = self._counts(batch, int(characters.sum()))
        ratios = 100_000 * counts / np.maximum(characters, 1)[:, None]
        return pa.record_batch([*map(pa.array, counts.T), *map(pa.array, ratios.T)], schema=self.columns)

    def _counts(self, batch: DocumentBatch, n_characters: int) -> np.ndarray[Any, np.dtype[np.int64]]:
        if not is_kernel_due(n_characters / SEARCHED_PER_SECOND):
            return found_by_re(batch.texts)
        from tagcorpus.kernels.documents.keywords import count_keywords

        counts: np.ndarray[Any, np.dtype[np.int64]] = count_keywords(*batch.utf8, *self._tables)
        return counts


def found_by_re(texts: Sequence[str | None]) -> np.ndarray[Any, np.dtype[np.int64]]:
    """The result of `kernels.documents.keywords.count_keywords`, int64 [n_documents, 5], by `re` and without Numba."""
    searches = [pattern.findall for pattern in _patterns()]
    counts = [[len(search(text or "")) for search in searches] for text in texts]
    return np.array(counts, np.int64).reshape(len(texts), len(searches))


@cache
def _patterns() -> list[re.Pattern[str]]:
    alternatives = [words.replace(" ", "|") for words in WORDS.values()]
    stems = "|".join(f"{stem}:" for stem in STEMS.split())
    sources = [*(rf"\b({words})\b" for words in alternatives), f"({stems})", r"\b\d+\b|\b\d+\.\d+\b|\b\d+%\b"]
    return [re.compile(source, re.IGNORECASE) for source in sources]


TAGGER = Keywords
