"""The options of `tagcorpus agreement`."""

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
