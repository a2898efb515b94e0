"""How well each model predicts mixes that it was not fitted to: figures over folds, and over sources left out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tagcorpus.pipelines.mix_models import ranking
from tagcorpus.pipelines.mix_models.held_out import Predicted, Split, folds, predict, without_source
from tagcorpus.pipelines.mix_models.new_mixes import reach
from tagcorpus.pipelines.mix_models.regressors import OURS, Columns
from tagcorpus.pipelines.mix_models.swarm import Swarm
from tagcorpus.predictor.learners.parallel import Workers

Array = np.ndarray[Any, Any]
BOTH = f"{OURS}, both"


@dataclass(frozen=True)
class Contender:
    """A model and the columns it is given.

    has_interval  the coverage of its intervals is measured, which takes new_mixes.FOLDS more fits for each of its fits
    """

    title: str
    model: str
    columns: Columns
    has_interval: bool = False


def contenders(shares: Array, content: Array, models: Sequence[str]) -> list[Contender]:
    """Every model on the shares; ours also on content alone and on both, where there is content."""
    nothing = np.empty((len(shares), 0))
    listed = [Contender(name, name, Columns(shares, nothing), name == OURS) for name in models]
    if content.shape[1]:
        listed.append(Contender(f"{OURS}, content", OURS, Columns(nothing, content)))
        listed.append(Contender(BOTH, OURS, Columns(shares, content), True))
    return listed


def predictions(
    swarm: Swarm, listed: Sequence[Contender], splits: Sequence[Split], workers: Workers, has_interval: bool
) -> dict[tuple[str, int, int], Predicted]:
    """(contender, outcome, split) -> its predictions. Mixes without the outcome are on no side."""
    keys, jobs = [], []
    for c in listed:
        for o in range(len(swarm.outcomes)):
            has_value = swarm.repeats[:, o] > 0
            for s, split in enumerate(splits):
                there = Split(split.train[has_value[split.train]], split.test[has_value[split.test]], split.hidden)
                if len(there.train) and len(there.test):
                    keys.append((c.title, o, s))
                    is_measured = has_interval and c.has_interval
                    jobs.append((c.model, c.columns, swarm.values[:, o], swarm.repeats[:, o], there, is_measured))
    return dict(zip(keys, workers.map(predict, jobs), strict=True))


def over_folds(
    swarm: Swarm, listed: Sequence[Contender], seed: int, workers: Workers
) -> tuple[dict[str, Any], dict[str, list[float]]]:
    """Rank correlation, pair decisions and errors of every model, and ours less each other one, on the same folds.

    Returns also, for each contender of ours, the reach of its intervals for each outcome (new_mixes.py).
    """
    splits = folds(len(swarm.ids), seed)
    predicted = predictions(swarm, listed, splits, workers, has_interval=True)
    weights = ranking.draws(len(swarm.ids), seed)
    correlations: dict[str, list[Array]] = {}
    pairs: dict[str, list[Array]] = {}
    by_outcome: list[dict[str, Any]] = []
    covered: dict[str, list[Array]] = {}
    reaches: dict[str, list[float]] = {}
    for o, name in enumerate(swarm.outcomes):
        has_value = swarm.repeats[:, o] > 0
        own, drawn = swarm.values[has_value, o], weights[:, has_value]
        one: dict[str, Any] = {"outcome": name, "mixes": int(has_value.sum()), "models": {}}
        for c in listed:
            means, low, high = _whole(swarm, predicted, splits, c.title, o)
            correlation = ranking.rank_correlation(means[has_value], own, drawn)
            decided = ranking.decided_pairs(means[has_value], own, drawn)
            correlations.setdefault(c.title, []).append(correlation)
            pairs.setdefault(c.title, []).append(decided)
            one["models"][c.title] = {
                "rank_correlation": ranking.figure(correlation).to_json(),
                "pairs": ranking.figure(decided).to_json(),
                "rmse": _rounded(np.sqrt(np.mean((means[has_value] - own) ** 2))),
            }
            if c.has_interval:
                covered.setdefault(c.title, []).append(
                    np.where(has_value, (low <= swarm.values[:, o]) & (swarm.values[:, o] <= high), np.nan)
                )
                errors = [p.errors for s in range(len(splits)) if (p := predicted.get((c.title, o, s))) is not None]
                reaches.setdefault(c.title, []).append(reach(np.concatenate([e for e in errors if e is not None])))
                one["models"][c.title]["coverage"] = _rounded(np.nanmean(covered[c.title][-1]))
        by_outcome.append(one)
    document = {
        "folds": len(splits),
        "outcomes": by_outcome,
        "mean": {
            title: {
                "rank_correlation": ranking.figure(np.mean(correlations[title], axis=0)).to_json(),
                "pairs": ranking.figure(np.mean(pairs[title], axis=0)).to_json(),
            }
            for title in correlations
        },
        "ours_less": {
            title: {
                kind: ranking.figure(np.mean(values[OURS], axis=0) - np.mean(values[title], axis=0)).to_json()
                for kind, values in (("rank_correlation", correlations), ("pairs", pairs))
            }
            for title in correlations
            if title != OURS
        },
        "coverage": {title: _coverage(np.array(values)) for title, values in covered.items()},
    }
    return document, reaches


def _coverage(is_inside: Array) -> list[float]:
    """The share of mixes within their intervals, as a mean over outcomes, and its Monte Carlo error.

    is_inside  float64 [outcomes, mixes], NaN where a mix has no outcome. Outcomes share their mixes, so the error is that of a
               mean over mixes.
    """
    by_mix = np.nanmean(is_inside[:, ~np.isnan(is_inside).all(axis=0)], axis=0)
    return [_rounded(by_mix.mean()), _rounded(by_mix.std() / np.sqrt(len(by_mix)))]


def _whole(
    swarm: Swarm, predicted: Mapping[tuple[str, int, int], Predicted], splits: Sequence[Split], title: str, o: int
) -> tuple[Array, Array, Array]:
    """Means, lower and upper ends of all mixes, each from the fold that held it out."""
    whole = np.full((3, len(swarm.ids)), np.nan)
    for s, split in enumerate(splits):
        if (title, o, s) in predicted:
            one = predicted[title, o, s]
            rows = split.test[swarm.repeats[split.test, o] > 0]
            whole[0, rows] = one.means
            if one.ends is not None:
                whole[1:, rows] = one.ends
    return whole[0], whole[1], whole[2]


def over_sources(
    swarm: Swarm, listed: Sequence[Contender], permuted: Sequence[Array], seed: int, workers: Workers
) -> dict[str, Any] | None:
    """Each source held out: rank correlation within the mixes that have it, and the error as a share of the mean's.

    Both are means over outcomes, and then over sources; the intervals are a bootstrap over sources. None where fewer than two
    sources can be held out.

    permuted  content of the mixes with the statistics under the names of other sources; ours is fitted to each of them
    """
    splits = {j: split for j in range(len(swarm.sources)) if (split := without_source(swarm.shares, j)) is not None}
    if len(splits) < 2:
        return None
    correlations, errors = _left_out(swarm, listed, list(splits.values()), workers)
    weights = ranking.draws(len(splits), seed)
    by_model: dict[str, Any] = {}
    relative = {t: np.nanmean(e / errors["mean"], axis=1) for t, e in errors.items()}
    ranked = {t: np.nanmean(c, axis=1) for t, c in correlations.items()}
    for title in correlations:
        by_model[title] = {
            "rank_correlation": ranking.figure(_means(ranked[title], weights)).to_json(),
            "error": ranking.figure(_means(relative[title], weights)).to_json(),
        }
    document: dict[str, Any] = {
        "sources": [
            {
                "source": swarm.sources[j],
                "trained_on": len(split.train),
                "tested_on": len(split.test),
                "models": {
                    t: {
                        "rank_correlation": _rounded(ranked[t][s]),
                        "error": _rounded(relative[t][s]),
                        "errors": [_rounded(e) for e in errors[t][s]],
                    }
                    for t in ranked
                },
            }
            for s, (j, split) in enumerate(splits.items())
        ],
        "not_held_out": [name for j, name in enumerate(swarm.sources) if j not in splits],
        "models": by_model,
        "ours_less": {
            t: {
                kind: ranking.figure(_means(values[OURS] - values[t], weights)).to_json()
                for kind, values in (("rank_correlation", ranked), ("error", relative))
            }
            for t in ranked
            if t != OURS
        },
    }
    if permuted:
        others = [Contender(f"{BOTH} {i}", OURS, Columns(swarm.shares, one)) for i, one in enumerate(permuted)]
        by_permutation = _left_out(swarm, others, list(splits.values()), workers)[1]
        means = [float(np.nanmean(e / errors["mean"], axis=1).mean()) for e in by_permutation.values()]
        as_good = sum(m <= by_model[BOTH]["error"][0] for m in means)
        document["permutations"] = {
            "count": len(means),
            "mean_error": _rounded(np.mean(means)),
            "p": _rounded((1 + as_good) / (1 + len(means))),
        }
    return document


def _left_out(
    swarm: Swarm, listed: Sequence[Contender], splits: Sequence[Split], workers: Workers
) -> tuple[dict[str, Array], dict[str, Array]]:
    """Rank correlations and mean absolute errors on the tested mixes, by contender, float64 [splits, outcomes] each."""
    correlations = {c.title: np.full((len(splits), len(swarm.outcomes)), np.nan) for c in listed}
    errors = {c.title: np.full((len(splits), len(swarm.outcomes)), np.nan) for c in listed}
    for (title, o, s), one in predictions(swarm, listed, splits, workers, has_interval=False).items():
        rows = splits[s].test
        rows = rows[swarm.repeats[rows, o] > 0]
        own = swarm.values[rows, o]
        correlations[title][s, o] = ranking.rank_correlation(one.means, own, np.ones((1, len(rows))))[0]
        errors[title][s, o] = np.abs(one.means - own).mean()
    return correlations, errors


def _means(values: Array, weights: Array) -> Array:
    """The mean of values under each row of weights."""
    means: Array = weights @ values / weights.sum(axis=1)
    return means


def _rounded(value: Any) -> float:
    return round(float(value), 6) + 0.0
