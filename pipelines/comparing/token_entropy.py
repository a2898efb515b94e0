"""Entropy of the next token on both sides at one budget of tokens, from the token ids that runs kept.

Documents (with clusters, blocks of clusters) go to SAMPLES samples by chance, and each sample is cut to the same number of tokens.
The samples of a side have no document in common, so their spread says how much chance there is in the difference.
"""

from __future__ import annotations

import contextlib
import math
from typing import Any

import numpy as np
import numpy.typing as npt

from tagcorpus.pipelines.comparing.sides import Sides
from tagcorpus.pipelines.counting.estimators import Spectrum, estimate
from tagcorpus.pipelines.distributions import effects
from tagcorpus.pipelines.distributions.attribute_columns import Attributes, Rows, random_numbers
from tagcorpus.pipelines.distributions.blocks import Blocks
from tagcorpus.pipelines.token_ids.parts import open_part, tokens_folder

SAMPLES = 8
MOST_TOKENS, LEAST_TOKENS = 200_000, 1_000
FIGURES = ("plug_in", "chao_wang_jost")
Ids = npt.NDArray[np.int64]


class Sampled:
    """The documents of one sample, up to MOST_TOKENS tokens."""

    def __init__(self) -> None:
        self.documents: list[Ids] = []
        self.n = 0

    def add(self, ids: Ids) -> None:
        ids = ids[: MOST_TOKENS - self.n]
        if len(ids):
            self.documents.append(ids)
            self.n += len(ids)

    def figures(self, budget: int) -> dict[str, float]:
        """Entropy of a token after the token before it, in the first `budget` tokens. A pair never crosses two documents."""
        ids = np.concatenate(self.documents)[:budget]
        of_document = np.repeat(np.arange(len(self.documents)), [len(d) for d in self.documents])[:budget]
        is_pair = of_document[:-1] == of_document[1:]
        first, second = ids[:-1][is_pair], ids[1:][is_pair]
        estimates = estimate(_spectrum(first * (int(ids.max()) + 1) + second), _spectrum(first))
        return {name: estimates[name] or 0.0 for name in FIGURES}


def entropy_of(sides: Sides, cluster: str | None) -> dict[str, Any] | None:
    """The entropies and their difference; None without token ids of one tokenizer on both sides, or with too few tokens."""
    tokenizers = [_tokenizers(output) for output in sides.outputs]
    for tokenizer in sorted(set.intersection(*tokenizers)):
        samples = [[Sampled() for _ in range(SAMPLES)] for _ in range(2)]
        for i, output in enumerate(sides.outputs):
            _read(sides, i, output, tokenizer, cluster, samples)
        budget = min(sample.n for side in samples for sample in side)
        if budget >= LEAST_TOKENS:
            return {"tokenizer": tokenizer, "token_budget": budget, "samples": SAMPLES, **_compared(samples, budget)}
    return None


def _tokenizers(output: Attributes) -> set[str]:
    """Tokenizers whose ids the output has."""
    names = {one.tagger.fingerprint().get("tokenizer") for one in output.instances.values()}
    return {n for n in names if isinstance(n, str) and output.folder.exists(tokens_folder(n))}


def _read(
    sides: Sides, i: int, output: Attributes, tokenizer: str, cluster: str | None, samples: list[list[Sampled]]
) -> None:
    """Add documents of one output, from chunks in an order by chance, until all samples of its sides are full."""
    blocks = Blocks(output, cluster)
    columns = blocks.columns or output.columns[:1]

    def is_full(side: int) -> bool:
        return all(sample.n >= MOST_TOKENS for sample in samples[side])

    for rows, of_sides in sides.by_chance(i, columns, is_full):
        ids, offsets = _ids(output, rows, tokenizer)
        if not len(offsets):
            continue
        sample_of = blocks.of(rows, 7) % SAMPLES
        for side, taken in of_sides:
            chosen = np.arange(rows.n) if taken is None else np.flatnonzero(taken)
            for d in random_numbers(rows, 8).permutation(chosen):
                sample = samples[side][sample_of[d]]
                if sample.n < MOST_TOKENS:
                    sample.add(ids[offsets[d] : offsets[d + 1]].astype(np.int64))


def _ids(output: Attributes, rows: Rows, tokenizer: str) -> tuple[npt.NDArray[Any], Ids]:
    """Ids and offsets of the documents of a chunk; empty if the output does not have them all."""
    nothing = np.zeros(0, np.int64), np.zeros(0, np.int64)
    part = open_part(output.folder, rows.planned, rows.k, rows.planned.reader_options, tokenizer)
    if part is None:
        return nothing
    with contextlib.closing(part):
        batches = [batch for batch, _ in part]
        if not part.is_read or not batches:
            return nothing
    row, sub = (np.concatenate([getattr(b, name) for b in batches]) for name in ("row", "sub"))
    if not (np.array_equal(row, rows.keys["row"].to_numpy()) and np.array_equal(sub, rows.keys["sub"].to_numpy())):
        return nothing
    sizes = np.concatenate([np.diff(b.offsets) for b in batches])
    return np.concatenate([b.ids for b in batches]), np.concatenate([[0], np.cumsum(sizes)])


def _spectrum(things: Ids) -> Spectrum:
    counts = np.unique(things, return_counts=True)[1]
    return Spectrum(*np.unique(counts, return_counts=True))


def _compared(samples: list[list[Sampled]], budget: int) -> dict[str, Any]:
    """By figure: the mean of each side, and the difference with a 95 % interval (Student's t)."""
    figures = [[sample.figures(budget) for sample in side] for side in samples]
    compared = {}
    for name in FIGURES:
        a, b = (np.array([f[name] for f in side]) for side in figures)
        difference = float(a.mean() - b.mean())
        reach = effects.t_quantile(0.975, 2 * SAMPLES - 2) * math.sqrt((a.var(ddof=1) + b.var(ddof=1)) / SAMPLES)
        interval = [difference - reach, difference + reach]
        compared[name] = {"a": float(a.mean()), "b": float(b.mean()), "difference": difference, "interval": interval}
    return compared
