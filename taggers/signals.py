"""signals: the published quality signals that are functions of the text alone, as columns and without a verdict.

The list of columns, with definitions and sources, is in _signals/columns.py. All n-gram signals share one numbering of words. The
tagger removes nothing: `tagcorpus run filter --preset` has published thresholds over these columns.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import PackageNotFoundError, version
from typing import Any, ClassVar, Literal

import numpy as np
import pyarrow as pa

from tagcorpus.errors import ConfigError, TaggerError
from tagcorpus.requirements import how_to_install
from tagcorpus.taggers._interface.base import Parameters, column, columns_from
from tagcorpus.taggers._interface.batch import DocumentBatch
from tagcorpus.taggers._signals.columns import SIGNALS
from tagcorpus.taggers._signals.measure import Measure
from tagcorpus.taggers._signals.tables import marks_digest

PACKAGES = ("datatrove", "spacy")


@dataclass(frozen=True)
class Signals(Parameters):
    """Published quality signals of a document.

    words  "own", or "datatrove" for the words and sentences that datatrove's filters use (English, by spaCy; slow). It decides the
           columns gopher_*, c4_sentences and fineweb_newline_to_word_ratio

    Raises ConfigError for other words, and for "datatrove" where spaCy is not installed.
    """

    words: Literal["own", "datatrove"] = "own"

    columns: ClassVar[pa.Schema] = columns_from(
        "tagcorpus",
        *(column(s.name, pa.int64() if s.is_count else pa.float64(), s.meaning, s.unit, s.source) for s in SIGNALS),
    )

    def __post_init__(self) -> None:
        if self.words not in ("own", "datatrove"):
            raise ConfigError(f"signals.words must be own or datatrove, got {self.words!r}")
        if self.words == "datatrove":
            try:
                version("spacy")
            except PackageNotFoundError as error:
                raise ConfigError(
                    f"signals.words=datatrove needs spaCy, which is not installed: {how_to_install('parse', 'spacy')}"
                ) from error

    @property
    def version(self) -> str:
        """Includes the releases that split words, where they are not our own."""
        return ", ".join(["1", *(f"{p} {version(p)}" for p in PACKAGES if self.words == "datatrove")])

    def fingerprint(self) -> dict[str, Any]:
        """The words, and the sets of marks that come from datatrove."""
        return {"words": self.words, "marks": marks_digest()}

    @cached_property
    def _measure(self) -> Measure:
        if self.words == "own":
            return Measure()
        try:
            from datatrove.utils.text import split_into_sentences, split_into_words

            return Measure(split_into_words, lambda line: len(split_into_sentences(line)))
        except ImportError as error:
            raise TaggerError(f"signals.words=datatrove cannot work here: {error}") from error

    def tag(self, batch: DocumentBatch) -> pa.RecordBatch:
        """One row a document."""
        rows = [self._measure(text) for text in batch.texts]
        names = self._measure("") if not rows else rows[0]
        counts = {name: np.array([row[name] for row in rows]) for name in names}
        arrays = []
        for signal in SIGNALS:
            values = signal.value(counts)
            arrays.append(
                pa.array(values.astype(np.int64), pa.int64())
                if signal.is_count
                else pa.array(values, pa.float64(), from_pandas=True)
            )
        return pa.record_batch(arrays, schema=self.columns)


TAGGER = Signals
