"""Labels of a supervised fastText model, computed from the arrays of its file.

The definitions are those of fastText 0.9 (arXiv 1607.01759): words between white space, a hash (FNV-1a over signed bytes) for parts of
words and for n-grams of words, the mean of their rows, and softmax, sigmoids or a binary tree over the labels. Sums are formed in
float32 and in fastText's order. A document is one line: its line feeds are spaces, and the end of the line is the word `</s>`.
"""

from __future__ import annotations

from typing import Any, Final, TypeAlias

import numpy as np
from numba import types as numba_types

from tagcorpus.kernels.compiling.cached import njit

U8: TypeAlias = np.ndarray[Any, np.dtype[np.uint8]]
I32: TypeAlias = np.ndarray[Any, np.dtype[np.int32]]
I64: TypeAlias = np.ndarray[Any, np.dtype[np.int64]]
F32: TypeAlias = np.ndarray[Any, np.dtype[np.float32]]

types: Any = numba_types
LABEL = 1  # a kind of entry
SOFTMAX, SIGMOIDS, TREE = 0, 1, 2
"""What makes probabilities of scores: softmax over the labels, a sigmoid for each, or a binary tree of them."""

END: Final = np.frombuffer(b"</s>", np.uint8)
LABEL_PREFIX: Final = np.frombuffer(b"__label__", np.uint8)
CENTROIDS: Final = 256
_FNV_START, _FNV_PRIME = np.uint32(2166136261), np.uint32(16777619)
_WORD_PRIME = np.uint64(116049371)
_LESS, _GREATER = np.uint8(ord("<")), np.uint8(ord(">"))
_SIGMOID_STEPS, _SIGMOID_END = 512, 8.0

# A file's arrays may begin at any byte.
_U8S = types.Array(types.uint8, 1, "C", readonly=True, aligned=False)
_I32S = types.Array(types.int32, 1, "C", readonly=True, aligned=False)
_I64S = types.Array(types.int64, 1, "C", readonly=True, aligned=False)
_F32S = types.Array(types.float32, 1, "C", readonly=True, aligned=False)
_F32_ROWS = types.Array(types.float32, 2, "C", readonly=True, aligned=False)


@njit([types.Tuple((types.int64[::1], types.int64[::1], types.uint8[::1], types.int64))(_U8S, types.int64, types.int64)], nogil=True, cache=True)  # fmt: skip
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
def _hash(data: U8, start: int, end: int) -> np.uint32:
    value = _FNV_START
    for i in range(start, end):
        value = np.uint32((value ^ np.uint32(np.int32(np.int8(data[i])))) * _FNV_PRIME)
    return value


@njit([types.int64[::1](_U8S, _I64S, _I64S)], nogil=True, cache=True)
def word_table(data: U8, starts: I64, lengths: I64) -> I64:
    """Open hash table (a power of two) of the entries by their bytes: hash, 31 bits of it, above the entry's number; -1 where free."""
    size = 16
    while size < 2 * len(starts):
        size *= 2
    table = np.full(size, np.int64(-1))
    for i in range(len(starts)):
        key = np.int64(_hash(data, starts[i], starts[i] + lengths[i]))
        slot = key & (size - 1)
        while table[slot] >= 0:
            slot = (slot + 1) & (size - 1)
        table[slot] = (key & 0x7FFFFFFF) << 32 | i
    return table


@njit(nogil=True, cache=True)
def _is_equal(a: U8, start: int, b: U8, at: int, length: int) -> bool:
    for i in range(length):  # noqa: SIM110 - kernels have no generators
        if a[start + i] != b[at + i]:
            return False
    return True


@njit(nogil=True, cache=True)
def _entry_of(data: U8, starts: I64, lengths: I64, table: I64, text: U8, start: int, end: int, key: Any) -> Any:
    mask = len(table) - 1
    slot = np.int64(key) & mask
    known = np.int64(key) & 0x7FFFFFFF
    while table[slot] >= 0:
        if table[slot] >> 32 == known:
            entry = table[slot] & 0xFFFFFFFF
            if lengths[entry] == end - start and _is_equal(data, starts[entry], text, start, end - start):
                return entry
        slot = (slot + 1) & mask
    return -1


@njit(nogil=True, cache=True)
def _hashed_row(value: Any, n_words: int, is_pruned: bool, pruned: I32, kept: I32) -> Any:
    """The row of a hashed n-gram, -1 where pruning left none. pruned: an open hash table of buckets; kept: their rows."""
    if not is_pruned:
        return n_words + value
    mask = len(pruned) - 1
    slot = value & mask
    while pruned[slot] >= 0:
        if pruned[slot] == value:
            return n_words + np.int64(kept[slot])
        slot = (slot + 1) & mask
    return -1


@njit([types.Tuple((types.int32[::1], types.int32[::1]))(_I32S, _I32S)], nogil=True, cache=True)
def pruned_table(buckets: I32, rows: I32) -> tuple[I32, I32]:
    """Open hash table (int32, a power of two) of the buckets that pruning left, -1 where free, and the row of each."""
    size = 16
    while size < 2 * len(buckets):
        size *= 2
    keys, values = np.full(size, np.int32(-1)), np.zeros(size, np.int32)
    for i in range(len(buckets)):
        slot = np.int64(buckets[i]) & (size - 1)
        while keys[slot] >= 0 and keys[slot] != buckets[i]:
            slot = (slot + 1) & (size - 1)
        keys[slot], values[slot] = buckets[i], rows[i]
    return keys, values


@njit(nogil=True, cache=True)
def _is_space(byte: Any) -> Any:
    return byte == ord(" ") or byte == 0 or 9 <= byte <= 13


@njit(nogil=True, cache=True)
def _with_room(rows: I32, n: int) -> I32:
    """Room for n rows."""
    if n <= len(rows):
        return rows
    longer = np.empty(2 * n, np.int32)
    longer[: len(rows)] = rows
    return longer


@njit(nogil=True, cache=True)
def _parts_of_word(
    word: U8,
    minn: int,
    maxn: int,
    buckets: int,
    n_words: int,
    is_pruned: bool,
    pruned: I32,
    kept: I32,
    rows: I32,
    n: int,
) -> int:
    """Put the rows of a word's parts, from minn to maxn characters, behind the first n; returns how many there are then."""
    inverse = 1.0 / buckets
    for i in range(len(word)):
        if word[i] & 0xC0 == 0x80:
            continue
        value = _FNV_START
        j, characters = i, 1
        while j < len(word) and characters <= maxn:
            value = np.uint32((value ^ np.uint32(np.int32(np.int8(word[j])))) * _FNV_PRIME)
            j += 1
            while j < len(word) and word[j] & 0xC0 == 0x80:
                value = np.uint32((value ^ np.uint32(np.int32(np.int8(word[j])))) * _FNV_PRIME)
                j += 1
            if characters >= minn and not (characters == 1 and (i == 0 or j == len(word))):
                # The remainder, without a division: the quotient is right or one off.
                bucket = np.int64(value) - np.int64(value * inverse) * buckets
                bucket += buckets * (bucket < 0) - buckets * (bucket >= buckets)
                row = _hashed_row(bucket, n_words, is_pruned, pruned, kept)
                if row >= 0:
                    rows[n] = row
                    n += 1
            characters += 1
    return n


@njit([types.Tuple((types.int32[::1], types.int64[::1]))(_U8S, _I64S, _I64S, _U8S, _I64S, types.int64, _I64S, types.boolean, _I32S, _I32S, _U8S, _I64S)], nogil=True, cache=True)  # fmt: skip
def rows_of_texts(
    data: U8,
    starts: I64,
    lengths: I64,
    kinds: U8,
    table: I64,
    n_words: int,
    settings: I64,
    is_pruned: bool,
    pruned: I32,
    kept: I32,
    texts: U8,
    offsets: I64,
) -> tuple[I32, I64]:
    """The rows of the input matrix that each text has: words, their parts, and n-grams of words.

    settings  int64 [4]: words of an n-gram, buckets, least and most characters of a part (most 0: no parts)
    texts     UTF-8, one behind another, then `</s>`; offsets int64 [documents + 1] of the texts
    returns   (rows int32, of document i from ends[i] to ends[i + 1]; ends int64 [documents + 1])
    """
    word_ngrams, buckets, minn, maxn = settings[0], settings[1], settings[2], settings[3]
    rows = np.empty(1024, np.int32)
    n = 0
    ends = np.zeros(len(offsets), np.int64)
    hashes = np.empty(1024, np.int32)
    bracketed = np.empty(256, np.uint8)
    # The parts of words of the dictionary, once each.
    parts = np.empty(1024, np.int32)
    n_parts = 0
    part_starts = np.full(len(starts) if maxn > 0 else 0, np.int64(-1))
    part_ends = np.empty(len(part_starts), np.int64)
    for document in range(len(offsets) - 1):
        at, stop = offsets[document], offsets[document + 1]
        most_words = (stop - at) // 2 + 2
        rows = _with_room(rows, n + most_words * max(word_ngrams, 1))
        hashes = _with_room(hashes, most_words)
        n_hashes = 0
        is_over = False
        while not is_over:
            while at < stop and _is_space(texts[at]):
                at += 1
            start = at
            while at < stop and not _is_space(texts[at]):
                at += 1
            end = at
            if start == at:  # the end of the line
                start, end = offsets[-1], offsets[-1] + len(END)
            length = end - start
            is_end = length == len(END) and _is_equal(texts, start, END, 0, length)
            is_over = is_end
            key = _hash(texts, start, end)
            entry = _entry_of(data, starts, lengths, table, texts, start, end, key)
            if entry >= 0:
                is_label = kinds[entry] == LABEL
            else:
                is_label = length >= len(LABEL_PREFIX) and _is_equal(texts, start, LABEL_PREFIX, 0, len(LABEL_PREFIX))
            if is_label:
                continue
            if maxn > 0 and not is_end:
                if entry < 0 or part_starts[entry] < 0:
                    first = n_parts
                    if length + 2 > len(bracketed):
                        bracketed = np.empty(2 * (length + 2), np.uint8)
                    bracketed[0] = _LESS
                    bracketed[1 : length + 1] = texts[start:end]
                    bracketed[length + 1] = _GREATER
                    parts = _with_room(parts, n_parts + (length + 2) * min(maxn, length + 2))
                    n_parts = _parts_of_word(
                        bracketed[: length + 2], minn, maxn, buckets, n_words, is_pruned, pruned, kept, parts, n_parts
                    )
                    if entry >= 0:
                        part_starts[entry], part_ends[entry] = first, n_parts
                    last = n_parts
                else:
                    first, last = part_starts[entry], part_ends[entry]
                rows = _with_room(rows, n + 1 + last - first)
                if entry >= 0:
                    rows[n] = entry
                    n += 1
                rows[n : n + last - first] = parts[first:last]
                n += last - first
                if entry < 0:
                    n_parts = first
            elif entry >= 0:
                rows = _with_room(rows, n + 1)  # parts of words may have taken the room of the line's end
                rows[n] = entry
                n += 1
            if word_ngrams > 1:
                hashes[n_hashes] = np.int32(key)
                n_hashes += 1
        rows = _with_room(rows, n + n_hashes * max(word_ngrams - 1, 0))
        for i in range(n_hashes):
            total = np.uint64(np.int64(hashes[i]))
            for j in range(i + 1, min(n_hashes, i + word_ngrams)):
                total = total * _WORD_PRIME + np.uint64(np.int64(hashes[j]))
                row = _hashed_row(np.int64(total % np.uint64(buckets)), n_words, is_pruned, pruned, kept)
                if row >= 0:
                    rows[n] = row
                    n += 1
        ends[document + 1] = n
    return rows[:n].copy(), ends


@njit([types.float32[:, ::1](_F32_ROWS, _I32S, _I64S)], nogil=True, cache=True)
def mean_rows(matrix: F32, rows: I32, ends: I64) -> F32:
    """The mean of each document's rows, float32 [documents, dimension]; zeros where it has none."""
    dimension = matrix.shape[1]
    means = np.zeros((len(ends) - 1, dimension), np.float32)
    for document in range(len(ends) - 1):
        mean = means[document]
        for at in range(ends[document], ends[document + 1]):
            row = rows[at]
            for i in range(dimension):
                mean[i] += matrix[row, i]
        if ends[document + 1] > ends[document]:
            share = np.float32(1.0 / (ends[document + 1] - ends[document]))
            for i in range(dimension):
                mean[i] *= share
    return means


@njit(nogil=True, cache=True)
def _norm(norms: U8, norm_centroids: F32, row: Any) -> np.float32:
    return norm_centroids[norms[row]] if len(norms) else np.float32(1)


@njit([types.float32[:, ::1](_U8S, _I64S, _F32S, _U8S, _F32S, _I32S, _I64S)], nogil=True, cache=True)
def mean_coded_rows(codes: U8, shape: I64, centroids: F32, norms: U8, norm_centroids: F32, rows: I32, ends: I64) -> F32:
    """The same for a quantised matrix. shape int64 [4]: dimension, parts of a row, values of a part, values of the last part."""
    dimension, n_parts, width, last = shape[0], shape[1], shape[2], shape[3]
    means = np.zeros((len(ends) - 1, dimension), np.float32)
    for document in range(len(ends) - 1):
        mean = means[document]
        for at in range(ends[document], ends[document + 1]):
            row = np.int64(rows[at])
            norm = _norm(norms, norm_centroids, row)
            for part in range(n_parts):
                values = last if part == n_parts - 1 else width
                first = part * CENTROIDS * width + np.int64(codes[row * n_parts + part]) * values
                for i in range(values):
                    mean[part * width + i] += norm * centroids[first + i]
        if ends[document + 1] > ends[document]:
            share = np.float32(1.0 / (ends[document + 1] - ends[document]))
            for i in range(dimension):
                mean[i] *= share
    return means


@njit([types.float32[:, ::1](_F32_ROWS, types.float32[:, ::1])], nogil=True, cache=True)
def scores_of(matrix: F32, means: F32) -> F32:
    """Products of the documents' means with the rows of the output matrix, float32 [documents, rows]."""
    scores = np.empty((len(means), len(matrix)), np.float32)
    for document in range(len(means)):
        for row in range(len(matrix)):
            total = np.float32(0)
            for i in range(matrix.shape[1]):
                total += matrix[row, i] * means[document, i]
            scores[document, row] = total
    return scores


@njit([types.float32[:, ::1](_U8S, _I64S, _F32S, _U8S, _F32S, types.int64, types.float32[:, ::1])], nogil=True, cache=True)  # fmt: skip
def coded_scores_of(
    codes: U8, shape: I64, centroids: F32, norms: U8, norm_centroids: F32, n_rows: int, means: F32
) -> F32:
    """The same for a quantised output matrix."""
    n_parts, width, last = shape[1], shape[2], shape[3]
    scores = np.empty((len(means), n_rows), np.float32)
    for document in range(len(means)):
        for row in range(n_rows):
            total = np.float32(0)
            for part in range(n_parts):
                values = last if part == n_parts - 1 else width
                first = part * CENTROIDS * width + np.int64(codes[row * n_parts + part]) * values
                for i in range(values):
                    total += means[document, part * width + i] * centroids[first + i]
            scores[document, row] = total * _norm(norms, norm_centroids, row)
    return scores


@njit(nogil=True, cache=True)
def _exp(x: np.float32) -> np.float32:
    """In float32, where the library does so: of nearly equal labels the last bit decides which comes first. Its softmax is in float64."""
    return np.float32(np.exp(np.float32(x)))


@njit(nogil=True, cache=True)
def _log(value: Any) -> np.float32:
    """As fastText keeps probabilities: no logarithm of zero."""
    return np.float32(np.log(np.float64(value) + 1e-5))


@njit(nogil=True, cache=True)
def _up(values: F32, labels: I32, at: int, top: int, value: np.float32, label: int) -> None:
    """Put a pair into the heap, whose smallest value is first, at the free place `at` or above it."""
    while at > top:
        parent = (at - 1) // 2
        if not values[parent] > value:
            break
        values[at], labels[at] = values[parent], labels[parent]
        at = parent
    values[at], labels[at] = value, label


@njit(nogil=True, cache=True)
def _pop(values: F32, labels: I32, n: int) -> None:
    """Move the smallest of n pairs to the end, as the C++ library does: it decides which of two equal values stays."""
    value, label = values[n - 1], labels[n - 1]
    values[n - 1], labels[n - 1] = values[0], labels[0]
    hole, child = 0, 0
    while child < (n - 2) // 2:
        child = 2 * child + 2
        if values[child] > values[child - 1]:
            child -= 1
        values[hole], labels[hole] = values[child], labels[child]
        hole = child
    if n - 1 & 1 == 0 and child == (n - 3) // 2:
        child = 2 * child + 1
        values[hole], labels[hole] = values[child], labels[child]
        hole = child
    _up(values, labels, hole, 0, value, label)


@njit(nogil=True, cache=True)
def _add(values: F32, labels: I32, n: int, k: int, value: np.float32, label: int) -> int:
    """Keep a pair among the k best; returns how many there are."""
    if n == k and value < values[0]:
        return n
    _up(values, labels, n, 0, value, label)
    n += 1
    if n > k:
        _pop(values, labels, n)
        n -= 1
    return n


@njit(nogil=True, cache=True)
def _tree_best(scores: F32, tree: I32, lowest: np.float32, k: int, values: F32, labels: I32) -> int:
    """The k best leaves of a binary tree, by depth first. tree int32 [2, nodes]: the left and the right child, -1 of a leaf."""
    n_labels = (tree.shape[1] + 1) // 2
    nodes = np.empty(tree.shape[1] + 1, np.int32)
    so_far = np.empty(tree.shape[1] + 1, np.float32)
    nodes[0], so_far[0] = tree.shape[1] - 1, np.float32(0)
    waiting, n = 1, 0
    while waiting:
        waiting -= 1
        node, value = nodes[waiting], so_far[waiting]
        if value < lowest or (n == k and value < values[0]):
            continue
        if tree[0, node] < 0:
            n = _add(values, labels, n, k, value, node)
            continue
        right = np.float32(1) / (np.float32(1) + _exp(-scores[node - n_labels]))
        nodes[waiting], so_far[waiting] = tree[1, node], value + _log(right)
        nodes[waiting + 1], so_far[waiting + 1] = tree[0, node], value + _log(np.float32(1) - right)
        waiting += 2
    return n


@njit([types.Tuple((types.int32[:, ::1], types.float32[:, ::1], types.int64[::1]))(types.float32[:, ::1], _I64S, types.int64, types.int32[:, ::1], types.int64, types.float64)], nogil=True, cache=True)  # fmt: skip
def best_labels(scores: F32, ends: I64, kind: int, tree: I32, k: int, threshold: float) -> tuple[I32, F32, I64]:
    """The k most probable labels of each document, falling: (labels int32 [documents, k], probabilities float32, how many int64).

    A document without rows has none.
    """
    n_documents, n_scores = scores.shape
    labels, values = np.zeros((n_documents, k + 1), np.int32), np.zeros((n_documents, k + 1), np.float32)
    counts = np.zeros(n_documents, np.int64)
    steps = np.empty(_SIGMOID_STEPS + 1, np.float32)
    for i in range(_SIGMOID_STEPS + 1):
        x = np.float32(np.float32(i * 2 * _SIGMOID_END) / _SIGMOID_STEPS - _SIGMOID_END)
        steps[i] = np.float32(1.0 / (1.0 + np.float64(_exp(-x))))
    lowest = np.float32(threshold)
    for document in range(n_documents):
        if ends[document] == ends[document + 1]:
            continue
        row, n = scores[document], 0
        if kind == TREE:
            n = _tree_best(row, tree, _log(lowest), k, values[document], labels[document])
        else:
            if kind == SOFTMAX:
                most = row.max()
                total = np.float32(0)
                for i in range(n_scores):
                    row[i] = np.float32(np.exp(np.float64(np.float32(row[i] - most))))
                    total += row[i]
                for i in range(n_scores):
                    row[i] /= total
            else:
                for i in range(n_scores):
                    if row[i] < -_SIGMOID_END:
                        row[i] = 0
                    elif row[i] > _SIGMOID_END:
                        row[i] = 1
                    else:
                        place = np.int64((row[i] + np.float32(8)) * np.float32(512) / np.float32(8) / np.float32(2))
                        row[i] = steps[place]
            bar = -1.0  # surely too small where k are there
            for i in range(n_scores):
                if row[i] >= lowest and row[i] > bar:
                    n = _add(values[document], labels[document], n, k, _log(row[i]), i)
                    if n == k:
                        bar = np.exp(np.float64(values[document, 0])) * (1 - 1e-6) - 1.1e-5
        for left in range(n, 1, -1):
            _pop(values[document], labels[document], left)
        for i in range(n):
            values[document, i] = _exp(values[document, i])
        counts[document] = n
    return labels, values, counts
