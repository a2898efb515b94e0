"""A model of `run tag` on many cores, from costs that were measured on one: hours, efficiency, and what is the limit.

    python benchmarks/many_cores.py [--terabytes 1] [--cores 1,10,100,1000,10000] [--launcher-alone] [--NAME VALUE ...]

Nothing is run on a cluster. The model adds phases that follow one another; a phase takes its CPU seconds, divided by the workers that
can share it. `--launcher-alone` is the same run with repeated ids and summary in one process, as for runs below a million rows.
"""

from __future__ import annotations

import argparse
import math
from dataclasses import dataclass, field, fields

from tagcorpus.pipelines.attributes.summary import SPREAD_ROWS
from tagcorpus.pipelines.readers.plan import CHUNKS_PER_SEGMENT, chunk_bytes_for
from tagcorpus.pipelines.runs.duplicates import IDS_PER_PASS

BY_HAND = "CPU of two shared cores at load 12 to 18, November 2026"


def cost(default: float, source: str) -> float:
    value: float = field(default=default, metadata={"source": source})
    return value


@dataclass(frozen=True)
class Costs:
    """Costs of one core, of the shape of the corpus, and of the storage."""

    tag_mb: float = cost(
        3.5, f"MB a second with the default taggers: 63 MB minus 21 MB of JSONL, one worker; {BY_HAND}"
    )
    plan_s: float = cost(0.9, f"seconds of the index pass for a GB of JSONL: six files of 21 MB; {BY_HAND}")
    dispatch_ms: float = cost(4.0, "for a chunk on Ray: RESULTS.md, row f")
    start_s: float = cost(
        11.0, "seconds of a whole run over 4 MB on a running Ray cluster: median of five rounds at load 12 to 14"
    )
    prove_ms: float = cost(0.08, f"to prove a part once more: 22 parts, 20 times; {BY_HAND}")
    open_ms: float = cost(0.2, f"to open a part and read one column of 400 rows, local disk: 440 times; {BY_HAND}")
    summary_ns: float = cost(220.0, f"for a value of a column, all passes: 300,000 rows and 11 columns; {BY_HAND}")
    id_ns: float = cost(180.0, f"for an id in a pass over ids: 300,000 rows; {BY_HAND}")
    latency_ms: float = cost(
        0.0, "of the storage for each request: 0 for a local disk; an assumption, not a measurement"
    )
    document_kb: float = cost(4.0, "size of a document: an assumption")
    file_mb: float = cost(1000.0, "size of an input file: an assumption")
    taggers: float = cost(5, "the default taggers")
    columns: float = cost(24, "of the default taggers")


SUMMARY_PASSES = 7  # over the parts of a column of numbers: bounds, moments, four digits of the percentiles, histogram


def phases(terabytes: float, cores: int, costs: Costs, is_spread: bool = True) -> dict[str, float]:
    """Seconds of each phase."""
    n_bytes = terabytes * 1e12
    size = chunk_bytes_for(int(n_bytes))
    files = max(1, round(n_bytes / costs.file_mb / 1e6))
    chunks = max(files, math.ceil(n_bytes / size))
    segments = files * math.ceil(costs.file_mb * 1e6 / (size * CHUNKS_PER_SEGMENT))
    rows = n_bytes / costs.document_kb / 1e3
    open_s, latency_s = (costs.open_ms + costs.latency_ms) / 1e3, costs.latency_ms / 1e3
    rounds = math.ceil(chunks / min(cores, chunks))
    work = rounds * (n_bytes / chunks / 1e6 / costs.tag_mb + costs.taggers * latency_s)
    passes = math.ceil(rows / IDS_PER_PASS)
    one_pass = chunks * open_s + rows * costs.id_ns / 1e9
    one_column = SUMMARY_PASSES * chunks * open_s + rows * costs.summary_ns / 1e9
    at_once = cores if is_spread and rows >= SPREAD_ROWS else 1
    return {
        "start": costs.start_s,
        "plan": costs.plan_s * n_bytes / 1e9 / min(cores, segments) + files * latency_s,
        "work": work,
        "dispatch": max(0.0, chunks * costs.dispatch_ms / 1e3 - work),  # the launcher dispatches while workers work
        "parts": chunks * (costs.taggers * (costs.prove_ms / 1e3 + latency_s) + open_s),
        "ids": math.ceil(passes / at_once) * one_pass,
        "summary": math.ceil(costs.columns / at_once) * one_column,
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--terabytes", type=float, default=1.0)
    parser.add_argument("--cores", default="1,10,100,1000,10000")
    parser.add_argument("--launcher-alone", action="store_true")
    for one in fields(Costs):
        flag = f"--{one.name.replace('_', '-')}"
        parser.add_argument(flag, type=float, default=one.default, help=f"{one.metadata['source']} (%(default)s)")
    given = vars(parser.parse_args())
    costs = Costs(**{one.name: given[one.name] for one in fields(Costs)})
    print(f"{'cores':>6}{'hours':>9}{'efficiency':>11}  the longest phases, in seconds")
    alone = sum(phases(given["terabytes"], 1, costs).values())
    for cores in map(int, given["cores"].split(",")):
        seconds = phases(given["terabytes"], cores, costs, not given["launcher_alone"])
        total = sum(seconds.values())
        longest = sorted(seconds, key=lambda name: -seconds[name])[:4]
        described = ", ".join(f"{name} {seconds[name]:,.0f}" for name in longest)
        print(f"{cores:>6,}{total / 3600:>9,.2f}{alone / total / cores:>11.0%}  {described}")


if __name__ == "__main__":
    main()
