"""Hugging Face Hub as a place of input: addresses of repositories, files whose every answer is checked, and what errors mean.

An address is `hf://datasets/ORG/NAME[@REVISION]/PATH`. A revision is a branch, a tag or a commit; without one, the branch `main` is
meant. Models (`hf://ORG/NAME/PATH`) and Spaces have the same form.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast
from urllib.parse import quote, unquote

from tagcorpus.errors import ConfigError, IncompleteError, InputError, TagcorpusError

SCHEME = "hf://"
MAIN = "main"
COMMIT = re.compile(r"[0-9a-f]{40}")
_KINDS = {"datasets": "dataset", "spaces": "space"}
_ADDRESS = re.compile(
    r"hf://(?:(?P<kind>datasets|spaces)/)?(?P<id>[^/@]+/[^/@]+)"
    r"(?:@(?P<revision>refs/(?:convert|pr)/[^/]+|[^/]+))?(?P<path>/.*)?",
    re.DOTALL,
)


@dataclass(frozen=True)
class Address:
    """`kind`: dataset, space or model. `path` begins with a slash, or is empty for the whole repository."""

    kind: str
    repository: str
    revision: str
    path: str

    @property
    def root(self) -> str:
        """URL of the repository, without a revision."""
        prefix = next((f"{folder}/" for folder, kind in _KINDS.items() if kind == self.kind), "")
        return f"{SCHEME}{prefix}{self.repository}"

    @property
    def is_pinned(self) -> bool:
        """Whether the revision is a full commit hash, so that the files can never change."""
        return COMMIT.fullmatch(self.revision) is not None

    def at(self, revision: str) -> str:
        """URL of the same path at another revision."""
        return f"{self.root}@{quote(revision, safe='')}{self.path}"


def is_on_hub(url: str) -> bool:
    return url.startswith(SCHEME)


def address_of(url: str) -> Address:
    """Raises InputError for an hf:// URL of another form."""
    match = _ADDRESS.fullmatch(url)
    if match is None or match["id"].startswith(("datasets/", "spaces/", "buckets/")):
        raise InputError(f"{url!r} is not an address of a dataset. Write hf://datasets/ORG/NAME[@REVISION]/PATH")
    revision = unquote(match["revision"] or MAIN)
    return Address(_KINDS.get(match["kind"] or "", "model"), match["id"], revision, match["path"] or "")


def is_pinned(url: str) -> bool:
    return is_on_hub(url) and address_of(url).is_pinned


def limit_waiting(connect_seconds: float, read_seconds: float) -> None:
    """Give a time limit to requests of this process that have none: huggingface_hub sets none for listings."""
    from huggingface_hub import get_session

    client = get_session()  # another one after a connection that failed
    if not any(isinstance(hook, _Limit) for hook in client.event_hooks["request"]):
        limit = _Limit({"connect": connect_seconds, "read": read_seconds, "write": read_seconds, "pool": read_seconds})
        client.event_hooks = {**client.event_hooks, "request": [*client.event_hooks["request"], limit]}


@dataclass(frozen=True)
class _Limit:
    seconds: dict[str, float]

    def __call__(self, request: Any) -> None:
        given = request.extensions.get("timeout") or {}
        request.extensions["timeout"] = {k: s if given.get(k) is None else given[k] for k, s in self.seconds.items()}


def opened(fs: Any, path: str, block_size: int | None = None, cache_type: str = "readahead") -> Any:
    """A file of the Hub, open for reading. `fs` is an HfFileSystem."""
    return _proven_file()(fs, path, mode="rb", block_size=block_size or fs.block_size, cache_type=cache_type)


@functools.cache
def _proven_file() -> Any:
    from fsspec.spec import AbstractBufferedFile
    from huggingface_hub.hf_file_system import HfFileSystemFile

    class ProvenFile(HfFileSystemFile):
        """A file whose answers have the length that was requested. A proxy that cuts an answer, or ignores the range of a request,
        would otherwise give other text."""

        def _fetch_range(self, start: int, end: int) -> bytes:
            data = super()._fetch_range(start, end)
            if len(data) != end - start:
                raise IncompleteError(
                    f"{SCHEME}{self.path} could not be read: the answer to a request for {end - start:,} bytes has {len(data):,}. "
                    "Published chunks are kept; the same command continues from there"
                )
            return data

        def read(self, length: int = -1) -> bytes:
            # The class above streams a whole file without looking at its length.
            return cast(bytes, AbstractBufferedFile.read(self, length))

    return ProvenFile


def explain(
    chain: Sequence[BaseException], status: int, url: str, done: str, kind: type[TagcorpusError]
) -> TagcorpusError | None:
    """An error of the Hub as one for the user; None for an error that is not about this repository.

    chain   the error and its causes
    status  HTTP status of the answer, 0 for none
    """
    names = {c.__name__ for error in chain for c in type(error).__mro__}
    start = f"{url} could not be {done}"
    if "OfflineModeIsEnabled" in names:
        return ConfigError(
            f"{start}: HF_HUB_OFFLINE=1 forbids requests to the Hub. Unset it, or download the files and name their folder"
        )
    address = address_of(url)
    token = "set HF_TOKEN to a token with read access"
    if "GatedRepoError" in names:
        return kind(f"{start}: the {address.kind} is gated. Accept its terms on its page, and {token}")
    if status == 401 or (status == 403 and "RepositoryNotFoundError" in names):
        return kind(
            f"{start}: the {address.kind} is private or does not exist (HTTP {status}). Check its name, and {token}"
        )
    if status == 403:
        return kind(f"{start}: access denied (HTTP 403). Accept the terms of the {address.kind}, and {token}")
    if "RepositoryNotFoundError" in names:
        return kind(
            f"{start}: there is no {address.kind} {address.repository!r}. Check its name, or {token} if it is private"
        )
    if "RevisionNotFoundError" in names:
        return kind(f"{start}: the {address.kind} has no branch, tag or commit {address.revision!r}")
    if status == 404 or isinstance(chain[0], FileNotFoundError):
        return kind(f"{start}: there is no such file or folder in the {address.kind}")
    return None
