"""The interface of tokenizers for taggers and pipelines, whichever package computes the ids."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np

from tagcorpus.taggers._interface.batch import DocumentBatch


class TokenIds(NamedTuple):
    """Token ids of a batch; document d is ids[offsets[d]:offsets[d + 1]]."""

    ids: np.ndarray[Any, np.dtype[np.uint32]]
    """uint32 [n_tokens], all documents concatenated."""
    offsets: np.ndarray[Any, np.dtype[np.int64]]
    """int64 [n_docs + 1], starting at 0."""


class Tokenizer(Protocol):
    """A tokenizer as taggers and pipelines use it."""

    name: str
    """The name that the user gave."""
    fingerprint: str
    """Equal fingerprints give equal ids; no path is part of it."""
    n_vocab: int
    """Every id is below this number."""

    def encode_batch(self, texts: Sequence[str]) -> TokenIds:
        """Ids of all texts (no lone surrogates), in order, on the calling thread alone."""
        ...

    def decode(self, ids: Sequence[int]) -> str:
        """The text of these ids. Bytes that are not a whole character become U+FFFD."""
        ...


def token_ids(batch: DocumentBatch, tokenizer: Tokenizer) -> TokenIds:
    """The batch's ids under this tokenizer, computed once per batch and fingerprint. Treat them as read-only."""
    return batch.view(("token_ids", tokenizer.fingerprint), lambda b: tokenizer.encode_batch(b.texts))


def join(per_document: Sequence[np.ndarray[Any, np.dtype[np.uint32]]]) -> TokenIds:
    """One flat array from one array per document."""
    offsets = np.zeros(len(per_document) + 1, np.int64)
    np.cumsum([len(ids) for ids in per_document], out=offsets[1:])
    return TokenIds(np.concatenate([np.zeros(0, np.uint32), *per_document]), offsets)
