"""Rank mixes at another model size: models fitted to RegMix's 512 mixes of 1M parameters, tried on mixes that they have not seen.

    python benchmarks/mixes.py --data DIR [--sizes 60m] [--outcomes N]

DIR has RegMix's CSVs (train_mixture_1m.csv, train_pile_loss_1m.csv, test_mixture_SIZE.csv, test_pile_loss_SIZE.csv). The models are
those of `mix fit`, and ridge on shares and their square roots. The figures are Spearman's correlation as the mean over losses, and
paired bootstrap differences over mixes; then the coverage of 90 % intervals, on folds of the 512 mixes and on the test mixes of 1M.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np

from tagcorpus.pipelines.mix_models import ranking
from tagcorpus.pipelines.mix_models.held_out import folds, predict
from tagcorpus.pipelines.mix_models.new_mixes import interval, own_reach
from tagcorpus.pipelines.mix_models.regressors import OURS, REGRESSORS, Columns, Linear, fit_linear
from tagcorpus.pipelines.mix_models.swarm import Swarm, read_mixes, read_swarm
from tagcorpus.predictor.protocols.tables import aligned

Array = np.ndarray[Any, Any]
PENALTIES = (1e-4, 1e-3, 1e-2, 1e-1)
RIDGE = "ridge, shares and roots"


def read(folder: Path, side: str, size: str) -> Swarm:
    shares, losses = (str(folder / f"{side}_{kind}_{size}.csv") for kind in ("mixture", "pile_loss"))
    return read_swarm(read_mixes(shares), losses, (), print, shares_path=shares)


def roots(columns: Columns) -> Columns:
    return Columns(columns.shares, np.sqrt(columns.shares))


def ridge(columns: Columns, outcome: Array) -> Linear:
    """The penalty with the least error on five folds of the training mixes."""
    x = columns.together
    fold = np.arange(len(x)) % 5

    def fit(rows: Array, penalty: float) -> Linear:
        middle, level = x[rows].mean(axis=0), float(outcome[rows].mean())
        centred = x[rows] - middle
        penalised = centred.T @ centred + penalty * len(centred) * np.eye(x.shape[1])
        weights = np.linalg.solve(penalised, centred.T @ (outcome[rows] - level))
        return Linear(level - float(middle @ weights), weights)

    errors = [
        np.mean([
            np.mean((fit(fold != k, p).predict(columns.at(np.flatnonzero(fold == k))) - outcome[fold == k]) ** 2)
            for k in range(5)
        ])
        for p in PENALTIES
    ]  # fmt: skip
    return fit(np.ones(len(x), bool), PENALTIES[int(np.argmin(errors))])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--sizes", nargs="*", default=["1m", "60m"])
    parser.add_argument("--outcomes", type=int, default=13)
    given = parser.parse_args()
    train = read(given.data, "train", "1m")
    tests = {size: read(given.data, "test", size) for size in given.sizes}
    empty = np.empty((len(train.shares), 0))
    known, ones = Columns(train.shares, empty), np.ones(len(train.shares))
    correlations: dict[str, dict[str, list[Array]]] = {size: {} for size in tests}
    covered: list[Array] = []
    on_folds: list[Array] = []
    for o, name in enumerate(train.outcomes[: given.outcomes]):
        print(f"fit {name}", flush=True)
        on_folds.append(inside_on_folds(known, train.values[:, o]))
        if not tests:
            continue
        models: dict[str, Any] = {
            title: (fit(known, train.values[:, o], ones), lambda c: c)
            for title, fit in REGRESSORS.items()
            if title != "mean"
        }
        models["linear, shares and roots"] = (fit_linear(roots(known), train.values[:, o], ones), roots)
        models[RIDGE] = (ridge(roots(known), train.values[:, o]), roots)
        for size, test in tests.items():
            new = Columns(test.shares, np.empty((len(test.shares), 0)))
            own = test.values[:, test.outcomes.index(name)]
            weights = ranking.draws(len(own), seed=0)
            for title, (model, columns) in models.items():
                predicted = model.predict(columns(new))
                correlations[size].setdefault(title, []).append(ranking.rank_correlation(predicted, own, weights))
            if size == "1m":
                low, high = interval(models[OURS][0], new, own_reach(known, train.values[:, o], ones))
                covered.append((low <= own) & (own <= high))
    for size, by_model in correlations.items():
        print(
            f"\n{len(tests[size].ids)} mixes of {size}: rank correlation, mean of {len(by_model[OURS])} losses (95 %)"
        )
        ours = np.mean(by_model[OURS], axis=0)
        rows = [["model", "rank correlation", "gp less this", "lowest loss"]]
        for title, values in by_model.items():
            mean = np.mean(values, axis=0)
            cells = ["" if title == OURS else shown(ours - mean), f"{min(v[0] for v in values):.4f}"]
            rows.append([title, shown(mean), *cells])
        print("\n".join(aligned(rows)))
    print()
    for where, inside in (("mixes of 1M on folds", on_folds), ("test mixes of 1M", covered)):
        if inside:
            shares, by_mix = np.array(inside).mean(axis=1), np.array(inside).mean(axis=0)
            # Losses share their mixes: the error of the mean over losses is that of a mean over mixes.
            print(
                f"90 % intervals hold {100 * shares.mean():.1f} % of {where}, Monte Carlo error "
                f"{100 * by_mix.std() / np.sqrt(len(by_mix)):.1f} (losses {100 * shares.min():.1f} to {100 * shares.max():.1f})"
            )


def inside_on_folds(columns: Columns, outcome: Array) -> Array:
    """Whether each mix is in the interval of the fit that held it out, bool [mixes]."""
    inside = np.zeros(len(outcome), bool)
    ones = np.ones(len(outcome))
    for split in folds(len(outcome), seed=0):
        ends = predict(OURS, columns, outcome, ones, split, has_interval=True).ends
        assert ends is not None
        low, high = ends
        inside[split.test] = (low <= outcome[split.test]) & (outcome[split.test] <= high)
    return inside


def shown(values: Array) -> str:
    figure = ranking.figure(values)
    return f"{figure.value:.4f} ({figure.low:.4f} to {figure.high:.4f})"


if __name__ == "__main__":
    main()
