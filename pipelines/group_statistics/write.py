"""Writes the feature table: the CSV with the published columns, its provenance, and with `--extended` a Parquet beside it.

Bytes depend on the statistics alone: rows in byte order of their ids, numbers as the shortest text that reads back to the
same float64, empty cells for what is missing, no times. Each file is published whole, the CSV last.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tagcorpus.pipelines.attributes.ledger import versions
from tagcorpus.pipelines.feature_table.columns import ID, columns, extended_columns, numeric_columns
from tagcorpus.pipelines.feature_table.merge import Rows, unite
from tagcorpus.pipelines.feature_table.methods import Recipe, described, role_of, substitute_for
from tagcorpus.pipelines.feature_table.provenance import (
    Provenance,
    file_entries,
    filled,
    provenance_name,
    written,
)
from tagcorpus.pipelines.group_statistics.groups import Group
from tagcorpus.pipelines.group_statistics.statistics import GroupStatistics
from tagcorpus.pipelines.readers.plan import Plan
from tagcorpus.pipelines.storage.outputs import publish_file
from tagcorpus.predictor.records.plain_values import number

# Entropies of samples whose numbers of tokens differ by more than this do not compare as they are.
TOKENS_APART = 1.5


def write_table(
    path: str,
    statistics: Sequence[GroupStatistics],
    groups: Sequence[Group],
    plan: Plan,
    recipe: Recipe,
    parameters: Mapping[str, Any],
    *,
    is_extended: bool = False,
    append_to: str | None = None,
    allow_mixed: bool = False,
) -> list[str]:
    """Publish `path` (CSV) and what belongs beside it; returns what the user should be told, one line each.

    found       one per group, in any order; `groups` and `plan` say what each was made of
    recipe      of all of them; parameters: the options that decided, for the provenance
    append_to   a feature table whose rows and cells are taken over as they are
    Raises InputError for an `append_to` that is no table or has other values for an id; ConfigError where it was measured
    otherwise and `allow_mixed` is not set.
    """
    table = _own(statistics, groups, plan, recipe, is_extended)
    messages = list(_substitutes(recipe, filled(table.rows, table.rows)))
    if append_to is not None:
        table, more = unite(table, append_to, allow_mixed=allow_mixed)
        messages += more
    messages += _tokens_apart(table.known, is_extended)
    data = csv_bytes(table)
    provenance = written(table.known, path, data, table.header, table.rows, parameters, versions())
    publish_file(provenance_name(path), [provenance])
    if is_extended:
        publish_file(parquet_name(path), [_parquet(table)])
    publish_file(path, [data])
    return messages


def parquet_name(table: str) -> str:
    """`X.csv` -> `X.parquet`, `X` -> `X.parquet`."""
    return (table[: -len(".csv")] if table.lower().endswith(".csv") else table) + ".parquet"


def csv_bytes(table: Rows) -> bytes:
    """The table as CSV."""
    sink = io.StringIO(newline="")
    rows = csv.writer(sink, lineterminator="\n")
    rows.writerow(table.header)
    for model, cells in table.rows.items():
        rows.writerow([model, *(cells.get(c, "") for c in table.header[1:])])
    return sink.getvalue().encode()


def _own(
    statistics: Sequence[GroupStatistics], groups: Sequence[Group], plan: Plan, recipe: Recipe, is_extended: bool
) -> Rows:
    by_name = {planned.file.name: planned for planned in plan.files}
    of = {group.id: group for group in groups}
    ordered = sorted(statistics, key=lambda one: one.id.encode())
    about: dict[str, dict[str, Any]] = {}
    for one in ordered:
        group = of[one.id]
        about[one.id] = {"files": file_entries(by_name[name] for name in group.files), "counts": one.counts}
        if group.where is not None:
            about[one.id]["where"] = {group.where.column: group.where.value}
    other = {} if is_extended else dict.fromkeys(extended_columns(), "--extended was not asked for")
    known = Provenance(
        [recipe], {one.id: 0 for one in ordered}, about, {one.id: {**other, **one.reasons} for one in ordered}
    )
    rows = {one.id: {c: _text(v) for c, v in {**one.values, **one.extended}.items()} for one in ordered}
    return Rows([*columns(), *(extended_columns() if is_extended else ())], rows, known)


def _text(value: float | None) -> str:
    # A zero has no sign here: -0.0 is what a sum of nothing may come to.
    return "" if value is None else repr(value + 0.0)


def _parquet(table: Rows) -> bytes:
    known = {**numeric_columns(), **extended_columns()}
    fields = [pa.field(ID, pa.string())]
    arrays = [pa.array(list(table.rows), pa.string())]
    for name in table.header[1:]:
        unit = {"unit": known[name].unit} if name in known else {}
        fields.append(pa.field(name, pa.float64(), metadata=unit))
        arrays.append(pa.array([number(cells.get(name, "")) for cells in table.rows.values()], pa.float64()))
    sink = io.BytesIO()
    pq.write_table(pa.table(arrays, schema=pa.schema(fields)), sink, compression="zstd", compression_level=3)
    return sink.getvalue()


def _substitutes(recipe: Recipe, columns_with_values: set[str]) -> Iterator[str]:
    for role, method in recipe.methods.items():
        own = [c for c in numeric_columns() if c in columns_with_values and role_of(c) == role]
        if own and (instead := substitute_for(role, method)):
            more = f" and {len(own) - 1} more columns" if len(own) > 1 else ""
            yield f"{own[0]}{more}: {described(method)}, in place of {instead}; not comparable with the published table"


def _tokens_apart(known: Provenance, is_extended: bool) -> Iterator[str]:
    """Where entropy_mean does not compare: it grows with the number of tokens."""
    sizes = {m: n for m, about in known.about.items() if (n := (about.get("counts") or {}).get("entropy_tokens"))}
    if not sizes:
        return
    few, many = min(sizes, key=lambda m: sizes[m]), max(sizes, key=lambda m: sizes[m])
    if sizes[many] > TOKENS_APART * sizes[few]:
        instead = "With --extended the table has it at an equal number of tokens, and corrected"
        if is_extended:
            instead = "Compare entropy_at_budget, or the corrected estimates"
        yield (
            f"entropy_mean is not comparable as it is: it grows with the text, and {many} has {sizes[many]:,} tokens, {few} "
            f"{sizes[few]:,} ({sizes[many] / sizes[few]:.1f}x). {instead}"
        )
