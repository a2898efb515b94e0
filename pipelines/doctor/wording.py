"""Words for exit codes, counts, times and durations, in `status` and in the report."""

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


def duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    if seconds < 7200:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 172_800 else f"{seconds / 86_400:.1f} days"
