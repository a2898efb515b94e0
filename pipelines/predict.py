"""`tagcorpus predict`: checks the feature table, runs a protocol of the predictor over tasks, and publishes the results.

    <output>/prediction/predict.json            all figures, folds' settings, tests, and facts noticed in the data
    <output>/prediction/predictions.csv         every model's predictions with its test fold
    <output>/prediction/paper-reproduction.md   with --reproduce
    <output>/prediction/figures/                under the grouped protocol (predicting/grouped.py)

The protocols are predictor/protocols/paper.py and predictor/protocols/grouped.py. The same command gives the same bytes.
"""

from __future__ import annotations

import glob
import importlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import xxhash

from tagcorpus.errors import ConfigError, InputError
from tagcorpus.pipelines.execution.scheduling import default_workers
from tagcorpus.pipelines.options.commands.predict import PredictOptions
from tagcorpus.pipelines.options.places import check_place
from tagcorpus.pipelines.predicting import deciding, grouped
from tagcorpus.pipelines.predicting.features import features_of, refuse_unused, say_ids, say_similar_ids
from tagcorpus.pipelines.predicting.files import (
    BEGINS,
    FIGURES,
    FILES,
    RESULT_SUFFIXES,
    check_target,
    default_folder,
    publish,
)
from tagcorpus.pipelines.predicting.names import check_selected, check_tasks
from tagcorpus.pipelines.predicting.progress import Steps
from tagcorpus.pipelines.predicting.terminal import brief, terminal
from tagcorpus.pipelines.progress.display import Display
from tagcorpus.pipelines.runs.made_from import MadeFrom
from tagcorpus.predictor.learners import selection
from tagcorpus.predictor.learners.data import Dataset, TaskError, load
from tagcorpus.predictor.learners.evaluation import Settings, check_predictors
from tagcorpus.predictor.learners.models import SCALE_ONLY
from tagcorpus.predictor.learners.parallel import Workers
from tagcorpus.predictor.protocols import new_models, tables
from tagcorpus.predictor.protocols.adds import columns_named
from tagcorpus.predictor.records.makers import MAKER, NAMESPACE, group_word
from tagcorpus.predictor.records.scores import Rule
from tagcorpus.predictor.records.tasks import Task, tasks
from tagcorpus.predictor.store.store import Store
from tagcorpus.taggers._interface.installed import versions_of

PROTOCOLS = ("grouped", "paper")
# The published figures use the first of several scores in the store's order. The grouped figures must not depend on an order.
CONFLICTS: dict[str, Rule] = {"paper": "stored", "grouped": "ordered"}
PUBLISHED_NAMES = {"scaling_laws": "scaling", "non_scaling_laws": "no-scale", "no_scale": "no-scale"}
SELECTIONS = "forward_generation_results*.csv"
REPRODUCED_SEEDS = 6
GROUPED_SEEDS = 5  # figures differ between draws of so few groups into folds
VERSIONS_OF = ("tagcorpus", "xgboost", "xgboost-cpu", "scikit-learn", "pandas", "numpy", "duckdb")


def command(**options: Any) -> str:
    """The text that the command prints, from the values of its flags."""
    display = Display()
    request = PredictOptions(**options)
    if not str(request.protocol) and not request.reproduce and (published := _published(request)):
        display.say(
            f"{', '.join(published)}: spelled as in the published scripts, but this is the grouped protocol; "
            "for the published figures add --protocol paper"
        )
    return report(request, display)


def _published(request: PredictOptions) -> list[str]:
    """The given options that only a command line of the published scripts needs."""
    flags = {
        "--merge_mmlu": request.merge_mmlu,
        "--merge_arithmetic": request.merge_arithmetic,
        "--test_significance": request.test_significance,
    }
    names = [p for p in request.predictors if p in PUBLISHED_NAMES]
    return [*(f for f, is_given in flags.items() if is_given), *(f"--predictor_type {p}" for p in names)]


def report(request: PredictOptions, display: Display | None = None) -> str:
    """Run the prediction, publish the files, and return the text to print.

    Raises InputError for a file that cannot be read or has no model in common with the store, and ConfigError for options
    that do not fit one another or the store.
    """
    display = display or Display()
    if request.decide:
        return deciding.report(request, display)
    if not str(request.protocol):
        request = replace(request, protocol="paper" if request.reproduce else "grouped")
    sources = _check(request)
    chosen = tasks(request.tasks, request.metric, request.merge_arithmetic)
    count = request.workers or default_workers()
    with (
        Steps(display, len(chosen)) as steps,
        Workers(count, steps.step) as workers,
        Store.from_existing(request.db) as store,
    ):
        if request.tasks:
            check_tasks(store.con, chosen)
        features, findings = features_of(request.features, store, display)
        generated = () if features is None else tuple(features.columns)
        new = new_models.read_new_model(request.new_model, generated) if request.new_model else None
        if new is not None and features is not None:
            new = new_models.with_row(new, features)
        lists = _selections(request)
        protocol = _protocol(request)
        outcomes: list[tables.Outcome] = []
        for task in chosen:
            data = _data(store, task, features, request, len(chosen) > 1 and not request.tasks, display)
            if data is None:
                steps.total -= 1
                continue
            if not outcomes:
                say_ids(data, features, display)
                say_similar_ids(data, display)
            settings = _settings(request, task, lists, new)
            check_selected(data, settings.selected)
            if request.adds:
                columns_named(data, request.adds)  # a wrong name ends the command before the first fit
            # The page of --reproduce and the explanations of --figures use all columns.
            is_used = request.reproduce or request.figures or new is not None
            if request.features is not None and not outcomes and not is_used:
                refuse_unused(request.features, data, settings, request.protocol, request.adds)
            display.say(f"{task.name}: {len(data.ids)} models of {data.groups} {group_word(data.grouped_by)}")
            steps.begin(task.name)
            evaluations = protocol.run(data, settings, workers)
            outcomes.append(tables.outcome(data, evaluations, settings, request.protocol == "grouped"))
            steps.finish()
        if not outcomes:
            raise InputError(f"--db: {request.db!r} has no task with enough models; `tagcorpus store check` says why")
        origin = {
            "inputs": _inputs(request),
            "versions": versions_of(VERSIONS_OF),
            "feature_check": [f.to_json() for f in findings],
            "conflicts_rule": CONFLICTS[request.protocol],
        }
        document = tables.document(request.protocol, _settings(request, chosen[0], None), outcomes, origin)
        more = grouped.Added()
        if request.protocol == "grouped":
            more = grouped.added(
                outcomes,
                _settings(request, chosen[0], None),
                workers,
                display,
                steps,
                adds=request.adds,
                extrapolate=request.extrapolate,
                new=new,
                has_figures=request.figures,
            )
            document |= more.document
        page = _reproduction(request, store, features, outcomes, document, workers) if request.reproduce else None
    text = json.dumps(document, indent=1, ensure_ascii=False)
    predictions = tables.predictions_csv(outcomes)
    if sources.note:
        display.say(sources.note)
    sources.publish()
    where = publish(request.features or request.db, request.output, text, predictions, page, more.files, display)
    display.say(f"-> {where}")
    if request.as_json:
        return text
    if page is not None:
        return page
    if request.verbose:
        return terminal(document, [*more.answers, *more.notes], more.first)
    return brief(document, more.answers, more.first)


def _check(request: PredictOptions) -> MadeFrom:
    """What the result is made from. Raises ConfigError."""
    if request.protocol not in PROTOCOLS:
        raise ConfigError(f"unknown protocol {request.protocol!r} (--protocol); known: {', '.join(PROTOCOLS)}")
    if request.target_size is not None:
        raise ConfigError("--target-size is of --decide; add that, or leave the size out")
    check_predictors((PUBLISHED_NAMES.get(p, p) for p in request.predictors), _protocol(request).PREDICTORS)
    check_place("output", request.output, RESULT_SUFFIXES)
    origin = check_target(request, default_folder(request.features or request.db), (*FILES, FIGURES), BEGINS)
    if request.select and request.sel_features:
        raise ConfigError("--select and --sel-features both name the selected features; give one of them")
    if request.reproduce and request.protocol != "paper":
        raise ConfigError("--reproduce is of the published protocol; leave out --protocol, or say --protocol paper")
    grouped.check(
        request.protocol,
        adds=request.adds,
        extrapolate=request.extrapolate,
        new_model=request.new_model,
        has_figures=request.figures,
    )
    if request.reproduce and request.features is None:
        raise ConfigError("--reproduce needs the published feature table: --features CSV")
    return origin


def _protocol(request: PredictOptions) -> Any:
    """The protocol's module; see predictor/learners/evaluation.py."""
    return importlib.import_module(f"tagcorpus.predictor.protocols.{request.protocol}")


def _data(
    store: Store, task: Task, features: Any, request: PredictOptions, may_be_absent: bool, display: Display
) -> Dataset | None:
    """The task's data set. may_be_absent: a task with too few models is left out with a message, and the result is None."""
    rule = CONFLICTS[request.protocol]
    try:
        data = load(
            store.con,
            task,
            features,
            conflicts=rule,
            drop_instruction_tuned=request.drop_instruction_tuned,
            least_models=request.least_models,
            groups=_groups(request),
        )
        if (data.y == data.y[0]).all():
            raise TaskError(
                f"{task.name}: all {len(data.ids)} models have the score {data.y[0]:g}; there is nothing to predict"
            )
        return data
    except TaskError as error:
        if may_be_absent:
            display.say(f"left out: {str(error).partition('; ')[0]}")
            return None
        raise


def _groups(request: PredictOptions) -> str:
    """The column to group models by. Under the published protocol groups are only counted."""
    return request.groups or (MAKER if request.protocol == "grouped" else NAMESPACE)


def _selections(request: PredictOptions) -> dict[str, tuple[str, ...]] | None:
    if request.select in ("forward", "stability"):
        return None
    if request.select is not None:
        return selection.read_selected(request.select)
    if not request.reproduce:
        return None
    folder = os.path.dirname(os.path.abspath(request.features or ""))
    beside = sorted(glob.glob(os.path.join(glob.escape(folder), SELECTIONS)))
    if not beside:
        raise ConfigError(f"--reproduce needs the published selections: no {SELECTIONS} beside the CSV; --select FILE")
    return selection.read_selected(beside[-1])


def _settings(
    request: PredictOptions,
    task: Task,
    lists: Mapping[str, tuple[str, ...]] | None,
    new: new_models.NewModel | None = None,
) -> Settings:
    given = tuple(PUBLISHED_NAMES.get(p, p) for p in request.predictors)
    if request.adds and not given:
        given = (SCALE_ONLY,)
    if new is not None:
        given = tuple(dict.fromkeys((*given, *new_models.predictors_for(new))))
    default = GROUPED_SEEDS if request.protocol == "grouped" else REPRODUCED_SEEDS if request.reproduce else 0
    seeds = request.seeds or default
    selected: tuple[str, ...] | None = tuple(request.sel_features) or None
    if lists is not None:
        selected = selection.selected_for(dict(lists), task, request.select or SELECTIONS)
    return Settings(
        predictors=given or (("all",) if request.reproduce else ()),
        selected=selected,
        # A list from a file may come from anywhere; the published ones were selected on the test folds.
        is_leaky=lists is not None,
        select=request.select if request.select in ("forward", "stability") else None,  # type: ignore[arg-type]
        seed=request.seed,
        seeds=tuple(range(seeds)),
        has_search=request.hyperparam_search,
    )


def _reproduction(
    request: PredictOptions,
    store: Store,
    features: Any,
    outcomes: Sequence[tables.Outcome],
    document: Mapping[str, Any],
    workers: Workers,
) -> str:
    """The page, with the seed's figures computed again where the other rule for conflicting scores changes the data."""
    from tagcorpus.predictor.explaining import reproduction
    from tagcorpus.predictor.protocols import paper

    lists = _selections(request)
    otherwise = {}
    for o in outcomes:
        if o.data.noticed.conflicts:
            data = load(
                store.con,
                o.data.task,
                features,
                drop_instruction_tuned=request.drop_instruction_tuned,
                least_models=request.least_models,
                groups=_groups(request),
            )
            settings = Settings(
                ("scaling",),
                _settings(request, o.data.task, lists).selected,
                True,
                None,
                request.seed,
                (),
                request.hyperparam_search,
            )
            evaluations = paper.run(data, settings, workers)
            otherwise[o.data.task.name] = {e.predictor: float(100 * e.maes(data.y).mean()) for e in evaluations}
    return reproduction.page(document, outcomes, otherwise)


def _inputs(request: PredictOptions) -> dict[str, Any]:
    """Digests by file name without folder, so that runs on the same data are equal on all machines."""
    of_store = sorted(glob.glob(os.path.join(glob.escape(request.db), "*.csv"))) or [request.db]
    given: dict[str, list[str | None]] = {"db": [*of_store], "features": [request.features], "select": [request.select]}
    return {
        kind: {os.path.basename(name): _digest(name) for name in names if name is not None and os.path.isfile(name)}
        for kind, names in given.items()
    }


def _digest(path: str) -> str:
    with open(path, "rb") as file:
        return f"xxh3-128:{xxhash.xxh3_128_hexdigest(file.read())}"
