"""All comparisons of the project's figures, one command:

    python benchmarks/suite.py --corpus DIR --work DIR [--rows a,b] [--pairs 5]

Prints a table; writes results.json, results.md and results.png to --work. Two or more programs are run in turn (A B, A B, ...),
each in a process of its own, and compared by ratios within a round: nothing here is an absolute claim. Rows (see _rows.py):

    a  length, tokens and keywords in one pass against a plain Python pass for each feature
    b  against datatrove's reader, a tiktoken step and its writer
    c  against Dolma's closest taggers (installed into an environment below --work)
    d  CPU outside tokenising
    e  two workers against one (wants an idle machine)
    f  ray against local, 1 to 64 ranges
    g  memory against file size
    h  start-up, cold and warm
    i  run entropy against the published algorithm in plain Python
    j  run entropy with two workers against one
    k  run entropy: exponent of CPU, and memory, for four times the text
    l  counting by way of the disk against counting in memory

DIR of --corpus is made by benchmarks/corpus.py. Results of earlier calls with the same --work stay for rows that are not asked for.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
import time
from pathlib import Path
from typing import Any

from _entropy_rows import ENTROPY_ROWS
from _report import markdown, picture, table
from _rows import CHEAP, TAG_ROWS, Bench

PACKAGES = ("tagcorpus", "numpy", "numba", "pyarrow", "orjson", "tiktoken", "gigatoken", "datatrove", "ray")


ROWS = {**TAG_ROWS, **ENTROPY_ROWS}


def version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "absent"


def about(bench: Bench) -> dict[str, Any]:
    """Date, machine, load and versions."""
    names = [
        line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line
    ]
    manifest = json.loads((bench.corpus / "manifest.json").read_text())
    corpus = {k: v for k, v in manifest.items() if k != "packages"}
    return {
        "date": time.strftime("%Y-%m-%d %H:%M %Z"),
        "machine": f"{len(os.sched_getaffinity(0))} cores, {names[0] if names else platform.machine()}",
        "load at start": " ".join(f"{v:.1f}" for v in os.getloadavg()),
        "versions": ", ".join([f"python {platform.python_version()}", *(f"{p} {version(p)}" for p in PACKAGES)]),
        "corpus": ", ".join(f"{k} {v:,}" for k, v in corpus.items()),
        "sizes": f"{bench.small} and {bench.large} shards, {bench.megabytes(bench.small):.0f} and "
        f"{bench.megabytes(bench.large):.0f} MB of JSONL",
        "numba": "warm, but for the rows that say cold",
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpus", required=True, type=Path)
    parser.add_argument("--work", required=True, type=Path)
    parser.add_argument("--rows", default=",".join(ROWS), help="letters, comma separated (default: all)")
    parser.add_argument("--pairs", type=int, default=5, help="rounds")
    parser.add_argument("--small", type=int, default=1, help="shards of the smaller size")
    parser.add_argument("--large", type=int, default=5, help="shards of the larger size")
    parser.add_argument("--memory-mb", type=int, nargs=2, default=(200, 2000), metavar=("SMALL", "LARGE"))
    options = parser.parse_args()
    asked = options.rows.split(",")
    if unknown := set(asked) - set(ROWS):
        parser.error(f"no row {', '.join(sorted(unknown))}: there are {', '.join(ROWS)}")
    options.work.mkdir(parents=True, exist_ok=True)
    bench = Bench(
        options.corpus.resolve(),
        options.work.resolve(),
        options.pairs,
        options.small,
        options.large,
        tuple(options.memory_mb),
    )
    kept = bench.work / "results.json"
    before = json.loads(kept.read_text())["results"] if kept.exists() else []
    described = about(bench)
    bench.tag(bench.shards(1), f"{CHEAP},language,repetition", "--limit", "10")()  # Numba's cache, bytecode
    found: dict[str, list[dict[str, Any]]] = {}
    for old in before:
        found.setdefault(old["row"], []).append(old)
    for row in asked:
        print(f"row {row}: {ROWS[row].__doc__}", flush=True)
        try:
            found[row] = [{**r, "date": described["date"]} for r in ROWS[row](bench)]
        except RuntimeError as error:  # a row that cannot run must not cost the others
            print(f"row {row} failed: {error}", flush=True)
            continue
        print(table(found[row]), flush=True)
        results = [r for key in ROWS for r in found.get(key, [])]
        kept.write_text(json.dumps({"about": described, "results": results}, indent=1) + "\n")
        (bench.work / "results.md").write_text(markdown(results, described))
        picture(results, bench.work / "results.png")
    print()
    print(table([r for key in ROWS for r in found.get(key, [])]))
    print(kept)


if __name__ == "__main__":
    main()
