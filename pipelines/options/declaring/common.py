"""The options that every pipeline has, and those that several commands share."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from tagcorpus.pipelines.options.declaring.declare import REQUIRED, Group, Option, fields_of, option, section, shorthand
from tagcorpus.pipelines.options.declaring.dialect import Dialect

BACKENDS = "auto|openai|fasttext|DIR"
LINES = (".jsonl", ".jsonl.gz", ".jsonl.zst")
"""Endings of files with a JSON object for each document."""
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


def workers_option() -> Any:
    """`--workers` of a command that has worker processes."""
    return option(
        None,
        "Worker processes (default: the CPUs this process may use).",
        flags=("--workers", "-w"),
        group=RUNNING,
        at_least=1,
    )


def output_option(help: str, default: Any = REQUIRED, metavar: str = "DIR") -> Any:
    """`--output` of a command."""
    return option(default, help, flags=("--output", "-o"), metavar=metavar, group=OUTPUT, is_path=True)


def file_option(help: str, metavar: str, flags: tuple[str, ...] | None = None) -> Any:
    """A file to read, which need not be given."""
    return option(None, help, flags=flags, metavar=metavar, group=INPUT, is_path=True)


def taggers_option() -> Any:
    """`--taggers` of a command that reads tags."""
    help = "Only the tags of these instances (default: all)."
    return option([], help, flags=("--taggers", "-t"), metavar="LIST", group=INPUT)


def retry_errors_option() -> Any:
    """`--retry-errors` of a pipeline that asks an LLM."""
    return option(False, "Ask again about documents without a label only.", group=RUNNING)


@dataclass(frozen=True)
class SlurmOptions:
    """The section `slurm`, for the executor of that name. A null is the cluster's own default."""

    wait: bool = option(
        False,
        "Slurm: wait for the finish job, or exit 0 after the submission (default). Other settings: --set slurm.KEY=VALUE.",
        flags=("--wait/--detach",),
        group=CLUSTER,
    )
    poll_seconds: float = option(
        10,
        "With --wait: seconds between two queries of the queue.",
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
        "Most tasks of the array. The default MaxArraySize of Slurm is 1001.",
        flags=KEY_ONLY,
        group=CLUSTER,
        at_least=1,
    )
    workers: int | None = option(
        None, "Most tasks at the same time; null: no limit.", flags=KEY_ONLY, group=CLUSTER, at_least=1
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
    RESULT_SUFFIXES: ClassVar[tuple[str, ...]] = (".csv", ".json", ".parquet")
    """Endings of an `--output` that is a file."""
    PARAMETERS: ClassVar[dict[str, dict[str, Any]]] = {}
    """Parameters of taggers that differ from the taggers' own defaults in this pipeline."""

    input: list[str] = option(
        [],
        "File, folder, glob, URL, or - for standard input. Several: after one flag, or repeat the flag.",
        flags=("--input", "-i"),
        metavar="[LABEL=]PATH",
        group=INPUT,
        is_path=True,
    )
    text_column: str = option(
        "",
        "Column with the text: a name, a.b, or messages[*].content (default: text, content or raw_content).",
        metavar="NAME",
        group=INPUT,
    )
    id_column: str = option(
        "", "Column with the id (default: id, else doc_id, else <path>:<row>).", metavar="NAME", group=INPUT
    )
    limit: int | None = option(
        None, "Only the first N rows.", flags=("--limit", "--num-docs"), group=INPUT, at_least=1, unit="count"
    )
    sample: float | None = option(
        None,
        "Only this share of the rows, chosen by --seed.",
        metavar="FRACTION",
        group=INPUT,
        above=0,
        at_most=1,
    )
    seed: int = option(0, "Seed of all random choices.", group=INPUT)
    glob: list[str] = option([], "In folders, only paths that match; repeatable.", metavar="PATTERN", group=INPUT)
    exclude: list[str] = option([], "In folders, no path that matches; repeatable.", metavar="PATTERN", group=INPUT)
    resps_format: bool = option(
        False, "Evaluation-harness samples: the text is resps[i][j] (detected automatically).", group=INPUT
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
        32 << 20, "Longer lines go to quarantine.", flags=KEY_ONLY, group=INPUT, at_least=16, unit="bytes"
    )
    chunk_bytes: int | None = option(
        None,
        "Bytes of input that are computed, published and resumed together; null: by the size of the input. An existing output "
        "folder keeps its chunk size.",
        flags=KEY_ONLY,
        group=INPUT,
        old_names=("shard_bytes",),
        at_least=1024,
        unit="bytes",
    )
    output: str | None = output_option(
        "Output folder (default ./<first input's stem>.tagcorpus). Or a file for a copy of the main result: .csv or "
        ".parquet for the table, .json for the summary.",
        None,
        "DIR-or-FILE",
    )
    work: str | None = option(
        None,
        "Output folder if --output is a file (default as above).",
        metavar="DIR",
        group=OUTPUT,
        is_path=True,
    )
    json: bool = option(False, "The result as JSON on standard output.", group=OUTPUT)
    max_quarantined: float | None = option(
        None,
        "Exit 3 if more rows are unusable: a share below 1, or a count; inf: any number (default: the larger of 10 rows and "
        "1 %).",
        group=OUTPUT,
        at_least=0,
        allows_infinity=True,
    )
    strict_text: bool = option(
        False,
        "Exit 2 before any work if the first rows of a file have no text (default: name the file and continue).",
        group=INPUT,
    )
    allow_empty: bool = option(
        False,
        "Exit 0, not 3, if the input has no documents.",
        group=INPUT,
    )
    overwrite: bool = option(False, "Compute existing results again (LLM answers stay cached).", group=OUTPUT)
    dry_run: bool = option(False, "Print plan, sizes and cost; write nothing.", group=RUNNING)
    workers: int | None = workers_option()
    tagger_module: list[str] = option(
        [],
        "File with a tagger of your own, which has the file's name; repeatable.",
        metavar="FILE.py",
        group=RUNNING,
        is_path=True,
    )
    executor: Literal["local", "ray", "slurm"] = option("local", "Where workers run.", group=CLUSTER)
    ray_address: str | None = option(
        None,
        "auto, host:port or ray://... (default: RAY_ADDRESS, else a new local cluster).",
        metavar="ADDRESS",
        group=CLUSTER,
    )
    num_gpus: float = option(
        0,
        "Ray: GPUs of each worker; 0.5: two workers share one. Other executors use a visible GPU.",
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
        "YAML of options (`tagcorpus config PIPELINE` prints all); --set and options take precedence.",
        metavar="FILE",
        group=RUNNING,
        is_path=True,
    ),
    shorthand(
        "set",
        list[str],
        "A key of the configuration or of a tagger: tokens.tokenizer=cl100k_base; repeatable.",
        metavar="KEY=VALUE",
        group=RUNNING,
    ),
)
"""Flags of every pipeline that say where further options are."""


def endpoint_options(section: str, default_model: str) -> tuple[Option, ...]:
    """The shorthands of a tagger that say which endpoint is asked, and how often at most."""
    return (
        shorthand(f"{section}.base_url", str, "OpenAI-compatible endpoint (default: OPENAI_BASE_URL).", metavar="URL"),
        shorthand(f"{section}.model", str, f"Model name at the endpoint (default: {default_model}).", metavar="NAME"),
        shorthand(
            f"{section}.max_requests",
            int,
            "Stop with exit 5 before all runs of this output together have sent more requests.",
            default=10_000,
            unit="count",
        ),
    )


def calling_options(section: str) -> tuple[Option, ...]:
    """The shorthands of a tagger that say how an endpoint is called, and where answers are kept."""
    return (
        shorthand(f"{section}.concurrency", int, "Calls in flight.", default=64),
        shorthand(
            f"{section}.patience",
            float,
            "Seconds without any answer after which a run stops (default: 600; 5 where no server has answered yet).",
            metavar="SECONDS",
        ),
        shorthand(f"{section}.rpm", int, "Most requests per minute (default: no limit)."),
        shorthand(f"{section}.tpm", int, "Most tokens of prompts per minute, estimated (default: no limit)."),
        shorthand(
            f"{section}.llm_cache",
            str,
            "File of cached answers (default: in the user's cache folder).",
            metavar="FILE",
            is_path=True,
        ),
        shorthand(f"{section}.llm_cache", str, "Do not cache answers.", constant="none", flags=("--no-llm-cache",)),
    )


ENDPOINT = endpoint_options("domain", "the stage tree's, gpt-4o-mini")
