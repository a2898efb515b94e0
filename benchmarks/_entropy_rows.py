"""Rows of the suite for `run entropy`: against the published algorithm in plain Python, against itself in other sizes."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable
from pathlib import Path

from _pairs import Program, in_turn, median, ratios
from _rows import TAGCORPUS, Bench, Result, result, told, two_sizes

# The kernel's high-water mark of every process of a run; `ru_maxrss` would begin with this benchmark's.
PEAK = """
import json, os, sys, threading, time
from tagcorpus.cli import main
peak = {}
def look():
    while True:
        for pid in [p for p in os.listdir("/proc") if p.isdigit()]:
            try:
                told = open(f"/proc/{pid}/status").read()
                if os.getpgid(int(pid)) == os.getpgid(0):
                    peak[pid] = int(told.split("VmHWM:")[1].split()[0])
            except (OSError, IndexError):
                pass
        time.sleep(0.2)
os.setpgid(0, 0)
threading.Thread(target=look, daemon=True).start()
try:
    main(sys.argv[1:])
finally:
    print(json.dumps(max(peak.values())))
"""


def entropy(bench: Bench, source: Path, n: int, *more: str, workers: int = 1) -> Program:
    output = bench.work / "out"
    command = [*TAGCORPUS, "run", "entropy", "--input", source, "--output", output, "--ngram", str(n)]
    return Program([*command, "--workers", str(workers), *more], output)


def against_the_reference(bench: Bench) -> list[Result]:
    """i. The published algorithm (Counters over tiktoken ids) against `run entropy`, everything included."""
    found = []
    for n in (1, 2, 3):
        programs: dict[str, Callable[[Path], Program]] = {
            "counters": lambda f, n=n: bench.python(
                "_entropy_reference.py",
                "--ngram",
                str(n),
                "--output",
                bench.work / "reference.json",
                *sorted(f.iterdir()),
            ),
            "tiktoken": lambda f, n=n: entropy(bench, f, n, "--set", "engine=tiktoken"),
            "gigatoken": lambda f, n=n: entropy(bench, f, n, "--set", "engine=gigatoken"),
        }
        goals: dict[str, float | None] = {"tiktoken": 10.0, "gigatoken": 45.0} if n == 1 else {}
        found += two_sizes(bench, "i", f"plain Counters / run entropy, n = {n}", programs, goals)
    return found


def two_workers(bench: Bench) -> list[Result]:
    """j. Two workers against one, wall: marginal from two sizes, and the whole command."""
    found = []
    few, many = bench.large, min(8 * bench.large, 32)
    for n in (1, 2):
        runs = in_turn(
            {
                f"{w} workers, {shards} shards": entropy(bench, bench.shards(shards), n, workers=w)
                for shards in (few, many)
                for w in (1, 2)
            },
            bench.rounds,
        )
        walls = {k: [u.wall for u in v] for k, v in runs.items()}
        each = [
            [
                b - a
                for a, b in zip(walls[f"{w} workers, {few} shards"], walls[f"{w} workers, {many} shards"], strict=True)
            ]
            for w in (1, 2)
        ]
        whole = [walls[f"{w} workers, {many} shards"] for w in (1, 2)]
        what, figures = f"one worker / two workers, run entropy, n = {n}", told(runs, has_cpu=False)
        found.append(result("j", f"{what}: marginal wall", ratios(*each), 1.8, **figures))
        found.append(result("j", f"{what}: whole command, {many} shards, wall", ratios(*whole), 1.8, **figures))
    return found


def growth(bench: Bench) -> list[Result]:
    """k. How CPU and memory grow with the corpus: exponent of CPU, and peak resident memory of a process for 4x the text."""
    found = []
    few, many = 8, 32
    tokens = json.loads((bench.corpus / "manifest.json").read_text())["tokens_p50k_base"]
    for n in (1, 2, 3):
        output = bench.work / "out"
        programs = {}
        for shards in (few, many):
            options = ["--input", bench.shards(shards), "--output", output, "--ngram", str(n), "--workers", "1"]
            command = [TAGCORPUS[0], "-c", PEAK, "run", "entropy", *options, "--json"]
            programs[f"{shards} shards"] = Program(command, output)
        runs = in_turn(programs, max(2, bench.rounds // 2))
        cpu = [[u.cpu for u in runs[f"{s} shards"]] for s in (few, many)]
        exponents = [math.log(b / a) / math.log(many / few) for a, b in zip(*cpu, strict=True)]
        millions = [round(tokens * s / 32e6) for s in (few, many)]
        what = f"exponent of cpu from {millions[0]} to {millions[1]} M tokens, run entropy, n = {n}"
        found.append(result("k", what, exponents, 1.05, at_most=True, **told(runs)))
        peaks = [[int(u.out.splitlines()[-1]) >> 10 for u in runs[f"{s} shards"]] for s in (few, many)]
        what = f"peak memory, {millions[1]} / {millions[0]} M tokens, run entropy, n = {n}"
        figures = {"peak_mib": [median(p) for p in peaks], "load": [u.load for u in runs[f"{many} shards"]]}
        found.append(result("k", what, ratios(*reversed(peaks)), 1.1, at_most=True, **figures))
    return found


def spilled(bench: Bench) -> list[Result]:
    """l. Counting and merging by way of the disk against the kernel with everything in memory, on the same ids."""
    found = []
    for n in (1, 2, 3):
        runs = in_turn(
            {
                k: bench.python(
                    "_spill.py", k, "--ngram", str(n), "--work", bench.work / "spilled", bench.shards(bench.large)
                )
                for k in ("memory", "spilled")
            },
            bench.rounds,
        )
        cpu = {k: [json.loads(u.out)["cpu"] for u in v] for k, v in runs.items()}
        tokens = json.loads(runs["memory"][0].out)["tokens"]
        rates = {k: round(tokens / 1e6 / median(v), 1) for k, v in cpu.items()}
        what = f"rate through the disk / rate in memory, n = {n}"
        load = [os.getloadavg()[0]] * 2
        found.append(result("l", what, ratios(cpu["memory"], cpu["spilled"]), 0.5, m_tokens_per_cpu_s=rates, load=load))
    return found


ENTROPY_ROWS: dict[str, Callable[[Bench], list[Result]]] = {
    "i": against_the_reference,
    "j": two_workers,
    "k": growth,
    "l": spilled,
}
