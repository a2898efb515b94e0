"""A chat-completions server on loopback for tests and benchmarks: real HTTP, scripted answers, faults on demand.

It recognises the stage of a call by the stage's instructions in the system message and cuts the document out of the user
message, both from the same stage tree as the caller. Run as a program it serves fixed answers after a latency:
`python tests/stub_llm.py --latency 0.1` prints its base URL and serves until its standard input ends.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import Any

from tagcorpus.taggers._stage_tree.read import packaged_tree
from tagcorpus.taggers._stage_tree.tree import StageTree


@dataclass(frozen=True)
class Call:
    """One request as the server saw it. `nth` counts the calls with this stage and text, from 0."""

    stage: str
    text: str
    nth: int
    headers: dict[str, str] = field(repr=False)
    body: dict[str, Any] = field(repr=False)


@dataclass(frozen=True)
class Reply:
    """What goes back. `fault`: none, `hang` (never answers), `drop` (closes at once), `cut` (half of the body, then
    closes), `cut length` (the same after a full Content-Length), `noise` (bytes that are no HTTP), `raw` (the body is all that
    is written), `raw close` (and then the connection ends)."""

    status: int = 200
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = ()
    fault: str = ""


def answer(content: str | None, finish_reason: str = "stop", refusal: str | None = None) -> Reply:
    """A chat completion with this answer text."""
    message = {"role": "assistant", "content": content, "refusal": refusal}
    return Reply(
        body=json.dumps(
            {
                "id": "chatcmpl-stub",
                "object": "chat.completion",
                "created": 1,
                "model": "stub-1",
                "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": finish_reason}],
                "usage": {"prompt_tokens": 100, "completion_tokens": 3, "total_tokens": 103},
            }
        ).encode()
    )


def failure(status: int, message: str = "stub failure", code: str | None = None, **headers: str) -> Reply:
    """An error in OpenAI's form; header names are written with underscores (`Retry_After="0"`)."""
    error = {"message": message, "type": "stub_error", "param": None, "code": code}
    named = tuple((name.replace("_", "-"), value) for name, value in headers.items())
    return Reply(status, json.dumps({"error": error}).encode(), named)


HANG = Reply(fault="hang")
DROP = Reply(fault="drop")
CUT = Reply(body=answer("web").body, fault="cut")
CUT_LENGTH = Reply(body=answer("web").body, fault="cut length")
NOISE = Reply(fault="noise")

NEGATIVE = {
    "incoherent": "not_incoherent",
    "code": "not_code",
    "web": "not_web",
    "academic": "not_academic",
    "remaining": "unknown",
}


def rules(spec: dict[str, Any]) -> Callable[[Call], Reply]:
    """Answers by substring, first hit wins: {"rules": {stage: [[substring, answer], ...]}, "default": {stage: answer}}."""

    def reply(call: Call) -> Reply:
        for substring, found in spec["rules"].get(call.stage, []):
            if substring in call.text:
                return answer(found)
        return answer(spec["default"][call.stage])

    return reply


class StubLLM:
    """`with StubLLM(reply) as stub:` serves on `stub.base_url`. `reply(call)` decides each answer, in arrival order.

    It answers as `model`, or else under the name that it was asked for. `port` 0 takes any that is free. `calls` lists everything that arrived; `stop` and `start` keep the port, so a server can die and come back.
    """

    def __init__(
        self,
        reply: Callable[[Call], Reply] | None = None,
        tree: StageTree | None = None,
        latency_seconds: float = 0.0,
        port: int = 0,
        host: str = "127.0.0.1",
        path: str = "/v1",
        model: str = "",
    ) -> None:
        tree = tree or packaged_tree()
        self.host, self.path, self.query, self.model = host, path, "", model
        self.reply = reply or (lambda call: answer(NEGATIVE[call.stage]))
        self.latency_seconds = latency_seconds
        self.calls: list[Call] = []
        self.connections = 0
        self.in_flight = 0
        self.most_in_flight = 0
        self._stages = {stage.instructions: stage.name for stage in tree.stages}
        self._around = {stage.name: (len(stage.before), len(stage.after)) for stage in tree.stages}
        self._merged = {stage.name: f"{stage.instructions.rstrip()}\n\n{stage.before}" for stage in tree.stages}
        self._endings = {stage.name: stage.after for stage in tree.stages}
        self._seen: Counter[tuple[str, str]] = Counter()
        self._port = port
        self._open: set[_Connection] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="stub-llm", daemon=True)

    @property
    def base_url(self) -> str:
        return f"http://{f'[{self.host}]' if ':' in self.host else self.host}:{self._port}{self.path}"

    @property
    def port(self) -> int:
        return self._port

    @property
    def calls_by_stage(self) -> Counter[str]:
        return Counter(call.stage for call in self.calls)

    def stages_of(self, text: str) -> list[str]:
        """Stages asked for this document, in order of arrival."""
        return [call.stage for call in self.calls if call.text == text]

    def __enter__(self) -> StubLLM:
        self._thread.start()
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def start(self) -> None:
        """Listens; on the same port as before, when there was one."""

        async def listen() -> None:
            self._server = await self._loop.create_server(lambda: _Connection(self), self.host, self._port, backlog=512)
            self._port = self._server.sockets[0].getsockname()[1]

        asyncio.run_coroutine_threadsafe(listen(), self._loop).result()

    def stop(self) -> None:
        """Stops listening and cuts every open connection."""

        async def close() -> None:
            self._server.close()
            for connection in list(self._open):
                connection.abort()
            await asyncio.sleep(0)

        asyncio.run_coroutine_threadsafe(close(), self._loop).result()

    def _arrived(self, headers: dict[str, str], body: dict[str, Any]) -> Call:
        system, user = "", ""
        for message in body["messages"]:
            if message["role"] == "system":
                system = message["content"]
            else:
                user = message["content"]
        if system:
            stage = self._stages.get(system, "")
        else:  # instructions in the user message, before the document or behind it
            stage = next((name for name, head in self._merged.items() if user.startswith(head)), "")
            user = user[len(self._merged[stage]) - self._around[stage][0] :] if stage else user
            stage = stage or next((name for name, end in self._endings.items() if user.endswith(end)), "")
        before, after = self._around.get(stage, (0, 0))
        text = user[before : len(user) - after]
        call = Call(stage, text, self._seen[stage, text], headers, body)
        self._seen[stage, text] += 1
        self.calls.append(call)
        return call


class _Connection(asyncio.Protocol):
    def __init__(self, stub: StubLLM) -> None:
        self.stub = stub
        self.buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: Any = transport
        self.stub.connections += 1
        self.stub._open.add(self)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        self.stub._open.discard(self)

    def abort(self) -> None:
        self.transport.abort()

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        end = self.buffer.find(b"\r\n\r\n")
        if end < 0:
            if self.buffer.startswith(b"\x16"):  # TLS at a port of http: servers say 400 in plain text
                self.transport.write(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")
                self.transport.close()
            return
        lines = self.buffer[:end].decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
        length = int(headers.get("content-length", "0"))
        if len(self.buffer) < end + 4 + length:
            return
        body, self.buffer = self.buffer[end + 4 : end + 4 + length], self.buffer[end + 4 + length :]
        if lines[0].split(" ")[:2] != ["POST", f"{self.stub.path}/chat/completions{self.stub.query}"]:
            self._write(failure(404, f"no route {lines[0]!r}"))
            return
        stub = self.stub
        stub.in_flight += 1
        stub.most_in_flight = max(stub.most_in_flight, stub.in_flight)
        call = stub._arrived(headers, json.loads(body))
        reply = stub.reply(call)
        if not reply.fault:
            name = stub.model or call.body.get("model")
            reply = replace(reply, body=reply.body.replace(b'"stub-1"', json.dumps(name).encode()))
        if stub.latency_seconds:
            asyncio.get_running_loop().call_later(stub.latency_seconds, self._finish, reply)
        else:
            self._finish(reply)

    def _finish(self, reply: Reply) -> None:
        self.stub.in_flight -= 1
        if reply.fault == "hang" or self.transport.is_closing():
            return
        if reply.fault == "drop":
            self.transport.abort()
            return
        self._write(reply)

    def _write(self, reply: Reply) -> None:
        extra = "".join(f"{name}: {value}\r\n" for name, value in reply.headers)
        head = f"HTTP/1.1 {reply.status} -\r\nContent-Type: application/json\r\n{extra}"
        half = reply.body[: len(reply.body) // 2]
        if reply.fault.startswith("raw"):
            self.transport.write(reply.body)
            if reply.fault == "raw close":
                self.transport.close()
            return
        if reply.fault == "noise":
            self.transport.write(b"\x00\x01 this is not HTTP \r\n\r\n")
            self.transport.close()
            return
        if reply.fault.startswith("cut"):
            length = f"Content-Length: {len(reply.body)}\r\n" if reply.fault == "cut length" else ""
            self.transport.write(f"{head}{length}Connection: close\r\n\r\n".encode() + half)
            self.transport.close()
            return
        self.transport.write(f"{head}Content-Length: {len(reply.body)}\r\n\r\n".encode() + reply.body)


def main(arguments: Iterable[str] | None = None) -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--latency", type=float, default=0.1, help="seconds")
    chosen = options.parse_args(None if arguments is None else list(arguments))
    with StubLLM(latency_seconds=chosen.latency) as stub:
        print(stub.base_url, flush=True)
        sys.stdin.read()
        print(json.dumps({"calls": len(stub.calls), "most_in_flight": stub.most_in_flight}), flush=True)


if __name__ == "__main__":
    main()
