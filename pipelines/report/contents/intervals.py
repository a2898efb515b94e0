"""95 % confidence intervals of the columns of the report's table.

A feature table has them in its `_low95` and `_high95` columns (`run features --extended`). Without these columns, its domain
shares get Wilson's interval from the label counts of the provenance. In a table of inputs, means get Student's t and shares get
Wilson's interval.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from tagcorpus.pipelines.counting.intervals import around, wilson
from tagcorpus.pipelines.labelling.label_counts import LEFT_OUT
from tagcorpus.pipelines.report.contents.sample import Moments

Interval = tuple[float, float] | None
Values = Mapping[str, Sequence[float | None]]


def of_table(ids: Sequence[str], values: Values, models: Mapping[str, Any]) -> dict[str, list[Interval]]:
    """values: by column, a value per id. models: entries of the provenance by id."""
    intervals: dict[str, list[Interval]] = {}
    for column in values:
        base = column.removesuffix("_mean")
        low, high = values.get(f"{base}_low95"), values.get(f"{base}_high95")
        if column.endswith("_std") or base.endswith(("_low95", "_high95")):
            continue
        if low is not None and high is not None:
            intervals[column] = [_both(a, b) for a, b in zip(low, high, strict=True)]
        elif base.startswith("domain_") and base.endswith("_pct"):
            domain = base.removeprefix("domain_").removesuffix("_pct")
            labels = [models.get(m, {}).get("counts", {}).get("labels", {}) for m in ids]
            intervals[column] = [of_label(domain, counts) for counts in labels]
    return {column: own for column, own in intervals.items() if any(own)}


def of_label(label: str, counts: Mapping[str, int]) -> Interval:
    """The interval of one label's percentage among the labels that count; counts: documents per label."""
    return _both(*wilson(counts.get(label, 0), sum(n for other, n in counts.items() if other not in LEFT_OUT)))


def of_moments(moments: Moments | None, is_share: bool) -> Interval:
    """The interval of a mean, or of a flag's percentage of true."""
    if moments is None or not moments.n:
        return None
    if is_share:
        return _both(*wilson(round(moments.mean * moments.n), moments.n))
    error = None if moments.std is None else moments.std / math.sqrt(moments.n)
    return _both(*around(moments.mean, error, moments.n))


def _both(low: float | None, high: float | None) -> Interval:
    return None if low is None or high is None else (low, high)
