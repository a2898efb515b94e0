"""Texts that every match of an expression must hold: for the patterns of code, and for expressions by hand."""

from __future__ import annotations

import re

import pytest
from code_snippets import SNIPPETS
from hypothesis import given
from hypothesis import strategies as st

from tagcorpus.taggers._code.patterns import PATTERNS
from tagcorpus.taggers._interface.required import required_texts

CODE = [p for patterns in PATTERNS.values() for p, _ in patterns]
# Pieces that the patterns are made of, so that random texts match some of them.
PIECES = sorted({text for p in CODE for text in required_texts(p)} | set(" \n\t(){}[]<>:;=.,'\"!?&*@#$_ax1"))


@pytest.mark.parametrize(
    ("pattern", "required"),
    [
        (r"abc", {"abc"}),
        (r"^\s*import \w+|require\(['\"]", {"import ", "require("}),
        (r"a(?:bcd|ef)g", {"bcd", "ef"}),
        (r"(?:static )*int\b", {"int"}),
        (r"(?:static )+in?", {"static "}),
        (r"(?P<name>for|while)\b", {"for", "while"}),
        (r"\w+->\w", {"->"}),
        (r"[a-z]+", set()),
        (r"abc|\d", set()),
        (r"(?i)abc", set()),
        (r"(?i:abc)d", {"d"}),
        (r"(?!abc)[a-z]", set()),
    ],
)
def test_by_hand(pattern: str, required: set[str]) -> None:
    assert set(required_texts(pattern)) == required


def test_of_the_patterns_of_code_nearly_all_require_something() -> None:
    assert sum(map(bool, map(required_texts, CODE))) > 0.95 * len(CODE)


def all_hold(text: str) -> None:
    for pattern in CODE:
        if re.search(pattern, text, re.MULTILINE):
            required = required_texts(pattern)
            assert not required or any(t in text for t in required), pattern


@pytest.mark.parametrize(("language", "text"), SNIPPETS)
def test_a_match_holds_what_is_required_of_it(language: str, text: str) -> None:
    all_hold(text)
    is_known_at_once = language == "php"  # by its opening tag
    assert is_known_at_once or any(re.search(pattern, text, re.MULTILINE) for pattern, _ in PATTERNS[language])


@given(st.lists(st.sampled_from(PIECES), max_size=30).map("".join))
def test_of_random_texts_too(text: str) -> None:
    all_hold(text)
