"""Slurm without Slurm: sbatch, squeue and scancel are scripts that write down what they are asked; array tasks and finish
job are then run by hand: from the scripts that were submitted, or, seconds sooner, what these call in this process."""

from __future__ import annotations

import contextlib
import gzip
import io
import json
import os
import re
import shlex
import signal
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from plugins import Ended, ended, jsonl, tree

from tagcorpus.cli import main
from tagcorpus.pipelines.slurm import tasks as slurm_tasks

SBATCH = """#!/bin/sh
n=$(($(ls {jobs}/*.script 2>/dev/null | wc -l) + 1))
if [ "$(cat {jobs}/refuse 2>/dev/null)" = "$n" ]; then echo "sbatch: error: invalid partition" >&2; exit 1; fi
for last; do :; done
cp "$last" {jobs}/$n.script
echo "$@" > {jobs}/$n.arguments
echo "Submitted batch job $n on cluster c1"
"""
# Busy first, then there are two tasks running; then every job is run, except the one named in `never`, and none is left.
SQUEUE = """#!/bin/sh
cd {jobs}
echo "$@" >> squeue.arguments
if [ -e drained ]; then echo "slurm_load_jobs error: Invalid job id specified" >&2; exit 1; fi
if [ ! -e busy ]; then touch busy; echo "slurm_load_jobs error: Unable to contact slurm controller" >&2; exit 1; fi
if [ ! -e seen ]; then touch seen; printf 'RUNNING\\nPENDING\\nRUNNING\\n'; exit 0; fi
if [ -e interrupt ]; then kill -INT $PPID; exit 0; fi
touch drained
for script in *.script; do
  if [ "$script" != "$(cat never 2>/dev/null)" ]; then
    last=$(sed -n 's/^#SBATCH --array=0-\\([0-9]*\\).*/\\1/p' $script)
    for i in $(seq 0 ${{last:-0}}); do SLURM_ARRAY_TASK_ID=$i RUN_OFFSET=0 bash $script >> log 2>&1; done
  fi
done
"""
SCANCEL = """#!/bin/sh
echo "$@" > {jobs}/cancelled
"""


@dataclass
class Slurm:
    """The jobs that were submitted, and a shell to run them in."""

    root: Path

    @property
    def jobs(self) -> Path:
        return self.root / "jobs"

    @property
    def out(self) -> Path:
        return self.root / "out"

    def script(self, job: int) -> str:
        return (self.jobs / f"{job}.script").read_text()

    def arguments(self, job: int) -> list[str]:
        return (self.jobs / f"{job}.arguments").read_text().split()

    def directives(self, job: int) -> dict[str, str]:
        found = re.findall(r"^#SBATCH --([a-z-]+)(?:=(.*))?$", self.script(job), re.MULTILINE)
        return dict(found)

    def n_tasks(self, job: int) -> int:
        return int(self.directives(job)["array"].removeprefix("0-").partition("%")[0]) + 1

    def start(self, job: int, task: int | None = None, **environment: str) -> subprocess.Popen[str]:
        more = {} if task is None else {"SLURM_ARRAY_TASK_ID": str(task), "RUN_OFFSET": "0"}
        return subprocess.Popen(
            ["bash", str(self.jobs / f"{job}.script")],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd="/",  # nothing may depend on it
            env={**os.environ, **more, **environment},
            start_new_session=True,
        )

    def work(self, job: int, task: int | None = None, **environment: str) -> Ended:
        return ended(self.start(job, task, **environment))

    def call(self, job: int, task: int | None = None, **environment: str) -> Ended:
        """What the job's script runs, in this process."""
        command = shlex.split(self.script(job).splitlines()[-1])
        assert command[:-2][-3:] == ["-P", "-m", slurm_tasks.__name__]
        more = {} if task is None else {"SLURM_ARRAY_TASK_ID": str(task), "RUN_OFFSET": "0"}
        kept = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGUSR1)}
        out, err = io.StringIO(), io.StringIO()
        with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            patch.chdir("/")  # nothing may depend on it
            for name, value in {**more, **environment}.items():
                patch.setenv(name, value)
            try:
                code = slurm_tasks.main(*command[-2:])
            finally:
                for number, handler in kept.items():
                    signal.signal(number, handler)
        return Ended(code, out.getvalue(), err.getvalue())

    def call_tasks(self, job: int) -> None:
        """The last one first."""
        for task in reversed(range(self.n_tasks(job))):
            done = self.call(job, task)
            assert done.code == 0, done.err

    def all_tasks(self, job: int) -> None:
        """Two at a time, the last ones first."""
        tasks = list(range(self.n_tasks(job)))
        while tasks:
            for running in [self.start(job, tasks.pop()) for _ in tasks[-2:]]:
                done = ended(running)
                assert done.code == 0, done.err

    def launch(self, *options: str, pipeline: str = "tag", taggers: str = "marks,length") -> Ended:
        return self.command("--executor", "slurm", *options, pipeline=pipeline, taggers=taggers)

    def command(
        self, *options: str, pipeline: str = "tag", taggers: str = "marks,length", output: Path | None = None
    ) -> Ended:
        own = ["--taggers", taggers] if pipeline == "tag" else []
        fixed = ["-i", str(self.root / "data"), "-o", str(output or self.out), "--set", "chunk_bytes=1500"]
        return invoke("run", pipeline, *fixed, *own, *options)

    def local(self, pipeline: str = "tag", taggers: str = "marks,length") -> dict[str, bytes]:
        """What the same command makes on one machine."""
        output = self.root / "local"
        assert self.command(pipeline=pipeline, taggers=taggers, output=output).code == 0
        return everything(output)

    def ledger(self) -> dict[str, Any]:
        """Of the newest run."""
        newest = sorted((self.out / "runs").iterdir(), key=lambda f: (f / "command.json").stat().st_mtime_ns)[-1]
        found: dict[str, Any] = json.loads((newest / "ledger.json").read_text())
        return found

    def write(self, name: str, rows: Sequence[object]) -> None:
        path = self.root / "data" / name
        path.parent.mkdir(exist_ok=True)
        data = jsonl(rows)
        path.write_bytes(gzip.compress(data, mtime=0) if name.endswith(".gz") else data)


def invoke(*arguments: str) -> Ended:
    """The command line in this process."""
    result = CliRunner().invoke(main, arguments)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return Ended(result.exit_code, result.stdout, result.stderr)


def everything(output: Path) -> dict[str, bytes]:
    """All whose bytes are promised, by relative path."""
    found = tree(output, "attributes", "quarantine", "summary", "filtered")
    csv = output / "predicted_domains.csv"
    return {**found, **({csv.name: csv.read_bytes()} if csv.exists() else {})}


def pretend(root: Path, patch: pytest.MonkeyPatch) -> Slurm:
    """Puts the scripts on the PATH; this process is part of no job."""
    jobs, commands = root / "jobs", root / "bin"
    jobs.mkdir()
    commands.mkdir()
    for name, text in (("sbatch", SBATCH), ("squeue", SQUEUE), ("scancel", SCANCEL)):
        (commands / name).write_text(text.format(jobs=jobs))
        (commands / name).chmod(0o755)
    patch.setenv("PATH", f"{commands}{os.pathsep}{os.environ['PATH']}")
    for name in [n for n in os.environ if n.startswith("SLURM_")]:
        patch.delenv(name)
    return Slurm(root)
