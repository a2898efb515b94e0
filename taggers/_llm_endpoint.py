"""An OpenAI-compatible endpoint: how to reach it, with which key, and the openai package's client for it.

The key is read from the environment where the client is built; `Settings` never holds it.
"""

from __future__ import annotations

import os
import ssl
from dataclasses import dataclass
from typing import Any, NamedTuple
from urllib.parse import urlsplit, urlunsplit

from tagcorpus.errors import ConfigError, TaggerError
from tagcorpus.taggers._llm_reply import Failure

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
    patience_seconds: float = 600.0
    rpm: int = 0
    tpm: int = 0
    cache: str = ""
    """Path of the cache file; empty = none."""


PROXIES = ("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY", "https_proxy", "http_proxy", "all_proxy")
CERTIFICATES = ("SSL_CERT_FILE", "SSL_CERT_DIR")


class Client(NamedTuple):
    """The SDK's client, and the class of its raw replies."""

    sdk: Any
    reply: Any


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
    """The SDK's client without its own retries and time-outs. TaggerError, naming the variable, where the environment has a proxy
    or a certificate that cannot be used. Through aiohttp a call costs about 0.4 ms less CPU time than
    through httpx, which walks over all connections at every request.

    The client follows no redirect: the body of a call is a document, and only the named endpoint may see documents."""
    try:
        return _client(settings, key)
    except (ValueError, OSError, TypeError, ssl.SSLError) as error:
        named = _variables((*CERTIFICATES, *PROXIES) if isinstance(error, OSError) else PROXIES)
        raise TaggerError(
            f"the client for {public_url(settings.base_url)} cannot be made: {type(error).__name__}; "
            f"look at the environment ({named or 'no proxy and no certificate file is named there'})"
        ) from None
    except Exception as error:
        if not (named := _variables(PROXIES)):
            raise
        raise TaggerError(
            f"the client for {public_url(settings.base_url)} cannot be made: {type(error).__name__}; look at {named}"
        ) from None


def _variables(names: tuple[str, ...]) -> str:
    """Which of these variables are set. Never their values: a proxy's address may hold a password."""
    return ", ".join(name for name in names if os.environ.get(name))


def lost_connection(error: BaseException) -> Failure:
    """What an exception of the client in place of a reply means."""
    chain: list[BaseException] = []
    link: BaseException | None = error
    while link is not None and link not in chain:
        chain.append(link)
        link = link.__cause__ or link.__context__
    names = {type(each).__name__ for each in chain}
    cause = chain[1] if len(chain) > 1 else error
    said = f"a broken connection ({str(cause) or type(cause).__name__})"
    if names & {"ClientProxyConnectionError", "ProxyError", "ClientHttpProxyError"}:
        return Failure("client", f"the proxy cannot be used ({_variables(PROXIES) or 'of this system'})")
    tls = next((each for each in chain if isinstance(each, ssl.SSLError)), None)
    if tls is not None:
        if "WRONG_VERSION_NUMBER" in str(tls) or "record layer" in str(tls).lower():
            return Failure(
                "client",
                f"TLS: the server does not speak https at this port (try http://): {getattr(tls, 'reason', None) or tls}",
            )
        if isinstance(tls, ssl.SSLCertVerificationError):
            hint = _variables(CERTIFICATES) or "SSL_CERT_FILE can name a file of certificates"
            return Failure(
                "client", f"TLS: the certificate cannot be verified: {getattr(tls, 'verify_message', tls)} ({hint})"
            )
        return Failure("fault", said)
    if any(isinstance(each, ConnectionRefusedError) for each in chain):
        return Failure("pace", said)
    return Failure("fault", said)


def _client(settings: Settings, key: str) -> Client:
    import openai

    try:
        import httpx2 as httpx
    except ImportError:  # openai before 3
        import httpx  # type: ignore[no-redef,import-not-found,unused-ignore]

    n = settings.concurrency + 1
    limits = httpx.Limits(max_connections=n, max_keepalive_connections=n)
    transport: dict[str, Any] = {"timeout": None, "limits": limits, "follow_redirects": False}
    try:
        http = openai.DefaultAioHttpClient(**transport)
    except (ImportError, RuntimeError):  # installed without openai[aiohttp]
        http = openai.DefaultAsyncHttpxClient(**transport)
    client = openai.AsyncOpenAI(
        api_key=key or "none-needed",
        base_url=settings.base_url,
        max_retries=0,
        timeout=None,
        http_client=http,
    )
    return Client(client, httpx.Response)
