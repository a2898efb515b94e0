"""An output folder as the report sees it: runs and their ledgers, instances, summaries, quarantine.

This module reads only files that tagcorpus wrote, never a document. Damaged and missing files are left out, and the sections
say so. The folder is not changed.
"""

from __future__ import annotations

import base64
import json
from collections import Counter
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from tagcorpus.errors import InputError, OutputError
from tagcorpus.pipelines.attributes.read import instance_folders
from tagcorpus.pipelines.progress.heartbeat import json_object, not_an_output
from tagcorpus.pipelines.readers.plan import PlannedFile, load_plan
from tagcorpus.pipelines.report.contents.trained import Trained, read_trained
from tagcorpus.pipelines.storage.folder import Folder

# Quarantined rows shown for each reason, and the number of quarantine files that are read for them at most.
SHOWN_ROWS = 3
QUARANTINE_FILES = 200
_HEAD_BYTES = 1 << 16
_COUNTED = (
    "lines",
    "read",
    "blank",
    "documents",
    "repaired",
    "filter_duplicates",
    "unsampled",
    "unreadable",
    "text_bytes",
)


@dataclass(frozen=True)
class RecordedRun:
    """One run. The ledger of a run that is going on, or was killed, is empty."""

    name: str
    command: dict[str, Any]
    ledger: dict[str, Any]

    @property
    def pipeline(self) -> str:
        return str(self.ledger.get("pipeline") or self.command.get("pipeline") or "?")


@dataclass(frozen=True)
class Quarantine:
    """One reason: the number of rows by the ledgers, and the first few rows as (input, row, head)."""

    reason: str
    rows: int
    shown: list[tuple[str, int, str]]


@dataclass
class InputCounts:
    """One input: chunks, chunks that are not done, rows by what became of them, and quarantined rows by reason."""

    chunks: int
    open: int
    counts: Counter[str] = field(default_factory=Counter)
    quarantined: Counter[str] = field(default_factory=Counter)


@dataclass
class Output:
    """An output folder. `instances`: tagger.json by instance. `summaries`: by file name below summary/, the newest run's last.
    `trained`: mixes, models and fits."""

    folder: Folder
    name: str
    files: list[PlannedFile]
    runs: list[RecordedRun]
    instances: dict[str, dict[str, Any]]
    summaries: dict[str, dict[str, Any]] = field(default_factory=dict)
    trained: Trained = field(default_factory=Trained)

    @property
    def is_of_pipeline(self) -> bool:
        """Whether a pipeline wrote the folder, not only `mix`, `train` or `mix fit`."""
        return bool(self.runs or self.files or self.instances)

    @property
    def rows(self) -> int:
        return sum(f.rows for f in self.files)

    def totals(self) -> Counter[str]:
        """What became of all rows: sums over the inputs."""
        return sum((counts.counts for counts in self.inputs.values()), Counter[str]())

    @cached_property
    def inputs(self) -> dict[str, InputCounts]:
        """The counts of every planned input, by the newest ledgers that have it."""
        by_name: dict[str, InputCounts] = {}
        # The summary's name distinguishes runs of one pipeline: entropy has a summary for each n.
        quarantined: dict[tuple[str, str], Counter[str]] = {}
        for run in self.runs:
            for name, chunks in _by_input(run.ledger).items():
                by_name[name] = InputCounts(len(chunks), sum(not c.get("is_done") for c in chunks))
                for chunk in chunks:
                    by_name[name].counts.update({k: chunk.get(k, 0) for k in _COUNTED})
                lost = sum((Counter(c.get("quarantined", {})) for c in chunks), Counter[str]())
                quarantined[str(run.ledger.get("summary")), name] = lost
        for (_, name), lost in quarantined.items():
            by_name[name].quarantined |= lost  # rows that the reader refused are in all of them, and count once
        planned = {f.file.name for f in self.files}
        return {name: counts for name, counts in by_name.items() if name in planned}


def read_output(path: str) -> Output:
    """Raises InputError if `path` is not an output folder, or cannot be read."""
    try:
        return _read_output(path)
    except InputError:
        raise
    except Exception as error:
        if "://" not in path and not isinstance(error, OSError | OutputError):
            raise
        # A store raises any error of its client library, for a missing package or missing credentials, too.
        raise InputError(f"{path} cannot be read: {error}") from error


def _read_output(path: str) -> Output:
    folder = Folder(path)
    files = load_plan(folder, skip_damaged=True)
    runs = _runs(folder)
    names = instance_folders(folder)
    trained = read_trained(folder, is_output=bool(runs or files or names))
    if not runs and not files and not names and not trained:
        raise not_an_output(folder)
    instances = {n: json_object(folder, f"attributes/{n}/tagger.json") for n in names}
    instances = {n: identity for n, identity in instances.items() if {"tagger", "columns"} <= set(identity)}
    output = Output(folder, folder.root.rsplit("/", 1)[-1], files, runs, instances, trained=trained)
    output.summaries = _summaries(output)
    return output


def quarantine(output: Output) -> list[Quarantine]:
    """Quarantined rows by reason, the commonest first."""
    rows = sum((counts.quarantined for counts in output.inputs.values()), Counter[str]())
    shown = _first_rows(output.folder, set(rows)) if rows else {}
    return [
        Quarantine(reason, n, shown.get(reason, [])) for reason, n in sorted(rows.items(), key=lambda i: (-i[1], i[0]))
    ]


def _by_input(ledger: dict[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """The ledger's chunks by input."""
    chunks: dict[str, list[dict[str, Any]]] = {}
    for chunk in ledger.get("ranges", []):
        chunks.setdefault(str(chunk.get("input")), []).append(chunk)
    return chunks


def _runs(folder: Folder) -> list[RecordedRun]:
    """By name, which begins with the time."""
    names = sorted({p.split("/")[1] for p in folder.files("runs") if p.count("/") == 2})
    runs = [
        RecordedRun(n, json_object(folder, f"runs/{n}/command.json"), json_object(folder, f"runs/{n}/ledger.json"))
        for n in names
    ]
    return [r for r in runs if r.command or r.ledger]


def _summaries(output: Output) -> dict[str, dict[str, Any]]:
    names = [n for n in output.folder.files("summary") if n.count("/") == 1 and n.endswith(".json")]
    last_run = {str(run.ledger.get("summary")): i for i, run in enumerate(output.runs)}
    names.sort(key=lambda n: (last_run.get(n, -1), n))
    summaries = {n.removeprefix("summary/").removesuffix(".json"): json_object(output.folder, n) for n in names}
    return {n: value for n, value in summaries.items() if value}


def _first_rows(folder: Folder, reasons: set[str]) -> dict[str, list[tuple[str, int, str]]]:
    """(input, row, head) of the first quarantined rows, by reason."""
    by_reason: dict[str, list[tuple[str, int, str]]] = {}
    for name in folder.files("quarantine")[:QUARANTINE_FILES]:
        input_name = name.removeprefix("quarantine/").rpartition("/")[0]
        whole_lines = folder.read_chunk(name, 0, _HEAD_BYTES).rpartition(b"\n")[0]
        for line in whole_lines.split(b"\n"):
            try:
                entry = json.loads(line)
                reason, row = str(entry["reason"]), int(entry["row"])
            except (ValueError, KeyError, TypeError, RecursionError):
                continue
            rows = by_reason.setdefault(reason, [])
            if len(rows) < SHOWN_ROWS:
                rows.append((input_name, row, _head(entry)))
        if all(len(by_reason.get(r, ())) >= SHOWN_ROWS for r in reasons):
            break
    return by_reason


def _head(entry: dict[str, Any]) -> str:
    if "head" in entry:
        return str(entry["head"])
    if "head_base64" in entry:
        # A reader recognises the row by what is UTF-8 in it; every other byte is shown as \xNN.
        return base64.b64decode(str(entry["head_base64"])).decode("utf-8", "backslashreplace")
    return str(entry.get("message") or entry.get("error") or "")
