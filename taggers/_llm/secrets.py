"""Hides values of the environment wherever a reply repeats them. No I/O."""

from __future__ import annotations

import base64
import html
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from urllib.parse import quote, quote_plus

HIDDEN = "***"
LEAST = 8
"""Shorter values are placeholders such as "x" or "EMPTY": to replace them would spoil texts."""
_MASKED = re.compile(r"[^\s'\"<>,:=()]*(?:\*{2,}|\.{3}|\u2026|[xX\u2022]{4,})[^\s'\"<>,:=()]*")
_EDGE = 3


@dataclass(frozen=True)
class Secrets:
    """Removes these values from texts: as they are, percent-encoded, in base64, and escaped for JSON or HTML."""

    values: frozenset[str]

    @classmethod
    def of(cls, values: Iterable[str]) -> Secrets:
        """The whole values and the words in them: a server may repeat `abc` of `Bearer abc`."""
        whole = [value for value in values if value]
        return cls(frozenset(part for value in whole for part in (value, *value.split()) if len(part) >= LEAST))

    @cached_property
    def _forms(self) -> list[str]:
        forms = {form for value in self.values for form in _forms(value)}
        return sorted((form for form in forms if len(form) >= LEAST), key=len, reverse=True)

    @cached_property
    def _whole(self) -> re.Pattern[str] | None:
        return re.compile("|".join(map(re.escape, self._forms)), re.IGNORECASE) if self._forms else None

    @cached_property
    def _pieces(self) -> frozenset[str]:
        pieces = (form[i : i + LEAST].lower() for form in self._forms for i in range(len(form) - LEAST + 1))
        return frozenset(piece for piece in pieces if piece.strip() == piece)

    def hide(self, text: str) -> str:
        """An answer without whole values. Parts of values stay: an answer may share a word with one."""
        return self._whole.sub(HIDDEN, text) if self._whole else text

    def hide_pieces(self, text: str) -> str:
        """The text of an error without values, without any eight characters of one, and without the ends that masked values show
        (`sk-ab****wxyz`)."""
        if self._whole is None:
            return text
        text = self._without_pieces(self.hide(text))
        return _MASKED.sub(lambda masked: HIDDEN if self._shows(masked[0]) else masked[0], text)

    def _without_pieces(self, text: str) -> str:
        low = text.lower()
        if len(low) != len(text):  # a letter whose small form is two
            low = text
        kept, i, shown_from = [], 0, 0
        while i + LEAST <= len(text):
            if low[i : i + LEAST] not in self._pieces:
                i += 1
                continue
            kept += [text[shown_from:i], HIDDEN]
            i += LEAST
            while i < len(text) and low[i - LEAST + 1 : i + 1] in self._pieces:
                i += 1
            shown_from = i
        return "".join([*kept, text[shown_from:]])

    def _shows(self, masked: str) -> bool:
        parts = (part.strip(".") for part in re.split(r"[*.\u2026xX\u2022]{2,}|\u2026", masked))
        ends = [part.lower() for part in parts if len(part) >= _EDGE]
        values = [value.lower() for value in self.values]
        return any(value.startswith(end) or value.endswith(end) for value in values for end in ends)


def _forms(value: str) -> set[str]:
    """A value, and what becomes of it in a URL, in JSON, in HTML and in base64 (where it may begin at any of three places)."""
    forms = {
        value,
        quote(value, safe=""),
        quote(value),
        quote_plus(value),
        html.escape(value),
        value.replace("/", "\\/"),
    }
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        for shift in range(3):
            text = encode(b"\0" * shift + value.encode()).decode()[(0, 2, 3)[shift] :]
            # The first characters depend on what is before the value, and the last one on what is behind it, where that is more.
            forms |= {text, text.rstrip("=")[:-1]}
    return forms
