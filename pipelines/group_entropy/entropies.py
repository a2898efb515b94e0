"""The entropy of every group of a feature table: of its kept documents alone, with the figures of `run entropy --ngram 1`.

A group of files whose n-grams fit into the memory of a worker is counted at once, by one worker, several groups beside
each other; one that does not goes through the passes of `run entropy`. The groups of a column are counted all together
(by_value.py). All of it is integers, so every way gives the same bits. Every group of files has a file of its own,
summary/features/<id>.entropy.json, those of a column have one together; a group's key says of what it is: one that
has not changed is not counted again.
"""

from __future__ import annotations

from typing import Any

from tagcorpus.pipelines.counting.token_budget import Budget
from tagcorpus.pipelines.group_entropy.entropies_by_value import Together, lacks
from tagcorpus.pipelines.group_entropy.entropy_work import EntropyWork

# A budget that is not named is the largest of these times a power of ten that every group has.
STEPS = (5, 2, 1)


def run(work: EntropyWork, budget: Budget | None, is_budget_wanted: bool, replicates: int) -> dict[str, dict[str, Any]]:
    """Every group's figures, from those that are published and those that are missing.

    budget            as it was asked for; None with is_budget_wanted: the largest round one that every group has
    """
    figures = work.stored()
    missing = [g for g in work.groups if g.id not in figures]
    computing = work if work.values is None else Together(work, work.values, figures)
    figures |= computing.compute(missing, budget)
    if budget is None and is_budget_wanted:
        least = min((f["num_tokens"] for f in figures.values() if f["total_contexts"]), default=0)
        budget = Budget(round_down(least), replicates, work.run.options.seed) if least else None
    if budget is not None:
        figures |= computing.compute([g for g in work.groups if lacks(figures[g.id], budget)], budget)
    return figures


def round_down(tokens: int) -> int:
    """The largest of 1, 2 and 5 times a power of ten that is not above `tokens`, so that another group seldom changes it.

    Example  43,212 -> 20,000
    """
    power: int = 10 ** (len(str(tokens)) - 1)
    return next(step * power for step in STEPS if step * power <= tokens)
