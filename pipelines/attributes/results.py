"""The main result as one file, where `--output` names one: a table of all documents, or the summary.

Each run writes down the digest of the file that it is about to put there (`runs/<run>/result.json`), so that a later one
can tell such a file from anything else of that name, the user's own corrections of it among them: only what a run of
the same output folder wrote, and nobody has changed since, is replaced unasked.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from typing import BinaryIO

import xxhash

from tagcorpus.errors import ConfigError
from tagcorpus.pipelines.storage.folder import Folder

RECORD = "result.json"
BLOCK_BYTES = 1 << 20


def refuse_anothers(output: Folder, path: str) -> None:
    """Raise ConfigError where the file `path` is there, and is not as a run of this output folder has written it."""
    folder, name = folder_and_name(path)
    if not folder.exists(name):
        return
    if folder.is_local and os.path.isdir(folder.path(name)):
        raise ConfigError(f"--output {path} is a folder, and its ending asks for a file: name another")
    n_bytes = folder.size(name)
    records = (n for n in output.files("runs") if n.count("/") == 2 and n.endswith(f"/{RECORD}"))
    known = [_record(output.read(n)) for n in records]
    if candidates := {digest for size, digest in known if size == n_bytes}:
        with folder.open(name) as file:
            if file_digest(file) in candidates:
                return
    raise ConfigError(
        f"--output {path} is there already, and is not what a run with its results in {output} has written there: name "
        "another file, move that one away, or let it be replaced with --overwrite (which computes everything anew)"
    )


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


def publish_file(path: str, blocks: Iterable[bytes]) -> None:
    """Publish these bytes as a file anywhere."""
    folder, name = folder_and_name(path)
    with folder.publishing(name) as sink:
        for block in blocks:
            sink.write(block)


def is_there(path: str) -> bool:
    """Whether a file anywhere exists."""
    folder, name = folder_and_name(path)
    return folder.exists(name)


def folder_and_name(path: str) -> tuple[Folder, str]:
    """The folder that a file lies in, and the name there."""
    parent, _, name = path.rpartition("/")
    if "://" not in path:
        parent = os.path.abspath(parent or ".")
    return Folder(parent), name
