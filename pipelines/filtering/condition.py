"""A condition in SQL about one document, evaluated by DuckDB over the attribute columns of one chunk at a time.

It is one expression: no subquery, no aggregate, no function that answers differently from run to run, and no access to
files. The database lives in memory, sees the columns it is given, and is locked.
"""

from __future__ import annotations

import dataclasses
import importlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from types import ModuleType
from typing import Any

import pyarrow as pa

from tagcorpus.errors import ConfigError
from tagcorpus.pipelines.attributes.parts import KEYS, Instance
from tagcorpus.pipelines.attributes.read import chunk_parts
from tagcorpus.pipelines.readers.plan import PlannedFile
from tagcorpus.pipelines.storage.folder import Folder

WHERE_NULL = "where_null"
SHOWN_CHARACTERS = 80
BEFORE, AFTER = "SELECT (\n", "\n)"
# Expressions that are not about one document, and their names in messages.
REFUSED = {
    "SUBQUERY": "a subquery",
    "STAR": "* or COLUMNS",
    "PARAMETER": "a parameter (? or $)",
    "WINDOW": "a window function",
}
ONE_DOCUMENT = "a condition is about one document. For the best of all, use --top or --tokens, and --within for those of each group"
# DuckDB's words for an aggregate, and for clauses behind the expression.
_OVER_MANY = re.compile(
    r"cannot contain aggregates|near \"(?:GROUP|HAVING|QUALIFY|WINDOW|ORDER|LIMIT)\"", re.IGNORECASE
)


def references(sql: str) -> list[list[str]]:
    """The columns that a condition names, each as its parts (`tokens.ttr` is two).

    Raises ConfigError for anything but one expression about one document, and where DuckDB is not installed.
    """
    if not sql.strip():
        raise ConfigError("--where is empty; it takes a condition like \"language = 'en' AND ttr > 0.2\"")
    connection = _connection()
    [(serialized,)] = connection.execute("SELECT json_serialize_sql(?::VARCHAR)", [f"{BEFORE}{sql}{AFTER}"]).fetchall()
    parsed = json.loads(serialized)
    if parsed["error"]:
        at_end = int(parsed.get("position") or 0) >= len(f"{BEFORE}{sql}".encode())
        raise ConfigError(_wrong(sql, "it ends too early" if at_end else _reason(parsed["error_message"])))
    tree = parsed["statements"][0]["node"]
    if len(parsed["statements"]) > 1 or tree["type"] != "SELECT_NODE" or len(tree["select_list"]) != 1:
        raise ConfigError(_wrong(sql, "it must be one expression"))
    rest = ("where_clause", "group_expressions", "having", "qualify", "modifiers", "sample")
    if tree["from_table"]["type"] != "EMPTY" or any(tree.get(part) for part in rest):
        raise ConfigError(_wrong(sql, "it must be an expression alone, without FROM, WHERE and the like"))
    changing = _changing_functions()
    names: list[list[str]] = []
    todo: list[tuple[Any, frozenset[str]]] = [(tree["select_list"], frozenset())]
    while todo:
        node, bound = todo.pop()
        if isinstance(node, list):
            todo += [(n, bound) for n in reversed(node)]
        elif isinstance(node, dict):
            kind = node.get("class")
            if kind in REFUSED:
                raise ConfigError(_wrong(sql, f"{REFUSED[kind]} is not possible: {ONE_DOCUMENT}"))
            if kind == "FUNCTION" and node["function_name"].lower() in changing:
                raise ConfigError(_wrong(sql, f"{node['function_name']}() does not give the same in every run"))
            if kind == "LAMBDA":  # its parameters are no columns
                own = {n.lower() for part in _column_references(node["lhs"]) for n in part}
                todo.append((node["expr"], bound | own))
            elif kind == "COLUMN_REF":
                names += [node["column_names"]] if node["column_names"][0].lower() not in bound else []
            else:
                todo += [(n, bound) for n in reversed(list(node.values()))]
    return names


def _column_references(node: Any) -> Iterator[list[str]]:
    if isinstance(node, dict) and node.get("class") == "COLUMN_REF":
        yield node["column_names"]
    elif isinstance(node, (dict, list)):
        for part in node.values() if isinstance(node, dict) else node:
            yield from _column_references(part)


@dataclass(frozen=True)
class Condition:
    """The condition of `--where`: documents for which it is true are kept.

    sql        one expression
    instances  owners of the columns; at least one
    columns    the columns, by instance
    """

    sql: str
    instances: list[Instance]
    columns: Mapping[str, Sequence[str]]

    def __getstate__(self) -> dict[str, Any]:
        return {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)

    def fingerprint(self) -> dict[str, Any]:
        """Inputs of a verdict besides the parts."""
        return {"where": self.sql, "duckdb": _duckdb().__version__}

    def check(self) -> None:
        """Raise ConfigError where DuckDB does not take the condition, or it is not true or false."""
        duckdb = _duckdb()
        keys = pa.schema([("input", pa.string()), *KEYS])
        parts = {
            i.name: pa.schema([i.tagger.columns.field(c) for c in self.columns[i.name]]).empty_table()
            for i in self.instances
        }
        source = self._register(keys.empty_table(), parts)
        try:
            # A WHERE takes neither aggregates nor window functions, in whatever disguise.
            self._duck.execute(f"EXPLAIN SELECT 1 FROM {source} WHERE (\n{self.sql}\n)").fetchall()
            [(_, kind, *_)] = self._duck.execute(f"DESCRIBE SELECT (\n{self.sql}\n) FROM {source}").fetchall()
        except duckdb.Error as error:
            raise ConfigError(_wrong(self.sql, _reason(_one_line(error)))) from error
        if kind != "BOOLEAN":
            raise ConfigError(_wrong(self.sql, f"it must be true or false, it is {kind}"))

    def judged(self, output: Folder, planned: PlannedFile, k: int) -> Iterator[tuple[int, str]]:
        """Row, and the reason for its removal (empty where it is kept), of every document of a chunk."""
        reasons = {True: "", False: f"where: {shown(self.sql)}", None: WHERE_NULL}
        for row, value in self.values(output, planned, k, self.sql):
            yield row, reasons[value]

    def values(self, output: Folder, planned: PlannedFile, k: int, expression: str) -> Iterator[tuple[int, Any]]:
        """Row, and the value of an expression over the condition's columns, of every document of a chunk."""
        duckdb = _duckdb()
        keys, parts = chunk_parts(output, planned, k, self.instances, self.columns)
        try:
            source = self._register(keys, parts)
            values = self._duck.execute(f"SELECT (\n{expression}\n) FROM {source}").fetchall()
        except duckdb.Error as error:
            where = f"chunk {k} of {planned.file.name}"
            raise ConfigError(_wrong(self.sql, f"{where}: {_one_line(error)}")) from error
        for row, (value,) in zip(keys["row"].to_pylist(), values, strict=True):
            yield row, value

    def _register(self, keys: pa.Table, parts: Mapping[str, pa.Table]) -> str:
        """A FROM clause: the instances side by side, each under its name, and the keys, where `"instance.column"`
        is also found, under a name that no instance can have."""
        sources = ['keys AS "."']
        for number, (instance, part) in enumerate(parts.items()):
            for name in part.column_names:
                keys = keys.append_column(f"{instance}.{name}", part[name])
            if part.num_columns:
                self._duck.register(f"part{number}", part)
                sources.append(f"part{number} AS {quoted(instance, always=True)}")
        self._duck.register("keys", keys)
        return " POSITIONAL JOIN ".join(sources)

    @cached_property
    def _duck(self) -> Any:
        return _connection()


def shown(sql: str) -> str:
    """A condition in one line, shortened."""
    line = " ".join(sql.split())
    return line if len(line) <= SHOWN_CHARACTERS else line[: SHOWN_CHARACTERS - 3] + "..."


def _wrong(sql: str, why: str) -> str:
    return f"--where {shown(sql)!r}: {why}"


def _reason(message: str) -> str:
    """DuckDB's message; of an expression over many documents, with the way to choose among them."""
    return f"{message}: {ONE_DOCUMENT}" if _OVER_MANY.search(message) else message


def _one_line(error: Exception) -> str:
    """DuckDB's message without the picture of the place."""
    return " ".join(re.split(r"\nLINE \d+:", str(error))[0].split())


def quoted(name: str, always: bool = False) -> str:
    if not always and name.isidentifier():
        return name
    return '"' + name.replace('"', '""') + '"'


def _duckdb() -> ModuleType:
    """DuckDB, imported where it is first needed."""
    return importlib.import_module("duckdb")


@cache
def _database() -> Any:
    """A database in memory that reaches no file and no network; one worker is one thread. Opening one takes 17 ms of CPU."""
    settings = {
        "threads": 1,
        "enable_external_access": False,
        "autoinstall_known_extensions": False,
        "autoload_known_extensions": False,
    }
    database = _duckdb().connect(":memory:", config=settings)
    database.execute("SET lock_configuration = true")
    return database


def _connection() -> Any:
    """A connection to the database of this process. No other connection sees the tables that are registered here."""
    return _database().cursor()


@cache
def _changing_functions() -> frozenset[str]:
    """Functions whose value depends on more than their arguments, and macros that call one."""
    connection = _connection()
    functions = connection.execute("SELECT lower(function_name), stability FROM duckdb_functions()").fetchall()
    consistent = {name for name, stability in functions if stability == "CONSISTENT"}
    # An operator, such as +, has consistent variants beside those for times; a function's name says which one is called.
    changing = {
        name
        for name, stability in functions
        if stability not in (None, "CONSISTENT") and (name.isidentifier() or name not in consistent)
    }
    macros = connection.execute(
        "SELECT function_name, macro_definition FROM duckdb_functions() WHERE function_type = 'macro'"
    ).fetchall()
    marks = ["current_timestamp", *(f"{name}(" for name in changing)]
    return frozenset(changing) | {
        n.lower() for n, text in macros if any(mark in (text or "").lower() for mark in marks)
    }
