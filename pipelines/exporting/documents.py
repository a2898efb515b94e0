"""The records of an input with the tags of each document, chunk by chunk."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa

from tagcorpus.errors import InputError, unknown_name
from tagcorpus.pipelines.attributes.parts import KEYS, Instance, part_name, stored_part
from tagcorpus.pipelines.attributes.read import Kinds, chunk_parts, instance_folders, recorded, without_attributes
from tagcorpus.pipelines.formats import tables
from tagcorpus.pipelines.inputs import values
from tagcorpus.pipelines.inputs.records import BadRecord
from tagcorpus.pipelines.readers.plan import PlannedFile, load_plan
from tagcorpus.pipelines.readers.reader import ChunkReader, table_columns
from tagcorpus.pipelines.storage.folder import Folder


@dataclass(frozen=True)
class Document:
    """One document of a record.

    line    the record's line where the input has JSON lines, else b""
    record  the input's own fields
    sub     which document of the record
    id      its id
    text    its text
    has_own_text  whether the text is in none of the record's fields as it is (a harness sample's)
    tags    values by `<instance>.<column>`
    """

    line: bytes
    record: dict[str, Any]
    sub: int
    id: str
    text: str
    has_own_text: bool
    tags: dict[str, Any]


class TaggedFiles:
    """The files of an output with the attributes of some instances.

    output     an output folder
    instances  names; empty = all
    files      of the plan; None = all that the folder has
    Raises InputError for a folder without attributes, or an unknown instance.
    """

    def __init__(
        self, output: Folder, instances: Sequence[str] = (), files: Sequence[PlannedFile] | None = None
    ) -> None:
        known = instance_folders(output)
        for name in instances:
            if name not in known:
                raise InputError(unknown_name("instance", name, known, str(output)))
        if not known:
            raise without_attributes(output)
        self.output = output
        self.files = load_plan(output) if files is None else list(files)
        self.names = tuple(instances or known)
        self._kinds = Kinds()

    def instances(self, planned: PlannedFile) -> list[Instance]:
        """The instances with the column types of one file."""
        return [recorded(self.output, name, planned) for name in self.names]

    def schema(self) -> pa.Schema:
        """The tags as columns, named `<instance>.<column>`."""
        instances = self.instances(self.files[0])
        return pa.schema(
            [f.with_name(f"{i.name}.{f.name}").remove_metadata() for i in instances for f in i.tagger.columns]
        )

    def n_documents(self, planned: PlannedFile) -> int:
        """Documents of one file that have tags."""
        name = self.names[0]
        parts = (stored_part(self.output, part_name(name, planned.file.name, k)) for k in range(len(planned.chunks)))
        return sum(part.counts.documents for part in parts if part is not None)

    def tags(self, planned: PlannedFile, k: int) -> pa.Table:
        """`row`, `sub`, `id` and the tags of one chunk, in the order of the input."""
        instances = self.instances(planned)
        columns = {i.name: i.tagger.columns.names for i in instances}
        keys, parts = chunk_parts(self.output, planned, k, instances, columns, self._kinds)
        table = keys.select([f.name for f in KEYS])
        for name, part in parts.items():
            for column in part.column_names:
                table = table.append_column(f"{name}.{column}", part[column])
        return table.replace_schema_metadata(None)

    def documents(self, planned: PlannedFile, k: int) -> Iterator[Document]:
        """The documents of one chunk that have tags, in order. Raises InputError where the input has changed."""
        table = self.tags(planned, k)
        tagged: dict[int, dict[int, dict[str, Any]]] = {}
        for tags in table.to_pylist():
            tagged.setdefault(tags.pop("row"), {})[tags.pop("sub")] = tags
        n_met = 0
        for row, line, record in self._records(planned, k):
            by_sub = tagged.get(row)
            if by_sub is None or not isinstance(record, dict):
                continue
            fields = planned.reader_options.fields
            is_harness = fields.is_harness(record)
            for sub, id_, text in fields.documents(record, f"{planned.file.name}:{row}"):
                if sub in by_sub:
                    n_met += 1
                    own = {name: value for name, value in by_sub[sub].items() if name != "id"}
                    yield Document(line, record, sub, id_, text, is_harness, own)
        if n_met != table.num_rows:
            raise InputError(
                f"{planned.file.path} is not what was tagged: {n_met:,} of {table.num_rows:,} documents of a chunk are there. "
                "Run the pipeline again"
            )

    def rows(self, planned: PlannedFile, k: int) -> Iterator[pa.RecordBatch]:
        """All columns of one chunk of a table."""
        chunk = planned.chunks[k]
        columns = tables.Columns(
            tuple(tables.schema(planned.file).names), table_columns(planned.reader_options).planned
        )
        if chunk.rows:
            yield from tables.read(planned.file, chunk, columns)

    def _records(self, planned: PlannedFile, k: int) -> Iterator[tuple[int, bytes, dict[str, Any] | BadRecord | None]]:
        """(row, line or b"", record) of every row, with all columns of a table."""
        chunk, file = planned.chunks[k], planned.file
        try:
            if not file.is_table:
                has_lines = file.format == "jsonl"
                reader = ChunkReader(file, chunk, replace(planned.reader_options, sample=1.0))
                for row, _, raw, record in reader.records():
                    yield row, raw if has_lines else b"", record
                return
            row = chunk.start
            for batch in self.rows(planned, k):
                for record in values.rows(batch):
                    yield row, b"", record
                    row += 1
        except FileNotFoundError as error:
            raise InputError(f"the documents of {file.name} are not at {file.path} any more") from error


def own_names(record: dict[str, Any], tags: dict[str, Any]) -> dict[str, Any]:
    """The record's fields, of which those that have the name of a tag are called `input.<name>`."""
    renamed = {}
    for name, value in record.items():
        while name in tags or (name in renamed):
            name = f"input.{name}"  # noqa: PLW2901
        renamed[name] = value
    return renamed
