"""The job array of a run on Slurm, and the finish job that follows it.

datatrove's SlurmPipelineExecutor pickles itself, writes the array's script and calls sbatch. What is different here: its
tasks mark themselves complete in files of their own, ask scontrol for their nodes, requeue themselves on SIGUSR1 and end
with exit code 1 and a traceback; ours look at parts only, and end with the exit codes of every other run.
"""

from __future__ import annotations

import contextlib
import math
import os
import platform
import re
import shlex
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

from datatrove.executor.slurm import SlurmPipelineExecutor, launch_slurm_job
from datatrove.utils.logging import logger

from tagcorpus.errors import ConfigError
from tagcorpus.pipelines.attributes.batches import ChunkReport
from tagcorpus.pipelines.attributes.ledger import versions
from tagcorpus.pipelines.attributes.resuming import resume_state
from tagcorpus.pipelines.execution.executor import PlanExecutor
from tagcorpus.pipelines.execution.scheduling import chunk_name, default_workers, units_of
from tagcorpus.pipelines.execution.steps import Publish
from tagcorpus.pipelines.execution.worker_pool import WorkerPool
from tagcorpus.pipelines.execution.workers import Step
from tagcorpus.pipelines.options.declaring.common import Options
from tagcorpus.pipelines.progress.amounts import counted
from tagcorpus.pipelines.progress.display import Display, Watch
from tagcorpus.pipelines.readers.plan import Plan
from tagcorpus.pipelines.storage.folder import Folder

# Before the time limit, Slurm sends SIGUSR1 this early: a task ends by itself and says so.
WARNING_SECONDS = 60


class SlurmArray(SlurmPipelineExecutor):
    """Chunks as tasks of a job array: task i does the i-th run of `tasks_per_job` neighbouring ranks.

    ranks   pending ranks of the plan, in plan order
    run     options of the run
    folder  folder of scripts and pickle, in `output`
    """

    def __init__(
        self,
        pipeline: Sequence[Step],
        plan: Plan,
        ranks: Sequence[int],
        run: Options,
        output: Folder,
        folder: str,
        *,
        job_name: str,
    ) -> None:
        options = run.slurm
        tasks_wanted = min(options.max_array, math.ceil(len(ranks) / options.cpus_per_task)) or 1
        super().__init__(
            list(pipeline),
            tasks=len(ranks),
            time=_time(options.hours),
            partition=options.partition,
            cpus_per_task=options.cpus_per_task,
            mem_per_cpu_gb=options.mem_per_cpu_gb,
            workers=options.workers or -1,
            job_name=job_name,
            qos=options.qos,
            env_command=options.env_command,
            sbatch_args={"account": options.account, "signal": f"B:USR1@{WARNING_SECONDS}"},
            max_array_size=-1,
            job_id_retriever=job_id,
            logging_dir=f"{output}/{folder}",
            skip_completed=False,
            # Slurm writes there itself: a folder that it sees.
            slurm_logs_folder=output.path(f"{folder}/logs")
            if output.is_local
            else os.path.abspath(f"slurm_logs/{folder.split('/')[1]}"),
            requeue_signals=None,
            tasks_per_job=math.ceil(len(ranks) / tasks_wanted) or 1,
            # A step of its own would get one CPU only (Slurm 22.05 and later), and the signals go to the batch shell.
            with_srun=False,
        )
        self.plan, self.ranks, self.output, self.folder = plan, list(ranks), output, folder
        self.cwd, self.versions, self.is_anew = os.getcwd(), versions(), run.overwrite
        self.finish_id = ""
        self.seconds: dict[int, float] = {}
        self.digests: dict[int, dict[str, str]] = {}
        self.columns: set[str] = set()
        """That taggers need, and some document of this task has."""

    @property
    def n_tasks(self) -> int:
        return -(-len(self.ranks) // int(self.tasks_per_job))

    def submit(self) -> None:
        """Raises ConfigError where sbatch refuses; then nothing stays in the queue."""
        logger.disable("datatrove")
        try:
            if self.ranks:
                self.launch_job()
            else:
                self.launch_merge_stats()
        except BaseException as error:
            if self.job_id:  # an array without its finish job
                with contextlib.suppress(OSError):
                    subprocess.run(["scancel", self.job_id], check=False, capture_output=True)
            if not isinstance(error, (OSError, subprocess.CalledProcessError)):
                raise
            raise ConfigError(
                f"sbatch refused the job ({error}); its message is above. The script is in "
                f"{self.logging_dir.resolve_paths('')}; partition, account, qos, hours and memory are keys of `slurm:`"
            ) from error
        finally:
            logger.enable("datatrove")

    def get_incomplete_ranks(self, ranks: Any = None, skip_completed: Any = None) -> list[int]:  # noqa: ARG002
        """The launcher has compared parts with the plan already; datatrove's completion files are not used."""
        return self.ranks

    def save_executor_as_json(self, indent: int = 4) -> None:
        """Writes nothing: command.json has the options, and a plan as JSON can take a hundred megabytes."""

    def launch_merge_stats(self) -> None:
        """datatrove adds up statistics after the array; here the finish job takes that place."""
        arguments = {k: v for k, v in self.get_sbatch_args().items() if k not in ("array", "signal")}
        log = shlex.quote(os.path.join(self.slurm_logs_folder, "finish_%j.out"))
        script = self.get_launch_file_contents(arguments | {"output": log, "error": log}, "finish")
        with self.logging_dir.open("finish_script.slurm", "w") as file:
            file.write(script)
        after = [f"--dependency=afterany:{self.job_id}"] if self.job_id else []
        self.finish_id = launch_slurm_job(script, self.job_id_retriever, "--export=ALL", *after)

    def get_sbatch_args(self, max_array: int = 1) -> dict[str, Any]:
        """datatrove's, without those that are not set (it would write them without a value) and with paths quoted."""
        arguments = super().get_sbatch_args(max_array)
        return {
            k: shlex.quote(v) if k in ("output", "error") else v
            for k, v in arguments.items()
            if v is not None and (v or k == "requeue")
        }

    def get_launch_file_contents(self, sbatch_args: dict[str, Any], run_script: str) -> str:
        """datatrove's script around a command of ours. `exec`: what Slurm signals is then the Python process itself."""
        task = "finish" if run_script == "finish" else "work"
        python = "python" if self.env_command else shlex.quote(sys.executable)
        folder = shlex.quote(self.logging_dir.resolve_paths(""))
        command = f"exec {python} -P -m tagcorpus.pipelines.slurm.tasks {task} {folder}"
        return str(super().get_launch_file_contents(sbatch_args, command))

    def run(self) -> None:
        """What an array task does; `seconds` and `digests` of every chunk are entered as it is published. Raises TagcorpusError as a run on
        one machine would."""
        index = int(os.environ["SLURM_ARRAY_TASK_ID"])
        ranks = self.ranks[index * self.tasks_per_job : (index + 1) * self.tasks_per_job]
        self._check_node(ranks)
        if os.environ.get("SLURM_RESTART_COUNT", "0") != "0" and not self.is_anew:
            ranks = self._unpublished(ranks)
        workers = default_workers()
        display = Display()
        amount = f"{counted(len(ranks), 'chunk')}, {counted(min(workers, len(ranks)), 'worker')}"
        display.say(f"array task {index} on {platform.node()}: {amount}")

        def describe(rank: int) -> str:
            return chunk_name(self.plan, rank)

        pool = WorkerPool()
        executor = PlanExecutor(
            self.pipeline,
            units_of(self.plan, ranks, workers),
            workers,
            describe=describe,
            pool=pool,
        )
        try:
            with pool, Watch(display, f"task {index}", self._rows(ranks), executor.progress, describe) as watch:

                def on_done(rank: int, results: list[Any]) -> None:
                    report: ChunkReport = results[0]
                    self.seconds[rank] = round(report.seconds, 3)
                    self.digests[rank] = report.digests
                    self.columns.update(report.columns)
                    read = next(iter(report.counts.values()))
                    quarantined = sum(c.quarantined_rows for c in report.counts.values())
                    watch.done(read.lines + read.unreadable, read.text_bytes, quarantined)

                executor.run(on_done)
        except BaseException:
            if executor.workers > 1:  # those that were killed could not remove their temporary files
                with contextlib.suppress(Exception):
                    self.output.sweep({pool.suffix})
            raise
        display.say(f"array task {index}: all is published")

    def _rows(self, ranks: Sequence[int]) -> int:
        chunks = self.plan.chunks
        return sum(planned.chunks[k].rows for planned, k in (chunks[r] for r in ranks))

    def _check_node(self, ranks: Sequence[int]) -> None:
        """Raise ConfigError, naming the node, where it cannot do its part."""
        node = platform.node()
        for name, version in versions().items():
            if self.versions.get(name) != version:
                raise ConfigError(
                    f"node {node} has {name} {version}, the launcher {self.versions.get(name, 'not at all')}: results "
                    "could differ; use one environment that all nodes share (slurm.env_command)"
                )
        chunks = self.plan.chunks
        for file in {chunks[r][0].file for r in ranks}:
            if file.is_local and not os.path.isfile(file.path):
                raise ConfigError(
                    f"node {node} does not see the input {file.path}: it must be in a folder that all nodes share"
                )

    def _unpublished(self, ranks: Sequence[int]) -> list[int]:
        """What Slurm started a second time does not do again what it published the first time."""
        publish = self.pipeline[-1]
        if not isinstance(publish, Publish):  # what it makes is no part
            return list(ranks)
        instances = list(publish.instances.values())
        before = resume_state(self.output, self.plan, publish.reader_options, instances)
        left = before.todo(len(self.plan.chunks), instances)
        return [r for r in ranks if left[r]]


def job_id(answer: str) -> str:
    """The number in sbatch's answer, which may go on with the name of a cluster."""
    match = re.search(r"Submitted batch job (\d+)", answer) or re.search(r"\d+", answer)
    if match is None:
        raise ConfigError(f"sbatch answered without a job number: {answer.strip()!r}")
    return match[match.lastindex or 0]


def _time(hours: float | None) -> str | None:
    if hours is None:
        return None
    minutes = math.ceil(hours * 60)
    return f"{minutes // 60:02d}:{minutes % 60:02d}:00"
