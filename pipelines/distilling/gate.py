"""The gate: a student is saved if it agrees with the LLM over all held-out documents and within each group of them.

A score can be right overall and useless inside each group. A student that only knows the language of a text, for example, agrees
overall where the label follows the language.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tagcorpus.pipelines.labels import matrix as mx
from tagcorpus.pipelines.labels.agreement import LENGTH, Pair, groups_of

USUAL = ("language", LENGTH)


@dataclass(frozen=True)
class Gate:
    """overall: least kappa of all documents; within: of each group; least: documents of a group that is judged."""

    overall: float
    within: float
    least: int


def figures(pairs: Sequence[tuple[str, str]], seed: int) -> dict[str, Any]:
    """Documents, accuracy, kappa and macro-F1 of (gold, given), with 95 % intervals."""
    matrix = mx.matrix_of(pairs, ())
    accuracy = mx.proportions(matrix)["accuracy"]
    return {"n": matrix.n, "accuracy": accuracy, **mx.with_intervals(matrix, {"kappa": mx.kappa, "macro_f1": mx.macro_f1}, seed)}  # fmt: skip


def judged(pairs: Sequence[Pair], within: Sequence[str], gate: Gate, seed: int) -> dict[str, Any]:
    """{"overall": figures, "groups": [figures with "grouping", "group" and "outcome"], "failed": reasons}."""
    overall = figures([p.labels for p in pairs], seed)
    failed = []
    kappa = overall["kappa"]["value"]
    if kappa is None or kappa < gate.overall:
        failed.append(f"overall: kappa {_shown(kappa)} is below {gate.overall:g} ({overall['n']:,} documents)")
    groups = []
    for grouping in dict.fromkeys([*USUAL, *within]):
        by_group: dict[str, list[tuple[str, str]]] = {}
        for name, pair in zip(groups_of(pairs, grouping)[0], pairs, strict=True):
            by_group.setdefault(name, []).append(pair.labels)
        for name, labels in sorted(by_group.items(), key=lambda item: (-len(item[1]), item[0])):
            own = {"grouping": grouping, "group": name, **figures(labels, seed)}
            own["outcome"] = _outcome(labels, own["kappa"]["value"], gate)
            if own["outcome"] == "fail":
                failed.append(
                    f"{grouping} {name}: kappa {_shown(own['kappa']['value'])} is below {gate.within:g} "
                    f"({own['n']:,} documents)"
                )
            groups.append(own)
    return {"overall": overall, "groups": groups, "failed": failed}


def _outcome(labels: Sequence[tuple[str, str]], kappa: float | None, gate: Gate) -> str:
    if len(labels) < gate.least:
        return "too few"
    if len({gold for gold, _ in labels}) == 1:
        return "one label"
    return "fail" if kappa is None or kappa < gate.within else "pass"


def _shown(kappa: float | None) -> str:
    return "-" if kappa is None else f"{kappa:.3f}"
