"""Progress of `tagcorpus predict`: a live line on a terminal, elsewhere a plain line every PLAIN_SECONDS.

It counts jobs (predictor/learners/parallel.py). A job is a seed's folds under the grouped protocol, a fold under the
published one.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from types import TracebackType
from typing import Any

from tagcorpus.pipelines.progress.display import PLAIN_SECONDS, Display


class Steps:
    """`begin(title)` starts a step, `step(done, of)` shows its progress, `finish()` prints its duration."""

    def __init__(self, display: Display, total: int, clock: Callable[[], float] = time.monotonic) -> None:
        """total: how many times `begin` and `finish` will be called."""
        self.display, self.total, self.finished = display, total, 0
        self.title = ""
        self._clock = clock
        self._started = self._begun = self._spoken = clock()
        self._live: Any = None

    def __enter__(self) -> Steps:
        if self.display.stream.isatty() and not self.display.is_quiet:
            from rich.console import Console

            # Markup off: names of tasks are shown as they are.
            self._live = Console(file=self.display.stream, markup=False).status("reading")
            self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, _: BaseException | None, __: TracebackType | None) -> None:
        if self._live is not None:
            self._live.stop()

    def begin(self, title: str) -> None:
        self.title = title
        self._begun = self._spoken = self._clock()
        if self._live is not None:
            self._live.update(title)

    def step(self, done: int, of: int) -> None:
        """done, of: finished jobs and all jobs of the current list."""
        now = self._clock()
        line = f"{self.title}: {done} of {of} fits done, {now - self._begun:.0f} s"
        if self._live is not None:
            self._live.update(line)
        elif now - self._spoken >= PLAIN_SECONDS:
            self._spoken = now
            self.display.say(line)

    def finish(self) -> None:
        self.finished += 1
        now = self._clock()
        line = f"{self.title}: done in {now - self._begun:.0f} s ({self.finished} of {self.total} tasks)"
        if left := self.total - self.finished:
            line += f", about {left * (now - self._started) / self.finished:.0f} s to go"
        self.display.say(line)
