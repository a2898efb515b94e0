"""Labels of documents, out of an output folder or a table (CSV, TSV, JSON lines, Parquet)."""

from __future__ import annotations

import csv
import math
import re
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path
from typing import Any, Literal

import pyarrow.parquet as pq
import xxhash

from tagcorpus.errors import ConfigError, InputError, folded, unknown_name
from tagcorpus.pipelines.attributes.read import instance_folders, read
from tagcorpus.pipelines.inputs.records import repair
from tagcorpus.pipelines.storage.folder import Folder
from tagcorpus.predictor.records.plain_values import TRUE, parse_json

By = Literal["id", "text"]
# What stands in the place of a label.
ERROR, OFF_MENU = "(error)", "(off menu)"
NO_LABELS = (OFF_MENU, ERROR)
UNKNOWN = "unknown"
LABEL_COLUMNS = ("label", "prediction", "gold", "domain")
ID_COLUMNS = ("id", "doc_id")
TEXT_COLUMNS = ("text", "content", "raw_content")
_WHOLE = re.compile(r"-?[0-9]+\.0+")
PEEKED = 1000
"""Rows whose columns are known before the column of labels is chosen: a row of JSON lines may lack some."""
TABLES = (".csv", ".tsv", ".jsonl", ".parquet")


@dataclass(frozen=True)
class Labelled:
    """One document: its key, its label (or ERROR, or OFF_MENU), and its other columns."""

    key: str
    label: str
    id: str
    columns: dict[str, Any]


@dataclass
class LabelTable:
    """Labels by key. Documents whose key is there several times, with other labels or texts, are in `doubled`, with their number,
    and nowhere else."""

    path: str
    column: str
    labels: dict[str, Labelled]
    doubled: Counter[str] = field(default_factory=Counter)
    without_key: int = 0


def read_labels(path: str, by: By, column: str = "", with_text: bool = False) -> LabelTable:
    """The labels of an output folder (default column: domain.prediction) or of a table.

    by      what tells documents apart: their id, or their text
    column  the column with the labels; "" = the first of LABEL_COLUMNS that is there
    with_text  read the texts of an output folder's documents from its input again
    Raises InputError for what is not there or cannot be read, ConfigError for a column that is not there.
    """
    if Path(path).is_dir() or "://" in path:
        rows, name = _of_output(path, by, column, with_text)
    else:
        rows, name = _of_table(path, column)
    table = LabelTable(path, name, {})
    for row in rows:
        key = _key(row, by)
        if key is None:
            table.without_key += 1
            continue
        labelled = Labelled(key, _label(row, name, path), str(row.get("id") or row.get("doc_id") or ""), row)
        if key in table.doubled:
            table.doubled[key] += 1
        elif key in table.labels:
            if table.labels[key].label == labelled.label and not has_other_text(table.labels[key], labelled):
                continue  # a copy of the same document
            table.doubled[key] = 2
            del table.labels[key]
        else:
            table.labels[key] = labelled
    if not table.labels:
        if table.doubled:
            raise InputError(
                f"{path} has each {by} several times, with different labels or texts (first {next(iter(table.doubled))!r}); name "
                "documents apart, or join with --by text"
            )
        raise InputError(f"{path} has no document with {'an id' if by == 'id' else 'a text'} and a label")
    return table


def _label(row: dict[str, Any], column: str, path: str) -> str:
    value = row.get(column)
    if str(row.get("is_off_menu")).lower() in TRUE:
        return OFF_MENU
    if isinstance(value, list | dict):
        raise InputError(
            f"{path}: the column {column!r} holds {value!r:.60}, not one label: name another with --column"
        )
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ERROR
    label = _spelled(value).strip()
    return ERROR if label in ("", "NaN", "nan") else label


def _spelled(value: Any) -> str:
    """A value as text: numbers and booleans alike, whether a table has types or, as CSV, only text.

    Example  True, "True" -> "true";  3, 3.0, "3.0" -> "3"
    """
    text = _as_text(value)
    if text.lower() in ("true", "false"):
        return text.lower()
    text = text.partition(".")[0] if _WHOLE.fullmatch(text) else text
    return "0" if text == "-0" else text


def _as_text(value: Any) -> str:
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return str(int(value) if isinstance(value, float) and value.is_integer() else value)


def otherwise_spelled(one: Iterable[str], other: Iterable[str]) -> dict[str, str]:
    """Labels of one side that the other does not have, but has with other case, spaces, hyphens or underscores: by label, the other's.

    Example  (["Web", "books"], ["web", "books"]) -> {"Web": "web"}
    """
    known = {_plain(label): label for label in other}
    return {own: there for own in sorted(one) if (there := known.get(_plain(own), own)) != own and own not in {*other}}


def in_two_spellings(labels: Iterable[str]) -> list[list[str]]:
    """Labels of one table that differ by case, spaces, hyphens or underscores only, in groups."""
    groups: dict[str, list[str]] = {}
    for label in sorted({*labels}):
        groups.setdefault(_plain(label), []).append(label)
    return [group for group in groups.values() if len(group) > 1]


def _plain(label: str) -> str:
    return folded(re.sub(r"[-_]", " ", label))


def has_other_text(one: Labelled, other: Labelled) -> bool:
    """Whether two documents are known to have different texts: by digest, else by length."""
    for known in (_text_digest, length):
        own, its = known(one.columns), known(other.columns)
        if own is not None and its is not None:
            return own != its
    return False


def length(columns: dict[str, Any]) -> int | None:
    """Characters of a document's text, where they are known."""
    if columns.get("char_len") not in (None, ""):
        return int(columns["char_len"])
    return len(columns["text"]) if isinstance(columns.get("text"), str) else None


def _key(row: dict[str, Any], by: By) -> str | None:
    if by == "id":
        value = next((row[c] for c in ID_COLUMNS if row.get(c) not in (None, "")), None)
        return None if value is None else _as_text(value)
    return _text_digest(row)


def _text_digest(row: dict[str, Any]) -> str | None:
    if row.get("text_digest"):
        return str(row["text_digest"])
    text = next((row[c] for c in TEXT_COLUMNS if isinstance(row.get(c), str)), None)
    return None if text is None else xxhash.xxh3_128_hexdigest(text.encode("utf-8", "surrogatepass"))


def _of_output(path: str, by: By, column: str, with_text: bool) -> tuple[Iterator[dict[str, Any]], str]:
    known = instance_folders(Folder(path))
    instance, _, name = (column or "domain.prediction").partition(".")
    if instance not in known:
        if not column:
            raise ConfigError(
                f"{path} has no domain labels: name the labels with --column. Instances: {', '.join(known)}"
            )
        raise ConfigError(unknown_name("instance", instance, known, f"{path}: --column {column}"))
    others = [i for i in known if i in ("digest", "language", "length") and i != instance]
    has_digest = "digest" in known
    dataset = read(path, [instance, *others], text=with_text or (by == "text" and not has_digest))
    prefix = f"{instance}.{name}"
    chosen = prefix if prefix in dataset.schema.names else name
    if chosen not in dataset.schema.names:
        raise ConfigError(unknown_name("column", name, dataset.schema.names, f"{path}: --column {column}"))
    return (row for batch in dataset.to_batches() for row in batch.to_pylist()), chosen


def _of_table(path: str, column: str) -> tuple[Iterator[dict[str, Any]], str]:
    if not Path(path).is_file():
        raise InputError(f"{path!r} is not there: name an output folder, or a table ({', '.join(TABLES)})")
    rows = _rows(path)
    first = list(islice(rows, PEEKED))
    if not first:
        raise InputError(f"{path} has no rows")
    names = list(dict.fromkeys(name for row in first for name in row))
    chosen = column or next((c for c in LABEL_COLUMNS if c in names), "")
    if chosen not in names:
        place = (
            f"{path}: --column {column}"
            if column
            else f"{path}: no column {', '.join(LABEL_COLUMNS)}; name one with --column"
        )
        raise ConfigError(
            unknown_name("column", column, names, place) if column else f"{place}. Columns: {', '.join(names)}"
        )
    return chain(first, rows), chosen


def _refuse_twice(path: str, names: list[str]) -> None:
    if twice := [name for name in names if names.count(name) > 1]:
        raise InputError(f"{path}: the header has {twice[0]!r} more than once")


def _rows(path: str) -> Iterator[dict[str, Any]]:
    name = path.lower()
    try:
        if name.endswith(".parquet"):
            table = pq.ParquetFile(path)
            _refuse_twice(path, table.schema_arrow.names)
            for batch in table.iter_batches():
                yield from batch.to_pylist()
        elif name.endswith(".jsonl"):
            with open(path, encoding="utf-8-sig", newline="\n") as file:
                for number, line in enumerate(file, 1):
                    if line.strip():
                        row = parse_json(line)
                        if not isinstance(row, dict):
                            raise InputError(f"{path}: line {number} is not a JSON object")
                        yield {k: repair(v) if isinstance(v, str) else v for k, v in row.items()}
        elif name.endswith((".csv", ".tsv")):
            csv.field_size_limit(sys.maxsize)
            with open(path, encoding="utf-8-sig", newline="") as text:
                reader = csv.reader(text, delimiter="\t" if name.endswith(".tsv") else ",", strict=True)
                names = next(reader, [])
                _refuse_twice(path, names)
                for fields in reader:
                    if not fields:
                        continue  # a blank line
                    if len(fields) != len(names):
                        raise InputError(
                            f"{path}: line {reader.line_num} has {len(fields)} cells, the header {len(names)}"
                        )
                    yield dict(zip(names, fields, strict=True))
        else:
            raise ConfigError(
                f"{path} is not a table that can be read: name an output folder, or a file in {', '.join(TABLES)}"
            )
    except (ValueError, csv.Error, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read: {error}") from error
