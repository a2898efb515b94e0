"""The entropy bracket on five sources of known entropy, and what intervals at a token budget cover with and without their factor.

    python benchmarks/entropy_bracket.py [--corpora 6]

Each corpus is drawn anew and goes through `run entropy --bracket 0.1`. Figures are means over corpora, in bits.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
from known_sources import sources

import tagcorpus
from tagcorpus.pipelines.counting.token_budget import Budget, put_together


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--corpora", type=int, default=6)
    parser.add_argument("--source", default="", help="only sources whose name begins so")
    options = parser.parse_args()
    print(
        "| source | n | tokens | truth | plug-in | Chao-Wang-Jost | Kneser-Ney | standard error | width | truth inside | Chao-Wang-Jost below |"
    )
    print("|---|---|---|---|---|---|---|---|---|---|---|")
    for source in (s for s in sources() if s.name.startswith(options.source)):
        for n in (1, 2):
            for tokens in (30_000, 300_000):
                bracket(source, n, tokens, options.corpora)
    if options.source:
        return
    print("\n| share of the corpus | covered by Student's t alone | with the factor |")
    print("|---|---|---|")
    for share in (0.1, 0.5, 0.7, 0.9):
        alone, widened = coverage(share, 2000)
        print(f"| {share} | {alone:.2f} | {widened:.2f} |")


def bracket(source, n: int, tokens: int, corpora: int) -> None:  # type: ignore[no-untyped-def]
    rows = []
    for seed in range(corpora):
        with tempfile.TemporaryDirectory() as folder:
            path = source.write(Path(folder) / "c.jsonl", tokens, seed)
            told = tagcorpus.run(
                "entropy", input=[str(path)], output=f"{folder}/out", ngram=n, bracket=0.1, workers=1
            ).summary
        estimates, upper = told["estimates"], told["bracket"]
        errors = upper["plug_in_standard_error"], upper["standard_error"]
        rows.append((estimates["plug_in"], estimates["chao_wang_jost"], upper["cross_entropy"], *errors))
    plug_in, chao, upper, _, error = np.mean(rows, axis=0)
    truth = source.entropy[n]
    inside = sum(low - 1.96 * d <= truth <= high + 1.96 * e for low, _, high, d, e in rows)
    below = sum(low <= truth for _, low, *_ in rows)
    cells = (
        source.name,
        n,
        f"{tokens:,}",
        *(f"{v:.3f}" for v in (truth, plug_in, chao, upper, error, upper - plug_in)),
        f"{inside} of {corpora}",
        f"{below} of {corpora}",
    )
    print("| " + " | ".join(map(str, cells)) + " |", flush=True)


def coverage(share: float, draws: int) -> tuple[float, float]:
    """Of the expected value of a sample, by corpora of 1,000 skewed numbers and 5 replicates."""
    random = np.random.default_rng(0)
    alone, widened = [], []
    for _ in range(draws):
        corpus = random.exponential(size=1000)
        values = [float(random.choice(corpus, int(1000 * share), replace=False).mean()) for _ in range(5)]
        told = put_together(Budget(int(1000 * share), 5, 0), 1000, [(1, 1)] * 5, [{"h": v} for v in values])
        half = told["h"]["high"] - told["h"]["mean"]
        widened.append(abs(told["h"]["mean"] - 1) <= half)
        alone.append(abs(told["h"]["mean"] - 1) <= half / told["widened_by"])
    return float(np.mean(alone)), float(np.mean(widened))


if __name__ == "__main__":
    main()
