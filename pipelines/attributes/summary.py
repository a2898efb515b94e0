"""Statistics of the columns of an output: exact moments and percentiles, over the parts in plan order.

Percentiles come from an order-preserving mapping of float64 onto uint64 and four histograms of 16 bits each, so they
are exact (numpy's linear interpolation) in memory that does not grow with the corpus. Moments are merged part by part
in plan order (Chan et al. 1979, pairwise update), so they do not depend on who computed what when.

Null and NaN count as `missing`. Infinite values, which JSON cannot hold, are counted as `infinite` where there are any
and left out of everything else: n + missing + infinite = rows.
"""

from __future__ import annotations

import csv
import functools
import heapq
import io
import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tagcorpus.pipelines.attributes.earlier import parts_digest, still_true
from tagcorpus.pipelines.attributes.parts import Instance, part_of, prove
from tagcorpus.pipelines.attributes.unread import described, unread_in
from tagcorpus.pipelines.inputs.chunks import Counts
from tagcorpus.pipelines.readers.plan import Plan, PlannedFile
from tagcorpus.pipelines.readers.reader import ReaderOptions
from tagcorpus.pipelines.storage.folder import Folder
from tagcorpus.pipelines.storage.remote import ahead
from tagcorpus.pipelines.storage.sealed import sealed
from tagcorpus.taggers._interface.arrow import call

PERCENTILES = (1, 5, 25, 50, 75, 95, 99)
HISTOGRAM_BINS = 50
TOP_VALUES = 50
# Values of which a copy is sorted whole: for so few, histograms of 65,536 bins cost more.
SORTED_AT_MOST = 1 << 16
# Of so few values, the finite ones of a column stay in memory between the passes over them.
HELD_VALUES = 1 << 20
# So many values of a string column are always counted exactly.
KEPT_DISTINCT = 1_000_000
# Up to so many values of an instance stay in memory between the passes; beyond, its parts are read again.
KEPT_ROWS = 4_000_000
# From so many rows on, workers summarise one column each. For fewer, one process needs half a CPU second for 20 columns.
SPREAD_ROWS = 200_000

Floats = npt.NDArray[np.float64]
Keys = npt.NDArray[np.uint64]
ReadPart = Callable[[Folder, PlannedFile, int, Instance, Sequence[str]], pa.Table]
"""Reads a part: `part_of` or `Kinds.part`."""
Digits = Callable[[Floats, int, Sequence[int]], list[npt.NDArray[np.int64]]]
Each = Callable[[Sequence[Callable[[], Any]], str], list[Any]]
"""Calls functions wherever there is place, under a title, and returns their results in order: `Engine.each`."""
Columns = dict[str, dict[str, Any]]
"""Statistics of the columns of one instance."""


def summarise(
    output: Folder,
    plan: Plan,
    instances: Sequence[Instance],
    totals: Counts,
    pipeline: str,
    more: dict[str, Any] | None = None,
    kept_rows: int = KEPT_ROWS,
    reader_options: ReaderOptions | None = None,
    columns: Mapping[str, Columns] | None = None,
) -> dict[str, Any]:
    """Summary of every column of these instances, published as summary/<pipeline>.json and .csv; `more` is added.

    `columns` has the statistics by instance, where workers computed them: `spread_columns`.

    With `reader_options`, the published summary keeps the instances of earlier runs whose parts are current. The returned
    summary has these instances only.
    """
    value: dict[str, Any] = {
        "pipeline": pipeline,
        "counts": totals.to_json(),
        **(more or {}),
        "instances": {
            i.name: _of_instance(Parts(output, plan, i, kept_rows), i, totals, (columns or {}).get(i.name))
            for i in instances
        },
    }
    whole = value
    if reader_options is not None:
        for i in instances:
            value["instances"][i.name]["parts"] = parts_digest(plan, reader_options, i.identity())
        earlier, damaged = still_true(output, f"summary/{pipeline}.json", plan, reader_options, value["instances"])
        for i in damaged:
            earlier[i.name] = _of_instance(Parts(output, plan, i, kept_rows), i, totals)
            earlier[i.name]["parts"] = parts_digest(plan, reader_options, i.identity())
        if earlier:
            whole = {**value, "of_earlier_runs": list(earlier), "instances": value["instances"] | earlier}
    # Once more, right before the summary says so: a run with other options may have replaced parts since they were read.
    prove(output, plan, instances)
    output.publish(f"summary/{pipeline}.json", sealed(whole, allow_nan=False))
    output.publish(f"summary/{pipeline}.csv", _as_csv(whole["instances"]).encode())
    return value


def spread_columns(each: Each, output: Folder, plan: Plan, instances: Sequence[Instance]) -> dict[str, Columns] | None:
    """The `columns` of `summarise`, one column for each call of a worker. None if there are too few rows for that."""
    if plan.rows < SPREAD_ROWS:
        return None
    names = [(instance, name) for instance in instances for name in instance.tagger.columns.names]
    calls = [functools.partial(_one_column, output, plan, instance, name) for instance, name in names]
    columns: dict[str, Columns] = {instance.name: {} for instance in instances}
    for (instance, name), statistics in zip(names, each(calls, "summary"), strict=True):
        columns[instance.name][name] = statistics
    return columns


def _one_column(output: Folder, plan: Plan, instance: Instance, name: str) -> dict[str, Any]:
    return _of_column(Parts(output, plan, instance, KEPT_ROWS, names=[name]), instance.tagger.columns.field(name))


def _of_instance(parts: Parts, instance: Instance, totals: Counts, columns: Columns | None = None) -> dict[str, Any]:
    summary = {**instance.identity(), "columns": columns_of(parts, instance) if columns is None else columns}
    unread = unread_in(parts.output, parts.plan, instance)
    if unread.documents:
        summary["read_in_part"] = described(unread, totals.documents, totals.text_bytes, instance)
    names: tuple[str, ...] = getattr(instance.tagger, "status_columns", ())
    return {**summary, "statuses": _statuses(parts, names)} if names else summary


def _statuses(parts: Parts, names: Sequence[str]) -> list[dict[str, Any]]:
    """How many documents have each combination of values in these text columns, the commonest first."""
    seen: Counter[tuple[str | None, ...]] = Counter()
    for arrays in zip(*(parts.column(name) for name in names), strict=True):
        # By numbers of the values: Table.group_by imports pyarrow.dataset.
        encoded = [call("dictionary_encode", array.combine_chunks()) for array in arrays]
        numbers = np.stack([e.indices.fill_null(-1).to_numpy(zero_copy_only=False) for e in encoded], axis=1)
        for row, n in zip(*np.unique(numbers, axis=0, return_counts=True), strict=True):
            values = (None if i < 0 else e.dictionary[int(i)].as_py() for i, e in zip(row, encoded, strict=True))
            seen[tuple(values)] += int(n)
    ordered = sorted(seen.items(), key=lambda item: (-item[1], [v or "" for v in item[0]]))
    return [{**dict(zip(names, values, strict=True)), "documents": n} for values, n in ordered[:TOP_VALUES]]


def without_values(instances: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """A sentence for every instance of a summary with a status for each document and a value for none: likely a mistake."""
    messages = []
    for name, value in instances.items():
        counted = value.get("statuses", [])
        if not counted or any(
            statistics["n"] for column, statistics in value["columns"].items() if column not in counted[0]
        ):
            continue
        reasons = [
            f"{n['documents']:,} with {', '.join(f'{k} {v}' for k, v in n.items() if k != 'documents' and v is not None)}"
            for n in counted[:5]
        ]
        messages.append(f"{name} has no value for any document: {'; '.join(reasons)}")
    return messages


def columns_of(parts: Parts, instance: Instance) -> Columns:
    return {field.name: _of_column(parts, field) for field in instance.tagger.columns}


def _of_column(parts: Parts, field: pa.Field) -> dict[str, Any]:
    statistics: dict[str, Any] = {}
    if pa.types.is_boolean(field.type):
        statistics = _of_booleans(parts.column(field.name))
    elif pa.types.is_integer(field.type) or pa.types.is_floating(field.type):
        statistics = _of_numbers(lambda: parts.column(field.name))
    elif pa.types.is_string(field.type) or pa.types.is_large_string(field.type):
        statistics = _of_strings(parts.column(field.name))
    elif pa.types.is_list(field.type):
        statistics = _of_lists(parts.column(field.name))
    return statistics | {k.decode(): v.decode() for k, v in (field.metadata or {}).items()}


class Parts:
    """An instance's parts, column by column, in plan order. names: the columns that will be read, if not all."""

    def __init__(
        self,
        output: Folder,
        plan: Plan,
        instance: Instance,
        kept_rows: int,
        read_as: ReadPart = part_of,
        names: list[str] | None = None,
    ) -> None:
        self.output, self.plan, self.instance, self._read_as = output, plan, instance, read_as
        self.chunks = plan.chunks
        self._is_kept = plan.rows <= kept_rows
        self._names = names or instance.tagger.columns.names

    @functools.cached_property
    def _kept(self) -> list[pa.Table]:
        return list(self._each(self._names))

    def column(self, name: str) -> Iterator[pa.ChunkedArray]:
        if self._is_kept:
            return (table[name] for table in self._kept)
        return (table[name] for table in self._each([name]))

    def _each(self, columns: list[str]) -> Iterator[pa.Table]:
        def read(chunk: tuple[PlannedFile, int]) -> pa.Table:
            return self._read_as(self.output, *chunk, self.instance, columns)

        return ahead(read, self.chunks, is_local=self.output.is_local)


def _of_numbers(column: Callable[[], Iterable[pa.ChunkedArray]]) -> dict[str, Any]:
    n = missing = infinite = 0
    low, high = math.inf, -math.inf
    held: list[Floats] | None = []
    for array in column():
        values, n_infinite = _floats(array)
        if held is not None and n + len(values) <= HELD_VALUES:
            held.append(values)
        else:
            held = None
        infinite += n_infinite
        missing += len(array) - len(values) - n_infinite
        if len(values):
            n += len(values)
            low, high = min(low, float(values.min())), max(high, float(values.max()))
    statistics: dict[str, Any] = {"n": n, "missing": missing, **({"infinite": infinite} if infinite else {})}
    if n == 0:
        return statistics

    def finite() -> Iterable[Floats]:
        return held if held is not None else (_floats(array)[0] for array in column())

    mean, std = _moments(finite(), max(abs(low), abs(high)))
    statistics |= {"mean": mean, "std": std, "min": low, "max": high}
    statistics |= {f"p{p}": v for p, v in zip(PERCENTILES, percentiles(finite, n, PERCENTILES), strict=True)}
    values_at_once = [np.concatenate(held)] if held is not None else finite()
    return {**statistics, "histogram": _histogram(values_at_once, n, low, high)}


def _moments(chunks: Iterable[Floats], largest: float) -> tuple[float, float | None]:
    """Mean and sample standard deviation of values up to `largest` in size; None for that of a single value, or one
    that is no float64 any more."""
    # Scaled by a power of two, which is exact, where squares would overflow.
    exponent = 600 if largest >= 2.0**400 else 0
    n = 0
    mean = m2 = 0.0
    for chunk in chunks:
        if not len(chunk):
            continue
        values = np.ldexp(chunk, -exponent) if exponent else chunk
        part_mean = float(values.sum()) / len(values)
        part_m2 = float(np.square(values - part_mean).sum())
        delta = part_mean - mean
        m2 += part_m2 + delta * delta * n * len(values) / (n + len(values))
        n += len(values)
        mean += delta * len(values) / n
    try:
        return math.ldexp(mean, exponent), math.ldexp(math.sqrt(m2 / (n - 1)), exponent) if n > 1 else None
    except OverflowError:
        return math.ldexp(mean, exponent), None


def _histogram(chunks: Iterable[Floats], n: int, low: float, high: float) -> dict[str, Any]:
    """Counts between equally spaced edges; a single bin where float64 has no room for so many between low and high."""
    try:
        with np.errstate(over="ignore", invalid="ignore"):
            edges = np.histogram_bin_edges(np.empty(0), HISTOGRAM_BINS, (low, high))
            if not np.isfinite(edges).all():
                raise ValueError("the range is no float64")
            counts = sum(
                (np.histogram(c, HISTOGRAM_BINS, (low, high))[0] for c in chunks), np.zeros(HISTOGRAM_BINS, int)
            )
    except ValueError:
        return {"edges": [low, high], "counts": [n]}
    return {"edges": edges.tolist(), "counts": counts.tolist()}


def _of_booleans(column: Iterable[pa.ChunkedArray]) -> dict[str, Any]:
    n = missing = true = 0
    for array in column:
        missing += array.null_count
        n += len(array) - array.null_count
        true += call("sum", array).as_py() or 0
    return {"n": n, "missing": missing, "true": true, "share_true": true / n if n else None}


def _of_lists(column: Iterable[pa.ChunkedArray]) -> dict[str, Any]:
    n = missing = values = 0
    for array in column:
        missing += array.null_count
        n += len(array) - array.null_count
        values += call("sum", call("list_value_length", array)).as_py() or 0
    return {"n": n, "missing": missing, "list_values": values}


def _of_strings(column: Iterable[pa.ChunkedArray]) -> dict[str, Any]:
    """Exact up to KEPT_DISTINCT values. Of a column with more, the rarest are dropped whenever there are twice as many:
    `distinct` is then too low, and each count of `top` by `top_may_lack` at most."""
    seen: Counter[str] = Counter()
    n = missing = lacking = 0
    for array in column:
        missing += array.null_count
        n += len(array) - array.null_count
        for pair in call("value_counts", call("drop_null", array)).to_pylist():
            seen[pair["values"]] += pair["counts"]
        if len(seen) > 2 * KEPT_DISTINCT:
            kept = _commonest(seen, KEPT_DISTINCT + 1)
            lacking += kept.pop()[1]  # the commonest of those that go
            seen = Counter(dict(kept))
    statistics = {"n": n, "missing": missing, "distinct": len(seen), "top": dict(_commonest(seen, TOP_VALUES))}
    return statistics | ({"is_distinct_too_low": True, "top_may_lack": lacking} if lacking else {})


def _commonest(seen: Counter[str], n: int) -> list[tuple[str, int]]:
    return heapq.nsmallest(n, seen.items(), key=lambda item: (-item[1], item[0]))


def _floats(array: pa.ChunkedArray) -> tuple[Floats, int]:
    """The finite values as float64, and how many infinite ones there are besides; null and NaN are neither."""
    values: Floats = call("drop_null", array).to_numpy().astype(np.float64, copy=False)
    return values[np.isfinite(values)], int(np.isinf(values).sum())


def digit_histograms(values: Floats, shift: int, prefixes: Sequence[int]) -> list[npt.NDArray[np.int64]]:
    """Of the keys whose bits above shift + 16 are a prefix: how often each value of the 16 bits from `shift` on occurs."""
    keys = ordered_keys(values)
    above = keys >> np.uint64(shift + 16) if shift < 48 else np.zeros(len(keys), np.uint64)
    digits = ((keys >> np.uint64(shift)) & np.uint64(0xFFFF)).astype(np.int64)
    return [np.bincount(digits if shift == 48 else digits[above == np.uint64(p)], minlength=1 << 16) for p in prefixes]


def percentiles(
    chunks: Callable[[], Iterable[Floats]], n: int, percents: Sequence[float], digits: Digits = digit_histograms
) -> list[float]:
    """Exact percentiles (linear interpolation, as numpy.percentile) of n values that are read several times.

    chunks  gives the values, float64 without NaN, anew at each call
    digits  counts as `digit_histograms` does, which it replaces
    """
    positions = [(n - 1) * (p / 100) for p in percents]
    ranks = sorted({r for x in positions for r in (math.floor(x), math.ceil(x))})
    at_ranks = _sorted_at(chunks, ranks) if n <= SORTED_AT_MOST else order_statistics(chunks, ranks, digits)
    values = dict(zip(ranks, at_ranks, strict=True))
    results = []
    for x in positions:
        a, b, t = values[math.floor(x)], values[math.ceil(x)], x - math.floor(x)
        between = a + (b - a) * t if t < 0.5 else b - (b - a) * (1 - t)
        results.append(between if math.isfinite(between) else a * (1 - t) + b * t)
    return results


def _sorted_at(chunks: Callable[[], Iterable[Floats]], ranks: Sequence[int]) -> list[float]:
    """What `order_statistics` gives, by sorting a copy of all values."""
    keys = np.sort(np.concatenate([ordered_keys(values) for values in chunks()]))
    return [float(v) for v in from_ordered_keys(keys[list(ranks)])]


def order_statistics(
    chunks: Callable[[], Iterable[Floats]], ranks: Sequence[int], digits: Digits = digit_histograms
) -> list[float]:
    """The values at these 0-based ranks of the sorted whole: four passes, 16 bits of the key each."""
    prefixes = [0] * len(ranks)
    left = list(ranks)
    for shift in (48, 32, 16, 0):
        histograms = {p: np.zeros(1 << 16, np.int64) for p in set(prefixes)}
        for values in chunks():
            for histogram, more in zip(histograms.values(), digits(values, shift, list(histograms)), strict=True):
                np.add(histogram, more, out=histogram)
        cumulated = {p: np.cumsum(h) for p, h in histograms.items()}
        for i, prefix in enumerate(prefixes):
            digit = int(np.searchsorted(cumulated[prefix], left[i], side="right"))
            left[i] -= int(cumulated[prefix][digit - 1]) if digit else 0
            prefixes[i] = (prefix << 16) | digit
    return [float(v) for v in from_ordered_keys(np.array(prefixes, np.uint64))]


def ordered_keys(values: Floats) -> Keys:
    """float64 -> uint64 such that the order is kept (IEEE 754: flip all bits of negatives, the sign bit of others)."""
    bits = np.ascontiguousarray(values).view(np.uint64)
    sign = np.uint64(1 << 63)
    return np.where(bits & sign, ~bits, bits | sign)


def from_ordered_keys(keys: Keys) -> Floats:
    """The inverse of `ordered_keys`."""
    sign = np.uint64(1 << 63)
    return np.where(keys & sign, keys ^ sign, ~keys).view(np.float64)


def _as_csv(instances: dict[str, Any]) -> str:
    names = [
        "n",
        "missing",
        "infinite",
        "mean",
        "std",
        "min",
        "max",
        *(f"p{p}" for p in PERCENTILES),
        "share_true",
        "distinct",
    ]
    sink = io.StringIO()
    writer = csv.writer(sink, lineterminator="\n")
    writer.writerow(["instance", "column", *names])
    for instance, value in instances.items():
        for column, statistics in value["columns"].items():
            writer.writerow([instance, column, *(statistics.get(n, "") for n in names)])
    return sink.getvalue()
