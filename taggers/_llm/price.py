"""Money: the price of an endpoint's tokens, and the sum that a run may still spend."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from tagcorpus.taggers._llm.tokens import Tokens

PER_MILLION = 1e-6


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
