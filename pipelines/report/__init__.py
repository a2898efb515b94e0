"""`tagcorpus report`: an output folder as one HTML file that can be read offline, sent and published.

The sections are in SECTIONS, in their order; another one is a function that takes a `Told` and gives a `Section`, or
None where the folder has nothing for it. Equal folders (inputs included) give equal bytes.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import tagcorpus
from tagcorpus.errors import ConfigError, TagcorpusError
from tagcorpus.pipelines.attributes.read import Kinds, recorded
from tagcorpus.pipelines.attributes.summary import KEPT_ROWS, Parts, columns_of
from tagcorpus.pipelines.feature_table.provenance import provenance_name
from tagcorpus.pipelines.progress.heartbeat import errors_as_damage, json_object
from tagcorpus.pipelines.readers.plan import Plan
from tagcorpus.pipelines.report.page import check_library, page
from tagcorpus.pipelines.report.sections.bars import Feature, features_of
from tagcorpus.pipelines.report.sections.documents import Excerpt, excerpts
from tagcorpus.pipelines.report.sections.domains import domain_section
from tagcorpus.pipelines.report.sections.entropy import entropy_section
from tagcorpus.pipelines.report.sections.features import features_section
from tagcorpus.pipelines.report.sections.folder import Output, read_output
from tagcorpus.pipelines.report.sections.html import Section, size, text
from tagcorpus.pipelines.report.sections.models import Models, by_input, feature_table, is_feature_table, models_section
from tagcorpus.pipelines.report.sections.prediction import prediction_section
from tagcorpus.pipelines.report.sections.runs import runs_section
from tagcorpus.pipelines.report.sections.sample import Place, Sample, look, recounted, shrunk
from tagcorpus.pipelines.storage import remote
from tagcorpus.pipelines.storage.folder import Folder


@dataclass
class Told:
    """Everything the sections are made from. `columns`: summaries of columns by instance."""

    output: Output
    columns: dict[str, dict[str, Any]]
    features: list[Feature]
    sample: Sample
    excerpts: dict[Place, Excerpt]
    models: Models | None
    notes: list[str] = field(default_factory=list)


_HEADER_BYTES = 1 << 16

SECTIONS: tuple[Callable[[Told], Section | None], ...] = (
    lambda told: runs_section(told.output),
    lambda told: models_section(told.models),
    lambda told: domain_section(told.output, told.columns),
    lambda told: entropy_section(told.output),
    lambda told: prediction_section(told.output),
    lambda told: features_section(told.features, told.sample, told.excerpts, told.output.files, told.notes),
)


def report(output: str, file: str | None = None, seed: int = 0, storage_options: Sequence[str] = ()) -> str:
    """Write the page of an output folder, by default as `report.html` in it; returns what the command prints.

    storage_options  K=V of the filesystem of URLs
    Raises InputError where `output` is no output folder, ConfigError without plotly or for a `file` that is not called
    .html, OutputError where the page cannot be written.
    """
    if file is not None and not file.lower().endswith((".html", ".htm")):  # rather than write over a table, say
        raise ConfigError(f"--output {file}: the report is one HTML page; name a file in .html")
    check_library()
    remote.use_given(storage_options, [output, file or ""])
    with errors_as_damage(output):
        told = gather(output, seed)
        data = render(told)
    folder, name = (told.output.folder, "report.html") if file is None else _place(file)
    folder.publish(name, data)
    return "\n".join([*told.notes, f"{folder.path(name)}  {size(len(data))}"])


def gather(output: str, seed: int = 0) -> Told:
    """Read everything that the page needs. Raises InputError where `output` is no output folder."""
    found = read_output(output)
    columns = {i: stats for summary in found.summaries.values() for i, stats in _summarised(found, summary)}
    notes: list[str] = []
    missing = [i for i in found.instances if i not in columns]
    columns |= _recomputed(found, missing, notes)
    features = _features(found, columns)
    sample = look(found.folder, found.files, features, seed)
    stale = sorted({name.split(".")[0] for name, is_same in recounted(features, sample).items() if not is_same})
    if stale and not sample.missing:
        columns |= _recomputed(found, stale, notes)
        features = _features(found, columns)
        sample = look(found.folder, found.files, features, seed)
    notes += _incomplete(sample)
    sample = shrunk(sample)
    places = {p.place for bars in sample.picked.values() for bar in bars for p in bar}
    models = _feature_table(found) or by_input(found, features, sample)
    # Who gives options of a store, or an output in one, means the report to ask it; a plan alone says nothing of that.
    may_fetch = not found.folder.is_local or bool(remote.in_use())
    shown = excerpts(found.files, places, may_fetch=may_fetch)
    return Told(found, columns, features, sample, shown, models, notes)


def render(told: Told) -> bytes:
    """The page."""
    output = told.output
    sections = [s for s in (make(told) for make in SECTIONS) if s is not None]
    newest = output.runs[-1].command.get("started", "") if output.runs else ""
    counts = ((output.rows, "row"), (len(output.files), "file"), (len(output.instances), "tagger"))
    rows, files, taggers = (f"{n:,} {what}{'s' * (n != 1)}" for n, what in counts)
    line = f"{rows} of {files}, {taggers}"
    line += f"; last run {newest[:16].replace('T', ' ')}" if newest else ""
    return page(output.name, text(line), sections, {"tagcorpus": tagcorpus.__version__})


def _summarised(output: Output, summary: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """Of the instances that the output still holds, made as the summary says."""
    found = []
    for name, told in summary.get("instances", {}).items():
        own = output.instances.get(name)
        if own and all(told.get(k) == own.get(k) for k in ("tagger", "version", "parameters")):
            found.append((name, told["columns"]))
    return found


def _recomputed(output: Output, instances: Sequence[str], notes: list[str]) -> dict[str, dict[str, Any]]:
    """Summaries of these instances' columns from the attributes of the whole plan."""
    found = {}
    for name in instances:
        if not output.files:
            continue
        instance = recorded(output.folder, name, output.files[0])
        try:
            parts = Parts(output.folder, Plan(tuple(output.files)), instance, KEPT_ROWS, Kinds().part)
        except (TagcorpusError, OSError):
            notes.append(f"{name} has not been computed for every chunk yet, and has no summary: it is left out")
            continue
        found[name] = {
            column: stats | {k: c[k] for c in output.instances[name]["columns"] if c["name"] == column for k in ("meaning", "unit", "source") if k in c}
            for column, stats in columns_of(parts, instance).items()
        }  # fmt: skip
    return found


def _features(output: Output, columns: dict[str, dict[str, Any]]) -> list[Feature]:
    found: list[Feature] = []
    for name, told in output.instances.items():
        types = {c["name"]: c["type"] for c in told["columns"]}
        found += features_of({k: v for k, v in columns.get(name, {}).items() if k in types}, types, name)
    return found


def _incomplete(sample: Sample) -> list[str]:
    if not sample.missing:
        return []
    more = f" (and {len(sample.missing) - 1:,} more)" if len(sample.missing) > 1 else ""
    return [f"some attributes are missing; figures are of the last complete run: {sample.missing[0]}{more}"]


def _feature_table(output: Output) -> Models | None:
    """The per-model table that lies in the folder or its summary, if there is one."""
    folder = output.folder
    for name in [n for n in (*folder.files("summary"), *_top_level(folder)) if n.endswith(".csv")]:
        # Other tables can be large: a look at the header tells.
        if is_feature_table(folder.read_chunk(name, 0, _HEADER_BYTES)):
            return feature_table(name, folder.read(name) or b"", json_object(folder, provenance_name(name)))
    return None


def _top_level(folder: Folder) -> list[str]:
    names = (str(n).rstrip("/").rsplit("/", 1)[-1] for n in folder.fs.ls(folder.root, detail=False))
    return sorted(n for n in names if not n.startswith("."))


def _place(file: str) -> tuple[Folder, str]:
    parent, _, name = file.rpartition("/")
    return Folder(parent if "://" in file else os.path.abspath(parent or ("/" if file.startswith("/") else "."))), name
