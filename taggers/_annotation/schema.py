"""A schema of properties, its questions about the windows of a document, and a document on its way through them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from tagcorpus.taggers._annotation.answers import is_bare, values_in
from tagcorpus.taggers._annotation.probabilities import MOST_ALTERNATIVES, Likelihood, has_likelihood, likelihood
from tagcorpus.taggers._annotation.properties import Flaw, Property
from tagcorpus.taggers._interface.windows import BEGIN, spans, united
from tagcorpus.taggers._llm.request import LIMITS, RESPONSE_FORMAT
from tagcorpus.taggers._llm.tokens import TEMPLATE_TOKENS
from tagcorpus.taggers._stage_tree.tree import HARMLESS, TOKENS_PER_MESSAGE, TOKENS_PER_REQUEST
from tagcorpus.taggers._tokenizers.interface import Tokenizer


@dataclass(frozen=True)
class Schema:
    """A checked schema. `digest` covers the content, not comments. `windows` are the places of a long document that are asked
    about, each of `max_text_chars` at most. `examples` are texts with their answers as JSON."""

    name: str
    properties: tuple[Property, ...]
    instructions: str
    before: str
    after: str
    digest: str
    model: str
    temperature: float
    max_answer_tokens: int
    max_text_chars: int
    min_chars: int
    windows: tuple[str, ...]
    examples: tuple[tuple[str, str], ...] = ()
    roles: str = "system"
    own_request: tuple[tuple[str, str], ...] = ()
    headers: tuple[tuple[str, str], ...] = ()
    has_probabilities: bool = False
    """Whether the endpoint is asked for the log probabilities of answers."""

    @cached_property
    def request(self) -> tuple[tuple[str, str], ...]:
        """Fields of the request: the constraint of the answer, and what the schema adds or takes away."""
        if any(name == RESPONSE_FORMAT for name, _ in self.own_request):
            return (*self._logprobs, *self.own_request)
        return ((RESPONSE_FORMAT, json.dumps(self.response_format)), *self._logprobs, *self.own_request)

    @property
    def _logprobs(self) -> tuple[tuple[str, str], ...]:
        return (("logprobs", "true"), ("top_logprobs", str(MOST_ALTERNATIVES))) if self.has_probabilities else ()

    @cached_property
    def response_format(self) -> dict[str, Any]:
        properties = {p.name: p.json_schema() for p in self.properties}
        shape = {
            "type": "object",
            "properties": properties,
            "required": list(properties),
            "additionalProperties": False,
        }
        return {"type": "json_schema", "json_schema": {"name": self.name, "strict": True, "schema": shape}}

    @cached_property
    def answer_limit(self) -> int | None:
        """Tokens that an answer has at most; None where `request` takes the limit away."""
        limits: dict[str, Any] = {"max_tokens": self.max_answer_tokens}
        limits |= {name: json.loads(value) for name, value in self.request if name in LIMITS}
        return max((limit for limit in limits.values() if isinstance(limit, int)), default=None)

    def messages(self, text: str) -> list[dict[str, str]]:
        """The chat messages that ask about a text, which is pasted and never formatted."""
        messages = [{"role": "system", "content": self.instructions}] if self.instructions else []
        for example, answer in self.examples:
            messages += [
                {"role": "user", "content": self.before + example + self.after},
                {"role": "assistant", "content": answer},
            ]
        return [*messages, {"role": "user", "content": self.before + text + self.after}]

    def is_short(self, text: object) -> bool:
        """True for a text that is not asked about."""
        return not isinstance(text, str) or len(text) < self.min_chars or not text.strip()

    def spans(self, n: int) -> list[tuple[int, int]]:
        """Begin and end of each window of a text of `n` characters: the whole text, where it fits into one."""
        return spans(n, self.max_text_chars, self.windows)

    def shown(self, text: str) -> tuple[str, ...]:
        """The windows of a text."""
        return tuple(text[start:end] for start, end in self.spans(len(text)))

    def at(self, stage: str) -> Inquiry:  # noqa: ARG002 - all windows have the same question
        """An inquiry without a document."""
        return Inquiry(self, ("",), False)

    def start(self, text: str) -> Inquiry:
        """An inquiry before its first question."""
        return Inquiry(self, self.shown(text), united(self.spans(len(text))) != [(0, len(text))])

    def most_tokens(self, text: str, n_calls: int, tokenizer: Tokenizer | None = None) -> int:
        """An upper bound of the tokens of so many calls about a text, prompts and answers. Without a tokenizer, one token for each
        byte of UTF-8."""
        if not n_calls:
            return 0
        added = sum(len(value.encode()) for _, value in self.request) + (self.answer_limit or 0)
        prompts = [self._prompt_tokens(self.messages(window), tokenizer) for window in self.shown(text)]
        return sum(sorted(prompts)[-n_calls:]) + n_calls * added

    def _prompt_tokens(self, messages: Sequence[dict[str, str]], tokenizer: Tokenizer | None) -> int:
        contents = [message["content"] for message in messages]
        if tokenizer is None:
            return sum(len(c.encode("utf-8", "surrogatepass")) for c in contents) + TEMPLATE_TOKENS
        sizes = np.diff(tokenizer.encode_batch(contents).offsets)
        return int(sizes.sum()) + TOKENS_PER_MESSAGE * len(contents) + TOKENS_PER_REQUEST

    def values(self, answer: str) -> dict[str, Any]:
        """The value of each property in an answer. Raises Flaw where the answer misses the schema."""
        return values_in(answer, self.properties)


@dataclass(frozen=True)
class Inquiry:
    """One document on its way through its windows. Immutable: `answered` and `failed` return the next state.

    `answers` has the model's answer to each window asked so far.
    """

    schema: Schema
    windows: tuple[str, ...]
    is_truncated: bool
    answers: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    error: str | None = None
    logprobs: tuple[str, ...] = ()

    def messages(self) -> list[dict[str, str]] | None:
        """The messages of the next question, or None at the end."""
        if self.error is not None or len(self.answers) == len(self.windows):
            return None
        return self.schema.messages(self.windows[len(self.answers)])

    def harmless(self) -> list[dict[str, str]]:
        return self.schema.messages(HARMLESS)

    def accepts(self, raw: str) -> bool:
        return is_bare(raw) and not self.flaw(raw)

    def names_choice(self, raw: str) -> bool:
        return not self.flaw(raw)

    def flaw(self, raw: str) -> str:
        try:
            self.schema.values(raw)
        except Flaw as flaw:
            return f"an answer that misses the schema ({flaw}): {raw[:200]!r}"
        return ""

    def answered(self, raw: str, model: str = "", logprobs: str = "") -> Inquiry:
        models = self.models if model in ("", *self.models) else (*self.models, model)
        return replace(self, answers=(*self.answers, raw), models=models, logprobs=(*self.logprobs, logprobs))

    def failed(self, reason: str) -> Inquiry:
        return replace(self, error=reason)

    @property
    def stage(self) -> str:
        """The window that is asked about next."""
        positions = self.schema.windows if len(self.windows) > 1 else (BEGIN,)
        return positions[min(len(self.answers), len(positions) - 1)]

    @property
    def n_calls(self) -> int:
        """Questions asked, the failed one included."""
        return len(self.answers) + (self.error is not None)

    @property
    def calls_left(self) -> int:
        return 0 if self.error is not None else len(self.windows) - len(self.answers)

    def likelihoods(self) -> dict[str, Likelihood | None]:
        """The likelihood of each chosen value; None where the endpoint names no probabilities, and of several windows, which have no
        common one."""
        is_single = self.error is None and len(self.answers) == 1
        chosen = [p for p in self.schema.properties if has_likelihood(p)]
        return {p.name: likelihood(self.answers[0], self.logprobs[0], p) if is_single else None for p in chosen}

    def values(self) -> dict[str, Any]:
        """The value of each property; no values where a window got no answer."""
        if self.error is not None:
            return {p.name: None for p in self.schema.properties}
        by_window = [self.schema.values(answer) for answer in self.answers]
        return {p.name: p.merged([values[p.name] for values in by_window]) for p in self.schema.properties}
