"""The options of `tagcorpus predict`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from tagcorpus.pipelines.options.declaring.common import INPUT, OUTPUT, file_option, output_option, workers_option
from tagcorpus.pipelines.options.declaring.declare import REQUIRED, as_json, option


@dataclass(frozen=True)
class PredictOptions:
    """Predict models' scores from their size, data and generations, and measure the error on unseen models."""

    db: str = option(
        REQUIRED,
        "The store: an export directory or .duckdb file.",
        flags=("--db", "--db-path"),
        metavar="DIR",
        group=INPUT,
        is_path=True,
    )
    features: str | None = file_option(
        "Per-model features (default: those in the store).", metavar="CSV", flags=("--features", "--pseudo-feats-csv")
    )
    tasks: Sequence[str] = option(
        [],
        "A published task, or BENCHMARK:SHOTS; repeatable (default: all 13).",
        flags=("--task", "--sel-tasks", "--selected-task"),
        metavar="T[,T...]",
    )
    metric: str | None = option(
        None, "Only tasks of this metric; with --task, the metric of these tasks.", metavar="NAME"
    )
    protocol: Literal["grouped", "paper"] = option(
        "", "grouped: folds split no maker. paper: the published one, default with --reproduce."
    )
    predictors: Sequence[str] = option(
        [],
        "scaling, all, no-scale; with grouped also scale-only, average, linear, log-linear, law, law-scale, trees, "
        "trees-scale, gaussian-process, declared, generated, scaling-published (default: all that fit the data).",
        flags=("--predictor", "--predictor-type"),
        metavar="NAME[,NAME...]",
    )
    select: str | None = option(
        None,
        "Selected features: a file of them, or select by this data.",
        flags=("--select", "--initial-features-csv"),
        metavar="FILE|forward|stability",
    )
    sel_features: Sequence[str] = option([], "Selected features, by name; repeatable.", metavar="F[,F...]")
    adds: Sequence[str] = option(
        [],
        "Measure what these columns add: the same learner without them, with each, and with all; repeatable.",
        metavar="F[,F...]|all-declared|all-generated",
    )
    groups: str | None = option(
        None,
        "Folds split no group of models by this column: maker, organisation (the namespace), or an annotation of the store "
        "(default: maker; with paper: organisation).",
        metavar="COLUMN",
    )
    least_models: int = option(30, "Leave out tasks with fewer models.", at_least=10)
    seed: int = option(42, "Seed of the folds whose figures are shown first.", at_least=0, below=1 << 31)
    seeds: int = option(0, "Also seeds 0 to N-1: mean, spread, tests.", at_least=0)
    test_significance: bool = option(False, "Same as --seeds 50.")
    drop_instruction_tuned: bool = option(
        True, "Base models only (default), or all.", flags=("--drop-instruction-tuned/--keep-instruction-tuned",)
    )
    merge_mmlu: bool = option(False, "Has no effect: MMLU's subjects are always one task.")
    merge_arithmetic: bool = option(False, "Also the task arithmetic: the mean of its parts.")
    hyperparam_search: bool = option(
        True,
        "Search the trees' settings in inner folds (default), or take the library's.",
        flags=("--hyperparam-search/--no-hyperparam-search",),
    )
    reproduce: bool = option(False, "The published figures: a page of all tasks, and what they show.")
    extrapolate: int | None = option(
        None, "Also predict the K largest models from the smaller ones.", metavar="K", at_least=1
    )
    new_model: str | None = option(
        None, "Also predict the model that this file annotates.", flags=("--for",), metavar="FILE.json", is_path=True
    )
    decide: bool = option(
        False, "Only predict which of two corpora makes the better model, and measure how often that is right."
    )
    target_size: str | None = option(None, "Parameters of the models that --decide is about, as in 1B.", metavar="S")
    figures: bool = option(
        False, "Also explain: SHAP, partial dependence, the paper's two findings, correlations.", group=OUTPUT
    )
    output: str | None = output_option(
        "Folder (default ./<the features' or store's stem>.tagcorpus), or only the main result: .json, .csv (predictions), "
        ".md (with --reproduce).",
        None,
        metavar="DIR-or-FILE",
    )
    verbose: bool = option(
        False, "Also print the table of predictors, the meaning of their names, and notes.", group=OUTPUT
    )
    as_json: bool = as_json("As JSON.")
    workers: int | None = workers_option()

    def __post_init__(self) -> None:
        """Take lists with commas apart, and fill in what depends on other options (but `protocol`: predict.py tells
        apart a protocol that was named)."""
        for name in ("tasks", "predictors", "sel_features", "adds"):
            parts = tuple(part for text in getattr(self, name) for part in text.split(",") if part)
            object.__setattr__(self, name, parts)
        if self.test_significance and not self.seeds:
            object.__setattr__(self, "seeds", 50)
