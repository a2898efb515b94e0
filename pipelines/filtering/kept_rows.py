"""`--where` of commands that read attributes (`audit`, `compare`): the documents that count, and a note where a filter has removed some."""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tagcorpus.errors import ConfigError
from tagcorpus.pipelines.attributes.read import recorded
from tagcorpus.pipelines.distributions.attribute_columns import Attributes
from tagcorpus.pipelines.filtering import where
from tagcorpus.pipelines.filtering.condition import Condition, references
from tagcorpus.pipelines.options.commands.tag import FilterOptions
from tagcorpus.pipelines.readers.plan import PlannedFile
from tagcorpus.pipelines.storage.folder import Folder

FILTERED = "summary/filter.json"
IN_DOUBLE_QUOTES = frozenset('"$`\\!')
"""Characters that a shell changes between double quotes."""


@dataclass(frozen=True)
class KeptRows:
    """Which documents of a chunk a condition keeps."""

    output: Folder
    condition: Condition

    def __call__(self, planned: PlannedFile, k: int) -> npt.NDArray[np.bool_]:
        values = self.condition.values(self.output, planned, k, self.condition.sql)
        return np.array([value is True for _, value in values], bool)


def restricted(attributes: Attributes, sql: str | None) -> Attributes:
    """The attributes of the documents for which the condition is true; all without a condition. Raises ConfigError for a condition
    that does not fit the output."""
    if sql is None:
        return attributes
    folder = attributes.folder
    options = FilterOptions(input=["INPUT"], output=str(folder), where=sql)
    columns = where.resolve(references(sql), where.known_columns(folder), folder, options)
    instances = [recorded(folder, name, attributes.plan.files[0]) for name in columns]
    condition = Condition(sql, instances, columns)
    condition.check()
    return attributes.of_rows(KeptRows(folder, condition))


def notes_on_rows(attributes: Attributes, sql: str | None) -> list[str]:
    """A sentence on the documents that count, where these may be others than expected: with a condition, or where `run filter` has
    removed documents, which the attributes still have."""
    folder = attributes.folder
    if sql is not None:
        return [f"only documents of {folder} count for which --where holds: {sql}"]
    try:
        summary = json.loads(folder.read(FILTERED) or b"{}")
        rule, n = str(summary["filtered"]["keep"]), sum(summary["filtered"]["removed"].values())
    except (ValueError, KeyError, TypeError, AttributeError):
        return []
    if not n:
        return []
    remedy = f"tagcorpus join {shlex.quote(str(folder.path('filtered')))} {shlex.quote(str(folder))} --output KEPT"
    if _is_condition(rule, folder):
        remedy = f"give --where {shlex.quote(rule)}" if set(rule) & IN_DOUBLE_QUOTES else f'give --where "{rule}"'
    return [
        f"all documents of {folder} count, also the {n:,} that its filter removed (by {rule}). For the kept ones alone: {remedy}"
    ]


def _is_condition(rule: str, folder: Folder) -> bool:
    """Whether the rule of a filter is a condition over columns: not a preset, nor the best documents or a draw."""
    try:
        return bool(where.resolve(references(rule), where.known_columns(folder), folder, FilterOptions(where=rule)))
    except ConfigError:
        return False
