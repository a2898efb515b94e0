"""A sign of life while `tagcorpus predict` fits: a live line on a terminal, a plain line now and then elsewhere.

It counts jobs (predictor/learners/parallel.py): under the grouped protocol one is a seed's folds, under the published one a fold.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from types import TracebackType
from typing import Any

from tagcorpus.pipelines.progress.display import PLAIN_SECONDS, Display


class Steps:
    """`begin(title)` says what is being done, `step(done, of)` how far it is; `finish()` says how long it took."""

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

            # Markup off: what is shown are names of tasks.
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
        """done of `of` jobs of the list at work are back."""
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
