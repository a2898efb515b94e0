"""What is compared with what: each row of the table is a function that runs its programs in turn and says its ratios."""

from __future__ import annotations

import gzip
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from _pairs import Program, Used, in_turn, median, ratios, slope

HERE = Path(__file__).resolve().parent
# What tiktoken calls p50k_base's ranks in its cache.
P50K_FILE = "ec7223a39ce59f226a68acc30dc1af2788490e15"
CHEAP = "length,tokens,keywords"
# dolma's own pins; without them pip tries hundreds of releases of boto3.
DOLMA = ("dolma==1.2.1", "boto3==1.28.17", "aiobotocore==2.5.4", "fsspec==2023.6.0")
RANGES = (1, 4, 16, 64)
SECONDS_A_RANGE = 20


@dataclass(frozen=True)
class Bench:
    """The corpus, where to work, and how much to do. `small` and `large` are numbers of shards."""

    corpus: Path
    work: Path
    rounds: int
    small: int
    large: int
    memory_mb: tuple[int, int]

    def shards(self, n: int) -> Path:
        """A folder of the first n JSONL shards."""
        folder = self.work / f"jsonl-{n}"
        if not folder.exists():
            folder.mkdir(parents=True)
            for path in sorted((self.corpus / "jsonl").glob("*.jsonl"))[:n]:
                (folder / path.name).symlink_to(path.resolve())
        return folder

    def megabytes(self, n: int) -> float:
        """Their size."""
        paths = list(self.shards(n).iterdir())
        for path in paths:
            path.read_bytes()  # into the page cache
        return sum(path.stat().st_size for path in paths) / 1e6

    @property
    def env(self) -> dict[str, str]:
        """tiktoken's ranks where tiktoken looks for them, so that no program needs a network."""
        cache = self.work / "tiktoken"
        if not (cache / P50K_FILE).exists():
            from tagcorpus.taggers._tokenizers.encodings import shipped_ranks

            cache.mkdir(parents=True, exist_ok=True)
            (cache / P50K_FILE).write_bytes(shipped_ranks())
        return {"TIKTOKEN_CACHE_DIR": str(cache)}

    def python(self, script: str, *arguments: str | Path) -> Program:
        return Program([sys.executable, HERE / script, *arguments], self.work / "out", self.env)

    def tag(self, source: Path, taggers: str, *more: str, workers: int = 1) -> Program:
        command = [*TAGCORPUS, "run", "tag", "--input", source, "--output", self.work / "out", "--taggers", taggers]
        return Program([*command, "--workers", str(workers), *more], self.work / "out")


TAGCORPUS = (sys.executable, "-c", "from tagcorpus.cli import main; main()")
Result = dict[str, Any]


def result(
    row: str, what: str, values: Sequence[float], goal: float | None, *, at_most: bool = False, **figures: Any
) -> Result:
    """One line of the table: the median ratio, its range over rounds, and whether the goal is reached."""
    middle = median(values) if values else float("nan")
    return {
        "row": row,
        "what": what,
        "ratio": round(middle, 3),
        "range": [round(min(values), 3), round(max(values), 3)] if values else [],
        "goal": goal,
        "goal_is": "at most" if at_most else "at least",
        "reached": None if goal is None else (middle <= goal if at_most else middle >= goal),
        "rounds": len(values),
        **figures,
    }


def told(runs: dict[str, list[Used]], has_cpu: bool = True) -> dict[str, Any]:
    """Medians of every program, and the load they met."""
    loads = [round(u.load, 1) for used in runs.values() for u in used]
    programs = {
        name: {
            **({"cpu_s": round(median([u.cpu for u in used]), 3)} if has_cpu else {}),
            "wall_s": round(median([u.wall for u in used]), 3),
        }
        for name, used in runs.items()
    }
    return {"programs": programs, "load": [min(loads), max(loads)]}


def two_sizes(
    bench: Bench, row: str, what: str, programs: dict[str, Callable[[Path], Program]], goals: dict[str, float | None]
) -> list[Result]:
    """The first program against each other one: marginal CPU from two sizes, and the larger whole command."""
    size = bench.megabytes(bench.large) - bench.megabytes(bench.small)
    sizes = {n: bench.shards(n) for n in (bench.small, bench.large)}
    runs = in_turn(
        {f"{k}, {n} shards": p(source) for k, p in programs.items() for n, source in sizes.items()}, bench.rounds
    )
    rates = {k: slope(runs[f"{k}, {bench.small} shards"], runs[f"{k}, {bench.large} shards"], size) for k in programs}
    base = next(iter(programs))
    found = []
    for name in list(programs)[1:]:
        figures = {
            "megabytes": round(size, 1),
            "mb_per_cpu_s": {k: round(1 / median(rates[k]), 2) for k in (base, name)},
            **told({k: v for k, v in runs.items() if k.startswith((f"{base},", f"{name},"))}),
        }
        goal = goals.get(name)
        found.append(result(row, f"{what}, {name}: marginal cpu", ratios(rates[base], rates[name]), goal, **figures))
        whole = [[u.cpu for u in runs[f"{k}, {bench.large} shards"]] for k in (base, name)]
        figures["megabytes"] = round(bench.megabytes(bench.large), 1)
        found.append(result(row, f"{what}, {name}: whole command, cpu", ratios(*whole), goal, **figures))
    return found


def cheap(bench: Bench) -> list[Result]:
    """a. One pass for length, tokens and keywords against a plain pass for each feature."""
    programs: dict[str, Callable[[Path], Program]] = {
        "passes": lambda f: bench.python("_passes.py", f, bench.work / "out"),
        "tiktoken": lambda f: bench.tag(f, CHEAP, "--set", "tokens.engine=tiktoken"),
        "gigatoken": lambda f: bench.tag(f, CHEAP, "--set", "tokens.engine=gigatoken"),
    }
    return two_sizes(bench, "a", "four plain passes / one pass", programs, {"tiktoken": 5.0, "gigatoken": 24.0})


def datatrove(bench: Bench) -> list[Result]:
    """b. datatrove's reader, a tiktoken step and its writer against `run tag --taggers tokens`."""
    programs: dict[str, Callable[[Path], Program]] = {
        "datatrove": lambda f: bench.python("_datatrove.py", f, bench.work / "out"),
        "tiktoken": lambda f: bench.tag(f, "tokens", "--set", "tokens.engine=tiktoken"),
        "gigatoken": lambda f: bench.tag(f, "tokens", "--set", "tokens.engine=gigatoken"),
    }
    return two_sizes(bench, "b", "datatrove with tiktoken / run tag", programs, {})


def dolma(bench: Bench) -> list[Result]:
    """c. Dolma's char_length_v1 and olmo_pretokenizer_v1 (it splits text but does not tokenise: its tokenizers come from a
    hub) against length and tokens; both read gzipped JSONL."""
    home = bench.work / "dolma"
    program = home / "bin" / "dolma"
    if not program.exists():
        subprocess.run([sys.executable, "-m", "venv", home], check=True)
        done = subprocess.run(
            [home / "bin" / "pip", "install", "-q", *DOLMA], check=False, capture_output=True, text=True
        )
        if done.returncode:
            return [result("c", f"dolma does not install: {done.stderr.strip()[-300:]}", [], None)]
    taggers = ("char_length_v1", "olmo_pretokenizer_v1")

    def packed(source: Path) -> Path:
        folder = bench.work / f"{source.name}-gz" / "documents"
        if not folder.exists():
            folder.mkdir(parents=True)
            for path in sorted(source.iterdir()):
                (folder / f"{path.stem}.jsonl.gz").write_bytes(gzip.compress(path.read_bytes(), 5))
        return folder

    def tag(source: Path) -> Program:
        folder, output = packed(source), bench.work / "out"
        command = [program, "tag", "--documents", f"{folder}/*.gz", "--destination", output, "--taggers", *taggers]
        # It remembers finished files beside them unless it is told where.
        dirs = ["--work_dir.input", bench.work / "dolma-in", "--work_dir.output", bench.work / "dolma-out"]
        return Program([*command, "--experiment", "bench", "--processes", "1", "--ignore_existing", *dirs], output)

    programs: dict[str, Callable[[Path], Program]] = {
        "dolma": tag,
        "tiktoken": lambda f: bench.tag(packed(f), "length,tokens", "--set", "tokens.engine=tiktoken"),
        "gigatoken": lambda f: bench.tag(packed(f), "length,tokens", "--set", "tokens.engine=gigatoken"),
    }
    return two_sizes(bench, "c", "dolma (length, split only) / run tag (length, tokens)", programs, {})


def outside(bench: Bench) -> list[Result]:
    """d. CPU of `run tag --taggers tokens` beyond the bare tokenizer's on the same texts, as a share of the latter."""
    found = []
    size = bench.megabytes(bench.large) - bench.megabytes(bench.small)
    for engine, goal in (("tiktoken", 0.15), ("gigatoken", 1.0)):
        sizes = {n: bench.shards(n) for n in (bench.small, bench.large)}
        runs = in_turn(
            {
                f"{name} {n}": program(source)
                for n, source in sizes.items()
                for name, program in {
                    "bare": lambda f, e=engine: bench.python("_bare.py", e, f),
                    "tag": lambda f, e=engine: bench.tag(f, "tokens", "--set", f"tokens.engine={e}"),
                }.items()
            },
            bench.rounds,
        )
        for name in list(runs):
            if name.startswith("bare"):
                runs[name] = [u._replace(cpu=json.loads(u.out)["cpu"]) for u in runs[name]]
        rates = {k: slope(runs[f"{k} {bench.small}"], runs[f"{k} {bench.large}"], size) for k in ("bare", "tag")}
        found.append(
            result(
                "d",
                f"cpu outside tokenising, {engine}, as a share of bare tokenising",
                [r - 1 for r in ratios(rates["tag"], rates["bare"])],
                goal,
                at_most=True,
                megabytes=round(size, 1),
                mb_per_cpu_s={k: round(1 / median(v), 2) for k, v in rates.items()},
                **told(runs),
            )
        )
    return found


def workers(bench: Bench) -> list[Result]:
    """e. Two workers against one, wall; beside it what the machine gives two bare tokenizers that share nothing."""
    more = ("--set", "tokens.engine=tiktoken")
    few, many = max(bench.large // 2, 2), min(2 * bench.large, 32)

    def bare(at_once: bool) -> Callable[[], Used]:
        def run() -> Used:
            start, load = time.perf_counter(), os.getloadavg()[0]
            programs = [
                Program(
                    [sys.executable, HERE / "_bare.py", "tiktoken", bench.shards(few)],
                    bench.work / f"bare{k}",
                    bench.env,
                )
                for k in range(2)
            ]
            threads = [threading.Thread(target=p) for p in programs]
            for thread in threads:
                thread.start()
                if not at_once:
                    thread.join()
            for thread in threads:
                thread.join()
            return Used(0.0, time.perf_counter() - start, load, "")

        return run

    runs = in_turn(
        {
            **{
                f"{n} workers, {shards} shards": bench.tag(bench.shards(shards), CHEAP, *more, workers=n)
                for shards in (few, many)
                for n in (1, 2)
            },
            "bare, one after the other": bare(False),
            "bare, two at once": bare(True),
        },
        bench.rounds,
    )
    walls = {k: [u.wall for u in v] for k, v in runs.items()}
    each = {
        n: [
            b - a
            for a, b in zip(walls[f"{n} workers, {few} shards"], walls[f"{n} workers, {many} shards"], strict=True)
        ]
        for n in (1, 2)
    }
    whole = [walls[f"{n} workers, {many} shards"] for n in (1, 2)]
    own = ratios(walls["bare, one after the other"], walls["bare, two at once"])
    figures = told(runs, has_cpu=False)
    return [
        result("e", "one worker / two workers: marginal wall", ratios(each[1], each[2]), 1.8, **figures),
        result("e", f"one worker / two workers: whole command, {many} shards, wall", ratios(*whole), 1.8, **figures),
        result("e", "the machine's own: two bare tokenizers in turn / at once, wall", own, None, **figures),
    ]


def ray(bench: Bench) -> list[Result]:
    """f. Ray against local, both with two workers, wall, on one file cut into ever more ranges."""
    source = bench.work / f"one-{bench.large}.jsonl"
    if not source.exists():
        with source.open("wb") as sink:
            for path in sorted(bench.shards(bench.large).iterdir()):
                sink.write(path.read_bytes())
    found, extra, each = [], [], []
    more = ("--set", "tokens.engine=tiktoken")
    for n in RANGES:
        cut = ("--set", f"chunk_bytes={source.stat().st_size // n + 1}", *more)
        runs = in_turn(
            {
                "local": bench.tag(source, CHEAP, *cut, workers=2),
                "ray": bench.tag(source, CHEAP, *cut, "--executor", "ray", workers=2),
            },
            max(2, bench.rounds // 2),
        )
        walls = {k: [u.wall for u in v] for k, v in runs.items()}
        each.append(median(walls["local"]))
        extra.append(median([b - a for a, b in zip(walls["local"], walls["ray"], strict=True)]))
        found.append(
            result(
                "f",
                f"ray / local, {n} ranges, wall",
                ratios(walls["ray"], walls["local"]),
                None,
                at_most=True,
                **told(runs, has_cpu=False),
            )
        )
    mean_n, mean_extra = sum(RANGES) / len(RANGES), sum(extra) / len(extra)
    spread = sum((n - mean_n) ** 2 for n in RANGES)
    per_range = sum((n - mean_n) * (e - mean_extra) for n, e in zip(RANGES, extra, strict=True)) / spread
    fixed = mean_extra - per_range * mean_n
    for n in RANGES:
        local = SECONDS_A_RANGE * max(n / 2, 1)
        found.append(
            result(
                "f",
                f"ray / local, extrapolated to {n} ranges of {SECONDS_A_RANGE} s",
                [(local + fixed + per_range * n) / local],
                1.15,
                at_most=True,
                fixed_s=round(fixed, 2),
                per_range_s=round(per_range, 3),
            )
        )
    return found


def memory(bench: Bench) -> list[Result]:
    """g. Peak resident memory on a file and on a larger one, by benchmarks/memory.py."""
    small, large = bench.memory_mb
    sizes = ["--small-mb", str(small), "--large-mb", str(large)]
    formats = ("jsonl", "jsonl.zst", "parquet")
    used = bench.python("memory.py", "--work", bench.work / "memory", *sizes, "--formats", *formats)()
    return [
        result(
            "g",
            f"peak memory, {f['format']}: {large} MB / {small} MB",
            [f["ratio"]],
            1.2,
            at_most=True,
            peak_mib=[f["peak_small_mib"], f["peak_large_mib"]],
            load=[used.load] * 2,
        )
        for f in json.loads(used.out.splitlines()[-1])
    ]


def start_up(bench: Bench) -> list[Result]:
    """h. --help, and ten documents, with caches as they are and with none."""
    ten = bench.work / "ten" / "ten.jsonl"
    ten.parent.mkdir(exist_ok=True)
    with (bench.shards(1) / "part-00000.jsonl").open("rb") as source:
        ten.write_bytes(b"".join(source.readline() for _ in range(10)))
    caches = {"warm": bench.work / "cache-warm", "cold": bench.work / "cache-cold"}

    def with_cache(program: Program, kind: str) -> Program:
        cache = caches[kind]
        forget = (lambda: shutil.rmtree(cache, ignore_errors=True)) if kind == "cold" else None
        return Program(program.command, program.output, {"XDG_CACHE_HOME": str(cache)}, forget)

    programs = {
        "--help": Program([*TAGCORPUS, "--help"], bench.work / "out"),
        "run tag --help": Program([*TAGCORPUS, "run", "tag", "--help"], bench.work / "out"),
        **{f"10 documents, {CHEAP}, {k}": with_cache(bench.tag(ten, CHEAP), k) for k in caches},
        "10 documents, default taggers, warm": with_cache(bench.tag(ten, f"{CHEAP},language,repetition"), "warm"),
    }
    for program in programs.values():
        program()
    runs = in_turn(programs, max(bench.rounds, 5))
    goals = {"--help": 0.3, "run tag --help": 0.3}
    return [
        result(
            "h",
            f"{name}: wall seconds",
            [u.wall for u in used],
            goals.get(name, 2.0 if name.endswith("warm") else None),
            at_most=True,
            cpu_s=round(median([u.cpu for u in used]), 3),
            load=[min(u.load for u in used), max(u.load for u in used)],
        )
        for name, used in runs.items()
    ]


TAG_ROWS: dict[str, Callable[[Bench], list[Result]]] = {
    "a": cheap,
    "b": datatrove,
    "c": dolma,
    "d": outside,
    "e": workers,
    "f": ray,
    "g": memory,
    "h": start_up,
}
