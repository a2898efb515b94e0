"""The scripts of benchmarks/: each compiles, and the suite's table fits 80 columns and states what was measured."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import pytest

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"
LINE: dict[str, Any] = {
    "row": "quality signals",
    "programs": "TextDescriptives / signals",
    "per_mb": [0.0123, 0.00456, 123.4],
    "whole": [12.3, 0.0456, 0.0789],
    "difference": 0.0123,
    "megabytes": 31.5,
}


@pytest.fixture(scope="module")
def report() -> dict[str, Any]:
    return runpy.run_path(str(BENCHMARKS / "_report.py"))


@pytest.mark.parametrize("path", sorted(BENCHMARKS.rglob("*.py")), ids=lambda path: path.name)
def test_script_compiles(path: Path) -> None:
    compile(path.read_text(encoding="utf-8"), str(path), "exec")


def test_table_fits_the_terminal(report: dict[str, Any]) -> None:
    lines = report["table"]([LINE, {**LINE, "per_mb": None, "difference": 1e-9}]).splitlines()
    assert len(lines) == 4  # the head, the row, two pairs
    assert all(len(line) <= 80 for line in lines)
    assert " ".join(lines[2].split()) == "TextDescriptives / signals 0.01 (0.005 to 123) 12 (0.05 to 0.08) 1 %"
    assert " ".join(lines[3].split()) == "TextDescriptives / signals 12 (0.05 to 0.08) equal"


@pytest.mark.parametrize(("difference", "text"), [(None, ""), (0.0, "equal"), (1e-7, "equal"), (0.002, "0.2 %")])
def test_agreement(report: dict[str, Any], difference: float | None, text: str) -> None:
    assert report["agreement"](difference) == text
