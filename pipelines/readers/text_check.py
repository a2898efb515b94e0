"""Checks, before a run, that the input has text: looks into the first chunk of every file.

A file has text if one of its records has text. A run is refused only if no file has text.
"""

from __future__ import annotations

import itertools
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from tagcorpus.errors import IncompleteError, InputError
from tagcorpus.pipelines.formats import csv_records, tables
from tagcorpus.pipelines.inputs.chunks import Chunk
from tagcorpus.pipelines.inputs.records import BadRecord, DocumentFields, leaves
from tagcorpus.pipelines.inputs.streams import Damaged
from tagcorpus.pipelines.readers.plan import Plan, PlannedFile
from tagcorpus.pipelines.readers.reader import ChunkReader, ReaderOptions
from tagcorpus.pipelines.storage.remote import ahead

# Records of a file that are searched for text at first. If all files lack text there, their first chunks are searched.
LOOK_AT_ROWS = 10_000
SHOWN_FILES = 5
SHOWN_COLUMNS = 20
_REMEDY = "Name the right one with --text-column"
_REMEDY_OF_SAMPLES = "Generate the samples again, or name another column with --text-column"


@dataclass(frozen=True)
class _Look:
    """has_text  None if no record could be read
    columns   names in the records
    kinds     (text column, kind of its values)
    samples   whether the records are samples of the evaluation harness, whose text is in `resps`
    doubled   the column of texts or ids that the first record with a text has twice, with different values"""

    has_text: bool | None
    columns: tuple[str, ...] = ()
    kinds: tuple[tuple[str, str], ...] = ()
    samples: bool = False
    doubled: str = ""


def check_text(plan: Plan, reader_options: ReaderOptions, *, is_strict: bool = False) -> list[str]:
    """Sentences about files without text, and about tables with unexplained bytes.

    Raises InputError if no file has text; with `is_strict`, also if one file has none.
    """
    notes: list[str] = []
    looks: list[tuple[PlannedFile, Chunk, _Look]] = []
    firsts = [(planned, next((r for r in planned.chunks if r.rows), None)) for planned in plan.files]
    begun = [(planned, first) for planned, first in firsts if first is not None]
    # A look at a table forks a reader process, which must not happen while other threads hold locks in the midst of requests.
    in_turn = any(planned.file.is_table for planned, _ in begun)
    is_local = in_turn or all(planned.file.is_local for planned, _ in begun)
    looked = ahead(lambda pair: _look(*pair, reader_options, LOOK_AT_ROWS), begun, is_local=is_local)
    for (planned, first), look in zip(begun, looked, strict=True):
        if planned.file.is_table and planned.file.is_local and (n := tables.gap(planned.file)):
            notes.append(
                f"{planned.file.name} has {n:,} bytes in front of its footer that belong to nothing; it is read"
            )
        if look.doubled:
            notes.append(
                f"{planned.file.name} has two values for the key {look.doubled!r} in a record; the last one counts"
            )
        looks.append((planned, first, look))
    without = [(planned, look) for planned, _, look in looks if look.has_text is False]
    if not without:
        return notes
    if len(without) == len(looks):
        if any(_look(planned, first, reader_options, None).has_text is not False for planned, first, _ in looks):
            return notes  # a file has text further down in its first chunk
        planned, look = without[0]
        hint = csv_records.delimiter_hint(planned.file.format, look.columns, reader_options.csv)
        remedy = hint or f". {_REMEDY_OF_SAMPLES if look.samples else _REMEDY}"
        raise InputError(f"no text found in {_described(planned, look, reader_options)}{remedy}")
    message = f"no text found in {len(without):,} of {len(plan.files):,} files: {_listed(without, reader_options)}"
    if is_strict:
        raise InputError(f"{message}. {_REMEDY}, leave them out with --exclude, or drop --strict-text")
    return [*notes, message]


def _look(planned: PlannedFile, first: Chunk, reader_options: ReaderOptions, max_rows: int | None) -> _Look:
    reader = ChunkReader(
        planned.file,
        first,
        replace(reader_options, sample=1.0, columns=()),
        is_look=max_rows is not None,
    )
    columns: dict[str, None] = {}
    kinds: Counter[tuple[str, str]] = Counter()
    is_record = is_sample = False
    records = reader.records()
    try:
        for _, _, line, value in itertools.islice(records, max_rows):
            if not isinstance(value, dict):
                continue
            is_record = True
            columns.update(dict.fromkeys(value))
            try:
                if reader_options.fields.documents(value, ""):
                    is_json = planned.file.format in ("jsonl", "json")
                    return _Look(has_text=True, doubled=_doubled(line, reader_options.fields) if is_json else "")
            except BadRecord:
                is_sample = is_sample or reader_options.fields.is_harness(value)
                kinds.update(_kinds(value, reader_options.fields))
    except IncompleteError:
        return _Look(has_text=None)  # the run itself reports that the file changed
    finally:
        close = getattr(records, "close", None)
        if close is not None:
            close()
    if not is_record:
        # If no record of a CSV file fits the header, a wrong delimiter may have made the header one name.
        if planned.file.is_delimited and not planned.chunks[0].broken:
            names = csv_records.header(planned.file, reader_options.max_line_bytes, reader_options.csv)[0]
            if not set(names) & set(reader_options.fields.top_columns()):
                return _Look(False, tuple(names))
        return _Look(has_text=None)
    if planned.file.is_table:
        try:
            is_path = any(c in reader_options.fields.text_column for c in ".[")
            columns.update(dict.fromkeys(tables.column_names(planned.file, is_deep=is_path)))
        except Damaged:
            pass
    return _Look(False, tuple(columns), tuple(kind for kind, _ in kinds.most_common()), is_sample)


def _doubled(line: bytes, fields: DocumentFields) -> str:
    outermost: list[tuple[str, Any]] = []

    def keep(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        outermost[:] = pairs  # the outermost object is the last to end
        return dict(pairs)

    try:
        record = json.loads(line.decode("utf-8-sig"), object_pairs_hook=keep)
    except (ValueError, RecursionError):
        return ""
    return next((key for key, value in outermost if key in fields.top_columns() and record[key] != value), "")


def _described(planned: PlannedFile, look: _Look, reader_options: ReaderOptions) -> str:
    fields = reader_options.fields
    is_samples = fields.is_resps or look.samples
    looked_for = fields.text_column or ("resps" if is_samples else "text, content or raw_content")
    by_column: dict[str, list[str]] = {}
    for column, kind in look.kinds:
        by_column.setdefault(column, []).append(kind)
    there = "; ".join(
        f"{column!r} is there and holds {' and '.join(kinds)}{' only' * (len(kinds) == 1)}, not text"
        for column, kinds in by_column.items()
    )
    shown = ", ".join(sorted(look.columns)[:SHOWN_COLUMNS])
    return f"{planned.file.path}: looked for {looked_for}; {f'{there}; ' if there else ''}the columns there are {shown}"


def _listed(without: Sequence[tuple[PlannedFile, _Look]], reader_options: ReaderOptions) -> str:
    names = ", ".join(planned.file.name for planned, _ in without[:SHOWN_FILES])
    more = f" and {len(without) - SHOWN_FILES:,} more" if len(without) > SHOWN_FILES else ""
    return f"{names}{more} (in {_described(*without[0], reader_options)})"


def _kinds(record: dict[str, Any], fields: DocumentFields) -> list[tuple[str, str]]:
    """(column, kind of its values) for the columns that could hold texts; for `resps`, the kinds of its leaves."""
    if not fields.is_harness(record):
        return [(column, _kind_of(record[column])) for column in fields.text_columns() if column in record]
    if "resps" not in record:
        return []
    kinds = dict.fromkeys(_kind_of(leaf) for leaf in leaves(record["resps"]))
    return [("resps", kind) for kind in kinds or ("empty lists",)]


def _kind_of(value: Any) -> str:
    """The kind of a value, in the plural."""
    if value is None:
        return "nulls"
    if isinstance(value, bool):
        return "booleans"
    kinds = {list: "lists", dict: "objects", int: "numbers", float: "numbers", bytes: "bytes that are not UTF-8"}
    return kinds.get(type(value), "values that are not text")
