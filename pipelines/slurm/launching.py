"""`--executor slurm`: planned here, computed by a job array, brought to its end by one more job that depends on the array.

The launcher indexes the input, sees what is missing, and submits. An array task (array.py) does a fixed share of the
missing chunks and publishes their parts, which are the only sign that a chunk is done; the finish job (tasks.py)
computes nothing: it writes summary and ledger where all parts are there, and otherwise names the chunks that are not.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import shlex
import shutil
import subprocess
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, NoReturn

from tagcorpus.errors import BudgetError, ConfigError, IncompleteError, TagcorpusError
from tagcorpus.pipelines.attributes.claims import claim
from tagcorpus.pipelines.attributes.parts import Instance
from tagcorpus.pipelines.attributes.resuming import ResumeState
from tagcorpus.pipelines.dispatch.conduct import run_options
from tagcorpus.pipelines.dispatch.pipeline import pipeline_of
from tagcorpus.pipelines.execution.engine import Engine
from tagcorpus.pipelines.execution.workers import Step
from tagcorpus.pipelines.inputs import discover
from tagcorpus.pipelines.inputs.chunks import Counts
from tagcorpus.pipelines.options.declaring.common import Options
from tagcorpus.pipelines.progress.amounts import counted
from tagcorpus.pipelines.progress.display import Display
from tagcorpus.pipelines.readers.plan import Index, Plan
from tagcorpus.pipelines.runs.inputs import Inputs
from tagcorpus.pipelines.runs.instances import build
from tagcorpus.pipelines.runs.result import Result
from tagcorpus.pipelines.runs.run import Run
from tagcorpus.pipelines.slurm.array import SlurmArray
from tagcorpus.pipelines.storage.folder import Folder
from tagcorpus.taggers._interface.files import known_files

# A shared folder may show a file some time after the job that wrote it has left the queue.
LOOKS_FOR_LEDGER = 4
ERRORS = {2: ConfigError, 4: IncompleteError, 5: BudgetError}


def launch(pipeline: str, options: Options, display: Display) -> Result:
    """Submit; with `slurm.wait`, wait for the finish job and return what it found.

    Raises ConfigError for what Slurm cannot do, before anything is written, and where sbatch refuses; waiting raises the
    error that the finish job ended with.
    """
    _check(pipeline, options)
    try:
        return run_options(pipeline, options, display, make_engine=LaunchEngine)
    except Submitted as submitted:
        submission = submitted.submission
    cancel = f"scancel {' '.join(submission[k] for k in ('array_job', 'finish_job') if submission[k])}"
    array = f"array job {submission['array_job']} ({counted(submission['tasks'], 'task')}, {counted(submission['ranges'], 'chunk')}) and "
    display.say(
        f"{'submitted ' + array if submission['ranges'] else 'nothing is left to compute; submitted '}"
        f"finish job {submission['finish_job']}, which writes the summary"
    )
    if options.slurm.wait:
        try:
            return _wait(pipeline, submission, options.slurm.poll_seconds, display)
        except KeyboardInterrupt:
            display.say(f"no longer waiting; the jobs go on, `{cancel}` ends them")
            raise
    message = (
        f"exit 0 means submitted, not done: `tagcorpus status {shlex.quote(submission['output'])}` says how far it is, "
        f"`{cancel}` ends it, the same command then submits what is missing"
    )
    display.say(message)
    return Result(pipeline, submission["output"], 0, Counts(), {"slurm": submission}, "", [message])


def _check(pipeline: str, options: Options) -> None:
    if pipeline == "features":
        raise ConfigError(
            "--executor slurm computes one pass over the chunks, and features takes several: compute its taggers with "
            "`tagcorpus run tag --executor slurm` into the same --output, then run features there with --executor local or ray"
        )
    shared = "a folder that the launcher and all nodes share"
    if any(discover.label_and_path(a)[1] == "-" for a in options.input):
        raise ConfigError(
            "--executor slurm cannot read standard input: its nodes do not see it. Save it as a file first"
        )
    if options.output is None:
        raise ConfigError(f"--executor slurm needs --output FOLDER, {shared}")
    if options.output.lower().endswith(options.RESULT_SUFFIXES) and options.work is None:
        raise ConfigError(f"--executor slurm with an --output file needs --work FOLDER, {shared}")
    for command in ("sbatch", *(["squeue"] if options.slurm.wait else [])):
        if shutil.which(command) is None:
            raise ConfigError(
                f"--executor slurm needs Slurm's {command}, which is not on the PATH here: run this on a login node of "
                "the cluster (module load slurm?), or use --executor local"
            )
    for instance in build(options, pipeline_of(pipeline).instances(options)):
        if getattr(instance.tagger, "worst_case_calls", 0):
            raise ConfigError(
                f"{instance.name} asks an LLM endpoint, and all calls of a run go through one caller, which tasks on "
                "Slurm cannot share: use --executor local (it waits more than it computes), or --backend fasttext"
            )


class Submitted(BaseException):
    """No error: it ends the run in this process. The rest happens on Slurm; `submission` says where."""

    def __init__(self, submission: dict[str, Any]) -> None:
        super().__init__(f"finish job {submission['finish_job']}")
        self.submission = submission


class LaunchEngine(Engine):
    """Hands what is to be computed to Slurm, and raises Submitted there."""

    def __init__(self, run: Run, inputs: Inputs, stack: contextlib.ExitStack) -> None:
        super().__init__(run, inputs, stack)
        self._inputs = inputs

    def compute(self, plan: Plan, instances: Sequence[Instance], before: ResumeState, **options: Any) -> None:
        if not before.pending(len(plan.chunks), instances):
            self.over_chunks(plan, [], [], self.run.pipeline)
        try:
            super().compute(plan, instances, before, **options)
        except Submitted:
            claim(
                self.run.output, instances
            )  # given back where a run ends before its first part, which is still to come
            raise

    def over_chunks(
        self,
        plan: Plan,
        ranks: Sequence[int],
        steps: Sequence[Step],
        title: str,  # noqa: ARG002
        **_options: Any,
    ) -> NoReturn:
        raise self._submitted(plan, ranks, steps)

    def execute(
        self, pipeline: Sequence[Step], units: Sequence[Sequence[int]], *arguments: Any, **options: Any
    ) -> dict[int, list[Any]]:
        """Only the index is made here; what else there is to do besides the chunks, the finish job does."""
        if isinstance(pipeline[0], Index):
            return super().execute(pipeline, units, *arguments, **options)
        raise self._submitted(Plan(()), [], [])

    def _submitted(self, plan: Plan, ranks: Sequence[int], steps: Sequence[Step]) -> Submitted:
        run = self.run
        folder = f"runs/{run.name}/slurm"
        name = f"tagcorpus-{run.pipeline}"
        array = SlurmArray(steps, plan, ranks, run.options, run.output, folder, job_name=name)
        order = {
            "pipeline": run.pipeline,
            "run": run.name,
            "cwd": os.getcwd(),
            "logs": array.slurm_logs_folder,
            "files": [dataclasses.asdict(f) for f in self._inputs.files],
            "options": dataclasses.asdict(run.options),
            "tagger_files": [[f.name, f.source.hex(), f.path] for f in known_files().values()],
        }
        run.output.publish(f"{folder}/finish.json", json.dumps(order, indent=1).encode())
        array.submit()
        submission = {
            "output": str(run.output),
            "run": run.name,
            "array_job": array.job_id,
            "finish_job": array.finish_id,
            "tasks": array.n_tasks,
            "ranges": len(ranks),
            "scripts": f"{run.output}/{folder}",
            "logs": array.slurm_logs_folder,
        }
        run.output.publish(f"runs/{run.name}/slurm.json", json.dumps(submission, indent=1).encode())
        return Submitted(submission)


def _wait(pipeline: str, submission: dict[str, Any], poll_seconds: float, display: Display) -> Result:
    """Until the run's ledger is there, or the finish job is gone without one."""
    output = Folder(submission["output"])
    said = ""
    for states in _queue([submission[k] for k in ("array_job", "finish_job") if submission[k]], poll_seconds):
        if (ledger := output.read(f"runs/{submission['run']}/ledger.json")) is not None:
            return _ended(pipeline, output, submission["run"], json.loads(ledger), display)
        if states and (now := ", ".join(f"{n} {state.lower()}" for state, n in sorted(states.items()))) != said:
            said = now
            display.say(f"slurm: {said}")
    raise IncompleteError(
        f"finish job {submission['finish_job']} is gone, and wrote no ledger: cancelled, killed, or never started (sacct -j "
        f"{submission['finish_job']}; logs in {submission['logs']}). Published chunks are kept; the same command continues from there"
    )


def _queue(jobs: Sequence[str], poll_seconds: float) -> Iterator[Counter[str]]:
    """Tasks by state, again and again; ends when the queue has known none of the jobs for some looks in a row."""
    without = 0
    while without < LOOKS_FOR_LEDGER:
        answer = subprocess.run(
            ["squeue", "--noheader", "--array", f"--jobs={','.join(jobs)}", "--format=%T"],
            check=False,
            capture_output=True,
            text=True,
        )
        states = Counter(answer.stdout.split()) if answer.returncode == 0 else Counter[str]()
        # A controller that is too busy to answer says nothing about the jobs.
        is_gone = not states and (answer.returncode == 0 or "Invalid job id" in answer.stderr)
        without = without + 1 if is_gone else 0
        yield states
        if without < LOOKS_FOR_LEDGER:
            time.sleep(poll_seconds)


def _ended(pipeline: str, output: Folder, run_name: str, ledger: dict[str, Any], display: Display) -> Result:
    code = int(ledger["exit_code"])
    if "error" in ledger:
        if code in (130, 143):
            raise IncompleteError("the finish job was stopped before its end; the same command continues from there")
        raise ERRORS.get(code, TagcorpusError)(ledger["error"])
    log = (output.read(f"runs/{run_name}/log.txt") or b"").decode()
    messages = [line.partition(" ")[2] for line in log.splitlines()]
    for message in messages:
        display.say(message)
    summary = json.loads(output.read(ledger["summary"]) or b"{}")
    where = output.path(f"runs/{run_name}/ledger.json")
    return Result(pipeline, str(output), code, Counts.from_json(ledger["totals"]), summary, where, messages)
