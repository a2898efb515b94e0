"""The feature table of `tagcorpus predict`: its check before the join, and messages about the join."""

from __future__ import annotations

import difflib
import math
from collections.abc import Sequence
from typing import Any

from tagcorpus.errors import ConfigError, InputError, folded, spelled_otherwise
from tagcorpus.pipelines.feature_table import check
from tagcorpus.pipelines.feature_table.columns import ID, columns
from tagcorpus.pipelines.feature_table.table import FeatureTable, Row, read_table
from tagcorpus.pipelines.progress.display import Display
from tagcorpus.predictor.learners import models
from tagcorpus.predictor.learners.data import Dataset, read_features
from tagcorpus.predictor.learners.evaluation import Settings
from tagcorpus.predictor.records.findings import Finding
from tagcorpus.predictor.records.scores import score_columns
from tagcorpus.predictor.store.store import Store

# Errors of a feature table that a predictor can read nevertheless. The run prints them and goes on.
BEARABLE = ("missing_column", "minus_one", "out_of_range", "larger_than_its_bound", "domains_do_not_add_up")
SHOWN = 10
"""Unknown ids that the terminal names: each is compared with all ids of the store."""
ABOUT_PUBLISHED = ("missing_column", "missing_empty_column", "unknown_column")


def features_of(path: str | None, store: Store, display: Display) -> tuple[Any, list[Finding]]:
    """The feature table (of the file, else the one imported into the store, else None) and the findings of its check.

    Raises InputError for a table that would be misread, and for one with scores.
    """
    if path is None:
        stored = store.features()
        where = f"the feature table of {str(store.path)!r}"
        _refuse_scores(where, stored.columns, store)
        if not len(stored):
            return None, []
        cells = [
            [str(id_), *("" if math.isnan(v) else repr(float(v)) for v in values)]
            for id_, *values in stored.itertuples(index=False)
        ]
        rows = [Row(i, own) for i, own in enumerate(cells, 1)]
        return stored.set_index("id"), _findings(FeatureTable(where, list(stored.columns), rows), where, "", display)
    table = read_table(path, "--features")
    _refuse_scores(f"--features {path}", table.header, store)
    remedy = f"; `tagcorpus check-features {path}` lists everything"
    findings = _findings(table, f"--features: {path}", remedy, display)
    return read_features(path), findings


def _findings(table: FeatureTable, where: str, remedy: str, display: Display) -> list[Finding]:
    """What the check of a table says, without notes; the run prints it. Raises InputError for a table that would be misread."""
    findings = [f for f in check.check(table) if f.severity != "note"]
    fatal = [f for f in findings if f.severity == "error" and f.check not in BEARABLE]
    if fatal:
        place = f": {fatal[0].where[0]}" if fatal[0].where else ""
        raise InputError(f"{where}: {fatal[0].check}: {fatal[0].message}{place}{remedy}")
    is_own = not set(table.header) & (set(columns()) - {ID})
    for f in findings:
        # A table without any published column is the user's own: missing and unknown columns are not findings.
        if not (is_own and f.check in ABOUT_PUBLISHED):
            display.say(f"{f.severity} in {table.path}: {f.message} ({f.count:,})")
    return findings


def refuse_unused(path: str, data: Dataset, settings: Settings, protocol: str, adds: Sequence[str]) -> None:
    """Raise ConfigError where no predictor of the run uses a column of the table. adds: columns named by --adds.

    The published scripts always ask for the published table, so the paper protocol takes one without using it.
    """
    own = set(data.generated)
    if protocol == "paper" and own & set(columns()):
        return
    defaults = models.names_for(data) if protocol == "grouped" else ()
    names = settings.predictors or defaults
    used = {c for n in names if n in models.MODELS for c in models.MODELS[n].columns} | set(settings.selected or ())
    if adds or settings.select is not None or set(names) & {"all", "no-scale"} or own & used:
        return
    raise ConfigError(
        f"--features {path}: no predictor of this run uses any of its {len(own)} columns. Name columns "
        "(--sel-features F,F), let the data select (--select forward), or take all (--predictor all)"
    )


def _refuse_scores(table: str, columns: Sequence[str], store: Store) -> None:
    if scores := score_columns(store.con, columns):
        raise InputError(
            f"{table}: column {scores[0]!r} is a score, and a score is not a feature"
            + (f" (so are {len(scores) - 1} more)" if len(scores) > 1 else "")
            + "; import scores with `tagcorpus store import`, and leave them out here"
        )


def say_similar_ids(data: Dataset, display: Display) -> None:
    """Say which models of the data set differ by case or spaces only: perhaps one model in training and in test."""
    by_fold: dict[str, str] = {}
    pairs = [(other, m) for m in data.ids if (other := by_fold.setdefault(folded(m), m)) != m]
    if pairs:
        one, other = pairs[0]
        more = f" ({len(pairs):,} such pairs)" if len(pairs) > 1 else ""
        display.say(f"models {one!r} and {other!r} differ by case or spaces only{more}: is one model here twice?")


def say_ids(data: Dataset, features: Any, display: Display) -> None:
    """Say how many ids of the feature table are models of the data set, and name the others."""
    if features is None:
        return
    n = data.noticed
    met = len(features.index) - len(n.unused_features)
    line = f"{met:,} of the {len(features.index):,} models in the feature table have a score of {data.task.name}"
    if n.without_features:
        line += (
            f"; {len(n.without_features):,} models with a score have no row in it ({', '.join(n.without_features[:5])})"
        )
    display.say(line)
    if spelling := spelled_otherwise(n.unknown_features, [*data.ids, *n.without_scale]):
        display.say(f"feature table: the store does not have {len(n.unknown_features):,} ids; {spelling}")
    for unknown in n.unknown_features[:SHOWN]:
        near = difflib.get_close_matches(unknown, data.ids + n.without_scale, n=1, cutoff=0.8)
        display.say(f"feature table: the store has no model {unknown!r}" + (f"; is it {near[0]!r}?" if near else ""))
    if (more := len(n.unknown_features) - SHOWN) > 0:
        display.say(f"feature table: {more:,} more such ids; the results list all as unknown_features")
    if n.empty:
        display.say(f"columns without any value: {', '.join(n.empty)}")
    if n.constant:
        display.say(f"columns with one value only: {', '.join(n.constant)}")
    if n.sentinels:
        cells = ", ".join(f"{c} {k}" for c, k in n.sentinels.items())
        display.say(f"cells of -1, taken for missing: {cells}")
