"""How many examples a property is tried on: 20, and 100 with HYPOTHESIS_PROFILE=ci. Every run tries the same ones."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable
from typing import Any

import pytest
from hypothesis import settings

EXAMPLES = {"dev": 20, "ci": 100}
PROFILE = os.environ.get("HYPOTHESIS_PROFILE", "dev")


def load() -> None:
    """Before the test files are imported: a property takes the number that holds then."""
    for name, n in EXAMPLES.items():
        settings.register_profile(name, max_examples=n, derandomize=True, database=None, deadline=None)
    settings.load_profile(PROFILE)


def more(factor: int) -> settings:
    """Decorates a property of many cases: so many times the examples of the others."""
    return settings(max_examples=factor * EXAMPLES[PROFILE])


def tries(n: int) -> int:
    """Cases of a seeded loop, or the size of its input: all n with the profile ci, a fifth of them by hand."""
    return n * EXAMPLES[PROFILE] // EXAMPLES["ci"]


def chosen_by_default(cases: Iterable[Any], chosen: Collection[Any]) -> list[Any]:
    """Cases of a costly test: the chosen ones belong to the default run, all others to the end-to-end tests."""
    return [case if case in chosen else pytest.param(case, marks=pytest.mark.e2e) for case in cases]


def one_by_default(*cases: Any) -> list[Any]:
    """Cases of a costly test: the first belongs to the default run, all others to the end-to-end tests."""
    several = [case if isinstance(case, tuple) else (case,) for case in cases]
    return [cases[0], *(pytest.param(*case, marks=pytest.mark.e2e) for case in several[1:])]
