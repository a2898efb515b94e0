"""What a result was made from, in a hidden file beside it: a command renews its result, but does not replace that of other inputs.

    .<result>.inputs   by role, the inputs with name, digest of the path, and signs of the content; and the other options

An input is the same if it has the same path (it may have grown) or the same content (it may have moved). Of a list of inputs, one
of them is enough. Paths are digests, since results are published. Other options renew the result, and the command names them.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import xxhash

from tagcorpus.errors import ConfigError
from tagcorpus.pipelines.attributes.results import file_digest
from tagcorpus.pipelines.storage.folder import Folder
from tagcorpus.pipelines.storage.local_files import local_path
from tagcorpus.pipelines.storage.outputs import identity
from tagcorpus.pipelines.storage.sealed import proven, sealed

DIGESTED = (".csv", ".json", ".sql")
"""Files of an input folder whose content counts; of others, name and size do."""
LONGEST_NAME = 200


@dataclass(frozen=True)
class MadeFrom:
    """The inputs and options of a result that is about to be written. note: a sentence on an earlier result, or ""."""

    folder: Folder
    name: str
    value: Mapping[str, Any]
    note: str

    def publish(self) -> None:
        """Write them down, before the result."""
        self.folder.publish(self.name, sealed(self.value, ensure_ascii=False))


def made_from(
    folder: Folder,
    result: str,
    inputs: Mapping[str, Sequence[str | None]],
    options: Mapping[str, Any] | None = None,
    *,
    option: str = "--output",
) -> MadeFrom:
    """Inputs by role and other options of the result that a command is about to write.

    options  by flag; paths are told apart by their last names
    Raises ConfigError where the folder has this result of other inputs.
    """
    value: dict[str, dict[str, Any]] = {
        "inputs": {role: [_entry(p) for p in paths if p is not None] for role, paths in inputs.items()},
        "options": {flag: _shown(v) for flag, v in (options or {}).items()},
    }
    made = MadeFrom(folder, _receipt_name(result), value, "")
    if not folder.exists(result):
        return made
    earlier = proven(folder.read(made.name))
    where = folder.path(result)
    if earlier is None:
        return MadeFrom(
            folder, made.name, value, f"replaced: {where}, an earlier result that does not say what it was made from"
        )
    for role, now in value["inputs"].items():
        before = earlier["inputs"].get(role, [])
        if before and now and not any(_is_same(a, b) for a in before for b in now):
            names = [", ".join(repr(e["name"]) for e in entries) for entries in (before, now)]
            other = f"another {names[1]}" if names[0] == names[1] else names[1]
            raise ConfigError(
                f"{option}: {where} was made from {names[0]} ({role}), and this call reads {other}. Name another output, or move "
                "that one away"
            )
    differing = [
        f"{flag} {before} (now {value['options'][flag]})"
        for flag, before in earlier["options"].items()
        if flag in value["options"] and before != value["options"][flag]
    ]
    note = f"replaced: {where}, an earlier result with {', '.join(differing)}" if differing else ""
    return MadeFrom(folder, made.name, value, note)


def _receipt_name(result: str) -> str:
    parent, slash, name = result.rpartition("/")
    if len(name.encode()) > LONGEST_NAME:  # file systems take 255 bytes
        name = xxhash.xxh3_64_hexdigest(name.encode())
    return f"{parent}{slash}.{name}.inputs"


def _shown(value: Any) -> str:
    """An option as text; a path by its last name, since folders differ between machines."""
    if value in (None, "", (), []):
        return "not given"
    if isinstance(value, list | tuple):
        return ",".join(map(_shown, value))
    text = str(value)
    return text.rstrip("/").rpartition("/")[2] or text


def _is_same(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    return bool(one["place"] == other["place"] or set(one["content"]) & set(other["content"]))


def _entry(path: str) -> dict[str, Any]:
    name = path.rstrip("/").rpartition("/")[2] or path
    content: list[str] = []
    if "://" in path and not path.startswith("file://"):
        place = str(identity(path))
    else:
        place = os.path.realpath(local_path(path))
        name = os.path.basename(place) or name
        with contextlib.suppress(OSError):  # the command says what it cannot read
            content = _signs(place)
    return {
        "name": name,
        "place": xxhash.xxh3_128_hexdigest(place.encode("utf-8", "surrogateescape")),
        "content": content,
    }


def _signs(path: str) -> list[str]:
    """What tells the content of a local input: the digest of a file; the names of an output folder's runs, which are random; the
    digest of another folder's files. Empty where there is nothing to read."""
    if os.path.isfile(path):
        with open(path, "rb") as file:
            return [file_digest(file)]
    folder = Folder(path)
    if runs := sorted({name.split("/")[1] for name in folder.files("runs")}):
        return runs
    digest = xxhash.xxh3_128()
    names = folder.files() if os.path.isdir(path) else []
    for name in names:
        digest.update(f"{name}\0{folder.size(name)}\0".encode("utf-8", "surrogateescape"))
        if name.lower().endswith(DIGESTED):
            with folder.open(name) as file:
                digest.update(file_digest(file).encode())
    return [digest.hexdigest()] if names else []
