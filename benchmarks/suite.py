"""tagcorpus beside other programs: one command, one table, one picture, about ten minutes.

    python benchmarks/suite.py [--work DIR] [--corpus DIR] [--megabytes 20] [--rounds 3] [--peers NAME,...] [--rows NAME,...]

Run with the Python that has tagcorpus. The command installs pinned releases of the other programs into environments of their own
below --work (default: a temporary folder), makes a corpus of this Python's source files (or takes one that corpus.py made), checks
that both sides compute the same, and measures them in turn. It prints a table, and writes results.json, results.md and results.png.
--peers adds programs that take long to install: dolma, nemo, data-juicer, textdescriptives.
"""

from __future__ import annotations

import argparse
import gzip
import importlib.metadata
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from _pairs import Program, Used, in_turn, median, ratios
from _report import markdown, picture, table
from corpus import quick

HERE = Path(__file__).resolve().parent
P50K_FILE = "ec7223a39ce59f226a68acc30dc1af2788490e15"  # the name of p50k_base's ranks in tiktoken's cache
SHARE = 4  # the smaller of two sizes is this part of the larger
DEFAULT = "default"
PEERS = {
    DEFAULT: "datatrove==0.10.1 polars==2.1.0 duckdb==2.0.1 tiktoken==0.14.0 tokenizers==0.23.3 spacy==3.8.18 "
    "numpy==2.4.6 pyarrow==26.0.1 orjson==3.13.0 nltk==3.10.4",
    # Dolma's own pins: without them pip tries hundreds of releases.
    "dolma": "dolma==1.2.1 boto3==1.28.17 aiobotocore==2.5.4 fsspec==2023.6.0",
    "nemo": "nemo-curator==1.4.0",
    # data-juicer installs its last three by itself when it first needs them.
    "data-juicer": "py-data-juicer==1.6.1 aiohttp==3.14.5 ray==2.60.0 msgpack==1.2.4",
    "textdescriptives": "textdescriptives==2.8.4",
}
OURS = ("tagcorpus", "gigatoken", "numba", "numpy", "pyarrow", "tiktoken")
Command = Callable[[Path], Program]
Check = Callable[[dict[str, Any]], float]


@dataclass(frozen=True)
class Row:
    """Programs that do the same work. `format` is the folder of the corpus; `part` is the share of its shards that is read."""

    title: str
    ours: dict[str, Command]
    peers: dict[str, Command]
    format: str = "jsonl"
    part: float = 1.0
    check: Check | None = None
    sizes: int = 2
    wall: bool = False


@dataclass
class Suite:
    work: Path
    rounds: int
    peers: list[str]
    megabytes: float = 0
    load: list[float] = field(default_factory=list)

    def folder(self, format_: str, n: int) -> Path:
        """A folder of the first n shards."""
        folder = self.work / f"{format_}-{n}"
        if not folder.exists():
            folder.mkdir()
            for path in sorted((self.work / "corpus" / format_).iterdir())[:n]:
                (folder / path.name).symlink_to(path.resolve())
        return folder

    def environment(self, name: str) -> Path:
        """The Python of an environment; made where it is missing."""
        home = self.work / f"environment-{name}"
        python = home / "bin" / "python"
        if not (home / "installed").exists():
            print(f"installing {PEERS[name]}", file=sys.stderr, flush=True)
            subprocess.run([sys.executable, "-m", "venv", "--clear", home], check=True)
            subprocess.run([python, "-m", "pip", "install", "-q", *PEERS[name].split()], check=True)
            (home / "installed").touch()
        return python

    def program(self, name: str, environment: str | None = DEFAULT) -> Command:
        python = self.environment(environment) if environment else sys.executable
        one_thread = {"POLARS_MAX_THREADS": "1", "TOKENIZERS_PARALLELISM": "false", "OMP_NUM_THREADS": "1"}
        env = {"TIKTOKEN_CACHE_DIR": str(self.work / "tiktoken"), **one_thread}
        out = self.work / "out"
        return lambda source: Program([python, HERE / "_programs.py", name, source, out], out, env)

    def dolma(self) -> Command:
        """Dolma's length and splitting of text. Its tokenizers come from a hub, so it does not tokenise."""
        program = self.environment("dolma").with_name("dolma")
        out, kept = (
            self.work / "out",
            ("--work_dir.input", self.work / "out-in", "--work_dir.output", self.work / "out-out"),
        )
        taggers = ("--taggers", "char_length_v1", "olmo_pretokenizer_v1", "--experiment", "bench")

        def command(source: Path) -> Program:
            documents = self.work / "dolma" / source.name / "documents"  # Dolma wants this name
            if not documents.exists():
                documents.parent.mkdir(parents=True)
                documents.symlink_to(source)
            paths = ("--documents", f"{documents}/*.gz", "--destination", out)
            options = ("--processes", "1", "--ignore_existing")
            return Program([program, "tag", *paths, *taggers, *options, *kept], out)

        return command

    def tagcorpus(self, pipeline: str, *options: str | Path, workers: int = 1) -> Command:
        out = self.work / "out"
        command = [sys.executable, "-m", "tagcorpus", "run", pipeline, "--json", "--output", out, *options]
        return lambda source: Program([*command, "--workers", str(workers), "--input", source], out)

    def tag(self, taggers: str, *options: str, workers: int = 1) -> Command:
        return self.tagcorpus("tag", "--taggers", taggers, *options, workers=workers)

    def measure(self, row: Row) -> list[dict[str, Any]]:
        """A line for each pair of our programs and the others."""
        shards = len(list((self.work / "corpus" / row.format).iterdir()))
        large = max(2, round(shards * row.part))
        counts = [large // SHARE or 1, large][-row.sizes :]
        sources = [self.folder(row.format, n) for n in counts]
        if row.format == "ids":
            sources = [self.work / "ids"]
        commands = {**row.ours, **row.peers}
        for name, command in commands.items():  # compiled kernels and page caches are warm from here on
            command(sources[-1 if name in row.ours else 0])()
        runs = in_turn({f"{k} {i}": c(s) for k, c in commands.items() for i, s in enumerate(sources)}, self.rounds)
        results = {k: result_of(runs[f"{k} {len(sources) - 1}"][0]) for k in commands}
        sums = {k: row.check(v) if row.check and k in row.ours else v.get("check") for k, v in results.items()}
        self.load += [u.load for used in runs.values() for u in used]
        seconds = {k: [[cost(u, row.wall) for u in runs[f"{k} {i}"]] for i in range(len(sources))] for k in commands}
        growth = {k: [b - a for a, b in zip(v[0], v[-1], strict=True)] for k, v in seconds.items()}
        return [
            {
                "row": row.title,
                "programs": f"{peer} / {own}",
                "per_mb": spread(ratios(growth[peer], growth[own])) if row.sizes == 2 else None,
                "whole": spread(ratios(seconds[peer][-1], seconds[own][-1])),
                "difference": difference(sums[peer], sums[own]),
                "seconds": {k: round(median(seconds[k][-1]), 3) for k in (peer, own)},
                "unit": "wall seconds" if row.wall else "CPU seconds",
                "megabytes": round(sum(p.stat().st_size for p in sources[-1].iterdir()) / 1e6, 1),
            }
            for peer in row.peers
            for own in row.ours
        ]


def cost(used: Used, wall: bool) -> float:
    if wall:
        return used.wall
    return float(result_of(used).get("cpu", used.cpu))


def result_of(used: Used) -> dict[str, Any]:
    """What the program printed; Dolma prints no JSON."""
    return json.loads(used.out) if used.out.startswith("{") else {}


def spread(values: list[float]) -> list[float] | None:
    """Median, smallest and largest."""
    return [round(v, 4) for v in (median(values), min(values), max(values))] if values else None


def difference(a: float | None, b: float | None) -> float | None:
    return None if a is None or b is None else abs(a / b - 1)


def total(tagger: str, column: str) -> Check:
    def read(result: dict[str, Any]) -> float:
        values = result["summary"]["instances"][tagger]["columns"][column]
        return float(values["mean"] * values["n"])

    return read


def rows(suite: Suite) -> dict[str, Row]:
    three, tiktoken = "length,tokens,keywords", ("--set", "tokens.engine=tiktoken")
    n_tokens, n_characters = total("tokens", "num_tokens"), total("length", "char_len")
    tokenizer = ("--tokenizer", suite.work / "tokenizer.json", "--eos", "<|endoftext|>")
    characters = {"length": suite.tag("length")}
    keywords = {"length, keywords": suite.tag("length,keywords")}
    expressions = {k: suite.program(f"{k.lower()}_characters") for k in ("Polars", "DuckDB")}
    searches = {k: suite.program(f"{k.lower()}_keywords") for k in ("Polars", "DuckDB")}
    group_by = {k: suite.program(f"{k.lower()}_ids") for k in ("Polars", "DuckDB")}
    names = {"nemo": "NeMo Curator", "data-juicer": "data-juicer", "textdescriptives": "TextDescriptives"}
    filters = {"Gopher filters": suite.program("datatrove_gopher")}
    filters |= {names[p]: suite.program(p.replace("-", "_"), p) for p in suite.peers if p in names}
    dolma = {"Dolma": suite.dolma()} if "dolma" in suite.peers else {}
    every = {
        "tags": Row(
            "length, tokens, keywords",
            {"run tag": suite.tag(three), "with tiktoken": suite.tag(three, *tiktoken)},
            {"plain passes": suite.program("passes")},
            check=n_tokens,
        ),
        "datatrove": Row(
            "length, tokens",
            {"run tag": suite.tag("length,tokens"), "with tiktoken": suite.tag("length,tokens", *tiktoken)},
            {"datatrove": suite.program("datatrove_tokens")},
            check=n_tokens,
        ),
        "jsonl": Row("characters, JSONL", characters, expressions, check=n_characters),
        "parquet": Row("characters, Parquet", characters, expressions, "parquet", check=n_characters),
        "keywords": Row("characters and keywords, Parquet", keywords, searches, "parquet", check=n_characters),
        "signals": Row(
            "quality signals",
            {"signals": suite.tag("signals")},
            filters,
            part=0.1,
        ),
        "entropy": Row(
            "bigram entropy",
            {
                "run entropy": suite.tagcorpus("entropy", "--ngram", "1"),
                "with tiktoken": suite.tagcorpus("entropy", "--ngram", "1", "--set", "engine=tiktoken"),
            },
            {"Counters": suite.program("counters")},
            check=lambda r: float(r["summary"]["mean_corpus_entropy"]),
        ),
        "counting": Row(
            "bigrams of ready ids, in memory",
            {"kernel": suite.program("kernel_ids", None)},
            group_by,
            "ids",
            sizes=1,
            check=lambda r: float(r["check"]),
        ),
        "tokenize": Row(
            "token files for training",
            {"run tokenize": suite.tagcorpus("tokenize", *tokenizer)},
            {"datatrove": suite.program("datatrove_tokenize")},
            check=lambda r: float(r["summary"]["token_files"]["totals"]["train"]["tokens"]),
        ),
        "workers": Row(
            "two workers, wall time",
            {"two workers": suite.tag(three, workers=2)},
            {"one worker": suite.tag(three)},
            wall=True,
        ),
        "start": Row(
            "start-up: ten documents",
            {"run tag": suite.tag("length")},
            {
                "Polars": expressions["Polars"],
                "DuckDB": expressions["DuckDB"],
                "datatrove": suite.program("datatrove_tokens"),
            },
            "ten",
            sizes=1,
        ),
        "dolma": Row(
            "length, tokens, gzipped JSONL",
            {"run tag": suite.tag("length,tokens"), "with tiktoken": suite.tag("length,tokens", *tiktoken)},
            dolma,
            "gz",
        ),
    }
    return {name: row for name, row in every.items() if row.peers}


def prepare(suite: Suite, corpus: Path | None, megabytes: float) -> dict[str, Any]:
    """The corpus below --work, and what the programs share; returns the corpus's description."""
    from tagcorpus.taggers._tokenizers.encodings import shipped_ranks
    from tagcorpus.taggers.keywords import STEMS, WORDS

    target = suite.work / "corpus"
    if not target.exists():
        if corpus:
            target.mkdir()
            for format_ in ("jsonl", "parquet"):
                (target / format_).mkdir()
                size = 0.0
                for path in sorted((corpus / format_).iterdir()):
                    (target / format_ / path.name).symlink_to(path.resolve())
                    size += (corpus / "jsonl" / f"{path.stem}.jsonl").stat().st_size / 1e6
                    if size >= megabytes:
                        break
        else:
            quick(target, megabytes)
    searches = {name: rf"\b({'|'.join(words.split())})\b" for name, words in WORDS.items()}
    searches |= {"instruction_words": f"({'|'.join(f'{s}:' for s in STEMS.split())})", "numbers": r"\b\d+\b"}
    (suite.work / "patterns.json").write_text(json.dumps(searches))
    (suite.work / "tiktoken").mkdir(exist_ok=True)
    (suite.work / "tiktoken" / P50K_FILE).write_bytes(shipped_ranks())
    jsonl = sorted((target / "jsonl").iterdir())
    if not (target / "ten").exists():
        (target / "ten").mkdir()
        with jsonl[0].open("rb") as source:
            (target / "ten" / "ten.jsonl").write_bytes(b"".join(source.readline() for _ in range(10)))
    if "dolma" in suite.peers and not (target / "gz").exists():
        (target / "gz").mkdir()
        for path in jsonl:
            (target / "gz" / f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes(), 5))
    everything = suite.folder("jsonl", len(jsonl))
    if not (suite.work / "ids").exists():
        command = [sys.executable, HERE / "_programs.py", "save_ids", everything, suite.work / "ids"]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        (target / "ids").mkdir()
    if not (suite.work / "tokenizer.json").exists():
        few = suite.folder("jsonl", max(1, len(jsonl) // SHARE))
        command = [
            suite.environment(DEFAULT),
            HERE / "_programs.py",
            "train_tokenizer",
            few,
            suite.work / "tokenizer.json",
        ]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    n_documents = sum(path.read_bytes().count(b"\n") for path in jsonl)
    return {"documents": n_documents, "megabytes": round(sum(path.stat().st_size for path in jsonl) / 1e6, 1)}


def about(suite: Suite, corpus: dict[str, Any], source: str) -> dict[str, str]:
    names = [
        line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line
    ]
    return {
        "date": time.strftime("%Y-%m-%d"),
        "machine": f"{len(os.sched_getaffinity(0))} cores, {names[0] if names else platform.machine()}",
        "load": f"{min(suite.load):.1f} to {max(suite.load):.1f}",
        "corpus": f"{corpus['documents']:,} documents, {corpus['megabytes']} MB of JSONL, {source}",
        "rounds": str(suite.rounds),
        "tagcorpus's side": ", ".join(f"{p} {importlib.metadata.version(p)}" for p in OURS),
        "other programs": ", ".join(" ".join(PEERS[name].split()) for name in (DEFAULT, *suite.peers)).replace(
            "==", " "
        ),
        "python": platform.python_version(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, help="folder for environments, corpus and results")
    parser.add_argument(
        "--corpus", type=Path, help="a folder that corpus.py made (default: this Python's source files)"
    )
    parser.add_argument("--megabytes", type=float, default=20, help="of JSONL")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--peers", default="", help=f"also: {', '.join(p for p in PEERS if p != DEFAULT)}")
    parser.add_argument("--rows", default="", help="some rows only, by name")
    options = parser.parse_args()
    started = time.perf_counter()
    work = (options.work or Path(tempfile.mkdtemp(prefix="tagcorpus-benchmarks-"))).resolve()
    work.mkdir(parents=True, exist_ok=True)
    suite = Suite(work, options.rounds, [p for p in options.peers.split(",") if p])
    corpus = prepare(suite, options.corpus, options.megabytes)
    all_rows = rows(suite)
    names = options.rows.split(",") if options.rows else list(all_rows)
    if unknown := set(names) - set(all_rows):
        parser.error(f"no row {', '.join(sorted(unknown))}: there are {', '.join(all_rows)}")
    results: list[dict[str, Any]] = []
    for name in names:
        print(f"{name}: {all_rows[name].title}", file=sys.stderr, flush=True)
        try:
            results += suite.measure(all_rows[name])
        except RuntimeError as error:  # the other rows are still measured
            print(f"row {name} failed: {error}", file=sys.stderr, flush=True)
            continue
        conditions = about(suite, corpus, "from corpus.py" if options.corpus else "source files of this Python")
        (work / "results.json").write_text(json.dumps({"about": conditions, "results": results}, indent=1) + "\n")
        (work / "results.md").write_text(markdown(results, conditions))
    picture(results, work / "results.png")
    print(table(results))
    print(f"\n{time.perf_counter() - started:.0f} s; {work}/results.json, results.md, results.png")


if __name__ == "__main__":
    main()
