"""The options of `tagcorpus report` and `check-features`."""

from __future__ import annotations

from dataclasses import dataclass

from tagcorpus.pipelines.options.declaring.common import INPUT, OUTPUT, url_options
from tagcorpus.pipelines.options.declaring.declare import as_json, option, positional


@dataclass(frozen=True)
class ReportOptions:
    """Make one HTML page of an output folder: runs and losses, features, domains, entropy, models, sampled documents."""

    output: str = positional("DIR")
    storage_options: list[str] = url_options(INPUT)
    file: str | None = option(
        None,
        "Where the page goes (default: report.html in DIR).",
        flags=("--output", "-o"),
        metavar="FILE.html",
        group=OUTPUT,
        is_path=True,
    )
    seed: int = option(0, "Seed of the choice of sampled documents.")


@dataclass(frozen=True)
class CheckFeaturesOptions:
    """Check a per-model feature CSV, and say what a predictor would choke on. Exit 1 where there are errors."""

    path: str = positional("FILE")
    against: str | None = option(
        None,
        "Another such table: shared ids, columns, and values that differ.",
        metavar="FILE",
        group=INPUT,
        is_path=True,
    )
    as_json: bool = as_json("As JSON, with every place.")
