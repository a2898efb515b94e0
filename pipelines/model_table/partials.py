"""What one range adds to the rows of a feature table: exact sums and counts of the documents that are kept, by group.

Sums are integers (moments.py), so that ranges may be added in any order. One tagger's columns are in memory at a time.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tagcorpus.pipelines.domain import LEFT_OUT, NOT_SELECTED
from tagcorpus.pipelines.model_table.groups import Group
from tagcorpus.pipelines.model_table.moments import Moments
from tagcorpus.pipelines.model_table.rows import KEYWORDS, SOURCES, Floats, RangeRows, Rows
from tagcorpus.pipelines.sidecars import Instance


@dataclass
class Partial:
    """Of some ranges: exact sums over the group's rows that are kept, and how many rows there are."""

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

    def add_moments(self, stem: str, values: Floats) -> None:
        self.moments[stem] = self.moments.get(stem, Moments()) + Moments.of(values)

    def add_keywords(self, name: str, matches: Floats, characters: Floats) -> None:
        more = (Moments.of(matches), Moments.of(characters), Moments.of(matches + characters))
        a, b, c = self.keywords.get(name, (Moments(), Moments(), Moments()))
        self.keywords[name] = (a + more[0], b + more[1], c + more[2])


def add_range(
    rows: RangeRows,
    instances: Mapping[str, Instance],
    groups: Sequence[Group],
    partials: Mapping[str, Partial],
) -> None:
    of = [(partials[group.id], rows.rows_of(group)) for group in groups]
    for into, own in of:
        kept = own[rows.kept[own]]
        into.rows += len(own)
        into.kept += len(kept)
        into.removed += rows.removed(own)
    for role in instances:
        stems = {stem: column for stem, (r, column) in SOURCES.items() if r == role}
        if not stems:
            continue
        columns = rows.numbers(role, list(stems.values()))
        for stem, column in stems.items():
            values = columns[column]
            is_there = ~np.isnan(values)
            for into, own in of:
                tagged = own[is_there[own]]
                into.tagged[stem] += len(tagged)
                into.add_moments(stem, values[tagged[rows.kept[tagged]]])
    if "keywords" in instances and "length" in instances:
        _add_keywords(rows, of)
    if "domain" in instances:
        table, is_there = rows.texts("domain", ["prediction", "language", "stage"])
        for into, own in of:
            _add_labels(into, table.take(pa.array(own[rows.kept[own] & is_there[own]])))


def _add_keywords(rows: RangeRows, of: Sequence[tuple[Partial, Rows]]) -> None:
    """Pooled over documents that have both figures."""
    columns = rows.numbers("keywords", list(KEYWORDS.values()))
    characters = rows.numbers("length", ["char_len"])["char_len"]
    for name, column in KEYWORDS.items():
        matches = columns[column]
        is_there = rows.kept & ~np.isnan(matches) & ~np.isnan(characters)
        for into, own in of:
            pooled = own[is_there[own]]
            into.add_keywords(name, matches[pooled], characters[pooled])


def _add_labels(into: Partial, table: pa.Table) -> None:
    is_asked = pc.fill_null(pc.not_equal(table["stage"], NOT_SELECTED), True)
    asked = table.filter(is_asked)
    into.not_selected += table.num_rows - asked.num_rows
    table = asked.filter(pc.is_valid(asked["prediction"]))
    into.failed += asked.num_rows - table.num_rows
    for pair in pc.value_counts(table["prediction"]).to_pylist():
        into.labels[pair["values"]] += pair["counts"]
    is_counted = pc.invert(pc.is_in(table["prediction"], pa.array(LEFT_OUT)))
    is_english = pc.fill_null(pc.equal(table["language"], "en"), False)
    into.english += pc.sum(pc.and_(is_counted, is_english)).as_py() or 0
