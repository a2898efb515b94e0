"""tagcorpus beside itself on a larger corpus (made by corpus.py): Ray, growth, counting through files.

    python benchmarks/scaling.py ray|growth|spill|workers --corpus CORPUS --work DIR [--rounds 3] [--shards 4]

    ray      wall time of `run tag` with Ray / with the local executor, two workers each, 1 to 64 chunks; Ray's fixed cost and per chunk,
             on a cluster that runs (the command starts it), and with a cluster of the run's own
    growth   exponent of the CPU time of `run entropy` from 8 to 32 shards, and peak memory of its largest process
    spill    rate of counting through files / in memory, by _spill.py
    workers  wall time of `run entropy` with one worker / with two, on --shards and on up to 32 shards, and per MB

`ray` and `workers` need an idle machine.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
from _pairs import Program, Used, in_turn, median, ratios

HERE = Path(__file__).resolve().parent
TAGCORPUS = (sys.executable, "-m", "tagcorpus", "run")
CHUNKS = (1, 4, 16, 64)
RAY_HEAD = ("--head", "--num-cpus", "2", "--include-dashboard", "false", "--disable-usage-stats")
# Prints the high-water mark in KiB of the largest process: `ru_maxrss` of a child starts with the memory of this script.
PEAK = """
import os, sys, threading, time
from tagcorpus.cli import main
peaks = [0]
def watch():
    while True:
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                if os.getpgid(int(pid)) == os.getpgid(0):
                    peaks.append(int(open(f"/proc/{pid}/status").read().split("VmHWM:")[1].split()[0]))
            except (OSError, IndexError):
                pass
        time.sleep(0.2)
os.setpgid(0, 0)
threading.Thread(target=watch, daemon=True).start()
try:
    main(sys.argv[1:])
finally:
    print(max(peaks))
"""


def show(name: str, values: list[float]) -> None:
    print(f"{name:<56}{median(values):8.3g} ({min(values):.3g} to {max(values):.3g})", flush=True)


def walls(runs: list[Used]) -> list[float]:
    return [used.wall for used in runs]


def ray(work: Path, shards: list[Path], rounds: int) -> None:
    source, out = work / "one.jsonl", work / "out"
    source.write_bytes(b"".join(path.read_bytes() for path in shards))
    executors = {
        "local": ("local",),
        "a running cluster": ("ray", "--ray-address", "auto"),
        "a cluster of the run's own": ("ray",),
    }

    def tag(n: int, executor: str) -> Program:
        chunk = ("--set", f"chunk_bytes={source.stat().st_size // n + 1}", "--set", "tokens.engine=tiktoken")
        command = (*TAGCORPUS, "tag", "--input", source, "--output", out, "--workers", "2", *chunk)
        return Program([*command, "--taggers", "length,tokens,keywords", "--executor", *executors[executor]], out)

    cluster = Path(sys.executable).parent / "ray"
    subprocess.run([cluster, "start", *RAY_HEAD], check=True, stdout=subprocess.DEVNULL)
    try:
        in_turn({"the first run on that cluster": tag(1, "a running cluster")}, 1)
        times = {n: in_turn({name: tag(n, name) for name in executors}, rounds) for n in CHUNKS}
    finally:
        subprocess.run([cluster, "stop"], check=False, stdout=subprocess.DEVNULL)
    for name in [name for name in executors if name != "local"]:
        extra = []
        for n, runs in times.items():
            local, on_ray = walls(runs["local"]), walls(runs[name])
            show(f"{name} / local, {n} chunks, wall", ratios(on_ray, local))
            extra.append(median([a - b for a, b in zip(on_ray, local, strict=True)]))
        per_chunk, fixed = np.polyfit(CHUNKS, extra, 1)
        print(f"{name} costs {fixed:.1f} s, and {per_chunk:.3f} s a chunk")


def entropy(work: Path, shards: list[Path], n: int, workers: int, *start: str) -> Program:
    source, out = work / f"jsonl-{len(shards)}", work / "out"
    if not source.exists():
        source.mkdir()
        for path in shards:
            (source / path.name).symlink_to(path)
    options = ("entropy", "--input", source, "--output", out, "--ngram", str(n), "--workers", str(workers))
    return Program([*(start or TAGCORPUS), *options], out)


def growth(work: Path, shards: list[Path], rounds: int) -> None:
    start = (sys.executable, "-c", PEAK, "run")
    for n in (1, 2, 3):
        runs = in_turn({str(k): entropy(work, shards[:k], n, 1, *start) for k in (8, 32)}, rounds)
        pairs = list(zip(runs["8"], runs["32"], strict=True))
        show(
            f"exponent of CPU time, 8 to 32 shards, n = {n}", [math.log(b.cpu / a.cpu) / math.log(4) for a, b in pairs]
        )
        for k, used in runs.items():
            show(f"peak memory in MiB, {k} shards, n = {n}", [int(u.out.split()[-1]) / 1024 for u in used])


def workers(work: Path, shards: list[Path], rounds: int, few: int) -> None:
    many = min(32, len(shards))
    if few >= many:
        raise SystemExit(f"--corpus has {many} shards: give a smaller --shards than that")
    for n in (1, 2):
        runs = in_turn({f"{k} {w}": entropy(work, shards[:k], n, w) for k in (few, many) for w in (1, 2)}, rounds)
        times = {name: walls(used) for name, used in runs.items()}
        each = [[b - a for a, b in zip(times[f"{few} {w}"], times[f"{many} {w}"], strict=True)] for w in (1, 2)]
        show(f"one worker / two workers, per MB, n = {n}", ratios(*each))
        show(f"one worker / two workers, {many} shards, n = {n}", ratios(times[f"{many} 1"], times[f"{many} 2"]))


def spill(work: Path, shards: list[Path], rounds: int) -> None:
    for n in (1, 2, 3):
        source = Path(str(entropy(work, shards, n, 1).command[6]))
        command = [sys.executable, HERE / "_spill.py"]
        options = ["--ngram", str(n), "--work", work / "spilled", source]
        runs = in_turn({k: Program([*command, k, *options], work / "out") for k in ("memory", "spilled")}, rounds)
        cpu = {k: [float(json.loads(u.out)["cpu"]) for u in used] for k, used in runs.items()}
        show(f"rate through files / rate in memory, n = {n}", ratios(cpu["memory"], cpu["spilled"]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("measure", choices=["ray", "growth", "spill", "workers"])
    parser.add_argument("--corpus", required=True, type=Path)
    parser.add_argument("--work", required=True, type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--shards", type=int, default=4, help="of 32, for ray, spill, and the smaller size of workers")
    options = parser.parse_args()
    work = options.work.resolve()
    work.mkdir(parents=True, exist_ok=True)
    shards = sorted((options.corpus.resolve() / "jsonl").glob("*.jsonl"))
    if not shards:
        parser.error(f"{options.corpus} has no jsonl/*.jsonl: make it with corpus.py")
    if options.measure == "growth":
        growth(work, shards, options.rounds)
    elif options.measure == "workers":
        workers(work, shards, options.rounds, options.shards)
    else:
        {"ray": ray, "spill": spill}[options.measure](work, shards[: options.shards], options.rounds)


if __name__ == "__main__":
    main()
