"""The options of `tagcorpus run PIPELINE`. Every pipeline has those of `Options`, and its own class adds further ones."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from tagcorpus.pipelines.options.declare import Group, Option, fields_of, option, section, shorthand
from tagcorpus.pipelines.options.dialect import Dialect

Backend = Literal["auto", "openai", "fasttext"]
Engine = Literal["auto", "tiktoken", "gigatoken"]
INPUT: Group = "Input"
OUTPUT: Group = "Output"
RUNNING: Group = "Running"
CLUSTER: Group = "Cluster"
KEY_ONLY = ()
"""The flags of an option that only `--set` and `--config` know."""
URL_OPTIONS = "For s3://, gs:// and other URLs: endpoint_url=URL, profile=NAME, anon=true; repeatable."


def url_options(group: Group) -> Any:
    """`--storage-options` of a command that is no pipeline."""
    return option([], URL_OPTIONS, metavar="K=V", group=group, is_secret=True)


def retry_errors_option() -> Any:
    """`--retry-errors` of a pipeline that asks an LLM."""
    return option(False, "Ask again about the documents that got no label, and about no others.", group=RUNNING)


@dataclass(frozen=True)
class SlurmOptions:
    """The section `slurm`, for the executor of that name. A null is the cluster's own default."""

    wait: bool = option(
        False,
        "slurm: wait for the finish job, or exit 0 once submitted (default). More: --set slurm.KEY=VALUE.",
        flags=("--wait/--detach",),
        group=CLUSTER,
    )
    poll_seconds: float = option(
        10,
        "While waiting: seconds between two looks at the queue.",
        flags=KEY_ONLY,
        group=CLUSTER,
        at_least=0,
        below=10_000,
    )
    partition: str | None = option(None, "Partition of the tasks.", flags=KEY_ONLY, group=CLUSTER)
    account: str | None = option(None, "Account of the tasks.", flags=KEY_ONLY, group=CLUSTER)
    qos: str | None = option(None, "Quality of service of the tasks.", flags=KEY_ONLY, group=CLUSTER)
    hours: float | None = option(
        None, "Time limit of a task, in hours.", flags=KEY_ONLY, group=CLUSTER, above=0, below=10_000
    )
    cpus_per_task: int = option(1, "Worker processes of a task.", flags=KEY_ONLY, group=CLUSTER, at_least=1)
    mem_per_cpu_gb: int = option(2, "Memory of a worker process, in GB.", flags=KEY_ONLY, group=CLUSTER, at_least=1)
    max_array: int = option(
        1000,
        "Tasks of the array at most. A cluster's MaxArraySize is 1001 unless set.",
        flags=KEY_ONLY,
        group=CLUSTER,
        at_least=1,
    )
    workers: int | None = option(
        None, "Tasks at once at most; null: as many as there is room for.", flags=KEY_ONLY, group=CLUSTER, at_least=1
    )
    env_command: str | None = option(
        None,
        "Shell line that puts the right python on the PATH; null: the launcher's python, by its full path.",
        flags=KEY_ONLY,
        group=CLUSTER,
    )


@dataclass(frozen=True)
class Options:
    """What every pipeline that reads documents can be told."""

    SHORTHANDS: ClassVar[tuple[Option, ...]] = ()
    PARAMETERS: ClassVar[dict[str, dict[str, Any]]] = {}
    """Parameters of taggers that differ from the taggers' own defaults in this pipeline."""

    input: list[str] = option(
        [],
        "File, folder, glob, URL, or - for standard input. Several: one after the other, or repeat.",
        flags=("--input", "-i"),
        metavar="[LABEL=]PATH",
        group=INPUT,
        is_path=True,
    )
    text_column: str = option(
        "",
        "Where the text is: a name, a.b, or messages[*].content (default text, content, raw_content).",
        metavar="NAME",
        group=INPUT,
    )
    id_column: str = option(
        "", "Where the id is (default id, else doc_id, else <path>:<row>).", metavar="NAME", group=INPUT
    )
    limit: int | None = option(None, "Only the first N rows.", flags=("--limit", "--num-docs"), group=INPUT, at_least=1)
    sample: float | None = option(
        None,
        "Only this share of the rows, chosen by --seed.",
        metavar="FRACTION",
        group=INPUT,
        above=0,
        at_most=1,
    )
    seed: int = option(0, "Seed of --sample, and of whatever else is chosen by chance.", group=INPUT)
    glob: list[str] = option([], "In folders, only paths that match; repeatable.", metavar="PATTERN", group=INPUT)
    exclude: list[str] = option([], "In folders, no path that matches; repeatable.", metavar="PATTERN", group=INPUT)
    resps_format: bool = option(
        False, "Evaluation-harness samples: the text is resps[i][j] (also noticed by itself).", group=INPUT
    )
    input_format: str = option(
        "",
        "Format of files whose names do not say (part-00000): jsonl, csv, tsv, parquet, arrow, jsonl.gz, ...",
        metavar="FORMAT",
        group=INPUT,
    )
    csv: Dialect = section(Dialect)
    storage_options: dict[str, Any] = option(
        {},
        URL_OPTIONS,
        metavar="K=V",
        group=INPUT,
        is_secret=True,
    )
    max_line_bytes: int = option(
        32 << 20, "Longer lines go to quarantine unread.", flags=KEY_ONLY, group=INPUT, at_least=16
    )
    chunk_bytes: int = option(
        64 << 20,
        "Bytes of input that are computed, published and resumed as one. Fixed for an output folder.",
        flags=KEY_ONLY,
        group=INPUT,
        old_names=("shard_bytes",),
        at_least=1024,
    )
    output: str | None = option(
        None,
        "Output folder (default ./<first input's stem>.tagcorpus). Or a file, that the main result goes to as well: .csv or "
        ".parquet for the table, .json for the summary.",
        flags=("--output", "-o"),
        metavar="DIR-or-FILE",
        group=OUTPUT,
        is_path=True,
    )
    work: str | None = option(
        None,
        "With an --output that is a file: the output folder (default as above).",
        metavar="DIR",
        group=OUTPUT,
        is_path=True,
    )
    json: bool = option(False, "The result as JSON on standard output.", group=OUTPUT)
    max_quarantined: float | None = option(
        None,
        "How many rows may be unusable, as a share below 1 or a count; above it exit 3 (default: the larger of 10 rows and "
        "1 %).",
        group=OUTPUT,
        at_least=0,
    )
    strict_text: bool = option(
        False,
        "Exit 2 before the work if the first rows of any file have no text (default: name the file and go on).",
        group=INPUT,
    )
    allow_empty: bool = option(
        False,
        "Exit 0, not 3, if the input holds no document; for jobs that may have nothing to do.",
        group=INPUT,
    )
    overwrite: bool = option(False, "Compute anew what is there already (LLM answers stay cached).", group=OUTPUT)
    dry_run: bool = option(False, "Plan, sizes and cost; nothing is written.", group=RUNNING)
    workers: int | None = option(
        None,
        "Worker processes (default: the CPUs this process may use).",
        flags=("--workers", "-w"),
        group=RUNNING,
        at_least=1,
    )
    tagger_module: list[str] = option(
        [],
        "A tagger of your own in one file, used by the file's name; repeatable.",
        metavar="FILE.py",
        group=RUNNING,
        is_path=True,
    )
    executor: Literal["local", "ray", "slurm"] = option("local", "Where the work is done.", group=CLUSTER)
    ray_address: str | None = option(
        None,
        "auto, host:port or ray://... (else RAY_ADDRESS, else a cluster started here).",
        metavar="ADDRESS",
        group=CLUSTER,
    )
    num_gpus: float = option(
        0,
        "Ray: GPUs of each worker; 0.5: two workers share one. Other executors use the device that they find.",
        flags=KEY_ONLY,
        group=CLUSTER,
        at_least=0,
    )
    slurm: SlurmOptions = section(SlurmOptions)
    parameters: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Parameters of tagger instances, by instance name."""
    from_environment: list[str] = field(default_factory=list)
    """Keys of values that nobody gave, and that variables of the environment decided."""

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Options:
        """Options from `dataclasses.asdict` of them, by this version or an earlier one that has fewer."""
        new_names = {old: o.key for o in fields_of(cls) for old in o.declaration.old_names}
        values = {new_names.get(name, name): value for name, value in values.items()}
        sections: dict[str, Any] = {"slurm": SlurmOptions, "csv": Dialect}
        return cls(**values | {name: section_cls(**values.get(name, {})) for name, section_cls in sections.items()})


SETTINGS = (
    shorthand(
        "config",
        str,
        "YAML of options (tagcorpus config PIPELINE prints all); --set and options win over it.",
        metavar="FILE",
        group=RUNNING,
        is_path=True,
    ),
    shorthand(
        "set",
        list[str],
        "Any key of the configuration, also of a tagger: tokens.tokenizer=cl100k_base; repeatable.",
        metavar="KEY=VALUE",
        group=RUNNING,
    ),
)
"""Flags of every pipeline that say where further options are."""
ENDPOINT = (
    shorthand("domain.base_url", str, "OpenAI-compatible endpoint (else OPENAI_BASE_URL).", metavar="URL"),
    shorthand(
        "domain.model", str, "Model name at the endpoint (default: the stage tree's, gpt-4o-mini).", metavar="NAME"
    ),
    shorthand(
        "domain.max_requests",
        int,
        "Stop with exit 5 before all runs on the output have sent more requests than this.",
        default=10_000,
    ),
)


@dataclass(frozen=True)
class TagOptions(Options):
    """Add tagger columns as attributes beside the documents, with a summary of every column."""

    taggers: list[str] = option(
        ["length", "tokens", "keywords", "language", "repetition"],
        "Comma-separated; tagcorpus taggers lists all. NAME=TAGGER gives one a name of its own.",
        flags=("--taggers", "--feature", "-t"),
        metavar="LIST",
    )


@dataclass(frozen=True)
class FilterOptions(Options):
    """Write kept and removed rows in the input's own format, to DIR/filtered/; removed ones say why."""

    keep: str = option("repetition.is_kept", "The boolean column that decides.", metavar="INSTANCE.COLUMN")
    where: str | None = option(
        None,
        "Instead: a condition over the columns that are there, \"language = 'en' AND ttr > 0.2\".",
        metavar="SQL",
    )


@dataclass(frozen=True)
class DomainOptions(Options):
    """Label every document with its domain."""

    SHORTHANDS = (
        shorthand(
            "domain.backend",
            Backend,
            "auto: openai when an endpoint is configured, else the embedded fastText model. With more than 1,000 calls to make, "
            "name openai, or an endpoint: a variable of the environment is not enough.",
            default="auto",
        ),
        *ENDPOINT,
        shorthand("domain.tree", str, "A stage tree of your own (YAML).", metavar="FILE", is_path=True),
        shorthand("domain.concurrency", int, "Calls in flight.", default=64),
        shorthand(
            "domain.patience",
            float,
            "Seconds without any answer after which a run gives up on a busy or absent server.",
            metavar="SECONDS",
            default=600,
        ),
        shorthand("domain.rpm", int, "Requests a minute at most (default: no limit)."),
        shorthand("domain.tpm", int, "Tokens of prompts (estimated) a minute at most (default: no limit)."),
        shorthand(
            "domain.llm_cache",
            str,
            "Where answers are kept (default: the user's cache folder).",
            metavar="FILE",
            is_path=True,
        ),
        shorthand("domain.llm_cache", str, "Keep no answers.", constant="none", flags=("--no-llm-cache",)),
    )
    PARAMETERS = {"domain": {"backend": "auto"}}  # noqa: RUF012 - read only

    with_text: bool = option(False, "Add the text to predicted_domains.csv.", group=OUTPUT)
    retry_errors: bool = retry_errors_option()


@dataclass(frozen=True)
class EntropyOptions(Options):
    """Next-token entropy of every n-gram context of the corpus, and of every document. --ngram 1 is bigram entropy."""

    SHORTHANDS = (
        shorthand("token_cache", bool, "Keep no token ids in the output.", constant=False, flags=("--no-token-cache",)),
        shorthand("entropy-lm.model", str, "lm: a Hugging Face model's name, or its folder.", metavar="NAME"),
    )

    ngram: int = option(
        1, "Tokens of context: 1 is bigram entropy, 2 trigram entropy.", flags=("--ngram", "-n"), metavar="N"
    )
    method: Literal["counts", "lm"] = option(
        "counts", "counts: of the corpus itself; lm: of a causal language model's predictions (section entropy-lm)."
    )
    tokenizer: str = option(
        "p50k_base",
        "A tiktoken encoding, a ranks file (*.tiktoken), or a Hugging Face tokenizer.json.",
        metavar="NAME-or-FILE",
    )
    pattern: str = option(
        "p50k_base", "For a ranks file: the encoding whose split pattern goes with it.", flags=KEY_ONLY
    )
    engine: Engine = option("auto", "What computes the token ids; both give the same ids.", flags=KEY_ONLY)
    memory: str = option("1GB", "Resident memory of a worker, whatever the corpus.", metavar="SIZE", group=RUNNING)
    contexts: bool = option(False, "Also the table of all contexts, as Parquet.", group=OUTPUT)
    token_budget: int | None = option(
        None,
        "Also the same figures of random samples of whole documents of T tokens: corpora of unequal size compare.",
        metavar="T",
        at_least=1,
    )
    replicates: int = option(5, "Number of such samples.", at_least=1)
    bracket: float | None = option(
        None,
        "Also an upper side: cross-entropy of this share of the documents, held out, under Kneser-Ney counts of the others.",
        metavar="SHARE",
        above=0,
        below=1,
    )
    token_cache: bool = option(
        True, "Keep token ids in <output>/tokens, for other n and other runs.", flags=KEY_ONLY, group=OUTPUT
    )
    chunk_positions: int | None = option(
        None,
        "n-grams counted at a time; null: as many as `memory` allows. No result depends on it.",
        flags=KEY_ONLY,
        group=RUNNING,
        at_least=1,
    )
    interval_entries: int | None = option(
        None,
        "Entries merged at a time; null: as many as `memory` allows. No result depends on it.",
        flags=KEY_ONLY,
        group=RUNNING,
        at_least=1,
    )


@dataclass(frozen=True)
class FeaturesOptions(Options):
    """Generations of many models, in <org>/<model>/ folders, to the per-model feature table."""

    SHORTHANDS = (
        shorthand(
            "domain.backend",
            Backend,
            "Backend of the domains, which are left empty without one; fasttext: the embedded model, a substitute.",
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
    domain_sample: int | None = option(None, "Label N kept generations of each model, chosen by --seed.", at_least=1)
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
    )
    replicates: int = option(5, "extended: number of samples of T tokens.", flags=KEY_ONLY, at_least=1)
    append_to: str | None = option(
        None, "Unite with the rows of this table.", metavar="FILE.csv", group=OUTPUT, is_path=True
    )
    allow_mixed: bool = option(False, "Also rows that other instruments measured; they are marked.", group=OUTPUT)
    memory: str = option("1GB", "Resident memory of a worker.", metavar="SIZE", group=RUNNING)
    entropy_tokenizer: str = option("p50k_base", "As `tokenizer` of `run entropy`.", flags=KEY_ONLY)
    entropy_pattern: str = option("p50k_base", "As `pattern` of `run entropy`.", flags=KEY_ONLY)
    entropy_engine: Engine = option("auto", "As `engine` of `run entropy`.", flags=KEY_ONLY)


OPTIONS: dict[str, type[Options]] = {
    "tag": TagOptions,
    "filter": FilterOptions,
    "domain": DomainOptions,
    "entropy": EntropyOptions,
    "features": FeaturesOptions,
}


def pipelines() -> list[str]:
    return list(OPTIONS)
