"""tokens: how many tokens a document has, how many of them are distinct, and the ratio of the two.

The tokenizer decides all three; the default, p50k_base, works without a network. Special tokens are never counted:
they are ordinary text.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Literal

import numpy as np
import pyarrow as pa

from tagcorpus.taggers._base import PAPER, Parameters, column, columns_from
from tagcorpus.taggers._batch import DocumentBatch
from tagcorpus.taggers._tokenizer import Tokenizer, fingerprint, load, token_ids


@dataclass(frozen=True)
class Tokens(Parameters):
    """Number of tokens, of distinct tokens, and their ratio, under one tokenizer.

    tokenizer  a tiktoken encoding, or the path of a ranks file (*.tiktoken) or of a Hugging Face tokenizer.json
    pattern    for a ranks file: the tiktoken encoding whose split pattern goes with it
    engine     who computes the ids, which are the same; auto: gigatoken ([fast]) for more than 3 million characters
    """

    tokenizer: str = "p50k_base"
    pattern: str = "p50k_base"
    engine: Literal["auto", "tiktoken", "gigatoken"] = "auto"

    version: ClassVar[str] = "1"
    columns: ClassVar[pa.Schema] = columns_from(
        PAPER,
        column("num_tokens", pa.int64(), "length of the document", "tokens"),
        column("unique_tokens", pa.int64(), "distinct tokens of the document", "tokens"),
        column("ttr", pa.float64(), "type-token ratio: distinct tokens by tokens, 0 if empty", "share of 1"),
    )

    @cached_property
    def _loaded(self) -> Tokenizer:
        return load(self.tokenizer, self.pattern, self.engine)

    def tag(self, batch: DocumentBatch) -> pa.RecordBatch:
        """Raises ConfigError where the tokenizer cannot be had, TaggerError where its engine gives other ids."""
        from tagcorpus.kernels.tokens import count_distinct

        ids, offsets = token_ids(batch, self._loaded)
        total = np.diff(offsets)
        distinct = count_distinct(ids, offsets, self._loaded.n_vocab)
        ttr = distinct / np.maximum(total, 1)
        return pa.record_batch([pa.array(total), pa.array(distinct), pa.array(ttr)], schema=self.columns)

    def fingerprint(self) -> dict[str, Any]:
        """The tokenizer's identity, the engine left out. Raises ConfigError for what is unknown or missing."""
        return {"tokenizer": fingerprint(self.tokenizer, self.pattern, self.engine)}


TAGGER = Tokens
