"""What the provenance beside a feature table tells its checker: how many recipes, which columns are substitutes, and whether two
tables were measured alike. Without a provenance that fits, nothing is said: a table need not have one.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

from tagcorpus.pipelines.feature_table.columns import ID, RECIPE
from tagcorpus.pipelines.feature_table.methods import Recipe, described, differences, role_of, substitute_for
from tagcorpus.pipelines.feature_table.provenance import Provenance, filled, provenance_name, read_provenance
from tagcorpus.pipelines.feature_table.table import FeatureTable
from tagcorpus.predictor.records.findings import Finding, listed


def check_provenance(table: FeatureTable) -> Iterator[Finding]:
    """table: with an id column."""
    known = read_provenance(table.path)
    name = os.path.basename(provenance_name(table.path))
    if RECIPE in table.header and len(set(table.texts(RECIPE))) > 1:
        message = f"rows were measured in different ways, by column {RECIPE!r}"
        effect = "takes a difference in the measurement for a difference in the models"
        yield Finding("warning", "mixed_recipes", message, len(set(table.texts(RECIPE))), (), effect)
    if not isinstance(known, Provenance):
        if known != "missing":
            message = f"{name} is {known}: what this table was measured with is not known"
            yield Finding("warning", "provenance_unfit", message)
        return
    yield Finding("note", "provenance", f"{name} says what it was measured with", len(known.recipes))
    rows = _rows(table)
    places = []
    for i, recipe in enumerate(known.recipes):
        columns = filled(rows, [m for m in rows if known.recipe_of.get(m) == i])
        for role, method in recipe.methods.items():
            own = [c for c in table.header if c in columns and role_of(c) == role]
            if own and (instead := substitute_for(role, method)):
                places.append(f"{len(own)} columns, {own[0]} first: {described(method)}, in place of {instead}")
    message = "columns measured with other methods than in the published table"
    effect = "comparable only with tables measured with the same methods"
    yield from listed("warning", "substitutes", message, places, effect)


def compare_provenance(table: FeatureTable, against: FeatureTable) -> Iterator[Finding]:
    """Both with an id column."""
    here, there = read_provenance(table.path), read_provenance(against.path)
    if not (isinstance(here, Provenance) and isinstance(there, Provenance)):
        return
    mine, other = _rows(table), _rows(against)
    places: dict[str, None] = {}
    for i, recipe in enumerate(here.recipes):
        columns_here = filled(mine, [m for m in mine if here.recipe_of.get(m) == i])
        for j, another in enumerate(there.recipes):
            columns_there = filled(other, [m for m in other if there.recipe_of.get(m) == j])
            if Recipe() not in (recipe, another):
                name = os.path.basename(against.path)
                places |= dict.fromkeys(differences(recipe, another, name, columns_here, columns_there))
    effect = "takes a difference in the measurement for a difference in the models"
    yield from listed("warning", "measured_otherwise", "the two differ in what they were measured with", places, effect)


def _rows(table: FeatureTable) -> dict[str, dict[str, str]]:
    ids = table.texts(ID)
    return {m: dict(zip(table.header, row.cells, strict=True)) for m, row in zip(ids, table.rows, strict=True)}
