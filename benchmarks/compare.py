"""False discoveries of `tagcorpus compare` over null splits, and planted shifts: python benchmarks/compare.py --splits 200"""

from __future__ import annotations

import argparse

import numpy as np

from tagcorpus.pipelines.comparing import differences
from tagcorpus.pipelines.comparing.counts import Numbers
from tagcorpus.pipelines.distributions import effects
from tagcorpus.pipelines.distributions.binning import Sample, bins_of

COLUMNS, ROWS, FLOOR = 10, 4_000, 0.05


def discoveries(shift: float, random: np.random.Generator) -> list[bool]:
    """Which of the columns differ: normal, lognormal and counts in turn; the first column of B is shifted."""
    p_values, sizes = [], []
    for i in range(COLUMNS):
        makers = (
            random.standard_normal,
            lambda n: np.exp(random.standard_normal(n)),
            lambda n: random.poisson(2, n) * 1.0,
        )
        a, b = (makers[i % 3](ROWS) for _ in range(2))
        b = b + (shift if i == 0 else 0.0)
        sample = Sample(2 * ROWS)
        sample.add(np.concatenate([a, b]), random)
        bins = bins_of(sample)
        counts = np.stack([np.bincount(bins.of(x), minlength=len(bins)) for x in (a, b)])
        one = differences.of_numbers(Numbers(bins, counts, np.zeros(1, np.int64), None), False, random)
        p_values.append(one["p"])
        sizes.append(max(abs(one["delta"]), one["wasserstein_by_sd"]))
    return [q <= 0.05 and size >= FLOOR for q, size in zip(effects.adjusted(p_values), sizes, strict=True)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--splits", type=int, default=200)
    n = parser.parse_args().splits
    differences.REPLICATES = 2  # intervals are not looked at
    for shift in (0.0, 0.1, 0.2):
        random = np.random.default_rng(3)
        runs = [discoveries(shift, random) for _ in range(n)]
        wrong = sum(any(r[1:] if shift else r) for r in runs)
        print(
            f"shift {shift} sd: found in {sum(r[0] for r in runs)} of {n}; a false discovery in {wrong} of {n}",
            flush=True,
        )


if __name__ == "__main__":
    main()
