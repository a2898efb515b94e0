"""Progress of a run, with the clock and the workers' progress records in the test's hand."""

from __future__ import annotations

import fcntl
import io
import os
import re
import struct
import termios
import time
from pathlib import Path

import pytest

from tagcorpus import kernels
from tagcorpus.pipelines.progress.display import ESTIMATE_SECONDS, PLAIN_SECONDS, STALL_SECONDS, Display, Watch
from tagcorpus.pipelines.progress.progress_record import ProgressRecord

STAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d ")


class Scene:
    def __init__(self, total_rows: int = 1000) -> None:
        self.now = 0.0
        self.records: list[ProgressRecord] = []
        self.stream = io.StringIO()
        self.display = Display(self.stream)
        self.watch = Watch(
            self.display, "tag", total_rows, lambda: self.records, lambda r: f"chunk {r} of a.jsonl", lambda: self.now
        )

    def look(self, now: float) -> list[str]:
        """What is said at that time."""
        self.now = now
        before = len(self.stream.getvalue())
        self.watch.look()
        lines = self.stream.getvalue()[before:].splitlines()
        assert all(STAMP.match(line) for line in lines)
        return [STAMP.sub("", line) for line in lines]


def test_plain_lines_now_and_then() -> None:
    scene = Scene()
    scene.watch.done(200, 2_000_000, 3)
    scene.records = [
        ProgressRecord(rank=4, rows=50, n_bytes=500_000, pid=1, count=9),
        ProgressRecord(rank=-1, rows=7, pid=2),
    ]
    assert scene.look(PLAIN_SECONDS - 1) == []
    assert scene.look(PLAIN_SECONDS) == ["tagging: 250 of 1,000 rows, 3 quarantined"]
    assert scene.look(PLAIN_SECONDS + 1) == []
    scene.watch.done(275, 11_000_000, 0)
    # Rates count from the first rows on, which were seen after 9 s.
    line = "tagging: 525 of 1,000 rows, about 19 s left, 25 rows/s, 3 quarantined, 1.0 MB/s"
    assert scene.look(2 * PLAIN_SECONDS) == [line]


def test_neither_rate_nor_estimate_before_rows_are_done(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels, "compiled_since", lambda _: False)
    scene = Scene()
    assert scene.look(300) == ["tagging: 5 min, no rows done yet"]
    scene.watch.done(1, 10, 0)
    assert scene.look(310) == ["tagging: 1 of 1,000 rows"]
    scene.watch.done(1, 0, 0)
    assert scene.look(430) == ["tagging: 2 of 1,000 rows, about 33 h 16 min left, 0.5 rows/min"]


def test_kernels_that_are_compiled_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    scene = Scene()
    assert scene.look(20) == ["tagging: 20 s, no rows done yet"]
    (tmp_path / "signals_1").mkdir()
    later = time.time() + 5  # the clock of files is coarser
    os.utime(tmp_path / "signals_1", (later, later))
    assert scene.look(40) == ["tagging: 40 s, no rows done yet (compiling kernels, once on a machine)"]
    os.utime(tmp_path / "signals_1", (1, 1))
    assert scene.look(60) == ["tagging: 60 s, no rows done yet"]
    scene.watch.done(1, 10, 0)
    assert scene.look(80) == ["tagging: 1 of 1,000 rows"]


def test_no_estimate_in_the_first_seconds() -> None:
    """A burst of rows at the beginning does not promise two seconds for a minute's work."""
    scene = Scene(100_000)
    scene.watch.done(100, 0, 0)
    scene.now = 1
    scene.watch.look()
    scene.watch.done(50_000, 0, 0)
    scene.watch._spoken = -10
    assert scene.look(1 + ESTIMATE_SECONDS - 1) == ["tagging: 50,100 of 100,000 rows, 7,143 rows/s"]


@pytest.mark.parametrize(
    ("title", "line"),
    [
        ("indexing", "reading plan: 10 s so far"),
        ("merging", "merging: 5 of 1,000 entries"),
        ("statistics", "statistics: 5 of 1,000 groups"),
        ("drawing samples", "drawing samples: 5 of 1,000 rows"),
    ],
)
def test_phases_have_names_and_units(title: str, line: str) -> None:
    scene = Scene()
    scene.watch = Watch(scene.display, title, 0 if title == "indexing" else 1000, list, str, lambda: scene.now)
    scene.watch.done(5, 0, 0)
    assert scene.look(PLAIN_SECONDS) == [line]


@pytest.mark.parametrize("width", [80, 120])
def test_bar_on_a_terminal_fits_its_width(width: int) -> None:
    reader, writer = os.openpty()
    fcntl.ioctl(writer, termios.TIOCSWINSZ, struct.pack("HHHH", 24, width, 0, 0))
    with os.fdopen(writer, "w") as terminal:
        times = iter((0.0, 1.0, 100.0))
        watch = Watch(Display(terminal), "tag", 100_000_000, list, str, lambda: next(times))
        watch._has_bar = True
        for _ in range(2):
            watch.done(12_345_678, 1 << 34, 1234)
            watch.look()
        watch._bar.stop()
        print("end", file=terminal, flush=True)
        text = ""
        while not text.endswith("end\r\n"):
            text += os.read(reader, 10_000).decode()
    os.close(reader)
    frames = [re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", frame) for frame in re.split(r"[\r\n]+", text)]
    last = [frame for frame in frames if "24,691,356 of 100,000,000 rows" in frame][-1]
    assert "tagging" in last
    assert "about 10 min left" in last
    assert ("1,234 quarantined" in last, "2,468 quarantined" in last) == (False, width == 120)
    assert len(last) <= width


def stalls(said: list[str]) -> list[str]:
    return [line for line in said if line.startswith("waiting")]


def test_stall_is_named_less_and_less_often() -> None:
    scene = Scene()
    scene.records = [ProgressRecord(rank=4, first_row=10, last_row=29, pid=1, count=5)]
    told = "waiting for chunk 4 of a.jsonl, rows 10 to 29 in flight: no sign of life for {} s"
    assert stalls(scene.look(1)) == []
    assert stalls(scene.look(STALL_SECONDS)) == []
    assert stalls(scene.look(1 + STALL_SECONDS)) == [told.format(60)]
    assert stalls(scene.look(100)) == []
    assert stalls(scene.look(1 + 2 * STALL_SECONDS)) == [told.format(120)]
    scene.records[0].count += 1
    assert stalls(scene.look(200)) == []
    assert stalls(scene.look(200 + STALL_SECONDS)) == [told.format(60)]
    assert scene.display.log[-1].endswith(told.format(60))


@pytest.mark.parametrize("pids", [(1, 2), (7, 7)])
def test_one_worker_stalls_beside_a_lively_one(pids: tuple[int, int]) -> None:
    """Threads share a process: the same pid must not hide which one stands still."""
    scene = Scene()
    quiet, lively = (ProgressRecord(rank=r, pid=p, count=1) for r, p in zip((0, 1), pids, strict=True))
    scene.records = [quiet, lively]
    said: list[str] = []
    for now in range(0, 70, 5):
        lively.count += 1
        said += stalls(scene.look(now))
    assert said == ["waiting for chunk 0 of a.jsonl: no sign of life for 60 s"]


def test_idle_workers_do_not_stall() -> None:
    scene = Scene()
    scene.records = [ProgressRecord(rank=-1, pid=1, count=5)]
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
    first, second, last = stream.getvalue().split("\n")
    assert [STAMP.sub("", first), STAMP.sub("", second), last] == [*LONG.split("\n"), ""]
    assert STAMP.match(first)
    assert STAMP.match(second)
