"""The tagger `signals` against datatrove's filters: verdicts on real and random documents, and CPU seconds.

    python benchmarks/signals.py verdicts --documents 6000
    python benchmarks/signals.py random --documents 50000
    python benchmarks/signals.py speed --rounds 3

`verdicts` and `random` print, for each of four filters, the documents whose verdict differs with datatrove's words (none should)
and with our own. `speed` runs all our columns and datatrove's two Gopher filters over the same documents in turn. It needs
the extra [parse], for datatrove's words.
"""

from __future__ import annotations

import argparse
import contextlib
import gzip
import json
import random
import resource
import sys
import sysconfig
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy

from tagcorpus.taggers import DocumentBatch
from tagcorpus.taggers.signals import Signals

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
from datatrove.data import Document
from datatrove.pipeline.filters import GopherQualityFilter, GopherRepetitionFilter
from signals_cases import conditions, published, random_document, verdicts_of

ROOTS = (
    *("/usr/share/doc", "/usr/share/man", "/usr/share/perl", "/usr/lib/python3"),
    *(sysconfig.get_paths()["stdlib"], str(Path(numpy.__file__).parents[1])),
)
SUFFIXES = frozenset(
    (
        "",
        *[
            ".py",
            ".txt",
            ".md",
            ".rst",
            ".html",
            ".xml",
            ".json",
            ".c",
            ".h",
            ".js",
            ".css",
            ".tex",
            ".yaml",
            ".pm",
            ".gz",
            ".jsonl",
        ],
    )
)
MOST_CHARACTERS = 5_000
BATCH = 500


def real_documents(n: int) -> list[str]:
    """The beginnings of n texts of this machine, chosen by a seed: files, man pages, and the documents of JSONL files."""
    here = Path(__file__).resolve().parents[1]
    generator = random.Random(1)
    folders = [here / "examples", *(p / "shared" / "golden" for p in here.parents[:3])]
    paths = sorted(
        {p for r in (*map(Path, ROOTS), *folders) if r.is_dir() for p in r.rglob("*") if p.suffix in SUFFIXES}
    )
    generator.shuffle(paths)
    texts: dict[str, None] = {}
    for path in paths:
        with contextlib.suppress(OSError, UnicodeDecodeError):
            if path.is_file() and 100 < path.stat().st_size < 5_000_000:
                for text in documents_of(path):
                    if "\0" not in text and len(text) > 100:
                        texts[text[:MOST_CHARACTERS]] = None
        if len(texts) >= n:
            break
    return list(texts)[:n]


def documents_of(path: Path) -> Iterator[str]:
    """The file's text, or the texts of a JSONL file."""
    data = path.read_bytes()
    text = (gzip.decompress(data) if path.suffix == ".gz" else data).decode("utf-8")
    if path.suffix != ".jsonl":
        yield text
        return
    for line in text.splitlines()[:200]:
        with contextlib.suppress(ValueError):
            value = json.loads(line)
            if isinstance(value, dict) and isinstance(value.get("text"), str):
                yield value["text"]


def compare(batches: Iterator[list[str]]) -> int:
    """Prints the differing verdicts of each filter; returns how many differ with datatrove's words."""
    theirs, own = Signals("datatrove"), Signals()
    n, kept = 0, dict.fromkeys(conditions(), 0)
    differing = {kind: dict.fromkeys(conditions(), 0) for kind in ("datatrove", "own")}
    for texts in batches:
        n += len(texts)
        expected = published(texts)
        for kind, tagger in (("datatrove", theirs), ("own", own)):
            for name, verdicts in verdicts_of(tagger, texts).items():
                pairs = list(zip(verdicts, expected[name], strict=True))
                for text, (a, b) in zip(texts, pairs, strict=True):
                    if b is None or a == b:
                        continue
                    differing[kind][name] += 1
                    if kind == "datatrove" and differing[kind][name] <= 3:
                        print(f"{name}: ours {a}, theirs {b}: {text[:300]!r}", flush=True)
        print(f"{n} documents", file=sys.stderr, flush=True)
        for name, verdicts in expected.items():
            kept[name] += verdicts.count(True)
    print(
        f"{n} documents\n\n| filter | kept by datatrove | differing, datatrove's words | differing, own words |\n|---|---|---|---|"
    )
    for name in conditions():
        print(f"| {name} | {kept[name]} | {differing['datatrove'][name]} | {differing['own'][name]} |")
    return sum(differing["datatrove"].values())


def in_batches(texts: list[str]) -> Iterator[list[str]]:
    for start in range(0, len(texts), BATCH):
        yield texts[start : start + BATCH]


def speed(n: int, rounds: int) -> None:
    """Prints CPU seconds of both on the same documents, in turn, and the growth of resident memory over our rounds."""
    texts = real_documents(n)
    megabytes = sum(len(text.encode()) for text in texts) / 1e6
    tagger, filters = Signals(), (GopherQualityFilter(), GopherRepetitionFilter())

    def ours() -> None:
        for some in in_batches(texts):
            tagger.tag(DocumentBatch.from_texts(some))

    def pair() -> None:
        for text in texts:
            for one in filters:
                one.filter(Document(text, "0"))

    def cpu(work: Callable[[], None]) -> float:
        start = time.process_time()
        work()
        return time.process_time() - start

    tagger.tag(DocumentBatch.from_texts(texts[:10]))
    filters[0].filter(Document(texts[0], "0"))
    print(f"{len(texts)} documents, {megabytes:.1f} MB")
    for _ in range(rounds):
        a, b = cpu(ours), cpu(pair)
        print(
            f"signals, all {len(Signals.columns)} columns: {megabytes / a:.2f} MB a CPU second; datatrove's two Gopher filters: "
            f"{megabytes / b:.2f}; ratio {b / a:.1f}; peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10} MiB"
        )
    for _ in range(5):
        ours()
    print(f"after five more rounds of ours: peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10} MiB")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("work", choices=("verdicts", "random", "speed"))
    parser.add_argument("--documents", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    if arguments.work == "speed":
        speed(arguments.documents, arguments.rounds)
    elif arguments.work == "verdicts":
        sys.exit(compare(in_batches(real_documents(arguments.documents))) > 0)
    else:
        source = random.Random(arguments.seed)
        sys.exit(compare(in_batches([random_document(source) for _ in range(arguments.documents)])) > 0)
