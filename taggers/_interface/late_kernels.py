"""Decides whether a kernel is worth the start of Numba. Plain Python is faster for a small file.

Importing Numba and loading a compiled kernel costs 0.7 to 1 CPU second a process, several times the rest of a run on a small file.
A tagger that can compute the same integers without Numba asks here which way to take.
"""

from __future__ import annotations

import sys

NUMBA_SECONDS = 0.7
"""CPU seconds that starting Numba costs, at least."""

_spent_seconds = 0.0


def is_kernel_due(plain_seconds: float) -> bool:
    """Whether to use the kernel for work that costs so many CPU seconds without it.

    True where Numba is already imported, and once the work asked about adds up to Numba's start. So a process never loses more
    than that.
    """
    global _spent_seconds  # noqa: PLW0603 - of the process, as the imported Numba is
    if "numba" in sys.modules:
        return True
    _spent_seconds += plain_seconds
    return _spent_seconds > NUMBA_SECONDS
