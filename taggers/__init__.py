"""The central interface: a tagger turns a batch of documents into columns. One file here = one tagger.

A module `taggers/<name>.py` defines the frozen dataclass of that tagger and names it `TAGGER`. Third parties register
the same kind of class under the entry-point group `tagcorpus.taggers`, or name a file of their own (`add_files`). Import the
pieces of such a class from here: Parameters, column, DocumentBatch.
"""

from __future__ import annotations

import dataclasses
import functools
import importlib
import math
import pkgutil
import types
import typing
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Protocol

from tagcorpus.errors import ConfigError, speaking_of, unknown_name
from tagcorpus.taggers._interface import files
from tagcorpus.taggers._interface.installed import entry_points

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

    import pyarrow as pa

    from tagcorpus.taggers._interface.base import Parameters, column
    from tagcorpus.taggers._interface.batch import DocumentBatch

__all__ = [
    "ENTRY_POINT_GROUP",
    "DocumentBatch",
    "Parameters",
    "Tagger",
    "add_files",
    "column",
    "fits",
    "load",
    "names",
    "plugin_names",
    "tagger_class",
    "type_text",
]

ENTRY_POINT_GROUP = "tagcorpus.taggers"


_MODULES = {"Parameters": "base", "column": "base", "DocumentBatch": "batch"}


def __getattr__(name: str) -> Any:
    """Names whose modules import pyarrow are imported when they are first used."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}._interface.{_MODULES[name]}"), name)


class Tagger(Protocol):
    """The members that a pipeline needs of a tagger. A tagger knows nothing of files, pipelines or clusters.

    These members are optional:
    needs            names of the document columns that the tagger reads besides the text (`a.b` works); `batch.column(name)` gives
                     their values, null where a document has none
    status_columns   names of the text columns that say why a value is missing; the ledger counts their values
    remarks(batch)   counts that the run reports besides the columns, by sentence
    bytes_read(batch)  bytes of UTF-8 of each document that decide its values, for a tagger that reads windows of long documents; the
                     run's summary says how much was left unread. None: the tagger does not say
    outdated(part)   why a part that an earlier version made with the same fingerprint is computed again; empty where it is kept
    """

    @property
    def version(self) -> str:
        """Raise the version whenever output changes: parts of another version are computed again."""
        ...

    @property
    def columns(self) -> pa.Schema:
        """The columns that the tagger adds. Field metadata holds `meaning`, `unit` and, where there is one, `source`."""
        ...

    def tag(self, batch: DocumentBatch) -> pa.RecordBatch:
        """Same rows, same order, exactly `columns`."""
        ...

    def fingerprint(self) -> dict[str, Any]:
        """The JSON values that, with name and version, decide the output."""
        ...


def names() -> list[str]:
    """Names of all known taggers, without importing any."""
    return sorted({*own_names(), *(e.name for e in entry_points(ENTRY_POINT_GROUP)), *files.known_files()})


def plugin_names() -> list[str]:
    """Names that other distributions bring, without importing any."""
    return sorted({e.name for e in entry_points(ENTRY_POINT_GROUP)})


def add_files(paths: Iterable[str]) -> None:
    """Make the taggers of these files known in this process; workers get them with the instances that use them.

    ConfigError for a file that is missing, cannot be run, has no TAGGER, or has the name of another tagger.
    """
    files.add_files(map(files.read_file, paths), {*own_names(), *plugin_names()})


@functools.cache
def own_names() -> tuple[str, ...]:
    """Names of the taggers in this folder, without importing any."""
    return tuple(m.name for m in pkgutil.iter_modules(__path__) if not m.name.startswith("_"))


def tagger_class(name: str) -> type[Any]:
    """The class behind a tagger name. ConfigError with the nearest known name for an unknown one, for a name that two
    distributions claim, and for a plug-in that cannot be loaded."""
    if name not in names():
        raise ConfigError(unknown_name("tagger", name, names(), "--taggers"))
    if file := files.known_files().get(name):
        return file.load()
    claims = [e for e in entry_points(ENTRY_POINT_GROUP) if e.name == name]
    if not claims:
        own_class: type[Any] = importlib.import_module(f"{__name__}.{name}").TAGGER
        return own_class
    origins = [_origin(c) for c in claims] + ["tagcorpus itself"] * (name in own_names())
    if len(origins) > 1:
        raise ConfigError(
            f"the tagger name {name!r} is claimed by {' and by '.join(origins)}. Uninstall one, or have its author rename it"
        )
    try:
        loaded = claims[0].load()
    except (Exception, SystemExit) as error:  # a foreign module may raise anything
        raise ConfigError(
            f"the tagger {name!r} of {origins[0]} cannot be loaded: {type(error).__name__}: {error}. Repair or uninstall "
            "that distribution; all other taggers work"
        ) from error
    if not (isinstance(loaded, type) and dataclasses.is_dataclass(loaded)):
        raise ConfigError(f"the tagger {name!r} of {origins[0]} must be a dataclass, got {loaded!r}")
    return loaded


def _origin(entry: EntryPoint) -> str:
    distribution = f"{entry.dist.name} {entry.dist.version}" if entry.dist else "an unknown distribution"
    return f"{distribution} ({entry.value})"


def load(name: str, params: Mapping[str, Any] | None = None, instance: str | None = None) -> Tagger:
    """Build a tagger. Raises ConfigError for an unknown tagger or parameter, for a value of the wrong type, and for a plug-in
    that is no tagger."""
    cls = tagger_class(name)
    fields = {f.name: f for f in dataclasses.fields(cls)}
    hints = typing.get_type_hints(cls)
    for key, value in (params or {}).items():
        where = f"--set {instance or name}.{key}"
        if key not in fields:
            raise ConfigError(
                unknown_name("parameter", key, fields, where) if fields else f"{name} has no parameters ({where})"
            )
        if not fits(value, hints[key]):
            raise ConfigError(f"{where} must be {type_text(hints[key])}, got {value!r}")
        if isinstance(value, float) and math.isnan(value):
            raise ConfigError(f"{where} must be a number, got nan")
    needed = [n for n, f in fields.items() if f.init and f.default is f.default_factory is dataclasses.MISSING]
    if missing := [n for n in needed if n not in (params or {})]:
        raise ConfigError(
            f"{instance or name} needs " + " and ".join(f"--set {instance or name}.{n}=…" for n in missing)
        )
    with speaking_of(instance or name, name):
        if name in own_names():
            tagger: Tagger = cls(**(params or {}))
            return tagger
        from tagcorpus.taggers._interface.contract import built

        foreign: Tagger = built(name, lambda: cls(**(params or {})))
        return foreign


def type_text(hint: Any) -> str:
    """A field's type in words."""
    if typing.get_origin(hint) is typing.Literal:
        return " or ".join(map(repr, typing.get_args(hint)))
    if typing.get_args(hint):
        return str(hint).replace(" | None", " or null").replace("None", "null")
    return str(getattr(hint, "__name__", hint))


def fits(value: Any, hint: Any) -> bool:
    """Whether a value from YAML has the declared type of a field. A float field also takes an int."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Literal:
        return value in arguments
    if origin in (typing.Union, types.UnionType):
        return any(fits(value, a) for a in arguments)
    if origin is list:
        return isinstance(value, list) and all(fits(v, arguments[0]) for v in value)
    if hint is float:
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    plain = origin or hint
    return isinstance(value, plain) and (plain is bool or not isinstance(value, bool))
