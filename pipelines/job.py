"""One run of one pipeline: its output folder, its plan, its executor, its ledger, and the exit code it deserves."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import secrets
import shlex
import shutil
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from datatrove.pipeline.base import PipelineStep

from tagcorpus.errors import ConfigError, InputError, valid_values
from tagcorpus.pipelines import remote
from tagcorpus.pipelines.execution.executors import PlanExecutor
from tagcorpus.pipelines.execution.steps import Publish, RangeReport, Read, Tag
from tagcorpus.pipelines.execution.workers import Crew
from tagcorpus.pipelines.options.of_pipelines import FeaturesOptions, Options
from tagcorpus.pipelines.options.places import RESULT_SUFFIXES
from tagcorpus.pipelines.outputs.digests import recording
from tagcorpus.pipelines.outputs.duplicates import count_duplicate_ids
from tagcorpus.pipelines.outputs.ledger import Ledger
from tagcorpus.pipelines.outputs.results import refuse_anothers
from tagcorpus.pipelines.outputs.sidecars import (
    Instance,
    Standing,
    absent_columns,
    changed_versions,
    claim,
    is_claimed,
    release,
    remove_leftovers,
    standing,
)
from tagcorpus.pipelines.outputs.summary import without_values
from tagcorpus.pipelines.progress.display import Display, Watch
from tagcorpus.pipelines.progress.heartbeat import Heartbeat, is_at_work, process
from tagcorpus.pipelines.sources import harness, inputs, models, standard_input, tasks
from tagcorpus.pipelines.sources.documents import Reading
from tagcorpus.pipelines.sources.inputs import InputFile
from tagcorpus.pipelines.sources.plan import Index, Indexed, Plan, has_results, load_plan, make_plan, plan_name
from tagcorpus.pipelines.sources.ranges import Counts
from tagcorpus.pipelines.sources.records import DocumentFields
from tagcorpus.pipelines.sources.text_check import check_text
from tagcorpus.pipelines.storage import Folder, own_suffix, sweep_temporary_folders, temporary_folder
from tagcorpus.pipelines.token_ids.cache import known_ids

if TYPE_CHECKING:
    from tagcorpus.pipelines.execution.on_ray import Cluster

# A range is the unit of work and of resuming: a larger input in fewer ranges than there are workers deserves a hint.
WORTH_CUTTING_BYTES = 16 << 20
RANGES_PER_WORKER = 8
SHOWN_FILES = 5
# Pipelines whose work is their taggers'; a dry run begins some of it to see what it costs.
PROBED = ("tag", "filter", "domain", "features")


@dataclass
class Result:
    """What a finished run says. `exit_code` 0: all accounted for; 1: an input was broken; 3: too much in quarantine."""

    pipeline: str
    output: str
    exit_code: int
    counts: Counts
    summary: dict[str, Any]
    ledger: str
    messages: list[str] = field(default_factory=list)
    without_documents: list[dict[str, str]] = field(default_factory=list)
    """The input files that gave no document: `input`, and `why`."""


class Job:
    """Everything of a run that does not depend on which pipeline it is."""

    def __init__(self, pipeline: str, options: Options, display: Display) -> None:
        if not options.input:
            raise ConfigError("no input: give --input PATH (a file, a folder, a glob, a URL, or - for standard input)")
        self.pipeline, self.options, self.display = pipeline, options, display
        self._use_storage_options()
        self.reading = Reading(
            DocumentFields(options.text_column, options.id_column, options.resps_format),
            options.max_line_bytes,
            1.0 if options.sample is None else options.sample,
            options.seed,
            csv=options.csv,
        )
        self.workers = options.workers or default_workers()
        self._at_work = 1  # of them, at most so far
        self._open = contextlib.ExitStack()
        self._crew = self._open.enter_context(Crew())
        self.models: models.Models | None = None
        self.set_aside: dict[InputFile, str] = {}
        """Files that were found and do not count, and why."""
        self.files = self._find()
        self.result_file, folder = self._output()
        self.output = Folder(folder)
        if self.result_file is not None:
            self._check_result_file(self.result_file)
        if options.work is None and (options.output is None or self.result_file is not None):
            self._check_default_folder()
        self.run_name = f"{time.strftime('%Y%m%dT%H%M%S')}-{pipeline}-{secrets.token_hex(3)}"
        self.summary_name = pipeline
        self._text_messages: list[str] = []
        self.starts_afresh = options.overwrite
        self.heartbeat = Heartbeat(self.output, self.run_name)
        self.ledger = Ledger()
        self._started = time.time()
        self.cluster: Cluster | None = None

    def _use_storage_options(self) -> None:
        options = self.options
        paths = [*(inputs.label_and_path(a)[1] for a in options.input), options.output or "", options.work or ""]
        remote.check(options.storage_options, paths)
        if options.executor == "slurm":
            remote.refuse_on_slurm(options.storage_options, options.work or options.output or "")
        remote.use(options.storage_options)

    def connect(self) -> None:
        """Join (or start) the Ray cluster, where that is the executor, and see that every node can do its part."""
        if self.options.executor == "ray":
            from tagcorpus.pipelines.execution.on_ray import Cluster

            asked = Cluster(self.options.ray_address, self.display.say, num_gpus=self.options.num_gpus)
            self.cluster = self._open.enter_context(asked)
            self.workers = self.options.workers or self.cluster.workers
            if not self.options.dry_run:
                self.cluster.preflight(self.files, self.output)

    def _find(self) -> list[InputFile]:
        options = self.options
        copy = None
        if any(inputs.label_and_path(a)[1] == "-" for a in options.input):
            if options.output is None:
                raise ConfigError("--input - (standard input) needs --output FOLDER")
            self._spool = temporary_folder()
            self._open.callback(shutil.rmtree, self._spool, ignore_errors=True)
            copy = os.path.join(self._spool, "stdin")
            standard_input.spool(copy)
        skipped: Counter[str] = Counter()
        outputs = [p for p in (options.output, options.work) if p]
        how: dict[str, Any] = {"outputs": outputs, "skipped": skipped, "input_format": options.input_format}
        if isinstance(options, FeaturesOptions) and options.group_by is None:
            self.models = models.find(options.input, options.glob, options.exclude, copy, **how)
            found = self.models.all_files()
        else:
            found = inputs.find(options.input, options.glob, options.exclude, copy, **how)
        if skipped:
            self.display.say(inputs.skipped_told(skipped))
        found = self._without(found, harness.without_generations(found, self.reading))
        if found and isinstance(options, FeaturesOptions) and options.task:
            found = self._without(found, tasks.other_tasks(found, options.task, self.reading))
        if not found:
            raise InputError(
                f"no generation in the input (--input): {'; '.join(self._set_aside_told())}. A generation task logs texts "
                "in `resps`; `--text-column` names another column"
            )
        for told in self._set_aside_told():
            self.display.say(told)
        if self.models is not None and isinstance(options, FeaturesOptions):
            self.models = self.models.without({file.path: reason for file, reason in self.set_aside.items()})
            notes = [] if options.task else tasks.one_task_each(self.models, self.reading)
            self.models = dataclasses.replace(self.models, notes=(*self.models.notes, *notes))
        return found

    def _without(self, files: Sequence[InputFile], reasons: Mapping[str, str]) -> list[InputFile]:
        """The files but for those that have a reason, by path, not to count."""
        self.set_aside |= {file: reasons[file.path] for file in files if file.path in reasons}
        return [file for file in files if file.path not in reasons]

    def _set_aside_told(self, shown: int = SHOWN_FILES) -> list[str]:
        """The files that do not count, in one line a reason; `shown`: how many of each are named."""
        by_reason: dict[str, list[str]] = {}
        for file, reason in self.set_aside.items():
            by_reason.setdefault(reason, []).append(file.name)
        lines = []
        for reason, names in by_reason.items():
            n = len(names)
            more = f" and {n - shown:,} more" if n > shown else ""
            lines.append(f"{n:,} file{'s' * (n != 1)} set aside ({reason}): {', '.join(names[:shown])}{more}")
        return lines

    def _output(self) -> tuple[str | None, str]:
        """The single file that the main result goes to, if one is wanted, and the folder for everything."""
        options = self.options
        wanted = options.output
        is_file = wanted is not None and wanted.lower().endswith(RESULT_SUFFIXES)
        if options.work is not None and not is_file:
            raise ConfigError("--work goes with an --output that ends in .csv, .json or .parquet")
        if wanted is not None and not is_file:
            return None, wanted
        if options.work is not None:
            return wanted, options.work
        first = inputs.label_and_path(options.input[0])[1]
        if first == "-":
            raise ConfigError("--input - (standard input) with an --output file needs --work FOLDER")
        if "://" in first:
            raise ConfigError("remote input needs --output FOLDER" + (" or --work FOLDER" if wanted else ""))
        if isinstance(options, FeaturesOptions):
            first = wanted or options.models or first
        return wanted, default_folder(first, options)

    def _check_result_file(self, path: str) -> None:
        """The result must not take the place of what it is made from, nor of what is not ours."""
        for file in self.files:
            if path == file.path or os.path.realpath(path) == os.path.realpath(file.path):
                raise ConfigError(f"--output {path} is an input file; the result would overwrite it. Name another file")
        if not self.options.overwrite and self.pipeline != "features":  # whose tables have their provenance beside them
            refuse_anothers(self.output, path)

    def _check_default_folder(self) -> None:
        """A default folder that holds another input's results is not ours to add to. A plan that nothing came of, left by a
        run that was refused or killed, is nobody's; but it may be that of a run at work."""
        others = [p.file for p in load_plan(self.output, skip_damaged=True) if not self._is_ours(p.file)]
        for file in others:
            option = "--work" if self.result_file is not None else "--output"
            if has_results(self.output, file.name):
                raise ConfigError(f"{self.output} holds results of another input ({file.path}); give {option} FOLDER")
            if is_at_work(self.output):
                raise ConfigError(
                    f"{self.output} is in use by a run of another input ({file.path}); give {option} FOLDER"
                )
            if not self.options.dry_run:
                self.output.remove(plan_name(file.name))

    def _is_ours(self, file: InputFile) -> bool:
        """Whether an input of an earlier run is one that this run's arguments name, be it there still or not."""
        roots = (os.path.abspath(inputs.label_and_path(a)[1]).rstrip("/") for a in self.options.input)
        literal = (r.split("*")[0].split("?")[0].split("[")[0].rpartition("/")[0] if "*" in r else r for r in roots)
        return file.path in {f.path for f in self.files} or any(file.path.startswith(f"{r}/") for r in literal)

    def plan(self) -> Plan:
        """Index what is not indexed yet. Raises InputError where no text is found."""
        options = self.options
        if not options.dry_run:
            self._respect_earlier_plan()
        return make_plan(
            self.output,
            self.files,
            self.reading,
            options.shard_bytes,
            options.limit,
            self._index,
            is_stored=not options.dry_run,
            may_recut=options.overwrite,
            check=self._check_plan,
        )

    def _check_plan(self, plan: Plan) -> None:
        """Name the files without text. Raises InputError where no text is found."""
        self._text_messages = check_text(plan, self.reading, is_strict=self.options.strict_text)
        for message in self._text_messages:
            self.display.say(message)

    def _respect_earlier_plan(self) -> None:
        """A trial must not take the place of the whole, and what is gone must not stay among the results."""
        is_trial = self.options.limit is not None or self.reading.sample < 1
        found = {f.path for f in self.files}
        set_aside = {file.path: reason for file, reason in self.set_aside.items()}
        set_aside |= self.models.set_aside if self.models is not None else {}
        for planned in load_plan(self.output, skip_damaged=True):
            if planned.file.path in set_aside and planned.file.path not in found:
                self.output.remove(plan_name(planned.file.name))
                self.display.say(
                    f"{planned.file.name} counted in an earlier run, and is now set aside: {set_aside[planned.file.path]}"
                )
                continue
            is_taking_over = is_trial and not planned.is_trial and planned.file.path in found
            if is_taking_over and not self.options.overwrite and has_results(self.output, planned.file.name):
                raise ConfigError(
                    f"{self.output} holds results of all of {planned.file.name}; a trial (--limit, --sample) would replace "
                    "them. Give it an --output of its own, or say --overwrite"
                )
            is_gone = planned.file.is_local and not os.path.exists(planned.file.path)
            if planned.file.path not in found and is_gone and self._is_ours(planned.file):
                self.output.remove(plan_name(planned.file.name))
                self.display.say(
                    f"{planned.file.name} of an earlier run is gone: its rows no longer count among the results"
                )

    def _index(self, step: Index, n: int) -> list[Indexed]:
        results = self.execute([step], [[r] for r in range(n)], lambda r: step.tasks[r].file.path, "indexing", 0)
        return [results[r][0] for r in range(n)]

    def execute(
        self,
        pipeline: Sequence[PipelineStep],
        units: Sequence[Sequence[int]],
        describe: Callable[[int], str],
        title: str,
        total_rows: int,
        *,
        threads: bool = False,
        on_done: Callable[[Watch, int, list[Any]], None] = lambda _w, _r, _found: None,
    ) -> dict[int, list[Any]]:
        """Run a pipeline over ranks on this job's executor, with progress."""
        executor = PlanExecutor(
            pipeline,
            units,
            self.workers,
            describe=describe,
            threads=threads,
            slot=self.cluster.slot if self.cluster is not None and not threads else None,
            crew=self._crew,
        )
        self._at_work = max(self._at_work, executor.workers)
        with Watch(self.display, title, total_rows, executor.beats, describe) as watch, self.heartbeat.following(watch):
            return executor.run(lambda rank, found: on_done(watch, rank, found))

    def tag(self, plan: Plan, instances: Sequence[Instance]) -> None:
        """Compute every part that is missing or out of date, and enter all ranges into the ledger."""
        self.compute(plan, instances, self.prepare(plan, instances))

    def prepare(self, plan: Plan, instances: Sequence[Instance], what: str = "") -> Standing:
        """See which parts of the instances are there, and say so; with `overwrite`, none counts. Nothing is removed yet.

        what  said in place of the plan's size, which was said before
        """
        if self.options.overwrite:
            before = Standing({}, 0)
        else:
            for instance in instances:
                is_claimed(self.output, instance)
            before = standing(self.output, plan, self.reading, instances)
        self._tell_standing(plan, before, len(before.pending(len(plan.ranges), instances)), instances, what)
        return before

    def compute(
        self,
        plan: Plan,
        instances: Sequence[Instance],
        before: Standing,
        *,
        threads: bool = False,
        around: tuple[Sequence[PipelineStep], Sequence[PipelineStep]] = ((), ()),
        on_range: Callable[[int], None] | None = None,
    ) -> None:
        """Compute and publish what `before` lacks. `around`: steps to go before and after those of the taggers; `on_range` is
        called with each range that is done."""
        claim(self.output, instances, is_forced=self.options.overwrite)
        todo = before.todo(len(plan.ranges), instances)
        pending = before.pending(len(plan.ranges), instances)
        counts: dict[tuple[int, str], Counts] = dict(before.done)
        seconds: dict[int, float] = {}
        columns: set[str] = set()  # that taggers need, and some document has

        def on_done(watch: Watch, rank: int, found: list[Any]) -> None:
            report: RangeReport = found[0]
            seconds[rank] = report.seconds
            entries.update({(rank, name): entry for name, entry in report.digests.items()})
            columns.update(report.columns)
            counts.update({(rank, name): c for name, c in report.counts.items()})
            read = next(iter(report.counts.values()))
            quarantined: Counter[str] = Counter()
            for c in report.counts.values():
                quarantined |= c.quarantined  # what the reader refused stands in all of them
            watch.done(read.lines + read.unreadable, read.text_bytes, quarantined.total())
            if on_range is not None:
                on_range(rank)

        try:
            if pending:
                if threads and self.cluster is not None:
                    self.display.say(
                        "the endpoint is asked from this machine, by one caller; ray workers take no part in that"
                    )
                steps: list[PipelineStep] = [Read(plan, self.reading, todo)]
                steps += known_ids(self.output, plan, self.reading, instances, todo)
                steps += [*around[0], *(Tag(i) for i in instances), *around[1]]
                steps.append(Publish(self.output, plan, self.reading, instances, todo))
                with recording(self.output, plan, todo) as entries:
                    self.over_ranges(plan, pending, steps, self.pipeline, threads=threads, on_done=on_done)
        except BaseException:
            release(self.output, instances)
            raise
        finally:
            self.ledger.enter(plan, instances, counts, seconds)
        if any(c.documents for (rank, _), c in counts.items() if rank in seconds):
            for message in absent_columns(instances, columns):
                self.ledger.notes.append(message)
                self.display.say(message)
        remove_leftovers(self.output, plan, instances)
        self.ledger.duplicate_ids = count_duplicate_ids(self.output, plan, instances[0])

    def over_ranges(
        self, plan: Plan, ranks: Sequence[int], steps: Sequence[PipelineStep], title: str, **how: Any
    ) -> dict[int, list[Any]]:
        """`execute` over some ranges of the plan, wherever this job's ranges are computed."""
        return self.over_ranges_here(plan, ranks, steps, title, **how)

    def over_ranges_here(
        self, plan: Plan, ranks: Sequence[int], steps: Sequence[PipelineStep], title: str, **how: Any
    ) -> dict[int, list[Any]]:
        """The same, but on Slurm as part of the finish job: for what is little work beside an earlier pass."""
        rows = sum(planned.ranges[k].rows for planned, k in (plan.ranges[r] for r in ranks))
        return self.execute(steps, _units(plan, ranks, self.workers), lambda r: _describe(plan, r), title, rows, **how)

    def _tell_standing(
        self, plan: Plan, before: Standing, pending: int, instances: Sequence[Instance], what: str
    ) -> None:
        files, ranges = len(plan.files), len(plan.ranges)
        told = (
            what
            or f"{files:,} file{'s' * (files != 1)}, {plan.rows:,} row{'s' * (plan.rows != 1)}, {ranges:,} range{'s' * (ranges != 1)}"
        )
        if before.done:
            told += f"; {len(before.done):,} of {ranges * len(instances):,} parts are there already"
        if before.stale:
            stale = "1 part is" if before.stale == 1 else f"{before.stale:,} parts are"
            told += f"; {stale} of an earlier input or version, to be computed again"
            if versions := changed_versions(self.output, instances):
                told += f" ({', '.join(versions)})"
            self.ledger.notes.append(f"{before.stale} stale parts recomputed")
        if before.damaged:
            damaged = "1 part is" if before.damaged == 1 else f"{before.damaged:,} parts are"
            told += f"; {damaged} damaged, to be computed again"
            self.ledger.notes.append(f"{before.damaged} damaged parts recomputed")
        if before.proven:
            told += f"; {before.proven:,} had no digest and were proven by reading them"
        workers = min(self.workers, pending)
        self.display.say(told + (f"; {workers} worker{'s' * (workers != 1)}" if pending else ""))
        can_be_cut = any(planned.file.format != "json" for planned in plan.files)
        if workers < self.workers and not before.done and can_be_cut and plan.n_bytes > WORTH_CUTTING_BYTES:
            finer = max(1 << 20, 1 << (plan.n_bytes // (RANGES_PER_WORKER * self.workers)).bit_length() - 1)
            self.display.say(
                f"{self.workers} workers could be busy, and less be lost to an interruption, with smaller ranges: --set "
                f"shard_bytes={finer}, from the start"
            )

    def dry_run(self, plan: Plan, instances: Sequence[Instance], more: dict[str, Any] | None = None) -> Result:
        """What a run would do and about what it would cost: nothing is written, and no LLM is asked."""
        from tagcorpus.pipelines.execution.estimate import estimate

        before = Standing({}, 0)
        if not self.options.overwrite:
            before = standing(self.output, plan, self.reading, instances, is_onlooker=True)
        pending = before.pending(len(plan.ranges), instances)
        is_probed = self.pipeline in PROBED and not any(getattr(i.tagger, "worst_case_calls", 0) for i in instances)
        todo = before.todo(len(plan.ranges), instances)
        cost = estimate(self.output, plan, self.reading, instances, todo, is_probed=is_probed)
        value = {
            "files": len(plan.files),
            "rows": plan.rows,
            "ranges": len(plan.ranges),
            "ranges_to_compute": len(pending),
            "input_bytes": sum(f.size() for f in self.files),
            **cost,
            "instances": [i.name for i in instances],
            "workers": min(self.workers, max(len(pending), 1)),
            "output": str(self.output),
            **(more or {}),
        }
        return Result(self.pipeline, str(self.output), 0, Counts(), {"dry_run": value}, "", self._text_messages)

    def finish(self, summary: dict[str, Any], **more: Any) -> Result:
        """The ledger, the verdict, and the Result that says both."""
        code, messages = self.ledger.verdict(
            self.options.max_quarantined, self.output.path("quarantine"), may_be_empty=self.options.allow_empty
        )
        self.ledger.notes += self._set_aside_told(len(self.set_aside))
        messages = [*self._set_aside_told(), *self._text_messages, *messages]
        instances = summary.get("instances", {})
        if statuses := {name: told["statuses"] for name, told in instances.items() if "statuses" in told}:
            more["statuses"] = statuses
            messages += without_values(instances)
        for message in messages:
            self.display.say(message)
        ledger = self.write_ledger(code, **more)
        totals, without = self.ledger.totals, self.ledger.without_documents
        return Result(self.pipeline, str(self.output), code, totals, summary, ledger, messages, without)

    def write_command(self) -> None:
        """command.json of the run folder: what was asked for. No environment variable is ever written, and of storage
        options only the names."""
        asked = dataclasses.asdict(self.options) | {"storage_options": remote.names(self.options.storage_options)}
        value = {
            "command": shlex.join(["tagcorpus", *remote.command_shown(sys.argv[1:])])
            if "tagcorpus" in os.path.basename(sys.argv[0])
            else None,
            "pipeline": self.pipeline,
            "options": asked,
            "inputs": [f.path for f in self.files],
            "started": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
            "time": time.time(),
            **process(),
        }
        self.output.publish(f"runs/{self.run_name}/command.json", json.dumps(valid_values(value), indent=1).encode())
        self.heartbeat.start()

    def write_ledger(self, exit_code: int, **more: Any) -> str:
        """ledger.json and log.txt of the run folder; returns the ledger's path."""
        value = {
            "pipeline": self.pipeline,
            "exit_code": exit_code,
            "seconds": round(time.time() - self._started, 3),
            "workers": self._at_work,
            "executor": self.options.executor,
            "summary": f"summary/{self.summary_name}.json",
            **more,
            **self.ledger.to_json(),
        }
        name = f"runs/{self.run_name}/ledger.json"
        self.output.publish(name, json.dumps(valid_values(value), indent=1).encode())
        self.output.publish(f"runs/{self.run_name}/log.txt", ("\n".join(self.display.log) + "\n").encode())
        return self.output.path(name)

    def close(self) -> None:
        """Remove this run's temporary files, and those that other runs left more than a day ago. By now the ledger says how the
        run ended: what fails here is said, and changes nothing about that."""
        cleaning = (
            self._open.close,
            self.heartbeat.stop,
            lambda: self.output.sweep({own_suffix()}),
            sweep_temporary_folders,
        )
        for clean in cleaning:
            try:
                clean()
            except Exception as error:
                with contextlib.suppress(Exception):
                    self.display.say(f"something could not be cleaned up: {type(error).__name__}: {error}")


def default_workers() -> int:
    """min(CPU affinity, cgroup quota, SLURM_CPUS_PER_TASK), at least 1."""
    counts = [len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1]
    if (allotted := os.environ.get("SLURM_CPUS_PER_TASK", "")).isdigit():
        counts.append(int(allotted))
    try:
        with open("/sys/fs/cgroup/cpu.max", encoding="ascii") as file:
            quota, period = file.read().split()
        if quota != "max":
            counts.append(int(quota) // int(period))
    except (OSError, ValueError):
        pass  # no cgroup v2 here
    return max(1, min(counts))


def default_folder(first_input: str, options: Options) -> str:
    """./<first input's stem>.tagcorpus, with limit and sample in the name so that a trial never passes for the whole."""
    parts = [p for p in first_input.rstrip("/").split("/") if p not in ("", ".", "..")]
    is_glob = not os.path.exists(first_input)
    literal = next((p for p in reversed(parts) if not (is_glob and any(c in p for c in "*?["))), "corpus")
    stem = literal
    while os.path.splitext(stem)[1].lower() in {*inputs.FORMATS, *inputs.COMPRESSIONS}:
        stem = os.path.splitext(stem)[0]
    if options.limit is not None:
        stem += f".limit{options.limit}"
    if options.sample is not None and options.sample < 1:
        stem += f".sample{options.sample:g}-seed{options.seed}"
    return f"{stem}.tagcorpus"


def _units(plan: Plan, pending: Sequence[int], workers: int) -> list[list[int]]:
    """Ranks one by one; those of a compressed file in as many runs of neighbours as there are workers."""
    units: list[list[int]] = []
    ranges = plan.ranges
    by_file: dict[str, list[int]] = {}
    for rank in pending:
        by_file.setdefault(ranges[rank][0].file.name, []).append(rank)
    for ranks in by_file.values():
        step = max(1, -(-len(ranks) // workers)) if ranges[ranks[0]][0].file.compression else 1
        units += [ranks[i : i + step] for i in range(0, len(ranks), step)]
    return units


def _describe(plan: Plan, rank: int) -> str:
    planned, k = plan.ranges[rank]
    return f"range {k} of {planned.file.name}"
