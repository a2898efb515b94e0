"""Entropy kernels against DuckDB and Polars group-by on the same token ids, in turn: CPU and wall seconds.

    python benchmarks/entropy_kernel.py [--path FILE_OR_FOLDER ...] [--ids IDS.npy OFFSETS.npy] [--ngram 1 2 3]
        [--million 10] [--pairs 5] [--sizes 10 20 40 80 160] [--only group-by threads exponent] [--json FILE]

Texts are JSON lines with a `text` field (.jsonl, .jsonl.zst) or plain files; they are tokenised once (p50k_base) and the
ids kept in memory. `memory` is entropy_in_memory, `counted` is count_ngrams and conditional_entropy. The group-bys count
every (context, next token) and then make the entropy of every context from the counts, on columns of ids that they are
given ready made; CPU seconds with one thread each, wall seconds also with as many threads as they choose. All results are
compared before anything is measured, which also compiles the kernels: Numba is warm. `threads` is two threads, half of the
documents each, against one thread that does both halves. `exponent` is the slope of log CPU time over log tokens.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

N_VOCAB = 50281


def texts(paths: list[Path]) -> Iterator[str]:
    """The text of every document below these paths, in order of name."""
    import zstandard

    for path in sorted(f for p in paths for f in (p.rglob("*") if p.is_dir() else [p]) if f.is_file()):
        if path.name.endswith((".jsonl", ".jsonl.zst")):
            with path.open("rb") as raw:
                file: Any = zstandard.ZstdDecompressor().stream_reader(raw) if path.suffix == ".zst" else raw
                yield from (json.loads(line)["text"] for line in io.TextIOWrapper(file, encoding="utf-8"))
        elif path.suffix in (".txt", ".md", ".rst", ".html", ".py"):
            yield path.read_text(encoding="utf-8", errors="replace")


def tokenised(paths: list[Path], million: float) -> tuple[Any, Any]:
    """uint16 ids and offsets of about so many million tokens."""
    from tagcorpus.taggers._tokenizers.loading import load

    tokenizer = load("p50k_base")
    pieces, offsets, batch, n_chars, n_tokens = [], [0], [], 0, 0
    for text in texts(paths):
        batch.append(text)
        n_chars += len(text)
        if n_chars > 4_000_000:
            ids, ends = tokenizer.encode_batch(batch)
            pieces.append(ids.astype(np.uint16))
            offsets += (n_tokens + ends[1:]).tolist()
            n_tokens += len(ids)
            batch, n_chars = [], 0
            if n_tokens > million * 1e6:
                break
    ids, ends = tokenizer.encode_batch(batch)
    return np.concatenate([*pieces, ids.astype(np.uint16)]), np.array(
        offsets + (n_tokens + ends[1:]).tolist(), np.int64
    )


def first(ids: Any, offsets: Any, million: float) -> tuple[Any, Any]:
    """The first documents, about so many million tokens."""
    d = int(np.searchsorted(offsets, million * 1e6))
    return ids[: offsets[: d + 1][-1]], offsets[: d + 1]


def columns(ids: Any, offsets: Any, n: int) -> dict[str, Any]:
    """One array per token of the context, and the next token: what a group-by is given."""
    ends = np.zeros(len(ids), bool)
    for back in range(n):
        places = offsets[1:] - 1 - back
        ends[places[places >= offsets[:-1]]] = True
    starts = np.flatnonzero(~ends)
    return {f"c{i}": ids[starts + i] for i in range(n + 1)}


def in_duckdb(table: dict[str, Any], n: int, threads: int | None) -> Callable[[], Any]:
    import duckdb
    import pyarrow as pa

    connection = duckdb.connect()
    if threads:
        connection.execute(f"set threads to {threads}")
    arrow = pa.table(table)
    connection.register("arrow", arrow)
    connection.execute("create temp table given as select * from arrow")
    connection.unregister("arrow")
    context = ", ".join(f"c{i}" for i in range(n))
    query = (
        f"select {context}, total, log2(total) - s / total as h from (select {context}, sum(c)::bigint as total, "
        f"sum(c * log2(c)) as s from (select {context}, c{n}, count(*) as c from given group by all) group by {context})"
    )
    return lambda: connection.execute(query).fetchnumpy()


def in_polars(table: dict[str, Any], n: int, _: int | None) -> Callable[[], Any]:
    import polars as pl

    frame = pl.DataFrame(table)
    context = [f"c{i}" for i in range(n)]
    total = pl.col("len").cast(pl.Float64)

    def run() -> Any:
        pairs = frame.lazy().group_by([*context, f"c{n}"]).len()
        sums = pairs.group_by(context).agg(total.sum().alias("total"), (total * total.log(2)).sum().alias("s"))
        return sums.with_columns((pl.col("total").log(2) - pl.col("s") / pl.col("total")).alias("h")).collect()

    return run


def seconds(work: Callable[[], Any]) -> tuple[float, float]:
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return time.process_time() - cpu, time.perf_counter() - wall


def kernels(ids: Any, offsets: Any, n: int) -> dict[str, Callable[[], Any]]:
    from tagcorpus.kernels import entropy, ngrams
    from tagcorpus.kernels.packing import packing

    packed = packing(n, N_VOCAB)
    return {
        "memory": lambda: entropy.entropy_in_memory(ids, offsets, packed),
        "counted": lambda: entropy.conditional_entropy(*ngrams.count_ngrams(ids, offsets, packed), packed),
    }


def group_by(ids: Any, offsets: Any, n: int, pairs: int, threads: int | None) -> dict[str, Any]:
    """Median rates of everybody, and the ratios of the kernels to the faster group-by, pair by pair."""
    table = columns(ids, offsets, n)
    work = kernels(ids, offsets, n)
    work |= {"duckdb": in_duckdb(table, n, threads), "polars": in_polars(table, n, threads)}
    ours = work["memory"]()
    bits = np.sort(ours.entropy_bits)
    for name in ("duckdb", "polars"):
        theirs = np.sort(np.asarray(work[name]()["h"]))
        if len(theirs) != len(bits) or np.abs(theirs - bits).max(initial=0) > 1e-9:
            raise SystemExit(f"{name} and the kernel disagree: no figure")
    work["counted"]()
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in work}
    for _ in range(pairs):
        for name, run in work.items():
            taken[name].append(seconds(run))
    found: dict[str, Any] = {"n": n, "tokens": len(ids), "contexts": len(bits), "threads": threads or "default"}
    for k, kind in enumerate(("cpu", "wall")):
        for name, times in taken.items():
            found[f"{name}_million_tokens_per_{kind}_second"] = len(ids) / 1e6 / statistics.median(t[k] for t in times)
        for name in ("memory", "counted"):
            found[f"{name}_over_faster_{kind}"] = statistics.median(
                min(d[k], p[k]) / own[k]
                for own, d, p in zip(taken[name], taken["duckdb"], taken["polars"], strict=True)
            )
    return found


def two_threads(ids: Any, offsets: Any, n: int, pairs: int) -> dict[str, Any]:
    """Wall seconds of one thread over those of two, on the same two halves."""
    middle = len(offsets) // 2
    halves = [offsets[: middle + 1], offsets[middle:]]
    found: dict[str, Any] = {"n": n, "tokens": len(ids)}
    with ThreadPoolExecutor(2) as pool:
        for name in ("memory", "counted"):

            def run(part: Any, name: str = name) -> None:
                kernels(ids, part, n)[name]()

            ratios = []
            for _ in range(pairs):
                one = seconds(lambda run=run: [run(half) for half in halves])
                two = seconds(lambda run=run: list(pool.map(run, halves)))
                ratios.append(one[1] / two[1])
            found[f"{name}_one_thread_over_two_wall"] = statistics.median(ratios)
            found[f"{name}_ratios"] = [round(r, 2) for r in ratios]
    return found


def exponent(ids: Any, offsets: Any, n: int, sizes: list[float], pairs: int) -> dict[str, Any]:
    """Slope of log CPU seconds over log tokens; sizes in turn, medians."""
    parts = [first(ids, offsets, size) for size in sizes if size * 1e6 <= len(ids) * 1.001]
    found: dict[str, Any] = {"n": n, "million_tokens": [round(len(i) / 1e6, 2) for i, _ in parts]}
    for name in ("memory", "counted"):
        taken: list[list[float]] = [[] for _ in parts]
        for _ in range(pairs):
            for times, (i, o) in zip(taken, parts, strict=True):
                times.append(seconds(kernels(i, o, n)[name])[0])
        medians = [statistics.median(times) for times in taken]
        found[f"{name}_cpu_seconds"] = [round(m, 4) for m in medians]
        found[f"{name}_nanoseconds_per_token"] = [
            round(m / len(i) * 1e9, 2) for m, (i, _) in zip(medians, parts, strict=True)
        ]
        if len(parts) > 1:
            logs = np.log([len(i) for i, _ in parts])
            found[f"{name}_exponent"] = float(np.polyfit(logs, np.log(medians), 1)[0])
    return found


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--path", type=Path, nargs="+", default=[Path("/usr/share/doc"), Path(os.__file__).parent])
    options.add_argument("--ids", type=Path, nargs=2)
    options.add_argument("--ngram", type=int, nargs="+", default=[1, 2, 3])
    options.add_argument("--million", type=float, default=10, help="tokens for group-by and threads")
    options.add_argument("--sizes", type=float, nargs="+", default=[10, 20, 40, 80, 160], help="for the exponent")
    options.add_argument("--pairs", type=int, default=5)
    options.add_argument("--only", nargs="+", default=["group-by", "threads", "exponent"])
    options.add_argument("--json", type=Path)
    given = options.parse_args()
    if "POLARS_MAX_THREADS" not in os.environ and "group-by" in given.only:
        # Polars reads its number of threads when it is imported: single-thread figures need a process of their own.
        subprocess.run(
            [sys.executable, *sys.argv, "--only", "group-by"], env={**os.environ, "POLARS_MAX_THREADS": "1"}, check=True
        )
    million = max([given.million, *(given.sizes if "exponent" in given.only else [])])
    ids, offsets = [np.load(p) for p in given.ids] if given.ids else tokenised(given.path, million)
    part = first(ids, offsets, given.million)
    threads = int(os.environ["POLARS_MAX_THREADS"]) if "POLARS_MAX_THREADS" in os.environ else None
    results: list[dict[str, Any]] = []
    for n in given.ngram:
        for name in given.only:
            if name == "group-by":
                results.append({"measured": name, **group_by(*part, n, given.pairs, threads)})
            elif name == "threads":
                results.append({"measured": name, **two_threads(*part, n, given.pairs)})
            else:
                results.append({"measured": name, **exponent(ids, offsets, n, given.sizes, given.pairs)})
            for key, value in results[-1].items():
                print(
                    f"{key:48s} {value:10.2f}" if isinstance(value, float) else f"{key:48s} {value!s:>10s}", flush=True
                )
            print()
    if given.json:
        name = given.json.with_name(f"{given.json.stem}-1-thread{given.json.suffix}") if threads == 1 else given.json
        name.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
