"""`tagcorpus store check|show|query|import|export`: what the commands print, and their exit codes.

The store itself is predictor/store*.py. This binds it with the check of feature tables (feature_table/), which the
predictor's room does not know: a feature table that could be misread is not imported.
"""

from __future__ import annotations

import csv
import io
import json
import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tagcorpus.errors import ConfigError, InputError
from tagcorpus.pipelines.feature_table.check import faults, finding_lines
from tagcorpus.pipelines.feature_table.table import FeatureTable, Row, read_table
from tagcorpus.pipelines.options.declaring.common import Options
from tagcorpus.pipelines.options.places import OTHER_SUFFIXES
from tagcorpus.pipelines.progress.printable import printable
from tagcorpus.pipelines.progress.wrapping import width_at_most, wrapped
from tagcorpus.pipelines.storage.outputs import check_file, has_content, publish_file
from tagcorpus.predictor.records.checkpoints import TABLE
from tagcorpus.predictor.records.findings import SEVERITIES
from tagcorpus.predictor.store.batch import is_parquet, kind_of, table_rows
from tagcorpus.predictor.store.check import check as check_store
from tagcorpus.predictor.store.files import duckdb_module, has_same_contents, is_new, write
from tagcorpus.predictor.store.load import OnConflict, import_files
from tagcorpus.predictor.store.store import Store

NAME_WIDTH = 19  # of checks
NOT_REPLACED = "has other contents, and is never written over"
EXPLAIN = re.compile(r"\s*EXPLAIN\b(?:\s+ANALYZE\b)?(?:\s*\([^()]*\))?", re.IGNORECASE)
PIVOT = "MULTI"
"""DuckDB's name for a PIVOT that looks for its columns first, alone or within a SELECT."""
UNITS = {"annotations": "fields", "features": "cells"}  # scores, of all other kinds


def check(path: str, as_json: bool) -> tuple[str, int]:
    """Findings as text or JSON, and the exit code: 1 where there is an error among them."""
    with Store.from_existing(path) as store:
        findings = check_store(store)
        n_models = len(store.models())
        n_scores = store.con.execute("SELECT count(*) FROM evaluation_results").fetchone()[0]
    code = int(any(f.severity == "error" for f in findings))
    counts = {s: sum(f.severity == s for f in findings) for s in SEVERITIES}
    if as_json:
        document = {"store": path, "exit_code": code, "models": n_models, "scores": n_scores, "counts": counts}
        return _json(document | {"findings": [f.to_json() for f in findings]}), code
    lines = [f"{path}: {n_models:,} models, {n_scores:,} scores"]
    for severity in SEVERITIES:
        group = [f for f in findings if f.severity == severity]
        lines += ["", *(line for f in group for line in finding_lines(f, NAME_WIDTH))] if group else []
    lines += ["", ", ".join(f"{n:,} {s}{'s' * (n != 1)}" for s, n in counts.items())]
    return "\n".join(lines), code


def _json(document: Any) -> str:
    """JSON that others read, too: what is no finite number is null, what JSON does not know its text."""

    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            return {k: plain(v) for k, v in value.items()}
        if isinstance(value, list | tuple):
            return [plain(v) for v in value]
        return None if isinstance(value, float) and not math.isfinite(value) else value

    return json.dumps(plain(document), indent=1, ensure_ascii=False, default=str)


def show(path: str, model: str | None, as_json: bool) -> str:
    """What the store holds, or what it knows of one model."""
    with Store.from_existing(path) as store:
        if model is not None:
            return _model(store.model(model), as_json)
        counts = {t: store.con.execute(f'SELECT count(*) FROM "{t}"').fetchone()[0] for t in store.tables}
        models = store.models()
        benchmarks = store.con.execute(
            "SELECT benchmark, setting, metric, count(*) FROM evaluation_results GROUP BY ALL ORDER BY 1, 2, 3"
        ).fetchall()
        n_checkpoints = 0
        if TABLE in store.tables:
            alone = f"SELECT count(*) FROM {TABLE} WHERE id NOT IN (SELECT id FROM model_annotations)"
            n_checkpoints = store.con.execute(alone).fetchone()[0]
        imports = []
        if "imports" in store.tables:
            imports = store.con.execute("SELECT time, kind, file, digest FROM imports ORDER BY time, file").fetchall()
    groups = Counter(m.split("/")[0] if m.count("/") == 1 else m for m in models)
    if as_json:
        document = {
            "store": path,
            "tables": counts,
            "models": models,
            "checkpoints_without_annotations": n_checkpoints,
            "organisations": dict(sorted(groups.items())),
            "benchmarks": [dict(zip(("benchmark", "setting", "metric", "models"), b, strict=True)) for b in benchmarks],
            "imports": [dict(zip(("time", "kind", "file", "digest"), i, strict=True)) for i in imports],
        }
        return _json(document)
    lines = [path, ""] + [f"  {name:<22} {n:>8,} rows" for name, n in counts.items()]
    largest = ", ".join(f"{name} {n}" for name, n in sorted(groups.items(), key=lambda g: (-g[1], g[0]))[:8])
    models_line = f"{len(models):,} models of {len(groups):,} organisations, most of them: {largest}"
    lines += ["", *wrapped(printable(models_line, is_line=True), width_at_most(110), "", "  ")]
    lines += [f"{n_checkpoints:,} of them are checkpoints without annotations"] if n_checkpoints else []
    subtasks = [b for b in benchmarks if b[0].startswith(("mmlu_", "hendrycksTest-"))]
    lines += [
        "",
        "models by benchmark"
        + (f" ({len(subtasks):,} rows of MMLU subjects left out; --json has them)" if subtasks else ""),
    ]
    lines += [
        f"  {b:<34} {s:<8} {m:<20} {n:>5,}"
        for b, s, m, n in benchmarks
        if not b.startswith(("mmlu_", "hendrycksTest-"))
    ]
    if imports:
        lines += [
            "",
            "imports",
            *(f"  {t:%Y-%m-%d %H:%M:%S} UTC  {k:<12} {printable(f, is_line=True)}" for t, k, f, _ in imports),
        ]
    return "\n".join(lines)


def _model(model: dict[str, Any], as_json: bool) -> str:
    names = ("benchmark", "setting", "metric", "value", "stderr")
    if as_json:
        scores = [dict(zip(names, s, strict=True)) for s in model["scores"]]
        return _json(model | {"scores": scores})
    lines = [model["id"], ""] + [f"  {n:<44} {v}" for n, v in model["annotations"].items()]
    lines += ["", f"{len(model['scores']):,} scores, {model['n_features']:,} features"]
    for benchmark, setting, metric, value, stderr in model["scores"]:
        shown = "-" if value is None else f"{value:.4f}"
        lines.append(
            f"  {benchmark:<40} {setting:<8} {metric:<14} {shown:>9}" + (f" +- {stderr:.4f}" if stderr else "")
        )
    return "\n".join(lines)


def query(path: str, sql: str, form: str) -> str:
    """The rows of one query as an aligned table, CSV or JSON (`form`: table, csv, json). Nothing can be changed, also not by
    a query that deletes on its way (`WITH x AS (DELETE ...)`), and nothing is read but the store."""
    duckdb = duckdb_module()
    with Store.from_existing(path) as store:
        try:
            kinds = [s.type.name for s in duckdb.extract_statements(sql)]
            if kinds == ["EXPLAIN"] and (match := EXPLAIN.match(sql)):  # EXPLAIN ANALYZE runs what it explains
                kinds = [s.type.name for s in duckdb.extract_statements(sql[match.end() :])]
            if kinds not in (["SELECT"], [PIVOT]):
                given = " and ".join("PIVOT" if kind == PIVOT else kind for kind in kinds)
                raise ConfigError(
                    "store query: queries only read: must be one SELECT (or FROM, WITH, PIVOT, DESCRIBE, SHOW, SUMMARIZE, "
                    f"EXPLAIN of one), not {given or 'nothing'}"
                )
            store.con.execute("BEGIN TRANSACTION READ ONLY")
            result = store.con.execute(sql)
            names = [d[0] for d in result.description]
            rows = result.fetchall()
        except duckdb.Error as error:
            if "read-only mode" in str(error):
                raise ConfigError("store query: queries only read, and this one would change the store") from None
            raise ConfigError(f"store query: {str(error).splitlines()[0].split(': ', 1)[-1]}") from None
    if form == "json":
        return _json([dict(zip(names, row, strict=True)) for row in rows])
    if form == "csv":
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(names)
        writer.writerows([["" if v is None else v for v in row] for row in rows])
        return out.getvalue().removesuffix("\n")
    cells = [names, *([("" if v is None else printable(v, is_line=True)) for v in row] for row in rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(names))]
    return "\n".join("  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip() for row in cells)


def import_(
    path: str,
    files: Sequence[str],
    on_conflict: OnConflict,
    model_id: str | None,
    create: bool,
    as_json: bool,
    shots: int | None = None,
    dry_run: bool = False,
) -> str:
    """Bring files into the store, all or none; what became of each. Raises InputError, ConflictError."""
    for file in files:
        is_table = Path(file).is_file() and kind_of(Path(file)) == "features"
        if is_table and (errors := faults(_feature_table(file))):
            problems = "; ".join(f"{f.check}: {f.message} ({f.count:,}), {', '.join(f.where[:3])}" for f in errors)
            raise InputError(
                f"{file!r} is not imported as a feature table: {problems} (tagcorpus check-features has more)"
            )
    done = import_files(
        path, files, on_conflict=on_conflict, model_id=model_id, create=create, shots=shots, dry_run=dry_run
    )
    if as_json:
        return _json([asdict(d) for d in done])
    lines = ["dry run: nothing is written"] if dry_run else []
    for d in done:
        counts = {
            "new": d.n_new,
            "filled in": d.n_filled,
            "as stored": d.n_same,
            "replaced": d.n_replaced,
            "kept": d.n_kept,
        }
        unit = UNITS.get(d.kind, "scores")
        changes = (
            ", ".join(f"{n:,} {unit[: -1 if n == 1 else None]} {name}" for name, n in counts.items() if n) or "nothing"
        )
        lines.append(f"{d.file} ({d.kind}): {changes}")
        lines += [f"  {printable(n, is_line=True)}" for n in d.preview] if dry_run else []
        lines += [f"  note: {printable(n, is_line=True)}" for n in d.notes]
        lines += [f"  {c}" for c in d.conflicts[:20]]
    return "\n".join(lines)


def _feature_table(file: str) -> FeatureTable:
    """As check-features reads it; of a Parquet table the cells as texts."""
    if not is_parquet(Path(file)):
        return read_table(file, "store import")
    rows = [row for _, row in table_rows(Path(file))]
    cells = [Row(i, list(row.values())) for i, row in enumerate(rows)]
    return FeatureTable(file, list(rows[0]) if rows else [], cells)


def export(path: str, output: str) -> str:
    """The store as a .duckdb file or an export directory, or its feature table as a .csv; never over what is there."""
    if output.lower().endswith((*OTHER_SUFFIXES, *Options.RESULT_SUFFIXES)) and not output.lower().endswith(
        (".csv", ".duckdb")
    ):
        raise ConfigError(f"OUT {output!r} must be NAME.duckdb, NAME.csv, or a directory")
    with Store.from_existing(path) as store:
        if output.lower().endswith(".csv"):
            features = store.features()
            if features.empty:
                raise InputError(f"{path!r} has no features: a feature table is imported first")
            data = features.to_csv(index=False, lineterminator="\n").encode()
            check_file(output, has_content(data), NOT_REPLACED, option="OUT")
            publish_file(output, [data])
            return f"{output}: {len(features):,} models, {len(features.columns) - 1:,} features"
        target = Path(output).resolve()
        if is_new(target):
            write(store.con, target)
        elif not has_same_contents(store.con, target):
            raise ConfigError(f"OUT {output} exists already, and {NOT_REPLACED}: name another folder")
        return f"{output}: {len(store.models()):,} models"
