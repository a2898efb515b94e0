"""Counts keywords, stems before a colon and numbers in UTF-8 text, as `re` would, in one pass.

The scanner uses two facts about patterns like `\\b(and|but)\\b`. Every keyword consists of word characters, so it
matches exactly where a whole run of word characters folds to it. And a stem of `(Question:|A:)` matches exactly once
where a colon ends it, since no stem holds a colon. So one code per character, packed into the key of the current
run, decides everything; `\\b\\d+\\b` is a run of digit codes alone (its longer alternatives `\\d+\\.\\d+` and `\\d+%`
never win: it matches first, at the same place).

The caller's table decides which code points are word characters, digits or letters in either case.
The kernel counts matches and does not give their places.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, TypeAlias

import numpy as np
from numba import types

from tagcorpus.kernels.compiling.cached import njit

U8: TypeAlias = np.ndarray[Any, np.dtype[np.uint8]]
U16: TypeAlias = np.ndarray[Any, np.dtype[np.uint16]]
U64: TypeAlias = np.ndarray[Any, np.dtype[np.uint64]]
I64: TypeAlias = np.ndarray[Any, np.dtype[np.int64]]

# Codes of the table: 0 no word character, 1 to 26 a letter whatever its case, and:
OTHER: Final = 27
"""A word character that is neither a digit nor equal to an ASCII letter."""
DIGIT: Final = 28
COLON: Final = 32

KEY_LENGTH: Final = 12
"""Characters of a run that its key holds: 12 codes of 5 bits. A longer run keeps its last 12, the oldest of which is not
0, so it never equals the key of a run of fewer than 12; those alone are words and stems."""

_LONG_NUMBER = sum(DIGIT << 5 * place for place in range(KEY_LENGTH))
_BLOCK = 2048
_LEAST_ASCII = 32  # bytes of ASCII text that are worth a pass of their own
_PATIENCE = 64  # bytes of other text after which to look for ASCII text again; doubled each time that there is none
_FIELD_BITS = 12  # one counter of a block: at most _BLOCK / 2 + 3 runs end in it
_SLOTS = 523  # a prime, fixed so that the remainder compiles to two multiplications


def key_of(codes: Sequence[int]) -> int:
    """The key of a run of character codes. Raises ValueError for `KEY_LENGTH` or more: longer runs share such a key."""
    if len(codes) >= KEY_LENGTH:
        raise ValueError(f"a keyword must have fewer than {KEY_LENGTH} characters, got {len(codes)}")
    key = 0
    for code in codes:
        key = key << 5 | code
    return key


def key_table(groups: Sequence[Sequence[int]]) -> tuple[U64, U8]:
    """A table without collisions that finds the group of a key: a key's slot is its remainder by the table's size.

    groups   keys, group by group; all distinct
    returns  (slots uint64 [523]   the key in each slot, 0 where free
              shifts uint8 [523]   counter of that key's group: 12 * group)
    Raises ValueError when two keys share a slot; then `_SLOTS` must become another prime.
    """
    slots, shifts = np.zeros(_SLOTS, np.uint64), np.zeros(_SLOTS, np.uint8)
    for number, keys in enumerate(groups):
        for key in keys:
            if slots[key % _SLOTS]:
                raise ValueError(f"keys {key} and {slots[key % _SLOTS]} share a slot of {_SLOTS}: try another prime")
            slots[key % _SLOTS], shifts[key % _SLOTS] = key, number * _FIELD_BITS
    return slots, shifts


def _frozen(dtype: Any, ndim: int = 1) -> Any:
    # Arrow's memory is read-only; a signature that says so takes writable arrays too, and one compilation serves both.
    return types.Array(dtype, ndim, "C", readonly=True)


@njit(nogil=True, cache=True)
def _beyond_ascii(data: U8, i: int, codes: U8) -> tuple[np.uint8, int]:
    """The code of the character whose lead byte, 0x80 or more, is data[i], and where the next one starts."""
    byte = np.int64(data[i])
    point = byte & 0x1F
    length = 2
    if byte >= 0xF0:
        point, length = byte & 0x07, 4
    elif byte >= 0xE0:
        point, length = byte & 0x0F, 3
    for j in range(i + 1, i + length):
        point = point << 6 | np.int64(data[j]) & 0x3F
    return codes[point], i + length


@njit(nogil=True, cache=True)
def _ascii_tables(ascii_codes: U8, slots: U64, stems: U64) -> tuple[U8, U8, U16, U8]:
    """What `_scan_ascii` asks of a byte or two.

    returns  ascii_codes uint8 [128]
             is_word     uint8 [128]
             lengths     uint16 [1024]  for the first two codes of a run, code << 5 | code, the lengths of the keys that begin so, as
                                        bits. The second code of one character is 0. Bit `KEY_LENGTH` stands for all longer runs,
                                        among which only numbers count.
             ends_stem   uint8 [33]     whether a stem ends with this code
    """
    is_word = ((ascii_codes != 0) & (ascii_codes != COLON)).astype(np.uint8)
    lengths = np.zeros(1024, np.uint16)
    for key in slots:
        length = 0
        while key >> np.uint64(5 * length) != 0:
            length += 1
        if length:
            start = key << np.uint64(5) if length == 1 else key >> np.uint64(5 * (length - 2))
            lengths[start] |= np.uint16(1 << length)
    lengths[DIGIT << 5 | DIGIT] |= np.uint16(1 << KEY_LENGTH)
    ends_stem = np.zeros(33, np.uint8)
    for s in range(stems.shape[0]):
        ends_stem[stems[s, 0] & np.uint64(31)] = 1
    return ascii_codes, is_word, lengths, ends_stem


@njit(nogil=True, cache=True)
def _key_of_run(run: U8, codes: U8, key: np.uint64) -> np.uint64:
    """The key of a run in ASCII text; `key` is that of its beginning, or 0."""
    for byte in run:
        key = key << np.uint64(5) | np.uint64(codes[byte])
    return key


@njit(nogil=True, cache=True)
def _is_stem(key: np.uint64, stems: U64) -> bool:
    """Whether a run ends with a stem."""
    is_stem = False
    for s in range(stems.shape[0]):
        is_stem |= key & stems[s, 1] == stems[s, 0]
    return is_stem


@njit(nogil=True, cache=True)
def _ascii_length(text: U8) -> int:
    """The number of bytes before the first that is not ASCII."""
    for start in range(0, text.size, 64):
        bits = np.uint8(0)
        for byte in text[start : start + 64]:
            bits |= byte
        if bits >= 128:
            length = start
            while text[length] < 128:
                length += 1
            return length
    return text.size


@njit(nogil=True, cache=True)
def _scan_ascii(
    text: U8, key: np.uint64, keys: U64, n_keys: int, edges: I64, by_byte: tuple[U8, U8, U16, U8], stems: U64
) -> tuple[np.uint64, int, int]:
    """Appends the keys of the runs that end in ASCII text to keys[:n_keys], without most of those that are no keyword.

    key      of the run before the text, 0 for none
    returns  (key of the run that the text breaks off, n_keys, matches of stems)
    """
    codes, is_word, lengths, ends_stem = by_byte
    n_edges, was_word = 0, np.uint8(key != 0)
    for i in range(text.size):
        edges[n_edges] = i
        n_edges += int(is_word[text[i]] ^ was_word)
        was_word = is_word[text[i]]
    n_stems = e = 0
    if key != 0:
        end = edges[0] if n_edges else text.size
        key = _key_of_run(text[:end], codes, key)
        if n_edges == 0:
            return key, n_keys, 0
        keys[n_keys] = key
        n_stems += codes[text[end]] == COLON and _is_stem(key, stems)
        n_keys += 1
        e = 1
    while e + 1 < n_edges:
        start, end = edges[e], edges[e + 1]
        e += 2
        first_two = np.int64(codes[text[start]]) << 5 | codes[text[start + 1]] & 31
        is_stem_due = codes[text[end]] == COLON and ends_stem[codes[text[end - 1]]]
        # Few runs begin like a keyword and are as long, so only their keys are computed.
        if lengths[first_two] >> min(end - start, KEY_LENGTH) & 1 or is_stem_due:
            keys[n_keys] = _key_of_run(text[start:end], codes, np.uint64(0))
            n_stems += is_stem_due and _is_stem(keys[n_keys], stems)
            n_keys += 1
    key = _key_of_run(text[edges[e] :], codes, np.uint64(0)) if e < n_edges else np.uint64(0)
    return key, n_keys, n_stems


@njit(nogil=True, cache=True)
def _long_numbers(data: U8, start: int, end: int, codes: U8) -> int:
    """Runs of `KEY_LENGTH` or more digits and nothing else in data[start:end], counted character by character."""
    n, length, is_number = 0, 0, True
    i = start
    while i < end:
        if data[i] < 128:
            code = codes[data[i]]
            i += 1
        else:
            code, i = _beyond_ascii(data, i, codes)
        if code in (0, COLON):
            n += int(is_number and length >= KEY_LENGTH)
            length, is_number = 0, True
        else:
            is_number &= code == DIGIT
            length += 1
    return n + int(is_number and length >= KEY_LENGTH)


@njit(
    types.Array(types.int64, 2, "C")(
        _frozen(types.uint8),
        _frozen(types.int64),
        _frozen(types.uint8),
        _frozen(types.uint64),
        _frozen(types.uint8),
        _frozen(types.uint64, 2),
    ),
    nogil=True,
    cache=True,
)
def count_keywords(data: U8, offsets: I64, codes: U8, slots: U64, shifts: U8, stems: U64) -> I64:
    """Matches of three groups of words, of stems before a colon, and of numbers, in every document.

    data         uint8 [n_bytes]       valid UTF-8 of all documents, concatenated
    offsets      int64 [n_docs + 1]    document d is data[offsets[d]:offsets[d + 1]]; offsets[0] need not be 0
    codes        uint8 [0x110000]      code of every code point: 0 no word character, 1..26 a letter, `OTHER`, `DIGIT`,
                                       `COLON`
    slots, shifts                      `key_table` of [words of column 0, of column 1, of column 2, [], short numbers],
                                       short numbers being the keys of fewer than `KEY_LENGTH` digits
    stems        uint64 [n_stems, 2]   (key, mask of its bits) of every stem
    returns      int64 [n_docs, 5]     matches: columns 0 to 2 the words, 3 the stems, 4 the numbers
    Source       REFERENCE: `re.findall` with IGNORECASE over each document
    Example      "So, 3.14 data: what" with the word "what" in column 0 and "so" in column 2, and the stem "a"
                 -> [1, 0, 1, 1, 2]
    """
    n_docs = offsets.size - 1
    counts = np.zeros((n_docs, 5), np.int64)
    keys = np.zeros(_BLOCK // 2 + 4, np.uint64)  # the runs that end in one block
    field = np.uint64(2**_FIELD_BITS - 1)
    long_mask, long_number = np.uint64(2 ** (5 * KEY_LENGTH) - 1), np.uint64(_LONG_NUMBER)
    none, five = np.uint64(0), np.uint64(5)
    ascii_codes = codes[:128].copy()
    by_byte = _ascii_tables(ascii_codes, slots, stems)
    edges = np.zeros(_BLOCK + 1, np.int64)  # where runs of ASCII text begin and end, in turn
    for d in range(n_docs):
        i, end = offsets[d], offsets[d + 1]
        key = none
        has_long_numbers = False
        patience = _PATIENCE
        while i < end:
            stop = min(i + _BLOCK, end)
            n_keys = 0
            while i < stop:
                n_ascii = _ascii_length(data[i:stop])
                if n_ascii >= _LEAST_ASCII:
                    key, n_keys, n_stems = _scan_ascii(data[i : i + n_ascii], key, keys, n_keys, edges, by_byte, stems)
                    counts[d, 3] += n_stems
                    i += n_ascii
                    patience = _PATIENCE
                    continue
                next_look = min(i + patience, stop)
                patience = min(2 * patience, _BLOCK)
                while i < next_look:
                    byte = np.int64(data[i])
                    if byte < 128:
                        code = ascii_codes[byte]
                        i += 1
                    else:
                        code, i = _beyond_ascii(data, i, codes)
                    if code == COLON:
                        counts[d, 3] += _is_stem(key, stems)
                        code = np.uint8(0)
                    # No branch on where a word ends: it cannot be predicted. Every step writes, only a run's end keeps it.
                    keys[n_keys] = key
                    n_keys += int(code == 0) & int(key != none)
                    key = key << five | np.uint64(code) if code != 0 else none
            if i == end:
                keys[n_keys] = key
                n_keys += int(key != none)
            packed = none
            for k in range(n_keys):
                run = keys[k]
                has_long_numbers |= run & long_mask == long_number
                slot = run % np.uint64(_SLOTS)
                packed += np.uint64(slots[slot] == run) << np.uint64(shifts[slot])
            for column in range(5):
                counts[d, column] += np.int64(packed >> np.uint64(column * _FIELD_BITS) & field)
        if has_long_numbers:
            counts[d, 4] += _long_numbers(data, offsets[d], end, codes)
    return counts
