"""What a reply cost, in the spellings of several endpoints."""

from __future__ import annotations

from typing import Any

import pytest

from tagcorpus.taggers._llm.tokens import Tokens, tokens_of

SPELLINGS: dict[str, tuple[dict[str, Any], Tokens]] = {
    "OpenAI": (
        {
            "usage": {
                "prompt_tokens": 1200,
                "completion_tokens": 40,
                "total_tokens": 1240,
                "prompt_tokens_details": {"cached_tokens": 1024, "audio_tokens": 0},
                "completion_tokens_details": {"reasoning_tokens": 38},
            }
        },
        Tokens(1200, 1024, 40, 38),
    ),
    "OpenAI's responses": (
        {
            "usage": {
                "input_tokens": 1200,
                "output_tokens": 40,
                "input_tokens_details": {"cached_tokens": 1024},
                "output_tokens_details": {"reasoning_tokens": 38},
            }
        },
        Tokens(1200, 1024, 40, 38),
    ),
    "DeepSeek": (
        {
            "usage": {
                "prompt_tokens": 900,
                "completion_tokens": 3,
                "prompt_cache_hit_tokens": 640,
                "prompt_cache_miss_tokens": 260,
            }
        },
        Tokens(900, 640, 3, 0),
    ),
    "Anthropic": (
        {
            "usage": {
                "input_tokens": 20,
                "output_tokens": 4,
                "cache_read_input_tokens": 700,
                "cache_creation_input_tokens": 30,
            }
        },
        Tokens(750, 700, 4, 0),
    ),
    "a gateway to Anthropic": (
        {"usage": {"prompt_tokens": 750, "completion_tokens": 4, "cache_read_input_tokens": 700}},
        Tokens(750, 700, 4, 0),
    ),
    "llama.cpp": (
        {
            "usage": {"prompt_tokens": 500, "completion_tokens": 2},
            "timings": {"cache_n": 480, "prompt_n": 20, "predicted_n": 2},
        },
        Tokens(500, 480, 2, 0),
    ),
    "Moonshot": (
        {"usage": {"prompt_tokens": 500, "completion_tokens": 2, "cached_tokens": 256}},
        Tokens(500, 256, 2, 0),
    ),
    "xAI": (
        {
            "usage": {
                "prompt_tokens": 10,
                "completion_tokens": 2,
                "total_tokens": 112,
                "completion_tokens_details": {"reasoning_tokens": 100},
            }
        },
        Tokens(10, 0, 102, 100),
    ),
    "numbers with a point": ({"usage": {"prompt_tokens": 10.0, "completion_tokens": 2.0}}, Tokens(10, 0, 2, 0)),
    "nothing": ({}, Tokens()),
    "nonsense": (
        {
            "usage": {"prompt_tokens": "many", "completion_tokens": -3, "prompt_tokens_details": [1]},
            "timings": None,
        },
        Tokens(),
    ),
    "more cached than sent": (
        {"usage": {"prompt_tokens": 10, "completion_tokens": 1, "cached_tokens": 99, "reasoning_tokens": 7}},
        Tokens(10, 10, 1, 1),
    ),
}


@pytest.mark.parametrize("name", SPELLINGS)
def test_tokens_of_a_reply(name: str) -> None:
    reply, tokens = SPELLINGS[name]
    assert tokens_of(reply) == tokens
