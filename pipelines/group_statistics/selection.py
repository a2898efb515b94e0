"""What a `run features` is to compute: which tagger is behind which columns, which are left out and why, and what groups.

A substitute for what the published table was made with is used only where it is named: the domain backend, and the
tokenizer of the token counts. What is not computed has a reason, which the table's provenance repeats.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import pyarrow as pa

from tagcorpus.errors import ConfigError
from tagcorpus.pipelines.attributes.parts import Instance
from tagcorpus.pipelines.labelling.backend import decided
from tagcorpus.pipelines.options.commands.features import FeaturesOptions
from tagcorpus.pipelines.options.tagger_names import instance_names
from tagcorpus.taggers._interface.base import Parameters, column
from tagcorpus.taggers._interface.batch import DocumentBatch

FILTER = "repetition"
ENTROPY = "entropy"
DOMAIN = "domain"
TOKENS = "tokens"
# Taggers that columns of the table come from; language is for the summary.
ROLES = (FILTER, "length", "tokens", "keywords", "language", "syntax", "quality", DOMAIN)
NO_BACKEND = (
    "not computed: no backend was named (--backend openai is what the published table was made with, --backend fasttext "
    "the embedded model, a substitute)"
)
NO_TOKENIZER = (
    "not computed: no tokenizer was named (--tokenizer FILE, a tokenizer.json: the published table was made with Llama 2's; "
    "--tokenizer p50k_base is a substitute)"
)


@dataclass(frozen=True)
class GroupingColumn(Parameters):
    """The value of a document column, as text: what `--group-by COLUMN` groups by."""

    name: str

    version: ClassVar[str] = "1"
    columns: ClassVar[pa.Schema] = pa.schema([column("value", pa.string(), "value of a document column", "text")])

    @property
    def needs(self) -> tuple[str, ...]:
        return (self.name,)

    def tag(self, batch: DocumentBatch) -> pa.RecordBatch:
        return pa.record_batch([pa.array(batch.column(self.name), pa.string())], schema=self.columns)


@dataclass(frozen=True)
class Chosen:
    """What `--taggers` comes to: instance names by tagger, and why what is not there is not (`absent`, by tagger)."""

    instances: dict[str, str]
    has_entropy: bool
    absent: dict[str, str] = field(default_factory=dict)


def chosen(options: FeaturesOptions) -> Chosen:
    """Raises ConfigError for taggers that no column comes from, and for one that is there twice."""
    entries = [p.strip() for e in options.taggers for p in e.split(",") if p.strip()]
    rest = [e for e in entries if e != ENTROPY]
    by_role: dict[str, str] = {}
    for name, tagger in (instance_names(rest) if rest else {}).items():
        if tagger not in ROLES:
            raise ConfigError(
                f"--taggers {tagger}: no column of the table comes from it; those that some do: "
                f"{', '.join((*ROLES, ENTROPY))}. `tagcorpus run tag` with the same --output adds any other"
            )
        if by_role.setdefault(tagger, name) != name:
            raise ConfigError(
                f"--taggers: {by_role[tagger]} and {name} are both {tagger}; a column is measured with one tagger"
            )
    name = by_role.get("quality", "quality")
    if options.parameters.get(name, {}).get("score_name", "edu_classifier") != "edu_classifier":
        raise ConfigError(f"{name}.score_name: the table's column is edu_classifier, so the score keeps that name here")
    by_role = {FILTER: by_role.pop(FILTER, FILTER), **by_role}
    columns_of = [r for r in (*ROLES, ENTROPY) if r != "language"]
    absent = {r: f"not computed: --taggers has no {r}" for r in columns_of if r not in by_role}
    if ENTROPY in entries:
        del absent[ENTROPY]
    if DOMAIN in by_role:
        if by_role[DOMAIN] != DOMAIN:
            raise ConfigError(f"--taggers {by_role[DOMAIN]}=domain: the domain tagger keeps its own name here")
        if backend(options.parameters.get(DOMAIN, {})) is None:
            del by_role[DOMAIN]
            absent[DOMAIN] = NO_BACKEND
    if TOKENS in by_role and not options.parameters.get(by_role[TOKENS], {}).get("tokenizer"):
        del by_role[TOKENS]
        absent[TOKENS] = NO_TOKENIZER
    return Chosen(by_role, ENTROPY in entries, absent)


def backend(parameters: Mapping[str, Any]) -> str | None:
    """As it was named, an endpoint by its URL too; None where it was not. `auto` never means the substitute here."""
    if parameters.get("backend") in (None, "auto"):
        is_named = parameters.get("base_url") or (parameters.get("backend") and decided(parameters) == "openai")
        return "openai" if is_named else None
    return decided(parameters)


def level_of(group_by: str | None) -> int | None:
    """N of `level:N`. Raises ConfigError for a level that is none."""
    if group_by is None or not group_by.startswith("level:"):
        return None
    if not re.fullmatch(r"[1-9]\d{0,3}", group_by[len("level:") :]):
        raise ConfigError(f"--group-by takes a document column, or level:N with N from 1, got {group_by!r}")
    return int(group_by[len("level:") :])


def grouping_of(options: FeaturesOptions) -> Instance | None:
    """What gives every document its group's name, where `--group-by` names a column."""
    if options.group_by is None or level_of(options.group_by) is not None:
        return None
    return grouping_column(options.group_by)


def grouping_column(column: str) -> Instance:
    """The instance that gives every document its value in a document column."""
    name = re.sub(r"[^A-Za-z0-9_.-]", "-", column)
    return Instance(f"group-{name}", "document column", GroupingColumn(column))
