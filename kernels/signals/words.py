"""Words of one document, three ways, and counts over them. Words are one array of characters, and the place of each start."""

from __future__ import annotations

from typing import Final

import numpy as np
from numba import njit, types

from tagcorpus.kernels.signals.points import (
    ALPHA,
    DIGIT,
    FLAGS,
    I64,
    NOT_UPPER,
    PLACES,
    POINTS,
    RESULT,
    SPACE,
    SYMBOL,
    U16,
    U32,
    UPPER,
    WORD,
)

WORD_NAMES: Final = ("words", "solid_words", "solid_word_characters", "alpha_words", "stop_words")
"""Names of the places of `count_words`."""
RAW_NAMES: Final = (
    *("raw_words", "raw_alpha_words", "raw_upper_words", "raw_sentences"),
    *("pieces", "piece_characters", "longest_piece"),
)
"""Names of the places of `count_raw_words`."""

_APOSTROPHES = (39, 0x2019)
_WORDS = types.Tuple((types.Array(types.uint32, 1, "C"), types.Array(types.int64, 1, "C")))
_STOP_WORDS = tuple(
    int.from_bytes(word.encode(), "big") for word in ("the", "be", "to", "of", "and", "that", "have", "with")
)


@njit(nogil=True, cache=True)
def _is_joint(points: U32, i: int, flags: U16) -> bool:
    """Whether a period, comma or colon at i, after a word character, is inside a word."""
    if i + 1 >= points.size:
        return False
    before, after = flags[points[i - 1]], flags[points[i + 1]]
    if before & DIGIT and after & DIGIT:
        return points[i] in (44, 46, 58)
    return (
        points[i] == 46 and before & ALPHA != 0 and after & ALPHA != 0 and (before & UPPER != 0 or after & UPPER == 0)
    )


@njit(_WORDS(POINTS, FLAGS), nogil=True, cache=True)
def split_words(points: U32, flags: U16) -> tuple[U32, I64]:
    """Our own words.

    A word is a run of word characters; a period, comma or colon between digits and a period within a name belong to it. An
    apostrophe after a word begins the next one where a letter follows. Of other characters, a run of periods or hyphens is a
    word, and each other one is a word by itself.

    points   uint32 [n]            code points of one document
    flags    uint16 [0x110000]     properties of every code point
    returns  (characters uint32 [k]          of all words, concatenated
              starts     int64 [n_words + 1] word w is characters[starts[w]:starts[w + 1]])
    Example  "It's 3.5 km..." -> It 's 3.5 km ...
    """
    n = points.size
    characters = np.empty(n, np.uint32)
    starts = np.zeros(n + 1, np.int64)
    n_words, size, i = 0, 0, 0
    while i < n:
        point = points[i]
        flag = flags[point]
        if flag & SPACE:
            i += 1
            continue
        stop = i + 1
        is_clitic = (
            point in _APOSTROPHES
            and stop < n
            and flags[points[stop]] & ALPHA != 0
            and i > 0
            and flags[points[i - 1]] & WORD != 0
        )
        if flag & WORD or is_clitic:
            while stop < n and (
                flags[points[stop]] & WORD or ((stop > i + 1 or not is_clitic) and _is_joint(points, stop, flags))
            ):
                stop += 1
        elif point in (45, 46):
            while stop < n and points[stop] == point:
                stop += 1
        characters[size : size + stop - i] = points[i:stop]
        size += stop - i
        n_words += 1
        starts[n_words] = size
        i = stop
    return characters[:size].copy(), starts[: n_words + 1].copy()


@njit(_WORDS(POINTS, FLAGS), nogil=True, cache=True)
def split_at_spaces(points: U32, flags: U16) -> tuple[U32, I64]:
    """Whitespace-separated words; arguments and result are those of `split_words`."""
    n = points.size
    characters = np.empty(n, np.uint32)
    starts = np.zeros(n + 1, np.int64)
    n_words, size = 0, 0
    for i in range(n):
        point = points[i]
        if flags[point] & SPACE:
            if size > starts[n_words]:
                n_words += 1
                starts[n_words] = size
        else:
            characters[size] = point
            size += 1
    if size > starts[n_words]:
        n_words += 1
        starts[n_words] = size
    return characters[:size].copy(), starts[: n_words + 1].copy()


@njit(types.void(POINTS, PLACES, FLAGS, RESULT), nogil=True, cache=True)
def count_words(characters: U32, starts: I64, flags: U16, counts: I64) -> None:
    """Gopher's counts over words, into `counts` int64 [len(WORD_NAMES)], zeros before.

    Example  the words "the", "," and "12" -> words 3, solid_words 2, solid_word_characters 5, alpha_words 1, stop_words 1
    """
    seen = 0
    for w in range(starts.size - 1):
        start, end = starts[w], starts[w + 1]
        is_solid, is_alpha = False, False
        for i in range(start, end):
            flag = flags[characters[i]]
            is_solid |= flag & SYMBOL == 0
            is_alpha |= flag & ALPHA != 0
        counts[0] += 1
        counts[1] += is_solid
        counts[2] += end - start if is_solid else 0
        counts[3] += is_alpha
        if end - start <= 4:
            key = np.int64(0)
            for i in range(start, end):
                key = key << 8 | np.int64(min(characters[i], 255))
            for s in range(len(_STOP_WORDS)):
                if key == _STOP_WORDS[s]:
                    seen |= 1 << s
    for s in range(len(_STOP_WORDS)):
        counts[4] += seen >> s & 1


@njit(types.void(POINTS, FLAGS, RESULT), nogil=True, cache=True)
def count_raw_words(points: U32, flags: U16, counts: I64) -> None:
    """RedPajama-V2's counts over raw words (`\\w+|[^\\w\\s]+`) and sentences (`\\b[^.!?]+[.!?]*`), and counts over whitespace-
    separated pieces, into `counts` int64 [len(RAW_NAMES)], zeros before."""
    n = points.size
    i = 0
    while i < n:
        kind = flags[points[i]] & (WORD | SPACE)
        has_letter, is_cased, is_refused = False, False, False
        stop = i
        while stop < n and flags[points[stop]] & (WORD | SPACE) == kind:
            point, flag = points[stop], flags[points[stop]]
            has_letter |= (65 <= point <= 90) | (97 <= point <= 122)
            is_cased |= flag & UPPER != 0
            is_refused |= flag & NOT_UPPER != 0
            stop += 1
        if not kind & SPACE:
            counts[0] += 1
            counts[1] += has_letter
            counts[2] += is_cased and not is_refused
        i = stop

    i = 0
    while i < n:
        is_word = flags[points[i]] & WORD != 0
        was_word = i > 0 and flags[points[i - 1]] & WORD != 0
        if is_word == was_word or points[i] in (33, 46, 63):
            i += 1
            continue
        while i < n and points[i] not in (33, 46, 63):
            i += 1
        while i < n and points[i] in (33, 46, 63):
            i += 1
        counts[3] += 1

    length = 0
    for i in range(n + 1):
        if i < n and not flags[points[i]] & SPACE:
            length += 1
        elif length:
            counts[4] += 1
            counts[5] += length
            counts[6] = max(counts[6], length)
            length = 0
