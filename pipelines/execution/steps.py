"""The three steps every tagging pipeline is folded from: Read, Tag, Publish.

A rank is a chunk of the plan. What flows between the steps is a batch of documents with the attributes added so far,
and, last of all, the ChunkEnd that proves the chunk was read to its end: without it nothing is published.
"""

from __future__ import annotations

import contextlib
import re
import sys
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pyarrow as pa

from tagcorpus.errors import TagcorpusError, TaggerError, memory_hint, speaking_of
from tagcorpus.pipelines.attributes.batches import ChunkEnd, ChunkReport, TaggedBatch, publish_quarantine
from tagcorpus.pipelines.attributes.digests import READER
from tagcorpus.pipelines.attributes.parts import (
    Instance,
    part_key,
    part_name,
    quarantine_name,
    reader_key,
    unread_name,
    write_part,
)
from tagcorpus.pipelines.attributes.unread import Unread, publish_unread, unread_of
from tagcorpus.pipelines.execution.workers import is_fault
from tagcorpus.pipelines.inputs.chunks import Counts
from tagcorpus.pipelines.inputs.quarantine import Quarantine
from tagcorpus.pipelines.readers.plan import Plan
from tagcorpus.pipelines.readers.reader import ChunkReader, ReaderOptions, shown
from tagcorpus.pipelines.storage.folder import Folder
from tagcorpus.taggers._interface.batch import DocumentBatch, stored_as

_ADDRESS = re.compile(r"\b0x[0-9a-fA-F]+\b")
# Shows that a tagger's model loads before a batch is at stake; short enough to cost no classifier call.
PROBE = "A short probe."


class Read:
    """Reads the documents of a chunk. `todo[rank]` names the instances that are still to compute there; by default, none is."""

    def __init__(self, plan: Plan, reader_options: ReaderOptions, todo: Sequence[frozenset[str]] | None = None) -> None:
        self.chunks, self.reader_options = plan.chunks, reader_options
        self.todo = [frozenset[str]()] * len(plan.chunks) if todo is None else todo

    def run(self, _data: Any = None, rank: int = 0) -> Iterator[TaggedBatch | ChunkEnd]:
        planned, k = self.chunks[rank]
        reader = ChunkReader(planned.file, planned.chunks[k], self.reader_options)
        absent = set(self.reader_options.columns)
        for batch in reader:
            absent -= {c for c in absent if batch.table[stored_as(c)].null_count < batch.num_rows}
            yield TaggedBatch(batch, self.todo[rank], counts=reader.counts)
        yield ChunkEnd(reader.counts, reader.quarantine, frozenset(self.reader_options.columns) - absent)


class Tag:
    """Adds one instance's columns. A row that the tagger raises on gets nulls and is quarantined; nothing else is lost.

    is_much_text  the tagger starts its fast engines at the first batch, not after some text
    """

    def __init__(self, instance: Instance, *, is_much_text: bool = False) -> None:
        self.instance, self.is_much_text = instance, is_much_text
        self.name = instance.name
        self._is_probed = False

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_is_probed": False}

    def run(self, data: Iterable[TaggedBatch | ChunkEnd], _rank: int = 0) -> Iterator[TaggedBatch | ChunkEnd]:
        at_once: int = getattr(self.instance.tagger, "concurrent_batches", 1)
        if at_once == 1:
            return map(self._add_aside, data)
        return self._overlapping(data, at_once)

    def _overlapping(self, data: Iterable[TaggedBatch | ChunkEnd], at_once: int) -> Iterator[TaggedBatch | ChunkEnd]:
        """For taggers that wait more than they compute: several batches in flight, still in order."""
        flying: deque[Future[TaggedBatch | ChunkEnd]] = deque()
        with ThreadPoolExecutor(at_once, thread_name_prefix=self.name) as pool:
            try:
                for item in data:
                    flying.append(pool.submit(self._add, item))
                    if len(flying) > at_once:
                        yield flying.popleft().result()
                while flying:
                    yield flying.popleft().result()
            finally:
                for future in flying:
                    future.cancel()

    def _add_aside(self, item: TaggedBatch | ChunkEnd) -> TaggedBatch | ChunkEnd:
        """What a tagger prints goes to stderr: stdout is for the run's result, which may be JSON."""
        with contextlib.redirect_stdout(sys.stderr):
            return self._add(item)

    def _add(self, item: TaggedBatch | ChunkEnd) -> TaggedBatch | ChunkEnd:
        if isinstance(item, ChunkEnd) or self.instance.name not in item.instances:
            return item
        # A tagger that waits for a server loads no model, and a probe could cost a call.
        if not self._is_probed and getattr(self.instance.tagger, "concurrent_batches", 1) == 1:
            self._probe()
        failures: list[dict[str, Any]] = []
        unread = item.unread.setdefault(self.instance.name, Unread())
        batches = self._tagged(item.documents, failures, unread)
        if len(failures) == item.documents.num_rows > 1 and len({(f["reason"], f["message"]) for f in failures}) == 1:
            # One failure on all rows is the tagger's, not a row's.
            raise TaggerError(
                f"tagger {self.instance.name!r} fails in the same way on all {len(failures):,} documents of a batch: "
                f"{failures[0]['reason'].rpartition(':')[2]}: {failures[0]['message']}"
            )
        table = pa.Table.from_batches(batches, self.instance.tagger.columns).combine_chunks()
        item.attributes[self.instance.name] = table.to_batches()[0] if table.num_rows else batches[0]
        if failures:
            item.failures[self.instance.name] = failures
        if remarks := getattr(self.instance.tagger, "remarks", None):
            item.remarks[self.instance.name] = remarks(item.documents)
        return item

    def _probe(self) -> None:
        if self.is_much_text and hasattr(self.instance.tagger, "warm_up"):
            with contextlib.suppress(Exception):  # the probe fails in the same way, and says so
                self.instance.tagger.warm_up()
        try:
            self._tag(DocumentBatch.from_texts([PROBE]))
        except TagcorpusError:
            raise
        except BaseException as error:
            if not is_fault(error):
                raise
            raise TaggerError(
                f"tagger {self.instance.name!r} fails on every document: {type(error).__name__}: {error}{memory_hint()}"
            ) from error
        self._is_probed = True

    def _tagged(self, batch: DocumentBatch, failures: list[dict[str, Any]], unread: Unread) -> list[pa.RecordBatch]:
        """The batch's columns, halving it around rows that make the tagger raise."""
        schema = self.instance.tagger.columns
        try:
            tagged = self._tag(batch)
        except TagcorpusError:
            raise  # the tagger as a whole cannot go on: no row is to blame
        except BaseException as error:
            if not is_fault(error):
                raise
            if batch.num_rows > 1:
                half = batch.num_rows // 2
                first = self._tagged(batch.slice(0, half), failures, unread)
                return first + self._tagged(batch.slice(half, batch.num_rows - half), failures, unread)
            failures.append(self._failure(batch, error))
            return [pa.record_batch([pa.nulls(batch.num_rows, f.type) for f in schema], schema=schema)]
        if not isinstance(tagged, pa.RecordBatch):
            raise TaggerError(
                f"tagger {self.instance.name!r} must return a RecordBatch, it returned {type(tagged).__name__}"
            )
        if tagged.num_rows != batch.num_rows or not tagged.schema.equals(schema):
            raise TaggerError(
                f"tagger {self.instance.name!r} must return {batch.num_rows} rows of {_columns_text(schema)}, "
                f"it returned {tagged.num_rows} rows of {_columns_text(tagged.schema)}"
            )
        if left := unread_of(self.instance.tagger, batch):
            unread.add(left)
        return [tagged]

    def _tag(self, batch: DocumentBatch) -> pa.RecordBatch:
        with speaking_of(self.instance.name, self.instance.tagger_name):
            return self.instance.tagger.tag(batch)

    def _failure(self, row: DocumentBatch, error: BaseException) -> dict[str, Any]:
        values = row.table.slice(0, 1).select(["row", "sub", "id"]).to_pylist()[0]
        reason = f"tagger:{self.instance.name}:{type(error).__name__}"
        # Addresses differ from run to run; quarantine must not.
        message = _ADDRESS.sub("0x...", str(error)).encode("utf-8", "replace").decode()[:500]
        return {**values, "reason": reason, "message": message, **shown(row.texts[0][:200].encode())}


def _columns_text(schema: pa.Schema) -> str:
    return ", ".join(f"{f.name} {f.type}" for f in schema)


class Publish:
    """Collects a chunk and publishes its quarantine, then one part per instance. Yields a ChunkReport."""

    def __init__(
        self,
        output: Folder,
        plan: Plan,
        reader_options: ReaderOptions,
        instances: Sequence[Instance],
        todo: Sequence[frozenset[str]],
    ) -> None:
        self.output, self.chunks, self.reader_options, self.todo = output, plan.chunks, reader_options, todo
        self.instances = {i.name: i for i in instances}
        self.identities = {i.name: i.identity() for i in instances}

    def run(self, data: Iterable[TaggedBatch | ChunkEnd], rank: int = 0) -> Iterator[ChunkReport]:
        started = time.perf_counter()
        planned, k = self.chunks[rank]
        where = f"chunk {k} of {planned.file.name}"
        names = sorted(self.todo[rank])
        columns: dict[str, list[pa.RecordBatch]] = {n: [] for n in names}
        failures = {n: Quarantine() for n in names}
        reasons: dict[str, Counter[str]] = {n: Counter() for n in names}
        remarks: dict[str, Counter[str]] = {n: Counter() for n in names}
        unread = {n: Unread() for n in names}
        end: ChunkEnd | None = None
        for item in data:
            if isinstance(item, ChunkEnd):
                end = item
                continue
            keys = item.documents.table.select(["row", "sub", "id"]).to_batches()[0]
            for name in names:
                added = item.attributes[name]
                schema = pa.schema([*keys.schema, *added.schema])
                columns[name].append(pa.record_batch([*keys.columns, *added.columns], schema=schema))
                for entry in item.failures.get(name, ()):
                    failures[name].append(entry)
                    reasons[name][entry["reason"]] += 1
                for sentence, n in item.remarks.get(name, {}).items():
                    remarks[name][f"{sentence} ({name})"] += n
                if name in item.unread:
                    unread[name].add(item.unread[name])
        if end is None:
            raise TaggerError(f"{where}: the steps before publishing stopped without saying that the chunk is complete")
        counts = {n: self._counts(end.counts, reasons[n], remarks[n]) for n in names}
        for name in names:
            published = sum(b.num_rows for b in columns[name])
            counts[name].check(planned.chunks[k].rows, published, where)
        # Quarantine first: once a part is there, everything that belongs to it is there.
        publish_quarantine(self.output, quarantine_name(planned.file.name, k), end.quarantine)
        digests: dict[str, str] = {}
        if len(end.quarantine):
            digests[READER] = f"{reader_key(planned, k, self.reader_options)} {end.quarantine.digest}"
        for name in names:
            publish_quarantine(self.output, quarantine_name(planned.file.name, k, name), failures[name])
            identity = self.identities[name] | self.instances[name].choice_in(planned.file.name)
            key = part_key(planned, k, self.reader_options, identity)
            schema = self.instances[name].tagger.columns
            if hasattr(self.instances[name].tagger, "bytes_read"):
                publish_unread(self.output, unread_name(name, planned.file.name, k), key, unread[name])
            part = part_name(name, planned.file.name, k)
            failed = failures[name].digest if len(failures[name]) else ""
            digests[name] = write_part(self.output, part, schema, columns[name], key, counts[name], failed)
        yield ChunkReport(rank, counts, time.perf_counter() - started, digests, end.columns)

    def _counts(self, read: Counts, failures: Counter[str], remarks: Counter[str]) -> Counts:
        counts = Counts.from_json(read.to_json())
        counts.quarantined.update(failures)
        counts.remarks = +remarks
        return counts


class Call:
    """Calls one function per rank."""

    def __init__(self, functions: Sequence[Callable[[], Any]]) -> None:
        self.functions = list(functions)

    def run(self, _data: Any = None, rank: int = 0) -> Iterator[Any]:
        yield self.functions[rank]()
