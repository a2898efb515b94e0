"""Keyword scanner against `re`: the same documents, in turn, CPU seconds.

    python benchmarks/keywords.py [--path FILE_OR_FOLDER ...] [--megabytes 20] [--pairs 5] [--json FILE]

Documents are the distinct long docstrings of Python sources that read like prose (default: the standard library and
the installed packages), plus whole .txt, .md and .rst files. Numba is warm: both programs run once before, and must
agree on every document. `re` is the naive twin of the tests; "scanner" is the kernel on a ready batch, "tagger" adds
what surrounds it (character counts, ratios, Arrow columns).
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import sys
import sysconfig
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from tagcorpus.taggers._interface.batch import DocumentBatch
from tagcorpus.taggers.keywords import Keywords, tables

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
from naive import keyword_counts

DOCSTRING = re.compile(r'"""(.*?)"""', re.DOTALL)
PROSE = re.compile(r"[A-Za-z ,.]")


def files(paths: list[Path]) -> Iterator[Path]:
    for path in paths:
        found = sorted(path.rglob("*")) if path.is_dir() else [path]
        yield from (f for f in found if f.suffix in {".py", ".txt", ".md", ".rst"} and f.is_file())


def documents(paths: list[Path], size: int) -> list[str]:
    """Distinct documents of at least 200 characters, 85 % of them letters, spaces, commas or points; `size` bytes."""
    seen: dict[str, None] = {}
    left = size
    for file in files(paths):
        text = file.read_text(encoding="utf-8", errors="replace")
        for document in DOCSTRING.findall(text) if file.suffix == ".py" else [text]:
            if len(document) < 200 or document in seen or len(PROSE.findall(document)) < 0.85 * len(document):
                continue
            seen[document] = None
            left -= len(document.encode())
            if left <= 0:
                return list(seen)
    return list(seen)


def cpu_and_wall(work: Callable[[], Any], times: int) -> tuple[float, float]:
    """Seconds of one call, the mean of `times`."""
    cpu, wall = time.process_time(), time.perf_counter()
    for _ in range(times):
        work()
    return (time.process_time() - cpu) / times, (time.perf_counter() - wall) / times


def main() -> None:
    parser = argparse.ArgumentParser(description="Keyword scanner against re")
    parser.add_argument("--path", type=Path, action="append", help="file or folder of sources or texts; repeatable")
    parser.add_argument("--megabytes", type=float, default=20)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--json", type=Path, help="also write the figures here")
    options = parser.parse_args()

    from tagcorpus.kernels.documents.keywords import count_keywords

    texts = documents(
        options.path or [Path(sysconfig.get_paths()[k]) for k in ("stdlib", "purelib")], int(options.megabytes * 1e6)
    )
    if not texts:
        parser.error("no document of 200 characters of prose found: give another --path")
    batch, tagger, arguments = DocumentBatch.from_texts(texts), Keywords(), tables()
    n_bytes = batch.utf8[1][-1] - batch.utf8[1][0]
    works: dict[str, tuple[Callable[[], Any], int]] = {
        "re": (lambda: [list(keyword_counts(text).values()) for text in texts], 1),
        "scanner": (lambda: count_keywords(*batch.utf8, *arguments), 20),
        "tagger": (lambda: tagger.tag(batch), 20),
    }
    is_different = np.array(works["re"][0]()) != works["scanner"][0]()
    tagger.tag(batch)

    runs: dict[str, list[tuple[float, float]]] = {name: [] for name in works}
    for _ in range(options.pairs):
        for name, (work, times) in works.items():
            runs[name].append(cpu_and_wall(work, times))
    figures: dict[str, Any] = {
        "documents": len(texts),
        "bytes": int(n_bytes),
        "pairs": options.pairs,
        "documents_that_differ": int(is_different.any(axis=1).sum()),
        "numba": "warm",
    }
    print(f"{len(texts):,} documents, {n_bytes / 1e6:.1f} MB; {figures['documents_that_differ']} differ from re")
    print(f"{'':10}{'MB/cpu-s':>10}{'cpu s':>10}{'wall s':>10}{'x re (median of pairs)':>25}")
    for name, seconds in runs.items():
        cpu, wall = (statistics.median(column) for column in zip(*seconds, strict=True))
        ratio = statistics.median(old[0] / new[0] for old, new in zip(runs["re"], seconds, strict=True))
        figures[name] = {
            "cpu_seconds": cpu,
            "wall_seconds": wall,
            "mb_per_cpu_second": n_bytes / 1e6 / cpu,
            "times_re": ratio,
        }
        print(f"{name:10}{n_bytes / 1e6 / cpu:10.1f}{cpu:10.4f}{wall:10.4f}{ratio:25.1f}")
    print(json.dumps(figures))
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
