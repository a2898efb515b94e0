"""The options of `tagcorpus run features`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from tagcorpus.pipelines.options.declaring.common import (
    BACKENDS,
    ENDPOINT,
    INPUT,
    KEY_ONLY,
    OUTPUT,
    RUNNING,
    Engine,
    Options,
    file_option,
    retry_errors_option,
)
from tagcorpus.pipelines.options.declaring.declare import option, shorthand


@dataclass(frozen=True)
class FeaturesOptions(Options):
    """Make the per-model feature table from generations, in <org>/<model>/ folders or in files with a column of models (--group-by)."""

    SHORTHANDS = (
        shorthand(
            "domain.backend",
            str,
            "Backend of the domain columns, which stay empty without this option. fasttext: the embedded model, a substitute. DIR: a "
            "student that `tagcorpus distil` wrote.",
            metavar=BACKENDS,
        ),
        shorthand(
            "tokens.tokenizer",
            str,
            "Tokenizer of the token counts, which stay empty without this option: a tokenizer.json (Llama 2's), or p50k_base, a "
            "substitute.",
            metavar="NAME-or-FILE",
        ),
        *ENDPOINT,
    )
    IN_SECTIONS: ClassVar[dict[str, dict[str, str]]] = {
        "domain": {"sample": "domain_sample"},
        "entropy": {"tokenizer": "entropy_tokenizer", "pattern": "entropy_pattern", "engine": "entropy_engine"},
    }
    """Options that are also understood as keys of a section, where people look for them."""

    models: str | None = file_option(
        "YAML with `id: path` or `id: [paths]`, in place of --input and the folders' names.", metavar="FILE"
    )
    taggers: list[str] = option(
        ["length", "tokens", "keywords", "language", "repetition", "entropy", "domain"],
        "Comma-separated; `tagcorpus taggers` lists all.",
        flags=("--taggers", "-t"),
        metavar="LIST",
    )
    task: list[str] = option(
        [],
        "Only samples of this evaluation-harness task; repeatable, several are pooled. Required if a model has several tasks.",
        metavar="NAME",
        group=INPUT,
    )
    group_by: str | None = option(
        None,
        "One row for each value of a document column, such as the model's name, or for each folder, in place of one for each model folder.",
        metavar="COLUMN|level:N",
    )
    retry_errors: bool = retry_errors_option()
    domain_sample: int | None = option(
        None, "Label N kept generations of each model, chosen by --seed.", at_least=1, unit="count"
    )
    min_kept_share: float = option(
        0.5,
        "Leave a feature empty if the filter keeps a smaller share of the generations.",
        metavar="SHARE",
        at_least=0,
        at_most=1,
    )
    extended: bool = option(
        False, "More columns (intervals, medians, corrected entropies), and a Parquet file.", group=OUTPUT
    )
    token_budget: int | None = option(
        None,
        "With --extended: entropies at T tokens (default: a round number that all models have).",
        metavar="T",
        at_least=1,
        unit="count",
    )
    replicates: int = option(5, "With --extended: samples of T tokens.", flags=KEY_ONLY, at_least=1)
    append_to: str | None = option(
        None, "Also include the rows of this table.", metavar="FILE.csv", group=OUTPUT, is_path=True
    )
    allow_mixed: bool = option(
        False, "With --append-to: accept rows that were measured with other methods, and mark them.", group=OUTPUT
    )
    memory: str = option("1GB", "Resident memory of a worker.", metavar="SIZE", group=RUNNING)
    entropy_tokenizer: str = option("p50k_base", "As `tokenizer` of `run entropy`.", flags=KEY_ONLY)
    entropy_pattern: str = option("p50k_base", "As `pattern` of `run entropy`.", flags=KEY_ONLY)
    entropy_engine: Engine = option("auto", "As `engine` of `run entropy`.", flags=KEY_ONLY)
