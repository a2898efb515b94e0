"""Words for exit codes and counts, in `status` and in the report."""

from __future__ import annotations

MEANINGS = {
    0: "done",
    1: "failed",
    2: "wrong usage or input",
    3: "done, but more rows than allowed are in quarantine or without a label",
    4: "incomplete; the same command may finish it",
    5: "a budget was reached",
    130: "interrupted; the same command resumes",
    143: "terminated; the same command resumes",
}


def counted(n: int, noun: str) -> str:
    """`1 row`, `2,000 rows`."""
    return f"{n:,} {noun}{'s' * (n != 1)}"
