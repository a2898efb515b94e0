"""How often intervals over groups hold the true ratio of two predictors' errors, in four worlds where it is known.

    python benchmarks/group_intervals.py [--sets 2000] [--seed 0] [--json FILE]

A data set has 92 models of 23 groups, with the sizes of the published organisations (22, 11, 9, 8, 5, 5, 5, ...). Scores
are a plane in two scale columns, plus a group's own effect, plus noise. A line on the two scale columns is compared with

    noise       the line with four columns drawn for each model
    within      the line with four columns drawn for each group
    quadratic   the line with squares and product, where the truth is curved
    ridge       a ridge with squares, product and four columns, partly of the group

under five folds that split no group, for six seeds, as the grouped protocol does. The true ratio is that of the summed
errors of all data sets. Printed are the share of data sets whose interval holds it, with its Monte Carlo error, and the
median width, for the bootstrap over groups, the plain jackknife, and what predictor/protocols/intervals.py gives.

Last come the false gains of the corrected t under three random folds, as `--protocol paper` prints it: the share of data
sets in which four columns that tell nothing about a new group gain significantly.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import stdtrit

from tagcorpus.predictor.learners.folds import grouped_folds, random_folds, without_share
from tagcorpus.predictor.protocols.intervals import SHARED_FITS, degrees_of, log_ratio

SIZES = (22, 11, 9, 8, 5, 5, 5, 3, 3, 3, 2, 2, 2, 2, 2, *[1] * 8)
WORLDS = ("noise", "within", "quadratic", "ridge")
SEEDS = 6
AT_ONCE = 200  # data sets in memory
PENALTY = 10.0
DRAWS = 999
EFFECT = 0.6  # standard deviation of a group's own effect; 1 is that of the first scale column's part
STRONG = 1.0  # the same, where false gains of random folds are counted

Array = np.ndarray[Any, np.dtype[np.float64]]
Folds = Sequence[tuple[Any, Any]]


def world(name: str, sets: int, group: Any, random: np.random.Generator, effect: float) -> tuple[Array, Array, Array]:
    """(columns of the other predictor, of the line, scores): [sets, n, c], [sets, n, 3], [sets, n]. group: int [n];
    effect: see EFFECT."""
    groups, n = group.max() + 1, len(group)

    def of_groups(columns: int) -> Array:
        return np.asarray(random.normal(size=(sets, groups, columns))[:, group])

    def of_models(columns: int) -> Array:
        return random.normal(size=(sets, n, columns))

    scale = 0.6 * of_groups(2) + 0.8 * of_models(2)
    y = scale @ [1.0, 0.7] + effect * of_groups(1)[..., 0] + 0.6 * of_models(1)[..., 0]
    line = np.concatenate([np.ones((sets, n, 1)), scale], axis=2)
    curved = np.concatenate([line, scale**2, scale[..., :1] * scale[..., 1:]], axis=2)
    if name == "noise":
        return np.concatenate([line, of_models(4)], axis=2), line, y
    if name == "within":
        return np.concatenate([line, of_groups(4)], axis=2), line, y
    if name == "quadratic":
        return curved, line, y + 0.35 * (scale[..., 0] ** 2 - 1)
    return np.concatenate([curved, 0.7 * of_groups(4) + 0.7 * of_models(4)], axis=2), line, y


def errors(x: Array, y: Array, folds: Folds, penalty: float = 0.0) -> Array:
    """Absolute errors of held-out rows by least squares, or a ridge that spares the first three columns: [sets, n]."""
    out = np.empty_like(y)
    ridge = np.diag([0.0, *[0.1 * penalty] * 2, *[penalty] * (x.shape[2] - 3)])
    for train, test in folds:
        a = x[:, train]
        transposed = a.transpose(0, 2, 1)
        weights = np.linalg.solve(transposed @ a + ridge, transposed @ y[:, train, None])
        out[:, test] = np.abs((x[:, test] @ weights)[..., 0] - y[:, test])
    return out


def simulated(name: str, sets: int, sizes: Sequence[int], seed: int, effect: float = EFFECT) -> tuple[Array, Array]:
    """Summed errors of the other predictor and of the line: [sets, groups] each."""
    random = np.random.default_rng(seed)
    group = np.repeat(np.arange(len(sizes)), sizes)
    member = np.eye(len(sizes))[group]
    sums: tuple[list[Array], list[Array]] = ([], [])
    for at in range(0, sets, AT_ONCE):
        other, line, y = world(name, min(AT_ONCE, sets - at), group, random, effect)
        folds = [grouped_folds([f"{g:03}" for g in group], 5, int(random.integers(2**31))) for _ in range(SEEDS)]
        for into, x, penalty in ((sums[0], other, PENALTY * (name == "ridge")), (sums[1], line, 0.0)):
            into.append(np.mean([errors(x, y, f, penalty) for f in folds], axis=0) @ member)
    return np.concatenate(sums[0]), np.concatenate(sums[1])


def bootstrap(mine: Array, its: Array, random: np.random.Generator) -> tuple[Array, Array]:
    """Percentile interval of the logarithm by drawing groups with replacement: what was printed before."""
    groups = mine.shape[1]
    drawn = random.multinomial(groups, np.full(groups, 1 / groups), size=DRAWS).astype(np.float64)
    low, high = np.percentile(np.log((drawn @ mine.T) / (drawn @ its.T)), [2.5, 97.5], axis=0)
    return low, high


def intervals(mine: Array, its: Array, sizes: Sequence[int], seed: int) -> dict[str, tuple[Array, Array]]:
    """Low and high ends of the logarithm [sets], by the name of the method."""
    log, variance = log_ratio(mine[:, None], its[:, None])
    degrees = degrees_of(np.array([sizes], dtype=np.float64))
    half = stdtrit(degrees, 0.975) * np.sqrt(variance)
    plain = stdtrit(len(sizes) - 1, 0.975) * np.sqrt(variance / SHARED_FITS)
    effective = stdtrit(degrees, 0.975) * np.sqrt(variance / SHARED_FITS)
    return {
        "bootstrap over groups": bootstrap(mine, its, np.random.default_rng(seed)),
        "jackknife, t of groups - 1": (log - plain, log + plain),
        "jackknife, t of effective groups": (log - effective, log + effective),
        "predictor/protocols/intervals.py": (log - half, log + half),
    }


def coverage(name: str, sets: int, seed: int, sizes: Sequence[int] = SIZES, effect: float = EFFECT) -> dict[str, Any]:
    mine, its = simulated(name, sets, sizes, seed, effect)
    truth = np.log(mine.sum() / its.sum())
    figures: dict[str, Any] = {"ratio": float(np.exp(truth)), "methods": {}}
    for method, (low, high) in intervals(mine, its, sizes, seed).items():
        share = float(np.mean((low <= truth) & (truth <= high)))
        figures["methods"][method] = {
            "coverage": share,
            "monte_carlo_error": float(np.sqrt(share * (1 - share) / sets)),
            "width": float(np.median(high - low)),
        }
    return figures


def false_gains(sets: int, seed: int, sizes: Sequence[int] = SIZES) -> dict[str, dict[str, float]]:
    """World -> share of data sets where the corrected t, and predictor/protocols/intervals.py, find a gain that is not there.

    The corrected t is that of random folds as published: three folds, four fifths of the training part, 6 seeds.
    """
    from tagcorpus.predictor.protocols.significance import corrected_t

    figures = {}
    group = np.repeat(np.arange(len(sizes)), sizes)
    for name in ("noise", "within"):
        random = np.random.default_rng(seed)
        count = 0
        for at in range(0, sets, AT_ONCE):
            other, line, y = world(name, min(AT_ONCE, sets - at), group, random, STRONG)
            gains, shares = [], []
            for s in range(SEEDS):
                folds = [(np.sort(without_share(a, 0.2, s)), b) for a, b in random_folds(len(group), 3, s)]
                difference = errors(line, y, folds) - errors(other, y, folds)
                gains += [difference[:, test].mean(axis=1) for _, test in folds]
                shares += [len(test) / len(train) for train, test in folds]
            for one in np.transpose(gains):
                test = corrected_t(one, float(np.mean(shares)))
                count += test.p < 0.05 and test.difference > 0
        mine, its = simulated(name, sets, sizes, seed, STRONG)
        high = intervals(mine, its, sizes, seed)["predictor/protocols/intervals.py"][1]
        figures[name] = {
            "corrected t, random folds": count / sets,
            "predictor/protocols/intervals.py": float(np.mean(high < 0)),
        }
    return figures


def main(say: Callable[[str], object] = print) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--sets", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--effect", type=float, default=EFFECT, help="standard deviation of groups' own effects")
    parser.add_argument("--json")
    args = parser.parse_args()
    started = time.process_time()
    figures: dict[str, Any] = {
        "sets": args.sets,
        "coverage": {n: coverage(n, args.sets, args.seed, SIZES, args.effect) for n in WORLDS},
    }
    for name, one in figures["coverage"].items():
        say(f"{name}: true ratio {one['ratio']:.3f}")
        for method, m in one["methods"].items():
            say(f"  {method:<34} {m['coverage']:.3f} +- {m['monte_carlo_error']:.3f}  width {m['width']:.3f}")
    figures["false_gains"] = false_gains(args.sets, args.seed)
    for name, shares in figures["false_gains"].items():
        say(f"false gains, {name}: " + ", ".join(f"{k} {v:.3f}" for k, v in shares.items()))
    figures["cpu_seconds"] = time.process_time() - started
    say(f"{args.sets:,} data sets a world, {figures['cpu_seconds']:.0f} CPU seconds")
    if args.json:
        Path(args.json).write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    sys.exit(main())
