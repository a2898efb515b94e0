"""The paper's two findings about pretraining, computed anew, with bands that come from drawing organisations.

1. Code in pretraining helps code tasks and costs natural-language ones beyond some share; 15 to 25 % is called the balance.
2. Models with rotary positions score higher than models with learned ones.

Both are partial dependences of trees that are monotone in scale, on ln params, ln tokens, the declared share of code and
one column for each kind of positions. `supports` counts the models and organisations behind a statement. A band covers
only the organisations of the data set, and a maker's habits cannot be separated from the maker.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tagcorpus.predictor.explaining.explain import HIGH, LOW, Band, band, draws_of, mean_curve
from tagcorpus.predictor.learners import models
from tagcorpus.predictor.learners.data import SCALE, Dataset
from tagcorpus.predictor.learners.design import Rows, Vector, columns_of

POSITIONS = "positional_embeddings"
LANGUAGE_TASKS = ("arc_challenge", "hellaswag", "winogrande", "lambada")
CODE_TASKS = ("humaneval",)
SHARES = tuple(float(s) for s in range(0, 61, 5))
BALANCE = (15.0, 25.0)
DRAWS = 100


@dataclass(frozen=True)
class CodeShare:
    """band: points above no code, up is better. curves: float64 [draws, g], the same draws of organisations whatever the task."""

    task: str
    band: Band
    curves: np.ndarray[tuple[int, int], np.dtype[np.float64]]


@dataclass(frozen=True)
class Positions:
    """Points by which rotary positions score above learned ones (up is better). The 95 % interval is over the `draws` of
    `drawn` draws of organisations that have models of both kinds; NaN without any."""

    task: str
    difference: float
    low: float
    high: float
    draws: int
    drawn: int
    rotary: tuple[int, int]
    learned: tuple[int, int]


def findings(data: Dataset, seed: int, draws: int = DRAWS) -> tuple[CodeShare, Positions | None]:
    """Both for one task; no Positions where the data set has no models of one of the kinds.

    rotary, learned: (models, organisations).
    """
    columns = (*SCALE, models.CODE, POSITIONS)
    x, names = columns_of(data, columns)
    grid = np.array(SHARES)
    code = names.index(models.CODE)
    kinds = {n.partition("=")[2]: i for i, n in enumerate(names) if n.startswith(f"{POSITIONS}=")}
    is_comparable = "rope" in kinds and "learned" in kinds
    pair = {i: np.array([float(k == "rope"), float(k == "learned")]) for k, i in kinds.items()}
    sign = models.sign_of(data)

    def curves(rows: Rows, draw: int) -> tuple[Vector, float]:
        groups = tuple(data.organisations[i] for i in rows)
        fit = models.fit_trees(x[rows], data.y[rows], groups, sign, draw, bags=1)
        shares = sign * mean_curve(fit, x, {code: grid})
        has_both = is_comparable and all((x[rows, kinds[k]] == 1).any() for k in ("rope", "learned"))
        rotary, learned = sign * mean_curve(fit, x, pair) if has_both else (np.nan, np.nan)
        return shares, float(100 * (rotary - learned))

    # Several draws of the trees' own randomness for the curve itself, one for each draw of organisations.
    whole = np.arange(len(data.ids), dtype=np.int64)
    own = [curves(whole, seed + i) for i in range(10)]
    drawn = [curves(rows, draw) for draw, rows in draws_of(data, seed, draws)]
    curve = np.mean([c for c, _ in own], axis=0)
    shares = CodeShare(
        data.task.name,
        band(models.CODE, grid, curve, [c for c, _ in drawn]),
        np.array([100 * (c - c[0]) for c, _ in drawn]),
    )
    if not is_comparable:
        return shares, None
    differences = [d for _, d in drawn if not np.isnan(d)]
    low, high = np.percentile(differences, [LOW, HIGH]) if differences else (np.nan, np.nan)
    counts = [supports(data, [v == k for v in data.frame[POSITIONS]]) for k in ("rope", "learned")]
    difference = float(np.mean([d for _, d in own]))
    return shares, Positions(
        data.task.name, difference, float(low), float(high), len(differences), draws, counts[0], counts[1]
    )


def together(shares: Sequence[CodeShare]) -> Band:
    """The mean over tasks, draw by draw, so that its band knows that tasks share their models."""
    first = shares[0].band
    drawn = np.mean([s.curves for s in shares], axis=0)
    low, high = np.percentile(drawn, [LOW, HIGH], axis=0)
    return Band(first.column, first.at, np.mean([s.band.curve for s in shares], axis=0), low, high, len(drawn))


def supports(data: Dataset, which: Sequence[bool]) -> tuple[int, int]:
    """(models, organisations) among those that `which` names."""
    counts = Counter(o for o, is_one in zip(data.organisations, which, strict=True) if is_one)
    return sum(counts.values()), len(counts)
