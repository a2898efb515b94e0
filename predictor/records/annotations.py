"""Annotations of models and of their pretraining data, from JSON or CSV, checked against annotations.json.

One object (or CSV row) is one model and may have fields of both tables. The published files' spellings are accepted, too:
`pretraining_summary:percentage_web`, `safetensors:total`, or a nested `pretraining_summary` object. An unknown value is
null, an empty cell, or left out. This module writes nothing.
"""

from __future__ import annotations

import csv
import difflib
import io
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from tagcorpus.errors import InputError
from tagcorpus.predictor.records.plain_values import FALSE, LARGEST, NUMBER, TRUE, parse_json

ALIASES = {"safetensors_total": "total_params", "model_id": "id"}
SHOWN_PROBLEMS = 20
DOMAINS = tuple(f"pretraining_summary_percentage_{part}" for part in ("web", "code", "books", "reference", "academic"))
FRACTIONS = (0.9, 1.01)
"""Sums of domains that were given as fractions of 1 where percent is asked for."""


@dataclass(frozen=True)
class Annotations:
    """One model's annotations. `fields`: the given ones, without id; `notes`: allowed values to check."""

    id: str
    fields: Mapping[str, Any]
    notes: tuple[str, ...] = ()

    def of(self, table: str) -> dict[str, Any]:
        """The fields of one table of the store."""
        return {n: v for n, v in self.fields.items() if properties()[n]["table"] == table}


@cache
def properties() -> dict[str, dict[str, Any]]:
    """The fields of annotations.json by name."""
    schema = json.loads((Path(__file__).parent / "annotations.json").read_text(encoding="utf-8"))
    fields: dict[str, dict[str, Any]] = schema["properties"]
    return fields


def read_annotations(path: str | Path) -> list[Annotations]:
    """The models of a JSON file (an object, or a list of them) or of a CSV file. Raises InputError naming the file and the
    first 20 wrong rows and fields."""
    path = Path(path)
    text = text_of(path)
    is_csv = path.suffix.lower() == ".csv"
    models, problems = [], []
    for where, row in csv_rows(path, text) if is_csv else _json_rows(path, text):
        annotations, wrong = _checked(row, is_text=is_csv)
        problems += [f"{where}: {p}" for p in wrong]
        models.append(annotations)
    problems += [f"{i!r} is there more than once, with different values" for i in _unlike(models)]
    refuse(path, problems)
    return models


def are_fractions(fields: Mapping[str, Any]) -> bool:
    """Whether the percentages of domains are fractions: two or more that add up to 1. Without the web's, the sum says nothing."""
    web = fields.get(DOMAINS[0])
    if web is None or web < 0:
        return False
    parts = [value for name in DOMAINS if (value := fields.get(name) or 0) > 0]
    return len(parts) > 1 and FRACTIONS[0] <= sum(parts) <= FRACTIONS[1]


def one_model(row: Mapping[str, Any]) -> tuple[Annotations, list[str]]:
    """The annotations of one JSON object, and its problems, a sentence a field."""
    return _checked(_flat(row), is_text=False)


def field_name(name: str) -> str:
    """A field's name in the store: `:`, `.` and spaces are underscores."""
    plain = re.sub(r"[:. ]+", "_", name.strip().removeprefix("\ufeff"))
    return ALIASES.get(plain, plain)


def refuse(path: Path, problems: list[str]) -> None:
    """Raise InputError where there are problems."""
    if problems:
        more = f"\n  and {len(problems) - SHOWN_PROBLEMS:,} more" if len(problems) > SHOWN_PROBLEMS else ""
        lines = "".join(f"\n  {p}" for p in problems[:SHOWN_PROBLEMS])
        raise InputError(
            f"{str(path)!r}: {len(problems):,} problem{'s' * (len(problems) > 1)}, nothing is imported:{lines}{more}"
        )


def text_of(path: Path) -> str:
    """The file's text. Raises InputError where it cannot be read or is not UTF-8."""
    try:
        return path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise InputError(f"{str(path)!r} cannot be read: {error.strerror or error}") from None
    except UnicodeDecodeError as error:
        raise InputError(f"{str(path)!r} is not UTF-8 (byte {error.start:,})") from None


def csv_rows(path: Path, text: str) -> Iterator[tuple[str, dict[str, str]]]:
    """(where, {header: cell}) of every row that is not blank."""
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        header = [h.strip() for h in next(reader, [])]
        if twice := sorted({h for h in header if header.count(h) > 1}):
            raise InputError(f"{str(path)!r}: the header has {twice[0]!r} more than once")
        for cells in reader:
            if cells:
                if len(cells) != len(header):
                    raise InputError(
                        f"{str(path)!r}: line {reader.line_num} has {len(cells)} cells, but the header has {len(header)}"
                    )
                yield f"line {reader.line_num}", dict(zip(header, cells, strict=True))
    except csv.Error as error:
        raise InputError(f"{str(path)!r}: line {reader.line_num} is not CSV: {error}") from None


def json_of(path: Path, text: str) -> Any:
    """The parsed document. Raises InputError for text that is not JSON, and for an object that has two values for a key."""
    try:
        return parse_json(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{str(path)!r} is not JSON: {error}") from None


def _json_rows(path: Path, text: str) -> Iterator[tuple[str, dict[str, Any]]]:
    document = json_of(path, text)
    several = isinstance(document, list)
    for i, row in enumerate(document if several else [document]):
        if not isinstance(row, dict):
            raise InputError(f"{str(path)!r}: a model must be an object, but item {i} is {type(row).__name__}")
        yield f"item {i}" if several else "the object", _flat(row)


def _flat(row: Mapping[str, Any]) -> dict[str, Any]:
    flat = {k: v for k, v in row.items() if k != "pretraining_summary" or not isinstance(v, dict)}
    nested = row.get("pretraining_summary")
    return flat | ({f"pretraining_summary_{k}": v for k, v in nested.items()} if isinstance(nested, dict) else {})


def _checked(row: Mapping[str, Any], *, is_text: bool) -> tuple[Annotations, list[str]]:
    fields: dict[str, Any] = {}
    problems, notes = [], []
    named = f"id {row['id']!r}, " if row.get("id") else ""
    for given, raw in row.items():
        name = field_name(given)
        rule = properties().get(name)
        if rule is None:
            near = difflib.get_close_matches(name, properties(), n=1, cutoff=0.6)
            problems.append(f"{named}field {given!r}: no such field" + (f": did you mean {near[0]!r}?" if near else ""))
            continue
        if raw is None or (is_text and not raw.strip()):
            continue
        try:
            value = _value(raw, rule, is_text=is_text)
        except ValueError as error:
            problems.append(f"{named}field {given!r}: must be {error}, not {raw!r}")
            continue
        if name in fields and fields[name] != value:
            problems.append(f"{named}field {given!r}: given twice, under two spellings, with different values")
        fields[name] = value
        if "known" in rule and value not in rule["known"]:
            near = difflib.get_close_matches(value, rule["known"], n=1, cutoff=0.6)
            hint = f": is it {near[0]!r}?" if near else ""
            notes.append(f"{named}field {given!r}: {value!r} is new{hint} In use: {', '.join(rule['known'])}")
    if are_fractions(fields):
        problems.append(f"{named}the percentages of domains add up to 1: give percent, from 0 to 100")
    if (total := sum(fields.get(part) or 0 for part in DOMAINS)) > 101:
        notes.append(f"{named}the percentages of domains add up to {total:g}")
    if "id" not in fields and not any("field 'id'" in p for p in problems):
        problems.append("field 'id': must be given")
    return Annotations(str(fields.pop("id", "")), fields, tuple(notes)), problems


def _value(raw: Any, rule: Mapping[str, Any], *, is_text: bool) -> Any:
    """The value in the field's type. Raises ValueError with the values that the field accepts."""
    kind = rule["type"]
    value = _from_text(raw.strip(), kind) if is_text else raw
    if rule["table"] == "checkpoints" and kind == "string" and isinstance(value, int) and not isinstance(value, bool):
        value = str(value)  # a seed is mostly a number
    if kind in ("integer", "number"):
        expected = "a whole number" if kind == "integer" else "a number"
        low, above, high = rule.get("minimum"), rule.get("exclusiveMinimum"), rule.get("maximum")
        expected += f" of at least {low}" if low is not None else f" above {above}" if above is not None else ""
        expected += f" and at most {high}" if high is not None else ""
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) <= LARGEST:
            raise ValueError(expected)
        is_outside = (low is not None and value < low) or (high is not None and value > high)
        if is_outside or (above is not None and value <= above) or (kind == "integer" and value != int(value)):
            raise ValueError(expected + (" (what is not known is left out)" if value == -1 else ""))
        return int(value) if kind == "integer" else float(value)
    if kind == "boolean" and not isinstance(value, bool):
        raise ValueError("true or false")
    if kind == "object":
        if not isinstance(value, dict):
            raise ValueError("a JSON object")
        return json.dumps(value, sort_keys=True)
    if kind == "string" and (not isinstance(value, str) or not re.fullmatch(rule["pattern"], value)):
        shape = "organisation/name" if rule["table"] == "both" else "one word in lower case"
        raise ValueError(rule.get("shape", shape))
    return value


def _from_text(cell: str, kind: str) -> Any:
    if kind in ("integer", "number"):
        if not NUMBER.fullmatch(cell):
            return cell
        return int(cell) if re.fullmatch(r"[+-]?[0-9]{1,30}", cell) else float(cell)
    if kind == "boolean":
        return True if cell.lower() in TRUE else False if cell.lower() in FALSE else cell
    if kind == "object":
        try:
            return parse_json(cell)
        except (ValueError, RecursionError):
            return cell
    return cell


def _unlike(models: list[Annotations]) -> list[str]:
    first: dict[str, Annotations] = {}
    return [a.id for a in models if a.id and first.setdefault(a.id, a).fields != a.fields]
