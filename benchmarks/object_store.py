"""What `run tag` transfers from an object store, and how long the transfer takes: the index pass beside the tagging of the same files.

    python benchmarks/object_store.py --corpus FOLDER --work DIR [--megabytes 80] [--workers 2] [--latency-ms 20] [--rate 100]

A server on this machine gives the JSONL files of FOLDER like S3. Each request waits --latency-ms, and each connection gets --rate MB a
second. The first run reads every file twice: to plan and to tag. The second one has the plan of the first, and tags everything again.
The difference is what one reading would save.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import threading
import time
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit
from xml.sax.saxutils import escape

BLOCK_BYTES = 1 << 18
TAGGERS = "length,tokens,keywords"


class Store(ThreadingHTTPServer):
    """A bucket `corpus` with the files of a folder; it counts requests and bytes."""

    daemon_threads = True

    def __init__(self, files: dict[str, Path], latency_s: float, bytes_per_second: float) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.files, self.latency_s, self.bytes_per_second = files, latency_s, bytes_per_second
        self.lock = threading.Lock()
        self.requests = self.sent_bytes = 0

    def counted(self) -> tuple[int, int]:
        """Requests and bytes since the last call."""
        with self.lock:
            counts = self.requests, self.sent_bytes
            self.requests = self.sent_bytes = 0
        return counts


class Answer(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Store

    def do_HEAD(self) -> None:
        self.answer()

    def do_GET(self) -> None:
        self.answer()

    def answer(self) -> None:
        time.sleep(self.server.latency_s)
        name = unquote(urlsplit(self.path).path).removeprefix("/corpus").strip("/")
        if name in self.server.files:
            self.give(self.server.files[name])
        elif self.command == "GET" and not name:
            self.list()
        else:
            self.head(404, 0)
        with self.server.lock:
            self.server.requests += 1

    def head(self, status: int, n_bytes: int, **headers: str) -> None:
        self.send_response(status)
        for header, value in {"Content-Length": str(n_bytes), **headers}.items():
            self.send_header(header.replace("_", "-"), value)
        self.end_headers()

    def give(self, path: Path) -> None:
        size = path.stat().st_size
        first, last = 0, size - 1
        if byte_range := self.headers.get("Range"):
            begin, _, end = byte_range.removeprefix("bytes=").partition("-")
            first, last = int(begin), min(int(end or last), last)
        headers = {"ETag": f'"{path.name}"', "Last_Modified": formatdate(0, usegmt=True)}
        if byte_range:
            headers["Content_Range"] = f"bytes {first}-{last}/{size}"
        self.head(206 if byte_range else 200, last - first + 1, **headers)
        if self.command == "HEAD":
            return
        started, sent = time.perf_counter(), 0
        with path.open("rb") as file:
            file.seek(first)
            while sent <= last - first:
                sent += self.wfile.write(file.read(min(BLOCK_BYTES, last - first + 1 - sent)))
                time.sleep(max(0.0, sent / self.server.bytes_per_second - (time.perf_counter() - started)))
        with self.server.lock:
            self.server.sent_bytes += sent

    def list(self) -> None:
        entries = "".join(
            f"<Contents><Key>{escape(name)}</Key><LastModified>2026-01-01T00:00:00.000Z</LastModified>"
            f'<ETag>"{escape(name)}"</ETag><Size>{path.stat().st_size}</Size><StorageClass>STANDARD</StorageClass></Contents>'
            for name, path in sorted(self.server.files.items())
        )
        data = (
            '<?xml version="1.0" encoding="UTF-8"?><ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
            f"<Name>corpus</Name><KeyCount>{len(self.server.files)}</KeyCount><MaxKeys>1000</MaxKeys>"
            f"<IsTruncated>false</IsTruncated>{entries}</ListBucketResult>"
        ).encode()
        self.head(200, len(data), Content_Type="application/xml")
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        """Quiet."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpus", required=True, type=Path, help="a folder of .jsonl files")
    parser.add_argument("--work", required=True, type=Path)
    parser.add_argument("--megabytes", type=float, default=80)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--latency-ms", type=float, default=20)
    parser.add_argument("--rate", type=float, default=100, help="MB a second of a connection")
    options = parser.parse_args()
    files: dict[str, Path] = {}
    n_bytes = 0
    for path in sorted(options.corpus.glob("*.jsonl")):
        if n_bytes < options.megabytes * 1e6:
            files[path.name] = path
            n_bytes += path.stat().st_size
    store = Store(files, options.latency_ms / 1e3, options.rate * 1e6)
    threading.Thread(target=store.serve_forever, daemon=True).start()
    options.work.mkdir(parents=True, exist_ok=True)
    output = options.work.resolve() / "out"
    shutil.rmtree(output, ignore_errors=True)
    endpoint = f"endpoint_url=http://127.0.0.1:{store.server_port}"
    access = [a for pair in (endpoint, "key=a", "secret=b") for a in ("--storage-options", pair)]
    command = [
        sys.executable,
        "-m",
        "tagcorpus",
        "run",
        "tag",
        "--taggers",
        TAGGERS,
        "--input",
        "s3://corpus/",
        "--json",
    ]
    command += ["--output", output, "--workers", str(options.workers), *access]
    rows = {}
    for name in ("plan and tag", "tag"):
        started = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=options.work)
        requests, sent = store.counted()
        rows[name] = {"seconds": time.perf_counter() - started, "requests": requests, "megabytes": sent / 1e6}
        for room in ("attributes", "digests", "summary"):
            shutil.rmtree(output / room)
    rows["difference"] = {k: rows["plan and tag"][k] - rows["tag"][k] for k in rows["tag"]}
    print(f"{len(files)} files, {n_bytes / 1e6:.0f} MB, {options.workers} workers")
    for name, row in rows.items():
        print(f"{name:<14}{row['seconds']:8.2f} s{row['requests']:8} requests{row['megabytes']:10.1f} MB")
    print(json.dumps({"bytes": n_bytes, "workers": options.workers, **rows}))


if __name__ == "__main__":
    main()
