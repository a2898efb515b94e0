"""Options of a pipeline: packaged YAML < --config FILE < --set KEY=VALUE < command-line option, checked key by key."""

from __future__ import annotations

import dataclasses
import importlib.resources
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from tagcorpus.errors import ConfigError, unknown_name
from tagcorpus.taggers import fits, load, names, tagger_class, told
from tagcorpus.taggers._tree import UniqueKeyLoader

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
    workers: int | None
    executor: str
    ray_address: str | None
    overwrite: bool
    max_quarantined: float | None
    dry_run: bool
    json: bool
    shard_bytes: int
    max_line_bytes: int
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


OPTIONS: dict[str, type[Options]] = {"tag": TagOptions, "filter": FilterOptions, "domain": DomainOptions}
LEAST = {"limit": 1, "workers": 1, "max_quarantined": 0, "shard_bytes": 1024, "max_line_bytes": 16}


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
    for assignment in sets:
        key, separator, value = assignment.partition("=")
        if not separator:
            raise ConfigError(f"--set takes KEY=VALUE, got {assignment!r}")
        _merge(values, _nested(key.strip(), _scalar(value)), cls, f"--set {key}")
    for key, value in (options or {}).items():
        _merge(values, _nested(key, value), cls, f"--{key.rsplit('.', 1)[-1].replace('_', '-')}")
    for key, least in LEAST.items():
        if values[key] is not None and not values[key] >= least:  # NaN is not
            raise ConfigError(f"{key} must be at least {least}, got {values[key]}")
    if values["sample"] is not None and not 0 < values["sample"] <= 1:
        raise ConfigError(f"sample must be above 0 and at most 1, got {values['sample']}")
    plain = {k: v for k, v in values.items() if not isinstance(v, dict)}
    return cls(**plain, parameters={k: v for k, v in values.items() if isinstance(v, dict)})


def to_yaml(options: Options, instances: Mapping[str, Mapping[str, Any]]) -> str:
    """The options as YAML, with every parameter of the instances in use."""
    values = {f.name: getattr(options, f.name) for f in dataclasses.fields(options) if f.name != "parameters"}
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


def _merge(values: dict[str, Any], new: Any, cls: type[Options], where: str) -> None:
    if not isinstance(new, dict):
        raise ConfigError(f"{where}: must be a mapping of keys to values, got {type(new).__name__}")
    hints = typing.get_type_hints(cls)
    known = {k for k in hints if k != "parameters"}
    for key, value in new.items():
        if isinstance(value, dict):
            if key in known:
                raise ConfigError(f"{where}: {key} must be {told(hints[key])}, got a mapping")
            values[key] = {**values.get(key, {}), **value}
        elif key not in known:
            if key in values or key in names():
                raise ConfigError(f"{where}: {key} takes a mapping of its parameters, got {value!r}")
            raise ConfigError(unknown_name("key", str(key), known, where))
        elif not fits(value, hints[key]):
            raise ConfigError(f"{where}: {key} must be {told(hints[key])}, got {value!r}")
        else:
            values[key] = value


def _user_yaml(path: str) -> Any:
    try:
        with open(path, encoding="utf-8") as file:
            return yaml.load(file, UniqueKeyLoader) or {}  # a SafeLoader
    except OSError as error:
        raise ConfigError(f"--config {path}: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"--config {path} is not YAML: {error}") from error


def _scalar(text: str) -> Any:
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        return text


def _nested(key: str, value: Any) -> dict[str, Any]:
    first, separator, rest = key.partition(".")
    return {first: {rest: value}} if separator else {first: value}
