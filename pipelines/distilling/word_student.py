"""Students like the embedded domain model: logistic regression over words and style, with an encoder's word vectors if one is named."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import numpy.typing as npt

from tagcorpus.pipelines.distilling.word_space import Document, Linear, fit, write
from tagcorpus.pipelines.labels.label_table import Labelled
from tagcorpus.taggers._models.embedded_domain import MAX_CHARS
from tagcorpus.taggers._models.sentence_encoder import Encoder
from tagcorpus.taggers._models.student import FEATURES, prepared

F64 = npt.NDArray[np.float64]
MOST_DOCUMENTS = 6000
"""Training solves a dense system of so many documents: a minute, and 1 GB."""


@dataclass(frozen=True)
class Settings:
    """penalty: scikit-learn's C; balance: 0 = labels as frequent as in training, 1 = equal priors."""

    penalty: float = 4.0
    balance: float = 0.35


GRID = [Settings(penalty, balance) for penalty, balance in product((1.0, 4.0, 16.0), (0.0, 0.35, 0.65, 1.0))]


class WordStudent:
    """Scores are logits."""

    preparation = FEATURES
    max_chars = MAX_CHARS

    def __init__(self, labels: Sequence[str], names: Sequence[str], seed: int, encoder: Encoder | None) -> None:
        self.labels, self.names, self.seed, self.encoder = list(labels), list(names), seed, encoder
        self._tokens: dict[str, list[str]] = {}
        self._last: tuple[Any, tuple[Any, F64, F64, F64]] | None = None

    def candidates(self, n: int) -> list[Settings]:
        """The usual settings, and the others of the grid until there are n, those of a penalty together."""
        others = [s for s in GRID if s != Settings()]
        nearest = sorted(others, key=lambda s: (s.penalty != Settings().penalty, s.penalty, s.balance))
        return [Settings(), *nearest[: n - 1]]

    def describe(self, settings: Settings) -> dict[str, Any]:
        return asdict(settings) | {"encoder": self.encoder.name if self.encoder else None}

    def scores(self, settings: Settings, train: Sequence[Labelled], others: Sequence[Labelled]) -> F64 | None:
        """[others, labels]."""
        space, weights, bias = self._fitted(settings, train)
        return np.asarray(space.points([self._document(d) for d in others]) @ weights + bias)

    def write(
        self, settings: Settings, train: Sequence[Labelled], temperature: float, path: Path, is_quantised: bool
    ) -> bool:
        """Write the model, whose probabilities have the temperature in them. Returns whether the file is quantised."""
        space, weights, bias = self._fitted(settings, train)
        with TemporaryDirectory() as folder:
            linear = Linear(space.tokens, space.rows_of(weights, bias) / temperature)
            return write(linear, self.names, path, Path(folder), self.seed, is_quantised)

    def _fitted(self, settings: Settings, train: Sequence[Labelled]) -> tuple[Any, F64, F64]:
        """The priors move the bias only, so a fit serves all values of `balance`."""
        key = (settings.penalty, tuple(d.key for d in train))
        if self._last is None or self._last[0] != key:
            documents = [self._document(d) for d in train[:MOST_DOCUMENTS]]
            present = [label for label in self.labels if any(d.label == label for d in documents)]
            words, vectors = self._vectors if self.encoder else ((), {})
            space, own, intercept = fit(documents, words, vectors, present, settings.penalty, 0.0)
            # A label that no training document has is never given.
            weights, bias = np.zeros((len(own), len(self.labels))), np.full(len(self.labels), -50.0)
            prior = np.ones(len(self.labels))
            for i, label in enumerate(present):
                place = self.labels.index(label)
                weights[:, place], bias[place] = own[:, i], intercept[i]
                prior[place] = sum(d.label == label for d in documents) / len(documents)
            self._last = (key, (space, weights, bias, prior))
        space, weights, bias, prior = self._last[1]
        return space, weights, bias - settings.balance * np.log(prior)

    def _document(self, document: Labelled) -> Document:
        if document.key not in self._tokens:
            line = prepared(document.columns["text"], self.preparation, self.max_chars)
            self._tokens[document.key] = line.split()
        return Document(self._tokens[document.key], document.label, 1.0)

    def prepare(self, documents: Sequence[Labelled]) -> None:
        """Let the encoder read the words of these documents, and those of its own vocabulary, once."""
        for document in documents:
            self._document(document)

    @cached_property
    def _vectors(self) -> tuple[list[str], dict[str, F64]]:
        assert self.encoder is not None
        general = self.encoder.words()
        known = {t for tokens in self._tokens.values() for t in tokens if not t.startswith("§")}
        return general, self.encoder.word_vectors(sorted({*general, *known}))
