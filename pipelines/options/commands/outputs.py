"""The options of `tagcorpus report`, `audit`, `compare`, `check-features`, `export` and `join`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from tagcorpus.pipelines.options.declaring.common import (
    INPUT,
    OUTPUT,
    file_option,
    output_option,
    taggers_option,
    url_options,
    workers_option,
)
from tagcorpus.pipelines.options.declaring.declare import REQUIRED, as_json, option, positional


def cluster_option() -> Any:
    """`--cluster` of commands with intervals over documents."""
    return option(
        None,
        "Intervals over clusters of documents, not over documents: a column, or input for files.",
        metavar="COLUMN|input",
    )


def where_option() -> Any:
    """`--where` of commands that read attributes."""
    return option(
        None,
        'Only documents for which this condition over the columns holds, as for run filter: "repetition.is_kept".',
        metavar="SQL",
        group=INPUT,
    )


@dataclass(frozen=True)
class ReportOptions:
    """Make one HTML page of an output folder: runs and lost rows, features, domains, entropy, models, sampled documents; or of
    the folder of a mix, a swarm, a trained model or a fit."""

    output: str = positional("DIR")
    storage_options: list[str] = url_options(INPUT)
    file: str | None = output_option("Where the page goes (default: report.html in DIR).", None, metavar="FILE.html")
    seed: int = option(0, "Seed of the choice of sampled documents.", at_least=0)


@dataclass(frozen=True)
class AuditOptions:
    """Measure how a numeric column of an output depends on source, language, length and domain. Writes DIR/audit/COLUMN.json."""

    output: str = positional("DIR")
    column: str = option(REQUIRED, "The column to audit, as instance.column.", metavar="COLUMN", group=INPUT)
    by: list[str] = option(
        [],
        "Also group by this: a column, input (each file), or level:N (folders); repeatable.",
        metavar="COLUMN|level:N",
    )
    against: str | None = option(None, "Also the rank agreement with this numeric column.", metavar="COLUMN")
    gold: str | None = file_option(
        "Also the rank agreement with a table of gold labels: id, or input and row, and a column of numbers (.csv, .jsonl, .parquet).",
        metavar="FILE",
    )
    where: str | None = where_option()
    cluster: str | None = cluster_option()
    top: str = option(
        "10%", "Share of documents with the highest values, among which each group is counted.", metavar="N%"
    )
    floor: float = option(
        0.05, "Smallest difference that a verdict counts, in standard deviations.", metavar="SD", at_least=0
    )
    as_json: bool = as_json("As JSON.")
    storage_options: list[str] = url_options(INPUT)


@dataclass(frozen=True)
class CompareOptions:
    """Compare two sets of documents, column by column: outputs A and B, or groups of A. Writes A/compare/."""

    a: str = positional("A")
    b: str | None = positional("[B]", None)
    groups: list[str] = option(
        [],
        "Without B: compare this group of A with a second one, or with all other documents: a column, input (file), or level:N.",
        flags=("--group",),
        metavar="COLUMN=VALUE",
        group=INPUT,
    )
    columns: list[str] = option(
        [], "Compare these columns only; comma-separated or repeatable.", metavar="COLUMNS", group=INPUT
    )
    where: str | None = where_option()
    cluster: str | None = cluster_option()
    floor: float = option(
        0.05, "Smallest effect that counts: delta, distance in standard deviations, share moved.", at_least=0
    )
    documents: int = option(2, "Example documents of each side for each difference.", at_least=0, group=OUTPUT)
    as_json: bool = as_json("As JSON.")
    storage_options: list[str] = url_options(INPUT)


@dataclass(frozen=True)
class CheckFeaturesOptions:
    """Check a per-model feature CSV for what a predictor cannot use. Exit 1 if there are errors."""

    path: str = positional("FILE")
    against: str | None = file_option(
        "Another such table: shared ids, columns, and values that differ.", metavar="FILE"
    )
    as_json: bool = as_json("As JSON, with every place.")


@dataclass(frozen=True)
class ExportOptions:
    """Write the documents of an output folder with their tags: to OUT.jsonl, OUT.jsonl.zst, OUT.jsonl.gz or OUT.parquet, or to a
    folder that Hugging Face datasets or Dolma reads."""

    output: str = positional("DIR")
    target: str = positional("OUT")
    form: Literal["dataset", "dolma"] = option(
        "",
        "dataset: a folder with Parquet and a card, for load_dataset; dolma: attributes in Dolma's format.",
        flags=("--format",),
        group=OUTPUT,
    )
    taggers: list[str] = taggers_option()
    storage_options: list[str] = url_options(OUTPUT)


@dataclass(frozen=True)
class JoinOptions:
    """Give NEWDATA the tags that the output folder TAGS has for the same documents: after a deduplication, a reshuffle, or a cut
    into other files. Exit 3 if no document joined."""

    data: str = positional("NEWDATA")
    tags: str = positional("TAGS")
    output: str = output_option("The new output folder.")
    by: Literal["text", "id"] = option("text", "What identifies a document.", group=INPUT)
    taggers: list[str] = taggers_option()
    text_column: str = option("", "Column with the text of NEWDATA.", metavar="NAME", group=INPUT)
    id_column: str = option("", "Column with the id of NEWDATA.", metavar="NAME", group=INPUT)
    workers: int | None = workers_option()
