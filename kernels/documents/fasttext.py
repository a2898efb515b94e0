"""From texts to the mean of their rows in a supervised fastText model, computed from the arrays of the model's file.

The definitions are those of fastText 0.9 (arXiv 1607.01759): words between white space, a hash (FNV-1a over signed bytes) for parts of
words and for n-grams of words, and the mean of their rows. Sums are formed in float32 and in fastText's order. A document is one line:
its line feeds are spaces, and the end of the line is the word `</s>`.
"""

from __future__ import annotations

from typing import Any, Final, TypeAlias

import numpy as np
from numba import njit
from numba import types as numba_types

from tagcorpus.kernels.documents.vectors import add_rows, eight_bytes, put_product

U8: TypeAlias = np.ndarray[Any, np.dtype[np.uint8]]
I32: TypeAlias = np.ndarray[Any, np.dtype[np.int32]]
I64: TypeAlias = np.ndarray[Any, np.dtype[np.int64]]
F32: TypeAlias = np.ndarray[Any, np.dtype[np.float32]]

types: Any = numba_types

END: Final = np.frombuffer(b"</s>", np.uint8)
LABEL_PREFIX: Final = np.frombuffer(b"__label__", np.uint8)
PADDING: Final = 8
"""Bytes behind the texts that may be read, whatever they are."""
CENTROIDS: Final = 256
_FNV_START, _FNV_PRIME = np.uint32(2166136261), np.uint32(16777619)
_WORD_PRIME = np.uint64(116049371)
_LESS, _GREATER = np.uint8(ord("<")), np.uint8(ord(">"))
_ROOM: Final = 1024  # rows that are added together; all of them stay in the processor's cache
_CACHED_WORDS: Final = 1 << 18
_CACHED_ROWS: Final = 1 << 22

# A file's arrays may begin at any byte.
U8S = types.Array(types.uint8, 1, "C", readonly=True, aligned=False)
I32S = types.Array(types.int32, 1, "C", readonly=True, aligned=False)
I64S = types.Array(types.int64, 1, "C", readonly=True, aligned=False)
F32S = types.Array(types.float32, 1, "C", readonly=True, aligned=False)
F32_ROWS = types.Array(types.float32, 2, "C", readonly=True, aligned=False)


@njit([types.Tuple((types.int64[::1], types.int64[::1], types.uint8[::1], types.int64))(U8S, types.int64, types.int64)], nogil=True, cache=True)  # fmt: skip
def entries(data: U8, at: int, n: int) -> tuple[I64, I64, U8, int]:
    """The dictionary: of each entry its first byte (position int64 [n]), its bytes without the zero at their end (int64 [n]) and its
    kind (uint8 [n]); and the position behind the dictionary, beyond the data where they end first."""
    starts, lengths, kinds = np.zeros(n, np.int64), np.zeros(n, np.int64), np.zeros(n, np.uint8)
    for i in range(n):
        end = at
        while end < len(data) and data[end] != 0:
            end += 1
        if end + 10 > len(data):
            return starts, lengths, kinds, len(data) + 1
        starts[i], lengths[i], kinds[i] = at, end - at, data[end + 9]
        at = end + 10
    return starts, lengths, kinds, at


@njit(nogil=True, cache=True)
def _hashed(value: np.uint32, byte: Any) -> np.uint32:
    """FNV-1a of one more byte."""
    return np.uint32((value ^ np.uint32(np.int32(np.int8(byte)))) * _FNV_PRIME)


@njit([types.int64[::1](U8S, I64S, I64S)], nogil=True, cache=True)
def word_table(data: U8, starts: I64, lengths: I64) -> I64:
    """Open hash table (a power of two) of the entries by their bytes: hash, 31 bits of it, above the entry's number; -1 where free."""
    size = 16
    while size < 2 * len(starts):
        size *= 2
    table = np.full(size, np.int64(-1))
    for i in range(len(starts)):
        value = _FNV_START
        for at in range(starts[i], starts[i] + lengths[i]):
            value = _hashed(value, data[at])
        key = np.int64(value)
        slot = key & (size - 1)
        while table[slot] >= 0:
            slot = (slot + 1) & (size - 1)
        table[slot] = (key & 0x7FFFFFFF) << 32 | i
    return table


@njit([types.int64[::1](I32S, I32S)], nogil=True, cache=True)
def pruned_table(buckets: I32, rows: I32) -> I64:
    """Open hash table (a power of two) of the buckets that pruning left: the bucket above its row; -1 where free."""
    size = 16
    while size < 2 * len(buckets):
        size *= 2
    table = np.full(size, np.int64(-1))
    for i in range(len(buckets)):
        slot = np.int64(buckets[i]) & (size - 1)
        while table[slot] >= 0 and table[slot] >> 32 != buckets[i]:
            slot = (slot + 1) & (size - 1)
        table[slot] = np.int64(buckets[i]) << 32 | np.int64(rows[i])
    return table


@njit(nogil=True, cache=True)
def _is_equal(a: U8, start: int, b: U8, at: int, length: int) -> bool:
    """Whether both have the same bytes. PADDING bytes are readable behind both."""
    while length >= 8:
        if eight_bytes(a, start) != eight_bytes(b, at):
            return False
        start += 8
        at += 8
        length -= 8
    return length == 0 or (eight_bytes(a, start) ^ eight_bytes(b, at)) << np.uint64(64 - 8 * length) == 0


@njit(nogil=True, cache=True)
def _entry_of(data: U8, starts: I64, table: I64, text: U8, start: int, end: int, value: np.uint32) -> Any:
    """The number of the entry with these bytes, -1 if none has them. Behind the bytes of an entry is a zero, which no word has."""
    mask = len(table) - 1
    slot = np.int64(value) & mask
    known = np.int64(value) & 0x7FFFFFFF
    while True:
        entry = table[slot]
        if entry < 0:
            return -1
        if entry >> 32 == known:
            entry &= 0xFFFFFFFF
            at = starts[entry]
            if _is_equal(data, at, text, start, end - start) and data[at + end - start] == 0:
                return entry
        slot = (slot + 1) & mask


@njit(nogil=True, cache=True)
def _hashed_row(bucket: Any, n_words: int, is_pruned: bool, pruned: I64) -> Any:
    """The row of a hashed n-gram, -1 where pruning left none."""
    if not is_pruned:
        return n_words + bucket
    mask = len(pruned) - 1
    slot = bucket & mask
    while pruned[slot] >= 0:
        if pruned[slot] >> 32 == bucket:
            return n_words + (pruned[slot] & 0xFFFFFFFF)
        slot = (slot + 1) & mask
    return -1


@njit(nogil=True, cache=True)
def _is_space(byte: Any) -> Any:
    return byte <= 32 and (byte == 32 or 9 <= byte <= 13 or byte == 0)


@njit(nogil=True, cache=True)
def _starts_with_label(texts: U8, start: int) -> bool:
    for i in range(len(LABEL_PREFIX)):  # noqa: SIM110 - kernels have no generators
        if texts[start + i] != LABEL_PREFIX[i]:
            return False
    return True


def part_cache(n_words: int) -> tuple[I32, I32, I64]:
    """Room for the rows of frequent words and their parts, which `means_of_texts` fills as it meets them.

    A dictionary begins with its most frequent words. Of each of the first 262,144 it holds the place of its rows (-1: not yet) and
    how many there are, int32 [words, 2]; then up to 4,194,304 rows; then how many of these are used. Memory that is not used costs nothing.
    """
    places = np.full((min(n_words, _CACHED_WORDS), 2), -1, np.int32)
    return places, np.empty(_CACHED_ROWS, np.int32), np.zeros(1, np.int64)


@njit(nogil=True, cache=True)
def _add(sums: F32, rows: I32, n: int, matrix: F32) -> None:
    """Add n rows of a matrix to the sums, in their order."""
    dimension, column = len(sums), 0
    while column + 64 <= dimension:
        add_rows(sums, column, matrix, rows, n, 64)
        column += 64
    while column + 16 <= dimension:
        add_rows(sums, column, matrix, rows, n, 16)
        column += 16
    while column + 4 <= dimension:
        add_rows(sums, column, matrix, rows, n, 4)
        column += 4
    while column < dimension:
        add_rows(sums, column, matrix, rows, n, 1)
        column += 1


@njit(nogil=True, cache=True)
def norm_of(norms: U8, norm_centroids: F32, row: Any) -> np.float32:
    return norm_centroids[norms[row]] if len(norms) else np.float32(1)


@njit(nogil=True, cache=True)
def decode_rows(rows: I32, n: int, coded: Any, decoded: Any) -> None:
    """Put n rows of a quantised matrix, times their norms, into the first rows of a dense one.

    coded  codes, shape, centroids, norms (of length 0: all are 1) and their centroids; the shape is int64 [4]: dimension, parts of a row,
           values of a part, values of the last part
    """
    codes, shape, centroids, norms, norm_centroids = coded
    dimension, n_parts, width, last = shape[0], shape[1], shape[2], shape[3]
    values = decoded.reshape(-1)
    for i in range(n):
        row = np.int64(rows[i])
        norm = norm_of(norms, norm_centroids, row)
        first, code, place = np.int64(0), row * n_parts, i * dimension
        if width == 2 and last == 2:
            for _ in range(n_parts):
                put_product(values, place, norm, centroids, first + 2 * np.int64(codes[code]), 2)
                first += 2 * CENTROIDS
                code += 1
                place += 2
        elif width == 4 and last == 4:
            for _ in range(n_parts):
                put_product(values, place, norm, centroids, first + 4 * np.int64(codes[code]), 4)
                first += 4 * CENTROIDS
                code += 1
                place += 4
        else:
            for part in range(n_parts):
                length = last if part == n_parts - 1 else width
                at = first + np.int64(codes[code]) * length
                for j in range(length):
                    put_product(values, place + j, norm, centroids, at + j, 1)
                first += CENTROIDS * width
                code += 1
                place += length


@njit(nogil=True, cache=True)
def _flush(sums: F32, rows: I32, n: int, dense: F32, coded: Any, decoded: F32, in_order: I32) -> None:
    """Add n rows to the sums."""
    if len(coded[1]) == 0:
        _add(sums, rows, n, dense)
    else:
        decode_rows(rows, n, coded, decoded)
        _add(sums, in_order, n, decoded)


@njit(nogil=True, cache=True)
def _put_parts(
    word: U8, length: int, i: int, settings: I64, pruned: I64, rows: I32, n: int, room: int
) -> tuple[int, int]:
    """Put the rows of a word's parts behind the first n, beginning with the parts that begin at byte i.

    word     `<`, the word, `>`, in all `length` bytes, and a zero
    returns  the byte where the next part begins, `length` unless the room is used up; and how many rows there are then
    """
    buckets, minn, maxn, n_words, is_pruned = settings[1], settings[2], settings[3], settings[4], settings[5] != 0
    inverse = np.uint64(0x100000000) // np.uint64(buckets)
    while i < length - 1:  # the `>` alone is no part
        if n + maxn > room:
            return i, n
        least = minn if i else max(minn, 2)  # nor is the `<`
        value = _FNV_START
        j, characters = i, 1
        while j < length and characters <= maxn:
            value = _hashed(value, word[j])
            j += 1
            while word[j] & 0xC0 == 0x80:
                value = _hashed(value, word[j])
                j += 1
            if characters >= least:
                # The remainder, without a division: the quotient is right or one too small.
                bucket = np.int64(value) - np.int64(np.uint64(value) * inverse >> np.uint64(32)) * buckets
                bucket -= buckets * (bucket >= buckets)
                row = _hashed_row(bucket, n_words, is_pruned, pruned)
                rows[n] = row
                n += row >= 0
            characters += 1
        i += 1
        while word[i] & 0xC0 == 0x80:
            i += 1
    return length, n


CODED = types.Tuple((U8S, I64S, F32S, U8S, F32S))
_CACHE = types.Tuple((types.int32[:, ::1], types.int32[::1], types.int64[::1]))


@njit([types.Tuple((types.float32[:, ::1], types.int64[::1]))(types.Tuple((U8S, I64S, I64S)), I64S, I64S, F32_ROWS, CODED, _CACHE, U8S, I64S)], nogil=True, cache=True)  # fmt: skip
def means_of_texts(
    words: Any, settings: I64, pruned: I64, dense: F32, coded: Any, cache: Any, texts: U8, offsets: I64
) -> tuple[F32, I64]:
    """Of each text the mean of its rows of the input matrix: those of words, of their parts, and of n-grams of words.

    words     bytes of the file, the entries' first bytes, and their table
    settings  int64 [6]: words of an n-gram, buckets, least and most characters of a part (most 0: no parts), words of the dictionary, and
              whether pruning left only some buckets
    dense     the input matrix, of no rows where it is quantised
    coded     of `decode_rows`, empty arrays where the matrix is dense
    cache     of `part_cache`
    texts     UTF-8, one behind another, then `</s>` and PADDING bytes; offsets int64 [documents + 1] of the texts
    returns   (means float32 [documents, dimension], zeros where there are no rows; how many rows, int64 [documents])
    """
    data, starts, table = words
    word_ngrams, buckets, maxn, n_words, is_pruned = (
        settings[0],
        settings[1],
        settings[3],
        settings[4],
        settings[5] != 0,
    )
    places, cached, n_cached = cache
    dimension = coded[1][0] if len(coded[1]) else dense.shape[1]
    room = max(_ROOM, 4 * maxn)
    rows = np.empty(room, np.int32)
    decoded = np.empty((room if len(coded[1]) else 0, dimension), np.float32)
    in_order = np.arange(len(rows)).astype(np.int32)
    hashes = np.empty(1024, np.int32)
    bracketed = np.empty(256, np.uint8)
    n_documents = len(offsets) - 1
    means, counts = np.zeros((n_documents, dimension), np.float32), np.zeros(n_documents, np.int64)
    for document in range(n_documents):
        sums = means[document]
        at, stop = offsets[document], offsets[document + 1]
        n = count = n_hashes = 0
        is_over = False
        while not is_over:
            while at < stop and _is_space(texts[at]):
                at += 1
            start, value = at, _FNV_START
            while at < stop and not _is_space(texts[at]):
                value = _hashed(value, texts[at])
                at += 1
            end = at
            if start == at:  # the end of the line
                start, end = offsets[-1], offsets[-1] + len(END)
                for i in range(start, end):
                    value = _hashed(value, texts[i])
            length = end - start
            is_end = length == len(END) and _is_equal(texts, start, texts, offsets[-1], length)
            is_over = is_end
            entry = _entry_of(data, starts, table, texts, start, end, value)
            if entry >= n_words or (entry < 0 and length >= len(LABEL_PREFIX) and _starts_with_label(texts, start)):
                continue
            if word_ngrams > 1:
                if n_hashes == len(hashes):
                    hashes = np.concatenate((hashes, hashes))
                hashes[n_hashes] = np.int32(value)
                n_hashes += 1
            if n >= room - 1:
                _flush(sums, rows, n, dense, coded, decoded, in_order)
                count += n
                n = 0
            if maxn == 0 or is_end:
                if entry >= 0:
                    rows[n] = entry
                    n += 1
                continue
            is_cacheable = 0 <= entry < len(places)
            if is_cacheable and places[entry, 0] >= 0:
                begin, n_parts = np.int64(places[entry, 0]), np.int64(places[entry, 1])
                if n + n_parts > room:
                    _flush(sums, rows, n, dense, coded, decoded, in_order)
                    count += n
                    n = 0
                for i in range(n_parts):
                    rows[n + i] = cached[begin + i]
                n += int(n_parts)
                continue
            first = n
            if entry >= 0:
                rows[n] = entry
                n += 1
            length += 2
            if length >= len(bracketed):
                bracketed = np.empty(2 * length, np.uint8)
            bracketed[0] = _LESS
            for i in range(length - 2):
                bracketed[i + 1] = texts[start + i]
            bracketed[length - 1], bracketed[length] = _GREATER, 0
            byte, n = _put_parts(bracketed, length, 0, settings, pruned, rows, n, room)
            while byte < length:
                _flush(sums, rows, n, dense, coded, decoded, in_order)
                count += n
                is_cacheable = False
                byte, n = _put_parts(bracketed, length, byte, settings, pruned, rows, 0, room)
            if is_cacheable and n_cached[0] + n - first <= len(cached):
                places[entry, 0], places[entry, 1] = n_cached[0], n - first
                for i in range(first, n):
                    cached[n_cached[0]] = rows[i]
                    n_cached[0] += 1
        for i in range(n_hashes):
            total = np.uint64(np.int64(hashes[i]))
            for j in range(i + 1, min(n_hashes, i + word_ngrams)):
                total = total * _WORD_PRIME + np.uint64(np.int64(hashes[j]))
                row = _hashed_row(np.int64(total % np.uint64(buckets)), n_words, is_pruned, pruned)
                if row >= 0:
                    if n == room:
                        _flush(sums, rows, n, dense, coded, decoded, in_order)
                        count += n
                        n = 0
                    rows[n] = row
                    n += 1
        _flush(sums, rows, n, dense, coded, decoded, in_order)
        count += n
        counts[document] = count
        if count:
            share = np.float32(1.0 / count)
            for i in range(dimension):
                sums[i] *= share
    return means, counts
