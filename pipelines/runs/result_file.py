"""The main result as one file, where `--output` names one: a table of all documents, or the summary."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

from tagcorpus.pipelines.attributes.parts import Instance
from tagcorpus.pipelines.attributes.read import joined
from tagcorpus.pipelines.attributes.results import RECORD, file_digest, measured
from tagcorpus.pipelines.options.commands.tag import TagOptions
from tagcorpus.pipelines.options.declaring.common import LINES
from tagcorpus.pipelines.readers.plan import Plan
from tagcorpus.pipelines.runs.run import Run
from tagcorpus.pipelines.storage.outputs import folder_and_name


def publish_result(run: Run, plan: Plan, instances: Sequence[Instance], summary: dict[str, Any]) -> None:
    """Publish the file that `--output` named: .json gets the summary, any other ending the joined columns of all documents."""
    if run.result_file is None:
        return
    if isinstance(run.options, TagOptions) and run.options.with_text:
        from tagcorpus.pipelines.exporting.documents import TaggedFiles
        from tagcorpus.pipelines.exporting.export import write_documents

        tagged = TaggedFiles(run.output, [i.name for i in instances], plan.files)
        with _publishing(run) as sink:
            as_json = write_documents(tagged, run.result_file, sink)
        if as_json:
            run.display.say(f"{run.result_file}: fields without a common type are JSON text: {', '.join(as_json)}")
        return
    if run.result_file.lower().endswith(LINES):
        from tagcorpus.pipelines.exporting.export import packed
        from tagcorpus.pipelines.exporting.json_lines import dumped

        with _publishing(run) as sink, packed(sink, run.result_file) as lines:
            for table in joined(run.output, plan.files, instances):
                lines.write(b"".join(dumped(row) + b"\n" for row in table.to_pylist()))
        return
    if run.result_file.lower().endswith(".json"):
        publish_main(run, [json.dumps(summary, indent=1).encode()])
        return
    is_csv = run.result_file.lower().endswith(".csv")
    tables = joined(run.output, plan.files, instances)
    if is_csv:
        tables = map(_without_lists, tables)
    first = next(tables)
    with _publishing(run) as sink, _writer(sink, first.schema, is_csv) as writer:
        writer.write_table(first)
        for table in tables:
            writer.write_table(table)


def _writer(sink: BinaryIO, schema: pa.Schema, is_csv: bool) -> Any:
    return pacsv.CSVWriter(sink, schema) if is_csv else pq.ParquetWriter(sink, schema, compression="zstd")


def publish_main(run: Run, blocks: Iterable[bytes]) -> None:
    """Publish these bytes as the file that `--output` named."""
    with _publishing(run) as sink:
        for block in blocks:
            sink.write(block)


@contextlib.contextmanager
def _publishing(run: Run) -> Iterator[BinaryIO]:
    """`Folder.publishing` for the file that `--output` named. What is about to stand there is written down before it does: a
    run that is killed in between leaves a file that is as before, and as an earlier record has it."""
    assert run.result_file is not None
    folder, name = folder_and_name(run.result_file)
    with folder.publishing(name) as sink:
        yield sink
        n_bytes, digest = measured(sink)
        record = {"file": run.result_file, "bytes": n_bytes, "digest": digest}
        run.output.publish(f"runs/{run.name}/{RECORD}", json.dumps(record, indent=1).encode())


def record_result(run: Run) -> None:
    """Write down the digest of a file that `--output` named and that is there already."""
    assert run.result_file is not None
    folder, name = folder_and_name(run.result_file)
    with folder.open(name) as file:
        record = {"file": run.result_file, "bytes": folder.size(name), "digest": file_digest(file)}
    run.output.publish(f"runs/{run.name}/{RECORD}", json.dumps(record, indent=1).encode())


def _without_lists(table: pa.Table) -> pa.Table:
    """A CSV field holds no list: lists become JSON text."""
    for i, field in enumerate(table.schema):
        if pa.types.is_list(field.type):
            texts = [None if v is None else json.dumps(v, ensure_ascii=False) for v in table[i].to_pylist()]
            table = table.set_column(i, field.name, pa.array(texts, pa.string()))
    return table
