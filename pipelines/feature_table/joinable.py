"""Can this table be joined with models? What any table with an id column needs, whether or not it has published columns.

`check-features` (check.py) asks more: whether the table could replace the published one.
"""

from __future__ import annotations

from dataclasses import replace

from tagcorpus.pipelines.feature_table.check import check
from tagcorpus.pipelines.feature_table.columns import numeric_columns
from tagcorpus.pipelines.feature_table.table import FeatureTable
from tagcorpus.predictor.records.findings import Finding

# A table of one's own has none of the published columns.
NOT_NEEDED = ("missing_column",)


def faults(table: FeatureTable) -> list[Finding]:
    """The errors of `check` that matter for a join. -1 is an error in published columns only: elsewhere it may be a value."""
    return [
        f
        for f in map(_of_published_columns, check(table))
        if f.severity == "error" and f.check not in NOT_NEEDED and f.count
    ]


def _of_published_columns(finding: Finding) -> Finding:
    """A finding of -1 without the columns of one's own; any other as it is."""
    if finding.check != "minus_one":
        return finding
    where = tuple(w for w in finding.where if w.rpartition(": ")[2] in numeric_columns())
    return replace(finding, where=where, count=len(where))
