"""English words as NLTK 3.8.1 splits them, numbered: the tokens of `word_tokenize(text.lower())`, computed faster.

The published runs used NLTK 3.8.1. Later releases change the rules (3.9 around line ends, 3.10 around quotes and dashes)
and run them on another regex engine, so the version of an installed NLTK would decide our values. Hence the
rules are written out here, in two layers:

- sentences: Punkt (punkt.py);
- words: the Penn Treebank conventions (R. MacIntyre's sed script), in NLTK's order of substitution.

Why it is fast. Every Treebank rule looks at one whitespace-separated piece, the whitespace character on either side, and
whether the piece begins or ends its sentence; nothing else. So a piece with that context is split once and remembered. The
one exception, a closing period followed by closing brackets and quotes that stand apart, is split as a whole. Long pieces cost
linear time.
"""

from __future__ import annotations

import re
from itertools import chain, islice
from typing import Any

import numpy as np

from tagcorpus.taggers._tokenizers.punkt import punkt

# Marks that may follow a sentence's last period.
_CLOSERS = "])}>\"'»”’"

# Marks written onto a piece: its context, where that is not simply a space. Lone surrogates cannot occur in repaired text.
_AT_START, _AFTER_BREAK, _AT_END, _BEFORE_BREAK = "\ud800", "\ud801", "\ud802", "\ud803"
_SURROGATES = re.compile("[\ud800-\udfff]")
# Some rules tell a space from other whitespace: those that see a quote right after it, or a clitic or quote before it.
_QUOTE_AFTER_BREAK = re.compile(r"""["'](?<=[^\S ]["'])""")
_CLITIC_BEFORE_BREAK = re.compile(r"'\w{0,2}(?=[^\S ])")
_BREAK_MATTERS = re.compile(r"""["'](?:(?<=[^\S ]["'])|(?<=')\w{0,2}(?=[^\S ]))""")

# Common pieces whose words can be read off: an opening mark, a word or number, a clitic, and then marks or a period.
_COMMON = re.compile(
    r"""([(\[{<«“‘„"]?)"""
    r"""(\w+?(?:(?:[-./]|[,:](?=\d))\w+?)*?)"""
    r"""('[smd]|'ll|'[rv]e|n't)?"""
    r"""(?:(\.)([\])}>"»”’]?)|([,:]?)([;@#$%&?!*)\]}>»”’"]?)|([;@#$%&?!*)\]}>»”’"])([,:]))"""
)
_CONTRACTED = re.compile(r"(?i)cannot|gimme|gonna|gotta|lemme|wanna|d'ye|more'n|'tis|'twas")
_OPENING = re.compile("([«“‘„]|`+)")
_QUOTE_AFTER_OPENING = re.compile(r"""([ (\[{<])(?:"|'')""")
_QUOTED_LETTER = re.compile(r"(?i)(')(?!re|ve|ll|m|t|s|d|n)(\w)\b")
_FINAL_PERIOD = re.compile(r"""([^.])\.([\])}>"'»”’ ]*+)\s*$""")
_COMMA_COLON = re.compile(r"([:,])([^\d])")
_PERIODS = re.compile(r"\.{2,}")
_MARKS = re.compile(r"[;@#$%&?!]")
_FINAL_PERIOD_AGAIN = re.compile(r"""([^.])\.([\])}>"']*)\s*$""")
_QUOTE_BEFORE_SPACE = re.compile(r"([^'])' ")
_BRACKETS = re.compile(r"[*\]\[(){}<>»”’]|--|''")
_CLITIC = re.compile(r"([^' ])('[sSmMdD]|') ")
_LONG_CLITIC = re.compile(r"([^' ])('ll|'LL|'re|'RE|'ve|'VE|n't|N'T) ")
_CONTRACTIONS = tuple(
    re.compile(rf"(?i){pattern}")
    for pattern in (
        r"\b(can)(not)\b",
        r"\b(d)('ye)\b",
        r"\b(gim)(me)\b",
        r"\b(gon)(na)\b",
        r"\b(got)(ta)\b",
        r"\b(lem)(me)\b",
        r"\b(more)('n)\b",
        r"\b(wan)(na)(?=\s)",
        r" ('t)(is)\b",
        r" ('t)(was)\b",
    )
)

# Those of letters alone; other spellings that IGNORECASE equates with them are not ASCII.
_CONTRACTED_LETTERS = frozenset({"cannot", "gimme", "gonna", "gotta", "lemme", "wanna"})

_MAX_REMEMBERED_CHARS = 64
_FORGET_AFTER_CHARS = 1 << 24


def treebank_words(text: str) -> list[str]:
    """Words of one sentence, or of one piece with its context, by the Treebank rules in NLTK's order.

    Rules that cannot match are passed over by looking for a character they need.
    """
    has_apostrophe = "'" in text
    has_quote = '"' in text
    text = _OPENING.sub(_apart, text)
    if has_quote and text[0] == '"':
        text = "``" + text[1:]
    text = text.replace("``", " `` ")
    if has_quote or has_apostrophe:
        text = _QUOTE_AFTER_OPENING.sub(_opening_quote, text)
    if has_apostrophe:
        text = _QUOTED_LETTER.sub(_in_two, text)
    has_period = "." in text
    if has_period:
        text = _FINAL_PERIOD.sub(_final_period, text)
    text = _COMMA_COLON.sub(_comma_colon, text)
    if text[-1] in ",:":
        text = f"{text[:-1]} {text[-1]} "
    if has_period:
        text = _PERIODS.sub(_apart, text)
    text = _MARKS.sub(_apart, text)
    if has_period:
        text = _FINAL_PERIOD_AGAIN.sub(_final_period, text)
    if has_apostrophe:
        text = _QUOTE_BEFORE_SPACE.sub(_quote_before_space, text)
    text = _BRACKETS.sub(_apart, text)
    text = " " + text + " "
    if has_quote:
        text = text.replace('"', " '' ")
    if has_apostrophe:
        text = _CLITIC.sub(_clitic, text)
        text = _LONG_CLITIC.sub(_clitic, text)
    if _CONTRACTED.search(text):
        for contraction in _CONTRACTIONS:
            text = contraction.sub(r" \1 \2 ", text)
    return text.split()


# Functions rather than templates: `re` takes a template apart even where nothing matches.
def _apart(match: re.Match[str]) -> str:
    return f" {match[0]} "


def _opening_quote(match: re.Match[str]) -> str:
    return f"{match[1]} `` "


def _in_two(match: re.Match[str]) -> str:
    return f"{match[1]} {match[2]}"


def _final_period(match: re.Match[str]) -> str:
    return f"{match[1]} . {match[2]} "


def _comma_colon(match: re.Match[str]) -> str:
    return f" {match[1]} {match[2]}"


def _quote_before_space(match: re.Match[str]) -> str:
    return f"{match[1]} ' "


def _clitic(match: re.Match[str]) -> str:
    return f"{match[1]} {match[2]} "


class _Pieces(dict[str, tuple[int, ...]]):
    """Piece with its context marks -> numbers of its words, computed at the first use."""

    def __init__(self) -> None:
        super().__init__()
        self.numbers: dict[str, int] = {}
        self.chars = 0

    def __missing__(self, piece: str) -> tuple[int, ...]:
        numbers = self.numbers
        if piece.isalnum() and piece.isascii() and piece not in _CONTRACTED_LETTERS:
            words: tuple[int, ...] = (numbers.setdefault(piece, len(numbers)),)
        else:
            words = tuple([numbers.setdefault(word, len(numbers)) for word in _piece_words(piece)])
        self.chars += len(piece) + _MAX_REMEMBERED_CHARS
        if len(piece) <= _MAX_REMEMBERED_CHARS:
            self[piece] = words
        return words

    def forget(self) -> None:
        """Keep the first quarter: common pieces come early, and their words have the lowest numbers."""
        kept = dict(islice(self.items(), len(self) // 4))
        known = 1 + max(chain.from_iterable(kept.values()), default=-1)
        self.numbers = dict(islice(self.numbers.items(), known))
        self.chars = sum(map(len, self.numbers)) + len(kept) * _MAX_REMEMBERED_CHARS
        self.clear()
        if self.chars > _FORGET_AFTER_CHARS // 2:  # megabytes without a space came early
            self.numbers, self.chars = {}, 0
        else:
            self.update(kept)


def _piece_words(piece: str) -> list[str]:
    """Words of one marked piece. A word x on either side stands for the rest of the sentence and is taken off again."""
    before, after = "x ", " x"
    if piece[0] == _AT_START:
        before, piece = "", piece[1:]
    elif piece[0] == _AFTER_BREAK:
        before, piece = "x\n", piece[1:]
    if piece[-1] == _AT_END:
        after, piece = "", piece[:-1]
    elif piece[-1] == _BEFORE_BREAK:
        after, piece = "\nx", piece[:-1]
    common = _COMMON.fullmatch(piece) if before != "x\n" and after != "\nx" else None
    if common is not None and not _CONTRACTED.search(piece):
        opening, word, clitic, period, *marks = common.groups("")
        if period and after:
            # Within a sentence a period stays with its word.
            if clitic:
                common = None
            word += period
            period = ""
        if common is not None:
            opening = "``" if opening == '"' else opening
            marks = ["''" if mark == '"' else mark for mark in marks]
            return [part for part in (opening, word, clitic, period, *marks) if part]
    words = treebank_words(before + piece + after)
    return words[bool(before) : len(words) - bool(after)]


class WordNumbers:
    """Turns texts into word numbers and remembers the pieces it has seen (some 230,000 of them, about 40 MB)."""

    def __init__(self) -> None:
        self._punkt = punkt()
        self._pieces = _Pieces()

    @property
    def remembered(self) -> int:
        """Number of pieces remembered."""
        return len(self._pieces)

    def __call__(self, text: str) -> np.ndarray[Any, np.dtype[np.int64]]:
        """int64 [n_words]: one number a word of `text.lower()`; equal words of this text have equal numbers, which
        may differ between calls."""
        if self._pieces.chars > _FORGET_AFTER_CHARS:
            self._pieces.forget()
        numbers = map(self._pieces.__getitem__, self._marked_pieces(text))
        return np.fromiter(chain.from_iterable(numbers), np.int64)

    def words(self, text: str) -> list[str]:
        """The words themselves; nothing is remembered."""
        return [word for piece in self._marked_pieces(text) for word in _piece_words(piece)]

    def _marked_pieces(self, text: str) -> list[str]:
        """Whitespace-separated pieces of all sentences, each with the marks of its context."""
        text = text.lower()
        if not text.isascii():
            text = _SURROGATES.sub("\ufffd", text)
        breaks_matter = _BREAK_MATTERS.search(text) is not None
        marked: list[str] = []
        for start, end in self._punkt.sentence_spans(text):
            sentence = text[start:end]
            tail = _detached_tail(sentence)
            body = sentence[: len(sentence) - len(tail)]
            if breaks_matter:
                body = _QUOTE_AFTER_BREAK.sub(_AFTER_BREAK + r"\g<0>", body)
                body = _CLITIC_BEFORE_BREAK.sub(r"\g<0>" + _BEFORE_BREAK, body)
            pieces = body.split()
            if tail:
                pieces.append(_AFTER_BREAK + tail if body and body[-1] != " " else tail)
            if not pieces:
                continue
            # Only rules on a first quote or period can tell a sentence's start from a space.
            if sentence[0] in "\"'.":
                pieces[0] = _AT_START + pieces[0]
            pieces[-1] += _AT_END
            marked += pieces
        return marked


def _detached_tail(sentence: str) -> str:
    """The last piece with a period and the closing marks that follow it after spaces; empty when none stand apart."""
    if sentence[-1] not in _CLOSERS:
        return ""
    to_period = sentence.rstrip(_CLOSERS + " ")
    if not to_period.endswith(".") or " " not in sentence[len(to_period) :]:
        return ""
    return sentence[len(to_period) - len(to_period.split()[-1]) :]
