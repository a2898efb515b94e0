"""What the merged intervals of an entropy run come to: one summary of the corpus, exact, whatever the intervals were.

Means are ratios of integers (entropies in units of 2^-40 bit), percentiles are order statistics of all contexts'
entropies (numpy's linear interpolation) found by counting digits of their sorted keys, without holding them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from tagcorpus.pipelines.attributes.parts import ROW_GROUP_ROWS
from tagcorpus.pipelines.attributes.summary import Floats, percentiles
from tagcorpus.pipelines.counting.corpus import Corpus
from tagcorpus.pipelines.counting.estimators import Spectrum, estimate
from tagcorpus.pipelines.counting.passes import BIN_BITS, LISTED
from tagcorpus.pipelines.counting.spill import read_values
from tagcorpus.taggers._tokenizers.interface import Tokenizer

SCALE = 1 << 40
PERCENTILES = (10, 25, 50, 75, 90)
DECODED_ROWS = 65_536

Adds = dict[str, Any]


def summary_of(corpus: Corpus, adds: Sequence[Adds], tokenizer: Tokenizer) -> dict[str, Any]:
    """The published keys and ours, of all intervals' additions."""
    total = {k: sum(a[k] for a in adds) for k in ("unweighted", "weighted", "n_contexts", "n_positions", "n_zero")}
    n_contexts, n_positions = total["n_contexts"], total["n_positions"]
    summary: dict[str, Any] = {
        "n": corpus.packing.n,
        "what": described(corpus.packing.n),
        "mean_corpus_entropy": mean(total["unweighted"], n_contexts),
        "median_corpus_entropy": None,
        "weighted_mean_entropy": mean(total["weighted"], n_positions),
        "distribution_percentiles": {f"p{p}": None for p in PERCENTILES if p != 50},
        "max_entropy": None,
        "num_unique_contexts": n_contexts,
        "num_zero_entropy_contexts": total["n_zero"],
        "total_contexts": n_positions,
    }
    if n_contexts:
        quantiles = percentiles(lambda: _entropies(corpus, len(adds)), n_contexts, PERCENTILES, _digits)
        values = dict(zip(PERCENTILES, quantiles, strict=True))
        summary["median_corpus_entropy"] = values[50]
        summary["distribution_percentiles"] = {f"p{p}": v for p, v in values.items() if p != 50}
    summary["top_contexts"] = _listed(adds, "top", -1, tokenizer)
    summary["bottom_contexts"] = _listed(adds, "bottom", 1, tokenizer)
    summary["max_entropy"] = summary["top_contexts"][0]["entropy_bits"] if n_contexts else None
    summary["estimates"] = estimate(spectrum(adds, "entry_spectrum"), spectrum(adds, "context_spectrum"))
    n_bins = max((len(a["histogram_contexts"]) for a in adds), default=0)
    summary["histogram"] = {
        "edges": [BIN_BITS * i for i in range(n_bins + 1)],
        "contexts": _added(adds, "histogram_contexts"),
        "positions": _added(adds, "histogram_positions"),
        "contexts_at_zero": total["n_zero"],
        "positions_at_zero": sum(a["n_zero_positions"] for a in adds),
    }
    return summary


def described(n: int) -> str:
    """What the number of context tokens means, in the words people use for it."""
    name = {1: "bigram", 2: "trigram"}.get(n, f"{n + 1}-gram")
    return f"{name} entropy: of the next token, given the {'token' if n == 1 else f'{n} tokens'} before it"


def mean(scaled: int, n: int) -> float | None:
    """The correctly rounded mean of n values whose sum is given in units of 2^-40; None of none."""
    return float(Fraction(scaled, SCALE * n)) if n else None


def spectrum(adds: Sequence[Adds], name: str) -> Spectrum:
    """How many things were seen c times, over all intervals."""
    counts: dict[int, int] = {}
    for add in adds:
        for value, n in zip(*add[name], strict=True):
            counts[value] = counts.get(value, 0) + n
    values = sorted(counts)
    return Spectrum(np.array(values, np.int64), np.array([counts[v] for v in values], np.int64))


def _added(adds: Sequence[Adds], name: str) -> list[int]:
    return [sum(column) for column in zip(*(a[name] for a in adds), strict=True)]


def _listed(adds: Sequence[Adds], name: str, sign: int, tokenizer: Tokenizer) -> list[dict[str, Any]]:
    every = [one for a in adds for one in a[name]]
    every.sort(key=lambda c: (sign * c["entropy_bits"], -c["count"], c["ids"]))
    return [{"ids": c["ids"], "text": tokenizer.decode(c["ids"]), **c} for c in every[:LISTED]]


def _digits(values: Floats, shift: int, prefixes: Sequence[int]) -> list[npt.NDArray[np.int64]]:
    from tagcorpus.kernels.entropy import key_histogram

    return [key_histogram(values, shift, prefix) for prefix in prefixes]


def _entropies(corpus: Corpus, n_intervals: int) -> Iterator[npt.NDArray[np.float64]]:
    for i in range(n_intervals):
        yield read_values(corpus.output, corpus.merged_name(i)).read_segment(0)


def contexts_name(corpus: Corpus) -> str:
    return f"contexts/{corpus.instance}.parquet"


def publish_contexts(corpus: Corpus, n_intervals: int, tokenizer: Tokenizer) -> str:
    """All contexts as one table, in the order of their ids: contexts/<instance>.parquet."""
    name = contexts_name(corpus)
    schema = pa.schema(
        [
            pa.field("ids", pa.list_(pa.uint32(), corpus.packing.n)),
            pa.field("text", pa.string()),
            pa.field("count", pa.int64()),
            pa.field("distinct_next", pa.int64()),
            pa.field("entropy_bits", pa.float64()),
        ]
    )
    with corpus.output.publishing(name) as sink, pq.ParquetWriter(sink, schema, compression="zstd") as writer:
        held: list[pa.Table] = []
        rows = 0
        for i in range(n_intervals):
            with corpus.output.open(corpus.contexts_name(i)) as file:
                for batch in pq.ParquetFile(file).iter_batches(DECODED_ROWS):
                    held.append(_decoded(batch, tokenizer, schema))
                    rows += len(batch)
                    if rows >= ROW_GROUP_ROWS:  # the same row groups, however the intervals were cut
                        table = pa.concat_tables(held)
                        writer.write_table(table.slice(0, ROW_GROUP_ROWS), ROW_GROUP_ROWS)
                        held = [table.slice(ROW_GROUP_ROWS)]
                        rows -= ROW_GROUP_ROWS
        if rows:
            writer.write_table(pa.concat_tables(held), ROW_GROUP_ROWS)
    return name


def _decoded(batch: pa.RecordBatch, tokenizer: Tokenizer, schema: pa.Schema) -> pa.Table:
    texts = [tokenizer.decode(ids) for ids in batch["ids"].to_pylist()]
    columns = [batch["ids"], pa.array(texts, pa.string()), *(batch[c] for c in schema.names[2:])]
    return pa.table(columns, schema=schema)
