"""Runs and values on disk: what is written comes back, slices are exact, and damage never passes for data."""

from __future__ import annotations

import io
import random
from bisect import bisect_left
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from naive import key_gaps
from tagcorpus.errors import IncompleteError
from tagcorpus.kernels.delta import SLACK, from_bytes, room_for, to_bytes
from tagcorpus.pipelines.counting import spill
from tagcorpus.pipelines.counting.spill import (
    DamagedSpillFile,
    SortedCounts,
    open_spill_file,
    read_values,
    write_spill_file,
    write_values,
)
from tagcorpus.pipelines.storage.folder import Folder

TOP = 2**64 - 1


def run_of(entries: dict[tuple[int, ...], int], words: int, **extra: Any) -> SortedCounts:
    keys = sorted(entries)
    return SortedCounts(
        np.array(keys, np.uint64).reshape(len(keys), words), np.array([entries[k] for k in keys], np.int64), extra
    )


def entries_of(keys: Any, counts: Any) -> list[tuple[tuple[int, ...], int]]:
    return [(tuple(k), c) for k, c in zip(keys.tolist(), counts.tolist(), strict=True)]


def stored(folder: Folder, runs: list[SortedCounts], meta: dict[str, Any] | None = None) -> spill.SpillFile:
    with folder.publishing("a.runs") as sink:
        write_spill_file(sink, runs, meta or {})
    return open_spill_file(folder, "a.runs")


@pytest.fixture(params=["local", "memory"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Folder:
    return Folder(str(tmp_path) if request.param == "local" else f"memory://{tmp_path.name}")


word = st.one_of(st.integers(0, 300), st.integers(0, TOP), st.just(TOP))
count = st.one_of(st.integers(0, 3), st.integers(0, 2**40), st.just(2**63 - 1))


def entries(words: int) -> st.SearchStrategy[dict[tuple[int, ...], int]]:
    return st.dictionaries(st.tuples(*[word] * words), count, max_size=40)


@given(st.integers(1, 2).flatmap(lambda w: st.tuples(st.just(w), entries(w))))
@example((1, {(0,): 1, (TOP,): 2**40}))
@example((2, {(0, TOP): 1, (1, 0): 1, (TOP, TOP): 1}))
@example((2, {(7, 0): 1, (9, 1): 1}))
def test_bytes_are_those_of_the_naive_gaps(drawn: tuple[int, dict[tuple[int, ...], int]]) -> None:
    words, counted = drawn
    run = run_of(counted, words)
    k = len(run.keys)
    packed = np.zeros(room_for(k, words), np.uint8)
    size = to_bytes(run.keys, run.counts, packed)
    naive_lengths, naive_bytes = [], b""
    for gap, n in zip(key_gaps([tuple(key) for key in run.keys.tolist()]), run.counts.tolist(), strict=True):
        more = (n - 1) % 2**64
        n_gap, n_count = (-(-v.bit_length() // 8) for v in (gap, more))
        n_count = 8 if n_count == 7 else n_count
        naive_lengths.append(n_gap + 32 * min(n_count, 7))
        naive_bytes += gap.to_bytes(n_gap, "little") + more.to_bytes(n_count, "little")
    assert packed[:size].tobytes() == bytes(naive_lengths) + naive_bytes
    keys, counts = np.full_like(run.keys, 7), np.full_like(run.counts, 7)
    first = run.keys[0] if k else np.zeros(words, np.uint64)
    from_bytes(packed[: size + SLACK], size, first, keys, counts)
    assert entries_of(keys, counts) == sorted(counted.items())
    with pytest.raises(ValueError, match="do not fit"):
        from_bytes(packed, size - 1, first, keys, counts)
    with pytest.raises(ValueError, match="do not fit"):
        from_bytes(packed[:size], size, first, keys, counts)


@pytest.mark.parametrize(("k", "keys"), [(1, [[1], [2]]), (2, [[2], [1]])])
def test_bytes_need_room_and_order(k: int, keys: list[list[int]]) -> None:
    with pytest.raises(ValueError, match=r"are too few|strictly increasing"):
        to_bytes(np.array(keys, np.uint64), np.ones(2, np.int64), np.empty(room_for(k, 1), np.uint8))


def test_file_of_the_earlier_format_is_made_anew(small: Folder, tmp_path: Path) -> None:
    for name, reader in (("a.runs", open_spill_file), ("a.values", read_values)):
        path = tmp_path / name
        path.write_bytes(path.read_bytes()[:-1] + b"1")
        with pytest.raises(DamagedSpillFile, match="does not end as it should"):
            reader(small, name)


@given(
    st.integers(1, 2).flatmap(
        lambda w: st.tuples(
            st.just(w), st.lists(entries(w), max_size=4), st.tuples(*[word] * w), st.tuples(*[word] * w)
        )
    )
)
def test_what_is_written_comes_back(
    drawn: tuple[int, list[dict[tuple[int, ...], int]], tuple[int, ...], tuple[int, ...]],
) -> None:
    words, found, low, high = drawn
    folder = Folder("memory://round-trips")
    runs = [run_of(f, words, batches=[i, i + 1]) for i, f in enumerate(found)]
    file = stored(folder, runs, {"key": "k", "chunks": [1, 2]})
    assert file.meta == {"key": "k", "chunks": [1, 2]}
    assert [(r.n, r.extra) for r in file.runs] == [(len(f), {"batches": [i, i + 1]}) for i, f in enumerate(found)]
    assert file.words == (words if found else 1)
    for i, f in enumerate(found):
        inside = sorted(f.items())
        assert entries_of(*file.read(i)) == inside
        assert entries_of(*file.read(i, low, high)) == [e for e in inside if low <= e[0] < high]
        assert entries_of(*file.read(i, low)) == [e for e in inside if low <= e[0]]
        assert entries_of(*file.read(i, None, high)) == [e for e in inside if e[0] < high]


def many(words: int, n: int, seed: int) -> SortedCounts:
    generator = np.random.default_rng(seed)
    wide = generator.integers(0, 4 * n, (n, words), np.uint64) // np.uint64(1 if words == 1 else 1000)
    keys = np.unique(wide, axis=0)
    return SortedCounts(keys, generator.geometric(0.4, len(keys)).astype(np.int64), {"seed": seed})


@pytest.mark.parametrize("words", [1, 2])
def test_slices_across_blocks(folder: Folder, words: int) -> None:
    runs = [many(words, 3 * spill.BLOCK_ENTRIES, 1), many(words, 10, 2), many(words, 2 * spill.BLOCK_ENTRIES + 1, 3)]
    file = stored(folder, runs)
    chooses = random.Random(0)
    for i, run in enumerate(runs):
        table = file.runs[i]
        assert table.block_entries.sum() == table.n == len(run.keys)
        assert (table.block_keys == run.keys[:: spill.BLOCK_ENTRIES]).all()
        pairs = [tuple(k) for k in run.keys.tolist()]
        bounds: list[tuple[int, ...] | None] = [None, *map(tuple, table.block_keys.tolist()), pairs[-1]]
        bounds += [(*chooses.choice(pairs)[:-1], chooses.randrange(5 * len(pairs))) for _ in range(3)]
        for low in bounds:
            for high in bounds:
                begin = 0 if low is None else bisect_left(pairs, low)
                end = len(pairs) if high is None else bisect_left(pairs, high)
                keys, counts = file.read(i, low, high)
                assert keys.shape == (max(end - begin, 0), words)
                assert (keys == run.keys[begin : max(begin, end)]).all()
                assert (counts == run.counts[begin : max(begin, end)]).all()


def test_only_the_blocks_that_overlap_are_read(tmp_path: Path) -> None:
    folder = Folder(str(tmp_path))
    run = many(1, 4 * spill.BLOCK_ENTRIES, 1)
    file = stored(folder, [run])
    path = tmp_path / "a.runs"
    data = bytearray(path.read_bytes())
    data[20] ^= 1  # in the first block
    path.write_bytes(data)
    second = int(file.runs[0].block_keys[1, 0])
    assert len(file.read(0, second + 1)[0]) == len(run.keys) - spill.BLOCK_ENTRIES - 1
    with pytest.raises(DamagedSpillFile):
        file.read(0, None, second)


def test_meta_is_taken_when_the_last_run_has_come(folder: Folder) -> None:
    meta: dict[str, Any] = {}

    def runs() -> Any:
        for seed in range(3):
            yield many(1, 5, seed)
            meta["runs"] = seed + 1

    with folder.publishing("a.runs") as sink:
        write_spill_file(sink, runs(), meta)
    assert open_spill_file(folder, "a.runs").meta == {"runs": 3}


def test_same_runs_same_bytes() -> None:
    sinks = [io.BytesIO(), io.BytesIO()]
    for sink in sinks:
        write_spill_file(sink, [many(2, 100, 1)], {"b": 1, "a": 2})
    assert sinks[0].getvalue() == sinks[1].getvalue()


@pytest.mark.parametrize(
    ("keys", "counts", "told"),
    [
        ([[2], [1]], [1, 1], "strictly increasing"),
        ([[1], [1]], [1, 1], "strictly increasing"),
        ([[1, 5], [1, 5]], [1, 1], "strictly increasing"),
        ([[2, 0], [1, 9]], [1, 1], "strictly increasing"),
        ([[1], [2]], [1, -1], "negative"),
        ([[1], [2]], [1], r"keys must be \[1, 1\], they are \[2, 1\]"),
        ([[1, 2, 3]], [1], r"keys must be \[1, 3\]"),
    ],
)
def test_what_is_no_run_is_refused(keys: list[list[int]], counts: list[int], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        write_spill_file(io.BytesIO(), [SortedCounts(np.array(keys, np.uint64), np.array(counts, np.int64))], {})


def test_order_counts_across_blocks_and_words_across_runs() -> None:
    keys = np.arange(spill.BLOCK_ENTRIES + 1, dtype=np.uint64)[:, None]
    keys[-1] = 5
    with pytest.raises(ValueError, match="out of order"):
        write_spill_file(io.BytesIO(), [SortedCounts(keys, np.ones(len(keys), np.int64))], {})
    with pytest.raises(ValueError, match="keys must be"):
        write_spill_file(io.BytesIO(), [many(1, 5, 1), many(2, 5, 1)], {})
    file = stored(Folder("memory://words"), [many(2, 5, 1)])
    with pytest.raises(ValueError, match="2 numbers"):
        file.read(0, 7)


def read_all(folder: Folder, name: str) -> list[object]:
    if name == "a.runs":
        file = open_spill_file(folder, name)
        return [file.meta, [(r.n, r.extra, entries_of(*file.read(i))) for i, r in enumerate(file.runs)]]
    values = read_values(folder, name)
    return [values.meta, [values.read_segment(i).tobytes() for i in range(len(values.sizes))]]


@pytest.fixture
def small(tmp_path: Path) -> Folder:
    """One small file of each kind."""
    folder = Folder(str(tmp_path))
    with folder.publishing("a.runs") as sink:
        write_spill_file(sink, [many(2, 30, 1), many(2, 9, 2)], {"key": "k"})
    with folder.publishing("a.values") as sink:
        write_values(sink, [np.arange(9) / 3, np.zeros(0), np.ones(5)], {"key": "k"})
    return folder


@pytest.mark.parametrize("name", ["a.runs", "a.values"])
def test_truncation_anywhere_is_noticed(small: Folder, name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    whole = path.read_bytes()
    for size in range(len(whole)):
        path.write_bytes(whole[:size])
        with pytest.raises(DamagedSpillFile) as caught:
            read_all(small, name)
        assert caught.value.name == name
    path.write_bytes(whole + b"\0")
    with pytest.raises(DamagedSpillFile):
        read_all(small, name)
    path.unlink()
    with pytest.raises(DamagedSpillFile, match=r"is damaged \(No such file or directory\): run the same command again"):
        read_all(small, name)


@pytest.mark.parametrize("name", ["a.runs", "a.values"])
def test_no_altered_byte_gives_other_numbers(small: Folder, name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    whole, right = path.read_bytes(), read_all(small, name)
    noticed = 0
    for at in range(len(whole)):
        for bit in (1 << at % 8, 0xFF) if at % 3 == 0 else (1 << at % 8,):
            data = bytearray(whole)
            data[at] ^= bit
            path.write_bytes(data)
            try:
                assert read_all(small, name) == right  # the first magic number is not looked at
            except DamagedSpillFile:
                noticed += 1
    assert noticed > 1.2 * len(whole)


def test_damage_can_be_mended_by_the_same_command() -> None:
    assert issubclass(DamagedSpillFile, IncompleteError)


def test_values_come_back_to_the_last_bit(folder: Folder) -> None:
    generator = np.random.default_rng(0)
    segments = [
        np.array([-0.0, np.inf, 0.0, np.nan, 5e-324]),
        np.zeros(0),
        generator.random(2 * spill.BLOCK_VALUES + 3),
        generator.random(spill.BLOCK_VALUES),
    ]
    with folder.publishing("a.values") as sink:
        write_values(sink, iter(segments), {"n": 2})
    file = read_values(folder, "a.values")
    assert (file.meta, file.sizes) == ({"n": 2}, [len(s) for s in segments])
    for i in (3, 0, 2, 1):
        assert file.read_segment(i).tobytes() == segments[i].tobytes()


def test_nothing_at_all(folder: Folder) -> None:
    file = stored(folder, [])
    assert (file.runs, file.meta) == ([], {})
    with folder.publishing("a.values") as sink:
        write_values(sink, [], {})
    assert read_values(folder, "a.values").sizes == []
