"""lm_entropy: entropy of a causal language model's next-token distribution, at every position of a document.

Position i is the distribution after the tokens 0..i. So a document of k tokens has k - 1 positions with a next token, as it has
for n-grams of one token. A document longer than the window is read in windows that start every `stride` tokens. Each position is
taken once, from the first window that has it. So it sees at least window - stride + 1 tokens wherever that many precede it.
Special tokens are never part of a text. Only `has_bos` puts the model's own first token before each window.

`tagcorpus run entropy --method lm` is this tagger with a summary of the corpus. The batch of documents alone decides which windows
share a forward pass, so equal input gives equal bytes on one kind of machine. Another batch, another device or another torch moves a
value in float32 by less than 1e-4 bits. The mean of a corpus per token is sum(entropy_mean * entropy_positions) / sum(entropy_positions).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Literal, NamedTuple

import numpy as np
import pyarrow as pa

from tagcorpus.errors import ConfigError, TaggerError
from tagcorpus.taggers._interface.base import Parameters, column, columns_from
from tagcorpus.taggers._interface.batch import DocumentBatch
from tagcorpus.taggers._models import huggingface as hf

MAX_DEFAULT_WINDOW = 1024
"""Tokens; longer windows cost memory and, in attention, time per token, and rarely change a mean."""

LOGITS_BYTES = 256 << 20
"""Limit of the logits of one forward pass (windows x tokens x vocabulary), unless a single window needs more."""

_SOURCE = "Shannon entropy, base 2, of the softmax of the model in lm_entropy.model"
_CHUNK_VALUES = 1 << 24  # positions x vocabulary formed at a time, so that no second copy of all logits is made


class Window(NamedTuple):
    """Tokens start..end of a document; the positions first..end - 1 are taken from it."""

    start: int
    first: int
    end: int


@dataclass(frozen=True)
class CausalEntropy(Parameters):
    """Next-token entropy under a causal language model of Hugging Face transformers.

    model       required: name on the Hugging Face hub, or a local directory with config, weights and tokenizer
    window      tokens the model sees at once; null = as many as it has positions for, at most 1024
    stride      tokens from one window's start to the next's, windows overlap by window - stride; null = half the window
    device      a torch device; auto: cuda where there is one, else cpu
    dtype       of weights and activations; distributions are always formed in float32
    batch_size  windows in a forward pass, at most; fewer where their logits would pass 256 MiB
    revision    of a model on the hub: branch, tag or commit; name a commit where the result must stay the same for ever
    has_bos     put the tokenizer's first token (BOS) before every window, as some models need; it takes one place of the
                window and is no position
    """

    model: str = ""
    window: int | None = None
    stride: int | None = None
    device: str = "auto"
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    batch_size: int = 8
    revision: str | None = None
    has_bos: bool = False

    extra: ClassVar[str] = "hf"
    version: ClassVar[str] = "1"
    columns: ClassVar[pa.Schema] = columns_from(
        _SOURCE,
        column("entropy_mean", pa.float64(), "mean over the document's positions of the model's entropy", "bits"),
        column("entropy_std", pa.float64(), "standard deviation of the same, ddof 0", "bits"),
        column("entropy_min", pa.float64(), "lowest entropy of a position", "bits"),
        column("entropy_max", pa.float64(), "highest entropy of a position", "bits"),
        column("entropy_positions", pa.int64(), "positions with a next token: tokens less one", "positions"),
    )

    def __post_init__(self) -> None:
        for name in ("window", "stride", "batch_size"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ConfigError(f"{name} must be at least 1, got {value}")

    def tag(self, batch: DocumentBatch) -> pa.RecordBatch:
        """Missing values and 0 positions for documents of less than two tokens.

        Raises ConfigError where the model, its packages or the device cannot be had, TaggerError where the model
        gives no distribution (NaN, as float16 can).
        """
        entropies = self._loaded.entropies(batch.texts, self.batch_size)
        has = [values.size > 0 for values in entropies]

        def each(statistic: Any) -> pa.Array:
            values = [float(statistic(v)) if is_there else None for v, is_there in zip(entropies, has, strict=True)]
            return pa.array(values, pa.float64())

        return pa.record_batch(
            [*map(each, (np.mean, np.std, np.min, np.max)), pa.array([v.size for v in entropies], pa.int64())],
            schema=self.columns,
        )

    def fingerprint(self) -> dict[str, Any]:
        """Local models by the digest of their files, models of the hub by name and revision. Device and batch size
        are left out: they move the last digits alone."""
        if not self.model:
            raise ConfigError(
                "lm_entropy needs a model: --model (--set lm_entropy.model=) the NAME of one on the Hugging Face hub, or the "
                "path of its directory"
            )
        return {
            **self._identity,
            "window": self.window,
            "stride": self.stride,
            "dtype": self.dtype,
            "has_bos": self.has_bos,
        }

    @cached_property
    def _identity(self) -> dict[str, str | None]:
        return hf.identity("lm_entropy", self.model, self.revision)

    @cached_property
    def _loaded(self) -> LoadedModel:
        return LoadedModel(self)


class LoadedModel:
    """Model and tokenizer in memory, and the forward passes."""

    def __init__(self, parameters: CausalEntropy) -> None:
        self._torch, self._device, self._tokenizer, self._model = hf.load(
            "lm_entropy", "AutoModelForCausalLM", "causal language model", parameters
        )
        self._description = f"{parameters.model!r} in {parameters.dtype}"
        self._bos: list[int] = []
        if parameters.has_bos:
            if self._tokenizer.bos_token_id is None:
                raise ConfigError(f"has_bos needs a tokenizer with a BOS token; that of {parameters.model!r} has none")
            self._bos = [self._tokenizer.bos_token_id]
        config = self._model.config.get_text_config()
        self._n_vocab = int(config.vocab_size)
        window = _window(parameters, getattr(config, "max_position_embeddings", None))
        self.window = window - len(self._bos)
        if self.window < 1:
            raise ConfigError(f"window must be at least 2 with has_bos, got {window}")
        self.stride = parameters.stride or max(1, self.window // 2)
        if self.stride > self.window:
            raise ConfigError(
                f"stride must be at most the window ({self.window} tokens of text), or positions would be left out, "
                f"got {self.stride}"
            )

    def entropies(self, texts: list[str], batch_size: int) -> list[np.ndarray[Any, np.dtype[np.float64]]]:
        """Entropy in bits of every position of every text, in order: float64 [max(tokens - 1, 0)] each."""
        # Ids of one text at a time: the tokenizer's batch call starts a thread per core, and one worker is one thread.
        ids = [self._ids(text) for text in texts]
        bits = [np.zeros(max(len(i) - 1, 0)) for i in ids]
        work = [(d, w) for d, values in enumerate(bits) for w in windows(values.size, self.window, self.stride)]
        # Windows of similar length share a pass: least padding. The sort is stable, so the texts alone decide the order.
        work.sort(key=lambda item: item[1].start - item[1].end)
        at = 0
        with hf.one_thread(self._device), self._torch.inference_mode():
            while at < len(work):
                longest = work[at][1].end - work[at][1].start
                most = LOGITS_BYTES // (4 * self._n_vocab * (longest + len(self._bos)))
                together = work[at : at + max(1, min(batch_size, most))]
                rows = self._forward([self._bos + ids[d][w.start : w.end] for d, w in together])
                for row, (d, w) in zip(rows, together, strict=True):
                    start = len(self._bos) + w.first - w.start
                    bits[d][w.first : w.end] = self._bits(row[start : start + w.end - w.first])
                at += len(together)
        return bits

    def _ids(self, text: str) -> list[int]:
        encoding = self._tokenizer(text, add_special_tokens=False, split_special_tokens=True, verbose=False)
        ids: list[int] = encoding["input_ids"]
        return ids

    def _forward(self, rows: list[list[int]]) -> Any:
        """Logits [rows, longest, vocabulary]; rows are padded on the right, where a causal model never looks."""
        torch = self._torch
        longest = max(map(len, rows))
        ids = torch.zeros((len(rows), longest), dtype=torch.long)
        mask = torch.zeros_like(ids)
        for r, row in enumerate(rows):
            ids[r, : len(row)] = torch.tensor(row)
            mask[r, : len(row)] = 1
        return self._model(input_ids=ids.to(self._device), attention_mask=mask.to(self._device), use_cache=False).logits

    def _bits(self, logits: Any) -> np.ndarray[Any, np.dtype[np.float64]]:
        """Entropy of each row of logits [positions, vocabulary]."""
        torch = self._torch
        # entr(p) = -p ln p, and 0 where p is 0: a forbidden token (logit -inf) adds nothing.
        parts = [
            torch.special.entr(torch.softmax(chunk.float(), dim=-1)).sum(dim=-1)
            for chunk in logits.split(max(1, _CHUNK_VALUES // self._n_vocab))
        ]
        bits: np.ndarray[Any, np.dtype[np.float64]] = torch.cat(parts).cpu().numpy().astype(np.float64) / math.log(2)
        if not np.isfinite(bits).all():
            raise TaggerError(
                f"the model {self._description} gives no distribution at some position (NaN): use dtype float32 or bfloat16"
            )
        return bits


def windows(n_positions: int, window: int, stride: int) -> Iterator[Window]:
    """Windows over the tokens 0..n_positions - 1 that take every position exactly once.

    The last token of a document is in none, since no token follows.
    Example  n_positions 10, window 4, stride 2: (0, 0, 4) (2, 4, 6) (4, 6, 8) (6, 8, 10)
    """
    start = first = 0
    while first < n_positions:
        end = min(start + window, n_positions)
        yield Window(start, first, end)
        start, first = start + stride, end


def _window(parameters: CausalEntropy, positions: int | None) -> int:
    if parameters.window is None:
        return min(positions or MAX_DEFAULT_WINDOW, MAX_DEFAULT_WINDOW)
    if positions and parameters.window > positions:
        raise ConfigError(
            f"window must be at most the {positions} positions that the model {parameters.model!r} has, "
            f"got {parameters.window}"
        )
    return parameters.window


TAGGER = CausalEntropy
