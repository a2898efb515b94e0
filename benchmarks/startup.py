"""What starting costs: CPU seconds of whole commands on a small file, as multiples of importing five packages.

    python benchmarks/startup.py [--rounds 7] [--json FILE]

The yardstick, importing pyarrow, orjson, click, yaml and rich in a new Python, runs in turn with every command, so that a busy
machine slows both. Each figure is the median over the rounds of one round's ratio. The commands run once before anything
is measured, so compiled files and caches are there.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

YARDSTICK = "import pyarrow, orjson, click, yaml, rich"
SMALL_FILE = Path(__file__).parent.parent / "examples" / "gens.jsonl"
GOALS = {"length": 2.0, "default taggers": 4.0}


def commands(output: str) -> dict[str, list[str]]:
    tagcorpus = [sys.executable, "-m", "tagcorpus.cli"]
    run = [*tagcorpus, "run", "tag", "--overwrite", "--input", str(SMALL_FILE), "--output"]
    return {
        "yardstick": [sys.executable, "-c", YARDSTICK],
        "--help": [*tagcorpus, "--help"],
        "length": [*run, f"{output}/length", "--taggers", "length"],
        "default taggers": [*run, f"{output}/default"],
    }


def cpu_seconds(command: list[str]) -> float:
    before = os.times()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    after = os.times()
    return after.children_user + after.children_system - before.children_user - before.children_system


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as output:
        by_name = commands(output)
        for command in by_name.values():
            cpu_seconds(command)
        rounds = [{name: cpu_seconds(command) for name, command in by_name.items()} for _ in range(arguments.rounds)]
    figures = {}
    print(f"{'':<18}{'CPU s':>8}{'multiple':>10}{'goal':>8}")
    for name in by_name:
        seconds = statistics.median(r[name] for r in rounds)
        multiple = statistics.median(r[name] / r["yardstick"] for r in rounds)
        figures[name] = {"cpu_seconds": round(seconds, 3), "multiple": round(multiple, 2), "goal": GOALS.get(name)}
        print(f"{name:<18}{seconds:>8.2f}{multiple:>10.2f}{GOALS.get(name, ''):>8}")
    if arguments.json:
        arguments.json.write_text(json.dumps({"rounds": arguments.rounds, "figures": figures}, indent=1) + "\n")


if __name__ == "__main__":
    main()
