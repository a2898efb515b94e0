"""Where commands may write: one rule for the folders and files that options name, and the files of paths.

A folder belongs to the command whose mark is in it: a file that this command writes, and no other. A command writes into its own
folder, or into one that belongs to nobody and has none of the names that the command writes. A file is replaced if it is empty,
or proves to be the command's own. No command writes over its inputs. A command that is refused has changed nothing.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from typing import NamedTuple

from tagcorpus.errors import ConfigError, OutputError
from tagcorpus.pipelines.storage.folder import Folder
from tagcorpus.pipelines.storage.local_files import PROTOCOLS, local_path


class Mark(NamedTuple):
    """Names that a folder must have, and what is in the first KiB of the first of them."""

    names: tuple[str, ...]
    sign: bytes = b""


RECEIPT = b'"inputs"'
"""In what runs/made_from.py writes before a result: the folder stays the command's where the result itself was moved away."""
MARKS: dict[str, tuple[Mark, ...]] = {
    "join": tuple(Mark((f"index/{by}/index.json",), b'"batch_rows"') for by in ("text", "id")),
    "run": (Mark(("plan", "runs")), Mark(("token_files.json",), b'"format"')),
    "mix make": (Mark(("mix.json",), b'"key"'),),
    "mix swarm": (Mark(("swarm.csv",), b"mix,"),),
    "mix fit": (Mark(("fit.json",), b'"format"'), Mark((".fit.json.inputs",), RECEIPT)),
    "train": (Mark(("run.json",), b'"identity"'),),
    # The card goes first and the student last.
    "distil": (Mark(("student.json",), b'"labels"'), Mark(("figures.json",), b'"tagcorpus"')),
    "store export": (Mark(("schema.sql", "load.sql")),),
    "export": (),
    "tasks": (Mark(("generate_only.yaml",), b"generate_only"),),
    "agreement": (Mark(("agreement.json",), b'"labels"'), Mark((".agreement.json.inputs",), RECEIPT)),
    "predict": (
        Mark(("prediction/predict.json",), b'"protocol"'),
        Mark(("decision/decide.json",), b'"decide"'),
        Mark(("prediction/.predict.json.inputs",), RECEIPT),
        Mark(("decision/.decide.json.inputs",), RECEIPT),
    ),
}
GUESTS = ("agreement", "predict")
"""Commands whose files also go into folders of other commands."""
TAGGING = ("run", "join")
"""Commands that add tags to one output folder, in any order."""
SIGN_BYTES = 1024
Predicate = Callable[[Folder, str], bool]


def check_folder(
    command: str, path: str, names: Iterable[str] = (), *, inputs: Iterable[str | None] = (), option: str = "--output"
) -> Folder:
    """The folder at `path`, or ConfigError where the command may not write there.

    names   what the command writes there; no such file may be an input or somebody else's
    inputs  files and folders that the command reads; the folder itself must be none of them
    """
    folder = Folder(path)
    read = {identity(i) for i in inputs if i is not None}
    _check_way(folder, option, path, is_late=command != "run")
    names = list(names)
    if command not in GUESTS and identity(path) in read:
        raise ConfigError(f"{option} {path} is also the input: name another folder")
    if name := next((n for n in names if identity(f"{folder}/{n}") in read), None):
        raise ConfigError(
            f"{option} {path}: {name} in it is an input file; the result would overwrite it. Name another folder"
        )
    entries = folder.entries()
    if any(_is_of(folder, entries, c) for c in (TAGGING if command in TAGGING else (command,))):
        return folder
    owner = next((c for c in MARKS if c not in GUESTS and _is_of(folder, entries, c)), None)
    if owner is not None and command not in GUESTS:
        raise ConfigError(f"{option} {path} is a folder of tagcorpus {owner}: name another folder")
    if name := next((n for n in names if n.partition("/")[0] in entries and folder.exists(n)), None):
        raise ConfigError(
            f"{option} {path} has {name}, which tagcorpus {command} did not write there: name another folder, or move that away"
        )
    return folder


def check_file(
    path: str,
    is_own: Predicate,
    reason: str,
    *,
    inputs: Iterable[str | None] = (),
    remedy: str = "name another file, or move that one away",
    option: str = "--output",
) -> tuple[Folder, str]:
    """The folder and the name of the file at `path`, or ConfigError where the command may not write it.

    is_own  whether a file that is there was written by the command; reason: what else it is
    """
    folder, name = folder_and_name(path)
    _check_way(folder, option, path)
    if identity(path) in {identity(i) for i in inputs if i is not None}:
        raise ConfigError(f"{option} {path} is an input file; the result would overwrite it. Name another file")
    if not folder.exists(name):
        return folder, name
    if folder.is_local and os.path.isdir(folder.path(name)):
        raise ConfigError(f"{option} {path} is a folder, and its ending asks for a file: name another")
    if folder.size(name) and not is_own(folder, name):
        raise ConfigError(f"{option} {path} exists already, and {reason}: {remedy}")
    return folder, name


def begins_with(*signs: bytes) -> Predicate:
    """Whether a file begins with one of these."""
    return lambda folder, name: folder.read_chunk(name, 0, max(map(len, signs))).startswith(signs)


def has_content(data: bytes) -> Predicate:
    """Whether a file is already what would be written."""
    return lambda folder, name: folder.read(name) == data


def folder_and_name(path: str) -> tuple[Folder, str]:
    """The folder that a file is in, and the name there. A link to a file stands for that file."""
    if "://" not in path:
        path = os.path.realpath(path) if os.path.islink(path) else os.path.abspath(path)
    parent, _, name = path.rpartition("/")
    return Folder(parent or "/"), name


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


def _is_of(folder: Folder, entries: set[str], command: str) -> bool:
    """Whether one of the command's marks is in the folder. entries: what is directly in the folder."""
    return any({n.partition("/")[0] for n in m.names} <= entries and _has_sign(folder, m) for m in MARKS[command])


def _has_sign(folder: Folder, mark: Mark) -> bool:
    if not mark.sign:
        return True
    try:
        return mark.sign in folder.read_chunk(mark.names[0], 0, SIGN_BYTES)
    except (FileNotFoundError, IsADirectoryError):
        return False


def _check_way(folder: Folder, option: str, path: str, *, is_late: bool = True) -> None:
    """Raise ConfigError where a local folder cannot be made, and OutputError where the system does not let this user write.

    is_late  the command computes before it writes
    """
    if not folder.is_local:
        return
    at = folder.root
    while not os.path.lexists(at):
        at = os.path.dirname(at)
    if not os.path.isdir(at):
        kind = "a link to nothing" if os.path.islink(at) else "an existing file"
        where = path if at == os.path.abspath(path) else f"{path}: {at}"
        raise ConfigError(f"{option} {where} is {kind}; it must be a folder")
    if is_late and not os.access(at, os.W_OK | os.X_OK):
        raise OutputError(
            f"{option} {path} could not be written: {at} is read-only, or not yours to write to. Name another place"
        )


def identity(path: str) -> object:
    """What a path leads to, by any spelling and through links: equal for two paths of one file or folder."""
    protocol, separator, rest = path.partition("://")
    if separator and protocol not in PROTOCOLS:
        return "/".join([protocol, *filter(None, rest.split("/"))])
    try:
        state = os.stat(local_path(path))
        return state.st_dev, state.st_ino
    except OSError:  # nothing is there yet
        return os.path.realpath(local_path(path))
