"""The header of a feature table against the published columns: missing, unknown, twice, in another order."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Iterator, Sequence

from tagcorpus.pipelines.feature_table.columns import ID, RECIPE, columns, extended_columns, numeric_columns
from tagcorpus.predictor.records.findings import Finding, listed


def check_header(header: Sequence[str]) -> Iterator[Finding]:
    """header: the first row as it is, not empty."""
    published = columns()
    for character, name in ((";", "semicolons"), ("\t", "tabs")):
        if len(header) == 1 and character in header[0]:
            message = f"the header is one cell with {name} in it; separate cells by commas"
            yield Finding("error", "not_commas", message, effect="one column, and no id")
            return
    if ID not in header:
        near = next((h for h in header if h.strip().lower() in (ID, "model", "model_id", "model_name")), None)
        hint = f"; is {near!r} meant?" if near is not None else ""
        yield Finding("error", "no_id_column", f"there is no column {ID!r}{hint}", effect="nothing to join by")
    elif header[0] != ID:
        yield Finding("warning", "id_not_first", f"{ID!r} is column {header.index(ID) + 1}, not the first")
    if "" in header:
        message = (
            f"column {header.index('') + 1} has no name; write the table without the index of pandas (index=False)"
        )
        yield Finding("error", "unnamed_column", message, effect="row numbers are a feature")
    twice = [f"{h!r}: {n} times" for h, n in Counter(header).items() if n > 1]
    effect = "readers rename or drop one of them, which one depends on the reader"
    yield from listed("error", "duplicate_column", "columns that are there more than once", twice, effect)
    missing = [c for c in published if c not in header and c != ID]
    extra = [c for c in dict.fromkeys(header) if c not in published]
    ours = [c for c in extra if c in extended_columns() or c == RECIPE]
    unknown = [c for c in extra if c not in ours]
    empty_anyway = tuple(c for c in missing if numeric_columns()[c].is_always_empty)
    gone = [c for c in missing if c not in empty_anyway]
    effect = "one that was fitted on the published columns lacks a feature"
    yield from listed("error", "missing_column", "published columns that are not there", gone, effect)
    message = "published columns that are not there, and would be empty"
    yield from listed("warning", "missing_empty_column", message, empty_anyway)
    where = [_with_hint(c, missing) for c in unknown]
    effect = "one that takes every column takes these for features, too"
    yield from listed("warning", "unknown_column", "columns that are not among the published", where, effect)
    message = "columns of `run features` after the published ones (--extended, --allow-mixed)"
    yield from listed("note", "extended_columns", message, ours, effect)
    known = [c for c in dict.fromkeys(header) if c in published]
    if known != [c for c in published if c in known]:
        first = next(h for h, p in zip(known, (c for c in published if c in known), strict=True) if h != p)
        effect = "the order decides ties in trees, and everything where columns are taken by position"
        message = f"the published columns are in another order, from {first!r} on"
        yield Finding("warning", "column_order", message, effect=effect)
    elif extra and header[len(known) :] != extra:
        yield Finding("warning", "unknown_between", "unknown columns stand between the published ones, not after them")


def _with_hint(column: str, missing: Sequence[str]) -> str:
    near = difflib.get_close_matches(column, missing, n=1, cutoff=0.75)
    return f"{column!r}: is {near[0]!r} meant?" if near else repr(column)
