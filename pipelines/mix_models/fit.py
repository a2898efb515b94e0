"""`tagcorpus mix fit`: read a swarm, compare models on held-out mixes, predict new mixes, and keep the fit for `mix propose`.

<output>/fit.json         figures, digests of the inputs, and everything that mix propose needs
<output>/predictions.csv  the mixes of --for, with intervals
"""

from __future__ import annotations

import csv
import importlib.util
import io
import json
import math
import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from tagcorpus.errors import ConfigError, InputError
from tagcorpus.pipelines.attributes.results import file_digest
from tagcorpus.pipelines.execution.scheduling import default_workers
from tagcorpus.pipelines.mix_models import evaluation, page
from tagcorpus.pipelines.mix_models.content import Content, content_of, read_content
from tagcorpus.pipelines.mix_models.new_mixes import interval
from tagcorpus.pipelines.mix_models.regressors import OURS, REGRESSORS, Columns, Process, fit_process
from tagcorpus.pipelines.mix_models.swarm import LEAST_MIXES, MANIFEST, RUN, Mixes, Swarm, read_mixes, read_swarm
from tagcorpus.pipelines.options.places import check_place
from tagcorpus.pipelines.progress.display import Display
from tagcorpus.pipelines.runs.made_from import made_from
from tagcorpus.pipelines.storage.outputs import check_folder
from tagcorpus.pipelines.storage.sealed import sealed
from tagcorpus.predictor.learners.parallel import Workers
from tagcorpus.requirements import how_to_install

Array = np.ndarray[Any, Any]
RESULT, PREDICTIONS = "fit.json", "predictions.csv"
FORMAT = 1


def fit(
    shares: str,
    outcomes: str,
    new_mixes: str | None = None,
    id_column: str | None = None,
    outcome: Sequence[str] = (),
    statistics: str | None = None,
    column: Sequence[str] = (),
    permutations: int = 19,
    seed: int = 0,
    output: str | None = None,
    as_json: bool = False,
    workers: int | None = None,
) -> str:
    """Compare the models, publish the files, and return the text to print. Arguments: MixFitOptions."""
    check_packages()
    check_place("output", output)
    folder = check_folder(
        "mix fit", output or "mix-fit", (RESULT, PREDICTIONS), inputs=[shares, outcomes, statistics, new_mixes]
    )
    options = {
        "--for": new_mixes,
        "--id": id_column,
        "--outcome": outcome,
        "--statistics": statistics,
        "--column": column,
        "--permutations": permutations,
        "--seed": seed,
    }
    origin = made_from(folder, RESULT, {"SHARES": [shares], "OUTCOMES": [outcomes]}, options)
    display = Display()
    mixes = read_mixes(shares, id_column)
    content = read_content(statistics, column) if statistics else None
    if content is None and column:
        content = content_of(mixes.statistics, column)
    notes: list[str] = []
    swarm = read_swarm(mixes, outcomes, outcome, notes.append, id_column, shares)
    for note in notes:
        display.say(note)
    if len(swarm.ids) < LEAST_MIXES:
        raise InputError(
            f"{len(swarm.ids)} mixes with different shares are joined; a fit needs at least {LEAST_MIXES} of them"
        )
    for o, name in enumerate(swarm.outcomes):
        if (n := int((swarm.repeats[:, o] > 0).sum())) < LEAST_MIXES:
            raise InputError(
                f"{name}: only {n} mixes have this outcome, and a fit needs at least {LEAST_MIXES}; name other columns "
                "with --outcome"
            )
    of_mixes = content.of_mixes(swarm.sources, swarm.shares) if content else np.empty((len(swarm.ids), 0))
    new = _new_columns(read_mixes(new_mixes, id_column), swarm, content, new_mixes or "") if new_mixes else None
    listed = evaluation.contenders(swarm.shares, of_mixes, list(REGRESSORS))
    with Workers(workers or default_workers()) as pool:
        display.say(
            f"{len(swarm.ids):,} mixes of {len(swarm.sources)} sources, {len(swarm.outcomes)} outcome{'s' * (len(swarm.outcomes) != 1)}: folds"
        )
        folds, reaches = evaluation.over_folds(swarm, listed, seed, pool)
        display.say("each source left out")
        sources = evaluation.over_sources(swarm, listed, _permuted(swarm, content, permutations, seed), seed, pool)
        whole = Columns(swarm.shares, of_mixes)
        processes = pool.map(
            fit_process,
            [
                (whole.at(has_value), swarm.values[has_value, o], swarm.repeats[has_value, o])
                for o in range(len(swarm.outcomes))
                if (has_value := np.flatnonzero(swarm.repeats[:, o])) is not None
            ],
        )
    distances = reaches[evaluation.BOTH if content else OURS]
    document = {
        "format": FORMAT,
        "seed": seed,
        "inputs": {
            name: _digests(path)
            for name, path in (("shares", shares), ("outcomes", outcomes), ("statistics", statistics))
            if path
        },
        "notes": notes,
        "mixes": len(swarm.ids),
        "runs": int(sum(len(i) for i in swarm.ids)),
        "sources": list(swarm.sources),
        "outcomes": list(swarm.outcomes),
        "seeds": {
            name: {"deviation": round(float(swarm.spread[o]), 6), "freedom": int(swarm.freedom[o])}
            for o, name in enumerate(swarm.outcomes)
            if swarm.freedom[o]
        },
        "on_folds": folds,
        "sources_left_out": sources,
        "model": model_of(swarm, content, processes, distances),
    }
    if origin.note:
        display.say(origin.note)
    origin.publish()
    folder.publish(RESULT, sealed(document, ensure_ascii=False))
    if new is None:
        folder.remove(PREDICTIONS)  # of an earlier fit
    else:
        folder.publish(PREDICTIONS, _predictions(new[0], new[1], swarm.outcomes, processes, distances).encode())
        display.say(f"-> {folder}/{PREDICTIONS}")
    display.say(f"-> {folder}/{RESULT}")
    shown = {key: value for key, value in document.items() if key != "model"}
    return json.dumps(shown, indent=1, ensure_ascii=False) if as_json else page.as_text(document)


def check_packages() -> None:
    """Raise ConfigError where the extra is not installed. Nothing is imported: bad input is refused at once."""
    for name in ("lightgbm", "scipy", "sklearn", "threadpoolctl"):
        if importlib.util.find_spec(name) is None:
            raise ConfigError(f"mix fit needs {name}: {how_to_install('mix')}")


def _permuted(swarm: Swarm, content: Content | None, count: int, seed: int) -> list[Array]:
    """The content of the mixes, if the statistics were those of other sources."""
    if content is None:
        return []
    generator = np.random.default_rng(seed)
    return [content.permuted(generator).of_mixes(swarm.sources, swarm.shares) for _ in range(count)]


def _new_columns(mixes: Mixes, swarm: Swarm, content: Content | None, path: str) -> tuple[Mixes, Columns]:
    """The new mixes in the columns of the swarm. A source that no mix of the swarm has is priced by content alone."""
    place = {name: j for j, name in enumerate(mixes.sources)}
    unseen = [s for s in mixes.sources if s not in swarm.sources and mixes.shares[:, place[s]].any()]
    if unseen and content is None:
        raise InputError(
            f"--for: {path!r}: no mix of the swarm has the source {unseen[0]!r}; add --statistics, which says what "
            "the sources are like"
        )
    none = np.zeros(len(mixes.ids))
    shares = np.stack([mixes.shares[:, place[s]] if s in place else none for s in swarm.sources], axis=1)
    own = content.of_mixes(mixes.sources, mixes.shares) if content else np.empty((len(mixes.ids), 0))
    return mixes, Columns(shares, own)


def _predictions(
    mixes: Mixes, columns: Columns, outcomes: Sequence[str], processes: Sequence[Process], distances: Sequence[float]
) -> str:
    """One row for each mix and outcome."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["mix", "outcome", "predicted", "low", "high"])
    by_outcome = [
        (process.predict(columns), *interval(process, columns, d))
        for process, d in zip(processes, distances, strict=True)
    ]
    for i, name in enumerate(mixes.ids):
        for o, outcome in enumerate(outcomes):
            writer.writerow([name, outcome, *(f"{values[i]:.6g}" for values in by_outcome[o])])
    return out.getvalue()


def model_of(
    swarm: Swarm, content: Content | None, processes: Sequence[Process], distances: Sequence[float]
) -> dict[str, Any]:
    """What a fitted process is made of: the mixes, and the hyperparameters for each outcome."""
    return {
        "name": OURS,
        "ids": [list(i) for i in swarm.ids],
        "shares": swarm.shares.tolist(),
        "values": [[None if np.isnan(v) else float(v) for v in row] for row in swarm.values],
        "repeats": swarm.repeats.tolist(),
        "content": {
            "sources": list(content.sources),
            "columns": list(content.columns),
            "values": content.values.tolist(),
        }
        if content
        else None,
        "processes": [
            {
                "theta": p.surface.theta.tolist(),
                "center": p.center.tolist(),
                "scale": p.scale.tolist(),
                "middle": p.middle,
                "width": p.width,
                "is_log": p.is_log,
                "reach": d if math.isfinite(d) else None,
            }
            for p, d in zip(processes, distances, strict=True)
        ],
    }


def _digests(path: str) -> dict[str, str]:
    """Digests by name: of the file, or of the manifests in a folder."""
    names = [path]
    if os.path.isdir(path):
        names = sorted(os.path.join(at, f) for at, _, files in os.walk(path) for f in files if f in (MANIFEST, RUN))
    digests = {}
    for name in names:
        with open(name, "rb") as file:
            digests[os.path.relpath(name, path) if name != path else os.path.basename(name)] = file_digest(file)
    return digests
