"""Decisions between corpora in simulated worlds of known truth: shares of pairs, the best possible, coverage of intervals.

    python benchmarks/decisions.py [--worlds 1000]

Truth, and the best linear decision with all covariances known, are closed forms (tests/decision_world.py). The Monte Carlo error of a
coverage of 0.95 over 1,000 worlds is 0.007.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
from decision_world import SIZES, TARGET, World

from tagcorpus.predictor.protocols import decided
from tagcorpus.predictor.records.tasks import Task


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--worlds", type=int, default=1000)
    options = parser.parse_args()
    task = Task("x:5", ("x",), 5)
    print("| corpora | correlation | metric | way | right | truth or best possible | coverage of 0.95 |")
    print("|---|---|---|---|---|---|---|")
    for corpora in (10, 25):
        for correlation in (0.7, 0.85, 0.95):
            world, random = World(correlation), np.random.default_rng(7)
            told = [
                decided.decide(task, world.draw(corpora, random), "accuracy", TARGET, {}).document
                for _ in range(options.worlds)
            ]
            for metric, noise in (("accuracy", world.noise), ("correct_prob", world.flat)):
                for way, truth in (
                    ("one size", world.of_one_size(noise, len(SIZES) - 1)),
                    ("all sizes", world.best(noise)),
                ):
                    right = [
                        next(
                            w["right"]
                            for w in d["ways"]
                            if (w["way"], w["metric"]) == (way, metric) and w["sizes"][-1] == SIZES[-1]
                        )
                        for d in told
                    ]
                    inside = np.mean([r["low"] <= truth <= r["high"] for r in right])
                    cells = (
                        corpora,
                        correlation,
                        metric,
                        way,
                        f"{np.mean([r['value'] for r in right]):.3f}",
                        f"{truth:.3f}",
                        f"{inside:.3f}",
                    )
                    print("| " + " | ".join(map(str, cells)) + " |", flush=True)
            floors = [d["floor"] for d in told]
            again = np.mean([f["repeated"]["value"] for f in floors])
            print(
                f"| {corpora} | {correlation} | accuracy | ceiling of noise | {np.mean([f['ceiling'] for f in floors]):.3f} | {world.ceiling():.3f} | |"
            )
            print(f"| {corpora} | {correlation} | accuracy | the target again | {again:.3f} | | |", flush=True)


if __name__ == "__main__":
    main()
