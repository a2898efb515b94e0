"""Is there such a column at all? `--group-by COLUMN` is looked for before anything is computed, in the first rows of the first files.

A table's schema and a CSV's header answer for their file; lines of JSON may have a column that comes later. What the
first rows leave open is said at once, and again when the first chunk has been read.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pyarrow.compute as pc

from tagcorpus.errors import ConfigError
from tagcorpus.pipelines.attributes.parts import Instance, part_of
from tagcorpus.pipelines.formats import csv_records, tables
from tagcorpus.pipelines.group_statistics.groups import check_number
from tagcorpus.pipelines.inputs.records import further_value
from tagcorpus.pipelines.readers.plan import Plan, PlannedFile
from tagcorpus.pipelines.readers.reader import ChunkReader, ReaderOptions
from tagcorpus.pipelines.runs.run import Run

LOOK_AT_FILES = 20
LOOK_AT_ROWS = 100
LOOK_FURTHER_ROWS = 10_000
"""Rows of a file, where the first ones do not have the column."""
LOOK_AT_CHUNKS = 8
SHOWN = 20
DEEPEST = 3


def look_for(
    run: Run, reader_options: ReaderOptions, plan: Plan, grouping: Instance, column: str, option: str = "--group-by"
) -> FirstChunks:
    """Look into the first rows. option: for messages. Where the column is not there, and it cannot come later or a name much like it is there,
    raises ConfigError; else says so. What is returned is to be called with the chunks that have been read."""
    files = [planned for planned in plan.files if planned.rows]
    names: set[str] = set()
    is_certain, near, n_rows = False, "", LOOK_AT_ROWS
    for n_rows in (LOOK_AT_ROWS, LOOK_FURTHER_ROWS):
        is_certain = len(files) <= LOOK_AT_FILES
        for planned in files[:LOOK_AT_FILES]:
            own, is_there, is_all = _first_rows(planned, reader_options, column, n_rows)
            if is_there:
                return FirstChunks(run, plan, grouping, column, is_seen=True)
            names |= own
            is_certain &= is_all
        near = _near(column, names)
        if is_certain or near:
            break
    if not names:  # not one document: that is for others to say
        return FirstChunks(run, plan, grouping, column, is_seen=True)
    n = min(len(files), LOOK_AT_FILES)
    where = "no document" if is_certain else f"none of the first {n_rows:,} rows of {n} file{'s' * (n != 1)}"
    message = f"{option} {column}: {where} has such a column"
    message += f": did you mean {near}?" if near else "."
    shown = ", ".join(sorted(names)[:SHOWN]) + (", ..." if len(names) > SHOWN else "")
    message += f" Columns there: {shown}. A folder's level is level:1"
    if is_certain:
        raise ConfigError(message)
    if near:
        raise ConfigError(f"{message}. (If {column} does come later, name a file first that has it in its first rows)")
    run.display.announce(f"{message}. The run looks for it in later rows, and fails at the end if there is no value")
    return FirstChunks(run, plan, grouping, column, is_seen=False)


class FirstChunks:
    """Called with each chunk that has been read, it looks at the values in the first ones.

    Where the first has none, nor had the first rows, says so. Raises ConfigError for more values than there may be groups.
    """

    def __init__(self, run: Run, plan: Plan, grouping: Instance, column: str, *, is_seen: bool) -> None:
        self._run, self._plan, self._grouping, self._column = run, plan, grouping, column
        self.is_seen, self._left = is_seen, LOOK_AT_CHUNKS
        self._values: set[str] = set()

    def __call__(self, rank: int) -> None:
        if not self._left:
            return
        self._left -= 1
        planned, k = self._plan.chunks[rank]
        values = part_of(self._run.output, planned, k, self._grouping, ["value"])["value"]
        if not self.is_seen and len(values) and values.null_count == len(values):
            self._run.display.announce(
                f"still no {self._column}: not one of the {len(values):,} documents in chunk {k} of {planned.file.name} has it; "
                "if the name is wrong, interrupt the run (what is tagged is kept)"
            )
        self.is_seen |= len(values) > 0
        self._values.update(pc.unique(values.drop_null()).to_pylist())
        check_number(self._column, len(self._values))


def _first_rows(
    planned: PlannedFile, reader_options: ReaderOptions, column: str, n_rows: int
) -> tuple[set[str], bool, bool]:
    """Columns of a file's first rows, whether the one that is wanted is among them, and whether no row can have others."""
    names: set[str] = set()
    rows = 0
    for _, _, _, value in _records(planned, replace(reader_options, sample=1.0, columns=(column,))):
        if rows >= n_rows:
            break
        rows += 1
        if isinstance(value, dict):
            names.update(_names(value))
            if further_value(value, column) is not None:
                return names, True, True
    is_all = rows == planned.rows
    if planned.file.is_table:
        columns = set(tables.column_names(planned.file, is_deep=True))
        # Inside of a column there may be more than the first rows show.
        top = column.partition(".")[0].partition("[")[0]
        is_all |= top not in columns
        names |= columns
    elif planned.file.is_delimited:
        names |= set(csv_records.header(planned.file, reader_options.max_line_bytes, reader_options.csv)[0])
        is_all = True
    return names, column in names, is_all


def _records(planned: PlannedFile, reader_options: ReaderOptions) -> Iterator[Any]:
    for chunk in planned.chunks:
        if chunk.rows:
            yield from ChunkReader(planned.file, chunk, reader_options).records()


def _names(record: dict[str, Any], before: str = "", depth: int = 1) -> Iterator[str]:
    for name, value in record.items():
        yield before + name
        if isinstance(value, dict) and depth < DEEPEST:
            yield from _names(value, f"{before}{name}.", depth + 1)


def _near(column: str, names: set[str]) -> str:
    """The known name most like it; first those that end in it."""
    within = [name for name in sorted(names) if name.rpartition(".")[2] == column.rpartition(".")[2]]
    near = [*within, *difflib.get_close_matches(column, sorted(names), n=1)]
    return repr(near[0]) if near else ""
