"""Digests of files and folders for fingerprints: of their names and bytes, not of their paths."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

BLOCK_BYTES = 1 << 22


def of_bytes(data: bytes) -> str:
    import xxhash

    return f"xxh3-128:{xxhash.xxh3_128_hexdigest(data)}"


def of_file(path: Path) -> str:
    """The digest of a file's bytes, read in blocks. OSError where the file cannot be read."""
    import xxhash

    hasher = xxhash.xxh3_128()
    with path.open("rb") as file:
        while block := file.read(BLOCK_BYTES):
            hasher.update(block)
    return f"xxh3-128:{hasher.hexdigest()}"


def of_files(folder: Path, paths: Iterable[Path]) -> str:
    """The digest of the names within the folder and the bytes of these files, in any order."""
    listed = (f"{path.relative_to(folder).as_posix()}\0{of_file(path)}\n" for path in sorted(paths))
    return of_bytes("".join(listed).encode())
