"""Progress on stderr: a live line on a terminal, time-stamped lines elsewhere; and a message when a run stalls."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, TextIO

from tagcorpus.pipelines.progress.amounts import duration, size
from tagcorpus.pipelines.progress.printable import printable
from tagcorpus.pipelines.progress.progress_record import ProgressRecord
from tagcorpus.pipelines.progress.wrapping import fitted, terminal_width

TICK_SECONDS = 0.25
PLAIN_SECONDS = 10.0
STALL_SECONDS = 60.0
# A rate is shown after so many seconds of counted work, and an estimate after so many more.
RATE_SECONDS = 2.0
ESTIMATE_SECONDS = 8.0
NARROWEST_BAR = 10
# Names of passes as they are shown, and their units. Other passes have their own titles, and count rows.
PHASES = {
    "indexing": ("reading plan", ""),
    "tag": ("tagging", "rows"),
    "features": ("tagging", "rows"),
    "domain": ("labelling", "rows"),
    "annotate": ("labelling", "rows"),
    "entropy-lm": ("predicting tokens", "rows"),
    "filter": ("writing rows", "rows"),
    "merging": ("merging", "entries"),
    "looking up held-out documents": ("looking up held-out documents", "entries"),
    "statistics": ("statistics", "groups"),
    "trying settings": ("trying settings", "settings"),
}

_NOWHERE: TextIO = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 - in place of a stderr that a process lacks


class Display:
    """Prints messages on stderr and keeps them for the log. A quiet display prints only announcements."""

    def __init__(self, stream: TextIO | None = None, quiet: bool = False) -> None:
        self._stream = stream
        self.is_quiet = quiet
        self.log: list[str] = []

    @property
    def stream(self) -> TextIO:
        """Looked up anew each time, since text on sys.stderr appears above a bar while one is shown."""
        return self._stream or sys.stderr or _NOWHERE

    def say(self, message: str) -> None:
        self._print(message, self.is_quiet)

    def announce(self, message: str) -> None:
        """Print a message that must precede its subject, such as the cost of a run, even if the display is quiet."""
        self._print(message, False)

    def phase(self, title: str) -> Watch:
        """A watch over work without a count: shows that the phase goes on, and for how long."""
        return Watch(self, title, None, list, str)

    def _print(self, message: str, is_quiet: bool) -> None:
        message = printable(message)
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S")
        self.log.append(f"{stamp} {message}")
        if not is_quiet:
            # The stream may be closed, full, or without a reader; the log has the message.
            with contextlib.suppress(OSError, ValueError):
                print(_laid_out(message, self.stream, stamp), file=self.stream, flush=True)


def _laid_out(message: str, stream: TextIO, stamp: str) -> str:
    """Lines as wide as the terminal; elsewhere the lines of the message, each with the time."""
    width = terminal_width(stream)
    if width is None:
        return "\n".join(f"{stamp} {line}" for line in message.split("\n"))
    return fitted(message, width)


class Watch:
    """While it is open, a thread shows the progress of the workers, and names the chunks that have stalled.

    total_rows  rows of this pass, in the unit of PHASES; None or 0 if the pass has no count
    records     gives the progress records of the workers
    describe    names a rank
    """

    def __init__(
        self,
        display: Display,
        title: str,
        total_rows: int | None,
        records: Callable[[], list[ProgressRecord]],
        describe: Callable[[int], str],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.display, self.title, self.total_rows = display, title, total_rows or 0
        self.phase, self.unit = PHASES.get(title, (title, "rows"))
        self.records, self.describe = records, describe
        self.rows = self.n_bytes = self.quarantined = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._keep_looking, daemon=True)
        self._clock = clock
        self._started = self._spoken = clock()
        self._began = time.time()  # of the clock that files have
        self._first: tuple[float, int, int] | None = None  # time, rows and bytes when the first rows were done
        self._bar: Any = None
        self._has_bar = False
        self._seen: dict[int, tuple[int, float, float]] = {}

    def done(self, rows: int, n_bytes: int, quarantined: int) -> None:
        """A chunk is finished."""
        self.rows += rows
        self.n_bytes += n_bytes
        self.quarantined += quarantined

    def __enter__(self) -> Watch:
        self._has_bar = self.display.stream.isatty() and not self.display.is_quiet
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, _: BaseException | None, __: TracebackType | None) -> None:
        self._stop.set()
        self._thread.join()
        if self._bar is not None:
            self._bar.stop()

    def _keep_looking(self) -> None:
        while not self._stop.wait(TICK_SECONDS):
            self.look()

    def look(self) -> None:
        """Show the progress when it is due, and name the chunks that have stalled."""
        records = [r for r in self.records() if r.rank >= 0]
        now = self._clock()
        facts = self._facts(records, now)
        if self._has_bar:
            self._show(records, facts)
        elif now - self._spoken >= PLAIN_SECONDS:
            self._spoken = now
            self.display.say(f"{self.phase}: {', '.join(facts)}")
        self._name_stalls(records, now)

    def _totals(self, records: list[ProgressRecord]) -> tuple[int, int]:
        return self.rows + sum(r.rows for r in records), self.n_bytes + sum(r.n_bytes for r in records)

    def _facts(self, records: list[ProgressRecord], now: float) -> list[str]:
        """How far the pass is, the most important first. A fact that is not known yet is left out."""
        rows, n_bytes = self._totals(records)
        if rows and self._first is None:
            # Models are loaded before the first rows, so rates count from here.
            self._first = (now, rows, n_bytes)
        if not self.total_rows or not rows:
            elapsed = duration(now - self._started)
            if not self.total_rows:
                return [f"{elapsed} so far"]
            from tagcorpus.kernels import compiled_since

            why = " (compiling kernels, once on a machine)" if compiled_since(self._began) else ""
            return [f"{elapsed}, no {self.unit} done yet{why}"]
        facts = [f"{rows:,} of {self.total_rows:,} {self.unit}"]
        assert self._first is not None
        seconds, more = now - self._first[0], rows - self._first[1]
        if more > 0 and seconds >= RATE_SECONDS:
            if seconds >= ESTIMATE_SECONDS and rows < self.total_rows:
                facts.append(f"about {duration((self.total_rows - rows) * seconds / more)} left")
            facts.append(_rate(more / seconds, self.unit))
        if self.quarantined:
            facts.append(f"{self.quarantined:,} quarantined")
        if more > 0 and seconds >= RATE_SECONDS and (more_bytes := n_bytes - self._first[2]) > 0:
            facts.append(f"{size(more_bytes / seconds)}/s")
        return facts

    def _show(self, records: list[ProgressRecord], facts: list[str]) -> None:
        if self._bar is None:
            self._bar = _bar(self.display.stream)
            self._task = self._bar.add_task(self.phase, total=self.total_rows or None, facts="")
            self._bar.start()
        if width := terminal_width(self.display.stream):
            self._bar.console.width = width  # rich asks stdin and stdout, which may be another terminal or none
        room = self._bar.console.width - len(self.phase) - NARROWEST_BAR - 6
        while len(facts) > 1 and len("  ".join(facts)) > room:
            facts = facts[:-1]
        self._bar.update(self._task, completed=self._totals(records)[0], facts="  ".join(facts))

    def _name_stalls(self, records: list[ProgressRecord], now: float) -> None:
        for record in records:
            count, since, due = self._seen.get(record.rank, (-1, now, STALL_SECONDS))
            if count != record.count:
                self._seen[record.rank] = (record.count, now, STALL_SECONDS)
            elif now - since >= due:
                rows = f", rows {record.first_row} to {record.last_row} in flight" if record.first_row >= 0 else ""
                self.display.say(
                    f"waiting for {self.describe(record.rank)}{rows}: no sign of life for {now - since:.0f} s"
                )
                self._seen[record.rank] = (count, since, due * 2)


def _rate(per_second: float, unit: str) -> str:
    if per_second >= 10:
        return f"{per_second:,.0f} {unit}/s"
    return f"{per_second:.1f} {unit}/s" if per_second >= 1 else f"{60 * per_second:.2g} {unit}/min"


def _bar(stream: TextIO) -> Any:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn

    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=None),
        TextColumn("{task.fields[facts]}", markup=False),
        console=Console(file=stream),
        expand=True,
        transient=True,
        refresh_per_second=4,
    )
