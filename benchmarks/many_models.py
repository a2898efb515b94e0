"""CPU time of the grouped protocol by the number of models, and the error of the Gaussian process beyond its exact size.

    python benchmarks/many_models.py [--sizes 92,500,4500] [--only fits|process|run] [--json FILE]

Models are invented: a saturating law in parameters and tokens, an effect of each group and of the share of code, noise, and
groups of 1 to 22 models. Printed are, for each size, the CPU seconds of one fit of each model; for the Gaussian process the
distance between its approximation and the exact fit at sizes where both can be computed, beside its error; and the CPU
seconds of all predictors under one seed's grouped and random folds, by one process.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from tagcorpus.predictor.learners import gaussian_process, models
from tagcorpus.predictor.learners.data import DATABASE, PERCENTAGES, SCALE, Dataset, Noticed
from tagcorpus.predictor.learners.design import columns_of
from tagcorpus.predictor.learners.evaluation import Wanted
from tagcorpus.predictor.learners.folds import grouped_folds
from tagcorpus.predictor.learners.parallel import Workers
from tagcorpus.predictor.protocols import grouped
from tagcorpus.predictor.records.tasks import task

SIZES = (92, 500, 4500)
GROUP_SIZES = (22, 11, 9, 8, 5, 5, 5, 3, 3, 3, 2, 2, 2, 2, 2, *[1] * 8)
NOTHING = Noticed((), (), (), (), (), {}, (), (), (), (), ())


def invented(n: int, seed: int = 0) -> Dataset:
    """A data set of n models, scores about 0.25 to 0.85."""
    import pandas

    random = np.random.default_rng(seed)
    sizes = [GROUP_SIZES[i % len(GROUP_SIZES)] for i in range(n)]
    group = np.repeat(np.arange(n), sizes)[:n]
    scale = np.column_stack([random.uniform(18, 25, n), random.uniform(4, 10, n)])
    scale += random.normal(size=(n, 2))[group] * [1.0, 0.7]
    shares = np.round(np.clip(random.normal(30, 20, size=(n, len(PERCENTAGES)))[group], 0, 100))
    shares[random.random(size=shares.shape) < 0.2] = np.nan
    index = 0.6 * (scale[:, 0] - 21.5) + 0.5 * (scale[:, 1] - 7) + 0.5 * random.normal(size=n)[group]
    index += 0.01 * np.nan_to_num(30 - shares[:, 1])
    y = 0.25 + 0.6 / (1 + np.exp(-index)) + 0.02 * random.normal(size=n)
    ids = tuple(f"maker{g:04}/model{i:05}" for i, g in enumerate(group))
    frame = pandas.DataFrame(dict.fromkeys(DATABASE, np.nan), index=list(ids))
    frame[list(SCALE)], frame[list(PERCENTAGES)] = scale, shares
    return Dataset(task("hellaswag"), ids, tuple(m.split("/")[0] for m in ids), y, frame, (), NOTHING)


def seconds_of_fits(data: Dataset) -> dict[str, float]:
    """CPU seconds of one fit to four fifths of the models, by name; of `scaling` with its search."""
    train, test = grouped_folds(data.organisations, 5, 0)[0]
    figures = {}
    for name in ("scaling", *(m for m in models.names_for(data) if m != models.DEFAULT)):
        started = time.process_time()
        if name == "scaling":
            models.searched(data, SCALE, train, test, 0, True)
        else:
            models.predicted(data, name, train, test, 0)
        figures[name] = time.process_time() - started
    return figures


def process_errors(n: int) -> dict[str, float]:
    """Points: root mean square distance of the approximate predictions of held-out groups from those of an exact fit with the
    same hyperparameters, and with its own; then the mean absolute error and the time of both."""
    data = invented(n, 1)
    x = columns_of(data, models.model("gaussian-process").columns)[0]
    train, test = grouped_folds(data.organisations, 5, 0)[0]
    fits, figures = {}, {}
    for name, limit in (("exact", n), ("approximate", gaussian_process.EXACT)):
        started = time.process_time()
        fits[name] = gaussian_process.fit(x[train], data.y[train], (), 1, 0, limit)
        figures[f"{name}, CPU seconds"] = time.process_time() - started
    fits["same"] = gaussian_process.fit(x[train], data.y[train], (), 1, 0, n, fits["approximate"].hyperparameters)
    predicted = {name: fit.predict(x[test]) for name, fit in fits.items()}
    for name in ("exact", "approximate"):
        figures[f"{name}, error"] = 100 * float(np.abs(predicted[name] - data.y[test]).mean())
    for name, title in (("same", "same hyperparameters"), ("exact", "its own")):
        distance = predicted[name] - predicted["approximate"]
        figures[f"distance, {title}"] = 100 * float(np.sqrt((distance**2).mean()))
    return figures


def seconds_of_a_seed(data: Dataset) -> float:
    """CPU seconds of all predictors under one seed's grouped and random folds; a task has six seeds by default."""
    started = time.process_time()
    grouped.run(data, Wanted(), Workers(1))
    return time.process_time() - started


def main(say: Callable[[str], object] = print) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--sizes", default=",".join(map(str, SIZES)))
    parser.add_argument("--only", choices=("fits", "process", "run"))
    parser.add_argument("--json")
    args = parser.parse_args()
    sizes = [int(s) for s in args.sizes.split(",")]
    figures: dict[str, Any] = {}
    with threadpool_limits(1):
        if args.only in (None, "fits"):
            for n in sizes:
                figures[f"fits, {n} models"] = fits = seconds_of_fits(invented(n))
                say(f"CPU seconds of a fit, {n} models: " + ", ".join(f"{k} {v:.2f}" for k, v in fits.items()))
        if args.only in (None, "process"):
            for n in (400, 800, 1200):
                figures[f"process, {n} models"] = errors = process_errors(n)
                say(f"Gaussian process, {n} models: " + ", ".join(f"{k} {v:.3f}" for k, v in errors.items()))
        if args.only in (None, "run"):
            for n in sizes:
                figures[f"seed, {n} models"] = seconds = seconds_of_a_seed(invented(n))
                say(
                    f"CPU seconds of one seed, {n} models: {seconds:.0f}; of a task with six: {seconds / 10:.1f} minutes"
                )
    if args.json:
        Path(args.json).write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    sys.exit(main())
