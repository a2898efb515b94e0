"""The groups that a mix can have: the training sides of token files, in one or several outputs of `run tokenize`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from tagcorpus.errors import ConfigError, InputError
from tagcorpus.pipelines.attributes.results import file_digest
from tagcorpus.pipelines.storage.folder import Folder
from tagcorpus.pipelines.token_files.manifest import files_of, read_manifest
from tagcorpus.pipelines.token_files.sides import ALL, TRAIN

COMMON = ("tokenizer", "eos", "dtype")
"""Keys of the manifest that all token files of a mix share."""


@dataclass(frozen=True)
class Source:
    """A group of a mix. sides: as in the manifest of its token files."""

    name: str
    folder: Folder
    group: str
    sides: dict[str, Any]

    @property
    def tokens(self) -> int:
        """For training."""
        return int(self.sides[TRAIN]["tokens"]) if TRAIN in self.sides else 0

    def windows(self, sequence_length: int) -> int:
        """Windows for training. The token after a window's last one is its last target, so the end of a group is no window."""
        return max(self.tokens - 1, 0) // sequence_length


@dataclass(frozen=True)
class Sources:
    """All groups, and what their token files have in common."""

    groups: dict[str, Source]
    common: dict[str, Any]


def read_sources(token_files: Sequence[str]) -> Sources:
    """The groups of these outputs, each proven by its digests.

    Raises ConfigError where an output has no token files, groups have the same name, or tokenizers differ; InputError where a
    file is not as the manifest says.
    """
    groups: dict[str, Source] = {}
    first: tuple[str, dict[str, Any]] | None = None
    for given in token_files:
        label, path = _labelled(given)
        folder = Folder(path)
        manifest = read_manifest(folder, path)
        if first is None:
            first = path, manifest
        _check_common(first, (path, manifest))
        for group, sides in manifest["groups"].items():
            name = group if not label else label if list(manifest["groups"]) == [ALL] else f"{label}/{group}"
            if name in groups:
                raise ConfigError(
                    f"{groups[name].folder} and {folder} both have a group {name!r}: give one a label, LABEL={path}"
                )
            groups[name] = Source(name, folder, group, sides)
        prove(folder, files_of(manifest))
    assert first is not None
    return Sources(groups, {key: first[1][key] for key in COMMON})


def _labelled(given: str) -> tuple[str, str]:
    """Label and path of `LABEL=PATH`; a path whose first folder has = in its name is written ./PATH."""
    label, equals, path = given.partition("=")
    return (label, path) if equals and label and path and "/" not in label else ("", given)


def _check_common(first: tuple[str, dict[str, Any]], other: tuple[str, dict[str, Any]]) -> None:
    for key in COMMON:
        mine, theirs = (_identity(manifest[key]) for _, manifest in (first, other))
        if mine != theirs:
            shown = [_shown(manifest[key]) for _, manifest in (first, other)]
            raise ConfigError(
                f"{key}: {other[0]} has {shown[1]}, and {first[0]} has {shown[0]}. Tokenize both with the same --tokenizer "
                "and --eos"
            )


def _identity(value: Any) -> Any:
    """Without the name: a tokenizer's file may have moved."""
    return value.get("fingerprint", value) if isinstance(value, dict) else value


def _shown(value: Any) -> str:
    return str(value.get("name", value.get("token"))) if isinstance(value, dict) else str(value)


def prove(folder: Folder, files: Iterable[tuple[str, dict[str, Any]]]) -> None:
    """Raise InputError where a file (name, and its size and digest) is not as written down."""
    for name, entry in files:
        remedy = "run tokenize again, which writes the file anew, then make the mix in another folder"
        if not folder.exists(name):
            raise InputError(f"{folder}/{name} is missing: {remedy}")
        if folder.size(name) == entry["bytes"]:
            with folder.open(name) as file:
                if file_digest(file) == entry["digest"]:
                    continue
        raise InputError(f"{folder}/{name} has changed since its manifest was written (digest): {remedy}")
