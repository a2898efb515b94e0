"""Hugging Face tokenizers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tagcorpus.errors import ConfigError
from tagcorpus.requirements import how_to_install
from tagcorpus.taggers._tokenizers.interface import TokenIds, join


class HuggingFaceTokenizer:
    """A `tokenizer.json` of the package `tokenizers`, without truncation, padding and special tokens."""

    def __init__(self, name: str, fingerprint: str, data: bytes) -> None:
        try:
            from tokenizers import Tokenizer as Model
        except ImportError as error:
            raise ConfigError(
                f"tokenizer {name!r} needs the package tokenizers: {how_to_install('hf', 'tokenizers')}"
            ) from error
        self.name = name
        self.fingerprint = fingerprint
        self.data = data
        try:
            self._model = Model.from_str(data.decode())
        except Exception as error:  # the package raises bare Exception
            raise ConfigError(f"tokenizer must be a Hugging Face tokenizer.json, got {name!r}: {error}") from error
        self._model.no_truncation()
        self._model.no_padding()
        self._model.encode_special_tokens = True
        self.n_vocab: int = max(self._model.get_vocab(with_added_tokens=True).values(), default=0) + 1

    def encode_batch(self, texts: Sequence[str]) -> TokenIds:
        # One call per document: the package's batch call starts a thread per core, and one worker is one thread.
        return join([np.array(self._model.encode(text, add_special_tokens=False).ids, np.uint32) for text in texts])

    def decode(self, ids: Sequence[int]) -> str:
        return str(self._model.decode(list(ids), skip_special_tokens=False))
