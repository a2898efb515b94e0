"""As much of the Hugging Face Hub as its filesystem asks for, in memory, on loopback: commits, trees, and files by ranges.

Names of fields, paths and error codes are those of the Hub's API. One page is enough for every listing here.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

_INFO = re.compile(r"/api/datasets/(?P<id>[^/]+/[^/]+)(?:/revision/(?P<revision>[^/]+))?")
_TREE = re.compile(r"/api/datasets/(?P<id>[^/]+/[^/]+)/tree/(?P<revision>[^/]+)(?:/(?P<path>.*))?")
_PATHS = re.compile(r"/api/datasets/(?P<id>[^/]+/[^/]+)/paths-info/(?P<revision>[^/]+)")
_FILE = re.compile(r"/datasets/(?P<id>[^/]+/[^/]+)/resolve/(?P<revision>[^/]+)/(?P<path>.*)")


@dataclass
class Hub:
    """Data sets with their branches and commits.

    token  what a request must bear to see a gated data set; others are refused with 401
    cuts   number of answers of files that break off in the middle, and so are shorter than they say
    short  number of answers of files that are whole, and shorter than requested
    log    requests: path and authorization
    """

    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    branches: dict[tuple[str, str], str] = field(default_factory=dict)
    gated: set[str] = field(default_factory=set)
    token: str = ""
    cuts: int = 0
    short: int = 0
    refuses: int = 0
    log: list[tuple[str, str]] = field(default_factory=list)
    url: str = ""

    def commit(self, dataset: str, files: dict[str, bytes], branch: str = "main") -> str:
        """Put the files there as the newest commit of a branch; its hash."""
        seed = repr((self.url, dataset, branch, len(self.commits), sorted(files)))
        commit = hashlib.sha1(seed.encode()).hexdigest()
        self.commits[commit] = files
        self.branches[dataset, branch] = commit
        return commit

    def files(self, dataset: str, revision: str) -> dict[str, bytes] | None:
        return self.commits.get(self.branches.get((dataset, revision), revision))

    def entries(self, dataset: str, revision: str, path: str, *, is_recursive: bool) -> list[dict[str, Any]]:
        """The listing of a folder, in no particular order."""
        above = f"{path}/" if path else ""
        entries: dict[str, dict[str, Any]] = {}
        for name, data in reversed((self.files(dataset, revision) or {}).items()):
            if not name.startswith(above):
                continue
            parts = name[len(above) :].split("/")
            for i in range(1, len(parts)):
                folder = above + "/".join(parts[:i])
                entries[folder] = {"type": "directory", "path": folder, "size": 0, "oid": "0" * 40}
            entries[name] = {"type": "file", "path": name, "size": len(data), "oid": hashlib.sha1(data).hexdigest()}
        return [e for e in entries.values() if is_recursive or "/" not in e["path"][len(above) :]]


@contextlib.contextmanager
def serving() -> Iterator[Hub]:
    hub = Hub()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            hub.log.append((parts.path, self.headers.get("Authorization", "")))
            if hub.refuses:
                self.answer(hub.refuses, b"refused")
            elif match := _TREE.fullmatch(parts.path):
                self.tree(match, is_recursive="recursive=true" in parts.query.lower())
            elif match := _INFO.fullmatch(parts.path):
                self.info(match)
            elif match := _FILE.fullmatch(parts.path):
                self.file(match)
            else:
                self.answer(404, b"")

        do_HEAD = do_GET

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            match = _PATHS.fullmatch(urlsplit(self.path).path)
            if match is None or not self.knows(match):
                return
            revision = unquote(match["revision"])
            entries = hub.entries(match["id"], revision, "", is_recursive=True)
            self.as_json([e for e in entries if e["path"] in body["paths"]])

        def knows(self, match: re.Match[str]) -> bool:
            """Whether the data set and the revision are there; the answer is given if not."""
            if not any(dataset == match["id"] for dataset, _ in hub.branches):
                self.answer(404, b"", code="RepoNotFound")
            elif hub.files(match["id"], unquote(match["revision"] or "main")) is None:
                self.answer(404, b"", code="RevisionNotFound")
            else:
                return True
            return False

        def info(self, match: re.Match[str]) -> None:
            if self.knows(match):
                revision = unquote(match["revision"] or "main")
                commit = hub.branches.get((match["id"], revision), revision)
                self.as_json({"id": match["id"], "sha": commit, "siblings": [], "tags": []})

        def tree(self, match: re.Match[str], *, is_recursive: bool) -> None:
            if not self.knows(match):
                return
            path = unquote(match["path"] or "")
            entries = hub.entries(match["id"], unquote(match["revision"]), path, is_recursive=is_recursive)
            if entries or not path:
                self.as_json(entries)
            else:
                self.answer(404, b"", code="EntryNotFound")

        def file(self, match: re.Match[str]) -> None:
            if match["id"] in hub.gated and self.headers.get("Authorization") != f"Bearer {hub.token}":
                self.answer(401, b"", code="GatedRepo")
                return
            if not self.knows(match):
                return
            data = (hub.files(match["id"], unquote(match["revision"])) or {}).get(unquote(match["path"]))
            if data is None:
                self.answer(404, b"", code="EntryNotFound")
                return
            requested = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
            start, end = (int(requested[1]), int(requested[2]) + 1) if requested else (0, len(data))
            part = data[start:end]
            if hub.short:
                hub.short, part = hub.short - 1, part[: len(part) // 2]
            self.answer(206 if requested else 200, part, etag=hashlib.sha1(data).hexdigest())

        def as_json(self, value: Any) -> None:
            self.answer(200, json.dumps(value).encode())

        def answer(self, status: int, body: bytes, *, code: str = "", etag: str = "") -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            if code:
                self.send_header("X-Error-Code", code)
            if etag:
                self.send_header("ETag", f'"{etag}"')
            if etag and hub.cuts:
                hub.cuts, body = hub.cuts - 1, body[: len(body) // 2]
                self.close_connection = True
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    hub.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
