"""The pages keep the rules of style that a pattern can check."""

from __future__ import annotations

from pathlib import Path

import prose
import pytest


def complaints(tmp_path: Path, text: str) -> list[str]:
    page = tmp_path / "page.md"
    page.write_text(text, encoding="utf-8")
    return list(prose.complaints(page))


def test_no_page_has_a_complaint() -> None:
    assert [line for page in prose.pages() for line in prose.complaints(page)] == []


@pytest.mark.parametrize(
    "text",
    [
        "Word " * 33,
        "The part's digest lies beside it.",
        "- A cell that is rounded is no difference.",
        "| column | meaning |\n|---|---|\n| x | the instrument of the column |",
        "```sh\nls\n```\n\nwrites one file for each input.",
        "The number is told at the end.",
    ],
)
def test_a_fault_is_found(tmp_path: Path, text: str) -> None:
    assert len(complaints(tmp_path, text)) == 1


@pytest.mark.parametrize(
    "text",
    [
        "Word " * 32,
        "The model has twenty words. " * 9,
        "On 2 cores, a check takes 0.11 ms. 100,000 parts take 11 s. " * 3,
        "```sh\n" + "word " * 40 + "\n```",
        "| " + "word " * 40 + "|",
        "[" + "page](target-that-lies-beside.md)",
        "tagcorpus uses `wanted` and `what stands for` as code.",
        "There is no interval, and there are no rows. The limit is no longer checked.",
    ],
)
def test_good_text_has_no_complaint(tmp_path: Path, text: str) -> None:
    assert complaints(tmp_path, text) == []
