"""Tag statistics of groups and mixes: means of numeric attribute columns, weighted by the tokens of the documents."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from tagcorpus.errors import InputError
from tagcorpus.pipelines.distributions.attribute_columns import AttributeColumn, Attributes, texts
from tagcorpus.pipelines.storage.folder import Folder
from tagcorpus.pipelines.token_files.sides import TRAIN
from tagcorpus.pipelines.token_files.work import INSTANCE

Means = dict[str, dict[str, float]]
"""By column (`instance.column`): `mean` over documents with a value, and `coverage`, their share of the tokens."""


def of_groups(folder: Folder) -> tuple[dict[str, Means], list[str]]:
    """By group, the means of every numeric column beside the token files of an output, over training documents.

    The second value names instances that are left out, and why: some of their parts are missing or damaged.
    """
    if not folder.exists(f"attributes/{INSTANCE}/tagger.json"):
        return {}, [f"no tag statistics of {folder}, which has no attributes/{INSTANCE}"]
    attributes = Attributes(str(folder))
    by_group: dict[str, Means] = {}
    left_out = []
    for instance, one in attributes.instances.items():
        columns = [c for c in attributes.columns if c.instance == instance and c.is_numeric]
        if instance in (INSTANCE, "text_hash") or one.tagger_name == "document column" or not columns:
            continue
        try:
            of_instance = _of_columns(attributes, columns)
        except InputError as error:
            left_out.append(f"no statistics of {instance}: {error}")
            continue
        for group, means in of_instance.items():
            by_group.setdefault(group, {}).update(means)
    return by_group, left_out


def _of_columns(attributes: Attributes, columns: list[AttributeColumn]) -> dict[str, Means]:
    place = {name: attributes.column(f"{INSTANCE}.{name}", "") for name in ("group", "side", "num_tokens")}
    sums: dict[str, np.ndarray[Any, Any]] = {}
    for rows in attributes.stream([*place.values(), *columns]):
        codes, names = texts(rows.values[place["group"].label])
        sides = np.array([s == TRAIN for s in rows.values[place["side"].label].to_pylist()], bool)
        tokens = np.where(sides, np.nan_to_num(rows.numbers(place["num_tokens"])), 0.0)
        for i, column in enumerate(columns):
            values = rows.numbers(column)
            has = np.isfinite(values)
            parts = [tokens * np.where(has, values, 0.0), tokens * has, tokens]
            for code, name in enumerate(names):
                if name is not None:
                    own = sums.setdefault(name, np.zeros((len(columns), 3)))
                    own[i] += [float(part[codes == code].sum()) for part in parts]
    return {
        group: {
            c.label: {"mean": float(own[i, 0] / own[i, 1]), "coverage": float(own[i, 1] / own[i, 2])}
            for i, c in enumerate(columns)
            if own[i, 1] > 0
        }
        for group, own in sorted(sums.items())
    }


def of_mix(shares: Mapping[str, float], of_group: Mapping[str, Means]) -> Means:
    """The means of a mix with these shares of tokens."""
    columns: Iterable[str] = sorted({c for g in shares for c in of_group.get(g, {})})
    means: Means = {}
    for column in columns:
        own = {g: of_group[g][column] for g in shares if column in of_group.get(g, {})}
        coverage = sum(shares[g] * m["coverage"] for g, m in own.items())
        if coverage > 0:
            total = sum(shares[g] * m["coverage"] * m["mean"] for g, m in own.items())
            means[column] = {"mean": total / coverage, "coverage": coverage}
    return means
