"""Our reader of fastText files against the library: the same labels, and probabilities within 1e-6.

    python benchmarks/fasttext_reader.py --input CORPUS --work DIR [--documents 100000] [--models softmax,tree] [--json FILE]

CORPUS has JSONL files with a field `text`. Documents are distinct: whole texts, paragraphs, single lines, and odd texts (empty, one word, CJK,
words that fastText reads as the line's end or as labels, control characters, thousands of words in a line, a megabyte). Models are trained on
the first texts, and kept in DIR. Each batch goes through both programs in turn, in one process with one thread. CPU seconds are those of
predicting alone. The exit code is 1 if a label differs, or a probability by more than 1e-6.
"""

from __future__ import annotations

import argparse
import itertools
import json
import random
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tagcorpus.taggers._models.mapped_fasttext import MappedModel
from tagcorpus.taggers.fasttext import load_model

MODELS: dict[str, tuple[dict[str, Any], dict[str, Any] | None]] = {
    "softmax": ({"loss": "softmax", "wordNgrams": 2, "dim": 32}, None),
    "tree": ({"loss": "hs", "wordNgrams": 2, "minn": 2, "maxn": 4, "dim": 16}, None),
    "negative": ({"loss": "ns", "minn": 3, "maxn": 6, "dim": 16}, None),
    "ova": ({"loss": "ova", "wordNgrams": 3, "minn": 1, "maxn": 3, "dim": 16}, None),
    "coded": ({"loss": "softmax", "wordNgrams": 2, "minn": 2, "maxn": 4, "dim": 16}, {"dsub": 4}),
    "pruned": ({"loss": "softmax", "wordNgrams": 2, "dim": 16}, {"qnorm": True, "cutoff": 50_000}),
    "pruned-tree": ({"loss": "hs", "wordNgrams": 2, "minn": 2, "maxn": 4, "dim": 18}, {"qnorm": True, "cutoff": 30_000}),
    "many": ({"loss": "softmax", "dim": 16}, None),
    "many-ova": ({"loss": "ova", "dim": 16}, None),
    "many-tree": ({"loss": "hs", "wordNgrams": 2, "dim": 16}, {"dsub": 2, "qout": True}),
}  # fmt: skip
"""Of each model, how it is trained, and how it is quantised."""
OF_WORDS = ("many", "many-ova", "many-tree")
"""Models whose labels are words: some thousand labels. With all labels of all documents they take hours."""
SETTINGS = ((1, 0.0), (-1, 0.0), (3, 0.1))
"""(k, threshold): the tagger's defaults, all labels as for windows, and a threshold."""
KINDS = ("whole", "paragraph", "line", "odd")
SHARES = (0.15, 0.65, 0.12, 0.08)  # of the documents, by kind
BATCH = 500
MEGABYTE = 1_000_000
WORDS = ["</s>", "__label__a", "__label__", "__label__nothing", "漢字", "かな", "한국어", "naïve", "𝒳𝒴", "<", ">", "<<>>", "</s></s>", "\ufeff", "e\u0301", "\u200d"]  # fmt: skip
SPACES = [" ", "\t", "\n", "\r", "\r\n", "\x0b", "\x0c", "\x00", "\xa0", "\u2003", "\u3000", "\x85", "\u2028", "  "]


def texts_of(folder: Path) -> Iterator[str]:
    for path in sorted(folder.glob("*.jsonl")):
        with path.open(encoding="utf-8") as lines:
            for line in lines:
                yield json.loads(line)["text"]


def odd_text(chance: random.Random, words: Sequence[str]) -> str:
    """Few words or thousands, of which some are odd, between any of the spaces; or any characters at all."""
    if chance.random() < 0.25:
        top = chance.choice([128, 256, 0x800, 0xD800, 0x30000])
        characters = (chr(chance.randrange(top)) for _ in range(chance.randrange(1, 60)))
        return "".join(c for c in characters if not 0xD800 <= ord(c) < 0xE000)
    n = chance.choice([1, 2, 5, 20, 100, 1_500 if chance.random() < 0.2 else 50])
    odd = chance.choice([0.0, 0.3, 1.0])
    return "".join(
        (chance.choice(WORDS) if chance.random() < odd else chance.choice(words)) + chance.choice(SPACES)
        for _ in range(n)
    )


def documents(folder: Path, n: int) -> Iterator[tuple[str, str]]:
    """(kind, text): n distinct documents, and then three of a megabyte and more."""
    chance = random.Random(0)
    seen: set[int] = set()
    left = dict(zip(KINDS, [round(n * share) for share in SHARES], strict=True))
    left["paragraph"] += n - sum(left.values())
    for text in ("", " ", "\n", "\x00", "\xa0", "</s>", "__label__x", "</s> a </s>", "a"):
        seen.add(hash(text))
        left["odd"] -= 1
        yield "odd", text
    long: list[str] = []
    for text in itertools.cycle(texts_of(folder)):
        paragraphs, lines = text.split("\n\n"), text.splitlines()
        choices = {
            "whole": [text],
            "paragraph": chance.sample(paragraphs, min(3, len(paragraphs))),
            "line": chance.sample(lines, min(1, len(lines))),
            "odd": [odd_text(chance, text.split()[:200] or ["a"])],
        }
        if sum(map(len, long)) < 2 * MEGABYTE:
            long.append(text)
        for kind, candidates in choices.items():
            for candidate in candidates:
                if left[kind] > 0 and hash(candidate) not in seen:
                    seen.add(hash(candidate))
                    left[kind] -= 1
                    yield kind, candidate
        if not any(left.values()):
            break
    joined = "\n".join(long)
    yield from [("long", joined), ("long", "".join(joined.split())[:MEGABYTE]), ("long", "漢字" * (MEGABYTE // 2))]


def train(name: str, folder: Path, work: Path, n: int) -> Path:
    """The model of this name. Its labels: the letter or the words that a text begins with, and how long the text is."""
    import fasttext

    settings, quantising = MODELS[name]
    path = work / f"{name}{'.bin' if quantising is None else '.ftz'}"
    if path.exists():
        return path
    lines = work / ("words.txt" if name in OF_WORDS else "train.txt")
    with lines.open("w", encoding="utf-8") as file:
        for text in itertools.islice(texts_of(folder), n):
            first = next((c for c in text.lower() if c.isalnum()), "none")
            words = text[:1500].split()
            labels = words[:10:3] if name in OF_WORDS else [first, f"{len(text) // 5000}k"]
            file.write(f"{' '.join(f'__label__{label}' for label in labels)} {' '.join(words)}\n")
    model = fasttext.train_supervised(
        str(lines), **{"epoch": 3, "lr": 0.2, "minCount": 2, "bucket": 200_000, **settings}, thread=1, verbose=0
    )
    if quantising is not None:
        model.quantize(input=str(lines), retrain=False, **quantising)
    model.save_model(str(path))
    return path


class Comparison:
    """What one model gives by both programs, with one k and threshold."""

    def __init__(self, k: int, threshold: float) -> None:
        self.k, self.threshold = k, threshold
        self.n = self.n_labels = self.n_different = self.n_reordered = 0
        self.largest = 0.0
        self.seconds = [0.0, 0.0]  # of the library, of our reader
        self.examples: list[str] = []

    def add(self, library: Any, mapped: MappedModel, texts: Sequence[str]) -> None:
        start = time.process_time()
        expected = [library.predict(text.replace("\n", " "), k=self.k, threshold=self.threshold) for text in texts]
        middle = time.process_time()
        answers = mapped.predict(texts, self.k, self.threshold)
        end = time.process_time()
        self.seconds[0] += middle - start
        self.seconds[1] += end - middle
        for text, (names, values), (labels, probabilities) in zip(texts, expected, answers, strict=True):
            self.n += 1
            self.n_labels += len(labels)
            by_label = dict(zip(labels, probabilities, strict=True))
            distance = max(
                (abs(by_label.get(n, 0.0) - float(p)) for n, p in zip(names, values, strict=True)), default=0.0
            )
            self.largest = max(self.largest, distance)
            if list(names) != labels:
                self.n_different += 1
                self.n_reordered += set(names) == set(labels)
                if len(self.examples) < 5:
                    self.examples.append(repr(text[:80]))

    def figures(self) -> dict[str, Any]:
        return {
            "k": self.k,
            "threshold": self.threshold,
            "documents": self.n,
            "labels": self.n_labels,
            "documents_with_other_labels": self.n_different,
            "of_these_in_another_order": self.n_reordered,
            "largest_difference": self.largest,
            "library_cpu_seconds": self.seconds[0],
            "reader_cpu_seconds": self.seconds[1],
            "examples": self.examples,
        }


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--input", type=Path, required=True, help="folder of JSONL files with a field text")
    parser.add_argument("--work", type=Path, required=True, help="folder of the trained models")
    parser.add_argument("--documents", type=int, default=100_000)
    parser.add_argument("--train", type=int, default=3_000, help="texts that the models are trained on")
    parser.add_argument(
        "--models", default=",".join(m for m in MODELS if m not in OF_WORDS), help="of " + ", ".join(MODELS)
    )
    parser.add_argument("--json", type=Path, help="also write the figures here")
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    figures: dict[str, Any] = {}
    print(
        f"{'model':12}{'k':>4}{'documents':>11}{'labels':>12}{'differ':>8}{'largest':>11}{'library s':>11}{'reader s':>10}"
    )
    for name in options.models.split(","):
        path = train(name, options.input, options.work, options.train)
        library, mapped = load_model(path), MappedModel(path)
        mapped.predict(["warm the kernels"])
        comparisons = [Comparison(k, threshold) for k, threshold in SETTINGS]
        kinds = dict.fromkeys((*KINDS, "long"), 0)
        n_bytes = 0
        remaining = documents(options.input, options.documents)
        while batch := list(itertools.islice(remaining, BATCH)):
            for kind, text in batch:
                kinds[kind] += 1
                n_bytes += len(text.encode())
            for comparison in comparisons:
                comparison.add(library, mapped, [text for _, text in batch])
        figures[name] = {"kinds": kinds, "bytes": n_bytes, "settings": [c.figures() for c in comparisons]}
        for c in comparisons:
            print(
                f"{name:12}{c.k:4}{c.n:11,}{c.n_labels:12,}{c.n_different:8}{c.largest:11.1e}{c.seconds[0]:11.1f}{c.seconds[1]:10.1f}",
                flush=True,
            )
            for example in c.examples:
                print(f"  {example}")
    print(f"documents by kind: {', '.join(f'{n:,} {kind}' for kind, n in kinds.items())}; {n_bytes / 1e6:.0f} MB")
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1) + "\n")
    is_same = all(
        s["documents_with_other_labels"] == 0 and s["largest_difference"] <= 1e-6
        for figure in figures.values()
        for s in figure["settings"]
    )
    return 0 if is_same else 1


if __name__ == "__main__":
    sys.exit(main())
