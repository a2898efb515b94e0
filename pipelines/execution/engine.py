"""The engine of a run: it computes steps over chunks on this machine or on Ray, and publishes the parts that are missing."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING, Any

from tagcorpus.pipelines.attributes.batches import ChunkReport
from tagcorpus.pipelines.attributes.claims import changed_versions, claim, is_claimed, release
from tagcorpus.pipelines.attributes.digests import recording
from tagcorpus.pipelines.attributes.parts import Instance, absent_columns
from tagcorpus.pipelines.attributes.resuming import ResumeState, remove_leftovers, resume_state
from tagcorpus.pipelines.execution.executor import PlanExecutor
from tagcorpus.pipelines.execution.scheduling import chunk_name, default_workers, largest_first, units_of
from tagcorpus.pipelines.execution.steps import Call, Publish, Read, Tag
from tagcorpus.pipelines.execution.worker_pool import WorkerPool
from tagcorpus.pipelines.execution.workers import Step
from tagcorpus.pipelines.inputs.chunks import Counts
from tagcorpus.pipelines.progress.amounts import counted
from tagcorpus.pipelines.progress.display import Watch
from tagcorpus.pipelines.readers.plan import Plan
from tagcorpus.pipelines.runs.duplicates import passes_over_ids
from tagcorpus.pipelines.runs.inputs import Inputs
from tagcorpus.pipelines.runs.run import Run
from tagcorpus.pipelines.token_ids.cache import known_ids

if TYPE_CHECKING:
    from tagcorpus.pipelines.execution.on_ray import Cluster

# A chunk is the unit of work and of resuming: a larger input in fewer chunks than there are workers deserves a hint.
WORTH_CUTTING_BYTES = 16 << 20
CHUNKS_PER_WORKER = 8


class Engine:
    """Computes steps over the chunks of a plan for one run.

    run     whose output the parts go to, and whose display and progress record say how far the work is
    inputs  whose reader options the steps use
    stack   ends the worker processes and leaves the Ray cluster
    """

    def __init__(self, run: Run, inputs: Inputs, stack: contextlib.ExitStack) -> None:
        self.run, self.reader_options = run, inputs.reader_options
        self._files = inputs.files
        self.workers = run.options.workers or default_workers()
        self._stack = stack
        self._pool = stack.enter_context(WorkerPool())
        self._cluster: Cluster | None = None

    @property
    def starts_afresh(self) -> bool:
        """Whether results of earlier runs are to be computed again."""
        return self.run.options.overwrite

    def connect(self) -> None:
        """Join (or start) the Ray cluster, where that is the executor, and see that every node can do its part."""
        options = self.run.options
        if options.executor == "ray":
            from tagcorpus.pipelines.execution.on_ray import Cluster

            cluster = Cluster(options.ray_address, self.run.display.say, num_gpus=options.num_gpus)
            self._cluster = self._stack.enter_context(cluster)
            self.workers = options.workers or self._cluster.workers
            if not options.dry_run:
                # No more workers are sure to be needed: a file has at least one chunk.
                self._cluster.preflight(self._files, self.run.output, workers=min(self.workers, len(self._files)))

    def execute(
        self,
        pipeline: Sequence[Step],
        units: Sequence[Sequence[int]],
        describe: Callable[[int], str],
        title: str,
        total_rows: int,
        *,
        workers: int | None = None,
        threads: bool = False,
        on_done: Callable[[Watch, int, list[Any]], None] = lambda _w, _r, _results: None,
    ) -> dict[int, list[Any]]:
        """Run a pipeline over ranks on this run's executor, with progress.

        workers  how many at once, if not as many as the engine has
        threads  workers are threads of this process, whatever the executor
        on_done  called with the watch, a rank and its results
        """
        executor = PlanExecutor(
            pipeline,
            units,
            workers or self.workers,
            describe=describe,
            threads=threads,
            make_worker=self._cluster.worker if self._cluster is not None and not threads else None,
            pool=self._pool,
        )
        self.run.ledger.enter_workers(executor.workers)
        with (
            Watch(self.run.display, title, total_rows, executor.progress, describe) as watch,
            self.run.heartbeat.following(watch),
        ):
            return executor.run(lambda rank, results: on_done(watch, rank, results))

    def each(self, functions: Sequence[Callable[[], Any]], title: str) -> list[Any]:
        """The results of functions that can be pickled, called by this run's workers."""
        units = [[r] for r in range(len(functions))]
        results = self.execute([Call(functions)], units, lambda _rank: title, title, 0)
        return [results[r][0] for r in range(len(functions))]

    def tag(self, plan: Plan, instances: Sequence[Instance]) -> None:
        """Compute every part that is missing or out of date, and enter all chunks into the ledger."""
        self.compute(plan, instances, self.prepare(plan, instances))

    def prepare(self, plan: Plan, instances: Sequence[Instance], size: str = "") -> ResumeState:
        """See which parts of the instances are there, and say so; with `overwrite`, none counts. Nothing is removed yet.

        size  said in place of the plan's size, which was said before
        """
        if self.run.options.overwrite:
            before = ResumeState({}, 0)
        else:
            for instance in instances:
                is_claimed(self.run.output, instance)
            with self.run.display.phase("looking for finished parts"):
                before = resume_state(self.run.output, plan, self.reader_options, instances)
        self._say_resume_state(plan, before, len(before.pending(len(plan.chunks), instances)), instances, size)
        return before

    def compute(
        self,
        plan: Plan,
        instances: Sequence[Instance],
        before: ResumeState,
        *,
        workers: int | None = None,
        threads: bool = False,
        around: tuple[Sequence[Step], Sequence[Step]] = ((), ()),
        on_chunk: Callable[[int], None] | None = None,
    ) -> None:
        """Compute and publish what `before` lacks. `around`: steps to go before and after those of the taggers; `on_chunk` is
        called with each chunk that is done."""
        claim(self.run.output, instances, is_forced=self.run.options.overwrite)
        todo = before.todo(len(plan.chunks), instances)
        pending = before.pending(len(plan.chunks), instances)
        counts: dict[tuple[int, str], Counts] = dict(before.done)
        seconds: dict[int, float] = {}
        columns: set[str] = set()  # that taggers need, and some document has

        def on_done(watch: Watch, rank: int, results: list[Any]) -> None:
            report: ChunkReport = results[0]
            seconds[rank] = report.seconds
            entries.update({(rank, name): entry for name, entry in report.digests.items()})
            columns.update(report.columns)
            counts.update({(rank, name): c for name, c in report.counts.items()})
            read = next(iter(report.counts.values()))
            quarantined: Counter[str] = Counter()
            for c in report.counts.values():
                quarantined |= c.quarantined  # what the reader refused stands in all of them
            watch.done(read.lines + read.unreadable, read.text_bytes, quarantined.total())
            if on_chunk is not None:
                on_chunk(rank)

        try:
            if pending:
                if threads and self._cluster is not None:
                    self.run.display.say(
                        "the endpoint is asked from this machine, by one caller; ray workers take no part in that"
                    )
                steps: list[Step] = [Read(plan, self.reader_options, todo)]
                ids = known_ids(self.run.output, plan, self.reader_options, instances, todo)
                # Several workers are copies of a process that has started the engines.
                is_alone = self._cluster is None and min(workers or self.workers, len(pending)) == 1
                is_much_text = is_alone and not ids and plan.is_much_text(pending, 1)
                steps += [*ids, *around[0], *(Tag(i, is_much_text=is_much_text) for i in instances), *around[1]]
                steps.append(Publish(self.run.output, plan, self.reader_options, instances, todo))
                with recording(self.run.output, plan, todo) as entries:
                    self.over_chunks(
                        plan, pending, steps, self.run.pipeline, workers=workers, threads=threads, on_done=on_done
                    )
        except BaseException:
            release(self.run.output, instances)
            raise
        finally:
            self.run.ledger.enter(plan, instances, counts, seconds)
        if any(c.documents for (rank, _), c in counts.items() if rank in seconds):
            self.say_absent(instances, columns)
        remove_leftovers(self.run.output, plan, instances)
        self.look_for_repeated_ids(plan, instances[0])

    def look_for_repeated_ids(self, plan: Plan, instance: Instance) -> None:
        """Enter the number of documents with an id of an earlier one into the ledger. `instance`: one with all its parts."""
        with self.run.display.phase("looking for repeated ids"):
            documents, passes = passes_over_ids(self.run.output, plan, instance)
            distinct = [passes[0]()] if len(passes) == 1 else []
        distinct = distinct or self.each(passes, "looking for repeated ids")
        self.run.ledger.enter_duplicate_ids(documents - sum(distinct))

    def say_absent(self, instances: Sequence[Instance], columns: Collection[str]) -> None:
        """Say which document columns a parameter names and no document has. columns: those with any value."""
        for message in absent_columns(instances, columns):
            self.run.ledger.note(message)
            self.run.display.say(message)

    def suffixes(self) -> set[str]:
        """The suffixes of temporary names that this run's workers use."""
        return {self._pool.suffix, *([self._cluster.suffix] if self._cluster is not None else [])}

    def over_chunks(
        self, plan: Plan, ranks: Sequence[int], steps: Sequence[Step], title: str, **options: Any
    ) -> dict[int, list[Any]]:
        """`execute` over some chunks of the plan, wherever this run's chunks are computed."""
        return self.over_chunks_here(plan, ranks, steps, title, **options)

    def over_chunks_here(
        self, plan: Plan, ranks: Sequence[int], steps: Sequence[Step], title: str, **options: Any
    ) -> dict[int, list[Any]]:
        """The same, but on Slurm as part of the finish job: for what is little work beside an earlier pass."""
        rows = {r: planned.chunks[k].rows for r in ranks for planned, k in [plan.chunks[r]]}
        workers = options.get("workers") or self.workers
        units = units_of(plan, ranks, workers)
        if workers > 1:
            units = largest_first(plan, units)
        options.setdefault("on_done", lambda watch, rank, _results: watch.done(rows[rank], 0, 0))
        return self.execute(steps, units, lambda r: chunk_name(plan, r), title, sum(rows.values()), **options)

    def _say_resume_state(
        self, plan: Plan, before: ResumeState, pending: int, instances: Sequence[Instance], size: str
    ) -> None:
        files, chunks = len(plan.files), len(plan.chunks)
        message = size or f"{counted(files, 'file')}, {counted(plan.rows, 'row')}, {counted(chunks, 'chunk')}"
        if before.done:
            message += f"; {len(before.done):,} of {chunks * len(instances):,} parts are there already"
        if before.stale:
            stale = "1 part is" if before.stale == 1 else f"{before.stale:,} parts are"
            message += f"; {stale} of an earlier input or version, to be computed again"
            if reasons := [*changed_versions(self.run.output, instances), *before.reasons]:
                message += f" ({', '.join(reasons)})"
            self.run.ledger.note(f"{before.stale} stale parts recomputed")
        if before.damaged:
            damaged = "1 part is" if before.damaged == 1 else f"{before.damaged:,} parts are"
            message += f"; {damaged} damaged, to be computed again"
            self.run.ledger.note(f"{before.damaged} damaged parts recomputed")
        if before.proven:
            message += f"; {before.proven:,} had no digest and were proven by reading them"
        workers = min(self.workers, pending)
        self.run.display.say(message + (f"; {workers} worker{'s' * (workers != 1)}" if pending else ""))
        can_be_cut = any(planned.file.format != "json" for planned in plan.files)
        if workers < self.workers and not before.done and can_be_cut and plan.n_bytes > WORTH_CUTTING_BYTES:
            finer = max(1 << 20, 1 << (plan.n_bytes // (CHUNKS_PER_WORKER * self.workers)).bit_length() - 1)
            self.run.display.say(
                f"{self.workers} workers could be busy, and less be lost to an interruption, with smaller chunks: --set "
                f"chunk_bytes={finer}, from the start"
            )
