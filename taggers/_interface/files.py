"""Taggers from single files that a user names (`--tagger-module FILE.py`), and how their code reaches workers.

The file's stem is the tagger's name, and its `TAGGER` is the class. The content decides the module name in this process. An
instance's pickle carries the content, so a worker on any machine needs no path, and editing the file during a run does not change
the run. Packages that the file imports must be installed on the workers.
"""

from __future__ import annotations

import dataclasses
import os
import sys
import types
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from tagcorpus.errors import ConfigError
from tagcorpus.taggers._interface import digest

OPTION = "--tagger-module"


@dataclass(frozen=True)
class TaggerFile:
    """Name, content and place of a file that defines one tagger."""

    name: str
    source: bytes
    path: str = field(compare=False)

    @cached_property
    def digest(self) -> str:
        return digest.of_bytes(self.source)

    @property
    def module_name(self) -> str:
        return f"tagcorpus_tagger_{self.name}_{self.digest.rpartition(':')[2]}"

    def load(self) -> type[Any]:
        """The class that the file calls TAGGER. ConfigError where there is none, or the file cannot be run."""
        module = sys.modules.get(self.module_name)
        if module is None:
            module = types.ModuleType(self.module_name)
            module.__file__ = self.path
            sys.modules[self.module_name] = module  # dataclasses look there during the execution
            try:
                exec(compile(self.source, self.path, "exec"), module.__dict__)
            except BaseException as error:
                del sys.modules[self.module_name]
                if not isinstance(error, (Exception, SystemExit)):
                    raise
                line = f", line {error.lineno}" if isinstance(error, SyntaxError) and error.lineno else ""
                reason = error.msg if isinstance(error, SyntaxError) else error
                raise ConfigError(
                    f"{OPTION} {self.path}{line} cannot be loaded: {type(error).__name__}: {reason}"
                ) from error
        tagger = getattr(module, "TAGGER", None)
        if tagger is None:
            raise ConfigError(f"{OPTION} {self.path} has no TAGGER: end it with TAGGER = the tagger's class")
        if not (
            isinstance(tagger, type) and dataclasses.is_dataclass(tagger) and tagger.__module__ == self.module_name
        ):
            raise ConfigError(
                f"{OPTION} {self.path}: TAGGER must be a dataclass that this file defines, got {tagger!r}"
            )
        _loaded[self.module_name] = self
        return tagger


_loaded: dict[str, TaggerFile] = {}
_known: dict[str, TaggerFile] = {}


def known_files() -> dict[str, TaggerFile]:
    """The files added in this process, by tagger name."""
    return _known


def file_of(tagger: object) -> TaggerFile | None:
    """The file that a tagger's class comes from; None for one that is installed."""
    return _loaded.get(type(tagger).__module__)


def add_files(files: Iterable[TaggerFile], taken: Iterable[str]) -> None:
    """Make taggers known. A file takes the place of an earlier one of its name. ConfigError for a name in `taken`, for two
    files of one name, and for what `load` refuses."""
    added: dict[str, TaggerFile] = {}
    taken = set(taken)
    for one in files:
        if one.name in taken:
            raise ConfigError(
                f"{OPTION} {one.path}: there is a tagger {one.name!r} already; give the file another name"
            )
        if added.setdefault(one.name, one).path != one.path:
            raise ConfigError(
                f"{OPTION} {added[one.name].path} and {one.path} would both be the tagger {one.name!r}; rename one"
            )
        one.load()
    _known.update(added)


def read_file(path: str) -> TaggerFile:
    """ConfigError for a file that is not there, or whose name can be no tagger's."""
    name, suffix = os.path.splitext(os.path.basename(path))
    if suffix != ".py" or not name.isidentifier() or name.startswith("_"):
        raise ConfigError(
            f"{OPTION} takes a file NAME.py, whose NAME (letters, digits, _; no _ first) is the tagger's; got {path!r}"
        )
    try:
        with open(path, "rb") as file:
            return TaggerFile(name, file.read(), path)
    except OSError as error:
        raise ConfigError(f"{OPTION} {path}: {error.strerror}") from error
