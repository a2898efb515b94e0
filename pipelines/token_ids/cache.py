"""The token cache, `<output>/tokens/`: ids of every document, computed once per chunk and tokenizer.

TokenSource gives a chunk's ids, out of the cache or by reading and tokenising, and fills the cache; Seed gives taggers what
the cache has. Parts (parts.py) are keyed by everything that decides their content and checked as they are read: one
that is outdated, cut short or altered is as good as none. So `--overwrite` neither removes nor distrusts the cache: it
saves time and decides no result.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from datatrove.pipeline.base import PipelineStep

from tagcorpus.pipelines.attributes.batches import ChunkEnd, TaggedBatch, publish_quarantine
from tagcorpus.pipelines.attributes.parts import Instance, quarantine_name
from tagcorpus.pipelines.inputs.chunks import Counts
from tagcorpus.pipelines.progress.progress_record import progress_writer
from tagcorpus.pipelines.readers.plan import Plan
from tagcorpus.pipelines.readers.reader import ChunkReader, ReaderOptions
from tagcorpus.pipelines.storage.folder import Folder
from tagcorpus.pipelines.token_ids.parts import (
    Behind,
    PartWriter,
    TokenBatch,
    digest,
    open_part,
    token_part_key,
    token_part_name,
    tokens_folder,
)
from tagcorpus.taggers._interface.batch import DocumentBatch
from tagcorpus.taggers._tokenizers.interface import TokenIds, Tokenizer
from tagcorpus.taggers._tokenizers.loading import Engine, fingerprint, load, load_early

__all__ = ["OpenedChunk", "Seed", "TokenBatch", "TokenSource", "TokenizerChoice", "known_ids", "seed"]


FEW_WORKERS = 4
"""A process does not know how many others share the chunks. With many, the fast engine starts a little too early."""


class TokenizerChoice(NamedTuple):
    """The arguments of `_tokenizer.load`."""

    name: str
    pattern: str = "p50k_base"
    engine: Engine = "auto"


class TokenSource:
    """Token ids of the plan's chunks, out of the cache where it has them.

    tokenizer  (name, pattern, engine); built where it is first needed, in every process anew
    is_cached  whether to look into the cache, and to fill it
    Pickles without the tokenizer. Raises ConfigError for a tokenizer that is unknown or missing.
    """

    def __init__(
        self,
        output: Folder,
        plan: Plan,
        reader_options: ReaderOptions,
        tokenizer: tuple[str, str, Engine],
        is_cached: bool,
    ) -> None:
        self.output, self.plan, self.reader_options, self.is_cached = output, plan, reader_options, is_cached
        self.choice = TokenizerChoice(*tokenizer)
        self.fingerprint = fingerprint(*self.choice)

    def __getstate__(self) -> dict[str, Any]:
        return {k: v for k, v in self.__dict__.items() if k != "tokenizer"}

    @cached_property
    def tokenizer(self) -> Tokenizer:
        """Built where a chunk is tokenised."""
        if self.plan.is_much_text(range(len(self.plan.chunks)), FEW_WORKERS):
            with contextlib.suppress(Exception):  # what fails here fails again below
                load_early(*self.choice)
        return load(*self.choice)

    def open(self, rank: int) -> OpenedChunk:
        """The ids of a chunk."""
        return OpenedChunk(self, rank)

    def has(self, rank: int) -> bool:
        """Whether the cache has the ids of a chunk, as far as the end of their part says."""
        part = open_part(self.output, *self.plan.chunks[rank], self.reader_options, self.fingerprint)
        if part is not None:
            part.close()
        return part is not None

    def remove_leftovers(self) -> None:
        """Remove parts of planned inputs beyond their last chunk, as left by a file that shrank."""
        for planned in self.plan.files:
            names = {token_part_name(self.fingerprint, planned.file.name, k) for k in range(len(planned.chunks))}
            folder = token_part_name(self.fingerprint, planned.file.name, 0).rpartition("/")[0]
            for name in self.output.files(folder):
                if name.rpartition("/")[0] == folder and name not in names:
                    self.output.remove(name)


class OpenedChunk(Iterator[TokenBatch]):
    """A chunk's TokenBatches in order, once.

    With the last of them its quarantine is published, then its part of the cache; `counts` then says what the chunk holds,
    and `is_from_cache` whether no text was read. A chunk that is not read to its end publishes nothing. Raises
    LostRowsError where rows are not accounted for, OutputError where something cannot be written.
    """

    def __init__(self, source: TokenSource, rank: int) -> None:
        self._source, self._rank = source, rank
        self._planned, self._k = source.plan.chunks[rank]
        self._quarantine_name = quarantine_name(self._planned.file.name, self._k)
        self.counts = Counts()
        self.is_from_cache = False
        self._batches = self._all()

    def __next__(self) -> TokenBatch:
        return next(self._batches)

    def _all(self) -> Iterator[TokenBatch]:
        served = 0
        if self._source.is_cached:
            for batch in self._stored():
                yield batch
                served += 1
        if self.is_from_cache:
            return
        if served:
            progress_writer().start(self._rank)  # from the first row again
        yield from self._read(served)

    def _stored(self) -> Iterator[TokenBatch]:
        """What the cache has, which is only known to be all of it at the end."""
        source = self._source
        part = open_part(source.output, self._planned, self._k, source.reader_options, source.fingerprint)
        if part is None:
            return
        documents = rows = 0
        with contextlib.closing(part):
            # What the reader put into quarantine must lie there, and nothing else.
            if digest(source.output.read(self._quarantine_name) or b"") != part.quarantine:
                return
            for batch, behind in part:
                progress_writer().batch(int(batch.row[0]), int(batch.row[-1]))
                yield batch
                progress_writer().done(*behind)
                documents, rows = documents + len(batch.row), rows + behind[0]
            if part.is_read:
                progress_writer().done(part.counts.lines - rows, 0)
                self._check(part.counts, documents)
                self.is_from_cache = True

    def _read(self, skipped: int) -> Iterator[TokenBatch]:
        """Tokenise the chunk. The first batches were given out already: they are for the cache alone."""
        source, planned, k = self._source, self._planned, self._k
        reader = ChunkReader(planned.file, planned.chunks[k], source.reader_options, has_text_column=False)
        dtype = np.dtype(np.uint16 if source.tokenizer.n_vocab <= 1 << 16 else np.uint32)
        documents = 0
        with contextlib.ExitStack() as stack:
            part: PartWriter | None = None
            if source.is_cached:
                key = token_part_key(planned, k, source.reader_options, source.fingerprint)
                part = stack.enter_context(contextlib.closing(PartWriter(key, dtype)))
            for i, batch in enumerate(reader):
                documents += batch.num_rows
                if part is None and i < skipped:
                    continue
                tokens = _tokenised(batch, source.tokenizer, dtype)
                if part is not None:
                    part.add(tokens, reader.counts)
                if i >= skipped:
                    yield tokens
            self._check(reader.counts, documents)
            publish_quarantine(source.output, self._quarantine_name, reader.quarantine)
            if part is not None:
                part.end(reader.counts, reader.quarantine.digest)
                part.publish(source.output, token_part_name(source.fingerprint, planned.file.name, k))

    def _check(self, counts: Counts, documents: int) -> None:
        counts.check(self._planned.chunks[self._k].rows, documents, f"chunk {self._k} of {self._planned.file.name}")
        self.counts = counts


class Seed(PipelineStep):
    """Gives batches the ids that the cache has of them, so that no tagger computes them again.

    users  by fingerprint of a tokenizer, the instances that use it
    """

    type = "seed"
    name = "Seed"

    def __init__(
        self,
        output: Folder,
        plan: Plan,
        reader_options: ReaderOptions,
        users: dict[str, frozenset[str]],
        todo: Sequence[frozenset[str]],
    ) -> None:
        super().__init__()
        self.output, self.chunks, self.reader_options, self.users, self.todo = (
            output,
            plan.chunks,
            reader_options,
            users,
            todo,
        )

    def run(
        self,
        data: Iterable[TaggedBatch | ChunkEnd],
        rank: int = 0,
        world_size: int = 1,  # noqa: ARG002
    ) -> Iterator[TaggedBatch | ChunkEnd]:
        with contextlib.ExitStack() as stack:
            stored: dict[str, Iterator[tuple[TokenBatch, Behind]]] = {}
            for tokenizer in [t for t, names in self.users.items() if names & self.todo[rank]]:
                part = open_part(self.output, *self.chunks[rank], self.reader_options, tokenizer)
                if part is not None:
                    stored[tokenizer] = iter(stack.enter_context(contextlib.closing(part)))
            for item in data:
                if isinstance(item, TaggedBatch):
                    for tokenizer in list(stored):
                        tokens, _ = next(stored[tokenizer], (None, None))
                        if tokens is None or not seed(item.documents, tokenizer, tokens):
                            del stored[tokenizer]
                yield item


class Fill(PipelineStep):
    """Tokenises what is read, gives the batches their ids, and publishes chunks' parts of the cache where there are none.

    wanted  ranks to do that for; the batches of others pass as they are
    """

    type = "fill"
    name = "Fill"

    def __init__(self, source: TokenSource, ranks: frozenset[int]) -> None:
        super().__init__()
        self.source, self.ranks = source, ranks

    def run(
        self,
        data: Iterable[TaggedBatch | ChunkEnd],
        rank: int = 0,
        world_size: int = 1,  # noqa: ARG002
    ) -> Iterator[TaggedBatch | ChunkEnd]:
        if rank not in self.ranks:
            yield from data
            return
        source = self.source
        planned, k = source.plan.chunks[rank]
        dtype = np.dtype(np.uint16 if source.tokenizer.n_vocab <= 1 << 16 else np.uint32)
        key = token_part_key(planned, k, source.reader_options, source.fingerprint)
        with contextlib.closing(PartWriter(key, dtype)) as part:
            for item in data:
                if isinstance(item, TaggedBatch):
                    tokens = _tokenised(item.documents, source.tokenizer, dtype)
                    seed(item.documents, source.fingerprint, tokens)
                    part.add(tokens, item.counts)
                else:
                    part.end(item.counts, item.quarantine.digest)
                    part.publish(source.output, token_part_name(source.fingerprint, planned.file.name, k))
                yield item


def seed(batch: DocumentBatch, tokenizer: str, tokens: TokenBatch) -> bool:
    """Make these the ids of the batch under the tokenizer of that fingerprint. False, and nothing done, where they are of
    other documents."""
    row, sub = (batch.table[name].to_numpy() for name in ("row", "sub"))
    if not (np.array_equal(row, tokens.row) and np.array_equal(sub, tokens.sub)):
        return False
    ids = tokens.ids.astype(np.uint32, copy=False)
    batch.view(("token_ids", tokenizer), lambda _: TokenIds(ids, tokens.offsets))
    return True


def known_ids(
    output: Folder,
    plan: Plan,
    reader_options: ReaderOptions,
    instances: Iterable[Instance],
    todo: Sequence[frozenset[str]],
) -> list[PipelineStep]:
    """A Seed step, where `output` has ids by a tokenizer that an instance uses (`tokenizer` in its fingerprint)."""
    users: dict[str, frozenset[str]] = {}
    for instance in instances:
        tokenizer = instance.tagger.fingerprint().get("tokenizer")
        if isinstance(tokenizer, str):
            users[tokenizer] = users.get(tokenizer, frozenset()) | {instance.name}
    users = {tokenizer: names for tokenizer, names in users.items() if output.exists(tokens_folder(tokenizer))}
    return [Seed(output, plan, reader_options, users, todo)] if users else []


def _tokenised(batch: DocumentBatch, tokenizer: Tokenizer, dtype: np.dtype[Any]) -> TokenBatch:
    ids, offsets = tokenizer.encode_batch(batch.texts)
    small = ids.astype(dtype, copy=False)
    for array in (small, offsets):
        array.setflags(write=False)  # as what comes out of the cache
    row, sub, id_ = (batch.table[name].chunk(0) for name in ("row", "sub", "id"))
    return TokenBatch(row.to_numpy(), sub.to_numpy(), id_, small, offsets)
