"""Figures of docs/distil.md: learning curves of two tasks with exact labels, and a student against the embedded model.

    python distil.py curve [--task extension|package] [--student fasttext] [--seed 0]
    python distil.py paired STUDENT TABLE

curve   texts out of the installed packages of this Python. extension: 600 characters of a file, label = its extension. package: a
        docstring, label = the package it is from. Held-out texts are from files that the student has no text of.
paired  kappa of STUDENT (a folder of `tagcorpus distil`) minus kappa of the embedded domain model, on the labelled texts of TABLE that
        neither has learnt, with the 95 % interval of a bootstrap over documents.
"""

from __future__ import annotations

import argparse
import ast
import json
import random
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import xxhash

EXTENSIONS = (".py", ".pyi", ".h", ".hpp", ".c", ".cpp", ".js", ".css", ".html", ".json", ".md", ".rst", ".txt", ".pyx")
PACKAGES = (
    "torch",
    "transformers",
    "scipy",
    "pandas",
    "sklearn",
    "numpy",
    "matplotlib",
    "networkx",
    "nltk",
    "sympy",
    "polars",
)
WINDOW = 600
PER_LABEL = 3_000
PER_FILE = 4
TRAINING, HELD_OUT = 10_001, 2_000
DRAWS = 4_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    curve_parser = commands.add_parser("curve")
    curve_parser.add_argument("--task", choices=TASKS, action="append")
    curve_parser.add_argument("--student", default="fasttext")
    curve_parser.add_argument("--seed", type=int, default=0)
    paired_parser = commands.add_parser("paired")
    paired_parser.add_argument("student")
    paired_parser.add_argument("table")
    options = parser.parse_args()
    if options.command == "paired":
        print(json.dumps(paired(options.student, options.table)))
        return
    for task in options.task or TASKS:
        for row in curve(task, options.student, options.seed):
            print(json.dumps({"task": task, "student": options.student, **row}), flush=True)


def curve(task: str, student: str, seed: int) -> list[dict[str, Any]]:
    from tagcorpus.pipelines.distilling.command import distil

    train, held_out = sides(TASKS[task](seed), seed)
    with TemporaryDirectory() as folder:
        paths = [Path(folder) / "labels.jsonl", Path(folder) / "held_out.jsonl"]
        for path, rows in zip(paths, (train, held_out), strict=True):
            path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        text, _ = distil(
            [str(paths[0])],
            f"{folder}/student",
            held_out=str(paths[1]),
            student=student,
            trials=1,
            seed=seed,
            as_json=True,
        )
    document = json.loads(text)
    return [
        {name: point[name] for name in ("labels", "n", "kappa", "macro_f1")}
        | {"labels_learnt": len(document["data"]["labels_of"])}
        for point in document["curve"]
    ]


def sides(texts: list[tuple[str, str, str]], seed: int) -> tuple[list[dict[str, str]], list[dict[str, str]]]:
    """(text, label, file) to training and held-out rows. All texts of a file are on one side."""
    rows: list[list[dict[str, str]]] = [[], []]
    for text, label, file in texts:
        is_held_out = xxhash.xxh3_64_intdigest(f"{seed} {file}".encode()) % 6 == 0
        rows[is_held_out].append({"text": text, "label": label})
    return rows[0][:TRAINING], rows[1][:HELD_OUT]


def extensions(seed: int) -> list[tuple[str, str, str]]:
    chance = random.Random(seed)
    texts = []
    for extension in EXTENSIONS:
        own = []
        for path in files(f"*{extension}", chance):
            content = path.read_bytes()[:200_000].decode("utf-8", "replace")
            starts = {chance.randrange(max(1, len(content) - WINDOW)) for _ in range(PER_FILE)}
            own += [(content[s : s + WINDOW], extension[1:], str(path)) for s in sorted(starts) if content.strip()]
            if len(own) >= PER_LABEL:
                break
        texts += own[:PER_LABEL]
    chance.shuffle(texts)
    return texts


def packages(seed: int) -> list[tuple[str, str, str]]:
    chance = random.Random(seed)
    texts = []
    for package in PACKAGES:
        own = []
        for path in files("*.py", chance, package):
            try:
                tree = ast.parse(path.read_bytes())
            except (SyntaxError, ValueError):
                continue
            kinds = (ast.FunctionDef, ast.ClassDef, ast.Module)
            strings = (ast.get_docstring(n) for n in ast.walk(tree) if isinstance(n, kinds))
            long = [s[:WINDOW] for s in strings if s and len(s) >= 100]
            own += [(s, package, str(path)) for s in chance.sample(long, min(len(long), 3 * PER_FILE))]
            if len(own) >= PER_LABEL:
                break
        texts += own[:PER_LABEL]
    chance.shuffle(texts)
    return texts


TASKS = {"extension": extensions, "package": packages}


def files(pattern: str, chance: random.Random, package: str = "") -> Iterator[Path]:
    """In random order, without license texts and files of a few bytes."""
    root = Path(sysconfig.get_paths()["purelib"])
    roots = {root, *(Path(p) for p in sys.path if p.endswith("site-packages"))}
    paths = sorted(p for r in roots for p in (r / package).rglob(pattern) if not p.is_symlink())
    chance.shuffle(paths)
    for path in paths:
        if path.is_file() and path.stat().st_size > 200 and "licen" not in path.name.lower():
            yield path


def paired(student: str, table: str) -> dict[str, Any]:
    from tagcorpus.pipelines.distilling.examples import read_examples
    from tagcorpus.pipelines.labels import matrix as mx
    from tagcorpus.taggers._models import embedded_domain
    from tagcorpus.taggers._models.student import student_at
    from tagcorpus.taggers.fasttext import load_student

    documents = read_examples([table], "", 0).documents
    texts = [d.columns["text"] for d in documents]
    own = student_at(student, "STUDENT")
    new = [ranked[0][0] for ranked in own.ranked(load_student(own), texts)]
    old = [label for label, _ in embedded_domain.classify(texts)]
    gold = [d.label for d in documents]

    def kappa(given: list[str], places: Any) -> float:
        return float(mx.kappa(mx.matrix_of([(gold[i], given[i]) for i in places], ()).counts.astype(float)))

    draw = np.random.default_rng(0)
    picks = [draw.integers(0, len(gold), len(gold)) for _ in range(DRAWS)]
    differences = [kappa(new, p) - kappa(old, p) for p in picks]
    low, high = np.percentile(differences, [2.5, 97.5])
    whole = range(len(gold))
    return {
        "documents": len(gold),
        "student": kappa(new, whole),
        "embedded": kappa(old, whole),
        "difference": kappa(new, whole) - kappa(old, whole),
        "low": float(low),
        "high": float(high),
    }


if __name__ == "__main__":
    main()
