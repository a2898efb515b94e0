"""Keyword arguments of `tagcorpus.run`, for type checkers and editors. Made from the declarations: a test compares."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypedDict

Path = str | os.PathLike[str]


class CsvKeywords(TypedDict, total=False):
    """One ASCII character each.

    delimiter  between fields; empty: a tab in .tsv files, else a comma
    escape     before a quote (or before itself) makes it text; before anything else it is text. Empty: there is none
    quote      around fields that hold delimiters, quotes or line ends; empty: no field is quoted
    """

    delimiter: str
    """Character between fields; empty: a tab in .tsv files, else a comma."""
    escape: str
    """Character before a quote that is text, such as a backslash in files of Spark; empty: none."""
    quote: str
    """Character around fields that contain delimiters, quotes or line ends; empty: none."""


class SlurmKeywords(TypedDict, total=False):
    """The section `slurm`, for the executor of that name. A null is the cluster's own default."""

    wait: bool
    """Slurm: wait for the finish job, or exit 0 after the submission (default). Other settings:
    slurm.KEY=VALUE."""
    poll_seconds: float
    """With slurm={'wait': True}: seconds between two queries of the queue. At least 0 and below
    10000."""
    partition: str | None
    """Partition of the tasks."""
    account: str | None
    """Account of the tasks."""
    qos: str | None
    """Quality of service of the tasks."""
    hours: float | None
    """Time limit of a task, in hours. Above 0 and below 10000."""
    cpus_per_task: int
    """Worker processes of a task. At least 1."""
    mem_per_cpu_gb: int
    """Memory of a worker process, in GB. At least 1."""
    max_array: int
    """Most tasks of the array. The default MaxArraySize of Slurm is 1001. At least 1."""
    workers: int | None
    """Most tasks at the same time; null: no limit. At least 1."""
    env_command: str | None
    """Shell line that puts the right python on the PATH; null: the launcher's python, by its full
    path."""


class Keywords(TypedDict, total=False):
    """What every pipeline that reads documents can be told."""

    input: Path | Sequence[Path]
    """File, folder, glob, URL, or - for standard input. Several: a list."""
    text_column: str
    """Column with the text: a name, a.b, or messages[*].content (default: text, content or
    raw_content)."""
    id_column: str
    """Column with the id (default: id, else doc_id, else <path>:<row>)."""
    limit: int | None
    """Only the first N rows. At least 1."""
    sample: float | None
    """Only this share of the rows, chosen by seed. Above 0 and at most 1."""
    seed: int
    """Seed of all random choices."""
    glob: str | Sequence[str]
    """In folders, only paths that match; a list."""
    exclude: str | Sequence[str]
    """In folders, no path that matches; a list."""
    resps_format: bool
    """Evaluation-harness samples: the text is resps[i][j] (detected automatically)."""
    input_format: str
    """Format of files whose names do not say (part-00000): jsonl, csv, tsv, parquet, arrow,
    jsonl.gz, ..."""
    storage_options: Mapping[str, Any]
    """For s3://, gs:// and other URLs: endpoint_url=URL, profile=NAME, anon=true; a mapping."""
    max_line_bytes: int
    """Longer lines go to quarantine. At least 16."""
    chunk_bytes: int | None
    """Bytes of input that are computed, published and resumed together; null: by the size of the
    input. An existing output folder keeps its chunk size. At least 1024."""
    shard_bytes: int | None
    """Old name of chunk_bytes."""
    output: Path | None
    """Output folder (default ./<first input's stem>.tagcorpus). Or a file for a copy of the main
    result: .csv or .parquet for the table, .json for the summary."""
    work: Path | None
    """Output folder if output is a file (default as above)."""
    json: bool
    """The result as JSON on standard output."""
    max_quarantined: float | None
    """Exit 3 if more rows are unusable: a share below 1, or a count; inf: any number (default: the
    larger of 10 rows and 1 %). At least 0, or inf."""
    strict_text: bool
    """Exit 2 before any work if the first rows of a file have no text (default: name the file and
    continue)."""
    allow_empty: bool
    """Exit 0, not 3, if the input has no documents."""
    overwrite: bool
    """Compute existing results again (LLM answers stay cached)."""
    dry_run: bool
    """Print plan, sizes and cost; write nothing."""
    workers: int | None
    """Worker processes (default: the CPUs this process may use). At least 1."""
    tagger_module: Path | Sequence[Path]
    """File with a tagger of your own, which has the file's name; a list."""
    executor: Literal["local", "ray", "slurm"]
    """Where workers run."""
    ray_address: str | None
    """auto, host:port or ray://... (default: RAY_ADDRESS, else a new local cluster)."""
    num_gpus: float
    """Ray: GPUs of each worker; 0.5: two workers share one. Other executors use a visible GPU. At
    least 0."""

    csv: CsvKeywords
    slurm: SlurmKeywords
    annotate: Mapping[str, Any]
    code: Mapping[str, Any]
    datatrove_filter: Mapping[str, Any]
    digest: Mapping[str, Any]
    domain: Mapping[str, Any]
    fasttext: Mapping[str, Any]
    joined: Mapping[str, Any]
    keywords: Mapping[str, Any]
    language: Mapping[str, Any]
    length: Mapping[str, Any]
    lm_entropy: Mapping[str, Any]
    quality: Mapping[str, Any]
    repetition: Mapping[str, Any]
    signals: Mapping[str, Any]
    syntax: Mapping[str, Any]
    tokens: Mapping[str, Any]
    parameters: Mapping[str, Mapping[str, Any]]
    """Parameters of tagger instances, by instance name."""


class TagKeywords(Keywords, total=False):
    """Add tagger columns as attributes beside the documents, with a summary of every column."""

    taggers: str | Sequence[str]
    """Comma-separated; `tagcorpus taggers` lists all. NAME=TAGGER names an instance of a tagger."""
    with_text: bool
    """Add the text and the input's other fields to an output that is .jsonl, .jsonl.gz, .jsonl.zst
    or .parquet."""


class FilterKeywords(Keywords, total=False):
    """Write kept and removed rows in the input's own format to DIR/filtered/. Removed rows have the reason."""

    keep: str
    """Keep the documents for which this boolean column is true."""
    where: str | None
    """In place of keep: a condition over the columns, 'language = 'en' AND ttr > 0.2'."""
    preset: Literal["gopher", "c4-verdict", "fineweb", "redpajama"] | None
    """In place of keep: a published filter. It computes the columns of the tagger signals if they
    are missing."""
    top: str | None
    """In place of keep: the share (10%) or number of documents with the highest values of by."""
    by: str | None
    """The numeric column of top or tokens_at_most."""
    draw: str | None
    """In place of keep: a random share or number of documents, chosen by seed."""
    weight: str | None
    """With draw: draw in proportion to this column."""
    tokens_at_most: int | None
    """In place of a share: documents, highest by first or at random, until they have N tokens
    (tokens.num_tokens). At least 1."""
    within: str | None
    """With top, draw or tokens_at_most: that much of each value of this column."""
    removed: str | None
    """Where removed rows are written: true, beside the kept ones; false, nowhere (they are
    counted); or a folder."""
    ids: Literal["jsonl", "parquet"] | None
    """In place of copies: a list of all rows in filtered/, with file, row, id and reason; with
    removed='false', of the kept rows."""


class AnnotateKeywords(Keywords, total=False):
    """Ask an LLM for properties of every document, which a schema declares."""

    price: str | None
    """USD per million tokens of prompts, answers and cached prompts (default: the list price of the
    model at OpenAI)."""
    budget_usd: float | None
    """Stop with exit 5 before all runs of this output together have cost more; replaces
    domain={'max_requests': ...}. At least 0."""
    pilot: int
    """Label N random documents (30 or more), forecast the cost of all documents, and stop. At least
    0."""
    batch: Literal["send", "files"] | None
    """Ask in batches. send: OpenAI's Batch API, and wait. files: write OUTPUT/batches/ for vllm
    run-batch, and read results there."""
    batch_tokens: int
    """Most tokens of prompts in unfinished batches; the endpoint shows your organisation's limit.
    At least 1."""
    retry_errors: bool
    """Ask again about documents without a label only."""
    show: int
    """Print the prompts of the first N documents, and stop. At least 0."""
    ask: bool
    """With show: also ask about these documents, and print the answers."""


class DomainKeywords(Keywords, total=False):
    """Label every document with its domain."""

    price: str | None
    """USD per million tokens of prompts, answers and cached prompts (default: the list price of the
    model at OpenAI)."""
    budget_usd: float | None
    """Stop with exit 5 before all runs of this output together have cost more; replaces
    domain={'max_requests': ...}. At least 0."""
    pilot: int
    """Label N random documents (30 or more), forecast the cost of all documents, and stop. At least
    0."""
    batch: Literal["send", "files"] | None
    """Ask in batches. send: OpenAI's Batch API, and wait. files: write OUTPUT/batches/ for vllm
    run-batch, and read results there."""
    batch_tokens: int
    """Most tokens of prompts in unfinished batches; the endpoint shows your organisation's limit.
    At least 1."""
    retry_errors: bool
    """Ask again about documents without a label only."""
    with_text: bool
    """Add the text to predicted_domains.csv."""


class EntropyKeywords(Keywords, total=False):
    """Measure next-token entropy of the corpus, by n-gram context, and of every document. --ngram 1 is bigram entropy."""

    ngram: int
    """Tokens of context: 1 is bigram entropy, 2 trigram entropy. At least 1."""
    method: Literal["counts", "lm"]
    """counts: entropy of the corpus's n-grams; lm: of a causal language model's predictions
    (section entropy-lm)."""
    tokenizer: str
    """A tiktoken encoding, a ranks file (*.tiktoken), or a Hugging Face tokenizer.json."""
    pattern: str
    """For a ranks file: the encoding whose split pattern it uses."""
    engine: Literal["auto", "tiktoken", "gigatoken"]
    """What computes the token ids; both give the same ids."""
    memory: str
    """Resident memory of a worker, for any size of corpus."""
    contexts: bool
    """Also write the table of all contexts, as Parquet."""
    token_budget: int | None
    """Also compute the figures on random samples of T tokens (whole documents), to compare corpora
    of unequal size. At least 1."""
    replicates: int
    """Samples for token_budget. At least 1."""
    bracket: float | None
    """Also compute an upper bound: cross-entropy of this held-out share of the documents under a
    Kneser-Ney model of the others. Above 0 and below 1."""
    token_cache: bool
    """Keep token ids in <output>/tokens, for other n and other runs."""
    chunk_positions: int | None
    """n-grams counted at a time; null: as many as `memory` allows. No result depends on it. At
    least 1."""
    interval_entries: int | None
    """Entries merged at a time; null: as many as `memory` allows. No result depends on it. At least
    1."""


class FeaturesKeywords(Keywords, total=False):
    """Make the per-model feature table from generations, in <org>/<model>/ folders or in files with a column of models (--group-by)."""

    models: Path | None
    """YAML with `id: path` or `id: [paths]`, in place of input and the folders' names."""
    taggers: str | Sequence[str]
    """Comma-separated; `tagcorpus taggers` lists all."""
    task: str | Sequence[str]
    """Only samples of this evaluation-harness task; a list, several are pooled. Required if a model
    has several tasks."""
    group_by: str | None
    """One row for each value of a document column, such as the model's name, or for each folder, in
    place of one for each model folder."""
    retry_errors: bool
    """Ask again about documents without a label only."""
    domain_sample: int | None
    """Label N kept generations of each model, chosen by seed. At least 1."""
    min_kept_share: float
    """Leave a feature empty if the filter keeps a smaller share of the generations. At least 0 and
    at most 1."""
    extended: bool
    """More columns (intervals, medians, corrected entropies), and a Parquet file."""
    token_budget: int | None
    """With extended=True: entropies at T tokens (default: a round number that all models have). At
    least 1."""
    replicates: int
    """With extended=True: samples of T tokens. At least 1."""
    append_to: Path | None
    """Also include the rows of this table."""
    allow_mixed: bool
    """With append_to: accept rows that were measured with other methods, and mark them."""
    memory: str
    """Resident memory of a worker."""
    entropy_tokenizer: str
    """As `tokenizer` of `run entropy`."""
    entropy_pattern: str
    """As `pattern` of `run entropy`."""
    entropy_engine: Literal["auto", "tiktoken", "gigatoken"]
    """As `engine` of `run entropy`."""


class TokenizeKeywords(Keywords, total=False):
    """Write token files for training (Megatron's .bin and .idx) by group, with a held-out side, to DIR/token_files/."""

    tokenizer: str
    """A tiktoken encoding, a ranks file (*.tiktoken), or a Hugging Face tokenizer.json."""
    pattern: str
    """As `pattern` of `run entropy`."""
    engine: Literal["auto", "tiktoken", "gigatoken"]
    """As `engine` of `run entropy`."""
    eos: str | None
    """The token after each document (default: the tokenizer's own, by tokenizer_config.json or its
    special tokens)."""
    group_by: str | None
    """A group for each value of an attribute column or document column, or for each folder."""
    where: str | None
    """Only documents for which this condition over attribute columns is true."""
    held_out: float | None
    """Hold out about this share of the documents, by a hash of the normalised text and seed. Above
    0 and below 1."""
    held_out_by: str | None
    """Column with a cluster id: documents of a cluster are held out together."""
    held_out_texts: bool
    """Also write the held-out documents as JSONL, to measure bits per byte."""
    file_bytes: int
    """Bytes of a .bin at most; a longer document has a file of its own. At least 2."""
