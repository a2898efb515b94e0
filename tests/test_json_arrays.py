"""JSON arrays: every element is a row, whatever its brackets and strings hold and wherever blocks end."""

from __future__ import annotations

import bz2
import gzip
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from profiles import more

from tagcorpus.errors import IncompleteError
from tagcorpus.pipelines.formats import json_arrays, lines
from tagcorpus.pipelines.inputs.input_files import InputFile
from tagcorpus.pipelines.inputs.streams import ByteStream
from tagcorpus.pipelines.readers.plan import Index, Indexed, IndexTask
from tagcorpus.pipelines.readers.reader import ChunkReader, ReaderOptions


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("arrays")


def indexed(folder: Path, data: bytes, compression: str = "", max_rows: int | None = None) -> Indexed:
    (folder / "x").write_bytes(data)
    file = InputFile("x.json", str(folder / "x"), "jsonl", compression)
    (found,) = Index([IndexTask(file, max_rows=max_rows)], 1 << 20, ReaderOptions()).run()
    return found


def elements(folder: Path, data: bytes) -> list[bytes]:
    found = indexed(folder, data)
    assert found.file.format == "json"
    stream = ByteStream(found.file)
    try:
        return [line.data for r in found.chunks for line in json_arrays.read(stream, r, 1 << 20, "here")]
    finally:
        stream.close()


def documents(
    folder: Path, data: bytes, compression: str = "", **how: Any
) -> tuple[list[tuple[int, str]], dict[int, str]]:
    """(row, text) of every document and the reasons in quarantine; the counts are checked."""
    found = indexed(folder, data, compression, how.pop("max_rows", None))
    texts: list[tuple[int, str]] = []
    reasons: dict[int, str] = {}
    for chunk in found.chunks:
        reader = ChunkReader(found.file, chunk, ReaderOptions(**how))
        n = 0
        for batch in reader:
            n += batch.num_rows
            texts += zip(batch.table["row"].to_pylist(), batch.texts, strict=True)
        reader.counts.check(chunk.rows, n, "here")
        reasons |= {e["row"]: e["reason"] for e in reader.quarantine}
    return texts, reasons


values = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(st.sampled_from('a,"\\[]{}é\n:'), max_size=6),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(st.sampled_from('k"]}'), max_size=2), inner, max_size=3)
    ),
    max_leaves=8,
)


@more(2)
@given(
    st.lists(st.dictionaries(st.sampled_from(["text", "id", "]"]), values, max_size=3), min_size=1, max_size=6),
    st.sampled_from([None, 1]),
    st.booleans(),
    st.integers(1, 40),
)
def test_elements_are_those_of_a_json_parser(
    folder: Path, records: list[dict[str, Any]], indent: int | None, is_ascii: bool, block_bytes: int
) -> None:
    data = json.dumps(records, indent=indent, ensure_ascii=is_ascii).encode()
    with pytest.MonkeyPatch.context() as patch:
        for module in (json_arrays, lines):
            patch.setattr(module, "BLOCK_BYTES", block_bytes)
        assert [json.loads(e) for e in elements(folder, data)] == records
        assert [json.loads(e) for e in elements(folder, data + b"\n" + data + b" ")] == [*records, *records]


@pytest.mark.parametrize("compression", ["", "gz", "bz2"])
def test_rows_are_places_in_the_array(tmp_path: Path, compression: str) -> None:
    data = b'\xef\xbb\xbf\n[\n  {"text": "a]", "x": [1, {"y": "}"}]},\n  7,\n  {"text": "b"} ,\n {"text": "c" "d"}, {"text": "e"}\n]\n'
    packed = {"": data, "gz": gzip.compress(data), "bz2": bz2.compress(data)}[compression]
    expected = [(0, "a]"), (2, "b"), (4, "e")], {1: "not_object", 3: "not_json"}
    assert documents(tmp_path, packed, compression) == expected


@pytest.mark.parametrize("data", [b"[]", b"[ ]\n", b"[\n]"])
def test_an_empty_array_has_no_rows(tmp_path: Path, data: bytes) -> None:
    assert documents(tmp_path, data) == ([], {})


def test_joined_arrays_are_read_on(tmp_path: Path) -> None:
    data = b'[{"text": "a"}]\n[{"text": "b"}, {"text": "c"}]\n[]\n\xef\xbb\xbf[{"text": "d"}]'
    assert documents(tmp_path, data) == ([(0, "a"), (1, "b"), (2, "c"), (3, "d")], {})


def test_lines_of_which_the_first_is_an_array_are_lines(tmp_path: Path) -> None:
    data = b'[{"text": "a"}]\n{"text": "b"}\n{"text": "c"}\n'
    assert indexed(tmp_path, data).file.format == "jsonl"
    assert documents(tmp_path, data) == ([(1, "b"), (2, "c")], {0: "not_object"})
    assert documents(tmp_path, b'[1, 2]\n{"text": "b"}\n') == ([(1, "b")], {0: "not_object"})


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (
            b'[{"text": "a"},\n{"text": "b"},\n{"text": "c',
            "the array is not closed: it breaks off in or behind element 2",
        ),
        (b'[{"text": "a"},\n{"text": "b"},\n{"x": {"text": "c"}', "the array is not closed"),
        (b'[{"text": "a"},\n{"text": "b"}]\n{"text": "c"}', "something else than another array is behind the end"),
        (b'[{"text": "a"}, {"text": "b"}]{"text": "c"}', "something else than another array is behind the end"),
        (b'[{"text": "a"}, {"text": "b"}] garbage\n', "something else than another array is behind the end"),
        (b'[{"text": "a"}, {"text": "b"}]\n\0\0\0\0', "something else than another array is behind the end"),
        (b'[{"text": "a"}, {"text": "b"}]\n"c"\n', "something else than another array is behind the end"),
    ],
)
def test_what_breaks_off_is_broken(tmp_path: Path, data: bytes, message: str) -> None:
    texts, reasons = documents(tmp_path, data)
    assert texts == [(0, "a"), (1, "b")]
    assert reasons == {2: "broken_file"}
    assert message in indexed(tmp_path, data).chunks[-1].broken


@pytest.mark.parametrize("first", ["null", "null, null", '"a { b", true', "-1.5e3, false", "null,\n" * 200 + "null"])
def test_the_first_element_need_not_be_an_object(tmp_path: Path, first: str) -> None:
    n = first.count(",") + 1
    texts, reasons = documents(tmp_path, f'[{first}, {{"text": "a"}}]'.encode())
    assert (texts, reasons) == ([(n, "a")], dict.fromkeys(range(n), "not_object"))


def test_lines_of_lists_are_lines(tmp_path: Path) -> None:
    for data in (b'["a", "b"]\n["c", "d"]\n', b"[1, 2]\n", b"[[1], {}]\n", b'["' + b"x" * 600 + b'"]\n'):
        assert indexed(tmp_path, data).file.format == "jsonl"


def test_a_compressed_array_that_breaks_off(tmp_path: Path) -> None:
    whole = json.dumps([{"text": f"text {i} {i * 7919:x}"} for i in range(3000)]).encode()
    packed = gzip.compress(whole)
    texts, reasons = documents(tmp_path, packed[: len(packed) // 2], "gz")
    assert texts == [(i, f"text {i} {i * 7919:x}") for i in range(len(texts))]
    assert 500 < len(texts) < 3000
    assert reasons == {len(texts): "broken_file"}


def test_long_elements_cost_their_row(tmp_path: Path) -> None:
    data = b'[{"text": "a"}, {"text": "' + b"x" * 300 + b'"}, {"text": "b"}' + b" " * 900 + b"]"
    texts, reasons = documents(tmp_path, data, max_line_bytes=200)
    assert texts == [(0, "a")]
    assert reasons == {1: "too_long", 2: "too_long"}
    assert documents(tmp_path, b"[" + b" " * 600 + b'{"text": "a"}]')[0] == [(0, "a")]


@pytest.mark.parametrize("n", [1, 2, 3, 4])
def test_a_limit(tmp_path: Path, n: int) -> None:
    data = b'[{"text": "a"}, {"text": "b"}, {"text": "c"}]\n'
    texts, reasons = documents(tmp_path, data, max_rows=n)
    assert (texts, reasons) == ([(0, "a"), (1, "b"), (2, "c")][:n], {})


def test_a_change_is_noticed(tmp_path: Path) -> None:
    found = indexed(tmp_path, b'[{"text": "a"}]')
    (tmp_path / "x").write_bytes(b'[{"text": "b"}]')
    with pytest.raises(IncompleteError, match="changed while it was being read") as raised:
        list(ChunkReader(found.file, found.chunks[0], ReaderOptions()))
    assert raised.value.misplanned == found.file.path, "so the plan is made anew"


@pytest.mark.e2e
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peak memory is read from /proc (Linux)")
def test_memory_is_bounded(tmp_path: Path) -> None:
    with (tmp_path / "x.json").open("wb") as sink:
        sink.write(b"[")
        for i in range(200):
            sink.write((b"," if i else b"") + b'{"text": "' + b"x" * (1 << 20) + b'"}')
        sink.write(b"]")
    code = (
        "import sys\n"
        "from tagcorpus.pipelines.readers.reader import ChunkReader, ReaderOptions\n"
        "from tagcorpus.pipelines.inputs.input_files import InputFile\n"
        "from tagcorpus.pipelines.readers.plan import Index, IndexTask\n"
        "def peak():\n"
        "    return int(open('/proc/self/status').read().split('VmHWM:')[1].split()[0])\n"
        "before = peak()\n"
        "task = IndexTask(InputFile('x', sys.argv[1], 'jsonl', ''))\n"
        "(found,) = Index([task], 1 << 30, ReaderOptions()).run()\n"
        "print(sum(b.num_rows for b in ChunkReader(found.file, found.chunks[0], ReaderOptions())), peak() - before)\n"
    )
    path = str(tmp_path / "x.json")
    done = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True, check=True)
    rows, grown_kib = done.stdout.split()
    assert rows == "200"
    assert int(grown_kib) < 140 << 10
