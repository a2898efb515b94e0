"""What an output folder tells of itself, for the report: runs and their ledgers, instances, summaries, quarantine.

Only files that tagcorpus wrote are read here, never a document. What is damaged or missing is left out, and whoever
shows it says so; the folder is not changed.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from tagcorpus.errors import InputError, OutputError
from tagcorpus.pipelines.attributes.read import instance_folders
from tagcorpus.pipelines.progress.heartbeat import json_object, not_an_output
from tagcorpus.pipelines.readers.plan import PlannedFile, load_plan
from tagcorpus.pipelines.storage.folder import Folder

# Of quarantined rows this many are shown for each reason, from as many files as it takes, up to the second number.
SHOWN_ROWS = 3
LOOKED_AT_FILES = 200
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
class RunTold:
    """One run. `ledger` is empty where it is still going on, or was killed."""

    name: str
    command: dict[str, Any]
    ledger: dict[str, Any]

    @property
    def pipeline(self) -> str:
        return str(self.ledger.get("pipeline") or self.command.get("pipeline") or "?")


@dataclass(frozen=True)
class Quarantine:
    """Of one reason: how many rows by the ledgers, and the first few as (input, row, head)."""

    reason: str
    rows: int
    shown: list[tuple[str, int, str]]


@dataclass
class InputCounts:
    """Of one input: chunks, how many of them are open, rows by what became of them, and quarantined rows by reason."""

    chunks: int
    open: int
    counts: Counter[str] = field(default_factory=Counter)
    quarantined: Counter[str] = field(default_factory=Counter)


@dataclass
class Output:
    """An output folder, read. `instances`: tagger.json by instance. `summaries`: by file name below summary/, the newest run's last."""

    folder: Folder
    name: str
    files: list[PlannedFile]
    runs: list[RunTold]
    instances: dict[str, dict[str, Any]]
    summaries: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def rows(self) -> int:
        return sum(f.rows for f in self.files)

    def totals(self) -> Counter[str]:
        """What became of all rows: sums over the inputs."""
        return sum((told.counts for told in self.inputs.values()), Counter[str]())

    @cached_property
    def inputs(self) -> dict[str, InputCounts]:
        """What became of every planned input, by the newest ledgers that have it."""
        found: dict[str, InputCounts] = {}
        # A run's summary tells runs of one kind apart: entropy has one for each n.
        quarantined: dict[tuple[str, str], Counter[str]] = {}
        for run in self.runs:
            for name, chunks in _by_input(run.ledger).items():
                found[name] = InputCounts(len(chunks), sum(not r.get("is_done") for r in chunks))
                for told in chunks:
                    found[name].counts.update({k: told.get(k, 0) for k in _COUNTED})
                lost = sum((Counter(r.get("quarantined", {})) for r in chunks), Counter[str]())
                quarantined[str(run.ledger.get("summary")), name] = lost
        for (_, name), lost in quarantined.items():
            found[name].quarantined |= lost  # what the reader refused stands in all of them, and counts once
        planned = {f.file.name for f in self.files}
        return {name: told for name, told in found.items() if name in planned}


def read_output(path: str) -> Output:
    """Raises InputError where `path` is no output folder, or cannot be read."""
    try:
        return _read_output(path)
    except InputError:
        raise
    except Exception as error:
        if "://" not in path and not isinstance(error, OSError | OutputError):
            raise
        # Stores raise whatever their client library raises, a missing package and missing credentials among it.
        raise InputError(f"{path} cannot be read: {error}") from error


def _read_output(path: str) -> Output:
    folder = Folder(path)
    files = load_plan(folder, skip_damaged=True)
    runs = _runs(folder)
    names = instance_folders(folder)
    if not runs and not files and not names:
        raise not_an_output(folder)
    instances = {n: json_object(folder, f"attributes/{n}/tagger.json") for n in names}
    instances = {n: told for n, told in instances.items() if {"tagger", "columns"} <= set(told)}
    output = Output(folder, folder.root.rsplit("/", 1)[-1], files, runs, instances)
    output.summaries = _summaries(output)
    return output


def quarantine(output: Output) -> list[Quarantine]:
    """Quarantined rows by reason, the commonest first."""
    rows = sum((told.quarantined for told in output.inputs.values()), Counter[str]())
    shown = _shown(output.folder, set(rows)) if rows else {}
    return [
        Quarantine(reason, n, shown.get(reason, [])) for reason, n in sorted(rows.items(), key=lambda i: (-i[1], i[0]))
    ]


def _by_input(ledger: dict[str, Any]) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    for told in ledger.get("ranges", []):
        found.setdefault(str(told.get("input")), []).append(told)
    return found


def _runs(folder: Folder) -> list[RunTold]:
    """By name, which begins with the time."""
    names = sorted({p.split("/")[1] for p in folder.files("runs") if p.count("/") == 2})
    runs = [
        RunTold(n, json_object(folder, f"runs/{n}/command.json"), json_object(folder, f"runs/{n}/ledger.json"))
        for n in names
    ]
    return [r for r in runs if r.command or r.ledger]


def _summaries(output: Output) -> dict[str, dict[str, Any]]:
    there = [n for n in output.folder.files("summary") if n.count("/") == 1 and n.endswith(".json")]
    last_run = {str(run.ledger.get("summary")): i for i, run in enumerate(output.runs)}
    there.sort(key=lambda n: (last_run.get(n, -1), n))
    found = {n.removeprefix("summary/").removesuffix(".json"): json_object(output.folder, n) for n in there}
    return {n: value for n, value in found.items() if value}


def _shown(folder: Folder, reasons: set[str]) -> dict[str, list[tuple[str, int, str]]]:
    found: dict[str, list[tuple[str, int, str]]] = {}
    for name in folder.files("quarantine")[:LOOKED_AT_FILES]:
        input_name = name.removeprefix("quarantine/").rpartition("/")[0]
        whole_lines = folder.read_chunk(name, 0, _HEAD_BYTES).rpartition(b"\n")[0]
        for line in whole_lines.split(b"\n"):
            try:
                entry = json.loads(line)
                reason, row = str(entry["reason"]), int(entry["row"])
            except (ValueError, KeyError, TypeError, RecursionError):
                continue
            rows = found.setdefault(reason, [])
            if len(rows) < SHOWN_ROWS:
                rows.append((input_name, row, _head(entry)))
        if all(len(found.get(r, ())) >= SHOWN_ROWS for r in reasons):
            break
    return found


def _head(entry: dict[str, Any]) -> str:
    if "head" in entry:
        return str(entry["head"])
    if "head_base64" in entry:
        return f"base64: {entry['head_base64']}"
    return str(entry.get("message") or entry.get("error") or "")
