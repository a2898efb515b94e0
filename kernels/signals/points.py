"""Properties of code points as bits of one table, and array types that the kernels share."""

from __future__ import annotations

from typing import Any, Final, TypeAlias

import numpy as np
from numba import types

from tagcorpus.kernels.compiling.cached import njit

U16: TypeAlias = np.ndarray[Any, np.dtype[np.uint16]]
U32: TypeAlias = np.ndarray[Any, np.dtype[np.uint32]]
U64: TypeAlias = np.ndarray[Any, np.dtype[np.uint64]]
I32: TypeAlias = np.ndarray[Any, np.dtype[np.int32]]
I64: TypeAlias = np.ndarray[Any, np.dtype[np.int64]]

SPACE: Final = 1  # str.isspace
ALPHA: Final = 2  # str.isalpha
ALNUM: Final = 4  # str.isalnum
DIGIT: Final = 8  # re's \d
WORD: Final = 16  # re's \w
BREAK: Final = 32  # str.splitlines splits after it
UPPER: Final = 64  # str.isupper
NOT_UPPER: Final = 128  # a word that has it is not str.isupper
SYMBOL: Final = 256  # datatrove's PUNCTUATION_SET
TERMINAL: Final = 512  # datatrove's TERMINAL_PUNCTUATION

# Arrow's and Python's memory is read-only. A signature that says so takes writable arrays, too.
POINTS: Final = types.Array(types.uint32, 1, "C", readonly=True)
FLAGS: Final = types.Array(types.uint16, 1, "C", readonly=True)
PLACES: Final = types.Array(types.int64, 1, "C", readonly=True)
RESULT: Final = types.Array(types.int64, 1, "C")


@njit(types.int64(POINTS, types.int64, FLAGS), nogil=True, cache=True)
def line_end(points: U32, start: int, flags: U16) -> int:
    """The end of the line that starts at `start`, without its line break, as str.splitlines has it."""
    end = start
    while end < points.size and not flags[points[end]] & BREAK:
        end += 1
    return end


@njit(types.int64(POINTS, types.int64), nogil=True, cache=True)
def next_line(points: U32, end: int) -> int:
    """The start of the line after the one that ends at `end`: a carriage return and a line feed are one break."""
    return end + 2 if end + 1 < points.size and points[end] == 13 and points[end + 1] == 10 else end + 1


@njit(types.int64(POINTS, types.int64, types.int64, FLAGS), nogil=True, cache=True)
def first_solid(points: U32, start: int, end: int, flags: U16) -> int:
    """The first place in [start, end) that is not whitespace, or end."""
    while start < end and flags[points[start]] & SPACE:
        start += 1
    return start


@njit(types.int64(POINTS, types.int64, types.int64, FLAGS), nogil=True, cache=True)
def solid_end(points: U32, start: int, end: int, flags: U16) -> int:
    """The end of [start, end) without whitespace at its end; start where nothing else is there."""
    while end > start and flags[points[end - 1]] & SPACE:
        end -= 1
    return end


@njit(types.boolean(POINTS, types.int64, types.int64), nogil=True, cache=True)
def ends_with_dots(points: U32, start: int, end: int) -> bool:
    """Whether [start, end) ends in three periods."""
    return end - start >= 3 and points[end - 1] == 46 and points[end - 2] == 46 and points[end - 3] == 46
