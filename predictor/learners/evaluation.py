"""The settings that a protocol takes, and the evaluations that it returns. A protocol is a module of `protocols/` with

    run(data: Dataset, settings: Settings, workers: Workers) -> list[Evaluation]

`paper` and `grouped` are such modules. `tagcorpus predict --protocol NAME` imports the module and calls `run` once a task.
Its PREDICTORS are the names that `Settings.predictors` can have. The others under a kind of folds are compared with the
first evaluation under that kind.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from tagcorpus.errors import ConfigError, unknown_name
from tagcorpus.predictor.learners.data import CATEGORICAL, SCALE, Dataset

Folds = Literal["random", "grouped"]
PREDICTORS = ("scaling", "all", "no-scale")
LEAKY = "leaky: its features were selected by the error on these very test folds"


@dataclass(frozen=True)
class Settings:
    """The evaluations that a run asks of a protocol.

    predictors  names of the protocol's PREDICTORS; () leaves the choice to the protocol
    selected    the features of the predictor "selected"; None: no such predictor. `is_leaky` where test folds chose them
    select      the protocol's own selection of features, "forward" or "stability"; None: no selection
    seed        the seed whose figures are shown first
    seeds       other seeds, for mean, spread and tests: 0 .. N - 1
    has_search  search the hyperparameters in inner folds, else the library's defaults
    """

    predictors: tuple[str, ...] = ()
    selected: tuple[str, ...] | None = None
    is_leaky: bool = False
    select: Literal["forward", "stability"] | None = None
    seed: int = 42
    seeds: tuple[int, ...] = ()
    has_search: bool = True

    @property
    def all_seeds(self) -> tuple[int, ...]:
        """`seed`, then those of `seeds` that differ from it."""
        return (self.seed, *(s for s in self.seeds if s != self.seed))


@dataclass(frozen=True)
class Evaluation:
    """One predictor on one task: every model predicted once a seed, by a fit that has not seen it.

    predictor  its name in tables
    folds      the kind of folds
    features   the columns of its fits; where they differ from fold to fold, those of the first fold (see `fits`)
    seeds      [s]
    fold       int [s, n], the test fold of each row of the data set
    predicted  float [s, n], fractions
    fits       [s][k] the choices in each training fold: parameters, features, number of rows (`train_rows`)
    marks      sentences that must be printed beside its figures
    """

    predictor: str
    folds: Folds
    features: tuple[str, ...]
    seeds: tuple[int, ...]
    fold: np.ndarray[Any, np.dtype[np.int64]]
    predicted: np.ndarray[Any, np.dtype[np.float64]]
    fits: tuple[tuple[Mapping[str, Any], ...], ...]
    marks: tuple[str, ...] = field(default=())

    def maes(self, y: np.ndarray[Any, Any]) -> np.ndarray[Any, np.dtype[np.float64]]:
        """float64 [s, k]: mean absolute error of every test fold, fractions."""
        error = np.abs(self.predicted - y)
        k = int(self.fold.max()) + 1
        return np.array([[np.average(error[s][self.fold[s] == f]) for f in range(k)] for s in range(len(self.seeds))])

    def at(self, seed: int) -> int:
        """The row of a seed in `fold`, `predicted`, `maes`."""
        return self.seeds.index(seed)


def features_of(data: Dataset, predictor: str) -> tuple[str, ...]:
    """The columns of `scaling`, `all` or `no-scale`. Raises ConfigError for another name.

    `no-scale` also lacks dimension, num_heads and sequence_length, as the published one does: they grow with the size.
    """
    columns = tuple(data.frame.columns)
    of_size = (*SCALE, "dimension", "num_heads", "sequence_length")
    chosen = {
        "scaling": SCALE,
        "all": columns,
        "no-scale": tuple(c for c in columns if c not in of_size),
    }
    check_predictors([predictor], chosen)
    return chosen[predictor]


def check_predictors(names: Iterable[str], known: Iterable[str]) -> None:
    """Raises ConfigError for a name that is not known, with the nearest. known: PREDICTORS of the protocol's module."""
    known = tuple(known)
    for name in names:
        if name not in known:
            raise ConfigError(unknown_name("predictor", name, known, "--predictor"))


def candidates(data: Dataset) -> tuple[str, ...]:
    """The columns that can be selected beside SCALE: those with at least two values, missing counted as one."""
    frame = data.frame
    varied = [c for c in frame.columns if frame[c].nunique() + bool(frame[c].isna().any()) > 1]
    return tuple(c for c in varied if c not in SCALE and (c in CATEGORICAL or frame[c].notna().any()))
