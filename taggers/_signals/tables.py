"""Properties of all code points, as the running Python and datatrove have them, in the form that the kernels read."""

from __future__ import annotations

import re
from functools import cache
from typing import Any, NamedTuple

import numpy as np

from tagcorpus.taggers._interface.digest import of_bytes

_EVERY = 0x110000


class Tables(NamedTuple):
    """flags uint16 [0x110000], bits of kernels/signals/points.py; lower uint32 [0x110000], the lower case of a code point, or the
    code point itself where that is more than one."""

    flags: np.ndarray[Any, np.dtype[np.uint16]]
    lower: np.ndarray[Any, np.dtype[np.uint32]]


def mark_sets() -> tuple[frozenset[str], frozenset[str]]:
    """The punctuation and the terminal punctuation that datatrove's filters use."""
    from datatrove.utils.text import PUNCTUATION_SET, TERMINAL_PUNCTUATION

    return frozenset(PUNCTUATION_SET), frozenset(TERMINAL_PUNCTUATION)


def marks_digest() -> str:
    """A digest of both sets of marks, which come from datatrove and decide values."""
    return of_bytes("|".join("".join(sorted(marks)) for marks in mark_sets()).encode())


@cache
def tables() -> Tables:
    """The tables, made once a process in about half a CPU second."""
    from tagcorpus.kernels.signals import points

    every = np.arange(_EVERY, dtype="<u4").tobytes().decode("utf-32-le", "surrogatepass")
    flags = np.zeros(_EVERY, np.uint16)
    for method, flag in (
        (str.isspace, points.SPACE),
        (str.isalpha, points.ALPHA),
        (str.isalnum, points.ALNUM),
        (str.isupper, points.UPPER),
    ):
        flags |= np.frombuffer(bytes(map(method, every)), np.bool_) * np.uint16(flag)
    is_small = np.frombuffer(bytes(map(str.islower, every)), np.bool_)
    is_title = np.frombuffer(bytes(map(str.istitle, every)), np.bool_) & (flags & points.UPPER == 0)
    flags |= (is_small | is_title) * np.uint16(points.NOT_UPPER)
    for pattern, flag in ((r"\d+", points.DIGIT), (r"\w+", points.WORD)):
        for match in re.finditer(pattern, every):
            flags[match.start() : match.end()] |= np.uint16(flag)
    for match in re.finditer(r"\s", every):
        if len(f"a{match[0]}b".splitlines()) == 2:
            flags[match.start()] |= np.uint16(points.BREAK)
    for marks, flag in zip(mark_sets(), (points.SYMBOL, points.TERMINAL), strict=True):
        for mark in marks:
            flags[ord(mark)] |= np.uint16(flag)
    lower = np.fromiter((ord(c) if len(c) == 1 else 0 for c in map(str.lower, every)), np.uint32, _EVERY)
    lower[lower == 0] = np.flatnonzero(lower == 0)
    flags.flags.writeable = lower.flags.writeable = False
    return Tables(flags, lower)
