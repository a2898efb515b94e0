"""Tables in a store: this process reads the store, another one the table, so that a crash costs the file only."""

from __future__ import annotations

import fcntl
import gc
import io
import os
import signal
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import tagcorpus
from tagcorpus.errors import IncompleteError
from tagcorpus.pipelines.formats import reader_process, tables
from tagcorpus.pipelines.formats.lent_files import LentFile
from tagcorpus.pipelines.inputs.input_files import InputFile
from tagcorpus.pipelines.inputs.streams import Damaged

TABLE = pa.table({"text": [f"text {i}" for i in range(3000)], "n": range(3000)})
COLUMNS = tables.Columns(("text",), ("text",))


@pytest.fixture(autouse=True)
def _fresh_reader() -> Iterator[None]:
    reader_process._thread.reader = None
    yield
    reader_process._thread.reader = None


def stored(name: str, data: bytes) -> InputFile:
    with fsspec.filesystem("memory").open(f"/lent/{name}", "wb") as sink:
        sink.write(data)
    return InputFile(name, f"memory://lent/{name}", name.rpartition(".")[2], "")


def of_format(format_: str) -> bytes:
    sink = io.BytesIO()
    if format_ == "parquet":
        pq.write_table(TABLE, sink, row_group_size=1000)
    else:
        make = pa.ipc.new_file if format_ == "file" else pa.ipc.new_stream
        with make(sink, TABLE.schema) as writer:
            writer.write_table(TABLE, 1000)
    return sink.getvalue()


def texts(file: InputFile) -> list[str]:
    chunks = tables.index(file, 1 << 14, ["text"])
    assert not any(r.broken for r in chunks)
    assert len(chunks) > 1
    return [t for r in chunks for batch in tables.read(file, r, COLUMNS) for t in batch["text"].to_pylist()]


@pytest.mark.parametrize(("name", "kind"), [("a.parquet", "parquet"), ("a.arrow", "file"), ("b.arrow", "stream")])
def test_every_kind_of_table(name: str, kind: str) -> None:
    assert texts(stored(name, of_format(kind))) == TABLE["text"].to_pylist()


def _die_with(source: Any) -> None:
    assert source.read(4)
    os.kill(os.getpid(), signal.SIGSEGV)


def test_a_crash_costs_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    file = stored("a.parquet", of_format("parquet"))
    (chunk,) = tables.index(file, 1 << 30, ["text"])
    reader_process._thread.reader = None
    with monkeypatch.context() as patch:
        patch.setattr(tables, "ParquetTable", _die_with)
        with pytest.raises(Damaged, match=r"^the reader crashed \(SIGSEGV\)$"):
            list(tables.read(file, chunk, COLUMNS))
        assert tables.index(file, 1 << 30, ["text"])[0].broken == "the reader crashed (SIGSEGV)"
    assert texts(file) == TABLE["text"].to_pylist()


def test_what_fails_in_the_store_is_no_damage() -> None:
    class Failing(InputFile):
        def open(self) -> Any:
            raise IncompleteError("the store does not answer")

    file = stored("a.parquet", of_format("parquet"))
    failing = Failing(file.name, file.path, file.format, "")
    with pytest.raises(IncompleteError, match="the store does not answer"):
        tables.index(failing, 1 << 30, ["text"])
    assert texts(file), "the reader is still there"


def _ends(file: InputFile) -> tuple[list[bytes], bool]:
    with file.open() as source:
        found = [source.read(4)]
        source.seek(-4, 2)
        found += [source.read(), source.read(1)]
        source.seek(2)
        source.seek(1, 1)
        found.append(source.read(2))
        return found, source.tell() == 5 and isinstance(file, LentFile)


def test_reads_and_seeks() -> None:
    file = stored("x.parquet", b"0123456789")
    assert reader_process.call(_ends, file) == ([b"0123", b"6789", b"", b"34"], True)


def test_local_files_are_opened_by_the_reader(tmp_path: Any) -> None:
    (tmp_path / "x").write_bytes(b"0123456789")
    assert reader_process.call(_ends, InputFile("x", str(tmp_path / "x"), "parquet", ""))[1] is False


def test_the_reader_lets_go_of_the_files_of_its_parent(tmp_path: Path) -> None:
    """A lock of the program's own ends when the program closes its file, though the reader's process lives on."""
    pq.write_table(pa.table({"text": ["a b c"]}), tmp_path / "a.parquet")
    with (tmp_path / "lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        result = tagcorpus.run(
            "tag", input=tmp_path / "a.parquet", output=tmp_path / "out", taggers="length", workers=1
        )
        assert result.counts.documents == 1
    with (tmp_path / "lock").open("w") as again:
        fcntl.flock(again, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _read_after_collecting(path: str) -> bytes:
    files = [open(path, "rb") for _ in range(100)]  # noqa: SIM115 - of any number that a file of the parent may have
    gc.collect()
    return b"".join(file.read() for file in files)


def test_garbage_of_the_parent_closes_no_file_of_the_reader(tmp_path: Path) -> None:
    """Files in reference cycles, which wait for the garbage collection when the reader process is forked."""
    path = tmp_path / "a"
    path.write_bytes(b"text")
    gc.disable()
    try:
        for _ in range(20):
            cycle: list[Any] = [open(path, "rb")]  # noqa: SIM115 - nobody closes it
            cycle.append(cycle)
            del cycle
        with ThreadPoolExecutor(1) as pool:  # a thread of its own forks a reader
            assert pool.submit(reader_process.call, _read_after_collecting, str(path)).result() == b"text" * 100
    finally:
        gc.enable()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)
            gc.collect()
