"""The two passes of an audit: sums and histograms of one column by group, in memory that the corpus does not decide."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from tagcorpus.errors import InputError
from tagcorpus.pipelines.audit.gold import Gold
from tagcorpus.pipelines.audit.window import Window
from tagcorpus.pipelines.distributions.attribute_columns import AttributeColumn, Attributes, Floats, random_numbers
from tagcorpus.pipelines.distributions.binning import Bins, Sample, bins_of, merged
from tagcorpus.pipelines.distributions.blocks import BLOCKS, Blocks
from tagcorpus.pipelines.distributions.grouping import Grouping

# Coarse bins of each score in tables of two scores.
JOINT_BINS = 64
SUMS = 4


@dataclass
class Tally:
    """What the second pass adds up for one grouping.

    sums   float64 [BLOCKS, SUMS, groups]: n, sum and sum of squares of values minus `Tallies.centre`, n in the top
    bins   int64 [groups, bins]; joint: int64 [groups, coarse bins, coarse bins of the other score]
    missing  int64 [groups]: rows without a finite value
    """

    grouping: Grouping
    sums: Floats
    bins: npt.NDArray[np.int64]
    missing: npt.NDArray[np.int64]
    joint: npt.NDArray[np.int64] | None
    of_gold: list[npt.NDArray[np.int64]] = field(default_factory=list)
    """The groups of the documents with a gold value, in the order of `Gold.pairs`."""

    @property
    def n(self) -> npt.NDArray[np.int64]:
        return np.asarray(self.bins.sum(1))


@dataclass
class Axis:
    """One side of a table of two scores."""

    column: AttributeColumn
    bins: Bins
    coarse: npt.NDArray[np.int64]
    is_exact: bool

    @property
    def n(self) -> int:
        return int(self.coarse.max()) + 1


@dataclass
class Tallies:
    """Both passes' results. top_from: the first bin of the top; centre: subtracted before squaring, against rounding."""

    column: AttributeColumn
    sample: Sample
    bins: Bins
    centre: float
    top_from: int
    tallies: list[Tally]
    axes: tuple[Axis, Axis] | None
    dropped: list[str] = field(default_factory=list)

    @property
    def counts(self) -> npt.NDArray[np.int64]:
        """int64 [bins]: of all documents."""
        return np.asarray(self.tallies[0].bins.sum(0))


def tally(
    attributes: Attributes,
    column: AttributeColumn,
    groupings: Sequence[Grouping],
    blocks: Blocks,
    top: float,
    against: AttributeColumn | None = None,
    window: Window | None = None,
    gold: Gold | None = None,
) -> Tallies:
    """Read the column twice. Raises InputError where no document has a value, ConfigError as `Grouping.count`."""
    by = [g.column for g in groupings if g.column is not None]
    scores = [column, *([against] if against else [])]
    samples = [Sample(attributes.plan.rows) for _ in scores]
    for rows in attributes.stream([*scores, *by], ids=gold is not None):
        random = random_numbers(rows, 0)
        for sample, score in zip(samples, scores, strict=True):
            sample.add(rows.numbers(score), random)
        for grouping in groupings:
            grouping.count(rows)
        if gold is not None:
            gold.look_up(rows, rows.numbers(column))
    if not samples[0].n:
        raise InputError(f"{column.label} has no value in any document of {attributes.named}")
    kept = [g for g in groupings if not g.too_many]
    for grouping in kept:
        grouping.close()
    bins = bins_of(samples[0], top)
    axes = None
    if against is not None and samples[1].n:
        axes = (_axis(column, samples[0], bins), _axis(against, samples[1], bins_of(samples[1])))
    values = samples[0].values
    result = Tallies(
        column, samples[0], bins, float(values.mean()), 0, [], axes, [g.name for g in groupings if g.too_many]
    )
    result.top_from = _top_from(values, bins, top)
    result.tallies = [_empty(g, bins, axes) for g in kept]
    for rows in attributes.stream(
        [*scores, *(g.column for g in kept if g.column), *blocks.columns, *([window.by] if window else [])]
    ):
        numbers = rows.numbers(column)
        is_finite = np.isfinite(numbers)
        finite = numbers[is_finite]
        places = bins.of(finite)
        block = blocks.of(rows)[is_finite]
        other = rows.numbers(against)[is_finite] if axes and against else None
        if window is not None:
            window.add(rows)
        for one in result.tallies:
            codes = one.grouping.codes(rows)
            if gold is not None and rows.rank in gold.places:
                one.of_gold.append(codes[gold.places[rows.rank]])
            one.missing += np.bincount(codes[~is_finite], minlength=len(one.missing))
            _add(one, result, codes[is_finite], block, finite, places, other)
    return result


def _top_from(values: Floats, bins: Bins, top: float) -> int:
    """The bin edge from which on the share of the sample is nearest to the top that was asked for; never the whole corpus."""
    shares = 1 - np.searchsorted(values, bins.edges, "left") / len(values)
    first = min(1, len(bins) - 1)
    return first + int(np.argmin(np.abs(shares[first:] - top)))


def _axis(column: AttributeColumn, sample: Sample, bins: Bins) -> Axis:
    counts = np.bincount(bins.of(sample.values), minlength=len(bins))
    used = counts > 0
    if used.sum() <= JOINT_BINS:  # a bin for each value
        coarse = np.maximum(np.cumsum(used) - 1, 0)
        return Axis(column, bins, coarse, bool(bins.is_single[used].all()))
    return Axis(column, bins, merged(counts, JOINT_BINS), False)


def _empty(grouping: Grouping, bins: Bins, axes: tuple[Axis, Axis] | None) -> Tally:
    n = max(len(grouping.labels), 1)
    joint = np.zeros((n, axes[0].n, axes[1].n), np.int64) if axes else None
    sums = np.zeros((BLOCKS, SUMS, n))
    return Tally(grouping, sums, np.zeros((n, len(bins)), np.int64), np.zeros(n, np.int64), joint)


def _add(
    one: Tally,
    result: Tallies,
    codes: npt.NDArray[np.int64],
    block: npt.NDArray[np.int64],
    values: Floats,
    places: npt.NDArray[np.int64],
    other: Floats | None,
) -> None:
    n_groups, n_bins = one.bins.shape
    centred = values - result.centre
    cell = block * n_groups + codes
    size = BLOCKS * n_groups
    weights = (None, centred, centred * centred, places >= result.top_from)
    for i, weight in enumerate(weights):
        one.sums[:, i] += np.bincount(cell, weight, size).reshape(BLOCKS, n_groups)
    one.bins += np.bincount(codes * n_bins + places, minlength=one.bins.size).reshape(one.bins.shape)
    if one.joint is not None and result.axes is not None and other is not None:
        first, second = result.axes
        both = np.isfinite(other)
        x, y = first.coarse[places[both]], second.coarse[second.bins.of(other[both])]
        place = (codes[both] * first.n + x) * second.n + y
        one.joint += np.bincount(place, minlength=one.joint.size).reshape(one.joint.shape)
