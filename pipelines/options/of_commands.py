"""The commands, and the options of all that are not pipelines: `tagcorpus COMMAND --help` is made from this page.

A command's fields are the keywords of the function that it calls; that function returns the text to print, or text and exit
code.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from tagcorpus.pipelines.options.declare import REQUIRED, as_json, option, positional
from tagcorpus.pipelines.options.of_pipelines import CLUSTER, INPUT, OPTIONS, OUTPUT, RUNNING, url_options

SHORT = {
    "tag": "Add columns of taggers, and a summary of each.",
    "filter": "Write kept and removed rows in the input's own format.",
    "domain": "Label every document with its domain.",
    "entropy": "Next-token entropy of the corpus and of every document.",
    "features": "Generations of many models to the per-model feature table.",
}


@dataclass(frozen=True)
class TaggersOptions:
    """List the taggers, or describe one: columns with units and sources, parameters."""

    name: str | None = positional("[NAME]", None, is_path=False)
    tagger_module: list[str] = option(
        [], "Also the tagger in this file; repeatable.", metavar="FILE.py", group=INPUT, is_path=True
    )


@dataclass(frozen=True)
class StatusOptions:
    """Say how far the runs of an output folder are: chunks done, what is running, how the last run ended."""

    output: str = positional("DIR")
    storage_options: list[str] = url_options(INPUT)
    as_json: bool = as_json("As JSON.")


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


@dataclass(frozen=True)
class StoreCheckOptions:
    """List orphans, conflicts, zeros, NaN, -1 and what is missing. Exit 1 where there are errors."""

    path: str = positional("DB")
    as_json: bool = as_json("As JSON, with every place.")


@dataclass(frozen=True)
class StoreShowOptions:
    """Say what the store holds, or what it knows of the model ID."""

    path: str = positional("DB")
    model: str | None = positional("[ID]", None, is_path=False)
    as_json: bool = as_json("As JSON.")


@dataclass(frozen=True)
class StoreQueryOptions:
    """Print the rows of one SELECT. `DESCRIBE evaluation_results` gives columns; nothing can be changed."""

    path: str = positional("DB")
    sql: str = positional("SQL", is_path=False)
    form: Literal["table", "csv", "json"] = option(
        "table", "How the rows are printed.", flags=("--format",), group=OUTPUT
    )


@dataclass(frozen=True)
class StoreImportOptions:
    """Bring in scores, annotations and feature tables: all FILEs, or none. A folder stands for the files below it."""

    path: str = positional("DB.duckdb")
    files: list[str] = positional("FILE...")
    model_id: str | None = option(
        None, "The model of results files that do not say it themselves.", metavar="ID", group=INPUT
    )
    shots: int | None = option(
        None, "Examples in the prompt, of files that do not say it.", metavar="N", group=INPUT, at_least=0
    )
    on_conflict: Literal["refuse", "keep", "replace"] = option(
        "refuse",
        "Where the store has another value: import nothing, keep the stored one, or take the new one.",
        group=OUTPUT,
    )
    create: bool = option(False, "Start an empty store where DB.duckdb is not there.", group=OUTPUT)
    dry_run: bool = option(False, "Say what each file is and what would become of it; write nothing.", group=OUTPUT)
    as_json: bool = as_json("As JSON, with every conflict.")


@dataclass(frozen=True)
class StoreExportOptions:
    """Write DB as OUT: NAME.duckdb, NAME.csv (its feature table), or an export directory. OUT must not be there."""

    path: str = positional("DB")
    output: str = positional("OUT")


@dataclass(frozen=True)
class PredictOptions:
    """Predict models' scores from their size, data and generations, and say how well that works."""

    db: str = option(
        REQUIRED,
        "The store: an export directory or .duckdb file.",
        flags=("--db", "--db-path"),
        metavar="DIR",
        group=INPUT,
        is_path=True,
    )
    features: str | None = option(
        None,
        "Per-model features (else those in the store).",
        flags=("--features", "--pseudo-feats-csv"),
        metavar="CSV",
        group=INPUT,
        is_path=True,
    )
    tasks: Sequence[str] = option(
        [],
        "A published task, or BENCHMARK:SHOTS; repeatable (default: all 13).",
        flags=("--task", "--sel-tasks", "--selected-task"),
        metavar="T[,T...]",
    )
    metric: str | None = option(None, "Only tasks of this metric; with --task: score them by it.", metavar="NAME")
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
        "What these columns add: the same learner with and without each of them, and all; repeatable.",
        metavar="F[,F...]|all-declared|all-generated",
    )
    groups: str | None = option(
        None,
        "Folds split no group of models by this column: maker, organisation (the namespace), or an annotation of the store "
        "(default: maker; with paper: organisation).",
        metavar="COLUMN",
    )
    least_models: int = option(30, "Fewest models of a task.", at_least=10)
    seed: int = option(42, "Seed of the folds whose figures are shown first.")
    seeds: int = option(0, "Also seeds 0 to N-1: mean, spread, tests.")
    test_significance: bool = option(False, "Short for --seeds 50.")
    drop_instruction_tuned: bool = option(
        True, "Base models only (default), or all.", flags=("--drop-instruction-tuned/--keep-instruction-tuned",)
    )
    merge_mmlu: bool = option(False, "One task for MMLU's subjects; always so.")
    merge_arithmetic: bool = option(False, "Also the task arithmetic: the mean of its parts.")
    hyperparam_search: bool = option(
        True,
        "Search the trees' settings in inner folds (default), or take the library's.",
        flags=("--hyperparam-search/--no-hyperparam-search",),
    )
    reproduce: bool = option(False, "The published figures: a page of all tasks, and what they show.")
    extrapolate: int | None = option(None, "Also predict the K largest models from the smaller ones.", metavar="K")
    new_model: str | None = option(
        None, "Also predict the model that this file annotates.", flags=("--for",), metavar="FILE.json", is_path=True
    )
    decide: bool = option(False, "Instead: which of two corpora makes the better model, and how often that is right.")
    target_size: str | None = option(None, "Parameters of the models that --decide is about, as in 1B.", metavar="S")
    figures: bool = option(
        False, "Also explain: SHAP, partial dependence, the paper's two findings, correlations.", group=OUTPUT
    )
    output: str | None = option(
        None,
        "Folder (default ./<the features' or store's stem>.tagcorpus), or only the main result: .json, .csv (predictions), "
        ".md (with --reproduce).",
        flags=("--output", "-o"),
        metavar="DIR-or-FILE",
        group=OUTPUT,
        is_path=True,
    )
    as_json: bool = as_json("As JSON.")
    workers: int | None = option(
        None,
        "Worker processes (default: the CPUs this process may use).",
        flags=("--workers", "-w"),
        group=RUNNING,
        at_least=1,
    )

    def __post_init__(self) -> None:
        """Take lists with commas apart, and fill in what depends on other options (but `protocol`: predict.py tells
        apart a protocol that was named)."""
        for name in ("tasks", "predictors", "sel_features", "adds"):
            parts = tuple(part for text in getattr(self, name) for part in text.split(",") if part)
            object.__setattr__(self, name, parts)
        if self.test_significance and not self.seeds:
            object.__setattr__(self, "seeds", 50)


@dataclass(frozen=True)
class DoctorOptions:
    """Check the installation, and what you name: EXTRAs, an output, an endpoint, a cluster. Exit 1 if it is broken."""

    extras: list[str] = positional("[EXTRA]...", [], is_path=False)
    output: str | None = option(
        None,
        "Also: can this folder be written, and is there space?",
        flags=("--output", "-o"),
        metavar="DIR",
        group=OUTPUT,
        is_path=True,
    )
    storage_options: list[str] = url_options(OUTPUT)
    as_json: bool = as_json("As JSON.")
    base_url: str | None = option(
        None,
        "Also: does this LLM endpoint answer? (Else OPENAI_BASE_URL, where it is set.)",
        metavar="URL",
        group=RUNNING,
    )
    llm_cache: str | None = option(
        None,
        "Where LLM answers are kept (default: the user's cache folder).",
        metavar="FILE",
        group=RUNNING,
        is_path=True,
    )
    offline: bool = option(False, "No network checks.", group=RUNNING)
    ray: bool = option(False, "Also: is a Ray cluster there, with the same versions on every node?", group=CLUSTER)
    ray_address: str | None = option(
        None, "The cluster to look at (else RAY_ADDRESS, or auto).", metavar="ADDRESS", group=CLUSTER
    )


@dataclass(frozen=True)
class ConfigOptions:
    """Print the effective configuration of PIPELINE (tag, filter, domain, entropy, features) as YAML, for --config."""

    pipeline: str = positional("PIPELINE", is_path=False)
    config_file: str | None = option(
        None,
        "Settings of a file over the packaged ones.",
        flags=("--config",),
        metavar="FILE",
        group=INPUT,
        is_path=True,
    )
    sets: list[str] = option(
        [], "A setting over these; repeatable.", flags=("--set",), metavar="KEY=VALUE", group=INPUT
    )


@dataclass(frozen=True)
class Command:
    """One command of the tree.

    words    its name, with the name of its group before it
    options  the class of its options, whose docstring says what the command does
    calls    module:function; "" for a pipeline
    is_data  its output is data for other programs, written as it is where standard output is no terminal
    """

    words: tuple[str, ...]
    options: type[Any]
    calls: str = ""
    short: str = ""
    is_data: bool = False

    @property
    def pipeline(self) -> str:
        """Its name where it is a pipeline, else ""."""
        return "" if self.calls else self.words[-1]


GROUP_HELP = {
    ("run",): (
        "Read documents and run a pipeline over them.",
        "Read documents: tag, filter, domain, entropy, features.",
    ),
    ("store",): (
        "Models, their pretraining data and their scores: a DuckDB export directory, or a .duckdb file.",
        "Models, their pretraining data and their scores.",
    ),
}
CONSOLE = "tagcorpus.pipelines.doctor"
STORE = "tagcorpus.pipelines.store"
COMMANDS = (
    *(Command(("run", name), options, short=SHORT[name]) for name, options in OPTIONS.items()),
    Command(("taggers",), TaggersOptions, f"{CONSOLE}.tagger_pages:taggers", "List the taggers, or describe one."),
    Command(("status",), StatusOptions, f"{CONSOLE}.status:report", "Say how far the runs of an output folder are."),
    Command(("report",), ReportOptions, "tagcorpus.pipelines.report:report", "Make one HTML page of an output folder."),
    Command(
        ("check-features",),
        CheckFeaturesOptions,
        "tagcorpus.pipelines.feature_table.check:report",
        "Check a per-model feature CSV.",
    ),
    Command(("store", "check"), StoreCheckOptions, f"{STORE}:check"),
    Command(("store", "show"), StoreShowOptions, f"{STORE}:show"),
    Command(("store", "query"), StoreQueryOptions, f"{STORE}:query", is_data=True),
    Command(
        ("store", "import"),
        StoreImportOptions,
        f"{STORE}:import_",
        "Bring in results, annotations and feature tables.",
    ),
    Command(
        ("store", "export"),
        StoreExportOptions,
        f"{STORE}:export",
        "Write DB as a .duckdb file, a directory, or its features as .csv.",
    ),
    Command(
        ("predict",),
        PredictOptions,
        "tagcorpus.pipelines.predict:command",
        "Predict models' scores, and say how well that works.",
    ),
    Command(
        ("doctor",),
        DoctorOptions,
        f"{CONSOLE}.doctor:command",
        "Check the installation: what is broken, and how to mend it.",
    ),
    Command(
        ("config",), ConfigOptions, "tagcorpus.pipelines.terminal:config", "Print all settings of a pipeline as YAML."
    ),
)
