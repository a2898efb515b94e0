"""Tagger instances of a run: built from names and parameters, checked before anything is read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tagcorpus.pipelines.config import Options, check_sections
from tagcorpus.pipelines.sidecars import Instance
from tagcorpus.taggers import load


def build(options: Options, instances: Mapping[str, str]) -> list[Instance]:
    """One Instance per name. Raises ConfigError for unknown parameters and sections that belong to nobody."""
    check_sections(options, instances)
    found = []
    for name, tagger in instances.items():
        parameters: dict[str, Any] = options.parameters.get(name, {})
        found.append(Instance(name, tagger, load(tagger, parameters, name)))
    return found
