"""An OpenAI-compatible endpoint: how to reach it, with which key, and the openai package's client for it.

The key is read from the environment where the client is built; `Settings` never holds it.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any, NamedTuple
from urllib.parse import urlsplit, urlunsplit

from tagcorpus.errors import ConfigError

OFFICIAL = "https://api.openai.com/v1"


@dataclass(frozen=True)
class Settings:
    """Everything that tells one caller from another. Never holds the key."""

    base_url: str
    model: str
    temperature: float = 0.0
    max_answer_tokens: int = 10
    concurrency: int = 64
    timeout_seconds: float = 60.0
    max_attempts: int = 6
    backoff_seconds: float = 0.5
    max_requests: int = 10_000
    cache: str = ""
    """Path of the cache file; empty = none."""


class Client(NamedTuple):
    """The SDK's client, the class of its raw replies, and what it raises when there was no reply at all."""

    sdk: Any
    reply: Any
    no_reply: tuple[type[Exception], ...]


def public_url(url: str) -> str:
    """A base URL without what could be a secret: user and password, query, fragment."""
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path.rstrip("/"), "", ""))


def checked_url(url: str) -> str:
    """`url` without a slash at its end; ConfigError unless it is a plain http(s) address. Credentials in it would end up in
    files, and the client sends none beside the key."""
    try:
        parts = urlsplit(url)
        is_plain = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
        is_plain = is_plain and public_url(url) == url.rstrip("/")
    except ValueError:
        is_plain, parts = False, urlsplit("")
    if not is_plain:
        shown = public_url(url) if parts.hostname else "..." if "@" in url or "?" in url else url
        raise ConfigError(
            "the endpoint (--base-url, OPENAI_BASE_URL) must be a plain address such as http://localhost:8000/v1, without "
            f"user, password or query (a key belongs into OPENAI_API_KEY); got {shown!r}{'' if shown == url else ' and more'}"
        )
    return url.rstrip("/")


def is_official(url: str) -> bool:
    return urlsplit(url).hostname == "api.openai.com"


def key_for(base_url: str) -> str:
    """The key; empty where none is set and none is needed."""
    key = os.environ.get("OPENAI_API_KEY", "").strip()
    if not key:
        if is_official(base_url):
            raise ConfigError(
                "OPENAI_API_KEY is not set, and api.openai.com needs one: export OPENAI_API_KEY=..., name another endpoint with "
                "--base-url, or use --backend fasttext"
            )
        return ""
    if not key.isascii() or not key.isprintable() or " " in key:
        raise ConfigError(
            "OPENAI_API_KEY holds characters that cannot stand in an HTTP header: set it anew (its value is not shown)"
        )
    return key


def build_client(settings: Settings, key: str) -> Client:
    """The SDK's client without its own retries and time-outs. Through aiohttp a call costs about 0.4 ms less CPU time than
    through httpx, which walks over all connections at every request.

    The client follows no redirect: the body of a call is a document, and only the named endpoint may see documents."""
    import openai

    try:
        import httpx2 as httpx
    except ImportError:  # openai before 3
        import httpx  # type: ignore[no-redef,import-not-found,unused-ignore]

    n = settings.concurrency + 1
    limits = httpx.Limits(max_connections=n, max_keepalive_connections=n)
    transport: dict[str, Any] = {"timeout": None, "limits": limits, "follow_redirects": False}
    no_reply: tuple[type[Exception], ...] = (openai.OpenAIError, httpx.HTTPError, OSError)
    try:
        import aiohttp

        http = openai.DefaultAioHttpClient(**transport)
        no_reply = (*no_reply, aiohttp.ClientError)
    except (ImportError, RuntimeError):  # installed without openai[aiohttp]
        http = openai.DefaultAsyncHttpxClient(**transport)
    client = openai.AsyncOpenAI(
        api_key=key or "none-needed",
        base_url=settings.base_url,
        max_retries=0,
        timeout=None,
        http_client=http,
    )
    return Client(client, httpx.Response, no_reply)
