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
    """Between the fields of .csv and .tsv files; empty: a tab in .tsv files, else a comma."""
    escape: str
    """Makes the quote after it text, as a backslash in files of Spark; empty: no character does."""
    quote: str
    """Around fields that hold delimiters, quotes or line ends; empty: no field is quoted."""


class SlurmKeywords(TypedDict, total=False):
    """The section `slurm`, for the executor of that name. A null is the cluster's own default."""

    wait: bool
    """slurm: wait for the finish job, or exit 0 once submitted (default). More: slurm.KEY=VALUE."""
    poll_seconds: float
    """While waiting: seconds between two looks at the queue. At least 0 and below 10000."""
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
    """Tasks of the array at most. A cluster's MaxArraySize is 1001 unless set. At least 1."""
    workers: int | None
    """Tasks at once at most; null: as many as there is room for. At least 1."""
    env_command: str | None
    """Shell line that puts the right python on the PATH; null: the launcher's python, by its full
    path."""


class Keywords(TypedDict, total=False):
    """What every pipeline that reads documents can be told."""

    input: Path | Sequence[Path]
    """File, folder, glob, URL, or - for standard input. Several: a list."""
    text_column: str
    """Where the text is: a name, a.b, or messages[*].content (default text, content,
    raw_content)."""
    id_column: str
    """Where the id is (default id, else doc_id, else <path>:<row>)."""
    limit: int | None
    """Only the first N rows. At least 1."""
    sample: float | None
    """Only this share of the rows, chosen by seed. Above 0 and at most 1."""
    seed: int
    """Seed of sample, and of whatever else is chosen by chance."""
    glob: str | Sequence[str]
    """In folders, only paths that match; a list."""
    exclude: str | Sequence[str]
    """In folders, no path that matches; a list."""
    resps_format: bool
    """Evaluation-harness samples: the text is resps[i][j] (also noticed by itself)."""
    input_format: str
    """Format of files whose names do not say (part-00000): jsonl, csv, tsv, parquet, arrow,
    jsonl.gz, ..."""
    storage_options: Mapping[str, Any]
    """For s3://, gs:// and other URLs: endpoint_url=URL, profile=NAME, anon=true; a mapping."""
    max_line_bytes: int
    """Longer lines go to quarantine unread. At least 16."""
    chunk_bytes: int | None
    """Bytes of input that are computed, published and resumed as one; null: by the size of the
    input, and as it was in an output folder that is there already. At least 1024."""
    shard_bytes: int | None
    """Old name of chunk_bytes."""
    output: Path | None
    """Output folder (default ./<first input's stem>.tagcorpus). Or a file, that the main result
    goes to as well: .csv or .parquet for the table, .json for the summary."""
    work: Path | None
    """With an output that is a file: the output folder (default as above)."""
    json: bool
    """The result as JSON on standard output."""
    max_quarantined: float | None
    """How many rows may be unusable, as a share below 1 or a count; above it exit 3; inf: any
    number (default: the larger of 10 rows and 1 %). At least 0, or inf."""
    strict_text: bool
    """Exit 2 before the work if the first rows of any file have no text (default: name the file and
    go on)."""
    allow_empty: bool
    """Exit 0, not 3, if the input holds no document; for jobs that may have nothing to do."""
    overwrite: bool
    """Compute anew what is there already (LLM answers stay cached)."""
    dry_run: bool
    """Plan, sizes and cost; nothing is written."""
    workers: int | None
    """Worker processes (default: the CPUs this process may use). At least 1."""
    tagger_module: Path | Sequence[Path]
    """A tagger of your own in one file, used by the file's name; a list."""
    executor: Literal["local", "ray", "slurm"]
    """Where the work is done."""
    ray_address: str | None
    """auto, host:port or ray://... (else RAY_ADDRESS, else a cluster started here)."""
    num_gpus: float
    """Ray: GPUs of each worker; 0.5: two workers share one. Other executors use the device that
    they find. At least 0."""

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
    """Comma-separated; tagcorpus taggers lists all. NAME=TAGGER gives one a name of its own."""
    with_text: bool
    """Add the text and the input's other fields to an output that is .jsonl, .jsonl.gz, .jsonl.zst
    or .parquet."""


class FilterKeywords(Keywords, total=False):
    """Write kept and removed rows in the input's own format, to DIR/filtered/; removed ones say why."""

    keep: str
    """The boolean column that decides."""
    where: str | None
    """Instead: a condition over the columns that are there, 'language = 'en' AND ttr > 0.2'."""
    preset: Literal["gopher", "c4-verdict", "fineweb", "redpajama"] | None
    """Instead: a published filter over the columns of the tagger signals, which are computed where
    they are missing."""
    top: str | None
    """Instead: the share (10%) or number of documents with the highest values of by."""
    by: str | None
    """top, tokens: the numeric column."""
    draw: str | None
    """Instead: a random share or number of documents, chosen by seed."""
    weight: str | None
    """draw: count documents by this column."""
    tokens_at_most: int | None
    """Instead of a share: documents, best first by by or drawn, until they have N tokens
    (tokens.num_tokens). At least 1."""
    within: str | None
    """top, draw, tokens: so much of each value of this column."""
    removed: str | None
    """Where the removed rows go: true, beside the kept ones; false, nowhere, they are only counted;
    or a folder."""
    ids: Literal["jsonl", "parquet"] | None
    """Instead of copies: a list of all rows in filtered/, with file, row, id and reason; of the
    kept ones with removed='false'."""


class AnnotateKeywords(Keywords, total=False):
    """Ask an LLM for the properties of every document that a schema declares."""

    price: str | None
    """USD per million tokens of prompts, answers and cached prompts (default: the list price of the
    model at OpenAI)."""
    budget_usd: float | None
    """Stop with exit 5 before all runs on the output have cost more than this; in place of
    domain={'max_requests': ...}. At least 0."""
    pilot: int
    """Label N random documents, say what all documents will cost, and stop. At least 0."""
    batch: Literal["send", "files"] | None
    """Ask in batches: send uses OpenAI's Batch API and waits; files writes OUTPUT/batches/ for vllm
    run-batch, and reads results there."""
    batch_tokens: int
    """Tokens of prompts in batches at once; your organisation's limit is on the endpoint's page of
    limits. At least 1."""
    retry_errors: bool
    """Ask again about the documents that got no label, and about no others."""
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
    """Stop with exit 5 before all runs on the output have cost more than this; in place of
    domain={'max_requests': ...}. At least 0."""
    pilot: int
    """Label N random documents, say what all documents will cost, and stop. At least 0."""
    batch: Literal["send", "files"] | None
    """Ask in batches: send uses OpenAI's Batch API and waits; files writes OUTPUT/batches/ for vllm
    run-batch, and reads results there."""
    batch_tokens: int
    """Tokens of prompts in batches at once; your organisation's limit is on the endpoint's page of
    limits. At least 1."""
    retry_errors: bool
    """Ask again about the documents that got no label, and about no others."""
    with_text: bool
    """Add the text to predicted_domains.csv."""


class EntropyKeywords(Keywords, total=False):
    """Next-token entropy of every n-gram context of the corpus, and of every document. --ngram 1 is bigram entropy."""

    ngram: int
    """Tokens of context: 1 is bigram entropy, 2 trigram entropy. At least 1."""
    method: Literal["counts", "lm"]
    """counts: of the corpus itself; lm: of a causal language model's predictions (section entropy-
    lm)."""
    tokenizer: str
    """A tiktoken encoding, a ranks file (*.tiktoken), or a Hugging Face tokenizer.json."""
    pattern: str
    """For a ranks file: the encoding whose split pattern goes with it."""
    engine: Literal["auto", "tiktoken", "gigatoken"]
    """What computes the token ids; both give the same ids."""
    memory: str
    """Resident memory of a worker, whatever the corpus."""
    contexts: bool
    """Also the table of all contexts, as Parquet."""
    token_budget: int | None
    """Also the same figures of random samples of whole documents of T tokens: corpora of unequal
    size compare. At least 1."""
    replicates: int
    """Number of such samples. At least 1."""
    bracket: float | None
    """Also an upper side: cross-entropy of this share of the documents, held out, under Kneser-Ney
    counts of the others. Above 0 and below 1."""
    token_cache: bool
    """Keep token ids in <output>/tokens, for other n and other runs."""
    chunk_positions: int | None
    """n-grams counted at a time; null: as many as `memory` allows. No result depends on it. At
    least 1."""
    interval_entries: int | None
    """Entries merged at a time; null: as many as `memory` allows. No result depends on it. At least
    1."""


class FeaturesKeywords(Keywords, total=False):
    """Generations of many models, in <org>/<model>/ folders, to the per-model feature table."""

    models: Path | None
    """YAML, id: path or paths, in the place of input and of folders' names."""
    taggers: str | Sequence[str]
    """Comma-separated."""
    task: str | Sequence[str]
    """Only samples of this task of the evaluation harness; a list, several are pooled. Needed where
    a model has several."""
    group_by: str | None
    """A row for each value of a document column, or each folder, not for each model."""
    retry_errors: bool
    """Ask again about the documents that got no label, and about no others."""
    domain_sample: int | None
    """Label N kept generations of each model, chosen by seed. At least 1."""
    min_kept_share: float
    """Leave a feature empty where the filter keeps fewer of its generations. At least 0 and at most
    1."""
    extended: bool
    """Further columns (intervals, medians, corrected entropies), and a Parquet."""
    token_budget: int | None
    """extended: entropies at T tokens (default: a round number that all models have). At least
    1."""
    replicates: int
    """extended: number of samples of T tokens. At least 1."""
    append_to: Path | None
    """Unite with the rows of this table."""
    allow_mixed: bool
    """Also rows that were measured with other methods; they are marked."""
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
    """Files for each value of an attribute column, a document column, or each folder."""
    where: str | None
    """Only documents for which this condition over attribute columns is true."""
    held_out: float | None
    """Hold out about this share of the documents, by a hash of the normalised text and seed. Above
    0 and below 1."""
    held_out_by: str | None
    """Hold out all documents of a cluster together: the attribute or document column with its
    id."""
    held_out_texts: bool
    """Also the held-out documents as JSONL, for bits per byte."""
    file_bytes: int
    """Bytes of a .bin at most; a longer document has a file of its own. At least 2."""
