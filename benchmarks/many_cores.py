"""A model of `run tag` and `run entropy` on many cores, from costs that were measured on one: hours, efficiency, and what is the limit.

    python benchmarks/many_cores.py [--pipeline tag|entropy] [--terabytes 1] [--cores 1,10,100,1000,10000] [--launcher-alone] [--NAME VALUE ...]

Nothing is run on a cluster. The model adds phases that follow one another; a phase takes its CPU seconds, divided by the workers that
can share it. `--launcher-alone` is the same run with repeated ids and summary in one process, as for runs below 200,000 rows.
"""

from __future__ import annotations

import argparse
import math
from dataclasses import dataclass, field, fields

from tagcorpus.pipelines.attributes.summary import SPREAD_ROWS
from tagcorpus.pipelines.counting.corpus import Limits, memory_bytes
from tagcorpus.pipelines.readers.plan import CHUNKS_PER_SEGMENT, chunk_bytes_for
from tagcorpus.pipelines.runs.duplicates import IDS_PER_PASS
from tagcorpus.pipelines.storage.remote import REQUESTS_AT_ONCE

QUIET = "CPU of one of two shared cores at load 1 to 3, November 2026"
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
    open_requests: float = cost(3, "to read a part or the footer of a working file: its size, its footer, and bytes")
    count_mb: float = cost(66.0, f"MB a second of the first pass of `run entropy`, one worker, 342 MB; {QUIET}")
    score_mb: float = cost(310.0, f"MB a second of the third pass, one worker, 342 MB; {QUIET}")
    entries_mb: float = cost(15_600, "distinct n-grams in a MB of a chunk of 64 MB; 52,000 for n = 2, 91,000 for n = 3")
    merge_ns: float = cost(90.0, f"to merge an entry: 8.4 million entries of 34 chunks; {QUIET}")
    run_ms: float = cost(
        0.31, f"to open the working file of a chunk of 4 million entries and read 500 of them; {QUIET}"
    )
    values_ms: float = cost(
        1.9, f"to open the entropies of a key range with those of 15,000 chunks, and read one; {QUIET}"
    )
    memory_gb: float = cost(1.0, "`--memory` of `run entropy`: the default")
    document_kb: float = cost(4.0, "size of a document: an assumption")
    file_mb: float = cost(1000.0, "size of an input file: an assumption")
    taggers: float = cost(5, "the default taggers")
    columns: float = cost(24, "of the default taggers")


SUMMARY_PASSES = 7  # over the parts of a column of numbers: bounds, moments, four digits of the percentiles, histogram
LISTED_AT_ONCE = 1000  # names that an object store returns for a request


@dataclass(frozen=True)
class Shape:
    """An input of so many TB in files, chunks, segments of the index pass, and rows."""

    n_bytes: float
    files: int
    chunks: int
    segments: int
    rows: float

    @classmethod
    def of(cls, terabytes: float, costs: Costs) -> Shape:
        n_bytes = terabytes * 1e12
        size = chunk_bytes_for(int(n_bytes))
        files = max(1, round(n_bytes / costs.file_mb / 1e6))
        segments = files * math.ceil(costs.file_mb * 1e6 / (size * CHUNKS_PER_SEGMENT))
        return cls(n_bytes, files, max(files, math.ceil(n_bytes / size)), segments, n_bytes / costs.document_kb / 1e3)

    def rounds(self, cores: int) -> int:
        return math.ceil(self.chunks / min(cores, self.chunks))


def begin(shape: Shape, cores: int, costs: Costs, instances: float) -> dict[str, float]:
    """Start, plan and listing, which every pipeline has. A process sends several requests at once."""
    request_s = costs.latency_ms / 1e3 / REQUESTS_AT_ONCE
    indexed = costs.plan_s * shape.n_bytes / 1e9 / min(cores, shape.segments)
    looks = shape.files * (costs.open_requests + 3) * request_s  # a look at the text, identity, stored plan, new plan
    pages = instances * math.ceil(shape.chunks / LISTED_AT_ONCE) * costs.latency_ms / 1e3  # one after the other
    leftovers = shape.files * (2 * instances + 1) * request_s
    return {"start": costs.start_s, "plan": indexed + looks, "listing": pages + leftovers}


def dispatch(shape: Shape, costs: Costs, work: float) -> float:
    """The launcher dispatches while workers work."""
    return max(0.0, shape.chunks * costs.dispatch_ms / 1e3 - work)


def end(shape: Shape, cores: int, costs: Costs, instances: float, columns: float, is_spread: bool) -> dict[str, float]:
    """The last check of the parts, repeated ids and summary, which every pipeline has."""
    look_s = costs.open_requests * costs.latency_ms / 1e3 / REQUESTS_AT_ONCE
    open_s = costs.open_ms / 1e3 + look_s
    passes = math.ceil(shape.rows / IDS_PER_PASS)
    one_pass = shape.chunks * open_s + shape.rows * costs.id_ns / 1e9
    one_column = SUMMARY_PASSES * shape.chunks * open_s + shape.rows * costs.summary_ns / 1e9
    at_once = cores if is_spread and shape.rows >= SPREAD_ROWS else 1
    return {
        "parts": shape.chunks * (instances * (costs.prove_ms / 1e3 + look_s) + open_s),
        "ids": math.ceil(passes / at_once) * one_pass,
        "summary": math.ceil(columns / at_once) * one_column,
    }


def tag(shape: Shape, cores: int, costs: Costs, is_spread: bool) -> dict[str, float]:
    """Seconds of each phase of `run tag`."""
    stored_s = costs.taggers * costs.latency_ms / 1e3
    work = shape.rounds(cores) * (shape.n_bytes / shape.chunks / 1e6 / costs.tag_mb + stored_s)
    return {
        **begin(shape, cores, costs, costs.taggers),
        "work": work,
        "dispatch": dispatch(shape, costs, work),
        **end(shape, cores, costs, costs.taggers, costs.columns, is_spread),
    }


def entropy(shape: Shape, cores: int, costs: Costs, is_spread: bool) -> dict[str, float]:
    """Seconds of each phase of `run entropy`. Each key range reads from each chunk, and each chunk from each key range."""
    look_s = costs.open_requests * costs.latency_ms / 1e3 / REQUESTS_AT_ONCE
    entries = shape.n_bytes / 1e6 * costs.entries_mb
    at_once = Limits.within(memory_bytes(f"{costs.memory_gb}GB"), words=1).interval_entries
    key_ranges = math.ceil(entries / at_once)
    count = shape.rounds(cores) * (shape.n_bytes / shape.chunks / 1e6 / costs.count_mb + costs.latency_ms / 1e3)
    a_range = entries / key_ranges * costs.merge_ns / 1e9 + shape.chunks * (costs.run_ms / 1e3 + look_s)
    values_s = costs.values_ms / 1e3 * shape.chunks / 15_000  # the footer has a size for each chunk
    a_chunk = shape.n_bytes / shape.chunks / 1e6 / costs.score_mb + key_ranges * (values_s + look_s)
    return {
        **begin(shape, cores, costs, 1),
        "count": count,
        "dispatch": dispatch(shape, costs, count),
        "footers": 3 * shape.chunks * (costs.prove_ms / 1e3 + look_s),  # of working files, by the launcher
        "merge": math.ceil(key_ranges / cores) * a_range,
        "score": shape.rounds(cores) * a_chunk,
        **end(shape, cores, costs, 1, 5, is_spread),
    }


PIPELINES = {"tag": tag, "entropy": entropy}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--pipeline", choices=PIPELINES, default="tag")
    parser.add_argument("--terabytes", type=float, default=1.0)
    parser.add_argument("--cores", default="1,10,100,1000,10000")
    parser.add_argument("--launcher-alone", action="store_true")
    for one in fields(Costs):
        flag = f"--{one.name.replace('_', '-')}"
        parser.add_argument(flag, type=float, default=one.default, help=f"{one.metadata['source']} (%(default)s)")
    given = vars(parser.parse_args())
    costs = Costs(**{one.name: given[one.name] for one in fields(Costs)})
    print(f"{'cores':>6}{'hours':>9}{'efficiency':>11}  the longest phases, in seconds")
    shape, phases = Shape.of(given["terabytes"], costs), PIPELINES[given["pipeline"]]
    alone = sum(phases(shape, 1, costs, True).values())
    for cores in map(int, given["cores"].split(",")):
        seconds = phases(shape, cores, costs, not given["launcher_alone"])
        total = sum(seconds.values())
        longest = sorted(seconds, key=lambda name: -seconds[name])[:4]
        described = ", ".join(f"{name} {seconds[name]:,.0f}" for name in longest)
        print(f"{cores:>6,}{total / 3600:>9,.2f}{alone / total / cores:>11.0%}  {described}")


if __name__ == "__main__":
    main()
