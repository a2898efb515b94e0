"""The heartbeat of a run on disk: `runs/<run>/progress.json`, written every few seconds and removed at the end.

The file says, on every machine that sees the output, how far a run is and whether it is alive. A run that ends writes its
ledger. A run that was killed leaves the heartbeat behind, and counts as dead after `DEAD_SECONDS`. If the file cannot be
written, the run goes on.
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
from tagcorpus.processes import is_running

# A run of ten documents ends before its first heartbeat.
FIRST_SECONDS = 1.0
BEAT_SECONDS = 5.0
DEAD_SECONDS = 60.0
FILE = "progress.json"


def process() -> dict[str, Any]:
    """This process, as others on the same host and in the same container can find it."""
    try:
        namespace = os.stat("/proc/self/ns/pid").st_ino
    except OSError:
        namespace = 0
    return {"pid": os.getpid(), "host": platform.node(), "pid_namespace": namespace}


def is_alive(heartbeat: dict[str, Any], at: float, now: float) -> bool:
    """Whether the process of a heartbeat written `at` is alive. It is dead after DEAD_SECONDS, or if it belongs to this
    host and is not among its processes."""
    if now - at > DEAD_SECONDS:
        return False
    own = process()
    is_elsewhere = any(heartbeat.get(k) != own[k] for k in ("host", "pid_namespace"))
    return is_elsewhere or is_running(heartbeat["pid"])


def at_work(output: Folder) -> Iterator[str]:
    """Names of the runs of this output that have neither ended nor died."""
    names = output.files("runs")
    for name in names:
        run, _, leaf = name.rpartition("/")
        if leaf == "command.json" and f"{run}/ledger.json" not in names:
            sign = json_object(output, f"{run}/{FILE}") or json_object(output, name)
            at = sign.get("time") or epoch(sign.get("started"))
            if f"{run}/slurm.json" in names or is_alive(sign, at, time.time()):
                yield run.removeprefix("runs/")


def not_an_output(folder: Folder) -> InputError:
    """The error for a folder without plan/ and runs/."""
    return InputError(
        f"{folder} is not an output of tagcorpus (it has neither plan/ nor runs/). Give the folder that --output named, "
        "or by default <first input's stem>.tagcorpus"
    )


def json_object(folder: Folder, name: str) -> dict[str, Any]:
    """The JSON object of a file; empty if the file is missing or damaged."""
    return opened(folder.read(name)) or {}


@contextlib.contextmanager
def errors_as_damage(output: str) -> Iterator[None]:
    """Raise InputError for errors of reading JSON files of an unexpected shape, such as a ledger whose totals are text."""
    try:
        yield
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"{output} has a damaged JSON file in runs/, summary/ or attributes/ ({type(error).__name__}: {error}). Run "
            "its pipeline again, which makes the file anew, or remove the folder of the run in runs/"
        ) from error


def epoch(started: str | None) -> float:
    """The start time in command.json, as seconds since the epoch."""
    try:
        return datetime.fromisoformat(started or "").timestamp()
    except ValueError:
        return 0.0


class Heartbeat:
    """Writes the heartbeat in its own thread, from `start` to `stop`; `following` names the watch that it describes."""

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
        """From now on, also write the entries that `more` returns."""
        self._more = more

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """End the thread and remove the file. Harmless if the heartbeat was never started."""
        self._stop.set()
        if self._thread.ident is not None:
            # With a limit, so that an object store that does not answer cannot keep the run from ending.
            self._thread.join(timeout=2 * BEAT_SECONDS)
        if self._is_written:
            with contextlib.suppress(Exception):
                self._output.remove(self._name)

    @contextlib.contextmanager
    def following(self, watch: Watch) -> Iterator[None]:
        """Inside of the block, heartbeats describe this watch."""
        self._since, self._seen, self._watch = time.monotonic(), {}, watch
        try:
            yield
        finally:
            self._watch = None

    def beat(self) -> None:
        """Write the file now."""
        self._is_written = True
        # Clients of object stores raise errors of any class, and a heartbeat must not end a run.
        with contextlib.suppress(Exception):
            self._output.publish(self._name, json.dumps(self.state(), indent=1).encode())

    def state(self) -> dict[str, Any]:
        """The content of the file; without rows between two passes over the chunks, such as during summaries."""
        state: dict[str, Any] = {"time": time.time(), **process(), **self._more()}
        watch = self._watch
        if watch is None:
            return state
        records = [r for r in watch.records() if r.rank >= 0]
        now = time.monotonic()
        seconds = max(now - self._since, 1e-9)
        rows = watch.rows + sum(r.rows for r in records)
        n_bytes = watch.n_bytes + sum(r.n_bytes for r in records)
        chunks = []
        for record in records:
            count, at = self._seen.get(record.rank, (-1, now))
            if count != record.count:
                count, at = self._seen[record.rank] = (record.count, now)
            in_flight = {"first_row": record.first_row, "last_row": record.last_row} if record.first_row >= 0 else {}
            chunks.append(
                {
                    "range": watch.describe(record.rank),
                    "rows": record.rows,
                    **in_flight,
                    "silent_seconds": round(now - at, 1),
                }
            )
        return {
            **state,
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
