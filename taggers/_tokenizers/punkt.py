"""English sentences as NLTK 3.8.1's Punkt splits them (Kiss and Strunk 2006, Computational Linguistics 32:485-525).

The parameters were trained on the Wall Street Journal. The common word before a period (letters only, not a known abbreviation) is
decided without building tokens. Runs of whitespace cost linear time.

Data: `_data/punkt_english.tsv.zst` holds NLTK's English Punkt parameters (nltk_data package punkt_tab, english; NLTK and its
data are under Apache-2.0): one record a line, first field a (abbreviation), s (sentence starter), c (collocation, two
words) or o (word, orthographic flags), sorted.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from importlib.resources import files

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
        """Whether the token begins a sentence by its spelling; None where the spelling does not decide."""
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


@cache
def punkt() -> Punkt:
    """The process's one instance, which never changes."""
    return Punkt()
