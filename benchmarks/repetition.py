"""Repetition tagger against plain NLTK and Python counters: the same documents, in turn, CPU seconds.

    python benchmarks/repetition.py [--path FILE_OR_FOLDER ...] [--megabytes 15] [--pairs 5] [--json FILE]

Documents are the docstrings of one Python module each (default: the standard library and the installed packages). "naive"
is the twin of the tests: NLTK's tokenizers and collections.Counter. "first" is a tagger that has seen no text before
(its pieces are all new, its model is read); "warm" is one that has seen the other four fifths of the documents, which is nearer to a
long run. All read the same last fifth.
"""

from __future__ import annotations

import argparse
import ast
import json
import statistics
import sys
import sysconfig
import time
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from tagcorpus.taggers._interface.batch import DocumentBatch
from tagcorpus.taggers.repetition import Repetition

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
import naive


def documents(paths: list[Path], megabytes: float) -> Iterator[str]:
    """Docstrings of every module under `paths`, one document a module, until `megabytes` million characters."""
    warnings.simplefilter("ignore")
    chars = 0
    for path in sorted(f for p in paths for f in (p.rglob("*.py") if p.is_dir() else [p])):
        try:
            tree = ast.parse(path.read_bytes())
        except (SyntaxError, ValueError):
            continue
        nodes = [n for n in ast.walk(tree) if isinstance(n, ast.Module | ast.ClassDef | ast.FunctionDef)]
        text = "\n\n".join(doc for doc in map(ast.get_docstring, nodes) if doc)
        if len(text) > 500:
            chars += len(text)
            yield text
        if chars > megabytes * 1e6:
            return


def batches(texts: list[str]) -> list[DocumentBatch]:
    return [DocumentBatch.from_texts(texts[i : i + 256]) for i in range(0, len(texts), 256)]


def cpu_seconds(work: Callable[[], Any]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    default = [Path(sysconfig.get_path("stdlib")), Path(sysconfig.get_path("purelib"))]
    options.add_argument("--path", type=Path, nargs="+", default=default)
    options.add_argument("--megabytes", type=float, default=15)
    options.add_argument("--pairs", type=int, default=5)
    options.add_argument("--json", type=Path)
    given = options.parse_args()
    texts = list(dict.fromkeys(documents(given.path, given.megabytes)))
    seen_before = len(texts) * 4 // 5
    million = sum(map(len, texts[seen_before:])) / 1e6
    before, measured = batches(texts[:seen_before]), batches(texts[seen_before:])

    def run_naive() -> list[dict[str, Any]]:
        return [naive.repetition(text, 0.6, 0.6, 0.5, 50) for text in texts[seen_before:]]

    def run_tagger(tagger: Repetition, work: list[DocumentBatch]) -> list[dict[str, Any]]:
        return [row for batch in work for row in tagger.tag(batch).to_pylist()]

    if run_naive() != run_tagger(Repetition(), measured):
        raise SystemExit("tagger and twin disagree: no figure")
    rates: dict[str, list[float]] = {"naive": [], "first": [], "warm": []}
    for _ in range(given.pairs):
        rates["naive"].append(million / cpu_seconds(run_naive))
        fresh, seen = Repetition(), Repetition()
        rates["first"].append(million / cpu_seconds(partial(run_tagger, fresh, measured)))
        run_tagger(seen, before)
        rates["warm"].append(million / cpu_seconds(partial(run_tagger, seen, measured)))
    result = {
        "documents": len(texts) - seen_before,
        "million_characters": million,
        **{f"{name}_million_characters_per_cpu_second": statistics.median(rate) for name, rate in rates.items()},
        **{
            f"{name}_over_naive": statistics.median(a / b for a, b in zip(rates[name], rates["naive"], strict=True))
            for name in ("first", "warm")
        },
    }
    for name, value in result.items():
        print(f"{name:44s} {value:10.2f}")
    if given.json:
        given.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
