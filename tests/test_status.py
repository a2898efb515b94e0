"""`tagcorpus status`: what an output's files say, while a run lasts, after it was killed, and when it is done."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from plugins import Corpus, Ended, empty_corpus, ended, known_here
from slurm_commands import invoke

import tagcorpus
from tagcorpus.errors import ConfigError, InputError
from tagcorpus.pipelines.doctor.status import as_text, report, status
from tagcorpus.pipelines.progress import heartbeat
from tagcorpus.pipelines.progress.display import Display, Watch
from tagcorpus.pipelines.progress.heartbeat import Heartbeat
from tagcorpus.pipelines.progress.progress_record import ProgressRecord
from tagcorpus.pipelines.storage import remote
from tagcorpus.pipelines.storage.folder import Folder

__all__ = ["empty_corpus", "known_here"]  # fixtures


def asked(corpus: Corpus, *options: str) -> Ended:
    return invoke("status", str(corpus.out), *options)


def rows(n: int) -> list[object]:
    return [f"{i} " + "x" * 90 for i in range(n)]


def test_done(corpus: Corpus) -> None:
    corpus.taggers = "marks,length"
    corpus.write("a.jsonl", [*rows(60), b"no json", b"", "!raise!"])
    assert corpus.invoke().code == 0
    found = asked(corpus, "--json").json()
    chunks = json.loads((corpus.out / "plan/a.jsonl.json").read_text())["ranges"]
    assert (found["files"], found["rows"], found["ranges"]) == (1, 63, len(chunks))
    assert found["running"] == []
    assert found["last_run"]["exit_code"] == 0
    assert found["last_run"]["pipeline"] == "tag"
    marks, length = found["instances"]["marks"], found["instances"]["length"]
    for one in (marks, length):
        assert one["ranges_done"] == one["ranges_planned"] == len(chunks) >= 3
        assert (one["rows"], one["documents"], one["ranges_stale"]) == (63, 61, 0)
    assert marks["quarantined"] == {"not_json": 1, "tagger:marks:ValueError": 1}
    assert length["quarantined"] == {"not_json": 1}
    text = asked(corpus).out
    assert "1 file, 63 rows" in text
    assert [line.split()[-1] for line in text.splitlines() if line.startswith(("  marks", "  length"))] == [
        "complete"
    ] * 2
    assert "exit 0 (done)" in text


@pytest.mark.parametrize("what", ["nothing", "file", "folder"])
def test_no_output(corpus: Corpus, what: str) -> None:
    if what == "file":
        corpus.out.write_text("{}")
    elif what == "folder":
        (corpus.out / "plan").mkdir(parents=True)
    result = asked(corpus)
    assert result.code == 2
    assert "is not an output of tagcorpus" in result.err
    assert result.out == ""


def test_stale_parts_are_told_apart(corpus: Corpus) -> None:
    path = corpus.write("a.jsonl", rows(60))
    assert corpus.invoke().code == 0
    path.write_bytes(path.read_bytes().replace(b"30 xxx", b"30 yyy"))
    corpus.taggers = "length"
    assert corpus.invoke().code == 0
    found = status(str(corpus.out))
    marks, length = found["instances"]["marks"], found["instances"]["length"]
    assert (marks["ranges_stale"], marks["ranges_done"]) == (1, marks["ranges_planned"] - 1)
    assert (length["ranges_stale"], length["ranges_done"]) == (0, length["ranges_planned"])
    assert "1 stale (of an earlier input or version)" in as_text(found)


def test_files_that_are_read_in_different_ways(corpus: Corpus) -> None:
    corpus.write("a.jsonl", rows(60))
    b = corpus.write("b.jsonl", [{"body": f"{i} " + "y" * 90} for i in range(60)])
    a = corpus.root / "data/a.jsonl"
    for path, column in ((a, "text"), (b, "body")):
        tagcorpus.run(
            "tag", input=path, output=corpus.out, taggers="length", text_column=column, chunk_bytes=2000, workers=1
        )
    found = status(str(corpus.out))
    assert found["instances"]["length"]["ranges_done"] == found["ranges"] >= 6
    assert found["instances"]["length"]["documents"] == 120


def test_sampled_run_is_complete(corpus: Corpus) -> None:
    a = corpus.write("a.jsonl", rows(60))
    result = tagcorpus.run("tag", input=a, output=corpus.out, taggers="length", sample=0.5, seed=3, workers=1)
    found = status(str(corpus.out))["instances"]["length"]
    assert (found["ranges_done"], found["ranges_stale"]) == (found["ranges_planned"], 0)
    assert found["documents"] == result.counts.documents < 60
    # The rest was asked for later, and not yet begun: none of it is there.
    command = json.loads(next(corpus.out.glob("runs/*/command.json")).read_text())
    command["options"] |= {"sample": None}
    later = corpus.out / "runs/29990101T000000-tag-ffffff/command.json"
    later.parent.mkdir()
    later.write_text(json.dumps(command))
    assert status(str(corpus.out))["instances"]["length"]["ranges_done"] == found["ranges_planned"]


def test_failed_run_says_why(corpus: Corpus) -> None:
    corpus.write("a.jsonl", [*rows(30), "!budget!"])
    assert corpus.invoke().code == 5
    last = status(str(corpus.out))["last_run"]
    assert (last["exit_code"], last["error"]) == (5, "the budget is spent")
    text = asked(corpus).out
    assert "exit 5 (a budget was reached)" in text
    assert "  the budget is spent" in text


def test_broken_input_is_the_last_error(corpus: Corpus) -> None:
    (corpus.root / "data").mkdir()
    (corpus.root / "data/a.jsonl.gz").write_bytes(b"\x1f\x8b\x08\x00garbage")
    assert corpus.invoke().code == 1
    assert "broken input: a.jsonl.gz" in status(str(corpus.out))["last_run"]["error"]


def waiting(corpus: Corpus, workers: int) -> subprocess.Popen[str]:
    """A run that stands still in the middle of its last range."""
    fifo = corpus.root / "fifo"
    os.mkfifo(fifo)
    corpus.write("a.jsonl", [*rows(60), "!wait!"])
    told = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    process = corpus.start(workers=workers, env={"PLUGIN_WAITING": str(fifo)})
    readable, _, _ = select.select([told], [], [], 60)  # until the tagger has come there
    os.close(told)
    assert readable, ended(process)
    return process


@pytest.mark.e2e
@pytest.mark.parametrize("workers", [1, 2])
def test_running_then_killed_then_resumed(corpus: Corpus, workers: int) -> None:
    process = waiting(corpus, workers)
    try:
        # A first beat may come before the last chunk is the one that everybody waits for; a later one shows it.
        deadline = time.monotonic() + 60
        while not _waits_for_last(found := status(str(corpus.out))):
            assert process.poll() is None
            assert time.monotonic() < deadline, found
        (run,) = found["running"]
        assert run["pid"] == process.pid
        progress = run["progress"]
        assert (progress["doing"], progress["rows_total"]) == ("tag", 61)
        last = found["ranges"] - 1
        assert {"range": f"chunk {last} of a.jsonl", "last_row": 60}.items() <= progress["ranges"][-1].items()
        text = asked(corpus).out
        assert f"process {process.pid} on" in text
        assert "tag: this run has done " in text
        assert " of its 61 rows (" in text
        assert "to 60 in flight" in text
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        ended(process)
    found = status(str(corpus.out))
    assert found["running"] == []
    assert found["last_run"]["exit_code"] is None
    done = found["instances"]["marks"]
    assert 0 < done["ranges_done"] < done["ranges_planned"] == found["ranges"]
    text = asked(corpus).out
    assert "died without a ledger; last seen" in text
    assert "the same command resumes" in text
    assert " run tag -i " in text

    # From elsewhere only the age of the heartbeat counts.
    (beat,) = corpus.out.glob("runs/*/progress.json")
    value: dict[str, Any] = {**json.loads(beat.read_text()), "host": "elsewhere"}
    for age, is_running in ((5.0, True), (heartbeat.DEAD_SECONDS + 5, False)):
        beat.write_text(json.dumps({**value, "time": time.time() - age}))
        assert bool(status(str(corpus.out))["running"]) is is_running

    assert corpus.invoke(workers=workers).code == 0
    found = status(str(corpus.out))
    assert found["running"] == []
    assert found["last_run"]["exit_code"] == 0
    assert found["instances"]["marks"]["ranges_done"] == found["ranges"]


def test_an_earlier_run_beside_one_at_work(corpus: Corpus) -> None:
    path = corpus.write("a.jsonl", rows(5))
    tagcorpus.run("tag", input=path, output=corpus.out, taggers="length", workers=1)
    found = status(str(corpus.out))
    found["last_run"] |= {"exit_code": 130, "command": "tagcorpus run tag -i a.jsonl"}
    alone = as_text(found)
    assert "\n\nlast run: tag, " in alone
    assert "exit 130 (interrupted; the same command resumes)\n  tagcorpus run tag -i a.jsonl" in alone
    progress = {"doing": "tag", "rows": 3, "rows_total": 4, "rows_per_second": 1.0, "bytes_per_second": 1.0}
    progress |= {"quarantined": 0, "seconds_left": None, "ranges": []}
    now = {"pipeline": "tag", "started": None, "pid": 1, "host": "h", "progress": progress}
    beside = as_text({**found, "running": [now]})
    assert "  tag: this run has done 3 of its 4 rows (75 %), " in beside
    assert "\n\nlast run that has ended: tag, " in beside
    assert beside.endswith("exit 130 (interrupted)")  # what resumes it is at work already


def _waits_for_last(found: dict[str, Any]) -> bool:
    chunks = found["running"][0]["progress"].get("ranges") or [{}]
    return bool(chunks[-1].get("last_row") == 60)


@pytest.mark.e2e
def test_a_run_that_ends_takes_its_heartbeat_with_it(corpus: Corpus) -> None:
    process = waiting(corpus, 1)
    while not status(str(corpus.out))["running"][0]["progress"]:
        assert process.poll() is None
    process.terminate()
    assert ended(process).code == 143
    assert not list(corpus.out.glob("runs/*/progress.json"))
    assert "exit 143 (terminated; the same command resumes)" in asked(corpus).out


def test_remote_output(corpus: Corpus) -> None:
    a = corpus.write("a.jsonl", rows(60))
    output = f"memory://{corpus.root.name}/out"
    tagcorpus.run("tag", input=a, output=output, taggers="length", workers=1)
    found = json.loads(report(output, as_json=True))
    assert found["instances"]["length"]["documents"] == 60
    assert found["last_run"]["exit_code"] == 0
    with pytest.raises(InputError, match="is not an output of tagcorpus"):
        status(f"memory://{corpus.root.name}/other")


def test_storage_options_reach_the_store(corpus: Corpus) -> None:
    output = f"memory://{corpus.root.name}/own"
    a = corpus.write("a.jsonl", rows(3))
    tagcorpus.run("tag", input=a, output=output, taggers="length", workers=1)
    report(output, True, ["use_listings_cache=false"])
    assert remote.in_use() == {"use_listings_cache": False}
    report(output, True)
    assert remote.in_use() == {}
    with pytest.raises(ConfigError, match="unknown storage option of memory 'endpoint_url'"):
        report(output, True, ["endpoint_url=http://127.0.0.1:9"])


def test_a_tagger_that_reads_further_columns(corpus: Corpus) -> None:
    path = corpus.root / "code.jsonl"
    path.write_text(json.dumps({"text": "def f(x):\n    return x\n", "lang": "python"}) + "\n")
    tagcorpus.run("tag", input=path, output=corpus.out, taggers="code", workers=1)
    (one,) = status(str(corpus.out))["instances"].values()
    assert (one["ranges_done"], one["ranges_stale"]) == (1, 0)


def test_beat_tells_what_the_watch_sees(tmp_path: Path) -> None:
    beats = [ProgressRecord(rank=2, rows=10, n_bytes=1000, first_row=40, last_row=49, count=7), ProgressRecord()]
    watch = Watch(Display(quiet=True), "tag", 100, lambda: beats, lambda r: f"chunk {r} of x")
    watch.done(20, 2000, 1)
    found = Heartbeat(Folder(str(tmp_path)), "r1")
    found.beat()
    before = json.loads((tmp_path / "runs/r1/progress.json").read_text())
    assert (before["pid"], "rows" in before) == (os.getpid(), False)
    with found.following(watch):
        found.beat()
        told = json.loads((tmp_path / "runs/r1/progress.json").read_text())
    assert (told["rows"], told["rows_total"], told["bytes"], told["quarantined"]) == (30, 100, 3000, 1)
    assert told["seconds_left"] == pytest.approx(told["seconds"] * 70 / 30, abs=0.5)
    (one,) = told["ranges"]
    assert {"range": "chunk 2 of x", "rows": 10, "first_row": 40, "last_row": 49}.items() <= one.items()
    assert "rows" not in found.state()
    found.stop()
    assert not (tmp_path / "runs/r1/progress.json").exists()


def test_heartbeat_that_cannot_be_written_harms_nothing(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("a file")
    found = Heartbeat(Folder(str(tmp_path)), "r1")
    found.beat()
    found.stop()
    assert (tmp_path / "runs").read_text() == "a file"


def test_life_of_a_process() -> None:
    own = heartbeat.process()
    now = 1000.0
    assert heartbeat.is_alive(own, now - 1, now)
    assert not heartbeat.is_alive(own, now - heartbeat.DEAD_SECONDS - 1, now)
    gone = subprocess.Popen(["true"])
    gone.wait()
    assert not heartbeat.is_alive({**own, "pid": gone.pid}, now, now)
    # Another container has processes of its own under the same numbers.
    assert heartbeat.is_alive({**own, "pid": gone.pid, "pid_namespace": 1}, now, now)
