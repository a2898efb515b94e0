"""Standard input as an input file: copied to a local file, since a run reads chunks more than once; recognised by its bytes."""

from __future__ import annotations

import sys
from collections.abc import Iterator

from tagcorpus.errors import InputError, OutputError
from tagcorpus.pipelines.inputs import signatures
from tagcorpus.pipelines.inputs.input_files import COMPRESSIONS, TABLES, TEXT_FORMATS, InputFile
from tagcorpus.pipelines.inputs.streams import BLOCK_BYTES, ByteStream, Damaged

_CAN_BE = (
    "JSONL, a JSON array, CSV (with --input-format csv), Parquet or Arrow; text formats also compressed "
    f"({', '.join(COMPRESSIONS)})"
)


def spool(path: str) -> None:
    """Copy standard input to a local file. Raises InputError if it cannot be read, OutputError if the copy has no room."""
    if sys.stdin is None:
        raise InputError(
            "standard input (--input -) is closed. Give it a file or a pipe: tagcorpus ... --input - < FILE"
        )
    try:
        with open(path, "wb") as copy:
            for block in _blocks():
                copy.write(block)
    except OSError as error:
        raise OutputError(
            f"standard input (--input -) cannot be copied to {path}: {error.strerror}. Set TMPDIR to a folder with room for "
            "all of it"
        ) from error


def _blocks() -> Iterator[bytes]:
    try:
        while block := sys.stdin.buffer.read(BLOCK_BYTES):
            yield block
    except OSError as error:
        raise InputError(
            f"standard input (--input -) cannot be read: {error.strerror}. Give it a file or a pipe"
        ) from error


def recognised(path: str, given: tuple[str, str] | None) -> InputFile:
    """The copy at `path` as the input `stdin`, with the format and compression of `given`, else those of its first bytes."""
    with open(path, "rb") as file:
        signature = signatures.signature_of(file.read(signatures.HEAD_BYTES))
    compression = signature.compression if signature else ""
    if given is not None:
        # The first bytes prove a compression, whatever the format.
        return InputFile("stdin", path, given[0], compression if given[0] in TEXT_FORMATS else "")
    if signature and signature.format in TABLES:
        return InputFile("stdin", path, signature.format, "")
    file_ = InputFile("stdin", path, "jsonl", compression)
    begin = _first_text(file_)
    signature = signatures.signature_of(begin) if compression else signature
    if signature and signature.remedy:
        raise InputError(f"standard input (--input -) begins with the bytes of {signature.name}. {signature.remedy}")
    if begin[:1] not in (b"", b"{", b"["):
        raise InputError(f"standard input (--input -) begins with {begin[:1]!r}. It can be {_CAN_BE}")
    return file_


def _first_text(file: InputFile) -> bytes:
    """The first bytes that are not blank; empty if there are none."""
    stream = ByteStream(file)
    try:
        block = stream.read(1 << 16).removeprefix(signatures.BOM)
        while block and not block.lstrip():
            block = stream.read(1 << 16)
        return block.lstrip()[: signatures.HEAD_BYTES]
    except Damaged:
        return b""  # the reader reports the damage
    finally:
        stream.close()
