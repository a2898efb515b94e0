"""A proxy on loopback before an S3 server: it counts what is asked for, and fails as told.

No sleeps: a stalled answer waits until the proxy is closed, and whoever asked has long given up by then.
"""

from __future__ import annotations

import contextlib
import http.client
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

HOPS = ("connection", "keep-alive", "transfer-encoding", "content-length", "host", "expect")


@dataclass
class Asked:
    """One request as it came in, and how many bytes of a body went back."""

    method: str
    path: str
    query: str
    status: int = 0
    received: int = 0
    sent: int = 0


@dataclass
class Fault:
    """What to do with the next `times` requests that match; `act` is a method of Answer, or any function of it."""

    method: str
    part_of_path: str
    act: Callable[[Answer], None]
    times: int = 1

    def takes(self, asked: Asked) -> bool:
        if asked.method != self.method or self.part_of_path not in asked.path or self.times <= 0:
            return False
        self.times -= 1
        return True


class Answer(BaseHTTPRequestHandler):
    """One connection to the proxy."""

    protocol_version = "HTTP/1.1"
    store: FaultyStore
    asked: Asked

    def forward(self) -> None:
        """As if there were no proxy."""
        self.give(*self.fetch())

    def fetch(self) -> tuple[int, list[tuple[str, str]], bytes]:
        connection = http.client.HTTPConnection(*self.store.upstream)
        headers = {k: v for k, v in self.headers.items() if k.lower() not in HOPS}
        connection.request(self.command, self.path, self.body(), headers)
        found = connection.getresponse()
        data = found.read()
        connection.close()
        length = found.getheader("Content-Length")
        kept = [(k, v) for k, v in found.getheaders() if k.lower() not in HOPS]
        return found.status, [*kept, ("Content-Length", length or str(len(data)))], data

    def body(self) -> bytes:
        data = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.asked.received = len(data)
        return data

    def give(self, status: int, headers: list[tuple[str, str]], data: bytes) -> None:
        self.head(status, headers)
        self.wfile.write(data)
        self.asked.sent = len(data)

    def head(self, status: int, headers: list[tuple[str, str]]) -> None:
        self.asked.status = status
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.end_headers()

    def reset(self) -> None:
        """End the connection with a RST."""
        self.wfile.flush()
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()
        self.close_connection = True

    def cut(self) -> None:
        """Half the body, then a reset."""
        status, headers, data = self.fetch()
        self.head(status, headers)
        self.wfile.write(data[: len(data) // 2])
        self.reset()

    def trickle(self) -> None:
        """The body in crumbs, with pauses that stay below any time limit."""
        status, headers, data = self.fetch()
        self.head(status, headers)
        step = max(1, len(data) // 10)
        for i in range(0, len(data), step):
            self.wfile.write(data[i : i + step])
            self.store.closing.wait(0.01)

    def stall(self) -> None:
        """The head and a byte, then nothing more."""
        status, headers, data = self.fetch()
        self.head(status, headers)
        self.wfile.write(data[:1])
        self.wfile.flush()
        self.store.closing.wait()
        self.close_connection = True

    def fail(self, status: int, code: str) -> None:
        """An error as S3 words it."""
        self.body()
        data = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>{code} it is.</Message></Error>".encode()
        self.give(status, [("Content-Type", "application/xml"), ("Content-Length", str(len(data)))], data)

    def answer(self) -> None:
        url = urlsplit(self.path)
        self.asked = Asked(self.command, unquote(url.path), url.query)
        with self.store.lock:
            self.store.log.append(self.asked)
            fault = next((f for f in self.store.faults if f.takes(self.asked)), None)
        with contextlib.suppress(OSError):
            (fault.act if fault else Answer.forward)(self)

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = answer

    def log_message(self, *_: object) -> None:
        """Quiet."""


@dataclass
class FaultyStore:
    """The proxy: `url` is the endpoint, `log` what was asked, `faults` what is to go wrong."""

    upstream: tuple[str, int]
    log: list[Asked] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)
    closing: threading.Event = field(default_factory=threading.Event)
    url: str = ""

    def clear(self) -> None:
        self.log.clear()
        self.faults.clear()

    def asked(self, method: str, part_of_path: str = "") -> list[Asked]:
        return [a for a in self.log if a.method == method and part_of_path in a.path]


def slow_down(answer: Answer) -> None:
    answer.fail(503, "SlowDown")


def broken(answer: Answer) -> None:
    answer.fail(500, "InternalError")


def denied(answer: Answer) -> None:
    answer.fail(403, "AccessDenied")


@contextlib.contextmanager
def serving(upstream: tuple[str, int]) -> Iterator[FaultyStore]:
    store = FaultyStore(upstream)
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (Answer,), {"store": store}))
    server.daemon_threads = True
    store.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield store
    finally:
        store.closing.set()
        server.shutdown()
        thread.join()
        server.socket.close()
