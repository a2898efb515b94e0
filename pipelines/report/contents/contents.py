"""Everything that the sections of the page are made from: `gather` reads an output folder into `Contents`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from tagcorpus.errors import TagcorpusError
from tagcorpus.pipelines.attributes.read import Kinds, recorded
from tagcorpus.pipelines.attributes.summary import KEPT_ROWS, Parts, columns_of
from tagcorpus.pipelines.attributes.unread import in_words
from tagcorpus.pipelines.readers.excerpts import Excerpt, Place, excerpts
from tagcorpus.pipelines.readers.plan import Plan
from tagcorpus.pipelines.report.contents.bars import Feature, features_of
from tagcorpus.pipelines.report.contents.folder import Output, read_output
from tagcorpus.pipelines.report.contents.sample import Sample, look, recounted, shrunk
from tagcorpus.pipelines.report.contents.tables import Models, by_input, feature_table_of
from tagcorpus.pipelines.storage import remote


@dataclass
class Contents:
    """The data of the page.

    output     files that tagcorpus wrote: runs, ledgers, summaries, quarantine
    columns    summaries of columns, by instance and column
    features   the columns that have bars
    sample     documents behind the bars, and the excerpts of their texts
    models     the feature table, or a table of inputs
    notes      messages on attributes that are missing, and on documents that were read in part
    """

    output: Output
    columns: dict[str, dict[str, Any]]
    features: list[Feature]
    sample: Sample
    excerpts: dict[Place, Excerpt]
    models: Models | None
    notes: list[str] = field(default_factory=list)


def gather(path: str, seed: int = 0) -> Contents:
    """Read everything that the page needs. Raises InputError if `path` is not an output folder."""
    output = read_output(path)
    current = {i: stats for summary in output.summaries.values() for i, stats in _summarised(output, summary)}
    columns = {i: stats["columns"] for i, stats in current.items()}
    notes = [in_words(i, stats["read_in_part"]) for i, stats in current.items() if "read_in_part" in stats]
    missing = [i for i in output.instances if i not in columns]
    columns |= _recomputed(output, missing, notes)
    features = _features(output, columns)
    sample = look(output.folder, output.files, features, seed)
    stale = sorted({name.split(".")[0] for name, is_same in recounted(features, sample).items() if not is_same})
    if stale and not sample.missing:
        columns |= _recomputed(output, stale, notes)
        features = _features(output, columns)
        sample = look(output.folder, output.files, features, seed)
    notes += _incomplete(sample)
    sample = shrunk(sample)
    places = {p.place for bars in sample.picked.values() for bar in bars for p in bar}
    models = feature_table_of(output) or by_input(output, features, sample)
    # A user who gives storage options, or an output in a store, wants the report to fetch from it. A plan does not show that.
    may_fetch = not output.folder.is_local or bool(remote.in_use())
    shown = excerpts(output.files, places, may_fetch=may_fetch)
    return Contents(output, columns, features, sample, shown, models, notes)


def _summarised(output: Output, summary: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """The entries of the instances whose attributes still have the version and parameters of the summary."""
    current = []
    for name, stats in summary.get("instances", {}).items():
        own = output.instances.get(name)
        if own and all(stats.get(k) == own.get(k) for k in ("tagger", "version", "parameters")):
            current.append((name, stats))
    return current


def _recomputed(output: Output, instances: Sequence[str], notes: list[str]) -> dict[str, dict[str, Any]]:
    """Summaries of these instances' columns, from the attributes of the whole plan."""
    columns = {}
    for name in instances:
        if not output.files:
            continue
        instance = recorded(output.folder, name, output.files[0])
        try:
            parts = Parts(output.folder, Plan(tuple(output.files)), instance, KEPT_ROWS, Kinds().part)
        except (TagcorpusError, OSError):
            notes.append(f"{name} has no summary, and is not computed for every chunk yet. The page leaves it out")
            continue
        described = {c["name"]: c for c in output.instances[name]["columns"]}
        columns[name] = {
            column: stats | {k: described[column][k] for k in ("meaning", "unit", "source") if k in described.get(column, {})}
            for column, stats in columns_of(parts, instance).items()
        }  # fmt: skip
    return columns


def _features(output: Output, columns: dict[str, dict[str, Any]]) -> list[Feature]:
    features: list[Feature] = []
    for name, identity in output.instances.items():
        types = {c["name"]: c["type"] for c in identity["columns"]}
        features += features_of({k: v for k, v in columns.get(name, {}).items() if k in types}, types, name)
    return features


def _incomplete(sample: Sample) -> list[str]:
    if not sample.missing:
        return []
    more = f" (and {len(sample.missing) - 1:,} more)" if len(sample.missing) > 1 else ""
    return [f"some attributes are missing; figures are of the last complete run: {sample.missing[0]}{more}"]
