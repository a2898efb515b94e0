"""Columns of `--where`: the names in a condition, resolved to attribute columns of an output.

Every column of every instance is known by its name where only one instance has it, and always as `instance.column`
(or `"instance.column"`); `input`, `row`, `sub` and `id` are there too. Nothing is computed. A column
that is missing, or made from another state of the input, is an error that names the command which makes the column.
"""

from __future__ import annotations

import dataclasses
import difflib
import json
import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tagcorpus.errors import ConfigError, InputError, TagcorpusError, unknown_name
from tagcorpus.pipelines.attributes.parts import Instance
from tagcorpus.pipelines.attributes.read import instance_folders, own_columns, recorded
from tagcorpus.pipelines.attributes.resuming import ResumeState, resume_state
from tagcorpus.pipelines.filtering.condition import quoted
from tagcorpus.pipelines.options.commands.tag import TagOptions
from tagcorpus.pipelines.options.declaring.common import Options
from tagcorpus.pipelines.options.tree import OPTIONS, pipelines
from tagcorpus.pipelines.readers.plan import Plan
from tagcorpus.pipelines.readers.reader import ReaderOptions
from tagcorpus.pipelines.storage.folder import Folder
from tagcorpus.taggers import load, names, tagger_class

MOST_LISTED = 40
SHOWN_VALUES = 8
KEYS = ("input", "row", "sub", "id")
# Options of `run filter` that `run tag` needs, too, for the same plan.
SAME_OPTIONS = (
    *("input", "output", "glob", "exclude", "text_column", "id_column", "resps_format", "limit", "sample"),
    *("seed", "chunk_bytes", "max_line_bytes"),
)
WITHOUT_OPTION = ("chunk_bytes", "max_line_bytes")

Columns = dict[str, list[str]]
"""Instance -> some of its columns."""


def known_columns(output: Folder) -> Columns:
    """The columns of every instance in an output."""
    return {i: own_columns(output, i) for i in instance_folders(output)}


def resolve(
    named: Sequence[Sequence[str]], known: Columns, output: Folder, options: Options, option: str = "--where"
) -> Columns:
    """The columns that a condition needs, by instance: at least one instance, whose rows are then looked at. option: for messages.

    Raises ConfigError for a name that several columns have, or none; with the command that makes it where there is one.
    """
    columns_by_instance: Columns = {}
    missing: dict[str, str] = {}
    for parts in named:
        maker = _maker(parts, known)
        if maker is not None:
            missing[".".join(parts)] = maker
        elif (owner := _owner(parts, known, output, options)) is not None and owner[
            1
        ] not in columns_by_instance.setdefault(owner[0], []):
            columns_by_instance[owner[0]].append(owner[1])
    if missing:
        quoted = ", ".join(map(repr, missing))
        raise ConfigError(
            f"{option}: no attributes in {output} have {quoted}. First {_commands(options, missing.values())}"
        )
    if not columns_by_instance and not known:
        raise ConfigError(f"{output} has no attributes, which {option} needs. First {command(options, [])}")
    return columns_by_instance or {next(iter(known)): []}


def _owner(parts: Sequence[str], known: Columns, output: Folder, options: Options) -> tuple[str, str] | None:
    """(instance, column) of a name that is there; None for `row` and the like, which every part has."""
    first, reference = parts[0].lower(), ".".join(parts)
    instance = next((i for i in known if i.lower() == first), None)
    if len(parts) > 1 and instance is not None:
        column = next((c for c in known[instance] if c.lower() == parts[1].lower()), None)
        if column is None:
            raise ConfigError(unknown_name(f"column of {instance}", parts[1], known[instance], f"--where {reference}"))
        return instance, column
    if first in KEYS:
        return None
    owners = [(i, c) for i, own in known.items() for c in own if first in (c.lower(), f"{i}.{c}".lower())]
    if len(owners) > 1:
        candidates = ", ".join(f"{quoted(i)}.{quoted(c)}" for i, c in owners)
        raise ConfigError(f"{reference!r} could be {candidates} in {output}; say which")
    if not owners and instance is not None:
        raise ConfigError(f"{reference!r} is an instance; say {reference}.COLUMN, one of {', '.join(known[instance])}")
    if not owners:
        raise ConfigError(_unknown(parts, known, output, options))
    return owners[0]


def _unknown(parts: Sequence[str], known: Columns, output: Folder, options: Options) -> str:
    """One sentence on a name that no column has: the nearest one, computed or not, and all that are there."""
    reference = ".".join(parts)
    there = [f"{i}.{c}" for i, own in known.items() for c in own]
    usual = _usual()
    absent = sorted((t for t in names() if t not in known), key=lambda t: t not in usual)
    makeable = [f"{t}.{c}" for t in absent for c in _columns_of(t)]
    # A name alone is compared with names alone; of several columns that have it, those that are there come first.
    full: dict[str, str] = {}
    for name in [*KEYS, *there, *makeable]:
        full.setdefault((name if len(parts) > 1 else name.rpartition(".")[2]).lower(), name)
    near = difflib.get_close_matches(reference.lower(), full, n=1, cutoff=0.6)
    said, first = f"unknown column {reference!r} (in {output})", ""
    if len(parts) == 1 and _is_compared_with(reference, getattr(options, "where", None) or ""):
        said += f": write a text in single quotes: '{reference}'."
    elif near:
        name = full[near[0]]
        said += f": did you mean {name!r}?"
        if name in makeable:
            said += " It is not computed yet."
            first = f". First {_commands(options, [name.partition('.')[0]])}"
    else:
        said += ". Fields of the documents are not columns: `run tag --with-text --output FILE.parquet` puts text, fields and tags into one file for DuckDB."
    columns = there if len(there) <= MOST_LISTED else [f"{instance}.*" for instance in known]
    return f"{said} Known here: {', '.join([*KEYS, *columns])}; all that there can be: tagcorpus taggers{first}"


def _is_compared_with(name: str, sql: str) -> bool:
    """Whether the name is in the place of a value: behind = or <>, LIKE, or within IN (...)."""
    before = r"(?:(?<![<>])=|<>|\bI?LIKE\b|\bIN\s*\([^()]*)"
    return re.search(rf"{before}\s*\"?{re.escape(name)}\b", sql, re.IGNORECASE) is not None


def _maker(parts: Sequence[str], known: Columns) -> str | None:
    """The tagger that makes a missing column; if several do, preferably one that `run tag` uses by default."""
    first = parts[0].lower()
    if any(first in (i.lower(), *(c.lower() for c in own)) for i, own in known.items()) or first in KEYS:
        return None
    if len(parts) > 1:
        return parts[0] if parts[0] in names() else None
    usual = _usual()
    makers = [t for t in names() if first in map(str.lower, _columns_of(t))]
    return min(makers, key=lambda t: (t not in usual, t in pipelines()), default=None)


def command_for(name: str, known: Columns, options: Options) -> str | None:
    """The command that makes a column that is not there; None where no tagger does."""
    maker = _maker(name.split("."), known)
    return None if maker is None else _commands(options, [maker])


def _usual() -> list[str]:
    """The taggers that `run tag` uses by default."""
    return TagOptions().taggers


def _columns_of(tagger: str) -> list[str]:
    try:
        columns: list[str] = load(tagger).columns.names
        return columns
    except (TagcorpusError, ImportError):
        return []  # somebody's tagger that does not work here


def _commands(options: Options, taggers: Iterable[str]) -> str:
    """The commands that make the columns of these taggers: `run tag`, and a pipeline of its own where a tagger has one."""
    chosen = list(dict.fromkeys(taggers))
    alone = [[t] for t in chosen if t in pipelines()]
    together = [t for t in chosen if t not in pipelines()]
    return "; then ".join(command(options, entries) for entries in [together, *alone] if entries)


def command(options: Options, entries: Sequence[str]) -> str:
    """The command that makes these instances (with none named, the usual ones) over the same input."""
    pipeline = entries[0] if len(entries) == 1 and entries[0] in pipelines() else "tag"
    defaults = OPTIONS[pipeline]()
    words = ["tagcorpus", "run", pipeline]
    for name in SAME_OPTIONS:
        value = getattr(options, name)
        if name == "output" and str(value).lower().endswith(options.RESULT_SUFFIXES):
            value = options.work  # the folder of a run whose main result goes to one file
        if value == getattr(defaults, name):
            continue
        if name in WITHOUT_OPTION:
            words += ["--set", f"{name}={value}"]
        elif value is True:
            words.append(f"--{name.replace('_', '-')}")
        else:
            for one in value if isinstance(value, list) else [value]:
                words += [f"--{name.replace('_', '-')}", str(one)]
    return shlex.join([*words, *(["--taggers", ",".join(entries)] if entries and pipeline == "tag" else [])])


def look_up(
    output: Folder,
    plan: Plan,
    reader_options: ReaderOptions,
    columns: Columns,
    options: Options,
    option: str = "--where",
) -> tuple[list[Instance], ResumeState]:
    """The instances as they are recorded, and their parts, all of which fit the plan. option: for messages.

    Raises InputError with the command to run where parts are missing, or made of other input, settings or versions.
    """
    every = [recorded(output, name, plan.files[0]) for name in columns]
    instances = [dataclasses.replace(i, chosen={}, is_whole_enough=False) for i in every]  # of all documents
    there = resume_state(output, plan, reader_options, instances, is_onlooker=options.dry_run)
    n_chunks = len(plan.chunks)
    for instance in instances:
        todo = sum((rank, instance.name) not in there.done for rank in range(n_chunks))
        tagger = instance.tagger_name
        own = tagger if tagger in (instance.name, *pipelines()) else f"{instance.name}={tagger}"
        remedy = command(options, [own])
        if not _has_default_parameters(instance):
            remedy += f" (with its parameters, see {output.path(f'attributes/{instance.name}/tagger.json')})"
        if todo:
            raise InputError(
                f"{option}: {todo:,} of {n_chunks:,} chunks have no part of {instance.name!r} in {output} that fits the "
                f"input and these options. First {remedy}"
            )
        current = getattr(_class(instance.tagger_name), "version", None)
        if isinstance(current, str) and current != instance.tagger.version:
            raise InputError(
                f"{option}: {instance.name!r} in {output} is of version {instance.tagger.version} of its tagger, now "
                f"{current} is installed. First {remedy}"
            )
    return instances, there


def values_there(summary: Mapping[str, Any], columns: Mapping[str, Sequence[str]]) -> list[str]:
    """For a condition that keeps nothing, a sentence on the values of each text column in it. summary: of the run."""
    sentences = []
    for instance, own in columns.items():
        summaries = summary["instances"][instance]["columns"]
        for column in own:
            values = list(summaries.get(column, {}).get("top", ()))
            if values:
                listed = ", ".join(repr(value) for value in values[:SHOWN_VALUES])
                more = " and others" if summaries[column].get("distinct", 0) > min(len(values), SHOWN_VALUES) else ""
                sentences.append(f"no document is kept: the values of {instance}.{column} are {listed}{more}")
    return sentences


def _class(tagger: str) -> type[Any] | None:
    try:
        return tagger_class(tagger)
    except (TagcorpusError, ImportError):
        return None  # made where that tagger is installed


def _has_default_parameters(instance: Instance) -> bool:
    try:
        fingerprint: Mapping[str, Any] = load(instance.tagger_name).fingerprint()
    except (TagcorpusError, ImportError):
        return False
    return bool(json.loads(json.dumps(fingerprint)) == instance.tagger.fingerprint())
