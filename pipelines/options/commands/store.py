"""The options of `tagcorpus store`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from tagcorpus.pipelines.options.declaring.common import INPUT, OUTPUT
from tagcorpus.pipelines.options.declaring.declare import as_json, option, positional


@dataclass(frozen=True)
class StoreCheckOptions:
    """List orphans, conflicts, zeros, NaN, -1 and missing rows. Exit 1 if there are errors."""

    path: str = positional("DB")
    as_json: bool = as_json("As JSON, with every place.")


@dataclass(frozen=True)
class StoreShowOptions:
    """Show what the store has, or what it has of the model ID."""

    path: str = positional("DB")
    model: str | None = positional("[ID]", None, is_path=False)
    as_json: bool = as_json("As JSON.")


@dataclass(frozen=True)
class StoreQueryOptions:
    """Print the rows of one SELECT; the store is read only. `DESCRIBE evaluation_results` lists the columns."""

    path: str = positional("DB")
    sql: str = positional("SQL", is_path=False)
    form: Literal["table", "csv", "json"] = option(
        "table", "How the rows are printed.", flags=("--format",), group=OUTPUT
    )


@dataclass(frozen=True)
class StoreImportOptions:
    """Import scores, annotations and feature tables: all FILEs, or none. A folder means the files below it."""

    path: str = positional("DB.duckdb")
    files: list[str] = positional("FILE...")
    model_id: str | None = option(None, "Model of results files that do not name one.", metavar="ID", group=INPUT)
    shots: int | None = option(
        None, "Examples in the prompt, for files that do not say the number.", metavar="N", group=INPUT, at_least=0
    )
    on_conflict: Literal["refuse", "keep", "replace"] = option(
        "refuse",
        "If the store has another value: import nothing, keep the stored one, or take the new one.",
        group=OUTPUT,
    )
    create: bool = option(False, "Make an empty store if DB.duckdb does not exist.", group=OUTPUT)
    dry_run: bool = option(False, "Show what each file is and what would be imported; write nothing.", group=OUTPUT)
    as_json: bool = as_json("As JSON, with every conflict.")


@dataclass(frozen=True)
class StoreExportOptions:
    """Write DB as OUT: NAME.duckdb, NAME.csv (its feature table), or an export directory. OUT must not exist."""

    path: str = positional("DB")
    output: str = positional("OUT")
