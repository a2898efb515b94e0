"""The pipelines as functions of their options: what `tagcorpus run PIPELINE` and `tagcorpus.run` call."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any, Literal, Unpack, overload

from tagcorpus.pipelines.dispatch.conduct import run_options
from tagcorpus.pipelines.options.declaring.common import Options
from tagcorpus.pipelines.options.declaring.declare import fields_of
from tagcorpus.pipelines.options.keywords import (
    AnnotateKeywords,
    DomainKeywords,
    EntropyKeywords,
    FeaturesKeywords,
    FilterKeywords,
    TagKeywords,
    TokenizeKeywords,
)
from tagcorpus.pipelines.options.load import load_options
from tagcorpus.pipelines.options.python_words import python_words
from tagcorpus.pipelines.options.tree import OPTIONS
from tagcorpus.pipelines.progress.display import Display
from tagcorpus.pipelines.runs.result import Result


@overload
def run(
    pipeline: Literal["tag"],
    *,
    config: str | None = None,
    sets: Sequence[str] = (),
    display: Display | None = None,
    **options: Unpack[TagKeywords],
) -> Result: ...


@overload
def run(
    pipeline: Literal["filter"],
    *,
    config: str | None = None,
    sets: Sequence[str] = (),
    display: Display | None = None,
    **options: Unpack[FilterKeywords],
) -> Result: ...


@overload
def run(
    pipeline: Literal["annotate"],
    *,
    config: str | None = None,
    sets: Sequence[str] = (),
    display: Display | None = None,
    **options: Unpack[AnnotateKeywords],
) -> Result: ...


@overload
def run(
    pipeline: Literal["domain"],
    *,
    config: str | None = None,
    sets: Sequence[str] = (),
    display: Display | None = None,
    **options: Unpack[DomainKeywords],
) -> Result: ...


@overload
def run(
    pipeline: Literal["entropy"],
    *,
    config: str | None = None,
    sets: Sequence[str] = (),
    display: Display | None = None,
    **options: Unpack[EntropyKeywords],
) -> Result: ...


@overload
def run(
    pipeline: Literal["features"],
    *,
    config: str | None = None,
    sets: Sequence[str] = (),
    display: Display | None = None,
    **options: Unpack[FeaturesKeywords],
) -> Result: ...


@overload
def run(
    pipeline: Literal["tokenize"],
    *,
    config: str | None = None,
    sets: Sequence[str] = (),
    display: Display | None = None,
    **options: Unpack[TokenizeKeywords],
) -> Result: ...


def run(
    pipeline: str,
    *,
    config: str | None = None,
    sets: Sequence[str] = (),
    display: Display | None = None,
    **options: Any,
) -> Result:
    """Run a pipeline; keyword options are the keys of `tagcorpus config PIPELINE`.

    pipeline  tag, filter, domain, annotate, entropy, features or tokenize
    config    YAML file of options; sets: "KEY=VALUE" entries; both count less than a keyword
    options   docs/options.md lists them. Parameters of a tagger are a mapping under its name (`tokens={"tokenizer":
              "cl100k_base"}`), or under `parameters` by the name of any instance. Paths may be path objects; one value is
              accepted where a list is meant.

    Returns a Result whose exit_code is 0, 1 or 3. Raises TagcorpusError (its exit_code says which kind) in terms of these
    keywords, and KeyboardInterrupt where the run is interrupted: published parts stay, and the same call continues from there.
    """
    with python_words():
        effective = load_options(pipeline, config, sets, _keys(pipeline, options), are_keywords=True)
        return run_pipeline(pipeline, effective, display or Display(quiet=True))


def _keys(pipeline: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Keyword arguments as values by dotted key."""
    lists = {o.key for o in fields_of(OPTIONS[pipeline]) if o.kind == list[str]} if pipeline in OPTIONS else set()
    keys: dict[str, Any] = {}
    for name, value in {**options, **options.get("parameters", {})}.items():
        if name == "parameters":
            continue
        if isinstance(value, Mapping):
            keys.update({f"{name}.{k}": _plain(v) for k, v in value.items()})
        else:
            plain = _plain(value)
            keys[name] = [plain] if name in lists and isinstance(plain, str) else plain
    return keys


def _plain(value: Any) -> Any:
    """Path objects as strings, also within a list."""
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    return os.fspath(value) if isinstance(value, os.PathLike) else value


def run_pipeline(pipeline: str, options: Options, display: Display) -> Result:
    """Run a pipeline whose options are already put together, on the executor that they name."""
    if options.executor == "slurm" and not options.dry_run:
        from tagcorpus.pipelines.slurm.launching import launch

        return launch(pipeline, options, display)
    return run_options(pipeline, options, display)
