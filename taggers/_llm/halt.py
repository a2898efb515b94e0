"""The end of a caller: its reason, and the messages that the user gets. No I/O."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NoReturn

from tagcorpus.errors import IncompleteError, LLMError, TagcorpusError, TaggerError
from tagcorpus.taggers._llm.endpoint import AUTHENTICATING, Settings
from tagcorpus.taggers._llm.reply import Failure, Kind
from tagcorpus.taggers._llm.secrets import Secrets
from tagcorpus.taggers._llm.url import likely_url, public_url

RESUME = "the same command continues where this run stopped"
FINAL_EXIT_1: tuple[Kind, ...] = ("refusal", "document", "empty", "cut", "client")
"""Kinds of failures that a later run meets again unchanged, where no question is answered. The others may pass."""
MOST_SEARCHED = 4000
"""Characters of a server's message that are searched for secrets."""
MOST_SHOWN = 300
"""Characters of a server's message that are shown."""


class Stopped(Exception):
    """The batch of this call has failed: no one needs the answer any more."""


@dataclass
class Batch:
    """State that the conversations of one `finish` share: the error that ended them, if any."""

    error: BaseException | None = None


def again(error: TagcorpusError) -> TagcorpusError:
    """The same error for another thread: one exception object raised in two threads mixes their tracebacks."""
    return type(error)(*error.args)


@dataclass
class Halt:
    """Whether a caller may ask, and why not. Its messages hold no secret."""

    settings: Settings
    secrets: Secrets
    error: TagcorpusError | None = field(default=None, init=False)
    """The error that ended the run."""
    is_closed: bool = field(default=False, init=False)
    has_replied: bool = field(default=False, init=False)
    """Whether the server has sent any reply, be it a refusal."""

    @property
    def endpoint(self) -> str:
        """The endpoint's address as messages show it."""
        return public_url(self.settings.base_url)

    @property
    def patience_seconds(self) -> float:
        """The most that a run waits without any answer."""
        usual = self.settings.patience_seconds
        return usual if self.has_replied else min(usual, self.settings.absent_seconds)

    @property
    def is_set(self) -> bool:
        return self.error is not None or self.is_closed

    def close(self) -> bool:
        """Stop asking. False where the caller is closed already."""
        was_closed, self.is_closed = self.is_closed, True
        return not was_closed

    def check(self, batch: Batch) -> None:
        """Raises where nothing more may be asked for this batch."""
        if self.error is not None:
            raise again(self.error)
        if self.is_closed:
            raise self.stopped()
        if batch.error is not None:
            raise Stopped

    def raise_for(self, failure: Failure) -> NoReturn:
        """End the run: the endpoint answers no one."""
        self.stop(self._final_error(failure))

    def stop(self, error: TagcorpusError) -> NoReturn:
        """End the run. The first error is the one that all threads get."""
        self.error = self.error or error
        raise again(self.error)

    def stopped(self) -> TagcorpusError:
        """The error for a question that came too late."""
        stopped = IncompleteError(f"the calls to {self.endpoint} were stopped; {self.resume}")
        return again(self.error) if self.error else stopped

    @property
    def resume(self) -> str:
        """Advice for going on after an error that may pass."""
        return RESUME + ("; answers already paid for are in the cache" if self.settings.cache else "")

    def described(self, failure: Failure) -> str:
        """The reason of a failure on one line, without secrets and not too long."""
        reason = self.secrets.hide_pieces(failure.reason[:MOST_SEARCHED])
        reason = " ".join(reason.encode("utf-8", "replace").decode().split())
        return reason if len(reason) <= MOST_SHOWN else reason[:MOST_SHOWN] + "..."

    @property
    def _key_variables(self) -> str:
        """The environment variables that the key comes from."""
        variables = (v for name, v in self.settings.headers if name.lower() in AUTHENTICATING)
        return ", ".join(variables) or "OPENAI_API_KEY"

    def _final_error(self, failure: Failure) -> TagcorpusError:
        reason = self.described(failure)
        model = self.settings.model
        other = likely_url(self.settings.base_url)
        elsewhere = f"; many servers answer at {other}: name it with --base-url" if other else ""
        if failure.kind == "quota":
            return LLMError(
                f"{self.endpoint} says that the quota is used up: {reason}; add credit or wait for the next day, then {self.resume}"
            )
        if failure.kind == "pace":
            wish = failure.retry_after_seconds
            asks = f" and asks to come back in {wish:.0f} seconds" if wish is not None else ""
            if self.patience_seconds < self.settings.patience_seconds:
                return LLMError(
                    f"no server answers at {self.endpoint}: {reason}. Check --base-url{elsewhere}; for a server that is still starting, "
                    f"wait longer with --patience SECONDS; {self.resume}"
                )
            return LLMError(
                f"{self.endpoint} gave no answer within --patience {self.patience_seconds:g} seconds: {reason}{asks}; "
                f"{self.resume}"
            )
        if failure.kind == "fault" and not self.has_replied:
            return LLMError(
                f"no server answers at {self.endpoint}: {reason}. Check --base-url{elsewhere}; {self.resume}"
            )
        if failure.kind not in FINAL_EXIT_1:
            hint = elsewhere if failure.status == 200 else ""
            return LLMError(f"{self.endpoint} no longer answers; the last question met {reason}{hint}; {self.resume}")
        if failure.kind == "client":
            return TaggerError(f"{self.endpoint} cannot be reached: {reason}")
        if failure.kind in ("cut", "empty"):
            return TaggerError(
                f"the model {model!r} at {self.endpoint} does not answer within max_answer_tokens ({reason}): choose "
                "one that answers without reasoning first (--model), or raise max_answer_tokens in a stage tree of your own (--tree)"
            )
        if failure.status // 100 == 3:
            return TaggerError(
                f"{self.endpoint} answered {reason}; redirects are not followed, since a call holds a document. If you trust "
                "that address, name it with --base-url"
            )
        advice = {
            401: f"check {self._key_variables}",
            403: f"check that {self._key_variables} may use this model",
            404: f"check --base-url and that it serves the model {model!r} (--model){elsewhere}",
            405: f"check --base-url{elsewhere}",
        }.get(
            failure.status,
            f"check that the model {model!r} (--model) takes temperature and max_tokens (--tree): `roles` and `request` "
            "in a stage tree change the request",
        )
        return TaggerError(f"{self.endpoint} refused the request for model {model!r}: {reason}; {advice}")
