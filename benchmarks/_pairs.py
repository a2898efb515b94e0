"""Programs run in turn, each in a process of its own, and what each used: the one way in which this suite measures.

CPU seconds are user and system time of the process and of every child it waited for. The workers of a pool or of Ray are not
among those, so where there are several workers only wall seconds count. A ratio is taken within a round, then the median over rounds. Linux only.
"""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

# Where this is set, Python would compile our modules at every start, and installed programs' modules at none.
INHERITED = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}


class Used(NamedTuple):
    """What one run used."""

    cpu: float
    """seconds, user + system, the whole tree of processes"""
    wall: float
    """seconds"""
    load: float
    """1-minute load average when it began"""
    out: str
    """its standard output"""


@dataclass(frozen=True)
class Program:
    """A command; `output` is removed before and after each run, so that nothing is resumed."""

    command: Sequence[str | Path]
    output: Path
    env: Mapping[str, str] | None = None
    prepare: Callable[[], None] | None = None

    def __call__(self) -> Used:
        shutil.rmtree(self.output, ignore_errors=True)
        if self.prepare:
            self.prepare()
        load = os.getloadavg()[0]
        told = self.output.with_suffix(".log")
        start = time.perf_counter()
        with told.open("wb") as log:
            process = subprocess.Popen(
                [str(c) for c in self.command],
                env={**INHERITED, **(self.env or {})},
                stdout=subprocess.PIPE,
                stderr=log,
                cwd=told.parent,
            )
            assert process.stdout is not None
            out = process.stdout.read().decode()
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
        wall = time.perf_counter() - start
        shutil.rmtree(self.output, ignore_errors=True)
        if process.returncode:
            command = " ".join(map(str, self.command))
            raise RuntimeError(f"exit {process.returncode}: {command}\n{told.read_text()[-2000:]}")
        return Used(usage.ru_utime + usage.ru_stime, wall, load, out)


def in_turn(programs: Mapping[str, Callable[[], Used]], rounds: int) -> dict[str, list[Used]]:
    """A B C, A B C, ...: one run of each program in each round."""
    found: dict[str, list[Used]] = {name: [] for name in programs}
    for k in range(rounds):
        for name, program in programs.items():
            used = program()
            found[name].append(used)
            print(
                f"  {k + 1}/{rounds} {name}: {used.cpu:.2f} cpu s, {used.wall:.2f} s, load {used.load:.1f}",
                file=sys.stderr,
                flush=True,
            )
    return found


def median(values: Sequence[float]) -> float:
    return statistics.median(values)


def ratios(above: Sequence[float], below: Sequence[float]) -> list[float]:
    """Round by round. A difference of two sizes that noise made zero or negative gives no ratio."""
    return [a / b for a, b in zip(above, below, strict=True) if a > 0 and b > 0]


def slope(small: Sequence[Used], large: Sequence[Used], megabytes: float) -> list[float]:
    """Marginal CPU seconds for each of `megabytes` between the two sizes, round by round."""
    return [(b.cpu - a.cpu) / megabytes for a, b in zip(small, large, strict=True)]
