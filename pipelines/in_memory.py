"""`tagcorpus.tag` and `tagcorpus.TextTagger`: taggers on texts that are in memory already, without files."""

from __future__ import annotations

import json
import os
import threading
import warnings
import weakref
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pyarrow as pa

from tagcorpus.errors import ConfigError, InputTypeError, speaking_of, unknown_name
from tagcorpus.pipelines.attributes.parts import Instance, absent_columns, needed
from tagcorpus.pipelines.options.python_words import python_words
from tagcorpus.pipelines.options.tagger_names import instance_names
from tagcorpus.pipelines.readers.arrow_tables import Documents, Texts, documents
from tagcorpus.pipelines.readers.reader import BATCH_ROWS
from tagcorpus.pipelines.runs.instances import load_free
from tagcorpus.taggers._interface.batch import DocumentBatch
from tagcorpus.taggers._interface.files import known_files

DEFAULT_TAGGERS = ("length", "tokens", "keywords", "language", "repetition")
# Sets of taggers that `tag` keeps; each may hold a model of some GB.
MOST_KEPT = 4


class TextTagger:
    """Taggers that are built once, and used on any number of texts.

        tagger = tagcorpus.TextTagger(["length", "tokens"])
        table = tagger(["How do I make bread?"])

    taggers     names, or `instance=tagger`
    parameters  of each instance, by its name

    Threads share one object by a lock: one call computes at a time. For more at once, use processes, or one object for each
    thread. A pickle holds names and parameters, and a model is loaded where it is first used. A file that a parameter names is
    read once; build another object after it has changed. Raises ConfigError for unknown names and parameters, and for `domain`
    with an LLM (use `tagcorpus.run`).
    """

    def __init__(
        self,
        taggers: Sequence[str] | str = DEFAULT_TAGGERS,
        parameters: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> None:
        given = parameters or {}
        entries = _entries(taggers)
        with python_words(are_parameters=True):
            names = instance_names(entries)
            for section in sorted(set(given) - set(names)):
                raise ConfigError(unknown_name("instance", section, names, "parameters"))
            self._set([Instance(n, t, load_free(t, dict(given.get(n, {})), n)) for n, t in names.items()])

    def _set(self, instances: list[Instance]) -> None:
        self._instances = instances
        self._lock = threading.RLock()
        _living.add(self)

    def __getstate__(self) -> list[Instance]:
        return self._instances

    def __setstate__(self, instances: list[Instance]) -> None:
        self._set(instances)

    def __repr__(self) -> str:
        return f"TextTagger({[f'{i.name}={i.tagger_name}' for i in self._instances]!r})"

    def unlock(self) -> None:
        """Forget a lock that another thread holds in the process which this one was forked from."""
        self._lock = threading.RLock()

    def __call__(self, texts: Texts, *, text_column: str = "", id_column: str = "") -> pa.Table:
        """As `tagcorpus.tag`."""
        given = documents(texts, text_column, id_column)
        with self._lock, python_words(are_parameters=True):
            return _joined(given, self._columns(given))

    def _columns(self, given: Documents) -> list[tuple[pa.Field, pa.ChunkedArray]]:
        """What all instances give, with nulls in the rows that have no text."""
        rows = [row for row, text in enumerate(given.texts) if text is not None]
        columns_of = {c: given.values_of(c) for c in needed(self._instances)}
        present = [c for c, values in columns_of.items() if any(v is not None for v in values)]
        for message in absent_columns(self._instances, present) if rows else ():
            warnings.warn(message, stacklevel=4)
        batches = [
            DocumentBatch.from_texts(
                [given.texts[r] or "" for r in some],
                [given.ids[r] for r in some],
                {c: [values[r] for r in some] for c, values in columns_of.items()},
            )
            for some in (rows[i : i + BATCH_ROWS] for i in range(0, len(rows), BATCH_ROWS))
        ]
        columns: list[tuple[pa.Field, pa.ChunkedArray]] = []
        for instance in self._instances:
            tagger = instance.tagger
            with speaking_of(instance.name, instance.tagger_name):
                table = pa.Table.from_batches([tagger.tag(b) for b in batches], tagger.columns)
            if len(rows) < len(given.texts):
                place = dict(zip(rows, range(len(rows)), strict=True))
                table = table.take(pa.array([place.get(r) for r in range(len(given.texts))], pa.int64()))
            fields = (f.with_name(f"{instance.name}.{f.name}") for f in tagger.columns)
            columns += zip(fields, table.columns, strict=True)
        return columns


_living: weakref.WeakSet[TextTagger] = weakref.WeakSet()
_kept: OrderedDict[object, TextTagger] = OrderedDict()
_keeping = threading.Lock()


def tag(
    texts: Texts,
    taggers: Sequence[str] | str = DEFAULT_TAGGERS,
    parameters: Mapping[str, Mapping[str, Any]] | None = None,
    *,
    text_column: str = "",
    id_column: str = "",
) -> pa.Table:
    """Tags of texts, one row each, in order.

    texts        a table: whatever exports Arrow (pandas, polars, DuckDB, Hugging Face datasets, pyarrow), or a mapping of columns;
                 or a sequence of str and None, such as a list, a numpy array or a column of any of these
    taggers      names, or `instance=tagger`
    parameters   by instance name
    text_column  of a table: the column with the texts (`a.b` works); default text, content or raw_content
    id_column    of a table: the column with the ids; default id, else doc_id, else the row's number
    returns      `row` (int64, from 0), `id` (string), the table's other columns, and `<instance>.<column>` of all instances. A
                 column of the table whose name is taken so is called `input.<name>`

    A text that is None or null gives a row of nulls. Taggers are built at the first call and kept for later ones (the last 4
    sets of them, in this process). Warns where no row has a value in a column that a parameter
    names. Raises TypeError for anything else than texts or tables, ConfigError for unknown names, parameters and columns, and for `domain` with an LLM (use `run`).
    """
    return _kept_tagger(taggers, parameters)(texts, text_column=text_column, id_column=id_column)


def _joined(given: Documents, tags: list[tuple[pa.Field, pa.ChunkedArray]]) -> pa.Table:
    n = len(given.texts)
    first = [
        (pa.field("row", pa.int64()), pa.array(range(n), pa.int64())),
        (pa.field("id", pa.string()), pa.array(given.ids, pa.string())),
    ]
    taken = {field.name for field, _ in (*first, *tags)}
    others = []
    for field, column in given.others():
        name = field.name
        while name in taken:
            name = f"input.{name}"
        taken.add(name)
        others.append((field.with_name(name), column))
    fields, columns = zip(*first, *others, *tags, strict=True)
    return pa.table(list(columns), schema=pa.schema(list(fields)))


def _entries(taggers: Sequence[str] | str) -> tuple[str, ...]:
    """Names of taggers, one or several. Raises InputTypeError for anything else."""
    entries = (taggers,) if isinstance(taggers, str) else tuple(taggers) if isinstance(taggers, Iterable) else (None,)
    if not all(isinstance(entry, str) for entry in entries):
        raise InputTypeError(f"taggers takes names, such as ['length', 'tokens'], got {taggers!r}")
    return entries


def _kept_tagger(taggers: Sequence[str] | str, parameters: Mapping[str, Mapping[str, Any]] | None) -> TextTagger:
    """One that an earlier call has built, if nothing has changed since: names, parameters, files that these name."""
    names = _entries(taggers)
    files = [(path, _stamp(path)) for p in (parameters or {}).values() for path in p.values() if isinstance(path, str)]
    plugins = tuple((file.name, file.digest) for file in known_files().values())
    key = (names, json.dumps(parameters, sort_keys=True, default=repr), tuple(files), plugins)
    with _keeping:
        if key in _kept:
            _kept.move_to_end(key)
            return _kept[key]
    tagger = TextTagger(names, parameters)
    with _keeping:
        _kept[key] = tagger
        while len(_kept) > MOST_KEPT:
            _kept.popitem(last=False)
    return tagger


def _stamp(path: str) -> tuple[tuple[int, int, int], ...]:
    """Tells a file, or a folder's files, from what was there before; empty where a parameter is no path."""
    try:
        files = [path, *(entry.path for entry in os.scandir(path))] if os.path.isdir(path) else [path]
        return tuple((s.st_ino, s.st_size, s.st_mtime_ns) for s in map(os.stat, files))
    except (OSError, ValueError):
        return ()


def _after_fork() -> None:
    """A lock that another thread of the parent held stays locked in the child for ever."""
    global _keeping  # noqa: PLW0603
    _keeping = threading.Lock()
    for tagger in _living:
        tagger.unlock()


os.register_at_fork(after_in_child=_after_fork)
