"""Students that are a linear head on a sentence encoder: logistic regression over the vectors of texts."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import asdict
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tagcorpus.pipelines.distilling.word_student import Settings
from tagcorpus.pipelines.labels.label_table import Labelled
from tagcorpus.taggers._models.sentence_encoder import Encoder
from tagcorpus.taggers._models.student import TEXT, prepared

F64 = npt.NDArray[np.float64]
MAX_CHARS = 4000


USUAL = Settings(penalty=10.0)
GRID = [Settings(penalty, balance) for penalty, balance in product((3.0, 10.0, 30.0), (0.0, 0.35, 0.65, 1.0))]


class EncoderStudent:
    """Scores are logits."""

    preparation = TEXT
    max_chars = MAX_CHARS

    def __init__(self, labels: Sequence[str], names: Sequence[str], seed: int, encoder: Encoder) -> None:
        self.labels, self.names, self.seed, self.encoder = list(labels), list(names), seed, encoder
        self._vectors: dict[str, F64] = {}

    def candidates(self, n: int) -> list[Settings]:
        """The usual settings, and the others of the grid until there are n."""
        return [USUAL, *(s for s in GRID if s != USUAL)][:n]

    def describe(self, settings: Settings) -> dict[str, Any]:
        return asdict(settings) | {"encoder": self.encoder.name}

    def prepare(self, documents: Sequence[Labelled]) -> None:
        """Let the encoder read these documents, once."""
        new = [d for d in documents if d.key not in self._vectors]
        texts = [prepared(d.columns["text"], TEXT, MAX_CHARS) for d in new]
        for document, vector in zip(new, self.encoder.vectors(texts), strict=True):
            self._vectors[document.key] = vector.astype(np.float64)

    def scores(self, settings: Settings, train: Sequence[Labelled], others: Sequence[Labelled]) -> F64:
        """[others, labels]."""
        table = self._fitted(settings, train)
        return np.asarray(self._points(others) @ table[:-1] + table[-1])

    def write(
        self, settings: Settings, train: Sequence[Labelled], temperature: float, path: Path, is_quantised: bool
    ) -> bool:
        """Write the head, whose probabilities have the temperature in them. It is never quantised."""
        assert not is_quantised
        data = io.BytesIO()
        np.save(data, (self._fitted(settings, train) / temperature).astype(np.float32), allow_pickle=False)
        path.write_bytes(data.getvalue())
        return False

    def _points(self, documents: Sequence[Labelled]) -> F64:
        return np.array([self._vectors[d.key] for d in documents])

    def _fitted(self, settings: Settings, train: Sequence[Labelled]) -> F64:
        """[dimensions + 1, labels]."""
        from sklearn.linear_model import LogisticRegression

        names = np.array([d.label for d in train])
        points = self._points(train)
        model = LogisticRegression(C=settings.penalty, max_iter=1000, tol=1e-6).fit(points, names)
        weights, bias = model.coef_, model.intercept_
        if len(model.classes_) == 2:  # one row, for the second label
            weights, bias = np.vstack([-weights / 2, weights / 2]), np.array([-0.5, 0.5]) * bias
        table = np.zeros((points.shape[1] + 1, len(self.labels)))
        table[-1] = -50.0  # a label that no training document has is never given
        for i, label in enumerate(model.classes_):
            place = self.labels.index(label)
            table[:-1, place] = weights[i]
            table[-1, place] = bias[i] - settings.balance * np.log(np.mean(names == label))
        return table
