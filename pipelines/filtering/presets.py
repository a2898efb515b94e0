"""Presets of `run filter`: published thresholds over the columns of the tagger `signals`, from configs/filter_presets.yaml."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any, NamedTuple

import yaml

from tagcorpus.pipelines.attributes.parts import Instance
from tagcorpus.pipelines.filtering.condition import Condition, references
from tagcorpus.pipelines.readers.plan import PlannedFile
from tagcorpus.pipelines.storage.folder import Folder

TAGGER = "signals"


class Preset(NamedTuple):
    """A published filter: what it is, its source, and by reason the conditions that a document must meet."""

    about: str
    source: str
    keep: Mapping[str, str]

    @property
    def where(self) -> str:
        """All conditions as one, as `--where` takes it."""
        return " AND ".join(f"({condition})" for condition in self.keep.values())


@cache
def presets() -> dict[str, Preset]:
    """Every preset by name, in the file's order."""
    text = resources.files("tagcorpus.configs").joinpath("filter_presets.yaml").read_text("utf-8")
    return {name: Preset(**preset) for name, preset in yaml.safe_load(text).items()}


@dataclass(frozen=True)
class PresetRule:
    """The rule of `--preset`. The reason of a removed document is that of the first condition that it does not meet."""

    name: str
    instance: Instance

    @property
    def instances(self) -> list[Instance]:
        return [self.instance]

    @property
    def preset(self) -> Preset:
        return presets()[self.name]

    def fingerprint(self) -> dict[str, Any]:
        """Inputs of a verdict besides the parts; the reasons are part of the removed rows."""
        return self._condition().fingerprint() | {"preset": dict(self.preset.keep)}

    def judged(self, output: Folder, planned: PlannedFile, k: int) -> Iterator[tuple[int, str]]:
        """Row, and the reason for its removal (empty where it is kept), of every document of a chunk."""
        cases = "".join(f" WHEN ({condition}) IS FALSE THEN '{why}'" for why, condition in self.preset.keep.items())
        expression = f"CASE WHEN {self.preset.where} THEN ''{cases} ELSE 'tagger_failed' END"
        yield from self._condition().values(output, planned, k, expression)

    def _condition(self) -> Condition:
        columns = list(dict.fromkeys(name for (name,) in references(self.preset.where)))
        return Condition(self.preset.where, [self.instance], {self.instance.name: columns})
