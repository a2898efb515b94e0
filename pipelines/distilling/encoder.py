"""A sentence encoder of Hugging Face in a local folder: vectors of texts, and its vocabulary."""

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

F64 = npt.NDArray[np.float64]
BATCH = 256


class Encoder:
    """Raises ConfigError where the folder or the packages are missing."""

    def __init__(self, folder: str) -> None:
        if not (Path(folder) / "config.json").is_file():
            raise ConfigError(f"--encoder {folder!r}: no config.json there. Name the folder of a sentence encoder")
        self.folder, self.name = folder, Path(folder).resolve().name

    @cached_property
    def _loaded(self) -> tuple[Any, Any]:
        try:
            import torch
            from transformers import AutoModel, AutoTokenizer
        except ImportError:
            raise ConfigError(f"--encoder needs torch and transformers: {how_to_install('hf')}") from None
        torch.set_num_threads(1)
        return AutoTokenizer.from_pretrained(self.folder), AutoModel.from_pretrained(self.folder).eval()

    def words(self) -> list[str]:
        """The whole words of its vocabulary, as `features` writes them."""
        tokenizer, _ = self._loaded
        vocabulary = [w for w in tokenizer.get_vocab() if w.isalpha()]
        return sorted(w for w in vocabulary if features(w).split(" §")[0] == w)

    def vectors(self, words: Sequence[str]) -> dict[str, F64]:
        """The mean-pooled vector of each word read as a text, centred."""
        ordered = sorted(words, key=lambda w: (len(w), w))
        table = self.pooled(ordered, 32).astype(np.float64)
        return dict(zip(ordered, table - table.mean(0), strict=True))

    def pooled(self, texts: Sequence[str], max_tokens: int, batch: int = BATCH) -> npt.NDArray[np.float16]:
        """Normalised mean of the last states of each text."""
        import torch

        tokenizer, model = self._loaded
        parts = []
        with torch.no_grad():
            for start in range(0, len(texts), batch):
                own = list(texts[start : start + batch])
                tokens = tokenizer(own, padding=True, truncation=True, max_length=max_tokens, return_tensors="pt")
                states, mask = model(**tokens)[0], tokens["attention_mask"][..., None]
                mean = (states * mask).sum(1) / mask.sum(1)
                parts.append(torch.nn.functional.normalize(mean, dim=1).numpy().astype(np.float16))
        return np.concatenate(parts)
