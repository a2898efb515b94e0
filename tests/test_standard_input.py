"""Standard input: recognised by its first bytes, copied, and what is said when that cannot be done."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pytest
import zstandard

from tagcorpus.errors import InputError, OutputError
from tagcorpus.pipelines.inputs import discover, standard_input

JSONL = b'{"text": "x"}\n'
PZSTD = b"\x50\x2a\x4d\x18\x04\0\0\0\x10\0\0\0" + zstandard.compress(JSONL)


def arrow_stream() -> bytes:
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, pa.schema([("text", pa.string())])) as writer:
        writer.write_table(pa.table({"text": ["x"]}))
    return sink.getvalue()


def recognised(tmp_path: Path, data: bytes, input_format: str = "") -> tuple[str, str, str]:
    (tmp_path / "copy").write_bytes(data)
    (file,) = discover.find(["-"], stdin_copy=str(tmp_path / "copy"), input_format=input_format)
    return file.name, file.format, file.compression


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"{}", ("jsonl", "")),
        (gzip.compress(JSONL, mtime=0), ("jsonl", "gz")),
        (b"\x1f\x8b\x08", ("jsonl", "gz")),
        (zstandard.compress(JSONL), ("jsonl", "zst")),
        (PZSTD, ("jsonl", "zst")),
        (bz2.compress(JSONL), ("jsonl", "bz2")),
        (lzma.compress(JSONL), ("jsonl", "xz")),
        (b"PAR1", ("parquet", "")),
        (b"ARROW1\0\0", ("arrow", "")),
        (arrow_stream(), ("arrow", "")),
        (b"", ("jsonl", "")),
        (b"\xef\xbb\xbf\n {", ("jsonl", "")),
        (b" " * (1 << 17) + b"{", ("jsonl", "")),
        (b'[{"text": "x"}]', ("jsonl", "")),
        (gzip.compress(b'[{"text": "x"}]', mtime=0), ("jsonl", "gz")),
    ],
)
def test_it_is_recognised_by_its_content(tmp_path: Path, data: bytes, kind: tuple[str, str]) -> None:
    assert recognised(tmp_path, data) == ("stdin", *kind)


def test_a_label(tmp_path: Path) -> None:
    (tmp_path / "copy").write_bytes(JSONL)
    (labelled,) = discover.find(["model/x=-"], stdin_copy=str(tmp_path / "copy"))
    assert labelled.name == "model/x/stdin"
    with pytest.raises(InputError, match="standard input"):
        discover.find(["-"])


@pytest.mark.parametrize("data", [b"id,text\n1,a\n", b"\xef\xbb\xbfid,text\n"])
@pytest.mark.parametrize("packed", [False, True])
def test_csv_is_read_where_the_format_is_given(tmp_path: Path, data: bytes, packed: bool) -> None:
    data = gzip.compress(data, mtime=0) if packed else data
    with pytest.raises(InputError, match=r"begins with b'i'\. It can be JSONL, .* CSV \(with --input-format csv\)"):
        recognised(tmp_path, data)
    assert recognised(tmp_path, data, "csv") == ("stdin", "csv", "gz" if packed else "")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ('{"text": "x"}'.encode("utf-16"), r"the bytes of UTF-16 text\. Convert it: iconv"),
        (gzip.compress(b"<!doctype html><html></html>", mtime=0), r"the bytes of an HTML page"),
        (b"FEA1\0\0\0\0", "the bytes of a Feather V1 file"),
    ],
)
def test_what_cannot_be_read_is_named(tmp_path: Path, data: bytes, message: str) -> None:
    with pytest.raises(InputError, match=message):
        recognised(tmp_path, data)


def test_closed_standard_input(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(InputError, match=r"standard input \(--input -\) is closed"):
        standard_input.spool(str(tmp_path / "copy"))


def test_a_folder_as_standard_input(tmp_path: Path) -> None:
    code = (
        "import sys\nfrom tagcorpus.errors import InputError\nfrom tagcorpus.pipelines.inputs import standard_input\n"
        "try: standard_input.spool(sys.argv[1])\nexcept InputError as e: print(e)"
    )
    descriptor = os.open(tmp_path, os.O_RDONLY)
    try:
        done = subprocess.run(
            [sys.executable, "-c", code, str(tmp_path / "copy")],
            stdin=descriptor,
            capture_output=True,
            text=True,
            check=False,
        )
    finally:
        os.close(descriptor)
    # The interpreter itself refuses a folder, and then there is no standard input.
    assert "standard input (--input -)" in done.stdout or "directory" in done.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="/dev/full is a device of Linux")
def test_a_full_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(JSONL)))
    with pytest.raises(OutputError, match=r"cannot be copied to /dev/full: No space left on device\. Set TMPDIR"):
        standard_input.spool("/dev/full")
