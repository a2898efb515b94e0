"""A table with one row a model and one column a score, as `Store.wide()` and many people write it.

A column of scores is called BENCHMARK_N-shot_METRIC (arc_challenge_25-shot_accuracy), its standard error the same with
`_stderr` behind it. Optional columns describe the checkpoint: model, revision, seed, step, corpus, total_params.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from tagcorpus.predictor.importers.collected import Collected
from tagcorpus.predictor.records import plain_values
from tagcorpus.predictor.records.checkpoints import TABLE, checkpoint_of
from tagcorpus.predictor.records.metrics import SHARES
from tagcorpus.predictor.records.tasks import ARITHMETIC, PUBLISHED

_SCORE = re.compile(r"(?P<benchmark>.+)_(?P<shots>[0-9]+)-?shot_(?P<metric>.+?)(?P<stderr>_stderr)?")
# Narrower than Python's float(): 1_000, inf and digits of other scripts are mistakes in a table of scores.
NUMBER = re.compile(f"{plain_values.NUMBER.pattern}|[nN][aA][nN]")
FACTS = ("model", "revision", "seed", "step", "corpus", "total_params")


def is_one(header: Iterable[str]) -> bool:
    return any(_SCORE.fullmatch(name) for name in header)


def scores_in_disguise(header: Iterable[str]) -> list[str]:
    """Columns of a supposed feature table that are named like benchmarks."""
    plain = {t.name for t in PUBLISHED.values()} | {b for t in PUBLISHED.values() for b in t.benchmarks if "*" not in b}
    known = plain | {"mmlu", "arc", "xnli", "anli", "bbh", "gpqa", "ifeval", "math", ARITHMETIC.name}
    return [name for name in header if re.sub(r"[\s-]+", "_", name.strip().lower()) in known]


def collect(into: Collected, rows: Iterable[tuple[str, Mapping[str, str]]]) -> None:
    """rows: (where, texts by column)."""
    listed = list(rows)
    header = list(listed[0][1]) if listed else []
    columns = {name: match for name in header if (match := _SCORE.fullmatch(name))}
    strange = [n for n in header if n not in columns and n not in ("id", *FACTS)]
    if strange:
        into.problems.append(
            f"column {strange[0]!r}: beside scores there are only id, {', '.join(FACTS)}; scores are called "
            "BENCHMARK_N-shot_METRIC"
        )
        return
    for name, match in columns.items():
        values = [float(row[name]) for _, row in listed if NUMBER.fullmatch(row[name].strip())]
        if match["metric"] in SHARES and not match["stderr"] and any(1 < v <= 100 for v in values):
            into.problems.append(f"column {name!r}: has values up to {max(values):g}: percent must be divided by 100")
    for name, match in columns.items():
        if match["stderr"] and name.removesuffix("_stderr") not in columns:
            into.note("left out: standard errors without their scores", name)
    for where, row in listed:
        model, facts = identity(into, where, row)
        into.facts(TABLE, model, facts)
        for name, match in columns.items():
            if match["stderr"]:
                continue
            cell, stderr = row[name].strip(), row.get(f"{name}_stderr", "").strip()
            if cell and not NUMBER.fullmatch(cell):
                into.problems.append(f"{where}: column {name!r}: must be a number, not {cell!r}")
                continue
            error = float(stderr) if NUMBER.fullmatch(stderr) else stderr
            value = float(cell) if cell else None
            into.score(
                model, match["benchmark"], int(match["shots"]), match["metric"], value, error, f"{where}, {name}"
            )


def identity(into: Collected, where: str, row: Mapping[str, str]) -> tuple[str, dict[str, str | int | None]]:
    """The id of a row with columns of FACTS, and its row in `checkpoints`. A seed or step is part of the id."""
    if row["id"] != row["id"].strip():
        into.problems.append(f"{where}: id {row['id']!r}: has spaces around it")
    given = {name: row[name].strip() for name in FACTS if row.get(name, "").strip()}
    for name in ("step", "total_params"):
        if name in given and not re.fullmatch(r"[0-9]+", given[name]):
            into.problems.append(f"{where}: field {name!r}: must be a whole number, not {given[name]!r}")
            return row["id"], {}
    model, facts = checkpoint_of(row["id"], given.get("revision"))
    named = [word + given[name] for name, word in (("step", "step"), ("seed", "seed-")) if name in given]
    if named and "@" not in model:
        model = f"{model}@{'-'.join(named)}"
    numbers: dict[str, str | int | None] = {
        name: int(given[name]) for name in ("step", "total_params") if name in given
    }
    return model, {**({"model": row["id"]} if given else {}), **facts, **given, **numbers}
