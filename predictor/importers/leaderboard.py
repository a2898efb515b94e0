"""Open LLM Leaderboard v2, the table of its contents (Parquet or CSV): one row an evaluation of a model.

    model      fullname; its commit (Model sha) is the revision of a row in `checkpoints`
    scores     the columns `... Raw`, which are shares (IFEval as primary_score, the mean that the board makes); the columns without Raw are rescaled between guessing and 100, and left out
    facts      #Params (B) and Type (chat or pretrained) fill gaps in the annotations, and overrule nothing
Rows that the leaderboard flagged are left out. A model that was evaluated in two precisions is there twice: two values of one
score, which --on-conflict keep (the first row) or replace (the last) decides.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from tagcorpus.predictor.importers.collected import Collected
from tagcorpus.predictor.records import plain_values
from tagcorpus.predictor.records.annotations import properties
from tagcorpus.predictor.records.checkpoints import TABLE
from tagcorpus.predictor.records.plain_values import TRUE

# The board's name -> (benchmark as its results files name it, shots, metric).
BENCHMARKS = {
    "IFEval": ("leaderboard_ifeval", 0, "primary_score"),
    "BBH": ("leaderboard_bbh", 3, "acc_norm"),
    "MATH Lvl 5": ("leaderboard_math_hard", 4, "accuracy"),
    "GPQA": ("leaderboard_gpqa", 0, "acc_norm"),
    "MUSR": ("leaderboard_musr", 0, "acc_norm"),
    "MMLU-PRO": ("leaderboard_mmlu_pro", 5, "accuracy"),
}
MOST_BILLIONS = properties()["total_params"]["maximum"] / 1e9


def is_one(columns: Iterable[str]) -> bool:
    names = set(columns)
    return "fullname" in names and any(f"{board} Raw" in names for board in BENCHMARKS)


def collect(into: Collected, rows: Iterable[Mapping[str, Any]]) -> None:
    """rows: of the table, values as they are, or texts of a CSV."""
    for at, row in enumerate(rows):
        model = str(row.get("fullname") or "").strip()
        if str(row.get("Flagged")).strip().lower() in TRUE:
            into.note("left out: flagged by the leaderboard", model)
            continue
        into.facts(
            TABLE, model, {"model": model, "revision": row.get("Model sha") or None} if row.get("Model sha") else {}
        )
        size = _number(row.get("#Params (B)"))
        if isinstance(size, int | float) and size > MOST_BILLIONS:
            into.note(f"left out: #Params (B) above {MOST_BILLIONS:,.0f} billion", f"{model}: {size:g}")
            size = None
        kind = str(row.get("Type") or "").lower()
        facts = {
            "total_params": round(size * 1e9) if isinstance(size, int | float) and size > 0 else None,
            "is_instruction_tuned": True if "chat" in kind else False if "pretrained" in kind else None,
        }
        known = {k: v for k, v in facts.items() if v is not None}
        into.fills.setdefault("model_annotations", {}).setdefault((model,), known)
        for board, (benchmark, shots, metric) in BENCHMARKS.items():
            if f"{board} Raw" in row:
                value = _number(row[f"{board} Raw"])
                where = f"row {at:,}, {model}, {board} Raw"
                if isinstance(value, int | float) and value > 1:
                    into.problems.append(f"{where}: {value:g} is not a share from 0 to 1: is the table in percent?")
                    continue
                into.score(model, benchmark, shots, metric, value, where=where)


def _number(cell: Any) -> Any:
    """A text's number; anything else as it is."""
    if not isinstance(cell, str) or not cell.strip():
        return None if isinstance(cell, str) else cell
    value = plain_values.number(cell)
    return cell if value is None else value
