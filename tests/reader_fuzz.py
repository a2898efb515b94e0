"""A fuzz of the readers: sound files of every format, with bits flipped, bytes swapped, cut, doubled or put in.

Whatever is done to a file, reading it never raises, never ends the process, and accounts for every row that was planned.
A few thousand cases by hand:  python -m tagcorpus.tests.reader_fuzz 5000 [FIRST_SEED]
"""

from __future__ import annotations

import gzip
import json
import os
import random
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import zstandard

from tagcorpus.pipelines.inputs.input_files import InputFile
from tagcorpus.pipelines.inputs.records import DocumentFields
from tagcorpus.pipelines.readers.plan import Index, IndexTask
from tagcorpus.pipelines.readers.reader import ChunkReader, ReaderOptions

SHARD_BYTES = 1024
N = 60
READINGS = [ReaderOptions(), ReaderOptions(DocumentFields("doc.text")), ReaderOptions(columns=("n",))]


def _table() -> pa.Table:
    texts = ["word " * (i % 7) + "é😀" for i in range(N)]
    rows = [{"id": str(i), "text": t, "n": i, "doc": {"text": t, "at": [i]}} for i, t in enumerate(texts)]
    return pa.Table.from_pylist(rows)


def _json_lines() -> bytes:
    return b"".join(json.dumps(row).encode() + b"\n" for row in _table().to_pylist())


def _parquet(**options: object) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(_table(), sink, row_group_size=20, **options)
    return bytes(sink.getvalue())


def _arrow(make: Callable[..., pa.ipc.RecordBatchStreamWriter], compression: str | None = None) -> bytes:
    sink = pa.BufferOutputStream()
    table = _table()
    with make(sink, table.schema, options=pa.ipc.IpcWriteOptions(compression=compression)) as writer:
        writer.write_table(table, 20)
    return bytes(sink.getvalue())


def _csv() -> bytes:
    rows = _table().select(["id", "text", "n"]).to_pylist()
    return b"id,text,n\n" + b"".join(f'{r["id"]},"{r["text"]}",{r["n"]}\n'.encode() for r in rows)


def sound_files() -> dict[str, tuple[str, str, bytes]]:
    """name -> format, compression, bytes"""
    lines = _json_lines()
    return {
        "jsonl": ("jsonl", "", lines),
        "jsonl.gz": ("jsonl", "gz", gzip.compress(lines, mtime=0)),
        "jsonl.zst": ("jsonl", "zst", zstandard.compress(lines)),
        "csv": ("csv", "", _csv()),
        "csv.gz": ("csv", "gz", gzip.compress(_csv(), mtime=0)),
        "parquet": ("parquet", "", _parquet()),
        "parquet plain": ("parquet", "", _parquet(compression="none", use_dictionary=False)),
        "parquet checked": ("parquet", "", _parquet(write_page_checksum=True, compression="zstd")),
        "parquet v2": ("parquet", "", _parquet(data_page_version="2.0", write_page_index=True)),
        "arrow file": ("arrow", "", _arrow(pa.ipc.new_file)),
        "arrow stream": ("arrow", "", _arrow(pa.ipc.new_stream)),
        "arrow packed": ("arrow", "", _arrow(pa.ipc.new_file, "zstd")),
    }


def mutated(data: bytes, rng: random.Random) -> bytes:
    """The bytes with one to four kinds of harm done to them, often near the end, where footers are."""
    harmed = bytearray(data)
    for _ in range(rng.randint(1, 4)):
        size = len(harmed)
        if not size:
            break
        at = rng.randrange(size) if rng.random() < 0.6 else max(size - 1 - int(rng.expovariate(1 / 400)), 0)
        match rng.randrange(7):
            case 0:
                harmed[at] ^= 1 << rng.randrange(8)
            case 1:
                harmed[at] = rng.choice((0, 0x7F, 0x80, 0xFF))
            case 2:
                del harmed[at:]
            case 3:
                other, n = rng.randrange(size), rng.randint(1, 64)
                harmed[at : at + n], harmed[other : other + n] = harmed[other : other + n], harmed[at : at + n]
            case 4:
                harmed[at : at + 8] = rng.randrange(1 << 64).to_bytes(8, "little")
            case 5:
                harmed[at:at] = bytes(rng.randrange(256) for _ in range(rng.randint(1, 16)))
            case 6:
                harmed += harmed[: rng.choice((at, size))]
    return bytes(harmed)


def read_whole(file: InputFile, reader_options: ReaderOptions) -> int:
    """Documents of a file that is planned and read as a run does it. Raises LostRowsError where a row is missing."""
    (indexed,) = Index([IndexTask(file)], SHARD_BYTES, reader_options).run()
    documents = 0
    for k, chunk in enumerate(indexed.chunks):
        reader = ChunkReader(getattr(indexed, "file", file), chunk, reader_options)
        published = sum(batch.num_rows for batch in reader)
        reader.counts.check(chunk.rows, published, f"chunk {k}")
        documents += published
    return documents


def failure_of(name: str, seed: int, folder: Path) -> str:
    """What went wrong with this case, in a process forked for it; empty where nothing did."""
    format_, compression, data = SOUND[name]
    rng = random.Random(f"{name}/{seed}")
    path = folder / "case"
    path.write_bytes(mutated(data, rng))
    file = InputFile("case", str(path), format_, compression)
    reader_options = READINGS[rng.randrange(len(READINGS))]
    ours, theirs = os.pipe()
    pid = os.fork()
    if not pid:
        try:
            os.close(ours)
            read_whole(file, reader_options)
        except BaseException as error:
            os.write(theirs, f"{type(error).__name__}: {error}"[:4000].encode("utf-8", "replace"))
        finally:
            os._exit(0)
    os.close(theirs)
    with open(ours, "rb") as pipe:
        message = pipe.read().decode()
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    return message or (f"ended with {status}" if status else "")


SOUND = sound_files()


def main() -> int:
    n = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    first = int(sys.argv[2]) if len(sys.argv) > 2 else 0
    failures = 0
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(first, first + n):
            name = list(SOUND)[seed % len(SOUND)]
            if message := failure_of(name, seed, Path(folder)):
                failures += 1
                print(f"{name} {seed}: {message}", flush=True)
    print(f"{n} cases, {failures} failures")
    return int(failures > 0)


if __name__ == "__main__":
    sys.exit(main())
