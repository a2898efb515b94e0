"""The pace of one caller: how many requests may be under way, how fast they may start, and how long it waits for a server.

Additive up, multiplicative down. A caller begins with few requests in flight, and opens with the first answer. A server that asks
to come back later (429, 503, a refused connection) halves the number in flight and pauses every call. Time is counted, not
attempts: patience ends `patience_seconds` after the last answer.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

FIRST_IN_FLIGHT = 4
"""Requests in flight before the first answer: so many are lost where the settings are wrong."""
MAX_BACKOFF_SECONDS = 60.0
MINUTE_SECONDS = 60.0


@dataclass
class Gate:
    """Decides when the next request may start. Times are seconds of the event loop's clock; nothing here waits.

    concurrency  requests in flight, at most
    rpm, tpm     requests, and tokens of prompts (estimated), a minute; 0: as fast as the server likes
    """

    concurrency: int
    patience_seconds: float
    backoff_seconds: float
    rpm: int = 0
    tpm: int = 0

    def __post_init__(self) -> None:
        self.in_flight = 0
        self.limit = float(min(self.concurrency, FIRST_IN_FLIGHT))
        self.waiting_since: float | None = None
        """When the server first asked to come back later, since its last answer."""
        self._is_open = False
        self._resume_at = 0.0
        self._refused_in_a_row = 0
        self._slowed_at = float("-inf")
        self._next_start = 0.0

    def wait_seconds(self, now: float) -> float:
        """Seconds that the next request must wait for its time (not for a place)."""
        return max(self._resume_at, self._next_start) - now

    @property
    def has_place(self) -> bool:
        return self.in_flight < max(1, int(self.limit))

    def started(self, now: float, tokens: int) -> None:
        """Note the start of a request of about this many tokens."""
        self.in_flight += 1
        spacing = max(
            MINUTE_SECONDS / self.rpm if self.rpm else 0.0, MINUTE_SECONDS * tokens / self.tpm if self.tpm else 0.0
        )
        self._next_start = max(now, self._next_start) + spacing

    def answered(self) -> None:
        """Note an answer: a few more requests may be in flight."""
        if not self._is_open:
            self._is_open, self.limit = True, float(self.concurrency)
        self.limit = min(float(self.concurrency), self.limit + 1 / self.limit)
        self.waiting_since = None
        self._refused_in_a_row = 0

    def slow_down(
        self, now: float, sent_at: float, wish_seconds: float | None, jitter: float, most_seconds: float = math.inf
    ) -> float | None:
        """Seconds that all calls pause, since the server asks to come back later; None where patience is at its end.

        sent_at  when the refused request started; requests from before the last pause do not halve the limit again
        jitter   0.5 to 1; factor of a pause that the server does not name
        most_seconds  patience, where that is less than usual
        """
        if self.waiting_since is None:
            self.waiting_since = sent_at
        left = self.waiting_since + min(self.patience_seconds, most_seconds) - now
        if left <= 0 or (wish_seconds is not None and wish_seconds > left):
            return None
        if sent_at >= self._slowed_at:
            self._slowed_at = now
            self.limit = max(1.0, self.limit / 2)
            self._refused_in_a_row += 1
        pause = wish_seconds
        if pause is None:
            pause = min(self.backoff_seconds * 2 ** (min(self._refused_in_a_row, 32) - 1), MAX_BACKOFF_SECONDS) * jitter
            pause = min(pause, left)
        self._resume_at = max(self._resume_at, now + pause)
        return pause
