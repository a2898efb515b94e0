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
from collections.abc import Iterator
from pathlib import Path

import plugin_taggers
import pyarrow.parquet as pq
import pytest
import zstandard
from plugins import Corpus, empty_corpus, ended, jsonl, known_here, quarantined, temporary, tree

__all__ = ["empty_corpus", "known_here"]  # fixtures


# So that the quarantine of `texts` costs no exit 3.
MANY_QUARANTINED = ("--max-quarantined", "1000")
ROOMS = ("attributes", "quarantine", "summary")


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
    result = corpus.invoke("--json")
    assert result.code == 0
    assert result.json()["counts"]["documents"] == 4
    assert values(corpus.out, "marks", "a.jsonl", "row") == [0, 2, 3, 4]
    (entry,) = quarantined(corpus.out)
    first = len(jsonl(["one"]))
    assert (entry["row"], entry["offset"], entry["reason"]) == (1, first, "not_utf8")
    assert base64.b64decode(entry["head_base64"]) == bad[:200]
    assert "in quarantine" in result.err


def test_truncated_zst_keeps_what_came_before(corpus: Corpus) -> None:
    # Not compressible, so that the break falls into the middle of the text and not into a last block.
    rng = random.Random(5)
    whole = jsonl(["".join(rng.choices("abcdefghij klmnop", k=900)) for _ in range(400)])
    corpus.write("a.jsonl", ["one", "two"])
    corpus.write("z.jsonl", ["last"])
    packed = zstandard.compress(whole)
    (corpus.root / "data/b.jsonl.zst").write_bytes(packed[: len(packed) * 2 // 3])
    corpus.chunk_bytes = 60_000
    result = corpus.invoke()
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
    again = corpus.invoke(workers=2)
    assert again.code == 1
    assert (tree(corpus.out), stamps(corpus.out, "marks")) == (before, parts)


# Where each next run on an output is killed: among events on paths with this in them, at one of the first so many
# (there are always more), with so many workers.
KILLS = (
    ("/data/", 3, 1),  # while it indexes
    ("/plan/", 8, 2),
    ("/batch", 6, 3),  # while it tags
    ("/quarantine/", 4, 4),
    ("/attributes/", 24, 1),
    ("", 40, 2),  # anywhere
    ("/summary", 6, 1),
)


@pytest.mark.e2e
def test_killed_anywhere_and_resumed_gives_the_same_bytes(corpus: Corpus) -> None:
    """14 kills at seeded points, either of the launcher alone or of the whole process group."""
    corpus.taggers = "marks,length"
    varied(corpus)
    assert corpus.invoke(*MANY_QUARANTINED).code == 0
    undisturbed = tree(corpus.out, *ROOMS, "plan")
    rng = random.Random(20251)
    env = {"PLUGIN_ROOT": str(corpus.root)}
    for sequence in range(2):
        output = corpus.root / f"killed{sequence}"
        for n, (only, reach, workers) in enumerate(KILLS):
            env["PLUGIN_EVENTS"] = str(corpus.root / f"events-{sequence}-{n}")
            env["PLUGIN_ONLY"] = only
            env["PLUGIN_KILL_AT"] = str(rng.randint(1, reach))
            env["PLUGIN_KILL"] = rng.choice(["group", "launcher"])
            # Reads to the end of the stderr that workers share: none of them outlives this line.
            result = corpus.run(*MANY_QUARANTINED, output=output, workers=workers, env=env)
            assert result.code == -signal.SIGKILL, (env, result)
        # What dead runs left behind goes once it is older than a day.
        for path in temporary(output):
            os.utime(path, (path.stat().st_mtime - 90_000,) * 2)
        last = corpus.invoke(*MANY_QUARANTINED, output=output, workers=2)
        assert last.code == 0, last.err
        assert temporary(output) == []
        assert tree(output, *ROOMS, "plan") == undisturbed


@pytest.mark.e2e
def test_killed_worker_is_replaced(corpus: Corpus) -> None:
    corpus.write("a.jsonl", [f"{i} " + "x" * 90 + ("!die!" if i == 45 else "") for i in range(90)])
    deaths = corpus.root / "deaths"
    deaths.write_text("0")
    env = {"PLUGIN_DEATHS": str(deaths)}
    assert corpus.run(env=env).code == 0
    undisturbed = tree(corpus.out)
    deaths.write_text("2")
    output = corpus.root / "again"
    result = corpus.run(output=output, workers=2, env=env)
    assert result.code == 0, result.err
    assert int(deaths.read_text()) < 0
    assert tree(output) == undisturbed


@pytest.mark.e2e
def test_range_that_kills_three_workers_fails_the_run(corpus: Corpus) -> None:
    corpus.write("a.jsonl", [f"{i} " + "x" * 90 + ("!die!" if i == 45 else "") for i in range(90)])
    deaths = corpus.root / "deaths"
    deaths.write_text("99")
    result = corpus.run(workers=2, env={"PLUGIN_DEATHS": str(deaths)})
    assert result.code == 1
    assert deaths.read_text() == "96"
    chunks = json.loads((corpus.out / "plan/a.jsonl.json").read_text())["ranges"]
    (guilty,) = [k for k, r in enumerate(chunks) if r["first_row"] <= 45 < r["first_row"] + r["rows"]]
    first, last = chunks[guilty]["first_row"], chunks[guilty]["first_row"] + chunks[guilty]["rows"] - 1
    assert f"chunk {guilty} of a.jsonl killed its worker 3 times (rows {first} to {last} were in flight)" in result.err
    assert "Traceback" not in result.err
    parts = stamps(corpus.out, "marks")
    assert parts
    assert f"a.jsonl/part-{guilty:05d}.parquet" not in parts
    told = ledger(corpus.out)
    assert (told["exit_code"], told["ranges_done"]) == (1, len(parts))


def test_appended_changed_and_shrunk_files_redo_only_what_changed(corpus: Corpus) -> None:
    rows: list[object] = [f"{i} " + "x" * 90 for i in range(100)]
    rows[90] = b"no json"
    path = corpus.write("a.jsonl", rows)
    corpus.write("b.jsonl", rows)
    first = corpus.invoke()
    assert "2 files, 200 rows" in first.err
    whole, parts = tree(corpus.out, "attributes", "quarantine"), stamps(corpus.out, "marks", "a.jsonl")
    untouched = stamps(corpus.out, "marks", "b.jsonl")
    last = max(parts)

    with path.open("ab") as file:
        file.write(jsonl([f"new {i}" + "y" * 90 for i in range(40)]))
    assert corpus.invoke(workers=2).code == 0
    appended = stamps(corpus.out, "marks", "a.jsonl")
    assert {n for n in parts if appended[n] != parts[n]} <= {last}
    assert len(values(corpus.out, "marks", "a.jsonl", "row")) == 139

    changed = path.read_bytes().replace(b"30 xxx", b"30 yyy")
    path.write_bytes(changed)
    result = corpus.invoke(workers=2)
    assert "1 part is of an earlier input or version" in result.err
    after = stamps(corpus.out, "marks", "a.jsonl")
    assert len([n for n in after if after[n] != appended[n]]) == 1

    path.write_bytes(jsonl(rows))
    assert corpus.invoke().code == 0
    assert tree(corpus.out, "attributes", "quarantine") == whole
    path.write_bytes(jsonl(rows[:20]))
    assert corpus.invoke().code == 0
    assert values(corpus.out, "marks", "a.jsonl", "row") == list(range(20))
    assert not list((corpus.out / "quarantine/a.jsonl").iterdir())
    assert stamps(corpus.out, "marks", "b.jsonl") == untouched


def test_other_taggers_versions_and_parameters(corpus: Corpus, monkeypatch: pytest.MonkeyPatch) -> None:
    corpus.write("a.jsonl", [f"{i} " + "x" * 90 for i in range(60)])
    assert corpus.invoke().code == 0
    parts = stamps(corpus.out, "marks")
    corpus.taggers = "marks,length"
    assert corpus.invoke().code == 0
    assert stamps(corpus.out, "marks") == parts
    assert len(stamps(corpus.out, "length")) == len(parts)
    both = stamps(corpus.out, "length")

    monkeypatch.setattr(plugin_taggers.Marks, "version", "2")
    newer = corpus.invoke()
    assert newer.code == 0
    assert f"{len(parts)} parts are of an earlier input or version, to be computed again" in newer.err
    assert not set(stamps(corpus.out, "marks").values()) & set(parts.values())
    assert stamps(corpus.out, "length") == both

    now = tree(corpus.out)
    for version in ("2", "3"):  # a new version is no leave for other parameters
        monkeypatch.setattr(plugin_taggers.Marks, "version", version)
        other = corpus.invoke("--set", "marks.suffix=z")
        assert other.code == 2
        for told in ("marks(suffix='')", "marks(suffix='z')", "--taggers NAME=marks", "--overwrite"):
            assert told in other.err
    corpus.taggers = "marks=length"
    taken = corpus.invoke()
    assert taken.code == 2
    assert "length()" in taken.err
    assert tree(corpus.out) == now
    corpus.taggers = "tail=marks"
    assert corpus.invoke("--set", "tail.suffix=z").code == 0
    assert values(corpus.out, "tail", "a.jsonl", "mark")[:2] == ["0z", "1z"]


@pytest.mark.e2e
def test_two_runs_at_once_do_no_harm(corpus: Corpus) -> None:
    corpus.taggers = "marks,length"
    varied(corpus)
    assert corpus.invoke(*MANY_QUARANTINED).code == 0
    alone = tree(corpus.out)
    output = corpus.root / "shared"
    # Of different hash seeds as well: they must not show in the bytes.
    running = [
        corpus.start(*MANY_QUARANTINED, output=output, workers=w, env={"PYTHONHASHSEED": str(w)}) for w in (1, 2)
    ]
    for process in running:
        result = ended(process)
        assert result.code == 0, result.err
    assert tree(output) == alone
    assert temporary(output) == []

    # Other taggers: each leaves its own parts and the same quarantine of the reader.
    output = corpus.root / "apart"
    corpus.taggers = "marks"
    running = [corpus.start(*MANY_QUARANTINED, output=output, workers=2)]
    corpus.taggers = "length"
    running.append(corpus.start(*MANY_QUARANTINED, output=output))
    for process in running:
        result = ended(process)
        assert result.code == 0, result.err
    assert tree(output, "attributes", "quarantine") == {n: d for n, d in alone.items() if not n.startswith("summary")}


def test_workers_make_no_difference(corpus: Corpus) -> None:
    corpus.taggers = "marks,length"
    varied(corpus)
    trees = []
    for workers in (1, 2, 4):
        output = corpus.root / f"w{workers}"
        assert corpus.invoke(*MANY_QUARANTINED, output=output, workers=workers).code == 0
        trees.append(tree(output))
    assert trees[0] == trees[1] == trees[2]
    assert len([n for n in trees[0] if n.endswith(".parquet")]) >= 12
    told = b"".join(trees[0].values())
    assert str(corpus.root).encode() not in told
    assert not re.search(rb"20\d\d-\d\d-\d\dT", told)


def mount(point: Path, options: str) -> None:
    command = ["mount", "-t", "tmpfs", "-o", options, "none", str(point)]
    mounted = subprocess.run(command, capture_output=True, text=True, check=False)
    if mounted.returncode:
        pytest.skip(f"mounting a tmpfs is not allowed here: {mounted.stderr.strip()}")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A filesystem of 1 MiB."""
    point = tmp_path / "disk"
    point.mkdir()
    mount(point, "size=1m")
    yield point
    subprocess.run(["umount", point], check=True)


@pytest.mark.parametrize("workers", [1, 2])
def test_full_disk(corpus: Corpus, small_disk: Path, workers: int) -> None:
    rng = random.Random(3)
    corpus.write("a.jsonl", [{"id": f"{rng.getrandbits(256):x}", "text": "x" * 20} for _ in range(9000)])
    corpus.chunk_bytes = 100_000
    assert corpus.invoke().code == 0
    output = small_disk / "out"
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(800_000))
    result = corpus.invoke(output=output, workers=workers)
    assert result.code == 1
    assert "the disk is full" in result.err
    assert "run the same command again" in result.err
    assert "Traceback" not in result.err
    whole = tree(corpus.out, "attributes")
    published = tree(output, "attributes")
    assert 1 < len(published) < len(whole)
    assert published == {n: whole[n] for n in published}
    assert temporary(output) == []
    ballast.unlink()
    again = corpus.invoke(output=output, workers=workers)
    assert again.code == 0, again.err
    assert tree(output) == tree(corpus.out)


def test_output_that_cannot_be_written(corpus: Corpus) -> None:
    corpus.write("a.jsonl", ["one"])
    corpus.out.write_text("a file")
    result = corpus.invoke()
    assert result.code == 2
    assert f"{corpus.out} is an existing file" in result.err
    assert corpus.out.read_text() == "a file"
    assert "Traceback" not in result.err


def test_read_only_output(corpus: Corpus) -> None:
    """Root may write anywhere but into a filesystem that is mounted read-only."""
    corpus.write("a.jsonl", ["one"])
    corpus.out.mkdir()
    mount(corpus.out, "size=1m,ro")
    try:
        result = corpus.invoke()
    finally:
        subprocess.run(["umount", corpus.out], check=True)
    assert result.code == 1
    assert "could not be written: Read-only file system" in result.err
    assert "Traceback" not in result.err


def test_progress_on_a_terminal_and_in_a_pipe(corpus: Corpus) -> None:
    corpus.write("a.jsonl", [f"{i} " + "x" * 90 for i in range(90)] + [b"bad"])
    piped = corpus.run()
    assert piped.err.splitlines()[0].partition(" ")[2] == "1 file, 91 rows, 6 chunks; 1 worker"
    assert "\x1b" not in piped.err
    master, terminal = os.openpty()
    process = subprocess.Popen(
        corpus.command("--overwrite"),
        stdout=subprocess.PIPE,
        stderr=terminal,
        env={**corpus.environment(), "TERM": "xterm"},
    )
    os.close(terminal)
    shown = b""
    try:
        while block := os.read(master, 1 << 16):
            shown += block
    except OSError:  # how Linux says that the terminal's other end is closed
        pass
    os.close(master)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown.decode())
    # Without the time, and perhaps below a bar (tests/test_display.py), which a run this short need not show.
    assert re.search(r"(^|[\r\n])1 file, 91 rows, 6 chunks; 1 worker\r\n", plain)
    assert not re.search(r"(?<![\d,.])0 rows/s", plain)
    assert b"90 documents" in out
