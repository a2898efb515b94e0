"""What is bounded in memory: quarantine lines, and the distinct values of a string column."""

from __future__ import annotations

import io
from collections import Counter

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tagcorpus.pipelines.attributes import summary
from tagcorpus.pipelines.inputs import quarantine
from tagcorpus.pipelines.inputs.quarantine import Quarantine

Columns = st.lists(
    st.lists(st.one_of(st.none(), st.sampled_from([f"v{i}" for i in range(30)])), max_size=20), max_size=8
)


def test_quarantine_leaves_memory_and_reads_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    entries = [{"row": i, "reason": "not_json", "head": "é" * 50} for i in range(100)]
    in_memory = Quarantine(entries)
    monkeypatch.setattr(quarantine, "MEMORY_BYTES", 100)
    on_disk = Quarantine(entries)
    assert on_disk._file._rolled  # type: ignore[attr-defined]
    assert list(on_disk) == list(in_memory) == entries
    assert len(on_disk) == 100
    assert on_disk.digest == in_memory.digest
    sinks = [io.BytesIO(), io.BytesIO()]
    on_disk.copy_to(sinks[0])
    in_memory.copy_to(sinks[1])
    assert sinks[0].getvalue() == sinks[1].getvalue()


@settings(max_examples=60, deadline=None, derandomize=True)
@given(Columns, st.integers(1, 12))
def test_top_values_are_exact_within_the_bound_and_never_wrong_beyond_what_is_said(
    parts: list[list[str | None]], bound: int
) -> None:
    every = Counter(v for part in parts for v in part if v is not None)
    arrays = [pa.chunked_array([pa.array(part, pa.string())]) for part in parts]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(summary, "KEPT_DISTINCT", bound)
        found = summary._of_strings(arrays)
    assert found["n"] == every.total()
    assert found["n"] + found["missing"] == sum(map(len, parts))
    lacking = found.get("top_may_lack", 0)
    assert all(every[v] - lacking <= n <= every[v] for v, n in found["top"].items())
    assert all(n <= lacking for v, n in every.items() if v not in found["top"])
    if len(every) <= 2 * bound:
        assert found == {"n": every.total(), "missing": found["missing"], "distinct": len(every), "top": dict(every)}
    else:
        assert found["distinct"] <= len(every)
