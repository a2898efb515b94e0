"""Gradient-boosted trees over a small grid, with everything shared that can be: exactly XGBoost's numbers, sooner.

- A matrix is binned once per set of rows (QuantileDMatrix), not once per fit.
- Fewer rounds are a prefix of more rounds: 50 trees are the first 50 of 100, so they are predicted and not fitted.
- Rounds go through XGBoost's C interface: on 40 rows its Python `train` takes as long again as the fit.
- A fit uses one thread, and folds run in several processes (parallel.py). So numbers do not depend on threads.

All other parameters are XGBoost's defaults. Source of the grid: the scripts of *Not-Just-Scaling Laws*.
"""

from __future__ import annotations

import ctypes
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import product
from typing import Any

import numpy as np

from tagcorpus.errors import ConfigError
from tagcorpus.requirements import how_to_install

Matrix = np.ndarray[Any, np.dtype[np.float32]]
Vector = np.ndarray[Any, np.dtype[np.float64]]
Rows = np.ndarray[Any, np.dtype[np.int64]]
MISSING = -1.0


@dataclass(frozen=True)
class Point:
    """One setting of the three parameters that are searched."""

    learning_rate: float = 0.3
    max_depth: int = 6
    rounds: int = 100

    @property
    def parameters(self) -> dict[str, Any]:
        return {"learning_rate": self.learning_rate, "max_depth": self.max_depth}


@dataclass(frozen=True)
class Grid:
    """Every combination; the order of `points` decides ties."""

    learning_rates: tuple[float, ...] = (0.01, 0.1, 0.3)
    max_depths: tuple[int, ...] = (2, 3, 5)
    rounds: tuple[int, ...] = (50, 100)

    @property
    def points(self) -> list[Point]:
        return [Point(*p) for p in product(self.learning_rates, self.max_depths, self.rounds)]


def xgboost_module() -> Any:
    """XGBoost, imported where it is first needed. Raises ConfigError where it is not installed."""
    try:
        import xgboost
    except ImportError:
        raise ConfigError(f"predictions need XGBoost: {how_to_install('predict')}") from None
    return xgboost


def binned(x: Matrix, y: Vector, missing: float = MISSING) -> Any:
    """Rows and labels as XGBoost trains on them. x: float32 [n, columns], `missing` where there is no value."""
    return xgboost_module().QuantileDMatrix(x, y, missing=missing, nthread=1)


def train(matrix: Any, parameters: Mapping[str, Any], rounds: int) -> Any:
    """A Booster of `rounds` trees on squared error. matrix: of `binned`; parameters: XGBoost's, beside its defaults.

    The same trees as xgboost.train gives. Raises RuntimeError with XGBoost's own words where it refuses a parameter.
    """
    settings = {"objective": "reg:squarederror", "tree_method": "hist", "nthread": 1, **parameters}
    booster = xgboost_module().Booster(settings, [matrix])
    one_more, of, on = _library().XGBoosterUpdateOneIter, booster.handle, matrix.handle
    for i in range(rounds):
        _done(one_more(of, i, on))
    return booster


def predict(booster: Any, x: Matrix, rounds: int, missing: float = MISSING) -> Matrix:
    """float32 [n] by the first `rounds` trees."""
    predicted: Matrix = booster.inplace_predict(x, iteration_range=(0, rounds), missing=missing)
    return predicted


def mean_absolute_error(y: Vector, predicted: np.ndarray[Any, Any]) -> float:
    return float(np.average(np.abs(predicted.astype(np.float64) - y)))


def search(x: Matrix, y: Vector, folds: Sequence[tuple[Rows, Rows]], grid: Grid) -> Point:
    """The point with the least mean of the folds' MAEs; of equals the first in the grid's order.

    Errors are at least 0. So the search leaves a point as soon as its sum over some folds exceeds another point's whole sum.
    """
    points = grid.points
    errors = np.full((len(points), len(folds)), np.inf)
    matrices = [(binned(x[fit], y[fit]), _plain(x[held_out]), y[held_out]) for fit, held_out in folds]
    least = np.inf
    # The slowest rates come last: with few rounds they are the worst, so the search leaves them soonest.
    for learning_rate, max_depth in sorted(product(grid.learning_rates, grid.max_depths), key=lambda p: -p[0]):
        at = [points.index(Point(learning_rate, max_depth, rounds)) for rounds in grid.rounds]
        parameters = points[at[0]].parameters
        sums = np.zeros(len(at))
        for f, (matrix, held_out, truth) in enumerate(matrices):
            if sums.min() > least:
                break
            booster = train(matrix, parameters, max(grid.rounds))
            for i, rounds in zip(at, grid.rounds, strict=True):
                errors[i, f] = mean_absolute_error(truth, _predicted(booster, held_out, rounds, len(truth)))
            sums += errors[at, f]
        else:
            least = min(least, sums.min())
    return points[int(np.argmin(np.average(errors, axis=1)))]


def _plain(x: Matrix) -> Any:
    """Rows to predict, not binned."""
    return xgboost_module().DMatrix(x, missing=MISSING, nthread=1)


def _predicted(booster: Any, matrix: Any, rounds: int, n: int) -> Matrix:
    """The same as `predict`, for rows that are predicted many times."""
    options = (
        f'{{"type": 0, "training": false, "iteration_begin": 0, "iteration_end": {rounds}, "strict_shape": false}}'
    )
    shape, dimensions, out = ctypes.c_void_p(), ctypes.c_uint64(), ctypes.POINTER(ctypes.c_float)()
    to = [ctypes.byref(value) for value in (shape, dimensions, out)]
    _done(_library().XGBoosterPredictFromDMatrix(booster.handle, matrix.handle, options.encode(), *to))
    return np.ctypeslib.as_array(out, (n,)).copy()


def _done(status: int) -> None:
    if status:
        raise RuntimeError(ctypes.string_at(_library().XGBGetLastError()).decode())


@cache
def _library() -> Any:
    # The shared library that the package has loaded already, through its documented C interface.
    from xgboost.libpath import find_lib_path

    library = ctypes.cdll.LoadLibrary(find_lib_path()[0])
    library.XGBoosterUpdateOneIter.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p]
    library.XGBoosterPredictFromDMatrix.argtypes = [
        ctypes.c_void_p,
        ctypes.c_void_p,
        ctypes.c_char_p,
        *[ctypes.c_void_p] * 3,
    ]
    library.XGBGetLastError.restype = ctypes.c_void_p
    return library
