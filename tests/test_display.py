"""What a run says while it works, with the clock and the workers' beats in the test's hand."""

from __future__ import annotations

import fcntl
import io
import os
import struct
import termios

import pytest

from tagcorpus.pipelines.progress.display import PLAIN_SECONDS, STALL_SECONDS, Display, Watch
from tagcorpus.pipelines.progress.progress_record import ProgressRecord


class Scene:
    def __init__(self, total_rows: int = 1000) -> None:
        self.now = 0.0
        self.beats: list[ProgressRecord] = []
        self.stream = io.StringIO()
        self.display = Display(self.stream)
        self.watch = Watch(
            self.display, "tag", total_rows, lambda: self.beats, lambda r: f"chunk {r} of a.jsonl", lambda: self.now
        )

    def look(self, now: float) -> list[str]:
        """What is said at that time."""
        self.now = now
        before = len(self.stream.getvalue())
        self.watch.look()
        return self.stream.getvalue()[before:].splitlines()


def test_plain_lines_now_and_then() -> None:
    scene = Scene()
    scene.watch.done(200, 2_000_000, 3)
    scene.beats = [
        ProgressRecord(rank=4, rows=50, n_bytes=500_000, pid=1, count=9),
        ProgressRecord(rank=-1, rows=7, pid=2),
    ]
    assert scene.look(PLAIN_SECONDS - 1) == []
    assert scene.look(PLAIN_SECONDS) == ["tag: 250 of 1,000 rows, 25 rows/s, 0.2 MB/s, 3 quarantined, about 30 s to go"]
    assert scene.look(PLAIN_SECONDS + 1) == []
    assert len(scene.look(2 * PLAIN_SECONDS)) == 1


def test_no_time_to_go_before_there_is_a_rate() -> None:
    scene = Scene()
    assert scene.look(PLAIN_SECONDS) == ["tag: 0 of 1,000 rows, 0 rows/s, 0.0 MB/s, 0 quarantined"]
    scene.watch.done(1, 10, 0)
    assert scene.look(2 * PLAIN_SECONDS)[0].endswith(", about 19,980 s to go")


def stalls(said: list[str]) -> list[str]:
    return [line for line in said if line.startswith("waiting")]


def test_stall_is_named_less_and_less_often() -> None:
    scene = Scene()
    scene.beats = [ProgressRecord(rank=4, first_row=10, last_row=29, pid=1, count=5)]
    told = "waiting for chunk 4 of a.jsonl, rows 10 to 29 in flight: no sign of life for {} s"
    assert stalls(scene.look(1)) == []
    assert stalls(scene.look(STALL_SECONDS)) == []
    assert stalls(scene.look(1 + STALL_SECONDS)) == [told.format(60)]
    assert stalls(scene.look(100)) == []
    assert stalls(scene.look(1 + 2 * STALL_SECONDS)) == [told.format(120)]
    scene.beats[0].count += 1
    assert stalls(scene.look(200)) == []
    assert stalls(scene.look(200 + STALL_SECONDS)) == [told.format(60)]
    assert scene.display.log[-1].endswith(told.format(60))


@pytest.mark.parametrize("pids", [(1, 2), (7, 7)])
def test_one_worker_stalls_beside_a_lively_one(pids: tuple[int, int]) -> None:
    """Threads share a process: the same pid must not hide which one stands still."""
    scene = Scene()
    quiet, lively = (ProgressRecord(rank=r, pid=p, count=1) for r, p in zip((0, 1), pids, strict=True))
    scene.beats = [quiet, lively]
    said: list[str] = []
    for now in range(0, 70, 5):
        lively.count += 1
        said += stalls(scene.look(now))
    assert said == ["waiting for chunk 0 of a.jsonl: no sign of life for 60 s"]


def test_idle_workers_do_not_stall() -> None:
    scene = Scene()
    scene.beats = [ProgressRecord(rank=-1, pid=1, count=5)]
    assert not any(stalls(scene.look(now)) for now in (0, 100, 1000))


def test_quiet_display_keeps_the_log() -> None:
    stream = io.StringIO()
    display = Display(stream, quiet=True)
    display.say("something")
    assert stream.getvalue() == ""
    assert display.log[0].endswith(" something")


def test_watch_runs_and_ends() -> None:
    scene = Scene()
    with scene.watch as watch:
        watch.done(10, 10, 0)
    assert not watch._thread.is_alive()


LONG = "  a line that is indented and long, with a/path/to/some/folder-with-hyphens/that-stays-whole in it\nand another"


@pytest.mark.parametrize(
    ("width", "lines"),
    [
        (40, [
            "  a line that is indented and long, with",
            "    a/path/to/some/folder-with-hyphens/that-stays-whole",
            "    in it",
            "and another",
        ]),
        (12, LONG.split("\n")),  # no room to lay anything out
        (0, LONG.split("\n")),
    ],
)  # fmt: skip
def test_long_lines_on_a_terminal(width: int, lines: list[str]) -> None:
    reader, writer = os.openpty()
    fcntl.ioctl(writer, termios.TIOCSWINSZ, struct.pack("HHHH", 24, width, 0, 0))
    with os.fdopen(writer, "w") as terminal:
        display = Display(terminal)
        display.say(LONG)
        print("end", file=terminal, flush=True)
        told = ""
        while not told.endswith("end\r\n"):  # one read need not give all that was written
            told += os.read(reader, 10_000).decode()
    os.close(reader)
    assert told.splitlines() == [*lines, "end"]
    assert display.log[0].endswith(LONG)


def test_long_lines_elsewhere() -> None:
    stream = io.StringIO()
    Display(stream).say(LONG)
    assert stream.getvalue() == LONG + "\n"
