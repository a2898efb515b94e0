"""A run's sign of life on disk: `runs/<run>/progress.json`, written anew every few seconds and removed at the end.

Whoever looks at the output, from whatever machine, can tell by it how far a run is and whether it still lives. A run
that ends says so in its ledger; one that was killed leaves the file behind, and after `DEAD_SECONDS` it counts as dead.
Nothing in a run depends on the file: where it cannot be written, the run goes on.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import threading
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any

from tagcorpus.errors import InputError
from tagcorpus.pipelines.progress.display import Watch
from tagcorpus.pipelines.storage.folder import Folder
from tagcorpus.pipelines.storage.sealed import opened

# A run of ten documents is over before the first beat, and pays nothing.
FIRST_SECONDS = 1.0
BEAT_SECONDS = 5.0
DEAD_SECONDS = 60.0
FILE = "progress.json"


def process() -> dict[str, Any]:
    """This process, as others on the same host and in the same container can look for it."""
    try:
        namespace = os.stat("/proc/self/ns/pid").st_ino
    except OSError:
        namespace = 0
    return {"pid": os.getpid(), "host": platform.node(), "pid_namespace": namespace}


def is_alive(told: dict[str, Any], at: float, now: float) -> bool:
    """Whether a process that last gave a sign of life `at` still lives: not when that is too long ago, nor when it
    should be among the processes here and is not."""
    if now - at > DEAD_SECONDS:
        return False
    own = process()
    if any(told.get(k) != own[k] for k in ("host", "pid_namespace")):
        return True
    try:
        os.kill(told["pid"], 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # another user's
        return True
    return True


def is_at_work(output: Folder) -> bool:
    """Whether a run of this output has neither ended nor died."""
    names = output.files("runs")
    for name in names:
        run, _, leaf = name.rpartition("/")
        if leaf == "command.json" and f"{run}/ledger.json" not in names:
            sign = json_object(output, f"{run}/{FILE}") or json_object(output, name)
            at = sign.get("time") or epoch(sign.get("started"))
            if f"{run}/slurm.json" in names or is_alive(sign, at, time.time()):
                return True
    return False


def json_object(folder: Folder, name: str) -> dict[str, Any]:
    """An object from a file; empty where there is none, or none that is whole."""
    return opened(folder.read(name)) or {}


@contextlib.contextmanager
def damage_refused(output: str) -> Iterator[None]:
    """Raises InputError for what reading JSON of another shape comes to: a ledger whose totals are text, say."""
    try:
        yield
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"{output} has a damaged JSON file in runs/, summary/ or attributes/ ({type(error).__name__}: {error}): run its "
            "pipeline again, which makes the file anew, or remove the folder of the run in runs/"
        ) from error


def epoch(started: str | None) -> float:
    """Seconds since the epoch of the time that command.json has."""
    try:
        return datetime.fromisoformat(started or "").timestamp()
    except ValueError:
        return 0.0


class Heartbeat:
    """Writes the file from a thread of its own, from `start` to `stop`; `following` says what there is to tell."""

    def __init__(self, output: Folder, run_name: str) -> None:
        self._output, self._name = output, f"runs/{run_name}/{FILE}"
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._keep_beating, daemon=True)
        self._watch: Watch | None = None
        self._since = 0.0
        self._seen: dict[int, tuple[int, float]] = {}
        self._is_written = False
        self._more: Callable[[], dict[str, Any]] = dict

    def carry(self, more: Callable[[], dict[str, Any]]) -> None:
        """From now on the file also holds what `more` returns."""
        self._more = more

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """No beat comes after this, and the file is gone. Harmless where it was never started."""
        self._stop.set()
        if self._thread.ident is not None:
            self._thread.join(
                timeout=2 * BEAT_SECONDS
            )  # a store that does not answer must not keep the run from ending
        if self._is_written:
            with contextlib.suppress(Exception):
                self._output.remove(self._name)

    @contextlib.contextmanager
    def following(self, watch: Watch) -> Iterator[None]:
        """While the block lasts, beats tell what this watch sees."""
        self._since, self._seen, self._watch = time.monotonic(), {}, watch
        try:
            yield
        finally:
            self._watch = None

    def beat(self) -> None:
        """Write the file now."""
        self._is_written = True
        # Not only OutputError: stores raise what they like, and an onlooker's convenience must not end a run.
        with contextlib.suppress(Exception):
            self._output.publish(self._name, json.dumps(self.state(), indent=1).encode())

    def state(self) -> dict[str, Any]:
        """What the file says; without the rows between two passes over the chunks (while summaries are made, say)."""
        found: dict[str, Any] = {"time": time.time(), **process(), **self._more()}
        watch = self._watch
        if watch is None:
            return found
        beats = [b for b in watch.beats() if b.rank >= 0]
        now = time.monotonic()
        seconds = max(now - self._since, 1e-9)
        rows = watch.rows + sum(b.rows for b in beats)
        n_bytes = watch.n_bytes + sum(b.n_bytes for b in beats)
        chunks = []
        for beat in beats:
            count, at = self._seen.get(beat.rank, (-1, now))
            if count != beat.count:
                count, at = self._seen[beat.rank] = (beat.count, now)
            in_flight = {"first_row": beat.first_row, "last_row": beat.last_row} if beat.first_row >= 0 else {}
            chunks.append(
                {
                    "range": watch.describe(beat.rank),
                    "rows": beat.rows,
                    **in_flight,
                    "silent_seconds": round(now - at, 1),
                }
            )
        return {
            **found,
            "doing": watch.title,
            "rows": rows,
            "rows_total": watch.total_rows,
            "bytes": n_bytes,
            "quarantined": watch.quarantined,
            "seconds": round(seconds, 1),
            "rows_per_second": round(rows / seconds, 1),
            "bytes_per_second": round(n_bytes / seconds, 1),
            "seconds_left": round((watch.total_rows - rows) * seconds / rows, 1) if rows else None,
            "ranges": chunks,
        }

    def _keep_beating(self) -> None:
        seconds = FIRST_SECONDS
        while not self._stop.wait(seconds):
            self.beat()
            seconds = BEAT_SECONDS
