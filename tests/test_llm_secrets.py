"""Values out of the environment are in no text, however a server repeats them."""

from __future__ import annotations

import base64
import html
import json
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tagcorpus.taggers._llm.secrets import HIDDEN, LEAST, Secrets

KEY = "sk-proj/4f+9Zq&Lm27=xTbV"
SECRETS = Secrets.of([f"Bearer {KEY}"])


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


@pytest.mark.parametrize(
    "echo",
    [
        KEY,
        f"Bearer {KEY}",
        KEY.upper(),
        quote(KEY, safe=""),
        quote(KEY, safe="").lower(),
        quote(KEY),
        html.escape(KEY),
        json.dumps({"key": KEY}),
        KEY.replace("/", "\\/"),
        KEY[:14],
        KEY[-12:],
        f"{KEY[:4]}****{KEY[-4:]}",
        f"{KEY[:7]}...{KEY[-4:]}",
        f"***{KEY[-4:]}",
        encoded(KEY),
        encoded(f"Bearer {KEY}"),
        encoded(f"me:{KEY}"),
        encoded(f"u:{KEY}!"),
        base64.urlsafe_b64encode(f"name:{KEY}".encode()).decode(),
    ],
)
def test_an_echo_in_an_error_is_hidden(echo: str) -> None:
    shown = SECRETS.hide_pieces(f"Incorrect key provided: {echo}. See the docs.")
    assert shown.startswith("Incorrect key provided: ")
    assert shown.endswith(" See the docs.")
    assert HIDDEN in shown
    for text in (shown, shown.lower()):
        assert KEY[:4] not in text
        assert KEY[-4:] not in text
    if "=" not in echo[:-2] and len(echo) > 30:
        assert not any(echo[i : i + 12] in shown for i in range(4, len(echo) - 16))


def test_an_answer_keeps_words_that_it_shares_with_a_value() -> None:
    secrets = Secrets.of(["my-specific_datasets-key"])
    assert secrets.hide("specific_datasets") == "specific_datasets"
    assert secrets.hide("it is my-specific_datasets-key.") == f"it is {HIDDEN}."


def test_placeholders_spoil_nothing() -> None:
    for value in ("", "x", "EMPTY"):
        assert Secrets.of([value]).hide_pieces("an EMPTY x...") == "an EMPTY x..."


@given(
    st.text(),
    st.text(alphabet=st.characters(codec="ascii", exclude_categories=["Cc", "Zs"]), min_size=LEAST),
    st.text(),
)
def test_no_eight_characters_in_a_row_are_left(before: str, value: str, after: str) -> None:
    shown = Secrets.of([value]).hide_pieces(before + value + after)
    left = shown.replace(HIDDEN, "\0")
    assert not any(
        value[i : i + LEAST] in left for i in range(len(value) - LEAST + 1) if value[i : i + LEAST] != HIDDEN
    )


@given(st.text())
def test_texts_without_secrets_stay(text: str) -> None:
    assert Secrets.of([]).hide_pieces(text) == text
