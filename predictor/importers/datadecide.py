"""DataDecide's tables (Parquet of allenai/DataDecide-eval-results): one row a size, corpus, seed, step and task.

    columns   params (150M), data (the corpus), task, step, seed, metrics (JSON, or a Python dict as text), tokens
    id        datadecide/<corpus>-<params>@step<step>-seed-<seed>, in lower case and dashes: our name, not the hub's
    shots     5, as OLMES prescribes for all of its tasks
Sizes are nominal: 150M is 150,000,000.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

from tagcorpus.predictor.importers.collected import Collected
from tagcorpus.predictor.importers.olmes import collect_metrics
from tagcorpus.predictor.records.checkpoints import TABLE, size_in_words
from tagcorpus.predictor.records.plain_values import number

COLUMNS = ("params", "data", "task", "step", "seed", "metrics")
SHOTS = 5


def is_one(columns: Iterable[str]) -> bool:
    return set(COLUMNS) <= set(columns)


def collect(into: Collected, rows: Iterable[Mapping[str, Any]]) -> None:
    """rows: of the table, values as they are."""
    for at, row in enumerate(rows):
        where = f"row {at:,}"
        size = size_in_words(str(row["params"]))
        metrics = _metrics(row["metrics"])
        missing = [c for c in COLUMNS if row[c] is None or row[c] != row[c]]
        step = number(str(row["step"]))
        if missing or size is None or metrics is None or step is None or step < 0 or step != int(step):
            wrong = f"{missing[0]} is missing" if missing else "metrics"
            wrong = (
                f"params {row['params']!r}"
                if size is None
                else wrong
                if metrics is None or missing
                else f"step {row['step']!r}"
            )
            into.problems.append(f"{where}: cannot be read: {wrong}")
            continue
        model = f"datadecide/{_slug(str(row['data']))}-{_slug(str(row['params']))}"
        identity = f"{model}@step{int(step)}-seed-{_slug(str(row['seed']))}"
        tokens = row.get("tokens")
        if isinstance(tokens, str):
            into.note("left out: tokens is not a number", f"{where}: {tokens!r:.40}")
        facts = {
            "model": model,
            "seed": str(row["seed"]),
            "step": int(step),
            "corpus": str(row["data"]),
            "total_params": size,
            "training_tokens_billions": tokens / 1e9 if isinstance(tokens, int | float) and tokens > 0 else None,
        }
        into.facts(TABLE, identity, facts)
        collect_metrics(into, identity, str(row["task"]), SHOTS, metrics)


def _metrics(cell: Any) -> Mapping[str, Any] | None:
    if isinstance(cell, str):
        try:
            cell = json.loads(cell)
        except ValueError:
            try:
                cell = ast.literal_eval(cell)
            except (ValueError, SyntaxError, RecursionError, MemoryError):
                return None
    return cell if isinstance(cell, dict) else None


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9.+]+", "-", text.lower()).strip("-")
