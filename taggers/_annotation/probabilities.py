"""The probability of a chosen value, and its lead over the second, from the log probabilities of an answer's tokens.

The value of a property is a span of the answer's JSON. At each token of the span, the alternatives that the endpoint names are counted
for the values that they may begin. The chosen value's share of these, multiplied over the span, is its probability. An alternative that
leaves the chosen value has the rest. Tokens that begin no allowed value do not count.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from typing import Any, NamedTuple

from tagcorpus.taggers._annotation.properties import Property

MOST_ALTERNATIVES = 20
"""Alternatives of a token that OpenAI gives at most."""
_KEY = r'"{}"\s*:\s*'


class Likelihood(NamedTuple):
    """Probability of a value, and the margin between it and the second one."""

    probability: float
    margin: float


def has_likelihood(each: Property) -> bool:
    """Whether one of a few values is chosen, so that a probability has a meaning."""
    return each.kind in ("enum", "ordinal", "boolean")


def values_of(each: Property) -> list[str]:
    """The values that a property may have, as they are in the JSON of an answer."""
    values: list[Any] = [True, False] if each.kind == "boolean" else list(each.choices)
    if each.kind == "ordinal":
        values = [*range(int(each.least or 0), int(each.most or 0) + 1)]
    return [json.dumps(value, ensure_ascii=False) for value in [*values, *([None] if each.is_optional else [])]]


def likelihood(text: str, logprobs: str, each: Property) -> Likelihood | None:
    """The likelihood of a property's value in an answer; None where the endpoint gave no usable log probabilities.

    logprobs  JSON of [token, log probability, [[alternative, log probability], ...]] for each token of the text
    """
    match = [*re.finditer(_KEY.format(re.escape(each.name)), text)]
    tokens = json.loads(logprobs) if logprobs else []
    if len(match) != 1 or "".join(token for token, _, _ in tokens) != text:
        return None
    start = match[0].end()
    chosen = max((value for value in values_of(each) if text.startswith(value, start)), key=len, default="")
    if not chosen:
        return None
    probability, position = 1.0, 0
    others: dict[str, float] = {}
    for token, own, alternatives in tokens:
        begin, position = position, position + len(token)
        if position <= start or begin >= start + len(chosen):
            continue
        before = text[min(begin, start) : start]  # of the token, in front of the value
        done = text[start : max(begin, start)]
        shares = _shares({**dict(alternatives), token: own}, before, done, chosen, values_of(each))
        mass = sum(shares.values())
        if mass <= 0:
            return None
        for value, share in shares.items():
            if value != chosen:
                others[value] = others.get(value, 0.0) + probability * share / mass
        probability *= shares.get(chosen, 0.0) / mass
    return Likelihood(probability, probability - max(others.values(), default=0.0))


def _shares(
    alternatives: dict[str, float], before: str, done: str, chosen: str, values: Sequence[str]
) -> dict[str, float]:
    """The probability of the alternatives by the value that each begins; the chosen value where it may begin several."""
    shares: dict[str, float] = {}
    for token, logprob in alternatives.items():
        if not token.startswith(before):
            continue
        written = done + token[len(before) :]
        fitting = [v for v in values if v.startswith(written) or _continues(written, v)]
        if fitting:
            value = chosen if chosen in fitting else fitting[0]
            shares[value] = shares.get(value, 0.0) + math.exp(min(logprob, 0.0))
    return shares


def _continues(written: str, value: str) -> bool:
    """Whether the value is written, and what follows is the rest of the JSON."""
    return written.startswith(value) and written[len(value) : len(value) + 1] in (",", "}", " ", "\n")
