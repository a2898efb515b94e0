"""Text of others made harmless for a terminal: names of files, columns, models and labels, and messages of servers.

Such text may hold escape sequences that hide or forge lines, and marks that change the direction of writing. All printed or
logged text passes through this module once, where it is printed. Files and JSON values stay as they are.
"""

from __future__ import annotations

import re

from tagcorpus.errors import valid_text

# Control characters but for tab and newline; marks that change the direction of writing; separators of lines and
# paragraphs; halves of surrogate pairs, among them the bytes of a file name that is not UTF-8.
_CONTROLS = r"\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff"
_IN_TEXT = re.compile(f"[{_CONTROLS}]")
_IN_LINE = re.compile(f"[{_CONTROLS}\t\n]")
_SHORT = {"\t": r"\t", "\n": r"\n", "\r": r"\r"}


def printable(text: object, *, is_line: bool = False) -> str:
    """The text with every such character spelled as an escape. `is_line`: newlines and tabs are spelled, too.

    The escapes are those of JSON, so that JSON text stays the same value.

    Example  "a\\x1b[2Jb" -> r"a\\u001b[2Jb"
    """
    return (_IN_LINE if is_line else _IN_TEXT).sub(_escape, valid_text(str(text)))


def _escape(match: re.Match[str]) -> str:
    return _SHORT.get(match[0]) or f"\\u{ord(match[0]):04x}"
