"""The one asynchronous caller of a process: it takes conversations, and returns them finished.

`Caller.finish(conversations)` is the whole seam. A conversation is a plain picklable value, and goes on as soon as its own answer
is there. Calls go through the openai package. The key is read from the environment where the client is built, and appears in no
message, file or pickle.
"""

from __future__ import annotations

import asyncio
import atexit
import concurrent.futures
import os
import threading
from collections.abc import Coroutine, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

from tagcorpus.errors import TagcorpusError, TaggerError
from tagcorpus.taggers._llm.attempts import OTHER_FORM, Attempts, Call, Conversation, why_unusable
from tagcorpus.taggers._llm.cache import AnswerCache, AnswerWriter
from tagcorpus.taggers._llm.endpoint import Settings, build_client, header_values, key_for
from tagcorpus.taggers._llm.halt import Batch, Halt, Stopped
from tagcorpus.taggers._llm.reply import Answer, Failure
from tagcorpus.taggers._llm.request import Requests
from tagcorpus.taggers._llm.secrets import Secrets
from tagcorpus.taggers._llm.tokens import Tokens
from tagcorpus.taggers._llm.usage import LONGER_CONTEXT, Purse, Usage, announce, fewest_tokens, listening, publish

__all__ = ["LONGER_CONTEXT", "Caller", "Usage", "caller", "close_all", "forget", "known", "listening", "why_unusable"]

GRACE_SECONDS = 5.0
"""Time in which calls in flight may still reach the cache when a run stops."""
MAX_FIRST_DUDS = 10
"""So many first documents that are all off the menu or empty end the run, before the money is gone."""

C = TypeVar("C", bound=Conversation)
T = TypeVar("T")


class Question(NamedTuple):
    """A question without an answer in the cache: the key of the answer, and the body of the request."""

    conversation: Conversation
    key: bytes
    body: dict[str, Any]


class Receipt(NamedTuple):
    """The tokens of the answer to one question. `is_paid`: this process has paid for it; else the answer was in the cache, which does
    not know which prompt tokens the endpoint had cached."""

    stage: str
    tokens: Tokens
    is_paid: bool


class Caller:
    """All calls with one `Settings`. Safe to use from several threads. ConfigError when a key is needed and not set."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.usage = Usage()
        key = key_for(settings.base_url, settings.headers)
        self._halt = Halt(settings, Secrets.of([key, *header_values(settings.headers).values()]))
        self._cache = AnswerCache(settings.cache) if settings.cache else None
        self._requests = Requests(settings)
        client = build_client(settings, key)
        self._loop = asyncio.new_event_loop()
        self._attempts = Attempts(settings, client, self._requests, self.usage, self._halt, self._loop)
        self._client = client
        self._writer = AnswerWriter(self._cache, self._loop) if self._cache else None
        self._door = threading.Lock()
        self._menu_answers = 0
        self._first_duds = 0
        self._conversing = 0
        self._may_begin = asyncio.Event()
        self._largest_prompt = 0
        self._paid: dict[bytes, Answer] | None = None
        self._blamed: Mapping[bytes, Failure] = {}
        self._flying: dict[bytes, asyncio.Future[Answer | Failure]] = {}
        self._places = asyncio.Semaphore(settings.concurrency)
        self._thread = threading.Thread(target=self._loop.run_forever, name="llm-caller", daemon=True)
        self._thread.start()

    @property
    def is_usable(self) -> bool:
        """False once nothing can be asked: the caller is closed, or the endpoint refused it for good."""
        return not self._halt.is_set

    def finish(self, conversations: Sequence[C]) -> list[C]:
        """The conversations, in the given order, each carried to its end. Blocks, and may run in many threads at once.

        LLMError when the endpoint kept failing or the quota is used up, BudgetError at `max_requests`, TaggerError when
        the endpoint refuses the key or the model, OutputError when the cache cannot be used. Answers that arrived are in
        the cache by then.
        """
        with self._door:
            if self._halt.is_closed:
                raise self._halt.stopped()
            running = asyncio.run_coroutine_threadsafe(self._finish(conversations), self._loop)
        try:
            return running.result()
        except concurrent.futures.CancelledError:
            raise self._halt.stopped() from None
        except BaseException:  # an interrupt of this thread
            running.cancel()
            raise

    @property
    def sdk(self) -> Any:
        """The client of the openai package; its calls belong into `wait`."""
        return self._client.sdk

    @property
    def halt(self) -> Halt:
        """The endpoint's name in messages, and how reasons are told without secrets."""
        return self._halt

    @property
    def purse(self) -> Purse | None:
        return self._attempts.purse

    def wait(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """The result of a coroutine that runs where the calls do."""
        running = asyncio.run_coroutine_threadsafe(coroutine, self._loop)
        try:
            return running.result()
        except BaseException:
            running.cancel()
            raise

    def next_question(self, conversation: Conversation) -> Question | None:
        """The first question of a conversation that has no answer in the cache; None where it can be finished without a call."""
        assert self._cache is not None
        return next_question(conversation, self._requests, self._cache)

    def keep(self, answers: Iterable[tuple[bytes, Answer]]) -> None:
        """Put answers that came another way into the cache. Nothing may be in flight."""
        assert self._cache is not None
        self._cache.put(answers)

    def blame(self, failures: Mapping[bytes, Failure]) -> None:
        """These questions failed for reasons of their documents: they are not asked, and their documents get the reason."""
        self._blamed = failures

    def keep_receipts(self) -> None:
        """Remember the tokens of every answer from here on."""
        self._paid = {}

    def receipts(self, conversation: Conversation) -> list[Receipt]:
        """The receipts of a conversation that `finish` has carried to its end, from its first question on."""
        receipts = []
        while (messages := conversation.messages()) is not None:
            key = self._requests.key(self._requests.body(messages))
            paid = (self._paid or {}).get(key)
            answer = paid or (self._cache.get(key) if self._cache else None)
            if answer is None or why_unusable(answer, conversation):
                break
            receipts.append(Receipt(conversation.stage, answer.usage, paid is not None))
            conversation = conversation.answered(answer.text, answer.answered_by)
        return receipts

    def close(self) -> None:
        """Sends nothing new, gives calls in flight `GRACE_SECONDS` to reach the cache, and ends."""
        with self._door:
            if not self._halt.close():
                return
        try:
            asyncio.run_coroutine_threadsafe(self._wind_down(), self._loop).result(GRACE_SECONDS * 3)
        except concurrent.futures.TimeoutError:
            pass
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(GRACE_SECONDS)
        if self._writer:
            self._writer.close()

    async def _finish(self, conversations: Sequence[C]) -> list[C]:
        batch = Batch()
        tasks = [self._loop.create_task(self._drive(batch, conversation)) for conversation in conversations]
        for task in tasks:  # where this coroutine is cancelled, no other code fetches their exceptions
            task.add_done_callback(lambda done: done.cancelled() or done.exception())
        try:
            if tasks:
                await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
        except asyncio.CancelledError as error:
            batch.error = error
            raise
        finally:
            # Calls in flight are paid for: they get the time to reach the cache.
            if pending := [task for task in tasks if not task.done()]:
                await asyncio.wait(pending, timeout=GRACE_SECONDS)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        if isinstance(batch.error, TagcorpusError):
            raise batch.error
        if batch.error is not None:
            cause = self._halt.secrets.hide_pieces(f"{type(batch.error).__name__}: {batch.error}")
            raise TaggerError(f"calling {self._halt.endpoint} failed, and no document is to blame: {cause}") from None
        return [task.result() for task in tasks]

    async def _drive(self, batch: Batch, conversation: C) -> C:
        outcome: Answer | Failure | None = None
        try:
            await self._begin(batch)
        except BaseException as error:
            batch.error = batch.error or error
            raise
        try:
            while (messages := conversation.messages()) is not None:
                outcome = await self._ask(batch, messages, conversation)
                if isinstance(outcome, Answer):
                    self._look_for_cut(outcome, messages, conversation)
                    self._menu_answers += conversation.names_choice(outcome.text)
                    if self._menu_answers == 1:
                        self._may_begin.set()
                    conversation = conversation.answered(outcome.text, outcome.answered_by, outcome.logprobs)
                else:
                    conversation = conversation.failed(self._halt.described(outcome))
            if not self._menu_answers:
                self._count_dud(outcome)
        except BaseException as error:
            batch.error = batch.error or error
            raise
        finally:
            self._conversing -= 1
            self._may_begin.set()
        return conversation

    async def _begin(self, batch: Batch) -> None:
        """Wait: until some answer was on the menu, only the first documents are asked about."""
        while not self._menu_answers and self._conversing >= MAX_FIRST_DUDS:
            self._may_begin.clear()
            await self._may_begin.wait()
            self._halt.check(batch)
        self._conversing += 1

    def _count_dud(self, outcome: Answer | Failure | None) -> None:
        """Count a document that ended while no answer was on the menu. Raises where they are too many."""
        if outcome is None or (isinstance(outcome, Failure) and outcome.kind not in ("empty", "cut")):
            return
        self._first_duds += 1
        if self._first_duds >= MAX_FIRST_DUDS:
            if isinstance(outcome, Failure):
                self._halt.raise_for(outcome)
            error = TaggerError(
                f"the first {MAX_FIRST_DUDS} documents got no answer from the menu (the last one: {outcome.text[:100]!r}): "
                f"is {self.settings.model!r} the right model for this tree? Nothing more was asked"
            )
            self._halt.stop(error)

    def _look_for_cut(self, outcome: Answer, messages: list[dict[str, str]], question: Conversation) -> None:
        """Notice a prompt that the endpoint shortened: its count is below what the document has at least.

        Some healthy endpoints report nothing, or only tokens that are not in their prefix cache. Such a count is ignored: it is
        too small for the question alone, or far below the largest one. So are the counts of a document's later questions.
        """
        n = outcome.usage.prompt
        self._largest_prompt = max(self._largest_prompt, n)
        if question.n_calls or not n or 2 * n < self._largest_prompt:
            return
        least = fewest_tokens(messages)
        if n >= least:
            return
        frame = fewest_tokens(question.harmless())
        if not frame <= n < least - frame:
            return
        self.usage.cut_prompts += 1
        publish(self.usage)
        if self.usage.cut_prompts == 1:
            announce(
                f"{self._halt.endpoint} counts {n:,} tokens in a prompt that has at least {least - frame:,}: it drops a part of long "
                f"prompts without an error. {LONGER_CONTEXT}"
            )

    async def _ask(self, batch: Batch, messages: list[dict[str, str]], question: Conversation) -> Answer | Failure:
        """The outcome from the cache, from the same call in flight, or from the endpoint."""
        while True:
            body = self._requests.body(messages)
            key = self._requests.key(body)
            if stored := self._cached(key, question):
                return stored
            if blamed := self._blamed.get(key):
                return blamed
            if (flying := self._flying.get(key)) is not None:
                try:
                    outcome = await asyncio.shield(flying)
                except Stopped:
                    continue
                self.usage.shared += isinstance(outcome, Answer) or outcome.kind != "form"
            else:
                outcome = await self._fly(key, Call(batch, messages, body, question, len(self._requests.changes)))
            if isinstance(outcome, Answer) or outcome.kind != "form":
                return outcome

    async def _fly(self, key: bytes, call: Call) -> Answer | Failure:
        """The outcome from the endpoint. Others that ask the same question meanwhile wait for this call."""
        flying = self._flying[key] = self._loop.create_future()
        try:
            outcome = await self._fetch(key, call)
        except BaseException as error:
            flying.set_exception(Stopped() if isinstance(error, asyncio.CancelledError) else error)
            flying.exception()  # marks it as fetched: often no other call waits
            raise
        else:
            flying.set_result(outcome)
            return outcome
        finally:
            del self._flying[key]

    def _cached(self, key: bytes, question: Conversation) -> Answer | None:
        stored = self._cache.get(key) if self._cache else None
        if stored is None or why_unusable(stored, question):
            return None
        self.usage.cache_hits += 1
        self._attempts.is_answered = True
        return stored

    async def _fetch(self, key: bytes, call: Call) -> Answer | Failure:
        # A call keeps its place through all its attempts. If it queued again, an endpoint that hangs would show only after
        # every waiting call had hung once.
        async with self._places:
            if self._attempts.is_out_of_form(call):
                return OTHER_FORM
            # Another run may have paid for the answer while this call waited for its place.
            if stored := self._cached(key, call.question):
                return stored
            outcome = await self._attempts.insist(call)
        if isinstance(outcome, Answer) and self._writer:
            await self._writer.commit(key, outcome)
        if isinstance(outcome, Answer) and self._paid is not None:
            self._paid[key] = outcome
        return outcome

    async def _wind_down(self) -> None:
        deadline = self._loop.time() + GRACE_SECONDS
        while (self._attempts.in_flight or (self._writer and self._writer.is_busy)) and self._loop.time() < deadline:
            await asyncio.sleep(0.01)
        others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        await self._client.sdk.close()


def next_question(conversation: Conversation, requests: Requests, cache: AnswerCache) -> Question | None:
    """The first question of a conversation without a usable answer in the cache."""
    while (messages := conversation.messages()) is not None:
        body = requests.body(messages)
        key = requests.key(body)
        stored = cache.get(key)
        if stored is None or why_unusable(stored, conversation):
            return Question(conversation, key, body)
        conversation = conversation.answered(stored.text, stored.answered_by)
    return None


_callers: dict[Settings, Caller] = {}
_lock = threading.Lock()


def caller(settings: Settings) -> Caller:
    """The process's caller for these settings; a new one where there is none, or where it is not usable."""
    with _lock:
        current = _callers.get(settings)
        if current is None or not current.is_usable:
            if current is not None:
                current.close()
            current = _callers[settings] = Caller(settings)
        return current


def known(settings: Settings) -> Caller | None:
    """The caller last used with these settings in this process, closed or not."""
    return _callers.get(settings)


def forget(settings: Settings) -> None:
    """Close and forget the caller of an earlier run in this process, so that its usage is not taken for that of the next."""
    with _lock:
        made = _callers.pop(settings, None)
    if made is not None:
        made.close()


def close_all() -> None:
    """Closes every caller of this process; runs at exit too."""
    with _lock:
        closing = list(_callers.values())
        _callers.clear()
    for each in closing:
        each.close()


atexit.register(close_all)
os.register_at_fork(after_in_child=_callers.clear)
