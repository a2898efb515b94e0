"""Options of a pipeline: packaged YAML < --config FILE < --set KEY=VALUE < command-line option, checked key by key."""

from __future__ import annotations

import contextlib
import dataclasses
import difflib
import importlib.resources
import os
import types
import typing
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import yaml

from tagcorpus.errors import ConfigError, unknown_name
from tagcorpus.pipelines import remote
from tagcorpus.taggers import add_files, fits, load, names, tagger_class, told
from tagcorpus.taggers._tree import UniqueKeyLoader

# Endings of an `--output` that is a file.
RESULT_SUFFIXES = (".csv", ".json", ".parquet")
# Endings that nobody gives a folder: who writes one expects a file of that kind.
OTHER_SUFFIXES = (
    ".txt", ".tsv", ".tab", ".dat", ".xlsx", ".xls", ".ods", ".jsonl", ".ndjson", ".jsonlines", ".arrow", ".feather", ".pq", ".avro",
    ".gz", ".zst", ".bz2", ".xz", ".zip", ".tar", ".tgz", ".html", ".htm", ".md", ".pdf", ".png", ".svg", ".yaml", ".yml", ".xml",
    ".db", ".sqlite", ".duckdb", ".pkl", ".npy", ".npz", ".h5", ".log",
)  # fmt: skip
# The paper's names of its features, and the tagger that computes each.
FEATURE_ALIASES = {
    "char_len": "length",
    "num_tokens": "tokens",
    "unique_tokens": "tokens",
    "ttr": "tokens",
    "question_words": "keywords",
    "imperative_verbs": "keywords",
    "conjunctions": "keywords",
    "instruction_words": "keywords",
    "instructions_words": "keywords",
    "numbers": "keywords",
    "pct_english": "language",
    "const_parse": "syntax",
    "dep_parse": "syntax",
    "content_function_ratio": "syntax",
    "edu_classifier": "quality",
}


@dataclass(frozen=True)
class SlurmOptions:
    """The section `slurm`; configs/common.yaml says what each key means."""

    wait: bool
    poll_seconds: float
    partition: str | None
    account: str | None
    qos: str | None
    hours: float | None
    cpus_per_task: int
    mem_per_cpu_gb: int
    max_array: int
    workers: int | None
    env_command: str | None

    def __post_init__(self) -> None:
        for key in ("cpus_per_task", "mem_per_cpu_gb", "max_array", "workers"):
            if (value := getattr(self, key)) is not None and value < 1:
                raise ConfigError(f"slurm.{key} must be at least 1, got {value}")
        if self.hours is not None and not 0 < self.hours < 10_000:  # NaN is not
            raise ConfigError(f"slurm.hours must be above 0 and below 10,000, got {self.hours}")
        if not 0 <= self.poll_seconds < 10_000:
            raise ConfigError(f"slurm.poll_seconds must be 0 or more, got {self.poll_seconds}")


@dataclass(frozen=True)
class Options:
    """What every pipeline that reads documents can be told; configs/common.yaml says what each key means."""

    input: list[str]
    output: str | None
    work: str | None
    glob: list[str]
    exclude: list[str]
    text_column: str
    id_column: str
    resps_format: bool
    limit: int | None
    sample: float | None
    seed: int
    tagger_module: list[str]
    workers: int | None
    executor: str
    ray_address: str | None
    num_gpus: float
    overwrite: bool
    max_quarantined: float | None
    strict_text: bool
    allow_empty: bool
    dry_run: bool
    json: bool
    shard_bytes: int
    max_line_bytes: int
    storage_options: dict[str, Any] = field(repr=False)  # some may be secrets
    slurm: SlurmOptions
    parameters: dict[str, dict[str, Any]]
    """Parameters of tagger instances, by instance name: every key of the YAML that is a mapping."""


@dataclass(frozen=True)
class TagOptions(Options):
    taggers: list[str]


@dataclass(frozen=True)
class FilterOptions(Options):
    keep: str
    where: str | None


@dataclass(frozen=True)
class DomainOptions(Options):
    with_text: bool


@dataclass(frozen=True)
class EntropyOptions(Options):
    ngram: int
    method: str
    tokenizer: str
    pattern: str
    engine: Literal["auto", "tiktoken", "gigatoken"]
    memory: str
    token_cache: bool
    contexts: bool
    token_budget: int | None
    replicates: int
    chunk_positions: int | None
    interval_entries: int | None


@dataclass(frozen=True)
class FeaturesOptions(Options):
    models: str | None
    taggers: list[str]
    group_by: str | None
    min_kept_share: float
    domain_sample: int | None
    entropy_tokenizer: str
    entropy_pattern: str
    entropy_engine: Literal["auto", "tiktoken", "gigatoken"]
    memory: str
    token_budget: int | None
    replicates: int
    extended: bool
    append_to: str | None
    allow_mixed: bool


OPTIONS: dict[str, type[Options]] = {
    "tag": TagOptions,
    "filter": FilterOptions,
    "domain": DomainOptions,
    "entropy": EntropyOptions,
    "features": FeaturesOptions,
}
# Keys that are also understood as those of a section, where people look for them.
IN_SECTIONS = {
    "domain": {"sample": "domain_sample"},
    "entropy": {"tokenizer": "entropy_tokenizer", "pattern": "entropy_pattern", "engine": "entropy_engine"},
}
LEAST = {
    "chunk_positions": 1,
    "interval_entries": 1,
    "domain_sample": 1,
    "token_budget": 1,
    "replicates": 1,
    "min_kept_share": 0,
    "limit": 1,
    "workers": 1,
    "max_quarantined": 0,
    "num_gpus": 0,
    "shard_bytes": 1024,
    "max_line_bytes": 16,
}


def pipelines() -> list[str]:
    return list(OPTIONS)


def load_options(
    pipeline: str,
    config: str | None = None,
    sets: Sequence[str] = (),
    options: Mapping[str, Any] | None = None,
) -> Options:
    """The effective options. `options` maps dotted keys to values. Raises ConfigError naming the key and its source."""
    if pipeline not in OPTIONS:
        raise ConfigError(unknown_name("pipeline", pipeline, OPTIONS, "run PIPELINE"))
    cls = OPTIONS[pipeline]
    values: dict[str, Any] = {}
    for name in ("common", pipeline):
        text = importlib.resources.files("tagcorpus.configs").joinpath(f"{name}.yaml").read_text(encoding="utf-8")
        _merge(values, yaml.safe_load(text), cls, f"configs/{name}.yaml")
    if config is not None:
        _merge(values, _user_yaml(config), cls, config)
    # Plain keys first: `taggers` says whose parameters those of a section are.
    for assignment in sorted(sets, key=lambda a: "." in a.partition("=")[0]):
        key, separator, text = assignment.partition("=")
        if not separator:
            raise ConfigError(f"--set takes KEY=VALUE, got {assignment!r}")
        entries = (options or {}).get("taggers") or values.get("taggers") or []
        if "." in key:  # it may be a parameter of theirs
            add_files((options or {}).get("tagger_module") or values["tagger_module"])
        first, _, rest = key.strip().partition(".")
        is_store = first == "storage_options" and rest != ""
        value = remote.scalar(rest, text) if is_store else _from_text(text, _hint(key.strip(), cls, entries))
        _merge(values, _nested(key.strip(), value), cls, f"--set {key}")
    for key, value in (options or {}).items():
        _merge(values, _nested(key, value), cls, f"--{key.rsplit('.', 1)[-1].replace('_', '-')}")
    add_files(values["tagger_module"])
    if cls is FeaturesOptions:
        _of_features(values, cls)
    for key, least in LEAST.items():
        if values.get(key) is not None and not values[key] >= least:  # NaN is not
            raise ConfigError(f"{key} must be at least {least}, got {values[key]}")
    if values["num_gpus"] > 1 and values["num_gpus"] % 1:
        raise ConfigError(f"num_gpus above 1 must be a whole number, got {values['num_gpus']}")
    if values["sample"] is not None and not 0 < values["sample"] <= 1:
        raise ConfigError(f"sample must be above 0 and at most 1, got {values['sample']}")
    if "" in values["input"]:
        raise ConfigError("--input is empty (a shell variable that is not set?); the folder that you are in is .")
    try:
        check_place("output", values["output"], RESULT_SUFFIXES)
    except ConfigError as error:
        raise ConfigError(f"{error}; the kept rows go to DIR/filtered/") if pipeline == "filter" else error from None
    check_place("work", values["work"])
    slurm = SlurmOptions(**values.pop("slurm"))
    storage_options = values.pop("storage_options")
    plain = {k: v for k, v in values.items() if not isinstance(v, dict)}
    return cls(
        **plain,
        storage_options=storage_options,
        slurm=slurm,
        parameters={k: v for k, v in values.items() if isinstance(v, dict)},
    )


def check_place(option: str, path: str | None, of_files: tuple[str, ...] = ()) -> None:
    """Raise ConfigError for an `--output` that is to be a folder (its ending is none `of_files`) and is a file, or is called like
    one. A folder of such a name is taken where it is there already, or is written with a slash at its end."""
    if path is None or path.lower().endswith(of_files):
        return
    if not path:
        raise ConfigError(f"--{option} is empty (a shell variable that is not set?); the folder that you are in is .")
    must = "it must be a folder" + (f", or a file in {', '.join(of_files[:-1])} or {of_files[-1]}" if of_files else "")
    if os.path.isfile(path):
        raise ConfigError(f"--{option} {path} is a file that is there already; {must}")
    if path.lower().endswith(OTHER_SUFFIXES) and not os.path.isdir(path):
        raise ConfigError(f"--{option} {path}: {must} ({path}/ if you mean a folder of that name)")


def _of_features(values: dict[str, Any], cls: type[Options]) -> None:
    """Keys out of their sections, and the files of `models` in the place of `input`."""
    for section, keys in IN_SECTIONS.items():
        found = values.get(section, {})
        moved = {key: found.pop(name) for name, key in keys.items() if name in found}
        _merge(values, moved, cls, f"section {section}")
        if not found:
            values.pop(section, None)
    if values["min_kept_share"] > 1:
        raise ConfigError(f"min_kept_share is a share from 0 to 1, got {values['min_kept_share']}")
    if values["models"] is not None:
        from tagcorpus.pipelines.sources.models import read_models

        listed = read_models(values["models"])
        if values["input"] and values["input"] != listed:
            raise ConfigError("--models FILE says which files there are; it does not go with --input")
        values["input"] = listed


def to_yaml(options: Options, instances: Mapping[str, Mapping[str, Any]]) -> str:
    """The options as YAML, with every parameter of the instances in use."""
    values = {f.name: getattr(options, f.name) for f in dataclasses.fields(options) if f.name != "parameters"}
    values["slurm"] = dataclasses.asdict(options.slurm)
    values["storage_options"] = remote.shown(options.storage_options)
    own = sorted(set(values) - {f.name for f in dataclasses.fields(Options)})
    ordered = {k: values[k] for k in [*(f.name for f in dataclasses.fields(Options) if f.name in values), *own]}
    return yaml.safe_dump(
        {**ordered, **{k: dict(v) for k, v in instances.items()}}, sort_keys=False, allow_unicode=True
    )


def instance_names(entries: Sequence[str]) -> dict[str, str]:
    """Instance name -> tagger name, of entries like `length`, `topic=fasttext` or the paper's `char_len`."""
    found: dict[str, str] = {}
    for entry in (part.strip() for e in entries for part in e.split(",")):
        name, separator, tagger = entry.partition("=")
        if not separator:
            name = tagger = FEATURE_ALIASES.get(entry, entry)
        tagger = FEATURE_ALIASES.get(tagger, tagger)
        if not name or not all(c.isalnum() or c in "_-." for c in name) or name.startswith("."):
            raise ConfigError(f"--taggers: an instance name is letters, digits, _ - and ., got {name!r}")
        if tagger not in names():
            raise ConfigError(unknown_name("tagger", tagger, names(), "--taggers"))
        if found.setdefault(name, tagger) != tagger:
            raise ConfigError(f"--taggers names {name!r} twice, as {found[name]} and as {tagger}")
    if not found:
        raise ConfigError("--taggers is empty; known: " + ", ".join(names()))
    return found


def check_sections(options: Options, instances: Mapping[str, str]) -> None:
    """Every mapping of parameters must belong to an instance in use."""
    for section in options.parameters:
        if section not in instances:
            raise ConfigError(
                unknown_name("section or instance", section, instances, f"--set {section}.…")
                + "; its tagger is not in use"
            )


def parameters_of(instance: str, tagger: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """All parameters of an instance, defaults included (checked by building the tagger)."""
    load(tagger, given, instance)
    fields = dataclasses.fields(tagger_class(tagger))
    return {f.name: given.get(f.name, f.default) for f in fields}


def _merge(values: dict[str, Any], new: Any, cls: type[Options] | type[SlurmOptions], where: str) -> None:
    if not isinstance(new, dict):
        raise ConfigError(f"{where}: must be a mapping of keys to values, got {type(new).__name__}")
    hints = typing.get_type_hints(cls)
    known = {k for k in hints if k != "parameters"}
    for key, value in new.items():
        if key == "storage_options":
            values[key] = remote.merged(values.get(key, {}), _storage_options(value, where))
        elif hints.get(key) is SlurmOptions:
            _merge(values.setdefault(key, {}), value, SlurmOptions, f"{where} ({key})")
        elif isinstance(value, dict):
            if key in known:
                raise ConfigError(f"{where}: {key} must be {told(hints[key])}, got a mapping")
            values[key] = {**values.get(key, {}), **value}
        elif key not in known:
            if key in values or key in names():
                raise ConfigError(f"{where}: {key} takes a mapping of its parameters, got {value!r}")
            raise ConfigError(_unknown_key(str(key), known, where))
        elif not fits(value, hints[key]):
            raise ConfigError(f"{where}: {key} must be {told(hints[key])}, got {value!r}")
        else:
            values[key] = value


def _unknown_key(key: str, known: Iterable[str], where: str) -> str:
    """The sentence for it; a parameter without its tagger's name is told with it."""
    owners = []
    for tagger in names():
        with contextlib.suppress(Exception):  # of a broken plug-in; it says so where it is used
            owners += [tagger] if key in {f.name for f in dataclasses.fields(tagger_class(tagger))} else []
    if owners and not difflib.get_close_matches(key, known, cutoff=0.8):
        return f"unknown key {key!r} ({where}): it is a parameter, given as {' or '.join(f'{t}.{key}' for t in owners)}"
    return unknown_name("key", key, known, where)


def _storage_options(value: Any, where: str) -> dict[str, Any]:
    """A mapping, of which dotted names nest, or the K=V entries of the command line."""
    if isinstance(value, Mapping):
        return remote.nested(value)
    if value is None:
        return {}
    if not fits(value, list[str]):  # not shown: it may be a secret
        raise ConfigError(f"{where}: storage_options must be a mapping of names to values, got {type(value).__name__}")
    return remote.parsed(value)


def _user_yaml(path: str) -> Any:
    try:
        with open(path, encoding="utf-8") as file:
            return yaml.load(file, UniqueKeyLoader) or {}  # a SafeLoader
    except OSError as error:
        raise ConfigError(f"--config {path}: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"--config {path} is not YAML: {error}") from error


def _hint(key: str, cls: type[Options], entries: Sequence[str]) -> Any:
    """The type that a key of --set is declared with; None where that is not known."""
    first, separator, rest = key.partition(".")
    hint = typing.get_type_hints(cls).get(first)
    if not separator:
        return hint
    if hint is SlurmOptions:
        return typing.get_type_hints(SlurmOptions).get(rest)
    instances = (part.strip().partition("=") for e in entries for part in e.split(","))
    tagger = next((t for name, _, t in instances if t and name == first), first)
    try:
        return typing.get_type_hints(tagger_class(FEATURE_ALIASES.get(tagger, tagger))).get(rest)
    except ConfigError:
        return None  # told when the taggers are built


def _from_text(text: str, hint: Any) -> Any:
    """What --set gives. Text stays as it was typed where text is wanted (quotes around it are YAML's); all else is
    YAML. A list of texts may also be given without brackets, between commas."""
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError:
        value = text
    kinds = set(typing.get_args(hint)) if typing.get_origin(hint) in (typing.Union, types.UnionType) else {hint}
    if value is None and type(None) in kinds:
        return None
    if typing.get_origin(hint) is typing.Literal:
        return text if text in typing.get_args(hint) else value
    if kinds <= {str, type(None)}:
        return value if isinstance(value, str) and text.lstrip()[:1] in ("'", '"') else text
    if kinds <= {list[str], type(None)}:
        try:
            found = yaml.load(text, yaml.BaseLoader)  # takes every scalar as text
        except yaml.YAMLError:
            found = None
        if fits(found, list[str]):
            return found
        return [part.strip() for part in text.strip().removeprefix("[").removesuffix("]").split(",") if part.strip()]
    return value


def _nested(key: str, value: Any) -> dict[str, Any]:
    first, separator, rest = key.partition(".")
    return {first: {rest: value}} if separator else {first: value}
