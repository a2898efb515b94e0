"""C4's rules for lines, boilerplate phrases, and what readability formulas count, in the code points of one document."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numba import types

from tagcorpus.kernels.compiling.cached import njit
from tagcorpus.kernels.signals.points import (
    ALNUM,
    ALPHA,
    DIGIT,
    FLAGS,
    I64,
    POINTS,
    RESULT,
    SPACE,
    U16,
    U32,
    ends_with_dots,
    first_solid,
    line_end,
    next_line,
    solid_end,
)

C4_NAMES: Final = (
    *("c4_lines", "c4_line_words", "c4_long_word_lines", "c4_terminal_lines", "c4_lorem_ipsum_lines"),
    *("c4_javascript_lines", "c4_curly_bracket_lines", "c4_policy_lines", "c4_kept_lines", "c4_sentences"),
)
"""Names of the places of `count_c4`."""
_LINES, _LINE_WORDS, _LONG, _TERMINAL, _LOREM = range(5)
_JAVASCRIPT, _CURLY, _POLICY, _KEPT, _SENTENCES = range(5, 10)

READABILITY_NAMES: Final = (
    "plain_words",
    "plain_letters",
    "plain_characters",
    "syllables",
    "complex_words",
    "sentences",
)
"""Names of the places of `count_readability`."""

PHRASES: Final = (
    *("lorem ipsum", "javascript"),
    *("terms of use", "privacy policy", "cookie policy", "uses cookies", "use of cookies", "use cookies"),
)
"""Phrases that C4 looks for, in lower case; the third and later ones are the policy phrases."""

_MAX_WORD = 1000
_MIN_WORDS = 3
_CITATIONS = ("edit]", "citation needed]")
_SOUGHT = (*_CITATIONS, *PHRASES)
_PHRASES = types.Array(types.uint32, 2, "C", readonly=True)


def phrase_table() -> U32:
    """uint32 [n_phrases, longest]: the code points of citation marks and PHRASES, zeros behind them."""
    table = np.zeros((len(_SOUGHT), max(map(len, _SOUGHT))), np.uint32)
    for row, phrase in zip(table, _SOUGHT, strict=True):
        row[: len(phrase)] = list(map(ord, phrase))
    return table


@njit(nogil=True, cache=True)
def _begins(points: U32, start: int, end: int, phrase: Any) -> bool:
    for k in range(phrase.size):
        if phrase[k] == 0:
            return True
        if start + k >= end or points[start + k] != phrase[k]:
            return False
    return True


@njit(nogil=True, cache=True)
def _phrases_in(points: U32, start: int, end: int, phrases: Any) -> int:
    """Bit k: [start, end), in lower case, has the phrase of row k + 2."""
    seen = 0
    for i in range(start, end):
        point = points[i]
        if point in (108, 106, 116, 112, 99, 117):  # first letters of the phrases
            for k in range(2, phrases.shape[0]):
                if phrases[k, 0] == point and _begins(points, i, end, phrases[k]):
                    seen |= 1 << (k - 2)
    return seen


@njit(nogil=True, cache=True)
def _citation_end(points: U32, start: int, end: int, flags: U16, phrases: Any) -> int:
    """The end of a citation mark such as [12] whose bracket is at start; start where there is none."""
    i = start + 1
    while i < end and flags[points[i]] & DIGIT:
        i += 1
    if i < end and points[i] == 93:
        return i + 1
    for k in (0, 1):
        if _begins(points, start + 1, end, phrases[k]):
            i = start + 1
            while points[i] != 93:
                i += 1
            return i + 1
    return start


@njit(nogil=True, cache=True)
def _is_end_mark(point: int) -> bool:
    return point in (33, 46, 63)


@njit(nogil=True, cache=True)
def _is_closer(point: int) -> bool:
    return point in (34, 39, 41, 93, 125, 0x201D, 0x2019)


@njit(nogil=True, cache=True)
def _sentence_end(points: U32, i: int, end: int, flags: U16) -> int:
    """Where the sentence that has a mark of its end at i is over; i where it goes on."""
    stop = i
    while stop < end and _is_end_mark(points[stop]):
        stop += 1
    while stop < end and _is_closer(points[stop]):
        stop += 1
    return stop if stop == end or flags[points[stop]] & SPACE else i


@njit(nogil=True, cache=True)
def _sentences(points: U32, end: int, flags: U16) -> int:
    n, i, is_open = 0, 0, False
    while i < end:
        if _is_end_mark(points[i]):
            stop = _sentence_end(points, i, end, flags)
            if stop > i:
                n += is_open
                is_open = False
                i = stop
                continue
        is_open |= flags[points[i]] & ALNUM != 0
        i += 1
    return max(n + is_open, 1)


@njit(types.int64(POINTS, FLAGS, POINTS, _PHRASES, RESULT, RESULT), nogil=True, cache=True)
def count_c4(points: U32, flags: U16, lower: U32, phrases: Any, counts: I64, spans: I64) -> int:
    """C4's rules for each line, in their order, and the sentences of the lines that pass.

    points   uint32 [n]             code points of one document
    lower    uint32 [0x110000]      the lower case of every code point
    phrases  uint32 [k, longest]    `phrase_table()`
    counts   int64 [len(C4_NAMES)]  zeros; receives the counts
    spans    int64 [2 * n_lines]    receives start and end of each stripped line that passes
    returns  how many lines pass
    Source   datatrove 0.10.1's C4QualityFilter, without its early ends
    """
    n, start, n_kept = points.size, 0, 0
    line = np.empty(256, np.uint32)
    while start < n:
        stop = line_end(points, start, flags)
        a = first_solid(points, start, stop, flags)
        b = solid_end(points, a, stop, flags)
        start = next_line(points, stop)
        if line.size < b - a:
            line = np.empty(2 * (b - a), np.uint32)
        n_words, longest, word, size, i = 0, 0, 0, 0, a
        for i in range(a, b):
            if flags[points[i]] & SPACE:
                word = 0
            else:
                n_words += word == 0
                word += 1
                longest = max(longest, word)
        i = a
        while i < b:
            if points[i] == 91:
                end = _citation_end(points, i, b, flags, phrases)
                if end > i:
                    i = end
                    continue
            line[size] = lower[points[i]]
            size += 1
            i += 1
        counts[_LINES] += 1
        counts[_LINE_WORDS] += n_words
        is_terminal = size > 0 and line[size - 1] in (33, 34, 39, 46, 63) and not ends_with_dots(line, 0, size)
        counts[_TERMINAL] += is_terminal
        if longest > _MAX_WORD:
            counts[_LONG] += 1
            continue
        if not is_terminal or n_words < _MIN_WORDS:
            continue
        seen = _phrases_in(line, 0, size, phrases)
        if seen & 1:
            counts[_LOREM] += 1
            continue
        if seen & 2:
            counts[_JAVASCRIPT] += 1
            continue
        has_bracket = False
        for i in range(size):
            has_bracket |= line[i] == 123
        if has_bracket:
            counts[_CURLY] += 1
            continue
        if seen:
            counts[_POLICY] += 1
            continue
        counts[_KEPT] += 1
        counts[_SENTENCES] += _sentences(line, size, flags)
        spans[2 * n_kept], spans[2 * n_kept + 1] = a, b
        n_kept += 1
    return n_kept


@njit(types.int64(POINTS, POINTS, _PHRASES), nogil=True, cache=True)
def count_boilerplate(points: U32, lower: U32, phrases: Any) -> int:
    """Paragraphs, parted by two or more line feeds, that have a policy phrase in any case."""
    lowered = np.empty(points.size, np.uint32)
    for i in range(points.size):
        lowered[i] = lower[points[i]]
    n, start, i = 0, 0, 0
    while i <= lowered.size:
        is_break = i == lowered.size or (lowered[i] == 10 and i + 1 < lowered.size and lowered[i + 1] == 10)
        if is_break:
            n += _phrases_in(lowered, start, i, phrases) > 3
            start = i
            i += 1
        i += 1
    return n


@njit(nogil=True, cache=True)
def _is_vowel(point: int) -> bool:
    return point in (97, 101, 105, 111, 117, 121)


@njit(types.void(POINTS, FLAGS, POINTS, RESULT), nogil=True, cache=True)
def count_readability(points: U32, flags: U16, lower: U32, counts: I64) -> None:
    """What readability formulas count, into `counts` int64 [len(READABILITY_NAMES)], zeros before.

    A word is a run of letters and digits, with apostrophes inside. It has a syllable for each group of the vowels a, e, i, o, u
    and y, less one where it ends in a single "e" that no "l" precedes, and one at least. A complex word has three or more. A
    sentence ends at periods, exclamation or question marks, with closing marks, before whitespace or the end.
    """
    n, i, is_open = points.size, 0, False
    while i < n:
        if _is_end_mark(points[i]):
            stop = _sentence_end(points, i, n, flags)
            if stop > i:
                counts[5] += is_open
                is_open = False
                i = stop
                continue
        if not flags[points[i]] & ALNUM:
            i += 1
            continue
        start, syllables, was_vowel = i, 0, False
        while i < n and (
            flags[points[i]] & ALNUM or (points[i] in (39, 0x2019) and i + 1 < n and flags[points[i + 1]] & ALNUM != 0)
        ):
            is_vowel = _is_vowel(lower[points[i]])
            syllables += is_vowel and not was_vowel
            was_vowel = is_vowel
            counts[1] += flags[points[i]] & ALPHA != 0
            counts[2] += flags[points[i]] & ALNUM != 0
            i += 1
        if (
            i - start > 2
            and lower[points[i - 1]] == 101
            and not _is_vowel(lower[points[i - 2]])
            and lower[points[i - 2]] != 108
        ):
            syllables -= 1
        syllables = max(syllables, 1)
        counts[0] += 1
        counts[3] += syllables
        counts[4] += syllables >= 3
        is_open = True
    counts[5] += is_open
