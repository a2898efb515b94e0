"""A swarm of our own, to test prices of sources that no mix held: real text, and n-gram models as the models that are trained.

    python benchmarks/mix_sources.py --work DIR [--mixes 240] [--again 24] [--kilobytes 400] [--seed 0]
    tagcorpus mix fit DIR/shares.csv DIR/outcomes.csv --statistics DIR/statistics.csv --output DIR/fit
    python benchmarks/mix_sources.py --work DIR --report      # sources left out: their own loss, and the losses of others

Twelve kinds of text come from Debian's packages and from the packages of this Python. A mix draws documents of each source up to
its share of the bytes. Its model is interpolated Kneser-Ney over bytes, counted by our kernels. The outcomes are bits per byte on
held-out documents of each source. This tests the method of `mix fit`. It is no evidence about large models: a loss of an n-gram
model of 400 kB, and a dozen sources.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import hashlib
import json
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from tagcorpus.kernels import kneser_ney
from tagcorpus.kernels.entropy import entropy_in_memory
from tagcorpus.kernels.ngrams import count_ngrams
from tagcorpus.kernels.packing import packing
from tagcorpus.pipelines.mix_models import ranking

Array = np.ndarray[Any, Any]
PACKAGES = str(Path(np.__file__).parents[1])  # where packages are installed
# Source: folder and pattern. File names decide, so that a source is a kind of text.
SOURCES = {
    "python": (PACKAGES, "*.py"),
    "stubs": (PACKAGES, "*.pyi"),
    "readmes": (PACKAGES, "METADATA"),
    "json": (PACKAGES, "*.json"),
    "c": ("/usr/include", "*.h"),
    "perl": ("/usr/share/perl", "*.pm"),
    "javascript": ("/usr/lib/node_modules", "*.js"),
    "html": ("/usr/share/doc", "*.html"),
    "changelogs": ("/usr/share/doc", "changelog*.gz"),
    "licences": ("/usr/share/doc", "copyright"),
    "manuals": ("/usr/share/man/man1", "*.gz"),
    "german": ("/usr/share/man/de", "*.gz"),
}
# Named before any outcome was computed. Tags are means over documents, weighted by bytes.
TAGS = ("gopher_stop_words", "alphanumeric_char_share", "whitespace_char_share", "uppercase_char_share")
ENTROPY = "entropy_2_bytes"
ORDER = 5
VOCABULARY, BITS = 256, 8
DOCUMENT_BYTES, HELD_OUT_BYTES, MOST_FILE_BYTES = 8192, 24_000, 200_000
STRENGTHS = (0.1, 5.0)
DECIMALS = 3


def documents(source: str, most: int) -> tuple[list[bytes], list[bytes]]:
    """Training and held-out documents of a source. A file is on one side; the hash of its content decides, and orders files.

    most  bytes of the training side
    """
    root, pattern = SOURCES[source]
    sides: tuple[list[bytes], list[bytes]] = ([], [])
    sizes = [0, 0]
    contents: dict[str, bytes] = {}
    names = sorted(Path(root).rglob(pattern), key=lambda p: hashlib.sha256(str(p.relative_to(root)).encode()).digest())
    for path in names:
        if not path.is_file() or path.stat().st_size > MOST_FILE_BYTES:
            continue
        content = path.read_bytes()
        if path.suffix == ".gz":
            content = gzip.decompress(content)
        digest = hashlib.sha256(content).hexdigest()
        if len(content) < 200 or digest in contents:  # copies of one file would be on both sides
            continue
        contents[digest] = b""
        side = int(digest, 16) % 5 == 0
        limit = HELD_OUT_BYTES if side else most
        if sizes[side] >= limit:
            if min(sizes[0] / most, sizes[1] / HELD_OUT_BYTES) >= 1:
                break
            continue
        # At most four documents of a file, so that no file is a source.
        pieces = [content[i : i + DOCUMENT_BYTES] for i in range(0, len(content), DOCUMENT_BYTES)][:4]
        sides[side].extend(pieces)
        sizes[side] += sum(len(p) for p in pieces)
    return sides


def joined(texts: Sequence[bytes]) -> tuple[Array, Array]:
    ids = np.frombuffer(b"".join(texts), np.uint8).astype(np.uint16)
    return ids, np.cumsum([0, *(len(t) for t in texts)]).astype(np.int64)


def model_of(texts: Sequence[bytes]) -> list[tuple[Array, Array, float]]:
    """Entries, counts and discount of every order, shortest context first."""
    ids, offsets = joined(texts)
    levels = []
    for k in range(ORDER + 1):
        if k == ORDER:
            keys, counts = count_ngrams(ids, offsets, packing(k, VOCABULARY))
        else:
            longer = packing(k + 1, VOCABULARY)
            before = kneser_ney.rotated(count_ngrams(ids, offsets, longer)[0], k + 2, BITS)
            keys, counts = kneser_ney.continuations(before, longer)
        levels.append((keys, counts, kneser_ney.discount(int((counts == 1).sum()), int((counts == 2).sum()))))
    return levels


def bits_per_byte(levels: Sequence[tuple[Array, Array, float]], texts: Sequence[bytes]) -> float:
    ids, offsets = joined(texts)
    at = np.arange(len(ids))
    at = at[at - np.repeat(offsets[:-1], np.diff(offsets)) >= ORDER]
    windows = np.lib.stride_tricks.sliding_window_view(ids, ORDER + 1)[at - ORDER]
    before = np.zeros(VOCABULARY, np.int64)
    before[levels[0][0][:, 0].astype(np.int64)] = levels[0][1]
    p = kneser_ney.unigrams(before, VOCABULARY)[ids[at]]
    for k, (keys, counts, discount) in enumerate(levels[1:], 1):
        queries = kneser_ney.pack(windows[:, ORDER - k :], BITS, 1)
        p = kneser_ney.interpolated(kneser_ney.figures(keys, counts, queries, BITS), discount, p)
    return float(-np.log2(p).mean())


def drawn(share: float, texts: Sequence[bytes], budget: int, generator: np.random.Generator) -> list[bytes]:
    """Documents in a random order up to a share of the budget, the last one cut."""
    chosen: list[bytes] = []
    left = round(share * budget)
    for i in generator.permutation(len(texts)):
        if left <= 0:
            break
        chosen.append(texts[i][:left])
        left -= len(chosen[-1])
    if left > 0:
        raise SystemExit(f"a source is {left:,} bytes short: take a smaller --kilobytes")
    return chosen


_HELD: dict[str, Any] = {}


def _prepare(budget: int) -> None:
    if _HELD:  # a forked process has its parent's
        return
    _HELD["budget"] = budget
    _HELD["sides"] = {name: documents(name, budget) for name in SOURCES}


def outcomes(shares: Array, seed: int) -> list[float]:
    generator = np.random.default_rng(seed)
    texts = [
        t
        for s, (train, _) in zip(shares, _HELD["sides"].values(), strict=True)
        for t in drawn(float(s), train, _HELD["budget"], generator)
    ]
    levels = model_of(texts)
    return [bits_per_byte(levels, held) for _, held in _HELD["sides"].values()]


def swarm(count: int, seed: int) -> Array:
    """Shares around equal ones, with strengths log-uniform over RegMix's range, rounded as RegMix's are."""
    generator = np.random.default_rng(seed)
    rows: list[Array] = []
    while len(rows) < count:
        strength = np.exp(generator.uniform(*np.log(STRENGTHS)))
        rounded = generator.dirichlet(np.full(len(SOURCES), strength / len(SOURCES)) + 1e-3).round(DECIMALS)
        if abs(rounded.sum() - 1) < 1e-9 and rounded.max() < 1:
            rows.append(rounded)
    return np.array(rows)


def statistics(work: Path) -> None:
    import tagcorpus

    with (work / "statistics.csv").open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["source", *TAGS, ENTROPY])
        for name, (train, _) in _HELD["sides"].items():
            table = tagcorpus.tag([t.decode("utf-8", "replace") for t in train], ["signals"])
            sizes = np.array([len(t) for t in train], dtype=float)
            row = []
            for tag in TAGS:
                values = table[f"signals.{tag}"].to_numpy(zero_copy_only=False).astype(float)
                there = ~np.isnan(values)
                row.append(float(np.average(values[there], weights=sizes[there])))
            ids, offsets = joined(train)
            entropies = entropy_in_memory(ids, offsets, packing(2, VOCABULARY))
            row.append(float(np.average(entropies.entropy_bits, weights=entropies.counts)))
            writer.writerow([name, *(f"{v:.6g}" for v in row)])


def report(work: Path) -> None:
    """Errors with each source left out, as a share of the mean's error: on the loss of the source itself, and on the others."""
    document = json.loads((work / "fit" / "fit.json").read_text())
    left_out = document["sources_left_out"]["sources"]
    own = [document["outcomes"].index(f"bits_{one['source']}") for one in left_out]
    weights = ranking.draws(len(left_out), seed=0)
    for title in left_out[0]["models"]:
        errors, mean = (np.array([one["models"][t]["errors"] for one in left_out]) for t in (title, "mean"))
        relative = errors / mean
        itself = relative[np.arange(len(own)), own]
        others = (relative.sum(axis=1) - itself) / (relative.shape[1] - 1)
        figures = [ranking.figure(weights @ v / weights.sum(axis=1)).to_json() for v in (itself, others)]
        print(
            title,
            *(f"{n}: {v:.3f} ({a:.3f} to {b:.3f})" for n, (v, a, b) in zip(("own", "others"), figures, strict=True)),
        )


def rows_of(shares: Array, again: int) -> Iterator[tuple[str, Array, int]]:
    """(run, shares, seed): every mix once, and the first `again` mixes once more with other documents."""
    for i, row in enumerate(shares):
        yield f"mix{i:03d}", row, i
    for i, row in enumerate(shares[:again]):
        yield f"mix{i:03d}b", row, 10_000 + i


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--mixes", type=int, default=240)
    parser.add_argument("--again", type=int, default=24)
    parser.add_argument("--kilobytes", type=int, default=400)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--report", action="store_true", help="only print figures of the fit in WORK/fit")
    given = parser.parse_args()
    if given.report:
        report(given.work)
        return
    given.work.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    _prepare(given.kilobytes * 1000)
    for name, (train, held) in _HELD["sides"].items():
        print(f"{name}: {sum(map(len, train)):,} bytes to train on, {sum(map(len, held)):,} held out")
    statistics(given.work)
    runs = list(rows_of(swarm(given.mixes, given.seed), given.again))
    with ProcessPoolExecutor(given.workers, initializer=_prepare, initargs=(given.kilobytes * 1000,)) as pool:
        results = list(pool.map(outcomes, [r for _, r, _ in runs], [s for _, _, s in runs], chunksize=4))
    for name, prefix, table in (("shares", "", [r for _, r, _ in runs]), ("outcomes", "bits_", results)):
        with (given.work / f"{name}.csv").open("w", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(["run", *(f"{prefix}{s}" for s in SOURCES)])
            writer.writerows([run, *(f"{v:.6g}" for v in row)] for (run, _, _), row in zip(runs, table, strict=True))
    print(f"{len(runs)} runs in {time.monotonic() - started:.0f} s")


if __name__ == "__main__":
    main()
