"""How endpoints behave: one table, for the tests and for docs/domain.md.

Each behaviour is what a server sends in place of an answer. `one`, `every`, `once`: what comes of it where it meets one document
among 40 all the time, every question all the time, and the first question only.
"""

from __future__ import annotations

import gzip
import json
from dataclasses import dataclass, replace

from stub_llm import CUT_LENGTH, DROP, HANG, NOISE, Reply, answer, failure

ERROR = "39 labels, 1 error"
LABELS = "40 labels"
STOP = "the run stops"


@dataclass(frozen=True)
class Rule:
    """A row of the table in docs/domain.md: what an endpoint does, what a run makes of it, what the same command does next."""

    does: str
    one: str
    every: str
    once: str
    afterwards: str

    @property
    def row(self) -> str:
        return f"| {self.does} | {self.one} | {self.every} | {self.once} | {self.afterwards} |"


BLAMED = "`error`, all others have their labels"
RETRIED = "asked again, no loss"
KEPT = "asks nothing; `--retry-errors` asks about those with an `error`"
RULES = {
    "fault": Rule(
        "500, 502, 529, 408; a dropped connection; a reply that hangs; half a body; HTML, an error, no choice or no message at "
        "status 200; a body nested 200,000 deep",
        BLAMED,
        "exit 4 after at most 20 failures",
        RETRIED,
        f"after exit 4 continues where the run stopped; else {KEPT}",
    ),
    "pace": Rule(
        "429, 503, a refused connection",
        "`error` after `--patience`, all others have their labels",
        "exit 4 after `--patience` without any answer",
        RETRIED,
        f"after exit 4 continues where the run stopped; else {KEPT}",
    ),
    "refusal": Rule(
        "400, 401, 403 (also a firewall's page), 404, 422, a redirect",
        BLAMED,
        "exit 1 after at most 20 refusals, which the message quotes",
        RETRIED,
        f"after exit 1 continues where the run stopped, once the cause is removed; else {KEPT}",
    ),
    "document": Rule(
        "413; a code such as `context_length_exceeded` or `content_filter`, at any status; a refusal by the model",
        BLAMED,
        "exit 1 after at most 20 refusals; exit 3 where others were answered before",
        "`error`",
        KEPT,
    ),
    "empty": Rule(
        "status 200 without an answer (see above)",
        BLAMED,
        "exit 1 after at most 20 replies",
        RETRIED,
        f"after exit 1 continues where the run stopped, once the cause is removed; else {KEPT}",
    ),
    "quota": Rule(
        "no money (402, `insufficient_quota`), or the calls of a day used up",
        "exit 4 at once",
        "exit 4 at once",
        "exit 4 at once",
        "continues where the run stopped",
    ),
}


def table() -> str:
    """The rules as docs/domain.md has them."""
    head = "| the endpoint's reply | to one document, or to some | to every question | once | the same command afterwards |"
    return "\n".join([head, "|---|---|---|---|---|", *(rule.row for rule in RULES.values())])


@dataclass(frozen=True)
class Behaviour:
    """`every` is the exit code where nobody is answered; `until` where that begins in the middle of a run, which ends by it."""

    name: str
    reply: Reply
    every: int
    one: str = ERROR
    once: str = LABELS
    kind: str = ""

    @property
    def rule(self) -> str:
        """Its row in RULES."""
        if self.kind:
            return self.kind
        if self.once == ERROR:
            return "document"
        return "fault" if self.every == 4 else "empty" if self.reply.status == 200 else "refusal"

    @property
    def until(self) -> int:
        return 3 if self.rule == "document" else self.every


def completion(**choice: object) -> Reply:
    """A reply with one choice as given."""
    usage = {"prompt_tokens": 100, "completion_tokens": 3}
    return Reply(body=json.dumps({"model": "stub-1", "choices": [{"index": 0, **choice}], "usage": usage}).encode())


def message(content: object, finish_reason: object = "stop", **more: object) -> Reply:
    return completion(message={"role": "assistant", "content": content, **more}, finish_reason=finish_reason)


HUGE = (
    b'{"choices": [{"message": {"content": "web"}, "finish_reason": "stop"}], "usage": {"prompt_tokens": %d}}' % 2**70
)
BEHAVIOURS = (
    Behaviour("a lasting 500", failure(500), 4),
    Behaviour("500, context_length_exceeded", failure(500, "too big", "context_length_exceeded"), 1, once=ERROR),
    Behaviour("400, content_filter", failure(400, "blocked", "content_filter"), 1, once=ERROR),
    Behaviour("400", failure(400, "cannot digest this"), 1),
    Behaviour("401", failure(401, "bad key"), 1),
    Behaviour("403, a firewall's page", Reply(403, b"<html><body>Request blocked</body></html>"), 1),
    Behaviour("403, moderation", failure(403, "flagged", "moderation"), 1),
    Behaviour("404", failure(404, "no such model"), 1),
    Behaviour("301", Reply(301, b"", (("Location", "/login"),)), 1),
    Behaviour("502, a web page", Reply(502, b"<html>bad gateway</html>"), 4),
    Behaviour("503", failure(503), 4, kind="pace"),
    Behaviour("429", failure(429), 4, kind="pace"),
    Behaviour("200, an error in it", Reply(body=b'{"error": {"message": "upstream is down"}}'), 4),
    Behaviour("200, a web page", Reply(body=b"<html>hello</html>"), 4),
    Behaviour("200, no choices", Reply(body=b'{"choices": []}'), 4),
    Behaviour("200, a choice without message", completion(finish_reason="stop"), 4),
    Behaviour("200, content null with reasoning", message(None, reasoning_content="Let me see"), 1),
    Behaviour("200, empty text", message(""), 1),
    Behaviour("200, thoughts only", message("<think>a novel?</think>"), 1),
    Behaviour("200, finish_reason error", message("web", "error"), 1),
    Behaviour("200, finish_reason abort", message("web", "abort"), 1),
    Behaviour("200, finish_reason content_filter", message("", "content_filter: violence"), 1),
    Behaviour("200, a tool call", message(None, "tool_calls", tool_calls=[{"id": "1"}]), 1),
    Behaviour("200, cut off", message("<think>Okay", "length"), 1),
    Behaviour("a reply that hangs", HANG, 4),
    Behaviour("a dropped connection", DROP, 4),
    Behaviour("half a body", CUT_LENGTH, 4),
    Behaviour("bytes that are not HTTP", NOISE, 4),
    Behaviour(
        "200, an event stream that breaks off", Reply(body=b'data: {"choices": [{"delta": {"content": "web"}}]}\n\n'), 4
    ),
    Behaviour(
        "200, an event stream with an error in it", Reply(body=b'data: {"error": {"message": "overloaded"}}\n\n'), 4
    ),
    Behaviour("200, not JSON", Reply(body=b"web"), 4),
    Behaviour("200, no body", Reply(body=b""), 4),
    Behaviour("204", Reply(204, b""), 4),
    Behaviour("200, gzip that is none", Reply(body=b"web", headers=(("Content-Encoding", "gzip"),)), 4),
    Behaviour("308 to another host", Reply(308, b"", (("Location", "https://login.example/"),)), 1),
    Behaviour("405", failure(405, "method not allowed"), 1),
    Behaviour("422", Reply(422, b'{"detail": [{"loc": ["body", "messages"], "msg": "too many"}]}'), 1),
    Behaviour("a body nested 200,000 deep", Reply(body=b"[" * 200_000), 4),
    Behaviour("400, nested 200,000 deep", Reply(400, b"[" * 200_000), 1),
    Behaviour("408", failure(408), 4),
    Behaviour("529, overloaded", failure(529, "overloaded"), 4),
    Behaviour("413", failure(413, "request entity too large"), 1, once=ERROR),
    Behaviour("400, prompt too long", failure(400, "the prompt is too long: 70000 tokens"), 1, once=ERROR),
    Behaviour("422", failure(422, "cannot be processed"), 1),
    Behaviour("405, a web page", Reply(405, b"<html>method not allowed</html>"), 1),
    Behaviour("the model refuses", answer(None, refusal="I would rather not"), 1, once=ERROR),
    Behaviour("200, no body", Reply(), 4),
    Behaviour(
        "200, an error with code 400 in it",
        Reply(body=b'{"error": {"message": "bad input", "code": 400}}'),
        1,
        kind="refusal",
    ),
    Behaviour("200, content that is a number", message(3), 4),
    Behaviour("200, finish_reason recitation", message("", "recitation"), 1),
    Behaviour("402", failure(402, "payment required"), 4, one=STOP, once=STOP, kind="quota"),
    Behaviour("429, no money", failure(429, "no credit", "insufficient_quota"), 4, one=STOP, once=STOP, kind="quota"),
    Behaviour(
        "429, calls of a day", failure(429, "Limit of requests per day reached"), 4, one=STOP, once=STOP, kind="quota"
    ),
)


def head(*lines: str, version: str = "1.1") -> bytes:
    return "\r\n".join([f"HTTP/{version} 200 OK", "content-type: application/json", *lines, "", ""]).encode()


def chunked(body: bytes) -> bytes:
    half = len(body) // 2
    return b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (body[:half], body[half:], b""))


def as_written(label: str) -> dict[str, Reply]:
    """Unusual ways to write an answer down in HTTP."""
    body = answer(label).body
    length, packed = f"content-length: {len(body)}", gzip.compress(body)
    return {
        "chunks": Reply(body=head("transfer-encoding: chunked") + chunked(body), fault="raw"),
        "chunks with an extension and a trailer": Reply(
            body=head("transfer-encoding: chunked", "trailer: x-checksum")
            + chunked(body).replace(b"\r\n", b";a=b\r\n", 1).removesuffix(b"\r\n")
            + b"x-checksum: 1\r\n\r\n",
            fault="raw",
        ),
        "HTTP/1.0 without a length": Reply(body=head(version="1.0") + body, fault="raw close"),
        "HTTP/1.0 with a length": Reply(body=head(length, version="1.0") + body, fault="raw close"),
        "no length, and the connection ends": Reply(body=head("connection: close") + body, fault="raw close"),
        "a connection for each request": Reply(body=head(length, "connection: close") + body, fault="raw close"),
        "a connection that ends without a word": Reply(body=head(length) + body, fault="raw close"),
        "names of headers in capitals": Reply(body=head(length).upper() + body, fault="raw"),
        "a status without a reason": Reply(body=head(length).replace(b" OK", b"", 1) + body, fault="raw"),
        "gzip": Reply(body=head(f"content-length: {len(packed)}", "content-encoding: gzip") + packed, fault="raw"),
        "gzip in chunks": Reply(
            body=head("transfer-encoding: chunked", "content-encoding: gzip") + chunked(packed), fault="raw"
        ),
        "no content type": Reply(
            body=head(length).replace(b"content-type: application/json\r\n", b"") + body, fault="raw"
        ),
        "text/plain": replace(answer(label), headers=(("Content-Type", "text/plain"),)),
        "cookies and a long header": replace(
            answer(label), headers=(("Set-Cookie", "a=b; Path=/"), ("Set-Cookie", "c=d"), ("X-Trace", "t" * 6000))
        ),
        "a rate limit that is not reached": replace(
            answer(label), headers=(("x-ratelimit-remaining-requests", "0"), ("x-ratelimit-reset-requests", "1s"))
        ),
        "201": replace(answer(label), status=201),
        "spaces before the JSON": replace(answer(label), body=b"\n \n\n" + body),
    }


def odd(label: str, stop: object = "stop") -> dict[str, Reply]:
    """Unusual ways to answer `label`, all of which are answers."""
    body = answer(label).body
    stream = b"".join(
        b"data: " + json.dumps({"choices": [{"index": 0, "delta": {"content": c}}]}).encode() + b"\n\n" for c in label
    )
    return {
        "finish_reason null": message(label, None),
        "finish_reason eos_token": message(label, "eos_token"),
        "no finish_reason": completion(message={"content": label}),
        "at the limit": message(label, "length"),
        "parts": message([{"type": "text", "text": label}], stop),
        "a newline before it": message(f"\n{label}", stop),
        "a role in capitals": message(label, stop, role="ASSISTANT"),
        "a role that is null": message(label, stop, role=None),
        "fields that nobody knows": message(
            label, stop, refusal=None, tool_calls=[], annotations=[], audio=None, x={"y": [1]}
        ),
        "a usage that is null": Reply(
            body=json.dumps(
                {"choices": [{"message": {"content": label}, "finish_reason": stop}], "usage": None}
            ).encode()
        ),
        "an error that is null": Reply(
            body=json.dumps(
                {"error": None, "choices": [{"message": {"content": label}, "finish_reason": stop}]}
            ).encode()
        ),
        "thoughts before it": message(f"<think>Is it?\n</think>\n\n{label}", stop),
        "special tokens behind it": message(f"{label}<|eot_id|></s>", stop),
        "reasoning beside it": message(label, stop, reasoning_content="hm"),
        "JSON": message(json.dumps({"answer": label}), stop),
        "fenced JSON": message(f"```json\n{json.dumps({'label': label})}\n```", stop),
        "a sentence": message(f"The answer is: {label}.", stop),
        "emphasis": message(f"**{label}**", stop),
        "trailing characters": Reply(body=body + b"\n\x00garbage"),
        "a bad byte": Reply(body=body.replace(b"chatcmpl-stub", b"chat\xff")),
        "a byte order mark": Reply(body=b"\xef\xbb\xbf" + body),
        "a usage beyond 64 bits": Reply(body=HUGE.replace(b"web", label.encode())),
        "no usage": Reply(
            body=json.dumps({"choices": [{"message": {"content": label}, "finish_reason": "stop"}]}).encode()
        ),
        "choices out of order": Reply(
            body=json.dumps(
                {
                    "choices": [
                        {"index": 1, "message": {"content": "nonsense"}, "finish_reason": "stop"},
                        {"index": 0, "message": {"content": label}, "finish_reason": "stop"},
                    ]
                }
            ).encode()
        ),
        "an event stream with comments": Reply(
            body=b": waiting\n\n: waiting\n\nevent: message\r\n"
            + stream.replace(b"\n", b"\r\n")
            + b'data: {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}\r\n\r\n'
            + b'data: {"choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": 1}}\r\n\r\n'
        ),
        "an event stream": Reply(
            body=stream + b'data: {"choices": [{"delta": {}, "finish_reason": "stop"}]}\n\ndata: [DONE]\n'
        ),
    } | as_written(label)
