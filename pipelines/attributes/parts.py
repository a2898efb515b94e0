"""Parts: one Parquet file per chunk and tagger instance, the only marker that a chunk is done.

A part holds `row`, `sub`, `id` and the instance's columns. Its footer carries the key of everything that decided its
content, and what the chunk counted; nothing in it depends on when, where or by how many workers it was made.
"""

from __future__ import annotations

import dataclasses
import io
import json
import os
import pickle
import platform
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq
import xxhash

from tagcorpus.errors import (
    ConfigError,
    InputError,
    LostRowsError,
    ReplacedError,
    speaking_of,
)
from tagcorpus.pipelines.attributes import digests
from tagcorpus.pipelines.inputs.chunks import Counts
from tagcorpus.pipelines.readers.plan import Plan, PlannedFile
from tagcorpus.pipelines.readers.reader import ReaderOptions
from tagcorpus.pipelines.storage.folder import Folder
from tagcorpus.pipelines.storage.remote import ahead
from tagcorpus.taggers import Tagger
from tagcorpus.taggers._interface.base import LATER
from tagcorpus.taggers._interface.files import TaggerFile, file_of

T = TypeVar("T")
U = TypeVar("U")

ROW_GROUP_ROWS = 65_536
KEYS = (pa.field("row", pa.int64()), pa.field("sub", pa.int32()), pa.field("id", pa.string()))
PART_VERSION = 1


@dataclass(frozen=True)
class Instance:
    """A tagger in use: `name` is the folder its parts lie in, `tagger_name` the file it comes from."""

    name: str
    tagger_name: str
    tagger: Tagger
    chosen: Mapping[str, Any] = field(default_factory=dict, hash=False)
    """By a file's name, what decides which of its rows are tagged at all; empty: all rows of all files are."""
    is_whole_enough: bool = False
    """With `chosen`: whether parts of all rows, as another run may have published them, are as good."""

    def choice_in(self, file_name: str) -> dict[str, Any]:
        """What is to be added to `identity` for the parts of a file: what decides which of its rows are tagged."""
        return {"chosen": self.chosen[file_name]} if file_name in self.chosen else {}

    @property
    def later_columns(self) -> pa.Schema:
        """Columns that its parts of earlier versions do not have, and that are missing values there."""
        return pa.schema([f for f in self.tagger.columns if {k.encode() for k in LATER} <= (f.metadata or {}).keys()])

    def identity(self) -> dict[str, Any]:
        """What decides its output. `version` covers the code of a plug-in file too, so that parts of changed code are
        computed again; `needs` is there where the tagger reads more of a document than its text."""
        return dict(self._identity)

    @cached_property
    def _identity(self) -> dict[str, Any]:
        identity: dict[str, Any] = {"tagger": self.tagger_name, "version": self.tagger.version}
        if code := file_of(self.tagger):
            identity["version"] += f", code {code.digest}"
        with speaking_of(self.name, self.tagger_name):
            identity["parameters"] = self.tagger.fingerprint()
        return identity | ({"needs": list(needs)} if (needs := needed([self])) else {})

    def __reduce__(self) -> Any:
        """A tagger out of a plug-in file takes its file along: a worker has no other way to the code. The version goes with
        it too, as that of some depends on what is installed."""
        tagger = self.tagger
        rest = (dict(self.chosen), self.is_whole_enough)
        return _unpacked, (self.name, self.tagger_name, tagger.version, file_of(tagger), pickle.dumps(tagger), *rest)


def _unpacked(
    name: str,
    tagger_name: str,
    version: str,
    code: TaggerFile | None,
    pickled: bytes,
    chosen: dict[str, Any],
    is_whole_enough: bool,
) -> Instance:
    if code is not None:
        code.load()
    tagger: Tagger = pickle.loads(pickled)
    if tagger.version != version:
        raise ConfigError(
            f"node {platform.node()} would compute {name!r} with version {tagger.version} of the tagger {tagger_name!r}, the "
            f"launcher has {version}: results could differ; install the same packages there"
        )
    return Instance(name, tagger_name, tagger, chosen, is_whole_enough)


def needed(instances: Iterable[Instance]) -> tuple[str, ...]:
    """The document columns that these taggers read besides the text: what their `needs` name."""
    return tuple(sorted({c for i in instances for c in getattr(i.tagger, "needs", ())}))


def absent_columns(instances: Iterable[Instance], columns: Collection[str]) -> list[str]:
    """A sentence for each document column that a parameter names and that is not among `columns`, those with any value.

    A tagger does without its default column where no document has it, but a name that the user gave is meant.
    """
    messages = []
    for instance in instances:
        tagger: Any = instance.tagger
        parameters = dataclasses.fields(tagger) if dataclasses.is_dataclass(tagger) else ()
        given = {getattr(tagger, p.name): p.name for p in parameters if isinstance(getattr(tagger, p.name), str)}
        defaults = {p.default for p in parameters if isinstance(p.default, str)}
        messages += [
            f"no document has a value in the column {column!r}, which {instance.name}.{given[column]} names"
            for column in needed([instance])
            if column in given and column not in defaults and column not in columns
        ]
    return messages


@dataclass(frozen=True)
class StoredPart:
    """What the footer of a part says: key, what the chunk counted, and how many rows there are; and the footer's digest."""

    key: str
    counts: Counts
    rows: int = 0
    digest: str = ""

    def accounts_for(self, planned_rows: int) -> bool:
        """Whether every planned row is accounted for, and every document is there."""
        try:
            self.counts.check(planned_rows, self.rows, "")
        except LostRowsError:
            return False
        return True


def part_name(instance: str, file_name: str, k: int) -> str:
    return f"attributes/{instance}/{file_name}/part-{k:05d}.parquet"


def quarantine_name(file_name: str, k: int, instance: str = "") -> str:
    """The reader's entries of a chunk; with an instance, the rows that its tagger failed on. One owner per file, so
    that adding a tagger rewrites nobody else's lines."""
    return f"quarantine/{file_name}/part-{k:05d}{'.' if instance else ''}{instance}.jsonl"


def unread_name(instance: str, file_name: str, k: int) -> str:
    """The receipt of what a part's tagger did not read."""
    return f"unread/{instance}/{file_name}/part-{k:05d}.json"


def part_key(planned: PlannedFile, k: int, reader_options: ReaderOptions, identity: dict[str, Any]) -> str:
    """xxh3-128 of everything that decides a part's content."""
    r = planned.chunks[k]
    parts = {
        "part": PART_VERSION,
        "input": os.fsencode(planned.file.name).decode("utf-8", "surrogateescape"),  # in any locale the same
        "format": planned.file.format,
        "digest": r.digest,
        "first_row": r.first_row,
        "rows": r.rows,
        "start": r.start,
        "skipped": r.skipped,
        "broken": r.broken,
        "reading": reader_options.fingerprint(),
        "tagger": identity,
    }
    if needs := identity.get("needs"):
        # A line's digest covers all of it; of a table, each column has one.
        parts["columns"] = [(name, dict(r.columns).get(name)) for name in needs]
    return xxhash.xxh3_128_hexdigest(json.dumps(parts, sort_keys=True).encode())


def reader_key(planned: PlannedFile, k: int, reader_options: ReaderOptions) -> str:
    """The key of what the reader puts in quarantine, which hangs on the columns that taggers need as well."""
    return part_key(
        planned, k, reader_options, {"quarantine": list(reader_options.columns), "needs": list(reader_options.columns)}
    )


def keys_of(planned: PlannedFile, k: int, instance: Instance, reader_options: ReaderOptions | None = None) -> set[str]:
    """The keys with which a part counts as the instance's part of a chunk, read as the plan says or in another way."""
    choices = [instance.choice_in(planned.file.name), *([{}] if instance.is_whole_enough else [])]
    return {part_key(planned, k, reader_options or planned.reader_options, instance.identity() | c) for c in choices}


def write_part(
    output: Folder,
    name: str,
    schema: pa.Schema,
    batches: Iterable[pa.RecordBatch],
    key: str,
    counts: Counts,
    failures: str = "",
) -> str:
    """Build the part whole in memory and publish it. Only the footer's `tagcorpus.*` entries tell parts apart.

    failures  digest of the rows that the tagger failed on. Returns the part's entry for `digests`.
    """
    metadata = {"tagcorpus.counts": json.dumps(counts.to_json(), sort_keys=True), "tagcorpus.key": key}
    table = pa.Table.from_batches(batches, pa.schema([*KEYS, *schema])).combine_chunks()
    sink = io.BytesIO()
    pq.write_table(
        table.replace_schema_metadata(metadata),
        sink,
        compression="zstd",
        compression_level=3,
        row_group_size=ROW_GROUP_ROWS,
        write_page_checksum=True,
    )
    output.publish(name, sink.getvalue())
    return digests.entry(key, digests.footer_of(sink.getvalue()), failures)


def part_of(
    output: Folder,
    planned: PlannedFile,
    k: int,
    instance: Instance,
    columns: Sequence[str] | None = None,
    reader_options: ReaderOptions | None = None,
) -> pa.Table:
    """These columns, or all, of the part that an instance has of a chunk, proven by its key to be just that part.

    reader_options  with which the documents were read, if not those of the plan

    Raises InputError for a part that is not there, or is damaged, ReplacedError for one of other options or input.
    """
    name = part_name(instance.name, planned.file.name, k)
    table = read_part(output, name, columns, instance.later_columns)
    if key_in(table) not in keys_of(planned, k, instance, reader_options):
        raise replaced(output, name)
    return table


def key_in(table: pa.Table) -> str:
    """The key of the part that a table was read from; empty where it has none."""
    return str((table.schema.metadata or {}).get(b"tagcorpus.key", b"").decode())


def replaced(output: Folder, name: str) -> ReplacedError:
    return ReplacedError(
        f"{output}/{name} is of another run: its key is not that of this input with these options. Let the other run end, "
        "then run the same command again"
    )


def prove(output: Folder, plan: Plan, instances: Iterable[Instance]) -> None:
    """Raise ReplacedError where a part of the plan is not, or no longer, the one that its key says."""
    parts = [(i, planned, k) for i in instances for planned, k in plan.chunks]
    names = [part_name(i.name, planned.file.name, k) for i, planned, k in parts]
    for (instance, planned, k), name, stored in zip(parts, names, stored_parts(output, names), strict=True):
        if stored is None or stored.key not in keys_of(planned, k, instance):
            raise replaced(output, name)


def read_part(
    output: Folder, name: str, columns: Sequence[str] | None = None, later: pa.Schema | None = None
) -> pa.Table:
    """These columns of a published part, or all, whatever its key is; its pages are held against their checksums. Of `later`,
    those that it does not have are missing values.

    Raises InputError for a part that is not there, or is damaged.
    """
    try:
        # Not `pq.read_table`, which imports pyarrow.dataset.
        with output.open(name) as file, pq.ParquetFile(file, pre_buffer=True, page_checksum_verification=True) as part:
            absent = [f for f in later or () if f.name not in part.schema_arrow.names]
            names = None if columns is None else [c for c in columns if c not in {f.name for f in absent}]
            table = part.read(columns=names, use_threads=False)
            for field in absent:
                table = table.append_column(field, pa.nulls(table.num_rows, field.type))
            return table if columns is None else table.select(list(columns))
    except FileNotFoundError as error:
        raise InputError(f"{output}/{name} is missing: the run is incomplete, run it again") from error
    except (pa.ArrowException, OSError, KeyError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # of the file system; Arrow's own, for bytes that make no sense, have no number
        raise InputError(
            f"{output}/{name} is damaged ({error}): remove it and run the pipeline again, which makes it anew"
        ) from error


def stored_part(output: Folder, name: str) -> StoredPart | None:
    """Key and counts of a published part; None where there is none, or where what lies there is no whole part."""
    try:
        with output.open(name) as file:
            footer = digests.read_footer(file)
        footer_metadata = pq.read_metadata(pa.BufferReader(footer))
        metadata = footer_metadata.metadata or {}
        counts = Counts.from_json(json.loads(metadata[b"tagcorpus.counts"]))
        return StoredPart(
            metadata[b"tagcorpus.key"].decode(), counts, footer_metadata.num_rows, digests.digest_of(footer)
        )
    except (OSError, pa.ArrowException, KeyError, ValueError, TypeError):
        return None


def each(output: Folder, look: Callable[[T], U], items: Sequence[T]) -> list[U]:
    """`look` at each of these: in a store, at many at a time."""
    return list(ahead(look, items, is_local=output.is_local))


def stored_parts(output: Folder, names: Sequence[str]) -> list[StoredPart | None]:
    return each(output, lambda name: stored_part(output, name), names)
