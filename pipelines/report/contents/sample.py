"""One pass over the attributes for the report: documents behind every bar, a recount of the bars, and figures by input.

Every document has a priority: a hash of the seed and of its place. The sample of a bar is its documents with the smallest
priorities (a bottom-k sample), so that each document of a bar is equally likely. All features use the same priorities, and so
share most of their documents. The sample depends only on the attributes and the seed. Of a large output, the pass reads a
seeded choice of chunks.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import xxhash

from tagcorpus.errors import InputError
from tagcorpus.pipelines.attributes.parts import Instance
from tagcorpus.pipelines.attributes.read import Kinds, chunk_parts, recorded
from tagcorpus.pipelines.readers.excerpts import Place
from tagcorpus.pipelines.readers.plan import PlannedFile
from tagcorpus.pipelines.report.contents.bars import NO_BAR, Bins, Feature
from tagcorpus.pipelines.storage.folder import Folder

PER_BAR = 3
# Documents in the whole page. If the bars have more, each bar gets fewer.
AT_MOST = 1500
# Rows that the pass reads; of a larger output, it reads some chunks only.
MOST_ROWS = 4_000_000
_MIX = (np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB))


class Picked(NamedTuple):
    """A document behind a bar: its priority (which orders them), place and id, and the feature's value."""

    priority: int
    place: Place
    id: str
    value: Any


@dataclass
class Moments:
    """Mean and sum of squared deviations, merged as in Chan et al. (1979). For flags, `mean` is the share of true."""

    n: int = 0
    mean: float = 0.0
    m2: float = 0.0

    def add(self, values: npt.NDArray[np.float64]) -> None:
        if not len(values):
            return
        mean = float(values.mean())
        m2 = float(np.square(values - mean).sum())
        delta, n = mean - self.mean, self.n + len(values)
        self.m2 += m2 + delta * delta * self.n * len(values) / n
        self.mean += delta * len(values) / n
        self.n = n

    @property
    def std(self) -> float | None:
        return math.sqrt(self.m2 / (self.n - 1)) if self.n > 1 else None


@dataclass
class Sample:
    """Results of the pass.

    picked     by feature name, per bar: the documents, smallest priority first
    counts     by feature name: documents per bar in the chunks that were read
    moments    by input and feature name, numbers and flags
    labels     by input and feature name: documents per bar, text columns only
    missing    messages on parts that could not be read
    """

    picked: dict[str, list[list[Picked]]]
    counts: dict[str, npt.NDArray[np.int64]]
    moments: dict[str, dict[str, Moments]] = field(default_factory=dict)
    labels: dict[str, dict[str, npt.NDArray[np.int64]]] = field(default_factory=dict)
    documents: dict[str, int] = field(default_factory=dict)
    chunks: int = 0
    chunks_of: int = 0
    missing: list[str] = field(default_factory=list)

    def ids(self) -> dict[Place, str]:
        """The ids of all picked documents."""
        return {p.place: p.id for bars in self.picked.values() for bar in bars for p in bar}

    @property
    def is_partial(self) -> bool:
        return self.chunks < self.chunks_of


def look(
    folder: Folder, files: Sequence[PlannedFile], features: Sequence[Feature], seed: int, rows: int = MOST_ROWS
) -> Sample:
    """Pass over the attributes of these features of one output. `rows`: about the number of rows to read at most."""
    chunks = [(f, k) for f, planned in enumerate(files) for k in range(len(planned.chunks))]
    chosen = _chosen(files, chunks, seed, rows)
    sample = Sample(
        {f.name: [[] for _ in f.counts] for f in features},
        {f.name: np.zeros(len(f.counts), np.int64) for f in features},
        chunks=len(chosen),
        chunks_of=len(chunks),
    )
    by_instance: dict[str, list[Feature]] = {}
    for feature in features:
        by_instance.setdefault(feature.instance, []).append(feature)
    kinds, known = Kinds(), dict[tuple[int, str], Instance]()
    for f, k in chosen:
        counted = False
        for instance, own in by_instance.items():
            try:
                if (f, instance) not in known:
                    known[f, instance] = recorded(folder, instance, files[f])
                keys, parts = chunk_parts(
                    folder, files[f], k, [known[f, instance]], {instance: [c.column for c in own]}, kinds
                )
            except (InputError, OSError, pa.ArrowException) as error:
                sample.missing.append(str(error))
                continue
            if not counted:
                name = files[f].file.name
                sample.documents[name] = sample.documents.get(name, 0) + keys.num_rows
                counted = True
            _add(sample, keys, parts[instance], own, (f, k), seed)
    return sample


def shrunk(sample: Sample, at_most: int = AT_MOST) -> Sample:
    """The sample with fewer documents of each bar, until it has no more than `at_most`; then with the smallest priorities only."""
    for per_bar in range(PER_BAR, 0, -1):
        sample.picked = {name: [bar[:per_bar] for bar in bars] for name, bars in sample.picked.items()}
        places = {p.place: p.priority for bars in sample.picked.values() for bar in bars for p in bar}
        if len(places) <= at_most:
            return sample
    kept = set(heapq.nsmallest(at_most, places, key=lambda p: (places[p], p)))
    sample.picked = {
        name: [[p for p in bar if p.place in kept] for bar in bars] for name, bars in sample.picked.items()
    }
    return sample


def priorities(
    seed: int, input_name: str, rows: npt.NDArray[np.int64], subs: npt.NDArray[np.int32]
) -> npt.NDArray[np.uint64]:
    """uint64 [n]: a hash of each document's place (splitmix64 of row and sub, started by seed and input)."""
    start = np.uint64(xxhash.xxh3_64_intdigest(f"{seed}:{input_name}".encode("utf-8", "surrogateescape")))
    with np.errstate(over="ignore"):
        x = (rows.astype(np.uint64) << np.uint64(20)) + subs.astype(np.uint64) + start
        x = (x ^ (x >> np.uint64(30))) * _MIX[0]
        x = (x ^ (x >> np.uint64(27))) * _MIX[1]
        return x ^ (x >> np.uint64(31))


def _chosen(
    files: Sequence[PlannedFile], chunks: Sequence[tuple[int, int]], seed: int, rows: int
) -> list[tuple[int, int]]:
    """All chunks if they have at most this many rows, else a seeded choice of them, in plan order."""
    if sum(f.rows for f in files) <= rows:
        return list(chunks)
    shuffled = sorted(chunks, key=lambda r: xxhash.xxh3_64_intdigest(f"{seed}:{r[0]}:{r[1]}".encode()))
    chosen: list[tuple[int, int]] = []
    total = 0
    for f, k in shuffled:
        total += files[f].chunks[k].rows
        if total > rows and chosen:
            break
        chosen.append((f, k))
    return sorted(chosen)


def _add(
    sample: Sample, keys: pa.Table, part: pa.Table, features: Iterable[Feature], at: tuple[int, int], seed: int
) -> None:
    """Add one part to the sample. at: file and chunk."""
    if not keys.num_rows:
        return
    name = keys["input"][0].as_py()
    rows, subs = keys["row"].to_numpy(), keys["sub"].to_numpy()
    priority = priorities(seed, name, rows, subs)
    order = np.argsort(priority, kind="stable")
    for feature in features:
        column = part[feature.column]
        bars = feature.bars_of(column)
        counts = np.bincount(bars, minlength=NO_BAR + 1)[: len(feature.counts)]
        sample.counts[feature.name] += counts
        if feature.kind == "label":
            seen = sample.labels.setdefault(name, {})
            seen[feature.name] = seen.get(feature.name, 0) + counts
        else:
            values = column.drop_null().to_numpy().astype(np.float64)
            sample.moments.setdefault(name, {}).setdefault(feature.name, Moments()).add(values[np.isfinite(values)])
        for i in _first_of_each_bar(bars, order):
            bar = sample.picked[feature.name][bars[i]]
            # Ids and values are slow to fetch, so only of documents that come into the sample.
            if len(bar) < PER_BAR or int(priority[i]) < bar[-1].priority:
                place = Place(*at, int(rows[i]), int(subs[i]))
                bar.append(Picked(int(priority[i]), place, str(keys["id"][i].as_py()), column[i].as_py()))
                bar.sort(key=lambda p: p[:2])
                del bar[PER_BAR:]


def _first_of_each_bar(bars: Bins, order: npt.NDArray[np.int64]) -> list[int]:
    """Rows of the PER_BAR first documents of every bar, in the order given."""
    ordered = bars[order]
    by_bar = np.argsort(ordered, kind="stable")
    grouped = ordered[by_bar]
    starts = np.searchsorted(grouped, np.arange(NO_BAR))
    rank = np.arange(len(grouped)) - starts[np.minimum(grouped, NO_BAR - 1)]
    return [int(i) for i in order[by_bar[(rank < PER_BAR) & (grouped != NO_BAR)]]]


def recounted(features: Iterable[Feature], sample: Sample) -> Mapping[str, bool]:
    """By feature name: whether the bars of the attributes equal those of the summary. Empty if only some chunks were read."""
    if sample.is_partial:
        return {}
    return {f.name: bool((sample.counts[f.name] == np.asarray(f.counts)).all()) for f in features}
