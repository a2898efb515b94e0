"""Into the store: results files, annotations, tables of scores and of features; all files of a call or none of them.

Everything is read and checked first. Then one transaction compares every value with what is stored and writes: what is
new is added, what was missing (NULL) is filled in, what is the same stays. Another value under the same key is a
conflict; unless told which wins, nothing at all is written and every conflict is named. The table `imports` says which
file brought what, and when. A process killed at any moment leaves the store as it was before or after the transaction:
DuckDB replays or drops its log when the file is opened next.

Equal are numbers that differ by less than 1e-9 of their size (a CSV may have fewer digits), and NaN and NaN. A score of
a benchmark that the store has under its other name (hendrycksTest-anatomy, mmlu_anatomy) is compared with that one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from tagcorpus import __version__
from tagcorpus.errors import ConflictError, InputError
from tagcorpus.predictor import makers
from tagcorpus.predictor.store_batch import Batch, Key, Kind, is_equal, read_batch
from tagcorpus.predictor.store_files import create as create_store
from tagcorpus.predictor.store_files import open_for_writing, tables, told_of_writing
from tagcorpus.predictor.tasks import normalised

OnConflict = Literal["refuse", "keep", "replace"]
KEYS = {
    "model_annotations": ("id",),
    "dataset_info": ("id",),
    makers.TABLE: ("id",),
    "evaluation_results": ("id", "benchmark", "setting", "metric"),
    "features": ("id", "feature"),
}
_OWN_TABLES = f"""
CREATE TABLE IF NOT EXISTS imports(time TIMESTAMP, file VARCHAR, digest VARCHAR, kind VARCHAR, on_conflict VARCHAR,
    n_new BIGINT, n_filled BIGINT, n_same BIGINT, n_replaced BIGINT, n_kept BIGINT, version VARCHAR);
CREATE TABLE IF NOT EXISTS features(id VARCHAR, feature VARCHAR, value DOUBLE, PRIMARY KEY(id, feature));
CREATE TABLE IF NOT EXISTS feature_columns(feature VARCHAR PRIMARY KEY, position BIGINT);
CREATE TABLE IF NOT EXISTS {makers.TABLE}({makers.COLUMNS});
"""


@dataclass(frozen=True)
class Conflict:
    """Two values for one field of one key."""

    file: str
    table: str
    key: Key
    column: str
    stored: Any
    given: Any

    def __str__(self) -> str:
        return f"{self.file}: {' '.join(self.key)}, {self.column}: {self.given!r}, but the store has {self.stored!r}"


@dataclass
class Imported:
    """What became of one file. Counts are of fields of annotations, scores, or cells of features; a standard error counts
    only where it was filled in or differs."""

    file: str
    kind: Kind
    digest: str
    n_new: int = 0
    n_filled: int = 0
    n_same: int = 0
    n_replaced: int = 0
    n_kept: int = 0
    notes: tuple[str, ...] = ()
    conflicts: list[Conflict] = field(default_factory=list)


def import_files(
    store: str | Path,
    files: Sequence[str | Path],
    *,
    on_conflict: OnConflict = "refuse",
    model_id: str | None = None,
    create: bool = False,
) -> list[Imported]:
    """Bring `files` into the .duckdb file `store`, in one transaction.

    on_conflict   refuse: raise; keep: the stored value stays; replace: the file's value wins
    model_id      the model of results files that do not say it
    create        start an empty store where there is none
    Raises InputError for a file that is not sound, ConflictError, and OutputError for a full disk; nothing is imported then.
    """
    store = Path(store)
    batches = [read_batch(f, model_id=model_id) for f in files]
    if create and not store.exists():
        create_store(store)
    con = open_for_writing(store)
    try:
        with told_of_writing(store):
            con.execute("BEGIN")
            done = write_batches(con, batches, on_conflict)
            con.execute("COMMIT")
    except BaseException:
        con.close()  # what was not committed is gone
        raise
    con.close()
    return done


def write_batches(con: Any, batches: Sequence[Batch], on_conflict: OnConflict) -> list[Imported]:
    """Write, inside the transaction that the caller has begun. Raises ConflictError."""
    con.execute(_OWN_TABLES)
    done = []
    now = datetime.now(UTC).replace(tzinfo=None)
    for batch in batches:
        result = Imported(batch.file, batch.kind, batch.digest, notes=tuple(batch.notes))
        for table, rows in batch.rows.items():
            named = _as_stored(con, rows) if table == "evaluation_results" else rows
            _merge(con, table, named, on_conflict, result)
        known = {r[0] for r in con.execute("SELECT feature FROM feature_columns").fetchall()}
        added = [c for c in batch.columns if c not in known]
        _insert(con, "feature_columns", ("feature", "position"), [(c, len(known) + i) for i, c in enumerate(added)])
        con.execute(
            "INSERT INTO imports VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            [
                now,
                batch.file,
                batch.digest,
                batch.kind,
                on_conflict,
                result.n_new,
                result.n_filled,
                result.n_same,
                result.n_replaced,
                result.n_kept,
                __version__,
            ],
        )
        done.append(result)
    conflicts = [c for d in done for c in d.conflicts]
    if conflicts and on_conflict == "refuse":
        told = "".join(f"\n  {c}" for c in conflicts[:20]) + (
            f"\n  and {len(conflicts) - 20:,} more" if len(conflicts) > 20 else ""
        )
        raise ConflictError(
            f"{len(conflicts):,} value{'s' * (len(conflicts) > 1)} differ from what is stored; nothing is imported. "
            f"--on-conflict keep leaves the stored ones, replace takes the new ones:{told}"
        )
    return done


def _as_stored(con: Any, rows: Mapping[Key, dict[str, Any]]) -> dict[Key, dict[str, Any]]:
    """The same scores under the benchmark's name that the store has for this model, where it has only the other one."""
    ids = sorted({key[0] for key in rows})
    stored = set(
        con.execute(
            "SELECT id, benchmark, setting, metric FROM evaluation_results WHERE list_contains(?, id)", [ids]
        ).fetchall()
    )
    other: dict[Key, Key] = {(i, normalised(b), s, m): (i, b, s, m) for i, b, s, m in sorted(stored)}
    return {key if key in stored else other.get(key, key): values for key, values in rows.items()}


def _merge(con: Any, table: str, rows: Mapping[Key, dict[str, Any]], on_conflict: OnConflict, result: Imported) -> None:
    """Compare with what is stored, and write the rows that change."""
    keys = KEYS[table]
    columns = tables(con)[table]
    _check_key(con, table, keys)
    if unknown := sorted({n for values in rows.values() for n in values} - set(columns)):
        raise InputError(f"the store's table {table!r} has no column {unknown[0]!r}; it has: {', '.join(columns)}")
    at = [columns.index(k) for k in keys]
    ids = sorted({key[0] for key in rows})
    found = con.execute(f"SELECT * FROM {table} WHERE list_contains(?, id)", [ids]).fetchall()
    stored = {tuple(row[i] for i in at): dict(zip(columns, row, strict=True)) for row in found}
    changed = []
    for key, values in rows.items():
        is_new = key not in stored
        row = dict.fromkeys(columns) | dict(zip(keys, key, strict=True)) if is_new else stored[key]
        is_changed = is_new
        for name, given in _with_its_error(row, values, on_conflict).items():
            if given is None:
                continue
            if row[name] is None:
                result.n_new += is_new and name != "metric_stderr"
                result.n_filled += not is_new
                row[name], is_changed = given, True
            elif is_equal(row[name], given):
                result.n_same += name != "metric_stderr"
            else:
                result.conflicts.append(Conflict(result.file, table, key, name, row[name], given))
                if on_conflict == "replace":
                    result.n_replaced += 1
                    row[name], is_changed = given, True
                else:
                    result.n_kept += 1
        if is_changed:
            changed.append(tuple(row[c] for c in columns))
    _insert(con, table, columns, changed)


def _check_key(con: Any, table: str, keys: Sequence[str]) -> None:
    """Raise InputError for a table that may hold two rows under one key, as one made outside may: none of them could be told to
    be the one to replace."""
    found = con.execute(
        "SELECT constraint_column_names FROM duckdb_constraints() WHERE database_name = current_database() "
        "AND table_name = ? AND constraint_type IN ('PRIMARY KEY', 'UNIQUE')",
        [table],
    ).fetchall()
    if not any(set(names) == set(keys) for (names,) in found):
        raise InputError(
            f"the store's table {table!r} has no primary key ({', '.join(keys)}), and nothing can be imported into it: start a "
            "store with --create, and import this one's rows there as CSV"
        )


def _with_its_error(row: dict[str, Any], values: dict[str, Any], on_conflict: OnConflict) -> dict[str, Any]:
    """The values to take, where a standard error goes or stays with its score: of two evaluations never one's score with
    the other's error. `row` loses the error of a score that is replaced."""
    score = values.get("metric_value")
    if score is None or row["metric_value"] is None or is_equal(row["metric_value"], score):
        return values
    if on_conflict == "replace":
        row["metric_stderr"] = None
        return values
    return {"metric_value": score}


def _insert(con: Any, table: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Whole rows, in place of those with the same key. One statement for many: a statement a row takes a second for
    a thousand."""
    rows = list(rows)
    for start in range(0, len(rows), 500):
        some = rows[start : start + 500]
        places = ", ".join(["(" + ", ".join("?" * len(columns)) + ")"] * len(some))
        names = ", ".join(f'"{c}"' for c in columns)
        con.execute(f'INSERT OR REPLACE INTO "{table}" ({names}) VALUES {places}', [v for row in some for v in row])
