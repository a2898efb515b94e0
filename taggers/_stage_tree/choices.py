"""Finds the choice that an answer of a model names."""

from __future__ import annotations

import json
import re
from collections.abc import Collection
from typing import Any

_EDGES = re.compile(r"^[\W_]+|[\W_]+$")
_KEYS = "label|answer|category|domain|class|classification|prediction|choice|result|output"
_FENCE = re.compile(rf"^```\w*\s*|```\s*$|^\s*<(?:{_KEYS})>\s*|</(?:{_KEYS})>\s*$|\\boxed\{{", re.IGNORECASE)
_ENGLISH = (
    r"not|no|nor|neither|never|none|cannot|hardly|barely|without|rather|instead|unlikely|whether|if|maybe|perhaps|unsure|or|either|"
    r"except|but|(?:is|are|was|do|does)nt"
)
_OTHERS = (
    "kein\\w*|nicht|pas|aucune?|n[\u00e3a]o|nem|ning[u\u00fa]n\\w*|tampoco|sin|non(?!-)|nessun\\w*|niet|geen|inte|ingen|inget|ikke|ei|nie|nen[i\u00ed]|"
    "\u043d\u0435|\u043d\u0435\u0442|\u043d\u0456|de\u011fil|kh\u00f4ng|bukan|tidak|\u03cc\u03c7\u03b9|\u03b4\u03b5\u03bd|\u0644\u0627|\u0644\u064a\u0633|\u05dc\u05d0|\u05d0\u05d9\u05df"
)
# Chinese, Japanese and Thai have no spaces between words; a Korean negation is part of a word.
_WITHIN_WORDS = "[\u4e0d\u6ca1\u975e\u65e0\u7121\u672a]|\u306a\u3044|\u307e\u305b\u3093|\uc544\ub2c8|\uc544\ub2d9|\uc544\ub2cc|\uc54a|\u0e44\u0e21\u0e48"
_SIGNS = r"\?|\uff1f|~~|!=|[\u2260\u00ac\u274c\u2717\u2718]|^\s*!"
_DENIES = re.compile(
    rf"\b(?:{_ENGLISH}|{_OTHERS})\b|n['\u2019]t\b|\bn['\u2019]|{_WITHIN_WORDS}|{_SIGNS}|[:=]\s*0(?:\.0+)?(?![\w.])",
    re.IGNORECASE,
)
"""Words and signs that deny or doubt the choice that a sentence names, in several languages."""
_SETS_APART = re.compile(
    r"\b(?:anything|nothing|other\s+than|far\s+from|unlike|opposite|false|wrong|incorrect\w*|lacks?|lacking|exclud\w+|reject\w*|"
    r"alternat\w+|rules?\s+out|ruled\s+out|fails?|said|says|quot\w+|mention\w*)\b",
    re.IGNORECASE,
)
"""Words that, before a choice, deny it or tell what the document says. Behind a choice they only explain it."""
_DOUBTED = re.compile(_SIGNS)
_LABEL_KEYS = frozenset(_KEYS.split("|"))
"""Keys of a JSON object whose value is the answer, whatever else the object holds."""
_LABELLED = re.compile(
    rf"(?:^|\n)[\W_]{{0,9}}(?:(?:the|my)\s+)?(?:(?:final|best|correct)\s+)?(?:{_KEYS})[*_\s]{{0,9}}(?:is|[:=\uff1a])[\W_]{{0,9}}$",
    re.IGNORECASE,
)
"""A line up to its choice, such as `Label:` or `The answer is`."""
_REASONS = re.compile(
    r"\n\W*(?:the|this|it|explanation|reason\w*|rationale|justification|because|since)\b", re.IGNORECASE
)
_TAKES_BACK = re.compile(
    r"\b(?:also|could|might|may|maybe|perhaps|possibly|or|either|wait|actually|correct\w*|sorry|however|but|instead|better|though|"
    r"alternat\w+|answer|label|category|wrong|should|would)\b|\?",
    re.IGNORECASE,
)
"""Words below a choice, beside other choices, that may mean one of these."""
_INNER = re.compile(r"[\s\-_]+")
_RUN = re.compile(r"([\s\-_])\1{9,}")
"""One character many times, as models write that do not find an end: the time of other patterns grows with its square."""


def normalise(answer: str) -> str:
    """A model's answer as a choice name: no surrounding space, quotes, markdown emphasis or punctuation; lower case;
    inner white space and hyphens as one underscore. Example: ' **"Specific datasets."** ' -> specific_datasets."""
    return _INNER.sub("_", _EDGES.sub("", answer)).lower()


def bare_choice(answer: str) -> str:
    """The normalised answer; an answer with a sign of doubt, such as `books?` or `~~books~~`, stays as it is and names no choice."""
    return answer.strip() if _DOUBTED.search(answer) else normalise(answer)


def named_choice(answer: str, choices: Collection[str]) -> str:
    """The choice that an answer names, or the normalised answer where it does not name exactly one.

    Understood are the bare choice, alone or on a first line with other text below it, JSON, code fences and tags, a table whose last
    cell is the choice, and sentences that begin or end with the choice or say `label: choice`, name no other, and deny and doubt
    nothing. Reasons below a choice that is alone on its line may name others.

    Example  '{"label": "books"}' -> books; 'The answer is: books.' -> books; 'I do not think it is books' -> off the menu
    """
    answer = _RUN.sub(r"\1\1", answer)
    whole = bare_choice(answer)
    if whole in choices:
        return whole
    fenced = _FENCE.sub("", answer).strip()
    if fenced[:1] in "{[" and fenced:
        values = {bare_choice(value) for value in _strings(fenced)} & set(choices)
        return values.pop() if len(values) == 1 else whole
    names = sorted(choices, key=len, reverse=True)
    pattern = "|".join(r"[\s_-]+".join(re.escape(word) for word in name.split("_")) for name in names)
    mentions = list(re.finditer(rf"(?<![\w-])(?:{pattern})(?![\w-])", fenced, re.IGNORECASE))
    named = {normalise(mention[0]) for mention in mentions}
    alone, _, rest = fenced.partition("\n")
    if (
        len(named) > 1
        and bare_choice(alone) in choices
        and _REASONS.match("\n" + rest)
        and not _TAKES_BACK.search(rest)
    ):
        return normalise(alone)
    if len(named) != 1:
        return whole
    around = re.sub(rf"(?<![\w-])(?:{pattern})(?![\w-])", " ", fenced, flags=re.IGNORECASE)
    before, after = fenced[: mentions[0].start()], fenced[mentions[-1].end() :]
    if len(mentions) == 1 and bare_choice(alone) in choices:
        return named.pop()  # alone on the first line: an apology or a remark below it denies nothing
    is_last = re.fullmatch(r"[\W_]*", after) is not None
    is_first = (re.fullmatch(r"[\s\"'`*_(\[]*", before) or _LABELLED.search(before)) and re.match(
        r"[\"'`*_)\]]*\s*(?:[.,:;!(\n\u2013\u2014-]|because\b|since\b|as\b)", fenced[mentions[0].end() :]
    )
    return (
        named.pop() if (is_last or is_first) and not (_DENIES.search(around) or _SETS_APART.search(before)) else whole
    )


def _strings(text: str) -> list[str]:
    """The strings in a JSON text that may be the answer: those under a key of _LABEL_KEYS, else all. None where the text is not JSON, has
    a key twice, or has a key that denies, such as `rejected`."""
    try:
        return _answers(json.loads(text, object_pairs_hook=_without_repeats))
    except (ValueError, RecursionError):
        return []


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs) or any(map(_is_denying, values.keys() - _LABEL_KEYS)):
        labels = {key: value for key, value in pairs if key.lower() in _LABEL_KEYS}
        if len(values) < len(pairs) or not labels:
            raise ValueError("a key is there twice, or denies")
        return labels
    return values


def _is_denying(key: str) -> bool:
    words = key.replace("_", " ")
    return bool(_DENIES.search(words) or _SETS_APART.search(words))


def _answers(value: Any) -> list[str]:
    if isinstance(value, dict):
        labels = [own for key, own in value.items() if key.lower() in _LABEL_KEYS]
        return [string for own in labels or value.values() for string in _answers(own)]
    if isinstance(value, list):
        return [string for own in value for string in _answers(own)]
    return [value] if isinstance(value, str) else []
