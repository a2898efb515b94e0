"""`X.provenance.json` beside a feature table `X.csv`: what its rows were made of and with, and why cells are empty.

It names the table by the digest of its bytes: beside a table that was edited or replaced since, it says nothing. Holds
versions and paths, but no times: the same command over the same input writes the same file. Recipes are numbered from 1
there, as in the column `recipe` of a table that has several; from 0 here.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import xxhash

from tagcorpus.pipelines.feature_table.columns import ID, extended_columns, numeric_columns
from tagcorpus.pipelines.feature_table.methods import Recipe, described, role_of, substitute_for
from tagcorpus.pipelines.readers.plan import PlannedFile
from tagcorpus.pipelines.storage.sealed import opened, sealed

FORMAT = 1
# Of a cell nobody said anything about.
NO_REASON = "not recorded"


@dataclass(frozen=True)
class Provenance:
    """`recipes`, and by id: the row's recipe, what it is about (files, counts), and column -> reason of its empty cells.
    `unites`: digest of the table that the rows were appended to."""

    recipes: list[Recipe]
    recipe_of: dict[str, int]
    about: dict[str, dict[str, Any]]
    reasons: dict[str, dict[str, str]] = field(default_factory=dict)
    unites: str = ""


def provenance_name(table: str) -> str:
    """`X.csv` -> `X.provenance.json`, `X` -> `X.provenance.json`; of URLs, too."""
    return (table[: -len(".csv")] if table.lower().endswith(".csv") else table) + ".provenance.json"


def digest(data: bytes) -> str:
    return f"xxh3-128:{xxhash.xxh3_128_hexdigest(data)}"


def file_entries(files: Iterable[PlannedFile]) -> list[dict[str, Any]]:
    """Name, path, rows and digest of each input; the digest is of its chunks' digests, in order."""
    return [
        {
            "name": planned.file.name,
            "path": planned.file.path,
            "rows": planned.rows,
            "digest": digest("\n".join(r.digest for r in planned.chunks).encode()),
        }
        for planned in files
    ]


def written(
    known: Provenance,
    table: str,
    data: bytes,
    header: Sequence[str],
    rows: Mapping[str, Mapping[str, str]],
    parameters: Mapping[str, Any],
    versions: Mapping[str, str],
) -> bytes:
    """The file's bytes. data: the table's; rows: id -> column -> text of the cell."""
    models = {}
    for model, cells in rows.items():
        empty: dict[str, list[str]] = {}
        for column in header:
            if column != ID and not cells.get(column):
                empty.setdefault(known.reasons.get(model, {}).get(column, NO_REASON), []).append(column)
        models[model] = {"recipe": known.recipe_of[model] + 1, **known.about.get(model, {}), "empty": empty}
    described = {"name": os.path.basename(table), "digest": digest(data), "rows": len(rows), "columns": len(header)}
    value = {
        "format": FORMAT,
        "table": described | ({"unites": known.unites} if known.unites else {}),
        "recipes": [
            {"recipe": i + 1, **recipe.to_json(), "columns": _columns(recipe, header)}
            for i, recipe in enumerate(known.recipes)
        ],
        "models": models,
        "parameters": dict(parameters),
        "versions": dict(versions),
    }
    return sealed(value, ensure_ascii=False, allow_nan=False) + b"\n"


def _columns(recipe: Recipe, header: Sequence[str]) -> dict[str, dict[str, str]]:
    """What each column was measured with, in words, and the published measure that it replaces."""
    entries = {}
    for column in header:
        if method := recipe.of(column):
            instead = substitute_for(role_of(column), method)
            language = (
                "language by CLD2, of the generations that have a label by " if column.startswith("pct_english") else ""
            )
            entries[column] = {
                "instrument": language + described(method),
                **({"in_place_of": instead} if instead else {}),
            }
    return entries


def read_provenance(table: str) -> Provenance | str:
    """What lies beside a local table; or, where nothing of use does, why: `missing`, `damaged`, or `of another table`."""
    path = Path(provenance_name(table))
    try:
        value = opened(path.read_bytes())
        if value is None:
            return "damaged"
        about = value["table"]
        # Published before the table: where the table could not follow, it still fits the one that was to be replaced.
        fitting = (about["digest"], about.get("unites"))
        if value["format"] != FORMAT or digest(Path(table).read_bytes()) not in fitting:
            return "of another table"
        models: dict[str, dict[str, Any]] = value["models"]
        return Provenance(
            [Recipe.from_json(r) for r in value["recipes"]],
            {model: int(entry["recipe"]) - 1 for model, entry in models.items()},
            {m: {k: v for k, v in entry.items() if k not in ("recipe", "empty")} for m, entry in models.items()},
            {m: {c: reason for reason, cs in entry["empty"].items() for c in cs} for m, entry in models.items()},
        )
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
        return "missing"
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return "damaged"


def filled(rows: Mapping[str, Mapping[str, str]], models: Iterable[str]) -> set[str]:
    """Columns in which any of these rows has a value."""
    known = {*numeric_columns(), *extended_columns()}
    return {c for model in models for c, text in rows[model].items() if c in known and text.strip()}
