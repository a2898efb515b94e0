"""The embedded domain classifier: a small quantized fastText model that stands in for the stage tree's LLM.

It reads the first 4,000 characters, does not know languages other than English, and agrees with the LLM only as far as
`FIGURES` says. The model is linear in the words and in a few measures of style, which `features` writes as tokens; how
it is trained is told in docs/domain-model.md and done by benchmarks/domain_model/train.py, which imports `features`
from here, so that training and inference cannot differ.
"""

from __future__ import annotations

import functools
import math
import re
import threading
from collections import Counter
from importlib import resources
from typing import Any

from tagcorpus.errors import TaggerError

NAME = "tagcorpus-domain-1"
LABELS = ("academic", "books", "code", "incoherent", "reference", "specific_datasets", "web")

MAX_CHARS = 4000
"""Characters of a document that are read; more of them did not help on the training documents."""

_TOKEN = re.compile(r"[^\W_]+(?:'[a-z]+)?|\n|[^\w\s]|_")
_DIGITS = str.maketrans("123456789", "000000000")
_UNSAFE = re.compile("[\x00\ud800-\udfff]")
_SENTENCE_ENDS = (".", "!", "?")

_RATES: tuple[tuple[str, frozenset[str]], ...] = (
    ("i", frozenset("i me my mine".split())),
    ("we", frozenset("we us our ours".split())),
    ("you", frozenset("you your yours".split())),
    ("they", frozenset("he she him her his hers they them their".split())),
    ("past", frozenset("was were had said did".split())),
    ("present", frozenset("is are has have do does".split())),
    ("modal", frozenset("will can may should would could must".split())),
    ("shop", frozenset("click free price shipping buy order sale best products site website contact online $".split())),
    ("date", frozenset("today yesterday monday tuesday wednesday thursday friday saturday sunday week year".split())),
    ("study", frozenset("study results analysis data research methods between significant model et al".split())),
    ("the", frozenset(["the"])),
    ("of", frozenset(["of"])),
    ("and", frozenset(["and"])),
    ("comma", frozenset([","])),
    ("colon", frozenset([":", ";"])),
    ("bracket", frozenset(["(", ")", "[", "]"])),
    ("quote", frozenset(['"', "“", "”"])),
    ("shout", frozenset(["!"])),
    ("ask", frozenset(["?"])),
    ("link", frozenset(["http", "https", "www", "com", "@"])),
    ("symbol", frozenset("{ } = < > _ \\ * + | # ; / & ^ ~ `".split())),
)


def features(text: str) -> str:
    """One line of space-separated tokens for fastText.

    Every distinct token of the lower-cased head (digits become 0, a line break becomes a token) stands there
    1 + ln(count) times, rounded: the usual damping of frequent words. One token a style measure follows, its value in
    half-octave steps, repeated so that style keeps its weight beside more words.
    """
    head = _UNSAFE.sub(" ", text[:MAX_CHARS])
    counts = Counter(_TOKEN.findall(head.lower().translate(_DIGITS)))
    line: list[str] = []
    for token, count in counts.items():
        line.extend(("\u2029" if False else "¶" if token == "\n" else token,) * round(1 + math.log(count)))
    total = sum(counts.values())
    if total == 0:
        return ""
    repeat = 1 + len(line) // 48
    for name, value in _style(head, counts, total):
        line.extend((f"§{name}{round(2 * math.log2(1 + value))}",) * repeat)
    return " ".join(line)


def _style(head: str, counts: Counter[str], total: int) -> list[tuple[str, float]]:
    """(measure, value >= 0): rates per 1,000 tokens, lengths in tokens or characters."""
    rates = [(name, 1000 * sum(counts[w] for w in words) / total) for name, words in _RATES]
    words = {w: c for w, c in counts.items() if w[0].isalpha()}
    n_words = sum(words.values()) or 1
    ends = sum(counts[e] for e in _SENTENCE_ENDS)
    return [
        *rates,
        ("digit", 1000 * sum(c for w, c in counts.items() if w[0] == "0") / total),
        ("upper", 1000 * sum(map(str.isupper, head)) / len(head)),
        ("ed", 1000 * sum(c for w, c in words.items() if w.endswith("ed")) / total),
        ("ly", 1000 * sum(c for w, c in words.items() if w.endswith("ly")) / total),
        ("wordlen", 10 * sum(len(w) * c for w, c in words.items()) / n_words),
        ("variety", 100 * len(words) / n_words**0.7),
        ("length", len(head)),
        ("sentence", total / (1 + ends)),
        ("line", len(head) / (1 + counts["\n"])),
    ]
