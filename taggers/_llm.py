"""The one asynchronous caller of a process: it owns the rate, the retries, the budget and the answer cache.

`Caller.finish(conversations)` is the whole seam: conversations go in, come back finished, and are plain picklable
values. Each goes on as soon as its own answer is there; nothing waits for the slowest. Calls go through the openai
package. The key is read from the environment where the client is built and stands in no message, file or pickle.
"""

from __future__ import annotations

import asyncio
import atexit
import concurrent.futures
import os
import random
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, Self, TypeVar

import orjson
import xxhash

from tagcorpus.errors import BudgetError, IncompleteError, LLMError, TagcorpusError, TaggerError
from tagcorpus.taggers._llm_cache import AnswerCache
from tagcorpus.taggers._llm_endpoint import Settings, build_client, key_for, public_url
from tagcorpus.taggers._llm_reply import Answer, Failure, judge

RESUME = "the same command goes on where this run stopped"
GRACE_SECONDS = 5.0
"""How long calls in flight may still land in the cache when a run stops."""
GROUP_SECONDS = 0.005
"""Answers wait this long for others to share a transaction; their places among the calls in flight are free meanwhile."""
MAX_PAUSE_SECONDS = 300.0
"""A server that wants a longer pause than this counts as failing."""
MAX_BACKOFF_SECONDS = 60.0
MAX_FIRST_CUTS = 10
"""So many answers that are cut off, and none that is whole: the model does not answer within the limit."""
LOOP_TURNS_PER_START = 4
"""Calls start one after the other, this many turns of the event loop apart. Without it, answers that come in together
advance in step through the client's many awaits, leave together, and meet again: at 64 in flight and 100 ms that costs
a quarter of the rate."""


@dataclass
class Usage:
    """What a caller did. `requests` were sent (retries included); `cache_hits` and `shared` answers cost nothing."""

    requests: int = 0
    retries: int = 0
    cache_hits: int = 0
    shared: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0


class Conversation(Protocol):
    """Immutable state of one document: what to ask next, and the state after the answer."""

    def messages(self) -> list[dict[str, str]] | None: ...

    def accepts(self, raw: str) -> bool: ...

    def answered(self, raw: str) -> Self: ...

    def failed(self, reason: str) -> Self: ...


C = TypeVar("C", bound=Conversation)


def again(error: TagcorpusError) -> TagcorpusError:
    """The same error for another thread: one exception object raised in two threads mixes their tracebacks."""
    return type(error)(*error.args)


class _Stopped(Exception):
    """The batch this call belonged to has failed; nobody wants the answer any more."""


class _Batch:
    """What the conversations of one `finish` share: the error that ended them, if any."""

    error: BaseException | None = None


class Caller:
    """All calls with one `Settings`. Safe to use from several threads. ConfigError when a key is needed and not set."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.usage = Usage()
        self._key = key_for(settings.base_url)
        self._cache = AnswerCache(settings.cache) if settings.cache else None
        self._endpoint = public_url(settings.base_url)
        self._fatal: TagcorpusError | None = None
        self._is_closed = False
        self._door = threading.Lock()
        self._successes = 0
        self._whole_answers = 0
        self._first_cuts = 0
        self._resume_at = 0.0
        self._in_flight = 0
        self._flying: dict[bytes, asyncio.Future[Answer | Failure]] = {}
        self._unsaved: list[tuple[bytes, Answer, asyncio.Future[None]]] = []
        self._saving: asyncio.Task[None] | None = None
        self._client = build_client(settings, self._key)
        self._disk = concurrent.futures.ThreadPoolExecutor(1, "llm-cache")
        self._slots = asyncio.Semaphore(settings.concurrency)
        self._gate = asyncio.Lock()
        self._probing = asyncio.Lock()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="llm-caller", daemon=True)
        self._thread.start()

    @property
    def is_usable(self) -> bool:
        """False once nothing can be asked any more: closed, or refused by the endpoint for good."""
        return self._fatal is None and not self._is_closed

    def finish(self, conversations: Sequence[C]) -> list[C]:
        """Carries every conversation to its end, in the given order; blocks, and may run in many threads at once.

        LLMError when the endpoint kept failing or the quota is used up, BudgetError at `max_requests`, TaggerError when
        the endpoint refuses the key or the model, OutputError when the cache cannot be used. Answers that arrived are in
        the cache by then.
        """
        with self._door:
            if self._is_closed:
                raise self._stopped()
            running = asyncio.run_coroutine_threadsafe(self._finish(conversations), self._loop)
        try:
            return running.result()
        except concurrent.futures.CancelledError:
            raise self._stopped() from None
        except BaseException:  # an interrupt of this thread
            running.cancel()
            raise

    def close(self) -> None:
        """Sends nothing new, gives calls in flight `GRACE_SECONDS` to land in the cache, and ends."""
        with self._door:
            if self._is_closed:
                return
            self._is_closed = True
        try:
            asyncio.run_coroutine_threadsafe(self._wind_down(), self._loop).result(GRACE_SECONDS * 3)
        except concurrent.futures.TimeoutError:
            pass
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(GRACE_SECONDS)
        self._disk.shutdown()
        if self._cache:
            self._cache.close()

    async def _finish(self, conversations: Sequence[C]) -> list[C]:
        batch = _Batch()
        tasks = [self._loop.create_task(self._drive(batch, conversation)) for conversation in conversations]
        for task in tasks:  # when this coroutine is itself cancelled, nobody else looks at what became of them
            task.add_done_callback(lambda done: done.cancelled() or done.exception())
        try:
            if tasks:
                await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
        except asyncio.CancelledError as error:
            batch.error = error
            raise
        finally:
            # Calls in flight are paid for: they may land in the cache before the rest is given up.
            if pending := [task for task in tasks if not task.done()]:
                await asyncio.wait(pending, timeout=GRACE_SECONDS)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        if isinstance(batch.error, TagcorpusError):
            raise batch.error
        if batch.error is not None:
            what = self._redact(f"{type(batch.error).__name__}: {batch.error}")
            raise TaggerError(
                f"calling {self._endpoint} failed in a way that is no fault of a document: {what}"
            ) from None
        return [task.result() for task in tasks]

    async def _drive(self, batch: _Batch, conversation: C) -> C:
        try:
            while (messages := conversation.messages()) is not None:
                outcome = await self._ask(batch, messages, conversation.accepts)
                if isinstance(outcome, Answer):
                    conversation = conversation.answered(outcome.text)
                else:
                    conversation = conversation.failed(self._say(outcome))
        except BaseException as error:
            batch.error = batch.error or error
            raise
        return conversation

    async def _ask(
        self, batch: _Batch, messages: list[dict[str, str]], accepts: Callable[[str], bool]
    ) -> Answer | Failure:
        """From the cache, from the same call already in flight, or from the endpoint. `accepts` says whether a text that was
        cut off at the token limit answers the question all the same."""
        body = request_body(self.settings, messages)
        key = answer_key(self.settings, body)
        if found := self._cached(key, accepts):
            return found
        while (flying := self._flying.get(key)) is not None:
            try:
                outcome = await asyncio.shield(flying)
            except _Stopped:
                continue
            self.usage.shared += 1
            return outcome
        flying = self._flying[key] = self._loop.create_future()
        try:
            outcome = await self._fetch(batch, key, body, accepts)
        except BaseException as error:
            flying.set_exception(_Stopped() if isinstance(error, asyncio.CancelledError) else error)
            flying.exception()  # marks it as seen: often nobody else waits
            raise
        else:
            flying.set_result(outcome)
            return outcome
        finally:
            del self._flying[key]

    def _cached(self, key: bytes, accepts: Callable[[str], bool]) -> Answer | None:
        found = self._cache.get(key) if self._cache else None
        if found is None or is_non_answer(found, accepts):
            return None
        self.usage.cache_hits += 1
        self._whole_answers += 1
        return found

    async def _fetch(
        self, batch: _Batch, key: bytes, body: dict[str, Any], accepts: Callable[[str], bool]
    ) -> Answer | Failure:
        # A call keeps its place through all its attempts: were it to queue again, an endpoint that hangs would be found out
        # only after every waiting call had hung once.
        async with self._slots:
            # Another run may have paid for the answer while this call waited for its place.
            if found := self._cached(key, accepts):
                return found
            outcome = await self._insist(batch, body, accepts)
        if isinstance(outcome, Answer):
            outcome = replace(outcome, text=self._redact(outcome.text))
            await self._commit(key, outcome)
        return outcome

    async def _insist(self, batch: _Batch, body: dict[str, Any], accepts: Callable[[str], bool]) -> Answer | Failure:
        """An answer, or a failure that concerns this document only; everything else is raised."""
        attempt = 0
        while True:
            successes = self._successes
            outcome = await self._attempt(batch, body)
            if isinstance(outcome, Answer) and is_non_answer(outcome, accepts):
                said = f": {outcome.text!r}" if outcome.text else ", before its first word"
                outcome = Failure("cut", f"answer cut off at {self.settings.max_answer_tokens} tokens{said}")
            if isinstance(outcome, Answer):
                self._whole_answers += 1
                return outcome
            if outcome.kind == "unclear":
                outcome = await self._settle(batch, outcome)
            if outcome.kind == "cut":
                outcome = await self._settle_cut(batch, outcome)
            if outcome.kind == "document":
                return outcome
            if outcome.kind != "transient":
                self._fatal = self._final_word(outcome)
                raise again(self._fatal)
            # A rate limit while other calls succeed is no failure of the endpoint, only its pace.
            attempt += not (outcome.is_rate_limit and self._successes > successes)
            pause = outcome.retry_after_seconds
            is_too_long = pause is not None and pause > MAX_PAUSE_SECONDS
            if attempt >= self.settings.max_attempts or is_too_long:
                wish = f" and asks to come back in {pause:.0f} seconds" if is_too_long else ""
                raise LLMError(
                    f"{self._endpoint} gave no answer in {max(attempt, 1)} attempts; the last one met {self._say(outcome)}{wish}; {self._resume}"
                )
            self.usage.retries += 1
            if pause is None:
                ceiling = min(self.settings.backoff_seconds * 2 ** max(attempt - 1, 0), MAX_BACKOFF_SECONDS)
                await asyncio.sleep(ceiling * random.uniform(0.5, 1.0))
            else:
                self._resume_at = max(self._resume_at, self._loop.time() + pause)

    async def _attempt(self, batch: _Batch, body: dict[str, Any]) -> Answer | Failure:
        """One request, when its turn has come."""
        async with self._gate:
            self._check(batch)
            while (pause := self._resume_at - self._loop.time()) > 0:
                await asyncio.sleep(pause)
                self._check(batch)
            if self.usage.requests >= self.settings.max_requests:
                raise BudgetError(
                    f"the limit of {self.settings.max_requests:,} requests (--max-requests) is reached; with a higher one "
                    f"{self._resume}"
                )
            self.usage.requests += 1
            for _ in range(LOOP_TURNS_PER_START):
                await asyncio.sleep(0)
        outcome = await self._send(body)
        if isinstance(outcome, Answer):
            self._successes += 1
            self.usage.prompt_tokens += outcome.prompt_tokens
            self.usage.completion_tokens += outcome.completion_tokens
        return outcome

    def _check(self, batch: _Batch) -> None:
        if self._fatal is not None:
            raise again(self._fatal)
        if self._is_closed:
            raise self._stopped()
        if batch.error is not None:
            raise _Stopped

    def _stopped(self) -> TagcorpusError:
        stopped = IncompleteError(f"the calls to {self._endpoint} were stopped; {self._resume}")
        return again(self._fatal) if self._fatal else stopped

    async def _send(self, body: dict[str, Any]) -> Answer | Failure:
        self._in_flight += 1
        try:
            async with asyncio.timeout(self.settings.timeout_seconds):
                response = await self._client.sdk.post("/chat/completions", cast_to=self._client.reply, body=body)
        except TimeoutError:
            return Failure("transient", f"no answer within {self.settings.timeout_seconds:g} seconds")
        except self._client.no_reply as error:
            response = getattr(error, "response", None)
            if response is None:
                cause = error.__cause__ or error
                return Failure("transient", f"a broken connection ({str(cause) or type(cause).__name__})")
        finally:
            self._in_flight -= 1
        return judge(response.status_code, response.headers, response.content, time.time())

    async def _settle(self, batch: _Batch, refused: Failure) -> Failure:
        """Tells a bad document from bad settings: once anything was answered the settings are good; before that, harmless
        words are tried, and when those are refused too it is the settings."""
        async with self._probing:
            while not self._successes:
                outcome = await self._attempt(batch, self._harmless_body())
                if isinstance(outcome, Failure):
                    return replace(outcome, kind="settings") if outcome.kind == "unclear" else outcome
        return replace(refused, kind="document")

    async def _settle_cut(self, batch: _Batch, cut: Failure) -> Failure:
        """The same for an answer that was cut off: while none was whole, harmless words are tried once, and patience ends
        at `MAX_FIRST_CUTS`."""
        async with self._probing:
            if not self._whole_answers:
                self._first_cuts += 1
                if self._first_cuts >= MAX_FIRST_CUTS:
                    return cut
                if self._first_cuts == 1:
                    outcome = await self._attempt(batch, self._harmless_body())
                    if isinstance(outcome, Failure):
                        self._first_cuts = 0
                        return replace(outcome, kind="settings") if outcome.kind == "unclear" else outcome
                    if outcome.is_cut and not outcome.text.strip().lower().startswith("yes"):
                        return cut
        return replace(cut, kind="document")

    def _harmless_body(self) -> dict[str, Any]:
        return request_body(self.settings, [{"role": "user", "content": "Reply with the word yes."}])

    async def _commit(self, key: bytes, answer: Answer) -> None:
        """Returns once the answer is on disk. Answers that come in meanwhile share the next transaction."""
        if self._cache is None:
            return
        done: asyncio.Future[None] = self._loop.create_future()
        self._unsaved.append((key, answer, done))
        if self._saving is None or self._saving.done():
            self._saving = self._loop.create_task(self._save(self._cache))
        await done

    async def _save(self, cache: AnswerCache) -> None:
        while self._unsaved:
            await asyncio.sleep(GROUP_SECONDS)
            group, self._unsaved = self._unsaved, []
            error: Exception | None = None
            answers = [(key, answer) for key, answer, _ in group]
            try:
                try:
                    written = self._loop.run_in_executor(self._disk, cache.put, answers)
                except RuntimeError:  # the interpreter is going down and takes no new work into threads
                    cache.put(answers)
                else:
                    await written
            except Exception as failure:
                error = failure
            for _, _, done in group:
                if done.done():
                    continue
                if error is None:
                    done.set_result(None)
                else:
                    done.set_exception(error)

    @property
    def _resume(self) -> str:
        return RESUME + ("; answers already paid for are in the cache" if self._cache else "")

    async def _wind_down(self) -> None:
        deadline = self._loop.time() + GRACE_SECONDS
        while (
            self._in_flight or self._unsaved or (self._saving and not self._saving.done())
        ) and self._loop.time() < deadline:
            await asyncio.sleep(0.01)
        others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        await self._client.sdk.close()

    def _final_word(self, outcome: Failure) -> TagcorpusError:
        said = self._say(outcome)
        if outcome.kind == "quota":
            return LLMError(f"{self._endpoint} says that the quota is used up: {said}; add credit, then {self._resume}")
        if outcome.kind == "cut":
            return TaggerError(
                f"the model {self.settings.model!r} at {self._endpoint} does not answer within max_answer_tokens ({said}): choose "
                "one that answers without reasoning first (--model), or raise max_answer_tokens in a stage tree of your own (--tree)"
            )
        if said.startswith("status 3"):
            return TaggerError(
                f"{self._endpoint} answered {said}; redirects are not followed, since a call holds a document. If you trust "
                "that address, name it with --base-url"
            )
        what = {
            "status 401": "check OPENAI_API_KEY",
            "status 403": "check that OPENAI_API_KEY may use this model",
            "status 404": f"check --base-url and that it serves the model {self.settings.model!r} (--model)",
        }.get(
            said[:10],
            f"check that the model {self.settings.model!r} (--model) takes temperature and max_tokens (--tree)",
        )
        return TaggerError(f"{self._endpoint} refused the request for model {self.settings.model!r}: {said}; {what}")

    def _say(self, failure: Failure) -> str:
        said = " ".join(self._redact(failure.reason).encode("utf-8", "replace").decode().split())
        return said if len(said) <= 300 else said[:300] + "..."

    def _redact(self, text: str) -> str:
        # A shorter one is a placeholder such as "x" or "EMPTY", and replacing it would spoil answers.
        return text.replace(self._key, "***") if len(self._key) >= 8 else text


def is_non_answer(answer: Answer, accepts: Callable[[str], bool]) -> bool:
    """Whether it was cut off at the token limit before it said anything that counts."""
    return answer.is_cut and not accepts(answer.text)


def request_body(settings: Settings, messages: list[dict[str, str]]) -> dict[str, Any]:
    """What is sent to ask this."""
    return {
        "model": settings.model,
        "messages": messages,
        "temperature": settings.temperature,
        "max_tokens": settings.max_answer_tokens,
    }


def answer_key(settings: Settings, body: dict[str, Any]) -> bytes:
    """Where the answer to a request is in the cache."""
    return xxhash.xxh3_128_digest(orjson.dumps([public_url(settings.base_url), body]))


_callers: dict[Settings, Caller] = {}
_lock = threading.Lock()


def caller(settings: Settings) -> Caller:
    """The process's caller for these settings; a new one when there is none or it cannot be used any more."""
    with _lock:
        found = _callers.get(settings)
        if found is None or not found.is_usable:
            if found is not None:
                found.close()
            found = _callers[settings] = Caller(settings)
        return found


def known(settings: Settings) -> Caller | None:
    """The caller last used with these settings in this process, closed or not."""
    return _callers.get(settings)


def close_all() -> None:
    """Closes every caller of this process; runs at exit too."""
    with _lock:
        closing = list(_callers.values())
        _callers.clear()
    for each in closing:
        each.close()


atexit.register(close_all)
os.register_at_fork(after_in_child=_callers.clear)
