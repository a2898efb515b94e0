"""The requests, tokens and money of this process's callers, and the listeners to their messages and counts."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from tagcorpus.taggers._llm.tokens import TEMPLATE_TOKENS, Price, Tokens

LONGEST_TOKEN_BYTES = 128
"""Length of the longest token of the vocabularies in use: that of o200k_base."""
LONGER_CONTEXT = (
    "Serve the model with a longer context (Ollama: OLLAMA_CONTEXT_LENGTH; llama.cpp: --ctx-size; vLLM: --max-model-len), or "
    "lower max_text_chars in a stage tree of your own (--tree)"
)
"""Advice for an endpoint that shortens prompts."""
ROUNDING_USD = 1e-12
"""Differences of sums of money below this come from floating point."""


@dataclass
class Usage:
    """Counts of one caller. `requests` were sent, retries included; `cache_hits` and `shared` answers cost nothing. The endpoint
    counted the tokens, those of failed replies too; `unusable` replies had tokens and no answer."""

    requests: int = 0
    retries: int = 0
    cache_hits: int = 0
    shared: int = 0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    reasoning_tokens: int = 0
    unusable: int = 0
    cut_prompts: int = 0
    """Documents of which the endpoint read less than it was sent, by its own count of tokens."""
    models: dict[str, int] = field(default_factory=dict)
    """Number of answers by the name of the model that the endpoint says gave them."""
    usd: float | None = None
    """Money for these tokens, and for requests without a reply what they cost at most; None where the price is unknown."""

    def as_json(self) -> dict[str, Any]:
        """The counts by name, as they are now."""
        counts = {**vars(self), "models": dict(self.models)}
        if self.usd is None:
            del counts["usd"]
        return counts

    def add(self, paid: Tokens) -> None:
        self.prompt_tokens += paid.prompt
        self.cached_tokens += paid.cached
        self.completion_tokens += paid.completion
        self.reasoning_tokens += paid.reasoning


class Purse:
    """The money of one caller. Before a request is sent, the most that it can cost is set aside; its reply replaces that sum by the
    money for its tokens. A killed run's bill so has the requests in flight at their most, and the limit is never passed.

    limit  None without one
    """

    def __init__(self, price: Price, limit: float | None, usage: Usage) -> None:
        self.price, self.limit, self.usage = price, limit, usage
        usage.usd = usage.usd or 0.0

    @property
    def spent(self) -> float:
        """Money for the replies, and what is set aside."""
        return self.usage.usd or 0.0

    def most(self, body: Mapping[str, Any], answer_limits: tuple[str, ...]) -> float:
        """The most that a request can cost: a token for each byte, the template, and the longest answer."""
        prompt = (
            sum(len(str(m["content"]).encode("utf-8", "surrogatepass")) for m in body["messages"]) + TEMPLATE_TOKENS
        )
        fields = {name: value for name, value in body.items() if name not in ("model", "messages")}
        limit = max((body[name] for name in answer_limits if isinstance(body.get(name), int)), default=0)
        return self.price.usd(Tokens(prompt=prompt + len(json.dumps(fields)), completion=limit))

    @property
    def left(self) -> float:
        """Money that is neither spent nor set aside."""
        return math.inf if self.limit is None else self.limit - self.spent

    def affords(self, most: float) -> bool:
        return self.limit is None or self.spent + most <= self.limit + ROUNDING_USD

    def set_aside(self, most: float) -> None:
        self.usage.usd = self.spent + most

    def settle(self, most: float, cost: float) -> None:
        """Put the cost of a reply in the place of the sum that was set aside."""
        self.usage.usd = self.spent - most + cost


def fewest_tokens(messages: list[dict[str, str]]) -> int:
    """Tokens that messages have at least, for every tokenizer of a chat model: no token spans two words or more than 128 bytes.

    Example  [{"content": "a bad  day"}] -> 3
    """
    contents = [message["content"] for message in messages]
    return max(sum(len(c.split()) for c in contents), sum(len(c) for c in contents) // LONGEST_TOKEN_BYTES)


_listeners: list[Callable[[str], None]] = []
_counters: list[Callable[[Usage], None]] = []


@contextmanager
def listening(listener: Callable[[str], None], counter: Callable[[Usage], None] | None = None) -> Iterator[None]:
    """Hands the messages of this process's callers to `listener`, and after each change their usage to `counter`.

    The callers' threads call both.
    """
    counters = [counter] if counter else []
    _listeners.append(listener)
    _counters.extend(counters)
    try:
        yield
    finally:
        _listeners.remove(listener)
        for each in counters:
            _counters.remove(each)


def announce(message: str) -> None:
    """Tell all listeners."""
    for listener in _listeners:
        listener(message)


def publish(usage: Usage) -> None:
    """Hand the counts on, before a request is sent and after its reply: so a killed run's spending is known, too."""
    for counter in _counters:
        counter(usage)
