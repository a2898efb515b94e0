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
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, NoReturn, Protocol, Self, TypeVar

from tagcorpus.errors import BudgetError, IncompleteError, LLMError, TagcorpusError, TaggerError
from tagcorpus.taggers._llm.cache import AnswerCache
from tagcorpus.taggers._llm.endpoint import (
    AUTHENTICATING,
    Settings,
    build_client,
    header_values,
    key_for,
    lost_connection,
)
from tagcorpus.taggers._llm.gate import MAX_BACKOFF_SECONDS, Gate
from tagcorpus.taggers._llm.reply import Answer, Failure, Kind, Tokens, is_odd_finish, judge, shortcoming
from tagcorpus.taggers._llm.request import Requests
from tagcorpus.taggers._llm.secrets import Secrets
from tagcorpus.taggers._llm.url import likely_url, public_url

RESUME = "the same command goes on where this run stopped"
GRACE_SECONDS = 5.0
"""How long calls in flight may still land in the cache when a run stops."""
GROUP_SECONDS = 0.005
"""Answers wait this long for others to share a transaction; their places among the calls in flight are free meanwhile."""
MAX_FIRST_REFUSALS = 16
"""So many replies that refuse or fail before any question was answered: then a harmless one decides whether the run ends. Up to
three more may be in flight by then."""
MAX_FIRST_DUDS = 10
"""So many first documents, all of them off the menu or empty, end the run before the money is gone."""
FIRST_PROBES = 3
"""Harmless questions that are tried, one after the other, where nothing was ever answered."""
TRIES: dict[Kind, int] = {"timeout": 3, "refusal": 3, "document": 1, "empty": 3, "cut": 2}
"""Attempts at one call, by the kind of its last failure, where that is less than `max_attempts`."""
FINAL_EXIT_1: tuple[Kind, ...] = ("refusal", "document", "empty", "cut", "client")
"""Where nobody is answered any more, these fail again unchanged. The others may pass."""
TELL_SECONDS = 2.0
"""A pause as long as this is told."""
CHARACTERS_PER_TOKEN = 4
MOST_SAID = 4000
"""Characters of a server's words that are looked at for secrets; fewer are shown."""
LONGEST_TOKEN_BYTES = 128
"""Of the vocabularies in use; o200k_base has tokens of that length."""
LONGER_CONTEXT = (
    "Serve the model with a longer context (Ollama: OLLAMA_CONTEXT_LENGTH; llama.cpp: --ctx-size; vLLM: --max-model-len), or "
    "lower max_text_chars in a stage tree of your own (--tree)"
)
"""What to do about an endpoint that shortens prompts."""
LOOP_TURNS_PER_START = 4
"""Calls start one after the other, this many turns of the event loop apart. Without it, answers that come in together
advance in step through the client's many awaits, leave together, and meet again: at 64 in flight and 100 ms that costs
a quarter of the rate."""


@dataclass
class Usage:
    """What a caller did. `requests` were sent (retries included); `cache_hits` and `shared` answers cost nothing. Tokens are those
    that the endpoint counted, of failed replies, too; `unusable` of the replies had tokens and no answer."""

    requests: int = 0
    retries: int = 0
    cache_hits: int = 0
    shared: int = 0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    reasoning_tokens: int = 0
    unusable: int = 0
    cut_prompts: int = 0
    """Documents of which the endpoint read less than it was sent, by its own count of tokens."""
    models: dict[str, int] = field(default_factory=dict)
    """Answers by the model that the endpoint says has given them."""

    def as_json(self) -> dict[str, Any]:
        """The counts by name, as they are now."""
        return {**vars(self), "models": dict(self.models)}

    def add(self, paid: Tokens) -> None:
        self.prompt_tokens += paid.prompt
        self.cached_tokens += paid.cached
        self.completion_tokens += paid.completion
        self.reasoning_tokens += paid.reasoning


class Conversation(Protocol):
    """Immutable state of one document: what to ask next, and the state after the answer."""

    def messages(self) -> list[dict[str, str]] | None: ...

    @property
    def n_calls(self) -> int:
        """Questions asked so far."""
        ...

    def harmless(self) -> list[dict[str, str]]:
        """The question of `messages()`, about a short document that nobody could refuse."""
        ...

    def accepts(self, raw: str) -> bool:
        """Whether the text is nothing but a choice."""
        ...

    def names_choice(self, raw: str) -> bool:
        """Whether exactly one choice is named in the text."""
        ...

    def answered(self, raw: str, model: str) -> Self: ...

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


@dataclass
class _Call:
    """One question on its way: what was tried, and when. `n_changes` of the request's form were known when `body` was made."""

    batch: _Batch
    messages: list[dict[str, str]]
    body: dict[str, Any]
    question: Conversation
    n_changes: int
    tries: int = 0
    sent_at: float = 0.0
    failed_at: float = float("inf")
    """When the attempt before the last one failed."""
    later_since: float | None = None
    """Since when the server has been putting this call off."""
    is_probe: bool = False
    """Whether this is a harmless question, which shows who is to blame."""


_OTHER_FORM = Failure("form", "the endpoint wants the request in another form")


class Caller:
    """All calls with one `Settings`. Safe to use from several threads. ConfigError when a key is needed and not set."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.usage = Usage()
        key = key_for(settings.base_url, settings.headers)
        self._secrets = Secrets.of([key, *header_values(settings.headers).values()])
        self._cache = AnswerCache(settings.cache) if settings.cache else None
        self._requests = Requests(settings)
        self._endpoint = public_url(settings.base_url)
        self._fatal: TagcorpusError | None = None
        self._is_closed = False
        self._door = threading.Lock()
        self._is_answered = False
        self._answered_sent_at = float("-inf")
        self._first_refusals = 0
        self._menu_answers = 0
        self._first_duds = 0
        self._empty_in_a_row = 0
        self._odd_finishes: set[str] = set()
        self._largest_prompt = 0
        self._gate = Gate(
            settings.concurrency, settings.patience_seconds, settings.backoff_seconds, settings.rpm, settings.tpm
        )
        self._flying: dict[bytes, asyncio.Future[Answer | Failure]] = {}
        self._unsaved: list[tuple[bytes, Answer, asyncio.Future[None]]] = []
        self._saving: asyncio.Task[None] | None = None
        self._client = build_client(settings, key)
        self._disk = concurrent.futures.ThreadPoolExecutor(1, "llm-cache")
        self._slots = asyncio.Semaphore(settings.concurrency)
        self._starting = asyncio.Lock()
        self._room = asyncio.Event()
        self._conversing = 0
        self._may_begin = asyncio.Event()
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
            cause = self._secrets.hide_pieces(f"{type(batch.error).__name__}: {batch.error}")
            raise TaggerError(
                f"calling {self._endpoint} failed in a way that is no fault of a document: {cause}"
            ) from None
        return [task.result() for task in tasks]

    async def _drive(self, batch: _Batch, conversation: C) -> C:
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
                    conversation = conversation.answered(outcome.text, outcome.answered_by)
                else:
                    conversation = conversation.failed(self._say(outcome))
            if not self._menu_answers:
                self._count_dud(outcome)
        except BaseException as error:
            batch.error = batch.error or error
            raise
        finally:
            self._conversing -= 1
            self._may_begin.set()
        return conversation

    async def _begin(self, batch: _Batch) -> None:
        """Until some answer was on the menu, only the first documents are asked about."""
        while not self._menu_answers and self._conversing >= MAX_FIRST_DUDS:
            self._may_begin.clear()
            await self._may_begin.wait()
            self._check(batch)
        self._conversing += 1

    def _count_dud(self, outcome: Answer | Failure | None) -> None:
        """A document that came to its end while no answer at all was on the menu."""
        if outcome is None or (isinstance(outcome, Failure) and outcome.kind not in ("empty", "cut")):
            return
        self._first_duds += 1
        if self._first_duds >= MAX_FIRST_DUDS:
            if isinstance(outcome, Failure):
                self._fatal = self._final_word(outcome)
            else:
                self._fatal = TaggerError(
                    f"the first {MAX_FIRST_DUDS} documents got no answer from the menu (the last one: {outcome.text[:100]!r}): "
                    f"is {self.settings.model!r} the right model for this tree? Nothing more was asked"
                )
            raise again(self._fatal)

    def _look_for_cut(self, outcome: Answer, messages: list[dict[str, str]], question: Conversation) -> None:
        """Notice a prompt that the endpoint shortened: its count is below what the document has at least.

        Some healthy endpoints report nothing, or only tokens that are not in their prefix cache. So a count says nothing that is
        too small for the question alone, that is far below the largest one, or that is of a document's later questions.
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
        self._count()
        if self.usage.cut_prompts == 1:
            self._tell(
                f"{self._endpoint} counts {n:,} tokens in a prompt that has at least {least - frame:,}: it drops a part of long "
                f"prompts without an error. {LONGER_CONTEXT}"
            )

    async def _ask(self, batch: _Batch, messages: list[dict[str, str]], question: Conversation) -> Answer | Failure:
        """From the cache, from the same call already in flight, or from the endpoint."""
        while True:
            body = self._requests.body(messages)
            key = self._requests.key(body)
            if stored := self._cached(key, question):
                return stored
            if (flying := self._flying.get(key)) is not None:
                try:
                    outcome = await asyncio.shield(flying)
                except _Stopped:
                    continue
                self.usage.shared += isinstance(outcome, Answer) or outcome.kind != "form"
            else:
                outcome = await self._fly(key, _Call(batch, messages, body, question, len(self._requests.changes)))
            if isinstance(outcome, Answer) or outcome.kind != "form":
                return outcome

    async def _fly(self, key: bytes, call: _Call) -> Answer | Failure:
        """From the endpoint; whoever has the same question meanwhile waits for this call."""
        flying = self._flying[key] = self._loop.create_future()
        try:
            outcome = await self._fetch(key, call)
        except BaseException as error:
            flying.set_exception(_Stopped() if isinstance(error, asyncio.CancelledError) else error)
            flying.exception()  # marks it as seen: often nobody else waits
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
        self._is_answered = True
        return stored

    async def _fetch(self, key: bytes, call: _Call) -> Answer | Failure:
        # A call keeps its place through all its attempts: were it to queue again, an endpoint that hangs would be found out
        # only after every waiting call had hung once.
        async with self._slots:
            if self._is_out_of_form(call):
                return _OTHER_FORM
            # Another run may have paid for the answer while this call waited for its place.
            if stored := self._cached(key, call.question):
                return stored
            outcome = await self._insist(call)
        if isinstance(outcome, Answer):
            await self._commit(key, outcome)
        return outcome

    async def _insist(self, call: _Call) -> Answer | Failure:
        """An answer, or a failure that the document is to blame for; everything else is raised.

        The document is to blame when its last try failed although a question that was sent after the failure before was
        answered: that of another document, or a harmless one.
        """
        while True:
            outcome = await self._attempt(call.batch, call.body, call.question, call)
            if outcome is None:
                await self._prove(call)
                continue
            if isinstance(outcome, Answer):
                self._is_answered = True
                return outcome
            if outcome.kind == "form":
                return outcome
            if outcome.kind == "pace":
                if await self._put_off(call, outcome):
                    return outcome
                continue
            # A refusal of one document may quote it. That of a harmless question, or of the first ones, is heeded.
            if self._answered_sent_at == float("-inf"):
                self._heed(outcome, call.body)
            call.later_since = None
            call.tries += 1
            if not self._is_anybody_answered:
                self._first_refusals += 1
                if outcome.kind == "client":
                    self._stop(outcome)
            if self._is_out_of_form(call):
                self.usage.retries += 1
                return _OTHER_FORM
            before, call.failed_at = call.failed_at, self._loop.time()
            if call.tries >= min(TRIES.get(outcome.kind, self.settings.max_attempts), self.settings.max_attempts):
                if self._answered_sent_at > before or self._speaks_for_itself(outcome):
                    return outcome
                await self._settle(call)
                if self._is_out_of_form(call):
                    self.usage.retries += 1
                    return _OTHER_FORM
                if self._speaks_for_itself(outcome):
                    return outcome
            else:
                await asyncio.sleep(self._backoff(call.tries))
            self.usage.retries += 1

    def _heed(self, outcome: Failure, body: dict[str, Any]) -> None:
        change = self._requests.heed(outcome, body)
        if change is not None:
            remembered = (
                f", and the next runs do so from the start ({self._requests.path})" if self._requests.path else ""
            )
            self._tell(
                f"{self._endpoint} refused a request for model {self.settings.model!r} ({self._say(outcome)}): from here on "
                f"{change.described()}{remembered}"
            )

    def _is_out_of_form(self, call: _Call) -> bool:
        return call.n_changes < len(self._requests.changes)

    @property
    def _is_anybody_answered(self) -> bool:
        """Whether any question was ever answered, a harmless one too: then documents may be to blame for all failures."""
        return self._is_answered or self._answered_sent_at > float("-inf")

    @property
    def _is_unproven(self) -> bool:
        """Whether so much failed before anybody was answered that only a harmless question may be asked."""
        return not self._is_anybody_answered and self._first_refusals >= MAX_FIRST_REFUSALS

    def _speaks_for_itself(self, outcome: Failure) -> bool:
        """Whether a failure names the document, or shows an endpoint at work that answers others: no question is spent on that."""
        if not self._is_anybody_answered:
            return False
        is_in_doubt = outcome.kind in ("empty", "cut") and self._empty_in_a_row < MAX_FIRST_REFUSALS
        return outcome.kind == "document" or is_in_doubt

    async def _put_off(self, call: _Call, outcome: Failure) -> bool:
        """The server wants to be asked later. True once that lasts longer than patience for this document, and for no other."""
        call.later_since = call.sent_at if call.later_since is None else call.later_since
        if self._loop.time() - call.later_since >= self.settings.patience_seconds:
            if self._answered_sent_at <= call.later_since:
                await self._last_chance(call, outcome)
            return True
        if not self._pause(call.sent_at, outcome):
            await self._last_chance(call, outcome)
        self.usage.retries += 1
        return False

    def _pause(self, sent_at: float, outcome: Failure) -> bool:
        """False where patience is at its end."""
        wish = outcome.retry_after_seconds
        pause = self._gate.slow_down(self._loop.time(), sent_at, wish, random.uniform(0.5, 1.0))
        if pause is None and wish is not None and wish > 0:
            self._stop(outcome)  # the server says that a question within patience is in vain
        if pause is not None and pause >= TELL_SECONDS:
            self._tell(f"waiting {pause:.0f} seconds for {self._endpoint}: {self._say(outcome)}")
        return pause is not None

    async def _last_chance(self, call: _Call, outcome: Failure) -> None:
        """One harmless question at the end of patience, for all that wait. Raises what ends the run where it is not answered."""
        async with self._probing:
            if self._answered_sent_at <= call.sent_at:
                body = self._requests.body(call.question.harmless())
                probe = replace(call, body=body, is_probe=True, n_changes=len(self._requests.changes))
                if not isinstance(await self._attempt(call.batch, body, call.question, probe), Answer):
                    self._stop(outcome)

    async def _settle(self, call: _Call) -> None:
        """Ask a harmless question, until it is answered. Raises what ends the run where it is not."""
        async with self._probing:
            if self._answered_sent_at <= call.failed_at:
                await self._probe(call)

    async def _prove(self, call: _Call) -> None:
        """The same for all calls at once, where many failed before anybody was answered."""
        async with self._probing:
            if self._is_unproven:
                await self._probe(call)

    async def _probe(self, call: _Call) -> None:
        harmless = call.question.harmless()
        n = 0
        while True:
            body = self._requests.body(harmless)
            probe = _Call(call.batch, harmless, body, call.question, len(self._requests.changes), is_probe=True)
            outcome = await self._attempt(call.batch, body, call.question, probe)
            if outcome is None or isinstance(outcome, Answer):
                return
            if outcome.kind == "pace":
                if not self._pause(probe.sent_at, outcome):
                    self._stop(outcome)
                continue
            if outcome.kind != "form":
                self._heed(outcome, body)
            if self._is_out_of_form(probe):
                n = 0
                continue
            n += 1
            most = self.settings.max_attempts * (1 if outcome.kind in FINAL_EXIT_1 else 2)
            if not self._is_anybody_answered:
                self._first_refusals += 1
                most = min(
                    FIRST_PROBES if outcome.kind in FINAL_EXIT_1 else self.settings.max_attempts,
                    self.settings.max_attempts,
                    MAX_FIRST_REFUSALS - self._first_refusals,
                )
            if n >= most:
                self._stop(outcome)
            await asyncio.sleep(self._backoff(n))

    def _backoff(self, n: int) -> float:
        """Seconds of the pause after the n-th failure in a row."""
        ceiling = self.settings.backoff_seconds * 2.0 ** min(n - 1, 32)
        return min(ceiling, MAX_BACKOFF_SECONDS) * random.uniform(0.5, 1.0)

    def _stop(self, outcome: Failure) -> NoReturn:
        """Nobody is answered: nothing more is asked by this caller."""
        self._fatal = self._fatal or self._final_word(outcome)
        raise again(self._fatal)

    async def _attempt(
        self, batch: _Batch, body: dict[str, Any], question: Conversation, call: _Call
    ) -> Answer | Failure | None:
        """One request, when its turn has come. An answer is one to the question. None: nothing was sent, since it has to be proven
        first that anybody is answered."""
        tokens = sum(len(message["content"]) for message in body["messages"]) // CHARACTERS_PER_TOKEN
        async with self._starting:
            self._check(batch)
            while (wait := self._gate.wait_seconds(self._loop.time())) > 0 or not self._gate.has_place:
                if wait > 0:
                    await asyncio.sleep(wait)
                else:
                    self._room.clear()
                    await self._room.wait()
                self._check(batch)
            if self._is_out_of_form(call):
                return _OTHER_FORM
            if self._is_unproven and not call.is_probe:
                return None
            if self.usage.requests >= self.settings.max_requests:
                raise BudgetError(
                    f"the limit of {self.settings.max_requests:,} requests (--max-requests) is reached; with a higher one "
                    f"{self._resume}"
                )
            self.usage.requests += 1
            self._count()
            call.sent_at = self._loop.time()
            self._gate.started(call.sent_at, tokens)
            for _ in range(LOOP_TURNS_PER_START):
                await asyncio.sleep(0)
        try:
            outcome = await self._send(body)
        finally:
            self._gate.in_flight -= 1
            self._room.set()
        if isinstance(outcome, Answer):
            outcome = replace(
                outcome,
                text=self._secrets.hide(outcome.text),
                finish_reason=self._secrets.hide(outcome.finish_reason),
                answered_by=self._secrets.hide(outcome.answered_by),
            )
            outcome = why_unusable(outcome, question) or outcome
        if isinstance(outcome, Failure):
            if outcome.paid is not None:
                self.usage.unusable += 1
                self._empty_in_a_row += 1
                self.usage.add(outcome.paid.usage)
                self._count()
            if outcome.kind == "quota":
                self._stop(outcome)
            return outcome
        self.usage.add(outcome.usage)
        self.usage.models[outcome.answered_by] = self.usage.models.get(outcome.answered_by, 0) + 1
        self._count()
        self._answered_sent_at = max(self._answered_sent_at, call.sent_at)
        self._gate.answered()
        self._empty_in_a_row = 0
        if is_odd_finish(outcome) and outcome.finish_reason not in self._odd_finishes:
            self._odd_finishes.add(outcome.finish_reason)
            self._tell(
                f"answers that end with finish_reason {outcome.finish_reason!r} count where they name exactly one choice"
            )
        return outcome

    def _count(self) -> None:
        """Hand the counts on, before a request is sent and after a reply has come: what a killed run spent is then known, too."""
        for counter in _counters:
            counter(self.usage)

    def _tell(self, text: str) -> None:
        for listener in _listeners:
            listener(text)

    def _check(self, batch: _Batch) -> None:
        if (fatal := self._fatal) is not None:
            raise again(fatal)
        if self._is_closed:
            raise self._stopped()
        if batch.error is not None:
            raise _Stopped

    def _stopped(self) -> TagcorpusError:
        stopped = IncompleteError(f"the calls to {self._endpoint} were stopped; {self._resume}")
        return again(self._fatal) if self._fatal else stopped

    async def _send(self, body: dict[str, Any]) -> Answer | Failure:
        try:
            async with asyncio.timeout(self.settings.timeout_seconds):
                response = await self._client.sdk.post("/chat/completions", cast_to=self._client.reply, body=body)
            return judge(response.status_code, response.headers, response.content, time.time())
        except TimeoutError:
            return Failure("timeout", f"no answer within {self.settings.timeout_seconds:g} seconds")
        except Exception as error:
            response = getattr(error, "response", None)
            if response is None:
                return lost_connection(error)
            return judge(response.status_code, response.headers, response.content, time.time())

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
    def _key_variables(self) -> str:
        """Where the key comes from."""
        return ", ".join(v for name, v in self.settings.headers if name.lower() in AUTHENTICATING) or "OPENAI_API_KEY"

    @property
    def _resume(self) -> str:
        return RESUME + ("; answers already paid for are in the cache" if self._cache else "")

    async def _wind_down(self) -> None:
        deadline = self._loop.time() + GRACE_SECONDS
        while (
            self._gate.in_flight or self._unsaved or (self._saving and not self._saving.done())
        ) and self._loop.time() < deadline:
            await asyncio.sleep(0.01)
        others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        await self._client.sdk.close()

    def _final_word(self, outcome: Failure) -> TagcorpusError:
        """What ends a run in which nobody is answered."""
        said = self._say(outcome)
        if outcome.kind == "quota":
            return LLMError(
                f"{self._endpoint} says that the quota is used up: {said}; add credit or wait for the next day, then {self._resume}"
            )
        if outcome.kind == "pace":
            wish = outcome.retry_after_seconds
            asks = f" and asks to come back in {wish:.0f} seconds" if wish is not None else ""
            return LLMError(
                f"{self._endpoint} gave no answer: {said}{asks}, and {self.settings.patience_seconds:g} seconds (--patience) are "
                f"the most that a run waits; {self._resume}"
            )
        other = likely_url(self.settings.base_url)
        elsewhere = f"; many servers answer at {other}: name it with --base-url" if other else ""
        if outcome.kind not in FINAL_EXIT_1:
            hint = elsewhere if outcome.status == 200 else ""
            return LLMError(
                f"{self._endpoint} answers no question any more; the last one met {said}{hint}; {self._resume}"
            )
        if outcome.kind == "client":
            return TaggerError(f"{self._endpoint} cannot be reached: {said}")
        if outcome.kind in ("cut", "empty"):
            return TaggerError(
                f"the model {self.settings.model!r} at {self._endpoint} does not answer within max_answer_tokens ({said}): choose "
                "one that answers without reasoning first (--model), or raise max_answer_tokens in a stage tree of your own (--tree)"
            )
        if outcome.status // 100 == 3:
            return TaggerError(
                f"{self._endpoint} answered {said}; redirects are not followed, since a call holds a document. If you trust "
                "that address, name it with --base-url"
            )
        advice = {
            401: f"check {self._key_variables}",
            403: f"check that {self._key_variables} may use this model",
            404: f"check --base-url and that it serves the model {self.settings.model!r} (--model){elsewhere}",
            405: f"check --base-url{elsewhere}",
        }.get(
            outcome.status,
            f"check that the model {self.settings.model!r} (--model) takes temperature and max_tokens (--tree): `roles` and `request` "
            "in a stage tree change the request",
        )
        return TaggerError(f"{self._endpoint} refused the request for model {self.settings.model!r}: {said}; {advice}")

    def _say(self, failure: Failure) -> str:
        said = self._secrets.hide_pieces(failure.reason[:MOST_SAID])
        said = " ".join(said.encode("utf-8", "replace").decode().split())
        return said if len(said) <= 300 else said[:300] + "..."


def why_unusable(answer: Answer, question: Conversation) -> Failure | None:
    """Why a reply with text is no answer to the question; None for an answer."""
    return shortcoming(answer, question.names_choice(answer.text), question.accepts(answer.text))


def fewest_tokens(messages: list[dict[str, str]]) -> int:
    """Tokens that messages have at least, whatever the tokenizer: those of chat models put no two words into one token, and no
    more than 128 bytes.

    Example  [{"content": "a bad  day"}] -> 3
    """
    contents = [message["content"] for message in messages]
    return max(sum(len(c.split()) for c in contents), sum(len(c) for c in contents) // LONGEST_TOKEN_BYTES)


_callers: dict[Settings, Caller] = {}
_listeners: list[Callable[[str], None]] = []
_counters: list[Callable[[Usage], None]] = []
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


@contextmanager
def listening(listener: Callable[[str], None], counter: Callable[[Usage], None] | None = None) -> Iterator[None]:
    """Hands what callers of this process have to say (what they wait for) to `listener`, and after each change their usage to
    `counter`, which is called from the callers' threads."""
    counters = [counter] if counter else []
    _listeners.append(listener)
    _counters.extend(counters)
    try:
        yield
    finally:
        _listeners.remove(listener)
        for each in counters:
            _counters.remove(each)


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
