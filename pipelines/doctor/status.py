"""`tagcorpus status`: the resume state of an output, from its files alone.

A part is done if its key is the current key, as in a run. The tagger and its parameters come from
`attributes/<instance>/tagger.json`, and the reader options from the plan. `status` does not read the input, so only the next
run sees that an input file has changed.
"""

from __future__ import annotations

import dataclasses
import json
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa

from tagcorpus.errors import InputError, TagcorpusError
from tagcorpus.pipelines.attributes.bill import in_words, spent
from tagcorpus.pipelines.attributes.parts import Instance
from tagcorpus.pipelines.attributes.read import Recorded, instance_folders
from tagcorpus.pipelines.attributes.resuming import ResumeState, resume_state
from tagcorpus.pipelines.inputs.chunks import Counts
from tagcorpus.pipelines.progress import heartbeat
from tagcorpus.pipelines.progress.amounts import counted, duration
from tagcorpus.pipelines.progress.heartbeat import epoch, errors_as_damage, json_object, not_an_output
from tagcorpus.pipelines.progress.wrapping import wrapped
from tagcorpus.pipelines.readers.plan import Plan, PlannedFile, load_plan
from tagcorpus.pipelines.readers.reader import ReaderOptions
from tagcorpus.pipelines.storage import remote
from tagcorpus.pipelines.storage.folder import Folder

MEANINGS = {
    0: "done",
    1: "failed",
    2: "wrong usage or input",
    3: "done, but more rows than allowed are in quarantine or without a label",
    4: "incomplete; the same command may finish it",
    5: "a budget was reached",
    130: "interrupted; the same command resumes",
    143: "terminated; the same command resumes",
}
"""Of exit codes."""
# Chunks in work that are listed; a large cluster has hundreds.
SHOWN_CHUNKS = 8


def report(output: str, as_json: bool, storage_options: Sequence[str] = ()) -> str:
    """The text that the command prints. Raises InputError if `output` is not an output folder or cannot be read, and
    ConfigError for storage options (K=V) that its filesystem does not accept."""
    remote.use_given(storage_options, [output])
    with errors_as_damage(output):
        value = status(output)
        return json.dumps(value, indent=1) if as_json else as_text(value)


def status(output: str) -> dict[str, Any]:
    """The state of an output as JSON values.

    instances  per instance: chunks done, stale and planned, rows, documents, quarantined by reason
    running    runs with a recent heartbeat, and their progress records
    last_run   the newest other run; its `exit_code` is None if it died without an exit code
    llm        requests and costs of all runs since the last one with --overwrite; None without requests
    Raises InputError if `output` is not an output folder or cannot be read.
    """
    try:
        return _status(Folder(output))
    except TagcorpusError:
        raise
    except Exception as error:
        if "://" not in output and not isinstance(error, OSError):
            raise
        # A store raises any error of its client library, for a missing package or missing credentials, too.
        raise InputError(f"{output} cannot be read: {type(error).__name__}: {error}") from error


def _status(folder: Folder) -> dict[str, Any]:
    names = _run_names(folder)
    files = load_plan(folder, skip_damaged=True) if any(n.endswith(".json") for n in folder.files("plan")) else []
    if not names and not files:
        raise not_an_output(folder)
    runs = [(n, json_object(folder, f"runs/{n}/command.json")) for n in sorted(names, reverse=True)]
    running: list[dict[str, Any]] = []
    last: dict[str, Any] | None = None
    for name, command in runs:
        run = _run(folder, name, command, names[name], is_newest=not running and last is None)
        if run["is_running"]:
            running.append(run)
        else:
            last = last or run
    return {
        "output": str(folder),
        "files": len(files),
        "rows": sum(f.rows for f in files),
        "ranges": sum(len(f.chunks) for f in files),
        "instances": _instances(folder, files, [c for _, c in runs]),
        "running": running,
        "last_run": last,
        "llm": total if (total := spent(folder))["runs"] else None,
    }


def _run_names(folder: Folder) -> dict[str, set[str]]:
    """The files of every run, by the name of the run."""
    files_by_run: dict[str, set[str]] = {}
    for path in folder.files("runs"):
        parts = path.split("/")
        if len(parts) == 3:
            files_by_run.setdefault(parts[1], set()).add(parts[2])
    return {n: f for n, f in files_by_run.items() if "command.json" in f}


def _run(folder: Folder, name: str, command: dict[str, Any], files: set[str], is_newest: bool) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "run": name,
        "pipeline": command.get("pipeline"),
        "command": command.get("command"),
        "started": command.get("started"),
    }
    if "ledger.json" in files:
        ledger = json_object(folder, f"runs/{name}/ledger.json")
        error = ledger.get("error")
        if error is None and ledger.get("exit_code") in (1, 3):  # the run ended, and its log has the reason
            error = _last_word(folder, name)
        picked = {k: ledger.get(k) for k in ("exit_code", "seconds", "ranges_done", "ranges_planned")}
        return {**entry, "is_running": False, **picked, "error": error}
    progress = json_object(folder, f"runs/{name}/{heartbeat.FILE}")
    if is_newest and "slurm.json" in files and not progress:
        notes = folder.files(f"runs/{name}/slurm/tasks")
        failed = [t for t in (json_object(folder, n) for n in notes) if t.get("exit_code")]
        ended = {"tasks_ended": len(notes), "tasks_failed": len(failed)}
        slurm = {**json_object(folder, f"runs/{name}/slurm.json"), **ended}
        error = failed[0].get("error") if failed else None
        return {**entry, "is_running": True, "slurm": slurm, "error": error, "progress": {}}
    who = progress or command
    at = progress.get("time") or epoch(command.get("started"))
    if heartbeat.is_alive(who, at, time.time()):
        return {**entry, "is_running": True, "pid": who.get("pid"), "host": who.get("host"), "progress": progress}
    return {**entry, "is_running": False, "exit_code": None, "error": None, "progress": progress}


def _last_word(folder: Folder, name: str) -> str | None:
    lines = (folder.read(f"runs/{name}/log.txt") or b"").decode("utf-8", "replace").split("\n")
    said = [line.partition(" ")[2] for line in lines if line]
    return said[-1] if said else None


def _instances(
    folder: Folder, files: Sequence[PlannedFile], commands: Sequence[dict[str, Any]]
) -> dict[str, dict[str, Any]]:
    groups: dict[ReaderOptions, list[PlannedFile]] = {}
    for planned in files:
        groups.setdefault(planned.reader_options, []).append(planned)
    instances_done = {}
    for name in instance_folders(folder):
        identity = json_object(folder, f"attributes/{name}/tagger.json")
        if not {"tagger", "version", "parameters"} <= set(identity):
            continue  # damaged: the next run writes it anew
        needs = tuple(identity.get("needs", ()))
        recorded = Recorded(identity["version"], identity["parameters"], pa.schema([]), needs)
        instance = Instance(name, identity["tagger"], recorded, identity.get("chosen", {}), is_whole_enough=True)
        stand = _resume_state(folder, groups, instance, commands)
        total = Counts()
        for counts in stand.done.values():
            total.add(counts)
        instances_done[name] = {
            "tagger": identity["tagger"],
            "version": identity["version"],
            "ranges_done": len(stand.done),
            "ranges_stale": stand.stale,
            "ranges_planned": sum(len(f.chunks) for f in files),
            "rows": total.lines + total.unreadable,
            "documents": total.documents,
            "quarantined": dict(sorted(Counter(total.quarantined).items())),
        }
    return instances_done


def _resume_state(
    folder: Folder,
    groups: dict[ReaderOptions, list[PlannedFile]],
    instance: Instance,
    commands: Sequence[dict[str, Any]],
) -> ResumeState:
    """The instance's parts under the newest sampling that fits any of them (the plan has no sampling)."""
    first: ResumeState | None = None
    for sample, seed in _samples(commands):
        done: dict[tuple[int, str], Counts] = {}
        stale = offset = 0
        for reader_options, files in groups.items():
            plan = Plan(tuple(files))
            stand = resume_state(
                folder,
                plan,
                dataclasses.replace(reader_options, sample=sample, seed=seed),
                [instance],
                is_onlooker=True,
            )
            done |= {(offset + rank, name): counts for (rank, name), counts in stand.done.items()}
            stale += stand.stale
            offset += len(plan.chunks)
        if done or not stale:
            return ResumeState(done, stale)
        first = first or ResumeState(done, stale)
    assert first is not None
    return first


def _samples(commands: Sequence[dict[str, Any]]) -> Iterator[tuple[float, int]]:
    """(sample, seed) of the runs, newest first, each once; the last is the whole input."""
    seen = set()
    for command in commands:
        options = command.get("options", {})
        sample = options.get("sample")
        one = (1.0, 0) if sample is None or sample >= 1 else (float(sample), int(options.get("seed", 0)))
        if one not in seen:
            seen.add(one)
            yield one
    if (1.0, 0) not in seen:
        yield 1.0, 0


def as_text(value: dict[str, Any]) -> str:
    """The state as text."""
    parts = [
        f"{value['output']}: {counted(value['files'], 'file')}, {counted(value['rows'], 'row')}, {counted(value['ranges'], 'chunk')}"
    ]
    if value["instances"]:
        parts.append(_table(value["instances"]))
    parts += [_running_text(run) for run in value["running"]]
    if value["last_run"] is not None:
        parts.append(_ended_text(value["last_run"], is_superseded=bool(value["running"])))
    if value["llm"] is not None:
        parts.append(f"LLM requests of {counted(value['llm']['runs'], 'run')}: {in_words(value['llm'])}")
    return "\n\n".join(parts)


def _table(instances: dict[str, dict[str, Any]]) -> str:
    rows = [["instance", "chunks done", "rows done", "documents", "quarantined", ""]]
    for name, one in instances.items():
        notes = []
        if one["ranges_stale"]:
            notes.append(f"{one['ranges_stale']:,} stale (of an earlier input or version)")
        if one["ranges_done"] == one["ranges_planned"]:
            notes.append("complete")
        done = f"{one['ranges_done']:,} of {one['ranges_planned']:,}"
        counts = [f"{n:,}" for n in (one["rows"], one["documents"], sum(one["quarantined"].values()))]
        rows.append([name, done, *counts, ", ".join(notes)])
    widths = [max(len(row[i]) for row in rows) for i in range(5)]
    lines = []
    for row in rows:
        cells = [row[0].ljust(widths[0]), *(row[i].rjust(widths[i]) for i in range(1, 5)), row[5]]
        lines.append("  ".join(["", *cells]).rstrip())
    return "\n".join(lines)


def _running_text(run: dict[str, Any]) -> str:
    if (slurm := run.get("slurm")) is not None:
        lines = [f"on Slurm: {run['pipeline']}, since {_when(run['started'])}, finish job {slurm.get('finish_job')}"]
        if slurm.get("array_job"):
            lines.append(
                f"  array job {slurm['array_job']}: {slurm['tasks_ended']:,} of {counted(slurm['tasks'], 'task')} ended, "
                f"{slurm['tasks_failed']:,} of them with an error"
            )
        return "\n".join([*lines, *([f"  {run['error']}"] if run["error"] else []), f"  logs: {slurm.get('logs')}"])
    lines = [f"running: {run['pipeline']}, since {_when(run['started'])}, process {run['pid']} on {run['host']}"]
    progress = run["progress"]
    if "rows" not in progress:
        lines.append("  between two passes over the chunks" if progress else "  starting")
        return "\n".join(lines)
    line = f"  {progress['doing']}: "
    if progress["rows_total"]:
        share = min(100.0, 100 * progress["rows"] / progress["rows_total"])
        # The table's rows include those of earlier runs.
        line += f"this run has done {progress['rows']:,} of its {progress['rows_total']:,} rows ({share:.0f} %), "
        line += f"{progress['rows_per_second']:,.0f} rows/s, {progress['bytes_per_second'] / 1e6:.1f} MB/s, "
        line += f"{progress['quarantined']:,} quarantined"
        if progress["seconds_left"] is not None:
            line += f", about {duration(progress['seconds_left'])} to go"
    else:
        line += f"for {duration(progress['seconds'])}"
    lines.append(line)
    for one in progress["ranges"][:SHOWN_CHUNKS]:
        flying = f", rows {one['first_row']:,} to {one['last_row']:,} in flight" if "first_row" in one else ""
        silent = one["silent_seconds"]
        quiet = f", no sign of life for {duration(silent)}" if silent >= heartbeat.DEAD_SECONDS else ""
        lines.append(f"    {one['range']}: {one['rows']:,} rows done{flying}{quiet}")
    if len(progress["ranges"]) > SHOWN_CHUNKS:
        lines.append(f"    and {len(progress['ranges']) - SHOWN_CHUNKS:,} more chunks")
    return "\n".join(lines)


def _ended_text(run: dict[str, Any], is_superseded: bool) -> str:
    """`is_superseded`: another run is going on, so that the user need not start this one again."""
    head = f"{'last run that has ended' if is_superseded else 'last run'}: {run['pipeline']}, {_when(run['started'])}"
    if run["exit_code"] is None:
        progress = run["progress"]
        seen = f"; last seen {duration(max(0.0, time.time() - progress['time']))} ago" if progress else ""
        if "rows" in progress and progress["rows_total"]:
            seen += f" at {progress['rows']:,} of {progress['rows_total']:,} rows"
        lines = [f"{head}: died without a ledger{seen}{'' if is_superseded else '; the same command resumes'}"]
    else:
        chunks = f", {run['ranges_done']:,} of {run['ranges_planned']:,} chunks" if run["ranges_planned"] else ""
        code = run["exit_code"]
        meaning = MEANINGS.get(code, "unknown")
        meaning = meaning.partition(";")[0] if is_superseded else meaning
        lines = [f"{head}, {duration(run['seconds'])}{chunks}: exit {code} ({meaning})"]
        if run["error"]:
            lines += wrapped(run["error"], 110, "  ", "  ")
    if run["command"] and run["exit_code"] in (None, 4, 130, 143) and not is_superseded:
        lines.append(f"  {run['command']}")
    return "\n".join(lines)


def _when(started: str | None) -> str:
    return (started or "?")[:19].replace("T", " ")
