"""The text of `tagcorpus taggers`: all taggers with their columns, or one with meanings, units, sources and parameters.

The description of a parameter is in the table of the class docstring: the name, two spaces or more, and the text, which may
continue in indented lines.
"""

from __future__ import annotations

import dataclasses
import inspect
import json
import re
import sys
import typing
from collections.abc import Sequence
from typing import Any

from tagcorpus.pipelines.progress.wrapping import terminal_width, wrapped
from tagcorpus.requirements import how_to_install
from tagcorpus.taggers import Tagger, add_files, load, names, tagger_class, type_text

# Columns for a text beside its name; with fewer, the text is below the name.
LEAST_ROOM = 36
SHOWN_COLUMNS = 17
_ROW = re.compile(r"^(\w+) {2,}(\S.*(?:\n {2,}\S.*)*)", re.MULTILINE)


def taggers(name: str | None, tagger_module: Sequence[str] = ()) -> str:
    """All taggers, with those in the files `tagger_module`, or the page of one. Raises ConfigError for an unknown or broken tagger."""
    add_files(tagger_module)
    return "\n".join(_list() if name is None else _page(name))


def _list() -> list[str]:
    lines = []
    wide = max(map(len, names()), default=0)
    for known in names():
        try:
            cls, columns = tagger_class(known), load(known).columns.names
            more = f", and {len(columns) - SHOWN_COLUMNS:,} more" if len(columns) > SHOWN_COLUMNS else ""
            extra = f" [{cls.extra}]" if hasattr(cls, "extra") else ""
            lines += [
                *_wrapped(f"{_first_sentence(cls)}{extra}", f"{known:<{wide}} "),
                *_wrapped(f"{', '.join(columns[:SHOWN_COLUMNS])}{more}", " " * (wide + 1)),
            ]
        except Exception as error:  # a broken plug-in must not hide the others
            lines += _wrapped(f"cannot be used: {' '.join(str(error).split())}", f"{known:<{wide}} ")
    return [
        *lines,
        "",
        *_wrapped("tagcorpus taggers NAME: all columns with units, parameters, and the command for an extra [...]"),
    ]


def _page(name: str) -> list[str]:
    cls = tagger_class(name)
    tagger = load(name)
    lines = [*_wrapped(_first_sentence(cls), f"{name}: "), *_wrapped(f"version {tagger.version}")]
    if hasattr(cls, "extra"):
        lines += _wrapped(how_to_install(cls.extra), "needs ")
    lines += ["", "columns"]
    wide, wide_type = (max(map(len, texts)) for texts in (tagger.columns.names, map(_type_name, tagger.columns.types)))
    for field in tagger.columns:
        meaning = f"{_metadata(field, 'meaning')} [{_metadata(field, 'unit')}]"
        start = f"  {field.name:<{wide}}  {_type_name(field.type):<{wide_type}}  "
        lines += _wrapped(meaning, start)
    lines += ["", *_sources(tagger)]
    fields = dataclasses.fields(cls)
    if not fields:
        return [*lines, "no parameters"]
    lines.append("parameters")
    described = dict(_ROW.findall(inspect.getdoc(cls) or ""))
    hints = typing.get_type_hints(cls)
    for field in fields:
        value = getattr(tagger, field.name) if field.default is dataclasses.MISSING else field.default
        lines.append(f"  --set {name}.{field.name}={_as_yaml(value)}")
        description = " ".join(described.get(field.name, "").split())
        lines += _wrapped(f"{type_text(hints[field.name])}{': ' * bool(description)}{description}", " " * 6)
    return lines


def _sources(tagger: Tagger) -> list[str]:
    """The sources of all columns. Several sources are followed by their columns."""
    by_source: dict[str, list[str]] = {}
    for field in tagger.columns:
        by_source.setdefault(_metadata(field, "source"), []).append(field.name)
    by_source.pop("", None)
    if not by_source:
        return []
    if len(by_source) == 1:
        return [*_wrapped(next(iter(by_source)), "source  "), ""]
    return ["sources", *(line for s, of in by_source.items() for line in _wrapped(f"{s}: {', '.join(of)}", "  ")), ""]


def _metadata(field: Any, key: str) -> str:
    return str((field.metadata or {}).get(key.encode(), b"").decode())


def _type_name(type_: Any) -> str:
    return str(type_).replace("list<item: ", "list<").replace("list<element: ", "list<")


def _as_yaml(value: Any) -> str:
    return f"'{value}'" if isinstance(value, str) else json.dumps(value)


def _wrapped(text: str, start: str = "") -> list[str]:
    """Lines as wide as the terminal, below the end of `start`, or below its beginning if there is little room; one line
    without a terminal."""
    width = terminal_width(sys.stdout)
    if not width:
        return [start + text]
    if start.strip() and len(start) + LEAST_ROOM > width:
        return [start.rstrip(), *wrapped(text, width, " " * 6)]
    return wrapped(text, width, start)


def _first_sentence(cls: type[Any]) -> str:
    paragraph = " ".join((cls.__doc__ or "").strip().partition("\n\n")[0].split())
    return paragraph.partition(". ")[0].removesuffix(".")
