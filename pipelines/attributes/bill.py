"""The bill of a run: its requests and tokens at an endpoint, on disk while the run goes on; and the sum of all runs on an output.

`runs/<run>/bill.json` has the counts of requests and tokens. A local file is written in place before each request and after each
reply, so that it is right after a kill -9, too. A store takes no such writes: there the heartbeat carries the counts, a few
seconds old. At the end of a run, whatever it is, they are in its ledger (key `llm`).
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tagcorpus.errors import OutputError
from tagcorpus.pipelines.progress.amounts import counted
from tagcorpus.pipelines.progress.heartbeat import FILE as HEARTBEAT
from tagcorpus.pipelines.progress.heartbeat import json_object
from tagcorpus.pipelines.storage.folder import Folder
from tagcorpus.taggers._llm.caller import Usage
from tagcorpus.taggers._llm.tokens import Price

FILE = "bill.json"
KEY = "llm"
RECORD_BYTES = 4096
"""One page: such a write is not torn when its process is killed."""
ALLOWED = "allowed_calls"
USD, PRICE = "usd", "price"
RUN_TIME_CHARACTERS = len("20260101T000000")


class Bill:
    """The counts of one run. `allowed_calls`: calls that the user allowed at the start. `price`: of its tokens, where it is known."""

    def __init__(self, output: Folder, run_name: str, allowed_calls: int, price: Price | None = None) -> None:
        self.counts: dict[str, Any] = {}
        self._more: dict[str, Any] = {ALLOWED: allowed_calls} | ({PRICE: price.described()} if price else {})
        self._file: int | None = None
        if output.is_local:
            path = Path(output.path(f"runs/{run_name}/{FILE}"))
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                self._file = os.open(path, os.O_WRONLY | os.O_CREAT, 0o666)
            except OSError as error:
                raise OutputError(f"{path} cannot be written: {error.strerror}") from error
        self.enter(Usage().as_json())

    def enter(self, counts: Mapping[str, Any]) -> None:
        """Replace the counts by these of `Usage`."""
        self.counts = {**counts, **self._more}
        if self._file is not None:
            os.pwrite(self._file, _record(self.counts), 0)

    def close(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None


def _record(counts: Mapping[str, Any]) -> bytes:
    record = json.dumps(counts).encode()  # not orjson: sums may go beyond 64 bits, and names hold half a surrogate pair
    if len(record) >= RECORD_BYTES:  # an endpoint that names a new model with each answer
        record = json.dumps({**counts, "models": {}}).encode()
    return record.ljust(RECORD_BYTES - 1) + b"\n"


def spent(output: Folder, but_for: str = "", price: Price | None = None) -> dict[str, Any]:
    """Spending of the runs on an output, back to the last one with --overwrite: the counts, the number of `runs` with requests, and
    the largest `allowed_calls`. `but_for`: a run that does not count. `price`: of the tokens of runs that knew none."""
    total: dict[str, Any] = {**Usage().as_json(), "runs": 0}  # ledgers of earlier versions have fewer counts
    for counts in _each(output, but_for):
        total["runs"] += counts.get("requests", 0) > 0
        add(total, counts if price is None or USD in counts else {**counts, USD: price.usd_of(counts)})
    return total


def add(total: dict[str, Any], counts: Mapping[str, Any]) -> None:
    """Add the counts of another run to these."""
    for name, value in counts.items():
        if name == ALLOWED:
            total[name] = max(total.get(name, 0), value)
        elif isinstance(value, int | float):
            total[name] = total.get(name, 0) + value
        elif isinstance(value, str):
            total.setdefault(name, value)
        elif isinstance(value, dict):
            add(total.setdefault(name, {}), value)


def _each(output: Folder, but_for: str) -> Iterator[dict[str, Any]]:
    """The counts of every run with requests, newest first."""
    files: dict[str, set[str]] = {}
    for path in output.files("runs"):
        _, run, *leaf = path.split("/")
        files.setdefault(run, set()).add("/".join(leaf))
    commands = {run: json_object(output, f"runs/{run}/command.json") for run in files if "command.json" in files[run]}
    # Names have seconds only.
    for run in sorted(commands, key=lambda n: (n[:RUN_TIME_CHARACTERS], commands[n].get("time", 0.0)), reverse=True):
        if run == but_for:
            continue
        for name in (FILE, "ledger.json", HEARTBEAT):
            value: dict[str, Any] = json_object(output, f"runs/{run}/{name}") if name in files[run] else {}
            counts = value if name == FILE else value.get(KEY)
            if counts and isinstance(counts, dict):
                yield counts
                break
        if commands[run].get("options", {}).get("overwrite"):
            return


def in_words(counts: Mapping[str, Any]) -> str:
    """Requests and tokens as a sentence. Amounts that are zero are left out, but for requests and tokens."""
    models = sorted(name for name in counts["models"] if name)
    price = f" ({counts[PRICE]})" if PRICE in counts else ""
    parts = [
        f"{counted(counts['requests'], 'request')} sent{_aside(counts, 'retries', 'retried')}: "
        f"{counts['prompt_tokens']:,} prompt tokens{_aside(counts, 'cached_tokens', 'cached')}, "
        f"{counts['completion_tokens']:,} answer tokens{_aside(counts, 'reasoning_tokens', 'of reasoning')}",
        f"{counts['cache_hits']:,} answers from the cache" if counts["cache_hits"] else "",
        f"{counts['unusable']:,} paid without an answer" if counts["unusable"] else "",
        f"{dollars(counts[USD])}{price}" if USD in counts else "",
        f"more than one model answered: {', '.join(models)}" if len(models) > 1 else "",
    ]
    return "; ".join(part for part in parts if part)


def _aside(counts: Mapping[str, Any], name: str, words: str) -> str:
    return f" ({counts[name]:,} {words})" if counts[name] else ""


def dollars(usd: float) -> str:
    """An amount of money in words, with three digits that count below one dollar.

    Example  0.001234 -> 0.00123 USD, 1234.5 -> 1,234.50 USD
    """
    if usd >= 1 or usd < 1e-9:
        return f"{max(usd, 0):,.2f} USD"
    return f"{float(f'{usd:.3g}'):.{2 - math.floor(math.log10(usd))}f} USD"
