"""What one chunk adds to the rows of a feature table: exact sums and counts of the documents that are kept, by group.

Sums are integers (moments.py), so that chunks may be added in any order. One tagger's columns are in memory at a time.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from tagcorpus.pipelines.attributes.parts import Instance
from tagcorpus.pipelines.feature_table.columns import SOURCES
from tagcorpus.pipelines.group_statistics.groups import Group
from tagcorpus.pipelines.group_statistics.moments import Moments
from tagcorpus.pipelines.group_statistics.rows import KEYWORDS, ChunkRows, Floats, Rows
from tagcorpus.pipelines.labelling.label_counts import LEFT_OUT, NOT_SELECTED

Bools = npt.NDArray[np.bool_]


@dataclass
class Partial:
    """Of some chunks: exact sums over the group's rows that are kept, and how many rows there are."""

    rows: int = 0
    kept: int = 0
    removed: Counter[str] = field(default_factory=Counter)
    tagged: Counter[str] = field(default_factory=Counter)
    moments: dict[str, Moments] = field(default_factory=dict)
    keywords: dict[str, tuple[Moments, Moments, Moments]] = field(default_factory=dict)
    labels: Counter[str] = field(default_factory=Counter)
    english: int = 0
    not_selected: int = 0
    failed: int = 0

    def add_moments(self, stem: str, more: Moments) -> None:
        self.moments[stem] = self.moments[stem] + more if stem in self.moments else more

    def add_keywords(self, name: str, more: tuple[Moments, Moments, Moments]) -> None:
        if name in self.keywords:
            a, b, c = self.keywords[name]
            more = (a + more[0], b + more[1], c + more[2])
        self.keywords[name] = more


class _Rows:
    """The rows of several groups, group by group.

    at      [m]: positions in the chunk
    number  [m]: of the group, ascending
    """

    def __init__(self, each: Sequence[Rows], kept: Bools) -> None:
        self.n = len(each)
        self.at: Rows = np.concatenate([np.zeros(0, np.intp), *each])
        self.number = np.repeat(np.arange(self.n), [len(own) for own in each])
        self.kept = kept[self.at]

    def counts(self, is_in: Bools) -> npt.NDArray[np.int64]:
        """int64 [groups], of `is_in`, bool [m]."""
        return np.bincount(self.number[is_in], minlength=self.n)

    def moments(self, values: Floats, is_in: Bools) -> list[Moments]:
        """Of each group, of the values, [m], that are in."""
        return Moments.of_each(values[is_in], self.counts(is_in))


def add_chunk(
    rows: ChunkRows,
    instances: Mapping[str, Instance],
    groups: Sequence[Group],
    partials: Mapping[str, Partial],
) -> None:
    each = rows.rows_of(groups)
    into = [partials[group.id] for group in groups]
    of = _Rows(each, rows.kept)
    for one, own, kept in zip(into, each, of.counts(of.kept), strict=True):
        one.rows += len(own)
        one.kept += int(kept)
    gone = ~of.kept
    for at, number in zip(of.at[gone].tolist(), of.number[gone].tolist(), strict=True):
        into[number].removed[rows.reasons[at]] += 1
    for role in instances:
        stems = {stem: column for stem, (r, column) in SOURCES.items() if r == role}
        if not stems:
            continue
        columns = rows.numbers(role, list(stems.values()))
        for stem, column in stems.items():
            values = columns[column][of.at]
            is_there = ~np.isnan(values)
            tagged, moments = of.counts(is_there), of.moments(values, is_there & of.kept)
            for one, n, more in zip(into, tagged, moments, strict=True):
                one.tagged[stem] += int(n)
                one.add_moments(stem, more)
    if "keywords" in instances and "length" in instances:
        _add_keywords(rows, of, into)
    if "domain" in instances:
        _add_labels(rows, of, into)


def _add_keywords(rows: ChunkRows, of: _Rows, into: Sequence[Partial]) -> None:
    """Pooled over documents that have both figures."""
    columns = rows.numbers("keywords", list(KEYWORDS.values()))
    characters = rows.numbers("length", ["char_len"])["char_len"][of.at]
    for name, column in KEYWORDS.items():
        matches = columns[column][of.at]
        is_in = of.kept & ~np.isnan(matches) & ~np.isnan(characters)
        more = (of.moments(values, is_in) for values in (matches, characters, matches + characters))
        for one, triple in zip(into, zip(*more, strict=True), strict=True):
            one.add_keywords(name, triple)


def _add_labels(rows: ChunkRows, of: _Rows, into: Sequence[Partial]) -> None:
    table, is_there = rows.texts("domain", ["prediction", "language", "stage"])
    is_in = of.kept & is_there[of.at]
    is_asked = is_in & _bools(pc.fill_null(pc.not_equal(table["stage"], NOT_SELECTED), True))[of.at]
    is_labelled = is_asked & _bools(pc.is_valid(table["prediction"]))[of.at]
    is_counted = _bools(pc.invert(pc.is_in(table["prediction"], pa.array(LEFT_OUT))))[of.at]
    is_english = _bools(pc.fill_null(pc.equal(table["language"], "en"), False))[of.at]
    selections = (is_in & ~is_asked, is_asked & ~is_labelled, is_labelled & is_counted & is_english)
    for one, not_selected, failed, english in zip(into, *map(of.counts, selections), strict=True):
        one.not_selected += int(not_selected)
        one.failed += int(failed)
        one.english += int(english)
    labels = pc.fill_null(table["prediction"], "").combine_chunks().dictionary_encode()
    names = labels.dictionary.to_pylist()
    place = of.number * max(len(names), 1) + labels.indices.to_numpy()[of.at]
    for key, n in zip(*np.unique(place[is_labelled], return_counts=True), strict=True):
        into[key // len(names)].labels[names[key % len(names)]] += int(n)


def _bools(values: pa.ChunkedArray) -> Bools:
    return np.asarray(values.to_numpy(), bool)
