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
    retry_errors_option,
)
from tagcorpus.pipelines.options.declaring.declare import option, shorthand


@dataclass(frozen=True)
class FeaturesOptions(Options):
    """Generations of many models, in <org>/<model>/ folders, to the per-model feature table."""

    SHORTHANDS = (
        shorthand(
            "domain.backend",
            str,
            "Backend of the domains, which are left empty without one; fasttext: the embedded model, a substitute; DIR: a student "
            "that `tagcorpus distil` wrote.",
            metavar=BACKENDS,
        ),
        shorthand(
            "tokens.tokenizer",
            str,
            "Tokenizer of the token counts, which are left empty without one: a tokenizer.json (Llama 2's), or p50k_base, a "
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

    models: str | None = option(
        None,
        "YAML, id: path or paths, in the place of --input and of folders' names.",
        metavar="FILE",
        group=INPUT,
        is_path=True,
    )
    taggers: list[str] = option(
        ["length", "tokens", "keywords", "language", "repetition", "entropy", "domain"],
        "Comma-separated.",
        flags=("--taggers", "-t"),
        metavar="LIST",
    )
    task: list[str] = option(
        [],
        "Only samples of this task of the evaluation harness; repeatable, several are pooled. Needed where a model has several.",
        metavar="NAME",
        group=INPUT,
    )
    group_by: str | None = option(
        None,
        "A row for each value of a document column, or each folder, not for each model.",
        metavar="COLUMN|level:N",
    )
    retry_errors: bool = retry_errors_option()
    domain_sample: int | None = option(
        None, "Label N kept generations of each model, chosen by --seed.", at_least=1, unit="count"
    )
    min_kept_share: float = option(
        0.5,
        "Leave a feature empty where the filter keeps fewer of its generations.",
        metavar="SHARE",
        at_least=0,
        at_most=1,
    )
    extended: bool = option(
        False, "Further columns (intervals, medians, corrected entropies), and a Parquet.", group=OUTPUT
    )
    token_budget: int | None = option(
        None,
        "extended: entropies at T tokens (default: a round number that all models have).",
        metavar="T",
        at_least=1,
        unit="count",
    )
    replicates: int = option(5, "extended: number of samples of T tokens.", flags=KEY_ONLY, at_least=1)
    append_to: str | None = option(
        None, "Unite with the rows of this table.", metavar="FILE.csv", group=OUTPUT, is_path=True
    )
    allow_mixed: bool = option(False, "Also rows that were measured with other methods; they are marked.", group=OUTPUT)
    memory: str = option("1GB", "Resident memory of a worker.", metavar="SIZE", group=RUNNING)
    entropy_tokenizer: str = option("p50k_base", "As `tokenizer` of `run entropy`.", flags=KEY_ONLY)
    entropy_pattern: str = option("p50k_base", "As `pattern` of `run entropy`.", flags=KEY_ONLY)
    entropy_engine: Engine = option("auto", "As `engine` of `run entropy`.", flags=KEY_ONLY)
