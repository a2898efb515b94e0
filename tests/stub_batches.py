"""A server of OpenAI's Batch API on loopback: files, batches and chat completions, with faults on demand.

`answer(body)` gives status and reply of one question. `batches` has every batch that was created, in order.
"""

from __future__ import annotations

import json
import re
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any

Body = dict[str, Any]


def completion(content: str, prompt: int = 20, answer: int = 3) -> tuple[int, Body]:
    choice = {"index": 0, "message": {"role": "assistant", "content": content}, "finish_reason": "stop"}
    usage = {"prompt_tokens": prompt, "completion_tokens": answer, "total_tokens": prompt + answer}
    return 200, {"id": "c", "object": "chat.completion", "model": "stub-1", "choices": [choice], "usage": usage}


@dataclass
class StubBatch:
    """A batch. `polls` until it is over; `status` is the one that it then has."""

    id: str
    metadata: dict[str, str]
    questions: list[Body]
    status: str = "completed"
    polls: int = 1
    code: str = ""
    files: dict[str, str] = field(default_factory=dict)


class StubBatches:
    """`with StubBatches(answer) as stub:` serves on `stub.base_url`.

    change     called with each new batch and its number: it may set status, polls and code
    edit       called with the lines of results and the batch's number: it returns the lines that are sent
    fault      called with method and path: a status other than 0 is the reply, and 599 closes the connection after the work is done
    """

    def __init__(self, answer: Callable[[Body], tuple[int, Body]]) -> None:
        self.answer = answer
        self.change: Callable[[StubBatch, int], None] = lambda _batch, _n: None
        self.edit: Callable[[list[str], int], list[str]] = lambda lines, _n: lines
        self.fault: Callable[[str, str], int] = lambda _method, _path: 0
        self.files: dict[str, str] = {}
        self.batches: list[StubBatch] = []
        self.single: list[Body] = []
        self.calls: Counter[str] = Counter()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        # Until it looks up, `shutdown` waits: 0.5 seconds otherwise.
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}/v1"

    @property
    def questions(self) -> list[Body]:
        return [question for batch in self.batches for question in batch.questions]

    def __enter__(self) -> StubBatches:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()

    def upload(self, data: str) -> Body:
        name = f"file-{len(self.files)}"
        self.files[name] = data
        return {"id": name, "object": "file", "bytes": len(data), "created_at": 1, "filename": "f", "purpose": "batch"}

    def create(self, given: Body) -> Body:
        questions = [json.loads(line) for line in self.files[given["input_file_id"]].splitlines()]
        batch = StubBatch(f"batch-{len(self.batches)}", given.get("metadata") or {}, questions)
        self.batches.append(batch)
        self.change(batch, len(self.batches) - 1)
        return self.shown(batch)

    def shown(self, batch: StubBatch) -> Body:
        status = "in_progress" if batch.polls > 0 else batch.status
        if status in ("completed", "expired") and not batch.files:
            self._work(batch)
        errors = {"object": "list", "data": [{"code": batch.code, "message": "no room"}]} if batch.code else None
        return {
            "id": batch.id, "object": "batch", "endpoint": "/v1/chat/completions", "completion_window": "24h", "created_at": 1,
            "input_file_id": "f", "status": status, "metadata": batch.metadata, "errors": errors,
            "output_file_id": batch.files.get("output"), "error_file_id": batch.files.get("error"),
        }  # fmt: skip

    def _work(self, batch: StubBatch) -> None:
        lines: dict[str, list[str]] = {"output": [], "error": []}
        n = len(batch.questions) // 2 if batch.status == "expired" else len(batch.questions)
        for i, question in enumerate(batch.questions):
            if i >= n:
                error = {"code": "batch_expired", "message": "too late"}
                lines["error"].append(
                    json.dumps({"custom_id": question["custom_id"], "response": None, "error": error})
                )
                continue
            status, body = self.answer(question["body"])
            response = {"status_code": status, "request_id": "r", "body": body}
            line = json.dumps({"custom_id": question["custom_id"], "response": response, "error": None})
            lines["output" if status == 200 else "error"].append(line)
        lines["output"] = self.edit(lines["output"], self.batches.index(batch))
        for kind, each in lines.items():
            if each:
                batch.files[kind] = str(self.upload("\n".join(each) + "\n")["id"])


def _handler(stub: StubBatches) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            pass

        def do_POST(self) -> None:
            data = self.rfile.read(int(self.headers["Content-Length"]))
            self._reply("POST", lambda path: self._posted(path, data))

        def do_GET(self) -> None:
            self._reply("GET", self._got)

        def _posted(self, path: str, data: bytes) -> tuple[int, Body | str]:
            if path == "/v1/files":
                match = re.search(rb'name="file".*?\r\n\r\n(.*?)\r\n--', data, re.DOTALL)
                assert match is not None
                assert b"batch" in data
                return 200, stub.upload(match[1].decode())
            if path == "/v1/batches":
                return 200, stub.create(json.loads(data))
            stub.single.append(json.loads(data))
            return stub.answer(stub.single[-1])

        def _got(self, path: str) -> tuple[int, Body | str]:
            if path.endswith("/content"):
                return 200, stub.files[path.split("/")[-2]]
            if path == "/v1/batches":
                return 200, {
                    "object": "list",
                    "data": [stub.shown(b) for b in reversed(stub.batches)],
                    "has_more": False,
                }
            (batch,) = (b for b in stub.batches if path.endswith(f"/{b.id}"))
            batch.polls -= 1
            return 200, stub.shown(batch)

        def _reply(self, method: str, act: Callable[[str], tuple[int, Body | str]]) -> None:
            path = self.path.partition("?")[0]
            stub.calls[f"{method} {path}"] += 1
            fault = stub.fault(method, path)
            status, value = (fault, {"error": {"message": "stub fault"}}) if 0 < fault < 599 else act(path)
            if fault == 599:
                self.close_connection = True
                self.connection.close()
                return
            data = value.encode() if isinstance(value, str) else json.dumps(value).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

    return Handler
