"""English words as NLTK 3.8.1 splits them, numbered: the same tokens as `word_tokenize(text.lower())`, found faster.

The published runs used NLTK 3.8.1. Later releases change the rules (3.9 around line ends, 3.10 around quotes and dashes)
and run them on another regex engine, so calling the installed NLTK would let its version decide our figures. Hence the
rules are written out here, in two layers:

- sentences: Punkt (Kiss and Strunk 2006, Computational Linguistics 32:485-525), trained on the Wall Street Journal;
- words: the Penn Treebank conventions (R. MacIntyre's sed script), in NLTK's order of substitution.

Why it is fast. Every Treebank rule looks at one whitespace-separated piece, the whitespace character on either side, and
whether the piece begins or ends its sentence; nothing else. So a piece with that context is split once and remembered. The
one exception, a closing period followed by closing brackets and quotes that stand apart, is split as a whole. For Punkt
the common word before a period (letters only, no known abbreviation) is decided without building tokens. Runs of
whitespace and long pieces cost linear time.

Data: `_data/punkt_english.tsv.zst` holds NLTK's English Punkt parameters (nltk_data package punkt_tab, english; NLTK and its
data are under Apache-2.0): one record a line, first field a (abbreviation), s (sentence starter), c (collocation, two
words) or o (word, orthographic flags), sorted.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from importlib.resources import files
from itertools import chain, islice
from typing import Any

import numpy as np

# Where a word was seen in Punkt's training text: at the beginning of a sentence, in its middle, or unknown which; bits 1 to
# 3 in upper case, bits 4 to 6 in lower case.
_MIDDLE_UPPER = 1 << 2
_BEGIN_LOWER = 1 << 4
_ANY_UPPER = 0b0000_1110
_ANY_LOWER = 0b0111_0000

# A possible sentence end: the mark is followed by one of the marks that part words, or by whitespace and a next word.
_CANDIDATE = re.compile(r"""[.?!](?=[)";}\]*:@'({\[?!]|\s+(\S))""")
_NEXT_WORD = re.compile(r"\S+")
_PARTING = r"""[)";}\]*:@'({\[?!]"""
_MULTIPLE = r"-{2,}|\.{2,}|(?:\.\s){2,}\."
_PUNKT_TOKEN = re.compile(
    rf"""{_MULTIPLE}|[^\s("`{{\[:;&#*@)}}\]\-,]\S*?(?=\s|$|{_PARTING}|{_MULTIPLE}|,(?:$|\s|{_PARTING}|{_MULTIPLE}))|\S"""
)
_PUNKT_NUMBER = re.compile(r"-?[.,]?\d[\d,.\-]*")
_PUNKT_ELLIPSIS = re.compile(r"\.{2,}")
_PUNKT_INITIAL = re.compile(r"[^\W\d]\.")
_CLOSING = re.compile(r"""["')\]}]+?(?:\s+|(?=--)|$)""", re.MULTILINE)
# Only these count as whitespace where Punkt looks for the word before a mark (NLTK: string.whitespace).
_ASCII_SPACES = "\n\t\r\v\f"

# What may follow a sentence's last period, and still leave it the last.
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


class Punkt:
    """Punkt's parameters and its decision, for lower-cased English text."""

    def __init__(self) -> None:
        """Reads the parameters that ship with the package."""
        import zstandard

        packed = files("tagcorpus.taggers").joinpath("_data/punkt_english.tsv.zst").read_bytes()
        records = [line.split("\t") for line in zstandard.decompress(packed).decode().splitlines()]
        self.abbreviations = {r[1] for r in records if r[0] == "a"}
        self.sentence_starters = {r[1] for r in records if r[0] == "s"}
        self.collocations = {(r[1], r[2]) for r in records if r[0] == "c"}
        self.orthography = {r[1]: int(r[2]) for r in records if r[0] == "o"}
        # Words whose period does not simply end the sentence.
        self._doubtful = self.abbreviations | {first for first, _ in self.collocations}

    def sentence_spans(self, text: str) -> list[tuple[int, int]]:
        """(start, end) of every sentence in code points; closing marks belong to the sentence before them."""
        raw: list[tuple[int, int]] = []
        start = 0
        for end, next_start in self._breaks(text):
            raw.append((start, end))
            start = next_start
        raw.append((start, len(text.rstrip())))
        spans: list[tuple[int, int]] = []
        shift = 0  # characters at the start of a sentence that were given to the one before
        for (start, end), (next_start, next_end) in zip(raw, [*raw[1:], (0, 0)], strict=True):
            closing = _CLOSING.match(text, next_start, next_end)
            if closing is not None:
                spans.append((start + shift, next_start + len(closing[0].rstrip())))
                shift = closing.end() - next_start
                continue
            if start + shift < end:
                spans.append((start + shift, end))
            shift = 0
        return spans

    def _breaks(self, text: str) -> Iterator[tuple[int, int]]:
        """(end of a sentence, start of the next) for every mark that ends one."""
        flat = text
        for space in _ASCII_SPACES:
            flat = flat.replace(space, " ")
        candidate = None
        word_start = word_end = 0
        for match in _CANDIDATE.finditer(text):
            mark = match.start()
            space_at = flat.rfind(" ", word_end, mark)
            # As in NLTK, a space right at word_end does not count, and marks without a space between share one word.
            next_word_start = space_at + 1 if space_at > word_end else word_start
            if candidate is not None and word_end <= next_word_start and self._is_break(text, word_start, candidate):
                yield candidate.end(), max(candidate.end(), candidate.start(1))
            candidate = match
            word_start, word_end = next_word_start, mark
        if candidate is not None and self._is_break(text, word_start, candidate):
            yield candidate.end(), max(candidate.end(), candidate.start(1))

    def _is_break(self, text: str, word_start: int, candidate: re.Match[str]) -> bool:
        """Whether the mark `candidate`, whose word begins at `word_start`, ends a sentence."""
        mark = candidate.start()
        if text[mark] != ".":
            return True
        word = text[word_start:mark]
        if (
            len(word) > 1
            and word.isalnum()
            and not word.isdecimal()
            and word not in self._doubtful
            and candidate[1] != "."
        ):
            return True
        if candidate[1] is None:
            return self._contains_break(text[word_start : mark + 2])
        following = _NEXT_WORD.match(text, candidate.start(1))
        return self._contains_break(text[word_start : following.end() if following else mark + 1])

    def _contains_break(self, context: str) -> bool:
        """Whether any token of `context` but the last ends a sentence. `context`: a word, its mark, the next word."""
        before = ""
        for line in context.split("\n"):
            if line.isspace():
                continue
            for match in _PUNKT_TOKEN.finditer(line):
                token = match[0]
                if before and self._ends(before, token):
                    return True
                before = token
        return False

    def _first_pass(self, token: str) -> tuple[bool, bool]:
        """(ends a sentence, is an abbreviation or ellipsis), judged from the token alone."""
        if token in (".", "?", "!"):
            return True, False
        if _PUNKT_ELLIPSIS.fullmatch(token):
            return False, True
        if token.endswith(".") and not token.endswith(".."):
            stem = token[:-1].lower()
            is_abbreviation = stem in self.abbreviations or stem.rpartition("-")[2] in self.abbreviations
            return not is_abbreviation, is_abbreviation
        return False, False

    def _ends(self, token: str, following: str) -> bool:
        """Whether `token` ends a sentence when `following` comes next (Kiss and Strunk, section 4)."""
        is_end, is_short = self._first_pass(token)
        if not token.endswith("."):
            return is_end
        kind = _without_period(_kind(token))
        next_kind = _kind(following)
        if self._first_pass(following)[0]:
            next_kind = _without_period(next_kind)
        if (kind, next_kind) in self.collocations:
            return False
        is_initial = _PUNKT_INITIAL.fullmatch(token) is not None
        if not (is_short or is_initial or kind == "##number##"):
            return is_end
        starts = self._starts_sentence(following, next_kind)
        likely_start = starts or (following[0].isupper() and next_kind in self.sentence_starters)
        if is_short and not is_initial and likely_start:
            return True
        if is_initial or kind == "##number##":
            if starts is False:
                return False
            if (
                starts is None
                and is_initial
                and following[0].isupper()
                and not self.orthography.get(next_kind, 0) & _ANY_LOWER
            ):
                return False
        return is_end

    def _starts_sentence(self, token: str, kind: str) -> bool | None:
        """What the token's spelling says about its beginning a sentence; None = nothing."""
        if token in (";", ":", ",", ".", "!", "?"):
            return False
        seen = self.orthography.get(kind, 0)
        if token[0].isupper() and seen & _ANY_LOWER and not seen & _MIDDLE_UPPER:
            return True
        if token[0].islower() and (seen & _ANY_UPPER or not seen & _BEGIN_LOWER):
            return False
        return None


def _kind(token: str) -> str:
    lowered = token.lower()
    return "##number##" if _PUNKT_NUMBER.fullmatch(lowered) else lowered


def _without_period(kind: str) -> str:
    return kind[:-1] if len(kind) > 1 and kind.endswith(".") else kind


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
    """Piece with its context marks -> numbers of its words; computed when first asked for."""

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
        """Keep the first quarter: what came early is what is common, and its words have the lowest numbers."""
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


@cache
def _punkt() -> Punkt:
    """Read once a process, whatever number of taggers use it; nothing changes it."""
    return Punkt()


class WordNumbers:
    """Turns texts into word numbers and remembers the pieces it has seen (some 230,000 of them, about 40 MB)."""

    def __init__(self) -> None:
        self._punkt = _punkt()
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
