"""Nothing is lost, end to end through the console script: damage, kills, changed inputs, two runs at once, full disks.

Commands are killed and interrupted at events, never after a time: see plugin_taggers.py.
"""

from __future__ import annotations

import base64
import gzip
import json
import os
import random
import re
import signal
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import zstandard

from plugins import Corpus, Ended, ended, jsonl, quarantined, temporary, tree


@pytest.fixture
def corpus(tmp_path: Path) -> Corpus:
    return Corpus(tmp_path)


def texts(seed: int, n: int) -> list[object]:
    """Documents with some rows that go to quarantine, some that the tagger raises on, and blank lines."""
    rng = random.Random(seed)
    rows: list[object] = []
    for i in range(n):
        kind = rng.random()
        if kind < 0.04:
            rows.append(b'{"text": "\xff"}')
        elif kind < 0.08:
            rows.append(b"")
        elif kind < 0.12:
            rows.append(f"!raise! {i}")
        else:
            rows.append(f"{i} " + "what a document " * rng.randint(0, 12))
    return rows


def varied(corpus: Corpus) -> None:
    """Three inputs of several ranges each: plain, zstd in several frames, and a gz below a folder."""
    corpus.write("a.jsonl", texts(1, 60))
    frames = [zstandard.compress(jsonl(texts(s, 25))) for s in (2, 3)]
    (corpus.root / "data/b.jsonl.zst").write_bytes(b"".join(frames))
    (corpus.root / "data/deep").mkdir()
    (corpus.root / "data/deep/c.jsonl.gz").write_bytes(gzip.compress(jsonl(texts(4, 40))))


def values(output: Path, instance: str, name: str, column: str) -> list[object]:
    found: list[object] = []
    for part in sorted((output / "attributes" / instance / name).glob("part-*.parquet")):
        found += pq.read_table(part)[column].to_pylist()
    return found


def stamps(output: Path, instance: str, name: str = "") -> dict[str, tuple[int, int]]:
    """What tells whether a part was written again: inode and time."""
    folder = output / "attributes" / instance / name
    return {str(p.relative_to(folder)): (p.stat().st_ino, p.stat().st_mtime_ns) for p in folder.rglob("*.parquet")}


def ledger(output: Path) -> dict[str, object]:
    newest = max((output / "runs").iterdir(), key=lambda p: (p / "command.json").stat().st_mtime_ns)
    found: dict[str, object] = json.loads((newest / "ledger.json").read_text())
    return found


def test_one_bad_byte_costs_one_row(corpus: Corpus) -> None:
    bad = b'{"text": "caf\xe9 au lait, ' + b"x" * 300 + b'"}'
    corpus.write("a.jsonl", ["one", bad, "three", "four", "five"])
    result = corpus.run("--json")
    assert result.code == 0
    assert result.json()["counts"]["documents"] == 4
    assert values(corpus.out, "marks", "a.jsonl", "row") == [0, 2, 3, 4]
    (entry,) = quarantined(corpus.out)
    first = len(jsonl(["one"]))
    assert (entry["row"], entry["offset"], entry["reason"]) == (1, first, "not_utf8")
    assert base64.b64decode(entry["head_base64"]) == bad[:200]
    assert "1 rows are in quarantine" in result.err


def test_truncated_zst_keeps_what_came_before(corpus: Corpus) -> None:
    # Not compressible, so that the break falls into the middle of the text and not into a last block.
    rng = random.Random(5)
    whole = jsonl(["".join(rng.choices("abcdefghij klmnop", k=900)) for _ in range(400)])
    corpus.write("a.jsonl", ["one", "two"])
    corpus.write("z.jsonl", ["last"])
    packed = zstandard.compress(whole)
    (corpus.root / "data/b.jsonl.zst").write_bytes(packed[: len(packed) * 2 // 3])
    corpus.shard_bytes = 60_000
    result = corpus.run()
    assert result.code == 1
    assert "broken input: b.jsonl.zst" in result.err
    rows = values(corpus.out, "marks", "b.jsonl.zst", "row")
    assert 0 < len(rows) < 400
    assert rows == list(range(len(rows)))
    assert values(corpus.out, "marks", "a.jsonl", "n_bytes") == [3, 3]
    assert values(corpus.out, "marks", "z.jsonl", "n_bytes") == [4]
    (entry,) = quarantined(corpus.out)
    assert (entry["reason"], entry["row"]) == ("broken_file", len(rows))
    before, parts = tree(corpus.out), stamps(corpus.out, "marks")
    again = corpus.run(workers=2)
    assert again.code == 1
    assert (tree(corpus.out), stamps(corpus.out, "marks")) == (before, parts)


KILLS_PER_OUTPUT = 6
# Of a fresh output the whole way is killed at random; then, with less left to do, sooner.
REACHES = (150, 110, 90, 70, 60, 50)


def test_killed_anywhere_and_resumed_gives_the_same_bytes(corpus: Corpus) -> None:
    corpus.taggers = "marks,length"
    varied(corpus)
    keep_going = ("--max-quarantined", "1000")
    assert corpus.run(*keep_going).code == 0
    undisturbed = tree(corpus.out, "attributes", "quarantine", "summary", "plan")
    rng = random.Random(20251)
    places: Counter[str] = Counter()
    for sequence in range(4):
        output = corpus.root / f"killed{sequence}"
        for n, reach in enumerate(REACHES):
            events = corpus.root / f"events-{sequence}-{n}"
            env = {
                "PLUGIN_ROOT": str(output),
                "PLUGIN_EVENTS": str(events),
                "PLUGIN_KILL_AT": str(rng.randint(1, reach)),
                "PLUGIN_KILL": rng.choice(["group", "launcher"]),
            }
            # Reads to the end of the stderr that workers share: none of them outlives this line.
            result = corpus.run(*keep_going, output=output, workers=(1, 2, 3, 1, 4, 2)[n], env=env)
            if result.code == -signal.SIGKILL:
                places[place(events, int(env["PLUGIN_KILL_AT"]))] += 1
            else:
                assert result.code == 0, result.err
        last = corpus.run(*keep_going, output=output, workers=2)
        assert last.code == 0, last.err
        assert tree(output, "attributes", "quarantine", "summary", "plan") == undisturbed
    print(places)
    assert sum(places.values()) >= 20, places
    assert {"plan", "batch", "attributes", "quarantine", "summary"} <= set(places), places


def place(events: Path, kill_at: int) -> str:
    """The room of the output that the fatal event was about."""
    record = events.read_bytes()[(kill_at - 1) * 100 :][:100].decode().split()
    return "batch" if record[0] == "batch" else record[1].split("/")[1] if "/" in record[1] else "output"
