"""Which source the next sample comes from: earliest deadline first, among the sources that are due.

Source g has the weight W[g], and all weights sum to TOTAL. Its sample number k (from 0) may be taken at step
floor(k * TOTAL / W[g]) at the earliest, and must be taken before step ceil((k + 1) * TOTAL / W[g]). The deadline is then always
kept, and after every step each source has less than one sample more or less than its share (proportionate fairness:
Baruah, Cohen, Plaxton and Varvel 1996).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tagcorpus.kernels.compiling.cached import njit

TOTAL = 1 << 31
"""Sum of all weights."""
MOST_SAMPLES = 1 << 31
"""Products of a number of samples and TOTAL fit into int64."""

I64 = npt.NDArray[np.int64]


@njit(nogil=True, cache=True)
def blend(weights: I64, counts: I64, start: int, sources: npt.NDArray[np.int32], numbers: I64) -> None:
    """The samples of steps start, start + 1, ...: source of each, and its number within the source.

    weights  int64 [sources], above 0, with the sum TOTAL
    counts   int64 [sources]: samples of each source before step start; changed to those after the last step
    sources, numbers  [steps]: filled
    """
    due = counts * TOTAL // weights
    deadline = -((-(counts + 1) * TOTAL) // weights)
    for i in range(sources.size):
        best = -1
        for g in range(weights.size):
            if due[g] <= start + i and (best < 0 or deadline[g] < deadline[best]):
                best = g
        sources[i], numbers[i] = best, counts[best]
        counts[best] += 1
        due[best] = counts[best] * TOTAL // weights[best]
        deadline[best] = -((-(counts[best] + 1) * TOTAL) // weights[best])
