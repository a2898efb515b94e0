"""The address of an endpoint: the forms that users write, and the base URL that they mean. No I/O."""

from __future__ import annotations

import re
from urllib.parse import SplitResult, parse_qsl, urlsplit, urlunsplit

from tagcorpus.errors import ConfigError

OFFICIAL = "https://api.openai.com/v1"
API_VERSION = "api-version"
"""The one parameter of a query that is kept. Azure needs it, and it is no secret."""
_OPERATIONS = re.compile(r"(?:/+(?:chat/completions|completions|responses|embeddings|models))?/*$")
"""Ends of addresses that name one operation of the API: the client adds its own."""
_AZURE = (".openai.azure.com", ".cognitiveservices.azure.com", ".services.ai.azure.com")
_HERE = re.compile(r"localhost|\[|127\.|10\.|192\.168\.|[^./]+(?::|/|$)")
"""Hosts that are likely to speak http and not https."""
_VERSION = re.compile(r"/(?:v\d\w*|openai)(?:/|$)")


def public_url(url: str) -> str:
    """A base URL without possible secrets: user and password, query (except Azure's api-version), fragment."""
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path.rstrip("/"), _kept(parts), ""))


def is_official(url: str) -> bool:
    return urlsplit(url).hostname == "api.openai.com"


def checked_url(url: str) -> str:
    """The base URL that is meant: without spaces around it, a slash or an operation at its end; ConfigError unless it is a plain http(s)
    address. Credentials in it would end up in files, and the client sends none beside the key.

    Example  ' http://host:8000/v1/chat/completions' -> http://host:8000/v1
    """
    given = url.strip()
    if "://" not in given and re.fullmatch(r"[^\s/?#@]+[^\s?#@]*", given):
        scheme, rest = re.fullmatch(r"(?:(https?):/*)?(.*)", given, re.IGNORECASE).groups()  # type: ignore[union-attr]
        scheme = scheme or ("http" if _HERE.match(rest) else "https")
        raise _wrong(given, f"it has no scheme: write '{scheme.lower()}://{_OPERATIONS.sub('', rest)}'")
    try:
        parts = urlsplit(given)
        is_plain = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        raise _wrong("..." if "@" in given or "?" in given else given) from None
    query = parse_qsl(parts.query, keep_blank_values=True)
    is_plain = is_plain and "@" not in parts.netloc and not parts.fragment and not re.search(r"\s", given)
    if not is_plain or [name for name, _ in query if name != API_VERSION] or (parts.query and not _kept(parts)):
        shown = public_url(given) if parts.hostname else "..." if "@" in given or "?" in given else given
        without_spaces = "".join(shown.split())
        hint = f"write {without_spaces!r}" if without_spaces != shown else ""
        raise _wrong(f"{shown}{'' if shown == given else ' and more'}", hint)
    host = parts.hostname or ""
    path = (
        parts.path.rstrip("/")
        if host.endswith(_AZURE) and parts.path.rstrip("/") == "/models"
        else _OPERATIONS.sub("", parts.path)
    )
    if is_official(given) and not path:
        path = "/v1"
    is_azure = host.endswith(_AZURE) and not re.search(r"/v1(?:/|$)|/models$", path)
    if is_azure and ("/deployments/" not in path or not _kept(parts)):
        root = f"{parts.scheme}://{parts.netloc}/openai"
        deployment = path.partition("/deployments/")[2].partition("/")[0] or "DEPLOYMENT"
        forms = f"'{root}/v1' or '{root}/deployments/{deployment}?{API_VERSION}=2024-10-21'"
        raise _wrong(public_url(given), f"of Azure, write {forms}")
    return urlunsplit((parts.scheme, parts.netloc, path, _kept(parts), ""))


def likely_url(url: str) -> str:
    """Another address to try for an endpoint that does not answer at this one; empty without a suggestion."""
    parts = urlsplit(url)
    return (
        ""
        if _VERSION.search(parts.path)
        else urlunsplit((parts.scheme, parts.netloc, f"{parts.path}/v1", parts.query, ""))
    )


def _kept(parts: SplitResult) -> str:
    versions = [value for name, value in parse_qsl(parts.query) if name == API_VERSION]
    return f"{API_VERSION}={versions[0]}" if versions and re.fullmatch(r"[\w.-]{1,40}", versions[0]) else ""


def _wrong(shown: str, right_form: str = "") -> ConfigError:
    return ConfigError(
        "the endpoint (--base-url, OPENAI_BASE_URL) must be a plain address such as http://localhost:8000/v1, without "
        f"user, password or query (set a key in OPENAI_API_KEY); got {shown!r}{'; ' * bool(right_form)}{right_form}"
    )
