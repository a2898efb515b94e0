"""What runs on the nodes of a Slurm cluster: `python -m tagcorpus.pipelines.slurm.tasks work|finish FOLDER`, as the
scripts that array.py writes call it.

`work` is an array task: its share of the chunks, and a note of how it ended in `tasks/`. `finish` computes nothing: it
runs the pipeline over what is published, and ends with the chunks that are missing and the worst that a task met.
SIGTERM and SIGUSR1 end `work` with exit code 4: what is published stays, the chunk in flight leaves nothing behind.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn

import dill  # type: ignore[import-untyped]
from datatrove.io import open_file

from tagcorpus.errors import ConfigError, IncompleteError, TagcorpusError
from tagcorpus.pipelines.attributes.digests import put
from tagcorpus.pipelines.attributes.parts import Instance
from tagcorpus.pipelines.attributes.resuming import ResumeState, resume_state
from tagcorpus.pipelines.dispatch.conduct import Terminated, as_json, run_options
from tagcorpus.pipelines.execution.engine import Engine
from tagcorpus.pipelines.execution.executor import PRECEDENCE
from tagcorpus.pipelines.execution.scheduling import chunk_name
from tagcorpus.pipelines.execution.workers import Step
from tagcorpus.pipelines.inputs.input_files import InputFile
from tagcorpus.pipelines.options.declaring.common import Options
from tagcorpus.pipelines.options.tree import OPTIONS
from tagcorpus.pipelines.progress.display import Display
from tagcorpus.pipelines.progress.printable import printable
from tagcorpus.pipelines.readers.plan import Plan, forget
from tagcorpus.pipelines.runs.inputs import Inputs
from tagcorpus.pipelines.runs.result_text import table
from tagcorpus.pipelines.runs.run import Run
from tagcorpus.pipelines.slurm.array import SlurmArray
from tagcorpus.pipelines.slurm.launching import ERRORS
from tagcorpus.pipelines.storage.folder import Folder
from tagcorpus.taggers._interface.files import TaggerFile, add_files

NAMED_CHUNKS = 10


def main(task: str, folder: str) -> int:
    """The exit code of a job's process."""
    body: Callable[[str], int] = {"work": work, "finish": finish}[task]
    try:
        return body(folder)
    except TagcorpusError as error:
        print(f"tagcorpus: {printable(error)}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        return 130
    except Terminated:
        return 4 if task == "work" else 143


def work(folder: str) -> int:
    """One array task. Returns 4 where a signal ended it."""
    for number in (signal.SIGTERM, signal.SIGUSR1):
        signal.signal(number, _terminate)
    if not os.environ.get("SLURM_ARRAY_TASK_ID", "").isdigit():
        raise ConfigError("this is a task of a job array: SLURM_ARRAY_TASK_ID must be its number, from 0")
    array = _array_in(folder)
    _enter(array.cwd)
    note = f"{array.folder}/tasks/{os.environ['SLURM_ARRAY_TASK_ID']}.json"
    array.output.remove(note)  # of an earlier try
    error: TagcorpusError | None = None
    try:
        array.run()
    except Terminated:
        error = IncompleteError("Slurm ended the task before its end (time limit, preemption or scancel)")
    except TagcorpusError as raised:
        error = raised
        forget(array.output, [planned.file for planned in array.plan.files], error)
    value = {
        "node": platform.node(),
        "exit_code": error.exit_code if error else 0,
        "error": str(error) if error else None,
        "seconds": array.seconds,
        "digests": array.digests,
        "columns": sorted(array.columns),
    }
    array.output.publish(note, json.dumps(value, indent=1).encode())
    if error:
        raise error
    return 0


def _array_in(folder: str) -> SlurmArray:
    """The array as it was launched. Raises ConfigError where another version of tagcorpus launched it."""
    try:
        array: SlurmArray = dill.loads(_read(folder, "executor.pik"))
    except (ImportError, AttributeError) as error:
        raise ConfigError(
            f"this job array was launched by another version of tagcorpus than the one installed on node {platform.node()} "
            f"({error}): run the same command again to launch it anew; published parts are kept"
        ) from error
    return array


def _terminate(_signal: int, _frame: object) -> NoReturn:
    # Slurm sends a second one after a while: the way out must not be interrupted.
    for number in (signal.SIGTERM, signal.SIGUSR1):
        signal.signal(number, signal.SIG_IGN)
    raise Terminated


def finish(folder: str) -> int:
    """Summary, ledger and verdict of a run whose array has ended."""
    order = json.loads(_read(folder, "finish.json"))
    _enter(order["cwd"])
    files = [InputFile(**f) for f in order["files"]]
    # As they were when the run was launched.
    add_files([TaggerFile(name, bytes.fromhex(source), path) for name, source, path in order["tagger_files"]], ())
    options = _options(order)
    own = Finish(folder, order["run"], files, order["logs"])
    result = run_options(
        order["pipeline"], options, Display(), make_inputs=own.inputs, make_run=own.run, make_engine=own.engine
    )
    print(printable(as_json(result) if options.json else table(result)))
    return result.exit_code


def _options(order: dict[str, Any]) -> Options:
    return OPTIONS[order["pipeline"]].from_json(order["options"])


class Finish:
    """The run that the launcher began, under the same name and over the same files; computing is forbidden.

    Its methods are the factories that `run_options` takes.
    """

    def __init__(self, folder: str, name: str, files: Sequence[InputFile], logs: str) -> None:
        self.name, self.files, self.logs = name, list(files), logs
        tasks = Folder(folder)
        self.tasks = [json.loads(tasks.read(n) or b"{}") for n in tasks.files("tasks") if n.endswith(".json")]
        self.seconds = {int(rank): s for task in self.tasks for rank, s in task["seconds"].items()}
        noted = [item for task in self.tasks for item in task.get("digests", {}).items()]
        self.digests = {(int(rank), name): entry for rank, entries in noted for name, entry in entries.items()}

    def inputs(self, options: Options, columns: Sequence[str], display: Display, stack: contextlib.ExitStack) -> Inputs:
        return Inputs(options, columns, display, stack, files=self.files)

    def run(self, *arguments: Any, **more: Any) -> FinishRun:
        return FinishRun(*arguments, name=self.name, seconds=self.seconds, **more)

    def engine(self, run: Run, inputs: Inputs, stack: contextlib.ExitStack) -> FinishEngine:
        return FinishEngine(run, inputs, stack, self)


class FinishRun(Run):
    """seconds: of every rank that the array has computed."""

    def __init__(self, *arguments: Any, seconds: Mapping[int, float], **more: Any) -> None:
        super().__init__(*arguments, **more)
        self._seconds = seconds

    def write_command(self, inputs: Sequence[str]) -> None:  # noqa: ARG002
        """The launcher wrote command.json; from here on this process writes the progress record."""
        self.heartbeat.start()

    def write_ledger(self, exit_code: int, **more: Any) -> str:
        for rank, entry in enumerate(self.ledger.chunks):
            if rank in self._seconds and entry.pop("is_resumed", False):
                entry["seconds"] = self._seconds[rank]
        return super().write_ledger(exit_code, **more)


class FinishEngine(Engine):
    """Computes no chunk: it names those that the array has not published."""

    def __init__(self, run: Run, inputs: Inputs, stack: contextlib.ExitStack, finish: Finish) -> None:
        super().__init__(run, inputs, stack)
        self._finish = finish

    @property
    def starts_afresh(self) -> bool:
        """Never: the launcher has done what --overwrite asks for."""
        return False

    def prepare(self, plan: Plan, instances: Sequence[Instance], size: str = "") -> ResumeState:
        """With `overwrite`, only parts that the array says it has published count: others may be older."""
        output, seconds = self.run.output, self._finish.seconds
        put(output, plan, {key: e for key, e in self._finish.digests.items() if key[0] < len(plan.chunks)})
        if not self.run.options.overwrite:
            return super().prepare(plan, instances, size)
        before = resume_state(output, plan, self.reader_options, instances)
        return ResumeState({k: c for k, c in before.done.items() if k[0] in seconds}, before.stale)

    def compute(self, plan: Plan, instances: Sequence[Instance], before: ResumeState, **options: Any) -> None:
        super().compute(plan, instances, before, **options)
        tasks = self._finish.tasks
        if self.run.ledger.totals.documents and tasks and all("columns" in task for task in tasks):
            self.say_absent(instances, {column for task in tasks for column in task["columns"]})

    def over_chunks(
        self,
        plan: Plan,
        ranks: Sequence[int],
        steps: Sequence[Step],  # noqa: ARG002
        title: str,  # noqa: ARG002
        **_options: Any,
    ) -> NoReturn:
        named = ", ".join(chunk_name(plan, r) for r in ranks[:NAMED_CHUNKS])
        more = f" and {len(ranks) - NAMED_CHUNKS:,} more" if len(ranks) > NAMED_CHUNKS else ""
        message = f"{len(ranks):,} of {len(plan.chunks):,} chunks are missing: {named}{more}"
        failed = sorted((t for t in self._finish.tasks if t["exit_code"]), key=lambda t: _precedence(t["exit_code"]))
        code = 4
        if failed:
            code = failed[0]["exit_code"]
            message += f". {len(failed)} array task{'s' * (len(failed) != 1)} failed; on {failed[0]['node']}: {failed[0]['error']}"
        message += f". Logs are in {self._finish.logs}"
        if code == 4:
            message += "; the same command submits what is missing"
        raise ERRORS.get(code, TagcorpusError)(message)


def _precedence(code: int) -> int:
    return PRECEDENCE.index(code) if code in PRECEDENCE else 0


def _read(folder: str, name: str) -> bytes:
    path = f"{folder.rstrip('/')}/{name}"
    try:
        with open_file(path, "rb") as file:
            data: bytes = file.read()
    except FileNotFoundError as error:
        raise ConfigError(
            f"{path} is not there on node {platform.node()}: the output must be a folder that all nodes share"
        ) from error
    return data


def _enter(folder: str) -> None:
    """Relative paths in options and tagger parameters mean what they meant where the run was launched."""
    try:
        os.chdir(folder)
    except OSError as error:
        raise ConfigError(
            f"{folder}, where the run was launched, is not there on node {platform.node()} ({error.strerror}): launch it "
            "from a folder that all nodes share"
        ) from error


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
