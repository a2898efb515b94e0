"""Two passes over all columns at once: histograms of numbers in shared bins, and counts of categories, by side.

With clusters, counts are by block, too: numbers in at most CLUSTER_BINS coarser bins, so that memory does not grow.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from tagcorpus.pipelines.comparing.sides import Sides, Taken
from tagcorpus.pipelines.distributions.attribute_columns import AttributeColumn, Rows, random_numbers, texts
from tagcorpus.pipelines.distributions.binning import Bins, Sample, bins_of, merged
from tagcorpus.pipelines.distributions.blocks import BLOCKS, Blocks

MOST_VALUES = 10_000
CLUSTER_BINS = 128
Counts = npt.NDArray[np.int64]


@dataclass
class Numbers:
    """Histograms of one numeric column.

    counts  int64 [2, bins]: of A and B
    first   the first bin of each coarser bin
    blocks  int64 [2, blocks, coarser bins]; None without clusters
    """

    bins: Bins
    counts: Counts
    first: Counts
    blocks: Counts | None


@dataclass
class Categories:
    """Counts of one text column, by category in the order of `names`.

    counts  int64 [2, blocks or 1, at least len(names)]
    """

    n_blocks: int
    names: dict[str, int] = field(default_factory=dict)
    counts: Counts = field(default_factory=lambda: np.zeros((2, 1, 0), np.int64))
    has_too_many: bool = False

    def add(self, side: int, values: Sequence[str | None], codes: Counts, blocks: Counts | None) -> None:
        """Add the values of rows: codes are places in `values`, blocks the block of each row."""
        if self.has_too_many:
            return
        used = np.unique(codes)
        known = np.full(len(values), -1, np.int64)
        for i in used:
            value = values[i]
            if value is not None:
                known[i] = self.names.setdefault(value, len(self.names))
        if len(self.names) > MOST_VALUES:
            self.has_too_many = True
            return
        if self.counts.shape[2] < len(self.names):
            size = max(16, 2 * self.counts.shape[2], len(self.names))
            grown = np.zeros((2, self.n_blocks, size), np.int64)
            grown[:, :, : self.counts.shape[2]] = self.counts
            self.counts = grown
        size = self.counts.shape[2]
        places = known[codes]
        is_value = places >= 0
        cells = places[is_value] if blocks is None else blocks[is_value] * size + places[is_value]
        self.counts[side] += np.bincount(cells, minlength=self.n_blocks * size).reshape(self.n_blocks, size)

    @property
    def sorted(self) -> tuple[list[str], Counts]:
        """Names in order, and int64 [2, blocks or 1, names]."""
        names = sorted(self.names)
        return names, self.counts[:, :, [self.names[n] for n in names]]


@dataclass
class Counted:
    """Counts by column. A column without a value on a side is in neither.

    documents  of A and B
    n_blocks   blocks that have documents, on the side with fewer; 0 without clusters
    """

    numbers: dict[str, Numbers]
    categories: dict[str, Categories]
    documents: tuple[int, int]
    n_blocks: int

    def has(self, label: str) -> bool:
        return label in self.numbers or label in self.categories


def counted(sides: Sides, columns: Sequence[AttributeColumn], cluster: str | None) -> Counted:
    """Read all columns twice, those with categories once."""
    numeric = [c for c in columns if c.is_numeric]
    clusters = [Blocks(output, cluster) for output in sides.outputs] if cluster else []
    in_clusters = [c for blocks in clusters for c in blocks.columns]
    samples = {c.label: Sample(sides.rows) for c in numeric}
    categories = {c.label: Categories(BLOCKS if cluster else 1) for c in columns if c.is_text}
    is_used = np.zeros((2, BLOCKS), bool)
    documents = [0, 0]
    for side, rows, taken in sides.stream(columns, in_clusters):
        random = random_numbers(rows, side)
        documents[side] += rows.n if taken is None else int(taken.sum())
        block = _chosen(clusters[side % len(clusters)].of(rows), taken) if clusters else None
        if block is not None:
            is_used[side, block] = True
        for column in numeric:
            samples[column.label].add(_numbers(rows, column, taken), random)
        for label, one in categories.items():
            codes, values = texts(rows.values[label])
            one.add(side, values, _chosen(codes, taken), block)
    numbers = {label: empty(sample, bool(cluster)) for label, sample in samples.items() if sample.n}
    for side, rows, taken in sides.stream([c for c in numeric if c.label in numbers], in_clusters) if numbers else ():
        block = _chosen(clusters[side % len(clusters)].of(rows), taken) if clusters else None
        for column in numeric:
            if column.label in numbers:
                own = _numbers(rows, column, taken)
                is_finite = np.isfinite(own)
                places = numbers[column.label].bins.of(own[is_finite])
                add(numbers[column.label], side, places, None if block is None else block[is_finite])
    return Counted(
        {label: n for label, n in numbers.items() if n.counts.any(axis=1).all()},
        {label: c for label, c in categories.items() if c.counts.any(axis=(1, 2)).all() or c.has_too_many},
        (documents[0], documents[1]),
        int(is_used.sum(axis=1).min()),
    )


def _chosen(values: Counts, taken: Taken | None) -> Counts:
    return values if taken is None else values[taken]


def _numbers(rows: Rows, column: AttributeColumn, taken: Taken | None) -> npt.NDArray[np.float64]:
    values = rows.numbers(column)
    return values if taken is None else values[taken]


def empty(sample: Sample, has_clusters: bool) -> Numbers:
    """Histograms without counts, in bins for a sample with at least one value."""
    bins = bins_of(sample)
    coarser = merged(np.bincount(bins.of(sample.values), minlength=len(bins)), CLUSTER_BINS)
    first = np.searchsorted(coarser, np.arange(coarser.max() + 1))
    blocks = np.zeros((2, BLOCKS, len(first)), np.int64) if has_clusters else None
    return Numbers(bins, np.zeros((2, len(bins)), np.int64), first, blocks)


def add(numbers: Numbers, side: int, places: Counts, block: Counts | None) -> None:
    """Add rows by the places of their bins; block: of each row."""
    numbers.counts[side] += np.bincount(places, minlength=len(numbers.bins))
    if numbers.blocks is not None and block is not None:
        size = len(numbers.first)
        cells = block * size + np.searchsorted(numbers.first, places, "right") - 1
        numbers.blocks[side] += np.bincount(cells, minlength=BLOCKS * size).reshape(BLOCKS, size)
