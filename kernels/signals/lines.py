"""Counts of characters, lines, paragraphs and their duplicates in the code points of one document."""

from __future__ import annotations

from typing import Final

import numpy as np
from numba import types

from tagcorpus.kernels.compiling.cached import njit
from tagcorpus.kernels.signals.points import (
    ALNUM,
    DIGIT,
    FLAGS,
    I64,
    POINTS,
    RESULT,
    SPACE,
    TERMINAL,
    U16,
    U32,
    UPPER,
    ends_with_dots,
    first_solid,
    line_end,
    next_line,
    solid_end,
)

NAMES: Final = (
    *(
        "characters",
        "alphanumeric",
        "digits",
        "spaces",
        "parentheses",
        "uppercase",
        "hashes",
        "dot_ellipses",
        "ellipses",
    ),
    *("curly_brackets", "newlines", "split_lines", "bullet_lines", "ellipsis_lines"),
    *("feed_lines", "solid_lines", "terminal_lines", "short_lines", "rps_bullet_lines", "rps_ellipsis_lines"),
    *("rps_terminal_lines", "longest_line", "digit_lines", "uppercase_lines", "solid_line_characters"),
    *("paragraphs", "duplicate_paragraphs", "duplicate_paragraph_characters"),
    *("parted_lines", "duplicate_lines", "duplicate_line_characters", "duplicate_solid_line_characters"),
)
"""Names of the result's places, in order."""

_CHARACTERS, _ALPHANUMERIC, _DIGITS, _SPACES, _PARENTHESES, _UPPERCASE, _HASHES, _DOTS, _ELLIPSES = range(9)
_CURLY, _NEWLINES, _SPLIT, _BULLET, _ELLIPSIS_END = range(9, 14)
_FEED, _SOLID, _TERMINAL, _SHORT, _RPS_BULLET, _RPS_ELLIPSIS = range(14, 20)
_RPS_TERMINAL, _LONGEST, _DIGIT_LINES, _UPPER_LINES, _SOLID_CHARS = range(20, 25)
_PARAGRAPHS, _DUP_PARAGRAPHS, _DUP_PARAGRAPH_CHARS = range(25, 28)
_PARTED, _DUP_LINES, _DUP_LINE_CHARS, _DUP_SOLID_CHARS = range(28, 32)

_SHORT_LINE = 30
_ELLIPSIS = 0x2026
_BULLET_POINT = 0x2022


@njit(nogil=True, cache=True)
def _is_rps_bullet(point: int) -> bool:
    return (
        point in (0x2022, 0x2023, 0x25B6, 0x25C0, 0x25E6)
        or point in (0x25A0, 0x25A1, 0x25AA, 0x25AB)
        or point == 0x2013
    )


@njit(nogil=True, cache=True)
def _characters(points: U32, flags: U16, counts: I64) -> None:
    dots = 0
    for i in range(points.size):
        point = points[i]
        flag = flags[point]
        counts[_ALPHANUMERIC] += flag & ALNUM != 0
        counts[_DIGITS] += flag & DIGIT != 0
        counts[_SPACES] += flag & SPACE != 0
        counts[_UPPERCASE] += flag & UPPER != 0
        counts[_PARENTHESES] += (point == 40) | (point == 41)
        counts[_HASHES] += point == 35
        counts[_CURLY] += (point == 123) | (point == 125)
        counts[_NEWLINES] += point == 10
        counts[_ELLIPSES] += point == _ELLIPSIS
        dots = dots + 1 if point == 46 else 0
        if dots == 3:
            counts[_DOTS] += 1
            dots = 0


@njit(nogil=True, cache=True)
def _split_lines(points: U32, flags: U16, counts: I64) -> None:
    start = 0
    while start < points.size:
        end = line_end(points, start, flags)
        first, last = first_solid(points, start, end, flags), solid_end(points, start, end, flags)
        counts[_SPLIT] += 1
        if first < last:
            counts[_BULLET] += (points[first] == _BULLET_POINT) | (points[first] == 45)
            counts[_ELLIPSIS_END] += (points[last - 1] == _ELLIPSIS) | ends_with_dots(points, first, last)
        start = next_line(points, end)


@njit(nogil=True, cache=True)
def _feed_lines(points: U32, flags: U16, counts: I64) -> None:
    start = 0
    while start < points.size:
        end = start
        while end < points.size and points[end] != 10:
            end += 1
        counts[_FEED] += 1
        counts[_LONGEST] = max(counts[_LONGEST], end - start)
        first, last = first_solid(points, start, end, flags), solid_end(points, start, end, flags)
        if first < last:
            final = points[last - 1]
            counts[_SOLID] += 1
            counts[_SOLID_CHARS] += end - start
            counts[_TERMINAL] += flags[points[end - 1]] & TERMINAL != 0
            counts[_SHORT] += end - start <= _SHORT_LINE
            counts[_RPS_BULLET] += _is_rps_bullet(points[first])
            counts[_RPS_ELLIPSIS] += (final == _ELLIPSIS) | ends_with_dots(points, first, last)
            counts[_RPS_TERMINAL] += (final == 46) | (final == 33) | (final == 63) | (final == 0x201D)
            digits, upper, solid = 0, 0, 0
            for i in range(first, last):
                flag = flags[points[i]]
                digits += flag & DIGIT != 0
                upper += flag & UPPER != 0
                solid += flag & SPACE == 0
            counts[_DIGIT_LINES] += digits == solid
            counts[_UPPER_LINES] += 2 * upper > solid
        start = end + 1


@njit(nogil=True, cache=True)
def _duplicates(points: U32, starts: I64, ends: I64) -> tuple[int, int]:
    """How many of the pieces have an equal one before them, and the characters of those."""
    size = 8
    while size < 2 * starts.size:
        size *= 2
    table = np.full(size, -1, np.int64)
    hashes = np.empty(starts.size, np.uint64)
    n_duplicates, characters = 0, 0
    for k in range(starts.size):
        key = np.uint64(14695981039346656037)
        for i in range(starts[k], ends[k]):
            key = (key ^ np.uint64(points[i])) * np.uint64(1099511628211)
        key ^= key >> np.uint64(32)
        hashes[k] = key
        slot = np.int64(key & np.uint64(size - 1))
        length = ends[k] - starts[k]
        while True:
            other = table[slot]
            if other < 0:
                table[slot] = k
                break
            if hashes[other] == key and ends[other] - starts[other] == length:
                i = 0
                while i < length and points[starts[other] + i] == points[starts[k] + i]:
                    i += 1
                if i == length:
                    n_duplicates += 1
                    characters += length
                    break
            slot = (slot + 1) & (size - 1)
    return n_duplicates, characters


@njit(nogil=True, cache=True)
def _pieces(points: U32, start: int, end: int, least: int, starts: I64, ends: I64) -> int:
    """Splits [start, end) at runs of `least` or more line feeds, and returns the number of pieces."""
    n, i, begin = 0, start, start
    while i < end:
        if points[i] != 10:
            i += 1
            continue
        stop = i
        while stop < end and points[stop] == 10:
            stop += 1
        if stop - i >= least:
            starts[n], ends[n] = begin, i
            n += 1
            begin = stop
        i = stop
    starts[n], ends[n] = begin, end
    return n + 1


@njit(types.void(POINTS, FLAGS, RESULT), nogil=True, cache=True)
def count_lines(points: U32, flags: U16, counts: I64) -> None:
    """Counts of characters, lines and paragraphs, added to `counts`.

    points  uint32 [n]           code points of one document
    flags   uint16 [0x110000]    properties of every code point (points.py)
    counts  int64 [len(NAMES)]   zeros; receives the count of each name
    Source  datatrove 0.10.1's GopherQualityFilter, GopherRepetitionFilter and FineWebQualityFilter; RedPajama-V2
    Example "- a...\\n- a..." -> split_lines 2, bullet_lines 2, ellipsis_lines 2, duplicate_lines 1
    """
    n = points.size
    counts[_CHARACTERS] = n
    _characters(points, flags, counts)
    _split_lines(points, flags, counts)
    _feed_lines(points, flags, counts)
    starts = np.empty(counts[_NEWLINES] + 1, np.int64)
    ends = np.empty(counts[_NEWLINES] + 1, np.int64)

    first = first_solid(points, 0, n, flags)
    k = _pieces(points, first, solid_end(points, first, n, flags), 2, starts, ends)
    counts[_PARAGRAPHS] = k
    counts[_DUP_PARAGRAPHS], counts[_DUP_PARAGRAPH_CHARS] = _duplicates(points, starts[:k], ends[:k])

    k = _pieces(points, 0, n, 1, starts, ends)
    counts[_PARTED] = k
    counts[_DUP_LINES], counts[_DUP_LINE_CHARS] = _duplicates(points, starts[:k], ends[:k])

    n_solid = 0
    for i in range(k):
        if first_solid(points, starts[i], ends[i], flags) < ends[i]:
            starts[n_solid], ends[n_solid] = starts[i], ends[i]
            n_solid += 1
    counts[_DUP_SOLID_CHARS] = _duplicates(points, starts[:n_solid], ends[:n_solid])[1]
