"""The options of `tagcorpus agreement`, `tagcorpus shares` and `tagcorpus distil`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from tagcorpus.pipelines.options.declaring.common import INPUT, OUTPUT, file_option, output_option
from tagcorpus.pipelines.options.declaring.declare import as_json, option, positional


@dataclass(frozen=True)
class AgreementOptions:
    """Compare the labels of LABELS with those of GOLD: confusion matrix, precision, recall, kappa, with intervals. Each is an output
    folder, or a CSV, TSV, JSON-lines or Parquet table."""

    labels: str = positional("LABELS")
    gold: str = positional("GOLD")
    by: Literal["id", "text"] = option("id", "What identifies a document.", group=INPUT)
    column: str = option(
        "",
        "Labels of LABELS (default: domain.prediction of a folder; label, prediction, gold or domain of a table).",
        metavar="NAME",
        group=INPUT,
    )
    gold_column: str = option("", "Labels of GOLD (default: as for --column).", metavar="NAME", group=INPUT)
    within: list[str] = option(
        [],
        "Also the figures within each value of this column, or within quarters by length; repeatable.",
        metavar="COLUMN|length",
    )
    ordinal: bool = option(False, "Labels are numbers: kappa weighs an error by its squared distance.")
    repeats: list[str] = option(
        [],
        "Other labels of the same labeller, for its agreement with itself; repeatable.",
        metavar="PATH",
        group=INPUT,
        is_path=True,
    )
    output: str | None = output_option("Folder for agreement.json, matrix.csv, differences.csv and matrix.png.", None)
    seed: int = option(0, "Seed of the intervals.", at_least=0)
    as_json: bool = as_json("As JSON.")


@dataclass(frozen=True)
class SharesOptions:
    """Estimate the share of each label in a corpus, with intervals: LABELS has a student's labels of all documents, AUDIT an LLM's labels
    of a simple random sample of them. Both have the forms that agreement reads."""

    labels: str = positional("LABELS")
    audit: str | None = positional("[AUDIT]", None)
    by: Literal["id", "text"] = option("id", "What identifies a document.", group=INPUT)
    column: str = option("", "Labels of LABELS (default: as for agreement).", metavar="NAME", group=INPUT)
    audit_column: str = option("", "Labels of AUDIT (default: as for --column).", metavar="NAME", group=INPUT)
    width: float | None = option(
        None,
        "Also compute how many audit documents give intervals of this width, in percentage points.",
        metavar="POINTS",
        above=0,
        at_most=100,
    )
    draw: int | None = option(
        None, "Only draw N documents for the audit, and write them to --output.", at_least=1, unit="count"
    )
    output: str | None = output_option("The file for --draw: id and text.", None, metavar="FILE.csv")
    seed: int = option(0, "Seed of --draw.", at_least=0)
    as_json: bool = as_json("As JSON.")


@dataclass(frozen=True)
class DistilOptions:
    """Train a student, a small model that gives the labels of an LLM. LABELS are output folders of run domain or run annotate, or CSV,
    TSV, JSON-lines or Parquet tables with texts and labels. Exit 3: the student does not agree enough, and is not saved."""

    labels: list[str] = positional("LABELS...")
    output: str = output_option(
        "Folder for the student: model, student.json, README.md, figures.json, reliability.csv and .png."
    )
    column: str = option("", "The labels (default: as for agreement).", metavar="NAME", group=INPUT)
    held_out: str | None = file_option(
        "Labelled texts that judge the student, in place of a random share of LABELS. The student learns none of them.",
        metavar="PATH",
    )
    held_out_share: float = option(0.2, "Share of each label that is held out.", group=INPUT, above=0, below=1)
    min_label: int = option(10, "A label with fewer documents to learn from is not learnt.", group=INPUT, at_least=2)
    student: Literal["fasttext", "words", "encoder"] = option(
        "fasttext",
        "fasttext: trained by fastText; words: logistic regression over words and style; encoder: over an encoder's vectors.",
    )
    encoder: str = option(
        "",
        "Folder of a sentence encoder (extra hf), for words (its vectors of words) and for encoder.",
        metavar="DIR",
        is_path=True,
    )
    trials: int = option(8, "Settings to try by cross-validation.", at_least=1)
    min_kappa: float = option(0.4, "Lowest accepted kappa on all held-out documents.", at_least=-1, at_most=1)
    min_group_kappa: float = option(
        0.2, "Lowest accepted kappa within each group by language, length and --within.", at_least=-1, at_most=1
    )
    min_group: int = option(50, "Groups with fewer held-out documents are not judged.", at_least=2)
    within: list[str] = option([], "Also judge the groups of this column; repeatable.", metavar="COLUMN")
    save_anyway: bool = option(False, "Save the student even if it does not agree enough.", group=OUTPUT)
    seed: int = option(0, "Seed of the split, the search and the training.", at_least=0, below=1 << 31)
    as_json: bool = as_json("As JSON.")
