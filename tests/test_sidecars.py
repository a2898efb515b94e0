"""Parts: their bytes, the key that says whether they are up to date, and who owns an instance's name."""

from __future__ import annotations

import contextlib
import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from plugin_taggers import Marks

import tagcorpus
from tagcorpus.errors import ConfigError, InputError
from tagcorpus.pipelines.attributes.claims import claim
from tagcorpus.pipelines.attributes.parts import (
    KEYS,
    Instance,
    part_key,
    part_name,
    quarantine_name,
    read_part,
    stored_part,
    write_part,
)
from tagcorpus.pipelines.attributes.resuming import remove_leftovers, resume_state
from tagcorpus.pipelines.inputs.chunks import Chunk, Counts
from tagcorpus.pipelines.inputs.input_files import InputFile
from tagcorpus.pipelines.readers.plan import Plan, PlannedFile
from tagcorpus.pipelines.readers.reader import ReaderOptions
from tagcorpus.pipelines.storage.folder import Folder

RANGES = (Chunk(0, 100, 0, 3, "aa"), Chunk(100, 200, 3, 2, "bb"))
PLANNED = PlannedFile(InputFile("a b.jsonl", "/data/a b.jsonl", "jsonl", ""), RANGES)
PLAN = Plan((PLANNED,))
MARKS: Any = Marks()
INSTANCE = Instance("marks", "marks", MARKS)
SCHEMA = pa.schema([pa.field("n", pa.int64(), metadata={"unit": "count", "meaning": "a number"})])


@pytest.fixture
def output(tmp_path: Path) -> Folder:
    return Folder(str(tmp_path / "out"))


def batch(n: int) -> pa.RecordBatch:
    rows = np.arange(n, dtype=np.int64)
    columns = [pa.array(rows), pa.array(np.zeros(n, np.int32)), pa.array(rows).cast(pa.string()), pa.array(rows * 2)]
    return pa.record_batch(columns, schema=pa.schema([*KEYS, *SCHEMA]))


def write(output: Folder, k: int, planned: PlannedFile = PLANNED, reason: str = "") -> str:
    n = 2 if reason and not reason.startswith("tagger:") else 3
    counts = Counts(lines=3, read=n, documents=n, quarantined=Counter([reason] if reason else []))
    name = part_name("marks", planned.file.name, k)
    keys, numbers = batch(n).columns[:3], batch(n).column("n")
    rows = pa.record_batch([*keys, numbers, numbers.cast(pa.string())], schema=pa.schema([*KEYS, *MARKS.columns]))
    write_part(output, name, MARKS.columns, [rows], part_key(planned, k, ReaderOptions(), INSTANCE.identity()), counts)
    return name


def test_a_flipped_bit_anywhere_is_noticed(output: Folder) -> None:
    """In a page or its header; the footer is Arrow's own to check."""
    write_part(output, "one.parquet", SCHEMA, [batch(300)], "key", Counts(lines=300))
    whole = output.read("one.parquet")
    assert whole is not None
    stored = read_part(output, "one.parquet")
    assert stored.num_rows == 300
    footer = len(whole) - 8 - int.from_bytes(whole[-8:-4], "little")
    noticed = 0
    for at in range(0, footer, 7):
        flipped = bytearray(whole)
        flipped[at] ^= 1 << at % 8
        output.publish("one.parquet", bytes(flipped))
        with contextlib.suppress(InputError):
            assert read_part(output, "one.parquet").equals(stored), f"bit {at % 8} of byte {at}"
            continue
        noticed += 1
    # Some bytes between the pages, such as a header's own checksum, decide nothing that is read.
    assert noticed > 0.9 * len(range(0, footer, 7))
    output.publish("one.parquet", whole[:-20])
    with pytest.raises(InputError, match=r"one\.parquet is damaged \(.*\): remove it and run the pipeline again"):
        read_part(output, "one.parquet")


def test_a_part_that_is_not_there(output: Folder) -> None:
    with pytest.raises(InputError, match=r"none\.parquet is missing: the run is incomplete, run it again"):
        read_part(output, "none.parquet")


def test_row_groups_compression_and_metadata(output: Folder) -> None:
    n = 132_000
    counts = Counts(lines=n, quarantined=Counter({"z": 1, "a": 2}))
    whole = batch(n)
    pieces = [whole.slice(i, 1000) for i in range(0, n, 1000)]
    write_part(output, "one.parquet", SCHEMA, pieces, "key", counts)
    write_part(output, "two.parquet", SCHEMA, [whole], "key", counts)
    data = output.read("one.parquet")
    assert data == output.read("two.parquet")
    metadata = pq.read_metadata(output.path("one.parquet"))
    assert [metadata.row_group(g).num_rows for g in range(metadata.num_row_groups)] == [65_536, 65_536, 928]
    assert {metadata.row_group(0).column(c).compression for c in range(4)} == {"ZSTD"}
    assert set(metadata.metadata) == {b"tagcorpus.counts", b"tagcorpus.key", b"ARROW:schema"}
    assert list(json.loads(metadata.metadata[b"tagcorpus.counts"])["quarantined"]) == ["a", "z"]
    assert pq.read_schema(output.path("one.parquet")).field("n").metadata == {
        b"unit": b"count",
        b"meaning": b"a number",
    }
    assert data is not None
    assert output.root.encode() not in data
    assert f"tagcorpus {tagcorpus.__version__}".encode() not in data
    stored = stored_part(output, "one.parquet")
    assert stored is not None
    assert (stored.key, stored.counts) == ("key", counts)


@pytest.mark.parametrize("content", [b"", b"PAR1", b"half of a file", None])
def test_what_is_no_whole_part(output: Folder, content: bytes | None) -> None:
    if content is not None:
        output.publish("x.parquet", content)
    assert stored_part(output, "x.parquet") is None


def test_foreign_parquet_is_no_part(output: Folder, tmp_path: Path) -> None:
    pq.write_table(pa.table({"a": [1]}), tmp_path / "foreign.parquet")
    output.publish("x.parquet", (tmp_path / "foreign.parquet").read_bytes())
    assert stored_part(output, "x.parquet") is None


@pytest.mark.parametrize(
    "change",
    [
        {"digest": "cc"},
        {"first_row": 1},
        {"rows": 4},
        {"start": 1},
        {"skipped": ((0, 1),)},
        {"broken": "damaged"},
    ],
)
def test_key_depends_on_the_range(change: dict[str, object]) -> None:
    changed = replace(PLANNED, chunks=(replace(RANGES[0], **change), RANGES[1]))  # type: ignore[arg-type]
    identity = INSTANCE.identity()
    assert part_key(changed, 0, ReaderOptions(), identity) != part_key(PLANNED, 0, ReaderOptions(), identity)
    assert part_key(changed, 1, ReaderOptions(), identity) == part_key(PLANNED, 1, ReaderOptions(), identity)


def test_key_depends_on_tagger_and_reading() -> None:
    identity = INSTANCE.identity()
    keys = [
        part_key(PLANNED, 0, ReaderOptions(), identity),
        part_key(PLANNED, 0, ReaderOptions(), {**identity, "version": "2"}),
        part_key(PLANNED, 0, ReaderOptions(), {**identity, "parameters": {"suffix": "z"}}),
        part_key(PLANNED, 0, ReaderOptions(sample=0.5), identity),
        part_key(PLANNED, 0, ReaderOptions(sample=0.5, seed=1), identity),
        part_key(PLANNED, 0, ReaderOptions(max_line_bytes=99), identity),
    ]
    assert len(set(keys)) == len(keys)
    moved = replace(PLANNED, file=replace(PLANNED.file, path="/elsewhere/a b.jsonl"))
    assert part_key(moved, 0, ReaderOptions(), identity) == keys[0]


def test_standing(output: Folder) -> None:
    assert resume_state(output, PLAN, ReaderOptions(), [INSTANCE]).done == {}
    write(output, 0)
    now = resume_state(output, PLAN, ReaderOptions(), [INSTANCE])
    assert (list(now.done), now.stale) == ([(0, "marks")], 0)
    assert now.todo(2, [INSTANCE]) == [frozenset(), frozenset({"marks"})]
    write(output, 1, replace(PLANNED, chunks=(RANGES[0], replace(RANGES[1], digest="old"))))
    now = resume_state(output, PLAN, ReaderOptions(), [INSTANCE])
    assert (list(now.done), now.stale) == ([(0, "marks")], 1)


@pytest.mark.parametrize(("reason", "instance"), [("not_json", ""), ("tagger:marks:ValueError", "marks")])
def test_part_without_its_quarantine_is_made_anew(output: Folder, reason: str, instance: str) -> None:
    write(output, 0, reason=reason)
    assert resume_state(output, PLAN, ReaderOptions(), [INSTANCE]).done == {}
    output.publish(quarantine_name("a b.jsonl", 0, instance), b"{}\n")
    assert list(resume_state(output, PLAN, ReaderOptions(), [INSTANCE]).done) == [(0, "marks")]


def test_name_stands_for_one_tagger_and_parameters(output: Folder) -> None:
    claim(output, [INSTANCE])
    claim(output, [INSTANCE])
    told = json.loads(output.read("attributes/marks/tagger.json") or b"")
    assert told["columns"][0] == {"name": "n_bytes", "type": "int64", "meaning": "length", "unit": "bytes"}
    with pytest.raises(ConfigError) as caught:
        claim(output, [Instance("marks", "marks", replace(MARKS, suffix="z"))])
    assert "marks(suffix='')" in str(caught.value)
    assert "marks(suffix='z')" in str(caught.value)
    assert "--taggers NAME=marks" in str(caught.value)
    assert "--overwrite" in str(caught.value)
    with pytest.raises(ConfigError):
        claim(output, [Instance("marks", "other", MARKS)])
    assert json.loads(output.read("attributes/marks/tagger.json") or b"") == told


@pytest.mark.parametrize(
    "content", [b"", b"[]", b'{"tagger": "marks", "vers', b"\xff\x00", b'{"tagger": "marks", "version": "1"}']
)
def test_a_damaged_claim_is_written_anew(output: Folder, content: bytes) -> None:
    claim(output, [INSTANCE])
    told = output.read("attributes/marks/tagger.json")
    output.publish("attributes/marks/tagger.json", content)
    claim(output, [INSTANCE])
    assert output.read("attributes/marks/tagger.json") == told


def test_new_version_takes_the_name_over_with_the_same_parameters_only(output: Folder) -> None:
    class Newer(Marks):
        version = "2"

    class More(Marks):
        version = "3"

        def fingerprint(self) -> dict[str, object]:
            return {**super().fingerprint(), "added": 1}

    claim(output, [INSTANCE])
    newer: Any = Newer()
    more: Any = More()
    for tagger, name in ((replace(newer, suffix="z"), "marks"), (newer, "other")):
        with pytest.raises(ConfigError):
            claim(output, [Instance("marks", name, tagger)])
    claim(output, [Instance("marks", "marks", newer)])
    claim(output, [Instance("marks", "marks", more)])
    assert json.loads(output.read("attributes/marks/tagger.json") or b"")["version"] == "3"


def test_leftovers_of_a_file_that_shrank(output: Folder) -> None:
    kept = [
        write(output, 0),
        write(output, 1),
        quarantine_name("a b.jsonl", 1),
        quarantine_name("a b.jsonl", 0, "marks"),
    ]
    gone = [
        write(output, 1).replace("00001", "00002"),
        quarantine_name("a b.jsonl", 2),
        quarantine_name("a b.jsonl", 7, "x"),
    ]
    # A file whose name begins with that of the planned one, and one that lies in a folder called like it.
    others = [part_name("marks", "a b.jsonl/part-00009.jsonl", 3), part_name("marks", "a b.jsonl.gz", 5)]
    for name in [*kept[2:], *gone, *others]:
        output.publish(name, b"x")
    remove_leftovers(output, PLAN, [INSTANCE])
    assert output.files() == sorted(kept + others)
