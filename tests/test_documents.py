"""Reading chunks of JSONL: every row accounted for, whatever is wrong with it, and no more in memory than a batch."""

from __future__ import annotations

import base64
import gzip
import io
import json
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest
import xxhash
import zstandard
from hypothesis import given
from hypothesis import strategies as st
from profiles import more, one_by_default

from naive import read_jsonl
from tagcorpus.errors import LostRowsError
from tagcorpus.pipelines.formats import lines
from tagcorpus.pipelines.inputs.chunks import Chunk, Counts
from tagcorpus.pipelines.inputs.input_files import InputFile
from tagcorpus.pipelines.inputs.records import DocumentFields
from tagcorpus.pipelines.readers import samples
from tagcorpus.pipelines.readers.reader import BATCH_BYTES, BATCH_ROWS, ChunkReader, ReaderOptions

NAME = "x.jsonl"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("documents")


def write(folder: Path, data: bytes, name: str = NAME) -> InputFile:
    (folder / name).write_bytes(data)
    return InputFile(name, str(folder / name), "jsonl", {"gz": "gz", "zst": "zst"}.get(name.rsplit(".", 1)[-1], ""))


def read(
    file: InputFile, chunks: list[Chunk], reader_options: ReaderOptions
) -> tuple[list[tuple[int, int, str, str]], dict[int, str], Counts]:
    """Documents, what is in quarantine (-1 for damage), and the counts of all ranges, each range checked."""
    documents: list[tuple[int, int, str, str]] = []
    quarantined: dict[int, str] = {}
    counts = Counts()
    for r in chunks:
        reader = ChunkReader(file, r, reader_options)
        published = 0
        for batch in reader:
            assert 0 < batch.num_rows <= BATCH_ROWS
            assert batch.num_rows == 1 or sum(len(t.encode()) for t in batch.texts) <= BATCH_BYTES
            assert batch.table["text"].to_pylist() == batch.texts
            columns = batch.table.select(["row", "sub", "id", "text"]).to_pydict().values()
            documents += list(zip(*columns, strict=True))
            published += batch.num_rows
        reader.counts.check(r.rows, published, "here")
        assert len(reader.quarantine) == reader.counts.quarantined_rows
        quarantined |= {-1 if e["reason"] == "broken_file" else e["row"]: e["reason"] for e in reader.quarantine}
        sink = io.BytesIO()
        reader.quarantine.copy_to(sink)
        assert [json.loads(line) for line in sink.getvalue().splitlines()] == list(reader.quarantine)
        assert xxhash.xxh3_128_hexdigest(sink.getvalue()) == reader.quarantine.digest
        counts.add(reader.counts)
    return documents, quarantined, counts


GOOD = [
    '{"text": "plain"}',
    '{"text": "é😀\\ud83d\\ude00", "id": "0012"}',
    '{"text": "", "id": 18446744073709551617}',
    '{"text": "a\\u0000b", "id": "same"}',
    '{"text": "dup", "id": "same"}',
    '{"text": "lone \\udc00 one", "id": "\\ud800"}',
    '{"content": "c", "x": NaN}',
    '{"raw_content": "r", "doc_id": 1.5}\r',
    '{"doc_id": 3, "resps": [["a", "b"], ["c"]]}',
    '{"resps": [["only"]]}',
]
BAD = [
    b'{"text": "\xff\xfe"}',
    b'{"text": "nul \0"}',
    b"not json",
    b'{"text": "open',
    b"[]",
    b"3",
    b'{"other": "x"}',
    b'{"text": null}',
    b'{"text": 7, "content": "c"}',
    b'{"doc_id": 1, "resps": [[["-1.0", "True"]]]}',
    b'{"text": "' + b"long " * 30 + b'"}',
    b'{"text": ' + b"[" * 30_000 + b"]" * 30_000 + b"}",
]
BLANK = [b"", b" ", b"\t \r", b"\x0b\x0c"]
one_line = st.one_of(
    st.sampled_from([g.encode() for g in GOOD]),
    st.sampled_from([g.encode() for g in GOOD]),
    st.sampled_from(BAD),
    st.sampled_from(BLANK),
    st.binary(max_size=12).map(lambda b: b.replace(b"\n", b"")),
    st.text(max_size=12).map(lambda t: orjson.dumps({"text": t.encode("utf-8", "replace").decode()})),
)


@more(2)
@given(
    st.lists(one_line, max_size=12),
    st.sampled_from([b"", b"\n"]),
    st.sampled_from([b"", b"\xef\xbb\xbf"]),
    st.integers(7, 300),
    st.sampled_from([120, 1 << 20]),
    st.sampled_from(["", ".gz", ".zst"]),
)
def test_reading_is_equal_to_the_naive_reader(
    folder: Path, found: list[bytes], end: bytes, bom: bytes, chunk_bytes: int, max_line_bytes: int, suffix: str
) -> None:
    data = bom + b"\n".join(found) + end
    packed = {"": data, ".gz": gzip.compress(data, 1), ".zst": zstandard.compress(data)}[suffix]
    file = write(folder, packed, NAME + suffix)
    chunks = lines.index(file, chunk_bytes)
    documents, quarantined, counts = read(file, chunks, ReaderOptions(max_line_bytes=max_line_bytes))
    expected, others = read_jsonl(data, max_line_bytes, NAME + suffix)
    # How deep a line may be nested is the interpreter's choice; that it does not vanish is ours.
    assert {r: w for r, w in quarantined.items() if w != "too_deep"} == {
        r: w for r, w in others.items() if w not in ("blank", "too_deep") and quarantined.get(r) != "too_deep"
    }
    assert documents == expected
    assert counts.blank == sum(w == "blank" for w in others.values())
    assert counts.lines == len(others) + len({row for row, *_ in expected})
    assert counts.documents == len(expected)
    assert counts.text_bytes == sum(len(text.encode()) for *_, text in expected)


def test_every_oddity_of_one_file(tmp_path: Path) -> None:
    rows = [
        b'{"id": 0, "text": "zero"}',
        b'{"id": 1, "text": "\xff"}',
        b'{"id": 2, "text": ""}',
        b" ",
        b'{"text": "last"}',
    ]
    file = write(tmp_path, b"\n".join(rows))
    documents, quarantined, counts = read(file, lines.index(file, 1 << 20), ReaderOptions())
    assert documents == [(0, 0, "0", "zero"), (2, 0, "2", ""), (4, 0, "x.jsonl:4", "last")]
    assert quarantined == {1: "not_utf8"}
    assert (counts.lines, counts.read, counts.blank, counts.documents) == (5, 3, 1, 3)


def test_a_quarantine_entry_shows_where_and_what(tmp_path: Path) -> None:
    rows = [b'{"text": "ok"}', "{broken é".encode() + b"x" * 300, b'{"text": "\xff"}', ("é" * 150).encode()]
    file = write(tmp_path, b"\n".join(rows))
    (r,) = lines.index(file, 1 << 20)
    reader = ChunkReader(file, r, ReaderOptions())
    list(reader)
    json_, utf8, cut = reader.quarantine
    assert (json_["row"], json_["offset"], json_["reason"]) == (1, len(rows[0]) + 1, "not_json")
    assert json_["head"] == rows[1][:200].decode()
    assert base64.b64decode(utf8["head_base64"]) == rows[2]
    assert cut["head"] == "é" * 100


def test_repaired_documents_are_counted(tmp_path: Path) -> None:
    file = write(tmp_path, b'{"text": "\\ud800"}\n{"text": "a", "id": "\\udfff"}\n{"text": "fine"}\n')
    documents, _, counts = read(file, lines.index(file, 1 << 20), ReaderOptions())
    assert counts.repaired == 2
    assert documents[0][3] == documents[1][2] == "\ufffd"


@pytest.mark.parametrize("n", [1, BATCH_ROWS, BATCH_ROWS + 1, 3 * BATCH_ROWS - 1])
def test_a_batch_closes_at_its_rows(tmp_path: Path, n: int) -> None:
    file = write(tmp_path, b'{"text": "x"}\n\n' * n)
    (r,) = lines.index(file, 1 << 30)
    sizes = [b.num_rows for b in ChunkReader(file, r, ReaderOptions())]
    assert sizes == [BATCH_ROWS] * (n // BATCH_ROWS) + [n % BATCH_ROWS] * (n % BATCH_ROWS > 0)


def test_a_batch_closes_at_its_bytes(tmp_path: Path) -> None:
    texts = ["é" * (1 << 19), "x" * (1 << 20), "é" * (1 << 20), "y", "z" * (5 << 20), "a"]  # 1, 1, 2, -, 5 MiB, -
    file = write(tmp_path, b"".join(orjson.dumps({"text": t}) + b"\n" for t in texts))
    (r,) = lines.index(file, 1 << 30)
    assert [[len(t) for t in b.texts] for b in ChunkReader(file, r, ReaderOptions())] == [
        [len(t) for t in part] for part in (texts[:3], texts[3:4], texts[4:5], texts[5:])
    ]


def test_only_the_range_decides_where_batches_close(tmp_path: Path) -> None:
    file = write(tmp_path, b"".join(b'{"text": "%d"}\n' % i for i in range(5000)))
    chunks = lines.index(file, 20_000)
    assert len(chunks) > 3
    alone = [[b.texts for b in ChunkReader(file, r, ReaderOptions())] for r in reversed(chunks)]
    assert alone[::-1] == [[b.texts for b in ChunkReader(file, r, ReaderOptions())] for r in chunks]


def test_conservation_is_checked() -> None:
    counts = Counts(lines=5, read=3, blank=1, documents=3, quarantined=Counter(not_json=1))
    counts.check(5, 3, "here")
    with pytest.raises(LostRowsError, match="6 rows are planned, 5 were read"):
        counts.check(6, 3, "here")
    with pytest.raises(LostRowsError, match="3 documents were read, 2 would have been published"):
        counts.check(5, 2, "here")
    counts.blank = 0
    with pytest.raises(LostRowsError, match="4 are accounted for"):
        counts.check(5, 3, "here")


@pytest.mark.parametrize("suffix", [".gz", ".zst"])
def test_rows_before_a_break_are_read_and_the_break_is_one_entry(tmp_path: Path, suffix: str) -> None:
    data = b"".join(orjson.dumps({"id": i, "text": f"{i * 7919:x} " * 20}) + b"\n" for i in range(6000))
    packed = gzip.compress(data, 1) if suffix == ".gz" else zstandard.compress(data)
    file = write(tmp_path, packed[: len(packed) * 2 // 3], NAME + suffix)
    chunks = lines.index(file, 100_000)
    documents, quarantined, counts = read(file, chunks, ReaderOptions())
    assert len(documents) > 1000
    assert [d[2] for d in documents] == [str(i) for i in range(len(documents))]
    assert quarantined == {-1: "broken_file"}
    assert counts.is_broken


# Evaluation-harness samples


def sample(doc_id: Any, resps: Any, filter_: str | None = None, **more: Any) -> bytes:
    return orjson.dumps({"doc_id": doc_id, **({"filter": filter_} if filter_ else {}), "resps": resps, **more})


def index_samples(file: InputFile, chunk_bytes: int, reader_options: ReaderOptions) -> list[Chunk]:
    """Ranges as the plan has them."""
    chunks = lines.index(file, chunk_bytes)
    skipped = (
        samples.duplicates(file, chunks, reader_options) if samples.has_filters(file, chunks, reader_options) else []
    )
    return [
        replace(
            r,
            skipped=tuple(
                (max(a, r.first_row), min(b, r.first_row + r.rows))
                for a, b in skipped
                if a < r.first_row + r.rows and b > r.first_row
            ),
        )
        for r in chunks
    ]


@pytest.mark.parametrize("suffix", ["", ".gz", ".zst"])
@pytest.mark.parametrize("chunk_bytes", [16, 200, 1 << 20])
def test_lines_that_differ_only_in_filter_count_once(tmp_path: Path, suffix: str, chunk_bytes: int) -> None:
    rows = [
        sample(0, [["a"]], "strict", exact_match=0.0),
        sample(1, [["b"]], "strict"),
        sample(0, [["a"]], "flexible", exact_match=1.0),
        sample(1, [["other"]], "flexible"),
        sample("0", [["a"]], "flexible"),
        sample(1, [["b"]], "strict"),
        sample(2, [["c"]]),
        sample(1, [["b"]], "third"),
        b"not json",
        sample(0, [["a"]], "third"),
    ]
    data = b"\n".join(rows)
    packed = {"": data, ".gz": gzip.compress(data, 1), ".zst": zstandard.compress(data)}[suffix]
    file = write(tmp_path, packed, NAME + suffix)
    documents, quarantined, counts = read(file, index_samples(file, chunk_bytes, ReaderOptions()), ReaderOptions())
    assert [d[0] for d in documents] == [0, 1, 3, 4, 5, 6]
    assert counts.filter_duplicates == 3
    assert quarantined == {8: "not_json"}


def test_samples_without_an_id_or_with_a_text_are_not_compared(tmp_path: Path) -> None:
    rows = [b'{"filter": "a", "resps": [["yes"]]}', b'{"filter": "b", "resps": [["yes"]]}']
    file = write(tmp_path, b"\n".join(rows))
    assert read(file, index_samples(file, 1 << 20, ReaderOptions()), ReaderOptions())[2].filter_duplicates == 0
    rows = [sample(1, [["yes"]], f, text="t") for f in "ab"]
    file = write(tmp_path, b"\n".join(rows))
    assert read(file, index_samples(file, 1 << 20, ReaderOptions()), ReaderOptions())[2].filter_duplicates == 0
    told = ReaderOptions(DocumentFields(is_resps=True))
    assert read(file, index_samples(file, 1 << 20, told), told)[2].filter_duplicates == 1


@given(
    st.lists(st.tuples(st.integers(0, 2), st.sampled_from("ab"), st.sampled_from(["x", "y", "z"])), min_size=1),
    st.integers(16, 400),
)
def test_filter_duplicates_against_a_dictionary(
    folder: Path, drawn: list[tuple[int, str, str]], chunk_bytes: int
) -> None:
    file = write(folder, b"\n".join(sample(i, [[resp]], f) for i, resp, f in drawn))
    documents, _, counts = read(file, index_samples(file, chunk_bytes, ReaderOptions()), ReaderOptions())
    first: dict[tuple[int, str], str] = {}
    kept = [row for row, (i, resp, f) in enumerate(drawn) if first.setdefault((i, resp), f) == f]
    assert [d[0] for d in documents] == kept
    assert counts.filter_duplicates == len(drawn) - len(kept)


def test_deeply_nested_samples_are_no_samples(tmp_path: Path) -> None:
    deep = b'{"doc_id": 1, "filter": "a", "resps": ' + b"[" * 5000 + b"]" * 5000 + b"}"
    file = write(tmp_path, sample(1, [["a"]], "a") + b"\n" + deep)
    _, quarantined, _ = read(file, index_samples(file, 1 << 20, ReaderOptions()), ReaderOptions())
    assert quarantined[1] in ("too_deep", "text_not_string")


# Samples of rows


def test_a_sample_of_rows_does_not_depend_on_ranges(tmp_path: Path) -> None:
    file = write(tmp_path, b"".join(b'{"text": "%d"}\n' % i for i in range(4000)))
    reader_options = ReaderOptions(sample=0.25, seed=3)
    whole, _, counts = read(file, lines.index(file, 1 << 30), reader_options)
    assert whole == read(file, lines.index(file, 500), reader_options)[0]
    assert 850 < len(whole) < 1150
    assert counts.unsampled == 4000 - len(whole)
    assert whole != read(file, lines.index(file, 1 << 30), ReaderOptions(sample=0.25, seed=4))[0]
    larger = {d[0] for d in read(file, lines.index(file, 1 << 30), ReaderOptions(sample=0.5, seed=3))[0]}
    assert {d[0] for d in whole} <= larger


# Memory


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peak memory is read from /proc (Linux)")
@pytest.mark.parametrize("suffix", one_by_default(".zst", ""))
def test_a_giant_line_is_skipped_without_buffering(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / (NAME + suffix)
    with path.open("wb") as raw:
        sink = zstandard.ZstdCompressor(level=1).stream_writer(raw) if suffix else raw
        sink.write(b'{"text": "before"}\n{"text": "')
        for i in range(200):
            sink.write(bytes([97 + i % 26]) * (1 << 20))
        sink.write(b'"}\n{"text": "after"}\n')
        if suffix:
            sink.close()
    code = (
        "import sys\n"
        "from tagcorpus.pipelines.formats import lines\n"
        "from tagcorpus.pipelines.readers.reader import ChunkReader, ReaderOptions\n"
        "from tagcorpus.pipelines.inputs.input_files import InputFile\n"
        f"file = InputFile('x', sys.argv[1], 'jsonl', {suffix[1:]!r})\n"
        # Not ru_maxrss: that begins with the memory of the process that started this one.
        "def peak():\n"
        "    return int(open('/proc/self/status').read().split('VmHWM:')[1].split()[0])\n"
        "before = peak()\n"
        "found = []\n"
        "for r in lines.index(file, 64 << 20):\n"
        "    reader = ChunkReader(file, r, ReaderOptions())\n"
        "    found += [t for b in reader for t in b.texts] + [e['reason'] for e in reader.quarantine]\n"
        "print(*found, peak() - before)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True)
    *found, grown_kib = done.stdout.split()
    assert sorted(found) == ["after", "before", "too_long"]
    assert int(grown_kib) < 100 << 10, "the line has 200 MiB, max_line_bytes is 32 MiB"
