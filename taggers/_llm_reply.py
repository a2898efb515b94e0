"""What an HTTP reply of a chat-completions endpoint means: an answer, or which kind of failure. Pure, no I/O.

Status codes and error codes are those of OpenAI's API reference; the phrases are what vLLM, llama.cpp and Azure say for
the same things.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any, Literal
from urllib.parse import urlsplit, urlunsplit

import orjson

Kind = Literal["transient", "document", "unclear", "settings", "quota", "cut"]
"""transient: may pass. document: this document will never get an answer. unclear: a refused request, of which the status
does not say whether the document or the settings are at fault. settings: every request will fail. quota: no money left.
cut: the answer ended at the token limit before it was one, which again the document or the settings can be to blame for."""


@dataclass(frozen=True)
class Answer:
    """A model's answer: text as sent, why it ended, what it cost in tokens, and the model as the endpoint names it."""

    text: str
    finish_reason: str = "stop"
    prompt_tokens: int = 0
    completion_tokens: int = 0
    model: str = ""

    @property
    def is_cut(self) -> bool:
        """Whether it ended at the limit of answer tokens."""
        return self.finish_reason == "length"


@dataclass(frozen=True)
class Failure:
    """No answer. `retry_after_seconds` is the server's wish, when it had one."""

    kind: Kind
    reason: str
    is_rate_limit: bool = False
    retry_after_seconds: float | None = None


_DOCUMENT_CODES = {
    "content_filter",
    "content_policy_violation",
    "context_length_exceeded",
    "exceed_context_size_error",
    "invalid_prompt",
    "string_above_max_length",
}
_DOCUMENT_PHRASES = (
    "content filter",
    "content management policy",
    "context length",
    "context size",
    "context window",
    "too long",
)
_QUOTA_CODES = {"billing_hard_limit_reached", "billing_not_active", "insufficient_quota"}
_TRANSIENT_STATUS = {408, 409, 425, 429}


def judge(status: int, headers: Mapping[str, str], body: bytes, now: float) -> Answer | Failure:
    """The meaning of one reply. `headers` must not care about case; `now` is seconds since 1970, for dates."""
    if 200 <= status < 300:
        return _read_completion(status, body)
    if 300 <= status < 400:
        return Failure("settings", f"status {status} ({_redirect(headers)})")
    message, codes = _error_of(body)
    reason = f"status {status}" + (f" ({message})" if message else "")
    if status == 402 or codes & _QUOTA_CODES:
        return Failure("quota", reason)
    if status in _TRANSIENT_STATUS or status >= 500:
        return Failure("transient", reason, status == 429, retry_after(headers, now))
    if status in (401, 403, 404):
        return Failure("settings", reason)
    if status == 413 or codes & _DOCUMENT_CODES or any(phrase in message.lower() for phrase in _DOCUMENT_PHRASES):
        return Failure("document", reason)
    return Failure("unclear", reason)


def retry_after(headers: Mapping[str, str], now: float) -> float | None:
    """Seconds to wait by `retry-after-ms` or `Retry-After` (seconds or an HTTP date); None without a usable one."""
    for name, per_second in (("retry-after-ms", 1000.0), ("retry-after", 1.0)):
        value = headers.get(name)
        if value is None:
            continue
        try:
            seconds = float(value) / per_second
        except ValueError:
            try:
                seconds = parsedate_to_datetime(value).timestamp() - now
            except ValueError:
                continue
        if math.isfinite(seconds):
            return max(seconds, 0.0)
    return None


def _redirect(headers: Mapping[str, str]) -> str:
    """Where a redirect points, in words, without what could be a secret: user and password, query, fragment."""
    location = headers.get("location") or ""
    try:
        parts = urlsplit(location)
    except ValueError:
        parts = urlsplit("")
    if not parts.netloc:
        return f"a redirect to the path {parts.path!r}" if parts.path else "a redirect without a usable Location"
    return f"a redirect to {urlunsplit((parts.scheme, parts.netloc.rpartition('@')[2], parts.path, '', ''))}"


def _read_completion(status: int, body: bytes) -> Answer | Failure:
    try:
        data: Any = json.loads(body)  # not orjson, which refuses half a surrogate pair: an answer may end in one
    except ValueError:
        return Failure(
            "transient", f"status {status} with {'no body' if not body else 'a body that is not complete JSON'}"
        )
    choice = _first(data.get("choices")) if isinstance(data, dict) else None
    message = choice.get("message") if choice else None
    if choice is None or not isinstance(message, dict):
        said, _ = _error_of(body)
        return Failure("transient", f"status {status} without an answer in it" + (f" ({said})" if said else ""))
    if message.get("refusal"):
        return Failure("document", f"the model refused: {message['refusal']}")
    finish_reason = str(choice.get("finish_reason") or "")
    if finish_reason == "content_filter":
        return Failure("document", "the endpoint's content filter stopped the answer")
    text = message.get("content")
    if text is not None and not isinstance(text, str):
        return Failure("transient", f"status {status} with an answer that is not text")
    usage = data.get("usage") if isinstance(data.get("usage"), dict) else {}
    repaired = (text or "").encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return Answer(
        repaired,
        finish_reason,
        _count(usage, "prompt_tokens"),
        _count(usage, "completion_tokens"),
        str(data.get("model") or ""),
    )


def _first(choices: Any) -> dict[str, Any] | None:
    return choices[0] if isinstance(choices, list) and choices and isinstance(choices[0], dict) else None


def _count(usage: Mapping[str, Any], key: str) -> int:
    value = usage.get(key)
    return value if isinstance(value, int) else 0


def _error_of(body: bytes) -> tuple[str, set[str]]:
    """(message on one line, its code and type) of an error body in any of the usual forms."""
    try:
        data: Any = orjson.loads(body)
    except orjson.JSONDecodeError:
        return " ".join(body.decode("utf-8", "replace").split()), set()
    error = data.get("error", data) if isinstance(data, dict) else data
    if not isinstance(error, dict):
        return " ".join(str(error).split()), set()
    message = next((error[key] for key in ("message", "detail", "msg") if error.get(key)), "")
    return " ".join(str(message).split()), {str(error[key]) for key in ("code", "type") if error.get(key)}
