"""Money: the price of an endpoint's tokens, and the sum that a run may still spend."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from tagcorpus.taggers._llm.tokens import Tokens
from tagcorpus.taggers._llm.usage import Usage

PER_MILLION = 1e-6
TEMPLATE_TOKENS = 128
"""Largest number of tokens that a template adds to a request: role names, marks, and a system text of its own (about 70 tokens for
gpt-oss)."""
ROUNDING_USD = 1e-12
"""Differences of sums of money below this come from floating point."""


class Price(NamedTuple):
    """US dollars per million tokens: of prompts, of answers, and of those prompt tokens that the endpoint had in its prefix cache.
    `source` says where the price comes from."""

    prompt: float
    completion: float
    cached: float
    source: str = ""

    def usd(self, tokens: Tokens) -> float:
        """The money for these tokens."""
        fresh = tokens.prompt - tokens.cached
        paid = fresh * self.prompt + tokens.cached * self.cached + tokens.completion * self.completion
        return paid * PER_MILLION

    def usd_of(self, counts: Mapping[str, Any]) -> float:
        """The money for the tokens in the counts of a bill."""
        names = ("prompt_tokens", "cached_tokens", "completion_tokens")
        return self.usd(Tokens(*(counts.get(name, 0) for name in names)))

    def described(self) -> str:
        cached = f", cached {self.cached:g}" if self.cached != self.prompt else ""
        return f"{self.prompt:g} in, {self.completion:g} out{cached} USD per million tokens: {self.source}"


@dataclass(frozen=True)
class Grant:
    """A run's limits: the requests and the money that are left to spend. `usd`: None without a limit of money."""

    requests: int
    usd: float | None = None
    price: Price | None = None


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

    def affords(self, most: float) -> bool:
        return self.limit is None or self.spent + most <= self.limit + ROUNDING_USD

    def set_aside(self, most: float) -> None:
        self.usage.usd = self.spent + most

    def settle(self, most: float, cost: float) -> None:
        """Put the cost of a reply in the place of the sum that was set aside."""
        self.usage.usd = max(self.spent - most + cost, 0.0)
