"""From a document to the inputs of a model with few positions: one for each window, with the tokenizer's special tokens around it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tagcorpus.errors import ConfigError
from tagcorpus.taggers._interface.windows import BEGIN, Span, spans

Ints = npt.NDArray[np.int64]

# Characters of a long text that are tokenised for each token read: several times the need of any language.
_CHARS_PER_TOKEN = 16
# Of English text with common tokenizers.
_USUAL_CHARS_PER_TOKEN = 4
# Characters of a text that are tokenised at once where all of it is: bounds the memory that a large document takes.
_BLOCK_CHARS = 4 << 20
# Some tokenizers drop other white space.
_END_OF_WORD = re.compile(r"(?<=\S)[ \n]")
_NOT_SPACE = re.compile(r"\S")
_PROBE = "A short text."


@dataclass(frozen=True)
class ModelInputs:
    """The inputs for one document. `spans` are the characters that they come from; None: all of them."""

    inputs: list[dict[str, list[int]]]
    spans: list[Span] | None = None


class InputCutter:
    """Cuts documents to windows of `max_tokens`, special tokens included. `description` is the model's, for messages."""

    def __init__(self, tokenizer: Any, max_tokens: int, windows: Sequence[str], description: str) -> None:
        self._tokenizer, self._max_tokens, self._windows = tokenizer, max_tokens, windows
        if self._windows == (BEGIN,):
            return
        bare, whole = (list(tokenizer(_PROBE, add_special_tokens=s)["input_ids"]) for s in (False, True))
        n_special = len(whole) - len(bare)
        at = next((i for i in range(n_special + 1) if whole[i : i + len(bare)] == bare), None)
        if at is None or not bare:
            raise ConfigError(
                f"the tokenizer of {description} does not put its special tokens around the text, so that only windows={BEGIN} "
                "is possible"
            )
        self._before, self._after = whole[:at], whole[at + len(bare) :]
        self._size = max_tokens - n_special

    def of(self, text: str) -> ModelInputs:
        """The inputs for a text: what the tokenizer gives with truncation, and for a longer text one input for each window."""
        begin, span = self.begin(text)
        if span is None or self._windows == (BEGIN,):
            return ModelInputs([begin], None if span is None else [span])
        ids, starts, ends = self._tokens(text)
        places = spans(len(ids), self._size, self._windows)
        # All windows are full, so that the other inputs (mask, types) are those of the beginning.
        inputs = [{**begin, "input_ids": [*self._before, *ids[a:b].tolist(), *self._after]} for a, b in places]
        return ModelInputs(inputs, [(int(starts[a]), int(ends[b - 1])) for a, b in places])

    def begin(self, text: str) -> tuple[dict[str, list[int]], Span | None]:
        """The input that the tokenizer cuts to its length, and the characters that it comes from; None: all.

        Of a long text, only a beginning that ends with a word is tokenised, mostly far beyond the last token read. Tokenizers
        take words one by one, so the tokens are the same.
        """
        is_beginning = self._tokenizer.truncation_side == "right"
        length = _CHARS_PER_TOKEN * self._max_tokens if is_beginning else len(text)
        while True:
            end = _end_of_word(text, length)
            encoding = self._tokenizer(text[:end], truncation=True, max_length=self._max_tokens, verbose=False)
            is_full = len(encoding["input_ids"]) == self._max_tokens
            if end == len(text) or is_full:
                break
            length *= 8
        fast = encoding.encodings[0] if encoding.encodings else None
        if not is_full or not self._is_cut(text, end, fast):
            return dict(encoding), None
        offsets = [(a, b) for a, b in fast.offsets if b > a] if fast is not None else []
        if not offsets:  # only fast tokenizers say which characters a token comes from
            return dict(encoding), (0, min(_USUAL_CHARS_PER_TOKEN * self._max_tokens, len(text) - 1))
        return dict(encoding), (min(a for a, _ in offsets), max(b for _, b in offsets))

    def _is_cut(self, text: str, end: int, fast: Any) -> bool:
        """Whether tokens were cut off a full input, or there is more text behind the characters that were tokenised."""
        if _NOT_SPACE.search(text, end):
            return True
        if fast is not None:
            return bool(fast.overflowing)
        return len(self._tokenizer(text[:end], verbose=False)["input_ids"]) > self._max_tokens

    def _tokens(self, text: str) -> tuple[Ints, Ints, Ints]:
        """The ids of a whole text without special tokens, and the characters where each token begins and ends."""
        blocks: list[tuple[Ints, Ints, Ints]] = []
        at = 0
        while at < len(text):
            end = _end_of_word(text, at + _BLOCK_CHARS)
            encoding = self._tokenizer(text[at:end], add_special_tokens=False, truncation=False, verbose=False)
            ids = np.array(encoding["input_ids"], np.int64)
            if encoding.encodings:
                offsets = np.array(encoding.encodings[0].offsets, np.int64).reshape(-1, 2) + at
            else:
                edges = np.linspace(at, end, len(ids) + 1).astype(np.int64)
                offsets = np.stack([edges[:-1], edges[1:]], axis=1)
            blocks.append((ids, offsets[:, 0], offsets[:, 1]))
            at = end
        ids, starts, ends = (np.concatenate(column) for column in zip(*blocks, strict=True))
        return ids, starts, ends


def _end_of_word(text: str, least: int) -> int:
    """The first end of a word from a character on; the end of the text, where no word ends before."""
    cut = _END_OF_WORD.search(text, least)
    return cut.start() if cut else len(text)
