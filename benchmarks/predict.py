"""The published protocol's search against a plain GridSearchCV loop over the same folds: the same figures, in turn.

    python benchmarks/predict.py --db DIR --features CSV [--select FILE] [--tasks 3] [--pairs 5] [--workers 1] [--json FILE]

Each program is a process of its own that loads the store, builds the data sets and computes one seed's table: scaling,
and selected where --select names a file of selections. "loop" is scikit-learn's GridSearchCV around XGBRegressor, one
thread; "ours" is predictor/protocols/paper.py with --workers processes. Both must print the same errors to the last digit. With one
worker CPU seconds count, with several wall seconds (those of workers are no child's that was waited for). Told are the
ratio of the search alone, and that of the whole processes with imports and loading.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from _pairs import Program, in_turn, median, ratios

ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
SEED = 42


Tables = list[tuple[str, Any, tuple[str, ...], Any]]


def tables(args: argparse.Namespace) -> Tables:
    """(name, data set, columns, encoding) of every evaluation."""
    from tagcorpus.predictor.learners import data, selection
    from tagcorpus.predictor.records import tasks
    from tagcorpus.predictor.store.store import Store

    lists = selection.read_selected(args.select) if args.select else None
    features = data.read_features(args.features)
    found = []
    with Store.from_existing(args.db) as store:
        for task in list(tasks.PUBLISHED.values())[: args.tasks]:
            loaded = data.load(store.con, task, features, conflicts="stored")
            found.append((f"{task.name} scaling", loaded, data.SCALE, "absent"))
            if lists:
                found.append(
                    (f"{task.name} selected", loaded, selection.selected_for(lists, task, args.select), "code")
                )
    return found


def loop(found: Tables, _workers: Any) -> dict[str, float]:
    """What one writes first: sklearn's folds, its search, its regressor."""
    import numpy as np
    from sklearn.metrics import mean_absolute_error
    from sklearn.model_selection import GridSearchCV, KFold, train_test_split
    from xgboost import XGBRegressor

    from tagcorpus.predictor.learners.data import codes

    grid = {"max_depth": [2, 3, 5], "learning_rate": [0.01, 0.1, 0.3], "n_estimators": [50, 100]}
    errors = {}
    for name, data, columns, encoding in found:
        x, y = codes(data, columns, encoding), data.y
        folds = []
        for part, test in KFold(3, shuffle=True, random_state=SEED).split(x):
            rows, _ = train_test_split(part, test_size=0.2, random_state=SEED)
            inner = KFold(3, shuffle=True, random_state=SEED)
            model = XGBRegressor(missing=-1, n_jobs=1)
            search = GridSearchCV(model, grid, scoring="neg_mean_absolute_error", cv=inner).fit(x[rows], y[rows])
            folds.append(mean_absolute_error(y[test], search.predict(x[test])))
        errors[name] = float(np.mean(folds))
    return errors


def ours(found: Tables, workers: Any) -> dict[str, float]:
    from tagcorpus.predictor.learners.boosting import Grid
    from tagcorpus.predictor.protocols.paper import evaluate

    errors = {}
    for name, data, columns, encoding in found:
        told = evaluate(data, name, columns, encoding, (SEED,), Grid(), workers)
        errors[name] = float(told.maes(data.y)[0].mean())
    return errors


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--db", required=True)
    parser.add_argument("--features", required=True)
    parser.add_argument("--select")
    parser.add_argument("--tasks", type=int, default=3)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--program", choices=["loop", "ours"], help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.program:
        import xgboost.sklearn  # noqa: F401

        from tagcorpus.predictor.learners.parallel import Workers

        with Workers(args.workers if args.program == "ours" else 1) as workers:
            found = tables(args)
            cpu, wall = time.process_time(), time.perf_counter()
            errors = {"loop": loop, "ours": ours}[args.program](found, workers)
        print(json.dumps({"errors": errors, "cpu": time.process_time() - cpu, "wall": time.perf_counter() - wall}))
        return
    with tempfile.TemporaryDirectory() as folder:
        again = [sys.executable, Path(__file__).resolve(), *map(_absolute, sys.argv[1:])]
        programs = {
            name: Program([*again, "--program", name], Path(folder) / name, ONE_THREAD) for name in ("loop", "ours")
        }
        used = in_turn(programs, args.pairs)
    said = {name: [json.loads(u.out) for u in found] for name, found in used.items()}
    first = said["ours"][0]["errors"]
    apart = max(abs(s["errors"][k] - v) for s in said["loop"] + said["ours"] for k, v in first.items())
    which = "cpu" if args.workers == 1 else "wall"
    alone = ratios([s[which] for s in said["loop"]], [s[which] for s in said["ours"]])
    whole = ratios([getattr(u, which) for u in used["loop"]], [getattr(u, which) for u in used["ours"]])
    loads = [u.load for v in used.values() for u in v]
    result = {
        "what": f"GridSearchCV loop / ours, {which} seconds, {args.workers} workers, {len(first)} evaluations of one seed",
        "search alone": [median(alone), min(alone), max(alone)],
        "whole process": [median(whole), min(whole), max(whole)],
        "pairs": args.pairs,
        "largest difference of an error": apart,
        "load": [min(loads), max(loads)],
    }
    for key, value in result.items():
        print(f"{key:<32} {value}")
    if args.json:
        args.json.write_text(json.dumps(result, indent=1) + "\n")


def _absolute(argument: str) -> str:
    return str(Path(argument).resolve()) if Path(argument).exists() else argument


if __name__ == "__main__":
    main()
