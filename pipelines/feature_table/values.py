"""The cells of a feature table: are they numbers, can they be, and do they fit together?

Every check looks at columns that columns.py knows; further columns must be numeric, and are not judged otherwise. Those
of `--extended` must be possible, but may be empty or constant.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator

from tagcorpus.pipelines.feature_table.columns import (
    AT_MOST,
    DOMAINS,
    ID,
    RATIO_UNIT,
    RATIOS,
    RECIPE,
    STEMS,
    extended_columns,
    numeric_columns,
)
from tagcorpus.pipelines.feature_table.table import FeatureTable, decimals, kind_of
from tagcorpus.predictor.records.findings import Finding, listed
from tagcorpus.predictor.records.plain_values import number

# Computed shares of one whole may miss their sum by this.
SLACK = 1e-6
# How far the six domains may stay below 100 %, as they do where a label that is none of the six counts in the whole.
OTHER_LABELS_PCT = 5.0
# A constant or a scale says something from this many models on.
MODELS_FOR_PATTERN = 3

_UNREADABLE = {
    "text": ("text_cell", "cells that are not numbers", "stops, or takes the whole column for text"),
    "missing_as_text": (
        "missing_as_text",
        "missing values spelled as text; an empty cell is what means missing",
        "readers disagree: some take the whole column for text, others read a number that is none",
    ),
    "not_finite": ("not_finite", "infinite or too large values", "stops, or every mean and distance becomes infinite"),
    "decimal_comma": ("decimal_comma", "numbers with a comma for the decimal point", "takes the whole column for text"),
}


class _Cells:
    """Values by column, and a name for every row: its id, or its line where it has none."""

    def __init__(self, table: FeatureTable) -> None:
        ids = table.texts(ID) if ID in table.header else [""] * len(table.rows)
        self.names = [m.strip() or f"line {row.line:,}" for m, row in zip(ids, table.rows, strict=True)]
        self.columns = [c for c in dict.fromkeys(table.header) if c != ID]
        self.texts = {c: table.texts(c) for c in self.columns}
        self.values = {c: [number(t) for t in texts] for c, texts in self.texts.items()}

    def present(self, column: str) -> list[float]:
        return [v for v in self.values[column] if v is not None]


def check_values(table: FeatureTable) -> Iterator[Finding]:
    """table: with at least one row."""
    cells = _Cells(table)
    yield from _readable(cells)
    yield from _ranges(cells)
    yield from _relations(cells)
    yield from _domains(cells)
    yield from _deviations(cells)
    yield from _columns(cells)
    yield from _rows(cells)


def _readable(cells: _Cells) -> Iterator[Finding]:
    bad: dict[str, list[str]] = defaultdict(list)
    padded = []
    for column in cells.columns:
        for name, text in zip(cells.names, cells.texts[column], strict=True):
            if (kind := kind_of(text)) in _UNREADABLE:
                shown = text if len(text) <= 40 else text[:40] + "..."
                bad[kind].append(f"{name}: {column} is {shown!r}")
            elif text != text.strip():
                padded.append(f"{name}: {column} is {text!r}")
    for unreadable, (check, message, effect) in _UNREADABLE.items():
        places = tuple(bad[unreadable])
        yield from listed("error", check, message, places, effect)
    effect = "some readers take the whole column for text"
    yield from listed("warning", "spaces_in_cells", "cells with spaces around them", padded, effect)


def _ranges(cells: _Cells) -> Iterator[Finding]:
    sentinels, outside = [], []
    for column in cells.columns:
        known = numeric_columns().get(column) or extended_columns().get(column)
        # Bounds of intervals may be any number.
        has_sentinel = column not in extended_columns()
        for name, text, value in zip(cells.names, cells.texts[column], cells.values[column], strict=True):
            if value is None:
                continue
            if value == -1 and has_sentinel:
                sentinels.append(f"{name}: {column}")
            elif known is not None and not _within(value, known.low, known.high):
                outside.append(
                    f"{name}: {column} is {text.strip()}, must be {_bounds(known.low, known.high)} {known.unit}"
                )
    effect = "a number like any other, unless -1 is declared to be missing"
    message = "cells of exactly -1; an empty cell is what means missing"
    yield from listed("error", "minus_one", message, sentinels, effect)
    effect = "believes it: trees split there, linear models are pulled"
    yield from listed("error", "out_of_range", "values that cannot be", outside, effect)
    values = cells.present("pct_english_mean") if "pct_english_mean" in cells.columns else []
    if len(values) >= MODELS_FOR_PATTERN and 0 < max(values) <= 1:
        yield Finding("warning", "share_not_percent", "every pct_english_mean is at most 1: a share, not a percentage?")
    small = tuple(c for c in RATIOS if c in cells.columns and _is_share(cells.present(c)))
    if len(small) > 1:  # one may be as rare as that
        message = f"columns of {RATIO_UNIT} whose values are all below 1: are they matches by characters, or shares?"
        yield Finding("warning", "share_not_ratio", message, len(small), small)


def _is_share(values: list[float]) -> bool:
    return len(values) >= MODELS_FOR_PATTERN and 0 < max(values) < 1


def _within(value: float, low: float, high: float) -> bool:
    return low - SLACK <= value <= high + SLACK


def _bounds(low: float, high: float) -> str:
    return f"{low:g} to {high:.6g}" if math.isfinite(high) else f"at least {low:g}"


def _relations(cells: _Cells) -> Iterator[Finding]:
    wrong = []
    for small, large in ((f"{a}_mean", f"{b}_mean") for a, b in AT_MOST):
        if small in cells.columns and large in cells.columns:
            for name, a, b in zip(cells.names, cells.values[small], cells.values[large], strict=True):
                if a is not None and b is not None and a > b + SLACK * max(1.0, abs(b)):
                    wrong.append(f"{name}: {small} is {a:g}, {large} is {b:g}")
    message = "values that are larger than what bounds them; columns swapped, or of different generations?"
    yield from listed("error", "larger_than_its_bound", message, wrong, "believes it")


def _domains(cells: _Cells) -> Iterator[Finding]:
    names = [f"domain_{d}_pct_mean" for d in DOMAINS]
    if any(c not in cells.columns for c in names):
        return
    off, short, partly, none, english = [], [], [], [], []
    for i, model in enumerate(cells.names):
        texts = [cells.texts[c][i] for c in names]
        values = [v for c in names if (v := cells.values[c][i]) is not None]
        if any(t.strip() for t in texts) and not all(t.strip() for t in texts):
            partly.append(f"{model}: {sum(not t.strip() for t in texts)} of {len(names)} empty")
        if len(values) < len(names):
            continue
        total = sum(values)
        # Each of the six may be rounded by half a unit of its last decimal.
        rounding = SLACK + (len(names) * 0.5 * 10.0**-places if (places := decimals(texts)) else 0.0)
        if not any(values):
            none.append(model)
            if "pct_english_mean" in cells.columns and cells.values["pct_english_mean"][i] is not None:
                english.append(model)
        elif not 100 - OTHER_LABELS_PCT - rounding <= total <= 100 + rounding:
            hint = " (shares, not percentages?)" if abs(total - 1) <= 0.01 else ""
            off.append(f"{model}: {total:.4f}{hint}")
        elif total < 100 - rounding:
            short.append(f"{model}: {total:.4f}")
    message = f"models whose domain percentages add up to more than 100, or to less than {100 - OTHER_LABELS_PCT:g}"
    yield from listed("error", "domains_do_not_add_up", message, off, "shares that are none")
    message = "models whose domain percentages stay a little below 100: were labels that are none of the six counted in the whole?"
    yield from listed("warning", "domains_below_100", message, short)
    effect = "takes an empty cell for unknown where 0 was meant"
    yield from listed("warning", "domains_partly_empty", "models with some of the six empty", partly, effect)
    effect = "takes 0 of everything for a measurement; it is the absence of one"
    message = "models with 0 % in all six: no generation had a domain"
    yield from listed("warning", "domains_all_zero", message, none, effect)
    message = "of those, models that have pct_english_mean, which is a share of the same generations"
    yield from listed("warning", "english_without_domain", message, english)


def _deviations(cells: _Cells) -> Iterator[Finding]:
    only_mean: list[str] = []
    only_std: list[str] = []
    filled: list[str] = []
    for stem in STEMS:
        mean, std = cells.values.get(f"{stem.name}_mean"), cells.values.get(f"{stem.name}_std")
        if std is not None and stem.ddof is None:
            filled += [f"{n}: {stem.name}_std" for n, v in zip(cells.names, std, strict=True) if v is not None]
        elif mean is not None and std is not None:
            for name, m, s in zip(cells.names, mean, std, strict=True):
                if (m is None) != (s is None):
                    (only_std if m is None else only_mean).append(f"{name}: {stem.name}")
    message = "means without their standard deviation (one generation only, or lost?)"
    yield from listed("warning", "mean_without_std", message, only_mean)
    yield from listed("warning", "std_without_mean", "standard deviations without their mean", only_std)
    message = "cells with a value where the published table is always empty: one value per model has no deviation"
    effect = "a feature that no published model has"
    yield from listed("warning", "std_of_one_value", message, filled, effect)


def _columns(cells: _Cells) -> Iterator[Finding]:
    n = len(cells.names)
    empty: list[str] = []
    by_rule: list[str] = []
    mostly, constant = [], []
    for column in cells.columns:
        if column in extended_columns() or column == RECIPE:
            continue
        known = numeric_columns().get(column)
        present = cells.present(column)
        filled = sum(bool(t.strip()) for t in cells.texts[column])
        if not filled:
            (by_rule if known is not None and known.is_always_empty else empty).append(column)
        elif 2 * filled < n:
            mostly.append(f"{column}: {n - filled:,} of {n:,}")
        if len(present) >= MODELS_FOR_PATTERN and len(set(present)) == 1:
            constant.append(f"{column}: {present[0]:g} in {len(present):,} models")
    useless = "imputing a mean fails or drops the column; trees take it for missing"
    yield from listed("warning", "empty_column", "columns without any value", empty, useless)
    effect = "learns which models have the value rather than the value"
    yield from listed("warning", "mostly_empty_column", "columns empty for most models", mostly, effect)
    effect = "no information, and scaling divides by 0"
    yield from listed("warning", "constant_column", "columns with one value only", constant, effect)
    message = "columns that are always empty: one value per model has no deviation"
    yield from listed("note", "empty_by_rule", message, by_rule, useless)


def _rows(cells: _Cells) -> Iterator[Finding]:
    without, partial = [], 0
    named_by_values: dict[tuple[float | None, ...], list[str]] = defaultdict(list)
    usable = [c for c in cells.columns if cells.present(c)]
    for i, name in enumerate(cells.names):
        values = tuple(cells.values[c][i] for c in usable)
        if all(not cells.texts[c][i].strip() for c in cells.columns):
            without.append(name)
        elif None in values:
            partial += 1
        if any(v is not None for v in values):
            named_by_values[values].append(name)
    same = [" = ".join(names) for names in named_by_values.values() if len(names) > 1]
    effect = "one set of generations counts as several models, in training and in test"
    yield from listed("warning", "duplicate_rows", "groups of rows with the same values throughout", same, effect)
    yield from listed("warning", "row_without_values", "models without any value", without, "guesses")
    if partial:
        lacking = {c: sum(v is None for v in cells.values[c]) for c in usable}
        worst = sorted((c for c in lacking if lacking[c]), key=lambda c: (-lacking[c], cells.columns.index(c)))
        message = "models that lack some value that others have; here by column, most first"
        where = tuple(f"{c}: {lacking[c]:,} of {len(cells.names):,} empty" for c in worst)
        effect = "XGBoost takes empty cells as missing; linear models and most others stop until they are filled"
        yield Finding("note", "incomplete_models", message, partial, where, effect)
