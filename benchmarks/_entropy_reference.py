"""The published algorithm in straightforward Python, for comparison: a Counter of next tokens per context.

Reads the documents of JSON Lines files, tokenises each with tiktoken, counts, computes the entropy of every context, and
of every document the mean, standard deviation, smallest and largest entropy at its positions. Everything in memory.

    python benchmarks/entropy_reference.py --ngram 1 --output x.json FILE...
"""

from __future__ import annotations

import argparse
import json
import math
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
import tiktoken


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--ngram", type=int, default=1)
    parser.add_argument("--output", type=Path, required=True)
    given = parser.parse_args()
    n = given.ngram
    encoding = tiktoken.get_encoding("p50k_base")
    following: dict[tuple[int, ...], Counter[int]] = defaultdict(Counter)
    documents = []
    for path in given.files:
        with path.open(encoding="utf-8") as lines:
            for line in lines:
                record = json.loads(line)
                ids = encoding.encode(record["text"], disallowed_special=())
                documents.append((record["id"], ids))
                for i in range(len(ids) - n):
                    following[tuple(ids[i : i + n])][ids[i + n]] += 1
    entropies = {}
    weights = {}
    for context, counts in following.items():
        total = sum(counts.values())
        entropies[context] = -sum(c / total * math.log2(c / total) for c in counts.values())
        weights[context] = total
    values = np.array(list(entropies.values()))
    total = sum(weights.values())
    summary = {
        "mean_corpus_entropy": float(np.mean(values)),
        "median_corpus_entropy": float(np.median(values)),
        "distribution_percentiles": {f"p{p}": float(np.percentile(values, p)) for p in (10, 25, 75, 90)},
        "weighted_mean_entropy": sum(weights[c] * entropies[c] for c in entropies) / total,
        "num_unique_contexts": len(entropies),
        "total_contexts": total,
    }
    given.output.write_text(json.dumps(summary, indent=1))
    with given.output.with_suffix(".documents.jsonl").open("w") as sink:
        for name, ids in documents:
            own = [entropies[tuple(ids[i : i + n])] for i in range(len(ids) - n)]
            row = {"id": name, "entropy_positions": len(own)}
            if own:
                row |= {
                    "entropy_mean": float(np.mean(own)),
                    "entropy_std": float(np.std(own)),
                    "entropy_min": min(own),
                    "entropy_max": max(own),
                }
            sink.write(json.dumps(row) + "\n")


if __name__ == "__main__":
    main()
