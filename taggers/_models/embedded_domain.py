"""The embedded domain classifier: a small quantized fastText model that stands in for the stage tree's LLM.

The model reads the first 4,000 characters and knows only English. `FIGURES` has its agreement with the LLM. The model is linear in
the words and in a few measures of style, which `features` writes as tokens. docs/domain-model.md describes the training, and
benchmarks/domain_model/train.py does it. The script imports `features` from here, so that training and inference cannot differ.
"""

from __future__ import annotations

import functools
import math
import re
import threading
from collections import Counter
from collections.abc import Sequence
from importlib import resources
from importlib.resources.abc import Traversable
from typing import Any

from tagcorpus.errors import TaggerError
from tagcorpus.taggers._interface.digest import of_bytes
from tagcorpus.taggers._interface.windows import BEGIN, mean_by_label, spans

NAME = "tagcorpus-domain-1"
LABELS = ("academic", "books", "code", "incoherent", "reference", "specific_datasets", "web")

MAX_CHARS = 4000
"""Characters of a document that are read, in training as here: the rest rarely changes the domain, but costs time."""

THRESHOLD = 0.25
"""A label less probable than this is to be reported as `unknown`; chosen by cross-validation on the training part as the
highest that costs kappa at most 0.01. The classes are balanced, so that an undecided document has 1/7 for each."""

FIGURES: dict[str, float] = {
    "n": 344,
    "accuracy": 0.669,
    "macro_f1": 0.348,
    "kappa": 0.403,
    "kappa_low": 0.315,
    "kappa_high": 0.484,
    "coverage": 1.0,
    "majority_accuracy": 0.599,
}
"""Agreement with the reference's LLM labels on held-out documents, `unknown` below THRESHOLD counted as a disagreement:
what benchmarks/domain_model/evaluate.py measures for documents that the reference gave a label. n documents; shares of
1; kappa_low and kappa_high are the ends of the 95 % bootstrap interval."""

_PROBE = "In this paper we study the estimation of covariance matrices. Our results show that the method is consistent."
_PROBE_RESULT = ("academic", 0.69903)

_TOKEN = re.compile(r"[^\W_]+(?:'[a-z]+)?|\n|[^\w\s]|_")
_DIGITS = str.maketrans("123456789", "000000000")
_UNSAFE = re.compile("[\x00\ud800-\udfff]")
_SENTENCE_ENDS = (".", "!", "?")

_RATES: tuple[tuple[str, frozenset[str]], ...] = (
    ("i", frozenset(["i", "me", "my", "mine"])),
    ("we", frozenset(["we", "us", "our", "ours"])),
    ("you", frozenset(["you", "your", "yours"])),
    ("they", frozenset(["he", "she", "him", "her", "his", "hers", "they", "them", "their"])),
    ("past", frozenset(["was", "were", "had", "said", "did"])),
    ("present", frozenset(["is", "are", "has", "have", "do", "does"])),
    ("modal", frozenset(["will", "can", "may", "should", "would", "could", "must"])),
    (
        "shop",
        frozenset(
            [
                "click",
                "free",
                "price",
                "shipping",
                "buy",
                "order",
                "sale",
                "best",
                "products",
                "site",
                "website",
                "contact",
                "online",
                "$",
            ]
        ),
    ),
    (
        "date",
        frozenset(
            [
                "today",
                "yesterday",
                "monday",
                "tuesday",
                "wednesday",
                "thursday",
                "friday",
                "saturday",
                "sunday",
                "week",
                "year",
            ]
        ),
    ),
    (
        "study",
        frozenset(
            [
                "study",
                "results",
                "analysis",
                "data",
                "research",
                "methods",
                "between",
                "significant",
                "model",
                "et",
                "al",
            ]
        ),
    ),
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
    ("symbol", frozenset(["{", "}", "=", "<", ">", "_", "\\", "*", "+", "|", "#", ";", "/", "&", "^", "~", "`"])),
)


def features(text: str) -> str:
    """One line of space-separated tokens for fastText.

    Every distinct token of the lower-cased head (digits become 0, a line break becomes a token) is written
    1 + ln(count) times, rounded: the usual damping of frequent words. One token a style measure follows, its value in
    half-octave steps, repeated so that style keeps its weight beside more words.
    """
    head = _UNSAFE.sub(" ", text[:MAX_CHARS])
    counts = Counter(_TOKEN.findall(head.lower().translate(_DIGITS)))
    line: list[str] = []
    for token, count in counts.items():
        line.extend(("¶" if token == "\n" else token,) * round(1 + math.log(count)))
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


def classify(texts: list[str], windows: Sequence[str] = (BEGIN,)) -> list[tuple[str, float]]:
    """(most probable of LABELS, its probability within [0, 1]) of every text; any string will do, also an empty one. Of a text that
    is longer than MAX_CHARS, the probabilities are averaged over the windows.

    Raises TaggerError when the model is missing or the installed fasttext computes wrong probabilities."""
    if len(windows) == 1:
        return _top(_model(), texts)
    answers = iter(_top(_model(), [text for text in texts if len(text) <= MAX_CHARS]))
    return [
        next(answers)
        if len(text) <= MAX_CHARS
        else _top_of_windows(_model(), [text[a:b] for a, b in spans(len(text), MAX_CHARS, windows)])
        for text in texts
    ]


@functools.cache
def digest() -> str:
    """xxh3-128 of the model file, in hex: part of the fingerprint of values computed with it."""
    return of_bytes(_file().read_bytes()).rpartition(":")[2]


def _file() -> Traversable:
    return resources.files("tagcorpus.taggers") / "_data" / "domain.ftz"


def _top(model: Any, texts: list[str]) -> list[tuple[str, float]]:
    if not texts:
        return []
    labels, probabilities = model.predict([features(text) for text in texts], k=1)
    return [
        # Sums of rounded exponentials can leave the interval by a hair.
        (label[0].removeprefix("__label__"), min(1.0, max(0.0, float(share[0]))))
        for label, share in zip(labels, probabilities, strict=True)
    ]


def _top_of_windows(model: Any, windows: list[str]) -> tuple[str, float]:
    labels, probabilities = model.predict([features(window) for window in windows], k=len(LABELS))
    return mean_by_label(
        [
            {label.removeprefix("__label__"): min(1.0, max(0.0, float(p))) for label, p in zip(*one, strict=True)}
            for one in zip(labels, probabilities, strict=True)
        ]
    )[0]


_LOADING = threading.Lock()


def _model() -> Any:
    # functools.cache alone would let two threads load it twice.
    with _LOADING:
        return _load()


@functools.cache
def _load() -> Any:
    try:
        # The class itself: fasttext.load_model prints a warning to stderr on every call.
        from fasttext.FastText import _FastText
    except ImportError as error:
        raise TaggerError(f"the domain classifier needs the module fasttext ({error}): {_REMEDY}") from error
    with resources.as_file(_file()) as path:
        if not path.is_file():
            raise TaggerError("taggers/_data/domain.ftz is missing from this installation: reinstall tagcorpus")
        model = _FastText(model_path=str(path))
    _verify(model)
    return model


_REMEDY = "pip uninstall -y fasttext fasttext-wheel fasttext-numpy2 && pip install fasttext-community==0.11.9"


def _verify(model: Any) -> None:
    """Check the installed fasttext with a known text: some builds silently return wrong probabilities.

    Raises TaggerError with the command that installs a working one."""
    line = features(_PROBE)
    try:
        (answer,) = _top(model, [_PROBE])
        labels, shares = model.predict(line, k=len(LABELS))
    except ValueError as error:
        raise TaggerError(f"the installed fasttext cannot predict ({error}): {_REMEDY}") from error
    known = {label.removeprefix("__label__"): float(share) for label, share in zip(labels, shares, strict=True)}
    is_right = (
        answer[0] == _PROBE_RESULT[0]
        and abs(answer[1] - _PROBE_RESULT[1]) < 1e-3
        and set(known) == set(LABELS)
        and abs(known[answer[0]] - answer[1]) < 1e-3
        and abs(sum(known.values()) - 1) < 1e-3
    )
    if not is_right:
        raise TaggerError(
            f"the installed fasttext gives {answer[0]} {answer[1]:.4f} for a text that is {_PROBE_RESULT[0]} "
            f"{_PROBE_RESULT[1]:.4f}, so its probabilities cannot be trusted: {_REMEDY}"
        )
