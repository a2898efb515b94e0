"""Bins of one numeric column, and how much a histogram in these bins can be wrong.

A pass over the column takes a sample, and minimum and maximum of all values. The edges come from the sample: up to DISTINCT
values have a bin each, a column with more values has bins of equal share. Minimum and maximum always have bins of their own,
and a value with a bin of its own is exact. Only the order of values that share a bin is unknown; each statistic states
what that can change.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tagcorpus.pipelines.distributions.attribute_columns import Floats

SAMPLE_VALUES = 1 << 18
DISTINCT = 1024


class Sample:
    """The first pass over a column: counts, extremes, moments, and a random sample of about SAMPLE_VALUES values."""

    def __init__(self, rows: int) -> None:
        self._share = min(1.0, SAMPLE_VALUES / max(rows, 1))
        self._kept: list[Floats] = []
        self.n = self.missing = self.infinite = 0
        self.low, self.high = math.inf, -math.inf

    def add(self, values: Floats, random: np.random.Generator) -> None:
        finite = values[np.isfinite(values)]
        missing = int(np.isnan(values).sum())
        self.missing += missing
        self.infinite += len(values) - len(finite) - missing
        if not len(finite):
            return
        self.n += len(finite)
        self.low, self.high = min(self.low, float(finite.min())), max(self.high, float(finite.max()))
        if self._share == 1.0:
            self._kept.append(finite)
        else:
            size = int(len(finite) * self._share + random.random())
            self._kept.append(finite[random.integers(0, len(finite), size)])

    @property
    def values(self) -> Floats:
        """The sample, sorted."""
        return np.sort(np.concatenate(self._kept)) if self._kept else np.zeros(0)


@dataclass(frozen=True)
class Bins:
    """Bin i holds values from edges[i] up to, but not including, edges[i + 1]; the last one holds the maximum."""

    edges: Floats

    def __len__(self) -> int:
        return len(self.edges)

    def of(self, values: Floats) -> npt.NDArray[np.int64]:
        """The bin of each finite value."""
        return np.searchsorted(self.edges, values, "right").astype(np.int64) - 1

    @property
    def upper(self) -> Floats:
        """The largest number of each bin."""
        return np.append(np.nextafter(self.edges[1:], -math.inf), self.edges[-1:])

    @property
    def is_single(self) -> npt.NDArray[np.bool_]:
        """Bins of one value, in which nothing is lost."""
        return np.asarray(self.upper <= self.edges)


def bins_of(sample: Sample, top: float = 0.0) -> Bins:
    """Bins for the column of a sample with at least one value; with `top`, an edge near the lower end of that share."""
    values = sample.values
    ends = np.array([sample.low, sample.high])
    distinct = np.unique(values)
    if len(distinct) <= DISTINCT:
        alone, edges = distinct, np.zeros(0)
    else:
        quantiles = values[np.linspace(0, len(values) - 1, DISTINCT + 1).astype(np.int64)]
        # A value that fills a quantile from end to end has a bin of its own.
        alone, edges = quantiles[1:][quantiles[1:] == quantiles[:-1]], quantiles
    if top and len(values):
        edges = np.append(edges, values[min(int(len(values) * (1 - top)), len(values) - 1)])
    alone = np.concatenate([alone, ends])
    every = np.unique(np.concatenate([edges, alone, np.nextafter(alone, math.inf)]))
    return Bins(every[(every >= sample.low) & (every <= sample.high)])


def merged(counts: npt.NDArray[np.int64], n_bins: int) -> npt.NDArray[np.int64]:
    """For each bin, the number of one of at most `n_bins` coarser bins of about equal share. A bin is never divided.

    Example  [5, 5, 5, 5] in 2 bins -> [0, 0, 1, 1]
    """
    middle = np.cumsum(counts) - counts / 2
    place = np.minimum((middle / max(counts.sum(), 1) * n_bins).astype(np.int64), n_bins - 1)
    return np.unique(place, return_inverse=True)[1].astype(np.int64)
