"""From texts to the mean of their rows in a supervised fastText model, computed from the arrays of the model's file.

The definitions are those of fastText 0.9 (arXiv 1607.01759): words between white space, parts of words, n-grams of words, and the mean of
their rows. Sums are formed in float32 and in fastText's order. A document is one line: its line feeds are spaces, and the end of the line
is the word `</s>`.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from tagcorpus.kernels.compiling.cached import njit
from tagcorpus.kernels.documents.fasttext_dictionary import (
    F32,
    F32_ROWS,
    F32S,
    FNV_START,
    I32,
    I64,
    I64S,
    U8,
    U8S,
    entry_of,
    hashed,
    hashed_row,
    is_equal,
    types,
)
from tagcorpus.kernels.documents.vectors import add_rows, put_product

END: Final = np.frombuffer(b"</s>", np.uint8)
LABEL_PREFIX: Final = np.frombuffer(b"__label__", np.uint8)
CENTROIDS: Final = 256
_WORD_PRIME = np.uint64(116049371)
_LESS, _GREATER = np.uint8(ord("<")), np.uint8(ord(">"))
_ROOM: Final = 1024  # rows that are added together; all of them stay in the processor's cache
_CACHED_WORDS: Final = 1 << 18
_CACHED_ROWS: Final = 1 << 22

CODED = types.Tuple((U8S, I64S, F32S, U8S, F32S))
_CACHE = types.Tuple((types.int32[:, ::1], types.int32[::1], types.int64[::1]))


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
        value = FNV_START
        j, characters = i, 1
        while j < length and characters <= maxn:
            value = hashed(value, word[j])
            j += 1
            while word[j] & 0xC0 == 0x80:
                value = hashed(value, word[j])
                j += 1
            if characters >= least:
                # The remainder, without a division: the quotient is right or one too small.
                bucket = np.int64(value) - np.int64(np.uint64(value) * inverse >> np.uint64(32)) * buckets
                bucket -= buckets * (bucket >= buckets)
                row = hashed_row(bucket, n_words, is_pruned, pruned)
                rows[n] = row
                n += row >= 0
            characters += 1
        i += 1
        while word[i] & 0xC0 == 0x80:
            i += 1
    return length, n


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
            start, value = at, FNV_START
            while at < stop and not _is_space(texts[at]):
                value = hashed(value, texts[at])
                at += 1
            end = at
            if start == at:  # the end of the line
                start, end = offsets[-1], offsets[-1] + len(END)
                for i in range(start, end):
                    value = hashed(value, texts[i])
            length = end - start
            is_end = length == len(END) and is_equal(texts, start, texts, offsets[-1], length)
            is_over = is_end
            entry = entry_of(data, starts, table, texts, start, end, value)
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
                row = hashed_row(np.int64(total % np.uint64(buckets)), n_words, is_pruned, pruned)
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
