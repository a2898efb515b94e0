"""The tokens of a reply, as different endpoints count them, and their price."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

_LARGEST_COUNT = 2**63 - 1
PER_MILLION = 1e-6
TEMPLATE_TOKENS = 128
"""Largest number of tokens that a template adds to a request: role names, marks, and a system text of its own (about 70 tokens for
gpt-oss)."""


@dataclass(frozen=True)
class Tokens:
    """The tokens of a reply, by the endpoint's count. `cached` are those of `prompt` that the endpoint had in its prefix cache;
    `reasoning` are those of `completion` that are not in the answer."""

    prompt: int = 0
    cached: int = 0
    completion: int = 0
    reasoning: int = 0


NO_TOKENS = Tokens()


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


def mapping_or_empty(value: Any) -> Mapping[str, Any]:
    """A JSON value that should be an object; empty for another one."""
    return value if isinstance(value, dict) else {}


def tokens_of(data: Mapping[str, Any]) -> Tokens:
    """The tokens of a reply, in the spellings of OpenAI, DeepSeek, Anthropic, llama.cpp, Moonshot and xAI.

    Example  {"prompt_tokens": 9, "completion_tokens": 2, "prompt_cache_hit_tokens": 4} -> Tokens(9, 4, 2, 0)
    """
    usage = mapping_or_empty(data.get("usage"))
    prompt, completion = _count(usage, "prompt_tokens"), _count(usage, "completion_tokens")
    read, written = _count(usage, "cache_read_input_tokens"), _count(usage, "cache_creation_input_tokens")
    if not prompt:  # Anthropic counts cached tokens beside `input_tokens`
        prompt = _count(usage, "input_tokens") + read + written
    completion = completion or _count(usage, "output_tokens")
    cached = (
        _count(mapping_or_empty(usage.get("prompt_tokens_details")), "cached_tokens")
        or _count(mapping_or_empty(usage.get("input_tokens_details")), "cached_tokens")
        or _count(usage, "prompt_cache_hit_tokens")
        or read
        or _count(usage, "cached_tokens")
        or _count(mapping_or_empty(data.get("timings")), "cache_n")
    )
    reasoning = (
        _count(mapping_or_empty(usage.get("completion_tokens_details")), "reasoning_tokens")
        or _count(mapping_or_empty(usage.get("output_tokens_details")), "reasoning_tokens")
        or _count(usage, "reasoning_tokens")
    )
    if reasoning and _count(usage, "total_tokens") == prompt + completion + reasoning:  # xAI counts reasoning apart
        completion += reasoning
    return Tokens(prompt, min(cached, prompt), completion, min(reasoning, completion))


def _count(usage: Mapping[str, Any], key: str) -> int:
    value = usage.get(key)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return value if isinstance(value, int) and 0 <= value <= _LARGEST_COUNT else 0
