"""An OpenAI-compatible endpoint: how to reach it, with which key, and the openai package's client for it.

The key, and the values of a tree's headers, are read from the environment where the client is built; `Settings` never holds them.
"""

from __future__ import annotations

import math
import os
import socket
import ssl
from dataclasses import dataclass
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, urlsplit

from tagcorpus.errors import ConfigError, TaggerError
from tagcorpus.taggers._llm.reply import Failure
from tagcorpus.taggers._llm.tokens import Price
from tagcorpus.taggers._llm.url import is_official, public_url


@dataclass(frozen=True)
class Settings:
    """The settings that tell one caller from another. They never hold a secret.

    roles    `merged`: the instructions are sent in the user message
    request  fields of the request beside the usual ones, each with its value as JSON; `null` leaves the field out
    headers  by a header's name, the environment variable that has its value
    """

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
    absent_seconds: float = math.inf
    """The same before the first reply of any kind, where that is less: a closed port is more often a wrong one than a slow server."""
    rpm: int = 0
    tpm: int = 0
    cache: str = ""
    """Path of the cache file; empty = none."""
    roles: str = "system"
    request: tuple[tuple[str, str], ...] = ()
    headers: tuple[tuple[str, str], ...] = ()
    price: Price | None = None
    budget_usd: float | None = None
    """Money that may be spent; None without a limit."""


PROXIES = ("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY", "https_proxy", "http_proxy", "all_proxy")
CERTIFICATES = ("SSL_CERT_FILE", "SSL_CERT_DIR")


class Client(NamedTuple):
    """The SDK's client, and the class of its raw replies."""

    sdk: Any
    reply: Any


AUTHENTICATING = ("authorization", "api-key", "x-api-key", "x-goog-api-key", "ocp-apim-subscription-key")
"""Headers in place of the key: with one of these in the tree, OPENAI_API_KEY is neither needed nor sent."""


def key_for(base_url: str, headers: tuple[tuple[str, str], ...] = ()) -> str:
    """The key; empty where none is set and none is needed, or a header is sent in its place."""
    if any(name.lower() in AUTHENTICATING for name, _ in headers):
        return ""
    key = os.environ.get("OPENAI_API_KEY", "").strip()
    if not key:
        if is_official(base_url):
            raise ConfigError(
                "OPENAI_API_KEY is not set, and api.openai.com needs one: export OPENAI_API_KEY=..., name another endpoint with "
                "--base-url, or use --backend fasttext"
            )
        return ""
    if " " in key:
        raise _unsendable("OPENAI_API_KEY")
    return _sendable("OPENAI_API_KEY", key)


def header_values(headers: tuple[tuple[str, str], ...]) -> dict[str, str]:
    """By a header's name, its value out of the environment. ConfigError names a variable that is not set."""
    values = {}
    for name, variable in headers:
        value = os.environ.get(variable, "").strip()
        if not value:
            raise ConfigError(
                f"{variable} is not set, and the stage tree sends it in the header {name!r}: export {variable}=..., or remove the "
                "header from the tree (--tree)"
            )
        values[name] = _sendable(variable, value)
    return values


def _sendable(variable: str, value: str) -> str:
    if not value.isascii() or not value.isprintable():
        raise _unsendable(variable)
    return value


def _unsendable(variable: str) -> ConfigError:
    return ConfigError(
        f"{variable} has characters that an HTTP header cannot have: set it again (its value is not shown)"
    )


def build_client(settings: Settings, key: str) -> Client:
    """The SDK's client without its own retries and time-outs. TaggerError names the variable of a proxy or certificate that
    cannot be used.

    A call through aiohttp costs about 0.4 ms less CPU time than one through httpx, which walks over all connections at every
    request. The client follows no redirect: the body of a call is a document, and only the named endpoint may see documents.
    """
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
    """The names of those variables that are set, never their values: a proxy's address may have a password."""
    return ", ".join(name for name in names if os.environ.get(name))


def lost_connection(error: BaseException) -> Failure:
    """The failure behind an exception that the client raised in place of a reply."""
    chain: list[BaseException] = []
    link: BaseException | None = error
    while link is not None and link not in chain:
        chain.append(link)
        link = link.__cause__ or link.__context__
    names = {type(each).__name__ for each in chain}
    cause = chain[1] if len(chain) > 1 else error
    reason = f"a broken connection ({str(cause) or type(cause).__name__})"
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
        return Failure("fault", reason)
    if any(isinstance(each, ConnectionRefusedError) for each in chain):
        return Failure("pace", reason)
    return Failure("fault", reason)


def _client(settings: Settings, key: str) -> Client:
    import openai

    try:
        import httpx2 as httpx
    except ImportError:  # openai before 3
        import httpx  # type: ignore[no-redef,import-not-found,unused-ignore]

    n = settings.concurrency + 1
    limits = httpx.Limits(max_connections=n, max_keepalive_connections=n)
    transport: dict[str, Any] = {"timeout": None, "limits": limits, "follow_redirects": False}
    if headers := header_values(settings.headers):
        replaces_key = any(name.lower() in AUTHENTICATING for name in headers)

        async def sign(request: Any) -> None:
            if replaces_key:
                request.headers.pop("authorization", None)
            request.headers.update(headers)

        # Headers are added here, since the SDK's debugging log shows the headers that it gets.
        transport["event_hooks"] = {"request": [sign]}
    try:
        http = openai.DefaultAioHttpClient(**transport)
    except (ImportError, RuntimeError):  # installed without openai[aiohttp]
        http = openai.DefaultAsyncHttpxClient(**transport)
    url, _, query = settings.base_url.partition("?")
    client = openai.AsyncOpenAI(
        api_key=key or "none-needed",
        base_url=_listening(url),
        max_retries=0,
        timeout=None,
        http_client=http,
        default_query=dict(parse_qsl(query)),
    )
    return Client(client, httpx.Response)


def _listening(url: str) -> str:
    """`url`, with the address in place of `localhost` where a server listens at ::1 only: many systems name 127.0.0.1 alone."""
    parts = urlsplit(url)
    if parts.hostname != "localhost" or parts.scheme != "http":
        return url
    port = parts.port or 80
    if not _accepts("localhost", port) and _accepts("::1", port):
        return parts._replace(netloc=f"[::1]:{port}").geturl()
    return url


def _accepts(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port), timeout=1.0).close()
    except OSError:
        return False
    return True
