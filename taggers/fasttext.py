"""fasttext: the labels that a supervised fastText model gives a document, and their probabilities.

The model can be any that `fasttext supervised` made, quantised or not: language identification, quality and topic classifiers.
Unsupervised vectors do not work, and nothing is trained here. fastText reads one line, so line breaks become spaces. The text is not
changed otherwise: prepare it as the model's training text was. A student of `tagcorpus distil` says how its texts are prepared. Models of
64 MiB and more stay in their file, mapped into memory and shared by all workers; probabilities then differ from the library's by less
than 1e-6. `import fasttext` below is the library, since imports are absolute.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tagcorpus.errors import ConfigError, TaggerError
from tagcorpus.taggers._interface import digest
from tagcorpus.taggers._interface.base import Parameters, column, columns_from
from tagcorpus.taggers._interface.batch import DocumentBatch
from tagcorpus.taggers._interface.windows import (
    BEGIN,
    Windows,
    added_parameter,
    bytes_read,
    mean_by_label,
    names_of,
    spans,
    with_windows,
)
from tagcorpus.taggers._models.fasttext_file import check_file
from tagcorpus.taggers._models.student import Student, is_student, student_at
from tagcorpus.taggers.language import INSTALL_FASTTEXT, PREFIX

_SOURCE = "the model in fasttext.model; the softmax, or sigmoid, of fastText (arXiv 1607.01759)"
# The text of the self-test: a model of any language knows parts of some of these words.
_PROBE = "This is a test. 1234 la de und the of http e i o :"
_PREFIX = re.compile(r"__\w+?__(?=.)")
"""The mark before a label, as fastText's own."""
MAPPED_BYTES = 64 << 20
"""Size from which a model stays in its file, shared by all processes. Starting Numba takes longer than reading a smaller one."""
# fastText computes in float32, and reads its sigmoid from a table with steps of 1/32.
_TOLERANCE = {"softmax": 1e-3, "ns": 0.01, "ova": 0.01}


@dataclass(frozen=True)
class FastText(Parameters):
    """Labels and probabilities of any supervised fastText model.

    model      path of the .bin or .ftz file, or of a folder that `tagcorpus distil` wrote
    k          so many labels at most, the most probable first
    threshold  labels with a smaller probability are left out; where none is left, a document gets nulls and empty lists
    max_chars  only the first so many characters are read; 0 = all
    prefix     what labels begin with in the model, and not here
    windows    with max_chars: places of longer documents that are read, each of max_chars characters; the probabilities of a label
               are averaged

    Raises ConfigError for a parameter out of range and, before any document is read, for a file that is missing, cut short or no
    supervised model.
    """

    model: str = ""
    k: int = 1
    threshold: float = 0.0
    max_chars: int = 0
    prefix: str = PREFIX
    windows: Windows = BEGIN

    version: ClassVar[str] = "1"
    _columns: ClassVar[pa.Schema] = columns_from(
        _SOURCE,
        column("label", pa.string(), "most probable label; null where none reaches the threshold", "label"),
        column("probability", pa.float64(), "probability of that label", "share of 1"),
        column("labels", pa.list_(pa.string()), "the k most probable labels, falling", "label"),
        column("probabilities", pa.list_(pa.float64()), "their probabilities", "share of 1"),
    )

    @property
    def columns(self) -> pa.Schema:
        return with_windows(self._columns, self.windows, "mean of probabilities", self._columns.names)

    def __post_init__(self) -> None:
        if self.windows != BEGIN and not self.max_chars:
            raise ConfigError(
                f"fasttext.windows={self.windows} needs fasttext.max_chars, the length of a window; with max_chars 0, "
                "documents are read whole"
            )
        if self.k < 1:
            raise ConfigError(f"fasttext.k must be at least 1, got {self.k}")
        if not 0 <= self.threshold <= 1:
            raise ConfigError(f"fasttext.threshold must be from 0 to 1, got {self.threshold}")
        if self.max_chars < 0:
            raise ConfigError(f"fasttext.max_chars must be 0 (all) or more, got {self.max_chars}")

    def fingerprint(self) -> dict[str, Any]:
        """The parameters, with the digest of the model in the place of its path. Raises ConfigError where it is missing."""
        parameters = {k: v for k, v in super().fingerprint().items() if k != "windows"}
        model = self._student.identity if self._student else self._model_digest
        return parameters | {"model": model} | added_parameter(self.windows)

    @cached_property
    def _student(self) -> Student | None:
        """The student whose folder or model file the path is; None for a model from elsewhere."""
        return student_at(self.model, "fasttext.model") if is_student(self.model) else None

    @cached_property
    def _model_digest(self) -> str:
        check_file(self._path)
        return digest.of_file(self._path)

    @property
    def _path(self) -> Path:
        if not self.model:
            raise ConfigError("fasttext needs a model: --set fasttext.model=PATH, of a supervised fastText model")
        return Path(self.model)

    @cached_property
    def _model(self) -> Predict:
        if self._student:
            return predict_of_student(self._student)
        predict = load_predict(self._path)
        self._check_prefix(predict)
        return predict

    def _check_prefix(self, predict: Predict) -> None:
        """Raise ConfigError where labels begin with another mark than `prefix`, which then would be part of every label."""
        ((names, _),) = predict([_PROBE], 1, 0.0)
        other = _PREFIX.match(names[0]) if names else None
        if self.prefix and other is not None and not names[0].startswith(self.prefix):
            raise ConfigError(
                f"fasttext.prefix is {self.prefix!r}, and the labels of {str(self._path)!r} begin otherwise, as {names[0]!r} does: "
                f"say --set fasttext.prefix={other[0]}"
            )

    def tag(self, batch: DocumentBatch) -> pa.RecordBatch:
        """Raises ConfigError for a model that cannot be loaded, TaggerError for a module `fasttext` that answers wrongly."""
        predictions = self._predictions(batch.texts)
        labels, probabilities = [names for names, _ in predictions], [values for _, values in predictions]
        arrays = [
            pa.array([names[0] if names else None for names in labels], pa.string()),
            pa.array([values[0] if values else None for values in probabilities], pa.float64()),
            pa.array(labels, pa.list_(pa.string())),
            pa.array(probabilities, pa.list_(pa.float64())),
        ]
        return pa.record_batch(arrays, schema=self.columns)

    def _predictions(self, texts: Sequence[str]) -> list[tuple[list[str], list[float]]]:
        pieces = [self._pieces(text) for text in texts]
        whole = iter(self._given([p[0] for p in pieces if len(p) == 1], self.k, self.threshold))
        parts = iter(self._given([piece for p in pieces if len(p) > 1 for piece in p], ALL_LABELS, 0.0))
        return [next(whole) if len(p) == 1 else self._mean([next(parts) for _ in p]) for p in pieces]

    @property
    def _window_chars(self) -> int:
        """Characters of a window; 0: the whole text."""
        read = self._student.max_chars if self._student else 0
        return min(self.max_chars or read, read or self.max_chars)

    def _pieces(self, text: str) -> list[str]:
        size = self._window_chars or len(text)
        return [text[start:stop] for start, stop in spans(len(text), size, names_of(self.windows))]

    def _mean(self, answers: Sequence[tuple[list[str], list[float]]]) -> tuple[list[str], list[float]]:
        means = mean_by_label([dict(zip(*one, strict=True)) for one in answers])
        kept = [(name, p) for name, p in means if p >= self.threshold][: self.k]
        return [name for name, _ in kept], [p for _, p in kept]

    def bytes_read(self, batch: DocumentBatch) -> npt.NDArray[np.int64]:
        """Bytes of each document that are within the windows."""
        size = self._window_chars
        return bytes_read(batch, size, names_of(self.windows)) if size else np.diff(batch.utf8[1])

    def _given(self, texts: Sequence[str], k: int, threshold: float) -> list[tuple[list[str], list[float]]]:
        given = self._model(texts, k, threshold)
        # Rounding takes fastText's probabilities slightly above 1.
        return [
            ([name.removeprefix(self.prefix) for name in names], [min(max(p, 0.0), 1.0) for p in probabilities])
            for names, probabilities in given
        ]


Predict: TypeAlias = Callable[[Sequence[str], int, float], list[tuple[list[str], list[float]]]]
"""(texts, k, threshold) -> of each text at most k labels, the most probable first, and their probabilities."""
ALL_LABELS = -1  # as k


def load_predict(path: Path) -> Predict:
    """The model in a file: by the library, which reads the file into each process, or mapped into memory where it is large.

    Both give the same labels, and probabilities within 1e-6. Raises as `load_model`.
    """
    if path.is_file() and path.stat().st_size >= MAPPED_BYTES:
        check_file(path)
        # Here, since Numba takes its time to start.
        from tagcorpus.taggers._models.mapped_fasttext import MappedModel

        return MappedModel(path).predict
    model = load_model(path)

    def predict(texts: Sequence[str], k: int, threshold: float) -> list[tuple[list[str], list[float]]]:
        answers = [model.predict(text.replace("\n", " "), k=k, threshold=threshold) for text in texts]
        return [(list(names), [float(p) for p in probabilities]) for names, probabilities in answers]

    return predict


def predict_of_student(student: Student) -> Predict:
    """The same of a student, whose texts it prepares itself."""
    model = load_student(student)

    def predict(texts: Sequence[str], k: int, threshold: float) -> list[tuple[list[str], list[float]]]:
        ranked = student.ranked(model, list(texts), len(student.labels) if k == ALL_LABELS else k)
        kept = [[(label, share) for label, share in one if share >= threshold] for one in ranked]
        return [([label for label, _ in one], [share for _, share in one]) for one in kept]

    return predict


def load_student(student: Student) -> Any:
    """Its model, with the method `predict` of fastText's."""
    return student.head() if student.encoder else load_model(student.path)


def load_model(path: Path) -> Any:
    """A supervised model that has passed the self-test.

    Builds of the module differ: one raises on numpy 2, another silently gives wrong probabilities for more than one label. So
    the probabilities of all labels must fall, agree with the best label alone, and equal those of the model's own matrix where it
    is readable. Raises ConfigError for a file that is not a whole supervised model, before it is loaded. Raises TaggerError for a
    module that fails.
    """
    import fasttext

    check_file(path)
    try:
        model = fasttext.load_model(str(path))
    except (ValueError, RuntimeError, MemoryError) as error:
        raise ConfigError(f"fasttext.model must be a fastText model, got {str(path)!r}: {error}") from error
    self_test(model)
    return model


def self_test(model: Any) -> None:
    """Raise TaggerError where the module `fasttext` computes wrongly, ConfigError where the model is damaged."""
    # A line without words leaves only the end of the line, which has no n-grams of words to be looked up.
    line = _PROBE if model.f.getArgs().wordNgrams == 1 else ""
    try:
        best, top = model.predict(line, k=1)
        labels, probabilities = model.predict(line, k=len(model.get_labels()))
    except RuntimeError as error:  # "Encountered NaN"
        raise ConfigError("fasttext.model gives probabilities that are not numbers: train the model again") from error
    except ValueError as error:
        reason = str(error).partition("\n")[0]
        raise TaggerError(f"the module fasttext cannot predict ({reason}): {INSTALL_FASTTEXT}") from error
    given = [float(p) for p in probabilities]
    if not all(map(math.isfinite, given)):
        raise ConfigError("fasttext.model gives probabilities that are not numbers: train the model again")
    is_same = not labels or (abs(float(top[0]) - given[0]) <= 1e-6 and (best[0] == labels[0] or given[0] == given[1]))
    is_falling = all(a >= b for a, b in itertools.pairwise(given))
    if not (is_same and is_falling and _fits_matrix(model, line, labels, given)):
        raise TaggerError(f"the module fasttext gives wrong probabilities: {INSTALL_FASTTEXT}")


def _fits_matrix(model: Any, line: str, labels: Sequence[str], given: Sequence[float]) -> bool:
    """Whether the probabilities are those of the output matrix times the line's mean vector, by softmax or, one against all,
    by sigmoid. True where they cannot be computed: the module does not show the tree of hierarchical softmax, nor the matrices
    of a quantised model."""
    loss = model.f.getArgs().loss.name
    rows = [row for word in [*line.split(), "</s>"] for row in model.get_subwords(word)[1] if row >= 0]
    if model.is_quantized() or loss not in _TOLERANCE or not rows:
        return True
    # One row at a time: the whole input matrix may have gigabytes.
    hidden = np.mean([model.get_input_vector(row) for row in rows], axis=0, dtype=np.float64)
    scores = model.get_output_matrix().astype(np.float64) @ hidden
    if loss == "softmax":
        expected = np.exp(scores - scores.max())
        expected /= expected.sum()
    else:
        expected = 1 / (1 + np.exp(-scores))
    by_label = dict(zip(model.get_labels(), expected, strict=True))
    return all(abs(by_label[label] - p) <= _TOLERANCE[loss] for label, p in zip(labels, given, strict=True))


TAGGER = FastText
