"""The installed distributions and their entry points, read from the names of their folders.

importlib.metadata gives the same answers. It parses every METADATA as an e-mail: 13 versions and four lists of plug-ins cost 0.1
CPU seconds in an environment of 200 packages. Where an environment has anything but `name-version.dist-info` folders (eggs, zip
files, finders of its own), importlib.metadata answers.
"""

from __future__ import annotations

import functools
import os
import re
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

_SUFFIX = ".dist-info"


class Installed(NamedTuple):
    """The distributions in the folders of `sys.path`; the first of a name counts."""

    versions: dict[str, str]
    """By normalised name."""
    is_all: bool
    """Whether `versions` has every installed distribution."""
    entry_points: tuple[str, ...]
    """Contents of all entry_points.txt."""


def version(name: str) -> str | None:
    """The version of an installed distribution; None where it is not installed."""
    installed = _installed()
    if name_version := installed.versions.get(_normalised(name)):
        return name_version
    if installed.is_all:
        return None
    from importlib import metadata

    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def versions_of(names: Iterable[str]) -> dict[str, str]:
    """Versions of those of these distributions that are installed."""
    return {name: number for name in names if (number := version(name)) is not None}


def entry_points(group: str) -> tuple[EntryPoint, ...]:
    """The entry points of this group that the installed distributions bring."""
    installed = _installed()
    header = re.compile(rf"^\s*\[\s*{re.escape(group)}\s*\]", re.MULTILINE)
    if installed.is_all and not any(header.search(text) for text in installed.entry_points):
        return ()
    return _loaded_entry_points(group, _state())


@functools.lru_cache(maxsize=8)
def _loaded_entry_points(group: str, state: object) -> tuple[EntryPoint, ...]:  # noqa: ARG001 - of the cache's key
    from importlib import metadata

    return tuple(metadata.entry_points(group=group))


def _installed() -> Installed:
    return _read(_state())


def _state() -> tuple[tuple[str, int], ...]:
    """The folders of `sys.path` and the time of each one's last change: every installation changes one of them."""
    state = []
    for path in sys.path:
        try:
            state.append((path, os.stat(path or ".").st_mtime_ns))
        except OSError:
            continue  # not there, as the zip file of the standard library mostly is
    return tuple(state)


@functools.lru_cache(maxsize=8)
def _read(state: tuple[tuple[str, int], ...]) -> Installed:
    versions: dict[str, str] = {}
    texts = []
    is_all = not any(
        hasattr(f, "find_distributions") and f.__module__ != "_frozen_importlib_external" for f in _finders()
    )
    for folder, _ in state:
        try:
            entries = os.listdir(folder or ".")
        except NotADirectoryError:
            is_all = False
            continue
        except OSError:
            continue
        for entry in entries:
            if entry.endswith((".egg-info", ".egg", ".egg-link")):
                is_all = False
            elif entry.endswith(_SUFFIX):
                name, separator, number = entry.removesuffix(_SUFFIX).partition("-")
                if not separator:
                    is_all = False
                    continue
                versions.setdefault(_normalised(name), number)
                try:
                    with open(os.path.join(folder, entry, "entry_points.txt"), encoding="utf-8") as file:
                        texts.append(file.read())
                except FileNotFoundError:
                    continue
                except (OSError, UnicodeDecodeError):
                    is_all = False
    return Installed(versions, is_all, tuple(texts))


def _finders() -> list[type]:
    return [finder if isinstance(finder, type) else type(finder) for finder in sys.meta_path]


def _normalised(name: str) -> str:
    return re.sub(r"[-_.]+", "_", name).lower()
