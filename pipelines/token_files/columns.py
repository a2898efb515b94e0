"""Columns that sort documents into groups and sides: attribute columns of the output, or columns of the documents."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np
import pyarrow as pa
import xxhash

from tagcorpus.errors import ConfigError, folded
from tagcorpus.pipelines.attributes.parts import Instance
from tagcorpus.pipelines.filtering import where
from tagcorpus.pipelines.options.commands.tokenize import TokenizeOptions
from tagcorpus.pipelines.readers.plan import Plan
from tagcorpus.pipelines.readers.reader import ReaderOptions
from tagcorpus.pipelines.storage.folder import Folder
from tagcorpus.taggers._interface.base import OURS, Parameters, column, columns_from
from tagcorpus.taggers._interface.batch import DocumentBatch


@dataclass(frozen=True)
class TextHash(Parameters):
    """A hash of the normalised text: equal for documents that differ in case, white space or compatibility characters only."""

    version: ClassVar[str] = "1"
    columns: ClassVar[pa.Schema] = columns_from(
        OURS, column("text_hash", pa.int64(), "xxh3-64 of the normalised text, as a signed number", "hash")
    )

    def tag(self, batch: DocumentBatch) -> pa.RecordBatch:
        hashes = np.array([xxhash.xxh3_64_intdigest(folded(text).encode()) for text in batch.texts], np.uint64)
        return pa.record_batch([pa.array(hashes.view(np.int64))], schema=self.columns)


TEXT_HASH = Instance("text_hash", "text hash", TextHash())


class Column(NamedTuple):
    """A column of an instance's parts. `name`: as the user gave it."""

    instance: Instance
    name: str
    column: str

    @property
    def is_of_documents(self) -> bool:
        """Whether this run computes the parts, from a document column."""
        return self.instance.tagger_name == "document column"


class Attribute(NamedTuple):
    """An attribute column of the output, before its parts are looked up."""

    instance: str
    column: str


def attribute_of(output: Folder, name: str, option: str) -> Attribute | None:
    """The attribute column of this name, `column` or `instance.column`; None where the output has none.

    Raises ConfigError where several instances have it.
    """
    known = {i: own for i, own in where.known_columns(output).items() if not i.startswith("group-")}
    owners = [Attribute(i, c) for i, own in known.items() for c in own if name in (c, f"{i}.{c}")]
    if len(owners) > 1:
        listed = ", ".join(f"{a.instance}.{a.column}" for a in owners)
        raise ConfigError(f"{option} {name}: {listed} in {output} have that name; say which")
    return owners[0] if owners else None


def looked_up(
    output: Folder,
    plan: Plan,
    reader_options: ReaderOptions,
    attributes: Sequence[Attribute],
    options: TokenizeOptions,
    option: str,
) -> list[Instance]:
    """The instances of attribute columns, in this order; all of their parts fit the plan.

    Raises InputError with the command to run where parts are missing or of other input, ConfigError for a column of lists.
    """
    columns: where.Columns = {}
    for attribute in attributes:
        columns.setdefault(attribute.instance, []).append(attribute.column)
    instances, _ = where.look_up(output, plan, reader_options, columns, options, option)
    by_name = {i.name: i for i in instances}
    for attribute in attributes:
        kind = by_name[attribute.instance].tagger.columns.field(attribute.column).type
        if pa.types.is_nested(kind):
            raise ConfigError(f"{option} {attribute.instance}.{attribute.column}: a column of lists sorts no documents")
    return [by_name[a.instance] for a in attributes]
