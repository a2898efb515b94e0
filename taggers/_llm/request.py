"""The requests to an endpoint, the keys of their answers, and the changes that an endpoint asks for.

The stage tree decides a request: model, messages, temperature, the limit of answer tokens, and the fields that `request` adds or
removes. Where an endpoint refuses a field, or the role `system`, and says so, later requests are changed. A small file beside the
answer cache keeps the change, by endpoint and model. Changes are part of the body and so of the answer's key, but not of a part's key.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import orjson
import xxhash

from tagcorpus.taggers._llm.endpoint import Settings
from tagcorpus.taggers._llm.reply import Failure
from tagcorpus.taggers._llm.url import public_url

Messages = Sequence[Mapping[str, str]]

SYSTEM, MERGED = "system", "merged"
ROLES = (SYSTEM, MERGED)
RESERVED = ("model", "messages", "stream", "stream_options", "n")
"""Fields that a tree's `request` may not touch: they decide what is asked, and what a reply looks like."""
LIMITS = ("max_tokens", "max_completion_tokens")
"""The two spellings of the limit of answer tokens. Where one is refused, the other is tried: no limit could cost money."""

_STATUSES = (400, 422, 500, 501)
_REFUSES = re.compile(
    r"un(?:known|recogni[sz]ed|supported|expected)|(?:not|n't|no longer) (?:\w+ )?(?:supported?|recogni[sz]ed|permitted|allowed|accepted|valid)|"
    r"not support|extra_forbidden|extraneous|cannot find field|not a valid|deprecated|use [\"'`]?\w+[\"'`]? instead",
    re.IGNORECASE,
)
_SYSTEM_REFUSED = re.compile(
    r"system[\"'`]? (?:role|message|prompt|instruction)s?\b.{0,60}?(?:not|n't|un) ?(?:supported|allowed|permitted|enabled|accepted)|"
    r"developer instruction is not enabled|(?:not|n't) support (?:the )?[\"'`]?system|only (?:the )?user and assistant roles|"
    r"roles must alternate user/assistant|(?:unknown|invalid|unsupported|unexpected) (?:message )?role:? ?[\"'`]?system|"
    r"[\"'`]system[\"'`] is not one of|input should be [\"'`]user[\"'`]",
    re.IGNORECASE,
)
_INSTEAD = re.compile(r"use [\"'`]?(\w+)[\"'`]? instead", re.IGNORECASE)


RESPONSE_FORMAT = "response_format"
"""The field that constrains an answer. A refused kind of constraint is left out whatever its schema."""
_NAMES_FORMAT = re.compile(r"response[ _-]?format|json[ _-]?schema|structured output|guided|grammar", re.IGNORECASE)


class Change(NamedTuple):
    """A field and value (as JSON) that an endpoint refused. The field is sent as `to`, or left out where `to` is empty.

    For the field `roles`, the value is `system` and `to` is `merged`.
    """

    field: str
    value: str
    to: str = ""

    def described(self) -> str:
        if self.field == "roles":
            return "the instructions are sent in the user message (roles: merged)"
        return f"{self.to!r} is sent in place of {self.field!r}" if self.to else f"{self.field!r} is left out"


def merged(messages: Messages) -> list[dict[str, str]]:
    """The messages with those of role `system` put before the first of the others, for models that know no such role."""
    head = [message["content"].rstrip() for message in messages if message["role"] == SYSTEM]
    first, *others = [dict(message) for message in messages if message["role"] != SYSTEM]
    return [{**first, "content": "\n\n".join([*head, first["content"]])}, *others]


def request_body(settings: Settings, messages: Messages, changes: Sequence[Change] = ()) -> dict[str, Any]:
    """The body of the request that asks these messages.

    Example  request = (("max_tokens", "null"), ("seed", "7")) -> no max_tokens, and seed 7 beside temperature
    """
    body: dict[str, Any] = {
        "model": settings.model,
        "messages": merged(messages) if settings.roles == MERGED else list(messages),
        "temperature": settings.temperature,
        "max_tokens": settings.max_answer_tokens,
    }
    for name, value in settings.request:
        body[name] = json.loads(value)
        if body[name] is None:
            del body[name]
    for change in changes:
        if change.field == "roles":
            body["messages"] = merged(body["messages"])
        elif change.field in body and json.loads(change.value) == _essence(change.field, body[change.field]):
            value = body.pop(change.field)
            if change.to:
                body.setdefault(change.to, value)
    return body


def answer_key(settings: Settings, body: dict[str, Any]) -> bytes:
    """The key of a request's answer in the cache. Names of headers count, their values never do."""
    names = sorted(name.lower() for name, _ in settings.headers)
    return xxhash.xxh3_128_digest(orjson.dumps([public_url(settings.base_url), body, *([names] if names else [])]))


def change_for(failure: Failure, body: Mapping[str, Any]) -> Change | None:
    """The change of this request that a refusal asks for; None where it asks for none.

    Example  "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead."
             -> Change("max_tokens", "10", "max_completion_tokens")
    """
    if failure.kind not in ("refusal", "fault") or failure.status not in _STATUSES:
        return None
    reason = failure.reason
    documents = "\n".join(message["content"] for message in body["messages"]).lower()
    if (no_system := _SYSTEM_REFUSED.search(reason)) and no_system[0].lower() not in documents:
        is_sent = any(message["role"] == SYSTEM for message in body["messages"])
        return Change("roles", SYSTEM, MERGED) if is_sent else None
    constraint = _NAMES_FORMAT.search(reason) if RESPONSE_FORMAT in body else None
    if constraint and (failure.status < 500 or failure.status == 501) and constraint[0].lower() not in documents:
        return Change(RESPONSE_FORMAT, _as_json(_essence(RESPONSE_FORMAT, body[RESPONSE_FORMAT])))
    refuses = _REFUSES.search(reason)
    if failure.status >= 500 or refuses is None or refuses[0].lower() in documents:
        return None
    fields = [name for name in body if name not in RESERVED]
    mentions = {
        name: m.start() for name in fields if (m := re.search(rf"(?<![\w.]){re.escape(name)}(?!\w|\.\w)", reason))
    }
    field = failure.param if failure.param in fields else min(mentions, key=lambda name: mentions[name], default="")
    if not field:
        return None
    instead = _INSTEAD.search(reason)
    to = instead[1] if instead and instead[1] != field and instead[1] not in RESERVED else ""
    if field in LIMITS and to not in LIMITS:
        (to,) = set(LIMITS) - {field}
        if field == "max_completion_tokens" and to not in reason:
            return None
    return Change(field, _as_json(_essence(field, body[field])), to)


class Requests:
    """The requests of one caller, with the changes that its endpoint asked for. `path`, where there is one, keeps new changes."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.path = Path(f"{settings.cache}.requests.json") if settings.cache else None
        self._name = f"{public_url(settings.base_url)} {settings.model}"
        self.changes = _remembered(self.path).get(self._name, [])

    def body(self, messages: Messages) -> dict[str, Any]:
        """The body of the request that asks these messages, in the form that the endpoint takes."""
        return request_body(self.settings, messages, self.changes)

    def key(self, body: dict[str, Any]) -> bytes:
        return answer_key(self.settings, body)

    def heed(self, failure: Failure, body: Mapping[str, Any]) -> Change | None:
        """The new change that a refusal of this body asks for, or None. Later bodies have it."""
        change = change_for(failure, body)
        if change is None or change in self.changes:
            return None
        self.changes = [*self.changes, change]
        if self.path is not None:
            _remember(self.path, self._name, self.changes)
        return change


def _essence(field: str, value: Any) -> Any:
    """The part of a field's value that a refusal is about: of a response format, its kind."""
    return {"type": value.get("type")} if field == RESPONSE_FORMAT and isinstance(value, dict) else value


def _as_json(value: Any) -> str:
    return json.dumps(value, sort_keys=True)


def _remembered(path: Path | None) -> dict[str, list[Change]]:
    """The changes by endpoint and model. A missing or damaged file costs one refusal and nothing else."""
    try:
        data = json.loads(path.read_bytes()) if path else {}
        return {
            str(name): [Change(*change) for change in changes if all(isinstance(part, str) for part in change)]
            for name, changes in data.items()
        }
    except (OSError, ValueError, TypeError, AttributeError, RecursionError):
        return {}


def _remember(path: Path, name: str, changes: list[Change]) -> None:
    """Write the changes beside those of others, readable by the owner only. Where that fails, the next run is refused once more."""
    text = json.dumps(_remembered(path) | {name: changes}, indent=1, sort_keys=True)
    with contextlib.suppress(OSError):
        handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                file.write(text)
            os.replace(temporary, path)
        except BaseException:
            os.unlink(temporary)
            raise
