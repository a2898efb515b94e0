"""Finds the choice that an answer of a model names."""

from __future__ import annotations

import json
import re
from collections.abc import Collection

_EDGES = re.compile(r"^[\W_]+|[\W_]+$")
_FENCE = re.compile(r"^```\w*\s*|```\s*$")
_DENIES = re.compile(
    r"\b(?:not|no|nor|neither|never|none|cannot|hardly|barely|without|rather|instead|unlikely|whether|if|maybe|perhaps|unsure|or|"
    r"either|except|but)\b|n['\u2019]t\b|\?",
    re.IGNORECASE,
)
"""Words that deny or doubt the choice that a sentence names."""
_INNER = re.compile(r"[\s\-_]+")


def normalise(answer: str) -> str:
    """A model's answer as a choice name: no surrounding space, quotes, markdown emphasis or punctuation; lower case;
    inner white space and hyphens as one underscore. Example: ' **"Specific datasets."** ' -> specific_datasets."""
    return _INNER.sub("_", _EDGES.sub("", answer)).lower()


def named_choice(answer: str, choices: Collection[str]) -> str:
    """The choice that an answer names, or the normalised answer where it does not name exactly one.

    Understood are the bare choice, alone or on a first line with other text below it, JSON, code fences, a table whose last cell is
    the choice, and sentences that begin or end with the choice, name no other, and deny and doubt nothing.

    Example  '{"label": "books"}' -> books; 'The answer is: books.' -> books; 'I do not think it is books' -> off the menu
    """
    whole = normalise(answer)
    if whole in choices:
        return whole
    fenced = _FENCE.sub("", answer).strip()
    if fenced[:1] in "{[" and fenced:
        values = {normalise(value) for value in _strings(fenced)} & set(choices)
        return values.pop() if len(values) == 1 else whole
    names = sorted(choices, key=len, reverse=True)
    pattern = "|".join(r"[\s_-]+".join(re.escape(word) for word in name.split("_")) for name in names)
    mentions = list(re.finditer(rf"(?<![\w-])(?:{pattern})(?![\w-])", fenced, re.IGNORECASE))
    named = {normalise(mention[0]) for mention in mentions}
    if len(named) != 1:
        return whole
    around = re.sub(rf"(?<![\w-])(?:{pattern})(?![\w-])", " ", fenced, flags=re.IGNORECASE)
    before, after = fenced[: mentions[0].start()], fenced[mentions[-1].end() :]
    if len(mentions) == 1 and normalise(fenced.split("\n", 1)[0]) in choices:
        return named.pop()  # alone on the first line: an apology or a remark below it denies nothing
    is_last = re.fullmatch(r"[\s\"'`*_.!)\]|]*", after) is not None
    is_first = re.fullmatch(r"[\s\"'`*_(\[]*", before) is not None and re.match(
        r"[\"'`*_)\]]*\s*(?:[.,:;!(\n\u2013\u2014-]|because\b|since\b|as\b)", fenced[mentions[0].end() :]
    )
    return named.pop() if (is_last or is_first) and not _DENIES.search(around) else whole


def _strings(text: str) -> list[str]:
    """Every string that is a value in a JSON text; none where it is not JSON."""
    try:
        waiting = [json.loads(text)]
    except (ValueError, RecursionError):
        return []
    strings = []
    while waiting:
        value = waiting.pop()
        if isinstance(value, str):
            strings.append(value)
        elif isinstance(value, dict):
            waiting += value.values()
        elif isinstance(value, list):
            waiting += value
    return strings
