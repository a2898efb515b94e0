"""Digests of everything in an output, so that two outputs, or an output and a list, can be compared file by file.

A file's entry has one short digest for each row (line) and, for tables, for each column: a comparison names the first that
differs. Parquet is digested by its content (types, metadata, values), since its bytes depend on the version of pyarrow; `bytes`
is the digest of the bytes and `made_with` that version. Nothing of `runs/` is compared. In the other files, what depends on the
place is replaced: the folder by /corpus, and by null in plans the identity of an input, in receipts of filtered tables the
key, which has that identity in it.
"""

from __future__ import annotations

import base64
import gzip
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import xxhash
import zstandard

HOME = "/corpus"
# Of the run, not of the result: its times, paths and versions. Figures depend on the version of matplotlib.
LEFT_OUT_ROOM = "/runs/"
LEFT_OUT_SUFFIXES = (".png", ".svg", ".tmp", ".sqlite", ".sqlite-wal", ".sqlite-shm")
ROW_DIGITS = 4
COLUMN_DIGITS = 8

Entry = dict[str, Any]


def files_of(folder: Path) -> dict[str, Path]:
    """Every file that is compared, by its name relative to the folder."""
    paths = {str(p.relative_to(folder)): p for p in sorted(folder.rglob("*")) if p.is_file()}
    return {n: p for n, p in paths.items() if LEFT_OUT_ROOM not in f"/{n}" and not n.endswith(LEFT_OUT_SUFFIXES)}


def entries_of(folder: Path, home: Path) -> dict[str, Entry]:
    """The entry of every file of an output that was made in the folder `home`."""
    return {name: entry_of(path, home) for name, path in files_of(folder).items()}


def entry_of(path: Path, home: Path) -> Entry:
    """The entry of one file."""
    data = path.read_bytes()
    if path.suffix == ".parquet":
        return _of_table(pq.read_table(pa.BufferReader(data)), data)
    if path.suffix == ".arrow":
        return _of_table(pa.ipc.open_file(pa.BufferReader(data)).read_all(), data)
    if path.suffix == ".gz":
        data = gzip.decompress(data)
    elif path.suffix == ".zst":
        with zstandard.ZstdDecompressor().stream_reader(data, read_across_frames=True) as reader:
            data = reader.read()
    elif path.suffix in (".json", ".yaml"):
        data = _without_place(data, path, home)
    return {"rows": _rows(data.splitlines(keepends=True)), "digest": _hex(data)}


def differences(before: Mapping[str, Entry], after: Mapping[str, Entry]) -> list[str]:
    """A line for each file that is not the same in both."""
    lines = [f"{name}: is missing" for name in sorted(before.keys() - after.keys())]
    lines += [f"{name}: is new" for name in sorted(after.keys() - before.keys())]
    for name in sorted(before.keys() & after.keys()):
        if text := _difference(before[name], after[name]):
            lines.append(f"{name}: {text}")
    return lines


def _difference(before: Entry, after: Entry) -> str:
    old, new = before.get("columns", {}), after.get("columns", {})
    if list(old) != list(new):
        names = list(dict.fromkeys([*old, *new]))
        column = next(c for i, c in enumerate(names) if list(old)[i : i + 1] != list(new)[i : i + 1])
        return f"other columns, from {column!r} on"
    columns = [c for c in old if old[c] != new[c]]
    rows_before, rows_after = _split(before["rows"]), _split(after["rows"])
    if len(rows_before) != len(rows_after):
        return f"{len(rows_after)} rows, {len(rows_before)} before" + (f"; columns {columns}" if columns else "")
    row = next((i for i, pair in enumerate(zip(rows_before, rows_after, strict=True)) if len(set(pair)) > 1), None)
    if columns:
        return (
            f"column {columns[0]!r} differs, first in row {row} (of {len(rows_before)}); columns that differ: {columns}"
        )
    if before["digest"] != after["digest"]:
        return "the metadata differs" if row is None or old else f"line {row + 1} differs (of {len(rows_before)})"
    if before.get("made_with") == after.get("made_with") and before.get("bytes") != after.get("bytes"):
        return "the same content in other bytes"
    return ""


def _of_table(table: pa.Table, data: bytes) -> Entry:
    # A key stands for content that is compared itself, too, but it decides what is computed anew.
    described = [[f.name, str(f.type), f.nullable, _text(f.metadata)] for f in table.schema]
    return {
        "columns": {
            f.name: _hex(json.dumps([d, _plain(table.column(i).to_pylist())]).encode())[:COLUMN_DIGITS]
            for i, (f, d) in enumerate(zip(table.schema, described, strict=True))
        },
        "rows": _rows(json.dumps(_plain(list(row.values()))).encode() for row in _records(table)),
        "digest": _hex(json.dumps([described, _text(table.schema.metadata), _plain(table.to_pylist())]).encode()),
        "bytes": _hex(data),
        "made_with": pa.__version__,
    }


def _records(table: pa.Table) -> Iterator[dict[str, Any]]:
    for batch in table.to_batches():
        yield from batch.to_pylist()


def _plain(value: Any) -> Any:
    """As JSON can hold it exactly; JSON's own text of a float tells all of its bits."""
    if isinstance(value, Mapping):
        return {k: _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    return base64.b64encode(value).decode() if isinstance(value, bytes) else value


def _text(metadata: Mapping[bytes, bytes] | None) -> dict[str, str]:
    # ARROW:schema repeats the schema in bytes that depend on the version of pyarrow.
    return {k.decode(): v.decode() for k, v in sorted((metadata or {}).items()) if k != b"ARROW:schema"}


# The last entry of a JSON file that carries a checksum of its text, paths included.
_CHECKSUM = re.compile(rb',\n "checksum": "[0-9a-f]{32}"\n\}(\n?)\Z')


def _without_place(data: bytes, path: Path, home: Path) -> bytes:
    data = _CHECKSUM.sub(rb"\n}\1", data).replace(str(home).encode(), HOME.encode())
    if path.suffix == ".json" and "plan" in path.parts:
        value = json.loads(data)
        if isinstance(value, dict) and value.get("identity"):
            data = json.dumps({**value, "identity": None}, indent=1).encode()
    if path.name.endswith(".provenance.json"):  # releases of what happens to be installed
        data = json.dumps({**json.loads(data), "versions": None}, indent=1).encode()
    if path.parent.match("summary/filtered") and path.name.endswith((".parquet.json", ".arrow.json")):
        data = json.dumps({**json.loads(data), "key": None}, indent=1).encode()
    return data


def _rows(rows: Iterable[bytes]) -> str:
    return "".join(_hex(row)[:ROW_DIGITS] for row in rows)


def _split(rows: str) -> list[str]:
    return [rows[i : i + ROW_DIGITS] for i in range(0, len(rows), ROW_DIGITS)]


def _hex(data: bytes) -> str:
    return str(xxhash.xxh3_64_hexdigest(data))
