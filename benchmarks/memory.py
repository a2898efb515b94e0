"""Peak memory of `tagcorpus run tag --taggers length` on a small and on a ten times larger file of the same kind.

    python benchmarks/memory.py --work DIR [--formats jsonl jsonl.zst parquet] [--small-mb 400] [--large-mb 4000]

Makes the files below DIR (distinct pseudo-random words, no two documents alike), runs the command on each with one
worker, prints a table and JSON, and removes what it made. The goal is a ratio of at most 1.2. Sizes are of the text as
JSONL; compressed files are smaller on disk.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import zstandard

DOCUMENT_WORDS = 500
AT_ONCE = 1000


def documents(megabytes: int) -> Iterator[list[str]]:
    """Lists of documents of about 3.4 kB, together `megabytes` of text."""
    rng = np.random.default_rng(0)
    vocabulary = ["".join(chr(97 + c) for c in rng.integers(0, 26, rng.integers(2, 10))) for _ in range(50_000)]
    left = megabytes * 1_000_000
    while left > 0:
        words = rng.integers(0, len(vocabulary), (AT_ONCE, DOCUMENT_WORDS))
        found = [" ".join([vocabulary[w] for w in row]) for row in words.tolist()]
        left -= sum(len(d) for d in found)
        yield found


def make(path: Path, megabytes: int) -> None:
    """Write the file in the format that its suffix names."""
    if path.suffix == ".parquet":
        schema = pa.schema([("id", pa.int64()), ("text", pa.string())])
        with pq.ParquetWriter(path, schema, compression="zstd", use_dictionary=False) as writer:
            n = 0
            found = documents(megabytes)
            # Ten lists are a row group of 34 MB; statistics of many small ones would swell the footer instead.
            while group := [d for part in itertools.islice(found, 10) for d in part]:
                ids = pa.array(range(n, n + len(group)), pa.int64())
                writer.write_table(pa.table([ids, pa.array(group)], schema=schema))
                n += len(group)
        return
    with path.open("wb") as raw:
        sink = zstandard.ZstdCompressor(level=3).stream_writer(raw) if path.suffix == ".zst" else raw
        for group in documents(megabytes):
            sink.write(b"".join(b'{"text": "%b"}\n' % d.encode() for d in group))
        sink.close()


# The kernel's high-water mark of the process's own memory; ru_maxrss would begin with this benchmark's.
RUN = """
import sys
from tagcorpus.cli import main
try:
    main(sys.argv[2:])
finally:
    with open("/proc/self/status") as status, open(sys.argv[1], "w") as sink:
        sink.write(next(line.split()[1] for line in status if line.startswith("VmHWM:")))
"""


def peak(path: Path, output: Path) -> tuple[int, float]:
    """(peak resident KiB, cpu seconds) of one run in a process of its own (Linux)."""
    told = output.with_suffix(".peak")
    arguments = ["run", "tag", "-i", str(path), "-o", str(output), "--taggers", "length", "--workers", "1"]
    pid = os.posix_spawn(sys.executable, [sys.executable, "-c", RUN, str(told), *arguments], dict(os.environ))
    _, status, usage = os.wait4(pid, 0)
    if status:
        raise SystemExit(f"the run on {path} failed with status {os.waitstatus_to_exitcode(status)}")
    resident = int(told.read_text())
    told.unlink()
    return resident, usage.ru_utime + usage.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--work", required=True, type=Path)
    parser.add_argument("--formats", nargs="+", default=["jsonl"], choices=["jsonl", "jsonl.zst", "parquet"])
    parser.add_argument("--small-mb", type=int, default=400)
    parser.add_argument("--large-mb", type=int, default=4000)
    options = parser.parse_args()
    found: list[dict[str, Any]] = []
    for suffix in options.formats:
        measured = []
        for megabytes in (options.small_mb, options.large_mb):
            options.work.mkdir(parents=True, exist_ok=True)
            path, output = options.work / f"{megabytes}.{suffix}", options.work / f"{megabytes}.out"
            try:
                make(path, megabytes)
                started = time.perf_counter()
                resident, cpu = peak(path, output)
                seconds = time.perf_counter() - started
            finally:
                path.unlink(missing_ok=True)
                shutil.rmtree(output, ignore_errors=True)
            measured.append((resident, cpu))
            print(
                f"{suffix:<10}{megabytes:>6} MB  peak {resident / 1024:>7.0f} MiB  {cpu:>6.1f} cpu-s  {seconds:>6.1f} s  "
                f"{megabytes / cpu:>5.0f} MB/cpu-s",
                flush=True,
            )
        (small, _), (large, cpu) = measured
        found.append(
            {
                "format": suffix,
                "peak_small_mib": small >> 10,
                "peak_large_mib": large >> 10,
                "ratio": round(large / small, 3),
                "mb_per_cpu_second": round(options.large_mb / cpu, 1),
            }
        )
        print(f"{suffix:<10} ratio {large / small:.3f} (goal: at most 1.2)", flush=True)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
