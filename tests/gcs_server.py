"""As much of Google Cloud Storage's JSON API as gcsfs asks for, in memory, on loopback.

What is taken from its reference: names and types of an object's fields, listing by prefix and delimiter, media by ranges,
uploads of one request (`multipart`). One page is enough for everything here, and nobody has to log in.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import re
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit


@dataclass
class Buckets:
    """Objects by bucket and name. `refuses` says with which status a request is answered instead; 0: with what it asks for."""

    objects: dict[tuple[str, str], tuple[bytes, int]] = field(default_factory=dict)
    names: set[str] = field(default_factory=lambda: {"bucket"})
    log: list[tuple[str, str, int]] = field(default_factory=list)
    refuses: Callable[[str, str], int] = lambda _method, _path: 0
    url: str = ""

    def put(self, bucket: str, name: str, data: bytes) -> None:
        self.objects[bucket, name] = data, len(self.log) + 1

    def resource(self, bucket: str, name: str) -> dict[str, Any]:
        data, generation = self.objects[bucket, name]
        return {
            "kind": "storage#object",
            "id": f"{bucket}/{name}/{generation}",
            "name": name,
            "bucket": bucket,
            "generation": str(generation),
            "metageneration": "1",
            "size": str(len(data)),
            "md5Hash": base64.b64encode(hashlib.md5(data).digest()).decode(),
            "etag": f"E{generation}",
            "updated": "2026-01-01T00:00:00.000Z",
            "timeCreated": "2026-01-01T00:00:00.000Z",
        }

    def listing(self, bucket: str, prefix: str, delimiter: str) -> dict[str, Any]:
        items, prefixes = [], set()
        for b, name in sorted(self.objects):
            if b != bucket or not name.startswith(prefix):
                continue
            rest = name[len(prefix) :]
            if delimiter and delimiter in rest:
                prefixes.add(prefix + rest.partition(delimiter)[0] + delimiter)
            else:
                items.append(self.resource(b, name))
        return {"kind": "storage#objects", "items": items, "prefixes": sorted(prefixes)}


class Answer(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    buckets: Buckets

    def answer(self) -> None:
        url = urlsplit(self.path)
        query = {k: v[0] for k, v in parse_qs(url.query).items()}
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        status = self.buckets.refuses(self.command, unquote(url.path))
        if status:
            self.give(status, json.dumps({"error": {"code": status, "message": "not now"}}).encode())
            return
        found = re.fullmatch(r"(?:/upload|/download)?/storage/v1/b/([^/]+)(?:/o(?:/([^/]+))?)?", url.path)
        if found is None:
            self.give(404, b"{}")
            return
        bucket, name = unquote(found[1]), unquote(found[2] or "")
        if bucket not in self.buckets.names or (name and (bucket, name) not in self.buckets.objects):
            self.give(404, b'{"error": {"code": 404, "message": "Not Found"}}')
        elif self.command == "POST":
            self.upload(bucket, body)
        elif self.command == "DELETE":
            del self.buckets.objects[bucket, name]
            self.give(204, b"")
        elif name and query.get("alt") == "media":
            self.media(self.buckets.objects[bucket, name][0])
        elif name:
            self.give(200, json.dumps(self.buckets.resource(bucket, name)).encode())
        else:
            told = self.buckets.listing(bucket, query.get("prefix", ""), query.get("delimiter", ""))
            self.give(200, json.dumps(told).encode())

    do_GET = do_POST = do_DELETE = answer

    def upload(self, bucket: str, body: bytes) -> None:
        """multipart/related: what the object is, then its bytes."""
        boundary = re.search(r'boundary="?([^";]+)', self.headers["Content-Type"])
        assert boundary is not None
        mark = b"--" + boundary[1].encode()
        _, about, rest = body.split(mark, 2)
        name = json.loads(about.partition(b"\n\n")[2])["name"]
        data = rest[: rest.rindex(b"\n" + mark)].partition(b"\n\n")[2]
        self.buckets.put(bucket, name, data)
        self.give(200, json.dumps(self.buckets.resource(bucket, name)).encode())

    def media(self, data: bytes) -> None:
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if not asked:
            self.give(200, data)
            return
        start, end = int(asked[1]), min(int(asked[2] or len(data)), len(data) - 1)
        self.give(206, data[start : end + 1], f"bytes {start}-{end}/{len(data)}")

    def give(self, status: int, data: bytes, content_range: str = "") -> None:
        self.buckets.log.append((self.command, unquote(self.path), len(data)))
        self.send_response(status)
        if content_range:
            self.send_header("Content-Range", content_range)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        with contextlib.suppress(OSError):  # a client that is gone
            self.end_headers()
            self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        """Quiet."""


@contextlib.contextmanager
def serving() -> Iterator[Buckets]:
    buckets = Buckets()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (Answer,), {"buckets": buckets}))
    server.daemon_threads = True
    buckets.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield buckets
    finally:
        server.shutdown()
        thread.join()
        server.socket.close()
