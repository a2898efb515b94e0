"""How many workers there are by default, and which chunks one worker computes in a row."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tagcorpus.pipelines.readers.plan import Plan


def default_workers() -> int:
    """min(CPU affinity, cgroup quota, SLURM_CPUS_PER_TASK), at least 1."""
    counts = [len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1]
    if (allotted := os.environ.get("SLURM_CPUS_PER_TASK", "")).isdigit():
        counts.append(int(allotted))
    try:
        with open("/sys/fs/cgroup/cpu.max", encoding="ascii") as file:
            quota, period = file.read().split()
        if quota != "max":
            counts.append(int(quota) // int(period))
    except (OSError, ValueError):
        pass  # no cgroup v2 here
    return max(1, min(counts))


def units_of(plan: Plan, ranks: Sequence[int], workers: int) -> list[list[int]]:
    """Ranks one by one; those of a compressed file in as many runs of neighbours as there are workers."""
    units: list[list[int]] = []
    chunks = plan.chunks
    by_file: dict[str, list[int]] = {}
    for rank in ranks:
        by_file.setdefault(chunks[rank][0].file.name, []).append(rank)
    for of_file in by_file.values():
        step = max(1, -(-len(of_file) // workers)) if chunks[of_file[0]][0].file.compression else 1
        units += [of_file[i : i + step] for i in range(0, len(of_file), step)]
    return units


def largest_first(plan: Plan, units: Sequence[list[int]]) -> list[list[int]]:
    """The units in an order in which several workers come to their ends at nearly the same time."""

    def size(unit: list[int]) -> int:
        chunks = (planned.chunks[k] for planned, k in map(plan.chunks.__getitem__, unit))
        return sum(chunk.end - chunk.start for chunk in chunks)

    return sorted(units, key=size, reverse=True)


def chunk_name(plan: Plan, rank: int) -> str:
    planned, k = plan.chunks[rank]
    return f"chunk {k} of {planned.file.name}"
