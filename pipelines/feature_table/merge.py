"""Rows of a new feature table united with those of a file that is there, by id.

Cells of the file keep their text. An id that both have must have the same values, up to rounding; cells that only one has
are taken from it, if the recipes agree. Recipes that differ are refused, or marked in a column.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tagcorpus.errors import ConfigError, InputError
from tagcorpus.pipelines.feature_table.check import check
from tagcorpus.pipelines.feature_table.columns import ID, RECIPE, columns, extended_columns
from tagcorpus.pipelines.feature_table.compare import compare
from tagcorpus.pipelines.feature_table.methods import Recipe, differences
from tagcorpus.pipelines.feature_table.provenance import (
    Provenance,
    digest,
    filled,
    read_provenance,
)
from tagcorpus.pipelines.feature_table.table import FeatureTable, Row, read_table

SHOWN = 5
OPTION = "--append-to"


@dataclass(frozen=True)
class Rows:
    """A table to be: header, id -> column -> text, in byte order of the ids, and what is known of the rows."""

    header: list[str]
    rows: dict[str, dict[str, str]]
    known: Provenance

    def as_table(self, path: str) -> FeatureTable:
        rows = [
            Row(i + 2, [m, *(cells.get(c, "") for c in self.header[1:])])
            for i, (m, cells) in enumerate(self.rows.items())
        ]
        return FeatureTable(path, self.header, rows)


@dataclass(frozen=True)
class There:
    """The file that rows are appended to: as a table, id -> column -> text, and what is known of it."""

    path: str
    table: FeatureTable
    rows: dict[str, dict[str, str]]
    known: Provenance

    @property
    def name(self) -> str:
        return os.path.basename(self.path)


def _first(places: Sequence[str]) -> str:
    """The first of a finding's places, and how many there are besides."""
    more = f" and {len(places) - SHOWN:,} more" if len(places) > SHOWN else ""
    return f" ({', '.join(places[:SHOWN])}{more})" if places else ""


def read_there(path: str) -> There:
    """Raises InputError for a file that is no feature table."""
    table = read_table(path, OPTION)
    if errors := [f for f in check(table) if f.severity == "error"]:
        problems = "; ".join(f"{f.check}: {f.message}{_first(f.where)}" for f in errors[:SHOWN])
        raise InputError(f"{OPTION} {path}: {problems}. `tagcorpus check-features {path}` has all; mend it first")
    ids = table.texts(ID)
    rows = {m: dict(zip(table.header, row.cells, strict=True)) for m, row in zip(ids, table.rows, strict=True)}
    recorded = read_provenance(path)
    unknown = Provenance([Recipe()], dict.fromkeys(ids, 0), {})
    return There(path, table, rows, recorded if isinstance(recorded, Provenance) else unknown)


def check_ahead(path: str, recipe: Recipe, *, allow_mixed: bool) -> None:
    """Raise what `unite` will raise of a recipe, before anything is computed: as if every column of its methods had values."""
    there = read_there(path)
    columns_here = {c for c in (*columns(), *extended_columns()) if recipe.of(c) is not None}
    _, _, differing = _recipes(recipe, columns_here, there)
    _refuse(there, differing, allow_mixed)


def unite(ours: Rows, path: str, *, allow_mixed: bool) -> tuple[Rows, list[str]]:
    """Our rows (of one recipe) with those of the file at `path`, and what to tell of it.

    Raises InputError for a file that is no feature table, and for ids with other values there; ConfigError for recipes that
    differ, unless `allow_mixed`.
    """
    there = read_there(path)
    _check_conflicts(ours, there.table, path)
    recipes, renumbered, differing = _recipes(ours.known.recipes[0], filled(ours.rows, ours.rows), there)
    is_mixed = _refuse(there, differing, allow_mixed)
    source = {"file": there.name, "digest": digest(Path(path).read_bytes())}
    (rows, recipe_of, about), messages = _united(ours, there, renumbered, source)
    if is_mixed:
        for model, cells in rows.items():
            cells[RECIPE] = str(recipe_of[model] + 1)
        messages.append(
            f"{len(recipes)} recipes in one table (column {RECIPE}): {'; '.join(differing) or f'as in {there.name}'}"
        )
    header = there.table.header
    own_columns = [c for c in header if c not in {*columns(), *extended_columns(), RECIPE}]
    extended = [c for c in extended_columns() if c in ours.header or c in header]
    reasons = {
        # What stays as it is there is empty for the reasons given there.
        m: {**there.known.reasons.get(m, {}), **(ours.known.reasons.get(m, {}) if recipe_of[m] == 0 else {})}
        for m in rows
    }
    known = Provenance(recipes, recipe_of, about, reasons, source["digest"])
    return Rows([*columns(), *extended, *own_columns, *([RECIPE] if is_mixed else [])], rows, known), messages


def _refuse(there: There, differing: Sequence[str], allow_mixed: bool) -> bool:
    """Whether rows of different recipes come together. ConfigError where that is not allowed."""
    is_mixed = bool(differing) or RECIPE in there.table.header
    if is_mixed and not allow_mixed:
        reasons = "; ".join(differing) or f"column {RECIPE} says so"
        raise ConfigError(
            f"{OPTION} {there.path}: its rows were not measured as these are: {reasons}. Measure all of them with the same methods, or give "
            "--allow-mixed to unite and mark them"
        )
    return is_mixed


def _check_conflicts(ours: Rows, table: FeatureTable, path: str) -> None:
    for finding in compare(ours.as_table("here"), table):
        if finding.check == "values_differ":
            more = f"; and {finding.count - SHOWN:,} more" if finding.count > SHOWN else ""
            raise InputError(
                f"{OPTION} {path}: the same id has other values there: {'; '.join(finding.where[:SHOWN])}{more}. Take these "
                "rows out of one of the two, or find out which is right"
            )


def _recipes(mine: Recipe, here: set[str], there: There) -> tuple[list[Recipe], dict[int, int], list[str]]:
    """All recipes, ours first; the new number of each of theirs; and how they differ from ours.

    here  columns in which our rows have values
    """
    recipes = [mine]
    renumbered: dict[int, int] = {}
    differing: list[str] = []
    known = there.known
    for i, recipe in enumerate(known.recipes):
        columns_there = filled(there.rows, [m for m in there.rows if known.recipe_of.get(m) == i])
        others = list(differences(recipes[0], recipe, there.name, here, columns_there))
        if recipe.is_recorded and not others:
            recipes[0] = recipes[0].united(recipe)
            renumbered[i] = 0
        else:
            differing += others
            renumbered[i] = len(recipes)
            recipes.append(recipe)
    return recipes, renumbered, differing


_United = tuple[dict[str, dict[str, str]], dict[str, int], dict[str, dict[str, Any]]]


def _united(
    ours: Rows, there: There, renumbered: Mapping[int, int], source: Mapping[str, str]
) -> tuple[_United, list[str]]:
    """Rows, their recipes and what is known of them, by id in byte order; and what to tell."""
    rows: dict[str, dict[str, str]] = {}
    recipe_of: dict[str, int] = {}
    about: dict[str, dict[str, Any]] = {}
    as_they_are = []
    for model in sorted({*ours.rows, *there.rows}, key=str.encode):
        mine, other = ours.rows.get(model), there.rows.get(model)
        if other is None:
            rows[model], recipe_of[model], about[model] = dict(ours.rows[model]), 0, ours.known.about[model]
            continue
        own = {c: text for c, text in other.items() if c not in (ID, RECIPE)}
        recipe_of[model] = renumbered[there.known.recipe_of.get(model, 0)]
        about[model] = there.known.about.get(model, {"appended_from": dict(source)})
        if mine is not None and recipe_of[model] == 0:
            own |= {c: text for c, text in mine.items() if not own.get(c, "").strip()}
            about[model] = ours.known.about[model]
        elif mine is not None:
            as_they_are.append(model)
        rows[model] = own
    return (rows, recipe_of, about), list(_messages(ours, there, as_they_are))


def _messages(ours: Rows, there: There, as_they_are: list[str]) -> Iterator[str]:
    shared = len([m for m in ours.rows if m in there.rows])
    yield (
        f"{len(there.rows):,} rows of {there.name} and {len(ours.rows) - shared:,} new ones; {shared:,} ids were there already"
    )
    if as_they_are:
        some = ", ".join(as_they_are[:SHOWN]) + (", ..." if len(as_they_are) > SHOWN else "")
        yield f"rows of {there.name} that stay as they are, being measured otherwise: {some}"
