"""The methods that measured the columns of a feature table: which of them differ from those of the published table, and how
two recipes differ. No files here. provenance.py keeps recipes beside the table.

A recipe is the filter and, by role, the tagger with its version and parameters (tokenizer, parser, backend and model,
classifier). Values of one column compare only where the recipes say the same of it.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from tagcorpus.pipelines.attributes.parts import Instance
from tagcorpus.pipelines.feature_table.columns import FILTER, RATIOS, SOURCES, STEMS, extended_columns, numeric_columns

# Parameters that say where something is, or how much of the whole was looked at, and not what it was measured with.
IGNORED = ("base_url", "lists", "sample", "seed", "selection")
# What the published table was made with (arXiv 2503.03862 and its code).
PUBLISHED_DOMAIN_MODEL = "gpt-4o-mini"
PUBLISHED_CLASSIFIER = "HuggingFaceTB/fineweb-edu-classifier"
PUBLISHED_ENTROPY_TOKENIZER = "p50k_base"
NOT_RECORDED = "not recorded"


@dataclass(frozen=True)
class Recipe:
    """`filter`: thresholds and min_kept_share; `methods`: by role. Both empty where nothing is recorded."""

    filter: dict[str, Any] = field(default_factory=dict)
    methods: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def is_recorded(self) -> bool:
        return bool(self.filter)

    def of(self, column: str) -> dict[str, Any] | None:
        """The method that measured a column; None where it has none, or was not computed."""
        return self.methods.get(role_of(column))

    def united(self, other: Recipe) -> Recipe:
        """With the methods that only the other has; the two must not differ."""
        return Recipe(self.filter, {**other.methods, **self.methods})

    def to_json(self) -> dict[str, Any]:
        return {"filter": self.filter, "instruments": self.methods}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Recipe:
        return cls(dict(value["filter"]), {role: dict(method) for role, method in value["instruments"].items()})


def recipe_of(instances: Mapping[str, Instance], min_kept_share: float, entropy: Mapping[str, Any] | None) -> Recipe:
    """instances  by role; entropy  what it was computed with (`tokenizer`, a fingerprint, and `n`), None where it was not"""
    methods = {}
    for role, instance in sorted(instances.items()):
        identity = instance.identity()
        parameters = {k: v for k, v in identity["parameters"].items() if k not in IGNORED}
        methods[role] = {"tagger": identity["tagger"], "version": identity["version"], **parameters}
    if entropy is not None:
        methods["entropy"] = dict(entropy)
    kept_by = methods.pop(FILTER, {"tagger": "none: every generation counts"})
    recipe = Recipe({**kept_by, "min_kept_share": min_kept_share}, methods)
    # As JSON has it, so that a recipe read back equals the one written.
    return Recipe.from_json(json.loads(json.dumps(recipe.to_json())))


@cache
def _roles() -> dict[str, str]:
    stems = {stem: role for stem, (role, _) in SOURCES.items()}
    stems |= {s.name: "domain" for s in STEMS if s.ddof is None} | {"domain": "domain", "entropy": "entropy"}
    stems |= dict.fromkeys(RATIOS, "keywords")
    return {c.name: stems.get(c.stem, "") for c in (*numeric_columns().values(), *extended_columns().values())}


def role_of(column: str) -> str:
    """Whose figure a column is; "" where it is nobody's."""
    return _roles().get(column, "")


def described(method: Mapping[str, Any]) -> str:
    """A method in words."""
    named = {k: v for k, v in method.items() if k not in ("tagger", "version")}
    parameters = ", ".join(f"{k}={v if isinstance(v, str) else json.dumps(v)}" for k, v in sorted(named.items()))
    tagger = method.get("tagger", "entropy")
    version = f" (version {method['version']})" if "version" in method else ""
    return f"{tagger}{version}{': ' * bool(parameters)}{parameters}"


def substitute_for(role: str, method: Mapping[str, Any]) -> str:
    """The method of the published table in whose place this one is used; "" where it is the same or not known."""
    if role == "tokens" and not _is_digest(method.get("tokenizer")):
        return "the tokenizer of Llama 2"
    if role == "entropy" and method.get("tokenizer") != PUBLISHED_ENTROPY_TOKENIZER:
        return f"the tokenizer {PUBLISHED_ENTROPY_TOKENIZER}"
    if role == "domain" and not (
        method.get("backend") == "openai" and str(method.get("model")).startswith(PUBLISHED_DOMAIN_MODEL)
    ):
        return f"{PUBLISHED_DOMAIN_MODEL} asked by the stage tree"
    if role == "syntax" and method.get("backend") == "spacy":
        return "Stanza"
    if role == "quality" and method.get("model") != PUBLISHED_CLASSIFIER:
        return PUBLISHED_CLASSIFIER
    return ""


def _is_digest(tokenizer: object) -> bool:
    """A tokenizer read from a file, which may be Llama 2's own; encodings that have a name are not."""
    return isinstance(tokenizer, str) and len(tokenizer.split(":")[-1]) >= 32


def differences(
    here: Recipe, there: Recipe, name: str, filled_here: Collection[str], filled_there: Collection[str]
) -> Iterator[str]:
    """What the recipes say differently of columns that both sides have values in, one sentence each.

    name  of the file on the other side
    """
    shared = [
        c for c in (*numeric_columns(), *extended_columns()) if c in filled_here and c in filled_there and role_of(c)
    ]
    if not shared:
        return
    if not (here.is_recorded and there.is_recorded):
        which = name if here.is_recorded else "the rows here"
        yield f"what {which} was measured with is {NOT_RECORDED} (it has no provenance that fits)"
        return
    if here.filter != there.filter:
        yield f"which generations count: {_differing(here.filter, there.filter, name)}"
    for role in dict.fromkeys(map(role_of, shared)):
        mine, other = here.methods.get(role), there.methods.get(role)
        if mine != other:
            columns = [c for c in shared if role_of(c) == role]
            some = ", ".join(columns[:3]) + (f" and {len(columns) - 3} more" if len(columns) > 3 else "")
            yield f"{some}: {_differing(mine or {}, other or {}, name)}"


def _differing(mine: Mapping[str, Any], other: Mapping[str, Any], name: str) -> str:
    keys = [k for k in sorted({*mine, *other}) if mine.get(k) != other.get(k)]
    return ", ".join(f"{k} is {_value(mine, k)} here and {_value(other, k)} in {name}" for k in keys)


def _value(method: Mapping[str, Any], key: str) -> str:
    return json.dumps(method[key]) if key in method else NOT_RECORDED
