"""The report's section on models, or on inputs where the folder has no feature table.

The page's script makes a table that sorts and filters, a ranking of one column, and a scatter of any two columns.
"""

from __future__ import annotations

from typing import Any

from tagcorpus.pipelines.report.contents.contents import Contents
from tagcorpus.pipelines.report.contents.tables import Models
from tagcorpus.pipelines.report.sections.html import Section, chart, table, text

# Columns that are shown first, if the table has them.
FIRST = (
    "documents", "num_tokens_mean", "char_len_mean", "ttr_mean", "entropy_mean", "entropy_mean_mean", "edu_classifier_mean",
    "is_kept_pct", "pct_english_mean", "domain_web_pct_mean", "domain_code_pct_mean", "domain_web_pct", "domain_code_pct",
)  # fmt: skip
FIRST_COLUMNS = 8


def models_section(contents: Contents) -> Section | None:
    models = contents.models
    if models is None or not models.rows or not models.columns:
        return None
    return Section("models", f"{models.kind.capitalize()}s", _body(models), _data(models))


def _data(models: Models) -> dict[str, Any]:
    names = [c["name"] for c in models.columns]
    known = [names.index(n) for n in FIRST if n in names]
    # A standard deviation is of little use without its mean.
    others = [i for i, c in enumerate(models.columns) if i not in known and c["group"] != "Standard deviations"]
    first = [*known, *others][:FIRST_COLUMNS]
    varying = [i for i in (*known, *range(len(names))) if len({v[i] for _, v in models.rows} - {None}) > 1]
    return {
        "kind": models.kind,
        "columns": models.columns,
        "ids": [id_ for id_, _ in models.rows],
        "rows": [values for _, values in models.rows],
        "reasons": models.reasons,
        "intervals": {names.index(column): own for column, own in models.intervals.items()},
        "first": sorted(first),
        "scatter": ([*dict.fromkeys(varying), 0, 0])[:2],
    }


def _body(models: Models) -> str:
    many = f"{models.kind}s"
    source = (
        f"<p>Values of {text(models.source)}. An empty cell is a missing value.</p>"
        if models.kind == "model"
        else "<p>Every input is a row, because the folder has no feature table (<code>tagcorpus run features</code> makes one). "
        "An empty cell is a missing value.</p>"
    )
    several = (
        f"<h3>One column across {many}</h3><div class=controls><label>Column <select id=ranking-column></select></label></div>"
        + chart("ranking-chart", f"Each {models.kind}'s value, sorted", "<div id=ranking-table></div>")
        + "<h3>Two columns against each other</h3><div class=controls>"
        "<label>Across <select id=scatter-x></select></label><label>Up <select id=scatter-y></select></label>"
        "<label class=check><input type=checkbox id=scatter-logx> Logarithmic across</label>"
        "<label class=check><input type=checkbox id=scatter-logy> Logarithmic up</label></div>"
        "<p id=scatter-line aria-live=polite></p>"
        + chart("scatter-chart", f"One point for each {models.kind}", "<div id=scatter-table></div>")
        if len(models.rows) > 1
        else ""
    )
    filters = (
        f'<div class=controls{"" if len(models.rows) > 1 else " hidden"}><label>Filter by name <input type=search id=models-filter placeholder="part of a name" autocomplete=off></label>'
        '<label>Only where <select id=models-where><option value="">(any column)</option></select></label>'
        "<label class=short><span class=unseen>Comparison</span><select id=models-is><option value=ge>at least</option><option value=le>at most</option></select></label>"
        "<label class=short><span class=unseen>Value to compare with</span><input type=number step=any id=models-value placeholder=value></label></div>"
    )
    header = ("Measured with", "Columns", "Models")
    provenance = (
        f"<details><summary>Provenance</summary>{table('Provenance of the columns', header, models.provenance)}</details>"
        if models.provenance
        else ""
    )
    return (
        f"{source}{filters}"
        "<details id=models-columns><summary>Columns</summary><div id=models-choice></div></details>"
        f'<p id=models-line role=status></p><div class="scroll tall" tabindex=0 role=region aria-label="Table of {many}">'
        f"<table id=models-table><caption class=unseen>{many.capitalize()}, sortable by every column</caption><thead></thead><tbody></tbody></table></div>{provenance}"
        + several
    )
