"""Words of one document, three ways, and counts over them. Words are one array of characters, and the place of each start."""

from __future__ import annotations

from typing import Final

import numpy as np
from numba import types

from tagcorpus.kernels.compiling.cached import njit
from tagcorpus.kernels.signals.points import (
    ALNUM,
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
_HYPHENS = (45, 126, 0x2013, 0x2014)
_SIGNS = (45, 43, 42, 94)  # - + * ^
_PARTING = (58, 60, 62, 61, 47)  # : < > = /
_INNER = (45, 43, 47, 92, 64, 126, 124, 94)  # - + / \ @ ~ | ^
_NOT_LAST = (61, 36, 37)  # = $ %
_WORDS = types.Tuple((types.Array(types.uint32, 1, "C"), types.Array(types.int64, 1, "C")))  # type: ignore[no-untyped-call]
_STOP_WORDS = tuple(
    int.from_bytes(word.encode(), "big") for word in ("the", "be", "to", "of", "and", "that", "have", "with")
)


@njit(nogil=True, cache=True)
def _leading(points: U32, a: int, b: int, flags: U16) -> int:
    """The end of the mark that comes off the front of the piece [a, b); a where none does."""
    point = points[a]
    if point == 46:
        stop = _run_end(points, a, b)
        return stop if stop > a + 1 or stop == b else a
    return a if flags[point] & ALNUM or point in _INNER else a + 1


@njit(nogil=True, cache=True)
def _trailing(points: U32, a: int, b: int, flags: U16) -> int:
    """The start of the mark that comes off the end of the piece [a, b); b where none does."""
    point = points[b - 1]
    if point != 46:
        return b if flags[point] & ALNUM or point in _INNER or point in _NOT_LAST else b - 1
    start = b - 1
    while start > a and points[start - 1] == 46:
        start -= 1
    if b - start > 1 or start == a:
        return start
    before = flags[points[start - 1]]
    earlier = points[start - 2] if start - 2 >= a else np.uint32(32)
    if before & UPPER:
        return start if flags[earlier] & UPPER else b
    return b if before & ALPHA and earlier == 46 else start


@njit(nogil=True, cache=True)
def _run_end(points: U32, i: int, b: int) -> int:
    """The end of the run of equal characters that begins at i."""
    stop = i + 1
    while stop < b and points[stop] == points[i]:
        stop += 1
    return stop


@njit(nogil=True, cache=True)
def _infix_end(points: U32, i: int, b: int, flags: U16) -> int:
    """The end of the mark at i, inside a piece that ends at b, if the mark parts words; i where it does not."""
    point = points[i]
    if flags[point] & ALNUM:
        return i
    stop = _run_end(points, i, b) if point in (45, 46) else i + 1
    if stop >= b:
        return i
    before, after = flags[points[i - 1]], flags[points[stop]]
    is_letter = after & ALPHA != 0
    if point in _SIGNS and before & DIGIT and after & DIGIT:
        return stop
    if point in _HYPHENS:
        return stop if is_letter else i
    if point in _PARTING:
        return stop if before & ALNUM and is_letter else i
    if point == 44:
        return stop if before & ALPHA and is_letter else i
    if point == 46:
        return stop if stop > i + 1 or (before & ALPHA and not before & UPPER and after & UPPER) else i
    return stop if point == 0x2026 else i


@njit(nogil=True, cache=True)
def _is_clitic(points: U32, i: int, b: int, flags: U16) -> bool:
    """Whether an apostrophe at i and the one or two letters to the end b are a word."""
    if points[i] not in _APOSTROPHES or not 1 < b - i < 4:
        return False
    return bool(flags[points[i + 1]] & flags[points[b - 1]] & ALPHA)


@njit(_WORDS(POINTS, FLAGS), nogil=True, cache=True)
def split_words(points: U32, flags: U16) -> tuple[U32, I64]:
    """Our own words, near those of spaCy's English rules, without lists of exceptions.

    Of a whitespace-separated piece, marks come off both ends, one at a time; periods in a row are one word. Letters and digits
    stay, and so do `- + / \\ @ ~ | ^`, at the end also `= $ %`, and the period of an abbreviation (after a single capital, or
    after a letter that follows a period). In what is left, a hyphen, dash or tilde before a letter is a word, and so are `: < > = /`
    between a letter or digit and a letter, `- + * ^` between digits, a comma between letters, a period between a small letter and a capital, periods in
    a row, and an ellipsis. An apostrophe with the last one or two letters is a word. An address with :// stays whole.

    points   uint32 [n]            code points of one document
    flags    uint16 [0x110000]     properties of every code point
    returns  (characters uint32 [k]          of all words, concatenated
              starts     int64 [n_words + 1] word w is characters[starts[w]:starts[w + 1]])
    Example  "(It's 3.5 km...)" -> ( It 's 3.5 km ... )
    """
    n = points.size
    characters = np.empty(n, np.uint32)
    starts = np.zeros(n + 1, np.int64)
    n_words, size, i = 0, 0, 0
    while i < n:
        if flags[points[i]] & SPACE:
            i += 1
            continue
        b = i
        is_address = False
        while b < n and not flags[points[b]] & SPACE:
            characters[size] = points[b]
            size += 1
            is_address |= points[b] == 58 and b + 2 < n and points[b + 1] == 47 and points[b + 2] == 47
            b += 1
        offset = size - b  # of a place in `characters` from that in `points`
        while i < b:
            stop = _leading(points, i, b, flags)
            if stop == i:
                break
            i = stop
            n_words += 1
            starts[n_words] = i + offset
        e = b
        while e > i:
            start = _trailing(points, i, e, flags)
            if start == e:
                break
            e = start
        k = i + 1
        while k < e and not is_address:
            stop = _infix_end(points, k, e, flags)
            if stop > k:
                n_words += 2
                starts[n_words - 1], starts[n_words] = k + offset, stop + offset
                k = stop
            elif _is_clitic(points, k, e, flags):
                n_words += 1
                starts[n_words] = k + offset
            k += 1
        if i < e:
            n_words += 1
            starts[n_words] = e + offset
        while e < b:
            e = _run_end(points, e, b) if points[e] == 46 else e + 1
            n_words += 1
            starts[n_words] = e + offset
        i = b
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
