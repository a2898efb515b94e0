"""A supervised fastText model whose matrices stay in the file: mapped into memory, so that all workers of a machine share one copy.

The library reads the whole file into each process. For models of gigabytes that is the machine's memory, and minutes. Here the system's
page cache holds what is used, once. The file must stay as it is while a run lasts; a run's plan knows its digest.
"""

from __future__ import annotations

import heapq
import struct
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numba
import numpy as np

from tagcorpus.errors import ConfigError
from tagcorpus.kernels.documents import fasttext as kernel
from tagcorpus.kernels.documents import fasttext_dictionary as dictionary
from tagcorpus.kernels.documents import fasttext_labels as output
from tagcorpus.kernels.documents.vectors import LANES

_BEGIN = struct.Struct("<2i 12i d 3i 2q")
_LOSSES = {1: output.TREE, 2: output.SIGMOIDS, 3: output.SOFTMAX, 4: output.SIGMOIDS}
_MOST = 1000  # characters of a part, words of an n-gram: more is damage
_SCORES = 1 << 22  # so many at once, 16 MB
_BEFORE_PARTS_OF_WORDS = 11
"""Supervised models of this version have no parts of words, whatever their parameters say."""
_NO_ROWS = np.zeros((0, 0), np.float32)
_NO_CODES = (
    np.zeros(0, np.uint8),
    np.zeros(0, np.int64),
    np.zeros(0, np.float32),
    np.zeros(0, np.uint8),
    np.zeros(0, np.float32),
)


@dataclass(frozen=True)
class _Matrix:
    """Float32 [rows, dimension]; or quantised: codes, shape, centroids, norms and their centroids, as the kernels have them."""

    n_rows: int
    dense: Any
    coded: tuple[Any, ...]


class MappedModel:
    """A model of a file that `check_file` has accepted.

    Raises ConfigError for a file with counts or codes that cannot be, and where Numba compiles nothing.
    """

    def __init__(self, path: Path) -> None:
        if numba.config.DISABLE_JIT:  # type: ignore[attr-defined]
            raise ConfigError(
                f"fasttext.model {str(path)!r} is so large that only compiled kernels read it: unset NUMBA_DISABLE_JIT"
            )
        data = np.memmap(path, np.uint8, "r")
        try:
            self._read(data)
        except (ValueError, IndexError, OverflowError, struct.error) as error:
            raise ConfigError(f"{str(path)!r} is not a complete fastText model: copy it again") from error

    def _read(self, data: Any) -> None:
        header = _BEGIN.unpack(data[: _BEGIN.size].tobytes())
        version, dimension, loss, most = header[1], header[2], header[8], header[12]
        word_ngrams, buckets, least = header[7], header[10], header[11]
        n_entries, self._n_words, n_labels, _, n_pruned = header[15:]
        if loss not in _LOSSES or not all(0 <= size <= _MOST for size in (word_ngrams, least, most)):
            raise ValueError(header)
        self._kind = _LOSSES[loss]
        most = 0 if version == _BEFORE_PARTS_OF_WORDS else most
        if not 0 <= n_entries <= len(data) // 10 or self._n_words < 0 or n_labels < 1:  # an entry's least bytes
            raise ValueError(n_entries)
        starts, lengths, kinds, at = dictionary.entries(data, _BEGIN.size, n_entries)
        if (
            n_entries != self._n_words + n_labels
            or at > len(data)
            or np.any(kinds != (np.arange(n_entries) >= self._n_words))
        ):
            raise ValueError(n_entries)
        self._words = (data, starts, dictionary.word_table(data, starts, lengths))
        pairs = data[at : at + 8 * max(n_pruned, 0)].view(np.int32).reshape(-1, 2)
        buckets_left, rows_left = np.ascontiguousarray(pairs[:, 0]), np.ascontiguousarray(pairs[:, 1])
        if buckets_left.min(initial=0) < 0:
            raise ValueError(n_pruned)
        self._pruned = dictionary.pruned_table(buckets_left, rows_left)
        self._settings = np.array([word_ngrams, max(buckets, 1), least, most, self._n_words, n_pruned >= 0])
        self._cache, self._lock = kernel.part_cache(self._n_words), threading.Lock()
        at += 8 * max(n_pruned, 0)
        is_coded = bool(data[at])
        self._input, at = _matrix(data, at + 1, dimension, is_coded)
        # A hashed n-gram's row must be one of the matrix: the kernels do not look.
        hashed = (
            (int(pairs[:, 1].max(initial=-1)) + 1)
            if n_pruned >= 0
            else (max(buckets, 1) if most or word_ngrams > 1 else 0)
        )
        if self._input.n_rows < self._n_words + hashed or pairs[:, 1].min(initial=0) < 0:
            raise ValueError(hashed)
        self._output, _ = _matrix(data, at + 1, dimension, is_coded and bool(data[at]))
        if self._output.n_rows != n_labels:
            raise ValueError(n_labels)
        self.labels = [
            data[start : start + length].tobytes().decode("utf-8", "replace")
            for start, length in zip(starts[self._n_words :], lengths[self._n_words :], strict=True)
        ]
        counts = [
            int.from_bytes(data[end + 1 : end + 9].tobytes(), "little", signed=True)
            for end in (starts + lengths)[self._n_words :].tolist()
        ]
        self._tree = _tree(counts) if self._kind == output.TREE else np.zeros((2, 1), np.int32)

    def predict(self, texts: Sequence[str], k: int = 1, threshold: float = 0.0) -> list[tuple[list[str], list[float]]]:
        """Of every text the k most probable labels (-1: all), falling, and their probabilities; line breaks are spaces.

        Raises ConfigError where a probability is no number.
        """
        encoded = [text.encode("utf-8", "surrogatepass") for text in texts]
        offsets = np.zeros(len(encoded) + 1, np.int64)
        np.cumsum([len(line) for line in encoded], out=offsets[1:])
        joined = np.frombuffer(b"".join([*encoded, bytes(kernel.END), bytes(dictionary.PADDING)]), np.uint8)
        with self._lock:  # threads share the cache
            means, counts = kernel.means_of_texts(
                self._words,
                self._settings,
                self._pruned,
                self._input.dense,
                self._input.coded,
                self._cache,
                joined,
                offsets,
            )
        n_best = min(k, len(self.labels)) if k >= 0 else len(self.labels)
        step = max(_SCORES // max(len(self.labels), 1), LANES)
        answers = []
        for first in range(0, len(texts), step):
            some = slice(first, first + step)
            labels, values, n_labels = self._best(means[some], counts[some], n_best, threshold)
            answers += [
                ([self.labels[label] for label in labels[i, :n]], values[i, :n].tolist())
                for i, n in enumerate(n_labels.tolist())
            ]
        return answers

    def _best(self, means: Any, n_rows: Any, k: int, threshold: float) -> tuple[Any, Any, Any]:
        matrix = (self._output.dense, self._output.coded)
        if self._kind == output.TREE:
            best = output.best_leaves(*matrix, means, n_rows, self._tree, k, threshold)
            _check_finite((best[2] >= 0).all())
            return best
        scores = output.scores_of(*matrix, self._output.n_rows, means)
        _check_finite(
            np.isfinite(scores).all()
        )  # before the labels: a sigmoid's place in its table is computed from its score
        return output.best_labels(scores, n_rows, self._kind == output.SOFTMAX, k, threshold)


def _check_finite(is_finite: bool | np.bool_) -> None:
    if not is_finite:
        raise ConfigError("fasttext.model gives probabilities that are not numbers: train the model again")


def _matrix(data: Any, at: int, dimension: int, is_coded: bool) -> tuple[_Matrix, int]:
    """The matrix at a position, and the position behind it."""
    if not is_coded:
        n_rows, width = struct.unpack("<qq", data[at : at + 16].tobytes())
        end = at + 16 + 4 * n_rows * width
        if width != dimension or n_rows < 0 or end > len(data):
            raise ValueError(width)
        return _Matrix(n_rows, data[at + 16 : end].view(np.float32).reshape(n_rows, width), _NO_CODES), end
    has_norms, n_rows, width, n_codes = struct.unpack("<?qqi", data[at : at + 21].tobytes())
    codes = data[at + 21 : at + 21 + n_codes]
    shape, centroids, at = _quantiser(data, at + 21 + n_codes)
    norms, norm_centroids = data[:0], np.zeros(0, np.float32)
    if has_norms:
        norms = data[at : at + n_rows]
        _, norm_centroids, at = _quantiser(data, at + n_rows)
    if width != dimension or shape[0] != dimension or n_codes != n_rows * shape[1] or at > len(data):
        raise ValueError(width)
    if (shape[1] - 1) * shape[2] + shape[3] != dimension or not 0 < shape[3] <= shape[2]:
        raise ValueError(width)
    return _Matrix(n_rows, _NO_ROWS, (codes, shape, centroids, norms, norm_centroids)), at


def _quantiser(data: Any, at: int) -> tuple[Any, Any, int]:
    shape = np.array(struct.unpack("<4i", data[at : at + 16].tobytes()))
    end = at + 16 + 4 * kernel.CENTROIDS * int(shape[0])
    if shape.min() <= 0 or end > len(data):
        raise ValueError(shape)
    return shape, data[at + 16 : end].view(np.float32), end


def _tree(counts: Sequence[int]) -> Any:
    """The Huffman tree of the labels by their counts, which fall: int32 [2, 2 n - 1], the two children of each node."""
    n = len(counts)
    tree = np.full((2, 2 * n - 1), -1, np.int32)
    # Of equal counts an inner node comes first, then the later label, as in fastText.
    waiting = [(count, 1, -i, i) for i, count in enumerate(counts)]
    heapq.heapify(waiting)
    for node in range(n, 2 * n - 1):
        left, right = heapq.heappop(waiting), heapq.heappop(waiting)
        tree[:, node] = left[3], right[3]
        heapq.heappush(waiting, (left[0] + right[0], 0, node, node))
    return tree
