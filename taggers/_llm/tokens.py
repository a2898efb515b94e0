"""The tokens of a reply, as different endpoints count them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_LARGEST_COUNT = 2**63 - 1


@dataclass(frozen=True)
class Tokens:
    """The tokens of a reply, by the endpoint's count. `cached` are those of `prompt` that the endpoint had in its prefix cache;
    `reasoning` are those of `completion` that are not in the answer."""

    prompt: int = 0
    cached: int = 0
    completion: int = 0
    reasoning: int = 0


NO_TOKENS = Tokens()


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
