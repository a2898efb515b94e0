"""Read the mixes of a swarm and their outcomes: two tables that are joined by an id.

Shares come as RegMix's and olmix's CSV (an id, then a column for each source), or as manifests of `mix make`, or as a folder of
such manifests. Outcomes come as CSV (an id, then a column for each outcome), or as a folder of models that `train` wrote. Content
decides what a file is, not its name.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from tagcorpus.errors import ConfigError, InputError, spelled_otherwise, unknown_name
from tagcorpus.pipelines.feature_table.table import decimals, kind_of
from tagcorpus.pipelines.storage.sealed import proven
from tagcorpus.predictor.records.annotations import csv_rows, text_of
from tagcorpus.predictor.records.plain_values import LARGEST, number

Array = np.ndarray[Any, Any]
# Columns that name a run, the first of a table counts: olmix's two, that of `mix swarm`, RegMix's, pandas' index.
IDS = ("run", "run_id", "mix", "id", "index", "name", "")
SEED = "seed"
# A sum of shares may miss 1 by so much, or by what the written decimals explain, and never by more than olmix accepts.
TOLERANCE, MOST_ROUNDING = 1e-3, 1e-2
MANIFEST, RUN = "mix.json", "run.json"
SHOWN = 3
LEAST_MIXES = 10
SCALES_APART = 2.0
TEXT = ("text", "decimal_comma")
_WORD = re.compile(r"[a-z]+[0-9]*")
LOSS_WORDS = {"loss", "losses", "perplexity", "ppl", "bits", "bpb", "nll", "brier", "error", "errors", "entropy"}
SCORE_WORDS = {"acc", "accuracy", "f1", "score", "scores", "exact", "bleu", "rouge", "pass"}


@dataclass(frozen=True)
class Mixes:
    """Mixes by id.

    shares      float64 [mixes, sources], rows add up to 1
    statistics  source -> column -> mean, of manifests with tag statistics
    keys        key of a manifest -> id
    """

    ids: tuple[str, ...]
    sources: tuple[str, ...]
    shares: Array
    statistics: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    keys: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Swarm:
    """Mixes with outcomes. Runs of equal shares are one mix with several seeds.

    ids      a list of runs for each mix
    shares   float64 [mixes, sources]
    values   float64 [mixes, outcomes], the mean over seeds; NaN where no run has the outcome
    repeats  int64 [mixes, outcomes], runs that have the outcome
    spread   float64 [outcomes], standard deviation between seeds of one mix, pooled; NaN where no mix has two
    freedom  int64 [outcomes], degrees of freedom of `spread`
    """

    ids: tuple[tuple[str, ...], ...]
    sources: tuple[str, ...]
    outcomes: tuple[str, ...]
    shares: Array
    values: Array
    repeats: Array
    spread: Array
    freedom: Array


def read_mixes(path: str, id_column: str | None = None) -> Mixes:
    """The mixes of a CSV, of a manifest, or of the manifests in a folder. Raises InputError for anything else."""
    place = Path(path)
    if place.is_dir():
        files = sorted(place.rglob(MANIFEST))
        if not files:
            raise InputError(f"{path!r} has no {MANIFEST}; name a folder of mixes, or a CSV of shares")
        return _of_manifests([(str(f.parent.relative_to(place)), f) for f in files])
    text = text_of(place)
    if text.lstrip().startswith("{"):
        return _of_manifests([(place.parent.name if place.name == MANIFEST else place.stem, place)])
    rows = list(csv_rows(place, text))
    key = _id_column(path, rows, id_column)
    sources = tuple(name for name in rows[0][1] if name not in (*IDS, SEED, key))
    if not sources:
        raise InputError(f"{path!r} has no column of shares beside {key!r}")
    shares = np.empty((len(rows), len(sources)))
    for i, (where, row) in enumerate(rows):
        for j, source in enumerate(sources):
            share = number(row[source])
            if share is None or not 0 <= share <= 1:
                raise InputError(
                    f"{path!r}: {where}, column {source!r}: {row[source]!r} is not a share between 0 and 1"
                )
            shares[i, j] = share + 0.0  # -0.0 has other bytes than 0.0, and equal shares are one mix
    unit = 10.0 ** -decimals(cell for _, row in rows for cell in (row[s] for s in sources))
    names = [f"{where} ({row[key]!r})" for where, row in rows]
    return Mixes(_distinct(path, [row[key] for _, row in rows]), sources, _normalised(path, names, shares, unit))


def _normalised(path: str, names: Sequence[str], shares: Array, unit: float) -> Array:
    """Shares whose rows add up to 1. unit: that of the last written decimal, which each share may be rounded to."""
    sums = shares.sum(axis=1)
    rounding = np.minimum(MOST_ROUNDING, 0.5 * unit * np.maximum((shares > 0).sum(axis=1), 1))
    if unit == 1:  # whole numbers are not rounded
        rounding = np.zeros_like(sums)
    wrong = np.flatnonzero(np.abs(sums - 1) > np.maximum(TOLERANCE, rounding) + 1e-12)
    if len(wrong):
        i = int(wrong[0])
        others = f" (and of {len(wrong) - 1:,} more rows)" if len(wrong) > 1 else ""
        raise InputError(f"{path!r}: {names[i]}: the shares add up to {sums[i]:.6g}{others}; they must add up to 1")
    normalised: Array = shares / sums[:, None]
    return normalised


def _of_manifests(files: Sequence[tuple[str, Path]]) -> Mixes:
    """Shares as they are in the mixes, and the tag statistics of their groups."""
    shares: list[dict[str, float]] = []
    statistics: dict[str, dict[str, float]] = {}
    keys = {}
    for mix_id, path in files:
        own = {}
        key, groups = _groups_of(path)
        keys[key] = mix_id
        for name, group in groups.items():
            share = group.get("share") if isinstance(group, Mapping) else None
            if isinstance(share, bool) or not isinstance(share, int | float) or not 0 <= share <= 1:
                raise InputError(f"{str(path)!r}: the share of group {name!r} is {share!r}, not between 0 and 1")
            own[name] = float(group["share"])
            means = group.get("statistics") or {}
            columns = {c: float(one["mean"]) for c, one in means.items() if one.get("mean") is not None}
            if statistics.setdefault(name, columns) != columns:
                raise InputError(f"{str(path)!r}: the tag statistics of {name!r} differ from those in another mix")
        shares.append(own)
    sources = tuple(sorted({name for one in shares for name in one}))
    table = np.array([[one.get(name, 0.0) for name in sources] for one in shares])
    names = [str(path) for _, path in files]
    ids = _distinct("the folder of mixes", [n for n, _ in files])
    return Mixes(ids, sources, _normalised("the folder of mixes", names, table, 1e-12), statistics, keys)


def _groups_of(path: Path) -> tuple[str, Mapping[str, Any]]:
    """The key and the groups of a manifest of `mix make`. Raises InputError for any other file."""
    document = proven(path.read_bytes()) or {}
    groups = document.get("groups")
    if not isinstance(groups, Mapping) or not groups:
        raise InputError(f"{str(path)!r} is not a whole manifest of tagcorpus mix make; make the mix again")
    return str(document.get("key")), groups


def _of_models(folder: str, keys: Mapping[str, str], say: Callable[[str], None]) -> list[tuple[str, dict[str, str]]]:
    """A row for each model below the folder, as of a CSV: id of its mix, seed, and the held-out loss of each group, in bits per byte if
    all models have them, else in nats a token. A mix that `keys` does not have counts by the name of the model's folder."""
    runs = []
    for path in sorted(Path(folder).rglob(RUN)):
        document = proven(path.read_bytes()) or {}
        result = document.get("result") or {}
        if not result.get("held_out"):
            raise InputError(
                f"{str(path)!r} has no held-out losses: train on token files of `run tokenize --held-out SHARE`"
            )
        runs.append((path.parent, document["identity"], result["held_out"]))
    if not runs:
        raise InputError(f"{folder!r} has no {RUN} of a trained model; name a folder of models, or a CSV of outcomes")
    settings = {k: {str(i.get(k)) for _, i, _ in runs} for k in runs[0][1] if k not in ("mix", SEED)}
    if differing := [k for k, values in settings.items() if len(values) > 1]:
        say(f"the models in {folder!r} differ in {', '.join(differing)}, and so in more than their mixes")
    groups = sorted({group for _, _, held_out in runs for group in held_out})
    has_bits = all("bits_per_byte" in one for _, _, held_out in runs for one in held_out.values())
    kind, prefix = ("bits_per_byte", "bits_") if has_bits else ("loss", "loss_")
    return [
        (
            str(place),
            {"mix": keys.get(identity["mix"], place.name), SEED: str(identity[SEED])}
            | {f"{prefix}{group}": repr(held_out[group][kind]) if group in held_out else "" for group in groups},
        )
        for place, identity, held_out in runs
    ]


def read_swarm(
    mixes: Mixes,
    path: str,
    chosen: Sequence[str],
    say: Callable[[str], None],
    id_column: str | None = None,
    shares_path: str = "the shares",
) -> Swarm:
    """Join outcomes to mixes. chosen: columns of outcomes; none: all columns of numbers. say: gets a line for each oddity."""
    is_of_models = Path(path).is_dir()
    rows = _of_models(path, mixes.keys, say) if is_of_models else list(csv_rows(Path(path), text_of(Path(path))))
    key = "mix" if is_of_models else _id_column(path, rows, id_column)
    header = list(rows[0][1])
    for name in chosen:
        if name not in header:
            raise ConfigError(unknown_name("column", name, header, "--outcome"))
    has_seeds = SEED in header
    ids = [row[key] for _, row in rows]
    _distinct(path, [f"{i} seed {row[SEED]}" if has_seeds else i for i, (_, row) in zip(ids, rows, strict=True)])
    columns = {name: _column(name, rows) for name in header if name not in (*IDS, SEED, key)}
    outcomes = _outcomes(rows, columns, chosen, say)
    for name in outcomes:
        _check_size(path, name, rows, columns[name] or [])
        _say_odd(name, rows, columns[name] or [], say)
    place = {name: i for i, name in enumerate(mixes.ids)}
    joined = [(r, place[i]) for r, i in enumerate(ids) if i in place]
    if not joined:
        spelling = spelled_otherwise(ids, mixes.ids)
        raise InputError(
            f"no id of {path!r} (column {key!r}, first {ids[0]!r}) is in {shares_path!r} (first {mixes.ids[0]!r}); "
            + ("give the folder of mixes as SHARES" if is_of_models else "name the column of ids with --id")
            + (f"; {spelling}" if spelling else "")
        )
    known = set(ids)
    _say_unjoined([i for i in ids if i not in place], mixes.ids, path, shares_path, say)
    _say_unjoined([i for i in mixes.ids if i not in known], ids, shares_path, path, say)
    table = np.array([columns[o] or [] for o in outcomes]).T[[r for r, _ in joined]]
    for o, missing in zip(outcomes, np.isnan(table).sum(axis=0), strict=True):
        if missing:
            say(f"{o}: {missing:,} of {len(table):,} runs have no value and are left out of this outcome")
    return _by_mix(mixes, [i for _, i in joined], table, outcomes)


def _by_mix(mixes: Mixes, rows: Sequence[int], table: Array, outcomes: Sequence[str]) -> Swarm:
    """Runs with equal shares as one mix, in the order of their first run."""
    index: dict[bytes, int] = {}
    of_run = np.array([index.setdefault(mixes.shares[i].tobytes(), len(index)) for i in rows])
    first = [int(np.flatnonzero(of_run == m)[0]) for m in range(len(index))]
    is_there = ~np.isnan(table)
    repeats = np.stack([np.bincount(of_run, is_there[:, o], len(index)) for o in range(len(outcomes))], axis=1)
    filled = np.where(is_there, table, 0)
    sums = np.stack([np.bincount(of_run, filled[:, o], len(index)) for o in range(len(outcomes))], axis=1)
    with np.errstate(invalid="ignore"):
        values = np.where(repeats > 0, sums / repeats, np.nan)
        squares = np.where(is_there, (table - values[of_run]) ** 2, 0).sum(axis=0)
        freedom = np.maximum(repeats - 1, 0).sum(axis=0).astype(np.int64)
        spread = np.where(freedom > 0, np.sqrt(squares / freedom), np.nan)
    return Swarm(
        tuple(tuple(mixes.ids[i] for i, k in zip(rows, of_run, strict=True) if k == m) for m in range(len(index))),
        mixes.sources,
        tuple(outcomes),
        mixes.shares[np.asarray(rows)[first]],
        values,
        repeats.astype(np.int64),
        spread,
        freedom,
    )


def _outcomes(
    rows: Sequence[tuple[str, Mapping[str, str]]],
    columns: Mapping[str, list[float] | None],
    chosen: Sequence[str],
    say: Callable[[str], None],
) -> list[str]:
    """The columns to predict. One that has text or a single value is an error where it was chosen, else left out."""
    outcomes = []
    for name in chosen or columns:
        values = [v for v in columns.get(name) or [] if not math.isnan(v)]
        why = "has less than two values" if len(set(values)) < 2 else ""
        if columns.get(name) is None:
            why = next(f"has text ({where}: {row[name]!r})" for where, row in rows if kind_of(row[name]) in TEXT)
        if why and chosen:
            raise InputError(f"--outcome {name}: the column {why}; there is nothing to predict")
        if why:
            say(f"{name}: left out, because the column {why}")
        else:
            outcomes.append(name)
    if not outcomes:
        raise InputError("no column of outcomes has two different numbers")
    return outcomes


def _column(name: str, rows: Sequence[tuple[str, Mapping[str, str]]]) -> list[float] | None:
    """The column's numbers, infinite ones among them, and NaN where there is none; None for a column of text."""
    values = []
    for _, row in rows:
        kind = kind_of(row[name])
        if kind in TEXT:
            return None
        value = math.inf if kind == "not_finite" else number(row[name])
        values.append(math.nan if value is None else value)
    return values


def _check_size(path: str, name: str, rows: Sequence[tuple[str, Mapping[str, str]]], values: Sequence[float]) -> None:
    """Raise InputError for a number that no fit can use."""
    for (where, row), value in zip(rows, values, strict=True):
        if abs(value) > LARGEST:
            raise InputError(
                f"{path!r}: {where}, column {name!r}: {row[name]!r} is not an outcome between -{LARGEST:g} and {LARGEST:g}. "
                "Leave the cell empty where a run has no outcome"
            )


def kind_by_name(outcome: str) -> Literal["loss", "score", ""]:
    """Whether an outcome is a loss or a score by the words of its name; "" where they do not tell."""
    words = set(_WORD.findall(outcome.lower()))
    is_loss, is_score = bool(words & LOSS_WORDS), bool(words & SCORE_WORDS)
    return "" if is_loss == is_score else "loss" if is_loss else "score"


def _say_odd(
    name: str, rows: Sequence[tuple[str, Mapping[str, str]]], values: Sequence[float], say: Callable[[str], None]
) -> None:
    """Say what a loss or a score by its name cannot be: 0 or less beside losses, shares beside percentages."""
    kind = kind_by_name(name)
    low = [(where, row[name]) for (where, row), v in zip(rows, values, strict=True) if v <= 0]
    if kind == "loss" and low and any(v > 0 for v in values):
        say(
            f"caution: {name} is {low[0][1]} in {low[0][0]} ({len(low):,} such values), and no loss is: did these runs fail?"
        )
    shares, above = [v for v in values if 0 < v <= 1], [v for v in values if v > 1]
    if kind == "score" and shares and above and min(above) >= SCALES_APART * max(shares):
        say(
            f"caution: {name} has {len(shares):,} values up to {max(shares):g} and {len(above):,} from {min(above):g}: shares beside percentages?"
        )


def _id_column(path: str, rows: Sequence[tuple[str, Mapping[str, str]]], given: str | None) -> str:
    if not rows:
        raise InputError(f"{path!r} has no rows")
    header = list(rows[0][1])
    if given is not None:
        if given not in header:
            raise ConfigError(unknown_name("column", given, header, "--id"))
        return given
    for name in IDS:
        if name in header:
            return name
    raise InputError(
        f"{path!r} has no column of ids ({', '.join(n for n in IDS if n)}); name the column of ids with --id"
    )


def _distinct(path: str, ids: Sequence[str]) -> tuple[str, ...]:
    twice = [name for name, count in Counter(ids).items() if count > 1]
    if twice:
        raise InputError(
            f"{path!r} has {twice[0]!r} more than once ({len(twice):,} such ids); give each run an id of its own"
        )
    return tuple(ids)


def _say_unjoined(
    ids: Sequence[str], known: Sequence[str], there: str, elsewhere: str, say: Callable[[str], None]
) -> None:
    if ids:
        names = ", ".join(repr(i) for i in ids[:SHOWN]) + (", ..." if len(ids) > SHOWN else "")
        clause = f"; {spelling}" if (spelling := spelled_otherwise(ids, known)) else ""
        say(f"ids of {there!r} that are not in {elsewhere!r} are left out, {len(ids):,} in all: {names}{clause}")
