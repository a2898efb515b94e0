"""The plan: which ranges every input is cut into. Made once by an index pass, kept in the output, reused while the
input is unchanged. Ranges depend on the file and `shard_bytes` only, never on workers or executor.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from datatrove.pipeline.base import PipelineStep

from tagcorpus.errors import ConfigError, InputError
from tagcorpus.pipelines.sources import csvs, lines, samples, tables
from tagcorpus.pipelines.sources.documents import RangeReader, Reading
from tagcorpus.pipelines.sources.inputs import InputFile
from tagcorpus.pipelines.sources.ranges import Range
from tagcorpus.pipelines.sources.records import BadRecord
from tagcorpus.pipelines.storage import Folder

PLAN_VERSION = 2
# A large uncompressed file is indexed in segments of this many ranges, several at a time.
RANGES_PER_SEGMENT = 16
LOOK_AT_ROWS = 100
ROOMS_OF_RESULTS = ("attributes", "quarantine", "tokens")
# Formats whose digests cover some columns only.
TABLES = ("parquet", "arrow")


@dataclass(frozen=True)
class PlannedFile:
    """`is_trial`: only a part of the file was asked for (--limit, --sample)."""

    file: InputFile
    ranges: tuple[Range, ...]
    is_trial: bool = field(default=False, compare=False)

    @property
    def rows(self) -> int:
        return sum(r.rows for r in self.ranges)


@dataclass(frozen=True)
class Plan:
    """All input files with their ranges. Rank r is the r-th range, counting through the files in order."""

    files: tuple[PlannedFile, ...]

    @cached_property
    def ranges(self) -> list[tuple[PlannedFile, int]]:
        """(file, index of the range in it) of every rank."""
        return [(f, k) for f in self.files for k in range(len(f.ranges))]

    @property
    def rows(self) -> int:
        return sum(f.rows for f in self.files)

    @property
    def n_bytes(self) -> int:
        return sum(r.end - r.start for f in self.files for r in f.ranges if f.file.format in ("jsonl", "csv"))


@dataclass(frozen=True)
class IndexTask:
    """A whole file, or one segment [start, stop) of a large one."""

    file: InputFile
    start: int = 0
    stop: int | None = None
    max_rows: int | None = None


@dataclass(frozen=True)
class Indexed:
    ranges: list[Range]
    skipped: list[tuple[int, int]]


class Index(PipelineStep):
    """Cuts one file (or segment) a rank into ranges."""

    type = "index"
    name = "Index"

    def __init__(self, tasks: Sequence[IndexTask], shard_bytes: int, reading: Reading) -> None:
        super().__init__()
        self.tasks, self.shard_bytes, self.reading = tasks, shard_bytes, reading

    def run(self, data: Any = None, rank: int = 0, world_size: int = 1) -> Iterator[Indexed]:  # noqa: ARG002
        task = self.tasks[rank]
        file, reading = task.file, self.reading
        if file.format in ("parquet", "arrow"):
            ranges = tables.index(file, self.shard_bytes, reading.fields.top_columns(), task.max_rows)
            further = {c: reading.fields.further_columns([c]) for c in reading.columns}
            ranges = tables.with_further_columns(file, ranges, further)
        elif file.format == "csv":
            ranges = csvs.index(file, self.shard_bytes, reading.max_line_bytes, task.max_rows)
        else:
            ranges = lines.index(file, self.shard_bytes, task.start, task.stop, task.max_rows)
        skipped: list[tuple[int, int]] = []
        if file.format != "csv" and task.start == 0 and samples.has_filters(file, ranges, reading):
            whole = ranges if task.stop is None else lines.index(file, self.shard_bytes)
            skipped = samples.duplicates(file, whole, reading)
        yield Indexed(ranges, skipped)


RunIndex = Callable[[Index, int], list[Indexed]]
"""Runs an Index step over that many ranks and returns what each gave, in order."""


def make_plan(
    output: Folder,
    files: Sequence[InputFile],
    reading: Reading,
    shard_bytes: int,
    limit: int | None,
    run_index: RunIndex,
    is_stored: bool = True,
    may_recut: bool = False,
    check: Callable[[Plan], None] = lambda _plan: None,
) -> Plan:
    """The plan for these files, taking over what `output` already holds for files that are unchanged. What `check` raises
    leaves no plan behind.

    ConfigError where `output` holds a plan with other `shard_bytes`, unless it `may_recut`: every part would be computed anew.
    """
    settings = _settings(reading, shard_bytes)
    if not may_recut:
        _refuse_another_cut(output, files, shard_bytes)
    if limit is not None:
        plan = Plan(tuple(_limited(files, reading, shard_bytes, limit, run_index)))
        check(plan)
        for one in plan.files if is_stored else ():
            _store(output, one, None, settings)
        return plan
    known = {f.name: _known(output, f, settings) for f in files}
    for name, planned in known.items():
        if planned is not None and planned.file.format in TABLES and not set(reading.columns) <= _further(planned):
            # Cut as before, with digests of more columns: the parts of other taggers keep their keys.
            reading = replace(reading, columns=tuple(sorted({*reading.columns, *_further(planned)})))
            known[name] = None
    unknown = [f for f in files if known[f.name] is None]
    # Taken before the bytes are read: a file that changes meanwhile is then planned anew next time.
    identities = {f.name: f.identity() for f in unknown}
    tasks = [t for f in unknown for t in _segments(f, shard_bytes)]
    pieces: dict[str, list[Indexed]] = {}
    if tasks:
        for task, indexed in zip(tasks, run_index(Index(tasks, shard_bytes, reading), len(tasks)), strict=True):
            pieces.setdefault(task.file.name, []).append(indexed)
    planned_anew = [PlannedFile(f, _joined(pieces[f.name]), is_trial=reading.sample < 1) for f in unknown]
    known |= {planned.file.name: planned for planned in planned_anew}
    plan = Plan(tuple(found for f in files if (found := known[f.name]) is not None))
    check(plan)
    for planned in planned_anew if is_stored else ():
        _store(output, planned, identities[planned.file.name], settings)
    return plan


def check_text(plan: Plan, reading: Reading) -> None:
    """Raise InputError when the first rows of the input have records but no text where it is looked for."""
    for planned in plan.files:
        if planned.rows == 0 or planned.ranges[0].rows == 0:
            continue
        columns = _columns_without_text(planned, reading)
        if columns:
            wanted = reading.fields.text_column or (
                "resps" if reading.fields.is_resps else "text, content or raw_content"
            )
            raise InputError(
                f"no text found in the first rows of {planned.file.path}: looked for {wanted}; the columns there are "
                f"{', '.join(sorted(columns)[:20])}. Name the right one with --text-column"
            )
        return


def _columns_without_text(planned: PlannedFile, reading: Reading) -> set[str]:
    """Column names of the first records when not one of them has a text; empty when one has, or none is a record."""
    first = planned.ranges[0]
    seen: set[str] = set()
    reader = RangeReader(planned.file, first, Reading(reading.fields, reading.max_line_bytes))
    for looked_at, (_, _, _, value) in enumerate(reader.records()):
        if looked_at >= LOOK_AT_ROWS:
            break
        if isinstance(value, dict):
            seen |= set(value)
            try:
                if reading.fields.documents(value, ""):
                    return set()
            except BadRecord:
                continue
    if planned.file.format in ("parquet", "arrow"):
        seen |= set(tables.column_names(planned.file))
    return seen


def _settings(reading: Reading, shard_bytes: int) -> dict[str, Any]:
    fields = reading.fields
    return {
        "plan": PLAN_VERSION,
        "shard_bytes": shard_bytes,
        "max_line_bytes": reading.max_line_bytes,
        "text_column": fields.text_column,
        "id_column": fields.id_column,
        "is_resps": fields.is_resps,
        "sample": reading.sample,
        "seed": reading.seed,
    }


def _refuse_another_cut(output: Folder, files: Sequence[InputFile], shard_bytes: int) -> None:
    for file in files:
        try:
            was = json.loads(output.read(plan_name(file.name)) or b"")["settings"]["shard_bytes"]
        except (ValueError, KeyError, TypeError):
            continue  # no plan, or none of this version
        if was != shard_bytes:
            raise ConfigError(
                f"{output} has {file.name} in ranges of shard_bytes={was}, and with shard_bytes={shard_bytes} everything would be "
                f"computed anew: say --set shard_bytes={was} to go on with it, or --overwrite"
            )
        return  # one run cuts all its files alike


def has_results(output: Folder, file_name: str) -> bool:
    """Whether anything came of the plan of this input: a part, quarantined rows, token ids."""
    return any(f"/{file_name}/" in name for room in ROOMS_OF_RESULTS for name in output.files(room))


def _further(planned: PlannedFile) -> set[str]:
    """The further columns that a table's plan has digests of."""
    return set.intersection(*({name for name, _ in r.columns} for r in planned.ranges)) if planned.ranges else set()


def plan_name(file_name: str) -> str:
    return f"plan/{file_name}.json"


def _known(output: Folder, file: InputFile, settings: dict[str, Any]) -> PlannedFile | None:
    data = output.read(plan_name(file.name))
    identity = file.identity()
    if data is None or identity is None:
        return None
    try:
        stored = json.loads(data)
        if stored["identity"] != identity or stored["settings"] != settings:
            return None
        return PlannedFile(file, tuple(Range.from_json(r) for r in stored["ranges"]), stored["is_trial"])
    except (ValueError, KeyError, TypeError):
        return None  # not a plan of this version: made anew


def _store(output: Folder, planned: PlannedFile, identity: dict[str, Any] | None, settings: dict[str, Any]) -> None:
    value = {
        "input": planned.file.name,
        "path": planned.file.path,
        "format": planned.file.format,
        "compression": planned.file.compression,
        "identity": identity,
        "settings": settings,
        "is_trial": planned.is_trial,
        "ranges": [r.to_json() for r in planned.ranges],
    }
    output.publish(plan_name(planned.file.name), json.dumps(value, indent=1).encode())


def load_plan(output: Folder, *, skip_damaged: bool = False) -> list[PlannedFile]:
    """Every planned file that an output holds, by name. Raises InputError when there is none, or when one is damaged
    (the next run makes it anew); with `skip_damaged`, whatever can be read, be it nothing."""
    names = [n for n in output.files("plan") if n.endswith(".json")]
    if not names and not skip_damaged:
        raise InputError(f"{output} holds no plan: it is not the output folder of a tagcorpus run")
    found = []
    for name in names:
        try:
            value = json.loads(output.read(name) or b"{}")
            file = InputFile(value["input"], value["path"], value["format"], value["compression"])
            ranges = tuple(Range.from_json(r) for r in value["ranges"])
            found.append(PlannedFile(file, ranges, value["is_trial"]))
        except (ValueError, KeyError, TypeError) as error:
            if not skip_damaged:
                raise InputError(
                    f"{output}/{name} is damaged: run the pipeline again, which makes it anew from the input"
                ) from error
    return found


def _segments(file: InputFile, shard_bytes: int) -> list[IndexTask]:
    step = shard_bytes * RANGES_PER_SEGMENT
    if file.format != "jsonl" or file.compression or file.size() <= step:
        return [IndexTask(file)]
    return [IndexTask(file, s, s + step) for s in range(0, file.size(), step)]


def _joined(pieces: list[Indexed]) -> tuple[Range, ...]:
    ranges: list[Range] = []
    rows = 0
    skipped = [s for p in pieces for s in p.skipped]
    for piece in pieces:
        for r in piece.ranges:
            first = rows + r.first_row
            within = tuple(
                (max(a, first), min(b, first + r.rows)) for a, b in skipped if a < first + r.rows and b > first
            )
            ranges.append(replace(r, first_row=first, skipped=within))
        rows += sum(r.rows for r in piece.ranges)
    return tuple(ranges)


def _limited(
    files: Sequence[InputFile], reading: Reading, shard_bytes: int, limit: int, run_index: RunIndex
) -> Iterator[PlannedFile]:
    """Only the files, and of the last one only the rows, that hold the first `limit` rows; the rest is not even read."""
    left = limit
    for file in files:
        if left <= 0:
            return
        indexed = run_index(Index([IndexTask(file, max_rows=left)], shard_bytes, reading), 1)
        planned = PlannedFile(file, _joined(indexed), is_trial=True)
        left -= planned.rows
        yield planned
