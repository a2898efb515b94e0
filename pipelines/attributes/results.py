"""The main result as one file, where `--output` names one: a table of all documents, or the summary.

Each run writes down the digest of the file that it is about to put there (`runs/<run>/result.json`), so that a later one
can tell such a file from anything else of that name, the user's own corrections of it among them: only what a run of
the same output folder wrote, and nobody has changed since, is replaced unasked.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterable, Iterator
from functools import cache
from typing import BinaryIO

import xxhash

from tagcorpus.errors import OutputError
from tagcorpus.pipelines.storage.folder import Folder
from tagcorpus.pipelines.storage.outputs import Predicate, check_file

RECORD = "result.json"
EXPORTED = "summary/exported"
BLOCK_BYTES = 1 << 20


def check_result(
    path: str, output: Folder, is_own: Predicate, inputs: Iterable[str], **words: str
) -> tuple[Folder, str]:
    """Folder and name of the file `path`. Raises ConfigError where it is an input, or is there and is not `is_own`.

    words  `remedy` and `option` of `check_file`
    """
    reason = f"is not what a run with its results in {output} has written there"
    return check_file(path, is_own, reason, inputs=inputs, **words)


def recorded(output: Folder) -> Predicate:
    """Whether a run or an export of this output folder wrote down the size and digest that a file has."""

    @cache
    def known() -> set[tuple[int, str]]:
        runs = (n for n in output.files("runs") if n.count("/") == 2 and n.endswith(f"/{RECORD}"))
        return {*(_record(output.read(n)) for n in runs), *map(_exported, output.files(EXPORTED))}

    def is_recorded(folder: Folder, name: str) -> bool:
        n_bytes = folder.size(name)
        if candidates := {digest for size, digest in known() if size == n_bytes}:
            with folder.open(name) as file:
                return file_digest(file) in candidates
        return False

    return is_recorded


def written_files(output: Folder) -> list[str]:
    """Files that runs and exports of this output folder wrote elsewhere, and that have the same size as then."""
    records = [n for n in output.files("runs") if n.count("/") == 2 and n.endswith(f"/{RECORD}")]
    paths = set()
    for name in [*records, *output.files(EXPORTED)]:
        with contextlib.suppress(ValueError, KeyError, TypeError, RecursionError, OSError):
            record = json.loads(output.read(name) or b"")
            n_bytes = record["bytes"] if name.endswith(f"/{RECORD}") else _exported(name)[0]
            path = str(record["file"])
            if "://" in path or os.path.getsize(path) == n_bytes:
                paths.add(path)
    return sorted(paths)


@contextlib.contextmanager
def publishing_export(output: Folder, folder: Folder, name: str) -> Iterator[BinaryIO]:
    """`Folder.publishing` for an exported file, of which the output folder keeps size and digest, if it may be written to."""
    with folder.publishing(name) as sink:
        yield sink
        n_bytes, digest = measured(sink)
        with contextlib.suppress(OutputError):
            output.publish(f"{EXPORTED}/{n_bytes}-{digest}.json", json.dumps({"file": folder.path(name)}).encode())


def _exported(name: str) -> tuple[int, str]:
    """Size and digest in the name of an export's record; (-1, "") for another name."""
    n_bytes, _, digest = name.rpartition("/")[2].removesuffix(".json").partition("-")
    return (int(n_bytes), digest) if n_bytes.isdecimal() else (-1, "")


def measured(sink: BinaryIO) -> tuple[int, str]:
    """Bytes and digest of what was written to a file that `Folder.publishing` is about to publish."""
    sink.flush()
    with open(sink.name, "rb") as written:
        return os.stat(sink.name).st_size, file_digest(written)


def _record(data: bytes | None) -> tuple[int, str]:
    """Size and digest that a run wrote down; (-1, "") where the record is damaged."""
    try:
        record = json.loads(data or b"")
        return record["bytes"], record["digest"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return -1, ""


def file_digest(file: BinaryIO) -> str:
    """xxh3-128 of a file from its current position on."""
    digest = xxhash.xxh3_128()
    while block := file.read(BLOCK_BYTES):
        digest.update(block)
    return str(digest.hexdigest())
