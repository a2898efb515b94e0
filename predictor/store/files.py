"""Opening a store, an export directory or a .duckdb file, and writing either.

A store may come from anyone. DuckDB's own IMPORT DATABASE would run any statement of schema.sql and load.sql. This module
runs only CREATE statements without a query, and of load.sql only COPY of one file into one table, with its options. The file
must be in the directory itself; the path before its name is ignored. No connection reaches a file or a network beyond the
store, and its configuration is locked. A store is written whole under another name and renamed. An existing path is never
written over.
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tagcorpus.errors import ConfigError, IncompleteError, InputError, OutputError
from tagcorpus.predictor.records.checkpoints import VERSION
from tagcorpus.requirements import how_to_install

TABLES = {
    "model_annotations": ("id", "total_params"),
    "dataset_info": ("id", "pretraining_summary_total_tokens_billions"),
    "evaluation_results": ("id", "benchmark", "setting", "metric", "metric_value"),
}
# No query can load an extension from the network, read a variable of the calling Python as a table, or use credentials from
# the user's home.
SETTINGS = {
    "autoinstall_known_extensions": False,
    "autoload_known_extensions": False,
    "allow_persistent_secrets": False,
    "python_enable_replacements": False,
}
SEALED = {**SETTINGS, "enable_external_access": False, "lock_configuration": True}

_CREATE = re.compile(
    r"\s*CREATE\s+(?:OR\s+REPLACE\s+)?(?P<kind>TABLE|SCHEMA|(?:UNIQUE\s+)?INDEX|SEQUENCE|TYPE)\b", re.IGNORECASE
)
# Text that may have the word AS without being a query: strings, quoted names, comments.
_QUOTED = re.compile(r"'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"|--[^\n]*|/\*.*?\*/", re.DOTALL)
_PARENTHESES = re.compile(r"\([^()]*\)")
_COPY = re.compile(
    r"""\s*COPY\s+(?P<table>(?:\w+|"[^"]+")(?:\.(?:\w+|"[^"]+"))?)\s*(?P<columns>\([^)]*\))?\s+FROM\s+
        '(?P<file>(?:[^']|'')*)'\s*(?P<options>\(.*\))?\s*;?\s*""",
    re.IGNORECASE | re.VERBOSE | re.DOTALL,
)


FORMS = "a store is a DuckDB export directory or a .duckdb file"


def duckdb_module() -> Any:
    """DuckDB, imported where it is first needed. Raises ConfigError where it is not installed."""
    try:
        import duckdb
        import pandas  # noqa: F401  (the store's data frames)
    except ImportError as error:
        raise ConfigError(f"the store needs {error.name}: {how_to_install('predict')}") from None
    return duckdb


def open_existing(path: Path) -> Any:
    """A read-only connection to the store at `path`. Raises InputError for a path that is not a store."""
    duckdb = duckdb_module()
    if path.is_dir():
        con = _loaded(duckdb, path)
    elif path.is_file():
        with path.open("rb") as file:
            if file.read(12)[8:] != b"DUCK":
                raise InputError(f"{str(path)!r} cannot be read as a store: {FORMS}")
        with read_errors(duckdb, path):
            con = duckdb.connect(str(path), read_only=True, config=SEALED)
    else:
        raise InputError(f"no store at {str(path)!r}: {FORMS}")
    schema = tables(con)
    if "schema_version" in schema:
        newest = con.execute("SELECT max(version) FROM schema_version").fetchone()[0]
        if newest is not None and newest > VERSION:
            con.close()
            raise InputError(
                f"{str(path)!r} has schema version {newest}, and this tagcorpus reads versions up to {VERSION}: "
                "install a newer one"
            )
    for table, columns in TABLES.items():
        if missing := [c for c in columns if c not in schema.get(table, [])]:
            con.close()
            problem = (
                f"its table {table!r} has no column {missing[0]!r}" if table in schema else f"it has no table {table!r}"
            )
            raise InputError(f"{str(path)!r} is not a store: {problem}. It has: {', '.join(schema) or 'no tables'}")
    return con


def open_for_writing(path: Path) -> Any:
    """A connection that writes to the .duckdb file at `path`. Raises InputError for a directory or a missing file."""
    duckdb = duckdb_module()
    if path.is_dir():
        raise InputError(
            f"{str(path)!r} is an export directory, which is read-only: make a file of it "
            f"(tagcorpus store export {path} NEW.duckdb), and import into that"
        )
    if not path.is_file():
        raise InputError(f"no store at {str(path)!r}: --create starts an empty one")
    open_existing(path).close()  # checks that the file is a store before it is opened for writing
    with read_errors(duckdb, path):
        return duckdb.connect(str(path), config=SEALED)


def create(path: Path) -> None:
    """Write a new store with empty tables at `path`. Raises OutputError for an existing path."""
    with open_copy(path, is_new=True) as con:
        write(con, path)


def open_copy(path: Path, *, is_new: bool) -> Any:
    """A connection to a copy in memory of the store at `path`, or to an empty store. The store itself stays as it is."""
    con = duckdb_module().connect(":memory:", config=SEALED)
    if is_new:
        con.execute((Path(__file__).parent / "store.sql").read_text(encoding="utf-8"))
        return con
    with open_existing(path) as existing:
        _copy_tables(existing, con)
    return con


def tables(con: Any) -> dict[str, list[str]]:
    """Columns by table, both in their order in the store."""
    by_table: dict[str, list[str]] = {}
    for table, column in con.execute(
        "SELECT table_name, column_name FROM duckdb_columns() WHERE NOT internal "
        "AND database_name = current_database() AND schema_name = 'main' ORDER BY table_oid, column_index"
    ).fetchall():
        by_table.setdefault(table, []).append(column)
    return by_table


def is_new(path: Path) -> bool:
    """Whether nothing is at the path but an empty folder, perhaps."""
    return not path.exists() or (path.is_dir() and not any(path.iterdir()))


def has_same_contents(con: Any, path: Path) -> bool:
    """Whether the store at `path` has the tables and rows of `con`, in the same order, and no others."""
    with TemporaryDirectory() as work:
        try:
            with open_existing(path) as other:
                for name, one in (("own", con), ("other", other)):
                    _write_as(one, Path(name), Path(work, name))
        except InputError:
            return False
        own, other_files = ({f.name: f.read_bytes() for f in Path(work, n).iterdir()} for n in ("own", "other"))
        return own == other_files


def write(con: Any, path: Path) -> None:
    """Write all tables of `con` as a new store: a .duckdb file for a name with that ending, else an export directory. The
    bytes of a directory depend on the contents only. Raises OutputError for a path that is not new or an empty folder."""
    if not is_new(path):
        raise OutputError(f"{str(path)!r} exists, and a store is never written over: give another name")
    temporary = path.parent / f".{path.name}.{secrets.token_hex(4)}"
    try:
        with write_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            _write_as(con, path, temporary)
            _sync(temporary)
            os.rename(temporary, path)
            _sync(path.parent)
    finally:
        # DuckDB leaves its log beside a database that it could not finish. The parent may not be a folder at all.
        with suppress(OSError):
            temporary.with_name(f"{temporary.name}.wal").unlink(missing_ok=True)
            if temporary.is_dir():
                shutil.rmtree(temporary)
            else:
                temporary.unlink(missing_ok=True)


def _write_as(con: Any, path: Path, temporary: Path) -> None:
    """Write through a second connection, because the connection of an open store reaches no other file."""
    duckdb = duckdb_module()
    if path.suffix == ".duckdb":
        with duckdb.connect(str(temporary), config=SEALED) as target:
            _copy_tables(con, target)
        return
    temporary.mkdir()
    with duckdb.connect(":memory:", config=SETTINGS) as target:
        _seal(target, directories=[temporary])
        _copy_tables(con, target)
        _write_directory(target, temporary)


def _copy_tables(con: Any, target: Any) -> None:
    """Copy every table with its rows in stored order. A reader may take the first of two scores under one name."""
    statements = con.execute(
        "SELECT table_name, sql FROM duckdb_tables() WHERE database_name = current_database() AND schema_name = 'main' "
        "ORDER BY table_oid"
    ).fetchall()
    for table, statement in statements:
        target.execute(statement)
        target.register("rows_of_a_table", con.sql(f'SELECT * FROM "{table}" ORDER BY rowid').to_arrow_table())
        target.execute(f'INSERT INTO "{table}" SELECT * FROM rows_of_a_table')
        target.unregister("rows_of_a_table")


def _seal(con: Any, *, paths: Sequence[Path] = (), directories: Sequence[Path] = ()) -> None:
    """Limit the connection to these paths, and lock its configuration."""
    for setting, allowed in (("allowed_paths", paths), ("allowed_directories", directories)):
        if allowed:
            con.execute(f"SET {setting} = [{', '.join(_quoted(str(path)) for path in allowed)}]")
    con.execute("SET enable_external_access = false")
    con.execute("SET lock_configuration = true")


def _write_directory(con: Any, folder: Path) -> None:
    schema, load = [], []
    statements = con.execute(
        "SELECT table_name, sql FROM duckdb_tables() WHERE database_name = current_database() ORDER BY table_name"
    ).fetchall()
    for table, statement in statements:
        schema.append(statement.rstrip(";") + ";\n")
        file = _quoted(str(folder / f"{table}.csv"))
        con.execute(f'COPY (SELECT * FROM "{table}" ORDER BY rowid) TO {file} (FORMAT csv, HEADER)')
        keys = con.execute(
            "SELECT column_name FROM duckdb_columns() WHERE database_name = current_database() AND table_name = ? "
            "AND NOT is_nullable AND data_type = 'VARCHAR' ORDER BY column_index",
            [table],
        ).fetchall()
        never_null = f", force_not_null ({', '.join(_quoted(k) for (k,) in keys)})" if keys else ""
        load.append(
            f"COPY \"{table}\" FROM '{table}.csv' (FORMAT 'csv'{never_null}, quote '\"', delimiter ',', header 1);\n"
        )
    (folder / "schema.sql").write_text("".join(schema), encoding="utf-8")
    (folder / "load.sql").write_text("".join(load), encoding="utf-8")
    for written in folder.iterdir():
        _sync(written)


def _sync(path: Path) -> None:
    """Flush a file's contents, or a folder's names, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _loaded(duckdb: Any, folder: Path) -> Any:
    """The export directory in memory."""
    for name in ("schema.sql", "load.sql"):
        if not (folder / name).is_file():
            raise InputError(f"{str(folder)!r} is not a DuckDB export directory: it has no {name}")
        _check_link(folder, name)
    con = duckdb.connect(":memory:", config=SETTINGS)
    try:
        with read_errors(duckdb, folder):
            _seal(con, paths=[path for path in folder.iterdir() if path.is_file() and not _leads_out(folder, path)])
            for statement in _statements(duckdb, folder / "schema.sql"):
                if not _is_plain_create(statement):
                    raise InputError(
                        f"{folder / 'schema.sql'}: only CREATE is run, of tables and the like and without a query (AS), "
                        f"not: {statement.strip()[:80]!r}"
                    )
                con.execute(statement)
            for statement in _statements(duckdb, folder / "load.sql"):
                match = _COPY.fullmatch(statement)
                if not match:
                    raise InputError(
                        f"{folder / 'load.sql'}: only COPY ... FROM is run, not: {statement.strip()[:80]!r}"
                    )
                name = re.split(r"[/\\]", match["file"].replace("''", "'"))[-1]
                if not (folder / name).is_file():
                    raise InputError(f"{folder / 'load.sql'} names {name!r}, which is not in {str(folder)!r}")
                _check_link(folder, name)
                into = f"COPY {match['table']}{match['columns'] or ''} FROM {_quoted(str(folder / name))}"
                con.execute(f"{into} {match['options'] or ''}")
    except BaseException:
        con.close()
        raise
    return con


def _check_link(folder: Path, name: str) -> None:
    """Raise InputError for a link to a file outside the store."""
    if _leads_out(folder, folder / name):
        raise InputError(
            f"{folder / name} is a link to {os.path.realpath(folder / name)}, which is not in the store: put a copy of the file "
            "there if it belongs to it"
        )


def _leads_out(folder: Path, path: Path) -> bool:
    """Whether a path leads to a file outside the folder. The Hugging Face cache links to its own `blobs`, which count as
    inside."""
    roots = [folder.resolve()]
    if roots[0].parent.name == "snapshots":
        roots.append(roots[0].parent.parent / "blobs")
    return not any(path.resolve().is_relative_to(root) for root in roots)


def _is_plain_create(statement: str) -> bool:
    """Whether the statement creates a table, type or the like without the rows of a query."""
    match = _CREATE.match(statement)
    if match is None:
        return False
    rest, n = _QUOTED.sub(" ", statement), 1
    while n:
        rest, n = _PARENTHESES.subn(" ", rest)
    return match["kind"].upper() == "TYPE" or re.search(r"\bAS\b", rest, re.IGNORECASE) is None


def _statements(duckdb: Any, path: Path) -> Iterator[str]:
    for statement in duckdb.extract_statements(path.read_text(encoding="utf-8")):
        yield statement.query


@contextmanager
def read_errors(duckdb: Any, path: Path) -> Iterator[None]:
    """Turn DuckDB's errors while a store is opened into errors of this package."""
    try:
        yield
    except duckdb.Error as error:
        first = str(error).strip().splitlines()[0]
        if "Could not set lock" in first:
            raise IncompleteError(f"{str(path)!r} is in use by another process: {first}") from None
        if "different configuration" in first:
            raise ConfigError(
                f"{str(path)!r} is open in this process: close it (Store.close) before writing to it"
            ) from None
        raise InputError(f"{str(path)!r} cannot be read as a store: {first}") from None


@contextmanager
def write_errors(path: Path) -> Iterator[None]:
    """Turn errors of DuckDB or the system while `path` is written, such as a full disk, into OutputError."""
    duckdb = duckdb_module()
    try:
        yield
    except (duckdb.Error, OSError) as error:
        first = getattr(error, "strerror", None) or str(error).strip().splitlines()[0]
        raise OutputError(f"{str(path)!r} cannot be written: {first}; its earlier contents are unchanged") from error


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
