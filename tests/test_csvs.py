"""CSV files: records that span lines, cut at record borders, and what becomes of the bad ones."""

from __future__ import annotations

import csv
import gzip
import io
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from profiles import more

from tagcorpus.errors import IncompleteError
from tagcorpus.pipelines.formats import csv_records
from tagcorpus.pipelines.inputs.chunks import Chunk, Counts
from tagcorpus.pipelines.inputs.input_files import InputFile
from tagcorpus.pipelines.inputs.records import DocumentFields
from tagcorpus.pipelines.readers.reader import ChunkReader, ReaderOptions

LIMIT = 1 << 20


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("csvs")


def write(folder: Path, data: bytes, name: str = "x.csv") -> InputFile:
    (folder / name).write_bytes(data)
    return InputFile(name, str(folder / name), "csv", "gz" if name.endswith("gz") else "")


def read(
    file: InputFile, shard_bytes: int = 1 << 30, limit: int = LIMIT, chunks: list[Chunk] | None = None, **fields: Any
) -> tuple[list[tuple[int, str, str]], dict[int, str], Counts]:
    """(row, id, text) of every document, what is in quarantine, and the counts; every range is checked."""
    documents: list[tuple[int, str, str]] = []
    quarantined: dict[int, str] = {}
    counts = Counts()
    for r in chunks or csv_records.index(file, shard_bytes, limit):
        reader = ChunkReader(file, r, ReaderOptions(DocumentFields(**fields), max_line_bytes=limit))
        published = 0
        for batch in reader:
            documents += list(zip(*batch.table.select(["row", "id", "text"]).to_pydict().values(), strict=True))
            published += batch.num_rows
        reader.counts.check(r.rows, published, "here")
        quarantined |= {e["row"]: e["reason"] for e in reader.quarantine}
        counts.add(reader.counts)
    return documents, quarantined, counts


def encoded(rows: list[list[str]], end: str = "\n", quoting: Any = csv.QUOTE_MINIMAL) -> bytes:
    sink = io.StringIO()
    csv.writer(sink, lineterminator=end, quoting=quoting).writerows(rows)
    return sink.getvalue().encode()


cells = st.text(st.sampled_from('ab,"\n\ré 😀;\t'), max_size=8)


@more(2)
@given(
    st.lists(st.tuples(cells, cells), max_size=12),
    st.sampled_from(["\n", "\r\n"]),
    st.integers(7, 80),
    st.sampled_from(["x.csv", "x.csv.gz"]),
)
def test_a_table_reads_as_python_reads_it(
    folder: Path, rows: list[tuple[str, str]], end: str, shard_bytes: int, name: str
) -> None:
    data = encoded([["id", "text"], *(list(r) for r in rows)], end, csv.QUOTE_ALL)
    file = write(folder, gzip.compress(data, 1) if name.endswith("gz") else data, name)
    documents, quarantined, _ = read(file, shard_bytes)
    assert not quarantined
    assert documents == [(i, id_, text) for i, (id_, text) in enumerate(rows)]
    expected = list(csv.DictReader(io.StringIO(data.decode(), newline="")))
    assert [(d[1], d[2]) for d in documents] == [(r["id"], r["text"]) for r in expected]
    chunks = csv_records.index(file, shard_bytes, LIMIT)
    assert [r.end for r in chunks[:-1]] == [r.start for r in chunks[1:]]
    assert chunks[-1].end == len(data)
    assert all(r.rows > 0 for r in chunks) or not rows


@more(2)
@given(st.text(st.sampled_from('ab,"\\\n\r\0'), max_size=60), st.integers(7, 40), st.sampled_from([20, LIMIT]))
def test_any_bytes_are_accounted_for_the_same_way_in_all_ranges(
    folder: Path, body: str, shard_bytes: int, limit: int
) -> None:
    file = write(folder, b"id,text\n" + body.encode())
    whole = read(file, 1 << 30, limit)
    assert read(file, shard_bytes, limit)[:2] == whole[:2]
    assert whole[2].documents + whole[2].blank + len(whole[1]) == whole[2].lines


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_oddities(tmp_path: Path, end: str) -> None:
    rows = [
        "id,text",
        '1,"two\nlines, and ""quotes"""',
        "2,bad \\ff bytes",
        "",
        "3,too,many",
        "4",
        "0012,",
        '5,in"side',
        "  ",
        "6,nul\0",
        "7,a\rb",
        "8,last",
    ]
    data = end.join(rows).encode().replace(b"\\ff", b"\xff")
    documents, quarantined, counts = read(write(tmp_path, data))
    assert documents == [
        (0, "1", 'two\nlines, and "quotes"'),
        (5, "0012", ""),
        (6, "5", 'in"side'),
        (9, "7", "a\rb"),
        (10, "8", "last"),
    ]
    assert quarantined == {1: "not_utf8", 3: "bad_csv", 4: "bad_csv", 8: "nul"}
    assert counts.blank == 2
    assert read(write(tmp_path, data), 7)[:2] == (documents, quarantined)


@pytest.mark.parametrize(
    ("head", "names"),
    [
        (b"\xef\xbb\xbftext,id\n", ["text", "id"]),
        (b'\xef\xbb\xbf"text","i,d"\r\n', ["text", "i,d"]),
        (b'\n\r\n"te\nxt",id\n', ["te\nxt", "id"]),
        (b"text", ["text"]),
        (b"", []),
    ],
)
def test_headers(tmp_path: Path, head: bytes, names: list[str]) -> None:
    assert csv_records.header(write(tmp_path, head), LIMIT) == (names, len(head))


@pytest.mark.parametrize("data", [b"", b"\n", b"text,id", b"text,id\n"])
def test_a_file_without_records_is_one_range_without_rows(tmp_path: Path, data: bytes) -> None:
    file = write(tmp_path, data)
    (only,) = csv_records.index(file, 7, LIMIT)
    assert (only.start, only.end, only.rows, only.broken) == (len(data), len(data), 0, "")
    assert read(file)[0] == []


@pytest.mark.parametrize("limit", [500, LIMIT], ids=["too long", "to the end"])
@pytest.mark.parametrize("shard_bytes", [400, 1 << 30])
@pytest.mark.parametrize("name", ["x.csv", "x.csv.gz"])
def test_a_quote_that_is_never_closed_costs_its_line_only(
    tmp_path: Path, limit: int, shard_bytes: int, name: str
) -> None:
    lines = [f"{i},text {i}" for i in range(1000)]
    lines[10] = '10,"never closed'
    data = "\n".join(["id,text", *lines]).encode()
    file = write(tmp_path, gzip.compress(data) if name.endswith("gz") else data, name)
    documents, quarantined, counts = read(file, shard_bytes, limit)
    assert documents == [(i, str(i), f"text {i}") for i in range(1000) if i != 10]
    assert quarantined == {10: "unclosed_quote"}
    assert counts.lines == 1000
    chunks = csv_records.index(file, shard_bytes, limit)
    assert [r.end for r in chunks[:-1]] == [r.start for r in chunks[1:]]
    assert chunks[-1].end == len(data)


@pytest.mark.parametrize("end", ["", "\n"])
def test_a_quote_that_the_last_line_opens(tmp_path: Path, end: str) -> None:
    file = write(tmp_path, b'id,text\n1,a\n2,"b' + end.encode())
    for chunks in (csv_records.index(file, 1 << 30, LIMIT), csv_records.index(file, 1 << 30, LIMIT, max_rows=2)):
        assert read(file, chunks=chunks)[:2] == ([(0, "1", "a")], {1: "unclosed_quote"})
    (one,) = csv_records.index(file, 1 << 30, LIMIT, max_rows=1)
    assert read(file, chunks=[one])[:2] == ([(0, "1", "a")], {})


def test_a_line_that_is_too_long_after_an_unclosed_quote(tmp_path: Path) -> None:
    data = b'id,text\n1,"open\n2,' + b"x" * (5 << 20) + b"\n3,after\n"
    for file in (write(tmp_path, data), write(tmp_path, gzip.compress(data, 1), "x.csv.gz")):
        assert read(file, limit=2 << 20)[:2] == ([(1, "3", "after")], {0: "too_long"})
        assert read(file, 100, limit=2 << 20)[:2] == ([(1, "3", "after")], {0: "too_long"})


def test_stray_quotes_are_recognised_a_bounded_number_of_times(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(csv_records, "CUTS_AT_MOST", 60)
    clean = "".join(f"{i},text\n" for i in range(csv_records.STRAY_LINES))
    n = csv_records.CUTS_AT_MOST + 3
    file = write(tmp_path, b"id,text\n" + f'x,"stray\n{clean}'.encode() * n)
    documents, quarantined, _ = read(file)
    assert len(csv_records.index(file, 1 << 30, LIMIT)) == csv_records.CUTS_AT_MOST + 1
    assert len(documents) >= csv_records.CUTS_AT_MOST * csv_records.STRAY_LINES
    assert {text for _, _, text in documents} == {"text"}
    assert set(quarantined.values()) == {"unclosed_quote", "bad_csv"}
    assert read(file, 70)[:2] == (documents, quarantined)


@pytest.mark.parametrize(
    ("limit", "problem", "end"),
    [(LIMIT, "unclosed_quote", ""), (20, "too_long", '"\n4,c\n'), (20, "unclosed_quote", "")],
)
def test_a_header_that_cannot_be_read(tmp_path: Path, limit: int, problem: str, end: str) -> None:
    file = write(tmp_path, b'id,"text\n1,a\n2,b\n3,some more\n' + end.encode())
    (only,) = csv_records.index(file, 7, limit)
    assert only.broken.startswith(f"the header cannot be read ({problem}: ")
    assert read(file, limit=limit)[:2] == ([], {0: "broken_file"})


def test_many_fields_together_are_one_record_that_is_too_long(tmp_path: Path) -> None:
    data = b"text,id\n" + b'"a\n",' * 200 + b"x\nfine,1\n"
    for shard_bytes in (50, 1 << 30):
        assert read(write(tmp_path, data), shard_bytes, limit=500)[:2] == ([(1, "1", "fine")], {0: "too_long"})


def test_another_header_is_another_content(tmp_path: Path) -> None:
    before = csv_records.index(write(tmp_path, b"text,note\na,b\n"), 1 << 20, LIMIT)
    after = csv_records.index(write(tmp_path, b"note,text\na,b\n"), 1 << 20, LIMIT)
    assert before[0].digest != after[0].digest
    with pytest.raises(IncompleteError, match="changed while it was being read"):
        read(write(tmp_path, b"note,text\na,b\n"), chunks=before)


def test_an_appended_record_leaves_the_ranges_before_the_last(tmp_path: Path) -> None:
    data = encoded([["id", "text"], *([str(i), "x\ny" * 5] for i in range(50))])
    before = csv_records.index(write(tmp_path, data), 100, LIMIT)
    after = csv_records.index(write(tmp_path, data + b"50,new\n"), 100, LIMIT)
    assert len(before) > 5
    assert after[: len(before) - 1] == before[:-1]


@pytest.mark.parametrize("limit", [1, 3, 50, 51, 1000])
def test_a_limit_takes_the_first_records(tmp_path: Path, limit: int) -> None:
    file = write(tmp_path, encoded([["id", "text"], *([str(i), "x\ny"] for i in range(51))]))
    documents = read(file, chunks=csv_records.index(file, 60, LIMIT, max_rows=limit))[0]
    assert [d[1] for d in documents] == [str(i) for i in range(min(limit, 51))]


def test_records_before_a_break_count(tmp_path: Path) -> None:
    data = encoded([["id", "text"], *([str(i), f"{i * 7919:x}\n{i}"] for i in range(2000))])
    packed = gzip.compress(data)
    for keep in (5, 40, 500, 5000, len(packed) - 1):
        file = write(tmp_path, packed[:keep], "x.csv.gz")
        chunks = csv_records.index(file, 1000, LIMIT)
        assert [bool(r.broken) for r in chunks] == [False] * (len(chunks) - 1) + [True]
        documents = read(file, chunks=chunks)[0]
        assert documents == [(i, str(i), f"{i * 7919:x}\n{i}") for i in range(len(documents))]
    assert len(documents) > 1900


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peak memory is read from /proc (Linux)")
def test_a_giant_line_is_not_buffered(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    with path.open("wb") as sink:
        sink.write(b"id,text\n1,before\n2,")
        for _ in range(200):
            sink.write(b"x" * (1 << 20))
        sink.write(b"\n3,after\n")
    code = (
        "import sys\n"
        "from tagcorpus.pipelines.formats import csv_records as csvs\n"
        "from tagcorpus.pipelines.readers.reader import ChunkReader, ReaderOptions\n"
        "from tagcorpus.pipelines.inputs.input_files import InputFile\n"
        "file = InputFile('x', sys.argv[1], 'csv', '')\n"
        # Not ru_maxrss: that begins with the memory of the process that started this one.
        "def peak():\n"
        "    return int(open('/proc/self/status').read().split('VmHWM:')[1].split()[0])\n"
        "before = peak()\n"
        "(r,) = csvs.index(file, 1 << 30, 32 << 20)\n"
        "reader = ChunkReader(file, r, ReaderOptions())\n"
        "print(*(t for b in reader for t in b.texts), *(e['reason'] for e in reader.quarantine), "
        "peak() - before)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True)
    *found, grown_kib = done.stdout.split()
    assert found == ["before", "after", "too_long"]
    assert int(grown_kib) < 80 << 10
