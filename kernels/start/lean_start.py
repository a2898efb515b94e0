"""Numba without what it imports on behalf of others: SciPy's linear algebra, and the types of awkward.

At its first compilation, Numba imports SciPy to see whether it is there, and awkward to learn its types: half a CPU second in all. No
kernel here uses either. Numba still has both as soon as a program needs them: it imports SciPy where it compiles linear algebra, and
it learns awkward's types at the first compilation after somebody imported awkward.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
import warnings
from importlib.metadata import EntryPoint, entry_points

GROUP = "numba_extensions"
LATE = "awkward"
"""A package with types for Numba. gigatoken depends on it, so nearly every installation has it."""


def start_lean() -> None:
    """Import Numba, and postpone both of these, unless Numba has them already. Another release of Numba may be built differently:
    then it starts as it does."""
    from numba.core import entrypoints
    from numba.np import linalg

    if "numba.np.arraymath" not in sys.modules and "scipy.linalg" not in sys.modules and hasattr(linalg, "ensure_blas"):
        _postpone_scipy(linalg)
    if LATE not in sys.modules and getattr(entrypoints, "_already_initialized", None) is False:
        _postpone_awkward(entrypoints)


def _postpone_scipy(linalg: object) -> None:
    """Import the module that asks for SciPy, and answer without importing SciPy."""

    def is_there() -> None:
        if importlib.util.find_spec("scipy") is None:
            raise ImportError("no scipy")

    before = linalg.ensure_blas  # type: ignore[attr-defined]
    linalg.ensure_blas = is_there  # type: ignore[attr-defined]
    try:
        importlib.import_module("numba.np.arraymath")
    finally:
        linalg.ensure_blas = before  # type: ignore[attr-defined]


def _postpone_awkward(entrypoints: object) -> None:
    """Put another function in the place of `init_all`, which Numba calls before each compilation."""
    late: list[EntryPoint] = []

    def init_all() -> None:
        if not entrypoints._already_initialized:  # type: ignore[attr-defined]
            entrypoints._already_initialized = True  # type: ignore[attr-defined]
            for entry in entry_points(group=GROUP, name="init"):
                if entry.module.partition(".")[0] == LATE:
                    late.append(entry)
                else:
                    _load(entry)
        # While awkward is still being imported, it has no such attribute.
        while late and hasattr(sys.modules.get(LATE), "numba"):
            _load(late.pop())

    entrypoints.init_all = init_all  # type: ignore[attr-defined]


def _load(entry: EntryPoint) -> None:
    try:
        entry.load()()
    except Exception as error:  # as Numba does: an extension of somebody else must not stop a compilation
        warnings.warn(f"Numba extension {entry.value} failed: {type(error).__name__}: {error}", stacklevel=2)
