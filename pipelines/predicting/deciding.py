"""`tagcorpus predict --decide`: decide which of two corpora makes the better model at a target size, and check past decisions.

    <output>/decision/decide.json     shares of pairs by task and way, the floor of noise, the ranking
    <output>/decision/decisions.csv   every pair and way

The ways and their intervals are predictor/protocols/decisions.py.
"""

from __future__ import annotations

import csv
import io
import json
import math
import os
from collections.abc import Mapping, Sequence
from typing import Any

from tagcorpus.errors import ConfigError, InputError
from tagcorpus.pipelines.options.commands.predict import PredictOptions
from tagcorpus.pipelines.options.places import check_place
from tagcorpus.pipelines.predicting.features import features_of
from tagcorpus.pipelines.predicting.files import check_target, default_folder
from tagcorpus.pipelines.predicting.terminal import wrapped
from tagcorpus.pipelines.progress.display import Display
from tagcorpus.pipelines.runs.made_from import MadeFrom
from tagcorpus.pipelines.storage.folder import Folder
from tagcorpus.pipelines.storage.outputs import publish_file
from tagcorpus.predictor.protocols import decided
from tagcorpus.predictor.protocols.decision_runs import runs_of
from tagcorpus.predictor.protocols.tables import aligned
from tagcorpus.predictor.records.checkpoints import TABLE, size_in_words
from tagcorpus.predictor.records.tasks import PUBLISHED, Task, normalised, shots_of, task, tasks
from tagcorpus.predictor.store.store import Store

BEGINS = {".json": '{\n "decide": ', ".csv": f"{','.join(decided.ROW_COLUMNS)}\n"}
SUFFIXES = tuple(BEGINS)
FILES = ("decision/decide.json", "decision/decisions.csv")
NOT_READ = ("predictors", "select", "sel_features", "new_model", "extrapolate", "reproduce", "figures")
SHOWN_WAYS = 12


def report(request: PredictOptions, display: Display) -> str:
    """Decide, publish the files, and return the text to print. Raises ConfigError and InputError."""
    target, origin = _check(request)
    with Store.from_existing(request.db) as store:
        if TABLE not in store.tables:
            raise InputError(
                f"--db: {request.db!r} has no checkpoints; runs of corpora come with an import (docs/importing.md)"
            )
        tags = _tags(request.features, store, display)
        chosen = tasks(request.tasks, request.metric) if request.tasks else _tasks(store.con, request.metric)
        outcomes = []
        for one in chosen:
            by_metric = runs_of(store.con, one)
            metric = decided.metric_of(by_metric, one, request.metric is not None)
            outcomes.append(decided.decide(one, by_metric, metric, target, tags))
    document = {
        "decide": True,
        "target_size": target,
        "unit": "share of pairs",
        "tasks": [o.document for o in outcomes],
    }
    text = json.dumps(document, indent=1, ensure_ascii=False)
    if origin.note:
        display.say(wrapped(origin.note))
    origin.publish()
    where = _publish(request, text, _csv([row for o in outcomes for row in o.rows]))
    display.say(f"-> {where}")
    return text if request.as_json else wrapped("\n\n".join(terminal(o.document) for o in outcomes))


def _check(request: PredictOptions) -> tuple[int, MadeFrom]:
    """The target size, and what the result is made from. Raises ConfigError for options that do not go together."""
    if request.target_size is None:
        raise ConfigError("--decide needs the size that the decision is for: --target-size S, as in 1B or 6900000000")
    for name in NOT_READ:
        if getattr(request, name):
            raise ConfigError(f"--decide does not go with --{name.replace('_', '-')}: that belongs to the protocols")
    check_place("output", request.output, SUFFIXES)
    origin = check_target(request, default_folder(request.db), FILES, BEGINS)
    size = size_in_words(request.target_size)
    if not size:
        raise ConfigError(
            f"--target-size must be a number of parameters, as in 150M or 1B, not {request.target_size!r}"
        )
    return size, origin


def _tags(path: str | None, store: Store, display: Display) -> dict[str, list[float]]:
    """Corpus -> features, from a table whose ids are corpora: that of `path`, or the store's where it has such ids."""
    table, _ = features_of(path, store, display)
    if table is None:
        return {}
    corpora = {r[0] for r in store.con.execute("SELECT DISTINCT corpus FROM checkpoints").fetchall()}
    known = [i for i in table.index if i in corpora]
    if path is not None and not known:
        raise ConfigError(
            f"--features {path}: none of its ids is a corpus of the store; the table of tags has one row a corpus"
        )
    columns = [c for c in table.columns if table.loc[known, c].notna().any()]
    return {i: [float(v) for v in table.loc[i, columns]] for i in known}


def _tasks(con: Any, metric: str | None) -> list[Task]:
    """Every task with scores of runs that name a corpus."""
    query = (
        "SELECT DISTINCT benchmark, setting FROM checkpoints JOIN evaluation_results USING (id) WHERE corpus IS NOT NULL "
        "AND ($metric IS NULL OR metric = $metric) ORDER BY ALL"
    )
    try:
        rows = con.execute(query, {"metric": metric}).fetchall()
    except Exception as error:
        raise InputError(
            f"the store has no checkpoints, and nothing to decide by: {str(error).splitlines()[0]}"
        ) from None
    names: dict[str, Task] = {}
    for benchmark, setting in rows:
        if (shots := shots_of(setting)) is not None:
            plain = normalised(benchmark)
            known = next((t for t in PUBLISHED.values() if t.shots == shots and t.has(plain)), None)
            one = known or task(f"{plain}:{shots}")
            names[one.name] = one
    if not names:
        raise InputError("the store has no scores of runs with a corpus" + (f" by {metric!r}" if metric else ""))
    return tasks(tuple(names), metric)


def _csv(rows: Sequence[Sequence[Any]]) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(decided.ROW_COLUMNS)
    writer.writerows(rows)
    return out.getvalue()


def _publish(request: PredictOptions, text: str, rows: str) -> str:
    ending = os.path.splitext(request.output or "")[1].lower()
    if request.output is not None and ending in SUFFIXES:
        publish_file(request.output, [(text + "\n" if ending == ".json" else rows).encode()])
        return request.output
    output = Folder(request.output or default_folder(request.db))
    for name, content in zip(FILES, (f"{text}\n", rows), strict=True):
        output.publish(name, content.encode())
    return f"{output}/decision"


def terminal(task: Mapping[str, Any]) -> str:
    """One task as text."""
    direction = ", lower is better" if task["is_lower_better"] else ""
    lines = [
        f"{task['task']}, {task['shots']}-shot, by {task['metric']}{direction}: {task['corpora']} corpora, "
        f"target size {_size(task['target_size'])}"
    ]
    if not task["is_target_measured"]:
        lines.append("no run has the target size: the ranking cannot be checked")
    else:
        rows: list[tuple[str, ...]] = [("way", "metric", "sizes", "right", "95 %", "minus baseline", "clear")]
        pairs = max(w["right"]["pairs"] for w in task["ways"] if w["right"])
        rows += [_row(w, task["baseline"], pairs) for w in _shown(task) if w["right"]]
        lines += aligned(rows)
        if len(task["ways"]) > SHOWN_WAYS:
            lines.append(f"the {SHOWN_WAYS} best of {len(task['ways'])} ways and the baseline; decide.json has all")
        lines.append(
            f"right: share of {pairs} pairs; clear: of pairs whose scores differ by more than two errors of seeds"
        )
        lines.append("the best of many ways is better here than it will be on new corpora")
        lines += _noise(task["floor"])
    if task["ranking"]:
        order = ", ".join(r["corpus"] for r in task["ranking"])
        lines.append(f"ranking by {task['ranking'][0]['way']}, the best first: {order}")
    return "\n".join([*lines, *task["notes"]])


def _shown(task: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The baseline first, then the others by share."""
    base = task["baseline"]
    first = [w for w in task["ways"] if _is(w, base)]
    others = sorted((w for w in task["ways"] if w["right"] and not _is(w, base)), key=lambda w: -w["right"]["value"])
    return first + others[:SHOWN_WAYS]


def _is(way: Mapping[str, Any], base: Mapping[str, Any] | None) -> bool:
    return base is not None and all(way[k] == base[k] for k in ("way", "metric", "sizes"))


def _row(way: Mapping[str, Any], base: Mapping[str, Any] | None, pairs: int) -> tuple[str, ...]:
    right, gap = way["right"], way["difference"]
    sizes = [_size(s) for s in way["sizes"]]
    interval = "few corpora" if right["low"] is None else f"{right['low']:.2f} to {right['high']:.2f}"
    against = "(baseline)" if _is(way, base) else ""
    if gap is not None:
        against = f"{gap['value']:+.2f}" + ("" if gap["low"] is None else f" ({gap['low']:+.2f}, {gap['high']:+.2f})")
    clear = "" if right["clear"] is None else f"{right['clear']:.2f}"
    share = f"{right['value']:.2f}" + ("" if right["pairs"] == pairs else f" of {right['pairs']}")
    named = sizes[0] if len(sizes) == 1 else f"{sizes[0]} to {sizes[-1]}" if sizes else "none"
    return way["way"], way["metric"], named, share, interval, against, clear


def _noise(floor: Mapping[str, Any] | None) -> list[str]:
    if floor is None or floor["repeated"] is None:
        return ["noise between seeds: not known, for each corpus has one run of the target size"]
    again = floor["repeated"]["value"]
    lines = [
        f"noise between seeds: one more run of the target size itself agrees with the others in {again:.2f} of pairs"
    ]
    if floor["ceiling"] is not None:
        lines.append(
            f"the best possible, for normal effects and {floor['seeds']} seeds at the target: {floor['ceiling']:.2f}"
        )
    return lines


def _size(size: int) -> str:
    for unit, name in ((1e9, "B"), (1e6, "M"), (1e3, "K")):
        if size >= unit:
            return f"{size / unit:.3g}{name}"
    return str(math.floor(size))
