"""Ordinary good inputs: exit 0, no message, nothing in quarantine, the right lengths, and nothing computed again by a second run.

A refusal of one of these is a fault like a wrong value. `test_no_csv_is_refused` names the refused ones among all.
"""

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
import pyarrow.parquet as pq
import pytest
import zstandard
from profiles import tries

import tagcorpus

N_CSVS = tries(200)
TEXTS = ["A short text.", "", "Käse, «naïve» 😀", "two\nlines; and a semicolon", 'He said "no", and left.', "a\ttab"]
Texts = dict[str, list[str]]


def lines(texts: list[str]) -> bytes:
    """JSON Lines without ids: a run says how many of all documents repeat an id, and that is no refusal."""
    return b"".join(json.dumps({"n": i, "text": t}).encode() + b"\n" for i, t in enumerate(texts))


def check(source: Path, output: Path, texts: Texts, **options: Any) -> dict[str, Any]:
    """Files that a run does not read as their texts, with what it reads; what a run says, under its number.

    A file without documents may be named.
    """
    refusals: dict[str, Any] = {}
    for number in ("first run", "second run"):
        result = tagcorpus.run("tag", input=source, output=output, taggers="length", workers=1, **options)
        ledger = json.loads(Path(result.ledger).read_text())
        messages = [m for m in result.messages if "gave no document" not in m or [] not in texts.values()]
        if result.exit_code or messages or result.counts.quarantined or ledger["notes"]:
            refusals[number] = (result.exit_code, messages, dict(result.counts.quarantined), ledger["notes"])
        if number == "second run" and not all(r.get("is_resumed") for r in ledger["ranges"]):
            refusals["computed again"] = [r for r in ledger["ranges"] if not r.get("is_resumed")]
    lengths: dict[str, list[int]] = {n: [] for n in texts}
    for row in tagcorpus.read(output, ["length"]).to_table().to_pylist():
        lengths.setdefault(row["input"], []).append(row["char_len"])
    return refusals | {n: v for n, v in lengths.items() if v != [len(t) for t in texts.get(n, [])]}


def csv_field(chance: random.Random, text: str, delimiter: str, quoting: str) -> str:
    must = any(c in text for c in (delimiter, '"', "\n", "\r"))
    if must or quoting == "all" or (quoting == "some" and chance.random() < 0.5):
        return '"' + text.replace('"', '""') + '"'
    return text


def good_csv(seed: int) -> tuple[str, bytes, list[str]]:
    """Name, bytes and texts of a CSV file that keeps RFC 4180, in one of the ways that writers have."""
    chance = random.Random(seed)
    suffix = chance.choice([".csv", ".csv", ".csv", ".tsv"])
    delimiter = "\t" if suffix == ".tsv" else ","
    end = chance.choice(["\n", "\r\n"])
    quoting = chance.choice(["minimal", "all", "some"])
    columns = chance.choice([["text"], ["id", "text"], ["text", "id"], [f"c{i}" for i in range(60)] + ["text"]])
    parts = ["word", " ", ",", ";", "\t", end, '"', '""', "'", "\\", "#", "é", "😀", "1.5", "null", "|", "  "]
    texts = ["".join(chance.choices(parts, k=chance.choice((1, 3, 20)))) for _ in range(chance.randint(1, 12))]
    if seed % 10 == 0:
        texts.append("very long, " * 20_000)
    if columns != ["text"]:
        texts.append("")
    # A line of spaces only, in a file of one column, is a blank line unless it is quoted.
    texts = [t if t.strip() or columns != ["text"] else "word" for t in texts]
    rows = [
        columns,
        *([t if c == "text" else f"{seed}-{i}" if c == "id" else "" for c in columns] for i, t in enumerate(texts)),
    ]
    data = end.join(delimiter.join(csv_field(chance, f, delimiter, quoting) for f in row) for row in rows)
    data += chance.choice([end, ""])
    encoded = ("\ufeff" if seed % 5 == 0 else "").encode() + data.encode()
    return f"{seed:03}{suffix}", encoded, texts


def test_no_csv_is_refused(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    texts: Texts = {}
    for seed in range(N_CSVS):
        name, data, texts[name] = good_csv(seed)
        (tmp_path / "in" / name).write_bytes(data)
    refusals = check(tmp_path / "in", tmp_path / "out", texts)
    assert not refusals, f"{len(refusals)} false refusals of {N_CSVS}: {refusals}"


def names(folder: Path) -> Texts:
    """Names with spaces and beyond ASCII, nested folders, links to files and folders."""
    texts: Texts = {}
    for name in (
        "with space.jsonl",
        "日本語/ä ö.jsonl",
        "a/b/c/deep.jsonl",
        "100%.jsonl",
        "plus+and&.jsonl",
        "UPPER.JSONL",
    ):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(lines(TEXTS))
        texts[name] = TEXTS
    elsewhere = folder.parent / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "linked.jsonl").write_bytes(lines(TEXTS))
    (folder / "link.jsonl").symlink_to(elsewhere / "linked.jsonl")
    (folder / "folder").symlink_to(elsewhere)
    return texts | {"link.jsonl": TEXTS, "folder/linked.jsonl": TEXTS}


def beside(folder: Path) -> Texts:
    """What other programs leave beside the data."""
    (folder / "part-00000.jsonl").write_bytes(lines(TEXTS))
    for name in ("_SUCCESS", ".part-00000.jsonl.crc", ".hidden.jsonl", "README.md", "_committed_1", ".DS_Store"):
        (folder / name).write_bytes(b"")
    (folder / ".git").mkdir()
    (folder / ".git" / "x.jsonl").write_bytes(b"no JSON\n")
    return {"part-00000.jsonl": TEXTS}


def shards(folder: Path) -> Texts:
    """Sizes that differ much, and the last line with and without a newline."""
    texts: Texts = {}
    for i, n in enumerate((1, 7, 3000, 2)):
        texts[f"{i}.jsonl"] = (TEXTS * n)[:n]
        (folder / f"{i}.jsonl").write_bytes(lines(texts[f"{i}.jsonl"])[: -(i % 2) or None])
    return texts


def parquet(folder: Path) -> Texts:
    """A file of no rows among others, and a row group of no rows."""
    table = pa.table({"n": list(range(len(TEXTS))), "text": TEXTS})
    pq.write_table(table.slice(0, 0), folder / "none.parquet")
    pq.write_table(table, folder / "some.parquet")
    with pq.ParquetWriter(folder / "groups.parquet", table.schema) as writer:
        for part in (table.slice(0, 2), table.slice(0, 0), table.slice(2)):
            writer.write_table(part)
    return {"none.parquet": [], "some.parquet": TEXTS, "groups.parquet": TEXTS}


def frames(folder: Path) -> Texts:
    """Compressed files of several members, frames or streams; skippable frames; frames that do not tell their size."""
    halves = lines(TEXTS[:3]), lines(TEXTS[3:])
    skippable = (0x184D2A50).to_bytes(4, "little") + (5).to_bytes(4, "little") + b"12345"
    plain, unsized = zstandard.ZstdCompressor(), zstandard.ZstdCompressor(write_content_size=False)
    files = {
        "members.jsonl.gz": b"".join(map(gzip.compress, halves)),
        "empty_member.jsonl.gz": gzip.compress(halves[0]) + gzip.compress(b"") + gzip.compress(halves[1]),
        "streams.jsonl.bz2": b"".join(map(bz2.compress, halves)),
        "streams.jsonl.xz": b"".join(map(lzma.compress, halves)),
        "frames.jsonl.zst": plain.compress(halves[0]) + unsized.compress(halves[1]),
        "skippable.jsonl.zst": skippable
        + plain.compress(halves[0])
        + skippable
        + plain.compress(halves[1])
        + skippable,
        "checksum.jsonl.zst": zstandard.ZstdCompressor(write_checksum=True).compress(b"".join(halves)),
    }
    for name, data in files.items():
        (folder / name).write_bytes(data)
    return dict.fromkeys(files, TEXTS)


def json_lines(folder: Path) -> Texts:
    """Line ends of Windows, a byte order mark, spaces around, other keys, text in another column's name."""
    (folder / "crlf.jsonl").write_bytes(lines(TEXTS).replace(b"\n", b"\r\n"))
    (folder / "bom.jsonl").write_bytes(b"\xef\xbb\xbf" + lines(TEXTS))
    (folder / "spaces.jsonl").write_bytes(lines(TEXTS).replace(b'{"n"', b'  { "n"').replace(b"}\n", b" } \n"))
    (folder / "keys.ndjson").write_bytes(lines(TEXTS).replace(b'{"n"', b'{"url": null, "meta": {"a": [1, {}]}, "n"'))
    (folder / "content.jsonl").write_bytes(lines(TEXTS).replace(b'"text"', b'"content"'))
    return dict.fromkeys(("crlf.jsonl", "bom.jsonl", "spaces.jsonl", "keys.ndjson", "content.jsonl"), TEXTS)


def harness(folder: Path) -> Texts:
    """A model's folder as the evaluation harness leaves it: samples of two repeats and the results beside them."""
    model = folder / "org__model"
    model.mkdir()
    samples = [{"doc_id": i, "doc": {"q": "?"}, "target": "x", "resps": [[t, t + "."]]} for i, t in enumerate(TEXTS)]
    data = "".join(json.dumps(s | {"filter": "none", "arguments": {}}) + "\n" for s in samples)
    (model / "samples_task_2026-01-02T03-04-05.678901.jsonl").write_text(data)
    (model / "results_2026-01-02T03-04-05.678901.json").write_text(
        json.dumps({"model_name": "org/model", "results": {}})
    )
    repeats = [t for text in TEXTS for t in (text, text + ".")]
    return {"org__model/samples_task_2026-01-02T03-04-05.678901.jsonl": repeats}


@pytest.mark.parametrize("write", [names, beside, shards, parquet, frames, json_lines, harness])
def test_an_ordinary_folder_is_not_refused(write: Callable[[Path], Texts], tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    texts = write(tmp_path / "in")
    refusals = check(tmp_path / "in", tmp_path / "out", texts)
    assert not refusals, f"{len(refusals)} false refusals of {len(texts)}: {refusals}"
