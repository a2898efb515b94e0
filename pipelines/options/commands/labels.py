"""The options of `tagcorpus agreement` and `tagcorpus shares`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from tagcorpus.pipelines.options.declaring.common import INPUT, OUTPUT
from tagcorpus.pipelines.options.declaring.declare import as_json, option, positional


@dataclass(frozen=True)
class AgreementOptions:
    """Compare the labels of LABELS with those of GOLD: confusion matrix, precision, recall, kappa, with intervals. Each is an output
    folder, or a CSV, TSV, JSON-lines or Parquet table."""

    labels: str = positional("LABELS")
    gold: str = positional("GOLD")
    by: Literal["id", "text"] = option("id", "What tells documents apart.", group=INPUT)
    column: str = option(
        "",
        "Labels of LABELS (default: domain.prediction of a folder; label, prediction, gold or domain of a table).",
        metavar="NAME",
        group=INPUT,
    )
    gold_column: str = option("", "Labels of GOLD, in the same way.", metavar="NAME", group=INPUT)
    within: list[str] = option(
        [],
        "Also the figures within each value of this column, or within quarters by length; repeatable.",
        metavar="COLUMN|length",
    )
    ordinal: bool = option(False, "Labels are numbers, and a far miss counts more (squared weights).")
    repeats: list[str] = option(
        [],
        "Further labellings by the labeller of LABELS, for its agreement with itself; repeatable.",
        metavar="PATH",
        group=INPUT,
        is_path=True,
    )
    output: str | None = option(
        None,
        "Folder for agreement.json, matrix.csv, differences.csv and matrix.png.",
        flags=("--output", "-o"),
        metavar="DIR",
        group=OUTPUT,
        is_path=True,
    )
    seed: int = option(0, "Seed of the intervals.")
    as_json: bool = as_json("As JSON.")


@dataclass(frozen=True)
class SharesOptions:
    """Say which share of a corpus has each label, with intervals: LABELS has a student's labels of all documents, AUDIT an LLM's labels
    of a simple random sample of them. Both as for agreement."""

    labels: str = positional("LABELS")
    audit: str | None = positional("[AUDIT]", None)
    by: Literal["id", "text"] = option("id", "What tells documents apart.", group=INPUT)
    column: str = option("", "Labels of LABELS, as for agreement.", metavar="NAME", group=INPUT)
    audit_column: str = option("", "Labels of AUDIT, in the same way.", metavar="NAME", group=INPUT)
    width: float | None = option(
        None,
        "Also the audit documents needed for intervals of this width, in percentage points.",
        metavar="POINTS",
        above=0,
    )
    draw: int | None = option(None, "Instead: draw N documents for the audit, into --output.", at_least=1)
    output: str | None = option(
        None,
        "The file for --draw: id and text.",
        flags=("--output", "-o"),
        metavar="FILE.csv",
        group=OUTPUT,
        is_path=True,
    )
    seed: int = option(0, "Seed of --draw.")
    as_json: bool = as_json("As JSON.")
