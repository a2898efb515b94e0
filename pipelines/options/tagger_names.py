"""Instances of taggers as `--taggers` names them."""

from __future__ import annotations

from collections.abc import Sequence

from tagcorpus.errors import ConfigError, unknown_name
from tagcorpus.taggers import names

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


def instance_names(entries: Sequence[str]) -> dict[str, str]:
    """Instance name -> tagger name, of entries like `length`, `topic=fasttext` or the paper's `char_len`."""
    instances: dict[str, str] = {}
    for entry in (part.strip() for e in entries for part in e.split(",")):
        name, separator, tagger = entry.partition("=")
        if not separator:
            name = tagger = FEATURE_ALIASES.get(entry, entry)
        tagger = FEATURE_ALIASES.get(tagger, tagger)
        if not name or not all(c.isalnum() or c in "_-." for c in name) or name.startswith("."):
            raise ConfigError(f"--taggers: an instance name is letters, digits, _ - and ., got {name!r}")
        if tagger not in names():
            raise ConfigError(unknown_name("tagger", tagger, names(), "--taggers"))
        if instances.setdefault(name, tagger) != tagger:
            raise ConfigError(f"--taggers names {name!r} twice, as {instances[name]} and as {tagger}")
    if not instances:
        raise ConfigError("--taggers is empty; known: " + ", ".join(names()))
    return instances


def tagger_of(instance: str, entries: Sequence[str]) -> str:
    """The tagger of an instance, as far as `--taggers` entries say; else the instance's name is the tagger's."""
    pairs = (part.strip().partition("=") for e in entries for part in e.split(","))
    tagger = next((t for name, _, t in pairs if t and name == instance), instance)
    return FEATURE_ALIASES.get(tagger, tagger)
