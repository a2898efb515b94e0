"""Importing into the store: results files, annotations, tables of scores and of features. A call imports all files or none.

All files are read and checked first. Then one transaction compares every value with the stored one and writes: new values
are added, missing ones (NULL) are filled in, equal ones stay. Another value under the same key is a conflict. By default a
conflict stops the import: nothing is written, and every conflict is named. The table `imports` records each file, its counts
and the time. A process killed at any moment leaves the store as it was before or after the transaction: DuckDB replays or
drops its log when the file is opened next.

Numbers are equal where they differ by less than 1e-9 of their size (a CSV may have fewer digits); NaN equals NaN. A score of
a benchmark that the store has under its other name (hendrycksTest-anatomy, mmlu_anatomy) is compared with that one.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from tagcorpus import __version__
from tagcorpus.errors import ConflictError, InputError, spelled_otherwise
from tagcorpus.predictor.importers.collected import Key, Rows, is_equal
from tagcorpus.predictor.records import checkpoints, makers
from tagcorpus.predictor.records.tasks import normalised
from tagcorpus.predictor.store.batch import SUFFIXES, Batch, Kind, kind_of, read_batch
from tagcorpus.predictor.store.files import create as create_store
from tagcorpus.predictor.store.files import open_copy, open_for_writing, tables, write_errors

OnConflict = Literal["refuse", "keep", "replace"]
KEYS = {
    checkpoints.TABLE: ("id",),
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
CREATE TABLE IF NOT EXISTS {checkpoints.TABLE}({checkpoints.COLUMNS});
CREATE TABLE IF NOT EXISTS schema_version(version INTEGER PRIMARY KEY);
INSERT OR IGNORE INTO schema_version VALUES ({checkpoints.VERSION});
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
    """The result of importing one file. Counts are of fields of annotations, scores, or cells of features. A standard error
    counts only where it was filled in or differs. preview: counts, names and first rows of the file as it was read."""

    file: str
    kind: Kind
    digest: str
    n_new: int = 0
    n_filled: int = 0
    n_same: int = 0
    n_replaced: int = 0
    n_kept: int = 0
    notes: tuple[str, ...] = ()
    preview: tuple[str, ...] = ()
    conflicts: list[Conflict] = field(default_factory=list)


def import_files(
    store: str | Path,
    files: Sequence[str | Path],
    *,
    on_conflict: OnConflict = "refuse",
    model_id: str | None = None,
    create: bool = False,
    shots: int | None = None,
    dry_run: bool = False,
) -> list[Imported]:
    """Import `files` into the .duckdb file `store`, in one transaction. A folder means all files below it.

    on_conflict   refuse: raise; keep: the stored value stays; replace: the file's value wins
    model_id      the model of results files that do not say it
    create        start an empty store where there is none
    shots         examples in the prompt, of files that do not say it
    dry_run       on a copy in memory: the store is only read, and need not be there with `create`
    Raises InputError for a damaged or wrong file, ConflictError, and OutputError for a full disk; nothing is imported then.
    """
    store = Path(store)
    if not (create or store.exists()):
        raise InputError(f"no store at {str(store)!r}: --create starts an empty one")
    paths, skipped = _listed(files)
    batches = [read_batch(f, model_id=model_id, shots=shots) for f in paths]
    if batches:
        batches[0].notes[:0] = skipped
    if dry_run:
        with open_copy(store, is_new=create and not store.exists()) as con:
            return write_batches(con, batches, on_conflict)
    if create and not store.exists():
        create_store(store)
    con = open_for_writing(store)
    try:
        with write_errors(store):
            con.execute("BEGIN")
            done = write_batches(con, batches, on_conflict)
            con.execute("COMMIT")
    except BaseException:
        con.close()  # what was not committed is gone
        raise
    con.close()
    return done


def _listed(files: Sequence[str | Path]) -> tuple[list[Path], list[str]]:
    """The files, those of folders in byte order of their paths, and a note on files of folders that are left out."""
    paths: list[Path] = []
    skipped: list[Path] = []
    for given in map(Path, files):
        if not given.is_dir():
            paths.append(given)
            continue
        inside = sorted(p for p in given.rglob("*") if p.suffix.lower() in SUFFIXES and p.is_file())
        visible = [p for p in inside if not any(part.startswith(".") for part in p.relative_to(given).parts)]
        known = [p for p in visible if kind_of(p) is not None]
        if not known:
            raise InputError(
                f"{str(given)!r}: no file in this folder is one that a store takes ({', '.join(SUFFIXES)})"
            )
        paths += known
        skipped += [p for p in visible if p not in set(known)]
    more = f" and {len(skipped) - 3:,} more" if len(skipped) > 3 else ""
    note = f"{len(skipped):,} files of folders are left out, because a store does not take them: "
    return paths, [note + ", ".join(map(str, skipped[:3])) + more] if skipped else []


def write_batches(con: Any, batches: Sequence[Batch], on_conflict: OnConflict) -> list[Imported]:
    """Write, inside the transaction that the caller has begun. Raises ConflictError."""
    con.execute(_OWN_TABLES)
    stored = _Stored(con, batches)
    done = []
    now = datetime.now(UTC).replace(tzinfo=None)
    known = dict(con.execute("SELECT feature, position FROM feature_columns").fetchall())
    n_known = len(known)
    ids = _ids(con)
    for batch in batches:
        new = {key[0] for rows in batch.rows.values() for key in rows} - ids
        if spelling := spelled_otherwise(sorted(new), sorted(ids)):
            batch.notes.append(f"{len(new):,} ids are new to the store; {spelling}: is it another model?")
        ids |= new
        result = Imported(
            batch.file, batch.kind, batch.digest, notes=tuple(batch.notes), preview=tuple(batch.preview())
        )
        for table, rows in batch.rows.items():
            stored.merge(table, rows.items(), on_conflict, result)
        for table, repeated in batch.repeated.items():
            stored.merge(table, repeated, on_conflict, result)
        for table, rows in batch.fills.items():
            stored.fill(table, rows, result)
        for column in batch.columns:
            known.setdefault(column, len(known))
        done.append(result)
    conflicts = [c for d in done for c in d.conflicts]
    if conflicts and on_conflict == "refuse":
        lines = "".join(f"\n  {c}" for c in conflicts[:20]) + (
            f"\n  and {len(conflicts) - 20:,} more" if len(conflicts) > 20 else ""
        )
        raise ConflictError(
            f"{len(conflicts):,} value{'s' * (len(conflicts) > 1)} differ from the stored ones; nothing is imported. "
            f"--on-conflict keep leaves the stored ones, replace takes the new ones:{lines}"
        )
    stored.write()
    _insert(con, "feature_columns", ("feature", "position"), list(known.items())[n_known:])
    for d in done:
        counts = [d.n_new, d.n_filled, d.n_same, d.n_replaced, d.n_kept]
        con.execute(
            "INSERT INTO imports VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            [now, d.file, d.digest, d.kind, on_conflict, *counts, __version__],
        )
    return done


def _ids(con: Any) -> set[str]:
    """All ids in the store."""
    query = " UNION ".join(f'SELECT id FROM "{table}"' for table in KEYS if table in tables(con))
    return {row[0] for row in con.execute(query).fetchall() if row[0] is not None}


class _Stored:
    """The store's rows of the ids of an import, read once a table. Changes are collected and written together."""

    def __init__(self, con: Any, batches: Sequence[Batch]) -> None:
        self.con = con
        self.columns = tables(con)
        several = [[b.rows, b.fills] for b in batches]
        self.ids = sorted({key[0] for parts in several for part in parts for rows in part.values() for key in rows})
        self.rows: dict[str, dict[Key, dict[str, Any]]] = {}
        self.changed: dict[str, dict[Key, dict[str, Any]]] = {}
        self.other_names: dict[Key, Key] = {}

    def _of(self, table: str) -> dict[Key, dict[str, Any]]:
        """The table's rows by key."""
        if table not in self.rows:
            import pyarrow as pa

            _check_key(self.con, table, KEYS[table])
            columns = self.columns[table]
            at = [columns.index(k) for k in KEYS[table]]
            self.con.register("ids_of_the_import", pa.table({"id": pa.array(self.ids, pa.string())}))
            rows = self.con.execute(
                f'SELECT * FROM "{table}" t WHERE t.id IN (SELECT id FROM ids_of_the_import) ORDER BY rowid'
            ).fetchall()
            self.con.unregister("ids_of_the_import")
            self.rows[table] = {tuple(r[i] for i in at): dict(zip(columns, r, strict=True)) for r in rows}
            if table == "evaluation_results":
                self.other_names = {(i, normalised(b), s, m): (i, b, s, m) for i, b, s, m in sorted(self.rows[table])}
        return self.rows[table]

    def merge(
        self, table: str, rows: Iterable[tuple[Key, dict[str, Any]]], on_conflict: OnConflict, result: Imported
    ) -> None:
        """Compare with the stored rows, and note the rows that change. Where the store has only the other name of the
        benchmark for this model, the score is stored under that name."""
        if result.kind != "annotations" and table not in ("evaluation_results", "features"):
            # Facts beside the scores are not counted among these; their conflicts are.
            result = Imported(result.file, result.kind, result.digest, conflicts=result.conflicts)
        stored = self._of(table)
        columns = self.columns[table]
        for given_key, values in rows:
            if unknown := sorted(set(values) - set(columns)):
                raise InputError(
                    f"the store's table {table!r} has no column {unknown[0]!r}; it has: {', '.join(columns)}"
                )
            key = given_key
            if table == "evaluation_results" and key not in stored:
                key = self.other_names.get(key, key)
            is_new = key not in stored
            row = dict.fromkeys(columns) | dict(zip(KEYS[table], key, strict=True)) if is_new else stored[key]
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
                stored[key] = row
                self.changed.setdefault(table, {})[key] = row
                if table == "evaluation_results":
                    self.other_names.setdefault((key[0], normalised(key[1]), key[2], key[3]), key)

    def fill(self, table: str, rows: Rows, result: Imported) -> None:
        """Add only missing values."""
        stored = self._of(table)
        for key, values in rows.items():
            gaps = {k: v for k, v in values.items() if key not in stored or stored[key][k] is None}
            if gaps:
                self.merge(table, [(key, gaps)], "keep", result)

    def write(self) -> None:
        for table, rows in self.changed.items():
            columns = self.columns[table]
            _insert(self.con, table, columns, [[row[c] for c in columns] for row in rows.values()])


def _check_key(con: Any, table: str, keys: Sequence[str]) -> None:
    """Raise InputError for a table without the primary key, as one made outside may be. It may have two rows under one key,
    and an import could not know which row to replace."""
    constraints = con.execute(
        "SELECT constraint_column_names FROM duckdb_constraints() WHERE database_name = current_database() "
        "AND table_name = ? AND constraint_type IN ('PRIMARY KEY', 'UNIQUE')",
        [table],
    ).fetchall()
    if not any(set(names) == set(keys) for (names,) in constraints):
        raise InputError(
            f"the store's table {table!r} has no primary key ({', '.join(keys)}), so nothing can be imported into it: start a "
            "store with --create, and import the rows of this one there as CSV"
        )


def _with_its_error(row: dict[str, Any], values: dict[str, Any], on_conflict: OnConflict) -> dict[str, Any]:
    """The values to take, such that a score and its standard error come from the same evaluation. `row` loses the error of
    a score that is replaced."""
    score = values.get("metric_value")
    if score is None or row["metric_value"] is None or is_equal(row["metric_value"], score):
        return values
    if on_conflict == "replace":
        row["metric_stderr"] = None
        return values
    return {"metric_value": score}


def _insert(con: Any, table: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Write whole rows in place of those with the same key, through Arrow: one statement a row takes 1 s for 1,000 rows."""
    if not rows:
        return
    import pyarrow as pa

    arrays = {c: pa.array([row[i] for row in rows]) for i, c in enumerate(columns)}
    con.register("rows_of_the_import", pa.table(arrays))
    names = ", ".join(f'"{c}"' for c in columns)
    con.execute(f'INSERT OR REPLACE INTO "{table}" ({names}) SELECT {names} FROM rows_of_the_import')
    con.unregister("rows_of_the_import")
