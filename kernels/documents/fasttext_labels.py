"""Scores and the most probable labels of a supervised fastText model, from the means of its rows.

The definitions are those of fastText 0.9 (arXiv 1607.01759): softmax, sigmoids or a binary tree over the labels. Sums are formed in
float32 and in fastText's order.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numba import njit

from tagcorpus.kernels.documents.fasttext import CENTROIDS, F32, F32_ROWS, F32S, I32, I64, I64S, U8, U8S, norm_of, types

SOFTMAX, SIGMOIDS, TREE = 0, 1, 2
"""What makes probabilities of scores: softmax over the labels, a sigmoid for each, or a binary tree of them."""
_SIGMOID_STEPS: Final = 512
_SIGMOID_END: Final = 8.0


@njit([types.float32[:, ::1](F32_ROWS, types.float32[:, ::1])], nogil=True, cache=True)
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


@njit([types.float32[:, ::1](U8S, I64S, F32S, U8S, F32S, types.int64, types.float32[:, ::1])], nogil=True, cache=True)  # fmt: skip
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
            scores[document, row] = total * norm_of(norms, norm_centroids, row)
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


@njit([types.Tuple((types.int32[:, ::1], types.float32[:, ::1], types.int64[::1]))(types.float32[:, ::1], I64S, types.int64, types.int32[:, ::1], types.int64, types.float64)], nogil=True, cache=True)  # fmt: skip
def best_labels(scores: F32, n_rows: I64, kind: int, tree: I32, k: int, threshold: float) -> tuple[I32, F32, I64]:
    """The k most probable labels of each document, falling: (labels int32 [documents, k], probabilities float32, how many int64).

    n_rows   rows of each document; without rows, it has no labels
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
        if n_rows[document] == 0:
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
