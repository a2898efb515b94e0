"""The part of a tagger that asks an endpoint which does not depend on what is asked: parameters, access, spending, the caller."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from functools import cached_property
from typing import Any, Protocol

from tagcorpus.errors import ConfigError
from tagcorpus.taggers._interface.base import Parameters
from tagcorpus.taggers._llm import cache as _llm_cache
from tagcorpus.taggers._llm import caller
from tagcorpus.taggers._llm.attempts import Conversation
from tagcorpus.taggers._llm.caller import Receipt, next_question
from tagcorpus.taggers._llm.endpoint import Settings, header_values, key_for
from tagcorpus.taggers._llm.request import Requests
from tagcorpus.taggers._llm.tokens import Grant
from tagcorpus.taggers._llm.url import OFFICIAL, checked_url, is_official
from tagcorpus.taggers._tokenizers.interface import Tokenizer
from tagcorpus.taggers._tokenizers.loading import of_model

NO_CACHE = "none"
PATIENCE_SECONDS, ABSENT_SECONDS = 600.0, 5.0
"""Where no patience is given: for a server that has answered this run, and for one at whose port nothing has answered yet."""
LEAST = {"concurrency": 1, "max_requests": 0, "max_attempts": 1, "backoff_seconds": 0, "patience": 0, "rpm": 0, "tpm": 0}  # fmt: skip
"""The least value of each number."""


class Questions(Protocol):
    """The questions about a document, as a file of the user or of the package has them."""

    @property
    def model(self) -> str: ...

    @property
    def temperature(self) -> float: ...

    @property
    def max_answer_tokens(self) -> int: ...

    @property
    def roles(self) -> str: ...

    @property
    def request(self) -> tuple[tuple[str, str], ...]: ...

    @property
    def headers(self) -> tuple[tuple[str, str], ...]: ...

    @property
    def answer_limit(self) -> int | None:
        """Tokens that an answer has at most; None without a limit."""
        ...

    def is_short(self, text: object) -> bool:
        """Whether the text is not asked about."""
        ...

    def shown(self, text: str) -> tuple[str, ...]:
        """The pieces of a text that are sent."""
        ...

    def at(self, stage: str) -> Conversation:
        """A conversation without a document that asks this stage next, to judge an answer."""
        ...

    def start(self, text: str) -> Conversation:
        """The conversation about a text, before its first question."""
        ...

    def most_tokens(self, text: str, n_calls: int, tokenizer: Tokenizer | None = None) -> int:
        """An upper bound of the tokens of so many calls about a text, prompts and answers."""
        ...


class EndpointTagger(Parameters):
    """A tagger that may ask an endpoint. The frozen dataclass derived from it has these parameters as fields."""

    model: str
    base_url: str
    concurrency: int
    max_requests: int
    max_attempts: int
    timeout_seconds: float
    backoff_seconds: float
    patience: float | None
    rpm: int
    tpm: int
    llm_cache: str

    @property
    def questions(self) -> Questions:
        """The questions in use."""
        raise NotImplementedError

    @property
    def is_asking(self) -> bool:
        """Whether an endpoint answers."""
        return True

    @property
    def subject(self) -> str:
        """The noun for what the tagger gives to documents, and the answerer."""
        raise NotImplementedError

    @property
    def answered_by(self) -> str:
        return f"openai:{self.model}"

    def calls_at_most(self, text: str) -> int:
        """Most calls that this document can cost, retries not counted."""
        raise NotImplementedError

    @property
    def worst_case_calls(self) -> int:
        """Most calls one document can cost, retries not counted."""
        raise NotImplementedError

    def check_numbers(self, name: str) -> None:
        """ConfigError where a number is too small."""
        for parameter, least in LEAST.items():
            value = getattr(self, parameter)
            if value is not None and value < least:
                raise ConfigError(f"{name}: {parameter} must be at least {least}, got {value!r}")
        if not self.timeout_seconds > 0:
            raise ConfigError(f"{name}: timeout_seconds must be above 0, got {self.timeout_seconds!r}")
        for parameter in ("timeout_seconds", "backoff_seconds"):
            if math.isinf(getattr(self, parameter)):
                raise ConfigError(f"{name}: {parameter} must be finite, got inf")

    def settle_endpoint(self) -> None:
        """Put the model and the address in use into the parameters."""
        self.__dict__["model"] = self.model or self.questions.model
        given = self.base_url or os.environ.get("OPENAI_BASE_URL") or OFFICIAL
        self.__dict__["base_url"] = checked_url(given)

    def check_access(self) -> None:
        """ConfigError when the endpoint needs a key, or the questions a header, that is not set. Sends no request."""
        if self.is_asking:
            key_for(self.base_url, self.questions.headers)
            header_values(self.questions.headers)

    def calls_ahead(self, texts: Sequence[str]) -> list[int]:
        """The most requests that each text can still cost, given the answers in the cache. Texts that are too short are left out.

        OutputError when the cache cannot be used.
        """
        settings = self._settings
        askable = [text for text in texts if not self.questions.is_short(text)]
        if not settings.cache or not os.path.exists(settings.cache):
            return [self.calls_at_most(text) for text in askable]
        cache = _llm_cache.AnswerCache(settings.cache)
        try:
            requests = Requests(settings)
            ahead = [next_question(self.questions.start(text), requests, cache) for text in askable]
            return [0 if question is None else question.conversation.calls_left for question in ahead]
        finally:
            cache.close()

    def receipts(self, texts: Sequence[str]) -> list[list[Receipt]]:
        """Ask about these texts, and give the tokens of each answered question."""
        self._caller.keep_receipts()
        self._caller.finish([self.questions.start(text) for text in texts])
        return [self._caller.receipts(self.questions.start(text)) for text in texts]

    @cached_property
    def tokenizer(self) -> Tokenizer | None:
        """The model's tokenizer, where it is certain: an OpenAI model at OpenAI whose ranks are on this machine."""
        return of_model(self.model) if self.is_asking and is_official(self.base_url) else None

    @property
    def llm_caller(self) -> caller.Caller:
        """The caller of this process."""
        return self._caller

    @property
    def has_cache(self) -> bool:
        """Whether answers are kept."""
        return self.llm_cache != NO_CACHE

    @property
    def concurrent_batches(self) -> int:
        """Number of batches for `tag` at the same time, each from its own thread, that keep the endpoint busy."""
        return 4 if self.is_asking else 1

    def usage(self) -> dict[str, Any]:
        """Requests sent, retries, answers from the cache and tokens of this process so far; empty when nothing was asked."""
        made = caller.known(self._settings)
        return made.usage.as_json() if made else {}

    def grant(self, grant: Grant) -> None:
        """Allow so many requests and so much money from here on: what is left after earlier runs. Not part of any key."""
        self.__dict__["_granted"] = grant

    def begin(self) -> None:
        """Count from zero: the requests of an earlier run in this process are not part of `usage`."""
        caller.forget(self._settings)

    def close(self) -> None:
        """Stops calling: blocked `tag` calls raise IncompleteError, answers in flight get a few seconds to reach the cache."""
        made = caller.known(self._settings)
        if made:
            made.close()

    @property
    def _settings(self) -> Settings:
        has_cache = self.has_cache and self.is_asking
        cache = (self.llm_cache or str(_llm_cache.default_path())) if has_cache else ""
        questions = self.questions
        granted: Grant = self.__dict__.get("_granted") or Grant(self.max_requests)
        return Settings(
            base_url=self.base_url,
            model=self.model,
            temperature=questions.temperature,
            max_answer_tokens=questions.max_answer_tokens,
            concurrency=self.concurrency,
            timeout_seconds=self.timeout_seconds,
            max_attempts=self.max_attempts,
            backoff_seconds=self.backoff_seconds,
            max_requests=max(granted.requests, 0),
            patience_seconds=PATIENCE_SECONDS if self.patience is None else self.patience,
            absent_seconds=ABSENT_SECONDS if self.patience is None else self.patience,
            rpm=self.rpm,
            tpm=self.tpm,
            cache=cache,
            roles=questions.roles,
            request=questions.request,
            headers=questions.headers,
            price=granted.price,
            budget_usd=granted.usd,
        )

    @cached_property
    def _caller(self) -> caller.Caller:
        return caller.caller(self._settings)
