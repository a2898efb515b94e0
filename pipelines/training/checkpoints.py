"""Checkpoints of the Trainer that are proven: a receipt with the digests of all files is written when the checkpoint is whole."""

from __future__ import annotations

import re
from collections.abc import Iterable

from tagcorpus.pipelines.attributes.results import file_digest
from tagcorpus.pipelines.storage.folder import Folder
from tagcorpus.pipelines.storage.sealed import opened, sealed

FOLDER = "checkpoints"
RECEIPT = "receipt.json"


def folder_of(output: str) -> str:
    return f"{output.rstrip('/')}/{FOLDER}"


def digests(folder: Folder, names: Iterable[str]) -> dict[str, str]:
    """By name, the digest of those of these files that are there."""
    result = {}
    for name in names:
        if folder.exists(name):
            with folder.open(name) as file:
                result[name] = file_digest(file)
    return result


def _own(folder: Folder) -> list[str]:
    return [name for name in folder.files() if name != RECEIPT]


def seal(output: str, step: int) -> None:
    folder = Folder(f"{folder_of(output)}/checkpoint-{step}")
    folder.publish(RECEIPT, sealed({"step": step, "files": digests(folder, _own(folder))}))


def latest(output: str) -> str | None:
    """The path of the last checkpoint that is whole; None without one."""
    checkpoints = Folder(folder_of(output))
    steps = {int(m[1]) for name in checkpoints.files() if (m := re.match(r"checkpoint-(\d+)/", name))}
    for step in sorted(steps, reverse=True):
        folder = Folder(checkpoints.path(f"checkpoint-{step}"))
        receipt = opened(folder.read(RECEIPT))
        if receipt is not None and receipt["files"] == digests(folder, _own(folder)):
            return folder.root
    return None
