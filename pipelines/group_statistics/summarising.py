"""The step from attributes to rows of the feature table: groups as tasks of the executor, and the rows without a value."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tagcorpus.pipelines.attributes.parts import Instance
from tagcorpus.pipelines.execution.engine import Engine
from tagcorpus.pipelines.group_statistics.groups import Group
from tagcorpus.pipelines.group_statistics.statistics import BY_RULE, GroupStatistics, statistics
from tagcorpus.pipelines.options.commands.features import FeaturesOptions
from tagcorpus.pipelines.readers.plan import Plan
from tagcorpus.pipelines.runs.inputs import Inputs
from tagcorpus.pipelines.runs.run import Run
from tagcorpus.pipelines.storage.folder import Folder

# Statistics of so many rows are there before a worker process would have started.
FEW_ROWS = 200_000
SHOWN_EMPTY = 20


class Summarise:
    """Yields the statistics of some groups a rank."""

    def __init__(
        self,
        output: Folder,
        plan: Plan,
        groups: Sequence[Sequence[Group]],
        by_role: Mapping[str, Instance],
        settings: Mapping[str, Any],
    ) -> None:
        self.output, self.plan, self.groups, self.by_role, self.settings = output, plan, groups, by_role, settings

    def run(self, _data: Any = None, rank: int = 0) -> Iterator[GroupStatistics]:
        yield from statistics(self.output, self.plan, self.groups[rank], self.by_role, **self.settings)


def rows_of(
    engine: Engine,
    plan: Plan,
    groups: Sequence[Group],
    by_role: Mapping[str, Instance],
    absent: Mapping[str, str],
    entropy_keys: Mapping[str, str] | None,
    options: FeaturesOptions,
) -> list[GroupStatistics]:
    """A row for each group. Groups of whole files are a task each, those that share files one task together."""
    together = [list(groups)] if any(g.where is not None for g in groups) else [[g] for g in groups]
    settings = {"min_kept_share": options.min_kept_share, "absent": dict(absent), "is_extended": options.extended}
    settings["entropy_keys"] = entropy_keys
    is_little = plan.rows <= FEW_ROWS
    results = engine.execute(
        [Summarise(engine.run.output, plan, together, by_role, settings)],
        [[i] for i in range(len(together))],
        lambda i: f"statistics of {together[i][0].id}",
        "statistics",
        len(together),
        workers=1 if is_little else None,
        threads=is_little,  # in this process, whatever the executor
        on_done=lambda watch, _i, _rows: watch.done(1, 0, 0),
    )
    return [one for i in range(len(together)) for one in results[i]]


def name_empty_rows(run: Run, inputs: Inputs, rows: Sequence[GroupStatistics]) -> list[str]:
    """Rows that stand for nothing, which their domain shares of 0 % do not show. Of models each is too little to be used;
    of groups of a corpus some may be so."""
    empty = [(one.id, why) for one in rows if (why := _why_empty(one))]
    if inputs.models is not None or len(empty) == len(rows):
        run.ledger.enter_empty_rows(len(empty))
    messages = [f"{name}: {why}" for name, why in empty[:SHOWN_EMPTY]]
    if len(empty) > SHOWN_EMPTY:
        messages.append(f"and {len(empty) - SHOWN_EMPTY:,} more rows without a value")
    for message in messages:
        run.display.announce(message)
    return messages


def _why_empty(one: GroupStatistics) -> str:
    """Why a row has no value at all; empty where it has one, or where nothing but the filter was asked for."""
    n, kept = one.counts["generations"], one.counts["kept"]
    if not n:
        return "not one generation was found in its files; see the quarantine, or leave the model out (--exclude)"
    removed = "; ".join(f"{count:,} {reason}" for reason, count in one.counts["removed"].items())
    share = f"no value at all: {kept:,} of {n:,} kept" + (f" (removed: {removed})" if removed else "")
    if not kept:
        return share
    reasons = [why for why in one.reasons.values() if why != BY_RULE and not why.startswith("not computed")]
    has_value = any(value is not None for value in one.values.values())
    return "" if has_value or not reasons else f"{share}; {reasons[0]}"
