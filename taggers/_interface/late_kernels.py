"""When a kernel is worth the start of Numba: not for a small file, whose figures plain Python has sooner.

Importing Numba and loading a compiled kernel costs 0.7 to 1 CPU second a process, several times what everything else in a run on
a small file costs. So a tagger that has a plain way to the very same integers asks here which of the two to take.
"""

from __future__ import annotations

import sys

NUMBA_SECONDS = 0.7
"""CPU seconds that starting Numba costs, at least."""

_spent_seconds = 0.0


def is_kernel_due(plain_seconds: float) -> bool:
    """Whether to use the kernel for work that costs so many CPU seconds without it.

    True where Numba is imported already, and as soon as all work that was asked for here adds up to Numba's start: a process then
    has lost no more than that, however much follows.
    """
    global _spent_seconds  # noqa: PLW0603 - of the process, as the imported Numba is
    if "numba" in sys.modules:
        return True
    _spent_seconds += plain_seconds
    return _spent_seconds > NUMBA_SECONDS
