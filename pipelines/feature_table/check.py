"""`tagcorpus check-features`: is this CSV a feature table, and what can a predictor not use?

Errors are what makes a predictor stop or believe something false; warnings what a person should look at; notes are facts.
Nothing is changed, and nothing is computed anew: a wrong value inside its range is not noticed, except against another
file (comparison.py). What the columns should be stands in columns.py.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace

from tagcorpus.errors import InputError
from tagcorpus.pipelines.feature_table.beside import check_provenance, compare_provenance
from tagcorpus.pipelines.feature_table.columns import ID, numeric_columns
from tagcorpus.pipelines.feature_table.compare import compare
from tagcorpus.pipelines.feature_table.header import check_header
from tagcorpus.pipelines.feature_table.table import FeatureTable, read_table
from tagcorpus.pipelines.feature_table.values import check_values
from tagcorpus.pipelines.progress.amounts import counted
from tagcorpus.pipelines.progress.printable import printable
from tagcorpus.pipelines.progress.wrapping import width_at_most, wrapped
from tagcorpus.predictor.records.findings import SEVERITIES, Finding, listed
from tagcorpus.predictor.records.harness_results import is_id

SHOWN_PLACES = 5
# Notes, since the published tables have them, too; yet linear models stop at empty cells.
CHOKES_SOME = ("incomplete_models",)
# A table of one's own has none of the published columns.
NOT_NEEDED = ("missing_column",)


def report(path: str, against: str | None, as_json: bool) -> tuple[str, int]:
    """What the command prints, and its exit code: 1 where there is an error among the findings.

    Raises InputError where a file is not there, or `against` is no table to compare with.
    """
    table = read_table(path, "check-features FILE")
    findings = check(table)
    if ID in table.header:
        findings += check_provenance(table)
    if against is not None:
        other = read_table(against, "--against")
        findings += _compared(table, other)
    findings.sort(key=lambda f: SEVERITIES.index(f.severity))  # stable: within one severity in the order of the checks
    code = int(any(f.severity == "error" for f in findings))
    if not as_json:
        return as_text(table, findings, against), code
    counts = {s: sum(f.severity == s for f in findings) for s in SEVERITIES}
    document = {
        "file": path,
        "against": against,
        "exit_code": code,
        "rows": len(table.rows),
        "columns": len(table.header),
        **sight(table),
        "counts": counts,
        "findings": [f.to_json() for f in findings],
    }
    return json.dumps(document, indent=1, ensure_ascii=False), code


def check(table: FeatureTable) -> list[Finding]:
    """Everything that can be said of one table by itself, the most basic first."""
    findings = list(table.findings)
    if table.header:
        findings += check_header(table.header)
        if table.rows and ID in table.header:
            findings += _ids(table)
        if table.rows:
            findings += check_values(table)
    return findings


def faults(table: FeatureTable) -> list[Finding]:
    """The errors that matter for a join with models, whether or not the table has published columns. -1 is an error in published
    columns only: elsewhere it may be a value."""
    errors = [f for f in check(table) if f.severity == "error" and f.check not in NOT_NEEDED]
    return [f for f in map(_of_published_columns, errors) if f.count]


def _of_published_columns(finding: Finding) -> Finding:
    """A finding of -1 without the columns of one's own; any other as it is."""
    if finding.check != "minus_one":
        return finding
    where = tuple(w for w in finding.where if w.rpartition(": ")[2] in numeric_columns())
    return replace(finding, where=where, count=len(where))


def _compared(table: FeatureTable, other: FeatureTable) -> Iterator[Finding]:
    if ID not in other.header:
        why = other.findings[0].message if other.findings else f"its header has no column {ID!r}"
        raise InputError(f"--against: {other.path!r} is nothing to compare with: {why}")
    errors = [f"{f.check} ({f.count:,})" for f in check(other) if f.severity == "error"]
    message = "kinds of errors in the other file itself; check it, too"
    yield from listed("warning", "other_has_errors", message, errors)
    if ID in table.header:
        yield from compare(table, other)
        yield from compare_provenance(table, other)


def _ids(table: FeatureTable) -> Iterator[Finding]:
    ids = table.texts(ID)
    lines: dict[str, list[int]] = defaultdict(list)
    spellings: dict[str, set[str]] = defaultdict(set)
    for model, row in zip(ids, table.rows, strict=True):
        lines[model].append(row.line)
        spellings[model.strip().lower().replace("__", "/")].add(model)
    empty = [f"line {n:,}" for model in lines if not model.strip() for n in lines[model]]
    yield from listed("error", "empty_id", "rows without an id", empty, "joined with nothing")
    named = {model: at for model, at in lines.items() if model.strip()}
    twice = [f"{m}: lines {', '.join(map(str, at))}" for m, at in named.items() if len(at) > 1]
    effect = "a join makes a row of each, and one model is in training and in test"
    yield from listed("error", "duplicate_id", "ids that are there more than once", twice, effect)
    spaced = [f"{m!r}" for m in named if m != m.strip() or not m.isprintable()]
    effect = "the same model's id without them does not join"
    yield from listed(
        "error", "id_with_spaces", "ids with spaces around them or with control characters", spaced, effect
    )
    near = [" and ".join(map(repr, sorted(group))) for group in spellings.values() if len(group) > 1]
    message = "ids that differ only in case, spaces, or __ for /"
    yield from listed("warning", "ids_alike", message, near, "perhaps one model that counts as two")
    bare = [m for m in named if "/" not in m]
    effect = "grouped by organisation, each is a group of its own"
    yield from listed("note", "id_without_org", "ids that are a bare name, not org/name", bare, effect)
    deep = [m for m in named if m.count("/") > 1 and is_id(m)]
    effect = "grouped by organisation, which is the first part"
    yield from listed("note", "id_is_a_path", "ids that are a longer path, not org/name", deep, effect)
    odd = [m for m in named if m not in deep and (m.count("/") > 1 or not all(m.split("/")))]
    yield from listed("warning", "id_not_org_name", "ids that are neither org/name nor a bare name", odd)
    if ids != sorted(ids):
        message = "rows are not in byte order of their ids"
        yield Finding("note", "rows_not_sorted", message, effect="seeded folds come out otherwise")


def sight(table: FeatureTable) -> dict[str, int]:
    """What a predictor has before it: columns with a value, and models that have a value in each of those."""
    at = [i for i, name in enumerate(table.header) if name != ID]
    full = [i for i in at if any(row.cells[i].strip() for row in table.rows)]
    whole = sum(all(row.cells[i].strip() for i in full) for row in table.rows) if full else 0
    known = numeric_columns()
    return {
        "columns_with_values": len(full),
        "columns_empty_by_rule": sum(table.header[i] in known and known[table.header[i]].is_always_empty for i in at),
        "complete_models": whole,
    }


def as_text(table: FeatureTable, findings: Sequence[Finding], against: str | None) -> str:
    """The findings as a person reads them: by severity, with the first places, and what a predictor sees."""
    width = max((len(f.check) for f in findings), default=0)
    head = f"{table.path}: {counted(len(table.rows), 'row')}, {counted(len(table.header), 'column')}"
    lines = [head + (f"; against {against}" if against is not None else "")]
    for severity in SEVERITIES:
        group = [f for f in findings if f.severity == severity]
        if group:
            lines.append("")
        lines += [line for f in group for line in finding_lines(f, width + 1)]
    return "\n".join([*lines, "", *_verdict(table, findings)])


def finding_lines(f: Finding, width: int) -> list[str]:
    """The finding with its first places and its effect. width: columns of the name of the check."""
    margin = " " * (width + 18)
    lines = _wrapped(f.message, f"{f.severity:<7}  {f.check:<{width}} {f.count:>6,}  ", margin)
    for place in f.where[:SHOWN_PLACES]:
        lines += _wrapped(place, margin + "  ", margin + "    ")
    if len(f.where) > SHOWN_PLACES:
        lines.append(f"{margin}  and {len(f.where) - SHOWN_PLACES:,} more (--json has all)")
    return lines + (_wrapped(f"a predictor: {f.effect}", margin + "-> ", margin + "   ") if f.effect else [])


def _verdict(table: FeatureTable, findings: Sequence[Finding]) -> list[str]:
    choking = [f for f in findings if f.severity == "error"]
    seen = sight(table)
    lines = [", ".join(counted(sum(f.severity == s for f in findings), s) for s in SEVERITIES)]
    lines.append(
        f"a predictor sees {counted(len(table.rows), 'model')} and {counted(seen['columns_with_values'], 'column')} with values; "
        f"{counted(seen['complete_models'], 'model')} {'has' if seen['complete_models'] == 1 else 'have'} a value in each of them"
    )
    if choking:
        return [*lines, f"a predictor cannot use: {_named(choking)}"]
    # What some stop at: said with the finding, whatever its severity.
    if troubling := [f for f in findings if f.severity == "warning" or f.check in CHOKES_SOME]:
        return [*lines, f"no errors, but some predictors fail or err because of: {_named(troubling)}"]
    return [*lines, "a predictor can use all of it"]


def _named(findings: Sequence[Finding]) -> str:
    return ", ".join(f"{f.check} ({f.count:,})" for f in findings)


def _wrapped(text: str, first: str, rest: str) -> list[str]:
    plain = printable(text, is_line=True)
    return wrapped(plain, max(width_at_most(110), len(rest) + 30), first, rest)
