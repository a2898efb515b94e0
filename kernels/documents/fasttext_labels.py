"""Scores and the most probable labels of a supervised fastText model, from the means of its rows.

The definitions are those of fastText 0.9 (arXiv 1607.01759): softmax, sigmoids or a binary tree over the labels. Sums are formed in
float32 and in fastText's order.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from tagcorpus.kernels.compiling.cached import njit
from tagcorpus.kernels.documents.fasttext import CENTROIDS, CODED, decode_rows, norm_of
from tagcorpus.kernels.documents.fasttext_dictionary import F32, F32_ROWS, I32, I64, I64S, types
from tagcorpus.kernels.documents.vectors import LANES, sum_products

SOFTMAX, SIGMOIDS, TREE = 0, 1, 2
"""What makes probabilities of scores: softmax over the labels, a sigmoid for each, or a binary tree of them."""
_SIGMOID_STEPS: Final = 512
_SIGMOID_END: Final = 8.0


@njit([types.float32[:, ::1](F32_ROWS, CODED, types.int64, types.float32[:, ::1])], nogil=True, cache=True)
def scores_of(dense: F32, coded: Any, n_rows: int, means: F32) -> F32:
    """Products of the documents' means with the rows of the output matrix, float32 [documents, rows]: of LANES documents side by side.

    dense, coded  the matrix, as for `means_of_texts`
    """
    codes, shape, centroids, norms, norm_centroids = coded
    without_norms = (codes, shape, centroids, norms[:0], norm_centroids)
    n_documents, dimension = means.shape
    scores = np.empty((n_documents, n_rows), np.float32)
    columns, totals = np.zeros((dimension, LANES), np.float32), np.empty(LANES, np.float32)
    decoded, number = np.empty((1, dimension), np.float32), np.zeros(1, np.int32)
    for first in range(0, n_documents, LANES):
        n = min(LANES, n_documents - first)
        for j in range(n):
            for i in range(dimension):
                columns[i, j] = means[first + j, i]
        for row in range(n_rows):
            if len(shape) == 0:
                sum_products(totals, dense, row * dimension, columns, dimension)
            else:
                number[0] = row
                decode_rows(number, 1, without_norms, decoded)
                sum_products(totals, decoded, 0, columns, dimension)
                norm = norm_of(norms, norm_centroids, row)
                for j in range(n):
                    totals[j] *= norm
            for j in range(n):
                scores[first + j, row] = totals[j]
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
def _put(values: F32, labels: I32, n: int, k: int, value: np.float32, label: int, is_full: bool) -> int:
    """Put a pair into the heap of n pairs, whose smallest value is first; returns how many there are then, k at most.

    The smallest of more than k pairs goes to the end, by the steps of the C++ library: they decide which of two equal values stays.
    With is_full, it only goes there. One function for both, since Numba counts references to arrays at every call.
    """
    at = n
    while True:
        if is_full:
            value, label = values[n], labels[n]
            values[n], labels[n] = values[0], labels[0]
            at, child = 0, 0
            while child < (n - 1) // 2:
                child = 2 * child + 2
                if values[child] > values[child - 1]:
                    child -= 1
                values[at], labels[at] = values[child], labels[child]
                at = child
            if n & 1 == 0 and child == (n - 2) // 2:
                child = 2 * child + 1
                values[at], labels[at] = values[child], labels[child]
                at = child
        while at > 0 and values[(at - 1) // 2] > value:
            values[at], labels[at] = values[(at - 1) // 2], labels[(at - 1) // 2]
            at = (at - 1) // 2
        values[at], labels[at] = value, label
        if is_full or n < k:
            return min(n + 1, k)
        is_full = True


@njit(nogil=True, cache=True)
def _finish(values: F32, labels: I32, n: int) -> None:
    """Probabilities, falling, in the place of the heap of their logarithms."""
    for last in range(n - 1, 0, -1):
        _put(values, labels, last, last, values[0], labels[0], True)
    for i in range(n):
        values[i] = _exp(values[i])


@njit([types.Tuple((types.int32[:, ::1], types.float32[:, ::1], types.int64[::1]))(F32_ROWS, CODED, types.float32[:, ::1], I64S, types.int32[:, ::1], types.int64, types.float64)], nogil=True, cache=True)  # fmt: skip
def best_leaves(
    dense: F32, coded: Any, means: F32, n_rows: I64, tree: I32, k: int, threshold: float
) -> tuple[I32, F32, I64]:
    """`best_labels` of a binary tree, by depth first: only rows of nodes that are reached are read. -1 labels: a score is not a number.

    tree  int32 [2, nodes]: the left and the right child, -1 of a leaf
    """
    codes, shape, centroids, norms, norm_centroids = coded
    is_coded, dimension = len(shape) > 0, means.shape[1]
    n_nodes = tree.shape[1]
    n_leaves = (n_nodes + 1) // 2
    labels, values = np.zeros((len(means), k + 1), np.int32), np.zeros((len(means), k + 1), np.float32)
    counts = np.zeros(len(means), np.int64)
    nodes, so_far = np.empty(n_nodes + 1, np.int32), np.empty(n_nodes + 1, np.float32)
    lowest = _log(np.float32(threshold))
    for document in range(len(means)):
        if n_rows[document] == 0:
            continue
        mean, best, places, n = means[document], values[document], labels[document], 0
        nodes[0], so_far[0], waiting = n_nodes - 1, np.float32(0), 1
        while waiting:
            waiting -= 1
            node, value = nodes[waiting], so_far[waiting]
            if value < lowest or (n == k and value < best[0]):
                continue
            if tree[0, node] < 0:
                n = _put(best, places, n, k, value, node, False)
                continue
            row, score = node - n_leaves, np.float32(0)
            if is_coded:
                first, code, i = 0, row * shape[1], 0
                while i < dimension:
                    length = min(shape[2], dimension - i)  # the last part may be shorter
                    at = first + np.int64(codes[code]) * length
                    for j in range(length):
                        score += mean[i + j] * centroids[at + j]
                    first += CENTROIDS * shape[2]
                    code += 1
                    i += length
                score *= norm_of(norms, norm_centroids, row)
            else:
                for i in range(dimension):
                    score += dense[row, i] * mean[i]
            if not np.isfinite(score):
                n = -1
                break
            right = np.float32(1) / (np.float32(1) + _exp(-score))
            nodes[waiting], so_far[waiting] = tree[1, node], value + _log(right)
            nodes[waiting + 1], so_far[waiting + 1] = tree[0, node], value + _log(np.float32(1) - right)
            waiting += 2
        _finish(best, places, n)
        counts[document] = n
    return labels, values, counts


@njit(nogil=True, cache=True)
def _softmax(scores: F32) -> None:
    """Probabilities in the place of scores."""
    most = scores[0]
    for score in scores:
        most = max(most, score)
    total = np.float32(0)
    for i in range(len(scores)):
        scores[i] = np.float32(np.exp(np.float64(np.float32(scores[i] - most))))
        total += scores[i]
    for i in range(len(scores)):
        scores[i] /= total


@njit(nogil=True, cache=True)
def _sigmoids(scores: F32, steps: F32) -> None:
    """The same, of each score alone: the library's table has 512 steps from -8 to 8."""
    for i in range(len(scores)):
        if scores[i] < -_SIGMOID_END:
            scores[i] = 0
        elif scores[i] > _SIGMOID_END:
            scores[i] = 1
        else:
            scores[i] = steps[np.int64((scores[i] + np.float32(8)) * np.float32(512) / np.float32(8) / np.float32(2))]


@njit([types.Tuple((types.int32[:, ::1], types.float32[:, ::1], types.int64[::1]))(types.float32[:, ::1], I64S, types.boolean, types.int64, types.float64)], nogil=True, cache=True)  # fmt: skip
def best_labels(scores: F32, n_rows: I64, is_softmax: bool, k: int, threshold: float) -> tuple[I32, F32, I64]:
    """The k most probable labels of each document, falling: (labels int32 [documents, k], probabilities float32, how many int64).

    n_rows      rows of each document; without rows, it has no labels
    is_softmax  softmax over all scores, not a sigmoid of each
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
        row, best, places, n = scores[document], values[document], labels[document], 0
        if is_softmax:
            _softmax(row)
        else:
            _sigmoids(row, steps)
        smallest, bar = np.float32(0), -1.0  # a probability up to the bar is surely too small
        last, logarithm = np.float32(-1), np.float32(0)  # many sigmoids are equal
        for i in range(n_scores):
            p = row[i]
            if p >= lowest and p > bar:
                if p != last:
                    last, logarithm = p, _log(p)
                if n < k or not logarithm < best[0]:
                    n = _put(best, places, n, k, logarithm, i, False)
                if n == k and best[0] != smallest:
                    smallest = best[0]
                    # Rounding to float32 changes a probability that is kept as a logarithm by less than a millionth of it.
                    bar = np.exp(np.float64(smallest)) * (1 - 1e-6) - 1e-5
        _finish(best, places, n)
        counts[document] = n
    return labels, values, counts
