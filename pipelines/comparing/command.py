"""`tagcorpus compare`: the columns that two sets of documents share, and compare/<B>.json in the output of A."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xxhash

from tagcorpus.errors import ConfigError, InputError
from tagcorpus.pipelines.comparing.counts import MOST_VALUES, Counted, counted
from tagcorpus.pipelines.comparing.differences import of_categories, of_numbers
from tagcorpus.pipelines.comparing.documents import documents_of
from tagcorpus.pipelines.comparing.printed import as_text
from tagcorpus.pipelines.comparing.sides import Sides
from tagcorpus.pipelines.comparing.token_entropy import entropy_of
from tagcorpus.pipelines.distributions import effects
from tagcorpus.pipelines.distributions.attribute_columns import AttributeColumn, Attributes
from tagcorpus.pipelines.distributions.blocks import FEW_CLUSTERS, Blocks
from tagcorpus.pipelines.filtering.kept_rows import notes_on_rows, restricted
from tagcorpus.pipelines.group_statistics.groups import escaped
from tagcorpus.pipelines.progress.heartbeat import errors_as_damage
from tagcorpus.pipelines.storage import remote
from tagcorpus.pipelines.storage.folder import Folder
from tagcorpus.pipelines.storage.outputs import identity
from tagcorpus.pipelines.storage.sealed import opened, sealed

VERSION = 2
DISCOVERY_RATE = 0.05


def compare(
    a: str,
    b: str | None = None,
    groups: Sequence[str] = (),
    columns: Sequence[str] = (),
    cluster: str | None = None,
    floor: float = 0.05,
    documents: int = 2,
    as_json: bool = False,
    storage_options: Sequence[str] = (),
    where: str | None = None,
) -> str:
    """What the command prints; the document is published in compare/ in the output of A.

    Raises InputError where an output cannot be used, or the sides share no column; ConfigError for options that do not fit.
    """
    paths = [a] if b is None else [a, b]
    remote.use_given(storage_options, paths)
    with errors_as_damage(a):
        sides = Sides([restricted(Attributes(path), where) for path in paths], groups)
        document = compared(sides, columns, cluster, floor, documents, where)
    folder = sides.of(0).folder
    name = _name_of(folder, document, ",".join(groups) if sides.are_of_one_output else "", where)
    folder.publish(name, sealed(document))
    return json.dumps(document, indent=1) if as_json else as_text(document, folder.path(name))


def _name_of(folder: Folder, document: Mapping[str, Any], groups: str, where: str | None) -> str:
    """The file of a comparison: named after B or the groups; with a digest of B's path where another B of this name, which is still
    there, has that file."""
    b = document["outputs"][-1]
    other = groups or os.path.basename(b.rstrip("/"))
    other = other if where is None else f"{other} where {where}"
    name = f"compare/{escaped(other)}.json"
    earlier = opened(folder.read(name)) or {}
    if all(earlier.get(side, document[side]) == document[side] for side in ("a", "b")):
        return name
    try:
        place = "" if groups else earlier["outputs"][1]
        if not groups and (identity(place) == identity(b) or not Folder(place).exists()):
            return name
    except (KeyError, IndexError, TypeError):  # of an earlier version, which did not write them down
        return name
    told_apart = f"{document['a']}\n{document['b']}" if groups else b
    return f"compare/{escaped(f'{other}-{xxhash.xxh3_64_hexdigest(told_apart.encode())[:8]}')}.json"


def compared(
    sides: Sides, names: Sequence[str], cluster: str | None, floor: float, n_documents: int, where: str | None = None
) -> dict[str, Any]:
    """The document of a comparison: every column that both sides have, or the named ones."""
    shared, skipped = sides.shared_columns()
    if names:
        shared, skipped = _named(sides, names, shared, skipped), []
    entropy = None if names or where is not None else entropy_of(sides, cluster)
    if not shared and entropy is None:
        a, b = sides.names
        raise InputError(f"{a} and {b} share no column that can be compared: tag both with the same taggers")
    tables = counted(sides, shared, cluster)
    for name, n in zip(sides.names, tables.documents, strict=True):
        if not n:
            raise InputError(
                f"{name}: there is no document of this kind; `tagcorpus report` shows the values of a column"
            )
    skipped += [
        f"{label}: more than {MOST_VALUES:,} values" for label, one in tables.categories.items() if one.has_too_many
    ]
    skipped += [f"{c.label}: no values on one side" for c in shared if not tables.has(c.label)]
    columns = judged(tables, sides.are_of_one_output, floor)
    if not columns and entropy is None:
        raise InputError(f"no column can be compared: {'; '.join(skipped)}")
    order = [c.label for c in shared]
    differing = {c.label: c for c in shared if columns.get(c.label, {}).get("differs")}
    # Storage options, or an output in a store, say that inputs may be fetched; a plan from elsewhere does not.
    may_fetch = bool(remote.in_use()) or not all(one.folder.is_local for one in sides.outputs)
    if n_documents:
        for label, excesses in documents_of(sides, tables, differing, n_documents, may_fetch=may_fetch).items():
            columns[label]["excess"] = excesses
    a, b = sides.names
    return {
        "compare": VERSION,
        "a": a,
        "b": b,
        "documents": list(tables.documents),
        "outputs": [str(one.folder) for one in sides.outputs],
        "floor": floor,
        "discovery_rate": DISCOVERY_RATE,
        "intervals": _intervals(sides, cluster, tables.n_blocks),
        "columns": {label: columns[label] for label in order if label in columns},
        "entropy": entropy,
        "notes": [note for one in sides.outputs for note in notes_on_rows(one, where)],
        "skipped": skipped,
    }


def judged(tables: Counted, is_paired: bool, floor: float) -> dict[str, dict[str, Any]]:
    """Effects of all columns, and which of them differ."""
    columns: dict[str, dict[str, Any]] = {}
    for label, numbers in tables.numbers.items():
        effect = of_numbers(numbers, is_paired, np.random.default_rng(0))
        size = max(abs(effect["delta"]), effect["wasserstein_by_sd"] or 0.0)
        columns[label] = {"kind": "numeric", "n": numbers.counts.sum(axis=1).tolist(), "size": size, **effect}
    for label, categories in tables.categories.items():
        if categories.has_too_many:
            continue
        names, counts = categories.sorted
        effect = of_categories(names, counts, tables.n_blocks > 0, is_paired, np.random.default_rng(0))
        n = counts.sum(axis=(1, 2)).tolist()
        columns[label] = {"kind": "categories", "n": n, "size": effect["share_moved"], **effect}
    for one, q in zip(columns.values(), effects.adjusted([c["p"] for c in columns.values()]), strict=True):
        one["q"] = q
        one["differs"] = q <= DISCOVERY_RATE and one["size"] >= floor
    return columns


def _named(
    sides: Sides, names: Sequence[str], shared: Sequence[AttributeColumn], skipped: Sequence[str]
) -> list[AttributeColumn]:
    """The columns of `--columns`, each once. Raises ConfigError for a column that cannot be compared."""
    chosen: dict[str, AttributeColumn] = {}
    for name in (part.strip() for text in names for part in text.split(",") if part.strip()):
        column = sides.of(0).column(name, "--columns")
        if column not in shared:
            reasons = [line for line in skipped if line.startswith(f"{column.label}: ")]
            reason = (
                reasons[0]
                if reasons
                else f"{column.label}: not on both sides as numbers or text, or it makes the groups"
            )
            raise ConfigError(f"--columns {name} cannot be compared: {reason}")
        chosen[column.label] = column
    return list(chosen.values())


def _intervals(sides: Sides, cluster: str | None, n_blocks: int) -> dict[str, Any]:
    over = Blocks(sides.of(0), cluster).described(n_blocks) if cluster else "over documents"
    return {
        "level": 0.95,
        "method": "bootstrap of clusters" if cluster else "multinomial bootstrap of documents",
        "over": over,
        "cluster": cluster,
        "has_few_clusters": bool(cluster) and n_blocks < FEW_CLUSTERS,
    }
