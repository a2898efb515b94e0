"""What is shown in little room stays apart: names of labels, columns of a matrix, epochs."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tagcorpus.pipelines.labels.page import _matrix
from tagcorpus.pipelines.progress.amounts import times
from tagcorpus.pipelines.progress.wrapping import shortened

DOMAINS = ["web", "reference", "books", "academic", "code", "specific_datasets", "incoherent", "unknown"]


@given(st.lists(st.text(st.sampled_from("ab"), max_size=30), unique=True, max_size=12), st.integers(8, 20))
def test_different_names_stay_different(names: list[str], width: int) -> None:
    short = shortened(names, width)
    assert len(set(short)) == len(names)
    assert all(len(name) <= width for name in short)
    assert [s for s, name in zip(short, names, strict=True) if len(name) <= width] == [
        name for name in names if len(name) <= width
    ]


def test_long_names_lose_their_middle() -> None:
    assert shortened(["web", "specific_datasets"], 10) == ["web", "specif…ets"]
    assert shortened(["input of part 1 x", "input of part 2 x"], 10) == ["input …1 x", "input …2 x"]
    assert shortened(["specific_a_set", "specific_b_set"], 9) == ["spec…et~1", "spec…et~2"]


@pytest.mark.parametrize("width", [60, 80, 120])
def test_a_matrix_fits_its_terminal_and_names_its_columns(width: int) -> None:
    given_labels = [*DOMAINS, "(error)", "(off menu)"]
    counts = [[900 * (i == j) + (i + j) % 3 for j in range(10)] for i in range(8)]
    text = _matrix({"gold": DOMAINS, "given": given_labels, "counts": counts}, width)
    lines = text.split("\n")
    assert all(len(line) <= width for line in lines[:9])
    assert all(f"{i + 1}  {name}" in line for i, (name, line) in enumerate(zip(DOMAINS, lines[1:], strict=False)))
    if width >= 80:
        assert lines[0].split() == ["gold", *map(str, range(1, 11)), "recall"]
        assert lines[9].strip() == "columns without a row: 9 is (error), 10 is (off menu)"


def test_a_small_matrix_has_names() -> None:
    text = _matrix({"gold": ["bad", "web"], "given": ["bad", "web"], "counts": [[3, 1], [2, 5]]}, 80)
    assert text.split("\n")[0].split() == ["gold", "bad", "web", "recall"]
    assert text.split("\n")[2].split() == ["web", "2", "5", "0.71"]


@pytest.mark.parametrize(
    ("number", "text"),
    [(0, "0.00"), (1, "1.00"), (3.999, "4.00"), (0.25, "0.25"), (0.0012345, "0.0012"), (3e-7, "3e-07")],
)
def test_few_epochs_are_not_none(number: float, text: str) -> None:
    assert times(number) == text
