"""Repetition of words, lines, paragraphs and n-grams, and the paper's filter for degenerate generations.

The rules, in this order (strict >, the first that applies is the reason; source: the generation filter published with
"Not-Just-Scaling Laws", arXiv 2503.03862):

    char_len < min_length                                        too_short
    one lower-cased word more than 50 times in a row             pathological_repetition
    duplicate_line_ratio > line_threshold                        extreme_line_repetition
    duplicate_paragraph_ratio > paragraph_threshold              extreme_paragraph_repetition
    duplicate_2gram_ratio or _3gram_ratio > ngram_threshold      degenerate_repetition

A duplicate ratio is 1 - distinct / total, 0 when there is nothing to count; for n-grams it is rounded as (total - distinct) /
total, for lines and paragraphs as written, so that every bit equals the published code's. Lines are split on line feeds, paragraphs
on blank lines; both are stripped, empty ones dropped, and compared as written. N-grams are of lower-cased NLTK words
(_tokenizers/words.py). All figures are computed for every document, whichever rule applies, so that other thresholds can be tried
on finished attributes. The tagger removes nothing.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from operator import eq
from typing import Any, ClassVar, Literal

import numpy as np
import pyarrow as pa

from tagcorpus.errors import ConfigError
from tagcorpus.taggers._interface.base import PAPER, Parameters, column, columns_from
from tagcorpus.taggers._interface.batch import DocumentBatch
from tagcorpus.taggers._tokenizers.words import WordNumbers

PRESETS: dict[str, dict[str, float]] = {
    # The settings of the published runs.
    "strict": {"line_threshold": 0.6, "paragraph_threshold": 0.6, "ngram_threshold": 0.5, "min_length": 50},
    # The defaults of the published code.
    "lenient": {"line_threshold": 0.8, "paragraph_threshold": 0.7, "ngram_threshold": 0.6, "min_length": 200},
}
MAX_WORD_RUN = 50

_REPEATS = re.compile(b"\1+")
_PARAGRAPH_BREAK = re.compile(r"\n\s*\n")
# Two word numbers below this fit one int64 beside a third.
_WORD_LIMIT = 1 << 21


@dataclass(frozen=True)
class Repetition(Parameters):
    """Repetition figures and the filter's verdict. A threshold that is given replaces the preset's.

    preset               "strict" or "lenient"
    line_threshold       float in [0, 1], share of duplicate lines above which a document is dropped
    paragraph_threshold  the same for paragraphs
    ngram_threshold      the same for 2-grams and for 3-grams
    min_length           int >= 0, code points

    Raises ConfigError for a preset or threshold outside these.
    """

    preset: Literal["strict", "lenient"] = "strict"
    line_threshold: float | None = None
    paragraph_threshold: float | None = None
    ngram_threshold: float | None = None
    min_length: int | None = None

    version: ClassVar[str] = "1"
    columns: ClassVar[pa.Schema] = columns_from(
        f"the generation filter of {PAPER}",
        column("is_kept", pa.bool_(), "no rule of the repetition filter applies", "true or false"),
        column("reason", pa.string(), "the first rule that applies; passed when none does", "name of a rule"),
        column("duplicate_line_ratio", pa.float64(), "duplicates among stripped non-empty lines", "share, 0 to 1"),
        column("duplicate_paragraph_ratio", pa.float64(), "duplicates among stripped paragraphs", "share, 0 to 1"),
        column("duplicate_2gram_ratio", pa.float64(), "duplicates among pairs of words", "share, 0 to 1"),
        column("duplicate_3gram_ratio", pa.float64(), "duplicates among triples of words", "share, 0 to 1"),
        column(
            "longest_word_run",
            pa.int64(),
            "longest run of one lower-cased, whitespace-separated word",
            "words",
        ),
    )

    def __post_init__(self) -> None:
        if self.preset not in PRESETS:
            raise ConfigError(f"repetition.preset must be strict or lenient, got {self.preset!r}")
        for name, value in self.thresholds.items():
            if name == "min_length":
                if value < 0:
                    raise ConfigError(f"repetition.min_length must be 0 or more characters, got {value!r}")
            elif not 0 <= value <= 1:
                raise ConfigError(f"repetition.{name} must lie between 0 and 1 (a share of duplicates), got {value!r}")

    @property
    def thresholds(self) -> dict[str, float]:
        """The thresholds in force: the preset's, each replaced by the parameter of its name where that is given."""
        given = {name: getattr(self, name) for name in PRESETS[self.preset]}
        return {name: default if given[name] is None else given[name] for name, default in PRESETS[self.preset].items()}

    def fingerprint(self) -> dict[str, Any]:
        """The thresholds in force; two ways to the same thresholds are the same tagger."""
        return {name: value if name == "min_length" else float(value) for name, value in self.thresholds.items()}

    @cached_property
    def _words(self) -> WordNumbers:
        return WordNumbers()

    def tag(self, batch: DocumentBatch) -> pa.RecordBatch:
        """One row a document: the verdict and its figures."""
        texts = batch.texts
        lines = [duplicate_ratio(text.split("\n")) for text in texts]
        paragraphs = [duplicate_ratio(_PARAGRAPH_BREAK.split(text)) for text in texts]
        ngrams = [duplicate_ngram_ratios(self._words(text)) for text in texts]
        runs = [longest_run(text.lower().split()) for text in texts]
        reasons = [
            self._reason(len(text), run, line, paragraph, max(pair))
            for text, run, line, paragraph, pair in zip(texts, runs, lines, paragraphs, ngrams, strict=True)
        ]
        return pa.RecordBatch.from_arrays(
            [
                pa.array([reason == "passed" for reason in reasons], pa.bool_()),
                pa.array(reasons, pa.string()),
                pa.array(lines, pa.float64()),
                pa.array(paragraphs, pa.float64()),
                pa.array([two for two, _ in ngrams], pa.float64()),
                pa.array([three for _, three in ngrams], pa.float64()),
                pa.array(runs, pa.int64()),
            ],
            schema=self.columns,
        )

    def _reason(self, char_len: int, run: int, line: float, paragraph: float, ngram: float) -> str:
        limits = self.thresholds
        if char_len < limits["min_length"]:
            return "too_short"
        if run > MAX_WORD_RUN:
            return "pathological_repetition"
        if line > limits["line_threshold"]:
            return "extreme_line_repetition"
        if paragraph > limits["paragraph_threshold"]:
            return "extreme_paragraph_repetition"
        if ngram > limits["ngram_threshold"]:
            return "degenerate_repetition"
        return "passed"


def duplicate_ratio(parts: list[str]) -> float:
    """1 - distinct / total over the stripped non-empty parts; 0.0 without any."""
    stripped = [part for part in map(str.strip, parts) if part]
    return 1 - len(set(stripped)) / len(stripped) if stripped else 0.0


def longest_run(words: list[str]) -> int:
    """Length of the longest run of equal neighbours; 0 for no words."""
    if not words:
        return 0
    is_repeat = bytes(map(eq, words, words[1:]))
    return max(map(len, _REPEATS.findall(is_repeat)), default=0) + 1


def duplicate_ngram_ratios(words: np.ndarray[Any, np.dtype[np.int64]]) -> tuple[float, float]:
    """Duplicate ratio of 2-grams and of 3-grams.

    words    int64 [n], >= 0, equal numbers for equal words
    returns  ((total - distinct) / total for n = 2, the same for n = 3); 0.0 where there are fewer than n words
    Example  [1, 2, 1, 2, 1] -> 2-grams 12 21 12 21: 0.5; 3-grams 121 212 121: 1/3
    """
    if len(words) < 2:
        return 0.0, 0.0
    if words.max() >= _WORD_LIMIT:
        words = np.unique(words, return_inverse=True)[1]
    width = int(words.max()) + 1
    pairs = words[:-1] * width + words[1:]
    # Only beyond two million distinct words in one document: number the pairs, so that a triple fits again.
    firsts = (pairs if width <= _WORD_LIMIT else np.unique(pairs, return_inverse=True)[1])[:-1]
    return _duplicates(pairs), _duplicates(firsts * width + words[2:])


def _duplicates(values: np.ndarray[Any, np.dtype[np.int64]]) -> float:
    if len(values) == 0:
        return 0.0
    ordered = np.sort(values)
    return float(np.count_nonzero(ordered[1:] == ordered[:-1]) / len(values))


TAGGER = Repetition
