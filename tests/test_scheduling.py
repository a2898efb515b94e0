"""The order in which several workers compute the chunks of a plan."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tagcorpus.pipelines.execution.scheduling import largest_first, units_of
from tagcorpus.pipelines.inputs.chunks import Chunk
from tagcorpus.pipelines.inputs.input_files import InputFile
from tagcorpus.pipelines.readers.plan import Plan, PlannedFile


def plan_of_sizes(*sizes: int) -> Plan:
    ends = [sum(sizes[: i + 1]) for i in range(len(sizes))]
    chunks = tuple(Chunk(end - size, end, i, 1, "") for i, (size, end) in enumerate(zip(sizes, ends, strict=True)))
    return Plan((PlannedFile(InputFile("a", "/a", "jsonl", ""), chunks),))


def test_the_ends_of_files_come_last() -> None:
    plan = plan_of_sizes(16, 4, 16, 5)
    assert largest_first(plan, units_of(plan, range(4), 2)) == [[0], [2], [3], [1]]
    assert largest_first(plan, [[1, 3], [2], [0]]) == [[2], [0], [1, 3]]


@given(st.lists(st.integers(0, 9), max_size=20))
def test_every_chunk_has_its_place(sizes: list[int]) -> None:
    order = [rank for (rank,) in largest_first(plan_of_sizes(*sizes), [[rank] for rank in range(len(sizes))])]
    assert order == sorted(range(len(sizes)), key=lambda rank: (-sizes[rank], rank))
