"""Plans: kept and reused while the input is unchanged, remade where it is not; limits; duplicate ids."""

from __future__ import annotations

import json
import os
from collections import Counter
from pathlib import Path
from typing import BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tagcorpus.errors import ConfigError, InputError
from tagcorpus.pipelines.attributes.parts import KEYS, Instance, part_key, part_name, write_part
from tagcorpus.pipelines.attributes.read import Recorded
from tagcorpus.pipelines.inputs import discover
from tagcorpus.pipelines.inputs.chunks import Counts
from tagcorpus.pipelines.inputs.input_files import InputFile
from tagcorpus.pipelines.inputs.records import DocumentFields
from tagcorpus.pipelines.readers.plan import (
    CHUNKS_PER_SEGMENT,
    Index,
    Indexed,
    Plan,
    chunk_bytes_for,
    load_plan,
    make_plan,
)
from tagcorpus.pipelines.readers.reader import ChunkReader, ReaderOptions
from tagcorpus.pipelines.readers.text_check import check_text
from tagcorpus.pipelines.runs.duplicates import count_duplicate_ids
from tagcorpus.pipelines.storage.folder import Folder

SHARD = 1024


class Planner:
    """Makes plans in one folder, and remembers which files it had to index."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.output = Folder(str(root / "out"))
        self.indexed: list[str] = []

    def __call__(
        self, *arguments: object, limit: int | None = None, reader_options: ReaderOptions | None = None
    ) -> Plan:
        self.indexed = []
        files = discover.find([str(a) for a in arguments or (self.root / "in",)])
        return make_plan(self.output, files, reader_options or ReaderOptions(), SHARD, limit, self._run)

    def _run(self, step: Index, n: int) -> list[Indexed]:
        self.indexed += [t.file.name for t in step.tasks]
        return [next(step.run(rank=r)) for r in range(n)]


@pytest.fixture
def planner(tmp_path: Path) -> Planner:
    (tmp_path / "in").mkdir()
    for name in "abc":
        write(tmp_path / "in" / f"{name}.jsonl", 300, name)
    return Planner(tmp_path)


def write(path: Path, n: int, mark: str = "") -> None:
    path.write_text("".join(json.dumps({"id": i, "text": f"{mark} text {i}"}) + "\n" for i in range(n)))


def digests(plan: Plan) -> list[str]:
    return [planned.chunks[k].digest for planned, k in plan.chunks]


def keys(plan: Plan, reader_options: ReaderOptions | None = None) -> list[str]:
    return [part_key(planned, k, reader_options or ReaderOptions(), {}) for planned, k in plan.chunks]


def rows_read(plan: Plan) -> list[int]:
    return [
        r
        for planned, k in plan.chunks
        for b in ChunkReader(planned.file, planned.chunks[k], ReaderOptions())
        for r in b.table["row"].to_pylist()
    ]


def test_an_unchanged_input_is_not_indexed_again(planner: Planner) -> None:
    first = planner()
    assert planner.indexed == ["a.jsonl", "b.jsonl", "c.jsonl"]
    assert planner() == first
    assert planner.indexed == []
    assert [f.chunks for f in load_plan(planner.output)] == [f.chunks for f in first.files]


def test_a_touched_file_keeps_its_digests(planner: Planner) -> None:
    first = planner()
    os.utime(planner.root / "in" / "b.jsonl", (1, 1))
    assert planner() == first
    assert planner.indexed == ["b.jsonl"]


def test_an_edit_changes_its_own_range_only(planner: Planner) -> None:
    first = planner()
    path = planner.root / "in" / "b.jsonl"
    path.write_text(path.read_text().replace("b text 150", "b TEXT 150"))
    second = planner()
    changed = [i for i, (a, b) in enumerate(zip(keys(first), keys(second), strict=True)) if a != b]
    assert len(changed) == 1
    assert second.chunks[changed[0]][0].file.name == "b.jsonl"


def test_appended_rows_change_the_last_range_only(planner: Planner) -> None:
    first = planner(planner.root / "in" / "a.jsonl")
    with (planner.root / "in" / "a.jsonl").open("a") as file:
        file.write('{"text": "more"}\n' * 100)
    second = planner(planner.root / "in" / "a.jsonl")
    n = len(first.chunks)
    assert keys(second)[: n - 1] == keys(first)[:-1]
    assert second.rows == 400


def test_a_renamed_or_other_reading_is_another_part(planner: Planner) -> None:
    plan = planner()
    other = ReaderOptions(max_line_bytes=1000)
    assert set(keys(plan)).isdisjoint(keys(plan, other))
    assert planner(reader_options=other) == plan
    assert len(planner.indexed) == 3


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"null", b"\xff\xfe", b'{"ranges": 3}', b'{"identity": {}, "settings": {}}']
)
def test_a_damaged_plan_is_made_anew(planner: Planner, content: bytes) -> None:
    first = planner()
    path = planner.root / "out" / "plan" / "b.jsonl.json"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"plan/b\.jsonl\.json is damaged\. Run the pipeline again"):
        load_plan(planner.output)
    assert [f.file.name for f in load_plan(planner.output, skip_damaged=True)] == ["a.jsonl", "c.jsonl"]
    assert planner() == first
    assert planner.indexed == ["b.jsonl"]
    assert len(load_plan(planner.output)) == 3


def test_a_damaged_range_in_a_plan_is_made_anew(planner: Planner) -> None:
    first = planner()
    path = planner.root / "out" / "plan" / "b.jsonl.json"
    value = json.loads(path.read_bytes())
    del value["ranges"][1]["digest"]
    path.write_text(json.dumps(value))
    assert planner() == first
    assert planner.indexed == ["b.jsonl"]


def test_an_output_without_a_plan(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="has no plan"):
        load_plan(Folder(str(tmp_path)))


def test_a_large_file_is_indexed_in_segments(planner: Planner) -> None:
    path = planner.root / "in" / "large.jsonl"
    write(path, 5000, "a somewhat longer line")
    plan = planner(path)
    segments = -(-path.stat().st_size // (SHARD * CHUNKS_PER_SEGMENT))
    assert len(planner.indexed) == segments > 5
    assert rows_read(plan) == list(range(5000))
    assert all(a.end == b.start for a, b in zip(plan.files[0].chunks, plan.files[0].chunks[1:], strict=False))
    files = [f.file for f in plan.files]
    planner.output.publish(part_name("length", files[0].name, 0), b"a result, without which a plan may be made anew")
    with pytest.raises(
        ConfigError,
        match=rf"chunk_bytes={SHARD}, and chunk_bytes=1048576 would compute everything again. Say --set chunk_bytes={SHARD} ",
    ):
        make_plan(planner.output, files, ReaderOptions(), 1 << 20, None, planner._run)
    assert planner(path) == plan
    whole = make_plan(planner.output, files, ReaderOptions(), 1 << 20, None, planner._run, False, may_recut=True)
    assert whole.rows == plan.rows == 5000


def test_filter_duplicates_reach_across_ranges_and_segments(planner: Planner) -> None:
    path = planner.root / "in" / "samples.jsonl"
    rows = [{"doc_id": i, "filter": f, "resps": [[f"answer {i}" * 5]]} for f in ("strict", "loose") for i in range(400)]
    path.write_text("".join(json.dumps(r) + "\n" for r in rows))
    plan = planner(path)
    assert len(set(planner.indexed)) == 1
    assert len(planner.indexed) > 2
    assert rows_read(plan) == list(range(400))
    assert sum(b - a for r in plan.files[0].chunks for a, b in r.skipped) == 400
    assert all(r.first_row <= a < b <= r.first_row + r.rows for r in plan.files[0].chunks for a, b in r.skipped)
    assert planner(path) == plan


# Limits and samples


@pytest.mark.parametrize("limit", [1, 299, 300, 301, 450, 899, 900, 5000])
def test_a_limit_counts_across_files_and_stops_inside_a_range(planner: Planner, limit: int) -> None:
    plan = planner(limit=limit)
    assert plan.rows == min(limit, 900)
    expected = [i for n in (300, 300, 300) for i in range(n)][:limit]
    assert rows_read(plan) == expected
    assert len(plan.files) == len(planner.indexed) == min(3, -(-limit // 300))


def test_a_limit_does_not_read_the_rest(planner: Planner, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    open_ = InputFile.open

    def recorded(file: InputFile) -> BinaryIO:
        opened.append(file.name)
        return open_(file)

    monkeypatch.setattr(InputFile, "open", recorded)
    files = [f"{planner.root}/in/a.jsonl", f"{planner.root}/in/b.jsonl"]
    assert planner(*files, limit=300).rows == 300
    assert set(opened) == {"a.jsonl"}


def test_a_limited_plan_never_passes_for_the_whole(planner: Planner) -> None:
    limited = planner(limit=300)
    whole = planner()
    assert planner.indexed == ["a.jsonl", "b.jsonl", "c.jsonl"]
    assert limited.files[0] == whole.files[0]
    cut = planner(limit=250)
    assert keys(cut)[-1] not in keys(whole)


@pytest.mark.parametrize("name", ["x.csv", "x.parquet", "x.arrow"])
def test_a_limit_in_other_formats(tmp_path: Path, name: str) -> None:
    table = pa.table({"text": [f"text {i} " * 10 for i in range(200)]})
    if name.endswith("csv"):
        (tmp_path / name).write_text("text\n" + "".join(f"{t}\n" for t in table["text"].to_pylist()))
    elif name.endswith("parquet"):
        pq.write_table(table, tmp_path / name, row_group_size=30)
    else:
        with pa.ipc.new_file(tmp_path / name, table.schema) as writer:
            writer.write_table(table, 30)
    planner = Planner(tmp_path)
    for limit in (1, 29, 30, 31, 200, 201):
        plan = planner(tmp_path / name, limit=limit)
        assert rows_read(plan) == list(range(min(limit, 200)))


# What is said when there is no text


@pytest.mark.parametrize("name", ["x.jsonl", "x.csv", "x.parquet"])
def test_the_message_names_the_columns_there(tmp_path: Path, name: str) -> None:
    if name.endswith("jsonl"):
        (tmp_path / name).write_text('{"body": "b", "title": "t"}\n' * 3)
    elif name.endswith("csv"):
        (tmp_path / name).write_text("body,title\nb,t\n")
    else:
        pq.write_table(pa.table({"body": ["b"], "title": ["t"]}), tmp_path / name)
    planner = Planner(tmp_path)
    plan = planner(tmp_path / name)
    with pytest.raises(InputError, match=r"looked for text, content or raw_content; the columns there are body, title"):
        check_text(plan, ReaderOptions())
    with pytest.raises(InputError, match=r"looked for bodi; the columns there are .*--text-column"):
        check_text(plan, ReaderOptions(DocumentFields("bodi")))
    check_text(plan, ReaderOptions(DocumentFields("body")))


@pytest.mark.parametrize("content", ["", "\n\n", "not json\n", '{"a": 1}\n{"text": "t"}\n', '{"text": ""}\n'])
def test_an_input_that_may_have_text_is_let_through(tmp_path: Path, content: str) -> None:
    (tmp_path / "x.jsonl").write_text(content)
    planner = Planner(tmp_path)
    check_text(planner(tmp_path / "x.jsonl"), ReaderOptions())


# Duplicate ids


@given(
    st.lists(st.lists(st.sampled_from(["", "a", "b", "é", "0", "00", "1:0"]), max_size=8), max_size=5),
    st.integers(1, 5),
)
def test_duplicate_ids_are_counted_exactly(
    tmp_path_factory: pytest.TempPathFactory, files: list[list[str]], ids_per_pass: int
) -> None:
    root = tmp_path_factory.mktemp("duplicates")
    (root / "in").mkdir()
    write(root / "in" / "none.jsonl", 0)
    for i, ids in enumerate(files):
        (root / "in" / f"{i}.jsonl").write_text("".join(json.dumps({"id": j, "text": ""}) + "\n" for j in ids))
    planner = Planner(root)
    plan = planner()
    instance = Instance("x", "x", Recorded("1", {}, pa.schema([])))
    for planned, k in plan.chunks:
        ids = [
            j for b in ChunkReader(planned.file, planned.chunks[k], ReaderOptions()) for j in b.table["id"].to_pylist()
        ]
        rows = pa.record_batch([range(len(ids)), [0] * len(ids), ids], schema=pa.schema(KEYS))
        name, key = part_name("x", planned.file.name, k), part_key(planned, k, ReaderOptions(), instance.identity())
        write_part(planner.output, name, pa.schema([]), [rows], key, Counts(documents=len(ids)))
    every = Counter(j for ids in files for j in ids)
    expected = sum(every.values()) - len(every)
    assert count_duplicate_ids(planner.output, plan, instance, ids_per_pass) == expected
    assert count_duplicate_ids(planner.output, plan, instance) == expected


def test_chunks_by_the_size_of_the_input() -> None:
    """Within a factor of two: 32 chunks of a small input (of 4 MiB or more), 64 MiB each of a usual one, 16,384 of a large one."""
    mib, tib = 1 << 20, 1 << 40
    assert [chunk_bytes_for(size) for size in (0, 50 * mib, 1000 * mib)] == [4 * mib, 4 * mib, 32 * mib]
    assert {chunk_bytes_for(size) for size in (1100 * mib, 100 * 1024 * mib, tib)} == {64 * mib}
    assert chunk_bytes_for(tib + 1) == 128 * mib
    assert 10 * 10**12 / chunk_bytes_for(10 * 10**12) < 16_384


@given(st.integers(0, 1 << 60))
def test_chunks_grow_with_the_input(size: int) -> None:
    chunk = chunk_bytes_for(size)
    assert chunk & (chunk - 1) == 0
    assert chunk <= chunk_bytes_for(size + 1)
    assert size / chunk <= 16_384


def test_the_first_runs_chunks_stay(planner: Planner) -> None:
    """Whatever is added: another size would compute everything again."""
    before = planner()
    write(planner.root / "in" / "d.jsonl", 30_000, "a much larger file, whose size asks for no other chunks now")
    files = discover.find([str(planner.root / "in")])
    after = make_plan(planner.output, files, ReaderOptions(), None, None, planner._run)
    assert after.files[:3] == before.files
    assert len(after.files[3].chunks) > 1000
    anew = make_plan(planner.output, files, ReaderOptions(), None, None, planner._run, False, may_recut=True)
    assert [len(f.chunks) for f in anew.files] == [1, 1, 1, 1]
