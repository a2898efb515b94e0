"""Evidence that a CSV file has single quotes around its fields. Read with double quotes, they would be text.

The first megabyte decides. Read with double quotes, its records must show one of these:

1. At least two records do not have the header's number of fields, and with single quotes all records have it.
2. One record does not, with single quotes all have it, and one column is in single quotes in all other records.
3. All fields of all records, at least two of each, are in single quotes.

So texts with apostrophes, and a column of quotations, are no evidence.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from dataclasses import replace

from tagcorpus.pipelines.options.declaring.dialect import Dialect

SINGLE_QUOTES = 'its fields are in single quotes. Say --set "csv.quote=\'"'


def is_single_quoted(head: bytes, n_columns: int, dialect: Dialect) -> bool:
    """Whether the records in `head`, the first ones after the header, are in single quotes."""
    if dialect.quote != '"' or "'" in (dialect.delimiter, dialect.escape):
        return False
    if not re.search(rf"(?:^|{re.escape(dialect.delimiter)})'".encode(), head, re.MULTILINE):
        return False
    lines = [f"{line}\n" for line in head.decode("latin-1").split("\n")]  # splitlines also splits at control characters
    with_single = _records(lines, replace(dialect, quote="'"))
    if not with_single or any(len(fields) != n_columns for fields in with_single):
        return False
    records = _records(lines, dialect) or []
    good = [fields for fields in records if len(fields) == n_columns]
    n_bad = len(records) - len(good)
    wrapped = set(range(n_columns)).intersection(*({i for i, f in enumerate(one) if _is_wrapped(f)} for one in good))
    if n_bad:
        return n_bad >= 2 or (bool(good) and bool(wrapped))
    return len(wrapped) == n_columns >= 2 <= len(good)


def _is_wrapped(field: str) -> bool:
    return len(field) >= 2 and field[0] == field[-1] == "'"


def _records(lines: Sequence[str], dialect: Dialect) -> list[list[str]] | None:
    """The records that are not blank, without one that the end of the lines cuts off; None where strict parsing stops."""
    source = iter(lines)
    reader = csv.reader(source, delimiter=dialect.delimiter, quotechar=dialect.quote, strict=True)
    records: list[list[str]] = []
    try:
        records += (fields for fields in reader if fields)
    except csv.Error:
        if next(source, None) is not None:
            return None
    return records
