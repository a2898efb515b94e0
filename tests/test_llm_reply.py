"""Pure readings: the choice that a text names, how long a server wants to be left alone, and the pace of a caller."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from tagcorpus.taggers._llm.gate import FIRST_IN_FLIGHT, Gate
from tagcorpus.taggers._llm.reply import Failure, judge, spoken
from tagcorpus.taggers._stage_tree.read import packaged_tree

CHOICES = packaged_tree().by_name["remaining"].choices


@pytest.mark.parametrize(
    ("said", "label"),
    [
        ("books", "books"),
        ("Specific datasets.", "specific_datasets"),
        ('{"answer": "books", "confidence": 0.9}', "books"),
        ("```\nbooks\n```", "books"),
        ("The answer is: books", "books"),
        ("I would say **reference**.", "reference"),
        ("books, because it tells a story", "books"),
        ("books or reference", None),
        ("It is not books", None),
        ("I cannot tell whether this is a web", None),
        ("Is it books?", None),
        ("a reference to a site about recipes", None),
        ('["books", "web"]', None),
        ("textbook", None),
        ("patent", None),
        ("books\n\nI'm sorry if this is not right.", "books"),
        ("| label |\n|---|\n| books |", "books"),
        ("books\nNo, not books.", None),
        ("It is not\nbooks", None),
    ],
)
def test_the_choice_that_a_text_names(said: str, label: str | None) -> None:
    walk = replace(packaged_tree().start("x" * 100), stage="remaining")
    after = walk.answered(said)
    assert (after.label, after.is_off_menu) == (label or "unknown", label is None)


def test_what_is_spoken() -> None:
    assert spoken("<think>a\nb</think>\n books<|im_end|></s>") == "books"
    assert spoken("<think>never ends") == ""
    assert spoken("a < b") == "a < b"


def google(delay: str) -> Any:
    return [{"error": {"code": 429, "message": "x", "details": [{"@type": "RetryInfo", "retryDelay": delay}]}}]


@pytest.mark.parametrize(
    ("headers", "sent", "seconds"),
    [
        ({}, {"error": {"message": "Rate limit reached. Please try again in 37.5s."}}, 37.5),
        ({}, {"error": {"message": "Please retry after 6 seconds"}}, 6.0),
        ({}, google("37s"), 37.0),
        ({"x-ratelimit-reset-requests": "1m30s", "x-ratelimit-reset-tokens": "120ms"}, {}, 90.0),
        (
            {
                "x-ratelimit-reset-requests": "6m0s",
                "x-ratelimit-reset-tokens": "2s",
                "x-ratelimit-remaining-tokens": "0",
            },
            {},
            2.0,
        ),
        ({"x-ratelimit-reset": "2000000060"}, {}, 60.0),
        ({}, {"error": {"message": "slow down"}}, None),
    ],
)
def test_how_long_a_server_wants_to_be_left_alone(headers: dict[str, str], sent: Any, seconds: float | None) -> None:
    outcome = judge(429, headers, json.dumps(sent).encode(), 2_000_000_000.0)
    assert isinstance(outcome, Failure)
    assert (outcome.kind, outcome.retry_after_seconds) == ("pace", seconds)


def test_a_day_is_told_from_a_minute() -> None:
    said = {"error": {"message": "Rate limit reached on requests per day (RPD): Limit 200"}}
    outcome = judge(429, {"retry-after": "3"}, json.dumps(said).encode(), 0.0)
    assert isinstance(outcome, Failure)
    assert outcome.kind == "quota"


def test_additive_up_multiplicative_down() -> None:
    gate = Gate(64, patience_seconds=600, backoff_seconds=1)
    assert gate.limit == FIRST_IN_FLIGHT
    gate.answered()
    assert gate.limit == 64
    assert gate.slow_down(10.0, 9.0, None, 1.0) == 1.0
    assert gate.slow_down(10.0, 9.5, None, 1.0) == 1.0  # sent before the last slowing: halves nothing
    assert gate.limit == 32
    gate.answered()
    assert 32 < gate.limit < 33


def test_patience_ends_without_an_answer() -> None:
    gate = Gate(4, patience_seconds=10, backoff_seconds=1)
    assert gate.slow_down(1.0, 0.0, 5.0, 1.0) == 5.0
    assert gate.slow_down(6.0, 6.0, 5.0, 1.0) is None
    gate.answered()
    assert gate.slow_down(7.0, 6.5, 5.0, 1.0) == 5.0


def test_requests_and_tokens_a_minute_space_the_starts() -> None:
    gate = Gate(4, 10, 1, rpm=60, tpm=6000)
    gate.started(0.0, 50)
    assert gate.wait_seconds(0.0) == 1.0
    gate.started(1.0, 300)
    assert gate.wait_seconds(1.0) == 3.0
