"""quality: the score that a sequence-classification model of Hugging Face transformers gives a document.

The default is HuggingFaceTB/fineweb-edu-classifier, whose one output is the raw score of educational value, trained for 0 to 5 and
not clipped. For a model with several classes, the score is the probability of one of them. The model's own tokenizer gets the text
unchanged: text that spells a special token becomes that token. Tokens beyond the model's positions are cut off, at the end unless
the tokenizer says otherwise.

Documents of similar length share a forward pass. The batch of documents and the device alone decide which ones, so equal input gives
equal bytes on one kind of machine. Another batch, another device or another torch moves a score in float32 by less than 1e-4.
Models with code of their own are not run. ONNX Runtime is not used, since it was slower (docs/quality.md).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tagcorpus.errors import ConfigError, TaggerError
from tagcorpus.taggers._interface.base import Parameters, column, columns_from
from tagcorpus.taggers._interface.batch import DocumentBatch
from tagcorpus.taggers._interface.windows import (
    BEGIN,
    Windows,
    added_parameter,
    bytes_of_spans,
    names_of,
    with_windows,
)
from tagcorpus.taggers._models import huggingface as hf
from tagcorpus.taggers._models.model_inputs import InputCutter, ModelInputs

DEFAULT_SCORE_NAME = "edu_classifier"
KEY_COLUMNS = ("input", "row", "sub", "id", "text")
_COLUMN_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")

DEFAULT_MAX_TOKENS = 512
"""Tokens read of a document where the tokenizer does not name a limit."""

TOKENS_PER_PASS = {"cpu": 512}
"""On a CPU, padding and overflowing caches soon cost more than a larger matrix product saves (docs/quality.md)."""
TOKENS_PER_PASS_ELSEWHERE = 32_768

MAX_PADDING_SHIFT, MAX_PADDING_SHIFT_16_BIT = 1e-4, 0.1
"""Largest change of a score when its text is padded. In 16 bits, every change of the batch moves a score a little."""

_MAX_SCORE = 5
_SOURCE = "the model in quality.model; fineweb-edu-classifier is of the FineWeb datasets (arXiv 2406.17557)"


@dataclass(frozen=True)
class Quality(Parameters):
    """Score of a sequence-classification or regression model of Hugging Face transformers.

    model                 name on the Hugging Face hub, or a local directory with config, weights and tokenizer
    revision              of a model on the hub: branch, tag or commit; name a commit where the result must stay the same for ever
    label                 of a model with several classes: the one whose probability is the score
    max_tokens            tokens read of a document, special ones included; null = as many as the model takes (512 for the default)
    max_tokens_per_batch  documents times the longest one's tokens in a forward pass; null = 512 on a CPU, 32,768 elsewhere
    dtype                 of weights and activations; scores are formed in float32
    device                a torch device; auto: cuda where there is one, else cpu
    score_name            name of the score's column; the rounded one is called <score_name>_int
    windows               places of longer documents that are read, each of max_tokens; the score is the mean of theirs
    """

    model: str = "HuggingFaceTB/fineweb-edu-classifier"
    revision: str | None = None
    label: str = ""
    max_tokens: int | None = None
    max_tokens_per_batch: int | None = None
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    device: str = "auto"
    score_name: str = DEFAULT_SCORE_NAME
    windows: Windows = BEGIN

    extra: ClassVar[str] = "hf"
    version: ClassVar[str] = "2"

    @property
    def columns(self) -> pa.Schema:
        name = self.score_name
        schema = columns_from(
            _SOURCE,
            column(name, pa.float64(), "the model's raw output, or the probability of the class", "score"),
            column(f"{name}_int", pa.int64(), "the same, clipped to 0 to 5 and rounded, halves to even", "score"),
        )
        return with_windows(schema, self.windows, "mean of scores", schema.names)

    def __post_init__(self) -> None:
        if not _COLUMN_NAME.fullmatch(self.score_name):
            raise ConfigError(
                f"quality.score_name must be letters, digits and _, and begin with a letter, got {self.score_name!r}"
            )
        if self.score_name in KEY_COLUMNS:
            raise ConfigError(f"quality.score_name must not be {self.score_name!r}, which every part has already")
        for name in ("max_tokens", "max_tokens_per_batch"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ConfigError(f"quality.{name} must be at least 1, got {value}")

    def fingerprint(self) -> dict[str, Any]:
        """Local models by the digest of their files, models of the hub by name and revision. Device and batch size
        are left out: they move the last digits alone."""
        named = {} if self.score_name == DEFAULT_SCORE_NAME else {"score_name": self.score_name}
        return {
            **self._identity,
            "label": self.label,
            "max_tokens": self.max_tokens,
            "dtype": self.dtype,
            **named,
            **added_parameter(self.windows),
        }

    def tag(self, batch: DocumentBatch) -> pa.RecordBatch:
        """Empty text has the score that the model gives it, or null where the tokenizer makes no token of it.

        Raises ConfigError where model, packages, device or class cannot be had, TaggerError where a score is no number
        (as float16 can make it).
        """
        scores = self._loaded.scores(self._inputs(batch), self.max_tokens_per_batch)
        is_none = np.isnan(scores)
        return pa.record_batch(
            [pa.array(scores, pa.float64(), mask=is_none), pa.array(rounded(scores), pa.int64(), mask=is_none)],
            schema=self.columns,
        )

    def bytes_read(self, batch: DocumentBatch) -> npt.NDArray[np.int64]:
        """Bytes of each document that the tokens in the windows come from."""
        return bytes_of_spans(batch, (document.spans for document in self._inputs(batch)))

    def _inputs(self, batch: DocumentBatch) -> list[ModelInputs]:
        # One text at a time: the tokenizer's batch call starts a thread per core, and one worker is one thread.
        return batch.view(self, lambda b: [self._loaded.inputs(text) for text in b.texts])

    @cached_property
    def _identity(self) -> dict[str, str | None]:
        return hf.identity("quality", self.model, self.revision)

    @cached_property
    def _loaded(self) -> LoadedClassifier:
        return LoadedClassifier(self)


class LoadedClassifier:
    """Model and tokenizer in memory, and the forward passes."""

    def __init__(self, parameters: Quality) -> None:
        self._torch, self._device, self._tokenizer, self._model = hf.load(
            "quality", "AutoModelForSequenceClassification", "sequence classifier", parameters
        )
        self._description = f"{parameters.model!r} in {parameters.dtype}"
        self._label = _label(self._model.config, parameters)
        self._max_tokens = _max_tokens(self._tokenizer, self._model.config, parameters)
        self._cutter = InputCutter(self._tokenizer, self._max_tokens, names_of(parameters.windows), self._description)
        # Without padding, or where it moves the score, documents cannot share a pass.
        self._has_padding = None not in (self._tokenizer.pad_token_id, self._model.config.pad_token_id)
        self._has_padding = self._has_padding and self._is_padding_harmless(parameters.dtype)

    def inputs(self, text: str) -> ModelInputs:
        """The inputs of the model for a text."""
        return self._cutter.of(text)

    def scores(
        self, documents: Sequence[ModelInputs], max_tokens_per_batch: int | None = None
    ) -> np.ndarray[Any, np.dtype[np.float64]]:
        """Score of every document, in order: float64 [documents], the mean of its windows; NaN for a text without tokens."""
        budget = max_tokens_per_batch or TOKENS_PER_PASS.get(self._device.type, TOKENS_PER_PASS_ELSEWHERE)
        encoded = [row for document in documents for row in document.inputs]
        scores = np.full(len(encoded), np.nan)
        with hf.one_thread(self._device), self._torch.inference_mode():
            for together in passes([len(e["input_ids"]) for e in encoded], budget if self._has_padding else 1):
                scores[together] = self._forward([encoded[d] for d in together])
        n_windows = np.array([len(document.inputs) for document in documents], np.int64)
        means: np.ndarray[Any, np.dtype[np.float64]] = (
            np.add.reduceat(scores, np.cumsum(n_windows) - n_windows) / n_windows
        )
        return means

    def _is_padding_harmless(self, dtype: str) -> bool:
        """Whether padding leaves a score alone. Some networks mix padding into the text (FNet), or read their answer from it."""
        rows = [self._cutter.begin(text)[0] for text in ("A short text.", "A longer text, of several words. " * 3)]
        if not all(row["input_ids"] for row in rows):
            return False
        with hf.one_thread(self._device), self._torch.inference_mode():
            alone, together = self._forward(rows[:1])[0], self._forward(rows)[0]
        return bool(abs(alone - together) <= (MAX_PADDING_SHIFT if dtype == "float32" else MAX_PADDING_SHIFT_16_BIT))

    def _forward(self, rows: list[dict[str, list[int]]]) -> np.ndarray[Any, np.dtype[np.float64]]:
        if len(rows) == 1:
            padded: Any = {name: [values] for name, values in rows[0].items()}
        else:
            padded = self._tokenizer.pad(rows, padding="longest", verbose=False)
        inputs = {name: self._torch.tensor(values, device=self._device) for name, values in padded.items()}
        logits = self._model(**inputs).logits.float()
        if self._label is None:
            scores = logits[:, 0]
        elif self._model.config.problem_type == "multi_label_classification":
            scores = logits.sigmoid()[:, self._label]
        else:
            scores = logits.softmax(dim=-1)[:, self._label]
        values: np.ndarray[Any, np.dtype[np.float64]] = scores.cpu().numpy().astype(np.float64)
        if not np.isfinite(values).all():
            raise TaggerError(
                f"the model {self._description} gives a score that is not a number: use dtype float32 or bfloat16"
            )
        return values


def rounded(scores: np.ndarray[Any, np.dtype[np.float64]]) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Scores clipped to 0 to 5 and rounded, halves to even as Python's `round` has it; 0 for NaN."""
    integers: np.ndarray[Any, np.dtype[np.int64]] = np.rint(np.clip(np.nan_to_num(scores), 0, _MAX_SCORE)).astype(
        np.int64
    )
    return integers


def passes(lengths: Sequence[int], budget: int) -> Iterator[list[int]]:
    """The documents that share a forward pass, by their numbers of tokens: the longest first, at most `budget` tokens with
    padding, unless a single document has more. Documents without tokens are in none.

    Example  lengths 3 0 9 4, budget 8: [2] [3, 0]
    """
    order = sorted((d for d, length in enumerate(lengths) if length), key=lambda d: -lengths[d])
    at = 0
    while at < len(order):
        together = order[at : at + max(1, budget // lengths[order[at]])]
        yield together
        at += len(together)


def _label(config: Any, parameters: Quality) -> int | None:
    """The number of the model's output that is the score; None: the only one, unchanged."""
    names = [str(config.id2label[i]) for i in range(config.num_labels)]
    if len(names) == 1:
        if parameters.label:
            raise ConfigError(
                f"quality.label is for a model with several classes; {parameters.model!r} has one output, the score"
            )
        return None
    if parameters.label not in names:
        raise ConfigError(
            f"quality.label must name one of the {len(names)} classes of {parameters.model!r} ({', '.join(names[:20])}), "
            f"got {parameters.label!r}: its probability is the score"
        )
    return names.index(parameters.label)


def _max_tokens(tokenizer: Any, config: Any, parameters: Quality) -> int:
    # A tokenizer without a limit says 10 to the 30.
    limit = tokenizer.model_max_length if tokenizer.model_max_length < 10**9 else None
    positions = getattr(config.get_text_config(), "max_position_embeddings", None)
    # XLNet, whose positions are unlimited, says -1.
    most = int(min(known)) if (known := [n for n in (limit, positions) if n and n > 0]) else DEFAULT_MAX_TOKENS
    if parameters.max_tokens is None:
        # Some models reserve a few of their positions.
        return most if limit else min(most, DEFAULT_MAX_TOKENS)
    least = int(tokenizer.num_special_tokens_to_add()) + 1
    if not least <= parameters.max_tokens <= most:
        raise ConfigError(
            f"quality.max_tokens must be from {least} to {most}, what {parameters.model!r} takes, got {parameters.max_tokens}"
        )
    return parameters.max_tokens


TAGGER = Quality
