"""The command line: parses, loads a config, calls a pipeline, prints. No logic, and no heavy import at module level."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Sequence
from typing import Any

import click

from tagcorpus.errors import TagcorpusError, printable
from tagcorpus.processes import keep_stderr_writable

Command = Callable[..., None]
CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


class UnderscoreCommand(click.Command):
    """Every option also takes its underscore spelling (--text_column), as users of the paper's scripts have it."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        return super().parse_args(ctx, [_dashed(a) for a in args])


class ListsCommand(UnderscoreCommand):
    """Some options take several values in a row, as a shell makes them of `*.jsonl`; the published scripts have such, too."""

    LISTS: tuple[str, ...] = ()

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        spread: list[str] = []
        of = ""
        for argument in map(_dashed, args):
            if argument.startswith("-"):
                of = argument if argument in self.LISTS else ""
                spread.append(argument)
            elif of and spread[-1] != of:
                spread += [of, argument]
            else:
                spread.append(argument)
        return super().parse_args(ctx, spread)


class RunCommand(ListsCommand):
    """A pipeline. It has no arguments but options, and says so to those who give it a file."""

    LISTS = ("-i", "--input", "-t", "--taggers", "--feature", "--glob", "--exclude", "--tagger-module")

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        try:
            return super().parse_args(ctx, args)
        except click.UsageError as error:
            if "unexpected extra argument" in error.message:
                told = f"{error.message}. Input is given as --input PATH; a pipeline takes options only."
                raise click.UsageError(told, error.ctx) from None
            raise


class InOrder(click.Group):
    """Its commands are listed as they stand in this file; a pipeline's name alone is told its `run`."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return list(self.commands)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if self.name == "main" and args[0] in run.commands:
            ctx.fail(f"No such command {args[0]!r}. Did you mean 'run {args[0]}'?")
        return super().resolve_command(ctx, args)


def _dashed(argument: str) -> str:
    if not argument.startswith("--"):
        return argument
    name, separator, value = argument.partition("=")
    return name.replace("_", "-") + separator + value


@click.group(
    cls=InOrder,
    context_settings=CONTEXT,
    epilog="Begin with: tagcorpus run tag --input CORPUS.jsonl. Each command has a --help of its own.",
)
@click.version_option(package_name="tagcorpus")
def main() -> None:
    """Tag corpora and model generations; lose nothing; know what the tags are worth."""
    keep_stderr_writable()


@main.group(cls=InOrder, short_help="Read documents: tag, filter, domain, entropy, features.")
def run() -> None:
    """Read documents and run a pipeline over them."""


storage_options = click.option(
    "--storage-options",
    multiple=True,
    metavar="K=V",
    help="For s3://, gs:// and other URLs: endpoint_url=URL, profile=NAME, anon=true; repeatable.",
)


def places(command: Command) -> Command:
    """What every pipeline is told first: input and output. Defaults are in configs/, so that None means: not given."""
    options = [
        click.option(
            "--input",
            "-i",
            "input",
            type=click.Path(),
            multiple=True,
            metavar="[LABEL=]PATH",
            help="File, folder, glob, URL, or - for standard input. Several: one after the other, or repeat.",
        ),
        click.option(
            "--output",
            "-o",
            type=click.Path(),
            metavar="DIR-or-FILE",
            help="Output folder (default ./<first input's stem>.tagcorpus). Or a file, that the main result goes to as well: "
            ".csv or .parquet for the table, .json for the summary.",
        ),
        click.option(
            "--work",
            type=click.Path(),
            metavar="DIR",
            help="With an --output that is a file: the output folder (default as above).",
        ),
    ]
    return _with(options, command)


def common(command: Command) -> Command:
    """The further options that every pipeline has; help has them after its own."""
    options = [
        storage_options,
        click.option("--glob", multiple=True, metavar="PATTERN", help="In folders, only paths that match; repeatable."),
        click.option(
            "--exclude", multiple=True, metavar="PATTERN", help="In folders, no path that matches; repeatable."
        ),
        click.option(
            "--text-column",
            metavar="NAME",
            help="Where the text is: a name, a.b, or messages[*].content (default text, content, raw_content).",
        ),
        click.option(
            "--id-column", metavar="NAME", help="Where the id is (default id, else doc_id, else <path>:<row>)."
        ),
        click.option(
            "--resps-format",
            is_flag=True,
            default=None,
            help="Evaluation-harness samples: text is resps[i][j] (also noticed by itself).",
        ),
        click.option("--limit", "--num-docs", type=int, metavar="N", help="Only the first N rows."),
        click.option("--sample", type=float, metavar="FRACTION", help="Only this share of the rows, chosen by --seed."),
        click.option(
            "--seed", type=int, metavar="N", help="Of --sample, and whatever else is chosen by chance (default 0)."
        ),
        click.option(
            "--workers", "-w", type=int, metavar="N", help="Worker processes (default: the CPUs this process may use)."
        ),
        click.option(
            "--executor",
            type=click.Choice(["local", "ray", "slurm"]),
            help="Where ranges are computed (default local).",
        ),
        click.option(
            "--ray-address",
            metavar="ADDRESS",
            help="auto, host:port or ray://... (else RAY_ADDRESS, else a cluster started here).",
        ),
        click.option(
            "--wait/--detach",
            default=None,
            help="slurm: wait for the finish job, or exit 0 once submitted (default). More: --set slurm.KEY=VALUE.",
        ),
        click.option(
            "--overwrite",
            is_flag=True,
            default=None,
            help="Compute anew what is there already (LLM answers stay cached).",
        ),
        click.option(
            "--max-quarantined",
            type=float,
            metavar="X",
            help="How many rows may be unusable, as a share below 1 or a count; above it exit 3 (default: the larger of 10 "
            "rows and 1 %).",
        ),
        click.option("--dry-run", is_flag=True, default=None, help="Plan, sizes and cost; nothing is written."),
        click.option("--json", "json", is_flag=True, default=None, help="The result as JSON on standard output."),
        click.option(
            "--tagger-module",
            type=click.Path(),
            multiple=True,
            metavar="FILE.py",
            help="A tagger of your own in one file, used by the file's name; repeatable.",
        ),
        click.option(
            "--config",
            type=click.Path(),
            metavar="FILE",
            help="YAML of options (tagcorpus config PIPELINE prints all); --set and options win over it.",
        ),
        click.option(
            "--set",
            "sets",
            multiple=True,
            metavar="KEY=VALUE",
            help="Any key of the configuration, also of a tagger: tokens.tokenizer=cl100k_base; repeatable.",
        ),
    ]
    return _with(options, command)


def _with(options: Sequence[Callable[[Command], Command]], command: Command) -> Command:
    for option in reversed(options):
        command = option(command)
    return command


@run.command(cls=RunCommand, short_help="Add columns of taggers, and a summary of each.")
@places
@click.option(
    "--taggers",
    "--feature",
    "-t",
    multiple=True,
    metavar="LIST",
    help="Comma-separated (default length,tokens,keywords,language,repetition; tagcorpus taggers lists all). NAME=TAGGER "
    "gives one a name of its own.",
)
@common
def tag(**options: Any) -> None:
    """Add tagger columns as sidecar files, with a summary of every column."""
    _run("tag", options)


@run.command("filter", cls=RunCommand, short_help="Write kept and removed rows in the input's own format.")
@places
@click.option("--keep", metavar="INSTANCE.COLUMN", help="The boolean column that decides (default repetition.is_kept).")
@click.option(
    "--where",
    metavar="SQL",
    help="Instead: a condition over the sidecar columns that are there, \"language = 'en' AND ttr > 0.2\".",
)
@common
def filter_(**options: Any) -> None:
    """Write kept and removed rows in the input's own format, to DIR/filtered/; removed ones say why."""
    _run("filter", options)


@run.command(cls=RunCommand)
@places
@click.option(
    "--backend",
    type=click.Choice(["auto", "openai", "fasttext"]),
    help="auto: openai when an endpoint is configured, else the embedded fastText model.",
)
@click.option("--base-url", metavar="URL", help="OpenAI-compatible endpoint (else OPENAI_BASE_URL).")
@click.option("--model", metavar="NAME", help="Model name at the endpoint (default: the stage tree's, gpt-4o-mini).")
@click.option("--tree", type=click.Path(), metavar="FILE", help="A stage tree of your own (YAML).")
@click.option("--concurrency", type=int, metavar="N", help="Calls in flight (default 64).")
@click.option(
    "--max-requests", type=int, metavar="N", help="Stop with exit 5 before more requests than this (default 10,000)."
)
@click.option(
    "--llm-cache", type=click.Path(), metavar="FILE", help="Where answers are kept (default: the user's cache folder)."
)
@click.option("--no-llm-cache", is_flag=True, default=None, help="Keep no answers.")
@click.option("--with-text", is_flag=True, default=None, help="Add the text to predicted_domains.csv.")
@common
def domain(**options: Any) -> None:
    """Label every document with its domain."""
    if options.pop("no_llm_cache"):
        options["llm_cache"] = "none"
    for key in ("backend", "base_url", "model", "tree", "concurrency", "max_requests", "llm_cache"):
        options[f"domain.{key}"] = options.pop(key)
    _run("domain", options)


@run.command(cls=RunCommand, short_help="Next-token entropy of the corpus and of every document.")
@places
@click.option(
    "--ngram", "-n", type=int, metavar="N", help="Tokens of context: 1 (default) is bigram entropy, 2 trigram entropy."
)
@click.option(
    "--method",
    type=click.Choice(["counts", "lm"]),
    help="counts: of the corpus itself; lm: of a causal language model's predictions.",
)
@click.option(
    "--tokenizer",
    metavar="NAME-or-FILE",
    help="A tiktoken encoding (default p50k_base), a ranks file, or a tokenizer.json.",
)
@click.option("--memory", metavar="SIZE", help="Resident memory of a worker, whatever the corpus (default 1GB).")
@click.option("--contexts", is_flag=True, default=None, help="Also the table of all contexts, as Parquet.")
@click.option(
    "--token-budget",
    type=int,
    metavar="T",
    help="Also the same figures of random samples of whole documents of T tokens: corpora of unequal size compare.",
)
@click.option("--replicates", type=int, metavar="N", help="How many such samples (default 5).")
@click.option("--no-token-cache", is_flag=True, default=None, help="Keep no token ids in the output.")
@click.option("--model", metavar="NAME", help="lm: a Hugging Face model's name, or the folder it lies in.")
@common
def entropy(**options: Any) -> None:
    """Next-token entropy of every n-gram context of the corpus, and of every document. --ngram 1 is bigram entropy."""
    if options.pop("no_token_cache"):
        options["token_cache"] = False
    options["entropy-lm.model"] = options.pop("model")
    _run("entropy", options)


@run.command(cls=RunCommand, short_help="Generations of many models to the per-model feature table.")
@places
@click.option(
    "--models",
    type=click.Path(),
    metavar="FILE",
    help="YAML, id: path or paths, in the place of --input and of folders' names.",
)
@click.option(
    "--taggers",
    "-t",
    multiple=True,
    metavar="LIST",
    help="Comma-separated (default: length, tokens, keywords, language, repetition, entropy, domain).",
)
@click.option(
    "--backend",
    type=click.Choice(["auto", "openai", "fasttext"]),
    help="Of the domains, which are left empty without one; fasttext: the embedded model, a substitute.",
)
@click.option(
    "--tokenizer",
    metavar="NAME-or-FILE",
    help="Of the token counts, which are left empty without one: a tokenizer.json (Llama 2's), or p50k_base, a substitute.",
)
@click.option("--base-url", metavar="URL", help="OpenAI-compatible endpoint (else OPENAI_BASE_URL).")
@click.option("--model", metavar="NAME", help="Model name at the endpoint (default: the stage tree's, gpt-4o-mini).")
@click.option(
    "--max-requests", type=int, metavar="N", help="Stop with exit 5 before more requests than this (default 10,000)."
)
@click.option(
    "--domain-sample", type=int, metavar="N", help="Label N kept generations of each model, chosen by --seed."
)
@click.option(
    "--min-kept-share",
    type=float,
    metavar="SHARE",
    help="Leave a feature empty where the filter keeps fewer of its generations (default 0.5).",
)
@click.option("--memory", metavar="SIZE", help="Resident memory of a worker (default 1GB).")
@click.option(
    "--extended",
    is_flag=True,
    default=None,
    help="Further columns (intervals, medians, corrected entropies), and a Parquet.",
)
@click.option(
    "--token-budget",
    type=int,
    metavar="T",
    help="extended: entropies at T tokens (default: a round number that all models have).",
)
@click.option("--append-to", type=click.Path(), metavar="FILE.csv", help="Unite with the rows of this table.")
@click.option(
    "--allow-mixed", is_flag=True, default=None, help="Also rows that other instruments measured; they are marked."
)
@click.option(
    "--group-by",
    metavar="COLUMN|level:N",
    help="A row for each value of a document column, or each folder, not for each model.",
)
@common
def features(**options: Any) -> None:
    """Generations of many models, in <org>/<model>/ folders, to the per-model feature table."""
    for key in ("backend", "base_url", "model", "max_requests"):
        options[f"domain.{key}"] = options.pop(key)
    options["tokens.tokenizer"] = options.pop("tokenizer")
    _run("features", options)


@main.command(cls=UnderscoreCommand, short_help="List the taggers, or describe one.")
@click.argument("name", required=False)
@click.option(
    "--tagger-module",
    type=click.Path(),
    multiple=True,
    metavar="FILE.py",
    help="Also the tagger in this file; repeatable.",
)
def taggers(name: str | None, tagger_module: tuple[str, ...]) -> None:
    """List the taggers, or describe one: columns with units and sources, parameters."""
    _guarded(
        lambda: click.echo(
            importlib.import_module("tagcorpus.pipelines.console.tagger_pages").taggers(name, tagger_module)
        )
    )


@main.command(cls=UnderscoreCommand, short_help="Say how far the runs of an output folder are.")
@click.argument("output", metavar="DIR", type=click.Path())
@storage_options
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def status(output: str, storage_options: tuple[str, ...], as_json: bool) -> None:
    """Say how far the runs of an output folder are: ranges done, what is running, how the last run ended."""
    _guarded(
        lambda: click.echo(
            importlib.import_module("tagcorpus.pipelines.console.status").report(output, as_json, storage_options)
        )
    )


@main.command(cls=UnderscoreCommand, short_help="Make one HTML page of an output folder.")
@click.argument("folder", metavar="DIR", type=click.Path())
@click.option(
    "--output", "-o", type=click.Path(), metavar="FILE.html", help="Where the page goes (default: report.html in DIR)."
)
@click.option("--seed", type=int, default=0, metavar="N", help="Of the choice of sampled documents (default 0).")
@storage_options
def report(folder: str, output: str | None, seed: int, storage_options: tuple[str, ...]) -> None:
    """Make one HTML page of an output folder: runs and losses, features, domains, entropy, models, sampled documents."""

    def body() -> None:
        importlib.import_module("tagcorpus.pipelines.remote").use_given(storage_options, [folder, output or ""])
        click.echo(printable(importlib.import_module("tagcorpus.pipelines.report").report(folder, output, seed)))

    _guarded(body)


@main.command("check-features", cls=UnderscoreCommand, short_help="Check a per-model feature CSV.")
@click.argument("file", metavar="FILE", type=click.Path())
@click.option(
    "--against",
    type=click.Path(),
    metavar="FILE",
    help="Another such table: shared ids, columns, and values that differ.",
)
@click.option("--json", "as_json", is_flag=True, help="As JSON, with every place.")
def check_features(file: str, against: str | None, as_json: bool) -> None:
    """Check a per-model feature CSV, and say what a predictor would choke on. Exit 1 where there are errors."""

    def body() -> None:
        text, code = importlib.import_module("tagcorpus.pipelines.model_table.check").report(file, against, as_json)
        click.echo(printable(text))
        sys.exit(code)

    _guarded(body)


@main.group(cls=InOrder, short_help="Models, their pretraining data and their scores.")
def store() -> None:
    """Models, their pretraining data and their scores: a DuckDB export directory, or a .duckdb file."""


def _store(name: str, *arguments: Any) -> Any:
    return getattr(importlib.import_module("tagcorpus.pipelines.store"), name)(*arguments)


@store.command("check", cls=UnderscoreCommand)
@click.argument("db", metavar="DB", type=click.Path())
@click.option("--json", "as_json", is_flag=True, help="As JSON, with every place.")
def store_check(db: str, as_json: bool) -> None:
    """List orphans, conflicts, zeros, NaN, -1 and what is missing. Exit 1 where there are errors."""

    def body() -> None:
        text, code = _store("check", db, as_json)
        click.echo(printable(text))
        sys.exit(code)

    _guarded(body)


@store.command("show", cls=UnderscoreCommand)
@click.argument("db", metavar="DB", type=click.Path())
@click.argument("model", required=False, metavar="[ID]")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def store_show(db: str, model: str | None, as_json: bool) -> None:
    """Say what the store holds, or what it knows of the model ID."""
    _guarded(lambda: click.echo(_store("show", db, model, as_json)))


@store.command("query", cls=UnderscoreCommand)
@click.argument("db", metavar="DB", type=click.Path())
@click.argument("sql", metavar="SQL")
@click.option(
    "--format",
    "form",
    type=click.Choice(["table", "csv", "json"]),
    default="table",
    show_default=True,
    help="How the rows are printed.",
)
def store_query(db: str, sql: str, form: str) -> None:
    """Print the rows of one SELECT. `DESCRIBE evaluation_results` gives columns; nothing can be changed."""
    _guarded(lambda: click.echo(_store("query", db, sql, form)))


@store.command("import", cls=UnderscoreCommand, short_help="Bring in results, annotations and feature tables.")
@click.argument("db", metavar="DB.duckdb", type=click.Path())
@click.argument("files", metavar="FILE...", nargs=-1, required=True, type=click.Path())
@click.option(
    "--on-conflict",
    type=click.Choice(["refuse", "keep", "replace"]),
    default="refuse",
    show_default=True,
    help="Where the store has another value: import nothing, keep the stored one, or take the new one.",
)
@click.option("--model-id", metavar="ID", help="The model of results files that do not say it themselves.")
@click.option("--create", is_flag=True, help="Start an empty store where DB.duckdb is not there.")
@click.option("--json", "as_json", is_flag=True, help="As JSON, with every conflict.")
def store_import(
    db: str, files: tuple[str, ...], on_conflict: str, model_id: str | None, create: bool, as_json: bool
) -> None:
    """Bring in evaluation-harness results, annotations (JSON, CSV) and feature tables: all FILEs, or none."""
    _guarded(lambda: click.echo(_store("import_", db, files, on_conflict, model_id, create, as_json)))


@store.command(
    "export", cls=UnderscoreCommand, short_help="Write DB as a .duckdb file, a directory, or its features as .csv."
)
@click.argument("db", metavar="DB", type=click.Path())
@click.argument("output", metavar="OUT", type=click.Path())
def store_export(db: str, output: str) -> None:
    """Write DB as OUT: NAME.duckdb, NAME.csv (its feature table), or an export directory. OUT must not be there."""
    _guarded(lambda: click.echo(_store("export", db, output)))


class PredictCommand(ListsCommand):
    """As the published scripts take lists: --sel_tasks arc_challenge hellaswag."""

    LISTS = ("--task", "--sel-tasks", "--selected-task", "--sel-features")


@main.command(cls=PredictCommand, short_help="Predict models' scores, and say how well that works.")
@click.option(
    "--db",
    "--db-path",
    required=True,
    type=click.Path(),
    metavar="DIR",
    help="The store: an export directory or .duckdb file.",
)
@click.option(
    "--features",
    "--pseudo-feats-csv",
    type=click.Path(),
    metavar="CSV",
    help="Per-model features (else those in the store).",
)
@click.option(
    "--task",
    "--sel-tasks",
    "--selected-task",
    "tasks",
    multiple=True,
    metavar="T[,T...]",
    help="A published task, or BENCHMARK:SHOTS; repeatable (default: all 13).",
)
@click.option("--metric", metavar="NAME", help="Only tasks of this metric; with --task: score them by it.")
@click.option(
    "--protocol",
    type=click.Choice(["grouped", "paper"]),
    help="grouped (default): folds split no organisation. paper: the published one.",
)
@click.option(
    "--predictor",
    "--predictor-type",
    "predictors",
    multiple=True,
    metavar="NAME[,NAME...]",
    help="scaling, all, no-scale; with grouped also average, linear, log-linear, law, law-scale, trees, trees-scale, "
    "gaussian-process, declared, generated, scaling-published (default: all that fit the data).",
)
@click.option(
    "--select",
    "--initial-features-csv",
    metavar="FILE|forward|stability",
    help="Selected features: a file of them, or select by this data.",
)
@click.option("--sel-features", multiple=True, metavar="F[,F...]", help="Selected features, by name; repeatable.")
@click.option(
    "--seed", type=int, default=42, metavar="N", show_default=True, help="Of the folds whose figures stand first."
)
@click.option("--seeds", type=int, metavar="N", help="Also seeds 0 to N-1: mean, spread, tests.")
@click.option("--test-significance", is_flag=True, help="Short for --seeds 50.")
@click.option(
    "--drop-instruction-tuned/--keep-instruction-tuned", default=True, help="Base models only (default), or all."
)
@click.option("--merge-mmlu", is_flag=True, help="One task for MMLU's subjects; always so.")
@click.option("--merge-arithmetic", is_flag=True, help="Also the task arithmetic: the mean of its parts.")
@click.option(
    "--hyperparam-search/--no-hyperparam-search",
    default=True,
    help="Search the trees' settings in inner folds (default), or take the library's.",
)
@click.option("--reproduce", is_flag=True, help="The published figures: a page of all tasks, and what they show.")
@click.option("--extrapolate", type=int, metavar="K", help="Also predict the K largest models from the smaller ones.")
@click.option("--for", "new_model", metavar="FILE.json", help="Also predict the model that this file annotates.")
@click.option("--figures", is_flag=True, help="Also explain: SHAP, partial dependence, the paper's two findings.")
@click.option(
    "--output",
    "-o",
    type=click.Path(),
    metavar="DIR-or-FILE",
    help="Folder (default ./<the features' or store's stem>.tagcorpus), or only the main result: .json, .csv "
    "(predictions), .md (with --reproduce).",
)
@click.option(
    "--workers", "-w", type=int, metavar="N", help="Worker processes (default: the CPUs this process may use)."
)
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def predict(**options: Any) -> None:
    """Predict models' scores from their size, data and generations, and say how well that works."""

    def body() -> None:
        found = importlib.import_module("tagcorpus.pipelines.predict")
        click.echo(found.report(found.asked(**options)))

    _guarded(body)


@main.command(cls=UnderscoreCommand, short_help="Check the installation: what is broken, and how to mend it.")
@click.argument("extras", nargs=-1, metavar="[EXTRA]...")
@click.option(
    "--output", "-o", type=click.Path(), metavar="DIR", help="Also: can this folder be written, and is there space?"
)
@storage_options
@click.option(
    "--base-url", metavar="URL", help="Also: does this LLM endpoint answer? (Else OPENAI_BASE_URL, where it is set.)"
)
@click.option(
    "--llm-cache",
    type=click.Path(),
    metavar="FILE",
    help="Where LLM answers are kept (default: the user's cache folder).",
)
@click.option("--ray", is_flag=True, help="Also: is a Ray cluster there, with the same versions on every node?")
@click.option("--ray-address", metavar="ADDRESS", help="The cluster to look at (else RAY_ADDRESS, or auto).")
@click.option("--offline", is_flag=True, help="No network checks.")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def doctor(
    extras: tuple[str, ...],
    output: str | None,
    storage_options: tuple[str, ...],
    base_url: str | None,
    llm_cache: str | None,
    ray: bool,
    ray_address: str | None,
    offline: bool,
    as_json: bool,
) -> None:
    """Check the installation, and what you name: EXTRAs, an output, an endpoint, a cluster. Exit 1 if it is broken."""

    def body() -> None:
        found = importlib.import_module("tagcorpus.pipelines.console.doctor")
        cluster = found.ray_address(ray, ray_address)
        wanted = found.Wanted(extras, output, base_url, llm_cache, cluster, offline, storage_options)
        text, code = found.report(wanted, as_json)
        click.echo(printable(text))
        sys.exit(code)

    _guarded(body)


@main.command(cls=UnderscoreCommand, short_help="Print all settings of a pipeline as YAML.")
@click.argument("pipeline")
@click.option("--config", type=click.Path(), metavar="FILE", help="Settings of a file over the packaged ones.")
@click.option("--set", "sets", multiple=True, metavar="KEY=VALUE", help="A setting over these; repeatable.")
def config(pipeline: str, config: str | None, sets: tuple[str, ...]) -> None:
    """Print the effective configuration of PIPELINE (tag, filter, domain, entropy, features) as YAML, for --config."""
    _guarded(
        lambda: click.echo(
            importlib.import_module("tagcorpus.pipelines.describe").config(pipeline, config, sets), nl=False
        )
    )


def _run(pipeline: str, options: dict[str, Any]) -> None:
    config, sets = options.pop("config"), options.pop("sets")
    options["slurm.wait"] = options.pop("wait")
    given = {k: list(v) if isinstance(v, tuple) else v for k, v in options.items() if v is not None and v != ()}
    _guarded(
        lambda: sys.exit(importlib.import_module("tagcorpus.pipelines.describe").run(pipeline, config, sets, given))
    )


def _guarded(body: Callable[[], None]) -> None:
    """Exit codes for errors: no traceback for anything that is meant for the user."""
    try:
        body()
    except KeyboardInterrupt:  # while the pipelines are being imported; later they answer it themselves
        click.echo("interrupted", err=True)
        sys.exit(130)
    except TagcorpusError as error:
        click.echo(f"tagcorpus: {printable(str(error))}", err=True)
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
