"""Tables: what is behind their end, a file that changes while it is read, values that cannot be had, and a reader that crashes."""

from __future__ import annotations

import json
import os
import random
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tagcorpus.errors import IncompleteError
from tagcorpus.pipelines.formats import reader_process, tables
from tagcorpus.pipelines.inputs.chunks import Chunk, Counts
from tagcorpus.pipelines.inputs.input_files import InputFile
from tagcorpus.pipelines.inputs.records import DocumentFields
from tagcorpus.pipelines.readers.reader import ChunkReader, ReaderOptions
from tagcorpus.pipelines.run import run

CASES = Path(__file__).resolve().parents[2] / "shared" / "cases" / "readers"


def stream_bytes(table: pa.Table, rows: int = 7) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table, rows)
    return bytes(sink.getvalue())


def file_bytes(table: pa.Table, rows: int = 7) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table, rows)
    return bytes(sink.getvalue())


def parquet_bytes(table: pa.Table, rows: int = 7, **options: Any) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, row_group_size=rows, **options)
    return bytes(sink.getvalue())


WRITERS: dict[str, tuple[str, Callable[[pa.Table], bytes]]] = {
    "stream": ("arrow", stream_bytes),
    "file": ("arrow", file_bytes),
    "parquet": ("parquet", parquet_bytes),
    "parquet with indexes": ("parquet", lambda t: parquet_bytes(t, write_page_index=True)),
}


TEXTS = pa.schema([("text", pa.string()), ("id", pa.string())])


def texts(n: int, word: str = "text") -> pa.Table:
    return pa.table({"text": [f"{word} {i}" for i in range(n)], "id": [f"{word}{i}" for i in range(n)]}, TEXTS)


def written(folder: Path, data: bytes, format_: str) -> InputFile:
    path = folder / f"x.{format_}"
    path.write_bytes(data)
    return InputFile(path.name, str(path), format_, "")


Read = tuple[list[str], Counts, list[dict[str, Any]]]


def read(file: InputFile, chunks: list[Chunk] | None = None, chunk_bytes: int = 1 << 30, **fields: Any) -> Read:
    """(texts, counts, quarantine)"""
    reader_options = ReaderOptions(DocumentFields(**fields))
    found: list[str] = []
    counts = Counts()
    quarantine: list[dict[str, Any]] = []
    for chunk in chunks or tables.index(file, chunk_bytes, reader_options.fields.top_columns()):
        reader = ChunkReader(file, chunk, reader_options)
        published = len(found)
        found += [text for batch in reader for text in batch.texts]
        reader.counts.check(chunk.rows, len(found) - published, "here")
        counts.add(reader.counts)
        quarantine += reader.quarantine
    return found, counts, quarantine


# Behind the end


@pytest.mark.parametrize("n_streams", [2, 3])
@pytest.mark.parametrize("chunk_bytes", [64, 1 << 30])
def test_streams_that_were_joined_are_all_read(tmp_path: Path, n_streams: int, chunk_bytes: int) -> None:
    parts = [texts(10 + k, f"stream{k}") for k in range(n_streams)]
    file = written(tmp_path, b"".join(map(stream_bytes, parts)), "arrow")
    found, counts, quarantine = read(file, chunk_bytes=chunk_bytes)
    assert found == [t for p in parts for t in p["text"].to_pylist()]
    assert counts.lines == sum(p.num_rows for p in parts)
    assert quarantine == []


def test_joined_streams_may_differ_in_their_columns(tmp_path: Path) -> None:
    second = pa.table({"other": [1, 2], "text": pa.array(["a", None], pa.large_string())})
    file = written(tmp_path, stream_bytes(texts(3)) + stream_bytes(second), "arrow")
    found, counts, _ = read(file)
    assert found == ["text 0", "text 1", "text 2", "a"]
    assert counts.quarantined == {"text_not_string": 1}


@pytest.mark.parametrize(
    "behind",
    [b"\0", b"\0" * 8, b"\0" * 4096, b"x", b"\n", b"abc", b"garbage that is longer than any header", b"\xff" * 8]
    + [stream_bytes(texts(4))[:cut] for cut in (3, 4, 8, 40)],
)
def test_what_follows_a_stream_is_never_dropped_in_silence(tmp_path: Path, behind: bytes) -> None:
    file = written(tmp_path, stream_bytes(texts(10)) + behind, "arrow")
    found, counts, quarantine = read(file)
    assert found == texts(10)["text"].to_pylist()
    assert counts.is_broken
    assert f"{len(behind):,} bytes follow the end of the stream" in quarantine[0]["message"]


@pytest.mark.parametrize("behind", [b"\0", b"x", b"\n", b"\0" * 64, b"garbage" * 9])
@pytest.mark.parametrize("kind", ["file", "parquet"])
def test_what_follows_a_footer_makes_a_broken_file(tmp_path: Path, kind: str, behind: bytes) -> None:
    format_, write = WRITERS[kind]
    _, counts, _ = read(written(tmp_path, write(texts(10)) + behind, format_))
    assert counts.is_broken


@pytest.mark.parametrize("kind", ["file", "parquet", "parquet with indexes"])
@pytest.mark.parametrize("sizes", [(10, 10), (10, 12), (500, 3), (3, 500), (0, 5), (40, 41)])
def test_two_joined_files_with_footers_are_broken(tmp_path: Path, kind: str, sizes: tuple[int, int]) -> None:
    format_, write = WRITERS[kind]
    parts = [write(texts(n, word)) for n, word in zip(sizes, ("a", "b"), strict=True)]
    found, counts, quarantine = read(written(tmp_path, b"".join(parts), format_))
    assert found == []
    assert counts.is_broken
    assert "joined" in quarantine[0]["message"]


@pytest.mark.parametrize("kind", ["file", "parquet"])
def test_something_in_front_of_a_file_makes_it_broken(tmp_path: Path, kind: str) -> None:
    format_, write = WRITERS[kind]
    found, counts, _ = read(written(tmp_path, b"HTTP/1.1 200 OK\r\n\r\n" + write(texts(10)), format_))
    assert found == []
    assert counts.is_broken


@pytest.mark.parametrize("kind", WRITERS)
@pytest.mark.parametrize("n", [0, 1, 10, 300])
def test_sound_files_fit(tmp_path: Path, kind: str, n: int) -> None:
    format_, write = WRITERS[kind]
    file = written(tmp_path, write(texts(n)), format_)
    found, counts, quarantine = read(file)
    assert (len(found), quarantine, counts.is_broken) == (n, [], False)
    assert tables.gap(file) == 0


def test_a_gap_that_nothing_explains_is_counted_and_refuses_nothing(tmp_path: Path) -> None:
    data = parquet_bytes(texts(10))
    footer = len(data) - 8 - int.from_bytes(data[-8:-4], "little")
    file = written(tmp_path, data[:footer] + b"x" * 100 + data[footer:], "parquet")
    assert tables.gap(file) == 100
    assert read(file)[0] == texts(10)["text"].to_pylist()


# A file that changes


@pytest.mark.parametrize("kind", WRITERS)
@pytest.mark.parametrize("chunk_bytes", [64, 1 << 30])
def test_other_content_than_planned_is_refused(tmp_path: Path, kind: str, chunk_bytes: int) -> None:
    format_, write = WRITERS[kind]
    file = written(tmp_path, write(texts(60, "old")), format_)
    chunks = tables.index(file, chunk_bytes, DocumentFields().top_columns())
    assert read(file, chunks)[0] == texts(60, "old")["text"].to_pylist()
    for other in (texts(60, "new"), texts(61, "old"), texts(10, "old"), texts(0)):
        Path(file.path).write_bytes(write(other))
        with pytest.raises(IncompleteError, match=r"changed while it was being read\. Run the same command again"):
            read(file, chunks)
    Path(file.path).write_bytes(b"no table any more")
    with pytest.raises(IncompleteError, match="changed while it was being read"):
        read(file, chunks)
    Path(file.path).write_bytes(write(texts(60, "old")))
    assert len(read(file, chunks)[0]) == 60, "the same content in a new file is what was planned"


@pytest.mark.parametrize("kind", WRITERS)
def test_a_change_in_the_middle_of_a_range_is_noticed_at_its_end(tmp_path: Path, kind: str) -> None:
    format_, write = WRITERS[kind]
    file = written(tmp_path, write(texts(3000, "old")), format_)
    (chunk,) = tables.index(file, 1 << 30, DocumentFields().top_columns())
    batches = iter(ChunkReader(file, chunk, ReaderOptions()))
    next(batches)
    Path(file.path).write_bytes(write(texts(3000, "new")))
    with pytest.raises(IncompleteError):
        list(batches)


@pytest.mark.parametrize("kind", WRITERS)
def test_a_column_that_nobody_reads_may_change(tmp_path: Path, kind: str) -> None:
    format_, write = WRITERS[kind]
    file = written(tmp_path, write(texts(30).append_column("n", pa.array([0] * 30))), format_)
    chunks = tables.index(file, 1 << 30, DocumentFields().top_columns())
    Path(file.path).write_bytes(write(texts(30).append_column("n", pa.array([1] * 30))))
    assert len(read(file, chunks)[0]) == 30


@pytest.mark.parametrize("kind", WRITERS)
def test_further_columns_are_proved_too(tmp_path: Path, kind: str) -> None:
    format_, write = WRITERS[kind]
    file = written(tmp_path, write(texts(30).append_column("n", pa.array([0] * 30))), format_)
    reader_options = ReaderOptions(columns=("n",))
    chunks = tables.index(file, 64, reader_options.fields.top_columns())
    chunks = tables.with_further_columns(file, chunks, {"n": ["n"]})
    assert len([1 for r in chunks for _ in ChunkReader(file, r, reader_options)]) == len(chunks)
    Path(file.path).write_bytes(write(texts(30).append_column("n", pa.array([1] * 30))))
    with pytest.raises(IncompleteError):
        list(ChunkReader(file, chunks[-1], reader_options))
    assert len(read(file, chunks)[0]) == 30, "who does not read that column does not mind"


@pytest.mark.parametrize("sizes", [(0, 5), (5, 0), (0, 0, 5, 0, 5, 0, 0), (0,), (9, 0, 0, 9)])
@pytest.mark.parametrize("chunk_bytes", [1, 100, 1 << 30])
@pytest.mark.parametrize("format_", ["arrow", "parquet"])
def test_empty_batches_and_row_groups_belong_to_their_range(
    tmp_path: Path, sizes: tuple[int, ...], chunk_bytes: int, format_: str
) -> None:
    path = tmp_path / f"x.{format_}"
    schema = texts(0).schema
    with pq.ParquetWriter(path, schema) if format_ == "parquet" else pa.ipc.new_stream(path, schema) as writer:
        for k, n in enumerate(sizes):
            for batch in texts(n, str(k)).to_batches() or [pa.RecordBatch.from_pylist([], schema)]:
                writer.write_batch(batch)
    file = InputFile(path.name, str(path), format_, "")
    found, counts, _ = read(file, chunk_bytes=chunk_bytes)
    assert len(found) == sum(sizes)
    assert not counts.is_broken


# Values that cannot be had

FAR_DATE = 5_000_000  # days: the year 15659


@pytest.fixture(params=["parquet", "arrow"])
def write(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[pa.Table], InputFile]:
    format_ = request.param
    to_bytes = parquet_bytes if format_ == "parquet" else file_bytes
    return lambda table: written(tmp_path, to_bytes(table, 1 << 20), format_)


def test_a_far_date_beside_the_text_costs_nothing(write: Callable[[pa.Table], InputFile]) -> None:
    n = 3000
    days = pa.array([FAR_DATE if i == 1500 else i for i in range(n)], pa.int32()).cast(pa.date32())
    doc = pa.StructArray.from_arrays([pa.array([f"t{i}" for i in range(n)]), days], ["text", "when"])
    file = write(pa.table({"doc": doc, "when": days, "id": days}))
    found, counts, quarantine = read(file, text_column="doc.text")
    assert found == [f"t{i}" for i in range(n)]
    assert (quarantine, counts.unreadable) == ([], 0)
    reader_options = ReaderOptions(DocumentFields("doc.text"))
    (r,) = tables.index(file, 1 << 30, reader_options.fields.top_columns())
    ids = [i for b in ChunkReader(file, r, reader_options) for i in b.table["id"].to_pylist()]
    assert ids[1500] == "15659-07-15"


def test_an_id_in_an_unknown_time_zone_is_written_in_utc(write: Callable[[pa.Table], InputFile]) -> None:
    ids = pa.array([0, None, 1_500_000], pa.timestamp("us", "Nowhere/City"))
    file = write(pa.table({"text": ["a", "b", "c"], "id": ids}))
    (r,) = tables.index(file, 1 << 30, DocumentFields().top_columns())
    found = [i for b in ChunkReader(file, r, ReaderOptions()) for i in b.table["id"].to_pylist()]
    assert found == ["1970-01-01 00:00:00.000000Z", f"{file.name}:1", "1970-01-01 00:00:01.500000Z"]


def test_nested_nanoseconds_are_written_alike_with_and_without_pandas(write: Callable[[pa.Table], InputFile]) -> None:
    key = pa.StructArray.from_arrays([pa.array([1, None], pa.timestamp("ns"))], ["at"])
    file = write(pa.table({"text": ["a", "b"], "id": key}))
    (r,) = tables.index(file, 1 << 30, DocumentFields().top_columns())
    found = [i for b in ChunkReader(file, r, ReaderOptions()) for i in b.table["id"].to_pylist()]
    assert found == ['{"at": "1970-01-01 00:00:00.000000001"}', '{"at": null}']


@pytest.mark.parametrize(
    "type_", [pa.binary(), pa.large_binary(), pa.binary_view(), pa.dictionary(pa.int8(), pa.binary())]
)
def test_bytes_that_are_utf8_are_text(write: Callable[[pa.Table], InputFile], type_: pa.DataType) -> None:
    raw = pa.array([b"plain", "é".encode(), b"\xff", None, b""], pa.binary())
    column = raw.dictionary_encode().cast(type_) if pa.types.is_dictionary(type_) else raw.cast(type_)
    found, counts, _ = read(write(pa.table({"text": column})))
    assert found == ["plain", "é", ""]
    assert counts.quarantined == {"not_utf8": 1, "text_not_string": 1}


@pytest.mark.parametrize("type_", [pa.large_string(), pa.string_view(), pa.dictionary(pa.int8(), pa.string())])
def test_every_kind_of_string_is_text(write: Callable[[pa.Table], InputFile], type_: pa.DataType) -> None:
    raw = pa.array(["plain", "é", None, ""])
    column = raw.dictionary_encode().cast(type_) if pa.types.is_dictionary(type_) else raw.cast(type_)
    assert read(write(pa.table({"text": column})))[0] == ["plain", "é", ""]


@pytest.mark.parametrize("kind", [pa.list_, pa.large_list, lambda t: pa.list_(t, 2)])
def test_messages_in_every_kind_of_list(write: Callable[[pa.Table], InputFile], kind: Any) -> None:
    message = pa.struct([("content", pa.binary()), ("when", pa.date32()), ("n", pa.int64())])
    rows = [[{"content": b"a", "when": None, "n": 1}, {"content": b"b", "when": None, "n": 2}]] * 2
    file = write(pa.table({"messages": pa.array(rows, kind(message))}))
    assert read(file, text_column="messages[*].content")[0] == ["a\nb", "a\nb"]


def test_bad_bytes_in_a_leaf_cost_their_row_only_where_it_is_read(write: Callable[[pa.Table], InputFile]) -> None:
    bad = pa.Array.from_buffers(pa.string(), 2, pa.array([b"\xff", b"x"], pa.binary()).buffers())
    doc = pa.StructArray.from_arrays([pa.array(["a", "b"]), bad], ["text", "note"])
    file = write(pa.table({"doc": doc}))
    assert read(file, text_column="doc.text")[0] == ["a", "b"]
    found, counts, _ = read(file, text_column="doc.note")
    assert found == ["x"]
    assert counts.quarantined == {"not_utf8": 1}


# A reader that crashes


def _die(number: int) -> None:
    os.kill(os.getpid(), number)


def _batches_and_die(n: int) -> Any:
    for i in range(n):
        yield pa.record_batch({"n": [i]})
    os.kill(os.getpid(), signal.SIGSEGV)


def test_a_crash_is_an_error_of_the_call_and_the_next_call_works() -> None:
    for number, name in ((signal.SIGSEGV, "SIGSEGV"), (signal.SIGABRT, "SIGABRT")):
        with pytest.raises(reader_process.ReaderCrashed, match=rf"the reader crashed \({name}\)"):
            reader_process.call(_die, number)
        assert reader_process.call(abs, -1) == 1


def test_a_reader_that_somebody_kills_is_no_fault_of_the_file() -> None:
    with pytest.raises(IncompleteError, match=r"was ended \(SIGKILL\), perhaps for lack of memory"):
        reader_process.call(_die, signal.SIGKILL)


def test_batches_before_a_crash_are_kept() -> None:
    found = []
    with pytest.raises(reader_process.ReaderCrashed):
        found += [b["n"][0].as_py() for b in reader_process.stream(_batches_and_die, 3)]
    batches = reader_process.stream(_batches_and_die, 3)
    assert [next(batches)["n"][0].as_py() for _ in range(3)] == [0, 1, 2]
    batches.close()  # type: ignore[attr-defined]
    assert reader_process.call(abs, -2) == 2


def test_errors_come_through_as_they_are() -> None:
    with pytest.raises(ValueError, match="invalid literal"):
        reader_process.call(int, "x")


def test_a_generator_left_early_leaves_the_process_in_use() -> None:
    pid = reader_process.call(os.getpid)
    assert pid != os.getpid()
    batches = reader_process.stream(_batches_and_die, 5)
    next(batches)
    batches.close()  # type: ignore[attr-defined]
    assert reader_process.call(os.getpid) == pid


@pytest.mark.parametrize(
    ("name", "column", "rows"),
    [("4233-x.arrow", "", 0), ("4287-z.parquet", "", 0), ("2668-x.parquet", "", 20), ("73-y.parquet", "n.a", 0)],
)
def test_files_on_which_the_native_reader_fails(name: str, column: str, rows: int) -> None:
    path = CASES / "fuzz" / name
    if not path.exists():
        pytest.skip("the cases (../shared/cases) are not on this machine")
    found, counts, _ = read(InputFile(name, str(path), path.suffix[1:], ""), text_column=column)
    assert len(found) == rows
    assert counts.is_broken


def test_damage_in_a_column_that_is_not_read_costs_nothing() -> None:
    path = CASES / "fuzz" / "73-y.parquet"
    if not path.exists():
        pytest.skip("the cases (../shared/cases) are not on this machine")
    found, counts, _ = read(InputFile(path.name, str(path), "parquet", ""))
    assert (len(found), counts.is_broken) == (60, False)


# Parts of an earlier reader


@pytest.mark.parametrize(
    ("table", "documents", "entry"),
    [
        (
            pa.table({"text": pa.array([b"a", b"b"])}),
            0,
            b'{"row":0,"reason":"text_not_string","head":"{\'text\': b\'a\'}"}\n',
        ),
        (
            pa.table({"text": ["a", "b"]}),
            1,
            b'{"row":1,"reason":"broken_file","message":"damaged parquet data: year 15659 is out of range"}\n',
        ),
    ],
)
def test_what_an_earlier_reader_refused_is_read_again_once(
    tmp_path: Path, table: pa.Table, documents: int, entry: bytes
) -> None:
    pq.write_table(table, tmp_path / "x.parquet")
    out = tmp_path / "out"
    options: dict[str, Any] = {"input": str(tmp_path / "x.parquet"), "output": str(out), "taggers": ["length"]}
    assert run("tag", **options).counts.documents == 2
    part = out / "attributes/length/x.parquet/part-00000.parquet"
    right = part.read_bytes()
    # As the earlier reader left it: the same key, other counts.
    stored = pq.read_table(part).slice(0, documents)
    metadata = dict(stored.schema.metadata)
    counts = json.loads(metadata[b"tagcorpus.counts"]) | {"documents": documents, "read": documents}
    counts |= {"lines": 2 if not documents else 1, "unreadable": documents}
    counts["quarantined"] = {"text_not_string": 2} if not documents else {"broken_file": 1}
    stored = stored.replace_schema_metadata(metadata | {b"tagcorpus.counts": json.dumps(counts).encode()})
    pq.write_table(stored, part)
    quarantined = out / "quarantine/x.parquet/part-00000.jsonl"
    quarantined.parent.mkdir(parents=True)
    quarantined.write_bytes(entry)
    assert run("tag", **options).counts.documents == 2
    assert part.read_bytes() == right
    assert not quarantined.exists()


def test_a_part_that_is_cut_short_by_damage_is_not_computed_again(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    pq.write_table(texts(3000), path, row_group_size=1000, write_page_checksum=True)
    data = bytearray(path.read_bytes())
    data[pq.ParquetFile(path).metadata.row_group(2).column(0).data_page_offset + 100] ^= 0xFF
    path.write_bytes(data)
    options: dict[str, Any] = {"input": str(path), "output": str(tmp_path / "out"), "taggers": ["length"]}
    assert run("tag", **options).exit_code == 1
    part = tmp_path / "out/attributes/length/x.parquet/part-00000.parquet"
    before = part.stat().st_mtime_ns
    assert run("tag", **options).exit_code == 1
    assert part.stat().st_mtime_ns == before


# In a store


def test_a_table_in_a_store_crosses_the_network_once_when_it_is_read() -> None:
    fs = fsspec.filesystem("memory")
    rng = random.Random(1)
    table = pa.table(
        {"text": [rng.randbytes(40).hex() for _ in range(20_000)], "other": [rng.random() for _ in range(20_000)]}
    )
    data = parquet_bytes(table, 5000, use_dictionary=False)
    with fs.open("/ends/x.parquet", "wb") as sink:
        sink.write(data)
    fetched: list[int] = []

    class Counting(InputFile):
        def open(self) -> Any:
            source: Any = super().open()
            read = source.read

            def counted(n: int = -1) -> bytes:
                block = read(n)
                fetched.append(len(block))
                return bytes(block)

            source.read = counted
            return source

    file = Counting("x.parquet", "memory://ends/x.parquet", "parquet", "")
    chunks = tables.index(file, 1 << 30, DocumentFields().top_columns())
    planned = sum(fetched)
    fetched.clear()
    assert read(file, chunks)[0] == table["text"].to_pylist()
    assert sum(fetched) < 1.2 * planned < 1.2 * len(data)
    with fs.open("/ends/x.parquet", "wb") as sink:
        sink.write(parquet_bytes(table.slice(0, 10), 5000))
    reader_process._thread.reader = (
        None  # this store says nothing by which an open file would be known to be an old one
    )
    with pytest.raises(IncompleteError):
        read(file, chunks)
