"""The calls of the Batch API: upload, create, look up, download. Each is repeated where that may help."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from tagcorpus.errors import LLMError, TaggerError
from tagcorpus.pipelines.batching.request_files import ENDPOINT
from tagcorpus.taggers._llm.caller import Caller
from tagcorpus.taggers._llm.endpoint import lost_connection
from tagcorpus.taggers._llm.reply import Answer, Failure, judge

WINDOW = "24h"
MARK = "tagcorpus"
"""Key of a batch's metadata that has the mark of its file: so a batch is recognised whose id was lost."""
T = TypeVar("T")
MAX_PAUSE_SECONDS = 60.0


@dataclass(frozen=True)
class Batch:
    """A batch as the endpoint sees it."""

    id: str
    status: str
    files: tuple[str, ...]
    """Ids of the files of results and of errors."""
    reason: str = ""
    code: str = ""

    @property
    def is_over(self) -> bool:
        return self.status in ("completed", "failed", "expired", "cancelled")


class BatchApi:
    """The Batch API of the endpoint of a caller, with its key, its retries and its messages without secrets."""

    def __init__(self, caller: Caller) -> None:
        self._caller, self._sdk = caller, caller.sdk

    def upload(self, name: str, data: bytes) -> str:
        return str(self._call(lambda: self._sdk.files.create(file=(name, data), purpose="batch")).id)

    def create(self, file_id: str, mark: str) -> Batch:
        """The batch of this file; where an earlier attempt has made it already, that one."""

        async def make() -> Any:
            return await self._search(mark) or await self._sdk.batches.create(
                input_file_id=file_id, endpoint=ENDPOINT, completion_window=WINDOW, metadata={MARK: mark}
            )

        return _batch(self._call(make))

    def search(self, mark: str) -> Batch | None:
        """The batch of a file with this mark, if there is one that has not failed."""
        batch = self._call(lambda: self._search(mark))
        return None if batch is None else _batch(batch)

    def look_up(self, batch_id: str) -> Batch:
        return _batch(self._call(lambda: self._sdk.batches.retrieve(batch_id)))

    def download(self, file_id: str) -> bytes:
        return bytes(self._call(lambda: self._sdk.files.content(file_id)).content)

    async def _search(self, mark: str) -> Any:
        async for batch in self._sdk.batches.list(limit=100):
            if (batch.metadata or {}).get(MARK) == mark and batch.status not in ("failed", "cancelled", "cancelling"):
                return batch
        return None

    def _call(self, act: Callable[[], Awaitable[T]]) -> T:
        return self._caller.wait(self._insist(act))

    async def _insist(self, act: Callable[[], Awaitable[T]]) -> T:
        settings, halt = self._caller.settings, self._caller.halt
        for n in range(settings.max_attempts):
            try:
                return await act()
            except Exception as error:
                failure = _failure(error)
            if failure.kind in ("refusal", "document", "client", "quota"):
                kind = LLMError if failure.kind == "quota" else TaggerError
                raise kind(
                    f"{halt.endpoint} refused a call of the Batch API: {halt.described(failure)}. Only OpenAI's form of batches is "
                    "sent; --batch files writes the files alone"
                )
            pause = settings.backoff_seconds * 2.0**n
            await asyncio.sleep(min(max(pause, failure.retry_after_seconds or 0.0), MAX_PAUSE_SECONDS))
        raise LLMError(
            f"{halt.endpoint} no longer answers calls of the Batch API: {halt.described(failure)}; {halt.resume}"
        )


def _failure(error: Exception) -> Failure:
    response = getattr(error, "response", None)
    if response is None:
        return lost_connection(error)
    outcome = judge(response.status_code, response.headers, response.content, time.time())
    return Failure("fault", "a reply that is not understood") if isinstance(outcome, Answer) else outcome


def _batch(given: Any) -> Batch:
    errors = [e for e in (getattr(given.errors, "data", None) or []) if e is not None] if given.errors else []
    files = tuple(f for f in (given.output_file_id, given.error_file_id) if f)
    reason = "; ".join(str(e.message) for e in errors[:3])
    return Batch(str(given.id), str(given.status), files, reason, str(errors[0].code) if errors else "")
