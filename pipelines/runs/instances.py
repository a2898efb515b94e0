"""Tagger instances of a run: built from names and parameters, checked before anything is read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tagcorpus.errors import ConfigError
from tagcorpus.pipelines.attributes.parts import Instance
from tagcorpus.pipelines.options.commands.domain import AnnotateOptions, DomainOptions
from tagcorpus.pipelines.options.commands.features import FeaturesOptions
from tagcorpus.pipelines.options.declaring.common import Options
from tagcorpus.pipelines.options.load import check_sections
from tagcorpus.taggers import Tagger, load


def build(options: Options, instances: Mapping[str, str]) -> list[Instance]:
    """One Instance per name. Raises ConfigError for unknown parameters, sections that belong to nobody, a missing key, and
    taggers that ask an endpoint in a pipeline that keeps no budget."""
    check_sections(options, instances)
    built = []
    for name, tagger_name in instances.items():
        parameters: dict[str, Any] = options.parameters.get(name, {})
        is_with_budget = isinstance(options, DomainOptions | AnnotateOptions) or (
            isinstance(options, FeaturesOptions) and tagger_name == "domain"
        )
        if is_with_budget:
            tagger = load(tagger_name, parameters, name)
            if not options.dry_run:
                tagger.check_access()  # type: ignore[attr-defined]
        else:
            tagger = load_free(tagger_name, parameters, name)
        built.append(Instance(name, tagger_name, tagger))
    return built


def load_free(tagger_name: str, parameters: Mapping[str, Any], name: str) -> Tagger:
    """`taggers.load`, but ConfigError for one that asks an endpoint: every worker would have a budget of its own."""
    tagger = load(tagger_name, parameters, name)
    if getattr(tagger, "worst_case_calls", 0):
        if tagger_name == "annotate":
            raise ConfigError(
                f"{name} asks an LLM endpoint, and all calls of a run go through one caller with one budget: use `tagcorpus run "
                "annotate` (tagcorpus.run('annotate', ...) in Python)"
            )
        raise ConfigError(
            f"{name} asks an LLM endpoint, and all calls of a run go through one caller with one budget: use `tagcorpus run "
            f"domain` (tagcorpus.run('domain', ...) in Python), or the embedded model (--set {name}.backend=fasttext)"
        )
    return tagger
