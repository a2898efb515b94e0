"""Additions of `tagcorpus predict` under the grouped protocol: summary, columns, extrapolation, a new model, pictures.

    <output>/prediction/predict.json    also summary_over_tasks, worst_predicted, adds, extrapolation, new_model, explained,
                                        findings, correlations
    <output>/prediction/figures/        ratios, predicted; with --figures code-share, positions, correlation-features,
                                        correlation-benchmarks, and of every task beeswarm, dependence, partial; each as
                                        .png and .svg

predictor/ computes the numbers. This module calls it, names the numbers, and adds them to the document.
"""

from __future__ import annotations

import importlib.util
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tagcorpus.errors import ConfigError
from tagcorpus.pipelines.predicting.files import FIGURES
from tagcorpus.pipelines.predicting.progress import Steps
from tagcorpus.pipelines.progress.display import Display
from tagcorpus.predictor.explaining import correlations, explain, figures, findings
from tagcorpus.predictor.learners import models
from tagcorpus.predictor.learners.data import Dataset
from tagcorpus.predictor.learners.evaluation import Evaluation, Settings
from tagcorpus.predictor.learners.parallel import Workers
from tagcorpus.predictor.protocols import adds as adds_
from tagcorpus.predictor.protocols import grouped, grouped_summary, new_models
from tagcorpus.predictor.protocols.tables import Outcome
from tagcorpus.predictor.records.makers import group_word
from tagcorpus.requirements import how_to_install

SHOWN_COLUMNS = 20  # importances in the document


@dataclass
class Added:
    """document  added keys
    first     text above the answer
    answers   texts of options that ask for more, such as --for
    notes     texts that only --verbose prints
    files     path below the output folder -> bytes"""

    document: dict[str, Any] = field(default_factory=dict)
    first: str = ""
    answers: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    files: dict[str, bytes] = field(default_factory=dict)

    def draw(self, name: str, make: Callable[..., Any], *arguments: Any) -> None:
        for form, content in figures.drawn(make, *arguments).items():
            self.files[f"{FIGURES}/{name.replace(':', '_')}.{form}"] = content


def has_matplotlib() -> bool:
    return importlib.util.find_spec("matplotlib") is not None


def check(
    protocol: str, *, adds: Sequence[str], extrapolate: int | None, new_model: str | None, has_figures: bool
) -> None:
    """Raise ConfigError for an option that the protocol or this installation does not support."""
    given = {
        "--adds": bool(adds),
        "--extrapolate": extrapolate is not None,
        "--for": new_model is not None,
        "--figures": has_figures,
    }
    if protocol != "grouped":
        for option in (o for o, is_given in given.items() if is_given):
            raise ConfigError(f"{option} is of the grouped protocol; leave out --protocol {protocol}")
    if has_figures and not has_matplotlib():
        raise ConfigError(f"--figures needs matplotlib: {how_to_install('report', 'matplotlib')}")


def added(
    outcomes: Sequence[Outcome],
    settings: Settings,
    workers: Workers,
    display: Display,
    steps: Steps,
    *,
    adds: Sequence[str],
    extrapolate: int | None,
    new: new_models.NewModel | None,
    has_figures: bool,
) -> Added:
    """Everything beside the table of evaluations. outcomes: of the grouped protocol, one a task."""
    result = Added()
    seed = settings.seed
    pairs = [(o.data, o.evaluations) for o in outcomes]
    summary = grouped_summary.summary(pairs)
    result.document["summary_over_tasks"] = summary
    result.notes.append(grouped_summary.terminal(summary, group_word(outcomes[0].data.grouped_by)))
    best = models.DEFAULT if any(t["predictor"] == models.DEFAULT for t in summary) else models.SCALE_ONLY
    result.document["worst_predicted"] = grouped_summary.worst(pairs, best)
    result.notes.append(grouped_summary.worst_terminal(result.document["worst_predicted"], best))
    if adds:
        _adds(result, [o.data for o in outcomes], adds, settings.all_seeds, workers, steps)
    if extrapolate is not None:
        steps.begin("extrapolating")
        _extrapolate(result, outcomes, extrapolate, seed, workers)
    if new is not None:
        steps.begin(f"predicting {new.id}")
        jobs = [(o.data, new, [e for e in o.evaluations if e.folds == "grouped"], seed) for o in outcomes]
        predictions = [p for several in workers.map(new_models.predict, jobs) for p in several]
        result.document["new_model"] = new_models.document(new, predictions)
        result.answers.append(new_models.terminal(result.document["new_model"]))
    if not has_matplotlib():
        display.say(f"no pictures: they need matplotlib ({how_to_install('report', 'matplotlib')})")
        return result
    steps.begin("drawing")
    evaluated = [(o.data, e) for o in outcomes if (e := _evaluation(o)) is not None]
    if evaluated and len(evaluated) == len(outcomes):
        if any(t["predictor"] == models.DEFAULT for t in summary):
            result.draw("ratios", figures.ratios, summary, models.DEFAULT, models.SCALE_ONLY)
        result.draw("predicted", figures.scatter, evaluated)
    if has_figures:
        steps.begin(f"explaining {len(outcomes)} tasks")
        display.say(steps.title)
        _explain(result, [o.data for o in outcomes], seed, workers)
        _correlate(result, [o.data for o in outcomes])
    return result


def _adds(
    result: Added, sets: Sequence[Dataset], named: Sequence[str], seeds: Sequence[int], workers: Workers, steps: Steps
) -> None:
    errors = []
    for data in sets:
        columns = adds_.columns_named(data, named)
        steps.begin(f"{data.task.name} with and without {len(columns)} column{'s' * (len(columns) != 1)}")
        errors.append(adds_.errors(data, columns, seeds, workers))
    result.document["adds"] = adds_.document(errors, seeds)
    result.first = adds_.terminal(result.document["adds"])


def _evaluation(o: Outcome) -> Evaluation | None:
    return next((e for e in o.evaluations if (e.predictor, e.folds) == (models.DEFAULT, "grouped")), None)


def _extrapolate(result: Added, outcomes: Sequence[Outcome], k: int, seed: int, workers: Workers) -> None:
    entries = []
    lines = [f"the {k} largest models predicted from the smaller ones, MAE in points"]
    names = [e.predictor for e in outcomes[0].evaluations if e.folds == "grouped"]
    predictors = tuple(n for n in names if n == "scaling" or n in models.MODELS)
    extrapolations = workers.map(grouped.extrapolate, [(o.data, k, seed, predictors) for o in outcomes])
    for o, e in zip(outcomes, extrapolations, strict=True):
        maes = e.maes(o.data.y)
        entries.append(
            {
                "task": o.data.task.name,
                "train_models": e.train_rows,
                "mae": {name: _r(100 * v) for name, v in maes.items()},
                "models": [
                    {
                        "id": o.data.ids[i],
                        "organisation": o.data.organisations[i],
                        "score": _r(o.data.y[i]),
                        "predicted": {name: _r(p[at]) for name, p in e.predicted.items()},
                    }
                    for at, i in enumerate(e.test)
                ],
            }
        )
        errors = ", ".join(f"{name} {100 * v:.2f}" for name, v in maes.items())
        lines.append(f"{o.data.task.name} ({e.train_rows} fitted): {errors}")
    result.document["extrapolation"] = entries
    result.answers.append("\n".join(lines))


def _explained(data: Dataset, seed: int) -> tuple[explain.Contributions, list[explain.Band]]:
    grids = explain.grids_of(data, models.DEFAULT)
    return explain.contributions(data, seed), explain.partial_dependence(data, models.DEFAULT, grids, seed)


def _explain(result: Added, sets: Sequence[Dataset], seed: int, workers: Workers) -> None:
    explained = workers.map(_explained, [(data, seed) for data in sets])
    entries = []
    for data, (contributions, bands) in zip(sets, explained, strict=True):
        result.draw(f"beeswarm-{data.task.name}", figures.beeswarm, data, contributions)
        result.draw(f"dependence-{data.task.name}", figures.dependence, data, contributions)
        result.draw(f"partial-{data.task.name}", figures.partial, data, models.DEFAULT, bands)
        importance = zip(contributions.names, contributions.importance[:SHOWN_COLUMNS], strict=False)
        entries.append(
            {
                "task": data.task.name,
                "unit": "percentage points",
                "importance": [
                    {"column": n, "mean": _r(v[0]), "low": _r(v[1]), "high": _r(v[2])} for n, v in importance
                ],
                "partial_dependence": [_band(b) for b in bands],
            }
        )
    result.document["explained"] = entries
    _findings(result, sets, seed, workers)


def _correlate(result: Added, sets: Sequence[Dataset]) -> None:
    of_features = correlations.of_features(max(sets, key=lambda data: len(data.ids)))
    matrices = {"features": of_features}
    result.draw("correlation-features", figures.correlation, of_features, "Features")
    if len(sets) > 1:
        matrices["benchmarks"] = correlations.of_benchmarks(sets)
        result.draw(
            "correlation-benchmarks", figures.correlation, matrices["benchmarks"], "Benchmarks (higher is better)"
        )
    result.document["correlations"] = {kind: correlations.document(c) for kind, c in matrices.items()}


def _findings(result: Added, sets: Sequence[Dataset], seed: int, workers: Workers) -> None:
    both = workers.map(findings.findings, [(data, seed) for data in sets])
    shares = {s.task: s for s, _ in both}
    groups = {}
    for kind, names in (("language", findings.LANGUAGE_TASKS), ("code", findings.CODE_TASKS)):
        there = [shares[n] for n in names if n in shares]
        if there:
            groups[f"{kind}: {', '.join(s.task for s in there)}"] = findings.together(there)
    widest = max(sets, key=lambda data: len(data.ids))
    declared = widest.frame[models.CODE]
    counted: dict[float, list[str]] = defaultdict(list)
    for value, organisation in zip(declared, widest.organisations, strict=True):
        if not np.isnan(value):
            counted[float(value)].append(organisation)
    support = {v: (len(o), len(set(o))) for v, o in sorted(counted.items())}
    low, high = findings.BALANCE
    within = findings.supports(widest, [low <= v <= high for v in declared])
    if groups:
        result.draw("code-share", figures.code_share, groups, list(shares.values()), support, within)
    places = [p for _, p in both if p is not None]
    if any(np.isfinite(p.low) for p in places):
        result.draw("positions", figures.positions, places)
    result.document["findings"] = {
        "code_share": {
            "groups": {name: _band(b) for name, b in groups.items()},
            "tasks": {s.task: _band(s.band) for s in shares.values()},
            "models_by_declared_share": {f"{v:g}": list(n) for v, n in support.items()},
            "within_balance": {"from": low, "to": high, "models": within[0], "organisations": within[1]},
        },
        "positions": [
            {
                "task": p.task,
                "rotary_above_learned": _r(p.difference),
                "low": _r(p.low),
                "high": _r(p.high),
                "draws_with_both": p.draws,
                "draws": p.drawn,
                "rotary": dict(zip(("models", "organisations"), p.rotary, strict=True)),
                "learned": dict(zip(("models", "organisations"), p.learned, strict=True)),
            }
            for p in places
        ],
    }
    result.answers.append(_findings_text(groups, places, within))


def _findings_text(
    groups: Mapping[str, explain.Band], places: Sequence[findings.Positions], within: tuple[int, int]
) -> str:
    lines = ["findings, points above no code (95 % of draws of groups):"]
    for name, b in groups.items():
        cells = [f"{b.at[i]:g} %: {b.curve[i]:+.1f} ({b.low[i]:+.1f} to {b.high[i]:+.1f})" for i in (4, 8, 12)]
        lines.append(f"  {name}: " + "; ".join(cells))
    lines.append(f"  {within[0]} models of {within[1]} groups declare 15 to 25 % code")
    for p in places:
        span = f"{p.difference:+.1f} ({p.low:+.1f} to {p.high:+.1f})"
        makers = f"{p.learned[1]} group{'s' * (p.learned[1] != 1)}"
        lines.append(
            f"  rotary above learned positions, {p.task}: {span}; {p.learned[0]} models with learned ones, of {makers}"
        )
    return "\n".join(lines)


def _band(b: explain.Band) -> dict[str, Any]:
    return {
        "column": b.column,
        "at": [_r(v) for v in b.at],
        "found": [_r(v) for v in b.curve],
        "low": [_r(v) for v in b.low],
        "high": [_r(v) for v in b.high],
        "draws": b.draws,
    }


def _r(value: Any) -> float | None:
    return round(float(value), 6) + 0.0 if np.isfinite(value) else None
