"""One question to an endpoint until it is answered, and who is to blame where it is not: the document, or the endpoint."""

from __future__ import annotations

import asyncio
import random
import time
from dataclasses import dataclass, replace
from typing import Any, Protocol, Self

from tagcorpus.errors import BudgetError
from tagcorpus.taggers._llm.endpoint import Client, Settings, lost_connection
from tagcorpus.taggers._llm.gate import MAX_BACKOFF_SECONDS, Gate
from tagcorpus.taggers._llm.halt import FINAL_EXIT_1, Batch, Halt
from tagcorpus.taggers._llm.reply import Answer, Failure, Kind, is_odd_finish, judge, shortcoming
from tagcorpus.taggers._llm.request import LIMITS, Requests
from tagcorpus.taggers._llm.usage import Purse, Usage, announce, publish

MAX_FIRST_REFUSALS = 16
"""Replies that refuse or fail before any question was answered. At this number a harmless question decides whether the run ends.
Up to three more may be in flight by then."""
FIRST_PROBES = 3
"""Harmless questions that are tried, one after the other, where no question was ever answered."""
TRIES: dict[Kind, int] = {"timeout": 3, "refusal": 3, "document": 1, "empty": 3, "cut": 2}
"""Attempts at one call, by the kind of its last failure, where that is less than `max_attempts`."""
LEAST_PAUSE_ANNOUNCED_SECONDS = 2.0
CHARACTERS_PER_TOKEN = 4
LOOP_TURNS_PER_START = 4
"""Calls start one after the other, this many turns of the event loop apart. Without the gap, answers that come in together
advance in step through the client's many awaits, leave together, and meet again: at 64 in flight and 100 ms that costs
a quarter of the rate."""


class Conversation(Protocol):
    """Immutable state of one document: what to ask next, and the state after the answer."""

    def messages(self) -> list[dict[str, str]] | None: ...

    @property
    def stage(self) -> str:
        """The name of the question to ask next."""
        ...

    @property
    def n_calls(self) -> int:
        """Questions asked so far."""
        ...

    def harmless(self) -> list[dict[str, str]]:
        """The question of `messages()`, about a short document that no endpoint refuses."""
        ...

    def accepts(self, raw: str) -> bool:
        """Whether the text is nothing but a choice."""
        ...

    def names_choice(self, raw: str) -> bool:
        """Whether exactly one choice is named in the text."""
        ...

    def flaw(self, raw: str) -> str:
        """Why the text, although it is whole, is not an answer and must be asked for again; empty for an answer."""
        ...

    @property
    def calls_left(self) -> int:
        """The most questions that are still to ask."""
        ...

    def answered(self, raw: str, model: str, logprobs: str = "") -> Self: ...

    def failed(self, reason: str) -> Self: ...


@dataclass
class Call:
    """One question under way: its attempts, and their times. `n_changes` of the request's form were known when `body` was made."""

    batch: Batch
    messages: list[dict[str, str]]
    body: dict[str, Any]
    question: Conversation
    n_changes: int
    tries: int = 0
    sent_at: float = 0.0
    failed_at: float = float("inf")
    """When the attempt before the last one failed."""
    later_since: float | None = None
    """The time since which the server puts this call off."""
    most_usd: float = 0.0
    """Money that is set aside for the attempt in flight."""
    is_probe: bool = False
    """Whether the call is a harmless question, which shows who is to blame."""


OTHER_FORM = Failure("form", "the endpoint requires another form of the request")


class Attempts:
    """Sends the questions of one caller, repeats them where that helps, and ends the run where the endpoint answers no one."""

    def __init__(
        self,
        settings: Settings,
        client: Client,
        requests: Requests,
        usage: Usage,
        halt: Halt,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self._settings, self._client, self._requests = settings, client, requests
        self._usage, self._halt, self._loop = usage, halt, loop
        self.purse = Purse(settings.price, settings.budget_usd, usage) if settings.price else None
        self.is_answered = False
        """Whether a document's question was answered, by the endpoint or the cache."""
        self._answered_sent_at = float("-inf")
        self._first_refusals = 0
        self._empty_in_a_row = 0
        self._odd_finishes: set[str] = set()
        self._gate = Gate(
            settings.concurrency, settings.patience_seconds, settings.backoff_seconds, settings.rpm, settings.tpm
        )
        self._starting = asyncio.Lock()
        self._room = asyncio.Event()
        self._probing = asyncio.Lock()

    @property
    def in_flight(self) -> int:
        """Requests that were sent and have no reply yet."""
        return self._gate.in_flight

    async def insist(self, call: Call) -> Answer | Failure:
        """An answer, or a failure that the document is to blame for. Every other failure is raised.

        The document is to blame where another question, sent after the document's last failure but one, was answered. The other
        question is that of another document, or a harmless one.
        """
        while True:
            outcome = await self._attempt(call)
            if outcome is None:
                await self._prove(call)
                continue
            if isinstance(outcome, Answer):
                self.is_answered = True
                return outcome
            if outcome.kind == "form":
                return outcome
            if outcome.kind == "pace":
                if await self._put_off(call, outcome):
                    return outcome
                continue
            # The refusal of a document may quote the document, so only those before the first answer change the request.
            if self._answered_sent_at == float("-inf"):
                self._heed(outcome, call.body)
            call.later_since = None
            call.tries += 1
            if not self._has_answers:
                self._first_refusals += 1
                if outcome.kind == "client":
                    self._halt.raise_for(outcome)
            if self.is_out_of_form(call):
                self._usage.retries += 1
                return OTHER_FORM
            before, call.failed_at = call.failed_at, self._loop.time()
            if call.tries >= min(TRIES.get(outcome.kind, self._settings.max_attempts), self._settings.max_attempts):
                if self._answered_sent_at > before or self._speaks_for_itself(outcome):
                    return outcome
                await self._settle(call)
                if self.is_out_of_form(call):
                    self._usage.retries += 1
                    return OTHER_FORM
                if self._speaks_for_itself(outcome):
                    return outcome
            else:
                await asyncio.sleep(self._backoff(call.tries))
            self._usage.retries += 1

    def _heed(self, outcome: Failure, body: dict[str, Any]) -> None:
        change = self._requests.heed(outcome, body)
        if change is not None:
            path = self._requests.path
            remembered = f", and the next runs do so from the start ({path})" if path else ""
            announce(
                f"{self._halt.endpoint} refused a request for model {self._settings.model!r} "
                f"({self._halt.described(outcome)}): from here on {change.described()}{remembered}"
            )

    def is_out_of_form(self, call: Call) -> bool:
        """Whether the request's form has changed since the call was made."""
        return call.n_changes < len(self._requests.changes)

    @property
    def _has_answers(self) -> bool:
        """Whether any question was ever answered, even a harmless one. Then documents may be to blame for all failures."""
        return self.is_answered or self._answered_sent_at > float("-inf")

    @property
    def _is_unproven(self) -> bool:
        """Whether so many replies failed before the first answer that only a harmless question may be asked."""
        return not self._has_answers and self._first_refusals >= MAX_FIRST_REFUSALS

    def _speaks_for_itself(self, outcome: Failure) -> bool:
        """Whether a failure needs no harmless question: it names the document, or the endpoint answers other documents."""
        if not self._has_answers:
            return False
        is_in_doubt = outcome.kind in ("empty", "cut") and self._empty_in_a_row < MAX_FIRST_REFUSALS
        return outcome.kind == "document" or is_in_doubt

    async def _put_off(self, call: Call, outcome: Failure) -> bool:
        """Wait, since the server asks to come back later. True where patience ended for this document only."""
        call.later_since = call.sent_at if call.later_since is None else call.later_since
        if self._loop.time() - call.later_since >= self._halt.patience_seconds:
            if self._answered_sent_at <= call.later_since:
                await self._last_chance(call, outcome)
            return True
        if not self._pause(call.sent_at, outcome):
            await self._last_chance(call, outcome)
        self._usage.retries += 1
        return False

    def _pause(self, sent_at: float, outcome: Failure) -> bool:
        """Pause all calls. False where patience is at its end."""
        wish = outcome.retry_after_seconds
        most = self._halt.patience_seconds
        pause = self._gate.slow_down(self._loop.time(), sent_at, wish, random.uniform(0.5, 1.0), most)
        if pause is None and wish is not None and wish > 0:
            self._halt.raise_for(outcome)  # the server names a time after the end of patience
        if pause is not None and pause >= LEAST_PAUSE_ANNOUNCED_SECONDS:
            announce(f"waiting {pause:.0f} seconds for {self._halt.endpoint}: {self._halt.described(outcome)}")
        return pause is not None

    async def _last_chance(self, call: Call, outcome: Failure) -> None:
        """Ask one harmless question at the end of patience. Raises the error that ends the run where no answer comes."""
        async with self._probing:
            if self._answered_sent_at <= call.sent_at:
                body = self._requests.body(call.question.harmless())
                probe = replace(call, body=body, is_probe=True, n_changes=len(self._requests.changes))
                if not isinstance(await self._attempt(probe), Answer):
                    self._halt.raise_for(outcome)

    async def _settle(self, call: Call) -> None:
        """Ask a harmless question until one is answered. Raises the error that ends the run where none is."""
        async with self._probing:
            if self._answered_sent_at <= call.failed_at:
                await self._probe(call)

    async def _prove(self, call: Call) -> None:
        """The same for all calls at once, where many failed before the first answer."""
        async with self._probing:
            if self._is_unproven:
                await self._probe(call)

    async def _probe(self, call: Call) -> None:
        harmless = call.question.harmless()
        n = 0
        while True:
            body = self._requests.body(harmless)
            probe = Call(call.batch, harmless, body, call.question, len(self._requests.changes), is_probe=True)
            outcome = await self._attempt(probe)
            if outcome is None or isinstance(outcome, Answer):
                return
            if outcome.kind == "pace":
                if not self._pause(probe.sent_at, outcome):
                    self._halt.raise_for(outcome)
                continue
            if outcome.kind != "form":
                self._heed(outcome, body)
            if self.is_out_of_form(probe):
                n = 0
                continue
            n += 1
            most = self._settings.max_attempts * (1 if outcome.kind in FINAL_EXIT_1 else 2)
            if not self._has_answers:
                self._first_refusals += 1
                most = min(
                    FIRST_PROBES if outcome.kind in FINAL_EXIT_1 else self._settings.max_attempts,
                    self._settings.max_attempts,
                    MAX_FIRST_REFUSALS - self._first_refusals,
                )
            if n >= most:
                self._halt.raise_for(outcome)
            await asyncio.sleep(self._backoff(n))

    def _backoff(self, n: int) -> float:
        """Seconds of the pause after the n-th failure in a row."""
        ceiling = self._settings.backoff_seconds * 2.0 ** min(n - 1, 32)
        return min(ceiling, MAX_BACKOFF_SECONDS) * random.uniform(0.5, 1.0)

    async def _attempt(self, call: Call) -> Answer | Failure | None:
        """One request, when its turn has come. None: it was not sent, since a harmless question must be answered first."""
        async with self._starting:
            await self._wait_for_money(call)
            await self._wait_for_turn(call.batch)
            if self.is_out_of_form(call):
                return OTHER_FORM
            if self._is_unproven and not call.is_probe:
                return None
            await self._start(call)
        try:
            outcome = await self._send(call.body)
        finally:
            self._gate.in_flight -= 1
            self._room.set()
        if self.purse is not None:
            self.purse.settle(call.most_usd, self._cost(outcome, call.most_usd, self.purse))
            publish(self._usage)
        if isinstance(outcome, Answer):
            answer = self._without_secrets(outcome)
            outcome = why_unusable(answer, call.question) or answer
        if isinstance(outcome, Answer):
            self._note_answer(outcome, call.sent_at)
        else:
            self._note_failure(outcome)
        return outcome

    def _cost(self, outcome: Answer | Failure, most: float, purse: Purse) -> float:
        """Money for a reply: that of its tokens, and nothing for a refusal. A reply that names no tokens, and a request whose reply was
        lost, count at their most."""
        paid = outcome if isinstance(outcome, Answer) else outcome.paid
        if paid is not None and paid.usage.prompt:
            return purse.price.usd(paid.usage)
        is_refused = isinstance(outcome, Failure) and (outcome.status >= 300 or outcome.kind in ("pace", "client"))
        return 0.0 if is_refused else most

    async def _wait_for_money(self, call: Call) -> None:
        """Wait for replies where the money that they leave may suffice. Raises BudgetError where it does not."""
        if self.purse is None:
            return
        call.most_usd = self.purse.most(call.body, LIMITS)
        while not self.purse.affords(call.most_usd):
            self._halt.check(call.batch)
            if not self._gate.in_flight:
                raise BudgetError(
                    f"the money (--budget-usd) is spent but for less than a request can cost; with more {self._halt.resume}"
                )
            self._room.clear()
            await self._room.wait()

    async def _wait_for_turn(self, batch: Batch) -> None:
        self._halt.check(batch)
        while (wait := self._gate.wait_seconds(self._loop.time())) > 0 or not self._gate.has_place:
            if wait > 0:
                await asyncio.sleep(wait)
            else:
                self._room.clear()
                await self._room.wait()
            self._halt.check(batch)

    async def _start(self, call: Call) -> None:
        """Count a request that is sent next."""
        if self._usage.requests >= self._settings.max_requests:
            raise BudgetError(
                f"the limit of {self._settings.max_requests:,} requests (--max-requests) is reached; with a higher one "
                f"{self._halt.resume}"
            )
        self._usage.requests += 1
        if self.purse is not None:
            self.purse.set_aside(call.most_usd)
        publish(self._usage)
        call.sent_at = self._loop.time()
        characters = sum(len(message["content"]) for message in call.body["messages"])
        self._gate.started(call.sent_at, characters // CHARACTERS_PER_TOKEN)
        for _ in range(LOOP_TURNS_PER_START):
            await asyncio.sleep(0)

    def _without_secrets(self, answer: Answer) -> Answer:
        hide = self._halt.secrets.hide
        return replace(
            answer,
            text=hide(answer.text),
            finish_reason=hide(answer.finish_reason),
            answered_by=hide(answer.answered_by),
        )

    def _note_answer(self, answer: Answer, sent_at: float) -> None:
        self._usage.add(answer.usage)
        self._usage.models[answer.answered_by] = self._usage.models.get(answer.answered_by, 0) + 1
        publish(self._usage)
        self._answered_sent_at = max(self._answered_sent_at, sent_at)
        self._gate.answered()
        self._empty_in_a_row = 0
        if is_odd_finish(answer) and answer.finish_reason not in self._odd_finishes:
            self._odd_finishes.add(answer.finish_reason)
            announce(
                f"answers that end with finish_reason {answer.finish_reason!r} count where they name exactly one choice"
            )

    def _note_failure(self, failure: Failure) -> None:
        """Raises where no money is left."""
        if failure.paid is not None:
            self._usage.unusable += 1
            self._empty_in_a_row += 1
            self._usage.add(failure.paid.usage)
            publish(self._usage)
        if failure.kind == "quota":
            self._halt.raise_for(failure)

    async def _send(self, body: dict[str, Any]) -> Answer | Failure:
        try:
            async with asyncio.timeout(self._settings.timeout_seconds):
                response = await self._client.sdk.post("/chat/completions", cast_to=self._client.reply, body=body)
            self._halt.has_replied = True
            return judge(response.status_code, response.headers, response.content, time.time())
        except TimeoutError:
            return Failure("timeout", f"no answer within {self._settings.timeout_seconds:g} seconds")
        except Exception as error:
            response = getattr(error, "response", None)
            if response is None:
                return lost_connection(error)
            self._halt.has_replied = True
            return judge(response.status_code, response.headers, response.content, time.time())


def why_unusable(answer: Answer, question: Conversation) -> Failure | None:
    """Why a reply with text is no answer to the question; None for an answer."""
    problem = shortcoming(answer, question.names_choice(answer.text), question.accepts(answer.text))
    if problem is None and (flaw := question.flaw(answer.text)):
        return Failure("empty", flaw, paid=answer)
    return problem
