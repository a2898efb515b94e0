"""Filesystems behind URLs: time-outs and retries, and what a store's errors mean to the user.

Storage options count for the whole process, as environment variables do; a worker gets them with the first folder or
input file that reaches it. Their values are never shown: messages, ledgers and logs name the options only.

Nothing is retried here: s3fs, botocore and gcsfs do that, with the settings of `_defaults`. What they give up on is an
IncompleteError (the same command continues from there), unless the store said that trying again would not help.
"""

from __future__ import annotations

import errno
import functools
import importlib
import inspect
import io
import os
import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from tagcorpus.errors import ConfigError, IncompleteError, InputError, OutputError, TagcorpusError, unknown_name
from tagcorpus.pipelines.storage import hub
from tagcorpus.pipelines.storage.local_files import PROTOCOLS, LocalFiles, local_path
from tagcorpus.pipelines.storage.storage_options import merged, names, parsed

CONNECT_SECONDS = 10
READ_SECONDS = 20
# botocore's retries of a request, with pauses of half a second on average, then twice that and so on: about 15 s of
# patience. s3fs does that ROUNDS times where the store throttles requests, or the connection fails; a store
# that takes requests and never answers costs 6 minutes.
RETRIES = 5
ROUNDS = 3

GOOGLE = ("gs", "gcs")
EXTRAS = {"s3": "s3", "s3a": "s3", "gs": "gcs", "gcs": "gcs"}
# Beside what is in a filesystem's own signature.
OF_EVERY_FILESYSTEM = ("skip_instance_cache", "use_listings_cache", "listings_expiry_time", "max_paths")
OF_HTTP = ("headers", "auth", "cookies", "proxy", "ssl")
INNER = ("self", "args", "loop", "asynchronous", "session", "get_client", "event_hooks", "include_builtin_handlers")
LOGIN = re.compile(r"Credential|ProfileNotFound|SSOToken|TokenRetrieval|RefreshError|ConfigParseError|ConfigNotFound")
LIBRARIES = (
    "botocore",
    "aiobotocore",
    "aiohttp",
    "s3fs",
    "gcsfs",
    "google",
    "requests",
    "urllib3",
    "huggingface_hub",
    "httpx",
    "httpx2",
    "httpcore",
    "httpcore2",
    "fsspec",
    "asyncio",
)

T = TypeVar("T")
U = TypeVar("U")
_in_use: dict[str, Any] = {}


def use(options: Mapping[str, Any]) -> None:
    """From now on, every filesystem of this process is opened with these options."""
    global _in_use  # noqa: PLW0603 - of the process, as the environment is
    _in_use = dict(options)


def in_use() -> dict[str, Any]:
    """What `use` was given last."""
    return _in_use


def use_given(entries: Sequence[str], urls: Sequence[str]) -> None:
    """`use` for `K=V` entries of a command line that looks at these URLs. Raises ConfigError for what is none, or none knows."""
    options = parsed(entries)
    check(options, urls)
    use(options)


def check(options: Mapping[str, Any], urls: Sequence[str]) -> None:
    """Raise ConfigError for an option that the filesystem of none of these URLs knows."""
    if not options:
        return
    protocols = sorted({url.partition("://")[0].rpartition("::")[2] for url in urls if "://" in url})
    if not protocols:
        raise ConfigError(
            f"--storage-options {', '.join(names(options))}: neither input nor output is a URL (s3://..., gs://...)"
        )
    known = {name for protocol in protocols for name in _accepted(_filesystem_class(protocol, f"{protocol}://"))}
    for name in options:
        if name not in known:
            raise ConfigError(
                unknown_name(f"storage option of {', '.join(protocols)}", name, known, "--storage-options")
            )


def filesystem(url: str) -> tuple[Any, str]:
    """The filesystem of a URL, and the path there. Raises ConfigError for options that it does not take or a login that
    is not there, and InputError for a protocol that nothing knows or whose package is missing."""
    chain, _, protocol = url.partition("://")[0].rpartition("::")
    if not chain and protocol in PROTOCOLS:
        return LocalFiles(), local_path(url)
    cls = _filesystem_class(protocol, url)
    accepted = _accepted(cls)
    options = {name: value for name, value in _in_use.items() if name in accepted}
    given = merged(_defaults(protocol), options)
    try:
        if chain:
            from fsspec import url_to_fs

            return url_to_fs(url, **{protocol: given})  # type: ignore[no-any-return]
        fs, path = cls(**cls._get_kwargs_from_urls(url) | given), cls._strip_protocol(url)
        if hub.is_on_hub(url):
            hub.limit_waiting(CONNECT_SECONDS, READ_SECONDS)
        if protocol in ("s3", "s3a"):
            fs.retries = ROUNDS
            fs.connect()  # sends no request, but raises where the login cannot work
    except (TypeError, ValueError, KeyError) as error:
        given_names = ", ".join(names(options)) or "none given"
        raise ConfigError(f"{url}: the storage options ({given_names}) do not fit together: {_said(error)}") from error
    except Exception as error:
        raise explain(error, url, "opened", InputError) from error
    return fs, path


@functools.cache
def _filesystem_class(protocol: str, url: str) -> Any:
    try:
        if protocol in GOOGLE and os.environ.get("GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "").lower() not in ("true", "1"):
            # Not gcsfs's newer class: that asks over gRPC, before every request, whether a bucket is of a special kind, and
            # where that is blocked, or the endpoint is another, each time costs a minute.
            return importlib.import_module("gcsfs.core").GCSFileSystem
        from fsspec import get_filesystem_class

        return get_filesystem_class(protocol)
    except (ImportError, ValueError) as error:
        from tagcorpus.requirements import how_to_install  # importlib.metadata costs every start 15 milliseconds

        extra = EXTRAS.get(protocol)
        reason = how_to_install(extra) if extra else _said(error)
        raise InputError(f"{url!r} cannot be opened: {reason}") from error


@functools.cache
def _accepted(cls: Any) -> frozenset[str]:
    """Names of the options that a filesystem takes: most take any, and complain much later or never."""
    accepted = set(OF_EVERY_FILESYSTEM)
    classes = [c for c in cls.__mro__ if "__init__" in vars(c) and c is not object]
    protocols = (cls.protocol,) if isinstance(cls.protocol, str) else cls.protocol
    if "s3" in protocols:
        classes.append(importlib.import_module("aiobotocore.session").AioSession)
    if "http" in protocols:
        accepted |= set(OF_HTTP)
    for c in classes:
        parameters = inspect.signature(c.__init__).parameters.values()
        accepted |= {p.name for p in parameters if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)}
    return frozenset(accepted - set(INNER))


def _defaults(protocol: str) -> dict[str, Any]:
    """Time-outs and retries of a filesystem."""
    if protocol in ("s3", "s3a"):
        retries = {"mode": "standard", "max_attempts": RETRIES}
        return {"config_kwargs": {"connect_timeout": CONNECT_SECONDS, "read_timeout": READ_SECONDS, "retries": retries}}
    if protocol in (*GOOGLE, "http", "https"):
        from aiohttp import ClientTimeout

        timeout = ClientTimeout(total=None, sock_connect=CONNECT_SECONDS, sock_read=READ_SECONDS)
        # gcsfs asks up to six times, with pauses of 1, 2, 4, 8 and 16 s; it sets no limit of its own to an answer.
        return {"requests_timeout": timeout} if protocol in GOOGLE else {"client_kwargs": {"timeout": timeout}}
    return {}


def explain(error: BaseException, url: str, done: str, kind: type[InputError] | type[OutputError]) -> TagcorpusError:
    """The error of a store as one for the user: `url` could not be `done`."""
    if isinstance(error, TagcorpusError):
        return error
    chain = list(_chain(error))
    said = _said(error)
    start = f"{url} could not be {done}"
    if any(LOGIN.search(type(e).__name__) for e in chain):
        return ConfigError(f"{start}: no valid login: {said}. {_login(url)}")
    status = next((s for e in chain if (s := _status(e))), 0)
    if hub.is_on_hub(url) and (of_hub := hub.explain(chain, status, url, done, kind)) is not None:
        return of_hub
    if status in (401, 403) or isinstance(error, PermissionError) or said.startswith("Forbidden"):
        return kind(f"{start}: access denied ({said}). {_login(url)}")
    if status == 404 or isinstance(error, FileNotFoundError):
        reason = "there is no such bucket" if "NoSuchBucket" in _code(chain) or "bucket" in said else "it is not there"
        return kind(
            f"{start}: {reason} ({said}). See to its name, and to the endpoint (AWS_ENDPOINT_URL, --storage-options endpoint_url=URL)"
        )
    if status in (500, 501) and kind is OutputError:
        return OutputError(
            f"{start}: the store failed (HTTP {status}, {said}) at every attempt. All published files are whole"
        )
    if _may_pass(chain, status):
        why = "it was replaced during the run" if "FileExpired" in type(error).__name__ else said
        return IncompleteError(
            f"{start}: {why} ({type(error).__name__}), after all retries. Published chunks are kept; the same command continues "
            "from there"
        )
    return kind(f"{start}: {said}")


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    link: BaseException | None = error
    while link is not None and id(link) not in seen:
        seen.add(id(link))
        yield link
        link = link.__cause__


def _status(error: BaseException) -> int:
    """The HTTP status that a library's exception carries; 0 for none."""
    response = getattr(error, "response", None)
    if type(error).__module__.endswith("http_exceptions"):
        return 0  # a reply that broke off, which aiohttp calls a 400
    if isinstance(response, dict):
        status = response.get("ResponseMetadata", {}).get("HTTPStatusCode")
    else:
        status = (
            getattr(error, "status", None) or getattr(error, "code", None) or getattr(response, "status_code", None)
        )
    return status if isinstance(status, int) else 0


def _code(chain: Sequence[BaseException]) -> str:
    responses = (getattr(e, "response", None) for e in chain)
    return " ".join(str(r.get("Error", {}).get("Code")) for r in responses if isinstance(r, dict))


def _may_pass(chain: Sequence[BaseException], status: int) -> bool:
    if status:
        return status in (408, 409, 412, 429) or status >= 500
    error = chain[0]
    if isinstance(error, TimeoutError | ConnectionError):
        return True
    busy = (errno.EBUSY, getattr(errno, "EREMOTEIO", errno.EIO))
    return getattr(error, "errno", None) in busy or _is_of_library(error)


def _is_of_library(error: BaseException) -> bool:
    return any(c.__module__.partition(".")[0] in LIBRARIES for c in type(error).__mro__)


def _said(error: BaseException) -> str:
    text = getattr(error, "strerror", None) or str(error)
    return " ".join(text.split())[:300] or type(error).__name__


def _login(url: str) -> str:
    if url.startswith(("gs://", "gcs://")):
        return (
            "Log in (gcloud auth application-default login, GOOGLE_APPLICATION_CREDENTIALS), or, for a public bucket, "
            "--storage-options token=anon"
        )
    return (
        "Check the credentials (AWS_PROFILE, AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, --storage-options profile=NAME) "
        "and their permissions; for a public bucket, --storage-options anon=true"
    )


def call_store(call: Callable[[], T], url: str, done: str, kind: type[InputError] | type[OutputError]) -> T:
    """What the call returns. A store's error is raised as `explain` has it."""
    try:
        return call()
    except Exception as error:
        cause: BaseException = error
        # s3fs looks into the arguments of an error of the store, and some have none.
        if isinstance(error, IndexError) and error.__context__ is not None:
            cause = error.__context__
        if isinstance(cause, OSError) or _is_of_library(cause):
            raise explain(cause, url, done, kind) from cause
        raise


REQUESTS_AT_ONCE = 32


def ahead(look: Callable[[T], U], items: Iterable[T], *, is_local: bool) -> Iterator[U]:
    """`look` at each of these, in order: in a store, at the next ones meanwhile."""
    if is_local:
        yield from map(look, items)
        return
    from concurrent.futures import Future, ThreadPoolExecutor

    with ThreadPoolExecutor(REQUESTS_AT_ONCE) as pool:
        begun: deque[Future[U]] = deque()
        try:
            for item in items:
                begun.append(pool.submit(look, item))
                if len(begun) == REQUESTS_AT_ONCE:
                    yield begun.popleft().result()
            while begun:
                yield begun.popleft().result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


class RemoteFile(io.BufferedIOBase):
    """A file in a store, open for reading. What fails there is never taken for damage to the file."""

    def __init__(self, file: Any, url: str, kind: type[InputError] | type[OutputError]) -> None:
        self._file, self._url, self._kind = file, url, kind
        self._end: int | None = None

    def read(self, size: int | None = -1, /) -> bytes:
        if self._end is not None and (size is None or size < 0 or self.tell() + size > self._end):
            self.read_up_to(self._file.size)
        return call_store(lambda: bytes(self._file.read(-1 if size is None else size)), self._url, "read", self._kind)

    def seek(self, offset: int, whence: int = 0, /) -> int:
        return int(self._file.seek(offset, whence))

    def read_up_to(self, end: int) -> None:
        """Read ahead nothing from `end` on. Bytes behind it can be read all the same."""
        if hasattr(getattr(self._file, "cache", None), "size"):
            self._end = self._file.cache.size = min(self._file.size, end)

    def tell(self) -> int:
        return int(self._file.tell())

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def close(self) -> None:
        self._file.close()
        super().close()
