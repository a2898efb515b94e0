"""Progress on stderr: a live line on a terminal, a plain line now and then elsewhere; and a word when a run stalls."""

from __future__ import annotations

import contextlib
import os
import sys
import textwrap
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, TextIO

from tagcorpus.pipelines.progress.printable import printable
from tagcorpus.pipelines.progress.progress_record import ProgressRecord

TICK_SECONDS = 0.25
PLAIN_SECONDS = 10.0
STALL_SECONDS = 60.0
NARROWEST = 20


_NOWHERE: TextIO = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 - in place of a stderr that a process lacks


class Display:
    """Says things on stderr and keeps them for the log. Quiet when told so, but for what is announced."""

    def __init__(self, stream: TextIO | None = None, quiet: bool = False) -> None:
        self._stream = stream
        self.is_quiet = quiet
        self.log: list[str] = []

    @property
    def stream(self) -> TextIO:
        """Looked up anew each time: while a bar is shown, what goes to sys.stderr appears above it."""
        return self._stream or sys.stderr or _NOWHERE

    def say(self, message: str) -> None:
        self._tell(message, self.is_quiet)

    def announce(self, message: str) -> None:
        """What has to be said before it happens, such as what a run can cost: quiet or not."""
        self._tell(message, False)

    def _tell(self, message: str, is_quiet: bool) -> None:
        message = printable(message)
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S")
        self.log.append(f"{stamp} {message}")
        if not is_quiet:
            with contextlib.suppress(
                OSError, ValueError
            ):  # closed, full, or its reader is gone: the log has the message
                print(_laid_out(message, self.stream), file=self.stream, flush=True)


def _laid_out(message: str, stream: TextIO) -> str:
    """In lines that the terminal has room for; elsewhere as it is, one line for each that the message has."""
    if not stream.isatty():
        return message
    try:
        width = os.get_terminal_size(stream.fileno()).columns
    except OSError:
        width = 0
    lines = []
    for line in message.split("\n"):
        margin = line[: len(line) - len(line.lstrip())] + "  "
        # A word stays whole, so that a path can be copied; no width: a terminal that does not tell its own.
        how: dict[str, Any] = {"subsequent_indent": margin, "break_long_words": False, "break_on_hyphens": False}
        lines.append(textwrap.fill(line, width, **how) if width > len(margin) + NARROWEST and line.strip() else line)
    return "\n".join(lines)


class Watch:
    """While it is open, a thread looks at the workers' beats, shows how far the run is, and names what it waits for."""

    def __init__(
        self,
        display: Display,
        title: str,
        total_rows: int,
        beats: Callable[[], list[ProgressRecord]],
        describe: Callable[[int], str],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.display, self.title, self.total_rows = display, title, total_rows
        self.beats, self.describe = beats, describe
        self.rows = self.n_bytes = self.quarantined = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._keep_looking, daemon=True)
        self._clock = clock
        self._started = self._spoken = clock()
        self._bar: Any = None
        self._seen: dict[int, tuple[int, float, float]] = {}

    def done(self, rows: int, n_bytes: int, quarantined: int) -> None:
        """A chunk is finished."""
        self.rows += rows
        self.n_bytes += n_bytes
        self.quarantined += quarantined

    def __enter__(self) -> Watch:
        is_terminal = self.display.stream.isatty() and not self.display.is_quiet
        if is_terminal:
            self._bar = _bar(self.display.stream)
            self._bar.start()
            self._task = self._bar.add_task(self.title, total=self.total_rows, rate="", quarantined=0)
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, _: BaseException | None, __: TracebackType | None) -> None:
        self._stop.set()
        self._thread.join()
        if self._bar is not None:
            self._show([])
            self._bar.stop()

    def _keep_looking(self) -> None:
        while not self._stop.wait(TICK_SECONDS):
            self.look()

    def look(self) -> None:
        """Show how far the run is, when it is time to, and name what has not moved for too long."""
        beats = [b for b in self.beats() if b.rank >= 0]
        now = self._clock()
        if self._bar is not None:
            self._show(beats)
        elif now - self._spoken >= PLAIN_SECONDS:
            self._spoken = now
            self.display.say(self._line(beats))
        self._stalls(beats, now)

    def _totals(self, beats: list[ProgressRecord]) -> tuple[int, int]:
        return self.rows + sum(b.rows for b in beats), self.n_bytes + sum(b.n_bytes for b in beats)

    def _line(self, beats: list[ProgressRecord]) -> str:
        rows, n_bytes = self._totals(beats)
        seconds = max(self._clock() - self._started, 1e-9)
        left = f", about {(self.total_rows - rows) * seconds / rows:,.0f} s to go" if rows else ""
        return (
            f"{self.title}: {rows:,} of {self.total_rows:,} rows, {rows / seconds:,.0f} rows/s, "
            f"{n_bytes / seconds / 1e6:.1f} MB/s, {self.quarantined:,} quarantined{left}"
        )

    def _show(self, beats: list[ProgressRecord]) -> None:
        rows, n_bytes = self._totals(beats)
        seconds = max(self._clock() - self._started, 1e-9)
        rate = f"{rows / seconds:,.0f} rows/s  {n_bytes / seconds / 1e6:.1f} MB/s"
        self._bar.update(self._task, completed=rows, rate=rate, quarantined=self.quarantined)

    def _stalls(self, beats: list[ProgressRecord], now: float) -> None:
        for beat in beats:
            count, since, told = self._seen.get(beat.rank, (-1, now, STALL_SECONDS))
            if count != beat.count:
                self._seen[beat.rank] = (beat.count, now, STALL_SECONDS)
            elif now - since >= told:
                rows = f", rows {beat.first_row} to {beat.last_row} in flight" if beat.first_row >= 0 else ""
                self.display.say(
                    f"waiting for {self.describe(beat.rank)}{rows}: no sign of life for {now - since:.0f} s"
                )
                self._seen[beat.rank] = (count, since, told * 2)


def _bar(stream: TextIO) -> Any:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    return Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        TextColumn("{task.completed:,}/{task.total:,} rows"),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[quarantined]:,} quarantined"),
        console=Console(file=stream),
        transient=True,
    )
