"""The kind of a file by its first bytes, and a remedy if its name says another kind.

Only marks that no record begins with count; the content of sound text proves nothing. `mismatch` gives the sentence for a
file that cannot be read as its name says. It opens no file, so that every reader can use it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

HEAD_BYTES = 512
BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True)
class Signature:
    """A kind of file. `format` and `compression` are those of InputFile if tagcorpus reads the kind."""

    name: str
    format: str = ""
    compression: str = ""
    remedy: str = ""


_UNPACK = "Unpack it first"
_CONVERT = "Convert it to Parquet or JSONL"
_AGAIN = "Download the file again"

GZIP = Signature("a gzip file", compression="gz")
ZSTD = Signature("a zstd file", compression="zst")
BZIP2 = Signature("a bzip2 file", compression="bz2")
XZ = Signature("an xz file", compression="xz")
PARQUET = Signature("a Parquet file", "parquet")
ARROW_FILE = Signature("an Arrow file", "arrow")
ARROW_STREAM = Signature("an Arrow stream", "arrow")
JSON_ARRAY = Signature("a JSON array", "json")
JSON_LINES = Signature("JSON", "jsonl")
FEATHER_1 = Signature(
    "a Feather V1 file",
    remedy="Convert it: import pyarrow.feather as f; f.write_feather(f.read_table('OLD.feather'), 'NEW.feather')",
)
LFS_POINTER = Signature("a Git LFS pointer", remedy="Fetch the file itself: git lfs pull, in its repository")
ANNEX_POINTER = Signature("a git-annex pointer", remedy="Fetch the file itself: git annex get, in its repository")
HTML = Signature("an HTML page", remedy=f"It may be a server's error page. {_AGAIN}")
XML = Signature("XML", remedy=f"It may be a server's error message. {_AGAIN}")
UTF16 = Signature("UTF-16 text", remedy="Convert it: iconv -f UTF-16 -t UTF-8 OLD > NEW")
UTF32 = Signature("UTF-32 text", remedy="Convert it: iconv -f UTF-32 -t UTF-8 OLD > NEW")
NULS = Signature("NUL bytes", remedy=f"The file may have been written or downloaded in part. {_AGAIN}")
TEXT = Signature("plain text")

# Longer marks before shorter ones that they begin with.
_MAGIC = {
    b"\x1f\x8b": GZIP,
    b"\x28\xb5\x2f\xfd": ZSTD,
    b"\xfd7zXZ\0": XZ,
    b"PAR1": PARQUET,
    b"PARE": Signature("an encrypted Parquet file", remedy="Decrypt it first"),
    b"ARROW1": ARROW_FILE,
    b"FEA1": FEATHER_1,
    b"\x04\x22\x4d\x18": Signature("an LZ4 file", remedy=_UNPACK),
    b"\xff\x06\x00\x00sNaPpY": Signature("a Snappy file", remedy=_UNPACK),
    b"PK\x03\x04": Signature("a ZIP archive (or an Excel file)", remedy=_UNPACK),
    b"7z\xbc\xaf\x27\x1c": Signature("a 7-Zip archive", remedy=_UNPACK),
    b"Rar!\x1a\x07": Signature("a RAR archive", remedy=_UNPACK),
    b"ORC": Signature("an ORC file", remedy=_CONVERT),
    b"Obj\x01": Signature("an Avro file", remedy=_CONVERT),
    b"SQLite format 3\0": Signature("an SQLite database", remedy=_CONVERT),
    b"\x89HDF\r\n\x1a\n": Signature("an HDF5 file", remedy=_CONVERT),
    b"\x93NUMPY": Signature("a NumPy array", remedy=_CONVERT),
    b"%PDF-": Signature("a PDF", remedy=_CONVERT),
    b"\xff\xfe\0\0": UTF32,
    b"\0\0\xfe\xff": UTF32,
    b"\xff\xfe": UTF16,
    b"\xfe\xff": UTF16,
}
_BZIP2 = re.compile(rb"BZh[1-9](?:1AY&SY|\x17rE8P\x90|$)")
# Frames that decoders skip: pzstd writes one first.
_SKIPPABLE = re.compile(rb"[\x50-\x5f]\x2a\x4d\x18")
_UTF16_WITHOUT_MARK = re.compile(rb"(?:[\t\n\r -~]\0){4}|(?:\0[\t\n\r -~]){4}")
_HTML = re.compile(rb"<(?:!doctype\s+html|html|head|body)\b", re.IGNORECASE)
_OBJECT = re.compile(rb'\{\s*(?:"(?:[^"\\]|\\.)*"\s*:|\}|"(?:[^"\\]|\\.)*$)', re.DOTALL)
# Nulls or other values may stand before the first object; the first bytes may end among nulls.
_VALUE = rb'(?:null|true|false|-?\d[\d.eE+-]*+|"(?:[^"\\]|\\.)*+")'
_ARRAY = re.compile(
    rb"\[\s*+(?:\]|(?:" + _VALUE + rb"\s*+,\s*+)*+\{|(?:null\s*+,\s*+)*+(?:null\s*+\]|n?u?l?l?\s*+$))", re.DOTALL
)
COMPRESSED = {s.compression: s for s in (GZIP, ZSTD, BZIP2, XZ)}
_OF_FORMAT = {"parquet": (PARQUET,), "arrow": (ARROW_FILE, ARROW_STREAM)}


def signature_of(head: bytes) -> Signature | None:
    """The kind of a file that begins with these bytes (HEAD_BYTES suffice); None if they prove nothing, as those of CSV."""
    if not head:
        return None
    is_text = _is_text(head)
    if _BZIP2.match(head):
        return BZIP2
    if _SKIPPABLE.match(head):
        return ZSTD
    for magic, signature in _MAGIC.items():
        # A column may be called PAR1: letters alone prove nothing before text.
        if head.startswith(magic) and (not is_text or head == magic):
            return signature
    if not head.strip(b"\0"):
        return NULS
    if head[:4] == b"\xff\xff\xff\xff" and len(head) > 4:
        return ARROW_STREAM
    if _UTF16_WITHOUT_MARK.match(head):
        return UTF16
    if head[257:262] == b"ustar":
        return Signature("a tar archive", remedy=_UNPACK)
    return _signature_of_text(head.removeprefix(BOM).lstrip()) if is_text else None


def _signature_of_text(head: bytes) -> Signature | None:
    if head.startswith(b"version https://git-lfs.github.com/spec/"):
        return LFS_POINTER
    if head.startswith(b"/annex/objects/"):
        return ANNEX_POINTER
    if _HTML.match(head):
        return HTML
    if head.startswith(b"<?xml"):
        return HTML if b"<html" in head.lower() else XML
    if _OBJECT.match(head):
        return JSON_LINES
    return JSON_ARRAY if begins_array(head) else None


def begins_array(head: bytes) -> bool:
    """Whether a file of JSON is an array. An element that is not an object costs only itself."""
    return bool(_ARRAY.match(head.removeprefix(BOM).lstrip()))


def mismatch(head: bytes, format_: str, compression: str = "") -> str:
    """Why a file with these first bytes cannot be read as `format_`, and what to do; empty if they fit or prove nothing.

    head         the first bytes as they are stored; with an empty `compression`, also the first bytes from a decoder
    compression  the compression of the stored bytes
    """
    signature = signature_of(head)
    if compression:
        return _mismatch_of_compression(head, compression, signature)
    if format_ in _OF_FORMAT:
        if not head:
            return _empty(_OF_FORMAT[format_][0])
        if signature in _OF_FORMAT[format_]:
            return ""
        kind = signature or (TEXT if _is_text(head) else None)
        return _sentence(kind, _OF_FORMAT[format_][0]) if kind else ""
    if signature is None or (signature.format in ("json", "jsonl") and format_ in ("json", "jsonl")):
        return ""
    return _sentence(signature, None)


def _mismatch_of_compression(head: bytes, compression: str, signature: Signature | None) -> str:
    expected = COMPRESSED[compression]
    if not head:
        return _empty(expected)
    if signature == expected:
        return ""
    # Zeros may pad the front. A file that ends within the mark is an error of the decoder, which names it better.
    mark = {"gz": b"\x1f\x8b", "zst": b"\x28\xb5\x2f\xfd", "bz2": b"BZh", "xz": b"\xfd7zXZ\0"}[compression]
    begin = head.lstrip(b"\0") if compression in ("gz", "xz") else head
    if begin and (begin.startswith(mark) or mark.startswith(begin)):
        return ""
    kind = signature or (TEXT if _is_text(head) else None)
    return _sentence(kind, expected) if kind else f"its first bytes are not those of {expected.name}"


def _empty(expected: Signature) -> str:
    return f"it has 0 bytes, and {expected.name} has more. {_AGAIN}"


def _sentence(kind: Signature, expected: Signature | None) -> str:
    is_other = f", not of {expected.name}" if expected else ""
    if kind.remedy:
        remedy = kind.remedy
    elif kind.compression:
        remedy = f"Add .{kind.compression} to its name"
    elif kind is TEXT:
        remedy = "Give it a name that says its format, .jsonl or .csv"
    else:
        remedy = f"Give it a name that ends in .{kind.format}"
    return f"its first bytes are those of {kind.name}{is_other}. {remedy}"


def _is_text(head: bytes) -> bool:
    """Whether these bytes are UTF-8 without control characters (the last character may be cut)."""
    if re.search(rb"[\0-\x08\x0e-\x1a\x1c-\x1f]", head):
        return False
    for cut in range(min(4, len(head))):
        try:
            head[: len(head) - cut].decode("utf-8")
        except UnicodeDecodeError:
            continue
        return True
    return False
