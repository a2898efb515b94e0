"""Parquet and Arrow files: row ranges, nested columns, text that is not UTF-8, and damage."""

from __future__ import annotations

import datetime as dt
import decimal
import functools
import itertools
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet as pq
import pytest
from profiles import tries

from tagcorpus.pipelines.formats import reader_process, tables
from tagcorpus.pipelines.inputs.chunks import Chunk, Counts
from tagcorpus.pipelines.inputs.input_files import InputFile
from tagcorpus.pipelines.inputs.records import DocumentFields
from tagcorpus.pipelines.readers import samples
from tagcorpus.pipelines.readers.reader import ChunkReader, ReaderOptions

Writer = Callable[[pa.Table, Path], None]
N, FEW = 5000, 2000


def stream(table: pa.Table, path: Path) -> None:
    with pa.ipc.new_stream(path, table.schema) as writer:
        writer.write_table(table, max_chunksize=700)


def file_(table: pa.Table, path: Path) -> None:
    with pa.ipc.new_file(path, table.schema) as writer:
        writer.write_table(table, max_chunksize=700)


def packed(table: pa.Table, path: Path) -> None:
    options = pa.ipc.IpcWriteOptions(compression="zstd")
    with pa.ipc.new_stream(path, table.schema, options=options) as writer:
        writer.write_table(table, max_chunksize=700)


WRITERS: dict[str, tuple[str, Writer]] = {
    "row groups": ("parquet", lambda t, p: pq.write_table(t, p, row_group_size=700)),
    "one row group": ("parquet", lambda t, p: pq.write_table(t, p, compression="zstd", data_page_size=4096)),
    "plain pages": ("parquet", lambda t, p: pq.write_table(t, p, use_dictionary=False, compression="none")),
    "pages v2": ("parquet", lambda t, p: pq.write_table(t, p, data_page_version="2.0", row_group_size=1500)),
    "arrow stream": ("arrow", stream),
    "arrow file": ("arrow", file_),
    "packed stream": ("arrow", packed),
    "feather": ("arrow", lambda t, p: pyarrow.feather.write_feather(t, p, compression="zstd", chunksize=900)),
    "feather lz4": ("arrow", lambda t, p: pyarrow.feather.write_feather(t, p, compression="lz4")),
}


@pytest.fixture(params=WRITERS)
def write(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[pa.Table], InputFile]:
    format_, writer = WRITERS[request.param]

    def written(table: pa.Table) -> InputFile:
        path = tmp_path / f"x.{format_}"
        writer(table, path)
        return InputFile(path.name, str(path), format_, "")

    return written


def read(
    file: InputFile, chunk_bytes: int = 1 << 30, chunks: list[Chunk] | None = None, **fields: Any
) -> tuple[list[tuple[int, str, str]], dict[int, str], Counts]:
    """(row, id, text) of every document, what is in quarantine, and the counts; every chunk is checked."""
    where = DocumentFields(**fields)
    documents: list[tuple[int, str, str]] = []
    quarantined: dict[int, str] = {}
    counts = Counts()
    for r in chunks or tables.index(file, chunk_bytes, where.top_columns()):
        reader = ChunkReader(file, r, ReaderOptions(where))
        published = 0
        for batch in reader:
            documents += list(zip(*batch.table.select(["row", "id", "text"]).to_pydict().values(), strict=True))
            published += batch.num_rows
        reader.counts.check(r.rows, published, "here")
        quarantined |= {e["row"]: e["reason"] for e in reader.quarantine}
        counts.add(reader.counts)
    return documents, quarantined, counts


@functools.cache
def corpus(n: int = N) -> pa.Table:
    rng = random.Random(1)
    texts = [" ".join(f"{rng.randrange(10**6):x}" for _ in range(rng.randrange(20))) for _ in range(n)]
    return pa.table({"n": range(n), "text": texts, "id": [f"{i:05d}" for i in range(n)], "other": ["z" * 50] * n})


@pytest.mark.parametrize("chunk_bytes", [3000, 40_000, 1 << 30])
def test_every_row_in_one_range(write: Callable[[pa.Table], InputFile], chunk_bytes: int) -> None:
    table = corpus(FEW)
    file = write(table)
    chunks = tables.index(file, chunk_bytes, DocumentFields().top_columns())
    assert chunks[0].start == 0
    assert chunks[-1].end == FEW
    assert all(a.end == b.start for a, b in itertools.pairwise(chunks))
    assert all((r.first_row, r.rows) == (r.start, r.end - r.start) for r in chunks)
    assert len({r.digest for r in chunks}) == len(chunks)
    assert len(chunks) > 3 or chunk_bytes > 3000
    documents, quarantined, _ = read(file, chunks=chunks)
    assert not quarantined
    assert documents == [
        (i, id_, text)
        for i, (id_, text) in enumerate(zip(*table.select(["id", "text"]).to_pydict().values(), strict=True))
    ]


@pytest.mark.parametrize("limit", [1, 699, 700, 701, FEW - 1, FEW, 9000])
def test_a_limit_takes_the_first_rows(write: Callable[[pa.Table], InputFile], limit: int) -> None:
    file = write(corpus(FEW))
    chunks = tables.index(file, 8000, DocumentFields().top_columns(), max_rows=limit)
    assert [d[0] for d in read(file, chunks=chunks)[0]] == list(range(min(limit, FEW)))


def test_one_huge_row_group_is_cut_by_rows(tmp_path: Path) -> None:
    pq.write_table(corpus(), tmp_path / "x.parquet", row_group_size=N)
    file = InputFile("x.parquet", str(tmp_path / "x.parquet"), "parquet", "")
    chunks = tables.index(file, 30_000, ["text"])
    assert len(chunks) >= 8
    assert max(r.rows for r in chunks) - min(r.rows for r in chunks) <= 1


def test_types_and_oddities(write: Callable[[pa.Table], InputFile]) -> None:
    texts = ["a", None, "", "é😀", "a\0b", "a"]
    for type_ in (pa.string(), pa.large_string(), pa.dictionary(pa.int32(), pa.string()), pa.string_view()):
        try:
            file = write(pa.table({"text": pa.array(texts, pa.string()).cast(type_), "id": [1, 2, None, 4, 5, 6]}))
        except (pa.ArrowNotImplementedError, pa.ArrowInvalid):
            assert type_ == pa.string_view()
            continue
        documents, quarantined, counts = read(file)
        ids = ["1", f"{file.name}:2", "4", "5", "6"]
        assert [d[1:] for d in documents] == list(zip(ids, ["a", "", "é😀", "a\0b", "a"], strict=True))
        assert quarantined == {1: "text_not_string"}
        assert counts.lines == 6


@pytest.mark.parametrize(
    ("ids", "expected"),
    [
        (pa.array([2**64 - 1], pa.uint64()), "18446744073709551615"),
        (pa.array(["0012"]), "0012"),
        (pa.array([True]), "true"),
        (pa.array([1.5]), "1.5"),
        (pa.array([b"\x01\xff"]), "01ff"),
        (pa.array([decimal.Decimal("1.50")]), "1.50"),
        (pa.array([dt.date(2020, 1, 2)]), "2020-01-02"),
        (pa.array([1], pa.timestamp("ns")), "1970-01-01 00:00:00.000000001"),
        (pa.array([1], pa.timestamp("us", "UTC")), "1970-01-01 00:00:00.000001Z"),
        (pa.array([5], pa.duration("ns")), "5"),
        (pa.array([["a", "b"]]), '["a", "b"]'),
        (pa.array([{"k": 1}]), '{"k": 1}'),
        (pa.nulls(1, pa.string()), "x.{}:0"),
    ],
)
def test_ids_of_every_type(write: Callable[[pa.Table], InputFile], ids: pa.Array, expected: str) -> None:
    file = write(pa.table({"text": ["t"], "id": ids}))
    assert read(file)[0] == [(0, expected.replace("{}", file.format), "t")]


def test_nested_columns(write: Callable[[pa.Table], InputFile]) -> None:
    turns = [[{"role": "u", "content": "a"}, {"role": "v", "content": "b"}], [], None, [{"role": "u", "content": None}]]
    file = write(pa.table({"messages": turns, "a": [{"b": "x"}, {"b": None}, None, {"b": ""}], "a.b": list("wxyz")}))
    assert read(file, text_column="messages[*].content")[:2] == (
        [(0, f"{file.name}:0", "a\nb")],
        {1: "no_text", 2: "no_text", 3: "no_text"},
    )
    assert [d[2] for d in read(file, text_column="a.b")[0]] == list("wxyz")


def test_a_path_into_a_struct(write: Callable[[pa.Table], InputFile]) -> None:
    file = write(pa.table({"a": [{"b": "x", "c": 1}, {"b": None, "c": 2}, None], "k": [{"id": 1}] * 3}))
    assert read(file, text_column="a.b", id_column="k.id")[:2] == (
        [(0, "1", "x")],
        {1: "text_not_string", 2: "no_text"},
    )


def test_a_table_without_the_text_column_loses_no_row(write: Callable[[pa.Table], InputFile]) -> None:
    file = write(pa.table({"other": ["a"] * 2000}))
    documents, quarantined, counts = read(file)
    assert not documents
    assert quarantined == dict.fromkeys(range(2000), "no_text")
    assert counts.lines == 2000


def test_an_empty_table(write: Callable[[pa.Table], InputFile]) -> None:
    file = write(pa.table({"text": pa.array([], pa.string())}))
    (only,) = tables.index(file, 1000, ["text"])
    assert (only.rows, only.broken) == (0, "")
    assert read(file)[0] == []


def test_text_that_is_not_utf8_costs_its_own_row_only(write: Callable[[pa.Table], InputFile]) -> None:
    raw = [b"fine", b"\xff\xfe", b"", "é".encode(), b"\xed\xa0\x80"] * 300
    binary = pa.array(raw, pa.binary())
    texts = pa.Array.from_buffers(pa.string(), len(raw), binary.buffers())
    file = write(pa.table({"text": texts, "id": list(range(len(raw)))}))
    documents, quarantined, counts = read(file, 1000)
    assert [(d[0], d[2]) for d in documents] == [(i, r.decode()) for i, r in enumerate(raw) if i % 5 not in (1, 4)]
    assert quarantined == {i: "not_utf8" for i in range(len(raw)) if i % 5 in (1, 4)}
    assert counts.unreadable == 0


def test_harness_samples_in_a_table(write: Callable[[pa.Table], InputFile]) -> None:
    rows = [
        {"doc_id": 0, "filter": "strict", "resps": [["a", "b"], ["c"]]},
        {"doc_id": 1, "filter": "strict", "resps": [["d"]]},
        {"doc_id": 0, "filter": "flexible", "resps": [["a", "b"], ["c"]]},
        {"doc_id": 1, "filter": "flexible", "resps": [["e"]]},
        {"doc_id": 2, "filter": "flexible", "resps": None},
    ]
    file = write(pa.Table.from_pylist(rows))
    documents, quarantined, _ = read(file)
    assert [d[1:] for d in documents[:4]] == [("0:0:0", "a"), ("0:0:1", "b"), ("0:1:0", "c"), ("1", "d")]
    assert quarantined == {4: "no_text"}
    chunks = tables.index(file, 1 << 30, DocumentFields().top_columns())
    assert samples.has_filters(file, chunks, ReaderOptions())
    assert samples.duplicates(file, chunks, ReaderOptions()) == [(2, 3)]


def test_loglikelihood_samples_stay_out(write: Callable[[pa.Table], InputFile]) -> None:
    file = write(pa.Table.from_pylist([{"doc_id": 0, "resps": [[["-1.5", "False"]]]}]))
    assert read(file)[1] == {0: "text_not_string"}


def test_an_edit_of_equal_size_changes_the_digest_of_its_range_only(write: Callable[[pa.Table], InputFile]) -> None:
    table = corpus()
    columns = DocumentFields().top_columns()
    before = tables.index(write(table), 8000, columns)
    texts = table["text"].to_pylist()
    at = next(i for i, t in enumerate(texts) if i > N - 50 and t)
    texts[at] = ("1" if texts[at][0] != "1" else "2") + texts[at][1:]
    edited = table.set_column(1, "text", pa.array(texts))
    after = tables.index(write(edited), 8000, columns)
    changed = [a != b for a, b in zip(before, after, strict=True)]
    assert changed[-1] or any(changed)
    if len({r.digest for r in before}) > 1 and len(before) > 2 and not _is_one_group(write(edited)):
        assert not changed[0]
    untouched = edited.set_column(3, "other", pa.array(["y" * 50] * N))
    assert tables.index(write(untouched), 8000, columns) == after, "a column that is not read does not matter"


def _is_one_group(file: InputFile) -> bool:
    if file.format == "parquet":
        return bool(pq.ParquetFile(file.path).num_row_groups == 1)
    try:
        return bool(pa.ipc.open_file(file.path).num_record_batches == 1)
    except pa.ArrowInvalid:
        return False


def test_ranges_in_any_order_are_the_same(write: Callable[[pa.Table], InputFile]) -> None:
    file = write(corpus(FEW))
    chunks = tables.index(file, 4000, DocumentFields().top_columns())
    in_order = [read(file, chunks=[r])[0] for r in chunks]
    rng = random.Random(5)
    for _ in range(2):
        order = rng.sample(range(len(chunks)), len(chunks))
        found = {k: read(file, chunks=[chunks[k]])[0] for k in order}
        assert [found[k] for k in range(len(chunks))] == in_order


def test_a_table_written_anew_is_read_anew(write: Callable[[pa.Table], InputFile]) -> None:
    for n in (3000, 2000):
        table = pa.table({"text": [f"{n} {i}" for i in range(n)]})
        file = write(table)
        chunks = tables.index(file, 5000, ["text"])
        for r in (chunks[0], chunks[0], chunks[-1]):
            assert [d[2] for d in read(file, chunks=[r])[0]] == table["text"].to_pylist()[r.start : r.end]


def test_neighbouring_ranges_of_a_stream_are_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not once per range: the reader goes on where the last range ended."""
    monkeypatch.setattr(reader_process, "CAN_FORK", False)  # to count in this process

    class Counting(InputFile):
        opened = 0

        def open(self) -> Any:
            Counting.opened += 1
            return super().open()

    pq.write_table(corpus(), tmp_path / "x.parquet", row_group_size=N)
    file = Counting("x.parquet", str(tmp_path / "x.parquet"), "parquet", "")
    chunks = tables.index(file, 9000, DocumentFields().top_columns())
    assert len(chunks) > 20
    Counting.opened = 0
    assert len(read(file, chunks=chunks)[0]) == N
    assert Counting.opened <= 2


# Damage


def check_damaged(file: InputFile, chunk_bytes: int) -> tuple[int, Counts]:
    """A damaged file never raises; what is read is accounted for, and index and reading agree."""
    chunks = tables.index(file, chunk_bytes, DocumentFields().top_columns())
    documents, _, counts = read(file, chunks=chunks)
    assert counts.lines + counts.unreadable == sum(r.rows for r in chunks)
    return len(documents), counts


@pytest.mark.parametrize("checksums", [False, True])
@pytest.mark.parametrize("compression", ["none", "zstd", "snappy"])
def test_a_corrupt_row_group_costs_what_follows_in_its_range(tmp_path: Path, checksums: bool, compression: str) -> None:
    table = corpus()
    path = tmp_path / "x.parquet"
    pq.write_table(table, path, row_group_size=1000, compression=compression, write_page_checksum=checksums)
    data = bytearray(path.read_bytes())
    third = pq.ParquetFile(path).metadata.row_group(2).column(1)
    for at in range(third.data_page_offset + 200, third.data_page_offset + 260):
        data[at] ^= 0xFF
    path.write_bytes(data)
    file = InputFile("x.parquet", str(path), "parquet", "")
    documents, quarantined, counts = read(file, 20_000)
    if checksums or compression == "zstd":
        assert counts.is_broken
        assert {2000} <= set(quarantined) <= set(range(2000, 3000))
    good = [d for d in documents if not 2000 <= d[0] < 3000]
    assert [d[0] for d in good] == [*range(2000), *range(3000, 5000)]
    assert [d[2] for d in good] == [t for i, t in enumerate(table["text"].to_pylist()) if not 2000 <= i < 3000]
    if checksums:
        in_one = read(file)
        assert [d[0] for d in in_one[0]] == list(range(2000))
        assert in_one[1] == {2000: "broken_file"}
        assert in_one[2].unreadable == 3000


def test_flipped_bytes_anywhere_never_raise(write: Callable[[pa.Table], InputFile]) -> None:
    table = corpus(2000)
    file = write(table)
    data = Path(file.path).read_bytes()
    rng = random.Random(3)
    for _ in range(tries(50)):
        damaged = bytearray(data)
        for _ in range(rng.choice([1, 20])):
            damaged[rng.randrange(len(data))] = rng.randrange(256)
        Path(file.path).write_bytes(damaged)
        check_damaged(file, rng.choice([5000, 1 << 30]))


def test_a_file_without_its_end_is_broken(write: Callable[[pa.Table], InputFile]) -> None:
    table = corpus()
    file = write(table)
    data = Path(file.path).read_bytes()
    counted = []
    for keep in (0, 3, 10, len(data) // 3, len(data) * 2 // 3, len(data) - 20):
        Path(file.path).write_bytes(data[:keep])
        documents, counts = check_damaged(file, 30_000)
        # A stream that ends between two batches, or before its last mark, has no way to show that there was more.
        assert counts.is_broken or documents > 1000
        counted.append(documents)
    if file.format == "parquet":
        assert set(counted) == {0}, "without its footer a Parquet file has no rows"
    else:
        assert counted[-1] > 3000 or _is_one_batch(data)
        assert counted == sorted(counted)


def _is_one_batch(data: bytes) -> bool:
    try:
        return bool(pa.ipc.open_file(pa.py_buffer(data)).num_record_batches == 1)
    except pa.ArrowInvalid:
        return False


def test_the_schema_and_a_stop_before_the_end(write: Callable[[pa.Table], InputFile]) -> None:
    file = write(corpus())
    assert tables.column_names(file) == tables.schema(file).names == ["n", "text", "id", "other"]
    (r,) = tables.index(file, 1 << 30, ["n"])
    found = [v for b in tables.read(file, r, tables.Columns(("n",), ("n",)), stop=1234) for v in b["n"].to_pylist()]
    assert found == list(range(1234))
    assert {tuple(b.schema.names) for b in tables.read(file, r, tables.Columns(("n", "id"), ("n",)))} == {("n", "id")}


def test_long_rows_are_read_a_few_at_a_time(write: Callable[[pa.Table], InputFile]) -> None:
    file = write(pa.table({"text": [f"{i:02d}" * (1 << 19) for i in range(16)]}))
    (r,) = tables.index(file, 1 << 40, ["text"])
    sizes = [b.num_rows for b in tables.read(file, r, tables.Columns(("text",), ("text",)))]
    assert sum(sizes) == 16
    assert max(sizes) <= 10


def test_quarantine_shows_the_small_values_of_a_row(tmp_path: Path) -> None:
    pq.write_table(pa.table({"text": [None], "id": ["abc"]}), tmp_path / "x.parquet")
    file = InputFile("x.parquet", str(tmp_path / "x.parquet"), "parquet", "")
    (r,) = tables.index(file, 1 << 30, ["text", "id"])
    reader = ChunkReader(file, r, ReaderOptions())
    list(reader)
    (entry,) = reader.quarantine
    assert entry["row"] == 0
    assert "abc" in entry["head"]
    assert json.dumps(entry)
