"""tokens: how many tokens a document has, how many of them are distinct, and the ratio of the two.

The tokenizer decides all three. The default, p50k_base, works without a network. Special tokens are treated
as ordinary text.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any, ClassVar, Literal, TypeAlias

import numpy as np
import pyarrow as pa

from tagcorpus.taggers._interface.base import PAPER, Parameters, column, columns_from
from tagcorpus.taggers._interface.batch import DocumentBatch
from tagcorpus.taggers._interface.late_kernels import is_kernel_due
from tagcorpus.taggers._tokenizers.interface import Tokenizer, token_ids
from tagcorpus.taggers._tokenizers.loading import fingerprint, load, load_early

Ids: TypeAlias = np.ndarray[Any, np.dtype[np.uint32]]
Offsets: TypeAlias = np.ndarray[Any, np.dtype[np.int64]]

LONG_DOCUMENT = 100
"""Tokens of an average document from which sorting each document on its own is faster than sorting all of them at once."""
SORTED_PER_SECOND, SORTED_PER_SECOND_IN_LONG = 40e6, 150e6  # ids, by numpy


@dataclass(frozen=True)
class Tokens(Parameters):
    """Number of tokens, of distinct tokens, and their ratio, under one tokenizer.

    tokenizer  a tiktoken encoding, or the path of a ranks file (*.tiktoken) or of a Hugging Face tokenizer.json
    pattern    for a ranks file: the tiktoken encoding whose split pattern goes with it
    engine     who computes the ids, which are the same; auto: gigatoken for more than 3 million characters
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

    def warm_up(self) -> None:
        """Load the fast engine and the kernel before any text has come."""
        import tagcorpus.kernels.documents.tokens  # noqa: F401

        load_early(self.tokenizer, self.pattern, self.engine)
        self.tag(DocumentBatch.from_texts(["Some words."]))

    def tag(self, batch: DocumentBatch) -> pa.RecordBatch:
        """Raises ConfigError where the tokenizer cannot be had, TaggerError where its engine gives other ids."""
        ids, offsets = token_ids(batch, self._loaded)
        total = np.diff(offsets)
        distinct = self._distinct(ids, offsets)
        ttr = distinct / np.maximum(total, 1)
        return pa.record_batch([pa.array(total), pa.array(distinct), pa.array(ttr)], schema=self.columns)

    def _distinct(self, ids: Ids, offsets: Offsets) -> Offsets:
        is_long = len(ids) >= LONG_DOCUMENT * (len(offsets) - 1)
        if not is_kernel_due(len(ids) / (SORTED_PER_SECOND_IN_LONG if is_long else SORTED_PER_SECOND)):
            return distinct_one_by_one(ids, offsets) if is_long else distinct_by_sorting(ids, offsets)
        from tagcorpus.kernels.documents.tokens import count_distinct

        counts: Offsets = count_distinct(ids, offsets, self._loaded.n_vocab)
        return counts

    def fingerprint(self) -> dict[str, Any]:
        """The tokenizer's identity, the engine left out. Raises ConfigError for what is unknown or missing."""
        return {"tokenizer": fingerprint(self.tokenizer, self.pattern, self.engine)}


def distinct_by_sorting(ids: Ids, offsets: Offsets) -> Offsets:
    """The result of `kernels.documents.tokens.count_distinct`, with the same arguments and without Numba."""
    documents = np.repeat(np.arange(len(offsets) - 1, dtype=np.uint64), np.diff(offsets))
    pairs = np.sort(documents << np.uint64(32) | ids)
    is_first = np.ones(len(pairs), bool)
    is_first[1:] = pairs[1:] != pairs[:-1]
    return np.bincount((pairs[is_first] >> np.uint64(32)).astype(np.int64), minlength=len(offsets) - 1)


def distinct_one_by_one(ids: Ids, offsets: Offsets) -> Offsets:
    """The result of `distinct_by_sorting`: faster for long documents, slower for short ones."""
    counts = np.zeros(len(offsets) - 1, np.int64)
    for d, (start, end) in enumerate(pairwise(offsets.tolist())):
        own = np.sort(ids[start:end])
        counts[d] = min(len(own), 1) + np.count_nonzero(own[1:] != own[:-1])
    return counts


TAGGER = Tokens
