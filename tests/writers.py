"""The same documents, written by the libraries that people write corpora with, in every format and compression that is read."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.feather
import pyarrow.parquet as pq
import zstandard

Document = dict[str, Any]

PIECES = (
    "The weather was cold, but the children walked to school. ",
    "Das Wetter war kalt, aber die Kinder gingen zur Schule. ",
    "今天天气很冷，孩子们走路去学校。",
    "Où est le marché\u00a0? ",
    *("a", " ", ",", ";", "\t", "\n", "\r", "\r\n", '"', '""', "'", "\\", '\\"', "\\n", "|", "#", "{", "]"),
    *("\x00", "\x01", "\x1b[0m", "\x7f", "\x85", "\u2028", "\ufeff", "\ufffe", "\ufffd", "e\u0301", "😀", "\U0010ffff"),
    *("NULL", "NaN", "null", "true", "1.0", "-"),
)
IDS = ("int", "str", "null")
COMPRESSORS: dict[str, Callable[[bytes], bytes]] = {
    "": bytes,
    ".gz": gzip.compress,
    ".zst": zstandard.ZstdCompressor().compress,
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
}


def documents(n: int, seed: int, ids: str) -> list[Document]:
    """Random documents with id, text and a nested column; ids are integers, strings, or strings some of which are null."""
    chance = random.Random(f"{seed} {ids}")
    made: list[Document] = []
    for i in range(n):
        text = "".join(chance.choices(PIECES, k=chance.choice((1, 2, 5, 30))))
        kind = chance.randrange(12)
        if kind < 3:
            text = ("", None, text * 200)[kind]  # type: ignore[assignment]
        elif kind == 3 and made:
            text = made[-1]["text"]
        if text is not None and text.endswith("\r"):
            # Python's csv module, and so pandas and datasets, leave this text unquoted: its end and "\n" read as one line end.
            text += "."
        id_: Any = i * 10**12 if ids == "int" else None if ids == "null" and i % 3 else f"é {i // 2}"
        made.append({"id": id_, "text": text, "meta": {"source": "web", "scores": [i, 0.5], "note": None}})
    # The first document is an ordinary one: libraries that guess types see a text.
    made[0]["text"] = PIECES[0]
    return made


def by_json(_module: Any, documents: list[Document], folder: Path) -> None:
    """JSON Lines and JSON arrays of the standard library."""
    for ascii_only in (True, False):
        lines = "".join(json.dumps(d, ensure_ascii=ascii_only) + "\n" for d in documents).encode()
        for suffix, compress in COMPRESSORS.items():
            (folder / f"ascii_{ascii_only}.jsonl{suffix}").write_bytes(compress(lines))
    (folder / "array.json").write_text(json.dumps(documents, indent=1), encoding="utf-8")


def by_pyarrow(_module: Any, documents: list[Document], folder: Path) -> None:
    table = pa.Table.from_pylist(documents)
    for codec in ("none", "snappy", "gzip", "brotli", "lz4", "zstd"):
        for version in ("1.0", "2.0"):
            for rows in (7, 1000):
                name = folder / f"{codec}_{version[0]}_{rows}.parquet"
                pq.write_table(table, name, compression=codec, data_page_version=version, row_group_size=rows)
    pq.write_table(table, folder / "plain.parquet", use_dictionary=False)
    for compression in (None, "lz4", "zstd"):
        options = pa.ipc.IpcWriteOptions(compression=compression)
        for kind, new in (("file", pa.ipc.new_file), ("stream", pa.ipc.new_stream)):
            with new(folder / f"{kind}_{compression}.arrow", table.schema, options=options) as writer:
                writer.write_table(table, max_chunksize=9)
    for compression in ("uncompressed", "lz4", "zstd"):
        pa.feather.write_feather(table, folder / f"{compression}.feather", compression=compression)
    for suffix, delimiter in ((".csv", ","), (".tsv", "\t")):
        sink = pa.BufferOutputStream()
        pa.csv.write_csv(table.drop(["meta"]), sink, pa.csv.WriteOptions(delimiter=delimiter))
        (folder / f"table{suffix}").write_bytes(sink.getvalue())


def by_pandas(pandas: Any, documents: list[Document], folder: Path) -> None:
    frame = pandas.DataFrame({k: pandas.Series([d[k] for d in documents], dtype=object) for k in documents[0]})
    for suffix in COMPRESSORS:
        frame.to_json(folder / f"lines.jsonl{suffix}", orient="records", lines=True)
        frame.drop(columns="meta").to_csv(folder / f"table.csv{suffix}", index=False)
        frame.drop(columns="meta").to_csv(folder / f"table.tsv{suffix}", index=False, sep="\t")
    frame.to_json(folder / "array.json", orient="records", force_ascii=False)
    frame.to_parquet(folder / "table.parquet")
    frame.to_feather(folder / "table.feather")


def by_polars(polars: Any, documents: list[Document], folder: Path) -> None:
    frame = polars.from_arrow(pa.Table.from_pylist(documents))
    frame.write_ndjson(folder / "lines.jsonl")
    frame.write_json(folder / "array.json")
    frame.drop("meta").write_csv(folder / "table.csv")
    frame.drop("meta").write_csv(folder / "table.tsv", separator="\t")
    for codec in ("uncompressed", "snappy", "gzip", "brotli", "zstd", "lz4"):
        frame.write_parquet(folder / f"{codec}.parquet", compression=codec, row_group_size=11)
    for compression in ("uncompressed", "lz4", "zstd"):
        frame.write_ipc(folder / f"{compression}.arrow", compression=compression)
        frame.write_ipc_stream(folder / f"stream_{compression}.arrow", compression=compression)


def by_duckdb(duckdb: Any, documents: list[Document], folder: Path) -> None:
    table = pa.Table.from_pylist(documents)  # noqa: F841 (the statements below name it)
    connection = duckdb.connect()
    statements = {f"{c}.parquet": f"FORMAT parquet, CODEC {c}" for c in ("uncompressed", "snappy", "gzip", "zstd")}
    statements |= {f"{c}.parquet": f"FORMAT parquet, CODEC {c}" for c in ("brotli", "lz4_raw")}
    statements |= {"v2.parquet": "FORMAT parquet, PARQUET_VERSION V2", "lines.jsonl": "FORMAT json"}
    statements |= {
        "lines.jsonl.gz": "FORMAT json, COMPRESSION gzip",
        "lines.jsonl.zst": "FORMAT json, COMPRESSION zstd",
    }
    statements |= {"array.json": "FORMAT json, ARRAY true"}
    for name, statement in statements.items():
        connection.execute(f"COPY (SELECT * FROM \"table\") TO '{folder / name}' ({statement})")
    for name, statement in {"t.csv": "", "t.tsv": ", DELIMITER '\t'", "t.csv.gz": ", COMPRESSION gzip"}.items():
        connection.execute(
            f"COPY (SELECT id, text FROM \"table\") TO '{folder / name}' (FORMAT csv, HEADER{statement})"
        )
    connection.close()


def by_datasets(datasets: Any, documents: list[Document], folder: Path) -> None:
    data = datasets.Dataset(pa.Table.from_pylist(documents))
    data.to_json(folder / "lines.jsonl")
    data.to_parquet(folder / "table.parquet")
    data.remove_columns("meta").to_csv(folder / "table.csv")


# By the module that a writer is handed. Modules that are not installed cannot be imported here, or checked for types.
WRITERS: dict[str, Callable[[Any, list[Document], Path], None]] = {
    "json": by_json,
    "pyarrow": by_pyarrow,
    "pandas": by_pandas,
    "polars": by_polars,
    "duckdb": by_duckdb,
    "datasets": by_datasets,
}
