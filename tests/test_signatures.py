"""The first bytes of files: what they are called, and that no ordinary text is called anything."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from tagcorpus.pipelines.inputs.signatures import HEAD_BYTES, mismatch, signature_of

JSONL = b'{"id": "1", "text": "a"}\n{"id": "2", "text": "b"}\n'
TABLE = pa.table({"id": ["1", "2"], "text": ["a", "b"]})


def parquet() -> bytes:
    sink = io.BytesIO()
    pq.write_table(TABLE, sink)
    return sink.getvalue()


def arrow(*, is_stream: bool) -> bytes:
    sink = io.BytesIO()
    with (pa.ipc.new_stream if is_stream else pa.ipc.new_file)(sink, TABLE.schema) as writer:
        writer.write_table(TABLE)
    return sink.getvalue()


KINDS = {
    "a gzip file": gzip.compress(JSONL, mtime=0),
    "a zstd file": zstandard.compress(JSONL),
    "a bzip2 file": bz2.compress(JSONL),
    "an xz file": lzma.compress(JSONL),
    "a Parquet file": parquet(),
    "an Arrow file": arrow(is_stream=False),
    "an Arrow stream": arrow(is_stream=True),
    "a Feather V1 file": b"FEA1\0\0\0\0\1\0",
    "a Git LFS pointer": b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n",
    "a git-annex pointer": b"/annex/objects/SHA256E-s12--4d7a.jsonl\n",
    "an HTML page": b"\n<!DOCTYPE html>\n<html><body>404 Not Found</body></html>\n",
    "XML": b'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>AccessDenied</Code></Error>',
    "UTF-16 text": '{"text": "a"}\n'.encode("utf-16"),
    "UTF-32 text": '{"text": "a"}\n'.encode("utf-32"),
    "a JSON array": b'\xef\xbb\xbf [\n {"text": "a"}\n]',
    "JSON": JSONL,
    "a ZIP archive (or an Excel file)": b"PK\x03\x04\x14\0\0\0",
    "NUL bytes": b"\0" * 600,
}


@pytest.mark.parametrize("name", KINDS)
def test_a_kind_is_called_by_its_name(name: str) -> None:
    signature = signature_of(KINDS[name][:HEAD_BYTES])
    assert signature is not None
    assert signature.name == name


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_utf_16_without_a_mark(encoding: str) -> None:
    signature = signature_of('{"text": "a"}'.encode(encoding))
    assert signature is not None
    assert signature.name == "UTF-16 text"


def test_zstd_whose_first_frame_is_skipped() -> None:
    signature = signature_of(b"\x50\x2a\x4d\x18\x04\0\0\0\x10\0\0\0" + zstandard.compress(JSONL))
    assert signature is not None
    assert signature.compression == "zst"


FITTING = [
    (JSONL, "jsonl", ""),
    (b'\xef\xbb\xbf{"text": "a"}', "jsonl", ""),
    (b"\n\n  {}", "jsonl", ""),
    (b"not json at all\n{}", "jsonl", ""),
    (b"[1, 2]\n{}", "jsonl", ""),
    (b'[{"text": "a"}]', "json", ""),
    (b"", "jsonl", ""),
    (b"", "csv", ""),
    (b"id,text\n1,a\n", "csv", ""),
    (b"\xef\xbb\xbfid,text\n", "csv", ""),
    (b"PAR1,text\n1,a\n", "csv", ""),
    (b"ORC,text\n1,a\n", "csv", ""),
    (b"version,text\n1,a\n", "csv", ""),
    (b"text\n<b>bold</b>\n", "csv", ""),
    ("text\né".encode("latin-1"), "csv", ""),
    (gzip.compress(b"", mtime=0), "jsonl", "gz"),
    (b"\x1f", "jsonl", "gz"),
    (b"\0" * 8 + gzip.compress(b"", mtime=0), "jsonl", "gz"),
    (bz2.compress(b""), "jsonl", "bz2"),
    (lzma.compress(b""), "jsonl", "xz"),
    (parquet(), "parquet", ""),
    (arrow(is_stream=True), "arrow", ""),
    (arrow(is_stream=False), "arrow", ""),
    (b"\x00\x11\x22", "parquet", ""),
]


@pytest.mark.parametrize(("head", "format_", "compression"), FITTING)
def test_what_fits_is_not_refused(head: bytes, format_: str, compression: str) -> None:
    assert mismatch(head[:HEAD_BYTES], format_, compression) == ""


@pytest.mark.parametrize(
    ("head", "format_", "compression", "sentence"),
    [
        (JSONL, "jsonl", "gz", "those of JSON, not of a gzip file. Give it a name that ends in .jsonl"),
        (b"id,text\n", "csv", "zst", "those of plain text, not of a zstd file. Give it a name that says its format"),
        (b"", "jsonl", "gz", "it has 0 bytes, and a gzip file has more"),
        (b"\x80\x81\x82", "jsonl", "gz", "its first bytes are not those of a gzip file"),
        (KINDS["a gzip file"], "jsonl", "", "those of a gzip file. Add .gz to its name"),
        (KINDS["a bzip2 file"], "jsonl", "gz", "those of a bzip2 file, not of a gzip file. Add .bz2"),
        (KINDS["a Feather V1 file"], "arrow", "", "those of a Feather V1 file, not of an Arrow file. Convert it"),
        (KINDS["a Git LFS pointer"], "parquet", "", "those of a Git LFS pointer, not of a Parquet file. Fetch"),
        (KINDS["a Git LFS pointer"], "jsonl", "", "those of a Git LFS pointer. Fetch the file itself: git lfs pull"),
        (KINDS["an HTML page"], "jsonl", "gz", "those of an HTML page, not of a gzip file. It may be"),
        (KINDS["an Arrow stream"], "parquet", "", "an Arrow stream, not of a Parquet file. Give it a name that ends"),
        (KINDS["UTF-16 text"], "csv", "", "those of UTF-16 text. Convert it: iconv"),
        (KINDS["a JSON array"], "csv", "", "those of a JSON array. Give it a name that ends in .json"),
        (JSONL, "csv", "", "those of JSON. Give it a name that ends in .jsonl"),
        (b"some words", "parquet", "", "those of plain text, not of a Parquet file"),
    ],
)
def test_what_does_not_fit_is_named(head: bytes, format_: str, compression: str, sentence: str) -> None:
    assert sentence in mismatch(head[:HEAD_BYTES], format_, compression)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), max_size=40))
def test_text_is_never_taken_for_a_binary_format(text: str) -> None:
    signature = signature_of(text.encode())
    assert signature is None or signature.format in ("json", "jsonl") or text.lstrip("\ufeff \n")[:1] in ("<", "/", "v")


def test_the_case_of_a_feather_file() -> None:
    case = Path(__file__).resolve().parents[2] / "shared/cases/readers/28-feather-v1.feather"
    if not case.exists():
        pytest.skip("the cases are not here")
    assert "Feather V1" in mismatch(case.read_bytes()[:HEAD_BYTES], "arrow")
