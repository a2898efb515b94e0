"""A sentence encoder of Hugging Face in a local folder: vectors of texts, and a linear head over them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tagcorpus.errors import ConfigError
from tagcorpus.requirements import how_to_install
from tagcorpus.taggers._models.embedded_domain import features
from tagcorpus.taggers._models.huggingface import identity, one_thread

F64 = npt.NDArray[np.float64]
BATCH = 32
WORDS_PER_BATCH = 256
MAX_TOKENS = 256
"""Tokens of a document that are read: what sentence encoders of this kind were trained on."""


class Encoder:
    """The mean of the last states of a model in a folder. Raises ConfigError where the folder or the packages are missing."""

    def __init__(self, folder: str) -> None:
        if not (Path(folder) / "config.json").is_file():
            raise ConfigError(f"the encoder {folder!r} has no config.json. Name the folder of a sentence encoder")
        self.folder, self.name = folder, Path(folder).resolve().name

    @cached_property
    def digest(self) -> str:
        """Of its files."""
        return str(identity("encoder", self.folder, None)["model"])

    @cached_property
    def _loaded(self) -> tuple[Any, Any]:
        try:
            from transformers import AutoModel, AutoTokenizer
        except ImportError:
            raise ConfigError(f"an encoder needs torch and transformers: {how_to_install('hf')}") from None
        try:
            tokenizer = AutoTokenizer.from_pretrained(self.folder, local_files_only=True)
            model, report = AutoModel.from_pretrained(self.folder, local_files_only=True, output_loading_info=True)
        except (OSError, ValueError, KeyError, RuntimeError) as error:
            raise ConfigError(
                f"the encoder {self.folder!r} cannot be loaded: {' '.join(str(error).split())}"
            ) from error
        # The pooler is not used. Any other weight that is missing would be drawn at random.
        if missing := sorted(key for key in report["missing_keys"] if not key.startswith("pooler")):
            raise ConfigError(f"the encoder {self.folder!r} lacks {missing[0]} and {len(missing) - 1} other weights")
        return tokenizer, model.eval()

    def words(self) -> list[str]:
        """The whole words of its vocabulary, as `features` writes them."""
        tokenizer, _ = self._loaded
        vocabulary = [w for w in tokenizer.get_vocab() if w.isalpha()]
        return sorted(w for w in vocabulary if features(w).split(" §")[0] == w)

    def word_vectors(self, words: Sequence[str]) -> dict[str, F64]:
        """The mean-pooled vector of each word read as a text, centred."""
        ordered = sorted(words, key=lambda w: (len(w), w))
        table = self.vectors(ordered, 32, WORDS_PER_BATCH).astype(np.float64)
        return dict(zip(ordered, table - table.mean(0), strict=True))

    def vectors(
        self, texts: Sequence[str], max_tokens: int = MAX_TOKENS, batch: int = BATCH
    ) -> npt.NDArray[np.float16]:
        """[texts, dimensions]: the mean of the last states of each text, normalised."""
        import torch

        tokenizer, model = self._loaded
        order = sorted(range(len(texts)), key=lambda i: len(texts[i]))  # texts of similar length share a batch
        table: npt.NDArray[np.float16] = np.zeros((len(texts), model.config.hidden_size), np.float16)
        with torch.no_grad(), one_thread("cpu"):
            for start in range(0, len(texts), batch):
                own = order[start : start + batch]
                tokens = tokenizer(
                    [texts[i] for i in own], padding=True, truncation=True, max_length=max_tokens, return_tensors="pt"
                )
                states, mask = model(**tokens)[0], tokens["attention_mask"][..., None]
                mean = (states * mask).sum(1) / mask.sum(1)
                table[own] = torch.nn.functional.normalize(mean, dim=1).numpy().astype(np.float16)
        return table


class Head:
    """A linear model over an encoder's vectors, with the method `predict` of a fastText model.

    table  [dimensions + 1, labels]: weights, and in the last row the bias
    names  of the labels
    """

    def __init__(self, encoder: Encoder, table: npt.NDArray[np.float32], names: Sequence[str]) -> None:
        self.encoder, self.table, self.names = encoder, table, list(names)

    def predict(self, texts: Sequence[str], k: int = 1) -> tuple[list[tuple[str, ...]], list[npt.NDArray[Any]]]:
        """(names, probabilities) of the k most probable labels of every text."""
        scores = self.encoder.vectors(texts).astype(np.float64) @ self.table[:-1] + self.table[-1]
        shares = np.exp(scores - scores.max(axis=1, keepdims=True))
        shares /= shares.sum(axis=1, keepdims=True)
        order = np.argsort(-shares, axis=1, kind="stable")[:, :k]
        return [tuple(self.names[i] for i in row) for row in order], list(np.take_along_axis(shares, order, axis=1))
