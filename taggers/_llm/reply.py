"""An HTTP reply of a chat-completions endpoint, read as an answer or as a kind of failure. No I/O.

The kind comes from this one reply. `_llm.attempts` decides from more evidence whether the document or the endpoint is to
blame. Status codes and error codes are those of OpenAI's API reference; the phrases are what vLLM, llama.cpp, Groq,
Gemini and Azure say for the same things.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from email.utils import parsedate_to_datetime
from typing import Any, Literal
from urllib.parse import urlsplit, urlunsplit

from tagcorpus.taggers._llm.tokens import NO_TOKENS, Tokens, mapping_or_empty, tokens_of

Kind = Literal["pace", "fault", "timeout", "refusal", "document", "empty", "cut", "quota", "client", "form"]
"""pace: ask later (429, 503, a refused connection). fault: the server failed. timeout: no reply in time. refusal: the request
was refused. document: refused for a reason that names the document. empty: a paid reply without an answer. cut: an answer that
ended at the token limit before it said anything that counts. quota: no money, or no calls, left. client: our side of the
connection (TLS, a proxy) does not work. form: refused for a field of the request, which is sent otherwise from then on."""


@dataclass(frozen=True)
class Answer:
    """A model's answer: text as sent, why it ended, what it cost, and the model that gave it as the endpoint names it.

    logprobs  where they were asked for: JSON of [token, log probability, [[alternative, log probability], ...]] for each token
    """

    text: str
    finish_reason: str = "stop"
    usage: Tokens = NO_TOKENS
    answered_by: str = ""
    logprobs: str = ""

    @property
    def is_cut(self) -> bool:
        """Whether it ended at the limit of answer tokens."""
        return self.finish_reason in _CUT


@dataclass(frozen=True)
class Failure:
    """No answer. `retry_after_seconds` is the server's wish, when it had one. `paid` is the reply that cost tokens all the same.
    `param` is the field of the request that the server names as refused."""

    kind: Kind
    reason: str
    retry_after_seconds: float | None = None
    status: int = 0
    paid: Answer | None = None
    param: str = ""


_CUT = ("length", "max_tokens", "MAX_TOKENS")
_WHOLE = ("stop", "eos_token", "eos", "end_turn", "stop_sequence", "STOP", "completed", "complete")
_BROKEN = (
    "error",
    "abort",
    "cancel",
    "content_filter",
    "tool_calls",
    "function_call",
    "safety",
    "recitation",
    "timeout",
)
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
    "request too large",
    "too long",
)
_QUOTA_CODES = {"billing_hard_limit_reached", "billing_not_active", "insufficient_quota"}
_DAILY = re.compile(r"per[\s_-]?day|\bdaily\b|\b[RT]PD\b", re.IGNORECASE)
_PACE_STATUS = (429, 503)
_FAULT_STATUS = (408, 409, 425)
_THOUGHT = re.compile(r"\s*<think(?:ing)?>.*?</think(?:ing)?>", re.DOTALL)
_SPECIAL = re.compile(r"(?:\s*(?:<\|[^|<>]{1,40}\|>|</s>|<eos>|<end_of_turn>|<EOS_TOKEN>|\[EOS\]))+\s*$")
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|h|m|s)")
_IN_WORDS = re.compile(r"(?:retry|try again|wait)\D{0,30}?((?:\d+(?:\.\d+)?\s*(?:ms|h|m|s)[a-z]*\s*)+)", re.IGNORECASE)
_ROUNDING = 1e-3
"""A log probability may be above 0 by this."""
_EPOCH = 1e9
"""A reset time above this is a moment in seconds since 1970, not a duration."""


def spoken(text: str) -> str:
    """An answer without the thoughts before it and special tokens behind it; empty where the thoughts never end.

    Example  '<think>a novel?</think> books<|eot_id|>' -> 'books'
    """
    rest = _SPECIAL.sub("", text)
    while (thought := _THOUGHT.match(rest)) is not None:
        rest = rest[thought.end() :]
    return "" if rest.lstrip().startswith(("<think>", "<thinking>")) else rest.strip()


def shortcoming(answer: Answer, names_choice: bool, is_choice: bool) -> Failure | None:
    """Why a reply with text is not an answer; None for one that is.

    names_choice  exactly one choice is named in it
    is_choice     it is nothing but a choice
    """
    reason = answer.finish_reason
    if answer.is_cut:
        if is_choice:
            return None
        end = f": {answer.text!r}" if answer.text else ", before its first word"
        return Failure("cut", f"answer cut off at the limit of answer tokens{end}", paid=answer)
    if reason.lower().startswith(_BROKEN):
        if reason.lower().startswith("content_filter"):
            return Failure("empty", "the endpoint's content filter stopped the answer", paid=answer)
        return Failure("empty", f"an answer that ended with finish_reason {reason!r}", paid=answer)
    if not spoken(answer.text):
        return Failure("empty", "an empty answer" + (" (thoughts only)" if answer.text.strip() else ""), paid=answer)
    if reason not in _WHOLE and not names_choice:
        ended = f"with finish_reason {reason!r}" if reason else "without a finish_reason"
        return Failure("empty", f"an answer that ended {ended} and names no choice: {answer.text!r}", paid=answer)
    return None


def is_odd_finish(answer: Answer) -> bool:
    """Whether the finish reason is one that this module does not know."""
    return bool(answer.finish_reason) and answer.finish_reason not in (*_WHOLE, *_CUT)


def judge(status: int, headers: Mapping[str, str], body: bytes, now: float) -> Answer | Failure:
    """The meaning of one reply. `headers` must not care about case; `now` is seconds since 1970, for dates."""
    if 200 <= status < 300:
        return _read_completion(status, headers, body, now)
    return _refused(status, headers, body, now)


def _refused(status: int, headers: Mapping[str, str], body: bytes, now: float) -> Failure:
    if 300 <= status < 400:
        return Failure("refusal", f"status {status} ({_redirect(headers)})", status=status)
    data = _json(body)
    message, codes, param = _error_of(data, body)
    reason = f"status {status}" + (f" ({message})" if message else "")
    wish = retry_after(headers, now)
    if wish is None and status in _PACE_STATUS:
        wish = _wish_in(data, message)
    if wish is None and status == 429:
        wish = _reset(headers, now)
    kind: Kind = "refusal"
    low = message.lower()
    if status == 402 or codes & _QUOTA_CODES or (status == 429 and _DAILY.search(message + json.dumps(data)[:4000])):
        kind = "quota"
    elif status == 413 or codes & _DOCUMENT_CODES or any(phrase in low for phrase in _DOCUMENT_PHRASES):
        kind = "document"
    elif status in _PACE_STATUS:
        kind = "pace"
    elif status in _FAULT_STATUS or status >= 500:
        kind = "fault"
    return Failure(kind, reason, wish, status, param=param)


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


def _reset(headers: Mapping[str, str], now: float) -> float | None:
    """Seconds until a used-up limit is reset, by `x-ratelimit-reset-*`; the longest where the headers do not say which is used up."""
    waits: dict[str, float] = {}
    for name in ("requests", "tokens", ""):
        end = f"-{name}" if name else ""
        seconds = _seconds(headers.get(f"x-ratelimit-reset{end}") or "")
        if seconds is not None:
            waits[end] = seconds - now if seconds > _EPOCH else seconds
    used_up = [waits[end] for end in waits if (headers.get(f"x-ratelimit-remaining{end}") or "").strip() == "0"]
    return max(0.0, *(used_up or waits.values())) if waits else None


def _seconds(text: str) -> float | None:
    """Seconds of `1m30s`, `120ms`, `37.5s` or `12`; None for anything else."""
    text = text.strip().replace(" ", "")
    if re.fullmatch(r"\d+(?:\.\d+)?", text):
        return float(text)
    units = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
    durations = _DURATION.findall(text)
    return sum(float(n) * units[u] for n, u in durations) if durations else None


def _wish_in(data: Any, message: str) -> float | None:
    """Seconds to wait by the body: RetryInfo (`retryDelay`), or words such as "try again in 37.5s"."""
    waiting = [data]
    for _ in range(1000):
        if not waiting:
            break
        item = waiting.pop()
        if isinstance(item, dict):
            for name in ("retryDelay", "retry_after", "retry_after_seconds"):
                value = item.get(name)
                if isinstance(value, str | int | float) and (seconds := _seconds(str(value))) is not None:
                    return seconds
            waiting += item.values()
        elif isinstance(item, list):
            waiting += item
    words = _IN_WORDS.search(message)
    return _seconds(re.sub(r"(ms|h|m|s)[a-z]*", r"\1", words[1].lower())) if words else None


def _redirect(headers: Mapping[str, str]) -> str:
    """The target of a redirect in words, without possible secrets: user and password, query, fragment."""
    location = headers.get("location") or ""
    try:
        parts = urlsplit(location)
    except ValueError:
        parts = urlsplit("")
    if not parts.netloc:
        return f"a redirect to the path {parts.path!r}" if parts.path else "a redirect without a usable Location"
    return f"a redirect to {urlunsplit((parts.scheme, parts.netloc.rpartition('@')[2], parts.path, '', ''))}"


def _read_completion(status: int, headers: Mapping[str, str], body: bytes, now: float) -> Answer | Failure:
    data = _json(body)
    is_stream = data is None and re.search(rb"(?m)^data:", body[:10_000]) is not None
    if is_stream:
        data = _from_stream(body)
    if data is None:
        shape = "a body that is not JSON"
        if is_stream:
            shape = "an event stream that breaks off"
        elif not body.strip():
            shape = "no body"
        elif body.lstrip()[:1] == b"<":
            shape = "a web page"
        return Failure("fault", f"status {status} with {shape}", status=status)
    error = data.get("error") if isinstance(data, dict) else None
    choice = _first(data.get("choices")) if isinstance(data, dict) else None
    message = choice.get("message") if choice else None
    error = error or (choice.get("error") if choice else None)
    if error or choice is None or not isinstance(message, dict):
        body = json.dumps({"error": error}).encode() if error else body
        detail, codes, _ = _error_of({"error": error}, body) if error else ("", set[str](), "")
        if numbers := [int(code) for code in codes if code.isdigit() and 400 <= int(code) < 600]:
            inner = _refused(numbers[0], headers, body, now)
            return replace(inner, reason=f"status {status} with an error in it: {inner.reason}")
        kind: Kind = "document" if codes & _DOCUMENT_CODES else "quota" if codes & _QUOTA_CODES else "fault"
        return Failure(
            kind, f"status {status} without an answer in it" + (f" ({detail})" if detail else ""), status=status
        )
    answer = Answer(
        _text(message.get("content")),
        str(choice.get("finish_reason") or ""),
        tokens_of(data),
        str(data.get("model") or ""),
        _logprobs(choice.get("logprobs")),
    )
    if message.get("refusal"):
        return Failure("document", f"the model refused: {message['refusal']}", paid=answer)
    content = message.get("content")
    if not answer.text and content is not None and not isinstance(content, str | list):
        return Failure("fault", f"status {status} with an answer that is not text", status=status, paid=answer)
    if not answer.text and (message.get("tool_calls") or message.get("function_call")):
        return Failure("empty", "a call of a tool in place of an answer", paid=answer)
    if not answer.text and (message.get("reasoning_content") or message.get("reasoning")) and not answer.is_cut:
        return Failure("empty", "an empty answer (reasoning only)", paid=answer)
    return answer


def _logprobs(given: Any) -> str:
    """The log probabilities of an answer in our form; empty where a token has none, or one that is above 0."""
    content = mapping_or_empty(given).get("content")
    if not isinstance(content, list) or not content:
        return ""
    try:
        tokens: list[list[Any]] = [
            [str(t["token"]), float(t["logprob"]), [[str(a["token"]), float(a["logprob"])] for a in t["top_logprobs"]]]
            for t in content
        ]
        if any(one > _ROUNDING for _, own, others in tokens for one in (own, *(other for _, other in others))):
            return ""
        return json.dumps(tokens, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    except (TypeError, KeyError, ValueError):
        return ""


def _text(content: Any) -> str:
    """The text of a message's content, which may be a list of parts, with half surrogate pairs repaired."""
    if isinstance(content, list):
        parts = [
            part if isinstance(part, str) else part.get("text") if isinstance(part, dict) else None for part in content
        ]
        content = "".join(part for part in parts if isinstance(part, str))
    if not isinstance(content, str):
        return ""
    return content.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _json(body: bytes) -> Any:
    """The JSON value at the start of a body; None without one. A bad byte, or text after the value, does not spoil a reply that
    is paid for. orjson would refuse half a surrogate pair, in which an answer may end."""
    text = body.decode("utf-8-sig", "replace").lstrip()
    try:
        value, _ = json.JSONDecoder().raw_decode(text)
    except (ValueError, RecursionError):
        return None
    return value


def _from_stream(body: bytes) -> dict[str, Any] | None:
    """One completion from the events of a stream that was not requested; None where the stream breaks off."""
    content, refusal, finish, is_done = "", "", None, False
    data: dict[str, Any] = {}
    message: dict[str, Any] = {}
    for line in body.decode("utf-8-sig", "replace").splitlines():
        if not line.startswith("data:"):
            continue
        is_done = is_done or line[5:].strip() == "[DONE]"
        event = _json(line[5:].encode())
        if not isinstance(event, dict):
            continue
        if event.get("error"):
            return event
        data |= {k: v for k, v in event.items() if v is not None}
        choice = _first(event.get("choices")) or {}
        if choice.get("index"):  # of a second answer
            continue
        part = mapping_or_empty(choice.get("delta") or choice.get("message"))
        content += _text(part.get("content"))
        refusal += str(part.get("refusal") or "")
        message |= {k: v for k, v in part.items() if v}
        finish = choice.get("finish_reason") or finish
    if finish is None and not is_done:
        return None
    message |= {"content": content, "refusal": refusal}
    return {**data, "choices": [{"message": message, "finish_reason": finish}]}


def _first(choices: Any) -> dict[str, Any] | None:
    """The choice with the lowest index, wherever it is in the list."""
    if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
        return None
    given = [c for c in choices if isinstance(c, dict)]
    return min(given, key=lambda c: c["index"] if isinstance(c.get("index"), int) else 0)


def _error_of(data: Any, body: bytes) -> tuple[str, set[str], str]:
    """(message on one line, its code and type, the field it names) of an error body in any of the usual forms."""
    if data is None:
        text = body.decode("utf-8", "replace")
        plain = re.sub(r"<[^>]*>", " ", text) if text.lstrip()[:1] == "<" else text[:100_000]
        return " ".join(plain.split()), set(), ""
    if isinstance(data, list) and data:
        data = data[0]
    error = data.get("error", data) if isinstance(data, dict) else data
    if not isinstance(error, dict):
        return " ".join(str(error).split()), set(), ""
    message = next((error[key] for key in ("message", "detail", "msg") if error.get(key)), "")
    codes = {str(error[key]) for key in ("code", "type", "status") if isinstance(error.get(key), str | int)}
    return " ".join(str(message).split()), codes, str(error.get("param") or "")
