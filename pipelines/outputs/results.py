"""The main result as one file, where `--output` names one: a table of all documents, or the summary.

Each run writes down the digest of the file that it is about to put there (`runs/<run>/result.json`), so that a later one
can tell such a file from anything else of that name, the user's own corrections of it among them: only what a run of
the same output folder wrote, and nobody has changed since, is replaced unasked.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, BinaryIO

import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
import xxhash

from tagcorpus.errors import ConfigError
from tagcorpus.pipelines.outputs.reading import joined
from tagcorpus.pipelines.outputs.sidecars import Instance
from tagcorpus.pipelines.sources.plan import Plan
from tagcorpus.pipelines.storage import Folder

if TYPE_CHECKING:
    from tagcorpus.pipelines.job import Job

RECORD = "result.json"
BLOCK_BYTES = 1 << 20


def refuse_anothers(output: Folder, path: str) -> None:
    """Raise ConfigError where the file `path` is there, and is not as a run of this output folder has written it."""
    folder, name = _split(path)
    if not folder.exists(name):
        return
    if folder.is_local and os.path.isdir(folder.path(name)):
        raise ConfigError(f"--output {path} is a folder, and its ending asks for a file: name another")
    n_bytes = folder.size(name)
    records = (n for n in output.files("runs") if n.count("/") == 2 and n.endswith(f"/{RECORD}"))
    known = [_record(output.read(n)) for n in records]
    if candidates := {digest for size, digest in known if size == n_bytes}:
        with folder.open(name) as file:
            if digest_of(file) in candidates:
                return
    raise ConfigError(
        f"--output {path} is there already, and is not what a run with its results in {output} has written there: name "
        "another file, move that one away, or let it be replaced with --overwrite (which computes everything anew)"
    )


def publish_result(job: Job, plan: Plan, instances: Sequence[Instance], summary: dict[str, Any]) -> None:
    """Publish the file that `--output` named: .json gets the summary, .csv and .parquet the joined columns."""
    if job.result_file is None:
        return
    if job.result_file.lower().endswith(".json"):
        publish_main(job, [json.dumps(summary, indent=1).encode()])
        return
    is_csv = job.result_file.lower().endswith(".csv")
    tables = joined(job.output, plan.files, instances)
    if is_csv:
        tables = map(_without_lists, tables)
    first = next(tables)
    with _publishing(job) as sink, _writer(sink, first.schema, is_csv) as writer:
        writer.write_table(first)
        for table in tables:
            writer.write_table(table)


def _writer(sink: BinaryIO, schema: pa.Schema, is_csv: bool) -> Any:
    return pacsv.CSVWriter(sink, schema) if is_csv else pq.ParquetWriter(sink, schema, compression="zstd")


def publish_main(job: Job, blocks: Iterable[bytes]) -> None:
    """Publish these bytes as the file that `--output` named."""
    with _publishing(job) as sink:
        for block in blocks:
            sink.write(block)


@contextlib.contextmanager
def _publishing(job: Job) -> Iterator[BinaryIO]:
    """`Folder.publishing` for the file that `--output` named. What is about to stand there is written down before it does: a
    run that is killed in between leaves a file that is as before, and as an earlier record has it."""
    assert job.result_file is not None
    folder, name = _split(job.result_file)
    with folder.publishing(name) as sink:
        yield sink
        n_bytes, digest = measured(sink)
        record = {"file": job.result_file, "bytes": n_bytes, "digest": digest}
        job.output.publish(f"runs/{job.run_name}/{RECORD}", json.dumps(record, indent=1).encode())


def measured(sink: BinaryIO) -> tuple[int, str]:
    """Bytes and digest of what was written to a file that `Folder.publishing` is about to publish."""
    sink.flush()
    with open(sink.name, "rb") as written:
        return os.stat(sink.name).st_size, digest_of(written)


def _record(data: bytes | None) -> tuple[int, str]:
    """Size and digest that a run wrote down; of no file where what lies there is not whole."""
    try:
        found = json.loads(data or b"")
        return found["bytes"], found["digest"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return -1, ""


def digest_of(file: BinaryIO) -> str:
    """xxh3-128 of what a file holds from its place on."""
    found = xxhash.xxh3_128()
    while block := file.read(BLOCK_BYTES):
        found.update(block)
    return str(found.hexdigest())


def _without_lists(table: pa.Table) -> pa.Table:
    """A CSV field holds no list: lists become JSON text."""
    for i, field in enumerate(table.schema):
        if pa.types.is_list(field.type):
            told = [None if v is None else json.dumps(v, ensure_ascii=False) for v in table[i].to_pylist()]
            table = table.set_column(i, field.name, pa.array(told, pa.string()))
    return table


def publish_file(path: str, blocks: Iterable[bytes]) -> None:
    """Publish these bytes as a file anywhere."""
    folder, name = _split(path)
    with folder.publishing(name) as sink:
        for block in blocks:
            sink.write(block)


def is_there(path: str) -> bool:
    """Whether a file anywhere exists."""
    folder, name = _split(path)
    return folder.exists(name)


def _split(path: str) -> tuple[Folder, str]:
    parent, _, name = path.rpartition("/")
    if "://" not in path:
        parent = os.path.abspath(parent or ".")
    return Folder(parent), name
